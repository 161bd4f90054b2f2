//! Byte streams: what each connection sent, in order, with known gaps.
//!
//! Heads are cut by design, records can be lost, and a process can send the
//! same bytes again when the kernel did not take them. A [`Streams`] table
//! turns [`Record`]s into [`Chunk`]s that say exactly which bytes are known,
//! and gives them to the [`State`] of their connection.
//!
//! What [`Record::position`] makes of the next record:
//!
//! ```text
//! = the end of the last send   follows directly
//! > the end                    a gap of exactly that many bytes
//! < the end                    the kernel took less than it was asked to:
//!                              the overlap is sent again and skipped
//! far off                      another connection with the same key
//! no position                  follows the last send, as far as anyone knows
//! ```
//!
//! Two things cannot be repaired, and are taken as if they did not happen: a
//! send that failed in part and whose rest is *not* sent again (what follows at
//! those positions is skipped as a repetition), and two threads that send on one
//! socket at once and were both shown the same position.

mod position;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;

use crate::record::{BootTime, Connection, Hook, Process, Record, Transport};
use position::{Cursor, Gap, Place};

/// The next part of a byte stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunk<'a> {
    /// Known bytes.
    Data {
        /// The bytes, at least one.
        bytes: &'a [u8],
        /// They begin a send. A message nearly always begins with a send, so
        /// this is where a parser that lost its place can look for one.
        begins_send: bool,
    },
    /// Bytes that were sent and are not known: how many, if anyone can tell.
    Gap(Option<u64>),
}

/// What consumes one connection's bytes: a parser. It has no clock: the time
/// is that of the record.
pub trait State {
    /// What all states of a table are made with.
    type Settings;
    /// What it makes of the bytes.
    type Message: Dated;

    /// The state of a connection that was first seen now.
    fn open(settings: &Self::Settings, connection: &Connection, time: BootTime) -> Self;
    /// What comes next is the ciphertext of a connection whose plaintext has
    /// records of its own ([`Record::within_tls`]).
    fn within_tls(&mut self) {}
    /// The next bytes of a byte stream, or the lack of them.
    fn chunk(&mut self, chunk: Chunk<'_>, time: BootTime, out: &mut Vec<Self::Message>);
    /// One datagram, of which `missing` more bytes are not known (`None`:
    /// unknown how many). It continues no other.
    fn datagram(
        &mut self,
        bytes: &[u8],
        missing: Option<u64>,
        time: BootTime,
        out: &mut Vec<Self::Message>,
    );
    /// Gives out what it holds back, if nothing has come since `before`.
    fn flush(&mut self, before: BootTime, out: &mut Vec<Self::Message>);
    /// Gives out everything: no more bytes will come.
    fn end(&mut self, out: &mut Vec<Self::Message>);
    /// How many bytes of memory it holds on to, roughly.
    fn buffered(&self) -> usize;
}

/// Something that began to be sent at a known time.
pub trait Dated {
    /// The time of the record that holds its first byte.
    fn time(&self) -> BootTime;
}

/// A message, with who sent it where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent<M> {
    /// On which connection.
    pub connection: Connection,
    /// Where its first bytes were taken.
    pub hook: Hook,
    /// Who sent its first bytes.
    pub process: Process,
    /// What was sent.
    pub message: M,
}

/// What a table may hold on to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Connections followed at a time. A browser holds some hundred.
    pub connections: usize,
    /// Bytes that all states together may buffer.
    pub buffered: usize,
    /// A connection that sent nothing for so long is forgotten. Long, because
    /// HTTP/2 cannot be joined later without loss.
    pub idle: Duration,
    /// A message whose rest did not come for so long is given out as it is.
    pub stale: Duration,
    /// The uncaptured rest of a send counts as sent after so long: enough for
    /// its later pieces to arrive, and for the process to send again what a
    /// full socket buffer refused.
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

