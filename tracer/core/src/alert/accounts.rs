//! Accounts as lines for people.

use std::fmt::Write as _;

use super::text::printable;
use crate::{
    account::{Account, Servers, Via},
    application::Application,
};

/// Describes an account in one line: the bytes sent, the share that was read, and the rest.
pub fn application_line(application: &Application, account: &Account) -> String {
    let name = printable(application.name());
    let (sockets, plain) = (&account.sockets, &account.plain);
    let sent = sockets.sent_bytes.max(plain.written_bytes);
    let share = match account.percent_read() {
        None => "no content".to_owned(),
        Some(_) if account.is_all_read() => "all of the content was read".to_owned(),
        Some(percent) => format!("{percent}% of the content was read"),
    };
    let mut line = format!("{name} (uid {}): {sent} bytes sent, {share}", application.uid);
    let unread = [
        (sockets.encrypted_unread_bytes, "in TLS", Some(Via::Tls)),
        (account.never_in_plain(), "in TLS before its library was watched", None),
        (sockets.datagrams_unread_bytes, "in datagrams", Some(Via::Datagrams)),
        (sockets.other_unread_bytes + plain.unread_bytes, "in other forms", None),
        (sockets.missing_bytes + plain.missing_bytes, "not captured", None),
        (account.opaque_bytes, "in bodies that could not be read through", None),
    ];
    let mut separator = "; not read: ";
    for (bytes, what, via) in unread.into_iter().filter(|(bytes, ..)| *bytes > 0) {
        // Writing to a string cannot fail.
        let _ = write!(line, "{separator}{bytes} bytes {what}");
        if let Some(via) = via {
            line += &top_servers(&account.servers, via);
        }
        separator = ", ";
    }
    let gaps = sockets.unknown_gaps + plain.unknown_gaps;
    if gaps > 0 {
        let _ = write!(line, "{separator}{gaps} gaps of unknown length");
    }
    line
}

/// Returns the servers with the most unread bytes.
fn top_servers(servers: &Servers, via: Via) -> String {
    const TOP: usize = 3;
    let list = servers.list();
    let mut unread = list.iter().filter(|server| server.via == via && server.unread_bytes > 0);
    let top = unread.by_ref().take(TOP);
    let names = top.map(|server| format!("{} {}", printable(&server.name), server.unread_bytes));
    let mut names = names.collect::<Vec<_>>().join(", ");
    let more = unread.count();
    if more > 0 {
        let _ = write!(names, ", {more} more");
    }
    if names.is_empty() { names } else { format!(" ({names})") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::account::Accounts;
    use crate::proto::{NameSource, ServerName, Traffic, Unread};
    use crate::record::{BootTime, Connection, Transport};

    fn line_of(traffic: &[(Transport, Traffic)]) -> String {
        let mut accounts = Accounts::default();
        for (transport, traffic) in traffic {
            let remote = Some("192.0.2.1:443".parse().unwrap());
            let connection = Connection { key: 1, transport: *transport, local: None, remote };
            let who = Application::new(7, Some("/opt/br\x1bowser"), "");
            accounts.ended(who.into(), &connection, traffic);
        }
        let (who, account) = accounts.applications()[0];
        application_line(who, account)
    }

    #[test]
    fn an_application_is_called_read_only_if_it_was() {
        let read = Traffic { sent: 900, decoded: 900, ..Traffic::default() };
        let line = line_of(&[(Transport::Tcp, read.clone())]);
        assert_eq!(line, "br\\u{1b}owser (uid 7): 900 bytes sent, all of the content was read");

        let mut connections = vec![(Transport::Tcp, read)];
        for (name, tls) in [("a.test", 40), ("b.test", 10), ("c.test", 30), ("d.test", 20)] {
            let (time, alpn) = (BootTime(0), Vec::new());
            let name = name.to_owned();
            let server = ServerName { time, source: NameSource::Tls, name, alpn, ech: false };
            let unread = Unread { tls, ..Unread::default() };
            let server = Some(server);
            connections.push((
                Transport::Tcp,
                Traffic { sent: tls, unread, server, ..Traffic::default() },
            ));
        }
        let datagrams = Unread { datagrams: 5, ..Unread::default() };
        let udp = Traffic { sent: 8, unread: datagrams, missing: 3, ..Traffic::default() };
        connections.push((Transport::Udp, Traffic { unknown_gaps: 1, ..udp }));
        assert_eq!(
            line_of(&connections),
            "br\\u{1b}owser (uid 7): 1008 bytes sent, 89% of the content was read; not read: \
             100 bytes in TLS (a.test 40, c.test 30, d.test 20, 1 more), \
             5 bytes in datagrams (192.0.2.1:443 5), 3 bytes not captured, \
             1 gaps of unknown length"
        );
        let handshake = Traffic { sent: 9, handshake: 9, ..Traffic::default() };
        assert!(line_of(&[(Transport::Tcp, handshake)]).ends_with("9 bytes sent, no content"));
    }
}
