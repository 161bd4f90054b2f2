//! Values that are recognised only with knowledge of the visits: a bare host, a host
//! in the name of a file or among other words, an address without a scheme, a hash.

use std::borrow::Cow;

use super::{
    pair::normalize_key,
    url::{SEPARATORS, is_host},
};
use crate::{
    address::{Address, Site, host_of_authority},
    finding::{Kind, Visited},
    visits::{HashMatch, Visit, Visits},
};
use crate::{
    content::{Step, Value},
    record::BootTime,
};

/// The part of a visit that a value discloses.
pub(super) struct Disclosed<'v> {
    pub(super) kind: Kind,
    pub(super) class: Option<String>,
    /// The value, or the address that it is in another order.
    pub(super) text: Cow<'v, str>,
}

/// Returns what a value discloses of a visit. `own` is the site of the recipient.
pub(super) fn disclosed<'v>(
    value: &Value<'v>,
    visits: &Visits,
    own: Option<&Site>,
) -> Option<Disclosed<'v>> {
    if visits.is_empty() {
        return None;
    }
    let text = value.text;
    let host = |text| Disclosed { kind: Kind::Url, class: Some("host".to_owned()), text };
    // A truncated host may be the beginning of another one.
    if !value.truncated && text.contains('.') && is_host(text) {
        if is_others_host(text, visits, own) {
            return Some(host(Cow::Borrowed(text)));
        }
        let reversed = backwards(text, visits, own).map(|text| host(Cow::Owned(text)));
        // `5d41402a.png` has the form of a host.
        return reversed.or_else(|| hash(value, visits, own));
    }
    if !value.truncated {
        if let Some(host_name) = reversed_list(text, visits, own) {
            return Some(host(Cow::Owned(host_name)));
        }
        let page = page(text, visits, own).or_else(|| surt(text, visits, own));
        if let Some(text) = page {
            return Some(Disclosed { kind: Kind::Url, class: None, text });
        }
    }
    hash(value, visits, own)
}

/// Returns the hash of a visited address that a value is.
pub(super) fn hash<'v>(
    value: &Value<'v>,
    visits: &Visits,
    own: Option<&Site>,
) -> Option<Disclosed<'v>> {
    let (hash, text) = match value.chain.last() {
        Step::Digest => visits.hashed_within(value.text)?,
        _ => {
            let named = || value.key.is_some_and(is_hash_of_address);
            (visits.hashed(value.text, named)?, value.text)
        }
    };
    disclosed_hash(&hash, text, own)
}

/// Returns the hash of a visited address that the name of a field is.
pub(super) fn hash_in_key<'v>(
    key: &'v str,
    visits: &Visits,
    own: Option<&Site>,
) -> Option<Disclosed<'v>> {
    disclosed_hash(&visits.hashed(key, || false)?, key, own)
}

fn disclosed_hash<'v>(
    hash: &HashMatch,
    text: &'v str,
    own: Option<&Site>,
) -> Option<Disclosed<'v>> {
    let is_other_site = Site::from_host(&hash.host).as_ref() != own;
    is_other_site.then(|| Disclosed {
        kind: Kind::VisitedUrlHash,
        class: Some(format!("{}/{}", hash.algorithm.name(), hash.form.name())),
        text: Cow::Borrowed(text),
    })
}

