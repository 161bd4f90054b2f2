//! Connections, and the client of each.

use std::{collections::VecDeque, net::SocketAddr};

use bytes::Bytes;
use foldhash::HashMap;

use super::{
    Owner,
    link::{Segment, Tcp},
    pdu::Pdu,
    quic,
    reassembly::{Context, PendingSegment, Reassembly},
    tls::KeyLog,
};
use crate::recording::{HOOK, unknown_process};
use tracer_core::record::{BootTime, Connection, Event, Process, Record, Transport};

/// Maximum number of connections at a time, the same as in the
/// [`stream`](tracer_core::stream) table. Each can hold the start of a TLS
/// record.
const MAX_FLOWS: usize = 4096;

/// The connections of a capture.
#[derive(Debug, Default)]
pub(super) struct Flows {
    flows: HashMap<Pair, Flow>,
    keys: KeyLog,
    quic: quic::Connections,
    /// Number of connections so far, which is the key of the last one.
    count: u64,
    pending_bytes: usize,
}

/// The two endpoints of a connection, the smaller first, and its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Pair(Option<SocketAddr>, Option<SocketAddr>, Protocol);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Protocol {
    Tcp,
    Udp,
    Pdu,
}

impl Pair {
    fn new(a: Option<SocketAddr>, b: Option<SocketAddr>, protocol: Protocol) -> Self {
        Self(a.min(b), a.max(b), protocol)
    }
}

/// A connection.
#[derive(Debug)]
struct Flow {
    number: u64,
    client: Client,
    process: Process,
    last_used: BootTime,
    stream: Reassembly,
}

/// The side that is the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    /// Not known yet.
    Unknown,
    /// Guessed from the ports, or because it sent first.
    Guessed(Option<SocketAddr>),
    /// Known because it opened the connection or sent what only clients send.
    Known(Option<SocketAddr>),
}

impl Flows {
    /// Creates an empty table that knows these keys.
    pub(super) fn with_keys(keys: KeyLog) -> Self {
        Self { keys, ..Self::default() }
    }

    /// Adds a TLS key log.
    pub(super) fn keys(&mut self, log: &[u8]) {
        self.keys.read(log);
    }

    /// Processes the segment of a packet.
    pub(super) fn segment(
        &mut self,
        segment: Segment,
        time: BootTime,
        owner: Option<Owner>,
        out: &mut VecDeque<Event>,
    ) {
        let Segment { from, to, tcp, payload, len, .. } = segment;
        let protocol = if tcp.is_some() { Protocol::Tcp } else { Protocol::Udp };
        let pair = Pair::new(Some(from), Some(to), protocol);
        let opens = tcp.filter(|tcp| tcp.syn && tcp.ack.is_none());
        if let Some(tcp) = opens
            && self.flows.get(&pair).is_some_and(|flow| flow.is_reopened_by(&tcp))
        {
            self.end(pair, out);
        }
        self.make_room(out);
        let flow = self.flows.entry(pair).or_insert_with(|| Flow::new(&mut self.count));
        flow.last_used = flow.last_used.max(time);
        flow.set_owner(owner);
        flow.find_client(Some(from), Some(to), tcp, &payload, len);
        let is_client = flow.client.is(Some(from));
        let connection = |transport| Connection {
            key: flow.number,
            transport,
            local: Some(if is_client { from } else { to }),
            remote: Some(if is_client { to } else { from }),
        };
        match tcp {
            None if is_client => {
                let is_whole = payload.len() == len as usize;
                let path = (from, to);
                let parts = is_whole
                    .then(|| self.quic.datagram(path, &payload, &self.keys, &mut self.count));
                let datagram = Datagram { time, process: &flow.process };
                let udp = connection(Transport::Udp);
                let Some(parts) = parts.flatten() else {
                    return out.push_back(datagram.record(udp, None, payload, len));
                };
                for quic::Part { bytes, connection, frames } in parts {
                    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                    out.push_back(datagram.record(udp, connection, bytes, len));
                    if let (Some(key), Some(frames)) = (connection, frames) {
                        let connection = Connection { key, transport: Transport::Quic, ..udp };
                        let len = u32::try_from(frames.len()).unwrap_or(u32::MAX);
                        out.push_back(datagram.record(connection, None, frames, len));
                    }
                }
            }
            None => self.quic.server_datagram((to, from), &payload),
            Some(tcp) => {
                let connection = connection(Transport::Tcp);
                let context = Context { connection, process: &flow.process, keys: &self.keys };
                let pending_bytes = &mut self.pending_bytes;
                if is_client {
                    let segment =
                        PendingSegment { time, seq: tcp.seq, payload, len, push: tcp.push };
                    flow.stream.sent(segment, tcp.syn, &context, pending_bytes, out);
                } else if let Some(ack) = tcp.ack {
                    flow.stream.tls.server_data(&payload);
                    flow.stream.acknowledged(ack, len > 0, &context, pending_bytes, out);
                }
            }
        }
    }

