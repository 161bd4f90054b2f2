//! What the formats that hold trees of objects and arrays share.
//!
//! [`json`](super::json) has a reader of its own; MessagePack and CBOR give
//! their tokens to the [`Walker`] here.

use std::borrow::Cow;

use super::{
    chain::{Path, Segment},
    text,
};

/// How deep objects and arrays may nest. Telemetry stays below 20; each level
/// costs a few words.
pub(super) const MAX_NESTING: usize = 128;

/// Numbers the containers of one request.
#[derive(Debug, Default)]
pub(super) struct Containers(u32);

impl Containers {
    /// A number no container had before.
    pub(super) fn next(&mut self) -> u32 {
        self.0 = self.0.saturating_add(1);
        self.0
    }
}

/// How a document ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Where it should.
    Complete,
    /// The input ended first, and is known to have gone on.
    Truncated,
    /// It breaks its format's rules.
    Malformed,
    /// It nests deeper than [`MAX_NESTING`].
    TooDeep,
}

/// One value of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf<'d> {
    /// A string's content, or a scalar as text.
    pub(super) value: Cow<'d, [u8]>,
    /// A number or a boolean: nothing is encoded in it.
    pub(super) scalar: bool,
    /// The number of the object that holds it.
    pub(super) container: u32,
    /// The input ends inside it.
    pub(super) truncated: bool,
}

/// A document as a sequence of its values.
pub(super) trait Leaves<'d> {
    /// The next value, until [`Leaves::end`] is known.
    fn next_leaf(&mut self, containers: &mut Containers) -> Option<Leaf<'d>>;
    /// Where the value that came last stands.
    fn path(&self) -> &Path<'d>;
    /// How the document ended.
    fn end(&self) -> End;
    /// How many bytes were read.
    fn position(&self) -> usize;
}

/// Whether a member's name is data: maps from addresses to counts are common.
pub(super) fn is_address(name: &[u8]) -> bool {
    name.windows(3).any(|window| window == b"://")
}

/// One token of a binary format.
#[derive(Debug, PartialEq)]
pub(super) enum Token<'d> {
    /// A map of so many pairs; `None` up to a [`Token::Break`].
    Map(Option<u64>),
    /// An array of so many elements; `None` up to a [`Token::Break`].
    Array(Option<u64>),
    /// The end of a map or array that does not tell its length.
    Break,
    /// A text string; the flag tells that the input ends inside it.
    Text(&'d [u8], bool),
    /// A byte string; the flag tells that the input ends inside it.
    Bytes(&'d [u8], bool),
    /// A number or boolean as text.
    Scalar(Cow<'d, str>),
    /// Nothing.
    Nil,
}

/// Why there is no next token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// The input is used up.
    Short,
    /// The bytes are not of the format.
    Invalid,
}

/// A format that is a sequence of tokens.
pub(super) trait Tokens<'d> {
    /// The next token.
    fn next_token(&mut self) -> Result<Token<'d>, Stop>;
    /// How many bytes were read.
    fn position(&self) -> usize;
}

#[derive(Debug)]
struct Level {
    map: bool,
    /// In a map: a name comes next, not a value.
    name_next: bool,
    /// Pairs or elements still to come, where that is known.
    left: Option<u64>,
    container: u32,
}

impl Level {
    /// Nothing is missing and nothing is to come.
    fn is_full(&self) -> bool {
        self.left == Some(0) && (self.name_next || !self.map)
    }

    /// Counts a pair or an element that begins.
    fn take_one(&mut self) {
        self.left = self.left.map(|left| left.saturating_sub(1));
    }
}

/// Reads the tree that a sequence of tokens describes.
#[derive(Debug)]
pub(super) struct Walker<'d, T> {
    tokens: T,
    truncated: bool,
    levels: Vec<Level>,
    /// One segment a level.
    path: Path<'d>,
    outer: u32,
    /// The value handed out last still owns the path.
    handed_out: bool,
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
            handed_out: false,
            end: None,
        }
    }

    fn container(&self) -> u32 {
        self.levels.last().map_or(self.outer, |level| level.container)
    }

    /// A value has ended, and with it whatever is full now.
    fn value_done(&mut self) {
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
            return self.value_done();
        }
        // The elements of an array are held by the object around it.
        let container = if map { containers.next() } else { self.container() };
        self.levels.push(Level { map, name_next: map, left, container });
        self.path.0.push(if map { Segment::Key("".into()) } else { Segment::Index(0) });
    }

    /// Ends what does not tell its length.
    fn close(&mut self) {
        match self.levels.last() {
            Some(Level { left: None, map, name_next, .. }) if !map || *name_next => {
                self.levels.pop();
                self.path.0.pop();
                self.value_done();
            }
            _ => self.end = Some(End::Malformed),
        }
    }

    /// Takes the token as the name of a map's next member.
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
        if std::mem::take(&mut self.handed_out) && self.end.is_none() {
            self.value_done();
        }
        while self.end.is_none() {
            let token = match self.tokens.next_token() {
                Ok(token) => token,
                Err(stop) => {
                    let cut = stop == Stop::Short && self.truncated;
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
                    self.value_done();
                    continue;
                }
            };
            if truncated {
                self.end = Some(if self.truncated { End::Truncated } else { End::Malformed });
            }
            self.handed_out = true;
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

/// How long a text must be to speak for a format without a magic number.
const MIN_WITNESS: usize = 4;

/// Whether tokens describe a whole document: it ends where the input does, its
/// members have names like a program's, and it holds some text. Bytes of
/// another kind pass for one only by an unlikely accident.
pub(super) fn convincing<'d, T: Tokens<'d>>(tokens: T, len: usize, truncated: bool) -> bool {
    let mut walker = Walker::new(tokens, truncated, 0);
    let mut containers = Containers::default();
    let (mut names, mut witnesses) = (0usize, 0usize);
    while let Some(leaf) = walker.next_leaf(&mut containers) {
        if let Some(name) = walker.path.last_key() {
            if name.contains(char::is_control) {
                return false;
            }
            names +=
                usize::from(name.starts_with(|c: char| c.is_alphabetic() || "$_@".contains(c)));
        }
        let text = text::printable(&leaf.value, leaf.truncated);
        if !leaf.scalar && text.is_some_and(|text| text.len() >= MIN_WITNESS) {
            witnesses += 1;
        }
    }
    match walker.end() {
        End::Complete => walker.position() == len && names > 0 && witnesses > 0,
        // Half a document needs more to go by.
        End::Truncated => names > 1 && witnesses > 1,
        End::Malformed | End::TooDeep => false,
    }
}