/// Returns the visited host in a value that names it among other things: as a file
/// (`news.example.org.ico`), as a label (`news-example-org`), or between words.
pub(super) fn host_within<'v>(
    value: &Value<'v>,
    visits: &Visits,
    own: Option<&Site>,
) -> Option<Cow<'v, str>> {
    /// Longer texts are content, in which hosts are found as URLs.
    const MAX_TEXT: usize = 2048;
    let text = value.text;
    if visits.is_empty() || value.truncated || !(4..=MAX_TEXT).contains(&text.len()) {
        return None;
    }
    let is_others = |visit: Option<&Visit>| visit.is_some_and(|visit| visit.site() != own);
    if value.chain.last() == Step::Host {
        // The labels before the recipient's domain.
        let labels = text.strip_suffix(own?.as_str())?.strip_suffix('.')?;
        let host = |name: &'v str| {
            name.contains('.').then_some(())?;
            if is_others(visits.page_on_host(name)) {
                return Some(Cow::Borrowed(name));
            }
            let reversed = reversed_host(name, '.').filter(|it| is_others(visits.page_on_host(it)));
            reversed.or_else(|| backwards(name, visits, own)).map(Cow::Owned)
        };
        return parts(labels, '.')
            .find_map(host)
            .or_else(|| labels.split('.').find_map(|label| host_in_label(label, visits, own)));
    }
    if !text.contains('.') {
        return host_in_label(text, visits, own);
    }
    let mut start = 0;
    text.split(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '-' | '_'))).find_map(|word| {
        let at = start;
        start = at + word.len() + text[at + word.len()..].chars().next().map_or(0, char::len_utf8);
        let after = &text[at + word.len()..];
        // The host of a mail address, and the address of something on a host.
        let is_other = text[..at].ends_with('@') || after.len() > 1 && after.starts_with('/');
        if is_other || !word.contains('.') {
            return None;
        }
        let is_host = |host: &&str| host.contains('.') && is_others(visits.page_on_host(host));
        hosts_in_name(word).find(is_host).map(Cow::Borrowed).or_else(|| {
            // `news-example-org.png`, and `https___news.example.org_politics`.
            let (stem, extension) = word.rsplit_once('.')?;
            let of_stem = if stem.contains('.') || extension.contains(['-', '_']) {
                None
            } else {
                host_in_label(stem, visits, own)
            };
            of_stem.or_else(|| word.split('_').find(is_host).map(Cow::Borrowed))
        })
    })
}

/// Maximum number of words of a label, of which every sequence may be a host.
const MAX_WORDS: usize = 12;

/// Returns every sequence of the parts of a text, the longest first part first.
fn parts(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let ends = |text: &str| text.match_indices(separator).count() < MAX_WORDS;
    let text = if ends(text) { text } else { "" };
    let starts =
        text.match_indices(separator).map(move |(at, _)| &text[at + separator.len_utf8()..]);
    std::iter::once(text).chain(starts).flat_map(move |rest| {
        std::iter::once(rest).chain(rest.rmatch_indices(separator).map(move |(at, _)| &rest[..at]))
    })
}

/// Returns the visited host that a label names with hyphens or underscores in place of its dots,
/// alone or among other words.
fn host_in_label<'l>(label: &'l str, visits: &Visits, own: Option<&Site>) -> Option<Cow<'l, str>> {
    /// The shortest name that is not there by chance.
    const MIN_PART: usize = 10;
    const MAX: usize = 253;
    if !label.contains(['-', '_']) || label.len() > MAX {
        return None;
    }
    let is_told = |name: &&str| {
        (name.len() == label.len() || name.len() >= MIN_PART)
            && visits.page_on_label(name).is_some_and(|visit| visit.site() != own)
    };
    let is_others = |host: &str| visits.page_on_host(host).is_some_and(|it| it.site() != own);
    let named = parts(label, '-').find(is_told).or_else(|| parts(label, '_').find(is_told));
    let reversed = || reversed_host(label, '-').filter(|host| is_others(host));
    named.map(Cow::Borrowed).or_else(|| reversed().map(Cow::Owned))
}

/// Returns the host whose labels are in reverse order, if it has enough of them.
fn reversed_host(labels: &str, separator: char) -> Option<String> {
    let labels: Vec<&str> = labels.split(separator).rev().collect();
    (3..=MAX_WORDS).contains(&labels.len()).then(|| labels.join("."))
}

/// Returns the visited host that a text is, written backwards.
fn backwards(text: &str, visits: &Visits, own: Option<&Site>) -> Option<String> {
    let host: String = text.chars().rev().collect();
    is_others_host(&host, visits, own).then_some(host)
}

/// Returns what a word may name: itself, or the name of a file without its extension
/// and the marks of its size.
fn hosts_in_name(word: &str) -> impl Iterator<Item = &str> {
    let word = word.trim_matches(['.', '-', '_']);
    let stem = word.rsplit_once('.').map_or(word, |(stem, _)| stem);
    // `news.example.org@2x.png` was split at the `@`; `-32` and `_32x32` remain.
    let unsized_stem = stem.rsplit_once(['-', '_']).and_then(|(name, size)| {
        size.bytes().all(|b| b.is_ascii_digit() || b == b'x').then_some(name)
    });
    [Some(word), Some(stem), unsized_stem].into_iter().flatten()
}

