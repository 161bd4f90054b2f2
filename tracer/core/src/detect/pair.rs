//! URLs in pieces: a host in one field and a path in another, or a host and
//! path without a scheme.
//!
//! Without a scheme a text can be many things (`text/html`, a Go module, a
//! file), so a field's own name has to say that it is an address.

use super::url::is_host;
use crate::address::has_known_suffix;
use crate::content::Value;
use crate::visits::Visits;

/// Field names that say "this is a host", in lower case without separators.
/// `dh` and `dp` are the Measurement Protocol's.
const HOST_KEYS: [&str; 12] = [
    "host",
    "hostname",
    "domain",
    "domainname",
    "site",
    "pagehost",
    "pagedomain",
    "urlhost",
    "urldomain",
    "serveraddress",
    "netloc",
    "dh",
];

/// Field names that say "this is a path".
const PATH_KEYS: [&str; 8] =
    ["path", "pathname", "pagepath", "urlpath", "uri", "requesturi", "pagelocation", "dp"];

/// Field names that say "this is a query".
const QUERY_KEYS: [&str; 6] =
    ["query", "querystring", "search", "urlquery", "pagequery", "requestquery"];

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

/// A URL whose pieces stand side by side: a host, a path, perhaps a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) host: String,
    pub(super) url: String,
    /// The host's chain, and the names of the fields beside it.
    pub(super) chain: String,
    pub(super) truncated: bool,
}

/// What a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Host,
    Path,
    Query,
}

/// The pieces of one container.
#[derive(Debug)]
struct Pieces {
    container: u32,
    /// By [`Piece`]: its text, and its chain (the host's) or key.
    known: [Option<(String, String)>; 3],
    truncated: bool,
}

/// The last pieces seen. They have to be in the same container, and containers
/// are visited one after the other, so that more need not be kept; a container
/// within another may come between two fields.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    waiting: Vec<Pieces>,
}

/// How many containers' pieces wait for the rest: nesting between two fields of
/// one object is rarely deep.
const MAX_WAITING: usize = 8;

impl Pairs {
    /// Takes a value; returns a URL when it completes one, and again when a query
    /// completes it further. A host or path of a visit is told by that, whatever
    /// its field is called.
    pub(super) fn add(&mut self, value: &Value<'_>, visits: &Visits) -> Option<Pair> {
        let key = value.key?;
        let (piece, text) = piece(key, value, visits)?;
        let at = match self.waiting.iter().position(|it| it.container == value.container) {
            // The same piece again belongs to another URL.
            Some(at) if self.waiting[at].known[piece as usize].is_some() => {
                self.waiting[at] = Pieces::of(value);
                at
            }
            Some(at) => at,
            None => {
                if self.waiting.len() == MAX_WAITING {
                    self.waiting.remove(0);
                }
                self.waiting.push(Pieces::of(value));
                self.waiting.len() - 1
            }
        };
        let pieces = &mut self.waiting[at];
        let name = if piece == Piece::Host { value.chain.to_string() } else { key.to_owned() };
        pieces.known[piece as usize] = Some((text.to_owned(), name));
        pieces.truncated |= value.truncated;
        pieces.joined()
    }
}

impl Pieces {
    fn of(value: &Value<'_>) -> Self {
        Self { container: value.container, known: [const { None }; 3], truncated: false }
    }

    fn joined(&self) -> Option<Pair> {
        let [Some((host, chain)), Some((path, path_key)), query] = &self.known else {
            return None;
        };
        let mut pair = Pair {
            host: host.clone(),
            url: format!("{host}{path}"),
            chain: format!("{chain} + {path_key}"),
            truncated: self.truncated,
        };
        if let Some((query, key)) = query
            && !path.contains('?')
        {
            pair.url.push('?');
            pair.url.push_str(query);
            pair.chain.push_str(" + ");
            pair.chain.push_str(key);
        }
        Some(pair)
    }
}

/// Which piece of a URL a value is, and its text.
fn piece<'v>(key: &str, value: &Value<'v>, visits: &Visits) -> Option<(Piece, &'v str)> {
    let text = value.text;
    // Nearly every value is none, and its key is not worth a look.
    if text.starts_with('/') {
        let named = || PATH_KEYS.contains(&normal(key).as_str());
        return (named() || visits.has_path(text)).then_some((Piece::Path, text));
    }
    if text.contains('=') && QUERY_KEYS.contains(&normal(key).as_str()) {
        return Some((Piece::Query, text.strip_prefix('?').unwrap_or(text)));
    }
    if !text.contains('.') || value.truncated {
        return None;
    }
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    let named = || HOST_KEYS.contains(&normal(key).as_str()) && has_known_suffix(host);
    (is_host(host) && (named() || visits.page_on(host).is_some())).then_some((Piece::Host, text))
}
