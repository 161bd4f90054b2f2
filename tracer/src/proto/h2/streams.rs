//! The streams of one connection, and what is known of their bodies.

use std::collections::{BTreeMap, VecDeque};

use super::head::{Head, Payload};
use super::{MAX_BODY, MAX_BUFFERED, MAX_STREAMS};
use crate::proto::hpack::Section;
use crate::proto::pieces::Pieces;
use crate::proto::{Request, ws};
use crate::record::BootTime;

/// How many streams that were given out early are remembered, to tell their
/// late bytes from a request whose head was lost.
const MAX_CLOSED: usize = 1024;

/// How a stream came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client ended it: its body is all there was to send.
    Ended,
    /// The client gave it up: it sent no more, but had more to send.
    Reset,
    /// We gave it up: what else the client sent, nobody knows.
    Cut,
}

/// An open stream.
#[derive(Debug)]
struct Stream {
    /// When its last byte came.
    last: BootTime,
    sink: Sink,
}

/// Where a stream's bytes go.
#[derive(Debug)]
enum Sink {
    /// Into a request's body.
    Body { head: Box<Head>, body: Pieces },
    /// Into a WebSocket, whose handshake was already given out.
    WebSocket { handshake: Box<Request>, decoder: Box<ws::Decoder> },
    /// Nowhere: they are a tunnel's.
    Tunnel,
}

/// The open streams, by number.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<u32, Stream>,
    closed: VecDeque<u32>,
    /// How many bytes the open streams keep.
    buffered: usize,
    unread: u64,
    evicted: u64,
}

impl Streams {
    /// The stream is open.
    pub(super) fn is_open(&self, id: u32) -> bool {
        self.open.contains_key(&id)
    }

    /// The stream was given out before the client ended it.
    pub(super) fn is_closed(&self, id: u32) -> bool {
        self.closed.contains(&id)
    }

    /// The stream is open, or was given out: its head is no news.
    pub(super) fn knows(&self, id: u32) -> bool {
        self.is_open(id) || self.is_closed(id)
    }

    /// Opens a stream with its request's head. What is no body is given out at
    /// once: it may stay open for hours.
    pub(super) fn open(&mut self, id: u32, head: Head, time: BootTime, out: &mut Vec<Request>) {
        let sink = match head.payload() {
            Payload::Body => Sink::Body { head: Box::new(head), body: Pieces::default() },
            Payload::WebSocket => {
                let handshake = Box::new(head.into_request(Pieces::default(), true));
                out.push(Request::clone(&handshake));
                let decoder = Box::new(ws::Decoder::new(ws::may_deflate(&handshake)));
                Sink::WebSocket { handshake, decoder }
            }
            Payload::Tunnel => {
                out.push(head.into_request(Pieces::default(), true));
                Sink::Tunnel
            }
        };
        self.insert(id, Stream { last: time, sink }, out);
    }

    /// Opens a stream whose head, and who knows how much of its body, was sent
    /// unseen.
    pub(super) fn open_unseen(&mut self, id: u32, time: BootTime, out: &mut Vec<Request>) {
        let mut body = Pieces::default();
        body.skip(None);
        let sink = Sink::Body { head: Box::new(Head::unseen(time)), body };
        self.insert(id, Stream { last: time, sink }, out);
    }

    fn insert(&mut self, id: u32, stream: Stream, out: &mut Vec<Request>) {
        if self.open.len() >= MAX_STREAMS {
            let quietest = self.open.iter().min_by_key(|(_, stream)| stream.last);
            if let Some(quietest) = quietest.map(|(&id, _)| id) {
                self.evicted += 1;
                self.finish(quietest, Ending::Cut, out);
            }
        }
        self.open.insert(id, stream);
    }

    /// Adds a trailer section. A WebSocket or a tunnel has none.
    pub(super) fn trailers(&mut self, id: u32, section: Section, unread: u64) {
        if let Some(Stream { sink: Sink::Body { head, .. }, .. }) = self.open.get_mut(&id) {
            head.trailers(section, unread);
        }
    }

    /// Takes bytes of a stream.
    pub(super) fn data(&mut self, id: u32, bytes: &[u8], time: BootTime, out: &mut Vec<Request>) {
        let room = MAX_BUFFERED.saturating_sub(self.buffered);
        let Some(stream) = self.open.get_mut(&id) else {
            return self.unread(bytes.len());
        };
        stream.last = time;
        let before = stream.buffered();
        match &mut stream.sink {
            Sink::Body { body, .. } => body.push(bytes, MAX_BODY.min(before.saturating_add(room))),
            Sink::WebSocket { handshake, decoder } => {
                let mut messages = Vec::new();
                if bytes.len() <= room {
                    decoder.data(bytes, time, &mut messages);
                } else {
                    decoder.gap(Some(bytes.len() as u64), &mut messages);
                }
                out.extend(messages.into_iter().map(|message| message.into_request(handshake)));
            }
            Sink::Tunnel => self.unread = self.unread.saturating_add(bytes.len() as u64),
        }
        self.buffered = self.buffered - before + stream.buffered();
    }

