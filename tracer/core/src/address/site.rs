//! Sites: the unit in which one party owns names in the domain name system.

use std::{
    borrow::Cow,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::suffix::registrable_domain;

/// A registrable domain (the public suffix and one label, in lower case), or an IP
/// address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Site(String);

impl Site {
    /// Returns the site that a host belongs to, or `None` if the host is empty.
    ///
    /// A public suffix is a site of its own, and so is a name of one label.
    pub fn from_host(host: &str) -> Option<Self> {
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.is_empty() {
            return None;
        }
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if bare.contains(':')
            && let Ok(address) = bare.parse::<Ipv6Addr>()
        {
            return Some(Self(address.to_canonical().to_string()));
        }
        // It is parsed in its only form.
        if bare.parse::<Ipv4Addr>().is_ok() {
            return Some(Self(bare.to_owned()));
        }
        let host = normalize_host(host);
        let domain = registrable_domain(&host)
            .and_then(|domain| str::from_utf8(domain.trim().as_bytes()).ok());
        Some(Self(domain.unwrap_or(&host).to_owned()))
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Normalises a host, perhaps with a port, for comparison: to lower case, and names with other characters
/// than ASCII to the form in which they are looked up (`xn--…`, UTS 46).
pub(crate) fn normalize_host(host: &str) -> String {
    if host.is_ascii() {
        return host.to_ascii_lowercase();
    }
    let (name, port) = host.split_at(host.rfind(':').unwrap_or(host.len()));
    let name = idna::domain_to_ascii(name).unwrap_or_else(|_| name.to_lowercase());
    name + port
}

/// Returns a host with its ASCII letters in lower case, in which it mostly is.
pub(crate) fn lowercase(host: &str) -> Cow<'_, str> {
    match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => Cow::Owned(host.to_ascii_lowercase()),
        false => Cow::Borrowed(host),
    }
}

/// Reports whether a host is this machine: `localhost`, or a loopback address.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = bare.strip_suffix('.').unwrap_or(bare);
    OWN_NAMES.iter().any(|own| name.eq_ignore_ascii_case(own))
        || ends_with_ignore_case(name, ".localhost")
        || bare.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Names of this machine that systems list beside `localhost`.
const OWN_NAMES: [&str; 5] = [
    "localhost",
    "ip6-localhost",
    "ip6-loopback",
    "localhost.localdomain",
    "localhost6.localdomain6",
];

/// Domains that are resolved in the local network alone (RFC 6762, RFC 8375) or are reserved for
/// private use (ICANN, resolution 2024.07.29.06).
const LOCAL_DOMAINS: [&str; 3] = [".local", ".home.arpa", ".internal"];

/// Reports whether a host is this machine or belongs to a private network by its name, or is an
/// address of them: of IPv4 (RFC 1918, RFC 3927) or of IPv6 (RFC 4193, RFC 4291).
pub(crate) fn is_local(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    is_loopback(host)
        || is_local_address(host)
        || LOCAL_DOMAINS.iter().any(|domain| ends_with_ignore_case(name, domain))
}

/// Reports whether a name ends like this, whatever the case of ASCII letters.
fn ends_with_ignore_case(name: &str, end: &str) -> bool {
    let (name, end) = (name.as_bytes(), end.as_bytes());
    let last = name.len().checked_sub(end.len()).and_then(|start| name.get(start..));
    last.is_some_and(|last| last.eq_ignore_ascii_case(end))
}

/// Reports whether a host is an address of this machine or of a private network.
pub(crate) fn is_local_address(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let bare = bare.split('%').next().unwrap_or(bare);
    bare.parse::<IpAddr>().is_ok_and(|address| match address.to_canonical() {
        IpAddr::V4(it) => it.is_loopback() || it.is_private() || it.is_link_local(),
        IpAddr::V6(it) => it.is_loopback() || it.is_unique_local() || it.is_unicast_link_local(),
    })
}

/// Returns the host of an authority, without user and port.
pub fn host_of_authority(authority: &str) -> &str {
    let last = |text: &str, mark| text.bytes().rposition(|byte| byte == mark);
    let host_port = last(authority, b'@').map_or(authority, |at| &authority[at + 1..]);
    if host_port.starts_with('[') {
        return host_port.find(']').map_or(host_port, |at| &host_port[..=at]);
    }
    last(host_port, b':').map_or(host_port, |at| &host_port[..at])
}

/// Reports whether a name has a label before a suffix that the public suffix list
/// contains. File and package names, such as `analytics.js` and `com.example.App`,
/// do not.
pub(crate) fn has_known_suffix(host: &str) -> bool {
    let host = host.to_lowercase();
    registrable_domain(&host).is_some_and(|domain| domain.suffix().is_known())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(host: &str) -> String {
        Site::from_host(host).unwrap().0
    }

    #[test]
    fn sites_follow_the_public_suffix_list() {
        assert_eq!(site("news.Example.ORG"), "example.org");
        assert_eq!(site("a.b.example.co.uk."), "example.co.uk");
        assert_eq!(site("somebody.github.io"), "somebody.github.io");
        assert_eq!(site("a.page-tracker.test"), "page-tracker.test");
        assert_eq!(site("localhost"), "localhost");
        assert_eq!(site("127.0.0.1"), "127.0.0.1");
        assert_eq!(site("[::ffff:127.0.0.1]"), "127.0.0.1");
        assert_eq!(Site::from_host(""), None);
    }

    #[test]
    fn private_addresses_are_local() {
        for host in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.1.10",
            "172.16.0.1",
            "169.254.1.1",
            "[::1]",
            "[fe80::1]",
            "[fe80::1%25eth0]",
            "[fd00::1]",
            "[::ffff:192.168.1.1]",
        ] {
            assert!(is_local_address(host) && is_local(host), "{host}");
        }
        for host in ["8.8.8.8", "172.32.0.1", "[2001:db8::1]", "router.example", ""] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn names_of_this_machine_and_of_local_networks_are_local() {
        for host in [
            "localhost",
            "LocalHost.",
            "app.localhost",
            "ip6-localhost",
            "localhost.localdomain",
            "printer.local",
            "nas.home.arpa",
            "build.internal",
        ] {
            assert!(is_local(host) && !is_local_address(host), "{host}");
        }
        for host in ["localhost.example", "mylocalhost", "local", "notlocal", "a.local.example"] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn extracts_the_host_of_an_authority() {
        for (authority, host) in [
            ("a.test", "a.test"),
            ("a.test:80", "a.test"),
            ("u:p@a.test:80", "a.test"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
        ] {
            assert_eq!(host_of_authority(authority), host);
        }
    }

    #[test]
    fn file_names_have_no_known_suffix() {
        assert!(has_known_suffix("news.example.org"));
        assert!(!has_known_suffix("analytics.js"));
        assert!(!has_known_suffix("sentry.python"));
        assert!(!has_known_suffix("localhost"));
    }
}
