//! Who was sent anything by the browser itself.

use maud::{Markup, html};

use super::{
    page::{Section, caption},
    text::{Shown, bytes, names, number},
};
use crate::report::{RecipientReport, Report};

/// More hosts of one recipient are only counted.
const MAX_HOSTS: usize = 6;
/// More recipients are only counted; `report.json` has them.
const MAX_RECIPIENTS: usize = 200;

pub(super) fn section(report: &Report) -> Section {
    let more = report.recipients.len().saturating_sub(MAX_RECIPIENTS);
    let body = html! {
        @if report.recipients.is_empty() {
            p { "The browser itself sent nothing that could be read." }
        } @else {
            table.recipients.cards {
                (caption("Who was sent anything by the browser itself, those told most first."))
                thead {
                    tr {
                        th scope="col" { "Recipient" }
                        th scope="col" { "Who that is" }
                        th scope="col" { "DisclosureReport of pages" }
                        th scope="col" { "Identifiers" }
                        th scope="col" { "Requests" }
                        th scope="col" { "In phases" }
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
                // One that is the recipient itself says nothing new.
                @if recipient.hosts != [recipient.recipient.as_str()] {
                    span.aside { (names(&recipient.hosts, MAX_HOSTS)) }
                }
            }
            td data-label="Who that is" { (Shown(&recipient.who.describe())) }
            td.told[recipient.visits > 0] data-label="DisclosureReport of pages" {
                @if recipient.visits == 0 { span.none { "none" } } @else {
                    (number(recipient.visits))
                    @if let Some(scope) = recipient.scope { span.aside { (scope.label()) } }
                }
            }
            td.number data-label="Identifiers" { (number(recipient.identifiers)) }
            td.number data-label="Requests" { (number(recipient.requests)) }
            td data-label="In phases" {
                @for (i, phase) in recipient.phases.iter().enumerate() {
                    @if i > 0 { ", " }
                    (phase.title())
                }
            }
            td.number data-label="Unread" { (bytes(recipient.unread_bytes)) }
        }
    }
}
