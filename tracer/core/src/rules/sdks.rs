//! What telemetry SDKs' requests look like, whoever they are sent to:
//! `rules/sdks.toml`.
//!
//! ```toml
//! [[sdk]]
//! name = "Sensors Analytics"
//! forms = [["distinct_id", "lib/$lib"], [":java_hash"]]
//! ```
//!
//! A request is an SDK's when it has all signs of one of its forms. A sign is
//!
//! | written | met by |
//! |---|---|
//! | `name` | a value in a field of that name, in its spelling |
//! | `parent/name` | … in an object in a field of that name |
//! | `name=pattern` | … whose text is as the pattern says |
//! | `header:name`, `header:name=pattern` | a header field, in any case |
//! | `:path=pattern` | the request's path, without its query |
//! | `:java_hash` | `crc` is Java's `String.hashCode` of `data` or `data_list` |
//!
//! A pattern is a text; a `*` at its end, its beginning or both stands for more.

use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

use super::{Located, Named, RulesError, RulesFile, Text, overlay};

/// The embedded list.
pub(super) const EMBEDDED: RulesFile<'_> =
    RulesFile { name: "sdks.toml", text: include_str!("../../../rules/sdks.toml") };

/// What SDKs' requests look like. The first one whose form fits is it.
#[derive(Debug, Clone, Default)]
pub struct Sdks(pub Vec<Located<Sdk>>);

/// One SDK.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sdk {
    /// Its name, for people.
    pub name: Text,
    /// The signs of each of its forms.
    pub forms: Vec<Vec<Sign>>,
    /// Why these are its signs.
    pub reason: Text,
    /// Where that can be read.
    pub source: Text,
}

/// One sign of an SDK in a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Sign {
    /// A value in a field.
    Field {
        /// The field that holds the object that holds the field.
        parent: Option<String>,
        /// The field's name, spelt like this.
        name: String,
        /// What its text is.
        text: Pattern,
    },
    /// A header field.
    Header {
        /// Its name, in any case.
        name: String,
        /// What its value is.
        text: Pattern,
    },
    /// The path.
    Path(Pattern),
    /// The checksum of Sensors Analytics.
    JavaHash,
}

/// What a text is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// Anything.
    Any,
    /// This.
    Is(String),
    /// It begins with this.
    Starts(String),
    /// It ends with this.
    Ends(String),
    /// It holds this.
    Holds(String),
}

/// Why a text is no sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignError {
    /// There is nothing in it.
    #[error("a sign is empty: name a field, a header, or the path")]
    Empty,
    /// It begins with a colon and is none of those that do.
    #[error("no sign is called that: write `:path=…` or `:java_hash`")]
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

    /// Whether a text is like this, whatever may follow if it was cut.
    pub fn fits(&self, text: &str, truncated: bool) -> bool {
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
    /// Reads a list.
    pub fn parse(file: RulesFile<'_>) -> Result<Self, RulesError> {
        let sdks = file.entries(file.parse::<File>()?.sdk)?;
        for Located { entry, place } in &sdks {
            if entry.forms.is_empty() || entry.forms.iter().any(Vec::is_empty) {
                return Err(place.error(
                    "a form without signs fits every request: give each form one, \
                     and each SDK a form",
                ));
            }
        }
        Ok(Self(sdks))
    }

    /// Lays another list on this one: its entries replace those of their name.
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
    fn signs_are_read() {
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
    fn a_cut_text_fits_only_what_more_bytes_cannot_refute() {
        for (pattern, fits, cut) in [
            ("abc", true, false),
            ("ab*", true, true),
            ("*bc", true, false),
            ("*b*", true, true),
            ("*", true, true),
            ("b*", false, false),
        ] {
            let pattern = Pattern::new(pattern);
            assert_eq!(pattern.fits("abc", false), fits, "{pattern:?}");
            assert_eq!(pattern.fits("abc", true), cut, "{pattern:?}");
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
    fn the_embedded_list_is_read() {
        assert!(Sdks::parse(EMBEDDED).unwrap().0.len() > 40);
    }
}
