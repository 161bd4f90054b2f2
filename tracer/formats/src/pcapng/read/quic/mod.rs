//! Decrypts what clients sent in QUIC, if the capture contains the keys.
//!
//! ```text
//! Initial ──▶ ClientHello ──▶ random ──▶ key log ──▶ keys of the other packets
//! ```
//!
//! Packets with a short header name their connection only by an id that the server
//! chose, without its length. They belong to the connection with the same endpoints
//! or with a known id; failing that, to one whose keys decrypt them, since clients
//! change both ([RFC 9000, section 9](https://www.rfc-editor.org/rfc/rfc9000)).
//! Every packet is authenticated, so a wrong connection is never mistaken for the
//! right one.

mod connection;
mod protection;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
};

use bytes::Bytes;
use tracer_core::proto::quic::{Packet, PacketType};

use self::connection::Connection;
use super::tls::KeyLog;

/// Maximum number of connections at a time.
const MAX_CONNECTIONS: usize = 1024;

/// Maximum number of paths and connection ids per connection, on average.
const MAX_NAMES: usize = 8;

/// Maximum number of connections whose keys are tried for a packet from a new
/// address. The most recent ones come first.
const MAX_TRIALS: usize = 16;

/// Maximum length of a datagram on common paths.
const MAX_SEGMENT: usize = 1500;

/// The endpoints of a client and its server.
pub(super) type Path = (SocketAddr, SocketAddr);

/// A part of a datagram: a packet, padding, or bytes that were not decrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) bytes: Bytes,
    /// The connection whose keys decrypted it.
    pub(super) connection: Option<u64>,
    /// The frames, if they may belong to streams.
    pub(super) frames: Option<Bytes>,
}

/// The QUIC connections of a capture.
#[derive(Debug, Default)]
pub(super) struct Connections {
    connections: HashMap<u64, Connection>,
    /// The connection of each path, and of each id that a client sent to.
    paths: HashMap<Path, u64>,
    ids: HashMap<Vec<u8>, u64>,
    /// The connections in the order of their first packets.
    recent: VecDeque<u64>,
}

impl Connections {
    /// Splits a complete datagram of a client into its packets. Returns `None` if
    /// none of them could be decrypted. `count` numbers the connections.
    pub(super) fn datagram(
        &mut self,
        path: Path,
        datagram: &Bytes,
        keys: &KeyLog,
        count: &mut u64,
    ) -> Option<Vec<Part>> {
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = datagram.clone();
        while !rest.is_empty() {
            let (len, opened) = match Packet::split(&rest) {
                Some((packet, behind)) => {
                    (rest.len() - behind.len(), self.long(path, &packet, keys, count))
                }
                None => self.rest(path, &rest, keys, parts.last()),
            };
            let bytes = rest.split_to(len);
            let (connection, frames) = opened.unzip();
            parts.push(Part { bytes, connection, frames: frames.flatten() });
        }
        parts.iter().any(|part| part.connection.is_some()).then_some(parts)
    }

    /// Notes the id that a server chose, from a datagram that it sent.
    pub(super) fn server_datagram(&mut self, path: Path, datagram: &[u8]) {
        if let Some((packet, _)) = Packet::split(datagram)
            && let Some(connection) = self.on_path(path)
        {
            connection.learn_id_len(packet.source.len());
        }
    }

    /// Decrypts a packet with a long header.
    fn long(
        &mut self,
        path: Path,
        packet: &Packet<'_>,
        keys: &KeyLog,
        count: &mut u64,
    ) -> Option<(u64, Option<Bytes>)> {
        let number = self.paths.get(&path).or_else(|| self.ids.get(packet.id)).copied();
        let known = number.and_then(|number| {
            let opened = self.connections.get_mut(&number)?.long(packet, keys)?;
            Some((number, opened))
        });
        let (number, frames) = match known {
            Some(known) => known,
            None if packet.kind == PacketType::Initial => {
                let mut connection = Connection::default();
                let frames = connection.long(packet, keys)?;
                *count += 1;
                self.make_room();
                self.recent.push_front(*count);
                self.connections.insert(*count, connection);
                (*count, frames)
            }
            None => return None,
        };
        self.name(number, path, packet.id);
        Some((number, frames))
    }

