//! Armour: bytes as lines of text between markers (RFC 7468, RFC 9580 section 6).
//!
//! ```text
//! -----BEGIN PGP MESSAGE-----
//! Version: 1
//!
//! wcFMA…          base64
//! =njUN           a checksum
//! -----END PGP MESSAGE-----
//! ```

use memchr::memmem;

use super::base64;

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";

/// A block of armour.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) bytes: Vec<u8>,
    /// Length of the block as text.
    pub(super) written: usize,
    /// Set if the input ends before the block does.
    pub(super) truncated: bool,
}

/// Returns the blocks in a text.
pub(super) fn blocks(text: &str) -> impl Iterator<Item = Block> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = memmem::find(rest.as_bytes(), BEGIN.as_bytes())?;
        let block = &rest[start..];
        let first_line = memchr::memchr(b'\n', block.as_bytes())? + 1;
        let content = &block[first_line..];
        let end = memmem::find(content.as_bytes(), END.as_bytes());
        let content = &content[..end.unwrap_or(content.len())];
        rest = &block[first_line + content.len()..];
        // Fields end with an empty line.
        let is_line = |line: &&str| !line.contains(": ") && !line.starts_with('=');
        let digits: String = content.lines().filter(is_line).map(str::trim).collect();
        let truncated = end.is_none();
        let bytes = base64::decode(digits.as_bytes(), truncated)
            .map(|decoded| decoded.bytes)
            .unwrap_or_default();
        Some(Block { bytes, written: first_line + content.len(), truncated })
    })
}
