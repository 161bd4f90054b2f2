//! The decoder of a connection: detects the protocol and reads the messages.

mod datagrams;
mod http;
mod http3;
#[cfg(test)]
pub(super) mod tests;

use self::datagrams::Datagrams;
use self::http::{Http1, Http2, WebSocket};
use self::http3::Http3;
use super::detect::{self, DECISIVE_LEN, Detected};
use super::http1::{Next, Progress, RequestReader};
use super::{NameSource, Request, ServerName, Traffic, dns, h2, tls};
use crate::record::{BootTime, Connection, Transport};
use crate::stream::{Chunk, Dated, StreamParser};

/// A message from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A server name sent in plaintext: once per TLS or QUIC connection, and in
    /// every DNS query.
    Name(ServerName),
    /// The end of the connection, with an account of all its bytes.
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

/// Limits on what the parsers keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of body bytes kept; the rest is counted. Reports are
    /// smaller, and uploads are not of interest.
    pub body: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { body: 1 << 20 }
    }
}

/// Reads everything that one connection sends.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    state: ProtocolState,
    datagrams: Datagrams,
    /// The connection whose packets are read before encryption.
    http3: Option<Box<Http3>>,
    /// Set for sends that belong to no connection that is read.
    is_raw: bool,
    /// Set if the connection goes to a DNS port.
    to_dns: bool,
    /// Set once HTTP was sent in plaintext, after which TLS cannot start.
    is_cleartext: bool,
    /// Set if the plaintext of this TLS connection is captured separately.
    within_tls: bool,
    /// Time of the most recent data.
    last: BootTime,
    traffic: Traffic,
}

/// The protocol that the next byte belongs to.
#[derive(Debug)]
enum ProtocolState {
    /// No known protocol, or a boundary between messages.
    Undetected(Boundary),
    Http1(Http1),
    Http2(Box<Http2>),
    WebSocket(Box<WebSocket>),
    Tls(Box<tls::Records>),
    Dns(dns::Stream),
}

/// A position at which a message may start.
#[derive(Debug, Default)]
struct Boundary {
    /// Set if the next byte starts a message. Otherwise only the start of a
    /// send can.
    aligned: bool,
    /// The start of a message, with fewer than [`DECISIVE_LEN`] bytes and too
    /// short to identify the protocol, and the time of its first byte.
    pending: Vec<u8>,
    since: BootTime,
}

impl ProtocolState {
    /// Returns the state at the start of a message.
    fn message_start() -> Self {
        Self::Undetected(Boundary { aligned: true, ..Boundary::default() })
    }

    /// Returns the state at an unknown position.
    fn lost() -> Self {
        Self::Undetected(Boundary::default())
    }
}

impl Decoder {
    /// Creates a decoder for a connection first seen at `time`.
    pub fn new(limits: Limits, time: BootTime) -> Self {
        Self {
            limits,
            state: ProtocolState::lost(),
            datagrams: Datagrams::default(),
            http3: None,
            is_raw: false,
            to_dns: false,
            is_cleartext: false,
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
            if self.starts_other_message(bytes, begins_send) {
                self.switch_to(ProtocolState::message_start(), out);
            }
            let used = match &mut self.state {
                ProtocolState::Undetected(_) => self.detect(bytes, begins_send, time, out),
                ProtocolState::Http1(_) => self.read_http1(bytes, begins_send, out),
                ProtocolState::Http2(http2) => {
                    http2.data(bytes, begins_send, time, out);
                    bytes.len()
                }
                ProtocolState::WebSocket(socket) => {
                    socket.data(bytes, begins_send, time, out);
                    bytes.len()
                }
                ProtocolState::Tls(records) => {
                    let name = records.data(bytes, begins_send);
                    report_name(name, &mut self.traffic, out);
                    bytes.len()
                }
                ProtocolState::Dns(_) => self.read_dns(bytes, time, out),
            };
            bytes = bytes.get(used..).unwrap_or_default();
            begins_send &= used == 0;
        }
    }

