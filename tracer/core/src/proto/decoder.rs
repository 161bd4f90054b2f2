//! The front: finds the protocol of a byte stream and reads its messages.

mod datagrams;
mod http;
#[cfg(test)]
pub(super) mod tests;

use self::datagrams::Datagrams;
use self::http::{Http1, Http2, WebSocket};
use super::detect::{self, ENOUGH, Start};
use super::http1::{Next, Progress, RequestReader};
use super::{NameSource, Request, ServerName, Traffic, dns, h2, tls};
use crate::record::{BootTime, Connection};
use crate::stream::{Chunk, Dated, State};

/// What a client sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A server was named in the clear: once a TLS or QUIC connection, and in
    /// every question to the domain name system.
    Name(ServerName),
    /// The connection ends: what became of all its bytes.
    Ended(Box<Traffic>),
}

impl Dated for Message {
    fn time(&self) -> BootTime {
        match self {
            Self::Request(request) => request.time,
            Self::Name(name) => name.time,
            Self::Ended(traffic) => traffic.since,
        }
    }
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
    datagrams: Datagrams,
    /// It goes to a port of the domain name system's.
    to_dns: bool,
    /// HTTP was spoken in the clear, and TLS cannot begin any more.
    in_clear: bool,
    /// Its plaintext, if this is TLS, has records of its own.
    within_tls: bool,
    /// When something last came.
    last: BootTime,
    traffic: Traffic,
}

/// What the next byte belongs to.
#[derive(Debug)]
enum Speaks {
    /// No message, as far as known.
    Nothing(Between),
    Http1(Http1),
    Http2(Box<Http2>),
    WebSocket(Box<WebSocket>),
    Tls(Box<tls::Records>),
    Dns(dns::Stream),
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

impl Speaks {
    /// Nothing yet; a message begins here.
    fn next_message() -> Self {
        Self::Nothing(Between { aligned: true, ..Between::default() })
    }

    /// Nothing that is known.
    fn lost() -> Self {
        Self::Nothing(Between::default())
    }
}

impl Decoder {
    /// A decoder for a connection first seen now.
    pub fn new(limits: Limits, time: BootTime) -> Self {
        Self {
            limits,
            speaks: Speaks::lost(),
            datagrams: Datagrams::default(),
            to_dns: false,
            in_clear: false,
            within_tls: false,
            last: time,
            traffic: Traffic::new(time),
        }
    }

    fn data(
        &mut self,
        mut bytes: &[u8],
        mut begins_send: bool,
        time: BootTime,
        out: &mut Vec<Message>,
    ) {
        self.traffic.sent += bytes.len() as u64;
        while !bytes.is_empty() {
            if self.is_another(bytes, begins_send) {
                self.turn_to(Speaks::next_message(), out);
            }
            let used = match &mut self.speaks {
                Speaks::Nothing(_) => self.look(bytes, begins_send, time, out),
                Speaks::Http1(_) => self.read(bytes, begins_send, out),
                Speaks::Http2(http2) => {
                    http2.data(bytes, begins_send, time, out);
                    bytes.len()
                }
                Speaks::WebSocket(socket) => {
                    socket.data(bytes, begins_send, time, out);
                    bytes.len()
                }
                Speaks::Tls(records) => {
                    let name = records.data(bytes, begins_send);
                    tell(name, &mut self.traffic, out);
                    bytes.len()
                }
                Speaks::Dns(_) => self.ask(bytes, time, out),
            };
            bytes = bytes.get(used..).unwrap_or_default();
            begins_send &= used == 0;
        }
    }

    /// The bytes begin a message that what was spoken so far cannot hold:
    /// another connection goes by the same key, or the server did not agree to
    /// a WebSocket. HTTP/1 sees to that by itself.
    fn is_another(&self, bytes: &[u8], begins_send: bool) -> bool {
        match &self.speaks {
            Speaks::Nothing(_) | Speaks::Http1(_) => false,
            // Pages choose what frames hold, but not what begins a frame; see
            // `http1` for the preface.
            Speaks::Http2(http2) => {
                begins_send
                    && (detect::is_http2(bytes) || !http2.in_frame() && detect::is_message(bytes))
            }
            Speaks::WebSocket(socket) => {
                (begins_send || !socket.begun) && detect::is_message(bytes)
            }
            Speaks::Tls(_) | Speaks::Dns(_) => begins_send && detect::is_message(bytes),
        }
    }

