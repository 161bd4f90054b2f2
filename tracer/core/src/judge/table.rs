//! The judgement table, `rules/judgement.toml`. The first row that matches decides.

use crate::{
    finding::{
        Identification, Kind, Recipient, RecipientKind, Scope, Sender, Severity, UrlRole, Verdict,
        VisitedKind,
    },
    rules::Row,
};

/// The properties of a disclosure that the table can test.
#[derive(Debug, Clone, Copy)]
pub(super) struct Case<'a> {
    /// Kind of the finding.
    pub(super) kind: Kind,
    /// Class of the finding.
    pub(super) class: Option<&'a str>,
    /// SDK whose form the request has.
    pub(super) sdk: Option<&'a str>,
    /// Set if the request reports what happened in the application.
    pub(super) reports: bool,
    /// Part of a URL that is revealed.
    pub(super) scope: Option<Scope>,
    /// Role of a URL.
    pub(super) role: Option<UrlRole>,
    /// Number of witnesses that a URL is a page that was looked at.
    pub(super) witnesses: u8,
    /// The visit.
    pub(super) visited: Option<VisitedKind>,
    /// The sender.
    pub(super) sender: Sender,
    /// Set if the sender is unknown and a page may have sent the request.
    pub(super) may_be_page: bool,
    /// Set if the request names an address of this machine or of its own network, and its
    /// connection goes there.
    pub(super) local_connection: bool,
    /// The recipient.
    pub(super) recipient: RecipientKind,
    /// The degree to which the request identifies.
    pub(super) identifier: Identification,
    /// Set if the window is known to be private.
    pub(super) private: bool,
    /// Set if fields of the head may be missing.
    pub(super) head_cut: bool,
    /// Set if the request is known never to have been sent.
    pub(super) never_sent: bool,
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
        && row.reports.is_none_or(|reports| reports == case.reports)
        && optional(&row.scope, &case.scope)
        && optional(&row.role, &case.role)
        && row.witnesses.is_none_or(|needed| case.witnesses >= needed)
        && optional(&row.visited, &case.visited)
        && among(&row.sender, &case.sender)
        && among(&row.recipient, &case.recipient)
        && among(&row.identifier, &case.identifier)
        && row.may_be_page.is_none_or(|may| may == case.may_be_page)
        && row.local_connection.is_none_or(|local| local == case.local_connection)
        && row.private.is_none_or(|private| private == case.private)
        && row.head_cut.is_none_or(|cut| cut == case.head_cut)
        && row.never_sent.is_none_or(|never| never == case.never_sent)
}

/// Returns a description of a sender for a sentence.
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
