//! Base64 (RFC 4648), recognised by its content.
//!
//! Base64 carries no marker, so this module only offers candidates. The
//! [`engine`](super::engine) decides by whether the decoded bytes are
//! plausible. A text is read in two ways:
//!
//! ```text
//! eyJ1cmwiOiJo…fQ==                      the text as a whole
//! v1:eyJ1cmwi…   data:…;base64,eyJ…      each run of base64 characters
//! eyJhbGci….eyJzdWIi….c2lnbmF0…          (which covers the parts of a JWT)
//! ```

use super::{compress, json, text};

/// Minimum length of a candidate. Nine decoded bytes are the least in which
/// text can be distinguished from coincidence.
const MIN_ENCODED: usize = 12;
/// Minimum length of a run within a longer text, where there are many more.
const MIN_TOKEN: usize = 16;

/// Maximum length of a tag in front of base64: a version, a length, a key
/// number.
const MAX_PREFIX: usize = 8;

/// Maximum length of digests and signatures. Longer random data may be an
/// encrypted message.
const MAX_DIGEST: usize = 64;

/// The characters that represent 62 and 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// `+` and `/`, or neither pair.
    Standard,
    /// `-` and `_`.
    Url,
}

/// The result of decoding base64.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    pub(super) alphabet: Alphabet,
}

/// Marks bytes that are not base64 characters.
const NONE: u8 = 0xff;

/// The values of all characters of both alphabets.
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut i = 0u8;
    while i < 26 {
        values[(b'A' + i) as usize] = i;
        values[(b'a' + i) as usize] = 26 + i;
        i += 1;
    }
    let mut i = 0u8;
    while i < 10 {
        values[(b'0' + i) as usize] = 52 + i;
        i += 1;
    }
    values[b'+' as usize] = 62;
    values[b'-' as usize] = 62;
    values[b'/' as usize] = 63;
    values[b'_' as usize] = 63;
    values
};

fn value(byte: u8) -> u8 {
    VALUES[usize::from(byte)]
}

/// Decodes the text as a whole, with or without padding. Line breaks are
/// skipped, and a space is read as a `+` that was decoded as a form.
pub(super) fn whole(text: &str, truncated: bool) -> Option<Decoded> {
    // Lines that are padded by themselves are read one by one.
    let has_lines = memchr::memmem::find(text.trim_end().as_bytes(), b"=\n").is_some()
        || memchr::memmem::find(text.trim_end().as_bytes(), b"=\r\n").is_some();
    (text.len() >= MIN_ENCODED && !has_lines).then(|| decode(text.as_bytes(), truncated)).flatten()
}

/// Returns the runs of base64 characters within a longer text.
pub(super) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let start = rest.bytes().position(|b| value(b) != NONE)?;
            rest = &rest[start..];
            let len = rest.bytes().position(|b| value(b) == NONE).unwrap_or(rest.len());
            let token = &rest[..len];
            rest = &rest[len..];
            if len >= MIN_TOKEN {
                return Some(token);
            }
        }
    })
}

/// Decodes a token, possibly truncated. Paths and words are not rejected here,
/// since the caller checks the decoded bytes.
pub(super) fn token(text: &str, truncated: bool) -> Option<Decoded> {
    (text.len() >= MIN_TOKEN).then(|| decode(text.as_bytes(), truncated)).flatten()
}

