//! Random access to files.
//!
//! Chromium's executable has 300 MB, so files are never loaded as a whole: headers and tables
//! are read by range, and segments in windows of [`WINDOW`] bytes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Number of bytes of a segment or table that are in memory at a time.
pub(super) const WINDOW: usize = 1 << 20;

/// A source of bytes with random access.
pub trait Source {
    /// Returns the number of bytes.
    fn size(&self) -> u64;

    /// Fills `buf` with the bytes at `offset`.
    ///
    /// # Errors
    /// Returns [`io::ErrorKind::UnexpectedEof`] if the range exceeds the source.
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

/// An open file. Its size is fixed when it is opened; if the file shrinks later, reads
/// return an error.
#[derive(Debug)]
pub struct FileSource {
    file: File,
    size: u64,
}

impl FileSource {
    /// Creates a source from an open file. The file's cursor is not used.
    ///
    /// # Errors
    /// Returns an error if the metadata cannot be read, or if it is not a regular file
    /// (reading a FIFO would block).
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

/// A part of a source, such as an entry of an APK.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    source: &'a dyn Source,
    start: u64,
    size: u64,
}

impl<'a> Part<'a> {
    /// Returns the part that covers all of `source`.
    pub(super) fn whole(source: &'a dyn Source) -> Self {
        Self { source, start: 0, size: source.size() }
    }

    /// Returns the part of `size` bytes at `start`; `None` if it exceeds this one.
    pub(super) fn sub(&self, start: u64, size: u64) -> Option<Self> {
        let end = start.checked_add(size)?;
        (end <= self.size).then_some(Self {
            source: self.source,
            start: self.start.checked_add(start)?,
            size,
        })
    }

    /// Returns the offset of the part in the source.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Returns the number of bytes in the part.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Reads up to `len` bytes at `offset`: fewer at the end, and none beyond it.
    ///
    /// Callers pass a limit of their own as `len`, never a length from a file alone.
    pub(super) fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let len = self.size.saturating_sub(offset).min(len as u64);
        if len == 0 {
            return Ok(Vec::new());
        }
        let mut buf = vec![0; usize::try_from(len).map_err(io::Error::other)?];
        self.source.read_exact_at(self.start.saturating_add(offset), &mut buf)?;
        Ok(buf)
    }

    /// Calls `visit` with `size` bytes at `start`, in windows of at most [`WINDOW`] bytes,
    /// each with its offset. Consecutive windows overlap by `overlap` bytes, so that one of
    /// them contains any given sequence of up to `overlap + 1` bytes.
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
            // `len` is at most WINDOW, so neither the cast nor the slice can fail.
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

/// Reads little-endian fields at an offset; returns `None` beyond the end.
pub(super) trait Fields {
    /// Reads `N` bytes.
    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]>;

    /// Reads a 16-bit field.
    fn u16(&self, at: usize) -> Option<u16> {
        self.array(at).map(u16::from_le_bytes)
    }

    /// Reads a 32-bit field.
    fn u32(&self, at: usize) -> Option<u32> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// Reads a signed 32-bit field.
    fn i32(&self, at: usize) -> Option<i32> {
        self.array(at).map(i32::from_le_bytes)
    }

    /// Reads a 64-bit field.
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
    fn windows_overlap() {
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
    fn reads_stop_at_the_end_of_the_part() {
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
    fn file_source_rejects_a_folder() {
        assert!(FileSource::new(File::open("/").unwrap()).is_err());
    }
}
