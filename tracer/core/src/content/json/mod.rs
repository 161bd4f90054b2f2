//! JSON (RFC 8259), read value by value from input that may end anywhere.
//!
//! The reader is iterative and keeps one [`Level`] per open object or array:
//!
//! ```text
//! {"batch": [ {"url": "https://…", "n": 1}, … ] }
//! levels:   Object > Array > Object
//! path:     .batch   [0]     .url            → one Leaf
//! ```
//!
//! Values are returned as they are encountered, so a document that is truncated
//! or malformed yields everything before that point.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::{
    chain::{Path, Segment},
    tree::{Containers, End, Leaf, Leaves, MAX_NESTING, is_address},
};

mod sniff;

pub(super) use sniff::{
    declared_length, has_trailing_data, is_document, is_quoted, separator_len, start,
    start_after_junk, value_len,
};

/// Reports white space between values, including the record separator of RFC
/// 7464.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x1e)
}

fn skip_space(input: &[u8], at: usize) -> usize {
    let rest = input.get(at..).unwrap_or_default();
    at + rest.iter().take_while(|&&b| is_space(b)).count()
}

/// Returns the length of a string up to its closing quote, and whether it
/// contains escapes.
fn string_end(content: &[u8]) -> Option<(usize, bool)> {
    let mut at = 0;
    let mut escapes = false;
    loop {
        at += memchr2(b'"', b'\\', content.get(at..)?)?;
        if content[at] == b'"' {
            return Some((at, escapes));
        }
        escapes = true;
        at += 2;
    }
}

fn scalar_len(input: &[u8]) -> usize {
    input
        .iter()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
        .count()
}

/// Recognises numbers, the three literals, and what JavaScript writes besides
/// them.
fn is_scalar(token: &[u8]) -> bool {
    matches!(
        token,
        b"true" | b"false" | b"null" | b"NaN" | b"Infinity" | b"-Infinity" | b"undefined"
    ) || matches!(token, [b'-', d, ..] | [d, ..] if d.is_ascii_digit())
}

/// Decodes the escapes in a string. Invalid escapes are left as they are.
fn unescape(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let Some((&escape, after)) = rest.split_first() else {
            return out;
        };
        rest = after;
        match escape {
            b'b' => out.push(0x08),
            b'f' => out.push(0x0c),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            b'u' if is_cut_unicode(rest) => return out,
            b'u' => {
                let (c, used) = unescape_unicode(rest);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = &rest[used..];
            }
            other => out.push(other),
        }
    }
    out.extend_from_slice(rest);
    out
}

/// Reports whether the input ends within the `XXXX` or `XXXX\uXXXX` of a
/// character, whose digits are not text.
fn is_cut_unicode(rest: &[u8]) -> bool {
    let is_hex = |digits: &[u8]| digits.iter().all(u8::is_ascii_hexdigit);
    match rest.split_at_checked(4) {
        None => is_hex(rest),
        Some((high, low)) => {
            let starts_pair =
                matches!(high, [b'd' | b'D', b'8' | b'9' | b'a'..=b'b' | b'A'..=b'B', ..]);
            let cut = match low {
                [] | [b'\\'] => true,
                [b'\\', b'u', digits @ ..] => digits.len() < 4 && is_hex(digits),
                _ => false,
            };
            starts_pair && is_hex(high) && cut
        }
    }
}

/// Decodes the `XXXX` or `XXXX\uXXXX` at the start of `rest`. Returns the
/// character and its length in the input.
fn unescape_unicode(rest: &[u8]) -> (char, usize) {
    let unit = |at: usize| {
        let digits = rest.get(at..at + 4)?;
        digits.iter().try_fold(0u32, |n, &d| Some(n << 4 | char::from(d).to_digit(16)?))
    };
    let Some(high) = unit(0) else {
        // A truncated or invalid escape: the remaining bytes are kept.
        return (char::REPLACEMENT_CHARACTER, 0);
    };
    if let (0xd800..0xdc00, Some(b"\\u"), Some(low @ 0xdc00..0xe000)) =
        (high, rest.get(4..6), unit(6))
    {
        let c = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return (char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER), 10);
    }
    (char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 4)
}

/// An open object or array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Level {
    object: bool,
    container: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A value is expected.
    Value,
    /// A value is expected, or the end of an array that was just opened.
    FirstElement,
    /// A member name is expected, or the end of an object.
    Member,
    /// A comma is expected, or the end of the enclosing object or array.
    AfterValue,
}

/// Reads a document.
#[derive(Debug)]
pub(super) struct Reader<'d> {
    input: &'d [u8],
    at: usize,
    truncated: bool,
    state: State,
    levels: Vec<Level>,
    /// The current path, with one segment per level.
    path: Path<'d>,
    /// A member name that is an address, to be returned as a value.
    address: Option<Leaf<'d>>,
    outer: u32,
    end: Option<End>,
}

impl<'d> Reader<'d> {
    /// Creates a reader for the document at the start of `input`. `outer` is
    /// the number of the container that holds the document.
    pub(super) fn new(input: &'d [u8], truncated: bool, outer: u32) -> Self {
        Self {
            input,
            at: 0,
            truncated,
            state: State::Value,
            levels: Vec::new(),
            path: Path::default(),
            address: None,
            outer,
            end: None,
        }
    }