    /// Takes note of missing bytes of a stream, `None` where nobody can tell
    /// how many.
    pub(super) fn gap(&mut self, id: u32, len: Option<u64>, out: &mut Vec<Request>) {
        match self.open.get_mut(&id) {
            Some(stream) => {
                let before = stream.buffered();
                let counted = stream.gap(len, out);
                self.buffered = self.buffered - before + stream.buffered();
                self.unread = self.unread.saturating_add(counted);
            }
            None => self.unread = self.unread.saturating_add(len.unwrap_or(0)),
        }
    }

    /// Any open stream may miss any number of bytes here.
    pub(super) fn gap_all(&mut self, out: &mut Vec<Request>) {
        for stream in self.open.values_mut() {
            stream.gap(None, out);
        }
        self.buffered = self.open.values().map(Stream::buffered).sum();
    }

    /// Closes a stream and gives its request out.
    pub(super) fn finish(&mut self, id: u32, ending: Ending, out: &mut Vec<Request>) {
        let Some(stream) = self.open.remove(&id) else {
            return;
        };
        self.buffered -= stream.buffered();
        self.unread = self.unread.saturating_add(stream.unread());
        if ending != Ending::Ended {
            if self.closed.len() >= MAX_CLOSED {
                self.closed.pop_front();
            }
            self.closed.push_back(id);
        }
        stream.finish(ending, out);
    }

    /// Closes every stream.
    pub(super) fn finish_all(&mut self, ending: Ending, out: &mut Vec<Request>) {
        while let Some((&id, _)) = self.open.first_key_value() {
            self.finish(id, ending, out);
        }
    }

    /// Closes the requests that took no byte since `before`. WebSockets and
    /// tunnels are quiet by nature and stay.
    pub(super) fn finish_stale(&mut self, before: BootTime, out: &mut Vec<Request>) {
        let stale = |stream: &Stream| stream.last < before && stream.is_request();
        let stale = self.open.iter().filter(|(_, stream)| stale(stream)).map(|(&id, _)| id);
        for id in stale.collect::<Vec<_>>() {
            self.finish(id, Ending::Cut, out);
        }
    }

    /// Forgets the numbers of closed streams: a new connection begins.
    pub(super) fn restart(&mut self) {
        self.closed.clear();
    }

    /// How many bytes the open streams keep.
    pub(super) fn buffered(&self) -> usize {
        self.buffered
    }

    /// How many bytes of streams are in no request.
    pub(super) fn unread_bytes(&self) -> u64 {
        self.open.values().map(Stream::unread).fold(self.unread, u64::saturating_add)
    }

    /// How many streams were closed to make room.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }

    fn unread(&mut self, bytes: usize) {
        self.unread = self.unread.saturating_add(bytes as u64);
    }
}

impl Stream {
    fn is_request(&self) -> bool {
        matches!(self.sink, Sink::Body { .. })
    }

    fn buffered(&self) -> usize {
        match &self.sink {
            Sink::Body { body, .. } => body.data().len(),
            Sink::WebSocket { decoder, .. } => decoder.buffered(),
            Sink::Tunnel => 0,
        }
    }

    /// How many bytes are in no message of it. A body counts its own.
    fn unread(&self) -> u64 {
        match &self.sink {
            Sink::WebSocket { decoder, .. } => decoder.unread(),
            Sink::Body { .. } | Sink::Tunnel => 0,
        }
    }

    /// Takes note of missing bytes. Returns how many of them no one else
    /// counts.
    fn gap(&mut self, len: Option<u64>, out: &mut Vec<Request>) -> u64 {
        match &mut self.sink {
            Sink::Body { body, .. } => body.skip(len),
            Sink::WebSocket { handshake, decoder } => {
                let mut messages = Vec::new();
                decoder.gap(len, &mut messages);
                out.extend(messages.into_iter().map(|message| message.into_request(handshake)));
            }
            Sink::Tunnel => return len.unwrap_or(0),
        }
        0
    }

    fn finish(self, ending: Ending, out: &mut Vec<Request>) {
        match self.sink {
            Sink::Body { head, mut body } => {
                if ending == Ending::Cut {
                    body.skip(None);
                }
                out.push(head.into_request(body, ending == Ending::Ended));
            }
            Sink::WebSocket { handshake, mut decoder } => {
                let mut messages = Vec::new();
                decoder.end(&mut messages);
                out.extend(messages.into_iter().map(|message| message.into_request(&handshake)));
            }
            Sink::Tunnel => {}
        }
    }
}
