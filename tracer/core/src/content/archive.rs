//! Archives: ZIP and tar, read entry by entry from the front.
//!
//! ```text
//! zip   PK 03 04 | version, flags, method, time, date, crc, sizes, lengths | name |
//!       extra | data | [PK 07 08, crc, sizes] … central directory
//! tar   name … size … type … "ustar" (512 bytes) | data, padded to 512 bytes …
//! ```
//!
//! Local headers precede their data, so a truncated archive yields every entry before
//! the cut. The directory at the end of a ZIP file repeats them and is not read.

use std::borrow::Cow;

use memchr::memmem;

use super::chain::Coding;

/// The way in which an entry is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Compressed(Coding),
    /// Encrypted, or in a format without a decoder.
    Unreadable,
}

/// An entry of an archive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'d> {
    pub(super) name: Cow<'d, str>,
    pub(super) data: Cow<'d, [u8]>,
    pub(super) method: Method,
    /// Number of bytes by which the data is longer than in the archive.
    pub(super) added: usize,
    /// Set if the input ends inside the data.
    pub(super) truncated: bool,
}

const LOCAL: &[u8; 4] = b"PK\x03\x04";
const DESCRIPTOR: &[u8; 4] = b"PK\x07\x08";
const DIRECTORY: &[u8; 4] = b"PK\x01\x02";

/// Length of a local header before the name.
const LOCAL_LEN: usize = 30;

/// Reports whether the input starts with an entry of a ZIP file.
pub(super) fn is_zip(input: &[u8]) -> bool {
    // The version needed to extract is below 7.0.
    input.starts_with(LOCAL) && input.get(4).is_none_or(|&version| version < 70)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Reads the entries of a ZIP file.
#[derive(Debug)]
pub(super) struct Zip<'d> {
    rest: &'d [u8],
}

impl<'d> Zip<'d> {
    pub(super) fn new(input: &'d [u8]) -> Self {
        Self { rest: input }
    }

    /// Returns the next entry. Its caller has to [`Zip::skip`] the data before it asks
    /// for another.
    pub(super) fn next(&mut self) -> Option<Entry<'d>> {
        let input = self.rest;
        if !input.starts_with(LOCAL) {
            return None;
        }
        let (flags, method) = (u16_at(input, 6)?, u16_at(input, 8)?);
        let size = u32_at(input, 18)?;
        let (name_len, extra_len) = (u16_at(input, 26)?, u16_at(input, 28)?);
        let (name, rest) = input.get(LOCAL_LEN..)?.split_at_checked(name_len)?;
        let (extra, content) = rest.split_at_checked(extra_len)?;
        self.rest = content;
        let is_encrypted = flags & 1 != 0;
        let method = match method {
            _ if is_encrypted => Method::Unreadable,
            0 => Method::Stored,
            8 => Method::Compressed(Coding::Deflate),
            12 => Method::Compressed(Coding::Bzip2),
            14 => Method::Compressed(Coding::Lzma),
            95 => Method::Compressed(Coding::Xz),
            93 => Method::Compressed(Coding::Zstd),
            _ => Method::Unreadable,
        };
        let size = match size {
            u32::MAX => zip64_size(extra),
            0 if flags & 8 != 0 => None,
            size => usize::try_from(size).ok(),
        };
        // The length may follow the data, which then have to show their end themselves.
        let len = size.or_else(|| match method {
            Method::Compressed(_) => Some(content.len()),
            Method::Stored | Method::Unreadable => [DESCRIPTOR, LOCAL, DIRECTORY]
                .iter()
                .filter_map(|mark| memmem::find(content, &mark[..]))
                .min(),
        });
        let data = content.get(..len.unwrap_or(content.len())).unwrap_or(content);
        let truncated = len.is_none_or(|len| len > content.len());
        let data = match method {
            Method::Compressed(Coding::Lzma) => {
                // The length is unknown if it follows the data or if a mark ends the data.
                let is_known = flags & (8 | 2) == 0;
                let plain = u32_at(input, 22).filter(|_| is_known).filter(|len| *len != u32::MAX);
                lzma_file(data, plain).map_or(Cow::Borrowed(data), Cow::Owned)
            }
            _ => Cow::Borrowed(data),
        };
        let added = if let Cow::Owned(_) = data { LZMA_ADDED } else { 0 };
        Some(Entry { name: String::from_utf8_lossy(name), data, method, added, truncated })
    }

    /// Skips the data of an entry, of which `used` bytes belong to it.
    pub(super) fn skip(&mut self, used: usize) {
        self.rest = self.rest.get(used..).unwrap_or_default();
        // The signature, the checksum and two sizes of four or eight bytes.
        let is_next = |bytes: &[u8]| bytes.starts_with(LOCAL) || bytes.starts_with(DIRECTORY);
        let descriptor =
            [0, 12, 16, 20, 24].into_iter().find(|&len| self.rest.get(len..).is_some_and(is_next));
        self.rest = self.rest.get(descriptor.unwrap_or(0)..).unwrap_or_default();
    }
}

