//! URLs in pieces: a host in one field and a path in another, or a host and
//! path without a scheme.
//!
//! Without a scheme a text can be many things (`text/html`, a Go module, a
//! file), so a field's own name has to say that it is an address.

use super::{site::has_known_suffix, url::is_host};
use crate::content::Value;

/// Field names that say "this is a host", in lower case without separators.
/// `dh` and `dp` are the Measurement Protocol's.
const HOST_KEYS: [&str; 9] =
    ["host", "hostname", "domain", "domainname", "site", "pagehost", "pagedomain", "urlhost", "dh"];

/// Field names that say "this is a path".
const PATH_KEYS: [&str; 8] =
    ["path", "pathname", "pagepath", "urlpath", "uri", "requesturi", "pagelocation", "dp"];

/// Field names that say "this is an address".
const ADDRESS_KEYS: [&str; 16] = [
    "url",
    "uri",
    "link",
    "href",
    "page",
    "pageurl",
    "currenturl",
    "location",
    "pagelocation",
    "website",
    "address",
    "ref",
    "referrer",
    "referer",
    "dl",
    "u",
];

/// A field name as the tables above have it: `$page_URL` is `pageurl`.
pub(super) fn normal(key: &str) -> String {
    key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// A `host/path` without a scheme, where the field's name says it is one.
pub(super) fn schemeless<'a>(value: &Value<'a>) -> Option<&'a str> {
    let key = value.key?;
    let text = value.text.strip_prefix("//").unwrap_or(value.text);
    let (host, _) = text.split_once('/')?;
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    (is_host(host)
        && ADDRESS_KEYS.contains(&normal(key).as_str())
        && has_known_suffix(host)
        && !text.contains(char::is_whitespace))
    .then_some(text)
}

/// A host and a path that stand side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) host: String,
    path: String,
    chain: String,
    path_key: String,
    pub(super) truncated: bool,
}

impl Pair {
    pub(super) fn url(&self) -> String {
        format!("{}{}", self.host, self.path)
    }

    /// The host's chain, and the name of the field beside it.
    pub(super) fn chain(&self) -> String {
        format!("{} + {}", self.chain, self.path_key)
    }
}

/// Half of a pair.
#[derive(Debug, Clone)]
struct Half {
    container: u32,
    text: String,
    chain: String,
    key: String,
}

/// The last host and the last path seen. Both have to be in the same
/// container, and containers are visited one after the other, so that more
/// need not be kept; a container within another may come between two fields.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    hosts: Vec<Half>,
    paths: Vec<Half>,
}

/// How many halves wait for the other: nesting between two fields of one
/// object is rarely deep.
const MAX_WAITING: usize = 8;

impl Pairs {
    /// Takes a value; returns a pair when it completes one.
    pub(super) fn add(&mut self, value: &Value<'_>) -> Option<Pair> {
        let key = value.key?;
        // Nearly every value is neither, and its key is not worth a look.
        if !value.text.starts_with('/') && !value.text.contains('.') {
            return None;
        }
        let name = normal(key);
        let half = || Half {
            container: value.container,
            text: value.text.to_owned(),
            chain: value.chain.to_string(),
            key: key.to_owned(),
        };
        if HOST_KEYS.contains(&name.as_str()) {
            let host = value.text.rsplit_once(':').map_or(value.text, |(host, _)| host);
            if value.truncated || !is_host(host) || !has_known_suffix(host) {
                return None;
            }
            let half = half();
            if let Some(path) = take(&mut self.paths, value.container) {
                return Some(pair(half, path, false));
            }
            wait(&mut self.hosts, half);
        } else if PATH_KEYS.contains(&name.as_str()) && value.text.starts_with('/') {
            if let Some(host) = take(&mut self.hosts, value.container) {
                return Some(pair(host, half(), value.truncated));
            }
            if !value.truncated {
                wait(&mut self.paths, half());
            }
        }
        None
    }
}

fn take(halves: &mut Vec<Half>, container: u32) -> Option<Half> {
    let at = halves.iter().position(|half| half.container == container)?;
    Some(halves.remove(at))
}

fn wait(halves: &mut Vec<Half>, half: Half) {
    if halves.len() == MAX_WAITING {
        halves.remove(0);
    }
    halves.push(half);
}

fn pair(host: Half, path: Half, truncated: bool) -> Pair {
    Pair { host: host.text, path: path.text, chain: host.chain, path_key: path.key, truncated }
}
