//! Canaries: pages with made-up URLs. Anyone who mentions one has learned of it from the browser.
//!
//! ```text
//! https://news-lokifa.tracer-audit.test:8443/tarumi-benoko-vasitu?q=domire-kapolu-nefosa
//!              host                             path                      query
//! ```
//!
//! Each part has words of its own, which show how much of the URL was disclosed. They are words and
//! not digits, because digits look like identifiers: software that removes identifiers from URLs
//! would remove them.

use serde::{Deserialize, Serialize};

/// A page of an audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Number of the page in the run, from 1.
    pub id: u64,
    /// Its URL.
    pub url: String,
    /// Host and port, as in the URL.
    pub authority: String,
    /// The word in its host; `None` if all pages have the same host.
    pub host_word: Option<String>,
    /// The words in its path.
    pub path_word: String,
    /// The words in its query.
    pub query_word: String,
    /// The words in its title.
    pub title: String,
}

/// Location of an audit's pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hosting {
    /// On the audit's own server, which has this port and every name below this domain.
    Wildcard {
        /// The domain.
        domain: String,
        /// The port.
        port: u16,
    },
    /// Below this URL. The pages do not have to exist.
    Below(String),
}

/// Length of three words with two hyphens, in characters.
const WORDS: usize = 20;

/// Number of random bytes that a canary is made of.
pub const SEED: usize = 36;

/// Part of a page's address that is disclosed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extent {
    /// Text that was typed into the address bar.
    Typed,
    /// The length of a message that could not be read follows the length of the URL.
    Length,
    /// A value that depends on the page, and could not be read.
    Derived,
    /// A hash of the URL or host.
    Hash,
    /// The host.
    Host,
    /// Host and path.
    HostPath,
    /// The URL with its query.
    Full,
}

impl Extent {
    /// Returns the extent in words.
    pub fn label(self) -> &'static str {
        match self {
            Self::Typed => "as typed",
            Self::Length => "length",
            Self::Derived => "derived value",
            Self::Hash => "as a hash",
            Self::Host => "host",
            Self::HostPath => "host and path",
            Self::Full => "full URL",
        }
    }
}

/// A mention of a page in a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mention {
    /// Its address, or part of it.
    Address(Extent),
    /// Its title.
    Title,
}

impl Canary {
    /// Makes up a page from random bytes.
    pub fn new(id: u64, hosting: &Hosting, random: &[u8; SEED]) -> Self {
        // A word has 18 bits: no two runs have a path in common.
        let words = |from: usize| {
            let word = |at: usize| word(random.get(at..at + 3).unwrap_or_default());
            format!("{}-{}-{}", word(from), word(from + 3), word(from + 6))
        };
        let host_word = word(&random[..4]);
        Self::from_words(id, hosting, &host_word, &words(4), &words(14), &words(24))
    }

    /// Makes up a page from the words of its parts. Long parts are recognised by their beginning,
    /// since they may be cut.
    pub(crate) fn from_words(
        id: u64,
        hosting: &Hosting,
        host_word: &str,
        path: &str,
        query: &str,
        title: &str,
    ) -> Self {
        let (authority, base, host_word) = match hosting {
            Hosting::Wildcard { domain, port } => {
                let authority = format!("news-{host_word}.{domain}:{port}");
                (authority.clone(), format!("https://{authority}/"), Some(host_word.to_owned()))
            }
            Hosting::Below(url) => {
                let base = format!("{}/", url.trim_end_matches('/'));
                let rest = base.split_once("://").map_or(&base[..], |(_, rest)| rest);
                (rest.split('/').next().unwrap_or_default().to_owned(), base, None)
            }
        };
        let url = format!("{base}{path}?q={query}");
        let begin = |text: &str| text.chars().take(WORDS).collect();
        let (path_word, query_word) = (begin(path), begin(query));
        Self { id, url, authority, host_word, path_word, query_word, title: title.to_owned() }
    }

    /// Returns path and query, as in the URL.
    pub fn target(&self) -> &str {
        let rest = self.url.split_once("://").map_or(&self.url[..], |(_, rest)| rest);
        rest.find('/').map_or("", |at| &rest[at..])
    }

    /// Returns its host.
    pub fn host(&self) -> &str {
        self.authority.rsplit_once(':').map_or(&self.authority, |(host, port)| {
            // A port, and not the end of an IPv6 address.
            if port.bytes().all(|b| b.is_ascii_digit()) { host } else { &self.authority }
        })
    }

    /// Returns the number of its parts that a text in lower case contains. Pages of an experiment
    /// have parts in common.
    pub(crate) fn parts_in(&self, text: &str) -> usize {
        let parts = [&self.path_word, &self.query_word, &self.title];
        let parts = parts.into_iter().chain(&self.host_word);
        parts.filter(|word| text.contains(&word[..])).count()
    }

    /// Reports whether one of its parts is this word.
    pub(crate) fn has_part(&self, word: &str) -> bool {
        [&self.path_word, &self.query_word, &self.title].into_iter().any(|part| part == word)
            || self.host_word.as_deref() == Some(word)
    }

    /// Returns the most that a text in lower case mentions of the page.
    pub fn mentioned_in(&self, text: &str) -> Option<Mention> {
        let has = |word: &str| text.contains(word);
        // The query alone identifies the page: the rest may be cut.
        if has(&self.query_word) {
            Some(Mention::Address(Extent::Full))
        } else if has(&self.path_word) {
            Some(Mention::Address(Extent::HostPath))
        } else if has(&self.title) {
            Some(Mention::Title)
        } else if self.host_word.as_deref().is_some_and(has) {
            Some(Mention::Address(Extent::Host))
        } else {
            None
        }
    }
}

/// Makes a word with one syllable per byte.
pub(crate) fn word(bytes: &[u8]) -> String {
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
        let hosting = Hosting::Wildcard { domain: "audit.test".into(), port: 8443 };
        Canary::new(1, &hosting, &seed(1))
    }

    #[test]
    fn each_part_of_a_url_is_recognised() {
        let canary = wildcard();
        let url = canary.url.clone();
        let (host_path, _) = url.split_once('?').unwrap();
        assert_eq!(canary.mentioned_in(&url), Some(Mention::Address(Extent::Full)));
        assert_eq!(canary.mentioned_in(host_path), Some(Mention::Address(Extent::HostPath)));
        assert_eq!(canary.mentioned_in(canary.host()), Some(Mention::Address(Extent::Host)));
        assert_eq!(canary.mentioned_in(&canary.title), Some(Mention::Title));
        assert_eq!(canary.mentioned_in("https://www.audit.test:8443/"), None);
    }

    #[test]
    fn pages_of_one_site_differ() {
        let hosting = Hosting::Below("https://example.org/dir/".into());
        let (one, two) = (Canary::new(1, &hosting, &seed(1)), Canary::new(2, &hosting, &seed(2)));
        assert!(one.url.starts_with("https://example.org/dir/"), "{}", one.url);
        assert_eq!((one.host(), one.mentioned_in("example.org")), ("example.org", None));
        assert_eq!(two.mentioned_in(&one.url), None);
        assert_eq!(one.mentioned_in(&two.url), None);
    }
}
