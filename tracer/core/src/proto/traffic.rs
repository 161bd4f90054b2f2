//! An account of every byte that a connection sent.

use serde::Serialize;

use super::ServerName;
use crate::record::BootTime;

/// The bytes of a connection, each counted exactly once:
///
/// ```text
/// sent = decoded + handshake + read_in_plain + unread.bytes() + unkept + missing
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Time at which the connection was first seen.
    pub since: BootTime,
    /// Time of the last data.
    pub last: BootTime,
    /// All bytes: captured ones, and those known to be missing.
    pub sent: u64,
    /// Bytes in decoded requests and queries, including framing.
    pub decoded: u64,
    /// Bytes in TLS records without application data, including headers.
    pub handshake: u64,
    /// Bytes in QUIC packets whose frames are recorded separately, or in TLS records
    /// with application data on a connection whose
    /// plaintext is captured at its TLS library and recorded separately. A
    /// single send that belongs to a library write proves this for the whole
    /// connection.
    pub read_in_plain: u64,
    /// Minimum number of such records.
    pub plain_records: u64,
    /// Maximum overhead of the encryption of these records, in bytes.
    pub plain_overhead: u64,
    /// Captured bytes that belong to no request.
    pub unread: Unread,
    /// Captured bytes of requests that exceeded the limits.
    pub unkept: u64,
    /// Bytes not captured, within requests or between them. Nothing is missing
    /// in TLS, since the record length accounts for the content.
    pub missing: u64,
    /// Number of gaps of unknown length, whose bytes are not counted.
    pub unknown_gaps: u64,
    /// Set if the client ended a TLS handshake with an alert, as it does if it does
    /// not trust the certificate.
    pub refused: bool,
    /// The server, according to the last name seen in plaintext.
    pub server: Option<ServerName>,
}

impl Traffic {
    /// Creates an empty account for a connection first seen at `since`.
    pub(super) fn new(since: BootTime) -> Self {
        Self { since, ..Self::default() }
    }

    /// Closes the account: all bytes not counted elsewhere were decoded.
    pub(super) fn close(&mut self) {
        let elsewhere = [self.handshake, self.read_in_plain, self.unread.bytes(), self.missing];
        let rest = elsewhere.into_iter().fold(self.sent, u64::saturating_sub);
        // Dropped bytes of compressed messages are counted after decompression.
        self.unkept = self.unkept.min(rest);
        self.decoded = rest - self.unkept;
    }
}

/// Bytes of a connection that belong to no request. They were not inspected, so
/// nothing is known about them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Unread {
    /// Bytes in TLS records with application data.
    pub tls: u64,
    /// Bytes in HTTP/2.
    pub http2: u64,
    /// Bytes after an upgrade to WebSocket.
    pub websocket: u64,
    /// Bytes in streams of QUIC, of HTTP/3 or of another protocol.
    pub http3: u64,
    /// Bytes in WebTransport streams.
    pub webtransport: u64,
    /// Bytes in datagrams, also those within QUIC.
    pub datagrams: u64,
    /// Bytes in no known protocol, or after the position in it was lost.
    pub unrecognised: u64,
    /// Bytes not captured, in gaps between messages. Requests count their own
    /// gaps.
    pub gaps: u64,
}

impl Unread {
    /// Reports whether everything was read.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns the number of bytes captured but not read.
    pub fn bytes(&self) -> u64 {
        let http = self.http2 + self.http3 + self.websocket + self.webtransport;
        self.tls + http + self.datagrams + self.unrecognised
    }
}
