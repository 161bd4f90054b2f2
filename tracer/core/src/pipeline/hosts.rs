//! The hosts of connections, for requests that do not name theirs.
//!
//! An HTTP/2 client sends the name of the host once and refers to it from then on.
//! If the connection was joined late, or the first request was lost, the name is
//! unknown. It is derived from the connection's own ClientHello, or from what else
//! was sent to the same address, if all of it names one host.
//!
//! A connection can carry requests for several hosts that share a certificate (RFC
//! 9113, section 9.1.1), so a derived name is a likely one.

use std::{collections::hash_map::Entry, net::SocketAddr, sync::Arc};

use foldhash::HashMap;

use crate::{
    judge::{DerivedHost, HostSource},
    record::{Connection, Record, Transport},
};

/// Maximum number of entries in each table, which is emptied when it is full. A
/// browser has a few hundred connections.
const MAX_ENTRIES: usize = 4096;

/// The hosts of connections and addresses.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    /// The socket of each TLS object or QUIC connection: its key and its peer.
    sockets: HashMap<u64, (u64, Option<SocketAddr>)>,
    /// The server name that was sent on each socket.
    names: HashMap<u64, Arc<str>>,
    /// The host at each address. `None` if there are several.
    addresses: HashMap<SocketAddr, Option<Arc<str>>>,
}

impl Hosts {
    /// Records the socket of a TLS object or QUIC connection.
    pub(super) fn sent(&mut self, record: &Record) {
        if let (Transport::Tcp | Transport::Udp, Some(tls)) =
            (record.connection.transport, record.within_tls)
        {
            let Connection { key, remote, .. } = record.connection;
            bounded(&mut self.sockets).insert(tls, (key, remote));
        }
    }

    /// Records the server name in a ClientHello.
    pub(super) fn named(&mut self, connection: &Connection, name: &str) {
        bounded(&mut self.names).insert(connection.key, name.into());
        self.reached(connection.remote, name);
    }

    /// Records that a request named its host.
    pub(super) fn requested(&mut self, connection: &Connection, host: &str) {
        let (_, remote) = self.socket(connection);
        self.reached(remote, host);
    }

    /// Forgets the name of a connection that was closed.
    pub(super) fn ended(&mut self, connection: &Connection) {
        if connection.transport != Transport::Tls {
            self.names.remove(&connection.key);
        }
    }

    /// Returns the likely host of a request that does not name it.
    pub(super) fn derive(&self, connection: &Connection) -> Option<DerivedHost> {
        let (key, remote) = self.socket(connection);
        if let Some(name) = key.and_then(|key| self.names.get(&key)) {
            return Some(DerivedHost { name: name.to_string(), from: HostSource::ServerName });
        }
        let name = self.addresses.get(&remote?)?.as_ref()?;
        Some(DerivedHost { name: name.to_string(), from: HostSource::Address })
    }

    /// Returns the key and the peer of a connection's socket.
    fn socket(&self, connection: &Connection) -> (Option<u64>, Option<SocketAddr>) {
        match connection.transport {
            Transport::Tls | Transport::Quic => match self.sockets.get(&connection.key) {
                Some((key, remote)) => (Some(*key), *remote),
                None => (None, connection.remote),
            },
            Transport::Tcp | Transport::Udp | Transport::Raw => {
                (Some(connection.key), connection.remote)
            }
        }
    }

    fn reached(&mut self, remote: Option<SocketAddr>, host: &str) {
        let Some(remote) = remote else {
            return;
        };
        match bounded(&mut self.addresses).entry(remote) {
            Entry::Vacant(entry) => {
                entry.insert(Some(host.into()));
            }
            Entry::Occupied(mut entry) => {
                if entry.get().as_deref() != Some(host) {
                    entry.insert(None);
                }
            }
        }
    }
}

fn bounded<K, V>(table: &mut HashMap<K, V>) -> &mut HashMap<K, V> {
    if table.len() >= MAX_ENTRIES {
        table.clear();
    }
    table
}
