//! LZ4, in frames and in bare blocks.
//!
//! ```text
//! frame      04 22 4d 18 | flags, block size, [content size], [dictionary] , checksum |
//!            length (highest bit: stored), block, [checksum] … | 0 | [checksum]
//! Firefox    "mozLz40\0" | length of the content | block
//! others     length of the content | block, or only a block
//! block      token | literals | offset:16 | … , last sequence: only literals
//! ```

use super::{Decoded, End};

const FRAME: &[u8; 4] = b"\x04\x22\x4d\x18";
const FIREFOX: &[u8; 8] = b"mozLz40\0";

/// Reports whether the input starts with a magic number of LZ4.
pub(super) fn is_marked(input: &[u8]) -> bool {
    input.starts_with(FRAME) || input.starts_with(FIREFOX)
}

/// Decodes up to `limit` bytes.
pub(super) fn decode(input: &[u8], limit: usize) -> Decoded {
    if input.starts_with(FRAME) {
        return frame(input, limit);
    }
    if let Some(rest) = input.strip_prefix(FIREFOX) {
        return sized(rest, limit, FIREFOX.len()).unwrap_or(Decoded {
            bytes: Vec::new(),
            end: End::Truncated,
            used: 0,
        });
    }
    let sized = sized(input, limit, 0).filter(|decoded| decoded.end != End::Malformed);
    sized.unwrap_or_else(|| {
        let mut bytes = Vec::new();
        let end = block(input, limit, &mut bytes);
        Decoded { bytes, end, used: input.len() }
    })
}

/// Decodes a block behind the length of its content.
fn sized(input: &[u8], limit: usize, header: usize) -> Option<Decoded> {
    let (size, content) = input.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*size)).ok()?;
    let mut bytes = Vec::new();
    let end = match block(content, limit.min(size.saturating_add(1)), &mut bytes) {
        End::Complete if bytes.len() == size => End::Complete,
        // Part of a block ends between two sequences.
        End::Complete | End::Truncated if bytes.len() < size => End::Truncated,
        End::Full if limit <= size => End::Full,
        _ => End::Malformed,
    };
    Some(Decoded { bytes, end, used: header + input.len() })
}

fn frame(input: &[u8], limit: usize) -> Decoded {
    const BLOCK_CHECKSUM: u8 = 1 << 4;
    const CONTENT_SIZE: u8 = 1 << 3;
    const CONTENT_CHECKSUM: u8 = 1 << 2;
    const DICTIONARY: u8 = 1;
    let mut bytes = Vec::new();
    let ended = |bytes, end, used: usize| Decoded { bytes, end, used: used.min(input.len()) };
    let Some(&flags) = input.get(4) else {
        return ended(bytes, End::Truncated, 0);
    };
    if flags >> 6 != 1 || flags & DICTIONARY != 0 {
        return ended(bytes, End::Malformed, 0);
    }
    let mut at = 7 + if flags & CONTENT_SIZE != 0 { 8 } else { 0 };
    loop {
        let Some(size) = input.get(at..).and_then(|rest| rest.first_chunk::<4>()) else {
            return ended(bytes, End::Truncated, at);
        };
        let size = u32::from_le_bytes(*size);
        at += 4;
        if size == 0 {
            at += if flags & CONTENT_CHECKSUM != 0 { 4 } else { 0 };
            return ended(bytes, End::Complete, at);
        }
        let stored = size >> 31 == 1;
        let size = (size & 0x7fff_ffff) as usize;
        let rest = input.get(at..).unwrap_or_default();
        let content = &rest[..size.min(rest.len())];
        let end = if stored {
            let room = (limit - bytes.len()).min(content.len());
            bytes.extend_from_slice(&content[..room]);
            if room < content.len() { End::Full } else { End::Complete }
        } else {
            block(content, limit, &mut bytes)
        };
        match end {
            // The end of a cut block looks like an error.
            _ if content.len() < size && end != End::Full => {
                return ended(bytes, End::Truncated, input.len());
            }
            End::Complete => {}
            End::Truncated => return ended(bytes, End::Malformed, at),
            other => return ended(bytes, other, at),
        }
        at += size + if flags & BLOCK_CHECKSUM != 0 { 4 } else { 0 };
    }
}

/// Decodes a block after `out`, to which it may refer.
fn block(input: &[u8], limit: usize, out: &mut Vec<u8>) -> End {
    let mut rest = input;
    loop {
        let Some((&token, after)) = rest.split_first() else {
            return End::Truncated;
        };
        rest = after;
        let Some(literals) = length(token >> 4, &mut rest) else {
            return End::Truncated;
        };
        let known = literals.min(rest.len()).min(limit.saturating_sub(out.len()));
        out.extend_from_slice(&rest[..known]);
        if known < literals {
            return if known < rest.len() { End::Full } else { End::Truncated };
        }
        rest = &rest[literals..];
        if rest.is_empty() {
            return End::Complete;
        }
        let Some((offset, after)) = rest.split_first_chunk::<2>() else {
            return End::Truncated;
        };
        rest = after;
        let offset = usize::from(u16::from_le_bytes(*offset));
        let Some(copied) = length(token & 15, &mut rest) else {
            return End::Truncated;
        };
        if !super::copy(out, offset, copied + 4, limit) {
            return if offset == 0 || offset > out.len() { End::Malformed } else { End::Full };
        }
    }
}

/// Reads the length that four bits begin.
fn length(bits: u8, rest: &mut &[u8]) -> Option<usize> {
    let mut length = usize::from(bits);
    if bits < 15 {
        return Some(length);
    }
    loop {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        length += usize::from(byte);
        if byte < 255 {
            return Some(length);
        }
    }
}
