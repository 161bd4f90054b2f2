//! ZIP archives (APPNOTE 6.3) with one recording.
//!
//! ```text
//! PK 3 4 | version, flags, method, … , sizes, name, extra | data | [PK 7 8 …] | … | PK 1 2
//! ```
//!
//! An archive is read from its start, so that standard input can be one. Entries
//! that are not recordings are skipped. If the archive has more than one
//! recording, the first is read, and its end is an error that says so.

use std::io::{self, BufReader, Read};

use flate2::bufread::DeflateDecoder;
use tracer_core::wording::counted;

use super::{
    UnpackError,
    bounded::{Bounded, Count},
    source::Source,
};
use crate::{DETECT_LEN, Recording, foreign};

/// Length of a local header before its name.
const HEADER: usize = 30;

/// Maximum number of entries that are skipped in search of a recording.
const MAX_SKIPPED: usize = 10_000;

/// Bits of the flags of an entry.
const ENCRYPTED: u16 = 1;
const SIZES_FOLLOW: u16 = 1 << 3;

/// A size that is written in the field of ZIP64 instead.
const UNKNOWN: u64 = u32::MAX as u64;

/// Extensions of recordings.
const EXTENSIONS: [&str; 9] =
    [".har", ".zhar", ".pcap", ".pcapng", ".cap", ".http", ".trace", ".gz", ".zst"];

/// A local header.
struct Header {
    flags: u16,
    method: u16,
    /// Compressed size; unknown if it follows the data.
    size: Option<u64>,
    name: String,
}

impl Header {
    /// Reads the next local header. Returns `None` behind the last entry.
    fn read(from: &mut Source<'_>) -> io::Result<Option<Self>> {
        let head = from.peek(HEADER)?;
        if !head.starts_with(b"PK\x03\x04") {
            return Ok(None);
        }
        let number = |at: usize, len: usize| {
            let bytes = head.get(at..at + len).ok_or(io::ErrorKind::UnexpectedEof)?;
            let number = bytes.iter().rev().fold(0_u64, |all, &b| all << 8 | u64::from(b));
            Ok::<_, io::Error>(number)
        };
        let (flags, method) = (number(6, 2)? as u16, number(8, 2)? as u16);
        let (size, real) = (number(18, 4)?, number(22, 4)?);
        let (name_len, extra_len) = (number(26, 2)? as usize, number(28, 2)? as usize);
        from.skip(HEADER as u64)?;
        let name = String::from_utf8_lossy(from.peek(name_len)?).into_owned();
        from.skip(name_len as u64)?;
        let extra = from.peek(extra_len)?;
        let size = if size == UNKNOWN { long_size(extra, real) } else { Some(size) };
        from.skip(extra_len as u64)?;
        let size = size.filter(|_| flags & SIZES_FOLLOW == 0);
        Ok(Some(Self { flags, method, size, name }))
    }

    fn is_folder_or_metadata(&self) -> bool {
        self.name.ends_with('/')
            || self.name.starts_with("__MACOSX/")
            || self.name.ends_with(".DS_Store")
    }

    fn has_extension(&self) -> bool {
        let name = self.name.to_ascii_lowercase();
        EXTENSIONS.iter().any(|extension| name.ends_with(extension))
    }
}

/// Returns the compressed size in the field of ZIP64. The real size precedes it
/// if it is long as well.
fn long_size(mut extra: &[u8], real: u64) -> Option<u64> {
    while let [a, b, c, d, rest @ ..] = extra {
        let (field, behind) = rest.split_at_checked(u16::from_le_bytes([*c, *d]).into())?;
        if u16::from_le_bytes([*a, *b]) == 1 {
            let at = if real == UNKNOWN { 8 } else { 0 };
            let size = field.get(at..)?.first_chunk()?;
            return Some(u64::from_le_bytes(*size));
        }
        extra = behind;
    }
    None
}

/// The data of an entry, unpacked.
enum Data<'a> {
    Stored(io::Take<Source<'a>>),
    Deflated(DeflateDecoder<Source<'a>>),
}

impl<'a> Data<'a> {
    fn open(from: Source<'a>, header: &Header) -> Result<Self, UnpackError> {
        let problem = match (header.method, header.size) {
            _ if header.flags & ENCRYPTED != 0 => "is encrypted".to_owned(),
            (0, Some(size)) => return Ok(Self::Stored(from.take(size))),
            (0, None) => "has no length".to_owned(),
            (8, _) => return Ok(Self::Deflated(DeflateDecoder::new(from))),
            (method, _) => format!("is compressed with method {method}"),
        };
        let name = header.name.escape_debug();
        Err(UnpackError::Unsupported(format!(
            "{name} in this ZIP archive {problem}: unpack it first"
        )))
    }

    /// Moves from the end of the data behind the sizes that may follow it.
    fn finish(self, header: &Header) -> io::Result<Source<'a>> {
        let mut from = match self {
            Self::Stored(data) => data.into_inner(),
            Self::Deflated(data) => data.into_inner(),
        };
        if header.flags & SIZES_FOLLOW != 0 {
            // Checksum and two sizes of 4 or 8 bytes, with or without a signature.
            let next = from.peek(28)?;
            let start = if next.starts_with(b"PK\x07\x08") { 4 } else { 0 };
            let is_entry = |at: usize| next.get(at..at + 2) == Some(b"PK");
            let len = if is_entry(start + 12) || !is_entry(start + 20) { 12 } else { 20 };
            from.skip((start + len) as u64)?;
        }
        Ok(from)
    }
}

