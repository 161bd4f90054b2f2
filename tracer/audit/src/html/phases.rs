//! The phases, each a row with a timeline of visits and disclosures.
//!
//! ```text
//! ──○────────○─────────○────────  visits
//!    ◆        ◆                   disclosing requests
//! ```

use std::collections::{BTreeSet, HashMap};

use maud::{Markup, html};

use super::{
    page::{Section, caption},
    text::{Shown, bytes, number, span},
};
use crate::{
    journal::Outcome,
    phase::Phase,
    report::{DisclosureReport, PhaseReport, Report, VisitReport},
};

/// Number of positions on a timeline. Marks at the same position are drawn once.
const STEPS: u64 = 250;

pub(super) fn section(report: &Report) -> Section {
    let mut told: HashMap<Option<Phase>, Vec<&DisclosureReport>> = HashMap::new();
    for disclosure in &report.disclosures {
        told.entry(disclosure.phase).or_default().push(disclosure);
    }
    let of = |phase| told.get(&phase).map_or(&[][..], Vec::as_slice);
    let visits: usize = report.phases.iter().map(|phase| phase.visits.len()).sum();
    let body = html! {
        p.legend aria-hidden="true" {
            span { (mark("visit")) " a page is opened" }
            span { (mark("disclosure")) " a request discloses something" }
            span { "Each line covers its phase." }
        }
        table.phases.cards {
            (caption("The phases in order, and what the browser sent during each."))
            thead {
                tr {
                    th scope="col" { "Phase" }
                    th.line scope="col" aria-hidden="true" { "Time" }
                    th scope="col" { "Duration" }
                    th scope="col" { "Pages" }
                    th scope="col" { "Disclosed" }
                    th scope="col" { "Requests" }
                    th scope="col" { "Disclosing requests" }
                    th scope="col" { "Unread" }
                }
            }
            tbody {
                @for phase in &report.phases { (row(phase, of(Some(phase.phase)))) }
                @if !of(None).is_empty() {
                    tr {
                        th scope="row" { "before the first phase" }
                        td.line aria-hidden="true" {}
                        @for _ in 0..4 { td.absent { "—" } }
                        td.number data-label="Disclosing requests" { (of(None).len()) }
                        td.absent { "—" }
                    }
                }
            }
        }
        @if visits > 0 { (pages(report, visits)) }
    };
    Section { id: "phases", title: "Phases", body }
}

fn row(phase: &PhaseReport, told: &[&DisclosureReport]) -> Markup {
    let skipped = matches!(phase.outcome, Outcome::Skipped { .. });
    let of_visits = phase.visits.iter().filter(|visit| !visit.told.is_empty()).count();
    html! {
        tr.skipped[skipped] {
            th scope="row" { (Shown(&phase.title)) (outcome(&phase.outcome)) }
            @if skipped {
                td.line aria-hidden="true" {}
                @for _ in 0..6 { td.absent { "—" } }
            } @else {
                td.line aria-hidden="true" { (timeline(phase, told)) }
                td.number data-label="Duration" {
                    @match phase.duration_ms { Some(ms) => (span(ms)), None => "—" }
                }
                td.number data-label="Pages" { (phase.visits.len()) }
                td.number.told[of_visits > 0] data-label="Disclosed" { (of_visits) }
                td.number data-label="Requests" {
                    (number(phase.requests))
                    @if phase.page_requests > 0 {
                        span.aside { " + " (number(phase.page_requests)) " by pages" }
                    }
                }
                td.number.told[!told.is_empty()] data-label="Disclosing requests" { (told.len()) }
                td.number data-label="Unread" { (bytes(phase.unread_bytes)) }
            }
        }
    }
}

/// Shows how a phase ended, unless it was completed.
fn outcome(outcome: &Outcome) -> Markup {
    html! {
        @match outcome {
            Outcome::Done => {}
            Outcome::Running => span.outcome { "the run was killed during this phase" },
            Outcome::Interrupted => span.outcome { "interrupted" },
            Outcome::Skipped { reason } => span.outcome { "skipped: " (Shown(reason)) },
            Outcome::Failed { reason } => span.outcome { "failed: " (Shown(reason)) },
        }
    }
}

