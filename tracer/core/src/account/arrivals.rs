//! What an application tried to send and what did not arrive: hosts that it looked up
//! or connected to without sending them anything, and requests that it did not finish.
//!
//! A report that a browser failed to send is no less of a report. Lookups, handshakes
//! and the beginnings of requests show that it tried.

use std::collections::VecDeque;

use foldhash::HashMap;

use serde::{Deserialize, Serialize};

use crate::address::lowercase;
use crate::proto::Traffic;
use crate::record::{BootTime, Connection, Transport};

/// Maximum number of hosts that are followed separately per application.
pub(super) const MAX_HOSTS: usize = 1024;

/// Maximum number of unfinished requests that are listed per application.
pub(super) const MAX_UNFINISHED: usize = 256;

/// The attempts of one application to reach hosts.
#[derive(Debug, Clone, Default)]
pub struct Arrivals {
    hosts: HashMap<String, Attempts>,
    unfinished: VecDeque<UnfinishedRequest>,
    /// Number of hosts and requests beyond the limits.
    uncounted: u64,
    connections: Connections,
}

/// The connections on which data was sent, by the place of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Connections {
    /// TCP connections to other machines, or to unknown addresses.
    pub outside: u64,
    /// TCP connections within this machine.
    pub loopback: u64,
}

/// The attempts to reach one host.
#[derive(Debug, Clone, Default)]
struct Attempts {
    lookups: u64,
    handshakes: u64,
    refused: bool,
    times: Option<(BootTime, BootTime)>,
    /// Set once a request or encrypted data was sent to the host.
    reached: bool,
}

/// A host to which an application sent nothing, although it tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreachedHost {
    /// The name of the host.
    pub host: String,
    /// The furthest stage that an attempt reached.
    pub attempt: Attempt,
    /// Number of DNS queries for it.
    pub lookups: u64,
    /// Number of connections to it.
    pub connections: u64,
    /// Time of the first attempt.
    pub first: BootTime,
    /// Time of the last attempt.
    pub last: BootTime,
}

/// The furthest stage that attempts to reach a host reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Attempt {
    /// Its name was looked up, and no connection named it. The lookup failed, no
    /// connection could be made, or none was needed.
    LookedUp,
    /// A TLS handshake began, and no data followed.
    Handshake,
    /// The application refused to go on with the handshake, as it does if it does not
    /// trust the certificate.
    Refused,
}

impl Attempt {
    /// Returns the result in words, as a heading.
    pub fn describe(self) -> &'static str {
        match self {
            Self::LookedUp => "looked up, and nothing was sent",
            Self::Handshake => "connected to, and nothing was sent but a TLS handshake",
            Self::Refused => "connected to, and the certificate was refused",
        }
    }
}

/// A request of which only the beginning was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnfinishedRequest {
    /// Time at which it began.
    pub time: BootTime,
    /// The host, if it was sent.
    pub host: Option<String>,
    /// The method, if it was sent.
    pub method: Option<String>,
}

impl Arrivals {
    /// Adds a DNS query.
    pub(super) fn looked_up(&mut self, name: &str, time: BootTime) {
        self.attempt(host_of_query(name), time, |host| host.lookups += 1);
    }

    /// Adds a request to a host.
    pub(super) fn requested(&mut self, host: &str, time: BootTime) {
        self.attempt(host, time, |host| host.reached = true);
    }

    /// Adds a request that was not finished.
    pub(super) fn unfinished(&mut self, request: UnfinishedRequest) {
        if self.unfinished.len() >= MAX_UNFINISHED {
            self.unfinished.pop_front();
            self.uncounted += 1;
        }
        self.unfinished.push_back(request);
    }

    /// Adds a connection that was closed.
    pub(super) fn ended(&mut self, connection: &Connection, traffic: &Traffic) {
        if connection.transport == Transport::Tcp && traffic.sent > 0 {
            let ip = connection.remote.map(|remote| remote.ip().to_canonical());
            match ip.is_some_and(|ip| ip.is_loopback()) {
                true => self.connections.loopback += 1,
                false => self.connections.outside += 1,
            }
        }
        let Some(server) = &traffic.server else {
            return;
        };
        let is_reached = traffic.sent > traffic.handshake;
        self.attempt(&server.name, server.time, |host| {
            host.handshakes += 1;
            host.reached |= is_reached;
            host.refused |= traffic.refused;
        });
    }

