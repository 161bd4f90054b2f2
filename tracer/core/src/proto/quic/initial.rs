//! The client's Initial packets, as far as they identify its connection.

use super::crypto::Crypto;
use super::packet::{Keys, Packet, Version};

/// Maximum number of packets that fail to authenticate, each of which costs key
/// derivations.
const MAX_FAILURES: u32 = 64;

/// Position of the client's random in a ClientHello (RFC 8446 section 4.1.2).
const RANDOM_AT: usize = 6;

/// Reads the random of a client from its Initial packets.
#[derive(Debug, Default)]
pub struct Initials {
    keys: Option<Keys>,
    /// The connection id from which the keys are derived.
    id: Vec<u8>,
    crypto: Crypto,
    random: Option<[u8; 32]>,
    version: Option<Version>,
    failures: u32,
}

impl Initials {
    /// Reads an Initial packet of the same connection. Returns `false` if it does not
    /// authenticate.
    pub fn open(&mut self, packet: &Packet<'_>) -> bool {
        let mut payload = self.keys.as_ref().and_then(|keys| keys.open(packet));
        if payload.is_none() && self.keys.is_some() {
            // After the server has chosen another version, the id stays the first one
            // (RFC 9369 section 4.1).
            payload = self.open_with_id(&self.id.clone(), packet);
        }
        self.read(payload)
    }

    /// Reads the first Initial packet of a connection, or the first one after a
    /// Retry, with which the client starts over. Returns `false` if it does not
    /// authenticate: it comes from the server, or is not QUIC.
    pub fn start(&mut self, packet: &Packet<'_>) -> bool {
        let payload = self.open_with_id(packet.id, packet);
        if payload.is_some() {
            (self.crypto, self.random) = (Crypto::default(), None);
        }
        self.read(payload)
    }

    /// Returns the version of the last packet.
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Returns the client's random, which identifies the connection in key logs.
    pub fn random(&self) -> Option<[u8; 32]> {
        self.random
    }

    fn open_with_id(&mut self, id: &[u8], packet: &Packet<'_>) -> Option<Vec<u8>> {
        if self.failures >= MAX_FAILURES {
            return None;
        }
        let keys = Keys::new(packet.version, id)?;
        let payload = keys.open(packet);
        match payload {
            Some(_) => {
                (self.keys, self.id) = (Some(keys), id.to_vec());
                self.version = Some(packet.version);
            }
            None => self.failures += 1,
        }
        payload
    }

    fn read(&mut self, payload: Option<Vec<u8>>) -> bool {
        let Some(payload) = payload else {
            return false;
        };
        if self.random.is_none() {
            self.crypto.frames(&payload);
            let random = self.crypto.prefix().get(RANDOM_AT..).and_then(<[u8]>::first_chunk);
            if random.is_some() {
                self.random = random.copied();
                self.crypto = Crypto::default();
            }
        }
        true
    }
}
