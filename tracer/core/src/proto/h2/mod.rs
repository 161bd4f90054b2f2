//! HTTP/2, the client's side (RFC 9113), over a byte stream with gaps.
//!
//! ```text
//! preface (24) │ SETTINGS │ HEADERS … │ DATA … │ …      frames, interleaved:
//!
//! HEADERS  [pad length] [priority (5)] fragment [padding]   + CONTINUATION …
//! DATA     [pad length] data [padding]
//! ```
//!
//! A [`Connection`] turns them into requests. Three kinds of state span the
//! bytes, and a gap harms each in its own way:
//!
//! - **Framing.** A gap that ends within the payload it began in is counted
//!   down: the next frame is found at the right byte. A longer one loses the
//!   framing, until a send begins with what is convincingly a frame
//!   ([`recognise`]).
//! - **Header compression.** A lost header block makes every older table entry
//!   unknown; see [`hpack`]. So does joining late.
//! - **Bodies.** A gap stands in the body where its bytes are missing. While
//!   the framing is lost, any open stream may miss any number of bytes.

mod frame;
mod head;
mod sniff;
mod streams;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::frame::{END_HEADERS, END_STREAM, Frame, HEADER_LEN, Kind};
use self::head::Head;
use self::streams::{Ending, Streams};
use super::pieces::Pieces;
use super::{Request, hpack};
use crate::record::BootTime;

pub use self::frame::PREFACE;
pub use self::sniff::{Start, recognise};

/// The most bytes kept of one body; the rest is counted as a gap.
pub const MAX_BODY: usize = 1 << 20;

/// The most bytes of bodies kept at one time on one connection.
pub const MAX_BUFFERED: usize = 8 << 20;

/// The most bytes kept of one header block. Long URLs take tens of KiB.
pub const MAX_BLOCK: usize = 1 << 20;

/// The most streams open at one time. Servers mostly allow 100 or 128; of more
/// than this, the one that was quiet the longest is given out unfinished.
pub const MAX_STREAMS: usize = 256;

/// What could not be given out as requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes, sent or known to be missing, that are in no request: of frames
    /// that could not be found, of tunnels, of streams already given out.
    pub unread_bytes: u64,
    /// Bytes of requests that ended which were not captured, or not kept.
    pub request_gaps: u64,
    /// How many times the framing was lost.
    pub framing_lost: u64,
    /// How many frames broke the rules, and with them the framing.
    pub invalid_frames: u64,
    /// How many frames were of types that nobody here knows: extensions.
    pub unknown_frames: u64,
    /// How many header blocks broke the rules.
    pub invalid_blocks: u64,
    /// How many header blocks were read in part, as bytes of them are missing.
    pub cut_blocks: u64,
    /// How many fields were dropped ([`hpack::MAX_FIELDS`]).
    pub dropped_fields: u64,
    /// How many streams were given out early ([`MAX_STREAMS`]).
    pub evicted_streams: u64,
}

/// The client's side of one HTTP/2 connection.
#[derive(Debug)]
pub struct Connection {
    state: State,
    hpack: hpack::Decoder,
    /// The header block being sent: no other frame can come before its end.
    block: Option<Block>,
    streams: Streams,
    /// Frames may have been sent that nobody saw.
    lossy: bool,
    counters: Counters,
}

/// Where in the frames the next byte is.
#[derive(Debug)]
enum State {
    /// Nobody knows: waiting for a send that shows it.
    Lost,
    /// In a preface, of which `seen` bytes are passed.
    Preface { seen: usize },
    /// In a frame header, of which `len` bytes are here.
    Header { bytes: [u8; HEADER_LEN], len: usize },
    /// In a payload.
    Payload(Progress),
}

impl State {
    const BOUNDARY: State = State::Header { bytes: [0; HEADER_LEN], len: 0 };
}

/// A frame whose payload is being read.
#[derive(Debug, Clone, Copy)]
struct Progress {
    frame: Frame,
    /// How many bytes of payload are passed.
    at: u32,
    /// How many bytes of padding end the payload; `None` while the byte that
    /// says it is to come, or where it is missing.
    padding: Option<u32>,
    /// GOAWAY's error code, as far as it is here.
    error: u32,
}

