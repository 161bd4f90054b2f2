//! Strings behind their length, in binary formats without a decoder of their own.
//!
//! ```text
//! 00 00 00 34 https://…      32 bits: Thrift, XDR, Tars; little endian: BSON, Qt
//! 00 34 https://…            16 bits: Java, MQTT
//! 34 https://… 24 7f3c…      one byte or a varint: Bond, Tars, .NET, protobuf, Thrift
//! 68 https://…               a zigzag varint: Avro
//! ```
//!
//! A length is often a printable character (`4`, `$`), so that it seems to belong to
//! the text, and the next tag as well. A string is accepted if its length ends it
//! exactly where the text ends or where another string begins.

use std::str;

use super::text::MIN_RUN;

/// Maximum number of bytes between two strings: tags, types and numbers.
const MAX_TAG: usize = 4;

/// Maximum number of bytes between a name and its value.
pub(super) const MAX_DISTANCE: usize = 20;

/// Minimum length of a string.
const MIN_LEN: usize = 3;

/// Minimum length of a string that a short length announces. Shorter ones have to be
/// names that another string follows.
const MIN_SHORT: usize = MIN_RUN;

/// A string, or a run of text without a known length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece<'d> {
    pub(super) text: &'d str,
    /// Position in the input.
    pub(super) start: usize,
    /// The length that says where the string ends.
    pub(super) prefix: Option<Prefix>,
}

/// The way in which a length is written, from the most reliable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prefix {
    /// Four or eight bytes, of which most are zero.
    Long,
    /// Two bytes, or a varint.
    Short,
}

/// Returns the lengths that the bytes before `start` may announce.
fn lengths(input: &[u8], start: usize) -> impl Iterator<Item = (usize, Prefix)> {
    let before = input.get(..start).unwrap_or_default();
    let last = |len: usize| before.len().checked_sub(len).and_then(|at| before.get(at..));
    let be32 = last(4)
        .and_then(|it| it.first_chunk().copied().map(u32::from_be_bytes))
        .filter(|len| *len < 1 << 16);
    let le32 = last(4)
        .and_then(|it| it.first_chunk().copied().map(u32::from_le_bytes))
        .filter(|len| *len < 1 << 16);
    let le64 = last(8)
        .and_then(|it| it.first_chunk().copied().map(u64::from_le_bytes))
        .and_then(|len| u32::try_from(len).ok())
        .filter(|len| *len < 1 << 16);
    let be16 = last(2).and_then(|it| it.first_chunk().copied().map(u16::from_be_bytes));
    let varint = match before {
        [.., low, high] if *low >= 0x80 && *high < 0x80 => {
            Some(u32::from(low & 0x7f) | u32::from(*high) << 7)
        }
        [.., byte] if *byte < 0x80 => Some(u32::from(*byte)),
        _ => None,
    };
    let byte = before.last().map(|&byte| u32::from(byte));
    let long = [be32, le32, le64].into_iter().flatten().map(|len| (len, Prefix::Long));
    let short = [be16.map(u32::from), varint, byte, varint.filter(|n| n % 2 == 0).map(|n| n / 2)];
    long.chain(short.into_iter().flatten().map(|len| (len, Prefix::Short)))
        .filter_map(|(len, prefix)| Some((usize::try_from(len).ok()?, prefix)))
        .filter(|(len, _)| *len >= MIN_LEN)
}

/// Reports whether a string shows by itself where it begins.
fn is_certain(text: &[u8]) -> bool {
    let is_uuid = || {
        text.len() == 36
            && text.iter().enumerate().all(|(at, byte)| match at {
                8 | 13 | 18 | 23 => *byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            })
    };
    [&b"https://"[..], b"http://", b"{\""].iter().any(|start| text.starts_with(start)) || is_uuid()
}

/// A run of text, and what is known about its end.
#[derive(Debug, Clone, Copy)]
struct Run<'d> {
    input: &'d [u8],
    end: usize,
    /// Set if the text may continue after the input.
    open: bool,
}

impl Run<'_> {
    /// Returns the end of a string that has its length before `start`. `skipped` is the
    /// number of characters that are taken for a tag and the length.
    fn string_end(self, start: usize, skipped: usize, depth: usize) -> Option<(usize, Prefix)> {
        let Self { input, end: run_end, open } = self;
        lengths(input, start).find_map(|(len, prefix)| {
            let end = start.checked_add(len).filter(|&end| end <= run_end)?;
            let bytes = input.get(start..end)?;
            let is_certain = is_certain(bytes);
            // Most characters of a text are the length of some part of it.
            let may_skip =
                skipped == 0 || is_certain || skipped <= 2 && end == run_end && depth < DEPTH;
            let is_followed = || {
                (1..=MAX_TAG.min(run_end - end))
                    .any(|tag| depth > 0 && self.string_end(end + tag, tag, depth - 1).is_some())
            };
            // The cheap conditions come first, since most bytes are not lengths.
            let accepted = match prefix {
                Prefix::Long => true,
                Prefix::Short if !may_skip => false,
                Prefix::Short if len < MIN_SHORT => is_followed(),
                // At the cut, an end may be one by chance.
                // Otherwise the run may end with the tag and the value of a number.
                Prefix::Short => !open && run_end - end <= 1 || is_certain && is_followed(),
            };
            let text = str::from_utf8(bytes).ok().filter(|_| accepted)?;
            let has_form = len >= MIN_SHORT || is_name(text);
            let is_plain = prefix == Prefix::Long || !text.contains(['\t', '\r', '\n']);
            (has_form && is_plain).then_some((end, prefix))
        })
    }
}

