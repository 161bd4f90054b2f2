//! The account: of what each application sent, how much was read.
//!
//! It stands between [`proto`](crate::proto), which says of every connection
//! where its bytes went, and [`sink`](tracer::sink), which says it on. What was
//! not read is never called clean: it is named by the servers it went to.
//!
//! Two kinds of connections are told apart, since they hold the same content
//! twice:
//!
//! ```text
//! application ──writes──▶ TLS library ──sends──▶ socket
//!                 plain                  sockets: read_in_plain, if plain has it,
//!                                                 encrypted_unread otherwise
//! application ──────────sends──────────▶ socket
//!                                        sockets: decoded, other_unread
//! ```
//!
//! Pure, and bounded: applications used least recently, and servers beyond a
//! number, go into one sum each.

mod servers;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use serde::Serialize;

pub use self::servers::{Queries, Server, Servers, Via};
use crate::application::Application;
use crate::proto::{NameSource, ServerName, Traffic};
use crate::record::{Connection, Transport};

/// The most applications told apart. A phone has some hundred.
pub const MAX_APPLICATIONS: usize = 512;

/// The most that encryption adds to a record's plaintext, header included, in
/// common practice: CBC with SHA-384 in TLS 1.2 (5 + 16 + 48 + 16 bytes). The
/// end of the handshake and alerts, which TLS 1.3 sends in records like any
/// other, are no longer than that, so they are not missed in plain.
const MAX_OVERHEAD: u64 = 85;

/// What an application's sockets sent. Every byte is counted once:
///
/// ```text
/// sent = decoded + read_in_plain + encrypted_unread + handshake
///      + datagrams_unread + other_unread + missing
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sockets {
    /// All bytes, captured or known to be missing.
    pub sent_bytes: u64,
    /// In the clear, in requests and queries that were read.
    pub decoded_bytes: u64,
    /// Encrypted with TLS, and taken in plain at the TLS library: [`Plain`]
    /// says what could be read of it.
    pub read_in_plain_bytes: u64,
    /// How many TLS records those are, at least.
    pub read_in_plain_records: u64,
    /// Encrypted with TLS, and not read: [`Servers`] says where it went.
    pub encrypted_unread_bytes: u64,
    /// In TLS records that carry no application data: handshakes, alerts.
    pub handshake_bytes: u64,
    /// In datagrams that were not read, QUIC's and others'.
    pub datagrams_unread_bytes: u64,
    /// Captured in the clear and not read: of other protocols, or more than is
    /// kept of a request.
    pub other_unread_bytes: u64,
    /// Not captured: beyond the captured head of a send, or lost.
    pub missing_bytes: u64,
    /// Gaps whose length nobody can tell.
    pub unknown_gaps: u64,
}

/// What an application wrote to TLS libraries, before it was encrypted:
///
/// ```text
/// written = decoded + unread + missing
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Plain {
    /// All bytes, captured or known to be missing.
    pub written_bytes: u64,
    /// In requests that were read.
    pub decoded_bytes: u64,
    /// Captured and not read.
    pub unread_bytes: u64,
    /// Not captured.
    pub missing_bytes: u64,
    /// Gaps whose length nobody can tell.
    pub unknown_gaps: u64,
}

/// The account of one application.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Account {
    /// What its sockets sent, in bytes.
    pub sockets: Sockets,
    /// What it wrote to TLS libraries, in bytes.
    pub plain: Plain,
    /// Of the decoded bytes, those within bodies that could not be read through
    /// (encrypted once more, or of unknown form).
    pub opaque_bytes: u64,
    /// The servers it sent encrypted bytes or unread datagrams to.
    pub servers: Servers,
    /// The names it asked the domain name system for.
    pub queries: Queries,
}

impl Account {
    /// Adds a connection that ended.
    fn ended(&mut self, connection: &Connection, traffic: &Traffic) {
        let unread = &traffic.unread;
        let others = unread.bytes() - unread.tls - unread.datagrams + traffic.unkept;
        if connection.transport == Transport::Tls {
            let plain = &mut self.plain;
            plain.written_bytes += traffic.sent;
            plain.decoded_bytes += traffic.decoded;
            // TLS within TLS has a handshake, and is as unread as anything.
            plain.unread_bytes += unread.bytes() + traffic.unkept + traffic.handshake;
            plain.missing_bytes += traffic.missing;
            plain.unknown_gaps += traffic.unknown_gaps;
            return;
        }
        let sockets = &mut self.sockets;
        sockets.sent_bytes += traffic.sent;
        sockets.decoded_bytes += traffic.decoded;
        sockets.read_in_plain_bytes += traffic.read_in_plain;
        sockets.read_in_plain_records += traffic.plain_records;
        sockets.encrypted_unread_bytes += unread.tls;
        sockets.handshake_bytes += traffic.handshake;
        sockets.datagrams_unread_bytes += unread.datagrams;
        sockets.other_unread_bytes += others;
        sockets.missing_bytes += traffic.missing;
        sockets.unknown_gaps += traffic.unknown_gaps;

        let encrypted = traffic.handshake + traffic.read_in_plain + unread.tls;
        if encrypted + unread.datagrams > 0 {
            let via = match connection.transport {
                Transport::Udp => Via::Datagrams,
                Transport::Tcp | Transport::Tls => Via::Tls,
            };
            let name = traffic.server.as_ref().map(|server| (&server.name[..], server.ech));
            self.servers.add(via, name, connection.remote, unread.tls + unread.datagrams);
        }
    }

