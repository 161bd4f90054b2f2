//! Decompression of streams that may be truncated.
//!
//! Every decoder returns the bytes decoded before the input ends, violates the
//! format, or reaches the limit of the caller. Checksums are not verified,
//! since a truncated stream has none.
//!
//! ```text
//! gzip     1f 8b 08 | flags | mtime | xfl | os | [extra] [name] … | deflate | crc, size
//! zlib     cmf flg (checked: a multiple of 31) | deflate | adler
//! zstd     28 b5 2f fd | frame header | block, block, … | [checksum]
//! lz4      04 22 4d 18 …      bzip2   "BZh" level …      snappy  ff 06 00 00 "sNaPpY" …
//! xz       fd "7zXZ" 00 …     lzma    5d, sizes of dictionary and content …
//! br, raw deflate, blocks of snappy and lz4: no marker
//! ```

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};

use super::chain::Coding;

mod bzip2;
mod lz4;
mod lzma;
mod snappy;
mod zstd;

/// Number of bytes by which a decoder grows its output.
const CHUNK: usize = 32 * 1024;

/// The way in which decoding ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The stream ended.
    Complete,
    /// The input ended first.
    Truncated,
    /// The stream violates its format.
    Malformed,
    /// The limit was reached.
    Full,
}

/// The result of decompression.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    pub(super) end: End,
    /// Number of input bytes consumed.
    pub(super) used: usize,
}

/// Recognises a format by its first bytes.
///
/// Gzip and Zstandard have real magic numbers. The two bytes of zlib match one
/// random pair in a thousand, so a match has to be confirmed by decoding.
pub(super) fn magic(input: &[u8]) -> Option<Coding> {
    match input {
        [0x1f, 0x8b, 0x08, flags, ..] if flags & 0xe0 == 0 => Some(Coding::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Coding::Zstd),
        _ if lz4::is_marked(input) => Some(Coding::Lz4),
        _ if snappy::is_marked(input) => Some(Coding::Snappy),
        _ if bzip2::is_marked(input) => Some(Coding::Bzip2),
        _ if lzma::is_xz(input) => Some(Coding::Xz),
        _ if lzma::is_lzma(input) => Some(Coding::Lzma),
        [cmf, flg, _, ..] if is_zlib(*cmf, *flg) => Some(Coding::Zlib),
        _ => None,
    }
}

/// Returns compressed data that was written backwards: the magic number is at its end.
pub(super) fn reversed(input: &[u8]) -> Option<Vec<u8>> {
    /// Longer than every magic number, and than a mark that is there by chance.
    const MIN: usize = 24;
    let mut start: Vec<u8> = input.iter().rev().take(10).copied().collect();
    let coding = magic(&start).filter(|coding| *coding != Coding::Zlib && input.len() >= MIN)?;
    // Flags and the system that made it.
    let is_gzip =
        coding != Coding::Gzip || start.get(8).is_some_and(|flags| matches!(flags, 0 | 2 | 4));
    is_gzip.then(|| {
        start.extend(input.iter().rev().skip(start.len()));
        start
    })
}

/// Reports whether the input starts with a magic number of ASCII characters.
pub(super) fn is_ascii_magic(input: &[u8]) -> bool {
    lz4::is_marked(input) || bzip2::is_marked(input)
}

/// Checks a zlib header (RFC 1950 section 2.2): method 8, a valid window size,
/// correct check bits, and no preset dictionary.
fn is_zlib(cmf: u8, flg: u8) -> bool {
    cmf & 0x0f == 8
        && cmf >> 4 <= 7
        && flg & 0x20 == 0
        && u16::from_be_bytes([cmf, flg]).is_multiple_of(31)
}

