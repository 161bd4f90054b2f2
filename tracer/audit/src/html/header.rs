//! The header: the audited browser, the run, and whether it was completed.

use maud::{Markup, html};

use super::{
    page::note,
    text::{Shown, time},
    verdicts::chip,
};
use crate::{
    journal::Outcome,
    report::{Question, Report},
};

/// Number of notes shown. The rest is in `report.json`.
const MAX_NOTES: usize = 50;

pub(super) fn header(report: &Report) -> Markup {
    let Report { subject, run, tracer, .. } = report;
    html! {
        p.eyebrow { "Browser audit" }
        h1 { (Shown(&subject.full_name())) }
        @for sentence in &report.summary { p.lede { (Shown(sentence)) } }
        @if report.summary.is_empty() && let Some(urls) = report.verdict(Question::Urls) {
            p.lede { (Shown(&urls.title)) " " (chip(urls)) " " (Shown(&urls.detail)) }
        }
        (state(report))
        dl.facts {
            @if let Some(browser) = &subject.browser {
                (fact("Browser", &html! { (Shown(browser)) }))
            }
            (fact("Watched", &html! {
                @for (i, watched) in subject.watched.iter().enumerate() {
                    @if i > 0 { ", " }
                    code { (Shown(watched)) }
                }
            }))
            (fact("Scenario", &html! { (Shown(&subject.scenario)) }))
            (fact("Began", &html! {
                @match &report.began { Some(began) => (time(began)), None => "not known" }
            }))
            (fact("Ended", &html! {
                @match &report.ended { Some(ended) => (time(ended)), None => "not ended" }
            }))
            (fact("System", &html! { (Shown(&subject.system)) }))
            (fact("Tracer", &html! { (Shown(tracer)) }))
            (fact("Run", &html! { code { (Shown(run)) } }))
        }
    }
}

fn fact(name: &str, value: &Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// Shows whether the run was completed, and its notes.
fn state(report: &Report) -> Markup {
    let mut lines: Vec<&str> = report.notes.iter().take(MAX_NOTES).map(String::as_str).collect();
    let more = report.notes.len().saturating_sub(MAX_NOTES);
    let more = format!("and {more} more, in report.json");
    if report.notes.len() > MAX_NOTES {
        lines.push(&more);
    }
    if !report.complete {
        let title = match cut_short(report) {
            Cut::Killed => "Incomplete: the run was killed.",
            Cut::Interrupted => "Incomplete: the run was ended early.",
            Cut::Elsewhere => "Incomplete: a phase failed.",
        };
        note(title, &lines)
    } else if lines.is_empty() {
        html! {}
    } else {
        note("Notes", &lines)
    }
}

/// Why a run was not completed.
enum Cut {
    Killed,
    Interrupted,
    Elsewhere,
}

fn cut_short(report: &Report) -> Cut {
    let any = |outcome| report.phases.iter().any(|phase| phase.outcome == outcome);
    if report.ended.is_none() || any(Outcome::Running) {
        Cut::Killed
    } else if any(Outcome::Interrupted) {
        Cut::Interrupted
    } else {
        Cut::Elsewhere
    }
}
