//! The page of `tracer alerts --html`: stored alerts by sender and recipient, and the identifiers
//! that were sent.

use std::io::{self, Write};

use maud::{Markup, html};
use tracer_core::finding::Severity;

use super::{
    disclosures::{severity_class, severity_word},
    page::{self, Section, caption, note},
    text::{Shown, counted, names, number},
};

/// Maximum number of names in a cell.
const MAX_NAMES: usize = 6;

/// The content of the page. All texts are redacted as far as the user wishes.
#[derive(Debug, Default)]
pub struct Alerts {
    /// Time at which the page was written.
    pub written: When,
    /// The options that selected the alerts, in words. Empty for all alerts.
    pub selection: Vec<String>,
    /// Set if values are shown as they were sent.
    pub shows_values: bool,
    /// The groups, the most important first.
    pub groups: Vec<Group>,
    /// Number of alerts that are in no group, because there are too many groups.
    pub beyond: u64,
    /// The identifiers, the most important first.
    pub identifiers: Vec<Identifier>,
    /// Number of identifiers that are not in the list.
    pub more_identifiers: u64,
}

/// A time, for people and for programs.
#[derive(Debug, Clone, Default)]
pub struct When {
    /// Local time.
    pub local: String,
    /// RFC 3339, UTC.
    pub utc: String,
}

/// The alerts of one sender about one recipient.
#[derive(Debug)]
pub struct Group {
    /// The sender: an extension, a page, a browser or a package.
    pub culprit: String,
    /// User ID of the sender.
    pub uid: u32,
    /// The recipient.
    pub addressee: String,
    /// Number of alerts.
    pub alerts: u64,
    /// Number of occurrences of all alerts.
    pub occurrences: u64,
    /// Time of the first occurrence.
    pub first: When,
    /// Time of the last occurrence.
    pub last: When,
    /// The most severe alerts.
    pub listed: Vec<Told>,
}

/// An alert of a group.
#[derive(Debug)]
pub struct Told {
    /// Number in the store.
    pub id: i64,
    /// Severity.
    pub severity: Option<Severity>,
    /// Reason for the severity.
    pub reason: Option<String>,
    /// The disclosure in words.
    pub subject: String,
    /// The identifier that was sent with it.
    pub identifier: Option<String>,
    /// The steps of encoding, outermost first.
    pub chain: Vec<String>,
    /// Set if it was sent from a private window.
    pub private: bool,
    /// Number of occurrences.
    pub occurrences: u64,
    /// Time of the first occurrence.
    pub first: When,
    /// Time of the last occurrence.
    pub last: When,
}

/// An identifier that was sent.
#[derive(Debug)]
pub struct Identifier {
    /// The value or its digest.
    pub value: String,
    /// Class of the identifier.
    pub class: Option<String>,
    /// Set if it outlives a process, or its name says so.
    pub lasts: bool,
    /// Number of alerts about visits with which it was sent.
    pub with_visits: u64,
    /// Number of requests.
    pub requests: u64,
    /// Applications that sent it.
    pub applications: Vec<String>,
    /// Sites that received it.
    pub recipients: Vec<String>,
}