/// What a table met and could not hand on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Records pushed.
    pub records: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections forgotten early, to stay within [`Limits::connections`].
    pub evicted_for_room: u64,
    /// Connections forgotten early, to stay within [`Limits::buffered`].
    pub evicted_for_memory: u64,
    /// Connections forgotten because they were idle.
    pub expired: u64,
    /// Connections whose key was seen again with another connection.
    pub reused: u64,
    /// Bytes that processes sent beyond the head that was captured.
    pub cut_bytes: u64,
    /// Bytes whose records never came.
    pub lost_bytes: u64,
    /// Gaps whose length nobody can tell.
    pub unknown_gaps: u64,
    /// Bytes that were sent again, or came too late, and were skipped.
    pub repeated_bytes: u64,
}

/// The connections, least recently used first to go.
pub struct Streams<S: State> {
    limits: Limits,
    settings: S::Settings,
    entries: HashMap<Slot, Entry<S>>,
    /// The connections by when they last sent: [`Entry::turn`] to its slot.
    turns: BTreeMap<u64, Slot>,
    next_turn: u64,
    buffered: usize,
    counters: Counters,
    /// What a state gave out and was not addressed yet; kept for its memory.
    messages: Vec<S::Message>,
}

/// What finds a connection. The addresses of a TCP socket are no part of it,
/// since the kernel can choose the local one late; an unconnected UDP socket
/// has many peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Slot {
    key: u64,
    transport: Transport,
    peer: Option<SocketAddr>,
}

impl Slot {
    fn of(connection: &Connection) -> Self {
        let peer = match connection.transport {
            Transport::Tcp | Transport::Tls => None,
            Transport::Udp => connection.remote,
        };
        Self { key: connection.key, transport: connection.transport, peer }
    }
}

#[derive(Debug)]
struct Entry<S> {
    connection: Connection,
    /// Who sent last, and where that was seen.
    process: Process,
    hook: Hook,
    /// When.
    last: BootTime,
    turn: u64,
    buffered: usize,
    cursor: Cursor,
    state: S,
}

impl<S: State> Streams<S> {
    /// An empty table.
    pub fn new(limits: Limits, settings: S::Settings) -> Self {
        Self {
            limits,
            settings,
            entries: HashMap::new(),
            turns: BTreeMap::new(),
            next_turn: 0,
            buffered: 0,
            counters: Counters::default(),
            messages: Vec::new(),
        }
    }

