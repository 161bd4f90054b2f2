//! Byte streams: the data sent on each connection, in order and with known
//! gaps.
//!
//! Heads are truncated by design, records may be lost, and a process may send
//! bytes again that the kernel did not accept. A [`Streams`] table converts
//! [`Record`]s to [`Chunk`]s that state exactly which bytes are known, and
//! passes them to the [`StreamParser`] of their connection.
//!
//! The [`Record::position`] of the next record is interpreted as follows:
//!
//! ```text
//! = the end of the last send   follows directly
//! > the end                    a gap of exactly that many bytes
//! < the end                    the kernel accepted less than requested:
//!                              the overlap is sent again and skipped
//! far off                      another connection with the same key
//! no position                  assumed to follow the last send
//! ```
//!
//! Two situations cannot be detected and are ignored: a send that failed in
//! part and whose remainder is *not* sent again (the following data at these
//! positions is skipped as a repetition), and two threads that send on one
//! socket at the same time and observe the same position.

mod pairing;
mod position;
mod sealed;
mod shares;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use foldhash::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::record::{BootTime, Connection, Hook, Process, Record, Transport};
pub use pairing::Pairing;
use position::{Cursor, Gap, Placement};
use shares::Shares;

/// A part of a byte stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Known bytes.
    Data {
        /// The bytes, at least one.
        bytes: &'a [u8],
        /// Set if the bytes start a send. Nearly every message starts with a
        /// send, so a parser that lost its position can resume here.
        begins_send: bool,
    },
    /// Bytes that were sent but are unknown, with their number if known.
    Gap(Option<u64>),
}

/// A parser that consumes the bytes of one connection. It has no clock; time is
/// taken from the records.
pub trait StreamParser {
    /// Settings shared by all parsers of a table.
    type Settings;
    /// The messages that the parser produces.
    type Message: Dated;

    /// Creates the parser of a connection first seen at `time`.
    fn open(settings: &Self::Settings, connection: &Connection, time: BootTime) -> Self;
    /// Notes that the following data is the ciphertext of a connection whose
    /// plaintext is recorded separately ([`Record::within_tls`]).
    fn within_tls(&mut self) {}
    /// Processes the next part of a byte stream, or a gap.
    fn chunk(&mut self, chunk: Chunk<'_>, time: BootTime, out: &mut Vec<Self::Message>);
    /// Processes a single datagram, or the frames of a QUIC packet, of which `missing` further bytes are
    /// unknown (`None` if their number is unknown too).
    fn datagram(
        &mut self,
        bytes: &[u8],
        missing: Option<u64>,
        time: BootTime,
        out: &mut Vec<Self::Message>,
    );
    /// Emits pending messages if no data has arrived since `before`.
    fn flush(&mut self, before: BootTime, out: &mut Vec<Self::Message>);
    /// Emits everything at the end of the data.
    fn end(&mut self, out: &mut Vec<Self::Message>);
    /// Returns the approximate number of bytes buffered.
    fn buffered(&self) -> usize;
}

/// A message with a known start time.
pub trait Dated {
    /// Returns the time of the record that holds the first byte.
    fn time(&self) -> BootTime;
}

/// A message together with its sender and connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent<M> {
    /// The connection.
    pub connection: Connection,
    /// The hook that captured the first bytes.
    pub hook: Hook,
    /// The process that sent the first bytes.
    pub process: Process,
    /// The message.
    pub message: M,
}

/// Limits of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Maximum number of connections followed. A browser has a few hundred.
    pub connections: usize,
    /// Maximum number of bytes buffered by all parsers together.
    pub buffered: usize,
    /// Time after which an idle connection is dropped. Long, because HTTP/2
    /// cannot be joined late without losses.
    pub idle: Duration,
    /// Time after which an incomplete message is emitted as it is.
    pub stale: Duration,
    /// Time after which the uncaptured remainder of a send counts as sent. It
    /// allows for later pieces, and for the process to repeat what a full
    /// socket buffer refused.
    pub settle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            buffered: 64 << 20,
            idle: Duration::from_secs(60 * 60),
            stale: Duration::from_secs(5),
            settle: Duration::from_millis(250),
        }
    }
}