/// Maximum number of strings that confirm each other by turns.
const DEPTH: usize = 3;

/// Splits a run of text into the strings that their lengths announce. `start` and
/// `end` are the ends of the run. Text without a known length stays whole.
pub(super) fn split(
    input: &[u8],
    start: usize,
    end: usize,
    truncated: bool,
) -> impl Iterator<Item = Piece<'_>> {
    let run = Run { input, end, open: truncated && end == input.len() };
    let mut at = start;
    let mut after_string = false;
    std::iter::from_fn(move || {
        if at >= end {
            return None;
        }
        let string_at = |from: usize| Some((from, run.string_end(from, from - at, DEPTH)?));
        let found = (at..end.min(at + MAX_TAG)).find_map(string_at);
        if let Some((from, (to, prefix))) = found {
            let text = str::from_utf8(input.get(from..to)?).ok()?;
            at = to;
            after_string = true;
            return Some(Piece { text, start: from, prefix: Some(prefix) });
        }
        // What follows the last string is the tag of a number.
        let is_tag = after_string && end - at <= MAX_TAG;
        let text = str::from_utf8(input.get(at..end)?).ok()?;
        let piece = Piece { text, start: at, prefix: None };
        at = end;
        (!is_tag).then_some(piece)
    })
}

/// Reports whether a string looks like the name of a value.
pub(super) fn is_name(text: &str) -> bool {
    let is_name_char =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$' | '-' | ':');
    (2..=64).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '$'))
        && text.chars().all(is_name_char)
        && text.chars().filter(char::is_ascii_digit).count() * 4 <= text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://news.example.org/politics/story-42?q=private";
    const ID: &str = "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11";

    /// Returns the exact strings of an input.
    fn exact(input: &[u8], truncated: bool) -> Vec<&str> {
        super::super::text::run_ranges(input)
            .flat_map(|run| split(input, run.start, run.end, truncated))
            .filter(|piece| piece.prefix.is_some())
            .map(|piece| piece.text)
            .collect()
    }

    fn join(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    #[test]
    fn lengths_end_strings_in_every_notation() {
        let (url, id) = (URL.as_bytes(), ID.as_bytes());
        for input in [
            join(&[b"\x294", url, b"I$", id, b"\0"]),
            join(&[b"\x164", url, b"&$", id, b"0\x01"]),
            join(&[b"\x0b\0\x03\0\0\x004", url, b"\0\x0b\0\x03\0\0\0$", id, b"\0"]),
            join(&[b"\0\x004", url, b"\0$", id, b"\xff"]),
            join(&[b"\0h", url, b"H", id, b"\xff"]),
            join(&[b"4\0\0\0", url, b"$\0\0\0", id]),
            join(&[b"4\0\0\0\0\0\0\0", url, b"$\0\0\0\0\0\0\0", id]),
            join(&[b"\x014", url, b"$", id]),
        ] {
            assert_eq!(exact(&input, false), [URL, ID], "{input:?}");
            for len in 0..input.len() {
                for text in exact(&input[..len], true) {
                    assert!(text == URL || text == ID, "{len}: {text}");
                }
            }
        }
        let long = format!("{URL}&{}", "x".repeat(200));
        let input = join(&[b"\x07\xfd\x01", long.as_bytes(), b"$", id, b"\0"]);
        assert_eq!(exact(&input, false), [&long, ID]);
    }

    #[test]
    fn text_without_a_length_stays_whole() {
        for input in [
            &b"\xffplain text and https://a.test/\xff"[..],
            b"\xff\xfeabc def ghi jkl mno pqr stu vwx yz\x01",
            URL.as_bytes(),
        ] {
            assert!(exact(input, false).is_empty(), "{:?}", exact(input, false));
        }
    }

    #[test]
    fn names_are_words() {
        for name in ["url.full", "user_id", "$device", "client-id"] {
            assert!(is_name(name), "{name}");
        }
        for other in [URL, ID, "page view", "x", "1234", ""] {
            assert!(!is_name(other), "{other}");
        }
    }
}
