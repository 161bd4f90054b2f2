//! Files by position: what [`locate`](super::locate) reads from.
//!
//! A Chromium is 300 MB. Nothing here reads a file whole: headers and tables
//! are read by range, segments in windows of [`WINDOW`] bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// How much of a segment or table is in memory at a time.
pub(super) const WINDOW: usize = 1 << 20;

/// Bytes that can be read by position.
pub trait Source {
    /// How many bytes there are.
    fn size(&self) -> u64;

    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] where the range is not wholly inside.
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;
}

impl Source for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let bytes = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..)?.get(..buf.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

impl Source for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_exact_at(offset, buf)
    }
}

/// An open file and its size when it was opened.
///
/// A file that shrinks meanwhile gives an error, not a wrong answer.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    size: u64,
}

impl FileSource {
    /// Reads from `file` by position; its cursor is not used.
    ///
    /// # Errors
    /// Where the file's metadata cannot be read, or where it is no regular
    /// file (a FIFO would block the reader).
    pub fn new(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        Ok(Self { file, size: metadata.len() })
    }
}

impl Source for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }
}

/// A part of a source: an entry of an APK, seen as a file of its own.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    source: &'a dyn Source,
    start: u64,
    size: u64,
}

impl<'a> Part<'a> {
    /// The whole of `source`.
    pub(super) fn whole(source: &'a dyn Source) -> Self {
        Self { source, start: 0, size: source.size() }
    }

    /// `size` bytes from `start` on; `None` where they are not all there.
    pub(super) fn sub(&self, start: u64, size: u64) -> Option<Self> {
        let end = start.checked_add(size)?;
        (end <= self.size).then_some(Self {
            source: self.source,
            start: self.start.checked_add(start)?,
            size,
        })
    }

    /// Where the part begins in the file.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// How many bytes the part has.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Up to `len` bytes from `offset` on: fewer at the end, none beyond it.
    ///
    /// `len` is the caller's cap, so that no header can ask for memory.
    pub(super) fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let len = self.size.saturating_sub(offset).min(len as u64);
        if len == 0 {
            return Ok(Vec::new());
        }
        let mut buf = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        self.source.read_exact_at(self.start.saturating_add(offset), &mut buf)?;
        Ok(buf)
    }

    /// Hands out `size` bytes from `start` on in windows of at most [`WINDOW`]
    /// bytes, each with its offset. Two windows share `overlap` bytes, so
    /// that a pattern of up to `overlap + 1` bytes is whole in one of them.
    pub(super) fn windows(
        &self,
        start: u64,
        size: u64,
        overlap: usize,
        mut visit: impl FnMut(u64, &[u8]),
    ) -> io::Result<()> {
        let step = (WINDOW - overlap.min(WINDOW / 2)) as u64;
        let end = start.saturating_add(size).min(self.size);
        let mut buf = vec![0; WINDOW];
        let mut at = start;
        while at < end {
            let len = (end - at).min(WINDOW as u64);
            // `len` is at most WINDOW, so the cast and the slice hold.
            let window = &mut buf[..len as usize];
            self.source.read_exact_at(self.start.saturating_add(at), window)?;
            visit(at, window);
            if len < WINDOW as u64 {
                break;
            }
            at += step;
        }
        Ok(())
    }
}

/// Little-endian fields of `bytes`; `None` beyond its end.
pub(super) trait Fields {
    /// The `N` bytes at `at`.
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]>;

    /// The 16-bit field at `at`.
    fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    /// The 32-bit field at `at`.
    fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// The signed 32-bit field at `at`.
    fn i32(&self, at: usize) -> Option<i32> {
        self.array(at).map(i32::from_le_bytes)
    }

    /// The 64-bit field at `at`.
    fn u64(&self, at: usize) -> Option<u64> {
        self.array(at).map(u64::from_le_bytes)
    }
}

impl Fields for [u8] {
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.get(at..)?.first_chunk().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_share_their_overlap() {
        let bytes: Vec<u8> = (0..WINDOW * 2 + 10).map(|i| (i % 251) as u8).collect();
        let file = Part::whole(&bytes);
        for (start, size, overlap) in
            [(0, bytes.len() as u64, 7), (5, WINDOW as u64 + 1, 0), (9, 4, 3)]
        {
            let mut next = start;
            file.windows(start, size, overlap, |at, window| {
                assert!(window.len() <= WINDOW);
                assert_eq!(at, if at == start { start } else { next - overlap as u64 });
                let from = at as usize;
                assert_eq!(window, &bytes[from..from + window.len()]);
                next = at + window.len() as u64;
            })
            .unwrap();
            assert_eq!(next, start + size);
        }
    }

    #[test]
    fn reads_end_where_the_part_ends() {
        let bytes: Vec<u8> = (0..100).collect();
        let part = Part::whole(&bytes).sub(10, 20).unwrap();
        assert_eq!(part.read(18, 100).unwrap(), [28, 29]);
        assert!(part.read(20, 1).unwrap().is_empty());
        assert!(part.read(u64::MAX, 1).unwrap().is_empty());
        assert!(part.sub(10, 11).is_none());
        assert!(part.sub(u64::MAX, 2).is_none());
        assert_eq!(part.sub(10, 10).unwrap().start(), 20);
    }

    #[test]
    fn a_folder_is_no_file() {
        assert!(FileSource::new(File::open("/").unwrap()).is_err());
    }
}
