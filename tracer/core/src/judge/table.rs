//! The table of judgement: `rules/judgement.toml`, the first row that fits.

use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::{Identification, RecipientKind, Sender, Severity, Verdict};
use crate::{
    detect::{Kind, Scope, Visited},
    rules::{Located, Named, RulesError, RulesFile, Text},
};

/// The embedded file.
pub(crate) const EMBEDDED: RulesFile<'_> =
    RulesFile { name: "judgement.toml", text: include_str!("../../../rules/judgement.toml") };

/// All that a judgement looks at.
#[derive(Debug, Clone, Copy)]
pub struct Case<'a> {
    /// What was found.
    pub kind: Kind,
    /// Its class.
    pub class: Option<&'a str>,
    /// The SDK that the request has the form of.
    pub sdk: Option<&'a str>,
    /// How much of a URL it tells.
    pub scope: Option<Scope>,
    /// What is known of the visit.
    pub visited: Option<VisitedKind>,
    /// Who sent it.
    pub sender: Sender,
    /// To whom.
    pub recipient: RecipientKind,
    /// What the request identifies itself by.
    pub identifier: Identification,
    /// The window is known to be private.
    pub private: bool,
    /// Fields of the head may be missing.
    pub head_cut: bool,
}

/// [`Visited`], without which visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VisitedKind {
    /// The page.
    Page,
    /// Its host.
    Host,
    /// It was not.
    No,
    /// Nobody knows.
    Unknown,
}

impl From<&Visited> for VisitedKind {
    fn from(visited: &Visited) -> Self {
        match visited {
            Visited::Page { .. } => Self::Page,
            Visited::Host { .. } => Self::Host,
            Visited::No => Self::No,
            Visited::Unknown => Self::Unknown,
        }
    }
}

/// The rows, in their order.
#[derive(Debug, Clone)]
pub struct Table(Vec<Row>);

/// A row. What it does not name, it does not ask for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    name: Text,
    kind: Option<Vec<Kind>>,
    class: Option<Vec<String>>,
    sdk: Option<Vec<String>>,
    scope: Option<Vec<Scope>>,
    visited: Option<Vec<VisitedKind>>,
    sender: Option<Vec<Sender>>,
    recipient: Option<Vec<RecipientKind>>,
    identifier: Option<Vec<Identification>>,
    private: Option<bool>,
    head_cut: Option<bool>,
    severity: Severity,
    reason: Text,
    // Every row has to say where it comes from; nothing reads it at run time.
    #[serde(rename = "source")]
    _source: Text,
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

impl Table {
    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Judges a case; `recipient` names the recipient.
    pub fn judge(&self, case: &Case<'_>, recipient: &str) -> Verdict {
        let Some(row) = self.0.iter().find(|row| row.fits(case)) else {
            // The user's rows can replace the last one, which fits everything.
            return Verdict { severity: Severity::Low, reason: "no row of the rules fits".into() };
        };
        let reason = row.reason.as_str();
        let reason =
            reason.replace("{sender}", sender(case.sender)).replace("{recipient}", recipient);
        Verdict { severity: row.severity, reason }
    }
}

impl FromIterator<Row> for Table {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        Self(rows.into_iter().collect())
    }
}

/// Reads `judgement.toml`.
pub(crate) fn parse(file: RulesFile<'_>) -> Result<Vec<Located<Row>>, RulesError> {
    let rows = file.entries(file.parse::<File>()?.row)?;
    rows.into_iter().map(checked).collect()
}

/// Lays rows over others: they go before them, and replace those of their name.
pub(crate) fn overlay(base: &mut Vec<Located<Row>>, mut over: Vec<Located<Row>>) {
    let replaced = |row: &Row| over.iter().any(|new| new.entry.name() == row.name());
    base.retain(|located| !replaced(&located.entry));
    over.append(base);
    *base = over;
}

/// A row that names what there is to name.
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

impl Row {
    fn fits(&self, case: &Case<'_>) -> bool {
        fn among<T: PartialEq>(wanted: &Option<Vec<T>>, one: &T) -> bool {
            wanted.as_ref().is_none_or(|wanted| wanted.contains(one))
        }
        fn optional<T: PartialEq>(wanted: &Option<Vec<T>>, one: &Option<T>) -> bool {
            wanted
                .as_ref()
                .is_none_or(|wanted| one.as_ref().is_some_and(|one| wanted.contains(one)))
        }
        fn named(wanted: &Option<Vec<String>>, one: Option<&str>) -> bool {
            wanted
                .as_ref()
                .is_none_or(|wanted| one.is_some_and(|one| wanted.iter().any(|name| name == one)))
        }
        among(&self.kind, &case.kind)
            && named(&self.class, case.class)
            && named(&self.sdk, case.sdk)
            && optional(&self.scope, &case.scope)
            && optional(&self.visited, &case.visited)
            && among(&self.sender, &case.sender)
            && among(&self.recipient, &case.recipient)
            && among(&self.identifier, &case.identifier)
            && self.private.is_none_or(|private| private == case.private)
            && self.head_cut.is_none_or(|cut| cut == case.head_cut)
    }
}

/// A sender, in a sentence.
fn sender(sender: Sender) -> &'static str {
    match sender {
        Sender::Navigation => "the user's visit",
        Sender::Page => "a page",
        Sender::Browser => "the browser",
        Sender::Extension => "an extension of the browser",
        Sender::Unknown => "the application",
    }
}

#[cfg(test)]
mod tests;
