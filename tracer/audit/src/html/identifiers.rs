//! The identifiers, and the phases in which they were sent.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{
    page::Section,
    text::{Shown, names, number},
};
use crate::{
    journal::Outcome,
    phase::Phase,
    report::{IdentifierReport, Persistence, Report},
};

/// Number of identifiers shown. The rest is in `report.json`.
const MAX_IDENTIFIERS: usize = 100;
/// Number of recipients, and of applications, shown for one identifier.
const MAX_NAMES: usize = 4;

pub(super) fn section(report: &Report) -> Section {
    let phases = columns(report);
    let more = report.identifiers.len().saturating_sub(MAX_IDENTIFIERS);
    let body = html! {
        @if report.identifiers.is_empty() {
            p { "No identifiers were found." }
        } @else {
            div.scroll role="region" aria-labelledby="identifiers-caption" tabindex="0" {
                table.lifelines {
                    caption #identifiers-caption {
                        "Number of requests in each phase that carried an identifier. "
                        "A line joins the first and the last."
                    }
                    thead {
                        tr {
                            th scope="col" { "Identifier" }
                            @for phase in &phases {
                                th.phase scope="col" { span { (phase.title()) } }
                            }
                            th scope="col" { "Persistence" }
                            th scope="col" { "Sent to" }
                        }
                    }
                    tbody {
                        @for identifier in report.identifiers.iter().take(MAX_IDENTIFIERS) {
                            (row(identifier, &phases))
                        }
                    }
                }
            }
            @if more > 0 { p.more { "And " (number(more as u64)) " more, in report.json." } }
        }
    };
    Section { id: "identifiers", title: "Identifiers", body }
}

/// Returns the phases that were not skipped.
fn columns(report: &Report) -> Vec<Phase> {
    let skipped = |phase: Phase| {
        let mut of = report.phases.iter().filter(|report| report.phase == phase);
        of.all(|report| matches!(report.outcome, Outcome::Skipped { .. }))
    };
    Phase::ALL.into_iter().filter(|phase| !skipped(*phase)).collect()
}

fn row(identifier: &IdentifierReport, phases: &[Phase]) -> Markup {
    let counts: BTreeMap<Phase, u64> = identifier.phases.iter().copied().collect();
    let (first, last) = (counts.keys().next(), counts.keys().next_back());
    let life = match identifier.life {
        Persistence::Unknown => "open",
        Persistence::Session => "fine",
        Persistence::Installation | Persistence::Device => "adverse",
    };
    html! {
        tr {
            th scope="row" {
                code { (Shown(&identifier.value)) }
                span.aside {
                    @if let Some(class) = &identifier.class { b { (Shown(class)) } " · " }
                    (Shown(&identifier.place))
                }
            }
            @for phase in phases {
                @let lives = Some(phase) >= first && Some(phase) <= last;
                td.dot.lives[lives].begins[Some(phase) == first].ends[Some(phase) == last] {
                    @if let Some(count) = counts.get(phase) {
                        span.bead { (number(*count)) }
                    } @else if lives {
                        span.hidden { "0" }
                    }
                }
            }
            td { span class={ "life " (life) } { (identifier.life.label()) } }
            td {
                (names(&identifier.recipients, MAX_NAMES))
                @if identifier.with_visits { span.aside { "sent with visited pages" } }
                @if !identifier.other_applications.is_empty() {
                    span.aside { "also sent by " (names(&identifier.other_applications, MAX_NAMES)) }
                }
            }
        }
    }
}
