//! Values that say something only to those who know what was visited: a host
//! that stands alone, a hash.

use super::{pair::normal, url::is_host};
use crate::{
    address::{Address, Site, host_of_authority},
    finding::{Kind, Visited},
    visits::Visits,
};
use crate::{content::Value, record::BootTime};

/// What a value says about the visits: its kind and class. `own` is the site
/// that is told.
pub(super) fn disclosed(
    value: &Value<'_>,
    visits: &Visits,
    own: Option<&Site>,
) -> Option<(Kind, Option<String>)> {
    if visits.is_empty() {
        return None;
    }
    let text = value.text;
    // A host that could go on is no host yet.
    if !value.truncated && text.contains('.') && is_host(text) {
        return is_others_host(text, visits, own).then(|| (Kind::Url, Some("host".to_owned())));
    }
    if !value.truncated && is_page(text, visits, own) {
        return Some((Kind::Url, None));
    }
    let hash = visits.hashed(text, value.key.is_some_and(is_hash_of_address))?;
    let others = Site::of_host(hash.host()).as_ref() != own;
    let class = || format!("{}/{}", hash.algorithm.name(), hash.form.name());
    others.then(|| (Kind::VisitedUrlHash, Some(class())))
}

/// Whether a host was visited, and is not the recipient's own.
pub(super) fn is_others_host(host: &str, visits: &Visits, own: Option<&Site>) -> bool {
    host.contains('.')
        && is_host(host)
        && visits.page_on(host).is_some_and(|visit| visit.site() != own)
}

/// Whether a text is a visited page's address without its scheme. No name has
/// to say that it is an address.
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

/// Whether a field's name says that it holds a hash of an address: `url_crc`,
/// `hostHash`.
fn is_hash_of_address(key: &str) -> bool {
    let name = normal(key);
    let any = |words: &[&str]| words.iter().any(|word| name.contains(word));
    any(&["hash", "crc", "digest"])
        && any(&["url", "uri", "host", "domain", "page", "site", "link"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hashes_of_addresses() {
        for name in ["url_crc", "hostHash", "PAGE-HASH", "crc32_domain", "urlDigest"] {
            assert!(is_hash_of_address(name), "{name}");
        }
        for name in ["crc", "hash", "url", "checksum", "data"] {
            assert!(!is_hash_of_address(name), "{name}");
        }
    }
}