/// Draws the timeline of a phase. Screen readers skip it, because the row has the numbers.
fn timeline(phase: &PhaseReport, told: &[&DisclosureReport]) -> Markup {
    let visits = phase.visits.iter();
    let visits = visits.flat_map(|visit| visit.again_ms.iter().chain([&visit.at_ms]).copied());
    let visits: Vec<u64> = visits.collect();
    let told: Vec<u64> = told.iter().map(|told| told.at_ms).collect();
    let all = || visits.iter().chain(&told).copied();
    let Some(began) = phase.began_ms.or_else(|| all().min()) else {
        return html! {};
    };
    let known = phase.duration_ms.map(|duration| began.saturating_add(duration));
    let ended = known.into_iter().chain(all()).fold(began, u64::max);
    // Requests after the end of the phase belong to it, and make the line longer.
    let places = |times: &[u64]| -> BTreeSet<u64> {
        let length = u128::from(ended.saturating_sub(began)).max(1);
        let place = |at: &u64| u128::from(at.saturating_sub(began)) * u128::from(STEPS) / length;
        times.iter().map(|at| place(at).min(u128::from(STEPS)) as u64).collect()
    };
    // Leaves space for half a mark at both ends.
    let x = |place: u64| format!("{:.1}%", 2.0 + 96.0 * place as f64 / STEPS as f64);
    html! {
        svg.timeline width="100%" height="34" focusable="false" {
            line.axis x1="0" x2="100%" y1="12" y2="12" {}
            @for place in places(&visits) { circle.visit cx=(x(place)) cy="12" r="4" {} }
            @for place in places(&told) {
                // A path cannot be placed by percentages, but a nested picture can.
                svg x=(x(place)) y="26" overflow="visible" {
                    path.disclosure d="M0-5 4 0 0 5-4 0Z" {}
                }
            }
        }
    }
}

/// Draws a mark of the legend.
fn mark(class: &str) -> Markup {
    html! {
        svg width="12" height="12" viewBox="-6 -6 12 12" focusable="false" {
            @if class == "visit" { circle.visit r="4" {} } @else { path.disclosure d="M0-5 4 0 0 5-4 0Z" {} }
        }
    }
}

/// Lists the pages and the recipients that learned of each.
fn pages(report: &Report, count: usize) -> Markup {
    html! {
        details {
            summary { "The " (count) " pages that were opened" }
            table.cards {
                (caption("Pages that were opened, and the most that each recipient learned of them."))
                thead {
                    tr {
                        th scope="col" { "Page" }
                        th scope="col" { "Time" }
                        th scope="col" { "Phase" }
                        th scope="col" { "URL" }
                        th scope="col" { "Disclosed to" }
                    }
                }
                tbody {
                    @for phase in &report.phases {
                        @for visit in &phase.visits { (page(phase, visit)) }
                    }
                }
            }
        }
    }
}

fn page(phase: &PhaseReport, visit: &VisitReport) -> Markup {
    html! {
        tr id={ "visit-" (visit.id) } {
            th scope="row" { (visit.id) }
            td.number data-label="Time" { (span(visit.at_ms)) }
            td data-label="Phase" { (Shown(&phase.title)) }
            td data-label="URL" {
                code { (Shown(&visit.url)) }
                @if !visit.again_ms.is_empty() {
                    span.aside { " " (visit.again_ms.len() + 1) " times" }
                }
                @if visit.served == Some(false) {
                    span.outcome { "never requested" }
                }
            }
            td data-label="Disclosed to" {
                @if visit.told.is_empty() { span.none { "no one" } } @else {
                    ul.plain {
                        @for told in &visit.told {
                            li { bdi { (Shown(&told.recipient)) } ": " (told.scope.label()) }
                        }
                    }
                }
            }
        }
    }
}
