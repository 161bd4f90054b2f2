//! basE91: thirteen or fourteen bits in two of 91 characters.
//!
//! Nothing marks it, so this module only offers a candidate.

use super::radix::{NONE, values};

/// Minimum length of a candidate: sixteen bytes.
const MIN: usize = 20;

const ALPHABET: &[u8; 91] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&()*+,./:;<=>?@[]^_`{|}~\"";

static VALUES: [u8; 256] = values(ALPHABET);

/// Returns what a text decodes to. Text without punctuation is in another encoding.
pub(super) fn decode(text: &str, truncated: bool) -> Option<Vec<u8>> {
    let digits = text.trim_ascii().as_bytes();
    let is_candidate = digits.len() >= MIN
        && digits.iter().any(|b| b.is_ascii_punctuation() && !b"+/=_.".contains(b));
    if !is_candidate {
        return None;
    }
    let mut out = Vec::with_capacity(digits.len() * 13 / 16);
    let (mut bits, mut count) = (0u32, 0);
    for pair in digits.chunks(2) {
        let mut values = pair.iter().map(|digit| VALUES[usize::from(*digit)]);
        let (first, second) = (values.next()?, values.next());
        if first == NONE || second == Some(NONE) {
            return None;
        }
        match second {
            Some(second) => {
                let value = u32::from(first) + u32::from(second) * 91;
                bits |= value << count;
                // Fourteen bits, if the lower thirteen are a small number.
                count += if value & 0x1fff > 88 { 13 } else { 14 };
            }
            None if truncated => break,
            None => {
                bits |= u32::from(first) << count;
                count += 7;
            }
        }
        while count >= 8 {
            out.push(bits.to_le_bytes()[0]);
            bits >>= 8;
            count -= 8;
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_characters_are_decoded() {
        let text = encode(b"{\"u\":\"https://news.example.org/politics/story-42?q=private\"}");
        let whole = decode(&text, false).unwrap();
        assert_eq!(whole, b"{\"u\":\"https://news.example.org/politics/story-42?q=private\"}");
        for len in MIN..text.len() {
            if let Some(bytes) = decode(&text[..len], true) {
                assert!(whole.starts_with(&bytes), "{len}");
            }
        }
        for other in ["aHR0cHM6Ly9uZXdzLmV4YW1wbGUub3Jn", "a text with spaces; and signs", "short!"]
        {
            assert_eq!(decode(other, false), None, "{other}");
        }
    }

    /// Encodes bytes.
    fn encode(bytes: &[u8]) -> String {
        let mut out = String::new();
        let (mut bits, mut count) = (0u32, 0);
        let mut push = |value: u32| {
            out.push(char::from(ALPHABET[(value % 91) as usize]));
            out.push(char::from(ALPHABET[(value / 91) as usize]));
        };
        for byte in bytes {
            bits |= u32::from(*byte) << count;
            count += 8;
            if count > 13 {
                let len = if bits & 0x1fff > 88 { 13 } else { 14 };
                push(bits & ((1 << len) - 1));
                bits >>= len;
                count -= len;
            }
        }
        if count > 0 {
            push(bits);
        }
        out
    }
}
