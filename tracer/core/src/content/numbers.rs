//! Bytes and characters that are written as numbers.
//!
//! ```text
//! [31, 139, 8, 0, …]   [31, -117, 8, 0, …]   bytes, unsigned and signed
//! {"0": 31, "1": 139, …}                     an array with its indexes as names
//! {"type": "Buffer", "data": [31, …]}        a buffer of Node.js
//! [104, 116, 116, 112, …]                    characters, also beyond U+00FF
//! {"words": [1752462448, …]}                 32-bit words, most significant byte first
//! 31,139,8,0,…   1f 8b 08 00 …   \x1f\x8b…    the same as text
//! ```

use std::borrow::Cow;

use super::{
    chain::{Path, Segment},
    tree::Leaf,
};

/// Minimum number of numbers. Shorter arrays are coordinates, versions and sizes.
pub(super) const MIN_COUNT: usize = 12;

/// An array of numbers, collected value by value.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    parent: Vec<Segment<'static>>,
    list: Vec<i64>,
    container: u32,
    /// Length of the numbers as they were written, with separators.
    written: usize,
    truncated: bool,
}

/// The bytes that an array stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    /// Set if the numbers can only be bytes.
    pub(super) is_bytes: bool,
}

impl Numbers {
    /// Adds a value. Returns the preceding array if the value does not continue it.
    pub(super) fn add(&mut self, path: &Path<'_>, leaf: &Leaf<'_>) -> Option<Self> {
        let number = leaf.scalar.then(|| parse(&leaf.value)).flatten();
        let (Some(number), Some((last, parent))) = (number, path.segments().split_last()) else {
            return self.take();
        };
        let index = match last {
            Segment::Index(index) => Some(*index),
            Segment::Key(key) => key.parse().ok(),
        };
        let continues =
            index == Some(self.list.len()) && !self.list.is_empty() && self.parent == parent;
        let done = if continues { None } else { self.take() };
        if continues || index == Some(0) {
            if !continues {
                self.parent = parent.iter().map(owned).collect();
                self.container = leaf.container;
            }
            self.list.push(number);
            self.written += leaf.value.len() + 1;
            self.truncated = leaf.truncated;
        }
        done
    }

    /// Takes the array, if it is long enough.
    pub(super) fn take(&mut self) -> Option<Self> {
        if self.list.is_empty() {
            return None;
        }
        Some(std::mem::take(self)).filter(|numbers| numbers.list.len() >= MIN_COUNT)
    }

    /// Returns the path of the array.
    pub(super) fn path(&self) -> Path<'static> {
        Path(self.parent.clone())
    }

    pub(super) fn container(&self) -> u32 {
        self.container
    }

    /// Returns the length of the array as it was written.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Returns the bytes that the numbers stand for.
    pub(super) fn decode(&self) -> Option<Decoded> {
        // The last number may be the beginning of a longer one.
        let len = self.list.len() - usize::from(self.truncated);
        decode(self.list.get(..len)?)
    }
}