/// The first bytes of URLs, JSON, gzip and zstd.
const KNOWN_STARTS: [&[u8]; 6] =
    [b"http://", b"https://", b"{\"", b"[{\"", b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"];

/// Number of characters that suffice to recognise any known start.
const PROBE: usize = 16;

/// Reports whether a text is base64 written backwards.
pub(super) fn is_reversed(text: &str) -> bool {
    starts_at_end(text) || is_reversed_twice(text)
}

/// Reports whether the text holds an address that is written backwards once it is decoded
/// backwards.
fn is_reversed_twice(text: &str) -> bool {
    /// Longer texts are content, of which the start shows what they are.
    const MAX: usize = 4096;
    let bytes = text.as_bytes();
    if !(MIN_ENCODED..=MAX).contains(&bytes.len())
        || !bytes.iter().all(|&byte| value(byte) != NONE || byte == b'=')
    {
        return false;
    }
    let turned: Vec<u8> = bytes.iter().rev().copied().collect();
    decode(&turned, false).is_some_and(|decoded| {
        let holds = |scheme: &[u8]| memchr::memmem::find(&decoded.bytes, scheme).is_some();
        holds(b"//:sptth") || holds(b"//:ptth")
    })
}

fn starts_at_end(text: &str) -> bool {
    let Some((_, end)) = text.as_bytes().split_last_chunk::<PROBE>() else {
        return false;
    };
    let mut start = *end;
    start.reverse();
    if !may_have_known_start(start[0], start[1]) {
        return false;
    }
    decode(&start, true).is_some_and(|decoded| is_known_content(&decoded.bytes))
}

/// Decodes a token that follows a proprietary tag, which is not part of the
/// encoding although it uses the same characters: `x1eyJ1cmwi…`. Only the
/// content can show where it starts, so it has to begin with a known start.
pub(super) fn after_prefix(text: &str, truncated: bool) -> Option<Decoded> {
    let text = text.as_bytes();
    (1..=MAX_PREFIX).find_map(|skip| {
        let rest = text.get(skip..)?;
        may_have_known_start(*rest.first()?, *rest.get(1)?).then_some(())?;
        let probe = decode(rest.get(..PROBE)?, true)?;
        is_known_content(&probe.bytes).then(|| decode(rest, truncated)).flatten()
    })
}

/// Reports whether base64 that starts with these two characters may decode to a
/// known start. This check runs on every token; decoding each one would cost
/// more than everything else.
fn may_have_known_start(first: u8, second: u8) -> bool {
    STARTS.contains(&&[first, second])
}

/// The first two characters of known starts.
const STARTS: [&[u8; 2]; 5] = [b"aH", b"ey", b"W3", b"H4", b"KL"];

/// Reports whether two characters are as far apart in the alphabet as those of a known start.
fn may_be_shifted(first: u8, second: u8) -> bool {
    let distance = |first: u8, second: u8| (value(second) + 64 - value(first)) % 64;
    value(first) != NONE
        && value(second) != NONE
        && STARTS.iter().any(|[one, other]| distance(first, second) == distance(*one, *other))
}

/// An alphabet in which base64 was disguised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Disguise {
    /// Upper case and lower case exchanged.
    Swapped,
    /// Characters moved by this number of places, from 1 to 63.
    Shifted(u8),
}

/// Decodes base64 in a disguised alphabet. Only the content can show the disguise, so
/// it has to begin with a known start.
pub(super) fn disguised(text: &str, truncated: bool) -> Option<(Disguise, Decoded)> {
    let (first, _) = text.as_bytes().split_first_chunk::<PROBE>()?;
    let undo = |disguise: Disguise, byte: u8| match disguise {
        Disguise::Swapped if byte.is_ascii_lowercase() => byte.to_ascii_uppercase(),
        Disguise::Swapped => byte.to_ascii_lowercase(),
        Disguise::Shifted(places) => match value(byte) {
            NONE => byte,
            value => ALPHABET[usize::from((value + 64 - places) % 64)],
        },
    };
    // The two characters of a known start are as far apart as they were before.
    let places = if may_be_shifted(first[0], first[1]) { 1..64 } else { 1..1 };
    let shifted = places.map(Disguise::Shifted);
    std::iter::once(Disguise::Swapped).chain(shifted).find_map(|disguise| {
        may_have_known_start(undo(disguise, first[0]), undo(disguise, first[1])).then_some(())?;
        let start = first.map(|byte| undo(disguise, byte));
        has_known_start(&decode(&start, true)?.bytes).then_some(())?;
        let plain: Vec<u8> = text.bytes().map(|byte| undo(disguise, byte)).collect();
        Some((disguise, decode(&plain, truncated)?))
    })
}