impl Alerts {
    /// Writes the page.
    ///
    /// # Errors
    /// Returns the errors of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(self.document().into_string().as_bytes())
    }

    fn document(&self) -> Markup {
        let sections = [self.summary(), self.details(), self.identifiers()];
        page::document(
            "Alerts of tracer",
            &self.header(),
            &sections,
            &html! { p { "Written by tracer " (env!("CARGO_PKG_VERSION")) } },
        )
    }

    fn header(&self) -> Markup {
        let alerts: u64 = self.groups.iter().map(|group| group.alerts).sum();
        let occurrences: u64 = self.groups.iter().map(|group| group.occurrences).sum();
        let selection: Vec<&str> = self.selection.iter().map(String::as_str).collect();
        html! {
            p.eyebrow { "Stored alerts" }
            h1 { "Who sent what to whom" }
            p.lede {
                @if self.groups.is_empty() { "No alert matches. " } @else {
                    (counted(alerts + self.beyond, "alert", "alerts")) ", seen "
                    (counted(occurrences + self.beyond, "time", "times")) ", in "
                    (counted(self.groups.len() as u64, "pair", "pairs"))
                    " of sender and recipient. "
                }
                "The absence of an alert proves nothing about bytes that were not read."
            }
            dl.facts {
                div { dt { "Written" } dd { (when(&self.written)) } }
                div {
                    dt { "Values" }
                    dd {
                        @if self.shows_values { "as they were sent" } @else {
                            "as digests ‹…›; one value has the same digest everywhere"
                        }
                    }
                }
            }
            @if !selection.is_empty() { (note("Only a selection", &selection)) }
        }
    }

    fn summary(&self) -> Section {
        let body = html! {
            @if self.groups.is_empty() { p { "There are no alerts." } } @else {
                table.cards {
                    (caption("Senders and recipients, the most severe first."))
                    thead {
                        tr {
                            @for title in ["Sender", "Recipient", "Severity", "Alerts", "Last"] {
                                th scope="col" { (title) }
                            }
                        }
                    }
                    tbody {
                        @for (i, group) in self.groups.iter().enumerate() {
                            tr {
                                th scope="row" {
                                    a href={ "#group-" (i) } { bdi { (Shown(&group.culprit)) } }
                                    span.aside { "uid " (group.uid) }
                                }
                                td data-label="Recipient" { bdi { (Shown(&group.addressee)) } }
                                td data-label="Severity" { (badge(group.severity())) }
                                td data-label="Alerts" {
                                    (number(group.alerts))
                                    @if group.occurrences > group.alerts {
                                        span.aside { "seen " (counted(group.occurrences, "time", "times")) }
                                    }
                                }
                                td data-label="Last" { (when(&group.last)) }
                            }
                        }
                    }
                }
                @if self.beyond > 0 {
                    p.more { "And " (counted(self.beyond, "alert", "alerts")) " of other senders and recipients." }
                }
            }
        };
        Section { id: "summary", title: "Summary", body }
    }

    fn details(&self) -> Section {
        let body = html! {
            @if self.groups.is_empty() { p { "There are no alerts." } }
            @for (i, group) in self.groups.iter().enumerate() {
                h3.exact id={ "group-" (i) } {
                    bdi { (Shown(&group.culprit)) } " → " bdi { (Shown(&group.addressee)) }
                }
                p.intro {
                    (counted(group.alerts, "alert", "alerts")) ", "
                    (when(&group.first)) " to " (when(&group.last))
                }
                @for told in &group.listed { (disclosure(told)) }
                @let more = group.alerts.saturating_sub(group.listed.len() as u64);
                @if more > 0 {
                    p.more { "And " (number(more)) " more, less severe." }
                }
            }
        };
        Section { id: "alerts", title: "Alerts", body }
    }

    fn identifiers(&self) -> Section {
        let body = html! {
            @if self.identifiers.is_empty() { p { "No identifiers are known." } } @else {
                table.cards {
                    (caption("First those that last, were sent with visited pages, and are shared by applications."))
                    thead {
                        tr {
                            @for title in ["Identifier", "Lasts", "With visits", "Sent by", "Sent to"] {
                                th scope="col" { (title) }
                            }
                        }
                    }
                    tbody { @for identifier in &self.identifiers { (row(identifier)) } }
                }
                @if self.more_identifiers > 0 {
                    p.more { "And " (number(self.more_identifiers)) " more." }
                }
            }
        };
        Section { id: "identifiers", title: "Identifiers", body }
    }
}

impl Group {
    /// Returns the severity of the most severe alert.
    fn severity(&self) -> Option<Severity> {
        self.listed.iter().filter_map(|told| told.severity).max()
    }
}

fn when(when: &When) -> Markup {
    html! { time datetime=(when.utc) { (Shown(&when.local)) } }
}

fn badge(severity: Option<Severity>) -> Markup {
    html! {
        @if let Some(severity) = severity {
            span class={ "severity " (severity_class(severity)) } { (severity_word(severity)) }
        }
    }
}

