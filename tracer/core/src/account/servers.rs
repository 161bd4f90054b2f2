//! Counters by name, bounded in number.

use std::net::SocketAddr;

use foldhash::HashMap;

use serde::Serialize;

/// Maximum number of servers that are counted separately per application.
pub(super) const MAX_SERVERS: usize = 256;

/// Maximum number of queried names that are counted separately per application.
pub(super) const MAX_QUERIES: usize = 256;

/// The transport of bytes to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// TLS over TCP.
    Tls,
    /// Datagrams. They belong to QUIC if the server has a name.
    Datagrams,
}

/// A server that received encrypted bytes or unread datagrams.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Name from a ClientHello, or the address and port if none was seen.
    pub name: String,
    /// Set if `name` is a host name.
    pub named: bool,
    /// Set if the name may be that of a server in front of the real one
    /// ([`ServerName::ech`](crate::proto::ServerName::ech)).
    pub ech: bool,
    /// Transport of the bytes.
    pub via: Via,
    /// Number of connections, or of pairs of sockets for datagrams.
    pub connections: u64,
    /// Number of bytes that were sent to the server and not read.
    pub unread_bytes: u64,
}

/// The servers of one application.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(into = "Listed<Server>")]
pub struct Servers {
    by_name: HashMap<(Via, String), Server>,
    others: Others,
}

/// The total of the entries beyond the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Others {
    /// Number of connections or queries.
    pub count: u64,
    /// Number of bytes that were not read.
    pub unread_bytes: u64,
}

impl Servers {
    /// Adds a connection with `unread` bytes that were not read. The server is
    /// identified by its name (with [`Server::ech`]) or else by its address.
    pub(super) fn add(
        &mut self,
        via: Via,
        name: Option<(&str, bool)>,
        address: Option<SocketAddr>,
        unread: u64,
    ) {
        let (name, named, ech) = match (name, address) {
            (Some((name, ech)), _) => (name.to_owned(), true, ech),
            (None, Some(address)) => (address.to_string(), false, false),
            (None, None) => ("unknown".to_owned(), false, false),
        };
        self.merge_one(Server { name, named, ech, via, connections: 1, unread_bytes: unread });
    }

    /// Returns the servers, those with most unread bytes first.
    pub fn list(&self) -> Vec<&Server> {
        let mut list: Vec<_> = self.by_name.values().collect();
        list.sort_by(|a, b| {
            let order = b.unread_bytes.cmp(&a.unread_bytes).then(b.connections.cmp(&a.connections));
            order.then_with(|| (&a.name, a.via).cmp(&(&b.name, b.via)))
        });
        list
    }

    /// Returns the total of the servers beyond the limit.
    pub fn others(&self) -> Others {
        self.others
    }

    pub(super) fn merge(&mut self, other: Self) {
        for server in other.by_name.into_values() {
            self.merge_one(server);
        }
        self.others.count += other.others.count;
        self.others.unread_bytes += other.others.unread_bytes;
    }

    fn merge_one(&mut self, server: Server) {
        let key = (server.via, server.name.clone());
        if let Some(known) = self.by_name.get_mut(&key) {
            known.connections += server.connections;
            known.unread_bytes += server.unread_bytes;
            known.ech |= server.ech;
        } else if self.by_name.len() < MAX_SERVERS {
            self.by_name.insert(key, server);
        } else {
            self.others.count += server.connections;
            self.others.unread_bytes += server.unread_bytes;
        }
    }
}

/// The number of DNS queries of one application, by name.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(into = "Listed<Query>")]
pub struct Queries {
    by_name: HashMap<String, u64>,
    others: u64,
}

/// A queried name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Query {
    name: String,
    count: u64,
}

impl Queries {
    pub(super) fn add(&mut self, name: &str) {
        self.count(name, 1);
    }

    /// Returns the names with their number of queries, the most frequent first.
    pub fn list(&self) -> Vec<(&str, u64)> {
        let mut list: Vec<_> = self.by_name.iter().map(|(name, n)| (&name[..], *n)).collect();
        list.sort_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then(a.cmp(b)));
        list
    }

    /// Returns the number of queries for names beyond the limit.
    pub fn others(&self) -> u64 {
        self.others
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (name, count) in &other.by_name {
            self.count(name, *count);
        }
        self.others += other.others;
    }

    fn count(&mut self, name: &str, count: u64) {
        if let Some(known) = self.by_name.get_mut(name) {
            *known += count;
        } else if self.by_name.len() < MAX_QUERIES {
            self.by_name.insert(name.to_owned(), count);
        } else {
            self.others += count;
        }
    }
}

/// The form in JSON: `{"list": […], "others": {…}}`, in descending order.
#[derive(Debug, Serialize)]
struct Listed<T> {
    list: Vec<T>,
    others: Others,
}

impl From<Servers> for Listed<Server> {
    fn from(servers: Servers) -> Self {
        Self { list: servers.list().into_iter().cloned().collect(), others: servers.others }
    }
}

impl From<Queries> for Listed<Query> {
    fn from(queries: Queries) -> Self {
        let query = |(name, count): (&str, u64)| Query { name: name.to_owned(), count };
        Self {
            list: queries.list().into_iter().map(query).collect(),
            others: Others { count: queries.others, unread_bytes: 0 },
        }
    }
}
