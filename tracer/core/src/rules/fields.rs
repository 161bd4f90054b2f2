//! Names of fields that contain search terms, page text or user actions:
//! `rules/fields.toml`.

use serde::Deserialize;
use toml::Spanned;

use super::{Located, Named, RulesError, RulesFile, Text, overlay};
use crate::finding::Kind;

/// The embedded file.
pub(super) const EMBEDDED: RulesFile<'_> =
    RulesFile { name: "fields.toml", text: include_str!("../../../rules/fields.toml") };

/// Fields that disclose what the user does.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    /// The lists of fields.
    pub fields: Vec<Located<Field>>,
    /// Words in an event's name that identify it as an action in the user interface.
    pub interface: Vec<Located<Words>>,
}

/// Fields that contain values of one kind.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Name of the entry.
    pub name: Text,
    /// Kind of the values.
    pub kind: FieldKind,
    /// Names of the fields.
    pub names: Vec<Text>,
    /// Required form of the values.
    #[serde(default)]
    pub text: FieldText,
    /// Words of which the request's path must contain one; any path matches if the list
    /// is empty.
    #[serde(default)]
    pub path: Vec<Text>,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

/// The kind of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldKind {
    /// [`Kind::SearchTerms`].
    SearchTerms,
    /// [`Kind::PageText`].
    PageText,
    /// [`Kind::UiEvent`].
    UiEvent,
    /// [`Kind::ContentItem`].
    ContentItem,
}

impl From<FieldKind> for Kind {
    fn from(kind: FieldKind) -> Self {
        match kind {
            FieldKind::SearchTerms => Self::SearchTerms,
            FieldKind::PageText => Self::PageText,
            FieldKind::UiEvent => Self::UiEvent,
            FieldKind::ContentItem => Self::ContentItem,
        }
    }
}

/// The required form of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldText {
    /// A value with a letter or a digit.
    #[default]
    Any,
    /// Readable text: the value has a letter.
    Words,
    /// Text written by a person rather than code: short, and without braces.
    Plain,
    /// The name of an action in the user interface.
    Interface,
    /// A number or a short name, as items of a list have.
    Item,
}

/// Words, and other words beside which they have a different meaning.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// Name of the entry.
    pub name: Text,
    /// Words to look for.
    pub words: Vec<Text>,
    /// Words beside which the former have a different meaning.
    #[serde(default)]
    pub but_not_with: Vec<Text>,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    field: Vec<Spanned<Field>>,
    #[serde(default)]
    interface: Vec<Spanned<Words>>,
}

impl Fields {
    /// Parses a file.
    pub fn parse(file: RulesFile<'_>) -> Result<Self, RulesError> {
        let File { field, interface } = file.parse()?;
        Ok(Self { fields: file.entries(field)?, interface: file.entries(interface)? })
    }

    /// Adds the entries of `over`, which replace entries with the same name.
    pub fn overlay(&mut self, over: Self) {
        overlay(&mut self.fields, over.fields);
        overlay(&mut self.interface, over.interface);
    }
}

impl Named for Field {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl Named for Words {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_file_has_every_kind() {
        let list = Fields::parse(EMBEDDED).unwrap();
        for kind in [
            FieldKind::SearchTerms,
            FieldKind::PageText,
            FieldKind::UiEvent,
            FieldKind::ContentItem,
        ] {
            assert!(list.fields.iter().any(|located| located.entry.kind == kind), "{kind:?}");
        }
        assert!(!list.interface.is_empty());
    }

    #[test]
    fn an_error_names_the_line() {
        let text = "[[field]]\nname = 'a'\nkind = 'b'\n";
        let err = Fields::parse(RulesFile { name: "x.toml", text }).unwrap_err();
        assert_eq!((&*err.file, err.line), ("x.toml", 3));
    }
}