/// Statistics of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Number of records processed.
    pub records: u64,
    /// Number of connections opened.
    pub opened: u64,
    /// Number of connections dropped early to stay within
    /// [`Limits::connections`].
    pub evicted_for_room: u64,
    /// Number of connections dropped early to stay within [`Limits::buffered`].
    pub evicted_for_memory: u64,
    /// Number of connections dropped because they were idle.
    pub expired: u64,
    /// Number of connection keys reused by another connection.
    pub reused: u64,
    /// Number of bytes sent beyond the captured heads.
    pub cut_bytes: u64,
    /// Number of bytes whose records were lost.
    pub lost_bytes: u64,
    /// Number of gaps of unknown length.
    pub unknown_gaps: u64,
    /// Number of bytes skipped because they were sent again or arrived too
    /// late.
    pub repeated_bytes: u64,
}

/// A table of connections that evicts the least recently used ones, of the user that has the most.
pub struct Streams<S: StreamParser> {
    limits: Limits,
    settings: S::Settings,
    entries: HashMap<Slot, Entry<S>>,
    /// The connections in order of their last send, from [`Entry::turn`] to
    /// key.
    turns: BTreeMap<u64, Slot>,
    shares: Shares,
    next_turn: u64,
    buffered: usize,
    counters: Counters,
    /// Messages that a parser emitted and that have no sender yet; kept to
    /// reuse its allocation.
    messages: Vec<S::Message>,
}

/// Identifies a connection in the table. The addresses of a TCP socket are not
/// included, since the kernel can choose the local one late. An unconnected UDP
/// socket has many peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Slot {
    key: u64,
    transport: Transport,
    peer: Option<SocketAddr>,
}

impl Slot {
    fn new(connection: &Connection) -> Self {
        let peer = match connection.transport {
            Transport::Tcp | Transport::Tls | Transport::Quic | Transport::Raw => None,
            Transport::Udp => connection.remote,
        };
        Self { key: connection.key, transport: connection.transport, peer }
    }
}

#[derive(Debug)]
struct Entry<S> {
    connection: Connection,
    /// The process that sent last, and the hook that captured it.
    process: Process,
    hook: Hook,
    /// Time of the last send.
    last: BootTime,
    turn: u64,
    /// The user that opened it.
    user: u32,
    buffered: usize,
    cursor: Cursor,
    parser: S,
}

impl<S: StreamParser> Streams<S> {
    /// Creates an empty table.
    pub fn new(limits: Limits, settings: S::Settings) -> Self {
        Self {
            limits,
            settings,
            entries: HashMap::default(),
            turns: BTreeMap::new(),
            shares: Shares::default(),
            next_turn: 0,
            buffered: 0,
            counters: Counters::default(),
            messages: Vec::new(),
        }
    }

