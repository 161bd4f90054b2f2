//! Zstandard (RFC 8878), block by block.
//!
//! ```text
//! frame    magic | descriptor, window, dictionary, size | block … | [checksum]
//! block    last:1 type:2 size:21, little endian | content
//! ```
//!
//! The decoder keeps a window's worth of output back until a frame is
//! finished. A frame that is cut is therefore finished for it with an empty
//! last block behind the last whole one.

use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

use super::{Decoded, End};

/// Largest window that is accepted, in bytes. RFC 8878 recommends that
/// decoders support 8 MiB and that encoders need no more.
const MAX_WINDOW: u64 = 8 << 20;

/// A raw block of no bytes that ends a frame, and a checksum in case the frame
/// announced one. It is not compared.
const EMPTY_LAST_BLOCK: [u8; 7] = [1, 0, 0, 0, 0, 0, 0];

/// Decodes all frames, skipping those that hold no data.
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

/// The length of a skippable frame (RFC 8878 section 3.1.2).
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
        // A frame header is 18 bytes at most.
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
            // The last block can be whole and only the checksum be cut.
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

/// The length of the block that starts `input`; `None` when it is cut.
fn block_len(input: &[u8]) -> Option<usize> {
    let [a, b, c, content @ ..] = input else {
        return None;
    };
    let header = u32::from_le_bytes([*a, *b, *c, 0]);
    let size = match header >> 1 & 3 {
        // RLE: one byte, however long.
        1 => 1,
        _ => usize::try_from(header >> 3).ok()?,
    };
    (size <= content.len()).then_some(size + 3)
}

fn finish(decoder: &mut FrameDecoder) {
    if !decoder.is_finished() {
        // It cannot fail, and nothing could be done about it.
        let _ = decoder.decode_blocks(&EMPTY_LAST_BLOCK[..], BlockDecodingStrategy::All);
    }
}

fn collect(decoder: &mut FrameDecoder, bytes: &mut Vec<u8>) {
    if let Some(collected) = decoder.collect() {
        bytes.extend_from_slice(&collected);
    }
}
