//! The libraries inside an APK.
//!
//! Android maps libraries straight from the APK where they are stored without
//! compression, so a probe goes to the APK's inode, at the entry's data plus
//! the offset in the ELF file. Only the directory at the archive's end and the
//! local headers of the libraries are read.
//!
//! Source: PKWARE's APPNOTE.TXT 6.3.10, sections 4.3.7, 4.3.12–4.3.16, 4.5.3.

use std::io;

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
/// The extra field with the 64-bit sizes.
const EXTRA_ZIP64: u16 = 1;
/// A field whose value is in the extra field.
const IN_EXTRA: u32 = u32::MAX;

/// The end record can have a comment of up to 65535 bytes behind it.
const MAX_END: usize = END_SIZE + 65_535;
/// Bytes of the directory read. A large APK has some 20 000 entries of 100
/// bytes.
const MAX_DIRECTORY: usize = 32 << 20;
/// Libraries reported of one archive.
const MAX_LIBRARIES: usize = 1024;

/// A library in the archive.
pub(super) struct Library<'a> {
    /// Its path in the archive.
    pub(super) name: String,
    /// Its bytes; `None` where they are compressed, so that nobody maps them
    /// from here.
    pub(super) data: Option<Part<'a>>,
}

/// The `.so` entries of an archive.
pub(super) struct Libraries<'a> {
    pub(super) entries: Vec<Library<'a>>,
    /// There are more, or parts of the directory could not be read.
    pub(super) incomplete: bool,
}

/// Whether `head` begins like a zip archive.
pub(super) fn is_zip(head: &[u8]) -> bool {
    head.starts_with(LOCAL_MAGIC) || head.starts_with(END_MAGIC)
}

/// Lists the libraries of `archive`; `None` where it has no directory.
pub(super) fn libraries<'a>(archive: Part<'a>) -> io::Result<Option<Libraries<'a>>> {
    let Some((start, size)) = directory(archive)? else {
        return Ok(None);
    };
    let len = usize::try_from(size).unwrap_or(usize::MAX);
    let bytes = archive.read(start, len.min(MAX_DIRECTORY))?;
    let mut found = Libraries { entries: Vec::new(), incomplete: bytes.len() < len };
    // Files in a sound archive do not overlap, so that together they are no
    // longer than it. In one that was made to take long they are.
    let mut unread = archive.size();
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let Some((entry, after)) = Entry::split(rest) else {
            found.incomplete = true;
            break;
        };
        rest = after;
        if !entry.name.ends_with(b".so") {
            continue;
        }
        let room = unread.checked_sub(if entry.stored { entry.size } else { 0 });
        let (Some(room), true) = (room, found.entries.len() < MAX_LIBRARIES) else {
            found.incomplete = true;
            break;
        };
        unread = room;
        let name = String::from_utf8_lossy(entry.name).into_owned();
        if !entry.stored {
            found.entries.push(Library { name, data: None });
        } else if let Some(data) = entry.data(archive)? {
            found.entries.push(Library { name, data: Some(data) });
        } else {
            found.incomplete = true;
        }
    }
    Ok(Some(found))
}

/// Where the central directory is: offset and size.
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
        // Zip64: a locator stands before the end record and leads to another.
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

/// A file in the central directory.
struct Entry<'b> {
    name: &'b [u8],
    /// Neither compressed nor encrypted.
    stored: bool,
    size: u64,
    /// Where its local header is.
    header: u64,
}

impl<'b> Entry<'b> {
    /// Reads the first entry of `bytes`; with it, the bytes behind it.
    fn split(bytes: &'b [u8]) -> Option<(Self, &'b [u8])> {
        let fixed = bytes.get(..ENTRY_SIZE).filter(|fixed| fixed.starts_with(ENTRY_MAGIC))?;
        let name_len = usize::from(fixed.u16(28)?);
        let extra_len = usize::from(fixed.u16(30)?);
        let comment_len = usize::from(fixed.u16(32)?);
        let (name, rest) = bytes.get(ENTRY_SIZE..)?.split_at_checked(name_len)?;
        let (extra, rest) = rest.split_at_checked(extra_len)?;
        let rest = rest.get(comment_len..)?;

        // The extra field holds the 64-bit values in this order, each only
        // where its 32-bit field does not.
        let mut wide = extra_field(extra, EXTRA_ZIP64).unwrap_or_default().chunks_exact(8);
        let mut value = |narrow: u32| {
            if narrow == IN_EXTRA { wide.next()?.u64(0) } else { Some(u64::from(narrow)) }
        };
        let (packed, size) = (fixed.u32(20)?, value(fixed.u32(24)?)?);
        let packed = value(packed)?;
        let header = value(fixed.u32(42)?)?;
        let encrypted = fixed.u16(8)? & 1 == 1;
        let stored = fixed.u16(10)? == 0 && !encrypted && packed == size;
        Some((Self { name, stored, size, header }, rest))
    }

    /// The data of a stored entry, behind its local header.
    fn data<'a>(&self, archive: Part<'a>) -> io::Result<Option<Part<'a>>> {
        let header = archive.read(self.header, LOCAL_SIZE)?;
        let (true, Some(name), Some(extra)) =
            (header.starts_with(LOCAL_MAGIC), header.u16(26), header.u16(28))
        else {
            return Ok(None);
        };
        let skip = LOCAL_SIZE as u64 + u64::from(name) + u64::from(extra);
        Ok(self.header.checked_add(skip).and_then(|start| archive.sub(start, self.size)))
    }
}

/// The extra field of that kind.
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
