//! Connections, and which side of each is the client.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
};

use super::{
    Owner,
    link::{Segment, Tcp},
    order::{Held, Order, Sender},
    pdu::Pdu,
    tls::KeyLog,
};
use crate::recording::{HOOK, unknown_process};
use tracer_core::record::{BootTime, Connection, Event, Process, Record, Transport};

/// Connections followed at a time, as many as the [`stream`](tracer_core::stream)
/// table follows. Each can hold the beginning of a TLS record.
const MAX_FLOWS: usize = 4096;

/// The connections of a capture.
#[derive(Debug, Default)]
pub(super) struct Flows {
    flows: HashMap<Pair, Flow>,
    keys: KeyLog,
    /// Numbers connections.
    count: u64,
    held_bytes: usize,
}

/// The two ends of a connection, the smaller first, and its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Pair(Option<SocketAddr>, Option<SocketAddr>, Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Tcp,
    Udp,
    Pdu,
}

impl Pair {
    fn of(a: Option<SocketAddr>, b: Option<SocketAddr>, kind: Kind) -> Self {
        Self(a.min(b), a.max(b), kind)
    }
}

/// A connection.
#[derive(Debug)]
struct Flow {
    number: u64,
    client: Client,
    process: Process,
    last: BootTime,
    order: Order,
}

/// Which side is the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    /// Nothing shows it yet.
    Unknown,
    /// The ports, or who spoke first, suggest this one.
    Guessed(Option<SocketAddr>),
    /// It opened the connection, or spoke like a client.
    Shown(Option<SocketAddr>),
}

impl Flows {
    /// Takes a log of keys. Those of a connection come before its packets.
    pub(super) fn keys(&mut self, log: &[u8]) {
        self.keys.read(log);
    }

    /// Takes a segment of a packet.
    pub(super) fn segment(
        &mut self,
        segment: Segment,
        time: BootTime,
        owner: Option<Owner>,
        out: &mut VecDeque<Event>,
    ) {
        let Segment { from, to, tcp, payload, len } = segment;
        let kind = if tcp.is_some() { Kind::Tcp } else { Kind::Udp };
        let pair = Pair::of(Some(from), Some(to), kind);
        let opens = tcp.filter(|tcp| tcp.syn && tcp.ack.is_none());
        if let Some(tcp) = opens
            && self.flows.get(&pair).is_some_and(|flow| flow.is_another(&tcp))
        {
            self.end(pair, out);
        }
        self.make_room(out);
        let flow = self.flows.entry(pair).or_insert_with(|| Flow::new(&mut self.count));
        flow.last = flow.last.max(time);
        flow.own(owner);
        flow.find_client(Some(from), Some(to), tcp, &payload);
        let is_client = flow.client.is(Some(from));
        let connection = |transport| Connection {
            key: flow.number,
            transport,
            local: Some(if is_client { from } else { to }),
            remote: Some(if is_client { to } else { from }),
        };
        match tcp {
            None if is_client => out.push_back(Event::Sent(Record {
                hook: HOOK,
                time,
                process: flow.process.clone(),
                connection: connection(Transport::Udp),
                within_tls: None,
                position: None,
                offset: 0,
                len: Some(len),
                payload,
            })),
            None => {}
            Some(tcp) => {
                let connection = connection(Transport::Tcp);
                let sender = Sender { connection, process: &flow.process, keys: &self.keys };
                let held = &mut self.held_bytes;
                if is_client {
                    let segment = Held { time, seq: tcp.seq, payload, len, push: tcp.push };
                    flow.order.sent(segment, tcp.syn, &sender, held, out);
                } else if let Some(ack) = tcp.ack {
                    flow.order.tls.answered(&payload);
                    flow.order.acknowledged(ack, &sender, held, out);
                }
            }
        }
    }