/// A header block being put together.
#[derive(Debug)]
struct Block {
    stream: u32,
    time: BootTime,
    /// HEADERS carried END_STREAM.
    ends_stream: bool,
    pieces: Pieces,
}

impl Default for Connection {
    fn default() -> Connection {
        Connection::new()
    }
}

impl Connection {
    /// A connection whose bytes begin with a preface, or with what
    /// [`recognise`] takes for frames: then it was joined late.
    pub fn new() -> Connection {
        Connection {
            state: State::Lost,
            hpack: hpack::Decoder::joined(),
            block: None,
            streams: Streams::default(),
            lossy: true,
            counters: Counters::default(),
        }
    }

    /// Takes the next bytes, sent at `time`; `begins_send` where a send begins
    /// with them: only there can lost frames be found again. Requests that they
    /// complete are appended to `out`.
    pub fn data(
        &mut self,
        mut bytes: &[u8],
        begins_send: bool,
        time: BootTime,
        out: &mut Vec<Request>,
    ) {
        if begins_send && matches!(self.state, State::Lost) {
            match recognise(bytes) {
                Start::Preface => self.begin(0, out),
                Start::Frames => self.state = State::BOUNDARY,
                Start::Other => {}
            }
        }
        while !bytes.is_empty() {
            let passed = match &mut self.state {
                State::Lost => {
                    self.unread(bytes.len());
                    return;
                }
                State::Preface { seen } => {
                    let expected = &PREFACE[*seen..];
                    let len = expected.len().min(bytes.len());
                    if bytes[..len] != expected[..len] {
                        self.break_framing(out);
                        continue;
                    }
                    *seen += len;
                    if *seen == PREFACE.len() {
                        self.state = State::BOUNDARY;
                    }
                    len
                }
                State::Header { bytes: header, len } => {
                    let missing = &mut header[*len..];
                    let passed = missing.len().min(bytes.len());
                    missing[..passed].copy_from_slice(&bytes[..passed]);
                    *len += passed;
                    if *len == HEADER_LEN {
                        let header = *header;
                        self.open(&header, time, out);
                    }
                    passed
                }
                State::Payload(progress) => {
                    let progress = *progress;
                    let left = (progress.frame.len - progress.at) as usize;
                    let passed = left.min(bytes.len());
                    self.payload(progress, &bytes[..passed], time, out);
                    passed
                }
            };
            bytes = &bytes[passed..];
        }
    }

    /// Takes note of `len` bytes that were sent here and are not known, `None`
    /// where nobody can tell how many.
    pub fn gap(&mut self, len: Option<u64>, out: &mut Vec<Request>) {
        let mut missing = len;
        if let State::Payload(progress) = self.state {
            // The payload's length is known: what is missing of it is not more.
            let left = progress.frame.len - progress.at;
            let here = len.map_or(left, |len| u32::try_from(len).map_or(left, |len| len.min(left)));
            self.skip(progress, here, out);
            missing = len.map(|len| len - u64::from(here));
        }
        if missing != Some(0) {
            let missing = missing.unwrap_or(0);
            self.counters.unread_bytes = self.counters.unread_bytes.saturating_add(missing);
            self.lose(out);
        }
    }

    /// The connection ends: gives out every request there is, those that are
    /// not at their end as incomplete.
    pub fn end(&mut self, out: &mut Vec<Request>) {
        self.abandon(out);
        self.streams.finish_all(Ending::Cut, out);
        self.streams.restart();
    }

    /// Gives out, as incomplete, the requests of which no byte was sent since
    /// `before`. Should more of one come, it is given out again, as an update.
    /// A header block that is not at its end stays: clients send those in one
    /// go.
    pub fn flush_stale(&mut self, before: BootTime, out: &mut Vec<Request>) {
        self.streams.flush_stale(before, out);
    }

    /// The next byte is known to lie within a frame, not to begin one.
    pub fn in_frame(&self) -> bool {
        matches!(self.state, State::Payload(_))
    }

