//! Accounts of the bytes that each application sent, and how many of them were
//! read.
//!
//! An account sums the [`Traffic`] of connections, and lists the servers that
//! received unread bytes.
//!
//! Encrypted content is captured twice, at the TLS library and at the socket, so
//! the two are counted separately:
//!
//! ```text
//! application ──writes──▶ TLS library ──sends──▶ socket
//!                 plain                  sockets: read_in_plain, if plain has it,
//!                                                 encrypted_unread otherwise
//! application ──────────sends──────────▶ socket
//!                                        sockets: decoded, other_unread
//! ```
//!
//! Memory is bounded: the least recently used applications, and servers beyond a
//! limit, are merged into one total each.

mod arrivals;
mod servers;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use foldhash::HashMap;

use serde::Serialize;

pub use self::arrivals::{Arrivals, Attempt, Connections, UnfinishedRequest, UnreachedHost};
pub use self::servers::{Queries, Server, Servers, Via};
use crate::application::Application;
use crate::proto::{NameSource, ServerName, Traffic};
use crate::record::{BootTime, Clock, Connection, Transport};

/// Maximum number of applications that are counted separately. A phone has some
/// hundred.
pub const MAX_APPLICATIONS: usize = 512;

/// Bytes that an application sent through sockets. Every byte is counted once:
///
/// ```text
/// sent = decoded + read_in_plain + quic_in_plain + encrypted_unread + handshake
///      + datagrams_unread + raw_unread + other_unread + missing
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sockets {
    /// Bytes that were captured or are known to be missing.
    pub sent_bytes: u64,
    /// Unencrypted bytes of requests and queries that were read.
    pub decoded_bytes: u64,
    /// TLS-encrypted bytes that were captured at the TLS library. [`Plain`] counts
    /// their plaintext.
    pub read_in_plain_bytes: u64,
    /// Minimum number of TLS records in `read_in_plain_bytes`.
    pub read_in_plain_records: u64,
    /// Maximum number of bytes in them that are overhead of the encryption.
    pub read_in_plain_overhead_bytes: u64,
    /// Bytes of QUIC packets whose frames were captured before encryption. [`Plain`]
    /// counts their streams.
    pub quic_in_plain_bytes: u64,
    /// TLS-encrypted bytes that were not read. [`Servers`] lists their recipients.
    pub encrypted_unread_bytes: u64,
    /// Bytes of TLS records without application data: handshakes and alerts.
    pub handshake_bytes: u64,
    /// Bytes of datagrams that were not read, of QUIC and of other protocols.
    pub datagrams_unread_bytes: u64,
    /// Bytes that raw, packet and XDP sockets sent, and protocols other than TCP and UDP. They are
    /// not read.
    pub raw_unread_bytes: u64,
    /// Unencrypted bytes that were captured but not read: of other protocols, or
    /// beyond the limits of a request.
    pub other_unread_bytes: u64,
    /// Bytes that were not captured: beyond the captured head of a send, or lost.
    pub missing_bytes: u64,
    /// Number of gaps of unknown length.
    pub unknown_gaps: u64,
}

/// Bytes that an application wrote to TLS libraries, before encryption. Of QUIC, these
/// are the bytes of streams and datagrams, each once however often it was sent:
///
/// ```text
/// written = decoded + unread + missing
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Plain {
    /// Bytes that were captured or are known to be missing.
    pub written_bytes: u64,
    /// Bytes of requests that were read.
    pub decoded_bytes: u64,
    /// Bytes that were captured but not read.
    pub unread_bytes: u64,
    /// Bytes that were not captured.
    pub missing_bytes: u64,
    /// Number of gaps of unknown length.
    pub unknown_gaps: u64,
}

/// The account of one application.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Account {
    /// Bytes sent through sockets.
    pub sockets: Sockets,
    /// Bytes written to TLS libraries.
    pub plain: Plain,
    /// Decoded bytes within bodies that could not be read (encrypted again, or in an
    /// unknown format).
    pub opaque_bytes: u64,
    /// Servers that received encrypted bytes or unread datagrams.
    pub servers: Servers,
    /// Names in DNS queries.
    pub queries: Queries,
    /// What the application tried to send and what did not arrive.
    #[serde(skip)]
    pub arrivals: Arrivals,
}

