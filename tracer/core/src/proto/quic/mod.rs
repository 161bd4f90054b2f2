//! QUIC, as much as can be read of it: the name of the server (RFC 9000,
//! RFC 9001; version 2: RFC 9369).
//!
//! ```text
//! datagram │ Initial: CRYPTO … │ 0-RTT …     datagram │ Initial: CRYPTO … │ …
//!                     \__________________________________________/
//!                              a TLS ClientHello, in pieces
//! ```
//!
//! Everything but the Initial packets is encrypted with keys of the two ends
//! alone. An Initial packet counts only if it authenticates, so nothing is
//! ever read into other protocols' datagrams; one whose end was not captured
//! cannot, and is not read.

mod crypto;
mod packet;
#[cfg(test)]
mod tests;

use self::crypto::{Crypto, MAX_CRYPTO};
use self::packet::{Keys, Packet};
use super::name::{NameSource, ServerName};
use super::tls;
use crate::record::BootTime;

/// How many packets that do not authenticate are tried on a socket, each at
/// the price of deriving keys. A client that is let down by a Retry has a few.
const MAX_FAILURES: u32 = 64;

/// What a client sends from one socket to one server.
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
    /// The ClientHello is done with.
    done: bool,
}

impl Client {
    /// Takes a datagram, all of whose bytes are known. Gives the server's name
    /// when it completes that.
    pub(super) fn datagram(&mut self, mut bytes: &[u8], time: BootTime) -> Option<ServerName> {
        let mut name = None;
        // A datagram can hold several packets (RFC 9000, section 12.2), and a
        // send several datagrams (segmentation offload).
        while let Ok((packet, rest)) = Packet::split(bytes) {
            if packet.is_initial {
                name = name.or(self.initial(&packet, time));
            }
            bytes = rest;
        }
        name
    }

    /// The name as far as it can be known, if no more of the ClientHello comes.
    pub(super) fn cut(&mut self) -> Option<ServerName> {
        self.connection.as_mut()?.cut()
    }

    /// A packet of the client's authenticated: this is QUIC for certain.
    pub(super) fn is_certain(&self) -> bool {
        self.connection.is_some()
    }

    /// How many bytes of memory are held.
    pub(super) fn buffered(&self) -> usize {
        self.connection.as_ref().map_or(0, |connection| connection.crypto.buffered())
    }

    fn initial(&mut self, packet: &Packet<'_>, time: BootTime) -> Option<ServerName> {
        let opened = self.connection.as_ref().and_then(|known| known.keys.open(packet));
        let payload = match opened {
            Some(payload) => payload,
            None if self.failures >= MAX_FAILURES => return None,
            // Another connection, or the same after a Retry: that begins anew,
            // its keys made of the id that the server chose.
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
