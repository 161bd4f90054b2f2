//! JSON (RFC 8259) as tools write it into files of any size: read piece by
//! piece, kept only where it is asked for.
//!
//! [`content::json`](tracer_core::content) takes a value of a request apart; this
//! reader walks a file. It differs from a strict one on purpose:
//!
//! - what was read before a cut or an error is kept ([`Reader::value`]);
//! - a value of another type than expected stops nothing;
//! - a string is bytes: Python writes those that are no UTF-8 as lone
//!   surrogates (PEP 383), and they are turned back.

use std::io::{self, BufRead};

use memchr::memchr2;

use crate::ReadError;

/// How deep values may nest. HAR nests eight deep; what tools add of their own
/// (call stacks) is skipped, which needs no stack.
const MAX_NESTING: usize = 32;

/// Bytes kept of one string. A body is kept up to 1 MiB, and base64 makes a
/// third more of it.
const MAX_TEXT: usize = 2 << 20;

/// Bytes kept of the name of a member.
const MAX_NAME: usize = 256;

/// What a value may cost in memory. A request has some hundred fields.
const MAX_COST: usize = 16 << 20;

/// A string.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text {
    /// The bytes kept of it.
    pub(crate) bytes: Vec<u8>,
    /// How many were not kept.
    pub(crate) dropped: u64,
    /// The file ends within it.
    pub(crate) cut: bool,
}

impl Text {
    /// All of it is here.
    pub(crate) fn is_whole(&self) -> bool {
        self.dropped == 0 && !self.cut
    }
}

