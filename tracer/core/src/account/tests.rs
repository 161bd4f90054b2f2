use super::servers::{MAX_QUERIES, MAX_SERVERS, Others};
use std::sync::Arc;

use super::*;
use crate::proto::Unread;
use crate::record::BootTime;

fn connection(transport: Transport) -> Connection {
    let remote = Some("192.0.2.1:443".parse().unwrap());
    Connection { key: 1, transport, local: None, remote }
}

fn application(name: &str) -> Arc<Application> {
    Arc::new(Application::new(1000, Some(&format!("/usr/bin/{name}")), "thread"))
}

fn name(name: &str, source: NameSource) -> ServerName {
    let name = name.to_owned();
    ServerName { time: BootTime(0), source, name, alpn: Vec::new(), ech: false }
}

/// Returns the traffic of a TLS connection of which nothing was read.
fn unread(server: Option<&str>, tls: u64) -> Traffic {
    Traffic {
        sent: 500 + tls,
        handshake: 500,
        unread: Unread { tls, ..Unread::default() },
        server: server.map(|server| name(server, NameSource::Tls)),
        ..Traffic::default()
    }
}

/// Returns the account of an application with these connections.
fn account(connections: &[(Transport, Traffic)]) -> Account {
    let mut accounts = Accounts::default();
    for (transport, traffic) in connections {
        accounts.ended(application("browser"), &connection(*transport), traffic);
    }
    let (_, account) = accounts.applications()[0];
    account.clone()
}

#[test]
fn identifies_an_application_by_its_executable() {
    assert_eq!(application("browser").name(), "browser");
    assert_eq!(Application::new(1, None, "Socket Thread").name(), "Socket Thread");
    // The names of threads do not matter if the executable is known.
    let exe = Some("/opt/b");
    assert_eq!(Application::new(1, exe, "one"), Application::new(1, exe, "two"));
    assert_ne!(Application::new(1, exe, "one"), Application::new(2, exe, "one"));
}

#[test]
fn counts_content_once_that_is_captured_in_plain() {
    let linked = Traffic {
        sent: 1600,
        handshake: 500,
        read_in_plain: 1100,
        plain_records: 2,
        plain_overhead: 170,
        ..Traffic::default()
    };
    let plain = Traffic { sent: 1000, decoded: 1000, ..Traffic::default() };
    let read = account(&[(Transport::Tcp, linked.clone()), (Transport::Tls, plain.clone())]);
    assert_eq!((read.content(), read.read(), read.percent_read()), (1000, 1000, Some(100)));
    assert!(read.is_all_read());
    assert_eq!((read.sockets.sent_bytes, read.plain.written_bytes), (1600, 1000));
    assert_eq!(read.servers.list()[0].unread_bytes, 0);

    // Missing plaintext counts as unread.
    let lost = account(&[(Transport::Tcp, linked.clone())]);
    assert_eq!((lost.never_in_plain(), lost.percent_read()), (1100 - 170, Some(0)));
    let half = Traffic { sent: 465, decoded: 465, ..Traffic::default() };
    let half = account(&[(Transport::Tcp, linked), (Transport::Tls, half)]);
    assert_eq!((half.never_in_plain(), half.percent_read()), (465, Some(50)));
    // Plaintext that was not decoded counts as unread.
    let cut = Traffic { sent: 1000, decoded: 600, missing: 400, ..plain };
    assert_eq!(account(&[(Transport::Tls, cut)]).percent_read(), Some(60));
}

#[test]
fn reports_100_percent_only_if_all_was_read() {
    let read = Traffic { sent: 1_000_000, decoded: 1_000_000, ..Traffic::default() };
    let one = (Transport::Tcp, unread(None, 1));
    let almost = account(&[(Transport::Tcp, read.clone()), one]);
    assert_eq!((almost.percent_read(), almost.is_all_read()), (Some(99), false));
    let gap = Traffic { unknown_gaps: 1, ..read.clone() };
    assert_eq!(account(&[(Transport::Tcp, gap)]).percent_read(), Some(99));

    let mut accounts = Accounts::default();
    accounts.ended(application("a"), &connection(Transport::Tcp), &read);
    accounts.opaque(application("a"), 20_000);
    assert_eq!(accounts.applications()[0].1.percent_read(), Some(98));
    assert_eq!(account(&[(Transport::Tcp, unread(None, 0))]).percent_read(), None);
}