    /// Takes the next record. Records of one connection come in the order of
    /// their sends, or nearly so.
    pub fn push(&mut self, record: &Record, out: &mut Vec<Sent<S::Message>>) {
        self.counters.records += 1;
        let slot = Slot::of(&record.connection);
        let place =
            self.entries.get_mut(&slot).map(|entry| match entry.could_send(&record.connection) {
                true => entry.cursor.place(record),
                false => Place::Elsewhere,
            });
        let (gap, skip) = match place {
            Some(Place::Here { gap, skip }) => (gap, skip),
            Some(Place::Elsewhere) => {
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
            entry.state.within_tls();
        }
        match record.connection.transport {
            Transport::Tcp | Transport::Tls => {
                let gap = self.counters.count(&gap);
                if let Some(len) = gap {
                    entry.state.chunk(Chunk::Gap(len), record.time, messages);
                }
                self.counters.repeated_bytes += skip as u64;
                let begins_send = record.offset == 0 && skip == 0;
                let bytes = record.payload.get(skip..).unwrap_or_default();
                if !bytes.is_empty() {
                    let chunk = Chunk::Data { bytes, begins_send };
                    entry.state.chunk(chunk, record.time, messages);
                }
            }
            Transport::Udp => {
                let known = u64::from(record.offset) + record.payload.len() as u64;
                let missing = record.len.map(|len| u64::from(len).saturating_sub(known));
                match missing {
                    Some(missing) => self.counters.cut_bytes += missing,
                    None => self.counters.unknown_gaps += 1,
                }
                entry.state.datagram(&record.payload, missing, record.time, messages);
            }
        }

        // What began before this record was sent by whoever sent before it.
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
        entry.recount(&mut self.buffered);
        self.turns.remove(&entry.turn);
        entry.turn = self.next_turn;
        self.turns.insert(entry.turn, slot);
        self.next_turn += 1;

        while self.buffered > self.limits.buffered {
            self.counters.evicted_for_memory += 1;
            self.remove_oldest(out);
        }
    }

    /// Gives out what waits in vain: messages whose rest did not come within
    /// [`Limits::stale`]. To be called about once a second.
    pub fn flush_stale(&mut self, now: BootTime, out: &mut Vec<Sent<S::Message>>) {
        let settled = before(now, self.limits.settle);
        let stale = before(now, self.limits.stale);
        for slot in self.turns.values() {
            let Some(entry) = self.entries.get_mut(slot) else {
                continue;
            };
            if entry.last <= settled
                && let Some(len) = entry.cursor.settle()
            {
                self.counters.cut_bytes += len;
                entry.state.chunk(Chunk::Gap(Some(len)), entry.last, &mut self.messages);
            }
            entry.state.flush(stale, &mut self.messages);
            entry.address(&mut self.messages, out);
            entry.recount(&mut self.buffered);
        }
    }

    /// Forgets connections that sent nothing for [`Limits::idle`].
    pub fn expire(&mut self, now: BootTime, out: &mut Vec<Sent<S::Message>>) {
        let idle = before(now, self.limits.idle);
        while let Some(entry) = self.turns.values().next().and_then(|slot| self.entries.get(slot))
            && entry.last <= idle
        {
            self.counters.expired += 1;
            self.remove_oldest(out);
        }
    }

    /// The connection is closed.
    pub fn close(&mut self, connection: &Connection, out: &mut Vec<Sent<S::Message>>) {
        self.remove(Slot::of(connection), out);
    }

    /// There are no more records: ends every connection.
    pub fn finish(&mut self, out: &mut Vec<Sent<S::Message>>) {
        while !self.turns.is_empty() {
            self.remove_oldest(out);
        }
    }

    /// What was met so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The connections followed now, least recently used first.
    pub fn states(&self) -> impl Iterator<Item = (&Connection, &S)> {
        let entries = self.turns.values().filter_map(|slot| self.entries.get(slot));
        entries.map(|entry| (&entry.connection, &entry.state))
    }

    /// How many bytes of memory all states hold on to, roughly.
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
            self.counters.evicted_for_room += 1;
            self.remove_oldest(out);
        }
        self.counters.opened += 1;
        let entry = Entry {
            connection: record.connection,
            process: record.process.clone(),
            hook: record.hook,
            last: record.time,
            turn: self.next_turn,
            buffered: 0,
            cursor: Cursor::joined_at(record),
            state: S::open(&self.settings, &record.connection, record.time),
        };
        self.turns.insert(entry.turn, slot);
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
        self.buffered -= entry.buffered;
        let rest = match entry.cursor.is_open() {
            true => Gap::Unknown,
            false => Gap::Counted { cut: entry.cursor.settle().unwrap_or(0), lost: 0 },
        };
        if entry.connection.transport != Transport::Udp
            && let Some(len) = self.counters.count(&rest)
        {
            entry.state.chunk(Chunk::Gap(len), entry.last, &mut self.messages);
        }
        entry.state.end(&mut self.messages);
        entry.address(&mut self.messages, out);
    }
}

impl<S: State> Entry<S> {
    /// The addresses do not say that it is another connection.
    fn could_send(&self, other: &Connection) -> bool {
        let differ =
            |a: Option<SocketAddr>, b: Option<SocketAddr>| a.is_some() && b.is_some() && a != b;
        !differ(self.connection.local, other.local) && !differ(self.connection.remote, other.remote)
    }

    fn address(&self, messages: &mut Vec<S::Message>, out: &mut Vec<Sent<S::Message>>) {
        out.extend(messages.drain(..).map(|message| Sent {
            connection: self.connection,
            hook: self.hook,
            process: self.process.clone(),
            message,
        }));
    }

    fn recount(&mut self, total: &mut usize) {
        let now = self.state.buffered();
        *total = *total - self.buffered + now;
        self.buffered = now;
    }
}

impl Connection {
    /// Fills in the addresses that were not known before.
    fn learn(&mut self, other: &Self) {
        self.local = self.local.or(other.local);
        self.remote = self.remote.or(other.remote);
    }
}

impl Counters {
    /// Counts a gap, and says what a state is to be told of it.
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