    /// How many bytes are kept for requests that are not at their end.
    pub fn buffered(&self) -> usize {
        let block = self.block.as_ref().map_or(0, |block| block.pieces.data().len());
        block + self.streams.buffered()
    }

    /// What could not be given out so far.
    pub fn counters(&self) -> Counters {
        let streams = self.streams.unread_bytes();
        Counters {
            unread_bytes: self.counters.unread_bytes.saturating_add(streams),
            request_gaps: self.streams.request_gaps(),
            evicted_streams: self.streams.evicted(),
            ..self.counters
        }
    }

    /// A new connection begins, `seen` bytes of its preface passed: TLS
    /// libraries use the memory of an ended connection again.
    fn begin(&mut self, seen: usize, out: &mut Vec<Request>) {
        self.end(out);
        self.state = State::Preface { seen };
        self.hpack = hpack::Decoder::new();
        self.lossy = false;
    }

    /// Begins the frame of a whole header.
    fn open(&mut self, header: &[u8; HEADER_LEN], time: BootTime, out: &mut Vec<Request>) {
        if PREFACE.starts_with(header) {
            return self.begin(HEADER_LEN, out);
        }
        let frame = Frame::parse(header);
        let in_turn = match (&self.block, frame.kind) {
            (Some(block), Kind::Continuation) => block.stream == frame.stream,
            (Some(_), _) | (None, Kind::Continuation) => false,
            (None, _) => true,
        };
        if !frame.valid() || !in_turn {
            self.break_framing(out);
            return;
        }
        match frame.kind {
            Kind::Headers => {
                self.block = Some(Block {
                    stream: frame.stream,
                    time,
                    ends_stream: frame.has(END_STREAM),
                    pieces: Pieces::default(),
                });
            }
            // DATA of a stream whose HEADERS nobody saw.
            Kind::Data if self.lossy && !self.streams.knows(frame.stream) => {
                self.streams.open_unseen(frame.stream, time, out);
            }
            Kind::Unknown => self.counters.unknown_frames += 1,
            _ => {}
        }
        let padding = (!frame.padded()).then_some(0);
        let progress = Progress { frame, at: 0, padding, error: 0 };
        self.advance(progress, out);
    }

    /// Takes bytes of a payload.
    fn payload(
        &mut self,
        mut progress: Progress,
        bytes: &[u8],
        time: BootTime,
        out: &mut Vec<Request>,
    ) {
        if let (0, true, Some(&padding)) = (progress.at, progress.frame.padded(), bytes.first()) {
            progress.padding = Some(u32::from(padding));
            if !progress.fits() {
                return self.break_framing(out);
            }
        }
        let content = &bytes[progress.content(bytes.len())];
        let id = progress.frame.stream;
        match progress.frame.kind {
            // Without the pad length, nobody knows what of it is content.
            Kind::Data | Kind::Headers if progress.padding.is_none() => {
                self.unread(content.len());
                self.content_gap(progress, None, out);
            }
            // A message of a WebSocket begins where a frame does.
            Kind::Data => self.streams.data(id, content, progress.at == 0, time, out),
            Kind::Headers | Kind::Continuation => {
                if let Some(block) = &mut self.block {
                    block.pieces.push(content, MAX_BLOCK);
                }
            }
            Kind::GoAway => {
                // The last stream's number, then the error code.
                let code = (progress.at..8).zip(bytes).filter(|&(at, _)| at >= 4);
                progress.error = code.fold(progress.error, |e, (_, &b)| e << 8 | u32::from(b));
            }
            _ => {}
        }
        progress.at += bytes.len() as u32;
        self.advance(progress, out);
    }

    /// Passes bytes of a payload that are missing.
    fn skip(&mut self, mut progress: Progress, len: u32, out: &mut Vec<Request>) {
        let content = progress.content(len as usize).len() as u64;
        self.content_gap(progress, progress.padding.map(|_| content), out);
        progress.at += len;
        self.advance(progress, out);
    }

