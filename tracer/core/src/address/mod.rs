//! URLs in a normalised form, in which they are compared.

mod site;
mod suffix;

use std::borrow::Cow;

pub use self::site::{Site, host_of_authority};
pub(crate) use self::{
    site::{has_known_suffix, is_local, is_local_address, is_loopback, lowercase, normalize_host},
    suffix::public_suffix,
};
use crate::content::percent_decode;

/// A normalised address: a host in lower case, and a percent-decoded path and
/// query, without scheme, default port, user and fragment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Host, with the port unless it is a default one.
    host: String,
    /// Path; `/` if it is empty.
    path: String,
    /// Query, if it is not empty.
    query: Option<String>,
}

impl Address {
    /// Parses a URL, with or without a scheme. Returns `None` if it has no host.
    pub fn parse(url: &str) -> Option<Self> {
        let url = without_scheme(url);
        // A network-path reference (RFC 3986, section 4.2).
        let url = url.strip_prefix("//").unwrap_or(url);
        let url = url.split('#').next().unwrap_or_default();
        let end = url.find(['/', '?']).unwrap_or(url.len());
        let (authority, rest) = url.split_at(end);
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = [":80", ":443"].iter().find_map(|port| host.strip_suffix(port)).unwrap_or(host);
        // A fully qualified name may end in a dot.
        let host = normalize_host(host.strip_suffix('.').unwrap_or(host));
        (!host.is_empty()).then(|| Self {
            host,
            path: if path.is_empty() { "/".into() } else { decoded(path) },
            query: query.filter(|query| !query.is_empty()).map(decoded),
        })
    }

    /// Parses an address in the form that sorts by domain (SURT): `org,example,news)/politics`,
    /// with or without a scheme and `(`.
    pub fn parse_surt(text: &str) -> Option<Self> {
        let text = without_scheme(text);
        let (labels, rest) = text.trim_start_matches('(').split_once(')')?;
        if !labels.contains(',') || !(rest.is_empty() || rest.starts_with('/')) {
            return None;
        }
        let host: Vec<&str> = labels.trim_end_matches(',').split(',').rev().collect();
        Self::parse(&format!("{}{rest}", host.join(".")))
    }

    /// Returns the host, with the port unless it is a default one.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns the site of the host.
    pub fn site(&self) -> Option<Site> {
        Site::from_host(host_of_authority(&self.host))
    }

    /// Returns the percent-decoded path.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the percent-decoded query.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// Reports whether the address has neither a path nor a query.
    pub fn is_host(&self) -> bool {
        self.path == "/" && self.query.is_none()
    }

    /// Reports whether the address has a query.
    pub fn has_query(&self) -> bool {
        self.query.is_some()
    }

    /// Reports whether both addresses are the same except for upper and lower case.
    pub fn eq_ignore_case(&self, other: &Self) -> bool {
        let query = |address: &Self| address.query.clone().unwrap_or_default().to_lowercase();
        self.host == other.host
            && self.path.len() == other.path.len()
            && self.path.to_lowercase() == other.path.to_lowercase()
            && query(self) == query(other)
    }

    /// Reports whether both addresses have the same host and path.
    pub fn same_path(&self, other: &Self) -> bool {
        self.host == other.host && self.path == other.path
    }

    /// Reports whether this address extends `page`, which has a query: by another
    /// parameter, or by text that follows the URL in a format without delimiters.
    pub fn goes_beyond(&self, page: &Self) -> bool {
        let queries = self.query.as_deref().zip(page.query.as_deref());
        self.same_path(page) && queries.is_some_and(|(own, page)| own.starts_with(page))
    }

    /// Reports whether this address, which is truncated after its host, can be the
    /// beginning of `whole`.
    pub fn begins(&self, whole: &Self) -> bool {
        self.host == whole.host
            && match (&self.query, &whole.query) {
                (None, _) => whole.path.starts_with(&self.path),
                (Some(query), Some(other)) => self.path == whole.path && other.starts_with(query),
                (Some(_), None) => false,
            }
    }
}