/// Number of bytes by which the header of a file of LZMA is longer than that of an entry.
const LZMA_ADDED: usize = 4;

/// Returns the data of an entry in LZMA as a file of LZMA: behind the version of its encoder
/// and the length of its properties, an entry has the same properties and no length.
fn lzma_file(data: &[u8], plain: Option<u32>) -> Option<Vec<u8>> {
    let ([_, _, 5, 0], rest) = data.split_first_chunk()? else {
        return None;
    };
    let (properties, stream) = rest.split_first_chunk::<5>()?;
    let len = plain.map_or(u64::MAX, u64::from).to_le_bytes();
    Some([&properties[..], &len, stream].concat())
}

/// Returns the compressed size in the extra field of ZIP64.
fn zip64_size(extra: &[u8]) -> Option<usize> {
    let mut rest = extra;
    loop {
        let (id, len) = (u16_at(rest, 0)?, u16_at(rest, 2)?);
        if id == 1 {
            let size = rest.get(12..20)?.first_chunk()?;
            return usize::try_from(u64::from_le_bytes(*size)).ok();
        }
        rest = rest.get(4 + len..)?;
    }
}

/// Size of a block of a tar file.
const BLOCK: usize = 512;

/// Reports whether the input starts with the header of a tar file.
pub(super) fn is_tar(input: &[u8]) -> bool {
    input.get(257..262) == Some(b"ustar") && input.first().is_some_and(|&byte| byte != 0)
}

/// Returns the entries of a tar file.
pub(super) fn tar(input: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    let mut rest = input;
    let mut long_name = None;
    std::iter::from_fn(move || {
        loop {
            let header = rest.get(..BLOCK).filter(|header| is_tar(header))?;
            let size = tar_size(header.get(124..136)?)?;
            let content = &rest[BLOCK..];
            let data = &content[..size.min(content.len())];
            rest = content.get(size.div_ceil(BLOCK).checked_mul(BLOCK)?..).unwrap_or_default();
            match header[156] {
                // A long name, or attributes, of the next entry.
                b'L' => long_name = Some(until_zero(data)),
                b'x' | b'g' => long_name = pax_path(data).or(long_name),
                _ => {
                    let name = long_name.take().unwrap_or_else(|| until_zero(&header[..100]));
                    return Some(Entry {
                        name: String::from_utf8_lossy(name),
                        data: Cow::Borrowed(data),
                        method: Method::Stored,
                        added: 0,
                        truncated: data.len() < size,
                    });
                }
            }
        }
    })
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    &bytes[..memchr::memchr(0, bytes).unwrap_or(bytes.len())]
}

/// Reads a size in octal, or in base 256.
fn tar_size(field: &[u8]) -> Option<usize> {
    if let [0x80, digits @ ..] = field {
        return usize::try_from(digits.iter().fold(0u64, |n, &b| n << 8 | u64::from(b))).ok();
    }
    let digits = std::str::from_utf8(until_zero(field)).ok()?.trim();
    if digits.is_empty() { Some(0) } else { usize::from_str_radix(digits, 8).ok() }
}

/// Returns the path in extended attributes: `27 path=a/b`.
fn pax_path(attributes: &[u8]) -> Option<&[u8]> {
    attributes.split(|&b| b == b'\n').find_map(|line| {
        let at = memmem::find(line, b" path=")?;
        Some(&line[at + 6..])
    })
}
