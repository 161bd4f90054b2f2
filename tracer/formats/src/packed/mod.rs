//! Packed files: compressed ones, ZIP archives with one recording, and UTF-16.
//!
//! ```text
//! file ─▶ Source ─▶ gzip, zlib, zstd, ZIP, UTF-16 ─▶ Source ─▶ … ─▶ content
//! ```
//!
//! Everything is unpacked while it is read, so the memory is bounded whatever
//! the size of the content. [`Bounded`] ends content that is out of proportion
//! to its file.

mod bounded;
mod source;
mod utf16;
mod zip;
mod zstd;
#[cfg(test)]
mod tests;

use std::io::{self, BufRead, BufReader};

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};
use thiserror::Error;

use self::{
    bounded::{Bounded, Counted},
    source::Source,
};
use crate::DETECT_LEN;

/// Maximum number of layers: an archive of a compressed file in UTF-16, and one
/// more.
const MAX_LAYERS: usize = 4;

/// The content of a file.
pub struct Content<'a> {
    /// The first bytes, at least [`DETECT_LEN`] unless the content is shorter.
    pub head: Vec<u8>,
    /// The whole content.
    pub reader: Box<dyn BufRead + 'a>,
}

/// Error that prevents a file from being unpacked.
#[derive(Debug, Error)]
pub enum UnpackError {
    /// The packing is not supported, or wrong.
    #[error("{0}")]
    Unsupported(String),
    /// The file is packed too often.
    #[error("it is packed more than {MAX_LAYERS} times: unpack it first")]
    TooDeep,
    /// The underlying reader failed.
    #[error("cannot read it")]
    Io(#[from] io::Error),
}

/// Unpacks a file. Files that are not packed are returned as they are.
///
/// # Errors
/// Returns an error if the file cannot be read, or if its packing is known and
/// not supported. Damage behind the first bytes is an error of the reader.
pub fn unpack<'a>(from: impl BufRead + 'a) -> Result<Content<'a>, UnpackError> {
    let read = Counted::new(from);
    let count = read.count();
    let mut source = Source::new(Box::new(read));
    for layer in 0.. {
        let packing = Packing::detect(source.peek(DETECT_LEN)?);
        if packing.is_some() && layer == MAX_LAYERS {
            return Err(UnpackError::TooDeep);
        }
        source = match packing {
            None => break,
            Some(Packing::Gzip) => bounded(MultiGzDecoder::new(source), &count),
            Some(Packing::Zlib) => bounded(ZlibDecoder::new(source), &count),
            Some(Packing::Zstd) => bounded(zstd::Frames::new(source), &count),
            Some(Packing::Zip) => zip::recording(source, &count)?,
            Some(Packing::Utf16(order)) => bounded(utf16::Converter::new(source, order), &count),
            Some(Packing::Other(name, command)) => {
                return Err(UnpackError::Unsupported(format!(
                    "it is {name}, which tracer does not unpack: unpack it first, with `{command}`"
                )));
            }
        };
    }
    let head = source.peek(DETECT_LEN)?.to_vec();
    Ok(Content { head, reader: Box::new(source) })
}

fn bounded<'a>(from: impl io::Read + 'a, count: &bounded::Count) -> Source<'a> {
    Source::new(Box::new(BufReader::new(Bounded::new(from, count.clone()))))
}

/// The packing of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zlib,
    Zstd,
    Zip,
    Utf16(utf16::Order),
    /// A packing that is not supported: its name, and a command that unpacks it.
    Other(&'static str, &'static str),
}

impl Packing {
    /// Detects the packing from the first bytes of a file.
    fn detect(head: &[u8]) -> Option<Self> {
        Some(match head {
            [0x1f, 0x8b, 8, ..] => Self::Gzip,
            // mitmproxy compresses `.zhar` like this.
            [0x78, 0x01 | 0x5e | 0x9c | 0xda, third, ..] if is_deflate(*third) => Self::Zlib,
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Self::Zstd,
            [b'P', b'K', 3, 4, ..] => Self::Zip,
            [b'P', b'K', 5, 6, ..] => Self::Other("an empty ZIP archive", "unzip FILE"),
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, ..] => {
                Self::Other("compressed with bzip2", "bunzip2 FILE")
            }
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
                Self::Other("compressed with xz", "xz -d FILE")
            }
            [0x04, 0x22, 0x4d, 0x18, ..] => Self::Other("compressed with LZ4", "lz4 -d FILE"),
            [0x1f, 0x9d, ..] => Self::Other("compressed with compress", "gzip -d FILE"),
            [b'L', b'Z', b'I', b'P', 1, ..] => Self::Other("compressed with lzip", "lzip -d FILE"),
            [b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c, ..] => Self::Other("a 7-Zip archive", "7z x FILE"),
            [b'R', b'a', b'r', b'!', 0x1a, 7, ..] => Self::Other("a RAR archive", "unrar x FILE"),
            [b'M', b'S', b'C', b'F', 0, 0, 0, 0, ..] => {
                Self::Other("a cabinet archive", "cabextract FILE")
            }
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => {
                Self::Other("text in UTF-32", "iconv -f UTF-32 -t UTF-8 FILE")
            }
            _ if head.get(257..262) == Some(b"ustar") => {
                Self::Other("a tar archive", "tar -xf FILE")
            }
            _ => Self::Utf16(utf16::Order::detect(head)?),
        })
    }
}

/// Reports whether a byte can start deflated data: its first block has a known
/// type.
fn is_deflate(byte: u8) -> bool {
    byte >> 1 & 3 != 3
}
