//! Bytes that are written as one large number: base10, base36, base58, base62.
//!
//! The first digit depends on the last byte, so a number that is cut says nothing. Nothing
//! marks a number. A number counts only if its bytes begin like an address, JSON or compressed
//! data.

use super::{base64::has_known_start, compress, json, text};

/// Minimum number of digits: `http://a.b` in base62.
const MIN: usize = 14;
/// Maximum number of digits. The time grows with their square.
const MAX: usize = 2048;

/// Bitcoin's alphabet.
pub(super) const BASE58: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

const ALPHABETS: [&[u8]; 9] = [
    b"0123456789",
    b"0123456789abcdefghijklmnopqrstuvwxyz",
    BASE58,
    b"123456789abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ",
    b"rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz",
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
];

/// Reports whether a text can be a number in one of the alphabets.
pub(super) fn is_candidate(text: &str) -> bool {
    (MIN..=MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// Returns the cost of [`decode`], in bytes inspected.
pub(super) fn cost(len: usize) -> usize {
    len + len * len / 16
}

/// Decodes a number whose bytes begin like common content.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    if !is_candidate(text) {
        return None;
    }
    let has_both_cases = text.bytes().any(|b| b.is_ascii_lowercase())
        && text.bytes().any(|b| b.is_ascii_uppercase());
    ALPHABETS.iter().find_map(|alphabet| {
        let bytes = match alphabet.len() {
            36 if has_both_cases => return None,
            36 => number(&text.to_ascii_lowercase(), alphabet)?,
            _ => number(text, alphabet)?,
        };
        let is_text = || text::as_text(&bytes, false).is_some() || json::is_document(&bytes, false);
        (has_known_start(&bytes) && (compress::magic(&bytes).is_some() || is_text()))
            .then_some(bytes)
    })
}

/// Returns the bytes of a number, the most significant first.
fn number(text: &str, alphabet: &[u8]) -> Option<Vec<u8>> {
    /// Marks bytes that do not belong to an alphabet.
    const NONE: u8 = 0xff;
    let mut values = [NONE; 256];
    for (value, digit) in (0u8..).zip(alphabet) {
        values[usize::from(*digit)] = value;
    }
    let base = u32::try_from(alphabet.len()).ok()?;
    // As many digits at a time as fit into a word.
    let group = usize::try_from(u32::MAX.ilog(base)).ok()?;
    // Words of the number, the least significant first.
    let mut words: Vec<u32> = Vec::with_capacity(text.len() / 4);
    for digits in text.as_bytes().chunks(group) {
        let mut factor = 1u32;
        let mut carry = 0u32;
        for digit in digits {
            let value = values[usize::from(*digit)];
            if value == NONE {
                return None;
            }
            factor *= base;
            carry = carry * base + u32::from(value);
        }
        for word in &mut words {
            let product = u64::from(*word) * u64::from(factor) + u64::from(carry);
            let [low, high] = halves(product);
            (*word, carry) = (low, high);
        }
        if carry > 0 {
            words.push(carry);
        }
    }
    let mut bytes: Vec<u8> = words.iter().rev().flat_map(|word| word.to_be_bytes()).collect();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    Some(bytes)
}

fn halves(number: u64) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    [u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])]
}

/// Writes bytes as a number.
#[cfg(test)]
pub(super) fn encode(bytes: &[u8], alphabet: &[u8]) -> String {
    let mut digits: Vec<usize> = Vec::new();
    for byte in bytes {
        let mut carry = usize::from(*byte);
        for digit in &mut digits {
            let value = *digit * 256 + carry;
            (*digit, carry) = (value % alphabet.len(), value / alphabet.len());
        }
        while carry > 0 {
            digits.push(carry % alphabet.len());
            carry /= alphabet.len();
        }
    }
    digits.iter().rev().map(|digit| char::from(alphabet[*digit])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://news.example.org/politics/story-42?q=private";

    #[test]
    fn numbers_are_decoded_in_every_alphabet() {
        for alphabet in ALPHABETS {
            let text = encode(URL.as_bytes(), alphabet);
            assert_eq!(decode(&text).as_deref(), Some(URL.as_bytes()), "{text}");
            for len in 0..text.len() {
                let bytes = decode(&text[..len]);
                assert_eq!(bytes, None, "{text} to {len}");
            }
        }
        // From Python's `int.from_bytes`, and written in Bitcoin's alphabet.
        for text in [
            "69050536252779739761976531235344297213773756588872041092184950192172242031297629922915233058121741243607159931662115530699877",
            "S5Eokt4BcQdmiwBxo3iEUfVrRPoH5Cu9GEoqmKqczhkx5tta2wYYLNNd96vhktuSv1tSFME",
        ] {
            assert_eq!(decode(text).as_deref(), Some(URL.as_bytes()), "{text}");
        }
    }

    #[test]
    fn other_text_is_no_number() {
        for text in [
            "7f3c2a109b1e4c578f7e5d0a2b6c9e11",
            "17953820611795382061",
            "ApplicationDidBecomeActiveNotification",
            "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
            "internationalization",
            "",
        ] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
