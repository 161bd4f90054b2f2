//! The client side of HTTP/2 (RFC 9113), over a byte stream with gaps.
//!
//! ```text
//! preface (24) │ SETTINGS │ HEADERS … │ DATA … │ …      frames, interleaved:
//!
//! HEADERS  [pad length] [priority (5)] fragment [padding]   + CONTINUATION …
//! DATA     [pad length] data [padding]
//! ```
//!
//! A [`Connection`] converts the frames to requests. Three kinds of state span
//! the bytes, and a gap affects each of them differently:
//!
//! - **Framing.** A gap that ends within the payload it started in is counted
//!   down, and the next frame is found at the right byte. A longer gap loses
//!   the framing until a send starts with data that is recognisably a frame
//!   ([`recognise`]).
//! - **Header compression.** A lost header block makes every older table entry
//!   unknown; see [`hpack`]. The same applies when joining late.
//! - **Bodies.** A gap is recorded at its position in the body. While the
//!   framing is lost, any open stream may miss any number of bytes.

mod frame;
mod sniff;
mod streams;
#[cfg(test)]
mod tests;

use std::ops::Range;

use self::frame::{END_HEADERS, END_STREAM, Frame, FrameType, HEADER_LEN};
use self::streams::Streams;
use super::exchange::Ending;
use super::head::{self, Head};
use super::pieces::Pieces;
use super::{Protocol, Request, hpack};
use crate::record::BootTime;

pub use self::frame::PREFACE;
pub use self::sniff::{Start, recognise};

/// Maximum number of bytes kept per header block. Long URLs take tens of KiB.
pub const MAX_BLOCK: usize = 1 << 20;

/// Maximum number of open streams. Most servers allow 100 or 128; beyond this
/// limit, the least recently active stream is emitted unfinished.
pub const MAX_STREAMS: usize = 256;

/// Counters of data that could not be emitted as requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes, sent or known to be missing, that belong to no request: frames
    /// that could not be located, tunnels, and streams already emitted.
    pub unread_bytes: u64,
    /// Bytes of finished requests that were not captured or not kept.
    pub request_gaps: u64,
    /// Number of times the framing was lost.
    pub framing_lost: u64,
    /// Number of invalid frames, each of which loses the framing.
    pub invalid_frames: u64,
    /// Number of frames of unknown types: extensions.
    pub unknown_frames: u64,
    /// Number of invalid header blocks.
    pub invalid_blocks: u64,
    /// Number of header blocks read in part because bytes were missing.
    pub cut_blocks: u64,
    /// Number of fields dropped ([`hpack::MAX_FIELDS`]).
    pub dropped_fields: u64,
    /// Number of streams emitted early ([`MAX_STREAMS`]).
    pub evicted_streams: u64,
}

/// The client side of an HTTP/2 connection.
#[derive(Debug)]
pub struct Connection {
    state: FramingState,
    hpack: hpack::Decoder,
    /// The header block being sent; no other frame may occur before its end.
    block: Option<Block>,
    streams: Streams,
    /// Set if frames may have been lost.
    lossy: bool,
    counters: Counters,
}

/// The position of the next byte in the sequence of frames.
#[derive(Debug)]
enum FramingState {
    /// Unknown, until a send starts with a frame.
    Lost,
    /// In a preface, of which `seen` bytes were received.
    Preface { seen: usize },
    /// In a frame header, of which `len` bytes were received.
    Header { bytes: [u8; HEADER_LEN], len: usize },
    /// In a payload.
    Payload(PayloadProgress),
}

impl FramingState {
    const BOUNDARY: FramingState = FramingState::Header { bytes: [0; HEADER_LEN], len: 0 };
}

/// A frame whose payload is being read.
#[derive(Debug, Clone, Copy)]
struct PayloadProgress {
    frame: Frame,
    /// Number of payload bytes processed.
    at: u32,
    /// Number of padding bytes at the end of the payload; `None` until the pad
    /// length was read, or if it is missing.
    padding: Option<u32>,
    /// The error code of a GOAWAY, as far as received.
    error: u32,
}

/// A header block being assembled.
#[derive(Debug)]
struct Block {
    stream: u32,
    time: BootTime,
    /// Set if HEADERS carried END_STREAM.
    ends_stream: bool,
    pieces: Pieces,
}

impl Default for Connection {
    fn default() -> Connection {
        Connection::new()
    }
}

impl Connection {
    /// Creates the state of a connection whose bytes start with a preface, or
    /// with data that [`recognise`] identifies as frames, if it was joined
    /// late.
    pub fn new() -> Connection {
        Connection {
            state: FramingState::Lost,
            hpack: hpack::Decoder::joined(),
            block: None,
            streams: Streams::default(),
            lossy: true,
            counters: Counters::default(),
        }
    }

