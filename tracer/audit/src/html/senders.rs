//! The senders of disclosures, and the names that were looked up.

use maud::{Markup, html};

use super::{
    page::{Section, caption},
    text::{Shown, counted, names, number},
};
use crate::report::Report;

/// Number of recipients shown for one sender.
const MAX_RECIPIENTS: usize = 6;
/// Number of names shown. The rest is in `report.json`.
const MAX_NAMES: usize = 200;

/// Shows who sent what.
pub(super) fn section(report: &Report) -> Section {
    let body = html! {
        @if report.senders.is_empty() {
            p { "No request discloses anything." }
        } @else {
            table.senders.cards {
                (caption("The parts of the browser that disclosed something, those that disclosed the most pages first."))
                thead {
                    tr {
                        th scope="col" { "Sender" }
                        th scope="col" { "Recipients" }
                        th scope="col" { "Pages" }
                        th scope="col" { "Identifiers" }
                        th scope="col" { "Requests" }
                    }
                }
                tbody {
                    @for sender in &report.senders {
                        tr {
                            th scope="row" {
                                (Shown(&sender.name))
                                span.aside { (Shown(&sender.application)) }
                            }
                            td data-label="Recipients" { (names(&sender.recipients, MAX_RECIPIENTS)) }
                            td.told[sender.visits > 0] data-label="Pages" {
                                @if sender.visits == 0 { span.none { "none" } } @else {
                                    (number(sender.visits))
                                    @if let Some(scope) = sender.scope { span.aside { (scope.label()) } }
                                }
                            }
                            td.number data-label="Identifiers" { (number(sender.identifiers)) }
                            td.number data-label="Requests" { (number(sender.requests)) }
                        }
                    }
                }
            }
        }
        @if report.disclosures_uncounted > 0 {
            p.more { "Counted from the requests that are listed below." }
        }
        (lookups(report))
    };
    Section { id: "senders", title: "Who sent what", body }
}

/// Lists the names that were looked up.
fn lookups(report: &Report) -> Markup {
    let count = report.lookups.len();
    html! {
        @if count == 0 {
            p { "No DNS query was read. A browser can look names up in other ways, such as over HTTPS." }
        } @else {
            details {
                summary { (counted(count as u64, "name", "names")) " looked up over DNS" }
                table.cards {
                    (caption("Names that were looked up, those with most queries first."))
                    thead {
                        tr {
                            th scope="col" { "Name" }
                            th scope="col" { "Queries" }
                            th scope="col" { "Phases" }
                        }
                    }
                    tbody {
                        @for lookup in report.lookups.iter().take(MAX_NAMES) {
                            tr {
                                th scope="row" { bdi { (Shown(&lookup.name)) } }
                                td.number data-label="Queries" { (number(lookup.queries)) }
                                td data-label="Phases" {
                                    @for (i, phase) in lookup.phases.iter().enumerate() {
                                        @if i > 0 { ", " }
                                        (phase.title())
                                    }
                                }
                            }
                        }
                    }
                }
                @if count > MAX_NAMES {
                    p.more { "And " (number((count - MAX_NAMES) as u64)) " more, in report.json." }
                }
            }
        }
    }
}
