//! The streams of a connection, and the known parts of their bodies.

use std::collections::{BTreeMap, VecDeque};

use super::head::{Head, Payload};
use super::{MAX_BODY, MAX_BUFFERED, MAX_STREAMS};
use crate::proto::hpack::Section;
use crate::proto::pieces::Pieces;
use crate::proto::{Request, ws};
use crate::record::BootTime;

/// Maximum number of early-emitted streams remembered, so that their late bytes
/// are not mistaken for a request whose head was lost.
const MAX_CLOSED: usize = 1024;

/// The way in which a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client ended the stream, and the body is complete.
    Ended,
    /// The client reset the stream, and did not send everything.
    Reset,
    /// The decoder gave up on the stream, whose remaining data is unknown.
    Cut,
}

/// An open stream.
#[derive(Debug)]
struct Stream {
    /// Time of the most recent byte.
    last: BootTime,
    sink: Content,
}

/// The content that the bytes of a stream belong to.
#[derive(Debug)]
enum Content {
    /// A request body.
    Body(Box<Draft>),
    /// A WebSocket, whose handshake was already emitted.
    WebSocket(Box<Socket>),
    /// A tunnel, whose bytes are dropped.
    Tunnel,
}

/// A request whose body is being sent.
#[derive(Debug, Clone, Default)]
struct Draft {
    head: Head,
    body: Pieces,
    /// Set once the request was emitted in part.
    emitted: bool,
    /// Set if the request changed since it was emitted.
    changed: bool,
}

/// A WebSocket and its handshake.
#[derive(Debug)]
struct Socket {
    handshake: Request,
    decoder: ws::Decoder,
    /// Number of bytes missing in the messages so far.
    message_gaps: u64,
}

/// The open streams, by identifier.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<u32, Stream>,
    closed: VecDeque<u32>,
    /// Number of bytes buffered by open streams.
    buffered: usize,
    unread: u64,
    /// Number of bytes missing in the requests of closed streams.
    request_gaps: u64,
    evicted: u64,
}

impl Streams {
    /// Reports whether the stream is open.
    pub(super) fn is_open(&self, id: u32) -> bool {
        self.open.contains_key(&id)
    }

    /// Reports whether the stream was emitted before the client ended it.
    pub(super) fn is_closed(&self, id: u32) -> bool {
        self.closed.contains(&id)
    }

    /// Reports whether the stream is open or was emitted, so its head is known.
    pub(super) fn is_known(&self, id: u32) -> bool {
        self.is_open(id) || self.is_closed(id)
    }

    /// Opens a stream with the head of its request. A head without a body is
    /// emitted at once, since its stream may stay open for hours.
    pub(super) fn open(&mut self, id: u32, head: Head, time: BootTime, out: &mut Vec<Request>) {
        let sink = match head.payload() {
            Payload::Body => {
                Content::Body(Box::new(Draft { head, changed: true, ..Draft::default() }))
            }
            Payload::WebSocket => {
                let handshake = head.into_request(Pieces::default(), true);
                out.push(handshake.clone());
                let decoder = ws::Decoder::new(ws::may_deflate(&handshake));
                Content::WebSocket(Box::new(Socket { handshake, decoder, message_gaps: 0 }))
            }
            Payload::Tunnel => {
                out.push(head.into_request(Pieces::default(), true));
                Content::Tunnel
            }
        };
        self.insert(id, Stream { last: time, sink }, out);
    }

    /// Opens a stream whose head and an unknown part of its body were lost.
    pub(super) fn open_unseen(&mut self, id: u32, time: BootTime, out: &mut Vec<Request>) {
        let mut draft = Draft { head: Head::unseen(time), changed: true, ..Draft::default() };
        draft.gap(None);
        let sink = Content::Body(Box::new(draft));
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

    /// Adds a trailer section. WebSockets and tunnels do not have one.
    pub(super) fn trailers(&mut self, id: u32, section: Section, unread: u64) {
        let sink = self.open.get_mut(&id).map(|stream| &mut stream.sink);
        if let Some(Content::Body(draft)) = sink {
            draft.head.trailers(section, unread);
            draft.changed = true;
        }
    }

    /// Processes bytes of a stream. `begins` is set at the start of a DATA
    /// frame.
    pub(super) fn data(
        &mut self,
        id: u32,
        bytes: &[u8],
        begins: bool,
        time: BootTime,
        out: &mut Vec<Request>,
    ) {
        let room = MAX_BUFFERED.saturating_sub(self.buffered);
        let Some(stream) = self.open.get_mut(&id) else {
            self.unread = self.unread.saturating_add(bytes.len() as u64);
            return;
        };
        stream.last = time;
        let before = stream.buffered();
        match &mut stream.sink {
            Content::Body(draft) => draft.data(bytes, MAX_BODY.min(before.saturating_add(room))),
            Content::WebSocket(socket) if bytes.len() <= room => {
                socket.forward(out, |decoder, out| decoder.data(bytes, begins, time, out));
            }
            Content::WebSocket(socket) => socket.gap(Some(bytes.len() as u64), out),
            Content::Tunnel => self.unread = self.unread.saturating_add(bytes.len() as u64),
        }
        self.buffered = self.buffered - before + stream.buffered();
    }

    /// Processes a gap in a stream; `None` if the length is unknown.
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

    /// Records that any open stream may miss any number of bytes here.
    pub(super) fn gap_all(&mut self, out: &mut Vec<Request>) {
        for stream in self.open.values_mut() {
            stream.gap(None, out);
        }
        self.buffered = self.open.values().map(Stream::buffered).sum();
    }

    /// Closes a stream and emits its request.
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
        self.request_gaps = self.request_gaps.saturating_add(stream.finish(ending, out));
    }

