//! The forms of identifiers, and an estimate of the randomness of a text.

/// A form of an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// RFC 9562, with dashes, with or without braces.
    Uuid,
    /// 16, 32 or 40 hexadecimal digits: 64 bits, a UUID or MD5, SHA-1.
    Hex,
    /// 26 digits of Crockford's base 32 (github.com/ulid/spec).
    Ulid,
    /// 27 digits of base 62 (github.com/segmentio/ksuid).
    Ksuid,
    /// 21 digits of base 64 for URLs (github.com/ai/nanoid).
    Nanoid,
    /// A random number and a time, as in the cookie of Google Analytics.
    GoogleClient,
}

impl Shape {
    /// Recognises a form that is distinctive in any field.
    pub(super) fn detect(text: &str) -> Option<Self> {
        match text.len() {
            36 | 38 if is_uuid(text) => Some(Self::Uuid),
            16 | 32 | 40 if is_hex(text) => Some(Self::Hex),
            _ => None,
        }
    }

    /// Recognises a form in a field whose name says "identifier".
    pub(super) fn detect_in_id_field(text: &str) -> Option<Self> {
        Self::detect(text).or_else(|| {
            let bytes = text.as_bytes();
            let all = |is: fn(&u8) -> bool| bytes.iter().all(is);
            // Crockford's alphabet leaves out I, L, O and U.
            let ulid = |b: &u8| {
                b.is_ascii_digit()
                    || b.is_ascii_uppercase() && !matches!(b, b'I' | b'L' | b'O' | b'U')
            };
            match bytes.len() {
                26 if all(ulid) && bytes.first() <= Some(&b'7') && is_random(text) => {
                    Some(Self::Ulid)
                }
                27 if all(u8::is_ascii_alphanumeric) && is_random(text) => Some(Self::Ksuid),
                21 if all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                    && is_random(text) =>
                {
                    Some(Self::Nanoid)
                }
                _ if is_google_client(text) => Some(Self::GoogleClient),
                _ => None,
            }
        })
    }

    /// Returns the class of findings with this form.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Uuid => "uuid",
            Self::Hex => "hex",
            Self::Ulid => "ulid",
            Self::Ksuid => "ksuid",
            Self::Nanoid => "nanoid",
            Self::GoogleClient => "client_id",
        }
    }
}

/// Characters that separate an identifier from other values within one text, such as
/// a time, a counter or another identifier: `ID^1^^^`. A hyphen is not one of them,
/// since it occurs in identifiers.
const SEPARATORS: [char; 23] = [
    '^', '|', ',', ';', ':', '!', '~', '*', '#', '$', '&', '=', '/', '@', '.', '_', '+', '"', '\'',
    '(', ')', '[', ']',
];

/// Maximum number of identifiers within one text.
const MAX_PARTS: usize = 8;

/// Returns the identifiers of a known form within a text, if it begins with one that
/// a separator follows. The last part of a truncated text is left out.
pub(super) fn listed(text: &str, truncated: bool) -> Vec<(&str, Shape)> {
    let first = text.split(SEPARATORS).next().unwrap_or_default();
    if first.len() == text.len() || Shape::detect(first).is_none() {
        return Vec::new();
    }
    parts(text, truncated)
}

/// Returns the identifiers of a known form among the parts of a text.
pub(super) fn parts(text: &str, truncated: bool) -> Vec<(&str, Shape)> {
    let whole = if truncated { text.rfind(SEPARATORS).map_or("", |at| &text[..at]) } else { text };
    let parts = whole.split(SEPARATORS).filter_map(|part| Some((part, Shape::detect(part)?)));
    let mut found: Vec<_> = parts.take(MAX_PARTS).collect();
    // The number and the time of a Google client are separated by a full stop.
    if found.is_empty()
        && let Some((at, _)) = whole.match_indices('.').nth(1)
        && let client = &whole[at + 1..]
        && is_google_client(client)
    {
        found.push((client, Shape::GoogleClient));
    }
    found
}

/// Length of a UUID.
const UUID_LEN: usize = 36;

/// Returns the UUIDs within a run of text in binary data, where the bytes before and
/// after them may be characters by chance. A `$` is the byte 36: the length of a UUID.
pub(super) fn uuids(text: &str) -> impl Iterator<Item = &str> {
    let bytes = text.as_bytes();
    let mut from = 0;
    memchr::memchr_iter(b'-', bytes).filter_map(move |dash| {
        let start = dash.checked_sub(8).filter(|start| *start >= from)?;
        let end = start + UUID_LEN;
        let uuid = text.get(start..end).filter(|uuid| is_uuid(uuid))?;
        let is_id_byte = |b: &u8| b.is_ascii_hexdigit() || *b == b'-';
        let before = start.checked_sub(1).map(|at| bytes[at]);
        let has_length = before == Some(b'$');
        let ends = has_length || bytes.get(end).is_none_or(|next| !is_id_byte(next));
        let begins = before.is_none_or(|b| !is_id_byte(&b));
        (begins && ends && has_version(uuid)).then(|| {
            from = end;
            uuid
        })
    })
}

