//! The experiments: what depends on the visited pages, and how certain that is.

use maud::{Markup, html};

use super::{
    page::{Section, caption},
    text::{Shown, number},
};
use crate::report::{DependenceReport, ExperimentReport, Report, WithVisitsReport};

/// Number of dependences shown for one experiment. The rest is in `report.json`.
const MAX_SHOWN: usize = 20;

pub(super) fn section(report: &Report) -> Section {
    let body = html! {
        @if report.experiments.is_empty() {
            p { "No experiment was made, so nothing is known about data that could not be read." }
        } @else {
            p.intro {
                "Pages that differ in one part at a time were opened several times in random order. "
                "A value that is equal whenever the page is, and different for other pages, depends "
                "on the page, whatever its encoding."
            }
        }
        @for experiment in &report.experiments { (one(experiment)) }
    };
    Section { id: "experiments", title: "Experiments", body }
}

fn one(experiment: &ExperimentReport) -> Markup {
    let more = experiment.dependences.len().saturating_sub(MAX_SHOWN) as u64
        + experiment.dependences_uncounted;
    html! {
        h3 { (Shown(experiment.phase.title())) }
        dl.facts {
            div { dt { "Visits, in random order" } dd { (number(experiment.visits)) } }
            div { dt { "Windows without a visit" } dd { (number(experiment.idle)) } }
            div { dt { "Places examined" } dd { (number(experiment.places)) } }
            div { dt { "Tests" } dd { (number(experiment.tests)) } }
            div {
                dt { "Probability of any error" }
                dd { "at most " (experiment.error_rate * 100.0) "\u{a0}%" }
            }
            @if experiment.dropped > 0 {
                div { dt { "Not examined" } dd { (number(experiment.dropped)) " values" } }
            }
        }
        @if experiment.dependences.is_empty() {
            p { "Nothing that was sent depends on the page." }
        } @else {
            table.cards {
                (caption("What depends on the page. p is the probability of such a result by chance, before the correction for the number of tests."))
                thead {
                    tr {
                        th scope="col" { "Recipient" }
                        th scope="col" { "Place" }
                        th scope="col" { "Factors" }
                        th scope="col" { "Sent" }
                        th scope="col" { "Pages" }
                        th scope="col" { "p" }
                        th scope="col" { "Identifier" }
                    }
                }
                tbody {
                    @for it in experiment.dependences.iter().take(MAX_SHOWN) { (dependence(it)) }
                }
            }
            @if more > 0 { p.more { "And " (number(more)) " more, in report.json." } }
        }
        @if !experiment.with_visits.is_empty() { (with_visits(&experiment.with_visits)) }
    }
}

fn dependence(it: &DependenceReport) -> Markup {
    html! {
        tr {
            th scope="row" { bdi { (Shown(&it.recipient)) } }
            td data-label="Place" { code { (Shown(&it.place)) } }
            td data-label="Factors" {
                @for (i, factor) in it.depends_on.iter().enumerate() {
                    @if i > 0 { ", " }
                    (factor.label())
                }
                @if it.readable { span.aside { " (readable)" } }
            }
            td data-label="Sent" { (Shown(&it.sent)) }
            td.number data-label="Pages" { (number(it.pages)) }
            td.number data-label="p" { (format!("{:.1e}", it.p)) }
            td data-label="Identifier" {
                @if it.identifiers.is_empty() { span.none { "—" } }
                @for identifier in &it.identifiers { code { (Shown(identifier)) } " " }
            }
        }
    }
}

fn with_visits(list: &[WithVisitsReport]) -> Markup {
    html! {
        table.narrow {
            (caption("Recipients that received something with each visit, and not otherwise."))
            thead {
                tr {
                    th scope="col" { "Recipient" }
                    th scope="col" { "What" }
                    th scope="col" { "With a visit" }
                    th scope="col" { "Without" }
                }
            }
            tbody {
                @for it in list {
                    tr {
                        th scope="row" { bdi { (Shown(&it.recipient)) } }
                        td { (Shown(&it.what)) }
                        td.number { (number(it.visits.told)) " of " (number(it.visits.of)) }
                        td.number { (number(it.idle.told)) " of " (number(it.idle.of)) }
                    }
                }
            }
        }
    }
}