    /// Returns the hosts that were not reached, in the order of their first attempt.
    pub fn unreached(&self) -> Vec<UnreachedHost> {
        let mut list: Vec<_> = self
            .hosts
            .iter()
            .filter(|(_, attempts)| !attempts.reached)
            .filter_map(|(host, attempts)| {
                let (first, last) = attempts.times?;
                Some(UnreachedHost {
                    host: host.clone(),
                    attempt: match attempts.handshakes {
                        0 => Attempt::LookedUp,
                        _ if attempts.refused => Attempt::Refused,
                        _ => Attempt::Handshake,
                    },
                    lookups: attempts.lookups,
                    connections: attempts.handshakes,
                    first,
                    last,
                })
            })
            .collect();
        list.sort_by(|a, b| (a.first, &a.host).cmp(&(b.first, &b.host)));
        list
    }

    /// Returns the hosts that were sent something.
    pub fn reached(&self) -> impl Iterator<Item = &str> {
        let reached = self.hosts.iter().filter(|(_, attempts)| attempts.reached);
        reached.map(|(host, _)| &host[..])
    }

    /// Returns the requests that were not finished, in order.
    pub fn unfinished_requests(&self) -> impl Iterator<Item = &UnfinishedRequest> {
        self.unfinished.iter()
    }

    /// Returns the number of hosts and requests beyond the limits.
    pub fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// Returns the connections on which data was sent.
    pub fn connections(&self) -> Connections {
        self.connections
    }

    /// Reports whether an attempt was made, and no other machine was reached.
    pub fn only_this_machine(&self) -> bool {
        let tried = self.connections.loopback > 0 || !self.hosts.is_empty();
        tried && self.connections.outside == 0
    }

    pub(super) fn merge(&mut self, other: Self) {
        for (host, attempts) in other.hosts {
            let Some((first, last)) = attempts.times else {
                continue;
            };
            self.attempt(&host, first, |known| {
                known.lookups += attempts.lookups;
                known.handshakes += attempts.handshakes;
                known.refused |= attempts.refused;
                known.reached |= attempts.reached;
            });
            self.attempt(&host, last, |_| ());
        }
        for request in other.unfinished {
            self.unfinished(request);
        }
        self.uncounted += other.uncounted;
        self.connections.outside += other.connections.outside;
        self.connections.loopback += other.connections.loopback;
    }

    fn attempt(&mut self, host: &str, time: BootTime, add: impl FnOnce(&mut Attempts)) {
        let host = lowercase(host);
        let is_full = self.hosts.len() >= MAX_HOSTS;
        let attempts = match self.hosts.get_mut(&*host) {
            Some(known) => known,
            None if is_full => {
                self.uncounted += 1;
                return;
            }
            None => self.hosts.entry(host.into_owned()).or_default(),
        };
        attempts.times = Some(match attempts.times {
            Some((first, last)) => (first.min(time), last.max(time)),
            None => (time, time),
        });
        add(attempts);
    }
}