/// Reports whether bytes may begin with a block of deflate (RFC 1951 section 3.2.3). Most others do
/// not, and finding that out is far cheaper than to start a decompressor.
pub(super) fn may_be_deflate(input: &[u8]) -> bool {
    let Some(head) = input.first_chunk::<16>().map(|head| u128::from_le_bytes(*head)) else {
        return true;
    };
    let bits = |at: u32, count: u32| head >> at & ((1 << count) - 1);
    match bits(1, 2) {
        // Stored: the length, and its complement.
        0 => bits(8, 16) ^ bits(24, 16) == 0xffff,
        1 => true,
        // Dynamic codes: the lengths of the code in which their lengths are written.
        2 => {
            let count = u32::try_from(bits(13, 4)).unwrap_or(0) + 4;
            let lengths = (0..count).map(|at| bits(17 + 3 * at, 3)).filter(|&length| length > 0);
            let (used, space) =
                lengths.fold((0, 0), |(used, space), length| (used + 1, space + (128 >> length)));
            used < 2 || space == 128
        }
        _ => false,
    }
}

/// Decodes up to `limit` bytes. Streams of the same format may follow each other.
pub(super) fn decode(coding: Coding, input: &[u8], limit: usize) -> Decoded {
    /// Starting each of them costs as much as the first.
    const MAX_STREAMS: usize = 8;
    let mut all = decode_stream(coding, input, limit);
    for _ in 1..MAX_STREAMS {
        let rest = input.get(all.used..).unwrap_or_default();
        if all.end != End::Complete || magic(rest) != Some(coding) {
            break;
        }
        let next = decode_stream(coding, rest, limit - all.bytes.len());
        if next.bytes.is_empty() || coding == Coding::Zlib && next.end != End::Complete {
            break;
        }
        all.bytes.extend_from_slice(&next.bytes);
        (all.end, all.used) = (next.end, all.used + next.used);
    }
    all
}

/// Reports whether bytes are the checksum of what a stream of deflate holds: that of zlib, or
/// the one of gzip with the length.
pub(super) fn is_checksum(bytes: &[u8], content: &[u8]) -> bool {
    const MODULUS: u32 = 65_521;
    let adler = || {
        let (low, high) = content.iter().fold((1u32, 0u32), |(low, high), byte| {
            let low = (low + u32::from(*byte)) % MODULUS;
            (low, (high + low) % MODULUS)
        });
        high << 16 | low
    };
    match bytes.len() {
        4 => bytes == adler().to_be_bytes(),
        8 => bytes.starts_with(&crc32fast::hash(content).to_le_bytes()),
        _ => false,
    }
}

fn decode_stream(coding: Coding, input: &[u8], limit: usize) -> Decoded {
    match coding {
        Coding::Gzip => gzip(input, limit),
        Coding::Zlib => zlib(input, limit),
        Coding::Deflate => inflate(Decompress::new(false), input, limit),
        Coding::Brotli => brotli(input, limit),
        Coding::Zstd => zstd::decode(input, limit),
        Coding::Lz4 => lz4::decode(input, limit),
        Coding::Snappy => snappy::decode(input, limit),
        Coding::Bzip2 => bzip2::decode(input, limit),
        Coding::Xz => lzma::decode_xz(input, limit),
        Coding::Lzma => lzma::decode(input, limit),
    }
}

/// Appends `len` bytes that begin `offset` bytes before the end of `out`, and may
/// overlap what is appended. Returns `false` if the bytes do not exist, or if only a
/// part of them fits into `limit`.
fn copy(out: &mut Vec<u8>, offset: usize, len: usize, limit: usize) -> bool {
    let Some(from) = out.len().checked_sub(offset).filter(|_| offset > 0) else {
        return false;
    };
    let room = len.min(limit.saturating_sub(out.len()));
    for at in from..from + room {
        out.push(out[at]);
    }
    room == len
}

fn inflate(mut stream: Decompress, input: &[u8], limit: usize) -> Decoded {
    let mut bytes = Vec::new();
    let end = loop {
        let room = limit - bytes.len();
        let used = usize::try_from(stream.total_in()).unwrap_or(input.len()).min(input.len());
        let before = bytes.len();
        bytes.reserve(room.clamp(1, CHUNK));
        let status = stream.decompress_vec(&input[used..], &mut bytes, FlushDecompress::None);
        let over = bytes.len() > limit;
        bytes.truncate(limit);
        let advanced = stream.total_in() > used as u64 || bytes.len() > before;
        match status {
            _ if over => break End::Full,
            Ok(Status::StreamEnd) => break End::Complete,
            Ok(_) if advanced => {}
            Ok(_) => break End::Truncated,
            Err(_) => break End::Malformed,
        }
    };
    let used = usize::try_from(stream.total_in()).unwrap_or(input.len()).min(input.len());
    Decoded { bytes, end, used }
}

