//! Services that receive data: `rules/recipients.toml`.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{Domain, Located, Named, RulesError, RulesFile, Text};
use crate::finding::Category;

/// A known service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Name of the service.
    pub name: Text,
    /// Category of the service.
    pub category: Category,
    /// Domains at which it receives data.
    pub domains: Vec<Domain>,
    /// Reason for the entry.
    pub reason: Text,
    /// Source of that reason.
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

/// The structure of `recipients.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    service: Vec<Spanned<Service>>,
}

/// Parses `recipients.toml`.
pub(super) fn parse(file: RulesFile<'_>) -> Result<Vec<Located<Service>>, RulesError> {
    let File { service } = file.parse()?;
    file.entries(service)
}
