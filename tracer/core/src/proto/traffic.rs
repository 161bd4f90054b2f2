//! What became of every byte that a connection sent.

use serde::Serialize;

use super::ServerName;
use crate::record::BootTime;

/// A connection's bytes, each counted once:
///
/// ```text
/// sent = decoded + handshake + read_in_plain + unread.bytes() + unkept + missing
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traffic {
    /// When the connection was first seen.
    pub since: BootTime,
    /// All bytes: those captured, and those known to be missing.
    pub sent: u64,
    /// In requests and queries that were read, what frames them included.
    pub decoded: u64,
    /// In TLS records that carry no application data, headers included.
    pub handshake: u64,
    /// In TLS records with application data, on a connection whose plaintext
    /// is taken at its TLS library and has records of its own. One send within
    /// a write to the library shows that for all of the connection.
    pub read_in_plain: u64,
    /// How many records those are, at least.
    pub plain_records: u64,
    /// Captured, and not read: in no request.
    pub unread: Unread,
    /// Captured, in requests of which not so much is kept.
    pub unkept: u64,
    /// Not captured, in requests or between them. In TLS nothing is missing:
    /// what a record holds shows in its length.
    pub missing: u64,
    /// Gaps whose length nobody can tell: so many times more is missing.
    pub unknown_gaps: u64,
    /// The server, by the last name that was read in the clear.
    pub server: Option<ServerName>,
}

impl Traffic {
    /// The traffic of a connection first seen now: none.
    pub(super) fn new(since: BootTime) -> Self {
        Self { since, ..Self::default() }
    }

    /// No more comes: what is accounted for nowhere else was decoded.
    pub(super) fn close(&mut self) {
        let elsewhere = [self.handshake, self.read_in_plain, self.unread.bytes(), self.missing];
        let rest = elsewhere.into_iter().fold(self.sent, u64::saturating_sub);
        // What was dropped of compressed messages is counted decompressed.
        self.unkept = self.unkept.min(rest);
        self.decoded = rest - self.unkept;
    }
}

/// Bytes of a connection that are in no request. They are not clean: nobody
/// looked at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Unread {
    /// In TLS records with application data.
    pub tls: u64,
    /// In HTTP/2.
    pub http2: u64,
    /// After an upgrade to WebSocket.
    pub websocket: u64,
    /// In datagrams.
    pub datagrams: u64,
    /// In no known protocol, or after the place in it was lost.
    pub unrecognised: u64,
    /// Not captured: in gaps between messages. Requests count their own.
    pub gaps: u64,
}

impl Unread {
    /// Everything was read.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The bytes that were captured and not read.
    pub fn bytes(&self) -> u64 {
        self.tls + self.http2 + self.websocket + self.datagrams + self.unrecognised
    }
}
