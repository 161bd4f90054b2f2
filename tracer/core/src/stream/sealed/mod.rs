//! QUIC packets that were captured when they were encrypted: assigns them to connections, and
//! to the datagrams that contain them.
//!
//! ```text
//! seal(context, header, frames) ── header │ ciphertext ── send(datagram)
//!           │         │
//!           └─────────┴─▶ connection          the same context, or the same destination id
//! ```
//!
//! A connection uses several contexts: one for each kind of packets, and more after key
//! updates. It also uses several ids: the client's first, the server's, and more later. Both
//! never change with the same packet, so they lead from one to the next. A context is an
//! address, which another connection can use later; an id is not used again, so it decides.
//!
//! Other encryption can look like that of QUIC. So the packets of a context are read only once
//! one of them was found in a datagram, or when the handshake of its connection was seen.

mod packet;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use tracer_ebpf::SealedHeader;

use self::packet::{Id, Kind, Packet};
use crate::record::{BootTime, Connection, Hook, Record};

/// Maximum number of connections. A browser has a few dozen.
const MAX_CONNECTIONS: usize = 1024;

/// Maximum number of contexts, and of ids, of a connection.
const MAX_NAMES: usize = 16;

/// Maximum number of packets that wait for their datagram. Each costs a comparison with each
/// datagram that holds several packets.
const MAX_WAITING: usize = 128;

/// Time within which a packet is sent after it was encrypted.
const PATIENCE: Duration = Duration::from_secs(1);

/// The sealed packets of all processes. It has bounded memory.
#[derive(Debug, Default)]
pub(super) struct Sealed {
    connections: HashMap<u64, Known>,
    contexts: HashMap<u64, Context>,
    /// The connections by process and destination id.
    ids: HashMap<(u32, Id), u64>,
    waiting: VecDeque<Waiting>,
    /// Number of connections so far.
    count: u64,
}

/// A connection.
#[derive(Debug, Default)]
struct Known {
    contexts: VecDeque<u64>,
    ids: VecDeque<(u32, Id)>,
    last: BootTime,
    /// Number of destination ids in Initial packets, and the last packet number.
    initial_ids: u32,
    initial_number: u32,
    /// Set if its handshake was seen.
    is_opened: bool,
    /// Addresses of the last datagram.
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
}

/// A sealing context, which encrypts packets of one kind.
#[derive(Debug)]
struct Context {
    connection: u64,
    kind: Kind,
    /// Last packet number.
    number: u32,
    /// Set once one of its packets was found in a datagram.
    is_sent: bool,
}

/// A packet that was not found in a datagram yet.
#[derive(Debug)]
struct Waiting {
    packet: Packet,
    tgid: u32,
    context: u64,
    connection: u64,
    time: BootTime,
    /// The frames, if they were not passed on yet.
    frames: Option<Record>,
}

