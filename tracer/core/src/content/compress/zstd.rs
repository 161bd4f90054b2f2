//! Zstandard (RFC 8878), decoded block by block.
//!
//! ```text
//! frame    magic | descriptor, window, dictionary, size | block … | [checksum]
//! block    last:1 type:2 size:21, little endian | content
//! ```
//!
//! The decoder retains one window of output until the frame ends. A truncated
//! frame is therefore terminated with an empty last block after its last
//! complete one.

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{Decoded, End};

/// Maximum window size, in bytes. RFC 8878 recommends that decoders support 8
/// MiB and that encoders do not exceed it.
const MAX_WINDOW: u64 = 8 << 20;

/// An empty raw block that ends a frame, followed by a checksum in case the
/// frame has one. The checksum is not verified.
const EMPTY_LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// Decodes all frames and skips those without data.
pub(super) fn decode(input: &[u8], limit: usize) -> Decoded {
    let mut all = Decoded { bytes: Vec::new(), end: End::Malformed, used: 0 };
    while let Some(rest) = input.get(all.used..).filter(|rest| !rest.is_empty()) {
        if let Some(len) = skippable_len(rest) {
            let cut = len > rest.len();
            all.used += len.min(rest.len());
            all.end = if cut { End::Truncated } else { End::Complete };
            continue;
        }
        let frame = frame(rest, limit - all.bytes.len());
        if frame.used == 0 && all.used > 0 {
            break;
        }
        all.used += frame.used;
        all.end = frame.end;
        all.bytes.extend_from_slice(&frame.bytes);
        if frame.end != End::Complete {
            break;
        }
    }
    all
}

/// Returns the length of a skippable frame (RFC 8878 section 3.1.2).
fn skippable_len(input: &[u8]) -> Option<usize> {
    match input {
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, ..] => {
            usize::try_from(u32::from_le_bytes([*a, *b, *c, *d])).ok()?.checked_add(8)
        }
        _ => None,
    }
}

fn frame(input: &[u8], limit: usize) -> Decoded {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW);
    let mut rest = input;
    if decoder.init(&mut rest).is_err() {
        // A frame header has at most 18 bytes.
        let end = if input.len() < 18 { End::Truncated } else { End::Malformed };
        return Decoded { bytes: Vec::new(), end, used: 0 };
    }
    let mut bytes = Vec::new();
    let mut used = input.len() - rest.len();
    let end = loop {
        if bytes.len() >= limit {
            break End::Full;
        }
        let Some(len) = block_len(rest) else {
            finish(&mut decoder);
            break End::Truncated;
        };
        if decoder.decode_blocks(&mut rest, BlockDecodingStrategy::UptoBlocks(1)).is_err() {
            // The last block can be complete with only its checksum truncated.
            let cut = decoder.is_finished() || len > rest.len();
            finish(&mut decoder);
            break if cut { End::Truncated } else { End::Malformed };
        }
        used = input.len() - rest.len();
        if decoder.is_finished() {
            break End::Complete;
        }
        collect(&mut decoder, &mut bytes);
    };
    collect(&mut decoder, &mut bytes);
    let end = if bytes.len() > limit { End::Full } else { end };
    bytes.truncate(limit);
    Decoded { bytes, end, used }
}

/// Returns the length of the first block, or `None` if it is truncated.
fn block_len(input: &[u8]) -> Option<usize> {
    let [a, b, c, content @ ..] = input else {
        return None;
    };
    let header = u32::from_le_bytes([*a, *b, *c, 0]);
    let size = match header >> 1 & 3 {
        // An RLE block stores one byte, whatever its length.
        1 => 1,
        _ => usize::try_from(header >> 3).ok()?,
    };
    (size <= content.len()).then_some(size + 3)
}

fn finish(decoder: &mut FrameDecoder) {
    if !decoder.is_finished() {
        // This cannot fail, and there would be nothing to do about it.
        let _ = decoder.decode_blocks(&EMPTY_LAST_BLOCK[..], BlockDecodingStrategy::All);
    }
}

fn collect(decoder: &mut FrameDecoder, bytes: &mut Vec<u8>) {
    if let Some(collected) = decoder.collect() {
        bytes.extend_from_slice(&collected);
    }
}
