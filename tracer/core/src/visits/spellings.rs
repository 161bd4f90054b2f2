//! The less usual spellings of an address, of which hashes are looked for as well.

use std::fmt::Write as _;

use data_encoding::BASE64;

use super::hashes::HashedForm;
use crate::address::Site;

/// A spelling of an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Spelling {
    pub(super) form: HashedForm,
    /// The text that is hashed.
    pub(super) text: String,
    /// The address in its usual spelling.
    pub(super) of: String,
}

/// Returns the spellings of a URL without its fragment, and of its host.
pub(super) fn spellings(url: &str, host: &str) -> Vec<Spelling> {
    let mut all = Vec::new();
    let mut add = |form, text: String, of: &str| {
        if text != of {
            all.push(Spelling { form, text, of: of.to_owned() });
        }
    };
    for (form, of) in [(HashedForm::Url, url), (HashedForm::Host, host)] {
        add(form, of.to_uppercase(), of);
        // As `echo` and `cat` pass a line on.
        add(form, format!("{of}\n"), of);
        add(form, BASE64.encode(of.as_bytes()), of);
        add(form, of.chars().rev().collect(), of);
    }
    add(HashedForm::Url, percent_encoded(url), url);
    for name in
        [format!(".{host}"), format!("{host}."), format!("{host}:443"), format!("{host}:80")]
    {
        add(HashedForm::Host, name, host);
    }
    let labels: Vec<&str> = host.rsplit('.').collect();
    add(HashedForm::Host, labels.join("."), host);
    let bare = url.split_once("://").map_or(url, |(_, bare)| bare);
    let path_start = bare.find(['/', '?']).unwrap_or(bare.len());
    let (path_and_query, path) = (&bare[path_start..], without_query(&bare[path_start..]));
    add(HashedForm::Url, format!("{}){path_and_query}", labels.join(",")), url);
    if !path.ends_with('/') {
        add(HashedForm::HostPath, format!("{}/", without_query(url)), without_query(url));
    }
    safe_browsing(host, path, &mut add);
    all
}

/// Adds the expressions of Safe Browsing: the host and its domain, each with the folders of the
/// path.
fn safe_browsing(host: &str, path: &str, add: &mut impl FnMut(HashedForm, String, &str)) {
    /// As its specification limits them.
    const MAX_FOLDERS: usize = 4;
    let site = Site::from_host(host);
    let domain = site.as_ref().map(Site::as_str).filter(|domain| *domain != host);
    for name in [Some(host), domain].into_iter().flatten() {
        for (end, _) in path.match_indices('/').skip(1).take(MAX_FOLDERS - 1) {
            let folder = format!("{name}{}", &path[..=end]);
            add(HashedForm::HostPath, folder, host);
        }
    }
    if let Some(domain) = domain {
        add(HashedForm::Domain, format!("{domain}/"), domain);
        add(HashedForm::HostPath, format!("{domain}{path}"), host);
    }
}

fn without_query(text: &str) -> &str {
    text.split('?').next().unwrap_or(text)
}

/// Encodes all characters but those that `encodeURIComponent` of JavaScript leaves.
fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() * 2);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte) {
            encoded.push(byte.into());
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_spelled_in_other_ways() {
        let url = "https://news.example.org/a/b?c=d e";
        let all = spellings(url, "news.example.org");
        let has = |form, text: &str, of: &str| {
            let (text, of) = (text.to_owned(), of.to_owned());
            all.contains(&Spelling { form, text, of })
        };
        let host = "news.example.org";
        assert!(has(HashedForm::Url, "HTTPS://NEWS.EXAMPLE.ORG/A/B?C=D E", url));
        assert!(has(HashedForm::Url, "https%3A%2F%2Fnews.example.org%2Fa%2Fb%3Fc%3Dd%20e", url));
        assert!(has(HashedForm::Url, "org,example,news)/a/b?c=d e", url));
        assert!(has(HashedForm::Host, "org.example.news", host));
        assert!(has(HashedForm::Host, "news.example.org\n", host));
        assert!(has(HashedForm::HostPath, "news.example.org/a/", host));
        assert!(has(HashedForm::HostPath, "example.org/a/b", host));
        assert!(has(
            HashedForm::HostPath,
            "https://news.example.org/a/b/",
            "https://news.example.org/a/b"
        ));
        assert!(has(HashedForm::Domain, "example.org/", "example.org"));
        assert!(all.len() < 32, "{}", all.len());
    }
}
