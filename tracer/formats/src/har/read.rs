//! HAR 1.2 (the HTTP archive format), as the tools write it.
//!
//! ```text
//! { "log": { "creator": …, "pages": […], "entries": [
//!     { "startedDateTime": …, "request": {…}, "response": {…}, "_webSocketMessages": […] },
//!     … ] } }
//! ```
//!
//! Of each entry the request and the messages that a WebSocket's client sent
//! are read; responses, often most of a file, are read over. The format has no
//! word for a body that is no text, nor for one that is missing: `body` has
//! what the tools made of that.

mod body;
mod order;
mod request;
mod time;
#[cfg(test)]
mod tests;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::BufRead,
    net::{IpAddr, SocketAddr},
};

use self::order::Order;
use crate::{
    ReadError,
    json::{self, Value},
    recording::{HOOK, unknown_process},
};
use tracer_core::{
    proto::{Protocol, Request, ws},
    record::{BootTime, Connection, Transport},
    stream::Sent,
};

/// What of a file was read, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Entries.
    pub entries: u64,
    /// Those without a request that says whom it asks for what.
    pub unreadable: u64,
    /// Those with more in them than is kept.
    pub shortened: u64,
}

impl Counters {
    /// What was not read and should have been, for people.
    pub fn explain(&self) -> impl Iterator<Item = String> {
        [
            (self.unreadable, "entries do not say who was asked for what over HTTP"),
            (self.shortened, "entries hold more than is kept of one"),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
    }
}

/// Reads a file.
#[derive(Debug)]
pub struct Reader<R> {
    json: json::Reader<R>,
    place: Place,
    /// Requests that may not be the next.
    order: Order<Sent<Request>>,
    /// The WebSocket whose messages come next.
    socket: Option<Socket>,
    /// What ends the file early; told once all before it is given out.
    end: Option<ReadError>,
    counters: Counters,
    /// When the last entry began: one without a time is taken to follow it.
    last: BootTime,
}

/// Where in a file the reader is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Start,
    /// Among the entries; whether none came yet.
    Entries {
        first: bool,
    },
    End,
}

/// An entry, as far as it was read.
#[derive(Debug, Default)]
struct Entry {
    started: Option<BootTime>,
    request: Value,
    server: Option<IpAddr>,
    connection: Vec<u8>,
    messages: Value,
    /// More was in it than is kept.
    shortened: bool,
    /// The file ends, or breaks, within the request.
    cut: bool,
    /// Chromium's developer tools wrote it.
    of_chromium: bool,
}

impl<R: BufRead> Reader<R> {
    /// Reads from the file's beginning.
    pub fn new(from: R) -> Self {
        Self {
            json: json::Reader::new(from),
            place: Place::Start,
            order: Order::default(),
            socket: None,
            end: None,
            counters: Counters::default(),
            last: BootTime::default(),
        }
    }

    /// The next request, in the order of time as far as the file is nearly in
    /// it; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read further. What was read before was given
    /// out before.
    pub fn request(&mut self) -> Result<Option<Sent<Request>>, ReadError> {
        loop {
            if let Some(sent) = self.order.overflow() {
                return Ok(Some(sent));
            }
            // One by one: each message brings its handshake's head.
            if let Some(sent) = self.socket.as_mut().and_then(Socket::next) {
                self.wait(sent);
                continue;
            }
            self.socket = None;
            if self.place == Place::End {
                return match self.order.pop() {
                    Some(sent) => Ok(Some(sent)),
                    None => self.end.take().map_or(Ok(None), Err),
                };
            }
            if let Err(err) = self.step() {
                self.place = Place::End;
                self.end = Some(err);
            }
        }
    }

    /// What was read so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn step(&mut self) -> Result<(), ReadError> {
        self.place = match self.place {
            Place::Start => {
                self.find_entries()?;
                Place::Entries { first: true }
            }
            Place::Entries { first } if self.json.next_element(first)? => {
                let mut entry = Entry::default();
                let read = entry.read(&mut self.json);
                // Also when the file ends in it: what is known of it counts.
                self.take(entry);
                read?;
                Place::Entries { first: false }
            }
            Place::Entries { .. } | Place::End => Place::End,
        };
        Ok(())
    }

    /// Goes to the first entry.
    fn find_entries(&mut self) -> Result<(), ReadError> {
        const NONE: ReadError =
            ReadError::WrongFormat("this JSON is no HAR: it has no log.entries");
        self.json.skip_byte_order_mark()?;
        for (name, bracket) in [("log", b'{'), ("entries", b'[')] {
            if name == "log" && !self.json.enter(b'{')? {
                return Err(NONE);
            }
            let mut first = true;
            loop {
                match self.json.next_name(first)? {
                    Some(found) if found == name => break,
                    Some(_) => self.json.skip()?,
                    None => return Err(NONE),
                }
                first = false;
            }
            if !self.json.enter(bracket)? {
                return Err(NONE);
            }
        }
        Ok(())
    }

    fn take(&mut self, entry: Entry) {
        self.counters.entries += 1;
        self.counters.shortened += u64::from(entry.shortened);
        let time = entry.started.unwrap_or(self.last);
        self.last = time;
        let Some((mut request, transport)) = request::request(&entry.request, time, entry.cut)
        else {
            self.counters.unreadable += 1;
            return;
        };
        if entry.of_chromium && transport == Transport::Tls {
            request::without_provisional(&mut request);
        }
        let connection = entry.connection(&request, transport);
        let sent = Sent { connection, hook: HOOK, process: unknown_process(), message: request };
        if let Value::List(messages) = entry.messages {
            self.socket = Some(Socket { handshake: sent.clone(), messages: messages.into_iter() });
        }
        self.wait(sent);
    }

    fn wait(&mut self, sent: Sent<Request>) {
        self.order.push(sent.message.time, cost(&sent.message), sent);
    }
}