fn disclosure(told: &Told) -> Markup {
    html! {
        details.disclosure {
            summary {
                span.ident { "#" (told.id) }
                span.what { (badge(told.severity)) " " bdi { (Shown(&told.subject)) } }
                span.when {
                    (when(&told.last))
                    @if told.occurrences > 1 { ", " (counted(told.occurrences, "time", "times")) }
                }
            }
            div.body {
                @if let Some(reason) = &told.reason { p { (Shown(reason)) "." } }
                dl.facts {
                    @if let Some(identifier) = &told.identifier {
                        div { dt { "With the identifier" } dd { (Shown(identifier)) } }
                    }
                    div { dt { "First sent" } dd { (when(&told.first)) } }
                    div { dt { "Last sent" } dd { (when(&told.last)) } }
                    @if told.private { div { dt { "Window" } dd { "private" } } }
                }
                @if !told.chain.is_empty() {
                    div.item {
                        h4 { "How it was encoded" }
                        ol.steps aria-label="From the request to the value" {
                            @for (i, step) in told.chain.iter().enumerate() {
                                li.value[i + 1 == told.chain.len()] { span.step { (Shown(step)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn row(identifier: &Identifier) -> Markup {
    html! {
        tr {
            th scope="row" {
                code { (Shown(&identifier.value)) }
                @if let Some(class) = &identifier.class { span.aside { (Shown(class)) } }
            }
            td data-label="Lasts" {
                @if identifier.lasts { span.life.adverse { "yes" } } @else { "not known" }
            }
            td data-label="With visits" {
                @if identifier.with_visits > 0 {
                    (counted(identifier.with_visits, "alert", "alerts"))
                } @else { span.none { "—" } }
            }
            td data-label="Sent by" { (names(&identifier.applications, MAX_NAMES)) }
            td data-label="Sent to" {
                (names(&identifier.recipients, MAX_NAMES))
                span.aside { (counted(identifier.requests, "request", "requests")) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "</bdi><i x=\"'\">&amp;\u{202e}\n";

    fn alerts(text: &str) -> Alerts {
        let when = || When { local: text.into(), utc: "2026-11-22T10:00:00.000Z".into() };
        let told = |id, severity| Told {
            id,
            severity: Some(severity),
            reason: Some(text.into()),
            subject: text.into(),
            identifier: Some(text.into()),
            chain: vec!["body".into(), text.into()],
            private: true,
            occurrences: 2,
            first: when(),
            last: when(),
        };
        let group = Group {
            culprit: text.into(),
            uid: 7,
            addressee: text.into(),
            alerts: 3,
            occurrences: 5,
            first: when(),
            last: when(),
            listed: vec![told(1, Severity::Critical), told(2, Severity::Medium)],
        };
        let identifier = Identifier {
            value: text.into(),
            class: Some(text.into()),
            lasts: true,
            with_visits: 1,
            requests: 4,
            applications: vec![text.into()],
            recipients: vec![text.into()],
        };
        Alerts {
            written: when(),
            selection: vec![text.into()],
            shows_values: false,
            groups: vec![group],
            beyond: 1,
            identifiers: vec![identifier],
            more_identifiers: 1,
        }
    }

    fn body(alerts: &Alerts) -> String {
        let page = alerts.document().into_string();
        let (_, body) = page.split_once("<body>").unwrap();
        body.to_owned()
    }

    #[test]
    fn no_text_becomes_markup() {
        let page = body(&alerts(HOSTILE));
        assert!(!page.contains("<i x") && !page.contains('\u{202e}'), "{page}");
        assert!(page.matches("&lt;/bdi&gt;").count() >= 15, "{page}");
    }

    #[test]
    fn the_page_loads_nothing_and_runs_nothing() {
        let page = alerts("x").document().into_string();
        assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'"));
        for tag in ["<script", "<link", "<img", "<iframe", " src=", " onclick", "url(", "@import"] {
            assert!(!page.contains(tag), "{tag}");
        }
        for link in page.split("href=\"").skip(1) {
            let id = link.strip_prefix('#').unwrap_or_else(|| panic!("{link:.40} leads out"));
            let (id, _) = id.split_once('"').unwrap();
            assert!(page.contains(&format!(" id=\"{id}\"")), "{id}");
        }
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let page = body(&alerts("x"));
        for text in [
            "4\u{a0}alerts, seen 6\u{a0}times, in 1\u{a0}pair",
            "And 1 more, less severe",
            "And 1\u{a0}alert of other senders",
            "And 1 more",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        let empty = body(&Alerts::default());
        assert!(empty.contains("No alert matches") && !empty.contains("<table"), "{empty}");
    }
}