    /// Decrypts the last packet of a datagram, which has a short header, or skips the
    /// padding behind `before`. Returns its length.
    ///
    /// A capture on the client's machine may show several datagrams as one, which the
    /// network interface separates later. All but the last have the same length.
    fn rest(
        &mut self,
        path: Path,
        bytes: &[u8],
        keys: &KeyLog,
        before: Option<&Part>,
    ) -> (usize, Option<(u64, Option<Bytes>)>) {
        let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
        let padded = before.and_then(|part| part.connection).filter(|_| zeros > 0);
        if let Some(number) = padded {
            return (zeros, Some((number, None)));
        }
        if bytes.first().is_none_or(|first| first & 0x80 != 0) {
            return (bytes.len(), None);
        }
        // A single datagram rarely exceeds the size of segments.
        let is_single = bytes.len() <= MAX_SEGMENT;
        if let Some(opened) = is_single.then(|| self.short(path, bytes, keys)).flatten() {
            return (bytes.len(), Some(opened));
        }
        if let Some(number) = self.paths.get(&path).copied()
            && let Some(connection) = self.connections.get_mut(&number)
            && let Some((len, frames)) = connection.segment(bytes, keys)
        {
            return (len, Some((number, Some(frames))));
        }
        (bytes.len(), if is_single { None } else { self.short(path, bytes, keys) })
    }

    /// Decrypts a packet with a short header.
    fn short(&mut self, path: Path, bytes: &[u8], keys: &KeyLog) -> Option<(u64, Option<Bytes>)> {
        let open = |connections: &mut HashMap<u64, Connection>, number: u64| {
            let (frames, id_len) = connections.get_mut(&number)?.short(bytes, keys)?;
            Some((number, frames, id_len))
        };
        let by_id =
            |(id, number): (&Vec<u8>, &u64)| bytes.get(1..)?.starts_with(id).then_some(*number);
        let on_path = self.paths.get(&path).copied();
        let opened = on_path.and_then(|number| open(&mut self.connections, number)).or_else(|| {
            let known = self.ids.iter().filter(|(id, _)| !id.is_empty()).find_map(by_id);
            let recent = self.recent.iter().copied().take(MAX_TRIALS);
            let others = known.into_iter().chain(recent).filter(|n| Some(*n) != on_path);
            others.collect::<Vec<_>>().into_iter().find_map(|n| open(&mut self.connections, n))
        });
        let (number, frames, id_len) = opened?;
        self.name(number, path, bytes.get(1..1 + id_len).unwrap_or_default());
        Some((number, Some(frames)))
    }

    fn on_path(&mut self, path: Path) -> Option<&mut Connection> {
        self.connections.get_mut(self.paths.get(&path)?)
    }

    /// Notes that packets on this path and with this id belong to a connection.
    fn name(&mut self, number: u64, path: Path, id: &[u8]) {
        if self.paths.len() < MAX_CONNECTIONS * MAX_NAMES || self.paths.contains_key(&path) {
            self.paths.insert(path, number);
        }
        if self.ids.len() < MAX_CONNECTIONS * MAX_NAMES && !self.ids.contains_key(id) {
            self.ids.insert(id.to_vec(), number);
        }
    }

    /// Forgets the older half of the connections if there are too many.
    fn make_room(&mut self) {
        if self.recent.len() < MAX_CONNECTIONS {
            return;
        }
        self.recent.truncate(MAX_CONNECTIONS / 2);
        let recent = &self.recent;
        self.connections.retain(|number, _| recent.contains(number));
        let connections = &self.connections;
        self.paths.retain(|_, number| connections.contains_key(number));
        self.ids.retain(|_, number| connections.contains_key(number));
    }
}
