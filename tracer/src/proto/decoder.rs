//! The front: finds the protocol of a byte stream and reads its messages.

#[cfg(test)]
pub(super) mod tests;

use bytes::Bytes;
use serde::Serialize;

use super::Request;
use super::detect::{self, ENOUGH, Start};
use super::http1::{Next, Progress, RequestReader};
use crate::record::BootTime;
use crate::stream::{Chunk, Dated, State};

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// When the connection ends: what was sent on it and not read.
    Unread(Unread),
}

impl Dated for Message {
    fn time(&self) -> BootTime {
        match self {
            Self::Request(request) => request.time,
            Self::Unread(unread) => unread.since,
        }
    }
}

/// Bytes of a connection that are in no request. They are not clean: nobody
/// looked at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Unread {
    /// When the connection was first seen.
    pub since: BootTime,
    /// In TLS records.
    pub tls: u64,
    /// In HTTP/2.
    pub http2: u64,
    /// After an upgrade to WebSocket.
    pub websocket: u64,
    /// In datagrams.
    pub datagrams: u64,
    /// In no known protocol, or after the place in it was lost.
    pub unrecognised: u64,
    /// In gaps between messages.
    pub gaps: u64,
    /// Gaps whose length nobody can tell.
    pub unknown_gaps: u64,
}

impl Unread {
    /// Everything was read.
    pub fn is_empty(&self) -> bool {
        *self == Self { since: self.since, ..Self::default() }
    }
}

/// A connection that asked to become a WebSocket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgraded {
    /// `Sec-WebSocket-Extensions` of the request: what the client offered.
    pub extensions: Bytes,
}

/// How much the parsers keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes kept of one body; the rest is counted. Reports are smaller, and
    /// uploads are none.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 1 << 20 }
    }
}

/// Reads what one connection sends.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    speaks: Speaks,
    /// HTTP/1 was spoken in the clear, and TLS cannot begin any more.
    in_clear: bool,
    /// When something last came.
    last: BootTime,
    unread: Unread,
}

/// What the next byte belongs to.
#[derive(Debug)]
enum Speaks {
    /// No message, as far as known.
    Nothing(Between),
    /// An HTTP/1 request.
    Http1(RequestReader),
    /// Something that is not read.
    Opaque(Opaque),
}

/// A place between messages.
#[derive(Debug, Default)]
struct Between {
    /// The next byte begins a message; otherwise only a send can.
    aligned: bool,
    /// The beginning of a message, too short to say of what: less than
    /// [`ENOUGH`] bytes, and since when.
    pending: Vec<u8>,
    since: BootTime,
}

impl Between {
    fn messages() -> Self {
        Self { aligned: true, ..Self::default() }
    }
}

#[derive(Debug)]
enum Opaque {
    Tls,
    Http2,
    WebSocket(Upgraded),
}

impl Decoder {
    /// A decoder for a connection first seen now.
    pub fn new(limits: Limits, time: BootTime) -> Self {
        Self {
            limits,
            speaks: Speaks::Nothing(Between::default()),
            in_clear: false,
            last: time,
            unread: Unread { since: time, ..Unread::default() },
        }
    }

    /// What was not read so far.
    pub fn unread(&self) -> &Unread {
        &self.unread
    }

    /// The connection asked to become a WebSocket, and did nothing else since.
    pub fn upgraded(&self) -> Option<&Upgraded> {
        match &self.speaks {
            Speaks::Opaque(Opaque::WebSocket(upgraded)) => Some(upgraded),
            _ => None,
        }
    }

    fn data(
        &mut self,
        mut bytes: &[u8],
        mut begins_send: bool,
        time: BootTime,
        out: &mut Vec<Message>,
    ) {
        while !bytes.is_empty() {
            let used = match &self.speaks {
                Speaks::Nothing(_) => self.look(bytes, begins_send, time),
                Speaks::Http1(_) => self.read(bytes, begins_send, out),
                Speaks::Opaque(_) => self.set_aside(bytes, begins_send),
            };
            bytes = bytes.get(used..).unwrap_or_default();
            begins_send &= used == 0;
        }
    }

    /// Looks for the beginning of a message. Returns how many bytes are done
    /// with; none means that their protocol is known now.
    fn look(&mut self, bytes: &[u8], begins_send: bool, time: BootTime) -> usize {
        let Speaks::Nothing(between) = &mut self.speaks else {
            return 0;
        };
        if between.pending.is_empty() {
            if !between.aligned && !begins_send {
                self.unread.unrecognised += bytes.len() as u64;
                return bytes.len();
            }
            between.since = time;
            between.aligned = true;
            // Empty lines before a request (RFC 9112, section 2.2).
            let empty = bytes.iter().take_while(|&&b| matches!(b, b'\r' | b'\n')).count();
            if empty > 0 {
                return empty;
            }
        }

        let mut start = std::mem::take(&mut between.pending);
        let (since, held) = (between.since, start.len());
        start.extend(bytes.iter().take(ENOUGH.saturating_sub(held)));
        let all = (held + bytes.len()) as u64;
        match detect::detect(&start) {
            Start::Unclear => {
                between.pending = start;
                bytes.len()
            }
            Start::Http1 => {
                let mut reader = RequestReader::new(since, self.limits.body);
                // Too short to say anything before, so no request ends in it.
                reader.data(start.get(..held).unwrap_or_default(), false);
                self.speaks = Speaks::Http1(reader);
                0
            }
            Start::Http2 => {
                self.unread.http2 += all;
                self.speaks = Speaks::Opaque(Opaque::Http2);
                bytes.len()
            }
            Start::Tls if !self.in_clear => {
                self.unread.tls += all;
                self.speaks = Speaks::Opaque(Opaque::Tls);
                bytes.len()
            }
            // What was held back was nothing; the send may still begin something.
            Start::Tls | Start::Other if held > 0 && begins_send => {
                self.unread.unrecognised += held as u64;
                0
            }
            Start::Tls | Start::Other => {
                self.unread.unrecognised += all;
                between.aligned = false;
                bytes.len()
            }
        }
    }

