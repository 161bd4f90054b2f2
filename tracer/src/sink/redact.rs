//! Redaction: what a URL's query and fragment hold is shown as a short digest.
//!
//! `https://news.example.org/story?q=private#x` becomes
//! `https://news.example.org/story?q=‹5f2a91c0›#‹08b3d1ee›`. The same value
//! gives the same digest, so that it can be followed through a log, and the key
//! is random, so that it cannot be looked up.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Shows values, or their digests.
#[derive(Debug, Clone)]
pub struct Redactor {
    /// `None`: values are shown.
    key: Option<[u8; 16]>,
}

/// Bytes of a digest that are shown: enough to tell values apart.
const SHOWN: usize = 4;

impl Redactor {
    /// Shows values.
    pub fn off() -> Self {
        Self { key: None }
    }

    /// Shows digests under a key.
    pub fn keyed(key: [u8; 16]) -> Self {
        Self { key: Some(key) }
    }

    /// Shows digests under a key of this run.
    pub fn random() -> Self {
        use std::hash::{BuildHasher as _, Hasher as _, RandomState};
        let mut key = [0; 16];
        let (low, high) = key.split_at_mut(8);
        for half in [low, high] {
            half.copy_from_slice(&RandomState::new().build_hasher().finish().to_ne_bytes());
        }
        Self::keyed(key)
    }

    /// A URL or a request's target.
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
        let mut shown = path.to_owned();
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

    fn digest(&self, value: &str, shown: &mut String) {
        let Some(key) = self.key.filter(|_| !value.is_empty()) else {
            shown.push_str(value);
            return;
        };
        let digest = Sha256::new().chain_update(key).chain_update(value).finalize();
        shown.push('‹');
        for byte in &digest[..SHOWN] {
            write!(shown, "{byte:02x}").expect("a string takes everything");
        }
        shown.push('›');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_hidden_and_the_rest_is_not() {
        let redactor = Redactor::keyed([7; 16]);
        let shown = redactor.url("https://a.test/p?q=private&r=&flag#frag");
        assert!(shown.starts_with("https://a.test/p?q=‹"), "{shown}");
        assert!(shown.contains("&r=&‹"), "{shown}");
        for value in ["private", "flag", "frag"] {
            assert!(!shown.contains(value), "{shown}");
        }
        assert_eq!(shown, redactor.url("https://a.test/p?q=private&r=&flag#frag"));
        assert_ne!(shown, Redactor::keyed([8; 16]).url("https://a.test/p?q=private&r=&flag#frag"));
    }

    #[test]
    fn off_shows_everything() {
        assert_eq!(Redactor::off().url("/p?q=x#y"), "/p?q=x#y");
    }

    #[test]
    fn what_has_no_values_stays() {
        let redactor = Redactor::random();
        for url in ["https://a.test/p", "/p", "", "?", "#"] {
            assert_eq!(redactor.url(url), url);
        }
    }
}
