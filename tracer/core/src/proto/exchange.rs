//! The request on one stream of HTTP/2 or HTTP/3, while it is being sent.

use super::head::{Head, Payload};
use super::hpack::Section;
use super::pieces::Pieces;
use super::{Protocol, Request, ws};
use crate::record::BootTime;

/// Maximum number of bytes kept per body; the rest is counted as a gap.
pub(super) const MAX_BODY: usize = 1 << 20;

/// Maximum number of body bytes kept at a time per connection.
pub(super) const MAX_BUFFERED: usize = 8 << 20;

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

/// A request that is being sent.
#[derive(Debug)]
pub(super) struct Exchange {
    content: Content,
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
#[derive(Debug, Clone)]
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

impl Exchange {
    /// Starts with the head of a request. A head without a body is emitted at once,
    /// since its stream may stay open for hours.
    pub(super) fn new(head: Head, out: &mut Vec<Request>) -> Self {
        let content = match head.payload() {
            Payload::Body => Content::Body(Box::new(Draft::new(head))),
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
        Self { content }
    }

    /// Starts with a request whose head and an unknown part of its body were lost.
    pub(super) fn unseen(version: Protocol, time: BootTime) -> Self {
        let mut draft = Draft::new(Head::unseen(version, time));
        draft.gap(None);
        Self { content: Content::Body(Box::new(draft)) }
    }

    /// Adds a trailer section. WebSockets and tunnels do not have one.
    pub(super) fn trailers(&mut self, section: Section, unread: u64) {
        if let Content::Body(draft) = &mut self.content {
            draft.head.trailers(section, unread);
            draft.changed = true;
        }
    }

    /// Processes bytes, of which `room` can be kept. `begins` is set at the start of
    /// a DATA frame, where a WebSocket message starts. Returns the number of bytes
    /// that belong to no request.
    pub(super) fn data(
        &mut self,
        bytes: &[u8],
        begins: bool,
        time: BootTime,
        room: usize,
        out: &mut Vec<Request>,
    ) -> u64 {
        let limit = MAX_BODY.min(self.buffered().saturating_add(room));
        match &mut self.content {
            Content::Body(draft) => draft.data(bytes, limit),
            Content::WebSocket(socket) if bytes.len() <= room => {
                socket.forward(out, |decoder, out| decoder.data(bytes, begins, time, out));
            }
            Content::WebSocket(socket) => socket.gap(Some(bytes.len() as u64), out),
            Content::Tunnel => return bytes.len() as u64,
        }
        0
    }

    /// Processes a gap; `None` if the length is unknown. Returns the number of
    /// missing bytes not counted elsewhere.
    pub(super) fn gap(&mut self, len: Option<u64>, out: &mut Vec<Request>) -> u64 {
        match &mut self.content {
            Content::Body(draft) => draft.gap(len),
            Content::WebSocket(socket) => socket.gap(len, out),
            Content::Tunnel => return len.unwrap_or(0),
        }
        0
    }

    /// Emits the known part of a request that changed since it was last emitted.
    pub(super) fn emit(&mut self, out: &mut Vec<Request>) {
        if let Content::Body(draft) = &mut self.content
            && draft.changed
        {
            out.push(Draft::clone(draft).into_request(Ending::Cut));
            (draft.emitted, draft.changed) = (true, false);
        }
    }

    /// Ends the request and emits it. Returns the number of bytes missing in it.
    pub(super) fn finish(self, ending: Ending, out: &mut Vec<Request>) -> u64 {
        match self.content {
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

    /// Returns the number of bytes buffered.
    pub(super) fn buffered(&self) -> usize {
        match &self.content {
            Content::Body(draft) => draft.body.data().len(),
            Content::WebSocket(socket) => socket.decoder.buffered(),
            Content::Tunnel => 0,
        }
    }

    /// Returns the number of bytes in no message. Bodies count their own.
    pub(super) fn unread(&self) -> u64 {
        match &self.content {
            Content::WebSocket(socket) => socket.decoder.unread(),
            Content::Body(_) | Content::Tunnel => 0,
        }
    }
}

impl Draft {
    fn new(head: Head) -> Self {
        Self { head, body: Pieces::default(), emitted: false, changed: true }
    }

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