    /// Reads a request on.
    fn read(&mut self, bytes: &[u8], begins_send: bool, out: &mut Vec<Message>) -> usize {
        let Speaks::Http1(reader) = &mut self.speaks else {
            return 0;
        };
        let (used, progress) = reader.data(bytes, begins_send);
        if let Progress::Done(next) = progress {
            self.go_on(next, out);
        }
        used
    }

    /// Counts what is not read. A protocol that is not read cannot be followed
    /// to its end either: a message that begins with a send shows it.
    fn set_aside(&mut self, bytes: &[u8], begins_send: bool) -> usize {
        let Speaks::Opaque(opaque) = &self.speaks else {
            return 0;
        };
        if begins_send && detect::is_message(bytes) {
            self.speaks = Speaks::Nothing(Between::messages());
            return 0;
        }
        *self.unread.of(opaque) += bytes.len() as u64;
        bytes.len()
    }

    fn gap(&mut self, len: Option<u64>, out: &mut Vec<Message>) {
        match &mut self.speaks {
            Speaks::Http1(reader) => {
                if let Progress::Done(next) = reader.gap(len) {
                    self.go_on(next, out);
                }
            }
            Speaks::Nothing(between) => {
                self.unread.unrecognised += between.pending.len() as u64;
                *between = Between::default();
                self.unread.gap(len);
            }
            Speaks::Opaque(opaque) => match len {
                Some(len) => *self.unread.of(opaque) += len,
                None => self.unread.unknown_gaps += 1,
            },
        }
    }

    /// Gives out the request that ended, and turns to what follows.
    fn go_on(&mut self, next: Next, out: &mut Vec<Message>) {
        let tunnel = next == Next::Tunnel;
        let speaks = match next {
            Next::Message | Next::Tunnel => Speaks::Nothing(Between::messages()),
            Next::Upgraded(upgraded) => Speaks::Opaque(Opaque::WebSocket(upgraded)),
            Next::Lost { gap } => {
                self.unread.gaps += gap;
                Speaks::Nothing(Between::default())
            }
        };
        if let Speaks::Http1(reader) = std::mem::replace(&mut self.speaks, speaks) {
            match reader.finish() {
                Ok(request) => {
                    self.in_clear = !tunnel;
                    out.extend(request.map(Message::Request));
                }
                Err(bytes) => self.unread.unrecognised += bytes,
            }
        }
    }
}

impl Unread {
    fn of(&mut self, opaque: &Opaque) -> &mut u64 {
        match opaque {
            Opaque::Tls => &mut self.tls,
            Opaque::Http2 => &mut self.http2,
            Opaque::WebSocket(_) => &mut self.websocket,
        }
    }

    fn gap(&mut self, len: Option<u64>) {
        match len {
            Some(len) => self.gaps += len,
            None => self.unknown_gaps += 1,
        }
    }
}

impl State for Decoder {
    type Settings = Limits;
    type Message = Message;

    fn open(limits: &Limits, time: BootTime) -> Self {
        Self::new(limits.clone(), time)
    }

    fn chunk(&mut self, chunk: Chunk<'_>, time: BootTime, out: &mut Vec<Message>) {
        self.last = self.last.max(time);
        match chunk {
            Chunk::Data { bytes, begins_send } => self.data(bytes, begins_send, time, out),
            Chunk::Gap(len) => self.gap(len, out),
        }
    }

    fn datagram(
        &mut self,
        bytes: &[u8],
        missing: Option<u64>,
        time: BootTime,
        _: &mut Vec<Message>,
    ) {
        self.last = self.last.max(time);
        self.unread.datagrams += bytes.len() as u64 + missing.unwrap_or(0);
        self.unread.unknown_gaps += u64::from(missing.is_none());
    }

    fn flush(&mut self, before: BootTime, out: &mut Vec<Message>) {
        if self.last <= before
            && let Speaks::Http1(reader) = &mut self.speaks
        {
            out.extend(reader.give().map(Message::Request));
        }
    }

    fn end(&mut self, out: &mut Vec<Message>) {
        if let Speaks::Nothing(between) = &mut self.speaks {
            self.unread.unrecognised += std::mem::take(&mut between.pending).len() as u64;
        }
        self.go_on(Next::Lost { gap: 0 }, out);
        let unread = std::mem::take(&mut self.unread);
        self.unread.since = unread.since;
        if !unread.is_empty() {
            out.push(Message::Unread(unread));
        }
    }

    fn buffered(&self) -> usize {
        match &self.speaks {
            Speaks::Nothing(between) => between.pending.len(),
            Speaks::Http1(reader) => reader.buffered(),
            Speaks::Opaque(_) => 0,
        }
    }
}

/// Reads raw requests, one after another, as they would stand in a file.
pub fn parse_http1(bytes: &[u8]) -> (Vec<Request>, Unread) {
    let mut decoder = Decoder::new(Limits::default(), BootTime::default());
    let mut messages = Vec::new();
    decoder.chunk(Chunk::Data { bytes, begins_send: true }, BootTime::default(), &mut messages);
    decoder.end(&mut messages);

    let mut requests = Vec::new();
    let mut unread = Unread::default();
    for message in messages {
        match message {
            Message::Request(request) => requests.push(request),
            Message::Unread(report) => unread = report,
        }
    }
    (requests, unread)
}