/// Decodes base64 with other marks than the usual ones for 62, for 63 and for the padding.
/// Their order is not known, so there can be two results. It has to begin with a known start.
pub(super) fn with_marks(text: &str, truncated: bool) -> impl Iterator<Item = Decoded> {
    let bytes = text.as_bytes();
    let is_candidate = bytes.len() >= PROBE
        && may_have_known_start(bytes[0], bytes[1])
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b.is_ascii_punctuation());
    let bytes = if is_candidate { bytes } else { &[] };
    let is_mark = |byte: &&u8| byte.is_ascii_punctuation();
    // What stands only at the end is padding.
    let padding = bytes.iter().rev().take(2).take_while(|b| is_mark(b)).count();
    let (digits, tail) = bytes.split_at(bytes.len() - padding);
    let padding = tail.iter().rev().take_while(|b| !digits.contains(b)).count();
    let digits = &bytes[..bytes.len() - padding];
    let mut marks: Vec<u8> = digits.iter().filter(is_mark).copied().collect();
    marks.sort_unstable();
    marks.dedup();
    let orders = match marks[..] {
        [one] => vec![[Some(one), None], [None, Some(one)]],
        [one, other] => vec![[Some(one), Some(other)], [Some(other), Some(one)]],
        // Unusual padding alone.
        [] if padding > 0 => vec![[None, None]],
        _ => Vec::new(),
    };
    orders.into_iter().filter_map(move |[plus, slash]| {
        let usual = |byte: &u8| match Some(*byte) {
            byte if byte == plus => b'+',
            byte if byte == slash => b'/',
            _ => *byte,
        };
        let digits: Vec<u8> = digits.iter().map(usual).collect();
        decode(&digits, truncated).filter(|decoded| {
            let bytes = &*decoded.bytes;
            // A point also separates the parts of a token.
            let is_whole = !bytes.starts_with(b"{") && !bytes.starts_with(b"[")
                || json::is_document(bytes, truncated);
            is_known_content(bytes) && is_whole
        })
    })
}

