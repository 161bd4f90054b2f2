//! The rows of the judgement table: `rules/judgement.toml`.

use serde::Deserialize;
use toml::Spanned;

use super::{Located, Named, RulesError, RulesFile, Text};
use crate::finding::{
    Identification, Kind, RecipientKind, Scope, Sender, Severity, UrlRole, VisitedKind,
};

/// The embedded file.
pub(super) const EMBEDDED: RulesFile<'_> =
    RulesFile { name: "judgement.toml", text: include_str!("../../../rules/judgement.toml") };

/// A row of the judgement table: conditions and their outcome. A condition that
/// is `None` matches everything.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Unique name of the row.
    pub name: Text,
    /// Kinds of findings.
    pub kind: Option<Vec<Kind>>,
    /// Classes of findings.
    pub class: Option<Vec<String>>,
    /// SDKs whose form the request has.
    pub sdk: Option<Vec<String>>,
    /// Set if the request reports what happened in the application.
    pub reports: Option<bool>,
    /// Revealed part of a URL.
    pub scope: Option<Vec<Scope>>,
    /// Roles of URLs.
    pub role: Option<Vec<UrlRole>>,
    /// Minimum number of witnesses that a URL is a page that was looked at: the form of
    /// an SDK, a lasting identifier, several pages in the request, a visit.
    pub witnesses: Option<u8>,
    /// State of knowledge about the visit.
    pub visited: Option<Vec<VisitedKind>>,
    /// Senders.
    pub sender: Option<Vec<Sender>>,
    /// Set if the sender is unknown and a page may have sent the request.
    pub may_be_page: Option<bool>,
    /// Set if the request names an address of this machine or of its own network, and its
    /// connection goes there.
    pub local_connection: Option<bool>,
    /// Recipients.
    pub recipient: Option<Vec<RecipientKind>>,
    /// Degree to which the request identifies the user.
    pub identifier: Option<Vec<Identification>>,
    /// Required knowledge about the private mode.
    pub private: Option<bool>,
    /// Set if fields of the head may be missing.
    pub head_cut: Option<bool>,
    /// Set if the request is known never to have been sent.
    pub never_sent: Option<bool>,
    /// The severity, if the row matches.
    pub severity: Severity,
    /// The reason; `{sender}` and `{recipient}` are replaced.
    pub reason: Text,
    /// Source of the reason.
    pub source: Text,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    row: Vec<Spanned<Row>>,
}

impl Named for Row {
    fn name(&self) -> &str {
        self.name.as_str()
    }
}

/// Parses `judgement.toml`.
pub(super) fn parse(file: RulesFile<'_>) -> Result<Vec<Located<Row>>, RulesError> {
    let rows = file.entries(file.parse::<File>()?.row)?;
    rows.into_iter().map(checked).collect()
}

/// Puts the rows of `over` before those of `base`, and removes rows of `base` with the
/// same name.
pub(super) fn overlay(base: &mut Vec<Located<Row>>, mut over: Vec<Located<Row>>) {
    let replaced = |row: &Row| over.iter().any(|new| new.entry.name() == row.name());
    base.retain(|located| !replaced(&located.entry));
    over.append(base);
    *base = over;
}

/// Checks that a row names only things that exist.
fn checked(located: Located<Row>) -> Result<Located<Row>, RulesError> {
    let Located { entry, place } = &located;
    let rest = entry.reason.as_str().replace("{sender}", "").replace("{recipient}", "");
    if rest.contains(['{', '}']) {
        return Err(place.error(format!(
            "the reason of `{}` has a brace that belongs to neither {{sender}} nor {{recipient}}",
            entry.name()
        )));
    }
    Ok(located)
}
