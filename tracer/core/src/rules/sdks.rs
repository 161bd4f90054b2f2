//! The form of requests of telemetry SDKs, independent of the recipient:
//! `rules/sdks.toml`.
//!
//! ```toml
//! [[sdk]]
//! name = "Sensors Analytics"
//! forms = [["distinct_id", "lib/$lib"], [":java_hash"]]
//! ```
//!
//! A request is attributed to an SDK if it has all signs of one of the SDK's forms. A sign
//! is
//!
//! | syntax | satisfied by |
//! |---|---|
//! | `name` | a value in a field with exactly that name |
//! | `parent/name` | … in an object in a field `parent` |
//! | `name=pattern` | … whose text matches the pattern |
//! | `header:name`, `header:name=pattern` | a header field, case-insensitively |
//! | `:path=pattern` | the request's path, without its query |
//! | `:java_hash` | `crc` is Java's `String.hashCode` of `data` or `data_list` |
//!
//! A pattern is a text; a `*` at its end, at its start or at both matches any text.

use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

use super::{Located, Named, RulesError, RulesFile, Text, overlay};

/// The embedded file.
pub(super) const EMBEDDED: RulesFile<'_> =
    RulesFile { name: "sdks.toml", text: include_str!("../../../rules/sdks.toml") };

/// All SDKs. The first SDK with a matching form is taken.
#[derive(Debug, Clone, Default)]
pub struct Sdks(pub Vec<Located<Sdk>>);

/// One SDK.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sdk {
    /// Name, for display.
    pub name: Text,
    /// The signs of each of its forms.
    pub forms: Vec<Vec<Sign>>,
    /// Reason why these are its signs.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

/// One sign of an SDK in a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Sign {
    /// A value in a field.
    Field {
        /// Name of the field whose object contains the field.
        parent: Option<String>,
        /// Name of the field, case-sensitive.
        name: String,
        /// Pattern of its text.
        text: Pattern,
    },
    /// A header field.
    Header {
        /// Name, case-insensitive.
        name: String,
        /// Pattern of its value.
        text: Pattern,
    },
    /// The request's path.
    Path(Pattern),
    /// The checksum of Sensors Analytics.
    JavaHash,
}

/// A pattern that a text can match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Matches any text.
    Any,
    /// Matches exactly this text.
    Is(String),
    /// Matches texts that start with this.
    Starts(String),
    /// Matches texts that end with this.
    Ends(String),
    /// Matches texts that contain this.
    Holds(String),
}

/// The reason why a text is not a sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignError {
    /// The name or the pattern is empty.
    #[error("a sign is empty; name a field, a header or the path")]
    Empty,
    /// The text starts with a colon and is not a known sign.
    #[error("unknown sign; signs that start with a colon are `:path=…` and `:java_hash`")]
    Unknown,
}

impl TryFrom<String> for Sign {
    type Error = SignError;