impl Account {
    /// Adds a closed connection.
    fn add_connection(&mut self, connection: &Connection, traffic: &Traffic) {
        let unread = &traffic.unread;
        let others = unread.bytes() - unread.tls - unread.datagrams + traffic.unkept;
        if connection.transport.is_before_encryption() {
            let plain = &mut self.plain;
            plain.written_bytes += traffic.sent;
            plain.decoded_bytes += traffic.decoded;
            // The handshake of TLS within TLS counts as unread.
            plain.unread_bytes += unread.bytes() + traffic.unkept + traffic.handshake;
            plain.missing_bytes += traffic.missing;
            plain.unknown_gaps += traffic.unknown_gaps;
            if connection.transport == Transport::Quic && unread.bytes() > 0 {
                let name = traffic.server.as_ref().map(|server| (&server.name[..], server.ech));
                self.servers.add(Via::Datagrams, name, connection.remote, unread.bytes());
            }
            return;
        }
        let sockets = &mut self.sockets;
        sockets.sent_bytes += traffic.sent;
        sockets.decoded_bytes += traffic.decoded;
        match connection.transport {
            Transport::Udp => sockets.quic_in_plain_bytes += traffic.read_in_plain,
            _ => sockets.read_in_plain_bytes += traffic.read_in_plain,
        }
        sockets.read_in_plain_records += traffic.plain_records;
        sockets.read_in_plain_overhead_bytes += traffic.plain_overhead;
        sockets.encrypted_unread_bytes += unread.tls;
        sockets.handshake_bytes += traffic.handshake;
        sockets.datagrams_unread_bytes += unread.datagrams;
        match connection.transport {
            Transport::Raw => sockets.raw_unread_bytes += others,
            _ => sockets.other_unread_bytes += others,
        }
        sockets.missing_bytes += traffic.missing;
        sockets.unknown_gaps += traffic.unknown_gaps;

        let encrypted = traffic.handshake + traffic.read_in_plain + unread.tls;
        if encrypted + unread.datagrams > 0 {
            let via = match connection.transport {
                Transport::Udp | Transport::Quic => Via::Datagrams,
                Transport::Tcp | Transport::Tls | Transport::Raw => Via::Tls,
            };
            let name = traffic.server.as_ref().map(|server| (&server.name[..], server.ech));
            self.servers.add(via, name, connection.remote, unread.tls + unread.datagrams);
        }
    }

    /// Returns the minimum number of bytes whose plaintext is missing: they were
    /// written before the library was probed, or lost. It can only be computed over
    /// all connections. The overhead of encryption is subtracted.
    pub fn never_in_plain(&self) -> u64 {
        let overhead = self.sockets.read_in_plain_overhead_bytes;
        let accounted = self.plain.written_bytes.saturating_add(overhead);
        self.sockets.read_in_plain_bytes.saturating_sub(accounted)
    }

    /// Returns the number of content bytes. Content that was captured both in plain
    /// and encrypted counts once; the overhead of encryption does not count.
    pub fn content(&self) -> u64 {
        let sockets = &self.sockets;
        self.plain.written_bytes
            + self.never_in_plain()
            + sockets.decoded_bytes
            + sockets.encrypted_unread_bytes
            + sockets.datagrams_unread_bytes
            + sockets.raw_unread_bytes
            + sockets.other_unread_bytes
            + sockets.missing_bytes
    }

    /// Returns the number of bytes of [`Account::content`] that were read.
    pub fn read(&self) -> u64 {
        (self.plain.decoded_bytes + self.sockets.decoded_bytes).saturating_sub(self.opaque_bytes)
    }

    /// Reports whether every byte was captured, recognised and read.
    pub fn is_all_read(&self) -> bool {
        self.read() == self.content() && self.sockets.unknown_gaps + self.plain.unknown_gaps == 0
    }

    /// Returns the minimum number of bytes that were written to TLS libraries and not
    /// sent: a library accepts a write before the program sends the ciphertext, and
    /// ciphertext is never shorter.
    pub fn never_left(&self) -> u64 {
        let sockets = &self.sockets;
        let sent = [
            sockets.read_in_plain_bytes,
            sockets.quic_in_plain_bytes,
            sockets.encrypted_unread_bytes,
            sockets.handshake_bytes,
            sockets.datagrams_unread_bytes,
            sockets.raw_unread_bytes,
            sockets.other_unread_bytes,
            sockets.missing_bytes,
        ];
        let sent = sent.into_iter().fold(0, u64::saturating_add);
        match sockets.unknown_gaps {
            0 => self.plain.written_bytes.saturating_sub(sent),
            _ => 0,
        }
    }

