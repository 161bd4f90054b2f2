//! Accounts as lines for people.

use std::fmt::Write as _;

use super::{rfc3339, text::printable};
use crate::{
    account::{Account, Attempt, Servers, UnreachedHost, Via},
    application::Application,
    record::{BootTime, Clock},
    wording::counted,
};

/// Maximum number of hosts or requests in one line.
const MAX_NAMES: usize = 10;

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
    let mut line =
        format!("{name} (uid {}): {} sent, {share}", application.uid, counted(sent, "byte"));
    let unread = [
        (sockets.encrypted_unread_bytes, "in TLS", Some(Via::Tls)),
        (account.never_in_plain(), "in TLS before its library was watched", None),
        (sockets.datagrams_unread_bytes, "in datagrams", Some(Via::Datagrams)),
        (sockets.raw_unread_bytes, "on raw or packet sockets", None),
        (sockets.other_unread_bytes + plain.unread_bytes, "in other forms", None),
        (sockets.missing_bytes + plain.missing_bytes, "not captured", None),
        (account.opaque_bytes, "in bodies that could not be read through", None),
    ];
    let mut separator = "; not read: ";
    for (bytes, what, via) in unread.into_iter().filter(|(bytes, ..)| *bytes > 0) {
        // Writing to a string cannot fail.
        let _ = write!(line, "{separator}{} {what}", counted(bytes, "byte"));
        if let Some(via) = via {
            line += &top_servers(&account.servers, via);
        }
        separator = ", ";
    }
    let gaps = sockets.unknown_gaps + plain.unknown_gaps;
    if gaps > 0 {
        let _ = write!(line, "{separator}{} of unknown length", counted(gaps, "gap"));
    }
    line
}

/// Describes what an application tried to send and what did not arrive: a line for each
/// kind of attempt.
pub fn arrival_lines(account: &Account, clock: Option<Clock>) -> Vec<String> {
    let arrivals = &account.arrivals;
    let mut lines = Vec::new();
    let unreached = arrivals.unreached();
    for attempt in [Attempt::LookedUp, Attempt::Handshake, Attempt::Refused] {
        let hosts = unreached.iter().filter(|host| host.attempt == attempt);
        let hosts = hosts.map(|host| unreached_host(host, clock)).collect();
        lines.extend(listed(attempt.describe(), hosts));
    }
    let unfinished = arrivals.unfinished_requests().map(|request| {
        let method = request.method.as_deref().unwrap_or("a request");
        let host = request.host.as_deref().unwrap_or("an unknown host");
        let time = time_of_day(request.time, clock);
        format!("{} to {}{}", printable(method), printable(host), bracketed(&[time]))
    });
    lines.extend(listed("requests that were not finished", unfinished.collect()));
    let never_left = account.never_left();
    if never_left > 0 {
        let bytes = counted(never_left, "byte");
        lines.push(format!("{bytes} written to a TLS library and not sent"));
    }
    if arrivals.uncounted() > 0 {
        lines.push(format!("{} more hosts or requests are not listed", arrivals.uncounted()));
    }
    lines
}

/// Describes a host with the number and the times of the attempts.
fn unreached_host(host: &UnreachedHost, clock: Option<Clock>) -> String {
    let count = host.lookups.max(host.connections);
    let times = (count > 1).then(|| format!("{count} times"));
    let (first, last) = (time_of_day(host.first, clock), time_of_day(host.last, clock));
    let span = match (first, last) {
        (Some(first), Some(last)) if first != last => Some(format!("{first} to {last}")),
        (first, _) => first,
    };
    format!("{}{}", printable(&host.host), bracketed(&[times, span]))
}

/// Returns what is known, in brackets.
fn bracketed(parts: &[Option<String>]) -> String {
    let known: Vec<&str> = parts.iter().flatten().map(String::as_str).collect();
    if known.is_empty() { String::new() } else { format!(" ({})", known.join(", ")) }
}

/// Returns the time of day in UTC, to the second.
fn time_of_day(time: BootTime, clock: Option<Clock>) -> Option<String> {
    let text = rfc3339(clock?.unix(time));
    let (_, time) = text.split_once('T')?;
    Some(format!("{}Z", time.get(..8)?))
}

/// Joins names behind a heading. Returns `None` if there are none.
fn listed(heading: &str, names: Vec<String>) -> Option<String> {
    let more = names.len().saturating_sub(MAX_NAMES);
    let shown = names.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!names.is_empty()).then(|| format!("{heading}: {shown}{more}"))
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
    use crate::account::{Accounts, UnfinishedRequest};
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
             1 gap of unknown length"
        );
        let handshake = Traffic { sent: 9, handshake: 9, ..Traffic::default() };
        assert!(line_of(&[(Transport::Tcp, handshake)]).ends_with("9 bytes sent, no content"));
    }

    #[test]
    fn what_did_not_arrive_is_listed_by_name_with_its_times() {
        let who: std::sync::Arc<_> = Application::new(7, Some("/opt/browser"), "").into();
        let mut accounts = Accounts::default();
        let query = |name: &str, second: u64| ServerName {
            time: BootTime(second * 1_000_000_000),
            source: NameSource::Dns,
            name: name.to_owned(),
            alpn: Vec::new(),
            ech: false,
        };
        for (name, second) in [("a\x1b.test", 1), ("a\x1b.test", 5), ("b.test", 2)] {
            accounts.named(who.clone(), &query(name, second));
        }
        let remote = Some("127.0.0.1:443".parse().unwrap());
        let connection = Connection { key: 1, transport: Transport::Tcp, local: None, remote };
        let refused = Traffic { sent: 9, handshake: 9, refused: true, ..Traffic::default() };
        let server = Some(ServerName { source: NameSource::Tls, ..query("c.test", 3) });
        accounts.ended(who.clone(), &connection, &Traffic { server, ..refused });
        let host = Some("d.test".to_owned());
        let request = UnfinishedRequest { time: BootTime(0), host, method: Some("POST".into()) };
        accounts.unfinished(who.clone(), request);
        let tls = Connection { transport: Transport::Tls, ..connection };
        let written = Traffic { sent: 100, decoded: 100, ..Traffic::default() };
        accounts.ended(who.clone(), &tls, &written);

        let lines = |accounts: &Accounts, clock| arrival_lines(accounts.applications()[0].1, clock);
        let clock = Clock { boot: BootTime(0), unix: 1_795_341_600_000_000_000 };
        assert_eq!(
            lines(&accounts, Some(clock)),
            [
                "looked up, and nothing was sent: a\\u{1b}.test (2 times, 10:00:01Z to 10:00:05Z), \
                 b.test (10:00:02Z)",
                "connected to, and the certificate was refused: c.test (10:00:03Z)",
                "requests that were not finished: POST to d.test (10:00:00Z)",
                "91 bytes written to a TLS library and not sent",
            ]
        );
        assert_eq!(
            lines(&accounts, None)[0],
            "looked up, and nothing was sent: a\\u{1b}.test (2 times), b.test"
        );

        accounts.requested(who.clone(), "b.test", BootTime(9));
        assert!(!lines(&accounts, None)[0].contains("b.test"));
        assert!(arrival_lines(&Account::default(), Some(clock)).is_empty());
    }
}
