//! Reads the requests of a HAR, and the messages that clients sent over a
//! WebSocket. Responses, often the largest part of a file, are skipped.

mod body;
mod headers;
mod outcome;
mod protocol;
mod request;
mod time;
mod time_queue;
#[cfg(test)]
mod tests;

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::BufRead,
    net::{IpAddr, SocketAddr},
};

use self::{outcome::Outcome, time_queue::TimeQueue};
use crate::{
    ReadError,
    json::{self, Value},
    recording::{HOOK, unknown_process},
};
use tracer_core::{
    proto::{HeadCut, NeverSent, Request, ws},
    record::{BootTime, Connection, Transport},
    stream::Sent,
    wording::counted,
};

/// Counts of what was read from a file, and of what was not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Number of entries.
    pub entries: u64,
    /// Number of entries without a request that has an HTTP URL.
    pub unreadable: u64,
    /// Number of entries that exceed a limit and were read in part.
    pub shortened: u64,
    /// Number of entries without a readable time.
    pub untimed: u64,
    /// Number of entries whose list of header fields is missing or incomplete.
    pub headless: u64,
    /// Number of requests that were blocked.
    pub blocked: u64,
    /// Number of requests for which there was no connection.
    pub failed: u64,
    /// Number of requests that a cache answered.
    pub cached: u64,
    /// Number of requests that were answered on the device.
    pub local: u64,
}

impl Counters {
    /// Describes what could not be read or was not sent, one line for each kind.
    pub fn explain(&self) -> impl Iterator<Item = String> {
        [
            (self.unreadable, "entry", "without a request with an HTTP URL"),
            (self.shortened, "entry", "larger than the limit, and read in part"),
            (self.untimed, "entry", "without a readable time: the order is that of the file"),
            (self.headless, "entry", "without a complete list of header fields: the sender is known only if fields prove it"),
            (self.blocked, "request", "never sent: blocked"),
            (self.failed, "request", "never sent: the connection failed"),
            (self.cached, "request", "never sent: answered from a cache"),
            (self.local, "request", "never sent: answered on the device"),
        ]
        .into_iter()
        .filter(|(count, ..)| *count > 0)
        .map(|(count, what, why)| format!("{} {why}", counted(count, what)))
    }

    fn never_sent(&mut self, reason: Option<NeverSent>) {
        match reason {
            Some(NeverSent::Blocked) => self.blocked += 1,
            Some(NeverSent::Failed) => self.failed += 1,
            Some(NeverSent::Cached) => self.cached += 1,
            Some(NeverSent::Local) => self.local += 1,
            None => {}
        }
    }
}

/// Reads a HAR file.
#[derive(Debug)]
pub struct Reader<R> {
    json: json::Reader<R>,
    position: Position,
    /// Requests that wait for earlier ones.
    queue: TimeQueue<Sent<Request>>,
    /// WebSocket messages of the last entry.
    messages: Option<SentMessages>,
    /// Error that ended the file, to be returned after everything before it.
    error: Option<ReadError>,
    counters: Counters,
    /// Start of the last entry, used for entries without a time.
    last_started: BootTime,
}

/// Position of the reader in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Position {
    Start,
    /// In the list of entries. `first` is set before the first entry.
    Entries {
        first: bool,
    },
    End,
}

/// The parts of an entry that were read.
#[derive(Debug, Default)]
struct Entry {
    started: Option<BootTime>,
    request: Value,
    server: Option<IpAddr>,
    connection: Vec<u8>,
    messages: Value,
    /// Set if a part exceeds a limit.
    shortened: bool,
    /// Set if the request is incomplete: the file ends within it, is damaged
    /// there, or the request exceeds a limit.
    cut: bool,
    /// Set if Chromium's developer tools wrote the entry.
    from_chromium: bool,
    outcome: Outcome,
}

impl<R: BufRead> Reader<R> {
    /// Creates a reader at the start of a file.
    pub fn new(from: R) -> Self {
        Self {
            json: json::Reader::new(from),
            position: Position::Start,
            queue: TimeQueue::default(),
            messages: None,
            error: None,
            counters: Counters::default(),
            last_started: BootTime::default(),
        }
    }

    /// Returns the next request, or `None` at the end. Requests are returned in
    /// the order of time if the file is nearly in that order.
    ///
    /// # Errors
    /// Returns an error if the rest of the file cannot be read. All requests
    /// before the error have been returned then.
    pub fn request(&mut self) -> Result<Option<Sent<Request>>, ReadError> {
        loop {
            if let Some(sent) = self.queue.overflow() {
                return Ok(Some(sent));
            }
            // One at a time, because each message carries the handshake's head.
            if let Some(sent) = self.messages.as_mut().and_then(SentMessages::next) {
                self.enqueue(sent);
                continue;
            }
            self.messages = None;
            if self.position == Position::End {
                return match self.queue.pop() {
                    Some(sent) => Ok(Some(sent)),
                    None => self.error.take().map_or(Ok(None), Err),
                };
            }
            if let Err(err) = self.step() {
                self.position = Position::End;
                self.error = Some(err);
            }
        }
    }