fn owned(segment: &Segment<'_>) -> Segment<'static> {
    match segment {
        Segment::Key(key) => Segment::Key(Cow::Owned(key.to_string())),
        Segment::Index(index) => Segment::Index(*index),
    }
}

fn parse(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Returns the bytes that numbers stand for: bytes, characters or 32-bit words.
pub(super) fn decode(numbers: &[i64]) -> Option<Decoded> {
    let (&min, &max) = (numbers.iter().min()?, numbers.iter().max()?);
    let low = |number: &i64| number.to_le_bytes()[0];
    if min >= 0 && max <= 0xff || min >= -128 && max <= 127 {
        let bytes = numbers.iter().map(low).collect();
        return Some(Decoded { bytes, is_bytes: true });
    }
    if min >= 0 && max <= 0xffff {
        let units = numbers.iter().filter_map(|&number| u16::try_from(number).ok());
        let text: String =
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        return Some(Decoded { bytes: text.into_bytes(), is_bytes: false });
    }
    let words: Option<Vec<[u8; 4]>> = numbers
        .iter()
        .map(|&number| {
            let word =
                i32::try_from(number).map(i32::cast_unsigned).or_else(|_| u32::try_from(number));
            word.ok().map(u32::to_be_bytes)
        })
        .collect();
    Some(Decoded { bytes: words?.concat(), is_bytes: false })
}

/// Reports whether bytes look random: every quarter of their range is in use.
pub(super) fn is_random(bytes: &[u8]) -> bool {
    /// Fewer bytes are a digest or a key.
    const MIN: usize = 80;
    let mut quarters = [0usize; 4];
    bytes.iter().for_each(|byte| quarters[usize::from(byte >> 6)] += 1);
    bytes.len() >= MIN && quarters.iter().all(|&count| count * 8 >= bytes.len())
}

/// Reads text that consists of numbers, in decimal or in hexadecimal, and of the same
/// separator after each.
pub(super) fn list(text: &str, truncated: bool) -> Option<Vec<u8>> {
    let text = text.trim();
    let text = text.strip_prefix('[').unwrap_or(text);
    let text = text.strip_suffix(']').unwrap_or(text);
    let first = *text.as_bytes().first()?;
    if !(first.is_ascii_hexdigit() || matches!(first, b'-' | b'\\' | b'%')) {
        return None;
    }
    hex_list(text, truncated).or_else(|| decimal_list(text, truncated))
}

fn decimal_list(text: &str, truncated: bool) -> Option<Vec<u8>> {
    let len = text.find(|c: char| !c.is_ascii_digit() && c != '-')?;
    let separator = &text[len..];
    let separator = &separator[..separator
        .find(|c: char| !matches!(c, ',' | ';' | ' ' | '|' | '.' | ':' | '/' | '_'))?];
    if separator.is_empty() {
        return None;
    }
    let mut numbers = Vec::new();
    for part in text.trim_end_matches(separator).split(separator) {
        let is_number = (1..=6).contains(&part.len());
        numbers.push(is_number.then(|| part.parse().ok()).flatten()?);
    }
    if truncated {
        numbers.pop();
    }
    if numbers.len() < MIN_COUNT {
        return None;
    }
    decode(&numbers).map(|decoded| decoded.bytes)
}

/// Reads pairs of hexadecimal digits with a mark before each or a separator between.
fn hex_list(text: &str, truncated: bool) -> Option<Vec<u8>> {
    const MARKS: [&str; 4] = ["\\x", "0x", "\\u00", "%u00"];
    let bytes = text.as_bytes();
    let mark = MARKS.into_iter().find(|mark| text.starts_with(mark)).unwrap_or_default();
    let digits = mark.len();
    let after = text.get(digits + 2..)?;
    let next = match mark {
        "" => after.find(|c: char| c.is_ascii_hexdigit())?,
        _ => after.find(mark)?,
    };
    let separator = after.get(..next)?;
    let is_separator = separator
        .chars()
        .all(|c| matches!(c, ' ' | ':' | '-' | ',' | ';' | '_' | '.' | '\n' | '\r'));
    if !is_separator || mark.is_empty() && separator.is_empty() {
        return None;
    }
    let step = digits + 2 + separator.len();
    let mut out = Vec::with_capacity(bytes.len() / step + 1);
    let mut rest = text;
    while !rest.is_empty() {
        let Some((pair, after)) = rest.strip_prefix(mark).and_then(|it| it.split_at_checked(2))
        else {
            // The last pair may be cut.
            if truncated && rest.len() < step {
                break;
            }
            return None;
        };
        out.push(u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+'))?);
        if after.is_empty() {
            break;
        }
        rest = match after.strip_prefix(separator) {
            Some(rest) => rest,
            None if truncated && separator.starts_with(after) => break,
            None => return None,
        };
    }
    (out.len() >= MIN_COUNT).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://news.example.org/é";

    #[test]
    fn numbers_are_bytes_characters_or_words() {
        let bytes: Vec<i64> = URL.bytes().map(i64::from).collect();
        let signed: Vec<i64> = URL.bytes().map(|b| i64::from(b.cast_signed())).collect();
        let chars: Vec<i64> = "https://bücher.example/ß€".encode_utf16().map(i64::from).collect();
        assert_eq!(decode(&bytes).unwrap().bytes, URL.as_bytes());
        assert_eq!(decode(&signed).unwrap().bytes, URL.as_bytes());
        assert_eq!(decode(&chars).unwrap().bytes, "https://bücher.example/ß€".as_bytes());
        let words: Vec<i64> = b"https://"
            .chunks(4)
            .map(|word| i64::from(u32::from_be_bytes(word.try_into().unwrap())))
            .collect();
        assert_eq!(decode(&words).unwrap().bytes, b"https://");
        assert_eq!(decode(&[1 << 40, 2]), None);
        assert_eq!(decode(&[]), None);
    }

    #[test]
    fn lists_are_read_in_every_notation() {
        let decimal: Vec<String> = URL.bytes().map(|b| b.to_string()).collect();
        let hex: Vec<String> = URL.bytes().map(|b| format!("{b:02x}")).collect();
        for text in [
            decimal.join(","),
            format!("[{}]", decimal.join(", ")),
            decimal.join(" "),
            hex.join(" "),
            hex.join(":"),
            hex.join("-"),
            format!("\\x{}", hex.join("\\x")),
            format!("0x{}", hex.join(", 0x")),
        ] {
            assert_eq!(list(&text, false).as_deref(), Some(URL.as_bytes()), "{text}");
            for len in (0..text.len()).filter(|&len| text.is_char_boundary(len)) {
                if let Some(bytes) = list(&text[..len], true) {
                    assert!(URL.as_bytes().starts_with(&bytes), "{text} to {len}");
                }
            }
        }
        for text in [
            "1.2.3.4",
            "2026-11-30 05:00:00",
            "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11",
            "1,2,3",
            "00:1a:2b:3c:4d:5e",
            "abc, def, ghi, jkl, mno, pqr, stu, vwx, yza, bcd, efg, hij",
        ] {
            assert_eq!(list(text, false), None, "{text}");
        }
    }
}