/// Returns the visited host whose labels a text lists in the other order: `org,example,news`.
/// With dots between them, it may be the name of a package.
fn reversed_list(text: &str, visits: &Visits, own: Option<&Site>) -> Option<String> {
    let is_list =
        text.contains(',') && text.chars().all(|c| c.is_alphanumeric() || matches!(c, ',' | '-'));
    let host = reversed_host(text.trim_end_matches(','), ',').filter(|_| is_list)?;
    is_others_page(&host, visits, own).then_some(host)
}

/// Returns the address of a visited page that a text is in the form that sorts by domain
/// (SURT): `org,example,news)/politics`, or `org.example.news:https/politics`.
fn surt<'t>(text: &'t str, visits: &Visits, own: Option<&Site>) -> Option<Cow<'t, str>> {
    if text.contains(')') {
        let is_told = Address::parse_surt(text)
            .is_some_and(|address| is_others_page(host_of_authority(address.host()), visits, own));
        return is_told.then_some(Cow::Borrowed(text));
    }
    let (labels, path) = text.split_at(text.find('/')?);
    let host = reversed_host(labels.split(':').next().unwrap_or(labels), '.')?;
    is_others_page(&host, visits, own).then_some(())?;
    let address = format!("{host}{path}");
    is_visited(&Address::parse(&address)?, visits).then_some(Cow::Owned(address))
}

/// Reports whether a page on exactly this host was visited, of another site than the recipient's.
fn is_others_page(host: &str, visits: &Visits, own: Option<&Site>) -> bool {
    host.contains('.') && visits.page_on_host(host).is_some() && is_others_host(host, visits, own)
}

fn is_visited(address: &Address, visits: &Visits) -> bool {
    let (visited, _) = visits.find(address, false, BootTime::default());
    matches!(visited, Visited::Page { .. })
}

/// Returns the visited host that the name of a field is, with its dots or with dashes in their
/// place, and behind the `X-` of header fields.
pub(super) fn host_in_key<'k>(
    key: &'k str,
    visits: &Visits,
    own: Option<&Site>,
) -> Option<&'k str> {
    if visits.is_empty() {
        return None;
    }
    let bare = key.get(..2).filter(|x| x.eq_ignore_ascii_case("x-")).map(|_| &key[2..]);
    let names = [Some(key), bare].into_iter().flatten();
    if let Some(host) = names.clone().find(|name| is_others_host(name, visits, own)) {
        return Some(host);
    }
    if key.contains('.') || !key.contains(['-', '_']) {
        return None;
    }
    names.clone().find(|name| {
        name.contains(['-', '_']) && visits.page_on_label(name).is_some_and(|it| it.site() != own)
    })
}

/// Returns the visited URL at the start of a URL that the sender's mark continues, as in
/// `https://news.example.org/x,3`.
pub(super) fn without_neighbour<'u>(url: &'u str, visits: &Visits) -> Option<&'u str> {
    /// Number of marks that are tried. A record has few fields.
    const MAX: usize = 8;
    let path = url.find("://").and_then(|at| Some(at + 3 + url[at + 3..].find('/')?))?;
    let is_mark = |c: char| SEPARATORS.contains(&c) || matches!(c, ':' | '\'');
    if visits.is_empty() || !url[path..].contains(is_mark) || visits.page(url).is_some() {
        return None;
    }
    let ends = url[path..].match_indices(is_mark).map(|(at, _)| &url[..path + at]);
    ends.take(MAX).find(|visited| visits.page(visited).is_some())
}

/// Reports whether a host was visited and belongs to another site than the
/// recipient's.
pub(super) fn is_others_host(host: &str, visits: &Visits, own: Option<&Site>) -> bool {
    host.contains('.')
        && is_host(host)
        && visits.page_on(host).is_some_and(|visit| visit.site() != own)
}