    /// Returns the counts so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn step(&mut self) -> Result<(), ReadError> {
        self.position = match self.position {
            Position::Start => {
                self.find_entries()?;
                Position::Entries { first: true }
            }
            Position::Entries { first } if self.json.next_element(first)? => {
                let mut entry = Entry::default();
                let read = entry.read(&mut self.json);
                // An entry that is cut is returned as well.
                self.entry(entry);
                read?;
                Position::Entries { first: false }
            }
            Position::Entries { .. } | Position::End => Position::End,
        };
        Ok(())
    }

    /// Moves to the first entry.
    fn find_entries(&mut self) -> Result<(), ReadError> {
        const NOT_HAR: ReadError =
            ReadError::WrongFormat("this JSON file is not a HAR: log.entries is missing");
        self.json.skip_byte_order_mark()?;
        for (name, bracket) in [("log", b'{'), ("entries", b'[')] {
            if name == "log" && !self.json.enter(b'{')? {
                return Err(NOT_HAR);
            }
            let mut first = true;
            loop {
                match self.json.next_name(first)? {
                    Some(found) if found == name => break,
                    Some(_) => self.json.skip()?,
                    None => return Err(NOT_HAR),
                }
                first = false;
            }
            if !self.json.enter(bracket)? {
                return Err(NOT_HAR);
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: Entry) {
        self.counters.entries += 1;
        self.counters.shortened += u64::from(entry.shortened);
        self.counters.untimed += u64::from(entry.started.is_none() && !entry.cut);
        let time = entry.started.unwrap_or(self.last_started);
        self.last_started = time;
        let Some((mut request, transport)) = request::request(&entry.request, time, entry.cut)
        else {
            self.counters.unreadable += 1;
            return;
        };
        if headers::are_provisional(&request, transport, entry.from_chromium) {
            request.head_cut = request.head_cut.or(Some(HeadCut::Fields));
            request.complete = false;
        }
        self.counters.headless += u64::from(request.head_cut.is_some() && !entry.cut);
        request.never_sent = entry.outcome.never_sent();
        self.counters.never_sent(request.never_sent);
        let connection = entry.connection(&request, transport);
        let sent = Sent { connection, hook: HOOK, process: unknown_process(), message: request };
        if let Value::List(messages) = entry.messages {
            self.messages =
                Some(SentMessages { handshake: sent.clone(), messages: messages.into_iter() });
        }
        self.enqueue(sent);
    }

    fn enqueue(&mut self, sent: Sent<Request>) {
        self.queue.push(sent.message.time, cost(&sent.message), sent);
    }
}

impl Entry {
    /// Reads the next entry.
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
                // Its content is the tool's conclusion, not a fact.
                "_initiator" => {
                    self.from_chromium = true;
                    json.skip()?;
                }
                "startedDateTime" => {
                    self.started = string(json)?.and_then(|text| time::parse(&text))
                }
                "response" => self.outcome.read_response(json)?,
                "serverIPAddress" => self.server = string(json)?.and_then(|text| parse_ip(&text)),
                "connection" => self.connection = string(json)?.unwrap_or_default(),
                name if self.outcome.read_member(name, json)? => {}
                _ => json.skip()?,
            }
        }
        Ok(())
    }

    /// Identifies the connection by the tool's name for it and the authority of
    /// the request.
    fn connection(&self, request: &Request, transport: Transport) -> Connection {
        let mut hasher = DefaultHasher::new();
        (&self.connection, &request.authority).hash(&mut hasher);
        let port = || match (request.authority.as_deref()?.rsplit_once(':'), transport) {
            (Some((_, port)), _) if port.bytes().all(|b| b.is_ascii_digit()) => port.parse().ok(),
            (_, Transport::Tls | Transport::Quic) => Some(443),
            (_, Transport::Tcp | Transport::Udp | Transport::Raw) => Some(80),
        };
        let remote = self.server.and_then(|ip| Some(SocketAddr::new(ip, port()?)));
        Connection { key: hasher.finish(), transport, local: None, remote }
    }
}

/// Reads a string, or a number as a string.
fn string(json: &mut json::Reader<impl BufRead>) -> Result<Option<Vec<u8>>, ReadError> {
    let mut value = Value::Null;
    json.value(&mut value)?;
    Ok(match value {
        Value::Text(text) if !text.cut => Some(text.bytes),
        Value::Scalar(scalar) => Some(scalar.into_bytes()),
        _ => None,
    })
}

/// Parses an IP address. DevTools writes IPv6 addresses in brackets.
fn parse_ip(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?;
    text.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// The messages that the client of a WebSocket sent. DevTools and mitmproxy
/// write all messages as `{"type":"send","time":seconds,"opcode":1 or 2,"data":text or base64}`.
#[derive(Debug)]
struct SentMessages {
    handshake: Sent<Request>,
    messages: std::vec::IntoIter<Value>,
}

impl SentMessages {
    /// Returns the next message that the client sent.
    fn next(&mut self) -> Option<Sent<Request>> {
        let Self { handshake, messages } = self;
        messages.find_map(|message| {
            let is_sent = |kind: &json::Text| matches!(&kind.bytes[..], b"send" | b"request");
            message.text("type").filter(|kind| is_sent(kind))?;
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

/// Estimates the memory of a request.
fn cost(request: &Request) -> usize {
    let fields = request.headers.iter().map(|field| field.name.len() + field.value.len() + 64);
    size_of::<Sent<Request>>()
        + request.target().len()
        + request.body.data.len()
        + fields.sum::<usize>()
}
