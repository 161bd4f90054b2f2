//! MiniDebugInfo: the symbol table that some distributions keep in stripped files, as an ELF
//! file in the section `.gnu_debugdata`, compressed with xz.
//!
//! This module parses the container; lzma-rs decompresses the LZMA2 data. Each LZMA2 chunk has
//! its sizes in a header, so the decompressed size is known, and limited, before anything is
//! decompressed.
//!
//! Sources: the .xz file format 1.2.1; the LZMA2 chunk header as in
//! `lib/xz/xz_dec_lzma2.c` of the kernel; GDB's manual on MiniDebugInfo.

use super::source::Fields;

/// Maximum size of the section. Programs of Chromium's size have 1–4 MiB.
pub(super) const MAX_PACKED: usize = 16 << 20;
/// Maximum size of the decompressed symbol table.
const MAX_UNPACKED: usize = 64 << 20;

/// Maximum compression ratio. That of symbol tables is about 5; a ratio of 1000 is an attack.
const MAX_RATIO: usize = 64;

const STREAM_HEADER: usize = 12;
const STREAM_MAGIC: &[u8] = b"\xfd7zXZ\0";
/// The only supported filter: LZMA2, with one byte of properties.
const FILTER_LZMA2: [u8; 2] = [0x21, 1];

/// Decompresses the first stream of an .xz file; returns `None` if it is invalid or too large.
/// The checksums are not verified: a wrong symbol has to pass the same checks as any other.
pub(super) fn unpack(xz: &[u8]) -> Option<Vec<u8>> {
    if !xz.starts_with(STREAM_MAGIC) {
        return None;
    }
    // Stream flags: a zero byte, then the type of the checksum.
    let check_size = match xz.get(7)? & 0xf {
        0 => 0,
        1..=3 => 4,
        4..=6 => 8,
        7..=9 => 16,
        10..=12 => 32,
        _ => 64,
    };
    let mut rest = xz.get(STREAM_HEADER..)?;
    let max = MAX_UNPACKED.min(xz.len().saturating_mul(MAX_RATIO));
    let mut unpacked = Vec::new();
    // A block begins with the size of its header. The index, which follows the last block,
    // begins with a zero.
    while *rest.first()? != 0 {
        let header = rest.get(..(usize::from(*rest.first()?) + 1) * 4)?;
        check_block_header(header)?;
        let data = rest.get(header.len()..)?;
        let (packed, size) = chunks(data)?;
        if size > max - unpacked.len() {
            return None;
        }
        let mut data = data.get(..packed)?;
        lzma_rs::lzma2_decompress(&mut data, &mut unpacked).ok()?;
        if unpacked.len() > max {
            return None;
        }
        rest = rest.get(header.len() + packed.next_multiple_of(4) + check_size..)?;
    }
    Some(unpacked)
}

/// Checks that LZMA2 is the only filter of a block.
///
/// ```text
/// u8 size, u8 flags, [varint packed], [varint unpacked], filters, padding, crc32
/// ```
fn check_block_header(header: &[u8]) -> Option<()> {
    let flags = *header.get(1)?;
    let filters = flags & 3;
    let sizes = usize::from(flags >> 6 & 1) + usize::from(flags >> 7);
    let mut rest = header.get(2..)?;
    for _ in 0..sizes {
        let last = rest.iter().position(|byte| byte & 0x80 == 0)?;
        rest = rest.get(last + 1..)?;
    }
    (filters == 0 && rest.starts_with(&FILTER_LZMA2)).then_some(())
}

/// Returns the compressed and the decompressed size of the LZMA2 data.
///
/// ```text
/// 00                                       end
/// 01, 02   u16be size-1, bytes             stored
/// 80..ff   u16be size-1 (5 more bits in the control byte),
///          u16be packed-1, [props: c0..ff], bytes
/// ```
fn chunks(data: &[u8]) -> Option<(usize, usize)> {
    let (mut at, mut unpacked) = (0usize, 0usize);
    loop {
        let control = usize::from(*data.get(at)?);
        let low = usize::from(u16::from_be_bytes(data.array(at + 1).unwrap_or_default()));
        let (header, packed, size) = match control {
            0 => return Some((at + 1, unpacked)),
            1 | 2 => (3, low + 1, low + 1),
            0x80.. => {
                let packed = usize::from(u16::from_be_bytes(data.array(at + 3)?)) + 1;
                let props = usize::from(control >= 0xc0);
                (5 + props, packed, ((control & 0x1f) << 16) + low + 1)
            }
            _ => return None,
        };
        // Cannot overflow: `at` is within `data`, and a chunk has at most 2 MiB.
        at += header + packed;
        unpacked = unpacked.checked_add(size)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output of the xz tool, with CRC64, for `0..64` three times and `tracer ` 40 times.
    const PACKED: &str = "fd377a585a000004e6d6b4460200210116000000742fe5a3e001d7004d5d00000052500a84f9\
        9bb28021a969d627e03e065a5f048d53d404ba39570509c15524de9db871593160a19ff96f4973f2c8ea8cba1a8b\
        29692180fe33837baada13c5cb1de8260a6563a7854000000000000085b7b851a5ce7175000169d8030000003911\
        9e47b1c467fb020000000004595a";

    fn packed() -> Vec<u8> {
        let digits: Vec<u8> = PACKED.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn unpacked() -> Vec<u8> {
        let counted: Vec<u8> = (0..64).collect();
        [counted.repeat(3), b"tracer ".repeat(40)].concat()
    }

    #[test]
    fn unpacks_xz_and_stored_chunks() {
        assert_eq!(unpack(&packed()), Some(unpacked()));
        let mut stored = Vec::new();
        lzma_rs::xz_compress(&mut unpacked().as_slice(), &mut stored).unwrap();
        assert_eq!(unpack(&stored), Some(unpacked()));
    }

    #[test]
    fn prefix_unpacks_to_the_whole_or_nothing() {
        let whole = packed();
        for len in 0..whole.len() {
            assert!(unpack(&whole[..len]).is_none_or(|bytes| bytes == unpacked()), "{len}");
        }
    }

    #[test]
    fn damaged_data_does_not_panic() {
        let whole = packed();
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff, whole[at] ^ 1] {
                let mut damaged = whole.clone();
                damaged[at] = value;
                unpack(&damaged);
            }
        }
    }

    #[test]
    fn rejects_data_that_is_too_large() {
        // 40 chunks that claim to unpack to 2 MiB each.
        let mut data = [0xff, 0xff, 0xff, 0, 0, 0x5d, 0].repeat(40);
        data.push(0);
        assert_eq!(chunks(&data), Some((data.len(), 80 << 20)));
        let mut file = packed()[..24].to_vec();
        file.extend(data);
        assert_eq!(unpack(&file), None);
    }
}
