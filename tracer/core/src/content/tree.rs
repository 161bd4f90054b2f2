//! Common code for formats that hold trees of objects and arrays.
//!
//! [`json`](super::json) has its own reader; MessagePack and CBOR feed their
//! tokens to the [`Walker`] in this module.

use std::borrow::Cow;

use super::{
    chain::{Path, Segment},
    text,
};

/// Maximum nesting of objects and arrays. Telemetry stays below 20; each level
/// costs a few words.
pub(super) const MAX_NESTING: usize = 128;

/// Allocates numbers for the containers of one request.
#[derive(Debug, Default)]
pub(super) struct Containers(u32);

impl Containers {
    /// Returns a number that no other container has.
    pub(super) fn next(&mut self) -> u32 {
        self.0 = self.0.saturating_add(1);
        self.0
    }

    /// Returns the number of containers.
    pub(super) fn count(&self) -> u32 {
        self.0
    }
}

/// The way in which a document ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The document is complete.
    Complete,
    /// The input ended first and is known to be truncated.
    Truncated,
    /// The document violates its format.
    Malformed,
    /// The document is nested deeper than the limit.
    TooDeep,
}

/// A value in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf<'d> {
    /// The content of a string, or a scalar as text.
    pub value: Cow<'d, [u8]>,
    /// Set for numbers and booleans, which cannot contain an encoding.
    pub scalar: bool,
    /// Number of the object that holds the value.
    pub container: u32,
    /// Set if the input ends inside the value.
    pub truncated: bool,
}

/// A document as a sequence of values.
pub(super) trait Leaves<'d> {
    /// Returns the next value, or `None` once [`Leaves::end`] is known.
    fn next_leaf(&mut self, containers: &mut Containers) -> Option<Leaf<'d>>;
    /// Returns the path of the most recent value.
    fn path(&self) -> &Path<'d>;
    /// Returns how the document ended.
    fn end(&self) -> End;
    /// Returns the number of bytes consumed.
    fn position(&self) -> usize;
}

/// Reports whether a member name is data: objects that map addresses to counts
/// are common.
pub(super) fn is_address(name: &[u8]) -> bool {
    name.windows(3).any(|window| window == b"://")
}

/// A token of a binary format.
#[derive(Debug, PartialEq)]
pub(super) enum Token<'d> {
    /// A map with this number of pairs; `None` if a [`Token::Break`] ends it.
    Map(Option<u64>),
    /// An array with this number of elements; `None` if a [`Token::Break`] ends
    /// it.
    Array(Option<u64>),
    /// The end of a map or array of indefinite length.
    Break,
    /// A text string; `true` if the input ends inside it.
    Text(&'d [u8], bool),
    /// A byte string; `true` if the input ends inside it.
    Bytes(&'d [u8], bool),
    /// A number or boolean, as text.
    Scalar(Cow<'d, str>),
    /// A null value.
    Nil,
}

/// The reason why there is no next token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenError {
    /// The input is exhausted.
    EndOfInput,
    /// The bytes do not belong to the format.
    Invalid,
}

/// A format that consists of a sequence of tokens.
pub(super) trait Tokens<'d> {
    /// Returns the next token.
    fn next_token(&mut self) -> Result<Token<'d>, TokenError>;
    /// Returns the number of bytes consumed.
    fn position(&self) -> usize;
}

#[derive(Debug)]
struct Level {
    map: bool,
    /// Set in a map if a name is expected, not a value.
    name_next: bool,
    /// Number of pairs or elements still expected, if known.
    left: Option<u64>,
    container: u32,
}

impl Level {
    /// Reports whether the container is complete.
    fn is_full(&self) -> bool {
        self.left == Some(0) && (self.name_next || !self.map)
    }

    /// Counts down at the start of a pair or an element.
    fn take_one(&mut self) {
        self.left = self.left.map(|left| left.saturating_sub(1));
    }
}

/// Reads the tree described by a sequence of tokens.
#[derive(Debug)]
pub(super) struct Walker<'d, T> {
    tokens: T,
    truncated: bool,
    levels: Vec<Level>,
    /// The current path, with one segment per level.
    path: Path<'d>,
    outer: u32,
    /// Set while the path still describes the value returned last.
    value_pending: bool,
    end: Option<End>,
}

impl<'d, T: Tokens<'d>> Walker<'d, T> {
    pub(super) fn new(tokens: T, truncated: bool, outer: u32) -> Self {
        Self {
            tokens,
            truncated,
            levels: Vec::new(),
            path: Path::default(),
            outer,
            value_pending: false,
            end: None,
        }
    }

    fn container(&self) -> u32 {
        self.levels.last().map_or(self.outer, |level| level.container)
    }

    /// Ends a value and every container that it completes.
    fn end_value(&mut self) {
        loop {
            match self.levels.last_mut() {
                None => {
                    self.end.get_or_insert(End::Complete);
                    return;
                }
                Some(level) if level.map => level.name_next = true,
                Some(_) => {
                    if let Some(Segment::Index(index)) = self.path.0.last_mut() {
                        *index += 1;
                    }
                }
            }
            if !self.levels.last().is_some_and(Level::is_full) {
                return;
            }
            self.levels.pop();
            self.path.0.pop();
        }
    }

    fn open(&mut self, map: bool, left: Option<u64>, containers: &mut Containers) {
        if self.levels.len() == MAX_NESTING {
            self.end = Some(End::TooDeep);
            return;
        }
        if left == Some(0) {
            return self.end_value();
        }
        // Elements of an array belong to the object that holds the array.
        let container = if map { containers.next() } else { self.container() };
        self.levels.push(Level { map, name_next: map, left, container });
        self.path.0.push(if map { Segment::Key("".into()) } else { Segment::Index(0) });
    }

    /// Ends a container of indefinite length.
    fn close(&mut self) {
        match self.levels.last() {
            Some(Level { left: None, map, name_next, .. }) if !map || *name_next => {
                self.levels.pop();
                self.path.0.pop();
                self.end_value();
            }
            _ => self.end = Some(End::Malformed),
        }
    }

    /// Takes the token as the name of the next map member. Returns the name as
    /// a value of its own if it is an address.
    fn name(&mut self, token: Token<'d>) -> Option<Leaf<'d>> {
        let name = match token {
            Token::Text(bytes, false) | Token::Bytes(bytes, false) => {
                String::from_utf8_lossy(bytes)
            }
            Token::Scalar(text) => text,
            Token::Text(_, true) | Token::Bytes(_, true) => {
                self.end = Some(End::Truncated);
                return None;
            }
            _ => {
                self.end = Some(End::Malformed);
                return None;
            }
        };
        let address = is_address(name.as_bytes()).then(|| Leaf {
            value: Cow::Owned(name.as_bytes().to_vec()),
            scalar: false,
            container: self.container(),
            truncated: false,
        });
        if let Some(last) = self.path.0.last_mut() {
            *last = Segment::Key(name);
        }
        address
    }
}

