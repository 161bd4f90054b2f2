//! The body of a request: where it ends, and what is known of it.
//!
//! ```text
//! chunked:  *( size *( ";" extension ) CRLF  data CRLF )
//!           1*"0" *( ";" extension ) CRLF  trailer fields  CRLF
//! ```

use bytes::Bytes;

use super::head::Fields;
use super::lines::{Line, Section};
use crate::proto::{Body, Gap, Header};

/// Gaps kept of one body. What follows the last one is not kept: bytes in so
/// many places say little.
const MAX_GAPS: usize = 256;

/// The longest chunk-size line. Extensions are not used by browsers.
const MAX_SIZE_LINE: usize = 16 << 10;

/// The largest trailer section.
const MAX_TRAILER: usize = 64 << 10;

/// What ends a body.
#[derive(Debug, Clone)]
pub(super) enum Framing {
    /// So many more bytes.
    Length(u64),
    /// `Transfer-Encoding: chunked`: the next part of it.
    Chunked(ChunkPart),
    /// Nobody can tell: the length is invalid, or given twice.
    Unframed,
}

impl Framing {
    pub(super) fn chunked() -> Self {
        Self::Chunked(ChunkPart::SIZE)
    }
}

/// What comes next in a chunked body.
#[derive(Debug, Clone)]
pub(super) enum ChunkPart {
    /// A line with the size of a chunk.
    Size { size: Option<u64>, extension: bool, line: usize },
    /// So many more bytes of a chunk.
    Data(u64),
    /// The line end after a chunk.
    End,
    /// The trailer section.
    Trailer,
}

impl ChunkPart {
    const SIZE: Self = Self::Size { size: None, extension: false, line: 0 };
}

/// How it stands with a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// More of it is to come.
    More,
    /// It ended; the next message begins.
    Whole,
    /// It ended within a gap; so many bytes of that follow it.
    WholeInGap(u64),
    /// Its end cannot be found any more.
    Lost,
}

/// What is known of a body.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) body: Body,
    /// The fields of the trailer section.
    pub(super) trailer: Vec<Header>,
    /// Bytes of it that are in neither.
    pub(super) unread: u64,
    /// Its end came, and the trailer section is all known.
    pub(super) whole: bool,
}

impl Known {
    /// After a head that is cut: whether there is a body, nobody can tell.
    pub(super) fn nothing() -> Self {
        let gaps = vec![Gap { at: 0, len: None }];
        Self { body: Body { gaps, ..Body::default() }, ..Self::default() }
    }
}

/// Reads a body as it comes.
#[derive(Debug)]
pub(super) struct BodyReader {
    framing: Framing,
    chunked: bool,
    /// How many bytes are kept.
    max: usize,
    data: Vec<u8>,
    gaps: Vec<Gap>,
    unread: u64,
    trailer: Section,
    ended: bool,
    /// Some of it came, known or not.
    pub(super) begun: bool,
}

impl BodyReader {
    pub(super) fn new(framing: Framing, max: usize) -> Self {
        Self {
            chunked: matches!(framing, Framing::Chunked(_)),
            ended: matches!(framing, Framing::Length(0)),
            framing,
            max,
            data: Vec::new(),
            gaps: Vec::new(),
            unread: 0,
            trailer: Section::default(),
            begun: false,
        }
    }