/// Returns the host that a query is about: a query for the parameters of a service
/// puts its port and scheme before the name (`_8443._https.a.test`, RFC 9460).
fn host_of_query(name: &str) -> &str {
    let mut host = name;
    while let Some((label, rest)) = host.split_once('.')
        && label.starts_with('_')
    {
        host = rest;
    }
    host
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{NameSource, ServerName, Unread};

    fn server(name: &str, time: u64) -> Option<ServerName> {
        let (time, name) = (BootTime(time), name.to_owned());
        Some(ServerName { time, source: NameSource::Tls, name, alpn: Vec::new(), ech: false })
    }

    fn connection(remote: &str) -> Connection {
        let remote = Some(remote.parse().unwrap());
        Connection { key: 1, transport: Transport::Tcp, local: None, remote }
    }

    /// A connection to a server on which only a handshake was sent.
    fn handshake(name: &str, time: u64) -> Traffic {
        Traffic { sent: 500, handshake: 500, server: server(name, time), ..Traffic::default() }
    }

    fn unreached(arrivals: &Arrivals) -> Vec<(String, Attempt)> {
        arrivals.unreached().into_iter().map(|host| (host.host, host.attempt)).collect()
    }

    #[test]
    fn hosts_that_were_sent_nothing_are_listed_by_name() {
        let mut arrivals = Arrivals::default();
        arrivals.looked_up("collector.test", BootTime(5));
        arrivals.looked_up("collector.test", BootTime(9));
        arrivals.looked_up("_8443._https.other.test", BootTime(7));
        let remote = connection("192.0.2.1:443");
        arrivals.ended(&remote, &handshake("silent.test", 11));
        arrivals.ended(&remote, &Traffic { refused: true, ..handshake("refused.test", 12) });
        let list = arrivals.unreached();
        assert_eq!(
            (&list[0].host[..], list[0].lookups, list[0].first, list[0].last),
            ("collector.test", 2, BootTime(5), BootTime(9))
        );
        let rest = &unreached(&arrivals)[1..];
        assert_eq!(
            rest,
            [
                ("other.test".to_owned(), Attempt::LookedUp),
                ("silent.test".to_owned(), Attempt::Handshake),
                ("refused.test".to_owned(), Attempt::Refused),
            ]
        );
    }

    #[test]
    fn hosts_that_were_sent_something_are_not_listed() {
        for order in [[0, 1], [1, 0]] {
            let mut arrivals = Arrivals::default();
            for step in order {
                match step {
                    0 => ["a.test", "b.test", "c.test"].into_iter().for_each(|name| {
                        arrivals.looked_up(name, BootTime(1));
                    }),
                    _ => {
                        arrivals.requested("A.test", BootTime(2));
                        let read =
                            Traffic { sent: 900, read_in_plain: 400, ..handshake("b.test", 3) };
                        arrivals.ended(&connection("192.0.2.1:443"), &read);
                        let unread = Unread { tls: 400, ..Unread::default() };
                        let unread = Traffic { sent: 900, unread, ..handshake("c.test", 3) };
                        arrivals.ended(&connection("192.0.2.1:443"), &unread);
                        // A later attempt that fails changes nothing.
                        let refused = Traffic { refused: true, ..handshake("c.test", 4) };
                        arrivals.ended(&connection("192.0.2.1:443"), &refused);
                    }
                }
            }
            assert_eq!(unreached(&arrivals), []);
        }
    }

    #[test]
    fn connections_within_the_machine_reach_no_other() {
        let mut arrivals = Arrivals::default();
        assert!(!arrivals.only_this_machine());
        for address in ["127.0.0.1:80", "[::1]:80", "[::ffff:127.0.0.9]:80"] {
            arrivals.ended(&connection(address), &handshake("localhost", 1));
        }
        assert!(arrivals.only_this_machine());
        // Datagrams may not have arrived.
        let udp = Connection { transport: Transport::Udp, ..connection("192.0.2.1:443") };
        arrivals.ended(&udp, &Traffic { sent: 40, ..Traffic::default() });
        // Nothing was sent.
        arrivals.ended(&connection("192.0.2.1:443"), &Traffic::default());
        assert!(arrivals.only_this_machine());
        arrivals.ended(&connection("192.168.0.1:443"), &handshake("router.test", 1));
        assert_eq!(arrivals.connections(), Connections { outside: 1, loopback: 3 });
        assert!(!arrivals.only_this_machine());
    }

    #[test]
    fn memory_is_bounded_and_totals_stay_right() {
        let mut arrivals = Arrivals::default();
        let request = |time| UnfinishedRequest { time: BootTime(time), host: None, method: None };
        for n in 0..2000 {
            arrivals.looked_up(&format!("{n}.test"), BootTime(n));
            arrivals.unfinished(request(n));
        }
        assert_eq!(arrivals.unreached().len(), MAX_HOSTS);
        assert_eq!(arrivals.unfinished_requests().count(), MAX_UNFINISHED);
        let counted = (MAX_HOSTS + MAX_UNFINISHED) as u64;
        assert_eq!(arrivals.uncounted() + counted, 4000);

        let mut other = Arrivals::default();
        other.looked_up("0.test", BootTime(9000));
        arrivals.merge(other);
        let first = &arrivals.unreached()[0];
        assert_eq!((&first.host[..], first.lookups), ("0.test", 2));
        assert_eq!((first.first, first.last), (BootTime(0), BootTime(9000)));
    }
}