    fn content_gap(&mut self, progress: Progress, len: Option<u64>, out: &mut Vec<Request>) {
        match progress.frame.kind {
            Kind::Data => self.streams.gap(progress.frame.stream, len, out),
            Kind::Headers | Kind::Continuation => {
                if let Some(block) = &mut self.block {
                    block.pieces.skip(len);
                }
            }
            _ => {}
        }
    }

    fn advance(&mut self, progress: Progress, out: &mut Vec<Request>) {
        if progress.at == progress.frame.len {
            self.close(progress, out);
        } else {
            self.state = State::Payload(progress);
        }
    }

    /// Ends a frame.
    fn close(&mut self, progress: Progress, out: &mut Vec<Request>) {
        self.state = State::BOUNDARY;
        let frame = progress.frame;
        match frame.kind {
            Kind::Data if frame.has(END_STREAM) => {
                self.streams.finish(frame.stream, Ending::Ended, out);
            }
            Kind::Headers | Kind::Continuation if frame.has(END_HEADERS) => self.close_block(out),
            Kind::RstStream => self.streams.finish(frame.stream, Ending::Reset, out),
            // Without an error the client still ends its streams
            // (RFC 9113 section 6.8).
            Kind::GoAway if progress.error != 0 => self.streams.finish_all(Ending::Reset, out),
            _ => {}
        }
    }

    /// Ends a header block: a request's head, or its trailers.
    fn close_block(&mut self, out: &mut Vec<Request>) {
        let Some(block) = self.block.take() else {
            return;
        };
        let section = self.hpack.decode(block.pieces.data(), block.pieces.gaps());
        match section.end {
            hpack::End::Complete => {}
            hpack::End::Cut => self.counters.cut_blocks += 1,
            hpack::End::Invalid(_) => self.counters.invalid_blocks += 1,
        }
        self.counters.dropped_fields += section.dropped;
        let (id, unread) = (block.stream, block.pieces.unread());
        if self.streams.is_closed(id) {
            // Trailers of a request that is given out already.
            return self.unread(block.pieces.data().len());
        }
        let open = self.streams.is_open(id);
        if !open && (!block.ends_stream || head::is_head(&section.fields)) {
            let head = Head::new(block.time, section, unread);
            self.streams.open(id, head, block.time, out);
        } else {
            if !open {
                // Trailers of a request that nobody saw.
                self.streams.open_unseen(id, block.time, out);
            }
            self.streams.trailers(id, section, unread);
        }
        if block.ends_stream {
            self.streams.finish(id, Ending::Ended, out);
        }
    }

    /// These bytes are no frame of a client's: the framing is lost, or was
    /// never there.
    fn break_framing(&mut self, out: &mut Vec<Request>) {
        self.counters.invalid_frames += 1;
        self.lose(out);
    }

    /// Nobody knows where the next frame begins.
    fn lose(&mut self, out: &mut Vec<Request>) {
        if !matches!(self.state, State::Lost) {
            self.counters.framing_lost += 1;
        }
        self.abandon(out);
    }

    /// Gives up what the frames so far were leading to.
    fn abandon(&mut self, out: &mut Vec<Request>) {
        self.state = State::Lost;
        self.lossy = true;
        if let Some(block) = &mut self.block {
            block.pieces.skip(None);
            self.close_block(out);
        }
        self.hpack.forget();
        self.streams.gap_all(out);
    }

    fn unread(&mut self, bytes: usize) {
        self.counters.unread_bytes = self.counters.unread_bytes.saturating_add(bytes as u64);
    }
}

impl Progress {
    /// Prefix and padding are no longer than the payload.
    fn fits(&self) -> bool {
        self.frame.prefix() + self.padding.unwrap_or(0) <= self.frame.len
    }

    /// Which of the payload's next `len` bytes are content: neither prefix nor
    /// padding.
    fn content(&self, len: usize) -> Range<usize> {
        let (at, prefix) = (self.at as usize, self.frame.prefix() as usize);
        let end = (self.frame.len - self.padding.unwrap_or(0)) as usize;
        let from = prefix.saturating_sub(at).min(len);
        from..end.saturating_sub(at).min(len).max(from)
    }
}
