//! The recipients of the browser's own requests.

use maud::{Markup, html};

use super::{
    page::{Section, caption},
    text::{Shown, bytes, names, number},
};
use crate::report::{RecipientReport, Report};

/// Number of hosts shown for one recipient.
const MAX_HOSTS: usize = 6;
/// Number of recipients shown. The rest is in `report.json`.
const MAX_RECIPIENTS: usize = 200;

pub(super) fn section(report: &Report) -> Section {
    let more = report.recipients.len().saturating_sub(MAX_RECIPIENTS);
    let body = html! {
        @if report.recipients.is_empty() {
            p { "No request of the browser's own was read." }
        } @else {
            table.recipients.cards {
                (caption("Recipients of the browser's own requests, those that learned of the most pages first."))
                thead {
                    tr {
                        th scope="col" { "Recipient" }
                        th scope="col" { "Role" }
                        th scope="col" { "Pages disclosed" }
                        th scope="col" { "Identifiers" }
                        th scope="col" { "Requests" }
                        th scope="col" { "Phases" }
                        th scope="col" { "Unread" }
                    }
                }
                tbody {
                    @for recipient in report.recipients.iter().take(MAX_RECIPIENTS) {
                        (row(recipient))
                    }
                }
            }
            @if more > 0 { p.more { "And " (number(more as u64)) " more, in report.json." } }
        }
    };
    Section { id: "recipients", title: "Recipients", body }
}

fn row(recipient: &RecipientReport) -> Markup {
    html! {
        tr {
            th scope="row" {
                bdi { (Shown(&recipient.recipient)) }
                // A single host equal to the recipient would only repeat it.
                @if recipient.hosts != [recipient.recipient.as_str()] {
                    span.aside { (names(&recipient.hosts, MAX_HOSTS)) }
                }
            }
            td data-label="Role" { (Shown(&recipient.who.describe())) }
            td.told[recipient.visits > 0] data-label="Pages disclosed" {
                @if recipient.visits == 0 { span.none { "none" } } @else {
                    (number(recipient.visits))
                    @if let Some(scope) = recipient.scope { span.aside { (scope.label()) } }
                }
            }
            td.number data-label="Identifiers" { (number(recipient.identifiers)) }
            td.number data-label="Requests" { (number(recipient.requests)) }
            td data-label="Phases" {
                @for (i, phase) in recipient.phases.iter().enumerate() {
                    @if i > 0 { ", " }
                    (phase.title())
                }
            }
            td.number data-label="Unread" { (bytes(recipient.unread_bytes)) }
        }
    }
}