/// Reports whether a text is base64 that begins like common content.
pub(super) fn has_encoded_start(text: &str) -> bool {
    let Some(start) = text.as_bytes().first_chunk::<PROBE>() else {
        return false;
    };
    may_have_known_start(start[0], start[1])
        && decode(start, true).is_some_and(|decoded| is_known_content(&decoded.bytes))
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Reports whether bytes start like common content, and unlike random data.
pub(super) fn has_known_start(bytes: &[u8]) -> bool {
    KNOWN_STARTS.iter().any(|start| bytes.starts_with(start))
}

/// Reports whether the beginning of decoded bytes is common content throughout: two
/// characters of JSON alone can be a coincidence.
fn is_known_content(bytes: &[u8]) -> bool {
    has_known_start(bytes)
        && (compress::magic(bytes).is_some() || text::as_text(bytes, true).is_some())
}

/// Reports whether text that could not be decoded looks like random bytes,
/// longer than a digest. Encrypted data does, and data in an unknown alphabet.
pub(super) fn is_random(text: &str) -> bool {
    if text.len() <= MAX_DIGEST.div_ceil(3) * 4 {
        return false;
    }
    let (mut upper, mut lower, mut digits, mut others, mut beyond_hex) = (0, 0, 0, 0, false);
    for byte in text.bytes().filter(|b| !matches!(b, b'\r' | b'\n' | b'=')) {
        match byte {
            b'A'..=b'Z' => upper += 1,
            b'a'..=b'z' => lower += 1,
            b'0'..=b'9' => digits += 1,
            b'+' | b'/' | b'-' | b'_' => others += 1,
            _ => return false,
        }
        beyond_hex |= !byte.is_ascii_hexdigit();
    }
    let len = upper + lower + digits + others;
    if !beyond_hex {
        return len > MAX_DIGEST * 2 && digits > 0 && digits < len;
    }
    // Of 64 characters, 26 are upper case, 26 lower case, 10 digits and 2
    // others. Words and paths have few capitals, few digits or many separators.
    len > MAX_DIGEST.div_ceil(3) * 4
        && upper * 6 >= len
        && lower * 6 >= len
        && digits * 24 >= len
        && others * 8 <= len
}

/// Decodes `text`, which must be base64 throughout. Individually padded pieces
/// may follow each other, as in gRPC-Web text.
pub(super) fn decode(text: &[u8], truncated: bool) -> Option<Decoded> {
    let is_part = |byte: u8| value(byte) != NONE || b"\r\n\t =".contains(&byte);
    if !text.iter().all(|&byte| is_part(byte)) {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let mut quantum = 0u32;
    let mut characters = 0usize;
    let mut padding = 0usize;
    let (mut standard, mut url) = (false, false);
    for &byte in text {
        let value = match byte {
            b'\r' | b'\n' | b'\t' => continue,
            b'=' if padding == 2 => return None,
            b'=' => {
                padding += 1;
                continue;
            }
            b' ' => {
                standard = true;
                62
            }
            _ => {
                standard |= matches!(byte, b'+' | b'/');
                url |= matches!(byte, b'-' | b'_');
                value(byte)
            }
        };
        if value == NONE {
            return None;
        }
        if padding > 0 {
            if !(characters + padding).is_multiple_of(4) {
                return None;
            }
            bytes.extend_from_slice(last_bytes(quantum, characters).get(..3 - padding)?);
            (quantum, characters, padding) = (0, 0, 0);
        }
        quantum = quantum << 6 | u32::from(value);
        characters += 1;
        if characters.is_multiple_of(4) {
            bytes.extend_from_slice(&quantum.to_be_bytes()[1..]);
            quantum = 0;
        }
    }
    let [first, second, _] = last_bytes(quantum, characters);
    match characters % 4 {
        0 => {}
        // Six bits do not make a byte.
        1 if !truncated => return None,
        1 => {}
        2 => bytes.push(first),
        _ => bytes.extend_from_slice(&[first, second]),
    }
    let alphabet = match (standard, url) {
        (true, true) => return None,
        (_, true) => Alphabet::Url,
        (_, false) => Alphabet::Standard,
    };
    Some(Decoded { bytes, alphabet })
}

/// Returns the bytes of an incomplete quantum. The number of complete bytes is
/// one less than the number of characters.
fn last_bytes(quantum: u32, characters: usize) -> [u8; 3] {
    let [_, first, second, third] = (quantum << (6 * (4 - characters % 4))).to_be_bytes();
    [first, second, third]
}

#[cfg(test)]
pub(super) fn encode(bytes: &[u8], alphabet: Alphabet, padded: bool) -> String {
    let letter = |value: u32| {
        let value = (value & 63) as u8;
        (0u8..=255)
            .find(|&c| {
                VALUES[usize::from(c)] == value
                    && match alphabet {
                        Alphabet::Standard => !matches!(c, b'-' | b'_'),
                        Alphabet::Url => !matches!(c, b'+' | b'/'),
                    }
            })
            .map_or('=', char::from)
    };
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let quantum = byte(0) << 16 | byte(1) << 8 | byte(2);
        for i in 0..4 {
            match (i <= chunk.len(), padded) {
                (true, _) => out.push(letter(quantum >> (18 - 6 * i))),
                (false, true) => out.push('='),
                (false, false) => {}
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(encoded: &str) -> Option<(String, Alphabet)> {
        let decoded = decode(encoded.as_bytes(), false)?;
        Some((String::from_utf8(decoded.bytes).ok()?, decoded.alphabet))
    }

    /// RFC 4648 section 10.
    #[test]
    fn rfc_test_vectors() {
        for (plain, encoded) in
            [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("", "")]
        {
            assert_eq!(text(encoded), Some((plain.to_owned(), Alphabet::Standard)));
            assert_eq!(encode(plain.as_bytes(), Alphabet::Standard, true), encoded);
            let unpadded = encoded.trim_end_matches('=');
            assert_eq!(text(unpadded), Some((plain.to_owned(), Alphabet::Standard)));
        }
    }

    #[test]
    fn alphabets_are_not_mixed() {
        assert_eq!(decode(b"-_-_", false).map(|d| d.alphabet), Some(Alphabet::Url));
        assert_eq!(decode(b"+/+/", false).map(|d| d.alphabet), Some(Alphabet::Standard));
        assert_eq!(decode(b"+_+_", false), None);
        assert_eq!(decode(b"a.bc", false), None);
        assert_eq!(decode(b"YWJj====", false), None);
    }

    #[test]
    fn tolerates_line_breaks_and_lost_pluses() {
        assert_eq!(text("Zm9v\r\nYmFy").unwrap().0, "foobar");
        let plus = encode(b"\xfb\xef\xbe", Alphabet::Standard, true);
        assert_eq!(plus, "++++");
        assert_eq!(decode(b"+  +", false).unwrap().bytes, b"\xfb\xef\xbe");
    }

    #[test]
    fn lines_and_pieces_are_joined() {
        assert_eq!(text("Zm9v\r\nYg==\r\n").unwrap().0, "foob");
        assert_eq!(text("Zg==Zm8=Zm9v").unwrap().0, "ffofoo");
        assert_eq!(text("Zg=Zm8="), None);
        assert_eq!(text("Zg===Zm8="), None);
    }

    #[test]
    fn decodes_after_a_tag() {
        let encoded = encode(b"{\"url\":\"https://news.example.org/\"}", Alphabet::Url, false);
        for tag in ["1", "x1", "v2A", "abcdefgh"] {
            let decoded = after_prefix(&format!("{tag}{encoded}"), false).unwrap();
            assert!(decoded.bytes.starts_with(b"{\"url\""), "{tag}");
        }
        assert_eq!(after_prefix(&encoded, false), None);
        assert_eq!(after_prefix(&format!("abcdefghi{encoded}"), false), None);
    }

    #[test]
    fn the_filter_passes_every_known_start() {
        for start in KNOWN_STARTS {
            for next in [0u8, 0x55, 0xff] {
                let encoded = encode(&[start, &[next; 4]].concat(), Alphabet::Standard, false);
                let [first, second, ..] = encoded.as_bytes() else { panic!("{encoded}") };
                assert!(may_have_known_start(*first, *second), "{encoded}");
            }
        }
    }

    #[test]
    fn distinguishes_random_bytes_from_words() {
        let bytes: Vec<u8> =
            (0u32..66).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let encoded = encode(&bytes[..], Alphabet::Standard, true);
        assert!(encoded.len() == 88 && !is_random(&encoded), "a digest's length");
        let longer = encoded.repeat(2);
        assert!(is_random(&longer));
        assert!(is_random(&format!("{encoded}\r\n{encoded}")));
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        assert!(!is_random(&hex[..128]) && is_random(&hex));
        for text in [
            "7".repeat(200),
            "politics/story-42/".repeat(10),
            "How-To-Read-The-News-In-2026/".repeat(5),
            "camelCaseWordsAreManyInJava".repeat(5),
        ] {
            assert!(!is_random(&text), "{text}");
        }
    }

    #[test]
    fn truncated_input_yields_a_prefix() {
        let plain = b"https://news.example.org/politics";
        let encoded = encode(plain, Alphabet::Standard, true);
        for len in 0..encoded.len() {
            let decoded = decode(&encoded.as_bytes()[..len], true).unwrap();
            assert!(plain.starts_with(&decoded.bytes));
            assert!(decoded.bytes.len() + 3 >= len / 4 * 3);
        }
        assert_eq!(decode(b"Zm9vY", false), None);
    }

    #[test]
    fn tokens_are_maximal_runs() {
        let text = "v1:aaaaaaaaaaaaaaaa.bb.cccccccccccccccccc== dd";
        assert_eq!(tokens(text).collect::<Vec<_>>(), ["aaaaaaaaaaaaaaaa", "cccccccccccccccccc"]);
    }
}
