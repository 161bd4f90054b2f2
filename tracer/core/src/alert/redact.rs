//! Redaction: values that reveal something about the user are replaced by short digests.
//!
//! `https://news.example.org/story?q=private#x` becomes
//! `https://news.example.org/story?q=‹5f2a91c0›#‹08b3d1ee›`. Identifiers, personal details, and
//! texts that were typed or read become one digest. Hosts and paths are shown, because they are
//! what an alert is about.
//!
//! One value always has the same digest under one [`Key`], so it can be followed through a log. The
//! key is random, so the digest cannot be looked up. The store keeps its key, so digests stay the
//! same from run to run.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

use crate::finding::Kind;

/// The key of digests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u8; Self::LEN]);

impl Key {
    /// Length in bytes.
    pub const LEN: usize = 16;
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Shows values, or replaces them by digests.
#[derive(Debug, Clone)]
pub struct Redactor {
    /// `None` if values are shown.
    key: Option<Key>,
}

/// Number of bytes of a digest that are shown: enough to distinguish values.
const SHOWN: usize = 4;

impl Redactor {
    /// Creates a redactor that shows values.
    pub fn off() -> Self {
        Self { key: None }
    }

    /// Creates a redactor that replaces values by digests under a key.
    pub fn keyed(key: Key) -> Self {
        Self { key: Some(key) }
    }

    /// Reports whether it replaces values.
    pub fn redacts(&self) -> bool {
        self.key.is_some()
    }

    /// Redacts the value of a finding.
    pub fn finding(&self, kind: Kind, value: &str) -> String {
        match kind {
            Kind::Url | Kind::UrlToUnknown | Kind::Referer | Kind::Origin => self.url(value),
            // Names of screens and buttons.
            Kind::UiEvent => value.to_owned(),
            Kind::VisitedUrlHash
            | Kind::SearchTerms
            | Kind::TypedText
            | Kind::PageText
            | Kind::ContentItem
            | Kind::Identifier
            | Kind::PersonalDetail => self.value(value),
        }
    }

    /// Redacts a value as a whole.
    pub fn value(&self, value: &str) -> String {
        let mut shown = String::new();
        self.digest(value, &mut shown);
        shown
    }

    /// Redacts the query and fragment of a URL or of a request's target.
    pub fn url(&self, url: &str) -> String {
        if self.key.is_none() {
            return url.to_owned();
        }
        let (rest, fragment) = match url.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (url, None),
        };
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let mut shown = String::new();
        self.path(path, &mut shown);
        if let Some(query) = query {
            for (i, field) in query.split('&').enumerate() {
                shown.push(if i == 0 { '?' } else { '&' });
                match field.split_once('=') {
                    Some((key, value)) => {
                        shown.push_str(key);
                        shown.push('=');
                        self.digest(value, &mut shown);
                    }
                    None => self.digest(field, &mut shown),
                }
            }
        }
        if let Some(fragment) = fragment {
            shown.push('#');
            self.digest(fragment, &mut shown);
        }
        shown
    }

    /// Appends the part before the query. It is shown, except for a user name and password before
    /// the host (RFC 3986, section 3.2.1).
    fn path(&self, path: &str, shown: &mut String) {
        let parts = path.split_once("://").and_then(|(scheme, rest)| {
            let end = rest.find('/').unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            let (user, host) = authority.rsplit_once('@')?;
            Some((scheme, user, host, path))
        });
        let Some((scheme, user, host, path)) = parts else {
            return shown.push_str(path);
        };
        shown.push_str(scheme);
        shown.push_str("://");
        self.digest(user, shown);
        shown.push('@');
        shown.push_str(host);
        shown.push_str(path);
    }

