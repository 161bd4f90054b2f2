//! Names of fields that hold what the user searched, read or did:
//! `rules/fields.toml`.

use serde::Deserialize;
use toml::Spanned;

use super::{Located, Named, RulesError, RulesFile, Text, overlay};
use crate::finding::Kind;

/// The embedded list.
pub(super) const EMBEDDED: RulesFile<'_> =
    RulesFile { name: "fields.toml", text: include_str!("../../../rules/fields.toml") };

/// What is known of such fields.
#[derive(Debug, Clone, Default)]
pub struct Fields {
    /// The fields.
    pub fields: Vec<Located<Field>>,
    /// Words by which the name of an event tells that something was done in
    /// the interface.
    pub interface: Vec<Located<Words>>,
}

/// Fields that hold one kind of thing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// What they are.
    pub name: Text,
    /// What a value there tells.
    pub kind: FieldKind,
    /// The fields' names.
    pub names: Vec<Text>,
    /// What the values have to look like.
    #[serde(default)]
    pub text: FieldText,
    /// The request's path has to hold one of these words; any path if there
    /// are none.
    #[serde(default)]
    pub path: Vec<Text>,
    /// Why it is listed.
    pub reason: Text,
    /// Where that can be read.
    pub source: Text,
}

/// What a field's value tells.
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

/// What a field's values have to look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldText {
    /// Anything with a letter or a digit.
    #[default]
    Any,
    /// Something to read: it has a letter.
    Words,
    /// Words of a person, not code: short, and without braces.
    Plain,
    /// The name of something done in the interface.
    Interface,
    /// A number or a short name, as things in a list have.
    Item,
}

/// Words, and the words that take their meaning away.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// What they are.
    pub name: Text,
    /// Words that are looked for.
    pub words: Vec<Text>,
    /// Words beside which they mean something else.
    #[serde(default)]
    pub but_not_with: Vec<Text>,
    /// Why it is listed.
    pub reason: Text,
    /// Where that can be read.
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
    /// Reads a list.
    pub fn parse(file: RulesFile<'_>) -> Result<Self, RulesError> {
        let File { field, interface } = file.parse()?;
        Ok(Self { fields: file.entries(field)?, interface: file.entries(interface)? })
    }

    /// Lays another list on this one: its entries replace those of their name.
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
    fn the_embedded_list_has_every_kind() {
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
    fn an_error_names_its_line() {
        let text = "[[field]]\nname = 'a'\nkind = 'b'\n";
        let err = Fields::parse(RulesFile { name: "x.toml", text }).unwrap_err();
        assert_eq!((&*err.file, err.line), ("x.toml", 3));
    }
}