    fn finish(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// Ends at a premature end of input.
    fn finish_early(&mut self) {
        self.finish(if self.truncated { End::Truncated } else { End::Malformed });
    }

    fn container(&self) -> u32 {
        self.levels.last().map_or(self.outer, |level| level.container)
    }

    /// Ends a value.
    fn end_value(&mut self) {
        self.state = State::AfterValue;
        if self.levels.is_empty() {
            self.finish(End::Complete);
        }
    }

    fn open(&mut self, object: bool, containers: &mut Containers) {
        self.at += 1;
        if self.levels.len() == MAX_NESTING {
            return self.finish(End::TooDeep);
        }
        // Elements of an array belong to the object that holds the array.
        let container = if object { containers.next() } else { self.container() };
        self.levels.push(Level { object, container });
        if object {
            self.path.0.push(Segment::Key(Cow::Borrowed("")));
            self.state = State::Member;
        } else {
            self.path.0.push(Segment::Index(0));
            self.state = State::FirstElement;
        }
    }

    fn close(&mut self, object: bool) {
        match self.levels.last() {
            Some(level) if level.object == object => {
                self.at += 1;
                self.levels.pop();
                self.path.0.pop();
                self.end_value();
            }
            _ => self.finish(End::Malformed),
        }
    }

    fn comma(&mut self) {
        self.at += 1;
        match self.levels.last() {
            Some(Level { object: true, .. }) => self.state = State::Member,
            Some(_) => {
                if let Some(Segment::Index(index)) = self.path.0.last_mut() {
                    *index += 1;
                }
                self.state = State::Value;
            }
            None => self.finish(End::Malformed),
        }
    }

    /// Reads the string whose opening quote is at `at`. Returns its content and
    /// whether it is truncated.
    fn string(&mut self) -> (Cow<'d, [u8]>, bool) {
        let content = &self.input[self.at + 1..];
        let (len, escapes, cut) = match string_end(content) {
            Some((len, escapes)) => (len, escapes, false),
            None => (content.len(), memchr(b'\\', content).is_some(), true),
        };
        self.at += 1 + len + usize::from(!cut);
        let content = &content[..len];
        let content = if escapes { Cow::Owned(unescape(content)) } else { Cow::Borrowed(content) };
        (content, cut)
    }

    fn member(&mut self) {
        let (name, cut) = self.string();
        let name = match name {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => String::from_utf8_lossy(&bytes).into_owned().into(),
        };
        if is_address(name.as_bytes()) {
            self.address = Some(Leaf {
                value: Cow::Owned(name.clone().into_owned().into_bytes()),
                scalar: false,
                container: self.container(),
                truncated: cut,
            });
        }
        if let Some(last) = self.path.0.last_mut() {
            *last = Segment::Key(name);
        }
        if cut {
            return self.finish_early();
        }
        self.at = skip_space(self.input, self.at);
        match self.input.get(self.at) {
            Some(b':') => {
                self.at += 1;
                self.state = State::Value;
            }
            Some(_) => self.finish(End::Malformed),
            None => self.finish_early(),
        }
    }

    fn text(&mut self) -> Leaf<'d> {
        let container = self.container();
        let (value, truncated) = self.string();
        if truncated {
            self.finish_early();
        } else {
            self.end_value();
        }
        Leaf { value, scalar: false, container, truncated }
    }

    fn scalar(&mut self) -> Option<Leaf<'d>> {
        let token = &self.input[self.at..];
        let token = &token[..scalar_len(token)];
        let cut = self.truncated && self.at + token.len() == self.input.len();
        if !is_scalar(token) && !cut {
            self.finish(End::Malformed);
            return None;
        }
        let container = self.container();
        self.at += token.len();
        if cut {
            self.finish(End::Truncated);
        } else {
            self.end_value();
        }
        (token != b"null" && is_scalar(token)).then_some(Leaf {
            value: Cow::Borrowed(token),
            scalar: true,
            container,
            truncated: cut,
        })
    }
}

impl<'d> Leaves<'d> for Reader<'d> {
    fn next_leaf(&mut self, containers: &mut Containers) -> Option<Leaf<'d>> {
        while self.end.is_none() {
            self.at = skip_space(self.input, self.at);
            let Some(&byte) = self.input.get(self.at) else {
                self.finish_early();
                break;
            };
            match (self.state, byte) {
                (State::Member, b'"') => {
                    self.member();
                    if let Some(address) = self.address.take() {
                        return Some(address);
                    }
                }
                (State::Member | State::AfterValue, b'}') => self.close(true),
                (State::FirstElement | State::AfterValue, b']') => self.close(false),
                (State::AfterValue, b',') => self.comma(),
                (State::Member | State::AfterValue, _) => self.finish(End::Malformed),
                (_, b'{') => self.open(true, containers),
                (_, b'[') => self.open(false, containers),
                (_, b'"') => return Some(self.text()),
                // A trailing comma: `[1,]`.
                (State::Value, b']') => self.close(false),
                _ => {
                    if let Some(leaf) = self.scalar() {
                        return Some(leaf);
                    }
                }
            }
        }
        None
    }

    fn path(&self) -> &Path<'d> {
        &self.path
    }

    fn end(&self) -> End {
        self.end.unwrap_or(End::Malformed)
    }

    fn position(&self) -> usize {
        self.at.min(self.input.len())
    }
}

#[cfg(test)]
mod tests;