    /// Closes all streams.
    pub(super) fn finish_all(&mut self, ending: Ending, out: &mut Vec<Request>) {
        while let Some((&id, _)) = self.open.first_key_value() {
            self.finish(id, ending, out);
        }
    }

    /// Emits the known parts of requests that received no byte since `before`,
    /// and keeps them open.
    pub(super) fn flush_stale(&mut self, before: BootTime, out: &mut Vec<Request>) {
        for stream in self.open.values_mut().filter(|stream| stream.last < before) {
            if let Content::Body(draft) = &mut stream.sink
                && draft.changed
            {
                out.push(Draft::clone(draft).into_request(Ending::Cut));
                (draft.emitted, draft.changed) = (true, false);
            }
        }
    }

    /// Forgets the identifiers of closed streams when a new connection starts.
    pub(super) fn restart(&mut self) {
        self.closed.clear();
    }

    /// Returns the number of bytes buffered by open streams.
    pub(super) fn buffered(&self) -> usize {
        self.buffered
    }

    /// Returns the number of stream bytes that belong to no request.
    pub(super) fn unread_bytes(&self) -> u64 {
        self.open.values().map(Stream::unread).fold(self.unread, u64::saturating_add)
    }

    /// Returns the number of bytes missing in the requests of closed streams.
    pub(super) fn request_gaps(&self) -> u64 {
        self.request_gaps
    }

    /// Returns the number of streams closed to make room.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }
}

impl Stream {
    fn buffered(&self) -> usize {
        match &self.sink {
            Content::Body(draft) => draft.body.data().len(),
            Content::WebSocket(socket) => socket.decoder.buffered(),
            Content::Tunnel => 0,
        }
    }

    /// Returns the number of bytes in no message. Bodies count their own.
    fn unread(&self) -> u64 {
        match &self.sink {
            Content::WebSocket(socket) => socket.decoder.unread(),
            Content::Body(_) | Content::Tunnel => 0,
        }
    }

    /// Processes a gap. Returns the number of missing bytes not counted
    /// elsewhere.
    fn gap(&mut self, len: Option<u64>, out: &mut Vec<Request>) -> u64 {
        match &mut self.sink {
            Content::Body(draft) => draft.gap(len),
            Content::WebSocket(socket) => socket.gap(len, out),
            Content::Tunnel => return len.unwrap_or(0),
        }
        0
    }

    /// Emits the request. Returns the number of bytes missing in it.
    fn finish(self, ending: Ending, out: &mut Vec<Request>) -> u64 {
        match self.sink {
            Content::Body(draft) => {
                let gaps = draft.head.unread().saturating_add(draft.body.unread());
                if draft.changed || ending == Ending::Ended {
                    out.push(draft.into_request(ending));
                }
                gaps
            }
            Content::WebSocket(mut socket) => {
                socket.forward(out, ws::Decoder::end);
                socket.message_gaps
            }
            Content::Tunnel => 0,
        }
    }
}

impl Draft {
    fn data(&mut self, bytes: &[u8], limit: usize) {
        self.body.push(bytes, limit);
        self.changed |= !bytes.is_empty();
    }

    fn gap(&mut self, len: Option<u64>) {
        self.body.skip(len);
        // The emitted version already ended with a gap of unknown length.
        self.changed |= len.is_some_and(|len| len > 0);
    }

    fn into_request(mut self, ending: Ending) -> Request {
        if ending == Ending::Cut {
            self.body.skip(None);
        }
        let request = self.head.into_request(self.body, ending == Ending::Ended);
        Request { update: self.emitted, ..request }
    }
}

impl Socket {
    fn gap(&mut self, len: Option<u64>, out: &mut Vec<Request>) {
        self.forward(out, |decoder, out| decoder.gap(len, out));
    }

    /// Converts the messages produced by `step` to requests.
    fn forward(
        &mut self,
        out: &mut Vec<Request>,
        step: impl FnOnce(&mut ws::Decoder, &mut Vec<ws::Message>),
    ) {
        let mut messages = Vec::new();
        step(&mut self.decoder, &mut messages);
        for message in messages {
            self.message_gaps = self.message_gaps.saturating_add(message.unread_bytes);
            out.push(message.into_request(&self.handshake));
        }
    }
}