impl Sealed {
    /// Takes a packet that was encrypted, and appends its frames to `out`, if they can be in
    /// streams.
    pub(super) fn seal(&mut self, mut record: Record, out: &mut Vec<Record>) {
        self.expire(record.time, out);
        let Some((header, frames)) = SealedHeader::split(&record.payload) else {
            return;
        };
        let captured = frames.len();
        let Some(len) = record.len.and_then(|len| len.checked_sub(SealedHeader::SIZE as u32))
        else {
            return;
        };
        let Some(packet) = Packet::parse(header, len as usize) else {
            return;
        };
        let (context, tgid, time) = (record.connection.key, record.process.tgid, record.time);
        let certain = record.hook == Hook::AeadSeal;
        let connection = self.identify(&packet, context, tgid, time, certain);
        record.payload = record.payload.slice(record.payload.len() - captured..);
        record.len = Some(len);
        record.connection.key = connection;
        let mut frames = packet.kind.has_streams().then_some(record);
        if self.contexts.get(&context).is_some_and(|context| context.is_sent)
            && let Some(frames) = frames.take()
        {
            self.pass(frames, out);
        }
        if self.waiting.len() >= MAX_WAITING
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.give_up(oldest, out);
        }
        self.waiting.push_back(Waiting { packet, tgid, context, connection, time, frames });
    }

    /// Takes a datagram, and appends it to `out`: as it is, or divided into packets that are
    /// marked as read.
    pub(super) fn datagram(&mut self, record: Record, out: &mut Vec<Record>) {
        self.expire(record.time, out);
        let len = record.len.unwrap_or(0) as usize;
        if self.waiting.is_empty() || record.offset != 0 {
            return out.push(record);
        }
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(found) = self.find(&record, at, len) {
            self.confirm(found, &record.connection, out);
            let Some(found) = self.waiting.remove(found) else {
                break;
            };
            // Clients may pad a datagram behind its packets.
            let end = at + found.packet.len;
            let padded = end + zeros(record.payload.get(end..).unwrap_or_default());
            parts.push((at, padded - at, found.connection));
            at = padded;
        }
        if let Some(&(_, _, connection)) = parts.last()
            && record.payload.len() < len
        {
            for found in self.find_beyond(connection, len - at) {
                self.confirm(found, &record.connection, out);
                // Those before it were removed as well.
                if let Some(found) = self.waiting.remove(found) {
                    parts.push((at, found.packet.len, connection));
                    at += found.packet.len;
                }
            }
        }
        if parts.is_empty() {
            return out.push(record);
        }
        if at < len {
            parts.push((at, len - at, 0));
        }
        out.extend(parts.into_iter().map(|(at, len, connection)| {
            let mut part = record.clone();
            let end = (at + len).min(record.payload.len());
            part.payload = record.payload.slice(at.min(end)..end);
            part.len = u32::try_from(len).ok();
            part.within_tls = (connection != 0).then_some(connection);
            part
        }));
    }

    /// Appends the frames of packets that waited too long to `out`, if they are certain.
    pub(super) fn expire(&mut self, now: BootTime, out: &mut Vec<Record>) {
        while let Some(oldest) =
            self.waiting.pop_front_if(|oldest| now.since(oldest.time) >= PATIENCE)
        {
            self.give_up(oldest, out);
        }
    }

    /// Appends the frames of all packets that wait to `out`, if they are certain.
    pub(super) fn finish(&mut self, out: &mut Vec<Record>) {
        while let Some(oldest) = self.waiting.pop_front() {
            self.give_up(oldest, out);
        }
    }

    /// Returns the position of the waiting packet with which the rest of a datagram begins.
    fn find(&self, record: &Record, at: usize, len: usize) -> Option<usize> {
        let bytes = record.payload.get(at..).filter(|bytes| !bytes.is_empty())?;
        let left = len.checked_sub(at)?;
        let begin = |waiting: &Waiting, bytes: &[u8]| {
            waiting.tgid == record.process.tgid && waiting.packet.begins(bytes)
        };
        let fits = |waiting: &Waiting| waiting.packet.len <= left && begin(waiting, bytes);
        let whole = |waiting: &Waiting| waiting.packet.len == left && fits(waiting);
        if let Some(only) = self.waiting.iter().position(whole) {
            return Some(only);
        }
        // Padding or another packet follows. A send can hold several datagrams (segmentation
        // offload), so this is also true of packets with short headers.
        let is_followed = |waiting: &Waiting| {
            let rest = bytes.get(waiting.packet.len..).unwrap_or_default();
            match rest.get(zeros(rest)..) {
                Some(rest) if !rest.is_empty() => {
                    self.waiting.iter().any(|other| begin(other, rest))
                }
                _ => bytes.len() == left,
            }
        };
        self.waiting.iter().position(|waiting| fits(waiting) && is_followed(waiting))
    }

    /// Returns the positions of the waiting packets that make up the last `left` bytes of a send,
    /// of which only the head was captured, counted without those before them. Empty if the
    /// packets of the connection that follow do not have this length.
    fn find_beyond(&self, connection: u64, mut left: usize) -> Vec<usize> {
        let mut found = Vec::new();
        for (at, waiting) in self.waiting.iter().enumerate() {
            if waiting.connection == connection && waiting.packet.len <= left {
                left -= waiting.packet.len;
                found.push(at - found.len());
            }
        }
        if left == 0 { found } else { Vec::new() }
    }

    /// Notes that a waiting packet was sent, and appends the frames of its context to `out`.
    fn confirm(&mut self, found: usize, path: &Connection, out: &mut Vec<Record>) {
        let Some(Waiting { context, connection, .. }) = self.waiting.get(found) else {
            return;
        };
        let (context, connection) = (*context, *connection);
        if let Some(known) = self.connections.get_mut(&connection) {
            known.local = path.local;
            known.remote = path.remote;
        }
        let is_current = |known: &&mut Context| known.connection == connection;
        if let Some(known) = self.contexts.get_mut(&context).filter(is_current) {
            known.is_sent = true;
        }
        let same = self
            .waiting
            .iter_mut()
            .filter(|waiting| waiting.context == context && waiting.connection == connection);
        let frames: Vec<Record> = same.filter_map(|waiting| waiting.frames.take()).collect();
        frames.into_iter().for_each(|record| self.pass(record, out));
    }

    /// Stops waiting for the datagram of a packet.
    fn give_up(&mut self, waiting: Waiting, out: &mut Vec<Record>) {
        let known = self.connections.get(&waiting.connection);
        if let Some(frames) = waiting.frames
            && known.is_some_and(|known| known.is_opened)
        {
            self.pass(frames, out);
        }
    }

    fn pass(&self, mut frames: Record, out: &mut Vec<Record>) {
        if let Some(known) = self.connections.get(&frames.connection.key) {
            frames.connection.local = known.local;
            frames.connection.remote = known.remote;
        }
        out.push(frames);
    }

    /// Returns the key of the connection to which a packet belongs. It is `certain` that the packet
    /// is encrypted if its function cannot decrypt.
    fn identify(
        &mut self,
        packet: &Packet,
        context: u64,
        tgid: u32,
        time: BootTime,
        certain: bool,
    ) -> u64 {
        let id = (!packet.destination.is_empty()).then_some((tgid, packet.destination));
        let by_id = id.and_then(|id| self.ids.get(&id)).copied();
        let key = match by_id.or_else(|| self.by_context(packet, context)) {
            Some(key) => key,
            None => self.open(context),
        };
        let current = self.contexts.get(&context);
        if current.is_none_or(|known| known.connection != key || known.kind != packet.kind) {
            let (kind, number) = (packet.kind, packet.number);
            self.contexts
                .insert(context, Context { connection: key, kind, number, is_sent: false });
        }
        if let Some(known) = self.contexts.get_mut(&context) {
            known.number = packet.number;
        }
        if let (Some(id), None) = (id, by_id) {
            self.ids.insert(id, key);
        }
        let Some(known) = self.connections.get_mut(&key) else {
            return key;
        };
        known.last = known.last.max(time);
        known.is_opened |= certain && packet.kind != Kind::OneRtt;
        if packet.kind == Kind::Initial {
            known.initial_ids += u32::from(by_id.is_none());
            known.initial_number = known.initial_number.max(packet.number);
        }
        if !known.contexts.contains(&context) {
            known.contexts.push_back(context);
            if known.contexts.len() > MAX_NAMES
                && let Some(oldest) = known.contexts.pop_front()
            {
                forget(&mut self.contexts, &oldest, |context| context.connection == key);
            }
        }
        if let (Some(id), None) = (id, by_id) {
            known.ids.push_back(id);
            if known.ids.len() > MAX_NAMES
                && let Some(oldest) = known.ids.pop_front()
            {
                forget(&mut self.ids, &oldest, |connection| *connection == key);
            }
        }
        key
    }

    /// Returns the connection that uses a context, unless a packet shows that another one uses
    /// it now.
    fn by_context(&self, packet: &Packet, context: u64) -> Option<u64> {
        let context = self.contexts.get(&context).filter(|known| known.kind == packet.kind)?;
        let known = self.connections.get(&context.connection)?;
        let is_other = match packet.kind {
            // The server's id replaces the client's first one. The first packet of another
            // connection has another id too, and the numbers start again.
            Kind::Initial => known.initial_ids > 1 || packet.number <= known.initial_number,
            _ => packet.destination.is_empty() && !packet.is_after(context.number),
        };
        (!is_other).then_some(context.connection)
    }

    /// Opens a connection, and returns its key.
    fn open(&mut self, context: u64) -> u64 {
        if self.connections.len() >= MAX_CONNECTIONS
            && let Some((&oldest, _)) = self.connections.iter().min_by_key(|(_, known)| known.last)
            && let Some(known) = self.connections.remove(&oldest)
        {
            for context in &known.contexts {
                forget(&mut self.contexts, context, |context| context.connection == oldest);
            }
            for id in &known.ids {
                forget(&mut self.ids, id, |connection| *connection == oldest);
            }
        }
        self.count += 1;
        // Contexts are hashes, so the sum is as unlikely to be the key of another connection.
        let key = context.wrapping_add(self.count).max(1);
        self.connections.insert(key, Known::default());
        key
    }
}

/// Returns the number of zeros at the start of `bytes`.
fn zeros(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| **byte == 0).count()
}

/// Removes an entry that still belongs to a connection.
fn forget<K: Eq + std::hash::Hash, V>(
    table: &mut HashMap<K, V>,
    key: &K,
    belongs: impl FnOnce(&V) -> bool,
) {
    if table.get(key).is_some_and(belongs) {
        table.remove(key);
    }
}