    /// Reports whether the bytes start a message that cannot belong to the
    /// current protocol state. This happens if another connection has the same
    /// key, or if the server refused to switch to WebSocket. HTTP/1 detects it
    /// by itself.
    fn starts_other_message(&self, bytes: &[u8], begins_send: bool) -> bool {
        match &self.state {
            ProtocolState::Undetected(_) | ProtocolState::Http1(_) => false,
            // Pages control the content of frames, but not their start. For the
            // preface, see `http1`.
            ProtocolState::Http2(http2) => {
                begins_send
                    && (detect::is_http2(bytes) || !http2.in_frame() && detect::is_message(bytes))
            }
            ProtocolState::WebSocket(socket) => {
                (begins_send || !socket.has_frames) && detect::is_message(bytes)
            }
            ProtocolState::Tls(_) | ProtocolState::Dns(_) => {
                begins_send && detect::is_message(bytes)
            }
        }
    }

    /// Detects the protocol of a message. Returns the number of bytes consumed,
    /// or 0 if the protocol was identified and should read them.
    fn detect(
        &mut self,
        bytes: &[u8],
        begins_send: bool,
        time: BootTime,
        out: &mut Vec<Message>,
    ) -> usize {
        let ProtocolState::Undetected(boundary) = &mut self.state else {
            return 0;
        };
        let joined = !boundary.aligned;
        if boundary.pending.is_empty() {
            if joined && !begins_send {
                return self.reject(bytes, time, out);
            }
            boundary.since = time;
            boundary.aligned = true;
            // Empty lines may precede a request (RFC 9112 section 2.2).
            let empty = bytes.iter().take_while(|&&b| matches!(b, b'\r' | b'\n')).count();
            if empty > 0 {
                return empty;
            }
        }

        let mut start = std::mem::take(&mut boundary.pending);
        let (since, held) = (boundary.since, start.len());
        start.extend(bytes.iter().take(DECISIVE_LEN.saturating_sub(held)));
        let pending = start.get(..held).unwrap_or_default();
        match detect::detect(&start) {
            Detected::Unclear => {
                boundary.pending = start;
                return bytes.len();
            }
            Detected::Http1 => {
                let mut reader = RequestReader::new(since, self.limits.body);
                // The prefix was too short to contain a complete request.
                reader.data(pending, false);
                self.state = ProtocolState::Http1(Http1::new(reader));
                return 0;
            }
            Detected::Http2 => {
                let mut http2 = Box::<Http2>::default();
                http2.data(&[pending, bytes].concat(), true, since, out);
                self.state = ProtocolState::Http2(http2);
                self.is_cleartext = true;
                return bytes.len();
            }
            Detected::Tls if !self.is_cleartext || self.within_tls => {
                let mut records = Box::new(tls::Records::new(since));
                let name = records.data(pending, true);
                self.state = ProtocolState::Tls(records);
                report_name(name, &mut self.traffic, out);
                return 0;
            }
            Detected::Tls | Detected::Other => {}
        }
        // The held bytes were unrecognised, but the current send may start a
        // message.
        self.traffic.unread.unrecognised += held as u64;
        if held > 0 {
            boundary.aligned = false;
            return if begins_send { 0 } else { self.reject(bytes, time, out) };
        }
        if joined && !self.is_cleartext && h2::recognise(bytes) == h2::Start::Frames {
            self.state = ProtocolState::Http2(Box::default());
            self.is_cleartext = true;
            return 0;
        }
        if self.to_dns && !self.within_tls {
            self.state = ProtocolState::Dns(dns::Stream::default());
            return 0;
        }
        self.reject(bytes, time, out)
    }

    /// Handles bytes that no parser recognises.
    fn reject(&mut self, bytes: &[u8], time: BootTime, out: &mut Vec<Message>) -> usize {
        if self.within_tls {
            self.switch_to(ProtocolState::Tls(Box::new(tls::Records::joined(time))), out);
            return 0;
        }
        self.switch_to(ProtocolState::lost(), out);
        self.traffic.unread.unrecognised += bytes.len() as u64;
        bytes.len()
    }

