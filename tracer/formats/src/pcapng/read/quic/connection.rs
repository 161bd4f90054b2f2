//! The keys of a connection.

use bytes::Bytes;
use tracer_core::proto::quic::{Initials, Packet, PacketType, Version};

use super::super::tls::{
    KeyLog,
    keys::{Secrets, Traffic},
};
use super::{MAX_SEGMENT, protection::Keys};

/// Maximum number of lengths of connection ids. Servers use one.
const MAX_ID_LENS: usize = 4;

/// Minimum length of a packet with a short header: one byte, the sample and what is
/// before it.
const MIN_PACKET: usize = 21;

/// Number of searches in succession for the length of packets, after which there are
/// no more. Each costs many attempts.
const MAX_SEARCHES: u32 = 32;

/// Number of packets in succession that cannot be decrypted, after which the
/// connection is not decrypted any further.
const MAX_FAILURES: u32 = 4096;

/// A connection.
#[derive(Debug, Default)]
pub(super) struct Connection {
    initials: Initials,
    early: Option<Keys>,
    handshake: Option<Keys>,
    application: Option<Keys>,
    /// The version that the handshake continued with, which the server may have
    /// chosen (RFC 9368).
    version: Option<Version>,
    /// The lengths of the ids that the server chose.
    id_lens: Vec<usize>,
    failures: u32,
    /// The length of datagrams that were sent together.
    segment: Option<usize>,
    searches: u32,
    /// Set once a packet of the handshake was decrypted.
    is_open: bool,
}

impl Connection {
    /// Notes the length of an id that the server chose.
    pub(super) fn learn_id_len(&mut self, len: usize) {
        if self.id_lens.len() < MAX_ID_LENS && !self.id_lens.contains(&len) {
            self.id_lens.push(len);
        }
    }

    /// Decrypts a packet with a long header. Returns its frames if they may belong to
    /// streams.
    pub(super) fn long(&mut self, packet: &Packet<'_>, log: &KeyLog) -> Option<Option<Bytes>> {
        if packet.kind == PacketType::Initial {
            // Once the handshake has continued, another start belongs to another
            // connection.
            let initials = &mut self.initials;
            let is_known = initials.open(packet) || !self.is_open && initials.start(packet);
            return is_known.then_some(None);
        }
        let kind = packet.kind;
        let keys = self.keys(kind, packet.version, log)?;
        let opened = keys.open(packet.bytes, packet.number_at)?;
        if kind == PacketType::ZeroRtt {
            return Some(Some(opened.payload.into()));
        }
        self.is_open = true;
        self.version = Some(packet.version);
        self.learn_id_len(packet.id.len());
        Some(None)
    }

    /// Decrypts a packet with a short header. Returns its frames, and the length of
    /// the id in it.
    pub(super) fn short(&mut self, packet: &[u8], log: &KeyLog) -> Option<(Bytes, usize)> {
        if self.failures >= MAX_FAILURES {
            return None;
        }
        let version = self.version.or(self.initials.version())?;
        if self.application.as_ref().is_none_or(|keys| keys.version() != version) {
            let secrets = self.secrets(log)?;
            self.application = Some(Keys::new(version, secrets.application.as_deref()?)?);
        }
        let keys = self.application.as_mut()?;
        let opened = self.id_lens.iter().find_map(|&len| Some((keys.open(packet, 1 + len)?, len)));
        self.failures = if opened.is_some() { 0 } else { self.failures + 1 };
        opened.map(|(opened, len)| (opened.payload.into(), len))
    }

    /// Decrypts the first of several packets that were sent together. Returns its
    /// length and its frames.
    pub(super) fn segment(&mut self, packets: &[u8], log: &KeyLog) -> Option<(usize, Bytes)> {
        let failures = self.failures;
        let may_search = self.searches < MAX_SEARCHES;
        let search = (MIN_PACKET..packets.len().min(MAX_SEGMENT + 1)).rev();
        let search = search.filter(|_| may_search);
        let opened = self.segment.into_iter().chain(search).find_map(|len| {
            let (frames, _) = self.short(packets.get(..len)?, log)?;
            Some((len, frames))
        });
        match &opened {
            Some((len, _)) => (self.segment, self.searches) = (Some(*len), 0),
            None => (self.failures, self.searches) = (failures, self.searches + 1),
        }
        opened
    }

    /// Returns the keys of packets with a long header.
    fn keys(&mut self, kind: PacketType, version: Version, log: &KeyLog) -> Option<&mut Keys> {
        let is_early = kind == PacketType::ZeroRtt;
        let known = if is_early { &self.early } else { &self.handshake };
        if known.as_ref().is_none_or(|keys| keys.version() != version) {
            let secrets = self.secrets(log)?;
            let secret = if is_early { &secrets.early } else { &secrets.handshake };
            let keys = Keys::new(version, secret.as_deref()?)?;
            *if is_early { &mut self.early } else { &mut self.handshake } = Some(keys);
        }
        if is_early { self.early.as_mut() } else { self.handshake.as_mut() }
    }

    fn secrets<'a>(&self, log: &'a KeyLog) -> Option<&'a Traffic> {
        match log.secrets(&self.initials.random()?)? {
            Secrets::Traffic(secrets) => Some(secrets),
            Secrets::Master(_) => None,
        }
    }
}