/// Reports whether a UUID has a version and the usual variant (RFC 9562, section 4).
fn has_version(uuid: &str) -> bool {
    let bytes = uuid.as_bytes();
    matches!(bytes.get(14), Some(b'1'..=b'8'))
        && matches!(bytes.get(19), Some(b'8' | b'9' | b'a' | b'b' | b'A' | b'B'))
}

/// Reports whether a text is a generated UUID: neither nil nor max, nor one that a
/// person has typed.
fn is_uuid(text: &str) -> bool {
    let bare = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or(text);
    bare.len() == 36
        && bare.bytes().enumerate().all(|(i, b)| match i {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
        && distinct_chars(bare) >= MIN_DISTINCT_CHARS
}

/// Reports whether a text consists of hexadecimal digits of one case, and is not a
/// decimal number.
fn is_hex(text: &str) -> bool {
    let all = |is: fn(&u8) -> bool| text.as_bytes().iter().all(is);
    let any = |is: fn(&u8) -> bool| text.as_bytes().iter().any(is);
    (all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        || all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')))
        && any(u8::is_ascii_digit)
        && any(u8::is_ascii_alphabetic)
        && distinct_chars(text) >= MIN_DISTINCT_CHARS
}

/// Reports whether a text has the form `1234567890.1699999999`: 31 bits in decimal,
/// and seconds since 1970.
fn is_google_client(text: &str) -> bool {
    let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    text.split_once('.').is_some_and(|(random, time)| {
        (7..=10).contains(&random.len())
            && time.len() == 10
            && is_number(random)
            && is_number(time)
            && !random.starts_with('0')
    })
}

/// Minimum number of different characters. Of sixteen random hexadecimal digits,
/// one in a thousand has fewer.
const MIN_DISTINCT_CHARS: u32 = 6;

/// Returns the number of different characters in an ASCII text.
fn distinct_chars(text: &str) -> u32 {
    text.bytes().fold(0_u128, |seen, b| seen | 1 << (b & 0x7f)).count_ones()
}

/// Length of a text that can count as random.
const RANDOM_LEN: std::ops::RangeInclusive<usize> = 12..=128;

/// Reports whether a text looks random, without regard to its form.
pub(super) fn is_random(text: &str) -> bool {
    RANDOM_LEN.contains(&text.len()) && bits(text).is_some_and(|bits| bits >= MIN_BITS)
}

/// Minimum number of bits. Words that contain numbers reach fewer.
const MIN_BITS: f64 = 40.0;

/// Estimates the bits of a random text: its length times the bits of its alphabet.
/// Returns `None` if the text does not look random, like a sentence, a version, a
/// number, a date or a name.
///
/// Names and versions keep letters and digits in long runs, while random text of
/// any alphabet switches often between them.
pub(super) fn bits(text: &str) -> Option<f64> {
    let (mut digits, mut hex, mut lower, mut upper) = (0_usize, 0_usize, 0_usize, 0_usize);
    let (mut others, mut switches) = (0_usize, 0_usize);
    let mut last = None;
    for byte in text.bytes() {
        let digit = match byte {
            b'0'..=b'9' => {
                digits += 1;
                Some(true)
            }
            b'a'..=b'z' => {
                lower += 1;
                hex += usize::from(byte <= b'f');
                Some(false)
            }
            b'A'..=b'Z' => {
                upper += 1;
                hex += usize::from(byte <= b'F');
                Some(false)
            }
            b'_' | b'+' | b'/' | b'=' | b'.' | b':' | b'-' => {
                others += 1;
                None
            }
            _ => return None,
        };
        switches += usize::from(last.is_some() && digit.is_some() && digit != last);
        last = digit;
    }
    let letters = lower + upper;
    let chars = letters + digits;
    if others * 4 > text.len() || looks_like_date(text) {
        return None;
    }
    let bits = if letters == 0 {
        // A number with more digits than any timestamp.
        const MIN_DIGITS: usize = 20;
        (digits >= MIN_DIGITS && others == 0).then_some(3.32)?
    } else if switches < (chars / 8).max(2) {
        return None;
    } else if letters == hex {
        4.0
    } else if lower == 0 || upper == 0 {
        5.17
    } else {
        5.95
    };
    let enough = distinct_chars(text) as usize >= (chars / 3).min(8);
    #[expect(clippy::cast_precision_loss, reason = "lengths are small")]
    enough.then_some(chars as f64 * bits)
}

/// `2026-11-22T…`, `20261122T…`.
fn looks_like_date(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digits = |from: usize, to: usize| {
        bytes.get(from..to).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    (bytes.starts_with(b"19") || bytes.starts_with(b"20"))
        && (digits(0, 4)
            && bytes.get(4) == Some(&b'-')
            && digits(5, 7)
            && bytes.get(7) == Some(&b'-')
            || digits(0, 8) && bytes.get(8) == Some(&b'T'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recognises_forms() {
        for (text, shape) in [
            ("7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11", Some(Shape::Uuid)),
            ("{754C8787-97A7-4DAD-AA78-2EFBAD26340E}", Some(Shape::Uuid)),
            ("7f3c2a109b1e4c57", Some(Shape::Hex)),
            ("d41d8cd98f00b204e9800998ecf8427e", Some(Shape::Hex)),
            ("00000000-0000-0000-0000-000000000000", None),
            ("ffffffff-ffff-ffff-ffff-ffffffffffff", None),
            ("7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e1", None),
            ("{7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11", None),
            ("7F3c2a109b1e4c57", None),
            ("1795382037103123", None),
            ("0000000000000001", None),
            ("deadbeefdeadbeef", None),
        ] {
            assert_eq!(Shape::detect(text), shape, "{text}");
        }
        for (text, shape) in [
            ("01ARZ3NDEKTSV4RRFFQ69G5FAV", Some(Shape::Ulid)),
            ("0ujtsYcgvSTl8PAuAdqWYSMnLOv", Some(Shape::Ksuid)),
            ("V1StGXR8_Z5jdHi6B-myT", Some(Shape::Nanoid)),
            ("information_architect", None),
            ("NEWTABPAGEVIEWCONTROLLER12", None),
        ] {
            assert_eq!(Shape::detect_in_id_field(text), shape, "{text}");
            assert_eq!(Shape::detect(text), None, "{text}");
        }
    }

    #[test]
    fn finds_identifiers_among_the_parts_of_a_text() {
        const UUID: &str = "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11";
        const OTHER: &str = "0b6c9e11-2a10-4c57-8f7e-9b1e7f3c5d0a";
        let found = |text: &str| -> Vec<String> {
            listed(text, false).into_iter().map(|(part, _)| part.to_owned()).collect()
        };
        for rest in ["^1^^^", "|", ".1699999999.3", ":2026", ",x", "_1", ";", "!", "~a", "#$&"] {
            assert_eq!(found(&format!("{UUID}{rest}")), [UUID], "{rest}");
        }
        assert_eq!(found(&format!("{UUID},{OTHER}")), [UUID, OTHER]);
        assert_eq!(found("7f3c2a109b1e4c57.1699999999.1."), ["7f3c2a109b1e4c57"]);
        for text in [UUID, "a.b.c", &format!("x:{UUID}"), &format!("{UUID}-2")] {
            assert!(found(text).is_empty(), "{text}");
        }
        let first = |text: &str| parts(text, false).first().map(|(part, _)| part.to_string());
        assert_eq!(first(&format!("$device:{UUID}")).as_deref(), Some(UUID));
        let google = "1234567890.1699999999";
        assert_eq!(first(&format!("GA1.2.{google}")).as_deref(), Some(google));
        assert_eq!(first("156.0.8078.79"), None);
    }

    #[test]
    fn finds_uuids_in_runs_of_text() {
        const UUID: &str = "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11";
        let found = |text: &str| uuids(text).map(str::to_owned).collect::<Vec<_>>();
        for (before, after) in [
            ("", ""),
            ("$", ""),
            ("$", "0"),
            ("user.id$", "I"),
            ("id=", ";"),
            ("x-z", "z"),
            ("{", "}"),
        ] {
            assert_eq!(found(&format!("{before}{UUID}{after}")), [UUID], "{before} {after}");
        }
        assert_eq!(found(&format!("{UUID} ${UUID}$")), [UUID, UUID]);
        for text in [
            format!("a{UUID}"),
            format!("{UUID}0"),
            format!("1-{UUID}"),
            UUID.replace("4c57", "0c57"),
            UUID.replace("8f7e", "cf7e"),
        ] {
            assert!(found(&text).is_empty(), "{text}");
        }
    }

    #[test]
    fn distinguishes_random_text_from_words() {
        for text in [
            "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11",
            "1a20526cd4773d-0fbaae09b132c7-11462c68-480000-1a20526cd481675",
            "V1StGXR8_Z5jdHi6B-myT",
            "27941903758201649503",
        ] {
            assert!(is_random(text), "{text}");
        }
        for text in [
            "156.0.8078.79",
            "2026-11-22T21:12:22.975+00:00",
            "information_architecture_view",
            "newTabPageViewController",
            "text/html;charset=utf-8",
            "1795382037103",
            "en-US",
            "SegmentationModelMetadata2",
            "aaaaaaaa1a1a1a1a1a1a",
            "Mozilla/5.0",
            "com.example.app.v2.release",
        ] {
            assert!(!is_random(text), "{text}: {:?}", bits(text));
        }
    }
}
