//! Values that are recognised only with knowledge of the visits: a bare host, an
//! address without a scheme, a hash.

use super::{pair::normalize_key, url::is_host};
use crate::{
    address::{Address, Site, host_of_authority},
    finding::{Kind, Visited},
    visits::Visits,
};
use crate::{content::Value, record::BootTime};

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
    if !value.truncated && is_page(text, visits, own) {
        return Some((Kind::Url, None));
    }
    let hash = visits.hashed(text, value.key.is_some_and(is_hash_of_address))?;
    let is_other_site = Site::from_host(hash.host()).as_ref() != own;
    let class = || format!("{}/{}", hash.algorithm.name(), hash.form.name());
    is_other_site.then(|| (Kind::VisitedUrlHash, Some(class())))
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
