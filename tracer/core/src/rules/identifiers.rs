//! Names of fields that contain identifiers and personal details:
//! `rules/identifiers.toml`.

use serde::{Deserialize, Deserializer};
use toml::Spanned;

use super::{Located, Named, RulesError, RulesFile, Text, overlay};
use crate::finding::Lifetime;

/// The embedded file.
pub(super) const EMBEDDED: RulesFile<'_> =
    RulesFile { name: "identifiers.toml", text: include_str!("../../../rules/identifiers.toml") };

/// The names of identifiers and personal details, and of values that only look like them.
#[derive(Debug, Clone, Default)]
pub struct Identifiers {
    /// Names of identifiers.
    pub identifiers: Vec<Located<Identifier>>,
    /// Names of values that look random and are the same for all users.
    pub shared: Vec<Located<Shared>>,
    /// Names of personal details.
    pub personal: Vec<Located<Personal>>,
    /// Words in names that say whose value it is.
    pub owners: Vec<Located<Owner>>,
}

/// Names of one kind of identifier.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identifier {
    /// Class of the findings.
    pub class: Text,
    /// Names of the fields.
    pub names: Vec<Text>,
    /// Names that count in this spelling only, and only for parameters of a query or
    /// form.
    #[serde(default)]
    pub parameters: Vec<Text>,
    /// Lifetime of such an identifier.
    #[serde(deserialize_with = "promised_lifetime")]
    pub lifetime: Lifetime,
    /// Required form of the values.
    #[serde(default)]
    pub form: IdentifierForm,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

/// The required form of an identifier's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IdentifierForm {
    /// Any value except a placeholder: the name is unambiguous.
    #[default]
    Any,
    /// A value that looks random: the name is used for other things as well.
    Random,
}

/// Names of values that are the same for all users.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shared {
    /// Name of the entry.
    pub name: Text,
    /// Names of the fields.
    pub names: Vec<Text>,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

/// Names of one kind of personal detail.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Personal {
    /// Class of the findings.
    pub class: Text,
    /// Names of the fields.
    pub names: Vec<Text>,
    /// Names that count in this spelling only.
    #[serde(default)]
    pub spelled: Vec<Text>,
    /// Required form of the values.
    pub form: PersonalForm,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

/// Words in the name of an object that say whose values it holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// Name of the entry. For [`OwnerRole::Owner`], values in the object are looked up
    /// as fields that begin with this name: `id` in `usr` as `user_id`.
    pub name: Text,
    /// The words.
    pub words: Vec<Text>,
    /// The role of the words.
    #[serde(default)]
    pub role: OwnerRole,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
    pub source: Text,
}

/// The role of a word in the name of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OwnerRole {
    /// The word names the owner.
    #[default]
    Owner,
    /// The word says nothing; the word before it, or the enclosing object, does.
    Wrapper,
    /// The word says that the owner is not the user or device that sends the value.
    Other,
}

/// The required form of a personal detail's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PersonalForm {
    /// Any value except a placeholder.
    Any,
    /// An address with a known domain (RFC 5321).
    Email,
    /// Seven to fifteen digits, with the usual separators (E.164).
    Phone,
    /// Fifteen digits, the last one a check digit (3GPP TS 23.003, 6.2.1).
    Imei,
    /// Fourteen or fifteen digits (3GPP TS 23.003, 2.2).
    Imsi,
    /// Six octets (IEEE 802), not a placeholder.
    Mac,
    /// Degrees north; needs a longitude beside it.
    Latitude,
    /// Degrees east; needs a latitude beside it.
    Longitude,
    /// Latitude and longitude in one text.
    Coordinates,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    identifier: Vec<Spanned<Identifier>>,
    #[serde(default)]
    shared: Vec<Spanned<Shared>>,
    #[serde(default)]
    personal: Vec<Spanned<Personal>>,
    #[serde(default)]
    owner: Vec<Spanned<Owner>>,
}

impl Identifiers {
    /// Parses a file.
    pub fn parse(file: RulesFile<'_>) -> Result<Self, RulesError> {
        let File { identifier, shared, personal, owner } = file.parse()?;
        Ok(Self {
            identifiers: file.entries(identifier)?,
            shared: file.entries(shared)?,
            personal: file.entries(personal)?,
            owners: file.entries(owner)?,
        })
    }

    /// Adds the entries of `over`, which replace entries with the same name.
    pub fn overlay(&mut self, over: Self) {
        overlay(&mut self.identifiers, over.identifiers);
        overlay(&mut self.shared, over.shared);
        overlay(&mut self.personal, over.personal);
        overlay(&mut self.owners, over.owners);
    }
}

impl Named for Identifier {
    fn name(&self) -> &str {
        self.class.as_str()
    }
}

impl Named for Shared {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

impl Named for Personal {
    fn name(&self) -> &str {
        self.class.as_str()
    }
}

impl Named for Owner {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// Parses the lifetime that a name promises. A name that promises none is no entry.
fn promised_lifetime<'de, D: Deserializer<'de>>(from: D) -> Result<Lifetime, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Promised {
        Lasting,
        Session,
        Request,
    }
    Promised::deserialize(from).map(|promised| match promised {
        Promised::Lasting => Lifetime::Lasting,
        Promised::Session => Lifetime::Session,
        Promised::Request => Lifetime::Request,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Identifiers, RulesError> {
        Identifiers::parse(RulesFile { name: "x.toml", text })
    }

    #[test]
    fn the_embedded_file_is_valid() {
        let list = Identifiers::parse(EMBEDDED).unwrap();
        let lasting = |class: &str| {
            list.identifiers.iter().any(|located| {
                located.entry.name() == class && located.entry.lifetime == Lifetime::Lasting
            })
        };
        assert!(lasting("device_id") && lasting("advertising_id") && !lasting("session_id"));
        assert!(!list.shared.is_empty() && !list.personal.is_empty());
    }

    #[test]
    fn an_error_names_the_line() {
        let entry = "[[identifier]]\nclass = 'a'\nnames = ['b']\nlifetime = 'session'\n\
                     reason = 'r'\nsource = 's'\n";
        assert!(parse(entry).is_ok());
        for (from, to, line) in [
            ("'session'", "'eternal'", "x.toml:4:"),
            ("'session'", "'unknown'", "x.toml:4:"),
            ("['b']", "['']", "x.toml:3:"),
            ("reason = 'r'\n", "", "x.toml:1:"),
            ("reason", "raison", "x.toml:5:"),
        ] {
            let err = parse(&entry.replace(from, to)).unwrap_err().to_string();
            assert!(err.starts_with(line), "{err}");
        }
    }
}
