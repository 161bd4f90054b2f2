//! URLs in pieces: a host in one field and a path in another, or a host and
//! path without a scheme.
//!
//! A text without a scheme is ambiguous (`text/html`, a Go module, a file), so
//! it counts as an address only if the name of its field says so.

use super::url::is_host;
use crate::address::{has_known_suffix, host_of_authority};
use crate::content::Value;
use crate::visits::Visits;

/// Names of fields that hold a host, in lower case without separators. `dh` and
/// `dp` are from Google's Measurement Protocol.
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

/// Names of fields that hold a path.
const PATH_KEYS: [&str; 13] = [
    "path",
    "pathname",
    "pagepath",
    "urlpath",
    "uri",
    "requesturi",
    "pagelocation",
    "dp",
    "url",
    "pageurl",
    "currenturl",
    "href",
    "location",
];

/// Names of fields that hold a path if another field holds an origin.
const ORIGIN_PATH_KEYS: [&str; 4] = ["p", "u", "page", "loc"];

/// Names of fields that hold a query.
const QUERY_KEYS: [&str; 6] =
    ["query", "querystring", "search", "urlquery", "pagequery", "requestquery"];

/// Names of fields that hold an address.
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

/// Normalises a field name for the tables above: `$page_URL` becomes `pageurl`.
pub(super) fn normalize_key(key: &str) -> String {
    key.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// Returns a `host/path` without a scheme, if the field's name says that it holds
/// an address.
pub(super) fn schemeless<'a>(value: &Value<'a>) -> Option<&'a str> {
    let key = value.key?;
    let text = value.text.strip_prefix("//").unwrap_or(value.text);
    let (host, _) = text.split_once('/')?;
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    (is_host(host)
        && ADDRESS_KEYS.contains(&normalize_key(key).as_str())
        && has_known_suffix(host)
        && !text.contains(char::is_whitespace))
    .then_some(text)
}

/// A URL that is joined from adjacent fields: a host, a path, perhaps a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) host: String,
    pub(super) url: String,
    /// Chain of the host, and the names of the other fields.
    pub(super) chain: String,
    pub(super) truncated: bool,
}

/// The kind of a piece.
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
    /// Indexed by [`Piece`]: the text of the piece, and its chain (for a host) or
    /// key.
    known: [Option<(String, String)>; 3],
    truncated: bool,
    /// Set if the path belongs to an origin, but not to a mere host.
    needs_origin: bool,
}

/// The pieces of the containers that were visited last. Pieces are joined within
/// one container. Containers are visited one after the other, but a nested one
/// may come between two fields, so a few are kept.
#[derive(Debug, Default)]
pub(super) struct Pairs {
    pending: Vec<Pieces>,
}

/// Maximum number of containers with incomplete pieces. Objects between two fields
/// are rarely nested deeply.
const MAX_PENDING: usize = 8;

impl Pairs {
    /// Adds a value. Returns a URL if the value completes one, and again if a query
    /// extends it. A host or path is recognised by the name of its field, or because
    /// it was visited.
    pub(super) fn add(&mut self, value: &Value<'_>, visits: &Visits) -> Option<Pair> {
        let key = value.key?;
        let Found { piece, text, needs_origin } = find(key, value, visits)?;
        let at = match self.pending.iter().position(|it| it.container == value.container) {
            // A repeated piece belongs to another URL.
            Some(at) if self.pending[at].known[piece as usize].is_some() => {
                self.pending[at] = Pieces::new(value);
                at
            }
            Some(at) => at,
            None => {
                if self.pending.len() == MAX_PENDING {
                    self.pending.remove(0);
                }
                self.pending.push(Pieces::new(value));
                self.pending.len() - 1
            }
        };
        let pieces = &mut self.pending[at];
        let name = if piece == Piece::Host { value.chain.to_string() } else { key.to_owned() };
        pieces.known[piece as usize] = Some((text.to_owned(), name));
        pieces.truncated |= value.truncated;
        pieces.needs_origin |= needs_origin;
        pieces.join()
    }
}

impl Pieces {
    fn new(value: &Value<'_>) -> Self {
        Self {
            container: value.container,
            known: [const { None }; 3],
            truncated: false,
            needs_origin: false,
        }
    }

    /// Joins the pieces to a URL, if host and path are known.
    fn join(&self) -> Option<Pair> {
        let [Some((host, chain)), Some((path, path_key)), query] = &self.known else {
            return None;
        };
        if self.needs_origin && !host.contains("://") {
            return None;
        }
        let mut pair = Pair {
            host: host_in(host).to_owned(),
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

/// A value that is a piece.
struct Found<'v> {
    piece: Piece,
    text: &'v str,
    /// Set for a path whose name is not enough.
    needs_origin: bool,
}

/// Returns the piece that a value is.
fn find<'v>(key: &str, value: &Value<'v>, visits: &Visits) -> Option<Found<'v>> {
    let text = value.text;
    let found = |piece, text| Some(Found { piece, text, needs_origin: false });
    // The key is normalised last, because hardly any value is a piece.
    if text.starts_with('/') {
        let has_name = |names: &[&str]| names.contains(&normalize_key(key).as_str());
        if visits.has_path(text) || has_name(&PATH_KEYS) {
            return found(Piece::Path, text);
        }
        return has_name(&ORIGIN_PATH_KEYS).then_some(Found {
            piece: Piece::Path,
            text,
            needs_origin: true,
        });
    }
    if text.contains('=') && QUERY_KEYS.contains(&normalize_key(key).as_str()) {
        return found(Piece::Query, text.strip_prefix('?').unwrap_or(text));
    }
    if !text.contains('.') || value.truncated {
        return None;
    }
    if let Some(origin) = origin(text) {
        return found(Piece::Host, origin);
    }
    let host = text.rsplit_once(':').map_or(text, |(host, _)| host);
    let has_name = || HOST_KEYS.contains(&normalize_key(key).as_str()) && has_known_suffix(host);
    (is_host(host) && (has_name() || visits.page_on(host).is_some())).then_some(Found {
        piece: Piece::Host,
        text,
        needs_origin: false,
    })
}

/// Returns an origin: a URL without a path, without the slash that may end it.
fn origin(text: &str) -> Option<&str> {
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    is_host(host_of_authority(authority)).then(|| text.strip_suffix('/').unwrap_or(text))
}

/// Returns the host of an origin or of an authority.
fn host_in(text: &str) -> &str {
    host_of_authority(text.split_once("://").map_or(text, |(_, authority)| authority))
}
