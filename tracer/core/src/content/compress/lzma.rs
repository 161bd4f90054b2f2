//! LZMA, in the container XZ or behind its own header.
//!
//! ```text
//! xz      fd 37 7a 58 5a 00 | flags, crc | block, block, … | index, footer
//! lzma    5d | dictionary:4 | length:8, or all ones | 00 …
//! ```

use lzma_rust2::{Action, LzmaStream, Result, Status, StreamResult, XzStream};

use super::{CHUNK, Decoded, End};

/// Maximum memory of a decoder in KiB. The highest preset of the usual encoders has a
/// dictionary of 64 MiB; memory that a short stream does not reach is never touched.
const MEMORY: u32 = 66 << 10;

/// Length of the header of LZMA, with the first byte of the content, which is zero.
const HEADER: usize = 14;

/// Reports whether the input starts with the magic number of XZ.
pub(super) fn is_xz(input: &[u8]) -> bool {
    input.starts_with(b"\xfd7zXZ\0")
}

/// Reports whether the input starts with a header that encoders of LZMA write: the usual
/// parameters, a dictionary of a usual size, and a possible length.
pub(super) fn is_lzma(input: &[u8]) -> bool {
    const PARAMETERS: u8 = 0x5d;
    const DICTIONARIES: std::ops::RangeInclusive<u32> = 1 << 12..=1 << 26;
    let Some((&[PARAMETERS, a, b, c, d, ref length @ .., 0], _)) =
        input.split_first_chunk::<HEADER>()
    else {
        return false;
    };
    let dictionary = u32::from_le_bytes([a, b, c, d]);
    // Two to the power of n, or that and its half.
    let is_usual = dictionary.is_power_of_two()
        || dictionary.is_multiple_of(3) && (dictionary / 3).is_power_of_two();
    let length = u64::from_le_bytes(*length);
    is_usual && DICTIONARIES.contains(&dictionary) && (length == u64::MAX || length >> 32 == 0)
}

/// Decodes up to `limit` bytes of XZ.
pub(super) fn decode_xz(input: &[u8], limit: usize) -> Decoded {
    let mut stream = XzStream::new_mem_limit(false, MEMORY);
    decode_with(input, limit, |input, output, action| stream.process(input, output, action))
}

/// Decodes up to `limit` bytes of LZMA.
pub(super) fn decode(input: &[u8], limit: usize) -> Decoded {
    let mut stream = LzmaStream::new_mem_limit(MEMORY, None);
    decode_with(input, limit, |input, output, action| stream.process(input, output, action))
}

fn decode_with(
    input: &[u8],
    limit: usize,
    mut process: impl FnMut(&[u8], &mut [u8], Action) -> Result<StreamResult>,
) -> Decoded {
    let mut bytes = Vec::new();
    let mut used = 0;
    // The decoder keeps the last bytes of its input until it is told that they are the last.
    // A failure then loses what the same call has decoded, so a call decodes one byte.
    let mut action = Action::Run;
    let end = loop {
        let filled = bytes.len();
        let step = if action == Action::Run { CHUNK } else { 1 };
        // One more byte shows whether the output ends at the limit.
        bytes.resize(filled + (limit.saturating_add(1) - filled).min(step), 0);
        let rest = input.get(used..).unwrap_or_default();
        let step = process(rest, &mut bytes[filled..], action);
        let (taken, made) =
            step.as_ref().map_or((0, 0), |it| (it.bytes_consumed, it.bytes_produced));
        bytes.truncate(filled + made);
        used = (used + taken).min(input.len());
        match step {
            _ if bytes.len() > limit => {
                bytes.truncate(limit);
                break End::Full;
            }
            Ok(StreamResult { status: Status::StreamEnd, .. }) => break End::Complete,
            Ok(_) if taken > 0 || made > 0 => {}
            Ok(_) if action == Action::Run => action = Action::Finish,
            Err(_) if action == Action::Run => break End::Malformed,
            Ok(_) | Err(_) => break End::Truncated,
        }
    };
    Decoded { bytes, end, used }
}
