//! bzip2, of which every whole block of a truncated stream is decoded.

use bzip2::{Decompress, Status};

use super::{CHUNK, Decoded, End};

/// Reports whether the input starts with the header of a stream and of its first
/// block, or of an empty stream.
pub(super) fn is_marked(input: &[u8]) -> bool {
    const BLOCK: &[u8] = b"1AY&SY";
    matches!(input, [b'B', b'Z', b'h', b'1'..=b'9', rest @ ..]
        if rest.len() >= BLOCK.len() && rest.starts_with(BLOCK))
}

/// Decodes up to `limit` bytes.
pub(super) fn decode(input: &[u8], limit: usize) -> Decoded {
    let mut stream = Decompress::new(false);
    let mut bytes = Vec::new();
    let used = |stream: &Decompress| {
        usize::try_from(stream.total_in()).unwrap_or(input.len()).min(input.len())
    };
    let end = loop {
        let (at, before) = (used(&stream), bytes.len());
        bytes.reserve((limit - before).clamp(1, CHUNK));
        let status = stream.decompress_vec(&input[at..], &mut bytes);
        let over = bytes.len() > limit;
        bytes.truncate(limit);
        match status {
            _ if over => break End::Full,
            Ok(Status::StreamEnd) => break End::Complete,
            Ok(_) if used(&stream) > at || bytes.len() > before => {}
            Ok(_) => break End::Truncated,
            Err(_) => break End::Malformed,
        }
    };
    Decoded { bytes, end, used: used(&stream) }
}
