//! Lists the libraries in an APK, and the APKs in a bundle.
//!
//! If a library is stored without compression, Android maps it directly from the APK. A probe
//! is then placed in the APK, at the offset of the entry's data plus the offset in the ELF
//! file. Only the directory at the end of the archive and the local headers of the libraries
//! are read.
//!
//! Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12–4.3.16, 4.5.3.

use std::io::{self, Read as _};

use memchr::memmem;

use super::source::{Fields, Part};

const END_MAGIC: &[u8] = b"PK\x05\x06";
const END_SIZE: usize = 22;
const END64_MAGIC: &[u8] = b"PK\x06\x06";
const LOCATOR64_MAGIC: &[u8] = b"PK\x06\x07";
const LOCATOR64_SIZE: u64 = 20;
const ENTRY_MAGIC: &[u8] = b"PK\x01\x02";
const ENTRY_SIZE: usize = 46;
const LOCAL_MAGIC: &[u8] = b"PK\x03\x04";
const LOCAL_SIZE: usize = 30;
/// Id of the extra field with 64-bit values.
const EXTRA_ZIP64: u16 = 1;
/// Value of a 32-bit field whose 64-bit value is in the extra field.
const IN_EXTRA: u32 = u32::MAX;

/// Maximum size of the end record, including a comment of up to 65535 bytes.
const MAX_END: usize = END_SIZE + 65_535;
/// Maximum number of bytes read of the directory. A large APK has about 20 000 entries of 100
/// bytes.
const MAX_DIRECTORY: usize = 32 << 20;
/// Maximum number of libraries reported of one archive.
const MAX_LIBRARIES: usize = 1024;

/// Maximum number of APKs in a bundle that are listed.
const MAX_NESTED: usize = 64;

/// Maximum size of an entry after decompression.
const MAX_UNPACKED: u64 = 256 << 20;

/// A file in the archive.
pub(super) struct Member<'a> {
    /// Path in the archive.
    pub(super) name: String,
    pub(super) data: Data<'a>,
}

/// The content of a file in an archive.
pub(super) enum Data<'a> {
    /// It is not compressed, so that it can be mapped from the archive.
    Stored(Part<'a>),
    /// It is compressed with deflate, and has this size.
    Deflated(Part<'a>, u64),
    /// It is encrypted, or compressed in another way.
    Unknown,
}

impl Data<'_> {
    /// Decompresses a compressed file; returns `None` if that is not possible, or it exceeds
    /// `budget`, from which its size is taken.
    pub(super) fn unpack(&self, budget: &mut u64) -> io::Result<Option<Vec<u8>>> {
        let Self::Deflated(packed, size) = self else {
            return Ok(None);
        };
        let Some(left) = budget.checked_sub(*size).filter(|_| *size <= MAX_UNPACKED) else {
            return Ok(None);
        };
        *budget = left;
        let len = usize::try_from(*size).unwrap_or(0);
        let packed = packed.read(0, usize::try_from(packed.size()).unwrap_or(0))?;
        let mut unpacked = vec![0; len];
        let whole = flate2::bufread::DeflateDecoder::new(&packed[..]).read_exact(&mut unpacked);
        Ok(whole.is_ok().then_some(unpacked))
    }
}

/// The `.so` entries of an archive.
pub(super) struct Libraries<'a> {
    pub(super) entries: Vec<Member<'a>>,
    /// The APKs in the archive, of which at most [`MAX_NESTED`] are listed.
    pub(super) nested: Vec<Member<'a>>,
    /// True for an Android App Bundle, from which a store builds APKs.
    pub(super) is_app_bundle: bool,
    /// The system for which the archive has libraries, if it is not Android or Linux.
    pub(super) other_system: Option<&'static str>,
    /// True if there are more libraries, or if part of the directory could not be read.
    pub(super) incomplete: bool,
}

/// Reports whether `head` is the beginning of a zip archive.
pub(super) fn is_zip(head: &[u8]) -> bool {
    head.starts_with(LOCAL_MAGIC) || head.starts_with(END_MAGIC)
}

/// Lists the libraries in `archive`; returns `None` if it has no directory.
pub(super) fn libraries<'a>(archive: Part<'a>) -> io::Result<Option<Libraries<'a>>> {
    let Some((start, size)) = directory(archive)? else {
        return Ok(None);
    };
    let len = usize::try_from(size).unwrap_or(usize::MAX);
    let bytes = archive.read(start, len.min(MAX_DIRECTORY))?;
    let incomplete = bytes.len() < len;
    let mut found = Libraries {
        entries: Vec::new(),
        nested: Vec::new(),
        is_app_bundle: false,
        other_system: None,
        incomplete,
    };
    // The entries of a valid archive do not overlap, so the sum of their sizes is at most the
    // size of the archive. This bounds the work for a malicious one.
    let mut unread = archive.size();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let Some((entry, after)) = Entry::split(rest) else {
            found.incomplete = true;
            break;
        };
        rest = after;
        found.is_app_bundle |= entry.name == b"BundleConfig.pb";
        found.other_system = found.other_system.or(other_system(entry.name));
        let (is_library, is_apk) = (is_library(entry.name), entry.name.ends_with(b".apk"));
        if !is_library && !is_apk || is_apk && found.nested.len() >= MAX_NESTED {
            continue;
        }
        let room = unread.checked_sub(entry.packed);
        let (Some(room), true) = (room, found.entries.len() < MAX_LIBRARIES) else {
            found.incomplete = true;
            break;
        };
        unread = room;
        let name = String::from_utf8_lossy(entry.name).into_owned();
        match entry.data(archive)? {
            Some(data) if is_library => found.entries.push(Member { name, data }),
            Some(data) => found.nested.push(Member { name, data }),
            None => found.incomplete = true,
        }
    }
    Ok(Some(found))
}

