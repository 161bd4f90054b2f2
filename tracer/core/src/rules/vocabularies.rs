//! URLs that identify a vocabulary and not a page: `rules/vocabularies.toml`.

use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;
use toml::Spanned;

use super::{Located, Named, RulesError, RulesFile, Text, checked};

/// A vocabulary, whose URLs are not findings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Vocabulary {
    /// Prefix of its URLs, without the scheme.
    pub prefix: Prefix,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

impl Named for Vocabulary {
    fn name(&self) -> &str {
        &self.prefix.0
    }
}

/// A prefix of URLs without their scheme, which ends with a slash.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(into = "String")]
pub struct Prefix(String);

/// The reason why a text is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "`{0}` is not a prefix; write a host and a path without the scheme, with a slash at the end, \
     as in `schema.org/`"
)]
pub struct PrefixError(String);

impl TryFrom<String> for Prefix {
    type Error = PrefixError;

    fn try_from(prefix: String) -> Result<Self, PrefixError> {
        // Without the slash, `schema.org` would match `schema.org.evil.test` too.
        let is_prefix = prefix.len() > 1 && prefix.ends_with('/') && !prefix.contains("//");
        if is_prefix { Ok(Self(prefix)) } else { Err(PrefixError(prefix)) }
    }
}

impl<'de> Deserialize<'de> for Prefix {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        checked(from)
    }
}

impl From<Prefix> for String {
    fn from(prefix: Prefix) -> Self {
        prefix.0
    }
}

/// All vocabularies.
#[derive(Debug, Clone)]
pub struct Vocabularies(Vec<Vocabulary>);

impl Vocabularies {
    /// Reports whether a URL, with or without a scheme, belongs to a vocabulary.
    pub fn contains(&self, url: &str) -> bool {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        self.0.iter().any(|vocabulary| {
            let prefix = vocabulary.prefix.0.as_str();
            rest.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
                || prefix.strip_suffix('/').is_some_and(|host| rest.eq_ignore_ascii_case(host))
        })
    }

    /// Reports whether a truncated URL may belong to a vocabulary.
    pub fn may_contain(&self, cut: &str) -> bool {
        let rest = cut.split_once("://").map_or(cut, |(_, rest)| rest);
        self.0.iter().any(|vocabulary| {
            let prefix = vocabulary.prefix.0.as_str();
            prefix.get(..rest.len()).is_some_and(|head| head.eq_ignore_ascii_case(rest))
        })
    }
}

impl FromIterator<Vocabulary> for Vocabularies {
    fn from_iter<I: IntoIterator<Item = Vocabulary>>(vocabularies: I) -> Self {
        Self(vocabularies.into_iter().collect())
    }
}

impl Default for Vocabularies {
    /// Returns the embedded vocabularies.
    fn default() -> Self {
        let list = parse(EMBEDDED).expect("a test reads the embedded list");
        list.into_iter().map(|located| located.entry).collect()
    }
}

/// The embedded file.
pub(super) const EMBEDDED: RulesFile<'_> =
    RulesFile { name: "vocabularies.toml", text: include_str!("../../../rules/vocabularies.toml") };

/// The structure of `vocabularies.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    vocabulary: Vec<Spanned<Vocabulary>>,
}

/// Parses `vocabularies.toml`.
pub(super) fn parse(file: RulesFile<'_>) -> Result<Vec<Located<Vocabulary>>, RulesError> {
    let File { vocabulary } = file.parse()?;
    file.entries(vocabulary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_list_matches_whole_hosts() {
        let list = Vocabularies::default();
        assert!(list.contains("http://www.w3.org/2000/svg"));
        assert!(list.contains("http://www.w3.org/TR/html4/strict.dtd"));
        assert!(list.contains("type.googleapis.com/google.rpc.Status"));
        assert!(list.contains("https://schema.org"));
        assert!(!list.contains("https://schema.org.evil.test/"));
        assert!(!list.contains("https://news.example.org/www.w3.org/2000/svg"));
    }

    #[test]
    fn pages_on_the_site_of_a_vocabulary_are_pages() {
        let list = Vocabularies::default();
        for page in ["https://www.w3.org/", "https://www.w3.org/TR/webrtc/", "www.apple.com/"] {
            assert!(!list.contains(page), "{page}");
        }
    }

    #[test]
    fn a_prefix_ends_where_a_name_ends() {
        let prefix = |text: &str| Prefix::try_from(text.to_owned());
        assert!(prefix("schema.org/").is_ok() && prefix("www.apple.com/DTDs/").is_ok());
        for text in ["", "/", "schema.org", "https://schema.org/", "schema.org/x"] {
            assert!(prefix(text).is_err(), "{text}");
        }
    }
}