#[test]
fn lists_servers_of_unread_bytes() {
    let quic = Traffic {
        sent: 90,
        unread: Unread { datagrams: 90, ..Unread::default() },
        server: Some(name("q.test", NameSource::Quic)),
        ..Traffic::default()
    };
    let account = account(&[
        (Transport::Tcp, unread(Some("a.test"), 10)),
        (Transport::Tcp, unread(Some("b.test"), 20)),
        (Transport::Tcp, unread(Some("a.test"), 30)),
        (Transport::Tcp, unread(None, 5)),
        (Transport::Udp, quic),
        // Unencrypted, so its server is not listed.
        (Transport::Tcp, Traffic { sent: 3, decoded: 3, ..Traffic::default() }),
    ]);
    let list = account.servers.list();
    let list: Vec<_> =
        list.iter().map(|s| (&s.name[..], s.via, s.connections, s.unread_bytes)).collect();
    assert_eq!(
        list,
        [
            ("q.test", Via::Datagrams, 1, 90),
            ("a.test", Via::Tls, 2, 40),
            ("b.test", Via::Tls, 1, 20),
            ("192.0.2.1:443", Via::Tls, 1, 5),
        ]
    );
    assert!(account.servers.list()[0].named && !account.servers.list()[3].named);
    assert_eq!(account.sockets.encrypted_unread_bytes, 65);
    assert_eq!(account.sockets.datagrams_unread_bytes, 90);
}

#[test]
fn bounds_names_and_keeps_their_total() {
    let mut accounts = Accounts::default();
    for i in 0..2 * MAX_SERVERS {
        let traffic = unread(Some(&format!("{i}.test")), 2);
        accounts.ended(application("a"), &connection(Transport::Tcp), &traffic);
        accounts.named(application("a"), &name(&format!("{i}.test"), NameSource::Dns));
    }
    let (_, account) = accounts.applications()[0];
    assert_eq!(account.servers.list().len(), MAX_SERVERS);
    let more = MAX_SERVERS as u64;
    assert_eq!(account.servers.others(), Others { count: more, unread_bytes: 2 * more });
    assert_eq!(account.queries.list().len(), MAX_QUERIES);
    assert_eq!(account.queries.others(), 2 * more - MAX_QUERIES as u64);
}

#[test]
fn bounds_applications_and_keeps_their_total() {
    let mut accounts = Accounts::default();
    let many = MAX_APPLICATIONS as u64 + 10;
    for i in 0..many {
        let who = application(&i.to_string());
        accounts.ended(who, &connection(Transport::Tcp), &unread(Some("a.test"), 1));
        // This application is always in use, so it is not dropped.
        accounts.named(application("0"), &name("b.test", NameSource::Dns));
    }
    let applications = accounts.applications();
    assert_eq!(applications.len(), MAX_APPLICATIONS);
    let kept = applications.iter().find(|(who, _)| who.name() == "0").unwrap();
    assert_eq!(kept.1.queries.list(), [("b.test", many)]);
    let others = accounts.others();
    assert_eq!(others.sockets.encrypted_unread_bytes, 10);
    assert_eq!(others.servers.list()[0].connections, 10);
}

#[test]
fn serialises_accounts() {
    let account = account(&[(Transport::Tcp, unread(Some("a.test"), 10))]);
    let json = serde_json::to_value(&account).unwrap();
    assert_eq!(json["sockets"]["encrypted_unread_bytes"], 10);
    assert_eq!(json["servers"]["list"][0]["name"], "a.test");
    assert_eq!(json["servers"]["list"][0]["via"], "tls");
    assert_eq!(json["servers"]["others"]["count"], 0);
    assert_eq!(json["queries"]["list"], serde_json::json!([]));
}
