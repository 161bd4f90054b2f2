//! The requests that disclose something, and the steps from their raw bytes to the disclosed values.

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
use tracer_core::finding::{Severity, UrlRole};

/// Number of items shown for one request. The rest is in `report.json`.
const MAX_ITEMS: usize = 24;
/// Number of items in the summary line of a request.
const MAX_IN_SUMMARY: usize = 3;

pub(super) fn section(report: &Report) -> Section {
    let body = html! {
        @if report.disclosures.is_empty() {
            p { "No request discloses anything." }
        } @else {
            p.intro {
                "Each entry is a request. It has the same number in "
                code { "evidence.har" } "."
            }
        }
        @for of_phase in report.disclosures.chunk_by(|one, next| one.phase == next.phase) {
            h3 { (of_phase.first().and_then(|one| one.phase).map_or("before the first phase", Phase::title)) }
            @for report in of_phase { (disclosure(report)) }
        }
        @if report.disclosures_uncounted > 0 {
            p.more {
                "And " (counted(report.disclosures_uncounted, "request", "requests"))
                " more that disclose something."
            }
        }
    };
    Section { id: "disclosures", title: "Disclosures", body }
}

fn disclosure(report: &DisclosureReport) -> Markup {
    html! {
        details.disclosure {
            summary {
                span.ident { "#" (report.id) }
                span.what { (summary(report)) }
                span.when { (span(report.at_ms)) }
            }
            // Links lead into the element, because browsers then open it.
            div.body id={ "request-" (report.id) } {
                p.request {
                    code {
                        @if let Some(method) = &report.method { (Shown(method)) " " }
                        (Shown(&report.host))
                        @if let Some(path) = &report.path { (Shown(path)) }
                    }
                }
                @if let Some(reason) = &report.reason {
                    p { (Shown(reason)) span.aside { "in the words of the rules' judgement table" } }
                }
                (facts(report))
                @for item in report.items.iter().take(MAX_ITEMS) { (self::item(item)) }
                @if report.items.len() > MAX_ITEMS {
                    p.more { "And " (report.items.len() - MAX_ITEMS) " more, in report.json." }
                }
            }
        }
    }
}

/// Returns recipient and items of a request in one line.
fn summary(report: &DisclosureReport) -> Markup {
    html! {
        bdi.host { (Shown(&report.recipient)) } " learned "
        @for (i, item) in report.items.iter().take(MAX_IN_SUMMARY).enumerate() {
            @if i > 0 { ", " }
            (label(item))
        }
        @if report.items.is_empty() { "something" }
        @if report.items.len() > MAX_IN_SUMMARY {
            " and " (report.items.len() - MAX_IN_SUMMARY) " more"
        }
        @if let Some(severity) = report.severity {
            " " span class={ "severity " (severity_class(severity)) } { (severity_word(severity)) }
        }
    }
}

pub(super) fn severity_class(severity: Severity) -> &'static str {
    match severity {
        Severity::Info | Severity::Low => "open",
        Severity::Medium | Severity::High | Severity::Critical => "adverse",
    }
}

pub(super) fn severity_word(severity: Severity) -> String {
    severity.label().to_lowercase()
}

/// Returns an item in a few words.
fn label(item: &Item) -> Markup {
    let what = match item.kind {
        ItemKind::Visit => match item.scope {
            Some(Extent::Full) | None => "the URL of",
            Some(Extent::HostPath) => "the host and path of",
            Some(Extent::Host) => "the host of",
            Some(Extent::Hash) => "a hash of",
            Some(Extent::Derived) => "a value derived from",
            Some(Extent::Length) => "the length of the URL of",
            Some(Extent::Typed) => "text typed for",
        },
        ItemKind::PageTitle => "the title of",
        ItemKind::Url => "another URL",
        ItemKind::Identifier => "an identifier",
        ItemKind::PersonalDetail => "a personal detail",
        ItemKind::UiEvent => "an action in the interface",
        ItemKind::ContentItem => "a content item",
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

fn facts(report: &DisclosureReport) -> Markup {
    let sender = report.sender_in_words();
    html! {
        dl.facts {
            div { dt { "Recipient" } dd { bdi { (Shown(&report.recipient)) } ", " (Shown(&report.who.describe())) } }
            div { dt { "Sent by" } dd { (Shown(&report.application)) ", " (Shown(&sender)) } }
            @if let Some(at) = &report.time { div { dt { "At" } dd { (time(at)) } } }
            @if let Some(sdk) = &report.sdk { div { dt { "SDK" } dd { (Shown(sdk)) } } }
            div {
                dt { "Read" }
                dd {
                    @if report.complete { "all of it" } @else {
                        "incomplete: " (bytes(report.unread_bytes)) " unknown"
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
                    " " a.ref href={ "#visit-" (visit) } { "go to the visit" }
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
            @if let Some(role) = item.role.and_then(UrlRole::label) {
                p.chain { "By its place, " (role) "." }
            }
            p.chain { "Chain: " code { (Shown(&item.chain)) } }
        }
    }
}

/// Shows a step with the beginning of its content.
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
