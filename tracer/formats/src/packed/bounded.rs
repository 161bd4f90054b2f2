//! Limits of content that is out of proportion to its file.

use std::{
    cell::Cell,
    io::{self, BufRead, Read},
    rc::Rc,
};

/// Length up to which content may be out of proportion.
const FREE: u64 = 64 << 20;

/// Maximum number of bytes of content for each byte of the file. Captures and
/// HAR files compress to a hundredth at most; deflate reaches a thousandth, and
/// two layers of it a millionth.
const MAX_RATIO: u64 = 200;

/// The number of bytes of the file that were read.
pub(super) type Count = Rc<Cell<u64>>;

/// A reader that counts what is read.
pub(super) struct Counted<R> {
    from: R,
    count: Count,
}

impl<R: BufRead> Counted<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, count: Count::default() }
    }

    pub(super) fn count(&self) -> Count {
        Rc::clone(&self.count)
    }

    fn add(&self, len: usize) {
        self.count.set(self.count.get().saturating_add(len as u64));
    }
}

impl<R: BufRead> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.from.read(out)?;
        self.add(len);
        Ok(len)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.from.fill_buf()
    }

    fn consume(&mut self, len: usize) {
        self.from.consume(len);
        self.add(len);
    }
}

/// A reader of unpacked content that ends with an error if there is too much.
pub(super) struct Bounded<R> {
    from: R,
    packed: Count,
    unpacked: u64,
}

impl<R: Read> Bounded<R> {
    pub(super) fn new(from: R, packed: Count) -> Self {
        Self { from, packed, unpacked: 0 }
    }

    /// Reads the rest, and returns the inner reader.
    pub(super) fn drain(mut self) -> io::Result<R> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.from)
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = self.from.read(out)?;
        self.unpacked = self.unpacked.saturating_add(len as u64);
        if self.unpacked > FREE.max(self.packed.get().saturating_mul(MAX_RATIO)) {
            return Err(io::Error::other(format!(
                "its content is more than {MAX_RATIO} times as long as the file: unpack it first, \
                 if you trust it"
            )));
        }
        Ok(len)
    }
}