    /// Processes a record. The records of a connection must arrive
    /// approximately in the order of their sends.
    pub fn push(&mut self, record: &Record, out: &mut Vec<Sent<S::Message>>) {
        self.counters.records += 1;
        let slot = Slot::new(&record.connection);
        let placement = self.entries.get_mut(&slot).map(|entry| {
            match entry.is_compatible(&record.connection) {
                true => entry.cursor.place(record),
                false => Placement::Elsewhere,
            }
        });
        let (gap, skip) = match placement {
            Some(Placement::Here { gap, skip }) => (gap, skip),
            Some(Placement::Elsewhere) => {
                self.counters.reused += 1;
                self.remove(slot, out);
                self.open(slot, record, out)
            }
            None => self.open(slot, record, out),
        };
        let Some(entry) = self.entries.get_mut(&slot) else {
            return;
        };

        let messages = &mut self.messages;
        if record.within_tls.is_some() {
            entry.parser.within_tls();
        }
        match record.connection.transport {
            Transport::Tcp | Transport::Tls => {
                let gap = self.counters.count(&gap);
                if let Some(len) = gap {
                    entry.parser.chunk(Chunk::Gap(len), record.time, messages);
                }
                self.counters.repeated_bytes += skip as u64;
                let begins_send = record.offset == 0 && skip == 0;
                let bytes = record.payload.get(skip..).unwrap_or_default();
                if !bytes.is_empty() {
                    let chunk = Chunk::Data { bytes, begins_send };
                    entry.parser.chunk(chunk, record.time, messages);
                }
            }
            Transport::Udp | Transport::Quic | Transport::Raw => {
                let known = u64::from(record.offset) + record.payload.len() as u64;
                let missing = record.len.map(|len| u64::from(len).saturating_sub(known));
                match missing {
                    Some(missing) => self.counters.cut_bytes += missing,
                    None => self.counters.unknown_gaps += 1,
                }
                entry.parser.datagram(&record.payload, missing, record.time, messages);
            }
        }

        // Data that started before this record was sent by the previous sender.
        let earlier = |message: &S::Message| message.time() < record.time;
        out.extend(messages.drain(..).map(|message| {
            let (hook, process) = match earlier(&message) {
                true => (entry.hook, &entry.process),
                false => (record.hook, &record.process),
            };
            Sent { connection: entry.connection, hook, process: process.clone(), message }
        }));

        entry.connection.learn(&record.connection);
        entry.hook = record.hook;
        if entry.process != record.process {
            entry.process = record.process.clone();
        }
        entry.last = entry.last.max(record.time);
        entry.recount(&mut self.buffered, &mut self.shares);
        self.turns.remove(&entry.turn);
        self.shares.renew(entry.user, entry.turn, self.next_turn);
        entry.turn = self.next_turn;
        self.turns.insert(entry.turn, slot);
        self.next_turn += 1;

        while self.buffered > self.limits.buffered {
            let Some(slot) = self.shares.of_most_bytes() else {
                break;
            };
            self.counters.evicted_for_memory += 1;
            self.remove(slot, out);
        }
    }

    /// Emits messages whose remainder did not arrive within [`Limits::stale`].
    /// Should be called about once a second.
    pub fn flush_stale(&mut self, now: BootTime, out: &mut Vec<Sent<S::Message>>) {
        let settled = before(now, self.limits.settle);
        let stale = before(now, self.limits.stale);
        for slot in self.turns.values() {
            let Some(entry) = self.entries.get_mut(slot) else {
                continue;
            };
            if entry.last <= settled
                && !entry.connection.transport.is_packets()
                && let Some(len) = entry.cursor.settle()
            {
                self.counters.cut_bytes += len;
                entry.parser.chunk(Chunk::Gap(Some(len)), entry.last, &mut self.messages);
            }
            entry.parser.flush(stale, &mut self.messages);
            entry.emit(&mut self.messages, out);
            entry.recount(&mut self.buffered, &mut self.shares);
        }
    }

    /// Drops connections that sent nothing for [`Limits::idle`].
    pub fn expire(&mut self, now: BootTime, out: &mut Vec<Sent<S::Message>>) {
        let idle = before(now, self.limits.idle);
        while let Some(entry) = self.turns.values().next().and_then(|slot| self.entries.get(slot))
            && entry.last <= idle
        {
            self.counters.expired += 1;
            self.remove_oldest(out);
        }
    }

    /// Closes a connection.
    pub fn close(&mut self, connection: &Connection, out: &mut Vec<Sent<S::Message>>) {
        self.remove(Slot::new(connection), out);
    }

    /// Ends every connection at the end of the records.
    pub fn finish(&mut self, out: &mut Vec<Sent<S::Message>>) {
        while !self.turns.is_empty() {
            self.remove_oldest(out);
        }
    }

    /// Returns the statistics so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Returns the current connections, least recently used first.
    pub fn parsers(&self) -> impl Iterator<Item = (&Connection, &S)> {
        let entries = self.turns.values().filter_map(|slot| self.entries.get(slot));
        entries.map(|entry| (&entry.connection, &entry.parser))
    }

    /// Returns the open connections, with the process that sent last on each, and its parser.
    pub fn open_connections(&self) -> impl Iterator<Item = (&Connection, &Process, &S)> {
        self.entries.values().map(|entry| (&entry.connection, &entry.process, &entry.parser))
    }

