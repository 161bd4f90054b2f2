//! A reader whose next bytes can be looked at.

use std::io::{self, BufRead, Read};

/// A buffered reader that returns its next bytes without consuming them.
pub(super) struct Source<'a> {
    /// Bytes that were looked at, and the number of them that were consumed since.
    ahead: Vec<u8>,
    at: usize,
    rest: Box<dyn BufRead + 'a>,
    /// An error behind the bytes that were looked at.
    error: Option<io::Error>,
}

impl<'a> Source<'a> {
    pub(super) fn new(rest: Box<dyn BufRead + 'a>) -> Self {
        Self { ahead: Vec::new(), at: 0, rest, error: None }
    }

    /// Returns the next `len` bytes, or all if there are fewer. An error behind
    /// them is returned to the reader.
    pub(super) fn peek(&mut self, len: usize) -> io::Result<&[u8]> {
        self.ahead.drain(..self.at);
        self.at = 0;
        let missing = len.saturating_sub(self.ahead.len());
        if missing > 0 && self.error.is_none() {
            let read = self.rest.by_ref().take(missing as u64).read_to_end(&mut self.ahead);
            self.error = read.err();
        }
        if self.ahead.is_empty() {
            self.error.take().map_or(Ok(()), Err)?;
        }
        Ok(self.ahead.get(..len).unwrap_or(&self.ahead))
    }

    /// Consumes the next `len` bytes. Returns an error if there are fewer.
    pub(super) fn skip(&mut self, len: u64) -> io::Result<()> {
        let skipped = io::copy(&mut self.by_ref().take(len), &mut io::sink())?;
        if skipped < len { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let ahead = self.ahead.get(self.at..).unwrap_or_default();
        if ahead.is_empty() {
            self.error.take().map_or(Ok(()), Err)?;
            return self.rest.read(out);
        }
        let len = ahead.len().min(out.len());
        let (Some(from), Some(to)) = (ahead.get(..len), out.get_mut(..len)) else {
            return Ok(0);
        };
        to.copy_from_slice(from);
        self.at += len;
        Ok(len)
    }
}

impl BufRead for Source<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.ahead.get(self.at..) {
            Some(ahead) if !ahead.is_empty() => Ok(ahead),
            _ => {
                self.error.take().map_or(Ok(()), Err)?;
                self.rest.fill_buf()
            }
        }
    }

    fn consume(&mut self, len: usize) {
        if self.at < self.ahead.len() {
            self.at += len;
        } else {
            self.rest.consume(len);
        }
    }
}
