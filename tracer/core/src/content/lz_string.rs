//! LZ-String, a compression of JavaScript strings, in all of its forms.
//!
//! ```text
//! stream   bits, most significant first; each code is written lowest bit first
//! code     0: eight bits of a new character   1: sixteen bits   2: the end
//!          3…: an entry of the dictionary, which is known text
//! ```
//!
//! The forms differ in the bits of one unit: six in base64 and in URIs, fifteen in
//! UTF-16, sixteen in bytes and in plain strings. There is no marker; the end code,
//! at the end of the input, and text of printable characters confirm a guess.

use super::compress::End;

/// Minimum number of characters that confirm a guess.
const MIN_CHARS: usize = 12;

/// Number of characters that refute most guesses: they hold two codes.
const HEAD: usize = 4;

/// A way of writing the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Base64,
    Uri,
    Utf16,
    Raw,
}

/// Decompresses text in any textual form.
pub(super) fn decode_text(text: &str, truncated: bool, limit: usize) -> Option<String> {
    let is_unit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-= $".contains(&byte);
    if text.is_ascii() && !text.bytes().all(is_unit) {
        return None;
    }
    let head = text.char_indices().nth(HEAD).map_or(text, |(end, _)| &text[..end]);
    [Form::Base64, Form::Uri, Form::Utf16, Form::Raw].into_iter().find_map(|form| {
        let bits = match form {
            Form::Base64 | Form::Uri => 6,
            Form::Utf16 => 15,
            Form::Raw => 16,
        };
        if let (_, End::Malformed) = decompress(&units(head, form)?, bits, limit) {
            return None;
        }
        accept(&units(text, form)?, bits, truncated, limit)
    })
}

/// Decompresses the form of `compressToUint8Array`.
pub(super) fn decode_bytes(bytes: &[u8], truncated: bool, limit: usize) -> Option<String> {
    if !bytes.len().is_multiple_of(2) && !truncated {
        return None;
    }
    let units: Vec<u16> =
        bytes.chunks_exact(2).map(|unit| u16::from_be_bytes([unit[0], unit[1]])).collect();
    accept(&units, 16, truncated, limit)
}

fn accept(units: &[u16], bits: u32, truncated: bool, limit: usize) -> Option<String> {
    let (text, end) = decompress(units, bits, limit);
    let ends = match end {
        End::Complete | End::Full => true,
        End::Truncated => truncated,
        End::Malformed => false,
    };
    if !ends || text.len() < MIN_CHARS {
        return None;
    }
    let text = String::from_utf16_lossy(&text);
    let ascii = text.chars().filter(char::is_ascii).count();
    (ascii * 4 >= text.chars().count() * 3).then_some(text)
}

fn units(text: &str, form: Form) -> Option<Vec<u16>> {
    let value = |c: char| -> Option<u16> {
        let byte = u8::try_from(c).ok();
        let value = match (form, byte) {
            (Form::Utf16, _) => {
                return u16::try_from(u32::from(c)).ok()?.checked_sub(32).filter(|&v| v < 1 << 15);
            }
            (Form::Raw, _) => return None,
            (_, Some(byte @ b'A'..=b'Z')) => byte - b'A',
            (_, Some(byte @ b'a'..=b'z')) => byte - b'a' + 26,
            (_, Some(byte @ b'0'..=b'9')) => byte - b'0' + 52,
            (_, Some(b'+' | b' ')) => 62,
            (Form::Base64, Some(b'/')) | (Form::Uri, Some(b'-')) => 63,
            _ => return None,
        };
        Some(value.into())
    };
    match form {
        Form::Raw => (!text.is_ascii()).then(|| text.encode_utf16().collect()),
        // The final space of this form may have been trimmed.
        Form::Utf16 => (!text.is_ascii()).then(|| text.chars().map(value).collect()).flatten(),
        Form::Base64 => text.trim_end_matches('=').chars().map(value).collect(),
        Form::Uri => text.trim_end_matches(['=', '$']).chars().map(value).collect(),
    }
}

/// Reads bits from units of a few bits each.
struct Bits<'d> {
    units: &'d [u16],
    width: u32,
    /// Number of bits read.
    at: usize,
}

impl Bits<'_> {
    /// Reads a number, lowest bit first. Returns `None` at the end of the input.
    fn read(&mut self, count: u32) -> Option<u32> {
        let mut value = 0;
        for bit in 0..count {
            let unit = self.units.get(self.at / self.width as usize)?;
            let shift = self.width as usize - 1 - self.at % self.width as usize;
            value |= u32::from(unit >> shift & 1) << bit;
            self.at += 1;
        }
        Some(value)
    }

    /// Returns the number of units that were not touched.
    fn left(&self) -> usize {
        self.units.len() - self.at.div_ceil(self.width as usize).min(self.units.len())
    }
}

/// Decompresses up to `limit` characters. Ends as malformed at the first character
/// that text does not have.
fn decompress(units: &[u16], width: u32, limit: usize) -> (Vec<u16>, End) {
    let mut bits = Bits { units, width, at: 0 };
    let mut out: Vec<u16> = Vec::new();
    // Every entry is a part of the text: its start and length.
    let mut entries: Vec<(usize, usize)> = vec![(0, 0); 3];
    let mut width = 2;
    let mut enlarge_in = 1usize;
    let mut previous: Option<(usize, usize)> = None;
    let end = loop {
        if out.len() >= limit {
            break End::Full;
        }
        let Some(code) = bits.read(width) else {
            break End::Truncated;
        };
        let start = out.len();
        let mut entry = None;
        match code {
            0 | 1 => {
                let Some(c) = bits.read(if code == 0 { 8 } else { 16 }) else {
                    break End::Truncated;
                };
                if c < 0x20 && !matches!(c, 9 | 10 | 13) || (0x7f..0xa0).contains(&c) {
                    break End::Malformed;
                }
                out.push(u16::try_from(c).unwrap_or_default());
                entries.push((start, 1));
                // The first character enlarges nothing.
                if previous.is_some() {
                    enlarge_in -= 1;
                }
            }
            2 if bits.left() <= 2 => break End::Complete,
            2 => break End::Malformed,
            code => entry = Some(code as usize),
        }
        if enlarge_in == 0 {
            enlarge_in = 1 << width;
            width += 1;
        }
        if let Some(code) = entry {
            let Some(last) = previous else {
                break End::Malformed;
            };
            let (from, len) = match entries.get(code) {
                Some(&entry) => entry,
                None if code == entries.len() => (last.0, last.1 + 1),
                None => break End::Malformed,
            };
            // The entry may overlap the text that it produces.
            for at in from..from + len {
                let c = out.get(at).copied().unwrap_or_default();
                out.push(c);
            }
        }
        let len = out.len() - start;
        match previous {
            None => {
                // The next code has three bits.
                width = 3;
                enlarge_in = 4;
            }
            Some((from, len)) => {
                entries.push((from, len + 1));
                enlarge_in -= 1;
                if enlarge_in == 0 {
                    enlarge_in = 1 << width;
                    width += 1;
                }
            }
        }
        previous = Some((start, len));
    };
    (out, end)
}