impl<'d, T: Tokens<'d>> Leaves<'d> for Walker<'d, T> {
    fn next_leaf(&mut self, containers: &mut Containers) -> Option<Leaf<'d>> {
        if std::mem::take(&mut self.value_pending) && self.end.is_none() {
            self.end_value();
        }
        while self.end.is_none() {
            let token = match self.tokens.next_token() {
                Ok(token) => token,
                Err(stop) => {
                    let cut = stop == TokenError::EndOfInput && self.truncated;
                    self.end = Some(if cut { End::Truncated } else { End::Malformed });
                    break;
                }
            };
            if token == Token::Break {
                self.close();
                continue;
            }
            if let Some(level) = self.levels.last_mut() {
                if !level.map {
                    level.take_one();
                } else if level.name_next {
                    level.take_one();
                    level.name_next = false;
                    match self.name(token) {
                        Some(address) => return Some(address),
                        None => continue,
                    }
                }
            }
            let (value, scalar, truncated) = match token {
                Token::Map(len) => {
                    self.open(true, len, containers);
                    continue;
                }
                Token::Array(len) => {
                    self.open(false, len, containers);
                    continue;
                }
                Token::Text(bytes, cut) | Token::Bytes(bytes, cut) => {
                    (Cow::Borrowed(bytes), false, cut)
                }
                Token::Scalar(Cow::Borrowed(text)) => (Cow::Borrowed(text.as_bytes()), true, false),
                Token::Scalar(Cow::Owned(text)) => (Cow::Owned(text.into_bytes()), true, false),
                Token::Nil | Token::Break => {
                    self.end_value();
                    continue;
                }
            };
            if truncated {
                self.end = Some(if self.truncated { End::Truncated } else { End::Malformed });
            }
            self.value_pending = true;
            return Some(Leaf { value, scalar, container: self.container(), truncated });
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
        self.tokens.position()
    }
}

/// Minimum length of a text that counts as evidence for a format without a
/// magic number.
const MIN_EVIDENCE: usize = 4;

/// Reports whether the tokens describe a whole document: it ends where the
/// input ends, its member names look like identifiers, and it contains text.
/// Other data passes this test only by an unlikely coincidence.
pub(super) fn is_plausible<'d, T: Tokens<'d>>(tokens: T, len: usize, truncated: bool) -> bool {
    let Some(Evidence { names, texts, end, position }) = examine(tokens, truncated) else {
        return false;
    };
    match end {
        End::Complete => position == len && names > 0 && texts > 0,
        // A truncated document has to provide more evidence.
        End::Truncated => names > 1 && texts > 1,
        End::Malformed | End::TooDeep => false,
    }
}

/// Reports whether the input consists of several documents, which together provide the same
/// evidence.
pub(super) fn is_sequence<'d, T: Tokens<'d>>(input: &'d [u8], new: impl Fn(&'d [u8]) -> T) -> bool {
    let (mut names, mut texts, mut rest) = (0, 0, input);
    while !rest.is_empty() {
        let Some(found) = examine(new(rest), false) else {
            return false;
        };
        if found.end != End::Complete || found.position == 0 {
            return false;
        }
        (names, texts) = (names + found.names, texts + found.texts);
        rest = rest.get(found.position..).unwrap_or_default();
    }
    names > 0 && texts > 0
}

/// The evidence that bytes are a document.
struct Evidence {
    /// Number of names that look like identifiers.
    names: usize,
    /// Number of texts.
    texts: usize,
    end: End,
    position: usize,
}

/// Examines a document. Returns `None` if a name contradicts it.
fn examine<'d, T: Tokens<'d>>(tokens: T, truncated: bool) -> Option<Evidence> {
    let mut walker = Walker::new(tokens, truncated, 0);
    let mut containers = Containers::default();
    let (mut names, mut texts) = (0usize, 0usize);
    while let Some(leaf) = walker.next_leaf(&mut containers) {
        if let Some(name) = walker.path.last_key() {
            if name.contains(|c: char| c.is_control() || c == char::REPLACEMENT_CHARACTER) {
                return None;
            }
            names +=
                usize::from(name.starts_with(|c: char| c.is_alphabetic() || "$_@".contains(c)));
        }
        let text = text::as_text(&leaf.value, leaf.truncated);
        if !leaf.scalar && text.is_some_and(|text| text.len() >= MIN_EVIDENCE) {
            texts += 1;
        }
    }
    Some(Evidence { names, texts, end: walker.end(), position: walker.position() })
}
