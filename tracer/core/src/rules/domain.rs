//! Domain names in rules, and the look-up of the domain that contains a host.

use std::borrow::Borrow;

use foldhash::HashMap;

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::file::checked;
use crate::address::{lowercase, public_suffix};

/// A domain name, which includes every name below it.
///
/// The name is in lower case and in the form used on the wire: `xn--…` for names that
/// are not ASCII. It is never an IP address, nor a public suffix such as `co.uk`, whose
/// subdomains have different owners.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct Domain(String);

/// The reason why a text is not a valid domain in rules.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DomainError {
    /// The text has a scheme, a port, a path, a wildcard, a dot at either end, or a
    /// letter that is not ASCII.
    #[error(
        "`{0}` is not a domain name; write the name alone, in lower case, as in `example.org` \
         (names below it are included; write non-ASCII names in their `xn--` form)"
    )]
    Malformed(String),
    /// The names below it have different owners.
    #[error("`{0}` is a public suffix, whose names have different owners; name a domain below it")]
    PublicSuffix(String),
}

/// Maximum length of a host name (RFC 1035, section 2.3.4). It also bounds the work of a
/// look-up, because a host has at most half as many parent names as bytes.
const MAX_HOST: usize = 255;

/// Maximum length of a label (RFC 1035, section 2.3.4).
const MAX_LABEL: usize = 63;

impl Domain {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Domain {
    type Error = DomainError;

    fn try_from(name: String) -> Result<Self, DomainError> {
        let is_label = |label: &str| {
            (1..=MAX_LABEL).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
        };
        // The last label of an IPv4 address is a number, that of a name never is.
        let is_address = name.rsplit('.').next().is_some_and(|last| last.parse::<u8>().is_ok());
        if name.len() > MAX_HOST || is_address || !name.split('.').all(is_label) {
            return Err(DomainError::Malformed(name));
        }
        let is_suffix = public_suffix(&name)
            .is_some_and(|suffix| suffix.as_bytes().len() == name.len() && !is_private(&suffix));
        if is_suffix { Err(DomainError::PublicSuffix(name)) } else { Ok(Self(name)) }
    }
}

/// Reports whether a suffix is private: it belongs to a company that assigns names below
/// it to customers (`googleapis.com`), and so has an owner.
fn is_private(suffix: &psl::Suffix<'_>) -> bool {
    suffix.typ() == Some(psl::Type::Private)
}

impl<'de> Deserialize<'de> for Domain {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        checked(from)
    }
}

impl From<Domain> for String {
    fn from(domain: Domain) -> Self {
        domain.0
    }
}

impl Borrow<str> for Domain {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A map from domains to values, for look-ups by host.
#[derive(Debug, Clone)]
pub(super) struct Domains<T>(HashMap<Domain, T>);

impl<T> Default for Domains<T> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<T> Domains<T> {
    /// Inserts a domain, and returns its previous value.
    pub(super) fn insert(&mut self, domain: Domain, value: T) -> Option<T> {
        self.0.insert(domain, value)
    }

    /// Returns the value of the longest domain that contains a host (without a port).
    /// Returns `None` for addresses.
    pub(super) fn longest(&self, host: &str) -> Option<&T> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if host.len() > MAX_HOST || !host.bytes().all(is_name) {
            return None;
        }
        let host = lowercase(host);
        let mut name = &*host;
        loop {
            if let Some(value) = self.0.get(name) {
                return Some(value);
            }
            name = name.get(memchr::memchr(b'.', name.as_bytes())? + 1..)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> Result<Domain, DomainError> {
        name.to_owned().try_into()
    }

    #[test]
    fn a_domain_has_one_owner() {
        for name in ["example.org", "a_b.example.co.uk", "xn--d1acpjx3f.xn--p1ai", "9.example"] {
            assert_eq!(domain(name).as_ref().map(Domain::as_str), Ok(name));
        }
        // A company's suffix, below which it assigns names to customers.
        assert!(domain("googleapis.com").is_ok());
        for name in [
            "",
            ".",
            "example.org.",
            ".example.org",
            "*.example.org",
            "https://example.org",
            "example.org:80",
            "example.org/",
            "Example.org",
            "яндекс.рф",
            "-a.example",
            "a..example",
            "127.0.0.1",
            "[::1]",
            "a example.org",
        ] {
            assert!(matches!(domain(name), Err(DomainError::Malformed(_))), "{name}");
        }
        assert!(domain(&format!("{}.example", "a".repeat(64))).is_err());
        for name in ["com", "co.uk", "org"] {
            assert!(matches!(domain(name), Err(DomainError::PublicSuffix(_))), "{name}");
        }
    }

    #[test]
    fn the_longest_domain_decides() {
        let mut domains = Domains::default();
        for name in ["miui.com", "api.miui.com", "shop.example.co.uk", "xn--d1acpjx3f.xn--p1ai"] {
            assert_eq!(domains.insert(domain(name).unwrap(), name), None);
        }
        for (host, known) in [
            ("miui.com", Some("miui.com")),
            ("MIUI.com.", Some("miui.com")),
            ("sa.api.intl.miui.com", Some("miui.com")),
            ("sa.api.miui.com", Some("api.miui.com")),
            ("a.shop.example.co.uk", Some("shop.example.co.uk")),
            ("mail.xn--d1acpjx3f.XN--P1AI", Some("xn--d1acpjx3f.xn--p1ai")),
            ("notmiui.com", None),
            ("miui.com.evil.test", None),
            ("miui.co", None),
            ("example.co.uk", None),
            ("co.uk", None),
            ("com", None),
            ("", None),
            (".", None),
            ("127.0.0.1", None),
            ("[::1]", None),
            ("::1", None),
            ("miui.com:443", None),
            ("evil.test/.miui.com", None),
            ("evil.test\\.miui.com", None),
            ("\u{ff4d}iui.com", None),
        ] {
            assert_eq!(domains.longest(host), known.as_ref(), "{host}");
        }
        let long = format!("{}miui.com", "a.".repeat(200));
        assert_eq!(domains.longest(&long), None);
    }
}
