//! Values that say something only to those who know what was visited: a host
//! that stands alone, a hash.

use super::{Kind, Site, Visits, pair::normal, url::is_host};
use crate::content::Value;

/// What a value says about the visits: its kind and class. `own` is the site
/// that is told.
pub(super) fn disclosed(
    value: &Value<'_>,
    visits: &Visits,
    own: Option<&Site>,
) -> Option<(Kind, String)> {
    if visits.is_empty() {
        return None;
    }
    let text = value.text;
    // A host that could go on is no host yet.
    if !value.truncated && text.contains('.') && is_host(text) {
        let visit = visits.page_on(text)?;
        let others = visit.site() != own;
        return others.then(|| (Kind::Url, "host".to_owned()));
    }
    let hash = visits.hashed(text, value.key.is_some_and(is_hash_of_address))?;
    let others = Site::of_host(hash.host()).as_ref() != own;
    let class = || format!("{}/{}", hash.algorithm.name(), hash.form.name());
    others.then(|| (Kind::VisitedUrlHash, class()))
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
