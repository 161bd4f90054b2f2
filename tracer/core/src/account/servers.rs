//! Counters by name, bounded.

use std::collections::HashMap;
use std::net::SocketAddr;

use serde::Serialize;

/// The most servers told apart per application.
pub(super) const MAX_SERVERS: usize = 256;

/// The most names asked for told apart per application.
pub(super) const MAX_QUERIES: usize = 256;

/// How bytes went to a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// In TLS, over TCP.
    Tls,
    /// In datagrams: QUIC's, where the server has a name.
    Datagrams,
}

/// A server that encrypted bytes or unread datagrams went to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    /// Its name, as the client gave it in a ClientHello; its address and port
    /// where it gave none that was seen.
    pub name: String,
    /// Whether `name` is a name.
    pub named: bool,
    /// The name may be that of a server which fronts for the real one
    /// ([`ServerName::ech`](crate::proto::ServerName::ech)).
    pub ech: bool,
    /// How the bytes went there.
    pub via: Via,
    /// How many connections, or pairs of sockets, went there.
    pub connections: u64,
    /// How many bytes went there and were not read.
    pub unread_bytes: u64,
}

/// The servers of one application.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(into = "Listed<Server>")]
pub struct Servers {
    by_name: HashMap<(Via, String), Server>,
    others: Others,
}

/// Those beyond the number that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Others {
    /// How often: connections, or queries.
    pub count: u64,
    /// How many bytes were not read.
    pub unread_bytes: u64,
}

impl Servers {
    /// Adds a connection of which `unread` bytes were not read, to a server
    /// known by its name (and whether that may be a front's) or its address.
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

    /// The servers, those with most unread bytes first.
    pub fn list(&self) -> Vec<&Server> {
        let mut list: Vec<_> = self.by_name.values().collect();
        list.sort_by(|a, b| {
            let order = b.unread_bytes.cmp(&a.unread_bytes).then(b.connections.cmp(&a.connections));
            order.then_with(|| (&a.name, a.via).cmp(&(&b.name, b.via)))
        });
        list
    }

    /// The servers that there was no room for.
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

/// The names that one application asked for, and how often.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(into = "Listed<Query>")]
pub struct Queries {
    by_name: HashMap<String, u64>,
    others: u64,
}

/// A name asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Query {
    name: String,
    count: u64,
}

impl Queries {
    pub(super) fn add(&mut self, name: &str) {
        self.count(name, 1);
    }

    /// The names, those asked for most often first.
    pub fn list(&self) -> Vec<(&str, u64)> {
        let mut list: Vec<_> = self.by_name.iter().map(|(name, n)| (&name[..], *n)).collect();
        list.sort_by(|(a, of_a), (b, of_b)| of_b.cmp(of_a).then(a.cmp(b)));
        list
    }

    /// How often names were asked for that there was no room for.
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

/// As JSON shows it: `{"list": […], "others": {…}}`, most first.
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