/// A value.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Value {
    /// `null`, or what stood where the file was cut.
    #[default]
    Null,
    /// A number, as written; `true` and `false` as well.
    Scalar(String),
    /// A string.
    Text(Text),
    /// An array.
    List(Vec<Value>),
    /// An object, its members in order.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// The first member of that name.
    pub(crate) fn member(&self, name: &str) -> Option<&Value> {
        match self {
            Self::Object(members) => members.iter().find(|(n, _)| n == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The member of that name, where it is a string.
    pub(crate) fn text(&self, name: &str) -> Option<&Text> {
        match self.member(name) {
            Some(Self::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The member of that name, where it is a number.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        match self.member(name) {
            Some(Self::Scalar(text)) => text.parse().ok(),
            _ => None,
        }
    }

    /// The elements of the array of that name.
    pub(crate) fn list(&self, name: &str) -> &[Value] {
        match self.member(name) {
            Some(Self::List(list)) => list,
            _ => &[],
        }
    }
}

/// Reads one file.
#[derive(Debug)]
pub(crate) struct Reader<R> {
    from: R,
    at: u64,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, at: 0 }
    }

    /// How many bytes were read.
    #[cfg(test)]
    pub(crate) fn position(&self) -> u64 {
        self.at
    }

    /// Skips the mark that some tools begin a file of UTF-8 with.
    pub(crate) fn byte_order_mark(&mut self) -> Result<(), ReadError> {
        const MARK: [u8; 3] = [0xef, 0xbb, 0xbf];
        if self.peek()? != Some(MARK[0]) {
            return Ok(());
        }
        // Byte by byte: the file or the buffer may end within the mark.
        for expected in MARK {
            match self.peek()? {
                Some(byte) if byte == expected => self.take(1),
                Some(_) => return Err(self.malformed("the byte order mark is not one of UTF-8")),
                None => return Err(ReadError::Cut),
            }
        }
        Ok(())
    }

    /// Enters the object or array that comes next; says whether there is one.
    pub(crate) fn enter(&mut self, bracket: u8) -> Result<bool, ReadError> {
        let enters = self.next_byte()? == bracket;
        if enters {
            self.take(1);
        }
        Ok(enters)
    }

    /// The name of the next member; `None` at the object's end.
    pub(crate) fn next_name(&mut self, first: bool) -> Result<Option<String>, ReadError> {
        if self.ends(b'}', first)? {
            return Ok(None);
        }
        if self.next_byte()? != b'"' {
            return Err(self.malformed("a member has no name"));
        }
        let mut name = Text::default();
        self.string(&mut name, MAX_NAME)?;
        if self.next_byte()? != b':' {
            return Err(self.malformed("a member has no value"));
        }
        self.take(1);
        Ok(Some(String::from_utf8_lossy(&name.bytes).into_owned()))
    }

    /// Whether another element comes in an array.
    pub(crate) fn next_element(&mut self, first: bool) -> Result<bool, ReadError> {
        self.ends(b']', first).map(|ends| !ends)
    }

    /// Reads the value that comes next into `value`, which holds what came
    /// before an error. What nests too deep, or costs too much, is left out:
    /// the answer says whether something was.
    pub(crate) fn value(&mut self, value: &mut Value) -> Result<bool, ReadError> {
        let mut cost = 0;
        self.nested(value, 0, &mut cost)?;
        Ok(cost > MAX_COST)
    }

    /// Reads over the value that comes next.
    pub(crate) fn skip(&mut self) -> Result<(), ReadError> {
        let mut depth = 0_u64;
        loop {
            match self.next_byte()? {
                b'"' => self.string(&mut Text::default(), 0)?,
                b'{' | b'[' => {
                    self.take(1);
                    depth += 1;
                }
                b'}' | b']' | b',' | b':' if depth > 0 => {
                    depth -= u64::from(matches!(self.peek()?, Some(b'}' | b']')));
                    self.take(1);
                }
                _ => {
                    self.scalar()?;
                }
            }
            if depth == 0 {
                return Ok(());
            }
        }
    }

    fn nested(
        &mut self,
        value: &mut Value,
        depth: usize,
        cost: &mut usize,
    ) -> Result<(), ReadError> {
        *cost += size_of::<(String, Value)>();
        if depth == MAX_NESTING || *cost > MAX_COST {
            *cost = MAX_COST + 1;
            return self.skip();
        }
        match self.next_byte()? {
            b'"' => {
                *value = Value::Text(Text::default());
                if let Value::Text(text) = value {
                    let read = self.string(text, MAX_TEXT);
                    *cost += text.bytes.len();
                    read?;
                }
            }
            b'{' => {
                self.take(1);
                *value = Value::Object(Vec::new());
                let mut first = true;
                while let Some(name) = self.next_name(first)? {
                    first = false;
                    *cost += name.len();
                    if let Value::Object(members) = value {
                        let (_, member) = push(members, (name, Value::Null));
                        self.nested(member, depth + 1, cost)?;
                    }
                }
            }
            b'[' => {
                self.take(1);
                *value = Value::List(Vec::new());
                let mut first = true;
                while self.next_element(first)? {
                    first = false;
                    if let Value::List(list) = value {
                        self.nested(push(list, Value::Null), depth + 1, cost)?;
                    }
                }
            }
            _ => {
                let scalar = self.scalar()?;
                *value = if scalar == "null" { Value::Null } else { Value::Scalar(scalar) };
            }
        }
        Ok(())
    }

    /// Whether an object or array ends here; takes the comma before another
    /// element.
    fn ends(&mut self, bracket: u8, first: bool) -> Result<bool, ReadError> {
        let byte = self.next_byte()?;
        if byte == b',' && !first {
            self.take(1);
            // Some writers leave a comma at the end.
            if self.next_byte()? != bracket {
                return Ok(false);
            }
        } else if byte != bracket {
            return if first { Ok(false) } else { Err(self.malformed("a comma is missing")) };
        }
        self.take(1);
        Ok(true)
    }

    /// Reads a string, and keeps at most `max` bytes of it.
    fn string(&mut self, text: &mut Text, max: usize) -> Result<(), ReadError> {
        self.take(1);
        text.cut = true;
        // The first half of a pair of surrogates.
        let mut high: Option<u16> = None;
        loop {
            let buffer = fill(&mut self.from)?;
            if buffer.is_empty() {
                return Err(ReadError::Cut);
            }
            let end = memchr2(b'"', b'\\', buffer);
            let plain = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or_default();
            if !plain.is_empty() {
                lone(high.take(), text, max);
                keep(text, plain, max);
            }
            let used = plain.len();
            let ended = end.and_then(|at| buffer.get(at)) == Some(&b'"');
            self.take(used + usize::from(end.is_some()));
            if ended {
                lone(high, text, max);
                text.cut = false;
                return Ok(());
            }
            if end.is_some() {
                self.escape(text, max, &mut high)?;
            }
        }
    }

    /// The escape behind a backslash.
    fn escape(
        &mut self,
        text: &mut Text,
        max: usize,
        high: &mut Option<u16>,
    ) -> Result<(), ReadError> {
        let escape = self.peek()?.ok_or(ReadError::Cut)?;
        self.take(1);
        if escape != b'u' {
            lone(high.take(), text, max);
        }
        let byte = match escape {
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let unit = self.unit()?;
                match (high.take(), unit) {
                    (None, 0xd800..0xdc00) => *high = Some(unit),
                    (Some(before), 0xd800..0xdc00) => {
                        lone(Some(before), text, max);
                        *high = Some(unit);
                    }
                    (Some(before), 0xdc00..0xe000) => {
                        let pair = char::decode_utf16([before, unit]).flatten().next();
                        keep_char(text, pair.unwrap_or(char::REPLACEMENT_CHARACTER), max);
                    }
                    (before, _) => {
                        lone(before, text, max);
                        lone(Some(unit), text, max);
                    }
                }
                return Ok(());
            }
            other => other,
        };
        keep(text, &[byte], max);
        Ok(())
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Result<u16, ReadError> {
        let mut unit = 0;
        for _ in 0..4 {
            let byte = self.peek()?.ok_or(ReadError::Cut)?;
            let digit = char::from(byte).to_digit(16);
            let digit = digit.ok_or_else(|| self.malformed("an escape is none"))?;
            unit = unit << 4 | digit as u16;
            self.take(1);
        }
        Ok(unit)
    }

    /// A number or literal.
    fn scalar(&mut self) -> Result<String, ReadError> {
        /// The longest that a double is ever written with, and more.
        const MAX: usize = 400;
        let mut scalar = String::new();
        while let Some(byte) = self.peek()? {
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')) {
                break;
            }
            if scalar.len() == MAX {
                return Err(self.malformed("a number is too long"));
            }
            scalar.push(char::from(byte));
            self.take(1);
        }
        if scalar.is_empty() {
            return Err(self.malformed("a value is missing"));
        }
        Ok(scalar)
    }

    /// The next byte that is no white space; an error where there is none.
    fn next_byte(&mut self) -> Result<u8, ReadError> {
        loop {
            match self.peek()? {
                Some(b' ' | b'\t' | b'\n' | b'\r') => self.take(1),
                Some(byte) => return Ok(byte),
                None => return Err(ReadError::Cut),
            }
        }
    }

    fn peek(&mut self) -> Result<Option<u8>, ReadError> {
        Ok(fill(&mut self.from)?.first().copied())
    }

    fn take(&mut self, bytes: usize) {
        self.from.consume(bytes);
        self.at += bytes as u64;
    }

    fn malformed(&self, what: &str) -> ReadError {
        ReadError::Damaged(format!("{what}, at byte {}", self.at))
    }
}

/// As `fill_buf`, and goes on after a signal.
fn fill(from: &mut impl BufRead) -> Result<&[u8], ReadError> {
    // Twice, since a buffer that is returned cannot be asked for in a loop.
    while let Err(err) = from.fill_buf() {
        if err.kind() != io::ErrorKind::Interrupted {
            return Err(err.into());
        }
    }
    Ok(from.fill_buf()?)
}

fn push<T>(list: &mut Vec<T>, one: T) -> &mut T {
    list.push(one);
    list.last_mut().expect("one was pushed")
}

fn keep(text: &mut Text, bytes: &[u8], max: usize) {
    let room = max.saturating_sub(text.bytes.len());
    let (kept, dropped) = bytes.split_at(bytes.len().min(room));
    // Nothing behind a gap.
    if text.dropped == 0 {
        text.bytes.extend_from_slice(kept);
        text.dropped += dropped.len() as u64;
    } else {
        text.dropped += bytes.len() as u64;
    }
}

fn keep_char(text: &mut Text, c: char, max: usize) {
    keep(text, c.encode_utf8(&mut [0; 4]).as_bytes(), max);
}

/// A UTF-16 unit that stands alone: a character, or a byte that Python could
/// not decode (U+DC80 to U+DCFF, PEP 383).
fn lone(unit: Option<u16>, text: &mut Text, max: usize) {
    match unit {
        None => {}
        Some(0xdc80..=0xdcff) => {
            let [_, byte] = unit.unwrap_or_default().to_be_bytes();
            keep(text, &[byte], max);
        }
        Some(unit) => {
            let c = char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER);
            keep_char(text, c, max);
        }
    }
}

#[cfg(test)]
mod tests;