    /// Every byte up to the body's end came, known or not.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    pub(super) fn is_unframed(&self) -> bool {
        matches!(self.framing, Framing::Unframed)
    }

    /// How many bytes of memory are held.
    pub(super) fn buffered(&self) -> usize {
        self.data.capacity() + self.gaps.capacity() * size_of::<Gap>() + self.trailer.bytes().len()
    }

    /// Takes the next bytes, none beyond the body's end. Returns how many were
    /// taken.
    pub(super) fn push(&mut self, bytes: &[u8]) -> (usize, Progress) {
        let mut taken = 0;
        while !self.ended
            && let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty())
        {
            self.begun = true;
            let (used, progress) = self.step(rest);
            taken += used;
            match progress {
                Progress::More => {}
                Progress::Whole => self.ended = true,
                lost => return (taken, lost),
            }
        }
        (taken, if self.ended { Progress::Whole } else { Progress::More })
    }

    /// Takes some of the bytes, at least one: the next part, as far as it goes.
    fn step(&mut self, bytes: &[u8]) -> (usize, Progress) {
        let [first, ..] = bytes else {
            return (0, Progress::More);
        };
        match &mut self.framing {
            Framing::Unframed => {
                self.keep(bytes);
                (bytes.len(), Progress::More)
            }
            Framing::Length(left) => {
                let known = up_to(bytes, *left);
                *left -= known.len() as u64;
                let progress = if *left == 0 { Progress::Whole } else { Progress::More };
                self.keep(known);
                (known.len(), progress)
            }
            Framing::Chunked(part @ ChunkPart::Data(_)) => {
                let ChunkPart::Data(left) = part else {
                    return (0, Progress::Lost);
                };
                let known = up_to(bytes, *left);
                *left -= known.len() as u64;
                if *left == 0 {
                    *part = ChunkPart::End;
                }
                self.keep(known);
                (known.len(), Progress::More)
            }
            Framing::Chunked(ChunkPart::Trailer) => {
                let (used, line) = self.trailer.push(bytes, MAX_TRAILER);
                let progress = match line {
                    Line::Partial | Line::Whole => Progress::More,
                    Line::Empty => Progress::Whole,
                    Line::TooLong => Progress::Lost,
                };
                (used, progress)
            }
            Framing::Chunked(part) => match part.line_byte(*first) {
                Some(unread) => {
                    self.unread += u64::from(unread);
                    (1, Progress::More)
                }
                None => (0, Progress::Lost),
            },
        }
    }

    /// Takes a gap in the stream.
    pub(super) fn gap(&mut self, len: Option<u64>) -> Progress {
        self.begun = true;
        match (&mut self.framing, len) {
            (Framing::Length(left), Some(len)) => {
                let (missing, beyond) = (len.min(*left), len.saturating_sub(*left));
                *left -= missing;
                self.ended = *left == 0;
                self.miss(missing);
                match (self.ended, beyond) {
                    (false, _) => Progress::More,
                    (true, 0) => Progress::Whole,
                    (true, beyond) => Progress::WholeInGap(beyond),
                }
            }
            (Framing::Chunked(part @ ChunkPart::Data(_)), Some(len)) => {
                let ChunkPart::Data(left) = part else {
                    return Progress::Lost;
                };
                let Some(after) = left.checked_sub(len) else {
                    // The gap swallowed size lines: how much of it is data?
                    self.unread += len;
                    return Progress::Lost;
                };
                *part = if after == 0 { ChunkPart::End } else { ChunkPart::Data(after) };
                self.miss(len);
                Progress::More
            }
            (Framing::Unframed, Some(len)) => {
                self.miss(len);
                Progress::More
            }
            (Framing::Chunked(_) | Framing::Length(_) | Framing::Unframed, len) => {
                self.unread += len.unwrap_or(0);
                Progress::Lost
            }
        }
    }

    /// What is known of the body.
    pub(super) fn snapshot(&self) -> Known {
        let data = Bytes::copy_from_slice(&self.data);
        self.with_data(data, self.gaps.clone())
    }

    /// What is known of the body, given away.
    pub(super) fn finish(mut self) -> Known {
        let data = Bytes::from(std::mem::take(&mut self.data));
        let gaps = std::mem::take(&mut self.gaps);
        self.with_data(data, gaps)
    }

    fn with_data(&self, data: Bytes, mut gaps: Vec<Gap>) -> Known {
        let in_trailer = matches!(self.framing, Framing::Chunked(ChunkPart::Trailer));
        if !self.ended && !in_trailer {
            match gaps.last_mut() {
                Some(gap) if gap.at == data.len() => gap.len = None,
                _ => gaps.push(Gap { at: data.len(), len: None }),
            }
        }
        // A trailer section that is not complete may hold half a field.
        let trailer = Bytes::copy_from_slice(self.trailer.bytes());
        let fields = match self.ended {
            true => Fields::parse(&trailer, |_, _| ()).0,
            false => Fields { list: Vec::new(), unread: trailer.len() as u64 },
        };
        Known {
            body: Body { data, gaps, chunked: self.chunked },
            unread: self.unread + fields.unread,
            trailer: fields.list,
            whole: self.ended && fields.unread == 0,
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.max.saturating_sub(self.data.len());
        let room = if self.gaps.len() < MAX_GAPS { room } else { 0 };
        let kept = bytes.get(..room).unwrap_or(bytes);
        self.data.extend_from_slice(kept);
        self.miss((bytes.len() - kept.len()) as u64);
    }

    /// Notes bytes that are not known, or not kept.
    fn miss(&mut self, len: u64) {
        if len == 0 {
            return;
        }
        self.unread += len;
        match self.gaps.last_mut() {
            Some(gap) if gap.at == self.data.len() => gap.len = gap.len.map(|before| before + len),
            _ => self.gaps.push(Gap { at: self.data.len(), len: Some(len) }),
        }
    }
}

impl ChunkPart {
    /// Takes the next byte of a size line, or of the line end after a chunk.
    /// Says whether it is of an extension, which nobody reads; `None`: it does
    /// not belong here.
    fn line_byte(&mut self, byte: u8) -> Option<bool> {
        match (&mut *self, byte) {
            (Self::End, b'\r') => {}
            (Self::End, b'\n') => *self = Self::SIZE,
            (Self::Size { size: Some(0), .. }, b'\n') => *self = Self::Trailer,
            (Self::Size { size: Some(size), .. }, b'\n') => *self = Self::Data(*size),
            (Self::Size { size: Some(_), extension, line }, byte)
                if *extension || is_after_size(byte) =>
            {
                *line += 1;
                *extension = true;
                return (*line <= MAX_SIZE_LINE).then_some(byte != b'\r');
            }
            (Self::Size { size, extension: false, line }, byte) => {
                let digit = char::from(byte).to_digit(16)?;
                // A line of zeros is a size, too.
                *line += 1;
                let shifted = size.unwrap_or(0).checked_mul(16)?.checked_add(digit.into())?;
                *size = Some(shifted).filter(|_| *line <= MAX_SIZE_LINE);
                return size.map(|_| false);
            }
            _ => return None,
        }
        Some(false)
    }
}

fn is_after_size(byte: u8) -> bool {
    matches!(byte, b';' | b' ' | b'\t' | b'\r')
}

/// As many of the bytes as `max` allows.
fn up_to(bytes: &[u8], max: u64) -> &[u8] {
    usize::try_from(max).ok().and_then(|max| bytes.get(..max)).unwrap_or(bytes)
}
