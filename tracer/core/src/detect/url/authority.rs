//! The authority of a URL: user, host and port.
//!
//! Senders join URLs with marks of their own (`http://a.example&2`,
//! `http://a.example__!__`). A host that such a mark follows ends at the mark, and so
//! does the URL, because its path would begin with a slash.

use std::ops::Range;

use super::is_wide_delimiter;

/// Maximum length of an authority: that of a host name (RFC 1035, section 2.3.4)
/// with room for a user and a port.
const MAX_AUTHORITY: usize = 512;

/// The authority of a URL in a text, in bytes of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Authority {
    pub(super) host: Range<usize>,
    /// End of the host, or of the port.
    pub(super) end: usize,
    /// Set if a path, a query or a fragment follows, so that the URL continues.
    pub(super) continues: bool,
    /// Set if nothing but the end of the text ends the authority.
    pub(super) reaches_end: bool,
}

impl Authority {
    /// Parses the authority that begins at `start`, in a run of URL characters that
    /// ends at `run_end`. Returns `None` if it has no host.
    pub(super) fn parse(text: &str, start: usize, run_end: usize) -> Option<Self> {
        let window = text.floor_char_boundary(run_end.min(start + MAX_AUTHORITY));
        let rest = text.get(start..window)?;
        let len = rest.find(|c| matches!(c, '/' | '?' | '#') || is_wide_delimiter(c));
        let all = &rest[..len.unwrap_or(rest.len())];
        let after = &text[start + all.len()..];
        // A fragment has no `#`, and a lone one may be the first of two.
        let reaches_end = after.is_empty() || after == "#";
        let is_marked = after == "#" || after.starts_with("##");
        // Without an end in sight, an `@` may as well belong to something else.
        let is_whole = len.is_some() || window == run_end;
        let user = if is_whole { user_len(all) } else { 0 };
        let host_start = start + user;
        let named = &all[user..];
        let host = host_prefix(named);
        let port = port_len(&named[host.len()..]);
        let end = host_start + host.len() + port;
        let is_cut = host.len() + port < named.len();
        let continues = !is_cut
            && !is_marked
            && is_whole
            && matches!(text.as_bytes().get(end), Some(b'/' | b'?' | b'#'));
        let host = if continues || port > 0 { host } else { without_marks(host) };
        if !is_host(host) || is_cut && !may_precede_mark(host, &named[host.len() + port..]) {
            return None;
        }
        let host = host_start..host_start + host.len();
        let end = if continues || port > 0 { end } else { host.end };
        // A lone colon is punctuation unless a path follows.
        let end = if port == 1 && !continues { end - 1 } else { end };
        Some(Self { host, end, continues, reaches_end })
    }
}

/// Returns the length of user and password, with the `@` that ends them.
fn user_len(authority: &str) -> usize {
    let Some(at) = authority.rfind('@').filter(|at| at + 1 < authority.len()) else {
        return 0;
    };
    // `http://a.example,b@c.example` is a URL and an e-mail address.
    let host = host_prefix(&authority[..at]);
    let mark = authority.as_bytes()[host.len()];
    let is_neighbour =
        host.contains('.') && !host.ends_with('.') && !matches!(mark, b':' | b'@' | b'%');
    if is_neighbour { 0 } else { at + 1 }
}

/// Returns the characters at the start of an authority that can belong to a host.
fn host_prefix(authority: &str) -> &str {
    if authority.starts_with('[') {
        return authority.find(']').map_or("", |at| &authority[..=at]);
    }
    let len = authority.find(|c| !is_host_char(c) && c != '.').unwrap_or(authority.len());
    &authority[..len]
}

/// Returns the length of a colon and a port, which may be empty (RFC 3986, 3.2.3).
fn port_len(rest: &str) -> usize {
    let Some(port) = rest.strip_prefix(':') else {
        return 0;
    };
    let digits = port.bytes().take_while(u8::is_ascii_digit).count();
    let is_port = digits == 0 && port.is_empty() || port[..digits].parse::<u16>().is_ok();
    if is_port { 1 + digits } else { 0 }
}

/// Removes the sender's marks from the end of a host that no path follows: a full
/// stop, and underscores, which do not occur in top-level domains.
fn without_marks(host: &str) -> &str {
    let host = host.trim_end_matches(['.', '_', '-']);
    match host.rsplit_once('.') {
        Some((front, last)) => match last.find('_') {
            Some(at) => &host[..front.len() + 1 + at],
            None => host,
        },
        None => host,
    }
}

/// Reports whether what follows a host can be a mark of the sender. A host that a
/// placeholder or a percent-encoded character continues is not a host.
fn may_precede_mark(host: &str, rest: &str) -> bool {
    let is_template = host.ends_with('.') && rest.starts_with(['$', '*', '%', '+', '~']);
    (host.contains('.') || host.starts_with('[') || host.eq_ignore_ascii_case("localhost"))
        && !is_template
        && !is_triplet(rest)
}

/// Reports a percent-encoded character. After decoding, it may belong to the host.
fn is_triplet(rest: &str) -> bool {
    let digits = rest.strip_prefix('%').and_then(|rest| rest.get(..2));
    digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Reports whether a name can be a host: an IPv6 address in brackets, or non-empty
/// labels of letters, digits, hyphens and underscores.
pub(in crate::detect) fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        // A zone (RFC 6874) names an interface of the sender.
        let address = address.split_once("%25").map_or(address, |(address, _)| address);
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    host.len() <= 253
        && host.split('.').all(|label| {
            (1..=63).contains(&label.chars().count()) && label.chars().all(is_host_char)
        })
}

/// Reports whether a character can occur in a label of a host name, in ASCII or in
/// Unicode (RFC 5890).
fn is_host_char(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' => true,
        _ if c.is_ascii() => false,
        _ if c.is_alphanumeric() => true,
        // Joiners are letters of some scripts (RFC 5892, appendix A).
        '\u{200c}' | '\u{200d}' => true,
        // Punctuation and symbols; what is left are combining marks and emoji.
        '\u{80}'..='\u{bf}'
        | '\u{d7}'
        | '\u{f7}'
        | '\u{2000}'..='\u{2bff}'
        | '\u{3000}'..='\u{3020}'
        | '\u{fe00}'..='\u{fe6f}'
        | '\u{ff00}'..='\u{ffff}' => {
            matches!(c, '\u{2600}'..='\u{27bf}')
        }
        _ => !c.is_control() && !c.is_whitespace(),
    }
}