impl Entry {
    /// Reads the entry that comes next.
    fn read(&mut self, json: &mut json::Reader<impl BufRead>) -> Result<(), ReadError> {
        if !json.enter(b'{')? {
            return json.skip();
        }
        let mut first = true;
        while let Some(name) = json.next_name(first)? {
            first = false;
            match &*name {
                "request" => {
                    self.cut = true;
                    self.cut = json.value(&mut self.request)?;
                    self.shortened |= self.cut;
                }
                "_webSocketMessages" => self.shortened |= json.value(&mut self.messages)?,
                // What it says is the tool's opinion.
                "_initiator" => {
                    self.of_chromium = true;
                    json.skip()?;
                }
                "startedDateTime" => self.started = word(json)?.and_then(|text| time::parse(&text)),
                "serverIPAddress" => self.server = word(json)?.and_then(|text| address(&text)),
                "connection" => self.connection = word(json)?.unwrap_or_default(),
                _ => json.skip()?,
            }
        }
        Ok(())
    }

    /// The connection, as far as the file tells: the tool's name for it, or the
    /// server's.
    fn connection(&self, request: &Request, transport: Transport) -> Connection {
        let mut hasher = DefaultHasher::new();
        (&self.connection, &request.authority).hash(&mut hasher);
        let port = || match (request.authority.as_deref()?.rsplit_once(':'), transport) {
            (Some((_, port)), _) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok(),
            (_, Transport::Tls) => Some(443),
            (_, Transport::Tcp | Transport::Udp) => Some(80),
        };
        let remote = self.server.and_then(|ip| Some(SocketAddr::new(ip, port()?)));
        Connection { key: hasher.finish(), transport, local: None, remote }
    }
}

/// A string; a number is taken for one.
fn word(json: &mut json::Reader<impl BufRead>) -> Result<Option<Vec<u8>>, ReadError> {
    let mut value = Value::Null;
    json.value(&mut value)?;
    Ok(match value {
        Value::Text(text) if !text.cut => Some(text.bytes),
        Value::Scalar(scalar) => Some(scalar.into_bytes()),
        _ => None,
    })
}

/// An address; DevTools puts those of IPv6 in brackets.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The messages that the client of a WebSocket sent, as DevTools and mitmproxy
/// write them: `{"type":"send","time":seconds,"opcode":1 or 2,"data":text or base64}`.
#[derive(Debug)]
struct Socket {
    handshake: Sent<Request>,
    messages: std::vec::IntoIter<Value>,
}

impl Socket {
    /// The next message that was sent.
    fn next(&mut self) -> Option<Sent<Request>> {
        let Self { handshake, messages } = self;
        messages.find_map(|message| {
            let sent = |kind: &json::Text| matches!(&kind.bytes[..], b"send" | b"request");
            message.text("type").filter(|kind| sent(kind))?;
            let kind = match message.number("opcode") {
                Some(2.0) => ws::MessageKind::Binary,
                _ => ws::MessageKind::Text,
            };
            let (body, unread_bytes) = body::message(message.text("data")?, kind);
            let opened = handshake.message.time;
            let time = message.number("time").and_then(time::seconds).unwrap_or(opened);
            let message = ws::Message { time: time.max(opened), kind, body, unread_bytes };
            let message = message.into_request(&handshake.message);
            Some(Sent { message, process: handshake.process.clone(), ..*handshake })
        })
    }
}

/// What a request costs in memory, roughly.
fn cost(request: &Request) -> usize {
    let fields = request.headers.iter().map(|field| field.name.len() + field.value.len() + 64);
    size_of::<Sent<Request>>()
        + request.target().len()
        + request.body.data.len()
        + fields.sum::<usize>()
}

/// The protocol by the name that a tool gives it.
fn protocol(version: &[u8]) -> Protocol {
    let version = version.to_ascii_lowercase();
    match &version[..] {
        b"http/2" | b"http/2.0" | b"h2" | b"h2c" => Protocol::Http2,
        b"http/3" | b"http/3.0" | b"h3" => Protocol::Http3,
        // Also "unknown", and those that are no HTTP ("blob", "data").
        _ => Protocol::Http1,
    }
}
