//! URLs that name a vocabulary, not a page: `rules/vocabularies.toml`.

use serde::Deserialize;
use thiserror::Error;

/// The embedded list.
const EMBEDDED: &str = include_str!("../../rules/vocabularies.toml");

/// A list that cannot be read. It says the line.
#[derive(Debug, Error)]
#[error("vocabularies: {0}")]
pub struct VocabularyError(#[from] toml::de::Error);

/// URLs that are no findings.
#[derive(Debug, Clone)]
pub struct Vocabularies(Vec<Vocabulary>);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Vocabulary {
    prefix: String,
    // Every entry has to say why it is there; nothing reads it at run time.
    #[serde(rename = "reason")]
    _reason: String,
    #[serde(rename = "source")]
    _source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    vocabulary: Vec<Vocabulary>,
}

impl Vocabularies {
    /// Reads a list.
    pub fn parse(text: &str) -> Result<Self, VocabularyError> {
        let file: File = toml::from_str(text)?;
        Ok(Self(file.vocabulary))
    }

    /// Whether a URL, with or without a scheme, belongs to a vocabulary.
    pub fn contains(&self, url: &str) -> bool {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        self.0.iter().any(|vocabulary| {
            let prefix = vocabulary.prefix.as_str();
            rest.get(..prefix.len()).is_some_and(|head| head.eq_ignore_ascii_case(prefix))
                || prefix.strip_suffix('/').is_some_and(|host| rest.eq_ignore_ascii_case(host))
        })
    }
}

impl Default for Vocabularies {
    fn default() -> Self {
        Self::parse(EMBEDDED).expect("a test reads the embedded list")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_list_is_read_and_matches_whole_hosts() {
        let list = Vocabularies::default();
        assert!(list.contains("http://www.w3.org/2000/svg"));
        assert!(list.contains("type.googleapis.com/google.rpc.Status"));
        assert!(list.contains("https://schema.org"));
        assert!(!list.contains("https://schema.org.evil.test/"));
        assert!(!list.contains("https://news.example.org/www.w3.org/"));
    }

    #[test]
    fn an_error_names_its_line() {
        let err = Vocabularies::parse("[[vocabulary]]\nprefix = 1\n").unwrap_err();
        assert!(err.to_string().contains("line 2"), "{err}");
    }
}
