//! QUIC (RFC 9000, RFC 9001; version 2: RFC 9369): the name of the server, which
//! everyone can read, and the frames and streams of packets that were decrypted.
//!
//! ```text
//! datagram │ Initial: CRYPTO … │ 0-RTT …     datagram │ Initial: CRYPTO … │ …
//!                     \__________________________________________/
//!                              a TLS ClientHello, in pieces
//! ```
//!
//! All packets except Initial ones are encrypted with keys known only to the
//! two endpoints. Who has the keys finds packets and versions here, and the ClientHello
//! that identifies them. An Initial packet counts only if it authenticates, so
//! datagrams of other protocols are never misread; one whose end was not
//! captured cannot authenticate and is not read.

mod crypto;
pub(super) mod frame;
mod initial;
mod packet;
pub(super) mod reassembly;
#[cfg(test)]
mod tests;

use self::crypto::{Crypto, MAX_CRYPTO};
use self::packet::Keys;
pub use self::{
    initial::Initials,
    packet::{Packet, PacketType, Version},
};
use super::name::{NameSource, ServerName};
use super::tls;
use crate::record::BootTime;

/// Maximum number of packets per socket that fail to authenticate, each of
/// which costs a key derivation. A client that is sent a Retry has a few.
const MAX_FAILURES: u32 = 64;

/// The datagrams from one socket to one server.
#[derive(Debug, Default)]
pub(super) struct Client {
    /// The connection whose handshake is being read.
    connection: Option<Connection>,
    failures: u32,
}

#[derive(Debug)]
struct Connection {
    since: BootTime,
    keys: Keys,
    crypto: Crypto,
    /// Set once the ClientHello was processed.
    done: bool,
}

impl Client {
    /// Reads a complete datagram. Returns the server name once it is complete.
    pub(super) fn datagram(&mut self, mut bytes: &[u8], time: BootTime) -> Option<ServerName> {
        let mut name = None;
        // A datagram can hold several packets (RFC 9000 section 12.2), and a
        // send several datagrams (segmentation offload).
        while let Some((packet, rest)) = Packet::split(bytes) {
            if packet.kind == PacketType::Initial {
                name = name.or(self.initial(&packet, time));
            }
            // Clients may pad a datagram behind its packets.
            let padding = rest.iter().take_while(|&&byte| byte == 0).count();
            bytes = rest.get(padding..).unwrap_or_default();
        }
        name
    }

    /// Ends the ClientHello. Returns the server name if the known part contains
    /// it.
    pub(super) fn cut(&mut self) -> Option<ServerName> {
        self.connection.as_mut()?.cut()
    }

    /// Reports whether a packet of the client authenticated, which proves that
    /// this is QUIC.
    pub(super) fn is_certain(&self) -> bool {
        self.connection.is_some()
    }

    /// Returns the number of bytes buffered.
    pub(super) fn buffered(&self) -> usize {
        self.connection.as_ref().map_or(0, |connection| connection.crypto.buffered())
    }

    fn initial(&mut self, packet: &Packet<'_>, time: BootTime) -> Option<ServerName> {
        let opened = self.connection.as_ref().and_then(|known| known.keys.open(packet));
        let payload = match opened {
            Some(payload) => payload,
            None if self.failures >= MAX_FAILURES => return None,
            // Another connection, or the same one after a Retry, which starts
            // over with keys derived from the id chosen by the server.
            None => {
                let keys = Keys::new(packet.version, packet.id)?;
                let Some(payload) = keys.open(packet) else {
                    self.failures += 1;
                    return None;
                };
                let crypto = Crypto::default();
                self.connection = Some(Connection { since: time, keys, crypto, done: false });
                payload
            }
        };
        self.connection.as_mut()?.take(&payload)
    }
}

impl Connection {
    fn take(&mut self, payload: &[u8]) -> Option<ServerName> {
        if self.done {
            return None;
        }
        self.crypto.frames(payload);
        let known = self.crypto.prefix();
        let ended = tls::message_len(known).is_some_and(|len| known.len() >= len.min(MAX_CRYPTO));
        if ended { self.cut() } else { None }
    }

    fn cut(&mut self) -> Option<ServerName> {
        if std::mem::replace(&mut self.done, true) {
            return None;
        }
        let crypto = std::mem::take(&mut self.crypto);
        tls::parse(crypto.prefix()).known()?.named(NameSource::Quic, self.since)
    }
}