impl Read for Data<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Stored(data) => data.read(out),
            Self::Deflated(data) => data.read(out),
        }
    }
}

/// Finds the recording in an archive.
pub(super) fn recording<'a>(
    mut from: Source<'a>,
    count: &Count,
) -> Result<Source<'a>, UnpackError> {
    let mut others: Vec<String> = Vec::new();
    let mut foreign = None;
    for _ in 0..MAX_SKIPPED {
        let Some(header) = Header::read(&mut from)? else { break };
        if let Some(tool) = foreign::of_archive(&header.name) {
            return Err(UnpackError::Unsupported(tool.to_string()));
        }
        let mut data = Bounded::new(Data::open(from, &header)?, count.clone());
        if header.is_folder_or_metadata() {
            from = data.drain()?.finish(&header)?;
            continue;
        }
        let mut head = Vec::new();
        data.by_ref().take(DETECT_LEN as u64).read_to_end(&mut head)?;
        if header.has_extension() || is_recording(&head) {
            let entry = Entry { header, data: Some(data), count: count.clone() };
            let all = io::Cursor::new(head).chain(entry);
            return Ok(Source::new(Box::new(BufReader::new(all))));
        }
        foreign = foreign.or_else(|| foreign::detect(&head, None));
        others.push(header.name.escape_debug().to_string());
        from = data.drain()?.finish(&header)?;
    }
    if let (Some(tool), [_]) = (foreign, &others[..]) {
        return Err(UnpackError::Unsupported(tool.to_string()));
    }
    let names = others.iter().take(3).map(String::as_str).collect::<Vec<_>>().join(", ");
    Err(UnpackError::Unsupported(format!(
        "no file in this ZIP archive is a trace, a HAR, a packet capture or raw requests ({}: \
         {names})",
        counted(others.len() as u64, "file")
    )))
}

/// Reports whether the content of an entry is a recording, or packed.
fn is_recording(head: &[u8]) -> bool {
    let is_har = || memchr::memmem::find(head, b"\"log\"").is_some();
    match Recording::detect(head) {
        Some(Recording::Har) => is_har(),
        Some(Recording::Pcapng) => true,
        None => {
            super::Packing::detect(head).is_some()
                || head.starts_with(b"tracer\0")
                || tracer_core::proto::begins_with_request(head)
        }
    }
}

/// The recording in an archive. Its end is an error if another one follows.
struct Entry<'a> {
    header: Header,
    /// `None` once everything was read.
    data: Option<Bounded<Data<'a>>>,
    count: Count,
}

impl Entry<'_> {
    /// Returns the name of the first of the following entries that is a
    /// recording.
    fn next_recording(&mut self) -> io::Result<Option<String>> {
        let Some(data) = self.data.take() else { return Ok(None) };
        let mut from = data.drain()?.finish(&self.header)?;
        for _ in 0..MAX_SKIPPED {
            let Some(header) = Header::read(&mut from)? else { return Ok(None) };
            let Ok(data) = Data::open(from, &header) else { return Ok(Some(header.name)) };
            let mut data = Bounded::new(data, self.count.clone());
            let mut head = Vec::new();
            data.by_ref().take(DETECT_LEN as u64).read_to_end(&mut head)?;
            if !header.is_folder_or_metadata() && (header.has_extension() || is_recording(&head)) {
                return Ok(Some(header.name));
            }
            from = data.drain()?.finish(&header)?;
        }
        Ok(None)
    }
}

impl Read for Entry<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let Some(data) = &mut self.data else { return Ok(0) };
        let len = data.read(out)?;
        if len == 0 && !out.is_empty() {
            let first = self.header.name.escape_debug().to_string();
            if let Some(next) = self.next_recording()? {
                return Err(io::Error::other(format!(
                    "only {first} in this ZIP archive was read, not {}: unpack it, and decode each \
                     file",
                    next.escape_debug()
                )));
            }
        }
        Ok(len)
    }
}