    /// Continues to read an HTTP/1 request.
    fn read_http1(&mut self, bytes: &[u8], begins_send: bool, out: &mut Vec<Message>) -> usize {
        let ProtocolState::Http1(http1) = &mut self.state else {
            return 0;
        };
        let (used, progress) = http1.data(bytes, begins_send);
        if let Progress::Done(next) = progress {
            self.end_request(next, out);
        }
        used
    }

    /// Continues to read DNS queries.
    fn read_dns(&mut self, bytes: &[u8], time: BootTime, out: &mut Vec<Message>) -> usize {
        let ProtocolState::Dns(stream) = &mut self.state else {
            return 0;
        };
        let mut names = Vec::new();
        let outcome = stream.data(bytes, &mut names);
        out.extend(dns_names(names, time));
        if let Err(dns::NotDns(unread)) = outcome {
            self.traffic.unread.unrecognised += unread;
            self.state = ProtocolState::lost();
        }
        bytes.len()
    }

    fn gap(&mut self, len: Option<u64>, out: &mut Vec<Message>) {
        let missing = len.unwrap_or(0);
        self.traffic.sent += missing;
        self.traffic.unknown_gaps += u64::from(len.is_none());
        if !matches!(self.state, ProtocolState::Tls(_)) {
            self.traffic.missing += missing;
        }
        match &mut self.state {
            ProtocolState::Http1(http1) => {
                if let Progress::Done(next) = http1.gap(len) {
                    self.end_request(next, out);
                }
            }
            ProtocolState::Http2(http2) => http2.gap(len, out),
            ProtocolState::WebSocket(socket) => socket.gap(len, out),
            ProtocolState::Tls(records) => {
                let name = records.gap(len);
                report_name(name, &mut self.traffic, out);
            }
            ProtocolState::Undetected(_) | ProtocolState::Dns(_) => {
                self.traffic.unread.gaps += missing;
                self.switch_to(ProtocolState::lost(), out);
            }
        }
    }

    /// Counts a send that is not read.
    fn raw(&mut self, bytes: &[u8], missing: Option<u64>) {
        let len = bytes.len() as u64 + missing.unwrap_or(0);
        self.traffic.sent += len;
        self.traffic.unread.unrecognised += len;
        self.traffic.unknown_gaps += u64::from(missing.is_none());
    }

    /// Returns the number of bytes that were sent on the connection.
    pub(crate) fn sent(&self) -> u64 {
        self.traffic.sent
    }

    /// Returns the account of the connection so far. Bytes of messages that are not complete count
    /// neither as sent nor as read.
    pub(crate) fn traffic_so_far(&self) -> Traffic {
        let mut traffic = self.traffic.clone();
        self.attribute(&mut traffic);
        traffic.sent = traffic.sent.saturating_sub(self.buffered() as u64);
        traffic.close();
        traffic
    }

    /// Attributes what was sent in TLS to the captures of the TLS library, if it has them.
    fn attribute(&self, traffic: &mut Traffic) {
        if self.within_tls {
            traffic.read_in_plain = std::mem::take(&mut traffic.unread.tls);
        } else {
            traffic.plain_records = 0;
            traffic.plain_overhead = 0;
        }
        traffic.last = self.last;
    }

    /// Emits the finished request and switches to the protocol that follows.
    fn end_request(&mut self, next: Next, out: &mut Vec<Message>) {
        let follows = match next {
            Next::Message | Next::Tunnel | Next::Upgraded => ProtocolState::message_start(),
            Next::Lost { .. } => ProtocolState::lost(),
        };
        let ProtocolState::Http1(http1) = std::mem::replace(&mut self.state, follows) else {
            return;
        };
        let Ok(request) = http1.finish(&next, &mut self.traffic) else {
            return;
        };
        self.is_cleartext = next != Next::Tunnel;
        if let (Next::Upgraded, Some(handshake)) = (next, &request) {
            self.state = ProtocolState::WebSocket(Box::new(WebSocket::new(handshake.clone())));
        }
        out.extend(request.map(Message::Request));
    }