/// Returns what follows the first `://` of a text, or the text.
pub(crate) fn without_scheme(text: &str) -> &str {
    // Hardly any text is long enough for a search of three bytes to repay its preparation.
    let bytes = text.as_bytes();
    let mut colons = memchr::memchr_iter(b':', bytes);
    colons.find(|&at| bytes[at..].starts_with(b"://")).map_or(text, |at| &text[at + 3..])
}

/// Decodes percent-encoding, and replaces invalid UTF-8.
fn decoded(text: &str) -> String {
    let bytes = percent_decode(text.as_bytes()).map_or(Cow::Borrowed(text.as_bytes()), Cow::Owned);
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        Address::parse(url).unwrap()
    }

    #[test]
    fn equivalent_urls_are_equal() {
        for (one, other) in [
            ("https://News.example.org/a?b=c#d", "news.example.org:443/a?b=c"),
            ("http://u:p@a.test", "http://a.test:80/"),
            ("https://a.test/%C3%A9?q=a%20b", "https://a.test/é?q=a b"),
            ("https://a.test/x?", "https://a.test/x"),
            ("https://a.test./x", "https://a.test/x"),
            (
                "https://Nachrichten-München.example/x",
                "https://xn--nachrichten-mnchen-y6b.example/x",
            ),
            ("https://例え.テスト:8443/x", "https://xn--r8jz45g.xn--zckzah:8443/x"),
        ] {
            assert_eq!(address(one), address(other));
        }
        assert_ne!(address("https://a.test/x"), address("https://a.test/y"));
        assert_ne!(address("https://a.test:8443/"), address("https://a.test/"));
        assert_eq!(Address::parse("https:///x"), None);
        assert_eq!(Address::parse(""), None);
    }

    #[test]
    fn sorted_forms_are_parsed() {
        let page = address("https://news.example.org/story?q=private");
        for text in [
            "org,example,news)/story?q=private",
            "http://(org,example,news,)/story?q=private",
            "(org,example,news)/story?q=private",
        ] {
            assert_eq!(Address::parse_surt(text).as_ref(), Some(&page), "{text}");
        }
        for text in ["f(a,b)", "news)/story", "(a)", "a,b)c", ""] {
            let found = Address::parse_surt(text);
            assert!(found.is_none_or(|it| it.is_host()), "{text}");
        }
    }

    #[test]
    fn case_can_be_ignored() {
        let page = address("https://a.test/Story?q=Private");
        assert!(address("HTTPS://A.TEST/STORY?Q=PRIVATE").eq_ignore_case(&page));
        for other in
            ["https://a.test/story", "https://a.test/story?q=p", "https://b.test/story?q=private"]
        {
            assert!(!address(other).eq_ignore_case(&page), "{other}");
        }
    }

    #[test]
    fn compares_parts_of_addresses() {
        let page = address("https://a.test/story?q=private");
        assert!(address("https://a.test/story").same_path(&page));
        assert!(!address("https://a.test/").same_path(&page));
        assert!(address("https://a.test").is_host() && !page.is_host());
        for cut in ["https://a.test/st", "https://a.test/story?q=pri", "https://a.test"] {
            assert!(address(cut).begins(&page), "{cut}");
        }
        assert!(!address("https://a.test/story?r").begins(&page));
        assert!(!address("https://a.test/other").begins(&page));
        for beyond in ["https://a.test/story?q=private&r=1", "https://a.test/story?q=private,7f3c"]
        {
            assert!(address(beyond).goes_beyond(&page), "{beyond}");
        }
        for other in
            ["https://a.test/story", "https://a.test/story?q=p", "https://a.test/?q=private"]
        {
            assert!(!address(other).goes_beyond(&page), "{other}");
        }
        assert_eq!(page.site().unwrap().as_str(), "a.test");
    }
}
