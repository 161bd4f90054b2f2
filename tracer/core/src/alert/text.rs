//! Notices as lines of text.
//!
//! ```text
//! TIME  HIGH  browser (uid 10123, pid 4711) told HOST (maker) about URL, visited 2 s
//! before, with the identifier ‹5f2a91c0›, in a private window  CHAIN  (alert 4)
//! ```

use std::{collections::HashSet, fmt::Write as _, time::Duration};

use super::{Alert, FindingReport};
use crate::{
    finding::{Category, Kind, Recipient, Sender, Severity, UrlRole, Visited},
    record::Loss,
    wording::counted,
};

/// Style of lines.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// Set for the colours of a terminal.
    pub colour: bool,
}

impl Style {
    const RED: &'static str = "\x1b[1;31m";
    const YELLOW: &'static str = "\x1b[33m";
    const DIM: &'static str = "\x1b[2m";
    const BOLD: &'static str = "\x1b[1m";

    fn paint(self, code: &str, text: &str) -> String {
        if self.colour { format!("{code}{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Marks a warning.
    pub fn warn(self, text: &str) -> String {
        self.paint(Self::YELLOW, text)
    }

    /// Dims text that matters less.
    pub fn dim(self, text: &str) -> String {
        self.paint(Self::DIM, text)
    }

    fn severity(self, severity: Severity) -> String {
        let code = match severity {
            Severity::Critical | Severity::High => Self::RED,
            Severity::Medium => Self::YELLOW,
            Severity::Low | Severity::Info => Self::DIM,
        };
        self.paint(code, severity.label())
    }
}

/// Returns the text about repetitions of an alert.
pub fn repeated(alert: u64, count: u64, total: u64) -> String {
    format!("again {} ({total} in all): alert {alert}", counted(count, "time"))
}

/// Returns the text about lost sends.
pub fn lost(loss: Loss, count: u64, total: u64) -> String {
    format!("WARNING: {} ({total} in total)", loss.explain(count))
}

/// Returns the line of an alert, with its time and its number.
pub fn alert(alert: &Alert, style: Style) -> String {
    let mut line = String::new();
    if let Some(time) = &alert.time {
        line = style.paint(Style::DIM, &printable(time)) + "  ";
    }
    line += &message(alert, style);
    if let Some(number) = alert.alert {
        line += &style.paint(Style::DIM, &format!("  (alert {number})"));
    }
    line
}

/// Returns the line of an alert without its time and its number.
pub fn message(alert: &Alert, style: Style) -> String {
    let mut line = severity(alert, style).map(|severity| severity + "  ").unwrap_or_default();
    // Writing to a string cannot fail.
    let _ =
        write!(line, "{} (uid {}, pid {})", culprit(alert), alert.process.uid, alert.process.pid);
    line += &disclosure(alert, style);
    if let Some(chain) = chain(alert) {
        let _ = write!(line, "  {}", style.paint(Style::DIM, &chain));
    }
    line + &limits(alert)
}

/// Returns the severity of an alert in its colour.
pub fn severity(alert: &Alert, style: Style) -> Option<String> {
    alert.severity.map(|severity| style.severity(severity))
}

/// Returns the rest of the sentence that begins with the [`culprit`]: what was disclosed, to whom,
/// and under which identifier.
pub fn disclosure(alert: &Alert, style: Style) -> String {
    let main = main_finding(alert);
    let verb = match main.map(|finding| finding.kind) {
        Some(Kind::Url | Kind::UrlToUnknown) => "told",
        _ => "sent",
    };
    let mut text = format!(" {verb} {}{}", host(alert, style), recipient(&alert.content.recipient));
    let Some(main) = main else {
        return text;
    };
    text += &disclosed(main, style);
    // Findings of the same value add nothing.
    let severe = alert.most_severe_findings().into_iter();
    let others = severe.filter(|other| other.kind == main.kind && other.value != main.value);
    let others = others.map(|other| &other.value).collect::<HashSet<_>>().len();
    if others > 0 {
        let _ = write!(text, " and {others} more");
    }
    text += &visit(main);
    if let Some(identifier) = identifier(alert) {
        let _ = write!(text, ", with the identifier {identifier}");
    }
    if alert.content.private == Some(true) {
        text += ", in a private window";
    }
    text
}

/// Returns the host that received the request of an alert, and how it is known.
fn host(alert: &Alert, style: Style) -> String {
    let name = style.paint(Style::BOLD, &printable(&alert.host()));
    match &alert.content.derived_host {
        Some(host) => format!("{name} ({})", host.from.describe()),
        None => name,
    }
}

/// Returns the host that received the request of an alert, with the owner or the kind of the host.
pub fn addressee(alert: &Alert) -> String {
    host(alert, Style::default()) + &recipient(&alert.content.recipient)
}

/// Returns what an alert is about, without the recipient.
pub fn subject(alert: &Alert, style: Style) -> String {
    let Some(main) = main_finding(alert) else {
        return "a request".to_owned();
    };
    disclosed(main, style).trim_start().to_owned() + &visit(main)
}

/// Returns the steps from the request to the main finding.
pub fn chain(alert: &Alert) -> Option<String> {
    main_finding(alert).map(|main| printable(&main.chain))
}

/// Returns the limits that an alert reached, in brackets.
pub fn limits(alert: &Alert) -> String {
    let mut text = String::new();
    if alert.content.limited {
        text += " (too costly to read to the end)";
    }
    if alert.content.shortened {
        text += " (shortened)";
    }
    text
}

/// Returns the finding that a line is about: the first by [`rank`] of the most severe ones.
fn main_finding(alert: &Alert) -> Option<&FindingReport> {
    alert.most_severe_findings().into_iter().min_by_key(|finding| rank(finding.kind))
}

/// Names who sent the request, and by which application.
pub fn culprit(alert: &Alert) -> String {
    let name = printable(&alert.application);
    match (alert.content.sender, &alert.content.extension) {
        (Sender::Extension, Some(id)) => match &alert.content.extension_name {
            Some(known) => {
                let id = alert.content.extension_addon.as_ref().unwrap_or(id);
                format!("extension \"{}\" ({}) in {name}", printable(known), printable(id))
            }
            None => format!("extension {} in {name}", printable(id)),
        },
        (Sender::Extension, None) => format!("an extension in {name}"),
        (Sender::Page | Sender::Navigation, _) => format!("a page in {name}"),
        (Sender::Browser | Sender::Unknown, _) => name,
    }
}

/// Returns the rank of a kind. Of equally severe findings, a line is about the one
/// with the lowest rank.
fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Url => 0,
        Kind::VisitedUrlHash => 1,
        Kind::TypedText => 2,
        Kind::SearchTerms => 3,
        Kind::PageText => 4,
        Kind::ContentItem => 5,
        Kind::UiEvent => 6,
        Kind::PersonalDetail => 7,
        Kind::UrlToUnknown => 8,
        Kind::Identifier => 9,
        Kind::Referer => 10,
        Kind::Origin => 11,
    }
}

/// Describes a known recipient, in brackets.
fn recipient(recipient: &Recipient) -> String {
    match recipient {
        Recipient::Maker { name } => format!(" ({}, its maker)", printable(name)),
        Recipient::Service { name, category } => {
            let category = match category {
                Category::Analytics => "analytics",
                Category::Advertising => "advertising",
                Category::Crashes => "crash reports",
                Category::Search => "search",
                Category::SafeBrowsing => "safe browsing",
                Category::Updates => "updates",
            };
            format!(" ({}, {category})", printable(name))
        }
        Recipient::Local => " (this machine or the local network)".to_owned(),
        Recipient::SameSite | Recipient::ThirdParty | Recipient::Unknown => String::new(),
    }
}

/// Returns the object of the sentence: what was disclosed.
fn disclosed(finding: &FindingReport, style: Style) -> String {
    let cut = if finding.truncated { "… (cut)" } else { "" };
    let value = style.paint(Style::BOLD, &printable(&finding.value)) + cut;
    let class = finding.class.as_deref().map(|class| format!(" ({})", printable(class)));
    let class = class.unwrap_or_default();
    match finding.kind {
        Kind::Url | Kind::UrlToUnknown => format!(" about {value}"),
        Kind::VisitedUrlHash => match &finding.visited {
            Some(Visited::Page { url, .. }) => {
                let url = style.paint(Style::BOLD, &printable(url));
                format!(" a hash{class} of {url}: {value}")
            }
            _ => format!(" a hash{class} of a visited URL: {value}"),
        },
        Kind::SearchTerms => format!(" search terms: {value}"),
        Kind::TypedText => format!(" typed text: {value}"),
        Kind::PageText => format!(" text of a page: {value}"),
        Kind::UiEvent => format!(" an action in the interface: {value}"),
        Kind::ContentItem => format!(" an item that was viewed: {value}"),
        Kind::Identifier => format!(" an identifier{class}: {value}{}", lifetime(finding)),
        Kind::PersonalDetail => format!(" a personal detail{class}: {value}"),
        Kind::Referer | Kind::Origin => format!(" the page that it comes from: {value}"),
    }
}

/// Returns the time of the visit that a finding is about.
fn visit(finding: &FindingReport) -> String {
    match &finding.visited {
        Some(Visited::Page { ago, .. }) => format!(", visited {} before", short(*ago)),
        Some(Visited::Host { ago, .. }) => format!(", a site visited {} before", short(*ago)),
        // Only its place says what the URL is.
        Some(Visited::No | Visited::Unknown) | None => {
            let role = finding.role.and_then(UrlRole::label);
            role.map_or_else(String::new, |role| format!(", by its place {role}"))
        }
    }
}

/// Returns the identifier that was sent with what an alert is about, and its lifetime: the first of
/// those that identify best. `None` if the alert is about an identifier.
pub fn identifier(alert: &Alert) -> Option<String> {
    let findings = alert.content.findings.iter();
    let identifiers = findings.filter(|finding| finding.kind == Kind::Identifier);
    let best = identifiers.rev().max_by_key(|finding| finding.identification);
    best.filter(|_| main_finding(alert).is_some_and(|main| main.kind != Kind::Identifier))
        .map(|finding| printable(&finding.value) + &lifetime(finding))
}

/// Returns the lifetime of an identifier and the reason for it, in brackets.
fn lifetime(finding: &FindingReport) -> String {
    let Some(lifetime) = finding.lifetime else {
        return String::new();
    };
    let reason = finding.lifetime_reason.as_deref().unwrap_or_default();
    // The reason follows a colon, unless its first word is an abbreviation.
    let mut chars = reason.chars();
    let reason = match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            format!(": {}{}", first.to_lowercase(), &reason[first.len_utf8()..])
        }
        (Some(_), _) => format!(": {reason}"),
        (None, _) => String::new(),
    };
    format!(" ({}{})", lifetime.describe(), printable(&reason))
}