/// Returns the offset and the size of the central directory.
fn directory(archive: Part<'_>) -> io::Result<Option<(u64, u64)>> {
    let tail_at = archive.size().saturating_sub(MAX_END as u64);
    let tail = archive.read(tail_at, MAX_END)?;
    for at in memmem::rfind_iter(&tail, END_MAGIC) {
        let Some(end) = tail.get(at..).filter(|end| end.len() >= END_SIZE) else {
            continue;
        };
        let (Some(size), Some(start)) = (end.u32(12), end.u32(16)) else {
            continue;
        };
        if size != IN_EXTRA && start != IN_EXTRA {
            return Ok(Some((u64::from(start), u64::from(size))));
        }
        // Zip64: a locator before the end record points to the Zip64 end record.
        let end_at = tail_at + at as u64;
        let Some(locator_at) = end_at.checked_sub(LOCATOR64_SIZE) else {
            continue;
        };
        let locator = archive.read(locator_at, LOCATOR64_SIZE as usize)?;
        let Some(end64_at) = locator.u64(8).filter(|_| locator.starts_with(LOCATOR64_MAGIC)) else {
            continue;
        };
        let end64 = archive.read(end64_at, 56)?;
        if let (true, Some(size), Some(start)) =
            (end64.starts_with(END64_MAGIC), end64.u64(40), end64.u64(48))
        {
            return Ok(Some((start, size)));
        }
    }
    Ok(None)
}

/// Reports whether a path is that of a library: `libx.so`, `libx.so.3`.
fn is_library(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    name.ends_with(b".so") || memmem::find(name, b".so.").is_some()
}

/// Returns the system, if it is another one, of the library or program with this path.
fn other_system(path: &[u8]) -> Option<&'static str> {
    if path.ends_with(b".dylib") || path.starts_with(b"Payload/") {
        Some("macOS or iOS (Mach-O)")
    } else if path.ends_with(b".dll") || path.ends_with(b".exe") {
        Some("Windows (PE)")
    } else {
        None
    }
}

/// A file in the central directory.
struct Entry<'b> {
    name: &'b [u8],
    /// The method of compression; `None` if the data is encrypted.
    method: Option<u16>,
    packed: u64,
    size: u64,
    /// Offset of the local header.
    header: u64,
}

impl<'b> Entry<'b> {
    /// Reads the first entry of `bytes`; returns it and the rest.
    fn split(bytes: &'b [u8]) -> Option<(Self, &'b [u8])> {
        let fixed = bytes.get(..ENTRY_SIZE).filter(|fixed| fixed.starts_with(ENTRY_MAGIC))?;
        let name_len = usize::from(fixed.u16(28)?);
        let extra_len = usize::from(fixed.u16(30)?);
        let comment_len = usize::from(fixed.u16(32)?);
        let (name, rest) = bytes.get(ENTRY_SIZE..)?.split_at_checked(name_len)?;
        let (extra, rest) = rest.split_at_checked(extra_len)?;
        let rest = rest.get(comment_len..)?;

        // The extra field contains the 64-bit values in this order, but only those whose
        // 32-bit field is `IN_EXTRA`.
        let mut wide = extra_field(extra, EXTRA_ZIP64).unwrap_or_default().chunks_exact(8);
        let mut value = |narrow: u32| {
            if narrow == IN_EXTRA { wide.next()?.u64(0) } else { Some(u64::from(narrow)) }
        };
        let (packed, size) = (fixed.u32(20)?, value(fixed.u32(24)?)?);
        let packed = value(packed)?;
        let header = value(fixed.u32(42)?)?;
        let encrypted = fixed.u16(8)? & 1 == 1;
        let method = fixed.u16(10)?;
        let method = (!encrypted).then_some(method);
        Some((Self { name, method, packed, size, header }, rest))
    }

    /// Returns the data, which follows its local header; `None` if it is outside the archive.
    fn data<'a>(&self, archive: Part<'a>) -> io::Result<Option<Data<'a>>> {
        let header = archive.read(self.header, LOCAL_SIZE)?;
        let (true, Some(name), Some(extra)) =
            (header.starts_with(LOCAL_MAGIC), header.u16(26), header.u16(28))
        else {
            return Ok(None);
        };
        let skip = LOCAL_SIZE as u64 + u64::from(name) + u64::from(extra);
        let start = self.header.checked_add(skip);
        let part = start.and_then(|start| archive.sub(start, self.packed));
        Ok(part.map(|part| match self.method {
            Some(0) if self.packed == self.size => Data::Stored(part),
            Some(8) => Data::Deflated(part, self.size),
            _ => Data::Unknown,
        }))
    }
}

/// Returns the extra field of a kind.
fn extra_field(mut extra: &[u8], kind: u16) -> Option<&[u8]> {
    loop {
        let (found, len) = (extra.u16(0)?, usize::from(extra.u16(2)?));
        let data = extra.get(4..)?.get(..len)?;
        if found == kind {
            return Some(data);
        }
        extra = extra.get(4 + len..)?;
    }
}