    fn digest(&self, value: &str, shown: &mut String) {
        let Some(Key(key)) = self.key.filter(|_| !value.is_empty()) else {
            return shown.push_str(value);
        };
        let digest = Sha256::new().chain_update(key).chain_update(value).finalize();
        shown.push('‹');
        for byte in digest.iter().take(SHOWN) {
            write!(shown, "{byte:02x}").expect("a string takes everything");
        }
        shown.push('›');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 16]);

    #[test]
    fn values_are_hidden_and_the_rest_is_not() {
        let redactor = Redactor::keyed(KEY);
        let shown = redactor.url("https://a.test/p?q=private&r=&flag#frag");
        assert!(shown.starts_with("https://a.test/p?q=‹"), "{shown}");
        assert!(shown.contains("&r=&‹"), "{shown}");
        for value in ["private", "flag", "frag"] {
            assert!(!shown.contains(value), "{shown}");
        }
        assert_eq!(shown, redactor.url("https://a.test/p?q=private&r=&flag#frag"));
        let other = Redactor::keyed(Key([8; 16]));
        assert_ne!(shown, other.url("https://a.test/p?q=private&r=&flag#frag"));
    }

    #[test]
    fn passwords_are_hidden() {
        let shown = Redactor::keyed(KEY).url("https://me:secret@a.test:8/p@x");
        assert!(shown.starts_with("https://‹") && shown.ends_with("›@a.test:8/p@x"), "{shown}");
        assert_eq!(
            Redactor::keyed(KEY).url("/p://a@b/c"),
            "/p://‹".to_owned() + &shown_a() + "›@b/c"
        );
    }

    fn shown_a() -> String {
        Redactor::keyed(KEY).value("a").trim_matches(['‹', '›']).to_owned()
    }

    /// An identifier can be followed from a finding to a query.
    #[test]
    fn one_value_has_one_digest_wherever_it_stands() {
        let redactor = Redactor::keyed(KEY);
        let digest = redactor.finding(Kind::Identifier, "0123456789abcdef");
        assert_eq!(digest.chars().count(), 2 + 2 * SHOWN);
        assert_eq!(redactor.url("/p?id=0123456789abcdef"), format!("/p?id={digest}"));
    }

    #[test]
    fn findings_are_hidden_by_what_they_are() {
        let redactor = Redactor::keyed(KEY);
        for kind in [
            Kind::VisitedUrlHash,
            Kind::SearchTerms,
            Kind::TypedText,
            Kind::PageText,
            Kind::ContentItem,
            Kind::Identifier,
            Kind::PersonalDetail,
        ] {
            let shown = redactor.finding(kind, "my secret");
            assert!(shown.starts_with('‹') && !shown.contains("secret"), "{kind:?}: {shown}");
            assert_eq!(Redactor::off().finding(kind, "my secret"), "my secret");
        }
        for kind in [Kind::Url, Kind::UrlToUnknown, Kind::Referer, Kind::Origin] {
            let shown = redactor.finding(kind, "https://a.test/p?q=secret");
            assert!(shown.starts_with("https://a.test/p?q=‹"), "{kind:?}: {shown}");
        }
        assert_eq!(redactor.finding(Kind::UiEvent, "settings"), "settings");
    }

    #[test]
    fn off_shows_everything() {
        assert_eq!(Redactor::off().url("/p?q=x#y"), "/p?q=x#y");
        assert_eq!(Redactor::off().url("https://a:b@c/"), "https://a:b@c/");
    }

    #[test]
    fn what_has_no_values_stays() {
        let redactor = Redactor::keyed(Key([7; Key::LEN]));
        for url in ["https://a.test/p", "https://a.test", "/p", "", "?", "#", "://"] {
            assert_eq!(redactor.url(url), url);
        }
    }

    #[test]
    fn keys_differ_and_are_not_printed() {
        let (one, other) = (Key([1; Key::LEN]), Key([2; Key::LEN]));
        assert_ne!(one, other);
        assert_eq!(format!("{:?}", Redactor::keyed(KEY)), "Redactor { key: Some(Key(…)) }");
    }
}
