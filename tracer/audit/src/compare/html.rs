//! Formats a comparison as a page in the style of a report.

use maud::{Markup, html};

use super::{Comparison, Measure, Run};
use crate::html::{
    page::{self, Section, caption, note},
    text::{Shown, time},
    verdicts::answer,
};

pub(super) fn document(comparison: &Comparison) -> Markup {
    let notes: Vec<&str> = comparison.notes.iter().map(String::as_str).collect();
    let header = html! {
        p.eyebrow { "Browser audits" }
        h1 { "Browsers side by side" }
        @if !notes.is_empty() { (note("Notes", &notes)) }
    };
    let section = Section { id: "comparison", title: "Results", body: table(comparison) };
    let footer = html! { p { "Written by tracer " (env!("CARGO_PKG_VERSION")) } };
    page::document("Browser audits compared", &header, &[section], &footer)
}

fn table(comparison: &Comparison) -> Markup {
    html! {
        div.scroll role="region" aria-labelledby="comparison-title" tabindex="0" {
            table.comparison {
                (caption("One column per browser. “Yes” was seen; “no” requires that enough of the traffic was read."))
                thead {
                    tr {
                        td {}
                        @for run in &comparison.runs { th scope="col" { (heading(run)) } }
                    }
                }
                tbody {
                    @for measure in Measure::ALL {
                        tr {
                            th scope="row" { (measure.title()) }
                            @for run in &comparison.runs { td { (cell(run, measure)) } }
                        }
                    }
                }
            }
        }
    }
}

fn heading(run: &Run) -> Markup {
    html! {
        b { (Shown(&run.name)) }
        span.aside { "run " code { (Shown(run.short())) } }
        @if let Some(began) = &run.began { span.aside { (time(began)) } }
        @if let Some(source) = &run.source { span.aside { (Shown(source)) } }
        @if !run.complete { span.outcome { "incomplete" } }
    }
}

fn cell(run: &Run, measure: Measure) -> Markup {
    let Some(cell) = run.cells.get(&measure) else { return html! {} };
    html! {
        @if let Some(given) = cell.answer { (answer(given, true)) }
        @for line in &cell.lines { div { (Shown(line)) } }
        @if cell.answer.is_none() && cell.lines.is_empty() { span.none { "—" } }
    }
}