    fn try_from(sign: String) -> Result<Self, SignError> {
        let (name, text) = match sign.split_once('=') {
            Some((name, pattern)) => (name, Pattern::new(pattern)),
            None => (&*sign, Pattern::Any),
        };
        if name.is_empty() || text == Pattern::Is(String::new()) {
            return Err(SignError::Empty);
        }
        match name.split_once(':') {
            Some(("", "path")) if text != Pattern::Any => Ok(Self::Path(text)),
            Some(("", "java_hash")) if text == Pattern::Any => Ok(Self::JavaHash),
            Some(("", _)) => Err(SignError::Unknown),
            Some(("header", "")) => Err(SignError::Empty),
            Some(("header", name)) => Ok(Self::Header { name: name.to_owned(), text }),
            _ => match name.split_once('/') {
                Some(("", _) | (_, "")) => Err(SignError::Empty),
                Some((parent, name)) => {
                    Ok(Self::Field { parent: Some(parent.to_owned()), name: name.to_owned(), text })
                }
                None => Ok(Self::Field { parent: None, name: name.to_owned(), text }),
            },
        }
    }
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
            (Some(""), _) => Self::Any,
            (Some(rest), Some(_)) => Self::Holds(rest.trim_end_matches('*').to_owned()),
            (Some(end), None) => Self::Ends(end.to_owned()),
            (None, Some(start)) => Self::Starts(start.to_owned()),
            (None, None) => Self::Is(pattern.to_owned()),
        }
    }

    /// Reports whether a text matches. A truncated text matches only if every
    /// continuation of it does.
    pub fn matches(&self, text: &str, truncated: bool) -> bool {
        match self {
            Self::Any => true,
            Self::Is(whole) => !truncated && text == whole,
            Self::Starts(start) => text.starts_with(start),
            Self::Ends(end) => !truncated && text.ends_with(end),
            Self::Holds(part) => text.contains(part),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    sdk: Vec<Spanned<Sdk>>,
}

impl Sdks {
    /// Parses a file.
    pub fn parse(file: RulesFile<'_>) -> Result<Self, RulesError> {
        let sdks = file.entries(file.parse::<File>()?.sdk)?;
        for Located { entry, place } in &sdks {
            if entry.forms.is_empty() || entry.forms.iter().any(Vec::is_empty) {
                return Err(place.error(
                    "a form without signs matches every request; give each form a sign, \
                     and each SDK a form",
                ));
            }
        }
        Ok(Self(sdks))
    }

    /// Adds the entries of `over`, which replace entries with the same name.
    pub fn overlay(&mut self, over: Self) {
        overlay(&mut self.0, over.0);
    }
}

impl Named for Sdk {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(text: &str) -> Result<Sign, SignError> {
        Sign::try_from(text.to_owned())
    }

    #[test]
    fn signs_are_parsed() {
        let field = |parent: Option<&str>, name: &str, text| {
            Ok(Sign::Field { parent: parent.map(str::to_owned), name: name.to_owned(), text })
        };
        assert_eq!(sign("$lib"), field(None, "$lib", Pattern::Any));
        assert_eq!(sign("lib/$lib"), field(Some("lib"), "$lib", Pattern::Any));
        assert_eq!(sign("tid=UA-*"), field(None, "tid", Pattern::Starts("UA-".into())));
        assert_eq!(sign("iKey=o:*"), field(None, "iKey", Pattern::Starts("o:".into())));
        assert_eq!(sign(":path=*/hm.gif"), Ok(Sign::Path(Pattern::Ends("/hm.gif".into()))));
        assert_eq!(sign(":java_hash"), Ok(Sign::JavaHash));
        for bad in ["", "=x", "x=", ":path", ":host=x", "header:", "/x", "x/"] {
            assert!(sign(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_truncated_text_matches_only_if_more_bytes_cannot_change_that() {
        for (pattern, whole, cut) in [
            ("abc", true, false),
            ("ab*", true, true),
            ("*bc", true, false),
            ("*b*", true, true),
            ("*", true, true),
            ("b*", false, false),
        ] {
            let pattern = Pattern::new(pattern);
            assert_eq!(pattern.matches("abc", false), whole, "{pattern:?}");
            assert_eq!(pattern.matches("abc", true), cut, "{pattern:?}");
        }
    }

    #[test]
    fn every_form_has_a_sign() {
        for forms in ["[]", "[[]]", "[['a'], []]", "[['']]"] {
            let text = format!("[[sdk]]\nname='a'\nforms={forms}\nreason='r'\nsource='s'\n");
            let err = Sdks::parse(RulesFile { name: "x.toml", text: &text }).unwrap_err();
            assert!(err.to_string().starts_with("x.toml:"), "{err}");
        }
    }

    #[test]
    fn the_embedded_file_is_valid() {
        assert!(Sdks::parse(EMBEDDED).unwrap().0.len() > 40);
    }
}