    /// Finishes the current protocol state, emits what remains of it, and
    /// switches.
    fn switch_to(&mut self, next: ProtocolState, out: &mut Vec<Message>) {
        if matches!(self.state, ProtocolState::Http1(_)) {
            self.end_request(Next::Lost { gap: 0 }, out);
        }
        match std::mem::replace(&mut self.state, next) {
            ProtocolState::Undetected(boundary) => {
                self.traffic.unread.unrecognised += boundary.pending.len() as u64;
            }
            ProtocolState::Http1(_) => {}
            ProtocolState::Http2(http2) => http2.finish(&mut self.traffic, out),
            ProtocolState::WebSocket(socket) => socket.finish(&mut self.traffic, out),
            ProtocolState::Tls(mut records) => {
                let name = records.cut();
                report_name(name, &mut self.traffic, out);
                let tally = records.tally();
                self.traffic.handshake += tally.handshake;
                self.traffic.unread.tls += tally.content;
                self.traffic.plain_records += tally.records;
                self.traffic.plain_overhead += tally.overhead;
                self.traffic.refused |= records.was_refused();
            }
            ProtocolState::Dns(stream) => {
                self.traffic.unread.unrecognised += stream.buffered() as u64
            }
        }
    }
}

/// Emits a server name and associates it with the connection.
fn report_name(name: Option<ServerName>, traffic: &mut Traffic, out: &mut Vec<Message>) {
    if let Some(name) = name {
        traffic.server = Some(name.clone());
        out.push(Message::Name(name));
    }
}

/// Converts the names in DNS queries to messages.
fn dns_names(names: Vec<String>, time: BootTime) -> impl Iterator<Item = Message> {
    names.into_iter().map(move |name| {
        let source = NameSource::Dns;
        Message::Name(ServerName { time, source, name, alpn: Vec::new(), ech: false })
    })
}

impl StreamParser for Decoder {
    type Settings = Limits;
    type Message = Message;

    fn open(limits: &Limits, connection: &Connection, time: BootTime) -> Self {
        let to_dns = connection.remote.is_some_and(|addr| dns::PORTS.contains(&addr.port()));
        let http3 = (connection.transport == Transport::Quic).then(Box::default);
        let is_raw = connection.transport == Transport::Raw;
        Self { to_dns, http3, is_raw, ..Self::new(limits.clone(), time) }
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
        if self.is_raw {
            return self.raw(bytes, missing);
        }
        if let Some(http3) = &mut self.http3 {
            return http3.packet(bytes, missing, time, out);
        }
        // Of datagrams, some can be recorded separately and others not.
        if std::mem::take(&mut self.within_tls) {
            self.datagrams.name(bytes, missing, time, &mut self.traffic, out);
        } else {
            self.datagrams.datagram(bytes, missing, self.to_dns, time, &mut self.traffic, out);
        }
    }

    fn flush(&mut self, before: BootTime, out: &mut Vec<Message>) {
        if let Some(http3) = &mut self.http3 {
            return http3.flush(before, out);
        }
        match &mut self.state {
            ProtocolState::Http2(http2) => http2.flush(before, out),
            ProtocolState::Http1(http1) if self.last <= before => http1.flush(out),
            _ => {}
        }
    }

    fn end(&mut self, out: &mut Vec<Message>) {
        self.switch_to(ProtocolState::lost(), out);
        self.datagrams.cut(&mut self.traffic, out);
        if let Some(http3) = self.http3.take() {
            http3.finish(&mut self.traffic, out);
        }
        let mut traffic = std::mem::replace(&mut self.traffic, Traffic::new(self.last));
        self.attribute(&mut traffic);
        traffic.close();
        out.push(Message::Ended(Box::new(traffic)));
    }

    fn buffered(&self) -> usize {
        let stream = match &self.state {
            ProtocolState::Undetected(boundary) => boundary.pending.len(),
            ProtocolState::Http1(http1) => http1.buffered(),
            ProtocolState::Http2(http2) => http2.buffered(),
            ProtocolState::WebSocket(socket) => socket.buffered(),
            ProtocolState::Tls(records) => records.buffered(),
            ProtocolState::Dns(stream) => stream.buffered(),
        };
        let http3 = self.http3.as_ref().map_or(0, |http3| http3.buffered());
        stream + self.datagrams.buffered() + http3
    }
}

/// Parses raw HTTP/1 requests from a file. Returns the requests and an account
/// of the bytes not read.
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