    /// Processes the next bytes, sent at `time`. `begins_send` is set at the
    /// start of a send, where lost framing can be recovered. Completed requests
    /// are appended to `out`.
    pub fn data(
        &mut self,
        mut bytes: &[u8],
        begins_send: bool,
        time: BootTime,
        out: &mut Vec<Request>,
    ) {
        if begins_send && matches!(self.state, FramingState::Lost) {
            match recognise(bytes) {
                Start::Preface => self.begin(0, out),
                Start::Frames => self.state = FramingState::BOUNDARY,
                Start::Other => {}
            }
        }
        while !bytes.is_empty() {
            let passed = match &mut self.state {
                FramingState::Lost => {
                    self.unread(bytes.len());
                    return;
                }
                FramingState::Preface { seen } => {
                    let expected = &PREFACE[*seen..];
                    let len = expected.len().min(bytes.len());
                    if bytes[..len] != expected[..len] {
                        self.break_framing(out);
                        continue;
                    }
                    *seen += len;
                    if *seen == PREFACE.len() {
                        self.state = FramingState::BOUNDARY;
                    }
                    len
                }
                FramingState::Header { bytes: header, len } => {
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
                FramingState::Payload(progress) => {
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

    /// Processes a gap of `len` bytes; `None` if the length is unknown.
    pub fn gap(&mut self, len: Option<u64>, out: &mut Vec<Request>) {
        let mut missing = len;
        if let FramingState::Payload(progress) = self.state {
            // The payload length bounds the number of bytes missing in the
            // payload.
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

    /// Ends the connection and emits every pending request, those without an
    /// end as incomplete.
    pub fn end(&mut self, out: &mut Vec<Request>) {
        self.abandon(out);
        self.streams.finish_all(Ending::Cut, out);
        self.streams.restart();
    }

    /// Emits, as incomplete, requests that received no byte since `before`. If
    /// more of such a request arrives, it is emitted again as an update.
    /// Unfinished header blocks are kept back, because clients send them at
    /// once.
    pub fn flush_stale(&mut self, before: BootTime, out: &mut Vec<Request>) {
        self.streams.flush_stale(before, out);
    }

    /// Reports whether the next byte is known to lie within a frame.
    pub fn in_frame(&self) -> bool {
        matches!(self.state, FramingState::Payload(_))
    }

    /// Returns the number of bytes buffered for unfinished requests.
    pub fn buffered(&self) -> usize {
        let block = self.block.as_ref().map_or(0, |block| block.pieces.data().len());
        block + self.streams.buffered()
    }

    /// Returns the counters.
    pub fn counters(&self) -> Counters {
        let streams = self.streams.unread_bytes();
        Counters {
            unread_bytes: self.counters.unread_bytes.saturating_add(streams),
            request_gaps: self.streams.request_gaps(),
            evicted_streams: self.streams.evicted(),
            ..self.counters
        }
    }

    /// Starts a new connection after `seen` bytes of its preface. TLS libraries
    /// reuse the memory of closed connections.
    fn begin(&mut self, seen: usize, out: &mut Vec<Request>) {
        self.end(out);
        self.state = FramingState::Preface { seen };
        self.hpack = hpack::Decoder::new();
        self.lossy = false;
    }

    /// Starts a frame after its complete header.
    fn open(&mut self, header: &[u8; HEADER_LEN], time: BootTime, out: &mut Vec<Request>) {
        if PREFACE.starts_with(header) {
            return self.begin(HEADER_LEN, out);
        }
        let frame = Frame::parse(header);
        let in_turn = match (&self.block, frame.kind) {
            (Some(block), FrameType::Continuation) => block.stream == frame.stream,
            (Some(_), _) | (None, FrameType::Continuation) => false,
            (None, _) => true,
        };
        if !frame.is_valid() || !in_turn {
            self.break_framing(out);
            return;
        }
        match frame.kind {
            FrameType::Headers => {
                self.block = Some(Block {
                    stream: frame.stream,
                    time,
                    ends_stream: frame.has(END_STREAM),
                    pieces: Pieces::default(),
                });
            }
            // DATA of a stream whose HEADERS were lost.
            FrameType::Data if self.lossy && !self.streams.is_known(frame.stream) => {
                self.streams.open_unseen(frame.stream, time, out);
            }
            FrameType::Unknown => self.counters.unknown_frames += 1,
            _ => {}
        }
        let padding = (!frame.is_padded()).then_some(0);
        let progress = PayloadProgress { frame, at: 0, padding, error: 0 };
        self.advance(progress, out);
    }

    /// Processes bytes of a payload.
    fn payload(
        &mut self,
        mut progress: PayloadProgress,
        bytes: &[u8],
        time: BootTime,
        out: &mut Vec<Request>,
    ) {
        if let (0, true, Some(&padding)) = (progress.at, progress.frame.is_padded(), bytes.first())
        {
            progress.padding = Some(u32::from(padding));
            if !progress.fits() {
                return self.break_framing(out);
            }
        }
        let content = &bytes[progress.content(bytes.len())];
        let id = progress.frame.stream;
        match progress.frame.kind {
            // Without the pad length, the content cannot be separated from the
            // padding.
            FrameType::Data | FrameType::Headers if progress.padding.is_none() => {
                self.unread(content.len());
                self.content_gap(progress, None, out);
            }
            // A WebSocket message starts at the start of a frame.
            FrameType::Data => self.streams.data(id, content, progress.at == 0, time, out),
            FrameType::Headers | FrameType::Continuation => {
                if let Some(block) = &mut self.block {
                    block.pieces.push(content, MAX_BLOCK);
                }
            }
            FrameType::GoAway => {
                // The last stream identifier, then the error code.
                let code = (progress.at..8).zip(bytes).filter(|&(at, _)| at >= 4);
                progress.error = code.fold(progress.error, |e, (_, &b)| e << 8 | u32::from(b));
            }
            _ => {}
        }
        progress.at += bytes.len() as u32;
        self.advance(progress, out);
    }

    /// Skips missing bytes of a payload.
    fn skip(&mut self, mut progress: PayloadProgress, len: u32, out: &mut Vec<Request>) {
        let content = progress.content(len as usize).len() as u64;
        self.content_gap(progress, progress.padding.map(|_| content), out);
        progress.at += len;
        self.advance(progress, out);
    }

    fn content_gap(&mut self, progress: PayloadProgress, len: Option<u64>, out: &mut Vec<Request>) {
        match progress.frame.kind {
            FrameType::Data => self.streams.gap(progress.frame.stream, len, out),
            FrameType::Headers | FrameType::Continuation => {
                if let Some(block) = &mut self.block {
                    block.pieces.skip(len);
                }
            }
            _ => {}
        }
    }

    fn advance(&mut self, progress: PayloadProgress, out: &mut Vec<Request>) {
        if progress.at == progress.frame.len {
            self.close(progress, out);
        } else {
            self.state = FramingState::Payload(progress);
        }
    }

    /// Ends a frame.
    fn close(&mut self, progress: PayloadProgress, out: &mut Vec<Request>) {
        self.state = FramingState::BOUNDARY;
        let frame = progress.frame;
        match frame.kind {
            FrameType::Data if frame.has(END_STREAM) => {
                self.streams.finish(frame.stream, Ending::Ended, out);
            }
            FrameType::Headers | FrameType::Continuation if frame.has(END_HEADERS) => {
                self.close_block(out)
            }
            FrameType::RstStream => self.streams.finish(frame.stream, Ending::Reset, out),
            // Without an error, the client still finishes its streams (RFC 9113
            // section 6.8).
            FrameType::GoAway if progress.error != 0 => self.streams.finish_all(Ending::Reset, out),
            _ => {}
        }
    }

    /// Ends a header block: the head of a request, or its trailers.
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
            // Trailers of a request that was already emitted.
            return self.unread(block.pieces.data().len());
        }
        let open = self.streams.is_open(id);
        if !open && (!block.ends_stream || head::is_head(&section.fields)) {
            let head = Head::new(Protocol::Http2, block.time, section, unread);
            self.streams.open(id, head, block.time, out);
        } else {
            if !open {
                // Trailers of a request that was not captured.
                self.streams.open_unseen(id, block.time, out);
            }
            self.streams.trailers(id, section, unread);
        }
        if block.ends_stream {
            self.streams.finish(id, Ending::Ended, out);
        }
    }

    /// Handles bytes that are not a client frame: the framing is lost, or was
    /// wrong from the start.
    fn break_framing(&mut self, out: &mut Vec<Request>) {
        self.counters.invalid_frames += 1;
        self.lose(out);
    }

    /// Discards the framing, since the start of the next frame is unknown.
    fn lose(&mut self, out: &mut Vec<Request>) {
        if !matches!(self.state, FramingState::Lost) {
            self.counters.framing_lost += 1;
        }
        self.abandon(out);
    }

    /// Abandons the state built up by the frames so far.
    fn abandon(&mut self, out: &mut Vec<Request>) {
        self.state = FramingState::Lost;
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

impl PayloadProgress {
    /// Reports whether prefix and padding fit into the payload.
    fn fits(&self) -> bool {
        self.frame.prefix() + self.padding.unwrap_or(0) <= self.frame.len
    }

    /// Returns the range of the next `len` payload bytes that is content,
    /// rather than prefix or padding.
    fn content(&self, len: usize) -> Range<usize> {
        let (at, prefix) = (self.at as usize, self.frame.prefix() as usize);
        let end = (self.frame.len - self.padding.unwrap_or(0)) as usize;
        let from = prefix.saturating_sub(at).min(len);
        from..end.saturating_sub(at).min(len).max(from)
    }
}
