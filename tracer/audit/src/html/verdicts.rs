//! The table of answers.

use std::collections::HashSet;

use maud::{Markup, html};

use super::{
    page::{Section, caption},
    text::{Shown, number, percent},
};
use crate::report::{Answer, Conclusion, MAX_EVIDENCE, Question, Report};

/// Number of links shown for one answer. All requests are listed below.
const MAX_LINKS: usize = 6;

/// Subject of a question.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Theme {
    Pages,
    Identifiers,
    Others,
}

impl Theme {
    const ALL: [Self; 3] = [Self::Pages, Self::Identifiers, Self::Others];

    fn title(self) -> &'static str {
        match self {
            Self::Pages => "Visited pages",
            Self::Identifiers => "Identifiers",
            Self::Others => "Other disclosures",
        }
    }

    fn of(question: Question) -> Self {
        match question {
            Question::Urls
            | Question::UrlsInPrivateMode
            | Question::UrlsBeforeConsent
            | Question::UrlsAfterDeclining
            | Question::ToMaker
            | Question::ToThirdParties
            | Question::DerivedValues
            | Question::ProcessedLocally => Self::Pages,
            Question::Identifier
            | Question::SameAfterRestart
            | Question::SameInPrivateMode
            | Question::SameInPrivateModeAfterRestart
            | Question::SameAfterClearing
            | Question::SameAfterReinstall
            | Question::SameInOtherApplications => Self::Identifiers,
            Question::PersonalDetails
            | Question::BeforeConsent
            | Question::AfterDeclining
            | Question::InterfaceEvents
            | Question::ContentItems
            | Question::TypedLetters
            | Question::PageText => Self::Others,
        }
    }
}

pub(super) fn section(report: &Report) -> Section {
    let listed: HashSet<u64> = report.disclosures.iter().map(|told| told.id).collect();
    let body = html! {
        p.intro {
            "A “no” requires that at least " (report.reading.percent_needed)
            "\u{a0}% of the traffic was read. About pages, it also requires that nothing depended "
            "on them in an experiment. Questions, answers and reasons are in tracer's words; what "
            "the scenario says is marked as such."
        }
        table.verdicts.cards {
            (caption("Questions and answers. The numbers are links to the requests that prove them."))
            thead {
                tr {
                    th scope="col" { "Question" }
                    th scope="col" { "Answer" }
                    th scope="col" { "Reason" }
                    th scope="col" { "Read" }
                    th scope="col" { "Evidence" }
                }
            }
            @for theme in Theme::ALL {
                @let of_theme = |verdict: &&Conclusion| Theme::of(verdict.question) == theme;
                @if report.verdicts.iter().any(|verdict| of_theme(&verdict)) {
                    tbody {
                        tr.group { th scope="rowgroup" colspan="5" { (theme.title()) } }
                        @for verdict in report.verdicts.iter().filter(of_theme) {
                            (row(verdict, &listed))
                        }
                    }
                }
            }
        }
    };
    Section { id: "verdicts", title: "Verdicts", body }
}

fn row(verdict: &Conclusion, listed: &HashSet<u64>) -> Markup {
    html! {
        tr {
            th scope="row" { (Shown(&verdict.title)) }
            td data-label="Answer" { (chip(verdict)) (count(verdict)) }
            td data-label="Reason" {
                (Shown(&verdict.detail))
                @if !verdict.scopes.is_empty() || verdict.protection.is_some() {
                    (measures(verdict))
                }
            }
            td.number data-label="Read" { (percent(verdict.percent_read)) }
            td data-label="Evidence" { (evidence(verdict, listed)) }
        }
    }
}

/// Shows an answer as a word with a symbol: a full circle for yes, an empty one for no, a dotted one
/// for cannot tell.
pub(crate) fn chip(verdict: &Conclusion) -> Markup {
    answer(verdict.answer, is_adverse(verdict.question))
}

/// Shows an answer to a question to which "yes" is bad news, or not.
pub(crate) fn answer(answer: Answer, yes_is_adverse: bool) -> Markup {
    let (symbol, class) = match answer {
        Answer::Yes if yes_is_adverse => ("●", "adverse"),
        Answer::Yes => ("●", "fine"),
        Answer::No if yes_is_adverse => ("○", "fine"),
        Answer::No => ("○", "open"),
        Answer::CannotTell => ("◌", "open"),
    };
    html! {
        span class={ "answer " (class) } {
            span.symbol aria-hidden="true" { (symbol) } "\u{a0}" (answer.label())
        }
    }
}

/// Reports whether "yes" is bad news.
fn is_adverse(question: Question) -> bool {
    question != Question::ProcessedLocally
}

fn count(verdict: &Conclusion) -> Markup {
    let unit = match verdict.question {
        Question::Urls
        | Question::UrlsInPrivateMode
        | Question::UrlsBeforeConsent
        | Question::UrlsAfterDeclining
        | Question::ToMaker
        | Question::ToThirdParties => " pages",
        _ => "",
    };
    html! {
        @if let Some(count) = verdict.count {
            " " span.count { (number(count.told)) " of " (number(count.of)) (unit) }
        }
    }
}

/// Shows how much of the pages was disclosed, and how it is protected.
fn measures(verdict: &Conclusion) -> Markup {
    html! {
        ul.measures {
            @for scope in &verdict.scopes {
                li { (scope.scope.label()) ": " b { (number(scope.visits)) } }
            }
            @if let Some(protection) = verdict.protection {
                li { "protection: " b { (protection.label()) } }
            }
        }
    }
}

fn evidence(verdict: &Conclusion, listed: &HashSet<u64>) -> Markup {
    let ids = &verdict.evidence;
    html! {
        @if ids.is_empty() { span.none { "—" } }
        @for (i, id) in ids.iter().take(MAX_LINKS).enumerate() {
            @if i > 0 { ", " }
            @if listed.contains(id) {
                a href={ "#request-" (id) } { "#" (id) }
            } @else {
                "#" (id)
            }
        }
        @if ids.len() >= MAX_EVIDENCE {
            " and more"
        } @else if ids.len() > MAX_LINKS {
            " and " (ids.len() - MAX_LINKS) " more"
        }
    }
}
