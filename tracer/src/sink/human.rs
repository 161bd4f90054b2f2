//! Alerts as lines for people.

use std::{
    fmt::Write as _,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use super::redact::Redactor;
use crate::{
    account::{Account, Application, Servers, Via},
    detect::Kind,
    judge::{ALERT, Severity},
    pipeline::{Decoded, Output},
};

/// How lines look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// With the terminal's colours.
    pub colour: bool,
}

impl Style {
    const RED: &'static str = "\x1b[1;31m";
    const YELLOW: &'static str = "\x1b[33m";
    const DIM: &'static str = "\x1b[2m";
    const BOLD: &'static str = "\x1b[1m";

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("{code}{text}\x1b[0m") } else { text.to_owned() }
    }

    fn severity(self, severity: Severity) -> String {
        let code = match severity {
            Severity::Critical | Severity::High => Self::RED,
            Severity::Medium => Self::YELLOW,
            Severity::Low | Severity::Info => Self::DIM,
        };
        self.paint(code, severity.label())
    }
}

/// The line of an output; `None` for what is no alert.
pub(super) fn line(output: &Output, style: &Style, redactor: &Redactor) -> Option<String> {
    match output {
        Output::Request(decoded) => decoded.is_alert().then(|| alert(decoded, style, redactor)),
        Output::Repeated { .. } => None,
        Output::Lost { loss, count, total } => {
            let text = format!("LOST {count} {} ({total} in all)", loss.explain());
            Some(style.paint(Style::YELLOW, &text))
        }
    }
}

fn alert(decoded: &Decoded, style: &Style, redactor: &Redactor) -> String {
    let request = &decoded.sent.message;
    let process = &decoded.sent.process;
    let mut line = String::new();
    if let Some(unix) = decoded.unix {
        let time = UNIX_EPOCH + Duration::from_nanos(unix);
        let time = humantime::format_rfc3339_millis(time).to_string();
        line = style.paint(Style::DIM, &time) + "  ";
    }
    if let Some(verdict) = &decoded.verdict {
        line += &style.severity(verdict.severity);
    }
    let name = decoded.exe.as_deref().and_then(|exe| Path::new(exe).file_name()?.to_str());
    let name = printable(name.unwrap_or(&process.comm));
    // Writing to a string cannot fail.
    let _ = write!(line, "  {name} (uid {}, pid {})", process.uid, process.tgid);

    let urls: Vec<_> = decoded
        .disclosures
        .iter()
        .filter(|one| one.severity() >= ALERT && one.finding.kind == Kind::Url)
        .map(|one| &one.finding)
        .collect();
    let to = match (&request.authority, decoded.sent.connection.remote) {
        (Some(authority), _) => printable(authority),
        (None, Some(remote)) => remote.to_string(),
        (None, None) => "an unknown host".into(),
    };
    let _ = write!(line, " told {}", style.paint(Style::BOLD, &to));
    if let Some(first) = urls.first() {
        let url = style.paint(Style::BOLD, &printable(&redactor.url(&first.value)));
        let _ = write!(line, " about {url}");
        if first.truncated {
            line.push_str("… (cut)");
        }
        // Other findings of the same URL are the same news.
        let others: std::collections::HashSet<_> =
            urls.iter().map(|f| &f.value).filter(|value| **value != first.value).collect();
        if !others.is_empty() {
            let _ = write!(line, " and {} more", others.len());
        }
        let _ = write!(line, "  {}", style.paint(Style::DIM, &printable(&first.chain)));
    }
    line
}

/// What an application sent, in one line: how much of it was read, and where
/// the rest went.
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

/// The servers that most unread bytes went to.
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

/// Text from the network, fit for a terminal: control characters (which could
/// move the cursor or change colours) and bidirectional overrides are shown as
/// escapes, and long text is cut.
pub fn printable(text: &str) -> String {
    const MAX: usize = 400;
    let mut shown = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == MAX {
            shown.push('…');
            break;
        }
        let override_ = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || override_ {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
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
            accounts.ended(who, &connection, traffic);
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

    #[test]
    fn nothing_from_the_network_reaches_the_terminal_raw() {
        assert_eq!(printable("a\x1b[31mb\r\n"), "a\\u{1b}[31mb\\u{d}\\u{a}");
        assert_eq!(printable("\u{202e}x"), "\\u{202e}x");
        assert!(printable(&"x".repeat(10_000)).chars().count() <= 401);
    }
}