/// Decodes zlib, or raw deflate, which many senders use although
/// `Content-Encoding: deflate` means zlib.
fn zlib(input: &[u8], limit: usize) -> Decoded {
    match input {
        [cmf, flg, ..] if is_zlib(*cmf, *flg) => inflate(Decompress::new(true), input, limit),
        _ => inflate(Decompress::new(false), input, limit),
    }
}

/// Decodes all members of a gzip stream.
fn gzip(input: &[u8], limit: usize) -> Decoded {
    let mut all = Decoded { bytes: Vec::new(), end: End::Malformed, used: 0 };
    loop {
        let member = &input[all.used..];
        let header = match gzip_header_len(member) {
            Ok(header) => header,
            // Bytes after a complete member are padding.
            Err(_) if all.used > 0 => return all,
            Err(end) => return Decoded { end, ..all },
        };
        let content = inflate(Decompress::new(false), &member[header..], limit - all.bytes.len());
        if all.bytes.is_empty() {
            all.bytes = content.bytes;
        } else {
            all.bytes.extend_from_slice(&content.bytes);
        }
        all.used += header + content.used;
        all.end = content.end;
        if content.end != End::Complete {
            return all;
        }
        /// CRC32 and ISIZE.
        const TRAILER: usize = 8;
        all.used = (all.used + TRAILER).min(input.len());
    }
}

/// Returns the length of a gzip header (RFC 1952 section 2.3). Fails with
/// [`End::Truncated`] or [`End::Malformed`].
fn gzip_header_len(input: &[u8]) -> Result<usize, End> {
    const FHCRC: u8 = 2;
    const FEXTRA: u8 = 4;
    const FNAME: u8 = 8;
    const FCOMMENT: u8 = 16;
    const RESERVED: u8 = 0xe0;
    let magic = &input[..input.len().min(3)];
    if !b"\x1f\x8b\x08".starts_with(magic) {
        return Err(End::Malformed);
    }
    let &flags = input.get(3).ok_or(End::Truncated)?;
    if flags & RESERVED != 0 {
        return Err(End::Malformed);
    }
    let mut at = 10;
    if flags & FEXTRA != 0 {
        let len = input.get(at..at + 2).ok_or(End::Truncated)?;
        at += 2 + usize::from(u16::from_le_bytes([len[0], len[1]]));
    }
    for flag in [FNAME, FCOMMENT] {
        if flags & flag != 0 {
            let text = input.get(at..).ok_or(End::Truncated)?;
            at += memchr::memchr(0, text).ok_or(End::Truncated)? + 1;
        }
    }
    if flags & FHCRC != 0 {
        at += 2;
    }
    if at > input.len() { Err(End::Truncated) } else { Ok(at) }
}

/// Decodes Brotli with the window sizes of RFC 7932. A window takes up to 16
/// MiB while decoding.
fn brotli(input: &[u8], limit: usize) -> Decoded {
    let mut state = BrotliState::new_strict(
        StandardAlloc::default(),
        StandardAlloc::default(),
        StandardAlloc::default(),
    );
    let mut bytes = Vec::new();
    let mut total = 0;
    let mut available_in = input.len();
    let mut used = 0;
    let end = loop {
        let filled = bytes.len();
        let room = (limit - filled).min(CHUNK);
        bytes.resize(filled + room, 0);
        let mut available_out = room;
        let mut written = filled;
        let result = BrotliDecompressStream(
            &mut available_in,
            &mut used,
            input,
            &mut available_out,
            &mut written,
            &mut bytes,
            &mut total,
            &mut state,
        );
        bytes.truncate(written);
        match result {
            BrotliResult::ResultSuccess => break End::Complete,
            BrotliResult::NeedsMoreInput => break End::Truncated,
            BrotliResult::ResultFailure => break End::Malformed,
            BrotliResult::NeedsMoreOutput if bytes.len() == limit => break End::Full,
            BrotliResult::NeedsMoreOutput => {}
        }
    };
    Decoded { bytes, end, used }
}

#[cfg(test)]
mod tests;