    /// Looks for the beginning of a message. Returns how many bytes are done
    /// with; none means that their protocol is known now.
    fn look(
        &mut self,
        bytes: &[u8],
        begins_send: bool,
        time: BootTime,
        out: &mut Vec<Message>,
    ) -> usize {
        let Speaks::Nothing(between) = &mut self.speaks else {
            return 0;
        };
        let joined = !between.aligned;
        if between.pending.is_empty() {
            if joined && !begins_send {
                return self.give_up(bytes, time, out);
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
        let pending = start.get(..held).unwrap_or_default();
        match detect::detect(&start) {
            Start::Unclear => {
                between.pending = start;
                return bytes.len();
            }
            Start::Http1 => {
                let mut reader = RequestReader::new(since, self.limits.body);
                // Too short to say anything before, so no request ends in it.
                reader.data(pending, false);
                self.speaks = Speaks::Http1(Http1::new(reader));
                return 0;
            }
            Start::Http2 => {
                let mut http2 = Box::<Http2>::default();
                http2.data(&[pending, bytes].concat(), true, since, out);
                self.speaks = Speaks::Http2(http2);
                self.in_clear = true;
                return bytes.len();
            }
            Start::Tls if !self.in_clear || self.within_tls => {
                let mut records = Box::new(tls::Records::new(since));
                let name = records.data(pending, true);
                self.speaks = Speaks::Tls(records);
                tell(name, &mut self.traffic, out);
                return 0;
            }
            Start::Tls | Start::Other => {}
        }
        // What was held back was nothing; the send may still begin something.
        self.traffic.unread.unrecognised += held as u64;
        if held > 0 {
            between.aligned = false;
            return if begins_send { 0 } else { self.give_up(bytes, time, out) };
        }
        if joined && !self.in_clear && h2::recognise(bytes) == h2::Start::Frames {
            self.speaks = Speaks::Http2(Box::default());
            self.in_clear = true;
            return 0;
        }
        if self.to_dns && !self.within_tls {
            self.speaks = Speaks::Dns(dns::Stream::default());
            return 0;
        }
        self.give_up(bytes, time, out)
    }

    /// The bytes are none that anybody here can read.
    fn give_up(&mut self, bytes: &[u8], time: BootTime, out: &mut Vec<Message>) -> usize {
        if self.within_tls {
            self.turn_to(Speaks::Tls(Box::new(tls::Records::joined(time))), out);
            return 0;
        }
        self.turn_to(Speaks::lost(), out);
        self.traffic.unread.unrecognised += bytes.len() as u64;
        bytes.len()
    }

    /// Reads a request on.
    fn read(&mut self, bytes: &[u8], begins_send: bool, out: &mut Vec<Message>) -> usize {
        let Speaks::Http1(http1) = &mut self.speaks else {
            return 0;
        };
        let (used, progress) = http1.data(bytes, begins_send);
        if let Progress::Done(next) = progress {
            self.end_request(next, out);
        }
        used
    }

    /// Reads queries on.
    fn ask(&mut self, bytes: &[u8], time: BootTime, out: &mut Vec<Message>) -> usize {
        let Speaks::Dns(stream) = &mut self.speaks else {
            return 0;
        };
        let mut names = Vec::new();
        let outcome = stream.data(bytes, &mut names);
        out.extend(asked(names, time));
        if let Err(dns::NotDns(unread)) = outcome {
            self.traffic.unread.unrecognised += unread;
            self.speaks = Speaks::lost();
        }
        bytes.len()
    }

    fn gap(&mut self, len: Option<u64>, out: &mut Vec<Message>) {
        let missing = len.unwrap_or(0);
        self.traffic.sent += missing;
        self.traffic.unknown_gaps += u64::from(len.is_none());
        if !matches!(self.speaks, Speaks::Tls(_)) {
            self.traffic.missing += missing;
        }
        match &mut self.speaks {
            Speaks::Http1(http1) => {
                if let Progress::Done(next) = http1.gap(len) {
                    self.end_request(next, out);
                }
            }
            Speaks::Http2(http2) => http2.gap(len, out),
            Speaks::WebSocket(socket) => socket.gap(len, out),
            Speaks::Tls(records) => {
                let name = records.gap(len);
                tell(name, &mut self.traffic, out);
            }
            Speaks::Nothing(_) | Speaks::Dns(_) => {
                self.traffic.unread.gaps += missing;
                self.turn_to(Speaks::lost(), out);
            }
        }
    }

    /// Gives out the request that ended, and turns to what follows.
    fn end_request(&mut self, next: Next, out: &mut Vec<Message>) {
        let follows = match next {
            Next::Message | Next::Tunnel | Next::Upgraded => Speaks::next_message(),
            Next::Lost { .. } => Speaks::lost(),
        };
        let Speaks::Http1(http1) = std::mem::replace(&mut self.speaks, follows) else {
            return;
        };
        let Ok(request) = http1.finish(&next, &mut self.traffic) else {
            return;
        };
        self.in_clear = next != Next::Tunnel;
        if let (Next::Upgraded, Some(handshake)) = (next, &request) {
            self.speaks = Speaks::WebSocket(Box::new(WebSocket::new(handshake.clone())));
        }
        out.extend(request.map(Message::Request));
    }

    /// Ends what was spoken, and gives out what there is of it.
    fn turn_to(&mut self, next: Speaks, out: &mut Vec<Message>) {
        if matches!(self.speaks, Speaks::Http1(_)) {
            self.end_request(Next::Lost { gap: 0 }, out);
        }
        match std::mem::replace(&mut self.speaks, next) {
            Speaks::Nothing(between) => {
                self.traffic.unread.unrecognised += between.pending.len() as u64;
            }
            Speaks::Http1(_) => {}
            Speaks::Http2(http2) => http2.finish(&mut self.traffic, out),
            Speaks::WebSocket(socket) => socket.finish(&mut self.traffic, out),
            Speaks::Tls(mut records) => {
                let name = records.cut();
                tell(name, &mut self.traffic, out);
                let tally = records.tally();
                self.traffic.handshake += tally.handshake;
                self.traffic.unread.tls += tally.content;
                self.traffic.plain_records += tally.records;
            }
            Speaks::Dns(stream) => self.traffic.unread.unrecognised += stream.buffered() as u64,
        }
    }
}

/// Gives out a server's name, and remembers it with the connection.
fn tell(name: Option<ServerName>, traffic: &mut Traffic, out: &mut Vec<Message>) {
    if let Some(name) = name {
        traffic.server = Some(name.clone());
        out.push(Message::Name(name));
    }
}

/// Names that were asked for.
fn asked(names: Vec<String>, time: BootTime) -> impl Iterator<Item = Message> {
    names.into_iter().map(move |name| {
        let source = NameSource::Dns;
        Message::Name(ServerName { time, source, name, alpn: Vec::new(), ech: false })
    })
}

impl State for Decoder {
    type Settings = Limits;
    type Message = Message;

    fn open(limits: &Limits, connection: &Connection, time: BootTime) -> Self {
        let to_dns = connection.remote.is_some_and(|addr| dns::PORTS.contains(&addr.port()));
        Self { to_dns, ..Self::new(limits.clone(), time) }
    }

    fn within_tls(&mut self) {
        self.within_tls = true;
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
        out: &mut Vec<Message>,
    ) {
        self.last = self.last.max(time);
        self.datagrams.datagram(bytes, missing, self.to_dns, time, &mut self.traffic, out);
    }

    fn flush(&mut self, before: BootTime, out: &mut Vec<Message>) {
        match &mut self.speaks {
            Speaks::Http2(http2) => http2.flush(before, out),
            Speaks::Http1(http1) if self.last <= before => http1.flush(out),
            _ => {}
        }
    }

    fn end(&mut self, out: &mut Vec<Message>) {
        self.turn_to(Speaks::lost(), out);
        self.datagrams.cut(&mut self.traffic, out);
        let mut traffic = std::mem::replace(&mut self.traffic, Traffic::new(self.last));
        if self.within_tls {
            traffic.read_in_plain = std::mem::take(&mut traffic.unread.tls);
        } else {
            traffic.plain_records = 0;
        }
        traffic.close();
        out.push(Message::Ended(Box::new(traffic)));
    }

    fn buffered(&self) -> usize {
        let stream = match &self.speaks {
            Speaks::Nothing(between) => between.pending.len(),
            Speaks::Http1(http1) => http1.buffered(),
            Speaks::Http2(http2) => http2.buffered(),
            Speaks::WebSocket(socket) => socket.buffered(),
            Speaks::Tls(records) => records.buffered(),
            Speaks::Dns(stream) => stream.buffered(),
        };
        stream + self.datagrams.buffered()
    }
}

/// Reads raw requests, one after another, as they would stand in a file. Says
/// what of the file was not read.
pub fn parse_http1(bytes: &[u8]) -> (Vec<Request>, super::Unread) {
    let mut decoder = Decoder::new(Limits::default(), BootTime::default());
    let mut messages = Vec::new();
    decoder.chunk(Chunk::Data { bytes, begins_send: true }, BootTime::default(), &mut messages);
    decoder.end(&mut messages);

    let mut requests = Vec::new();
    let mut unread = super::Unread::default();
    for message in messages {
        match message {
            Message::Request(request) => requests.push(request),
            Message::Name(_) => {}
            Message::Ended(traffic) => unread = traffic.unread,
        }
    }
    (requests, unread)
}