/// Formats a duration in one unit.
fn short(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// Makes text from the network safe for a terminal: control characters, which
/// could move the cursor or change colours, and bidirectional overrides become
/// escapes, and long text is cut.
pub fn printable(text: &str) -> String {
    const MAX: usize = 400;
    let mut shown = String::new();
    for (i, c) in text.chars().enumerate() {
        if i == MAX {
            shown.push('…');
            break;
        }
        let override_ = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if c.is_control() || override_ {
            shown.extend(c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        alert::fixtures::{alert as example, found},
        finding::{Identification, Lifetime, Scope},
        judge::{DerivedHost, HostSource},
    };

    fn plain(alert: &Alert) -> String {
        super::alert(alert, Style::default())
    }

    #[test]
    fn a_url_without_a_visit_has_the_role_of_its_place() {
        let mut alert = example();
        alert.content.findings[0].visited = Some(Visited::Unknown);
        alert.content.findings[0].role = Some(UrlRole::Page);
        let text = plain(&alert);
        assert!(text.contains("?q=private, by its place a page that was looked at"), "{text}");
        alert.content.findings[0].role = Some(UrlRole::Unknown);
        assert!(!plain(&alert).contains("by its place"));
    }

    #[test]
    fn the_whole_story_is_in_one_line() {
        let mut alert = example();
        alert.alert = Some(4);
        alert.content.private = Some(true);
        alert.content.recipient = Recipient::Maker { name: "Maker".into() };
        let ago = Duration::from_millis(2400);
        let url = "https://news.example.org/story".to_owned();
        alert.content.findings[0].visited = Some(Visited::Page { url, ago });
        let mut known = found(Kind::Identifier, "0123456789abcdef");
        known.severity = Severity::Info;
        let lasting = FindingReport {
            identification: Some(Identification::Lasting),
            lifetime: Some(Lifetime::Lasting),
            lifetime_reason: Some("The number of the device".into()),
            value: "last".into(),
            ..known.clone()
        };
        alert.content.findings.extend([known, lasting]);
        assert_eq!(
            plain(&alert),
            "2026-11-22T10:00:00.000Z  HIGH  browser (uid 7, pid 8) told collector.example \
             (Maker, its maker) about https://news.example.org/story?q=private, visited 2 s \
             before, with the identifier last (lasting: the number of the device), in a \
             private window  body > json.url  (alert 4)"
        );
    }

    #[test]
    fn the_sender_is_named_first() {
        let line = |sender, extension: Option<&str>| {
            let mut alert = example();
            alert.content.sender = sender;
            alert.content.extension = extension.map(str::to_owned);
            plain(&alert).split("  ").nth(2).unwrap().to_owned()
        };
        let told = |culprit: &str| format!("{culprit} (uid 7, pid 8) told collector.example");
        let id = Some("abcdefghijklmnop");
        let begins = |line: String, culprit| assert!(line.starts_with(&told(culprit)), "{line}");
        begins(line(Sender::Extension, id), "extension abcdefghijklmnop in browser");
        begins(line(Sender::Extension, None), "an extension in browser");
        let mut alert = example();
        alert.content.sender = Sender::Extension;
        alert.content.extension = id.map(str::to_owned);
        alert.content.extension_name = Some("A\u{202e} name".into());
        let named = "HIGH  extension \"A\\u{202e} name\" (abcdefghijklmnop) in browser (uid";
        assert!(plain(&alert).contains(named), "{}", plain(&alert));
        alert.content.extension_addon = Some("a@b.test".into());
        let named = "extension \"A\\u{202e} name\" (a@b.test) in browser (uid";
        assert!(plain(&alert).contains(named), "{}", plain(&alert));
        begins(line(Sender::Page, None), "a page in browser");
        begins(line(Sender::Browser, None), "browser");
    }

    #[test]
    fn only_findings_as_severe_as_the_alert_are_named() {
        let mut alert = example();
        let grave = alert.content.findings[0].clone();
        let harmless =
            FindingReport { severity: Severity::Info, value: "x".into(), ..grave.clone() };
        let twice = FindingReport { chain: "header:X".into(), ..grave.clone() };
        let other = FindingReport { value: "https://a.test/".into(), ..grave.clone() };
        alert.content.findings = vec![harmless, grave, twice, other];
        let line = plain(&alert);
        assert!(line.contains("q=private and 1 more, visited"), "{line}");

        alert.content.findings.clear();
        assert!(plain(&alert).ends_with("sent collector.example"), "{}", plain(&alert));
    }

    #[test]
    fn every_kind_has_its_words() {
        let line = |found: FindingReport| {
            let mut alert = example();
            alert.content.findings = vec![found];
            let line = plain(&alert);
            let (_, said) = line.split_once(" collector.example ").unwrap();
            said.strip_suffix("  body > json.url").unwrap().to_owned()
        };
        let classed =
            |kind, class: &str| FindingReport { class: Some(class.into()), ..found(kind, "v") };
        assert_eq!(line(found(Kind::TypedText, "v")), "typed text: v");
        assert_eq!(line(found(Kind::SearchTerms, "v")), "search terms: v");
        assert_eq!(line(found(Kind::PageText, "v")), "text of a page: v");
        assert_eq!(line(found(Kind::UiEvent, "v")), "an action in the interface: v");
        assert_eq!(line(found(Kind::ContentItem, "v")), "an item that was viewed: v");
        assert_eq!(line(classed(Kind::Identifier, "uuid")), "an identifier (uuid): v");
        assert_eq!(line(classed(Kind::PersonalDetail, "imei")), "a personal detail (imei): v");
        assert_eq!(line(classed(Kind::VisitedUrlHash, "md5")), "a hash (md5) of a visited URL: v");
        let ago = Duration::from_secs(300);
        let visited = Some(Visited::Page { url: "https://a.test/".into(), ago });
        let hash = FindingReport { visited, ..classed(Kind::VisitedUrlHash, "md5") };
        assert_eq!(line(hash), "a hash (md5) of https://a.test/: v, visited 5 min before");
        let visited = Some(Visited::Host { host: "a.test".into(), ago: Duration::from_millis(9) });
        let host =
            FindingReport { visited, scope: Some(Scope::Host), ..found(Kind::Url, "a.test") };
        assert_eq!(line(host), "about a.test, a site visited 9 ms before");
        let cut = FindingReport { truncated: true, ..found(Kind::Url, "https://a.test/x") };
        assert_eq!(line(cut), "about https://a.test/x… (cut)");
    }

    #[test]
    fn a_derived_host_is_marked() {
        let mut alert = example();
        alert.content.request.authority = None;
        let name = "collector.example".to_owned();
        alert.content.derived_host = Some(DerivedHost { name, from: HostSource::ServerName });
        let line = plain(&alert);
        let told = "told collector.example (by the connection's server name) about https://";
        assert!(line.contains(told), "{line}");
    }

    #[test]
    fn repetitions_and_losses_have_lines() {
        assert_eq!(repeated(4, 12, 37), "again 12 times (37 in all): alert 4");
        assert_eq!(repeated(1, 1, 2), "again 1 time (2 in all): alert 1");
        assert!(lost(Loss::RingFull, 1, 2).starts_with("WARNING: 1 send lost: "));
    }

    #[test]
    fn nothing_from_the_network_reaches_the_terminal_raw() {
        assert_eq!(printable("a\x1b[31mb\r\n"), "a\\u{1b}[31mb\\u{d}\\u{a}");
        assert_eq!(printable("\u{202e}x"), "\\u{202e}x");
        assert!(printable(&"x".repeat(10_000)).chars().count() <= 401);
        let mut alert = example();
        let hostile = "\x1b]0;\u{202e}\n";
        alert.time = Some(hostile.into());
        alert.application = hostile.into();
        alert.content.request.authority = Some(hostile.into());
        alert.content.recipient = Recipient::Maker { name: hostile.into() };
        let finding = &mut alert.content.findings[0];
        (finding.value, finding.chain) = (hostile.into(), hostile.into());
        let line = plain(&alert);
        assert!(!line.chars().any(|c| c.is_control() || c == '\u{202e}'), "{line:?}");
    }
}