    /// Returns the approximate number of bytes buffered by all parsers.
    pub fn buffered(&self) -> usize {
        self.buffered
    }

    /// Opens a connection whose bytes are known from this record on.
    fn open(
        &mut self,
        slot: Slot,
        record: &Record,
        out: &mut Vec<Sent<S::Message>>,
    ) -> (Gap, usize) {
        while self.entries.len() >= self.limits.connections.max(1) {
            let Some(slot) = self.shares.of_most_connections() else {
                break;
            };
            self.counters.evicted_for_room += 1;
            self.remove(slot, out);
        }
        self.counters.opened += 1;
        let entry = Entry {
            connection: record.connection,
            process: record.process.clone(),
            hook: record.hook,
            last: record.time,
            turn: self.next_turn,
            user: record.process.uid,
            buffered: 0,
            cursor: Cursor::joined_at(record),
            parser: S::open(&self.settings, &record.connection, record.time),
        };
        self.turns.insert(entry.turn, slot);
        self.shares.add(entry.user, entry.turn, slot);
        self.next_turn += 1;
        self.entries.insert(slot, entry);
        (Gap::NONE, 0)
    }

    fn remove_oldest(&mut self, out: &mut Vec<Sent<S::Message>>) {
        if let Some((_, &slot)) = self.turns.first_key_value() {
            self.remove(slot, out);
        }
    }

    fn remove(&mut self, slot: Slot, out: &mut Vec<Sent<S::Message>>) {
        let Some(mut entry) = self.entries.remove(&slot) else {
            return;
        };
        self.turns.remove(&entry.turn);
        self.shares.remove(entry.user, entry.turn, entry.buffered);
        self.buffered -= entry.buffered;
        let rest = match entry.cursor.is_open() {
            true => Gap::Unknown,
            false => Gap::Counted { cut: entry.cursor.settle().unwrap_or(0), lost: 0 },
        };
        if !entry.connection.transport.is_packets()
            && let Some(len) = self.counters.count(&rest)
        {
            entry.parser.chunk(Chunk::Gap(len), entry.last, &mut self.messages);
        }
        entry.parser.end(&mut self.messages);
        entry.emit(&mut self.messages, out);
    }
}

impl<S: StreamParser> Entry<S> {
    /// Reports whether the addresses are compatible with this connection.
    fn is_compatible(&self, other: &Connection) -> bool {
        // A QUIC connection survives changes of its addresses (RFC 9000 section 9).
        if other.transport == Transport::Quic {
            return true;
        }
        let differ =
            |a: Option<SocketAddr>, b: Option<SocketAddr>| a.is_some() && b.is_some() && a != b;
        !differ(self.connection.local, other.local) && !differ(self.connection.remote, other.remote)
    }

    fn emit(&self, messages: &mut Vec<S::Message>, out: &mut Vec<Sent<S::Message>>) {
        out.extend(messages.drain(..).map(|message| Sent {
            connection: self.connection,
            hook: self.hook,
            process: self.process.clone(),
            message,
        }));
    }

    fn recount(&mut self, total: &mut usize, shares: &mut Shares) {
        let now = self.parser.buffered();
        *total = *total - self.buffered + now;
        shares.recount(self.user, self.buffered, now);
        self.buffered = now;
    }
}

impl Connection {
    /// Fills in addresses that were unknown.
    fn learn(&mut self, other: &Self) {
        self.local = self.local.or(other.local);
        self.remote = self.remote.or(other.remote);
    }
}

impl Counters {
    /// Counts a gap. Returns the length to report to the parser, if there is a
    /// gap.
    fn count(&mut self, gap: &Gap) -> Option<Option<u64>> {
        match *gap {
            Gap::Counted { cut: 0, lost: 0 } => None,
            Gap::Counted { cut, lost } => {
                self.cut_bytes += cut;
                self.lost_bytes += lost;
                Some(Some(cut + lost))
            }
            Gap::Unknown => {
                self.unknown_gaps += 1;
                Some(None)
            }
        }
    }
}

fn before(now: BootTime, age: Duration) -> BootTime {
    BootTime(now.0.saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(u64::MAX)))
}
