//! The table of judgement: `rules/judgement.toml`, the first row that fits.

use crate::{
    finding::{
        Identification, Kind, Recipient, RecipientKind, Scope, Sender, Severity, Verdict,
        VisitedKind,
    },
    rules::Row,
};

/// All that a judgement looks at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    /// What was found.
    pub(super) kind: Kind,
    /// Its class.
    pub(super) class: Option<&'a str>,
    /// The SDK that the request has the form of.
    pub(super) sdk: Option<&'a str>,
    /// How much of a URL it tells.
    pub(super) scope: Option<Scope>,
    /// What is known of the visit.
    pub(super) visited: Option<VisitedKind>,
    /// Who sent it.
    pub(super) sender: Sender,
    /// To whom.
    pub(super) recipient: RecipientKind,
    /// What the request identifies itself by.
    pub(super) identifier: Identification,
    /// The window is known to be private.
    pub(super) private: bool,
    /// Fields of the head may be missing.
    pub(super) head_cut: bool,
}

/// Returns the verdict of the first row that matches the case. `recipient` is the
/// one that the reason names.
pub(super) fn judge(rows: &[Row], case: &Case<'_>, recipient: &Recipient) -> Verdict {
    let Some(row) = rows.iter().find(|row| matches(row, case)) else {
        // A user's rows can replace the last one, which matches everything.
        return Verdict { severity: Severity::Low, reason: "no row of the rules fits".into() };
    };
    let mut reason = row.reason.as_str().replace("{sender}", sender(case.sender));
    if reason.contains("{recipient}") {
        reason = reason.replace("{recipient}", &recipient.describe());
    }
    Verdict { severity: row.severity, reason }
}

/// Reports whether all conditions of a row hold.
fn matches(row: &Row, case: &Case<'_>) -> bool {
    fn among<T: PartialEq>(wanted: &Option<Vec<T>>, one: &T) -> bool {
        wanted.as_ref().is_none_or(|wanted| wanted.contains(one))
    }
    fn optional<T: PartialEq>(wanted: &Option<Vec<T>>, one: &Option<T>) -> bool {
        wanted.as_ref().is_none_or(|wanted| one.as_ref().is_some_and(|one| wanted.contains(one)))
    }
    fn named(wanted: &Option<Vec<String>>, one: Option<&str>) -> bool {
        wanted
            .as_ref()
            .is_none_or(|wanted| one.is_some_and(|one| wanted.iter().any(|name| name == one)))
    }
    among(&row.kind, &case.kind)
        && named(&row.class, case.class)
        && named(&row.sdk, case.sdk)
        && optional(&row.scope, &case.scope)
        && optional(&row.visited, &case.visited)
        && among(&row.sender, &case.sender)
        && among(&row.recipient, &case.recipient)
        && among(&row.identifier, &case.identifier)
        && row.private.is_none_or(|private| private == case.private)
        && row.head_cut.is_none_or(|cut| cut == case.head_cut)
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