    /// How many of the bytes that should be in plain never came in plain, at
    /// least: written before the library was probed, or lost on the way. Only
    /// all connections together can tell; what encryption adds is taken off.
    pub fn never_in_plain(&self) -> u64 {
        let overhead = self.sockets.read_in_plain_records.saturating_mul(MAX_OVERHEAD);
        let backed = self.plain.written_bytes.saturating_add(overhead);
        self.sockets.read_in_plain_bytes.saturating_sub(backed)
    }

    /// The bytes that say something: what is there in plain and encrypted
    /// counts once, and what frames encryption not at all.
    pub fn content(&self) -> u64 {
        let sockets = &self.sockets;
        self.plain.written_bytes
            + self.never_in_plain()
            + sockets.decoded_bytes
            + sockets.encrypted_unread_bytes
            + sockets.datagrams_unread_bytes
            + sockets.other_unread_bytes
            + sockets.missing_bytes
    }

    /// The bytes of [`Account::content`] that were read.
    pub fn read(&self) -> u64 {
        (self.plain.decoded_bytes + self.sockets.decoded_bytes).saturating_sub(self.opaque_bytes)
    }

    /// Every byte was captured, recognised and read through.
    pub fn is_all_read(&self) -> bool {
        self.read() == self.content() && self.sockets.unknown_gaps + self.plain.unknown_gaps == 0
    }

    /// How many percent of the content were read, rounded down: 100 only if
    /// all was. `None` where there was no content.
    pub fn percent_read(&self) -> Option<u8> {
        let percent = (u128::from(self.read()) * 100).checked_div(self.content().into())?;
        let most = if self.is_all_read() { 100 } else { 99 };
        Some(u8::try_from(percent).unwrap_or(most).min(most))
    }

    fn merge(&mut self, other: Self) {
        let (into, from) = (&mut self.sockets, other.sockets);
        into.sent_bytes += from.sent_bytes;
        into.decoded_bytes += from.decoded_bytes;
        into.read_in_plain_bytes += from.read_in_plain_bytes;
        into.read_in_plain_records += from.read_in_plain_records;
        into.encrypted_unread_bytes += from.encrypted_unread_bytes;
        into.handshake_bytes += from.handshake_bytes;
        into.datagrams_unread_bytes += from.datagrams_unread_bytes;
        into.other_unread_bytes += from.other_unread_bytes;
        into.missing_bytes += from.missing_bytes;
        into.unknown_gaps += from.unknown_gaps;
        let (into, from) = (&mut self.plain, other.plain);
        into.written_bytes += from.written_bytes;
        into.decoded_bytes += from.decoded_bytes;
        into.unread_bytes += from.unread_bytes;
        into.missing_bytes += from.missing_bytes;
        into.unknown_gaps += from.unknown_gaps;
        self.opaque_bytes += other.opaque_bytes;
        self.servers.merge(other.servers);
        self.queries.merge(other.queries);
    }
}

/// The accounts of all applications.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    applications: HashMap<Arc<Application>, Entry>,
    /// Those that there was no room for.
    others: Account,
    turn: u64,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    account: Account,
    /// When it was last used: the largest is the latest.
    turn: u64,
}

impl Accounts {
    /// A connection of the application's ended.
    pub fn ended(&mut self, by: Arc<Application>, connection: &Connection, traffic: &Traffic) {
        if traffic.sent > 0 || traffic.unknown_gaps > 0 {
            self.of(by).ended(connection, traffic);
        }
    }

    /// The application named a server.
    pub fn named(&mut self, by: Arc<Application>, name: &ServerName) {
        // Servers that are connected to are counted with the connection.
        if name.source == NameSource::Dns {
            self.of(by).queries.add(&name.name);
        }
    }

    /// So many bytes of a request of the application's could not be read
    /// through.
    pub fn opaque(&mut self, by: Arc<Application>, bytes: u64) {
        self.of(by).opaque_bytes += bytes;
    }

    /// The applications, those that sent most first.
    pub fn applications(&self) -> Vec<(&Application, &Account)> {
        let entries = self.applications.iter();
        let mut list: Vec<(&Application, &Account)> =
            entries.map(|(who, entry)| (&**who, &entry.account)).collect();
        list.sort_by(|(a, of_a), (b, of_b)| {
            let sent =
                |account: &Account| account.sockets.sent_bytes.max(account.plain.written_bytes);
            sent(of_b).cmp(&sent(of_a)).then_with(|| a.cmp(b))
        });
        list
    }

    /// The sum of the applications that there was no room for.
    pub fn others(&self) -> &Account {
        &self.others
    }

    fn of(&mut self, who: Arc<Application>) -> &mut Account {
        self.turn += 1;
        if self.applications.len() >= MAX_APPLICATIONS && !self.applications.contains_key(&who) {
            let oldest = self.applications.iter().min_by_key(|(_, entry)| entry.turn);
            if let Some(oldest) = oldest.map(|(who, _)| Arc::clone(who))
                && let Some(entry) = self.applications.remove(&oldest)
            {
                self.others.merge(entry.account);
            }
        }
        let entry = self.applications.entry(who).or_default();
        entry.turn = self.turn;
        &mut entry.account
    }
}
