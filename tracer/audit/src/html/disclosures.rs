//! Every request that discloses something, and how what it tells came out of
//! its bytes.

use maud::{Markup, html};

use super::{
    page::Section,
    text::{Shown, bytes, counted, number, span, time},
};
use crate::{
    canary::Extent,
    phase::Phase,
    report::{DecodeStep, DisclosureReport, Item, ItemKind, Report},
};
use tracer_core::finding::{Sender, Severity};

/// More things told by one request are only counted; `report.json` has them.
const MAX_ITEMS: usize = 24;
/// A line sums up so many of them.
const MAX_IN_SUMMARY: usize = 3;

pub(super) fn section(report: &Report) -> Section {
    let body = html! {
        @if report.disclosures.is_empty() {
            p { "No request was found that discloses anything." }
        } @else {
            p.intro {
                "Each entry is a request. Its number is the one in "
                code { "evidence.har" } "."
            }
        }
        @for of_phase in report.disclosures.chunk_by(|one, next| one.phase == next.phase) {
            h3 { (of_phase.first().and_then(|told| told.phase).map_or("between phases", Phase::title)) }
            @for told in of_phase { (disclosure(told)) }
        }
        @if report.disclosures_uncounted > 0 {
            p.more {
                "And " (counted(report.disclosures_uncounted, "request", "requests"))
                " more that disclose something, beyond those listed."
            }
        }
    };
    Section { id: "disclosures", title: "Disclosures", body }
}

fn disclosure(told: &DisclosureReport) -> Markup {
    html! {
        details.disclosure {
            summary {
                span.ident { "#" (told.id) }
                span.what { (summary(told)) }
                span.when { (span(told.at_ms)) }
            }
            // Links lead here, within: browsers open what they lead into.
            div.body id={ "request-" (told.id) } {
                p.request {
                    code {
                        @if let Some(method) = &told.method { (Shown(method)) " " }
                        (Shown(&told.host))
                        @if let Some(path) = &told.path { (Shown(path)) }
                    }
                }
                @if let Some(reason) = &told.reason { p { (Shown(reason)) } }
                (facts(told))
                @for item in told.items.iter().take(MAX_ITEMS) { (self::item(item)) }
                @if told.items.len() > MAX_ITEMS {
                    p.more { "And " (told.items.len() - MAX_ITEMS) " more, in report.json." }
                }
            }
        }
    }
}

/// What a request tells whom, in a line.
fn summary(told: &DisclosureReport) -> Markup {
    html! {
        bdi.host { (Shown(&told.recipient)) } " was told "
        @for (i, item) in told.items.iter().take(MAX_IN_SUMMARY).enumerate() {
            @if i > 0 { ", " }
            (label(item))
        }
        @if told.items.is_empty() { "something" }
        @if told.items.len() > MAX_IN_SUMMARY {
            " and " (told.items.len() - MAX_IN_SUMMARY) " more"
        }
        @if let Some(severity) = told.severity {
            " " span class={ "severity " (severity_class(severity)) } { (severity_word(severity)) }
        }
    }
}

fn severity_class(severity: Severity) -> &'static str {
    match severity {
        Severity::Info | Severity::Low => "open",
        Severity::Medium | Severity::High | Severity::Critical => "adverse",
    }
}

fn severity_word(severity: Severity) -> String {
    severity.label().to_lowercase()
}

/// What is told, in a few words.
fn label(item: &Item) -> Markup {
    let what = match item.kind {
        ItemKind::Visit => match item.scope {
            Some(Extent::Full) | None => "the URL of",
            Some(Extent::HostPath) => "host and path of",
            Some(Extent::Host) => "the host of",
            Some(Extent::Hash) => "a hash of",
            Some(Extent::Typed) => "what was typed for",
        },
        ItemKind::PageTitle => "the title of",
        ItemKind::Url => "another URL",
        ItemKind::Identifier => "an identifier",
        ItemKind::PersonalDetail => "a personal detail",
        ItemKind::UiEvent => "an action in the interface",
        ItemKind::ContentItem => "a piece of content",
        ItemKind::SearchTerms => "search terms",
        ItemKind::TypedText => "typed text",
        ItemKind::PageText => "text of a page",
    };
    html! {
        (what)
        @match (item.kind, item.visit) {
            (ItemKind::Visit | ItemKind::PageTitle, Some(visit)) => { " page " (visit) }
            (ItemKind::Visit | ItemKind::PageTitle, None) => " a page",
            (_, Some(visit)) => { " (page " (visit) ")" }
            (_, None) => {}
        }
        @if let Some(class) = &item.class { " (" (Shown(class)) ")" }
    }
}

fn facts(told: &DisclosureReport) -> Markup {
    let sender = match told.sender {
        Sender::Browser => "the browser itself",
        Sender::Extension => "an extension",
        Sender::Page => "a page",
        Sender::Navigation => "a navigation",
        Sender::Unknown => "not known",
    };
    html! {
        dl.facts {
            div { dt { "Recipient" } dd { bdi { (Shown(&told.recipient)) } ", " (Shown(&told.who.describe())) } }
            div { dt { "Sent by" } dd { (Shown(&told.application)) ", " (sender) } }
            @if let Some(at) = &told.time { div { dt { "At" } dd { (time(at)) } } }
            @if let Some(sdk) = &told.sdk { div { dt { "Form of" } dd { (Shown(sdk)) } } }
            div {
                dt { "Read" }
                dd {
                    @if told.complete { "all of it" } @else {
                        "not all: " (bytes(told.unread_bytes)) " are not known"
                    }
                }
            }
        }
    }
}

fn item(item: &Item) -> Markup {
    html! {
        div.item {
            h4 {
                (label(item))
                @if let Some(visit) = item.visit {
                    " " a.ref href={ "#visit-" (visit) } { "where it was opened" }
                }
            }
            @if item.steps.is_empty() {
                p { code { (Shown(&item.value)) } }
            } @else {
                ol.steps aria-label="From the raw bytes to the value" {
                    @for (i, step) in item.steps.iter().enumerate() {
                        (self::step(step, i + 1 == item.steps.len()))
                    }
                }
            }
            p.chain { "Chain: " code { (Shown(&item.chain)) } }
        }
    }
}

/// What a value looked like on the way. Where that is no text, or in a redacted
/// report, it is not shown: whatever stands beside the value stands there, too.
fn step(step: &DecodeStep, last: bool) -> Markup {
    html! {
        li.value[last] {
            span.step { (Shown(&step.name)) }
            @if let Some(bytes) = step.bytes {
                span.size { (number(bytes)) @if bytes == 1 { " byte" } @else { " bytes" } }
            }
            @match &step.excerpt {
                Some(excerpt) => code.excerpt { (Shown(excerpt)) },
                None => span.none { "not shown" },
            }
        }
    }
}
