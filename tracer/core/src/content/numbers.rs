//! Bytes and characters that are written as numbers.
//!
//! ```text
//! [31, 139, 8, 0, …]   [31, -117, 8, 0, …]   bytes, unsigned and signed
//! {"0": 31, "1": 139, …}                     an array with its indexes as names
//! {"type": "Buffer", "data": [31, …]}        a buffer of Node.js
//! [104, 116, 116, 112, …]                    characters, also beyond U+00FF
//! {"words": [1752462448, …]}                 32-bit words, most significant byte first
//! [0, 1, 1, 0, 1, 0, 0, 0, …]                bits, most significant bit first
//! ["h", "t", "t", "p", …]                    characters as texts
//! ```
//!
//! [`lists`](super::lists) reads the same in a text.

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
    kind: Kind,
    /// Number of elements since the last array began.
    row: usize,
    /// The elements, if they are texts of several characters, each after a comma.
    texts: String,
    container: u32,
    /// Length of the numbers as they were written, with separators.
    written: usize,
    truncated: bool,
}

/// The kind of the elements.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Numbers.
    #[default]
    Numbers,
    /// Texts of one character.
    Characters,
    /// Texts of two to four characters, such as `"104"` and `"0x68"`.
    Texts,
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
        let kind = match leaf.value.len() {
            _ if leaf.scalar => Kind::Numbers,
            2..=4 if leaf.value.iter().all(u8::is_ascii_alphanumeric) => Kind::Texts,
            _ => Kind::Characters,
        };
        let number = match kind {
            Kind::Numbers => parse(&leaf.value),
            Kind::Characters => character(&leaf.value),
            Kind::Texts => Some(0),
        };
        let Some(number) = number else {
            return self.take();
        };
        let Some((last, parent)) = element(path.segments()) else {
            return self.take();
        };
        let index = match last {
            Segment::Index(index) => Some(*index),
            Segment::Key(key) => key.parse().ok(),
        };
        // Short arrays in an array are rows of one.
        let is_row = index == Some(0) && is_inner(parent) && self.row < MIN_COUNT;
        let continues = (index == Some(self.row) || is_row)
            && !self.list.is_empty()
            && is_same(&self.parent, parent)
            && self.kind == kind;
        let done = if continues { None } else { self.take() };
        if continues || index == Some(0) {
            if !continues {
                self.parent = parent.iter().map(owned).collect();
                self.container = leaf.container;
                self.kind = kind;
            }
            self.list.push(number);
            self.row = if is_row { 1 } else { self.row + 1 };
            if kind == Kind::Texts
                && let Ok(text) = std::str::from_utf8(&leaf.value)
            {
                self.texts.push_str(if self.texts.is_empty() { "" } else { "," });
                self.texts.push_str(text);
            }
            // A text has quotation marks.
            self.written += leaf.value.len() + if leaf.scalar { 1 } else { 3 };
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

    /// Returns the elements as a list, if they are texts of several characters.
    pub(super) fn texts(&self) -> Option<&str> {
        (self.kind == Kind::Texts).then_some(&self.texts)
    }

    /// Returns other bytes that the numbers can stand for, less usual ones: units of two bytes, and
    /// words with the least significant byte first.
    pub(super) fn alternatives(&self) -> impl Iterator<Item = Vec<u8>> {
        let list = if self.kind == Kind::Numbers { &self.list[..] } else { &[] };
        let max = list.iter().copied().max().unwrap_or(0);
        let is_wide = max > 0xffff || list.iter().any(|number| *number < -0x8000);
        let units: &[(usize, bool)] = match max {
            ..=0xff if !is_wide => &[],
            _ if is_wide => &[(4, false)],
            _ => &[(2, false), (2, true)],
        };
        units.iter().map(move |&(len, big_endian)| {
            let bytes = list.iter().flat_map(move |number| {
                let mut bytes = number.to_le_bytes();
                let unit = bytes.get_mut(..len).unwrap_or_default();
                if big_endian {
                    unit.reverse();
                }
                bytes.into_iter().take(len)
            });
            bytes.collect()
        })
    }

    /// Returns the numbers as units that are only compared with each other.
    pub(super) fn units(&self) -> Vec<u32> {
        self.list.iter().map(|number| *number as u32).collect()
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
        let list = self.list.get(..len)?;
        if self.kind == Kind::Texts {
            return None;
        }
        if self.kind == Kind::Characters {
            let text: Option<String> =
                list.iter().map(|&c| u32::try_from(c).ok().and_then(char::from_u32)).collect();
            return Some(Decoded { bytes: text?.into_bytes(), is_bytes: false });
        }
        decode(list)
    }
}

/// Splits the path of a value into its index and the path of its array. The values may be the only
/// members of the objects in an array.
fn element<'p, 's>(path: &'p [Segment<'s>]) -> Option<(&'p Segment<'s>, &'p [Segment<'s>])> {
    match path {
        [parent @ .., last @ Segment::Index(_)] => Some((last, parent)),
        [.., last @ Segment::Index(_), Segment::Key(key)] if key.parse::<usize>().is_err() => {
            Some((last, path))
        }
        _ => path.split_last(),
    }
}

/// Reports whether the parent of numbers is itself the element of an array.
fn is_inner(parent: &[Segment<'_>]) -> bool {
    matches!(parent, [.., Segment::Index(_)])
}

/// Reports whether two paths are the same except for their indexes.
fn is_same(one: &[Segment<'_>], other: &[Segment<'_>]) -> bool {
    one.len() == other.len()
        && one.iter().zip(other).all(|pair| match pair {
            (Segment::Index(_), Segment::Index(_)) => true,
            (one, other) => one == other,
        })
}

/// Returns the code of a text of one character.
fn character(text: &[u8]) -> Option<i64> {
    /// Maximum length of a character in UTF-8.
    const MAX: usize = 4;
    let text = std::str::from_utf8(text.get(..text.len().min(MAX + 1))?).ok()?;
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none()).map(|c| u32::from(c).into())
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
    if min >= 0 && max <= 1 {
        return bits(numbers);
    }
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

/// Returns the bytes whose bits are these numbers, if they are enough.
fn bits(numbers: &[i64]) -> Option<Decoded> {
    let (bytes, _) = numbers.as_chunks::<8>();
    let byte = |bits: &[i64; 8]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit == 1));
    let bytes: Vec<u8> = bytes.iter().map(byte).collect();
    (bytes.len() >= MIN_COUNT).then_some(Decoded { bytes, is_bytes: false })
}

/// Reports whether bytes look random: every quarter of their range is in use.
pub(super) fn is_random(bytes: &[u8]) -> bool {
    /// Fewer bytes are a digest or a key.
    const MIN: usize = 80;
    let mut quarters = [0usize; 4];
    bytes.iter().for_each(|byte| quarters[usize::from(byte >> 6)] += 1);
    bytes.len() >= MIN && quarters.iter().all(|&count| count * 8 >= bytes.len())
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
        let bits: Vec<i64> =
            URL.bytes().flat_map(|b| (0..8).rev().map(move |at| i64::from(b >> at & 1))).collect();
        assert_eq!(decode(&bits).unwrap().bytes, URL.as_bytes());
        assert_eq!(decode(&[0, 1, 1, 0, 1]), None);
        assert_eq!(decode(&[1 << 40, 2]), None);
        assert_eq!(decode(&[]), None);
    }
}
