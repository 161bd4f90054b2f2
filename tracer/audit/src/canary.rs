//! Canaries: pages with URLs that nobody has ever seen, so that who names one
//! was told of it.
//!
//! ```text
//! https://news-lokifa.tracer-audit.test:8443/tarumi-benoko-vasitu?q=domire-kapolu-nefosa
//!              host                             path                      query
//! ```
//!
//! Each part has words of its own, so that how much somebody knows can be
//! told. They are made-up words and not digits: those look like identifiers,
//! and what removes identifiers from URLs would remove them.

use serde::{Deserialize, Serialize};

use super::report::Scope;

/// A page that is opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Its number in the run, from 1.
    pub id: u64,
    /// Its URL.
    pub url: String,
    /// Its host and port, as the URL has them.
    pub authority: String,
    /// The word in its host; `None` where all pages have one host.
    pub host_word: Option<String>,
    /// The words in its path.
    pub path_word: String,
    /// The words in its query.
    pub query_word: String,
    /// The words in its title.
    pub title: String,
}

/// Where canaries live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Site {
    /// Every name below this domain leads to our server, on this port.
    Wildcard {
        /// The domain.
        domain: String,
        /// The port.
        port: u16,
    },
    /// Pages below this URL; whether they exist does not matter.
    Below(String),
}

/// Random bytes that a canary is made of.
pub const SEED: usize = 36;

/// What tells that a value is about one of our pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mention {
    /// Its address, or part of it.
    Address(Scope),
    /// Its title.
    Title,
}

impl Canary {
    /// A page of this site, of random bytes.
    pub fn new(id: u64, site: &Site, random: &[u8; SEED]) -> Self {
        // 18 bits a word: no two runs have a path in common.
        let words = |from: usize| {
            let word = |at: usize| word(random.get(at..at + 3).unwrap_or_default());
            format!("{}-{}-{}", word(from), word(from + 3), word(from + 6))
        };
        let host_word = word(&random[..4]);
        let (path_word, query_word, title) = (words(4), words(14), words(24));
        let (authority, base, host_word) = match site {
            Site::Wildcard { domain, port } => {
                let authority = format!("news-{host_word}.{domain}:{port}");
                (authority.clone(), format!("https://{authority}/"), Some(host_word))
            }
            Site::Below(url) => {
                let base = format!("{}/", url.trim_end_matches('/'));
                let rest = base.split_once("://").map_or(&base[..], |(_, rest)| rest);
                (rest.split('/').next().unwrap_or_default().to_owned(), base, None)
            }
        };
        let url = format!("{base}{path_word}?q={query_word}");
        Self { id, url, authority, host_word, path_word, query_word, title }
    }

    /// Its host.
    pub fn host(&self) -> &str {
        self.authority.rsplit_once(':').map_or(&self.authority, |(host, port)| {
            // A port, and not the end of an IPv6 address.
            if port.bytes().all(|b| b.is_ascii_digit()) { host } else { &self.authority }
        })
    }

    /// What a value, in lower case, says of it; the most where it says several
    /// things.
    pub fn mentioned_in(&self, text: &str) -> Option<Mention> {
        let has = |word: &str| text.contains(word);
        // A path that says as much as all of it: what follows may be cut.
        if has(&self.query_word) {
            Some(Mention::Address(Scope::Full))
        } else if has(&self.path_word) {
            Some(Mention::Address(Scope::HostPath))
        } else if has(&self.title) {
            Some(Mention::Title)
        } else if self.host_word.as_deref().is_some_and(has) {
            Some(Mention::Address(Scope::Host))
        } else {
            None
        }
    }
}

/// A word of as many syllables as there are bytes.
fn word(bytes: &[u8]) -> String {
    const BEGIN: &[u8; 16] = b"bdfgklmnprstvzhj";
    const END: &[u8; 4] = b"aeio";
    let mut word = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        word.push(char::from(BEGIN[usize::from(byte >> 2 & 15)]));
        word.push(char::from(END[usize::from(byte & 3)]));
    }
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed(first: u8) -> [u8; SEED] {
        std::array::from_fn(|i| first.wrapping_add((i * 37) as u8))
    }

    fn wildcard() -> Canary {
        let site = Site::Wildcard { domain: "audit.test".into(), port: 8443 };
        Canary::new(1, &site, &seed(1))
    }

    #[test]
    fn every_part_is_told_apart() {
        let canary = wildcard();
        let url = canary.url.clone();
        let (host_path, _) = url.split_once('?').unwrap();
        assert_eq!(canary.mentioned_in(&url), Some(Mention::Address(Scope::Full)));
        assert_eq!(canary.mentioned_in(host_path), Some(Mention::Address(Scope::HostPath)));
        assert_eq!(canary.mentioned_in(canary.host()), Some(Mention::Address(Scope::Host)));
        assert_eq!(canary.mentioned_in(&canary.title), Some(Mention::Title));
        assert_eq!(canary.mentioned_in("https://www.audit.test:8443/"), None);
    }

    #[test]
    fn no_two_are_alike() {
        let site = Site::Below("https://example.org/dir/".into());
        let (one, two) = (Canary::new(1, &site, &seed(1)), Canary::new(2, &site, &seed(2)));
        assert!(one.url.starts_with("https://example.org/dir/"), "{}", one.url);
        assert_eq!((one.host(), one.mentioned_in("example.org")), ("example.org", None));
        assert_eq!(two.mentioned_in(&one.url), None);
        assert_eq!(one.mentioned_in(&two.url), None);
    }
}
