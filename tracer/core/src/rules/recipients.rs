//! Who receives: `rules/recipients.toml`.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{Domain, Located, Named, RulesError, RulesFile, Text};
use crate::finding::Category;

/// A service whose business is known.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// What it is called.
    pub name: Text,
    /// What it does.
    pub category: Category,
    /// Where it receives.
    pub domains: Vec<Domain>,
    /// Why it is listed.
    pub reason: Text,
    /// Where that can be read.
    pub source: Text,
}

impl Named for Service {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// The embedded file.
pub(super) const EMBEDDED: RulesFile<'_> =
    RulesFile { name: "recipients.toml", text: include_str!("../../../rules/recipients.toml") };

/// `recipients.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    service: Vec<Spanned<Service>>,
}

/// Reads `recipients.toml`.
pub(super) fn parse(file: RulesFile<'_>) -> Result<Vec<Located<Service>>, RulesError> {
    let File { service } = file.parse()?;
    file.entries(service)
}
