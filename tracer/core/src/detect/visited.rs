//! Values that are recognised only with knowledge of the visits: a bare host, a host
//! in the name of a file or among other words, an address without a scheme, a hash.

use super::{
    pair::normalize_key,
    url::{SEPARATORS, is_host},
};
use crate::{
    address::{Address, Site, host_of_authority},
    finding::{Kind, Visited},
    visits::{Visit, Visits},
};
use crate::{
    content::{Step, Value},
    record::BootTime,
};

/// Returns the kind and class of a value that discloses a visit. `own` is the site
/// of the recipient.
pub(super) fn disclosed(
    value: &Value<'_>,
    visits: &Visits,
    own: Option<&Site>,
) -> Option<(Kind, Option<String>)> {
    if visits.is_empty() {
        return None;
    }
    let text = value.text;
    // A truncated host may be the beginning of another one.
    if !value.truncated && text.contains('.') && is_host(text) {
        return is_others_host(text, visits, own).then(|| (Kind::Url, Some("host".to_owned())));
    }
    if !value.truncated && (is_page(text, visits, own) || is_surt(text, visits, own)) {
        return Some((Kind::Url, None));
    }
    let hash = visits.hashed(text, || value.key.is_some_and(is_hash_of_address))?;
    let is_other_site = Site::from_host(hash.host()).as_ref() != own;
    let class = || format!("{}/{}", hash.algorithm.name(), hash.form.name());
    is_other_site.then(|| (Kind::VisitedUrlHash, Some(class())))
}

/// Returns the visited host in a value that names it among other things: as a file
/// (`news.example.org.ico`), as a label (`news-example-org`), or between words.
pub(super) fn host_within<'v>(
    value: &Value<'v>,
    visits: &Visits,
    own: Option<&Site>,
) -> Option<&'v str> {
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
        let is_told = |name: &&str| {
            is_others(visits.page_on_host(name).filter(|_| name.contains('.')))
                || name.contains('-') && is_others(visits.page_on_label(name))
        };
        let starts = labels.match_indices('.').map(|(at, _)| &labels[at + 1..]);
        return std::iter::once(labels).chain(starts).chain(labels.split('.')).find(is_told);
    }
    if !text.contains('.') {
        return (text.contains(['-', '_']) && is_others(visits.page_on_label(text)))
            .then_some(text);
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
        hosts_in_name(word).find(|host| host.contains('.') && is_others(visits.page_on_host(host)))
    })
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

/// Reports whether a text is the address of a visited page in the form that sorts by
/// domain (SURT): `org,example,news)/politics`.
fn is_surt(text: &str, visits: &Visits, own: Option<&Site>) -> bool {
    text.contains(')')
        && Address::parse_surt(text).is_some_and(|address| {
            let host = host_of_authority(address.host());
            host.contains('.')
                && visits.page_on_host(host).is_some()
                && is_others_host(host, visits, own)
        })
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
    if is_others_host(key, visits, own) {
        return Some(key);
    }
    if key.contains('.') || !key.contains(['-', '_']) {
        return None;
    }
    let bare = key.get(..2).filter(|x| x.eq_ignore_ascii_case("x-")).map(|_| &key[2..]);
    [Some(key), bare].into_iter().flatten().find(|name| {
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

/// Reports whether a text is the address of a visited page without its scheme,
/// whatever the name of its field.
fn is_page(text: &str, visits: &Visits, own: Option<&Site>) -> bool {
    let text = text.strip_prefix("//").unwrap_or(text);
    text.split_once('/').is_some_and(|(authority, path)| {
        !path.is_empty()
            && is_others_host(host_of_authority(authority), visits, own)
            && Address::parse(text).is_some_and(|address| {
                let (visited, _) = visits.find(&address, false, BootTime::default());
                matches!(visited, Visited::Page { .. })
            })
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
