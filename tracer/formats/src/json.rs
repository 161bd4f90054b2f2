//! JSON files of any size (RFC 8259): finds values, and reads those that the
//! caller asks for.
//!
//! ```text
//! file ─▶ Reader: names, brackets, ends of values ─▶ one value's text ─▶ Value
//!         (streaming, skips what is not wanted)      (bounded)           (a tree)
//! ```
//!
//! The text of a value is read by the reader that also reads bodies
//! ([`content::read_json`](tracer_core::content::read_json)), so the start of a
//! value is available if the file ends within it. `serde_json` rejects such
//! text, and with it strings that Python wrote (see [`Value`]).

mod value;

use std::io::{self, BufRead};

use memchr::memchr2;
use tracer_core::content::End;

pub(crate) use self::value::{Text, Value};
use crate::ReadError;

/// Maximum length of a value's text. A body is kept up to 1 MiB; escapes can
/// make its text six times as long.
const MAX_VALUE: usize = 16 << 20;

/// Maximum length of a member name.
const MAX_NAME: usize = 256;

/// Reads a file from its start.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    from: R,
    at: u64,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, at: 0 }
    }

    /// Skips a byte order mark at the start of the file.
    pub(crate) fn skip_byte_order_mark(&mut self) -> Result<(), ReadError> {
        const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
        if self.peek()? != Some(MARK[0]) {
            return Ok(());
        }
        // Byte by byte: the file or the buffer may end within the mark.
        for expected in MARK {
            match self.peek()? {
                Some(byte) if byte == expected => self.consume(1),
                Some(_) => return Err(self.malformed("the byte order mark is not one of UTF-8")),
                None => return Err(ReadError::Cut),
            }
        }
        Ok(())
    }

    /// Enters an object or array if the next value is one that starts with
    /// `bracket`. Returns whether it is.
    pub(crate) fn enter(&mut self, bracket: u8) -> Result<bool, ReadError> {
        let enters = self.next_byte()? == bracket;
        if enters {
            self.consume(1);
        }
        Ok(enters)
    }

    /// Reads the name of the next member. Returns `None` at the object's end.
    pub(crate) fn next_name(&mut self, first: bool) -> Result<Option<String>, ReadError> {
        if self.ends(b'}', first)? {
            return Ok(None);
        }
        if self.next_byte()? != b'"' {
            return Err(self.malformed("a member has no name"));
        }
        let mut name = Vec::new();
        self.copy_value(&mut name, MAX_NAME)?;
        if self.next_byte()? != b':' {
            return Err(self.malformed("a member has no value"));
        }
        self.consume(1);
        Ok(Some(match Value::parse(&name, true).0 {
            Value::Text(name) => String::from_utf8_lossy(&name.bytes).into_owned(),
            _ => String::new(),
        }))
    }

    /// Reports whether an array has another element.
    pub(crate) fn next_element(&mut self, first: bool) -> Result<bool, ReadError> {
        self.ends(b']', first).map(|ends| !ends)
    }

    /// Reads the next value into `value`, which on an error holds everything
    /// before it. Returns whether parts of the value were dropped because it
    /// exceeds a limit.
    pub(crate) fn value(&mut self, value: &mut Value) -> Result<bool, ReadError> {
        let mut text = Vec::new();
        let copied = self.copy_value(&mut text, MAX_VALUE);
        let is_whole = matches!(copied, Ok(true));
        let (parsed, end) = Value::parse(&text, !is_whole);
        *value = parsed;
        copied?;
        match end {
            End::Malformed => Err(self.malformed("a value is not valid JSON")),
            End::Complete => Ok(!is_whole),
            End::Truncated | End::TooDeep => Ok(true),
        }
    }

    /// Skips the next value.
    pub(crate) fn skip(&mut self) -> Result<(), ReadError> {
        self.copy_value(&mut Vec::new(), 0).map(|_| ())
    }

    /// Copies the text of the next value to `out`, up to a length of `max`.
    /// Returns whether all of it was copied.
    ///
    /// Only the end of the value is looked for: brackets are counted, not
    /// compared.
    fn copy_value(&mut self, out: &mut Vec<u8>, max: usize) -> Result<bool, ReadError> {
        let is_container = match self.next_byte()? {
            b'{' | b'[' => true,
            b'"' => false,
            _ => return self.copy_scalar(out, max),
        };
        let mut is_whole = true;
        let mut depth = 0_u64;
        let (mut in_string, mut escaped) = (false, false);
        loop {
            let buffer = fill(&mut self.from)?;
            if buffer.is_empty() {
                return Err(ReadError::Cut);
            }
            let mut used = 0;
            let mut ended = false;
            while let Some(&byte) = buffer.get(used).filter(|_| !ended) {
                used += 1;
                if escaped {
                    escaped = false;
                } else if in_string {
                    match byte {
                        b'"' => {
                            in_string = false;
                            ended = !is_container;
                        }
                        b'\\' => escaped = true,
                        _ => {
                            let rest = buffer.get(used..).unwrap_or_default();
                            used += memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
                        }
                    }
                } else {
                    match byte {
                        b'"' => in_string = true,
                        b'{' | b'[' => depth += 1,
                        b'}' | b']' => {
                            depth -= 1;
                            ended = depth == 0;
                        }
                        _ => {}
                    }
                }
            }
            is_whole &= copy(out, buffer.get(..used).unwrap_or_default(), max);
            self.consume(used);
            if ended {
                return Ok(is_whole);
            }
        }
    }

    /// Copies a number or literal.
    fn copy_scalar(&mut self, out: &mut Vec<u8>, max: usize) -> Result<bool, ReadError> {
        let (mut is_whole, mut is_empty) = (true, true);
        while let Some(byte) = self.peek()? {
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')) {
                break;
            }
            is_whole &= copy(out, &[byte], max);
            is_empty = false;
            self.consume(1);
        }
        if is_empty {
            return Err(self.malformed("a value is missing"));
        }
        Ok(is_whole)
    }

    /// Reports whether an object or array ends here, and consumes its bracket,
    /// or the comma before another element.
    fn ends(&mut self, bracket: u8, first: bool) -> Result<bool, ReadError> {
        let byte = self.next_byte()?;
        if byte == b',' && !first {
            self.consume(1);
            // Some tools write a comma after the last element.
            if self.next_byte()? != bracket {
                return Ok(false);
            }
        } else if byte != bracket {
            return if first { Ok(false) } else { Err(self.malformed("a comma is missing")) };
        }
        self.consume(1);
        Ok(true)
    }

    /// Returns the next byte that is not white space, without consuming it.
    fn next_byte(&mut self) -> Result<u8, ReadError> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.consume(1),
                Some(byte) => return Ok(byte),
                None => return Err(ReadError::Cut),
            }
        }
    }

    fn peek(&mut self) -> Result<Option<u8>, ReadError> {
        Ok(fill(&mut self.from)?.first().copied())
    }

    fn consume(&mut self, bytes: usize) {
        self.from.consume(bytes);
        self.at += bytes as u64;
    }

    fn malformed(&self, problem: &str) -> ReadError {
        ReadError::Damaged(format!("{problem}, at byte {}", self.at))
    }
}

/// Calls `fill_buf`, again if a signal interrupts it.
fn fill(from: &mut impl BufRead) -> Result<&[u8], ReadError> {
    // Returning the buffer from within the loop would borrow `from` for all of
    // it.
    while let Err(err) = from.fill_buf() {
        if err.kind() != io::ErrorKind::Interrupted {
            return Err(err.into());
        }
    }
    Ok(from.fill_buf()?)
}

/// Appends bytes up to a length of `max`. Returns whether all of them fit.
fn copy(out: &mut Vec<u8>, bytes: &[u8], max: usize) -> bool {
    let room = max.saturating_sub(out.len());
    out.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    bytes.len() <= room
}

#[cfg(test)]
mod tests;