    /// Processes an exported PDU.
    pub(super) fn pdu(
        &mut self,
        pdu: &Pdu,
        time: BootTime,
        owner: Option<Owner>,
        out: &mut VecDeque<Event>,
    ) {
        self.make_room(out);
        let pair = Pair::new(pdu.from, pdu.to, Protocol::Pdu);
        let flow = self.flows.entry(pair).or_insert_with(|| Flow::new(&mut self.count));
        flow.last_used = flow.last_used.max(time);
        flow.set_owner(owner);
        flow.find_client(pdu.from, pdu.to, None, &pdu.payload, pdu.len);
        if !flow.client.is(pdu.from) {
            return;
        }
        let connection = Connection {
            key: flow.number,
            transport: pdu.transport,
            local: pdu.from,
            remote: pdu.to,
        };
        // A PDU without a position starts a send.
        let begins =
            pdu.position.is_none() || flow.stream.at_send_start || !flow.stream.has_emitted;
        flow.stream.at_send_start = pdu.position.is_none_or(|position| position.push);
        flow.stream.has_emitted = true;
        let offset = u32::from(!begins);
        out.push_back(Event::Sent(Record {
            hook: HOOK,
            time,
            process: flow.process.clone(),
            connection,
            within_tls: None,
            position: pdu.position.map(|position| position.seq.wrapping_sub(offset)),
            offset,
            len: Some(pdu.len.saturating_add(offset)),
            payload: pdu.payload.clone(),
        }));
    }

    /// Emits everything that waits, at the end of the file.
    pub(super) fn finish(&mut self, out: &mut VecDeque<Event>) {
        let mut pairs: Vec<Pair> = self.flows.keys().copied().collect();
        pairs.sort_unstable();
        pairs.into_iter().for_each(|pair| self.end(pair, out));
    }

    /// Returns the number of connections.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// Returns the number of segments that wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.flows.values().map(|flow| flow.stream.waiting()).sum()
    }

    fn end(&mut self, pair: Pair, out: &mut VecDeque<Event>) {
        let Some(mut flow) = self.flows.remove(&pair) else {
            return;
        };
        let (Client::Guessed(Some(client)) | Client::Known(Some(client))) = flow.client else {
            return;
        };
        let server = if pair.0 == Some(client) { pair.1 } else { pair.0 };
        let connection = Connection {
            key: flow.number,
            transport: Transport::Tcp,
            local: Some(client),
            remote: server,
        };
        let context = Context { connection, process: &flow.process, keys: &self.keys };
        while flow.stream.release(&context, &mut self.pending_bytes, out) {}
    }

    /// Forgets the least recently used half of the connections if there are too
    /// many. Removing half at a time keeps the average cost of a packet constant.
    fn make_room(&mut self, out: &mut VecDeque<Event>) {
        if self.flows.len() < MAX_FLOWS {
            return;
        }
        let mut used: Vec<(BootTime, Pair)> =
            self.flows.iter().map(|(pair, flow)| (flow.last_used, *pair)).collect();
        used.sort_unstable();
        used.truncate(MAX_FLOWS / 2);
        used.into_iter().for_each(|(_, pair)| self.end(pair, out));
    }
}