/// Returns the address of a visited page that a text is without its scheme, whatever the name
/// of its field; also without one of the slashes, with backslashes, or with another scheme.
fn page<'t>(text: &'t str, visits: &Visits, own: Option<&Site>) -> Option<Cow<'t, str>> {
    let plain = match text.contains('\\') {
        true => Cow::Owned(text.replace('\\', "/")),
        false => Cow::Borrowed(text),
    };
    let is_scheme = |scheme: &str| scheme.bytes().all(|b| b.is_ascii_alphabetic());
    // Usual addresses are found anywhere in a text.
    let is_usual = || text.contains("http://") || text.contains("https://");
    let bare = match plain.split_once(':') {
        Some((scheme, rest)) if rest.starts_with('/') && is_scheme(scheme) && !is_usual() => rest,
        _ => &plain,
    };
    let bare = bare.trim_start_matches('/');
    let (authority, path) = bare.split_once('/')?;
    let is_page = !path.is_empty()
        && is_others_host(host_of_authority(authority), visits, own)
        && is_visited(&Address::parse(bare)?, visits);
    is_page.then(|| match text.strip_prefix("//").unwrap_or(text) == bare {
        true => Cow::Borrowed(text),
        false => Cow::Owned(bare.to_owned()),
    })
}

/// Reports whether a field's name says that it holds a hash of an address, such as
/// `url_crc` or `hostHash`.
fn is_hash_of_address(key: &str) -> bool {
    let name = normalize_key(key);
    let any = |words: &[&str]| words.iter().any(|word| name.contains(word));
    any(&["hash", "crc", "digest"])
        && any(&["url", "uri", "host", "domain", "page", "site", "link"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::visits::Page;

    #[test]
    fn visited_hosts_are_recognised_in_labels() {
        let mut visits = Visits::default();
        let visited = Page::parse("https://news.example.org/politics/story-42").unwrap();
        visits.record_page(&visited, BootTime(0));
        for label in [
            "news-example-org",
            "news_example_org",
            "v1-news-example-org-a",
            "https___news_example_org_politics",
            "org-example-news",
        ] {
            assert!(host_in_label(label, &visits, None).is_some(), "{label}");
        }
        for label in ["news-example", "example-org-politics", "org-example", "newsexampleorg", ""] {
            assert_eq!(host_in_label(label, &visits, None), None, "{label}");
        }
        let own = Site::from_host("example.org");
        assert_eq!(host_in_label("news-example-org", &visits, own.as_ref()), None);
    }

    #[test]
    fn addresses_are_recognised_in_other_orders() {
        let mut visits = Visits::default();
        let visited = Page::parse("https://news.example.org/politics/story-42").unwrap();
        visits.record_page(&visited, BootTime(0));
        for text in [
            "org,example,news",
            "org,example,news)/politics/story-42",
            "org.example.news/politics/story-42",
            "org.example.news:https/politics/story-42",
        ] {
            let found = surt(text, &visits, None).map(Cow::into_owned);
            assert!(found.or_else(|| reversed_list(text, &visits, None)).is_some(), "{text}");
        }
        // The name of a package, and a page that was not visited.
        for text in ["org.example.news", "org.example.news/other", "org,example", "a,b,c"] {
            let found = surt(text, &visits, None).map(Cow::into_owned);
            assert_eq!(found.or_else(|| reversed_list(text, &visits, None)), None, "{text}");
        }
        for text in
            ["//news.example.org/politics/story-42", "https:/news.example.org/politics/story-42"]
        {
            assert!(page(text, &visits, None).is_some(), "{text}");
        }
        assert!(backwards("gro.elpmaxe.swen", &visits, None).is_some());
        assert_eq!(backwards("gro.elpmaxe.snew", &visits, None), None);
    }

    #[test]
    fn recognises_names_of_address_hashes() {
        for name in ["url_crc", "hostHash", "PAGE-HASH", "crc32_domain", "urlDigest"] {
            assert!(is_hash_of_address(name), "{name}");
        }
        for name in ["crc", "hash", "url", "checksum", "data"] {
            assert!(!is_hash_of_address(name), "{name}");
        }
    }
}