    /// Returns the percentage of the content that was read, rounded down. It is 100
    /// only if all was read. Returns `None` if there was no content.
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
        into.quic_in_plain_bytes += from.quic_in_plain_bytes;
        into.read_in_plain_records += from.read_in_plain_records;
        into.read_in_plain_overhead_bytes += from.read_in_plain_overhead_bytes;
        into.encrypted_unread_bytes += from.encrypted_unread_bytes;
        into.handshake_bytes += from.handshake_bytes;
        into.datagrams_unread_bytes += from.datagrams_unread_bytes;
        into.raw_unread_bytes += from.raw_unread_bytes;
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
        self.arrivals.merge(other.arrivals);
    }
}

/// The accounts of all applications.
#[derive(Debug, Clone, Default)]
pub struct Accounts {
    applications: HashMap<Arc<Application>, Entry>,
    /// Total of the applications beyond the limit.
    others: Account,
    /// Number of uses so far.
    turn: u64,
    clock: Option<Clock>,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    account: Account,
    /// Value of [`Accounts::turn`] at the last use.
    turn: u64,
}

impl Accounts {
    /// Counts a connection of an application that was closed.
    pub fn ended(
        &mut self,
        application: Arc<Application>,
        connection: &Connection,
        traffic: &Traffic,
    ) {
        if traffic.sent > 0 || traffic.unknown_gaps > 0 {
            let account = self.account_mut(application);
            account.add_connection(connection, traffic);
            account.arrivals.ended(connection, traffic);
        }
    }

    /// Counts a server name that an application sent, if it is in a DNS query.
    pub fn named(&mut self, application: Arc<Application>, name: &ServerName) {
        // Names in ClientHellos are counted with their connection.
        if name.source == NameSource::Dns {
            let account = self.account_mut(application);
            account.queries.add(&name.name);
            account.arrivals.looked_up(&name.name, name.time);
        }
    }

    /// Notes that an application sent a request to a host.
    pub fn requested(&mut self, application: Arc<Application>, host: &str, time: BootTime) {
        self.account_mut(application).arrivals.requested(host, time);
    }

    /// Adds a request that an application did not finish.
    pub fn unfinished(&mut self, application: Arc<Application>, request: UnfinishedRequest) {
        self.account_mut(application).arrivals.unfinished(request);
    }

    /// Sets the clock, which relates the times of attempts to the time of day.
    pub fn set_clock(&mut self, clock: Clock) {
        self.clock = Some(clock);
    }

    /// Returns the clock, if it is known.
    pub fn clock(&self) -> Option<Clock> {
        self.clock
    }

    /// Counts bytes in a request of an application that could not be read.
    pub fn opaque(&mut self, application: Arc<Application>, bytes: u64) {
        self.account_mut(application).opaque_bytes += bytes;
    }

    /// Returns the applications, those that sent most first.
    pub fn applications(&self) -> Vec<(&Application, &Account)> {
        let entries = self.applications.iter();
        let mut list: Vec<(&Application, &Account)> =
            entries.map(|(application, entry)| (&**application, &entry.account)).collect();
        list.sort_by(|(a, of_a), (b, of_b)| {
            let sent =
                |account: &Account| account.sockets.sent_bytes.max(account.plain.written_bytes);
            sent(of_b).cmp(&sent(of_a)).then_with(|| a.cmp(b))
        });
        list
    }

    /// Returns the total of the applications beyond the limit.
    pub fn others(&self) -> &Account {
        &self.others
    }

    /// Returns the account of an application. Drops the least recently used one if
    /// the limit is reached.
    fn account_mut(&mut self, application: Arc<Application>) -> &mut Account {
        self.turn += 1;
        if self.applications.len() >= MAX_APPLICATIONS
            && !self.applications.contains_key(&application)
        {
            let oldest = self.applications.iter().min_by_key(|(_, entry)| entry.turn);
            if let Some(oldest) = oldest.map(|(application, _)| Arc::clone(application))
                && let Some(entry) = self.applications.remove(&oldest)
            {
                self.others.merge(entry.account);
            }
        }
        let entry = self.applications.entry(application).or_default();
        entry.turn = self.turn;
        &mut entry.account
    }
}
