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
    Body(Box<Draft>),
    /// Into a WebSocket, whose handshake was already given out.
    WebSocket(Box<Socket>),
    /// Nowhere: they are a tunnel's.
    Tunnel,
}

/// A request whose body is being sent.
#[derive(Debug, Clone, Default)]
struct Draft {
    head: Head,
    body: Pieces,
    /// It was given out already, as far as it was known.
    given: bool,
    /// It is not given out as it is now.
    news: bool,
}

/// A WebSocket, and the handshake that opened it.
#[derive(Debug)]
struct Socket {
    handshake: Request,
    decoder: ws::Decoder,
    /// Bytes missing in the messages so far.
    message_gaps: u64,
}

/// The open streams, by number.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<u32, Stream>,
    closed: VecDeque<u32>,
    /// How many bytes the open streams keep.
    buffered: usize,
    unread: u64,
    /// Bytes missing in the requests of streams that are closed.
    request_gaps: u64,
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
            Payload::Body => Sink::Body(Box::new(Draft { head, news: true, ..Draft::default() })),
            Payload::WebSocket => {
                let handshake = head.into_request(Pieces::default(), true);
                out.push(handshake.clone());
                let decoder = ws::Decoder::new(ws::may_deflate(&handshake));
                Sink::WebSocket(Box::new(Socket { handshake, decoder, message_gaps: 0 }))
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
        let mut draft = Draft { head: Head::unseen(time), news: true, ..Draft::default() };
        draft.gap(None);
        let sink = Sink::Body(Box::new(draft));
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
        let sink = self.open.get_mut(&id).map(|stream| &mut stream.sink);
        if let Some(Sink::Body(draft)) = sink {
            draft.head.trailers(section, unread);
            draft.news = true;
        }
    }

    /// Takes bytes of a stream; `begins` where a DATA frame begins with them.
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
            Sink::Body(draft) => draft.data(bytes, MAX_BODY.min(before.saturating_add(room))),
            Sink::WebSocket(socket) if bytes.len() <= room => {
                socket.hand_on(out, |decoder, out| decoder.data(bytes, begins, time, out));
            }
            Sink::WebSocket(socket) => socket.gap(Some(bytes.len() as u64), out),
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
        self.request_gaps = self.request_gaps.saturating_add(stream.finish(ending, out));
    }

    /// Closes every stream.
    pub(super) fn finish_all(&mut self, ending: Ending, out: &mut Vec<Request>) {
        while let Some((&id, _)) = self.open.first_key_value() {
            self.finish(id, ending, out);
        }
    }

    /// Gives out the requests that took no byte since `before`, as far as they
    /// are known. They stay open.
    pub(super) fn flush_stale(&mut self, before: BootTime, out: &mut Vec<Request>) {
        for stream in self.open.values_mut().filter(|stream| stream.last < before) {
            if let Sink::Body(draft) = &mut stream.sink
                && draft.news
            {
                out.push(Draft::clone(draft).into_request(Ending::Cut));
                (draft.given, draft.news) = (true, false);
            }
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

    /// How many bytes are missing in the requests of streams that are closed.
    pub(super) fn request_gaps(&self) -> u64 {
        self.request_gaps
    }

    /// How many streams were closed to make room.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }
}

impl Stream {
    fn buffered(&self) -> usize {
        match &self.sink {
            Sink::Body(draft) => draft.body.data().len(),
            Sink::WebSocket(socket) => socket.decoder.buffered(),
            Sink::Tunnel => 0,
        }
    }

    /// How many bytes are in no message of it. A body counts its own.
    fn unread(&self) -> u64 {
        match &self.sink {
            Sink::WebSocket(socket) => socket.decoder.unread(),
            Sink::Body(_) | Sink::Tunnel => 0,
        }
    }

    /// Takes note of missing bytes. Returns how many of them no one else
    /// counts.
    fn gap(&mut self, len: Option<u64>, out: &mut Vec<Request>) -> u64 {
        match &mut self.sink {
            Sink::Body(draft) => draft.gap(len),
            Sink::WebSocket(socket) => socket.gap(len, out),
            Sink::Tunnel => return len.unwrap_or(0),
        }
        0
    }

    /// Gives the request out. Returns how many of its bytes are missing.
    fn finish(self, ending: Ending, out: &mut Vec<Request>) -> u64 {
        match self.sink {
            Sink::Body(draft) => {
                let gaps = draft.head.unread().saturating_add(draft.body.unread());
                if draft.news || ending == Ending::Ended {
                    out.push(draft.into_request(ending));
                }
                gaps
            }
            Sink::WebSocket(mut socket) => {
                socket.hand_on(out, ws::Decoder::end);
                socket.message_gaps
            }
            Sink::Tunnel => 0,
        }
    }
}

impl Draft {
    fn data(&mut self, bytes: &[u8], limit: usize) {
        self.body.push(bytes, limit);
        self.news |= !bytes.is_empty();
    }

    fn gap(&mut self, len: Option<u64>) {
        self.body.skip(len);
        // What was given out had a gap of unknown length at its end already.
        self.news |= len.is_some_and(|len| len > 0);
    }

    fn into_request(mut self, ending: Ending) -> Request {
        if ending == Ending::Cut {
            self.body.skip(None);
        }
        let request = self.head.into_request(self.body, ending == Ending::Ended);
        Request { update: self.given, ..request }
    }
}

impl Socket {
    fn gap(&mut self, len: Option<u64>, out: &mut Vec<Request>) {
        self.hand_on(out, |decoder, out| decoder.gap(len, out));
    }

    /// Turns the messages that `step` gives out into requests.
    fn hand_on(
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
