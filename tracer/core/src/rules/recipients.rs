//! Services that receive data: `rules/recipients.toml`.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{Domain, Located, Named, RulesError, RulesFile, Text};
use crate::{address::host_of_authority, finding::Category, proto::Request};

/// A known service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Name of the service.
    pub name: Text,
    /// Category of the service.
    pub category: Category,
    /// Domains at which it receives data.
    pub domains: Vec<Domain>,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

impl Named for Service {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// A request of a browser that comes with visits and whose meaning is known.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Routine {
    /// Name of what is asked for.
    pub name: Text,
    /// The host.
    pub host: Domain,
    /// The path, without the query.
    pub path: Text,
    /// Names of the parameters that the query may have.
    pub parameters: Vec<Text>,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

impl Named for Routine {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl Routine {
    /// Reports whether a request is this one: it asks for this path, with no other parameters,
    /// with words and numbers as their values, and sends nothing else. Whether the values depend on
    /// pages is for the caller to examine.
    pub fn is(&self, request: &Request) -> bool {
        /// Longer values are data.
        const MAX_VALUE: usize = 64;
        let is_plain = |value: &str| {
            value.len() <= MAX_VALUE
                && value.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.\"".contains(&b))
        };
        let authority = request.authority.as_deref().unwrap_or_default();
        let (path, query) = request.target().split_once('?').unwrap_or((request.target(), ""));
        let mut pairs = query.split('&').filter(|pair| !pair.is_empty());
        request.complete
            && request.method.as_deref() == Some("GET")
            && host_of_authority(authority).eq_ignore_ascii_case(self.host.as_str())
            && path == self.path.as_str()
            && request.body.data.is_empty()
            && ["cookie", "authorization"].iter().all(|name| request.header(name).is_none())
            && pairs.all(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let value = value.replace("%22", "\"");
                self.parameters.iter().any(|known| known.as_str() == name) && is_plain(&value)
            })
    }
}

/// The lists of `recipients.toml`.
pub(super) struct Lists {
    pub(super) services: Vec<Located<Service>>,
    pub(super) routines: Vec<Located<Routine>>,
}

/// The embedded file.
pub(super) const EMBEDDED: RulesFile<'_> =
    RulesFile { name: "recipients.toml", text: include_str!("../../../rules/recipients.toml") };

/// The structure of `recipients.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    service: Vec<Spanned<Service>>,
    #[serde(default)]
    routine: Vec<Spanned<Routine>>,
}

/// Parses `recipients.toml`.
pub(super) fn parse(file: RulesFile<'_>) -> Result<Lists, RulesError> {
    let File { service, routine } = file.parse()?;
    Ok(Lists { services: file.entries(service)?, routines: file.entries(routine)? })
}

#[cfg(test)]
mod tests {
    use crate::{proto::parse_http1, rules::Rules};

    #[test]
    fn a_routine_is_nothing_but_what_it_asks_for() {
        let rules = Rules::default();
        let is_known = |target: &str, host: &str, rest: &str| {
            let text = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{rest}\r\n");
            let request = parse_http1(text.as_bytes()).0.remove(0);
            rules.routines().iter().any(|routine| routine.is(&request))
        };
        const HOST: &str = "firefox.settings.services.mozilla.com";
        const PATH: &str = "/v1/buckets/monitor/collections/changes/changeset";
        let asked = format!("{PATH}?collection=fxmonitor-breaches&bucket=main&_expected=0");
        assert!(is_known(&asked, HOST, "Accept: */*\r\n"));
        assert!(is_known(&format!("{PATH}?_expected=%221700000000000%22"), HOST, ""));
        for (target, host, rest) in [
            (&*asked, "settings.example", ""),
            (&asked, HOST, "Cookie: a=b\r\n"),
            (&asked, HOST, "Content-Length: 1\r\n\r\nx"),
            (&format!("{asked}&u=1"), HOST, ""),
            (&format!("{PATH}?collection=https%3A%2F%2Fnews.example.org%2F"), HOST, ""),
            (&format!("{PATH}?collection={}", "a".repeat(65)), HOST, ""),
            ("/v1/", HOST, ""),
        ] {
            assert!(!is_known(target, host, rest), "{target} {host} {rest}");
        }
    }
}