    /// Takes plaintext without a packet around it.
    pub(super) fn pdu(
        &mut self,
        pdu: &Pdu,
        time: BootTime,
        owner: Option<Owner>,
        out: &mut VecDeque<Event>,
    ) {
        self.make_room(out);
        let pair = Pair::of(pdu.from, pdu.to, Kind::Pdu);
        let flow = self.flows.entry(pair).or_insert_with(|| Flow::new(&mut self.count));
        flow.last = flow.last.max(time);
        flow.own(owner);
        flow.find_client(pdu.from, pdu.to, None, &pdu.payload);
        if !flow.client.is(pdu.from) {
            return;
        }
        let connection = Connection {
            key: flow.number,
            transport: pdu.transport,
            local: pdu.from,
            remote: pdu.to,
        };
        // Without a place in the connection, each begins a send.
        let begins = pdu.place.is_none() || flow.order.begins || !flow.order.given;
        flow.order.begins = pdu.place.is_none_or(|place| place.push);
        flow.order.given = true;
        let offset = u32::from(!begins);
        out.push_back(Event::Sent(Record {
            hook: HOOK,
            time,
            process: flow.process.clone(),
            connection,
            within_tls: None,
            position: pdu.place.map(|place| place.seq.wrapping_sub(offset)),
            offset,
            len: Some(pdu.len.saturating_add(offset)),
            payload: pdu.payload.clone(),
        }));
    }

    /// There are no more packets: nothing waits any longer.
    pub(super) fn finish(&mut self, out: &mut VecDeque<Event>) {
        let mut pairs: Vec<Pair> = self.flows.keys().copied().collect();
        pairs.sort_unstable();
        pairs.into_iter().for_each(|pair| self.end(pair, out));
    }

    /// How many connections are followed.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.flows.len()
    }

    /// How many segments wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.flows.values().map(|flow| flow.order.waiting()).sum()
    }

    fn end(&mut self, pair: Pair, out: &mut VecDeque<Event>) {
        let Some(mut flow) = self.flows.remove(&pair) else {
            return;
        };
        let (Client::Guessed(Some(client)) | Client::Shown(Some(client))) = flow.client else {
            return;
        };
        let server = if pair.0 == Some(client) { pair.1 } else { pair.0 };
        let connection = Connection {
            key: flow.number,
            transport: Transport::Tcp,
            local: Some(client),
            remote: server,
        };
        let sender = Sender { connection, process: &flow.process, keys: &self.keys };
        while flow.order.release(&sender, &mut self.held_bytes, out) {}
    }

    /// Forgets the half of the connections that were used least recently, where
    /// they are too many: so that no packet costs more than a few steps.
    fn make_room(&mut self, out: &mut VecDeque<Event>) {
        if self.flows.len() < MAX_FLOWS {
            return;
        }
        let mut used: Vec<(BootTime, Pair)> =
            self.flows.iter().map(|(pair, flow)| (flow.last, *pair)).collect();
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
            last: BootTime::default(),
            order: Order::default(),
        }
    }

    /// A connection that the client opens is not this one.
    fn is_another(&self, tcp: &Tcp) -> bool {
        let first = tcp.seq.wrapping_add(1);
        match (self.order.opened, self.order.next) {
            (Some(opened), _) => opened != first,
            (None, next) => next.is_some(),
        }
    }

    fn own(&mut self, owner: Option<Owner>) {
        if let Some(Owner { uid, name }) = owner {
            // As long as the kernel's names.
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
    ) {
        if matches!(self.client, Client::Shown(_)) {
            return;
        }
        let opened = tcp.filter(|tcp| tcp.syn).map(|tcp| tcp.ack.is_none());
        if let Some(sent) = opened.or_else(|| speaks_like_client(payload)) {
            self.client = Client::Shown(if sent { from } else { to });
        } else if self.client == Client::Unknown && !payload.is_empty() {
            let port = |addr: Option<SocketAddr>| addr.map_or(0, |addr| addr.port());
            // Servers listen on low ports; otherwise the client speaks first.
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
    fn is(self, addr: Option<SocketAddr>) -> bool {
        matches!(self, Self::Guessed(client) | Self::Shown(client) if client == addr)
    }
}

/// Whether only clients, or only servers, send such bytes.
fn speaks_like_client(payload: &[u8]) -> Option<bool> {
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
