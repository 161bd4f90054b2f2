//! The body of a request: finds its end and collects its known bytes.
//!
//! ```text
//! chunked:  *( size *( ";" extension ) CRLF  data CRLF )
//!           1*"0" *( ";" extension ) CRLF  trailer fields  CRLF
//! ```

use bytes::Bytes;

use super::head::Fields;
use super::lines::{Line, Section};
use crate::proto::{Body, Gap, Header};

/// Maximum number of gaps kept per body. Bytes after the last one are dropped,
/// since a body with that many gaps is of little use.
const MAX_GAPS: usize = 256;

/// Maximum length of a chunk-size line. Browsers do not use chunk extensions.
const MAX_SIZE_LINE: usize = 16 << 10;

/// Maximum length of all extensions of a body.
const MAX_EXTENSIONS: usize = 64 << 10;

/// Maximum length of the trailer section.
const MAX_TRAILER: usize = 64 << 10;

/// The framing that determines the end of a body.
#[derive(Debug, Clone)]
pub(super) enum Framing {
    /// Number of bytes remaining.
    Length(u64),
    /// `Transfer-Encoding: chunked`, with the next part of it.
    Chunked(ChunkPart),
    /// Unknown, because the length is invalid or contradictory.
    Unframed,
}

impl Framing {
    pub(super) fn chunked() -> Self {
        Self::Chunked(ChunkPart::SIZE)
    }
}

/// The next part of a chunked body.
#[derive(Debug, Clone)]
pub(super) enum ChunkPart {
    /// A line with the size of a chunk.
    Size { size: Option<u64>, extension: bool, line: usize },
    /// Number of bytes remaining in a chunk.
    Data(u64),
    /// The line end after a chunk.
    End,
    /// The trailer section.
    Trailer,
}

impl ChunkPart {
    const SIZE: Self = Self::Size { size: None, extension: false, line: 0 };
}

/// The progress of reading a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// The body continues.
    More,
    /// The body ended, and the next message starts.
    Whole,
    /// The body ended within a gap, with this number of bytes of the gap after
    /// it.
    WholeInGap(u64),
    /// The end of the body can no longer be found.
    Lost,
}

/// The known content of a body.
#[derive(Debug, Default)]
pub(super) struct KnownBody {
    pub(super) body: Body,
    /// The fields of the trailer section.
    pub(super) trailer: Vec<Header>,
    /// Number of bytes that are in neither.
    pub(super) unread: u64,
    /// Set if the end of the body was reached and the trailer section is
    /// complete.
    pub(super) whole: bool,
}

impl KnownBody {
    /// Returns the content after a truncated head, where even the presence of a
    /// body is unknown.
    pub(super) fn nothing() -> Self {
        let gaps = vec![Gap { at: 0, len: None }];
        Self { body: Body { gaps, ..Body::default() }, ..Self::default() }
    }
}

/// Reads a body incrementally.
#[derive(Debug)]
pub(super) struct BodyReader {
    framing: Framing,
    chunked: bool,
    /// Maximum number of bytes kept.
    max: usize,
    data: Vec<u8>,
    gaps: Vec<Gap>,
    /// The extensions of chunks, as in [`Body::extensions`].
    extensions: Vec<u8>,
    unread: u64,
    trailer: Section,
    ended: bool,
    /// Set once any part of the body was received or skipped.
    pub(super) started: bool,
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
            extensions: Vec::new(),
            unread: 0,
            trailer: Section::default(),
            started: false,
        }
    }

    /// Reports whether every byte of the body was received or skipped.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// Returns what remains of the framing.
    pub(super) fn framing(&self) -> &Framing {
        &self.framing
    }

    pub(super) fn is_unframed(&self) -> bool {
        matches!(self.framing, Framing::Unframed)
    }

    /// Returns the number of bytes buffered.
    pub(super) fn buffered(&self) -> usize {
        self.data.capacity()
            + self.gaps.capacity() * size_of::<Gap>()
            + self.extensions.capacity()
            + self.trailer.bytes().len()
    }

    /// Reads the next bytes up to the end of the body. Returns the number of
    /// bytes consumed.
    pub(super) fn push(&mut self, bytes: &[u8]) -> (usize, Progress) {
        let mut taken = 0;
        while !self.ended
            && let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty())
        {
            self.started = true;
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

    /// Consumes at least one byte: as much of the next part as available.
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
                Some(is_extension) => {
                    if is_extension {
                        self.extension(*first);
                    }
                    (1, Progress::More)
                }
                None => (0, Progress::Lost),
            },
        }
    }

    /// Processes a gap in the stream.
    pub(super) fn gap(&mut self, len: Option<u64>) -> Progress {
        self.started = true;
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
                    // The gap contained size lines, so the amount of data in it
                    // is unknown.
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

    /// Returns the known content of the body.
    pub(super) fn snapshot(&self) -> KnownBody {
        let data = Bytes::copy_from_slice(&self.data);
        self.with_data(data, self.gaps.clone())
    }

    /// Returns the known content of the body, without copying it.
    pub(super) fn finish(mut self) -> KnownBody {
        let data = Bytes::from(std::mem::take(&mut self.data));
        let gaps = std::mem::take(&mut self.gaps);
        self.with_data(data, gaps)
    }

    fn with_data(&self, data: Bytes, mut gaps: Vec<Gap>) -> KnownBody {
        let in_trailer = matches!(self.framing, Framing::Chunked(ChunkPart::Trailer));
        if !self.ended && !in_trailer {
            match gaps.last_mut() {
                Some(gap) if gap.at == data.len() => gap.len = None,
                _ => gaps.push(Gap { at: data.len(), len: None }),
            }
        }
        // An incomplete trailer section may end with half a field.
        let trailer = Bytes::copy_from_slice(self.trailer.bytes());
        let fields = match self.ended {
            true => Fields::parse(&trailer, |_, _| ()).0,
            false => Fields { list: Vec::new(), unread: trailer.len() as u64 },
        };
        KnownBody {
            body: Body {
                data,
                gaps,
                chunked: self.chunked,
                extensions: Bytes::copy_from_slice(self.extensions.trim_ascii()),
            },
            unread: self.unread + fields.unread,
            trailer: fields.list,
            whole: self.ended && fields.unread == 0,
        }
    }

    /// Keeps a byte of a chunk's extension. Each extension begins with a semicolon.
    fn extension(&mut self, byte: u8) {
        if self.extensions.len() >= MAX_EXTENSIONS {
            self.unread += 1;
        } else {
            self.extensions.push(if byte == b';' { b'\n' } else { byte });
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.max.saturating_sub(self.data.len());
        let room = if self.gaps.len() < MAX_GAPS { room } else { 0 };
        let kept = bytes.get(..room).unwrap_or(bytes);
        self.data.extend_from_slice(kept);
        self.miss((bytes.len() - kept.len()) as u64);
    }

    /// Records bytes that are unknown or not kept.
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
    /// Consumes the next byte of a size line, or of the line end after a chunk.
    /// Returns whether the byte belongs to an extension, or `None` if the byte is invalid.
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
                // A line of zeros is a valid size too.
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

/// Returns at most `max` of the bytes.
fn up_to(bytes: &[u8], max: u64) -> &[u8] {
    usize::try_from(max).ok().and_then(|max| bytes.get(..max)).unwrap_or(bytes)
}
