//! Base64 (RFC 4648), found by looking.
//!
//! Nothing marks base64, so a reading is only offered here; whether what it
//! decodes to is convincing decides in [`engine`](super::engine). Two readings
//! of a text are offered:
//!
//! ```text
//! eyJ1cmwiOiJo…fQ==                      the whole text
//! v1:eyJ1cmwi…   data:…;base64,eyJ…      every run of the alphabet in it
//! eyJhbGci….eyJzdWIi….c2lnbmF0…          (so also a JWT's parts)
//! ```

/// Shortest text that is tried. Twelve bytes are the least in which text can
/// be told from an accident.
const MIN_ENCODED: usize = 12;
/// Shortest run that is tried inside a longer text: there are many more.
const MIN_TOKEN: usize = 16;

/// Which characters stand for 62 and 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alphabet {
    /// `+` and `/`, or neither pair was used.
    Standard,
    /// `-` and `_`.
    Url,
}

/// What base64 stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    pub(super) alphabet: Alphabet,
}

/// Not a character of the alphabets.
const NONE: u8 = 0xff;

/// The value of each character, of both alphabets.
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

/// The whole text read as base64, padding or none. Line breaks are skipped,
/// and a space is a `+` that some form decoder has been at.
pub(super) fn whole(text: &str, truncated: bool) -> Option<Decoded> {
    (text.len() >= MIN_ENCODED).then(|| decode(text.as_bytes(), truncated)).flatten()
}

/// The runs of base64 characters inside a longer text.
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

/// Decodes a token, cut or not. A token of paths and words is cheap to refuse:
/// the caller looks at the decoded bytes.
pub(super) fn token(text: &str, truncated: bool) -> Option<Decoded> {
    (text.len() >= MIN_TOKEN).then(|| decode(text.as_bytes(), truncated)).flatten()
}

/// Decodes `text`, all of which must be base64.
pub(super) fn decode(text: &[u8], truncated: bool) -> Option<Decoded> {
    let padding = text.iter().rev().take_while(|&&b| b == b'=').count();
    let text = &text[..text.len() - padding];
    if padding > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 3);
    let mut quantum = 0u32;
    let mut characters = 0usize;
    let (mut standard, mut url) = (false, false);
    for &byte in text {
        let value = match byte {
            b'\r' | b'\n' | b'\t' => continue,
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
        quantum = quantum << 6 | u32::from(value);
        characters += 1;
        if characters.is_multiple_of(4) {
            bytes.extend_from_slice(&quantum.to_be_bytes()[1..]);
            quantum = 0;
        }
    }
    let [_, first, second, _] = (quantum << (6 * (4 - characters % 4))).to_be_bytes();
    match characters % 4 {
        0 => {}
        // Six bits are no byte.
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
    fn vectors_of_the_rfc() {
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
    fn cut_anywhere_gives_a_prefix() {
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
