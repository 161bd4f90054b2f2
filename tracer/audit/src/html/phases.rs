//! What was done, and when the browser told of it: a row for each phase, with a
//! line of time.
//!
//! ```text
//! ──○────────○─────────○────────  pages that were opened
//!    ◆        ◆                   requests that disclose
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

/// Marks closer to each other than a line's width by this are one.
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
            span { "Each line spans its phase." }
        }
        table.phases.cards {
            (caption("What was done, in order, and what the browser sent meanwhile."))
            thead {
                tr {
                    th scope="col" { "Phase" }
                    th.line scope="col" aria-hidden="true" { "Time" }
                    th scope="col" { "Took" }
                    th scope="col" { "Pages" }
                    th scope="col" { "DisclosureReport of" }
                    th scope="col" { "Requests" }
                    th scope="col" { "Disclosing" }
                    th scope="col" { "Unread" }
                }
            }
            tbody {
                @for phase in &report.phases { (row(phase, of(Some(phase.phase)))) }
                @if !of(None).is_empty() {
                    tr {
                        th scope="row" { "between phases" }
                        td.line aria-hidden="true" {}
                        @for _ in 0..4 { td.absent { "—" } }
                        td.number data-label="Disclosing" { (of(None).len()) }
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
                td.number data-label="Took" {
                    @match phase.duration_ms { Some(ms) => (span(ms)), None => "—" }
                }
                td.number data-label="Pages" { (phase.visits.len()) }
                td.number.told[of_visits > 0] data-label="DisclosureReport of" { (of_visits) }
                td.number data-label="Requests" {
                    (number(phase.requests))
                    @if phase.page_requests > 0 {
                        span.aside { " + " (number(phase.page_requests)) " by pages" }
                    }
                }
                td.number.told[!told.is_empty()] data-label="Disclosing" { (told.len()) }
                td.number data-label="Unread" { (bytes(phase.unread_bytes)) }
            }
        }
    }
}

/// How a phase ended, unless it is as it should.
fn outcome(outcome: &Outcome) -> Markup {
    html! {
        @match outcome {
            Outcome::Done => {}
            Outcome::Running => span.outcome { "the run was killed here" },
            Outcome::Interrupted => span.outcome { "interrupted" },
            Outcome::Skipped { reason } => span.outcome { "left out: " (Shown(reason)) },
            Outcome::Failed { reason } => span.outcome { "failed: " (Shown(reason)) },
        }
    }
}

/// The line of time. For the eye only: the row has the numbers.
fn timeline(phase: &PhaseReport, told: &[&DisclosureReport]) -> Markup {
    let visits: Vec<u64> = phase.visits.iter().map(|visit| visit.at_ms).collect();
    let told: Vec<u64> = told.iter().map(|told| told.at_ms).collect();
    let all = || visits.iter().chain(&told).copied();
    let Some(began) = phase.began_ms.or_else(|| all().min()) else {
        return html! {};
    };
    let known = phase.duration_ms.map(|duration| began.saturating_add(duration));
    let ended = known.into_iter().chain(all()).fold(began, u64::max);
    // What goes on after its end belongs to it: the line then ends later.
    let places = |times: &[u64]| -> BTreeSet<u64> {
        let length = u128::from(ended.saturating_sub(began)).max(1);
        let place = |at: &u64| u128::from(at.saturating_sub(began)) * u128::from(STEPS) / length;
        times.iter().map(|at| place(at).min(u128::from(STEPS)) as u64).collect()
    };
    // Room for half a mark at both ends.
    let x = |place: u64| format!("{:.1}%", 2.0 + 96.0 * place as f64 / STEPS as f64);
    html! {
        svg.timeline width="100%" height="34" focusable="false" {
            line.axis x1="0" x2="100%" y1="12" y2="12" {}
            @for place in places(&visits) { circle.visit cx=(x(place)) cy="12" r="4" {} }
            @for place in places(&told) {
                // A path has no percentages: it stands in a picture that has.
                svg x=(x(place)) y="26" overflow="visible" {
                    path.disclosure d="M0-5 4 0 0 5-4 0Z" {}
                }
            }
        }
    }
}

/// A mark of the legend.
fn mark(class: &str) -> Markup {
    html! {
        svg width="12" height="12" viewBox="-6 -6 12 12" focusable="false" {
            @if class == "visit" { circle.visit r="4" {} } @else { path.disclosure d="M0-5 4 0 0 5-4 0Z" {} }
        }
    }
}

/// Every page, and who was told of it.
fn pages(report: &Report, count: usize) -> Markup {
    html! {
        details {
            summary { "The " (count) " pages that were opened" }
            table.cards {
                (caption("Pages that were opened, and what the browser told of them at most."))
                thead {
                    tr {
                        th scope="col" { "Page" }
                        th scope="col" { "After" }
                        th scope="col" { "Phase" }
                        th scope="col" { "URL" }
                        th scope="col" { "DisclosureReport to" }
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
            td.number data-label="After" { (span(visit.at_ms)) }
            td data-label="Phase" { (Shown(&phase.title)) }
            td data-label="URL" {
                code { (Shown(&visit.url)) }
                @if visit.served == Some(false) {
                    span.outcome { "its server was never asked for it" }
                }
            }
            td data-label="DisclosureReport to" {
                @if visit.told.is_empty() { span.none { "nobody" } } @else {
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