impl Flow {
    fn new(count: &mut u64) -> Self {
        *count += 1;
        Self {
            number: *count,
            client: Client::Unknown,
            process: unknown_process(),
            last_used: BootTime::default(),
            stream: Reassembly::default(),
        }
    }

    /// Reports whether a SYN opens another connection between the same
    /// endpoints.
    fn is_reopened_by(&self, tcp: &Tcp) -> bool {
        let first = tcp.seq.wrapping_add(1);
        match (self.stream.opened, self.stream.next) {
            (Some(opened), _) => opened != first,
            (None, next) => next.is_some(),
        }
    }

    fn set_owner(&mut self, owner: Option<Owner>) {
        if let Some(Owner { uid, name }) = owner {
            // The kernel's names have less than 16 bytes.
            let end = name.char_indices().map(|(at, c)| at + c.len_utf8()).filter(|&end| end < 16);
            let comm = name.get(..end.max().unwrap_or(0)).unwrap_or_default().to_owned();
            self.process = Process { uid, comm, ..unknown_process() };
        }
    }

    fn find_client(
        &mut self,
        from: Option<SocketAddr>,
        to: Option<SocketAddr>,
        tcp: Option<Tcp>,
        payload: &[u8],
        len: u32,
    ) {
        if matches!(self.client, Client::Known(_)) {
            // The side that accepted the connection may be the one that sends
            // requests, as long as the other has sent nothing.
            let is_reversed = is_from_client(payload) == Some(true)
                && !self.client.is(from)
                && !self.stream.has_emitted
                && self.stream.waiting() == 0;
            if is_reversed {
                self.client = Client::Known(from);
                self.stream = Reassembly::default();
            }
            return;
        }
        let opened = tcp.filter(|tcp| tcp.syn).map(|tcp| tcp.ack.is_none());
        if let Some(sent) = opened.or_else(|| is_from_client(payload)) {
            let client = Client::Known(if sent { from } else { to });
            // A wrong guess leaves positions of the other direction.
            if self.client != Client::Unknown && !client.is(self.client.side()) {
                self.stream = Reassembly::default();
            }
            self.client = client;
        } else if self.client == Client::Unknown && len > 0 {
            let port = |addr: Option<SocketAddr>| addr.map_or(0, |addr| addr.port());
            // Servers listen on low ports. Otherwise, the client sends first.
            let is_low = |port| port < 1024;
            let sent = match (is_low(port(from)), is_low(port(to))) {
                (true, false) => from.is_none(),
                _ => true,
            };
            self.client = Client::Guessed(if sent { from } else { to });
        }
    }
}

impl Client {
    fn side(self) -> Option<SocketAddr> {
        match self {
            Self::Unknown => None,
            Self::Guessed(side) | Self::Known(side) => side,
        }
    }

    fn is(self, addr: Option<SocketAddr>) -> bool {
        matches!(self, Self::Guessed(client) | Self::Known(client) if client == addr)
    }
}

/// The facts that all records of a datagram have in common.
struct Datagram<'a> {
    time: BootTime,
    process: &'a Process,
}

impl Datagram<'_> {
    fn record(
        &self,
        connection: Connection,
        within_tls: Option<u64>,
        payload: Bytes,
        len: u32,
    ) -> Event {
        Event::Sent(Record {
            hook: HOOK,
            time: self.time,
            process: self.process.clone(),
            connection,
            within_tls,
            position: None,
            offset: 0,
            len: Some(len),
            payload,
        })
    }
}

/// Returns whether a client sent these bytes, or `None` if both sides could
/// have sent them.
fn is_from_client(payload: &[u8]) -> Option<bool> {
    const METHODS: [&[u8]; 7] =
        [b"GET /", b"POST /", b"PUT /", b"HEAD /", b"OPTIONS ", b"CONNECT ", b"PRI * HTTP/2"];
    match payload {
        // A handshake record: ClientHello, ServerHello (RFC 8446, section 4).
        [22, 3, _, _, _, 1, ..] => Some(true),
        [22, 3, _, _, _, 2, ..] => Some(false),
        _ if payload.starts_with(b"HTTP/1.") => Some(false),
        _ if METHODS.iter().any(|method| payload.starts_with(method)) => Some(true),
        _ => None,
    }
}
