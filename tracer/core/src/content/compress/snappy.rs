//! Snappy, in frames and in bare blocks.
//!
//! ```text
//! frames     ff 06 00 00 "sNaPpY" | type, length:24 | [checksum] data …
//! Java       82 "SNAPPY" 00 | version, compatible version | length:32, block …
//! block      length of the content (varint) | literals and copies
//! ```

use super::{Decoded, End};

const FRAMES: &[u8; 10] = b"\xff\x06\0\0sNaPpY";
const JAVA: &[u8; 8] = b"\x82SNAPPY\0";

/// Reports whether the input starts with a magic number of Snappy.
pub(super) fn is_marked(input: &[u8]) -> bool {
    input.starts_with(FRAMES) || input.starts_with(JAVA)
}

/// Decodes up to `limit` bytes.
pub(super) fn decode(input: &[u8], limit: usize) -> Decoded {
    let mut bytes = Vec::new();
    let (end, used) = if input.starts_with(FRAMES) {
        frames(input, limit, &mut bytes)
    } else if input.starts_with(JAVA) {
        java(input, limit, &mut bytes)
    } else {
        (block(input, limit, &mut bytes), input.len())
    };
    Decoded { bytes, end, used }
}

fn frames(input: &[u8], limit: usize, out: &mut Vec<u8>) -> (End, usize) {
    const CHECKSUM: usize = 4;
    let mut at = 0;
    while at < input.len() {
        let Some([kind, a, b, c]) = input[at..].first_chunk::<4>() else {
            return (End::Truncated, input.len());
        };
        let size = u32::from_le_bytes([*a, *b, *c, 0]) as usize;
        let rest = &input[at + 4..];
        let content = &rest[..size.min(rest.len())];
        let data = content.get(CHECKSUM..).unwrap_or_default();
        let end = match kind {
            0 => block(data, limit, out),
            1 => {
                let room = limit.saturating_sub(out.len()).min(data.len());
                out.extend_from_slice(&data[..room]);
                if room < data.len() { End::Full } else { End::Complete }
            }
            // Reserved chunks that must not be skipped.
            2..=0x7f => return (End::Malformed, at),
            _ => End::Complete,
        };
        if content.len() < size && end != End::Full {
            return (End::Truncated, input.len());
        }
        if end != End::Complete {
            return (if end == End::Truncated { End::Malformed } else { end }, at);
        }
        at += 4 + size;
    }
    (End::Complete, input.len())
}

fn java(input: &[u8], limit: usize, out: &mut Vec<u8>) -> (End, usize) {
    let mut at = JAVA.len() + 8;
    loop {
        let rest = input.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return (if at == input.len() { End::Complete } else { End::Truncated }, input.len());
        }
        let Some((size, content)) = rest.split_first_chunk::<4>() else {
            return (End::Truncated, input.len());
        };
        let size = u32::from_be_bytes(*size) as usize;
        let end = block(&content[..size.min(content.len())], limit, out);
        if content.len() < size && end != End::Full {
            return (End::Truncated, input.len());
        }
        if end != End::Complete {
            return (if end == End::Truncated { End::Malformed } else { end }, at);
        }
        at += 4 + size;
    }
}

/// Decodes a block, appending to `out`. Copies do not refer to earlier blocks.
fn block(input: &[u8], limit: usize, out: &mut Vec<u8>) -> End {
    let mut size = 0usize;
    let mut header = 0;
    loop {
        let Some(&byte) = input.get(header) else {
            return End::Truncated;
        };
        if header == 5 {
            return End::Malformed;
        }
        size |= usize::from(byte & 0x7f) << (7 * header);
        header += 1;
        if byte < 0x80 {
            break;
        }
    }
    let start = out.len();
    let mut rest = &input[header..];
    while let Some((&tag, after)) = rest.split_first() {
        rest = after;
        let number = |rest: &mut &[u8], len: usize| -> Option<usize> {
            let (bytes, after) = rest.split_at_checked(len)?;
            *rest = after;
            Some(bytes.iter().rev().fold(0, |n, &b| n << 8 | usize::from(b)))
        };
        let upper = usize::from(tag >> 2);
        let copy = match tag & 3 {
            0 => {
                let len = match upper {
                    0..60 => Some(upper),
                    more => number(&mut rest, more - 59),
                };
                let Some(len) = len.map(|len| len + 1) else {
                    return End::Truncated;
                };
                if out.len() - start + len > size {
                    return End::Malformed;
                }
                let known = len.min(rest.len()).min(limit.saturating_sub(out.len()));
                out.extend_from_slice(&rest[..known]);
                if known < len {
                    return if known < rest.len() { End::Full } else { End::Truncated };
                }
                rest = &rest[len..];
                continue;
            }
            1 => {
                number(&mut rest, 1).map(|low| (usize::from(tag >> 5) << 8 | low, (upper & 7) + 4))
            }
            2 => number(&mut rest, 2).map(|offset| (offset, upper + 1)),
            _ => number(&mut rest, 4).map(|offset| (offset, upper + 1)),
        };
        let Some((offset, len)) = copy else {
            return End::Truncated;
        };
        if offset > out.len() - start || out.len() - start + len > size {
            return End::Malformed;
        }
        if !super::copy(out, offset, len, limit) {
            return if offset == 0 { End::Malformed } else { End::Full };
        }
    }
    if out.len() - start == size { End::Complete } else { End::Truncated }
}
