//! Object container files of Avro: a schema, and blocks of records that may be compressed.
//!
//! ```text
//! "Obj" 01 | metadata: count, (name, value) …, 0 | sync (16 bytes)
//!          | block: number of records, length, content, sync …
//! ```
//!
//! All numbers are zigzag varints.

use super::chain::Coding;

const MAGIC: &[u8; 4] = b"Obj\x01";
const SYNC_LEN: usize = 16;

/// Maximum number of entries in the metadata, of which two are usual.
const MAX_ENTRIES: u64 = 64;

/// A container file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Container<'d> {
    /// The values of its metadata: the schema, in JSON, and the name of the compression.
    pub(super) metadata: Vec<&'d [u8]>,
    /// The compression, if it is a known one.
    pub(super) coding: Option<Coding>,
    pub(super) blocks: Vec<Block<'d>>,
}

/// A block of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block<'d> {
    pub(super) content: &'d [u8],
    /// Set if the input ends inside the content.
    pub(super) truncated: bool,
}

/// Reports whether the input starts like a container file.
pub(super) fn starts(input: &[u8]) -> bool {
    input.starts_with(MAGIC)
}

/// Parses a container file. Returns `None` if the input is not a container file, or if it ends
/// before the first block.
pub(super) fn read(input: &[u8]) -> Option<Container<'_>> {
    let mut rest = input.strip_prefix(MAGIC)?;
    let (mut metadata, mut coding) = (Vec::new(), None);
    let mut is_compressed = false;
    loop {
        let count = number(&mut rest)?;
        if count == 0 {
            break;
        }
        // A negative count precedes the length of the entries.
        if count < 0 {
            number(&mut rest)?;
        }
        if count.unsigned_abs() > MAX_ENTRIES {
            return None;
        }
        for _ in 0..count.unsigned_abs() {
            let (name, value) = (string(&mut rest)?, string(&mut rest)?);
            if name == b"avro.codec" {
                coding = self::coding(value);
                is_compressed = value != b"null";
            }
            metadata.push(value);
        }
    }
    rest = rest.get(SYNC_LEN..)?;
    let mut blocks = Vec::new();
    while !rest.is_empty()
        && let Some(_records) = number(&mut rest)
        && let Some(len) = number(&mut rest).and_then(|len| usize::try_from(len).ok())
    {
        let content = rest.get(..len).unwrap_or(rest);
        let truncated = content.len() < len;
        // Snappy is followed by a checksum.
        let checksum = if coding == Some(Coding::Snappy) && !truncated { 4 } else { 0 };
        let content = content.get(..content.len().saturating_sub(checksum)).unwrap_or_default();
        blocks.push(Block { content, truncated });
        rest = rest.get(len + SYNC_LEN..).unwrap_or_default();
    }
    (!is_compressed || coding.is_some()).then_some(Container { metadata, coding, blocks })
}

fn coding(name: &[u8]) -> Option<Coding> {
    Some(match name {
        b"deflate" => Coding::Deflate,
        b"bzip2" => Coding::Bzip2,
        b"xz" => Coding::Xz,
        b"snappy" => Coding::Snappy,
        b"zstandard" => Coding::Zstd,
        _ => return None,
    })
}

fn number(input: &mut &[u8]) -> Option<i64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = *input.split_off_first()?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte < 0x80 {
            return Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed());
        }
    }
    None
}

fn string<'d>(input: &mut &'d [u8]) -> Option<&'d [u8]> {
    let len = usize::try_from(number(input)?).ok()?;
    input.split_off(..len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_the_metadata() {
        let sync = [7; SYNC_LEN];
        let head = b"Obj\x01\x04\x14avro.codec\x0edeflate\x16avro.schema\x04{}\0";
        let input = [&head[..], &sync, b"\x02\x06abc", &sync, b"\x04\x04de", &sync].concat();
        let container = read(&input).unwrap();
        assert_eq!(container.coding, Some(Coding::Deflate));
        assert_eq!(container.metadata, [&b"deflate"[..], b"{}"]);
        let contents: Vec<&[u8]> = container.blocks.iter().map(|block| block.content).collect();
        assert_eq!(contents, [&b"abc"[..], b"de"]);
        for len in 0..input.len() {
            if let Some(cut) = read(&input[..len]) {
                for (block, whole) in cut.blocks.iter().zip(&container.blocks) {
                    assert!(whole.content.starts_with(block.content), "{len}");
                    assert!(block.truncated || block == whole, "{len}");
                }
            }
        }
        let unknown = input.iter().map(|&byte| if byte == b'f' { b'g' } else { byte });
        assert_eq!(read(&unknown.collect::<Vec<u8>>()), None);
        assert_eq!(read(b"Object"), None);
    }
}
