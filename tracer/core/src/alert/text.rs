//! Alerts as lines for people.
//!
//! ```text
//! TIME  HIGH  browser (uid 10123, pid 4711) told HOST (maker) about URL, visited 2 s
//! before, with the identifier ‹5f2a91c0›, in a private window  CHAIN  (alert 4)
//! ```

use std::{collections::HashSet, fmt::Write as _, time::Duration};

use super::{Alert, Found, redact::Redactor, rfc3339};
use crate::{
    finding::{Category, Kind, Recipient, Severity, Visited},
    pipeline::Output,
};

/// How lines look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Style {
    /// With the terminal's colours.
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

    fn severity(self, severity: Severity) -> String {
        let code = match severity {
            Severity::Critical | Severity::High => Self::RED,
            Severity::Medium => Self::YELLOW,
            Severity::Low | Severity::Info => Self::DIM,
        };
        self.paint(code, severity.label())
    }
}

/// The line of an output; `None` for what is no alert.
pub fn line(output: &Output, style: Style, redactor: &Redactor) -> Option<String> {
    match output {
        Output::Request(decoded) => {
            decoded.is_alert().then(|| alert(&Alert::of(decoded).redacted(redactor), style))
        }
        Output::Repeated { alert, count, total, unix } => {
            let time = unix.map(|unix| style.paint(Style::DIM, &rfc3339(unix)) + "  ");
            let text = repeated(*alert, *count, *total);
            Some(time.unwrap_or_default() + &text)
        }
        Output::Lost { .. } => Some(style.paint(Style::YELLOW, &lost(output)?)),
    }
}

/// That an alert came again.
pub fn repeated(alert: u64, count: u64, total: u64) -> String {
    let times = if count == 1 { "time" } else { "times" };
    format!("again {count} {times} ({total} in all): alert {alert}")
}

/// That something was lost, if that is what the output says.
pub fn lost(output: &Output) -> Option<String> {
    match output {
        Output::Lost { loss, count, total } => {
            Some(format!("WARNING: {count} {} ({total} in total)", loss.explain()))
        }
        Output::Request(_) | Output::Repeated { .. } => None,
    }
}

/// The line of an alert, with its time and its number.
pub fn alert(alert: &Alert, style: Style) -> String {
    let mut line = String::new();
    if let Some(time) = &alert.time {
        line = style.paint(Style::DIM, &printable(time)) + "  ";
    }
    line += &told(alert, style);
    if let Some(number) = alert.alert {
        line += &style.paint(Style::DIM, &format!("  (alert {number})"));
    }
    line
}

/// Who told whom what, how bad that is, and how it was wrapped.
pub fn told(alert: &Alert, style: Style) -> String {
    let mut line = String::new();
    if let Some(severity) = alert.severity {
        line = style.severity(severity) + "  ";
    }
    let name = printable(&alert.application);
    // Writing to a string cannot fail.
    let _ = write!(line, "{name} (uid {}, pid {})", alert.process.uid, alert.process.pid);
    let _ = write!(line, " told {}", style.paint(Style::BOLD, &printable(&alert.host())));
    line += &recipient(&alert.content.recipient);

    let grave = alert.grave();
    let Some(main) = grave.iter().min_by_key(|found| rank(found.kind)) else {
        return line;
    };
    line += &what(main, style);
    // Other findings of the same value are the same news.
    let others = grave.iter().filter(|found| found.kind == main.kind && found.value != main.value);
    let others = others.map(|found| &found.value).collect::<HashSet<_>>().len();
    if others > 0 {
        let _ = write!(line, " and {others} more");
    }
    line += &when(main);
    line += &who(alert, main);
    if alert.content.private == Some(true) {
        line += ", in a private window";
    }
    let _ = write!(line, "  {}", style.paint(Style::DIM, &printable(&main.chain)));
    line
}

/// Which finding a line is about, if several are equally bad: the lower, the
/// sooner.
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

/// What a recipient is to the browser, in brackets; nothing where that is
/// nothing in particular.
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
        Recipient::SameSite | Recipient::ThirdParty | Recipient::Unknown => String::new(),
    }
}

fn what(found: &Found, style: Style) -> String {
    let cut = if found.truncated { "… (cut)" } else { "" };
    let value = style.paint(Style::BOLD, &printable(&found.value)) + cut;
    let class = found.class.as_deref().map(|class| format!(" ({})", printable(class)));
    let class = class.unwrap_or_default();
    match found.kind {
        Kind::Url | Kind::UrlToUnknown => format!(" about {value}"),
        Kind::VisitedUrlHash => match &found.visited {
            Some(Visited::Page { url, .. }) => {
                let url = style.paint(Style::BOLD, &printable(url));
                format!(" a hash{class} of {url}: {value}")
            }
            _ => format!(" a hash{class} of a visited URL: {value}"),
        },
        Kind::SearchTerms => format!(" what was searched for: {value}"),
        Kind::TypedText => format!(" what was typed: {value}"),
        Kind::PageText => format!(" what a page says: {value}"),
        Kind::UiEvent => format!(" what was done in the interface: {value}"),
        Kind::ContentItem => format!(" which item was seen: {value}"),
        Kind::Identifier => format!(" an identifier{class}: {value}"),
        Kind::PersonalDetail => format!(" a personal detail{class}: {value}"),
        Kind::Referer | Kind::Origin => format!(" which page it comes from: {value}"),
    }
}

/// How long before the page was visited.
fn when(found: &Found) -> String {
    match &found.visited {
        Some(Visited::Page { ago, .. }) => format!(", visited {} before", short(*ago)),
        Some(Visited::Host { ago, .. }) => format!(", a site visited {} before", short(*ago)),
        Some(Visited::No | Visited::Unknown) | None => String::new(),
    }
}

/// The identifier that goes with it: the one that lasts longest.
fn who(alert: &Alert, main: &Found) -> String {
    let identifiers = alert.content.findings.iter().filter(|found| found.kind == Kind::Identifier);
    // Of several, the first.
    let best = identifiers.rev().max_by_key(|found| found.identification);
    best.filter(|_| main.kind != Kind::Identifier)
        .map(|found| format!(", with the identifier {}", printable(&found.value)))
        .unwrap_or_default()
}

/// A duration in one unit: nobody needs it to the millisecond.
fn short(duration: Duration) -> String {
    match duration.as_secs() {
        0 => format!("{} ms", duration.as_millis()),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// Text from the network, fit for a terminal: control characters (which could
/// move the cursor or change colours) and bidirectional overrides are shown as
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
        finding::{Identification, Scope},
    };

    fn plain(alert: &Alert) -> String {
        super::alert(alert, Style::default())
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
        known.severity = Some(Severity::Info);
        let lasting = Found {
            identification: Some(Identification::Lasting),
            value: "last".into(),
            ..known.clone()
        };
        alert.content.findings.extend([known, lasting]);
        assert_eq!(
            plain(&alert),
            "2026-11-22T10:00:00.000Z  HIGH  browser (uid 7, pid 8) told collector.example \
             (Maker, its maker) about https://news.example.org/story?q=private, visited 2 s \
             before, with the identifier last, in a private window  body > json.url  (alert 4)"
        );
    }

    #[test]
    fn only_what_is_as_bad_as_the_alert_is_told() {
        let mut alert = example();
        let grave = alert.content.findings[0].clone();
        let harmless = Found { severity: Some(Severity::Info), value: "x".into(), ..grave.clone() };
        let twice = Found { chain: "header:X".into(), ..grave.clone() };
        let other = Found { value: "https://a.test/".into(), ..grave.clone() };
        alert.content.findings = vec![harmless, grave, twice, other];
        let line = plain(&alert);
        assert!(line.contains("q=private and 1 more, visited"), "{line}");

        // Where nothing was judged for itself, URLs are what it is about.
        for found in &mut alert.content.findings {
            found.severity = None;
        }
        assert!(plain(&alert).contains("about x and 2 more"), "{}", plain(&alert));
        alert.content.findings.clear();
        assert!(plain(&alert).ends_with("told collector.example"), "{}", plain(&alert));
    }

    #[test]
    fn every_kind_reads_well() {
        let line = |found: Found| {
            let mut alert = example();
            alert.content.findings = vec![found];
            let line = plain(&alert);
            let (_, said) = line.split_once("told collector.example ").unwrap();
            said.strip_suffix("  body > json.url").unwrap().to_owned()
        };
        let classed = |kind, class: &str| Found { class: Some(class.into()), ..found(kind, "v") };
        assert_eq!(line(found(Kind::TypedText, "v")), "what was typed: v");
        assert_eq!(line(found(Kind::SearchTerms, "v")), "what was searched for: v");
        assert_eq!(line(found(Kind::PageText, "v")), "what a page says: v");
        assert_eq!(line(found(Kind::UiEvent, "v")), "what was done in the interface: v");
        assert_eq!(line(found(Kind::ContentItem, "v")), "which item was seen: v");
        assert_eq!(line(classed(Kind::Identifier, "uuid")), "an identifier (uuid): v");
        assert_eq!(line(classed(Kind::PersonalDetail, "imei")), "a personal detail (imei): v");
        assert_eq!(line(classed(Kind::VisitedUrlHash, "md5")), "a hash (md5) of a visited URL: v");
        let ago = Duration::from_secs(300);
        let visited = Some(Visited::Page { url: "https://a.test/".into(), ago });
        let hash = Found { visited, ..classed(Kind::VisitedUrlHash, "md5") };
        assert_eq!(line(hash), "a hash (md5) of https://a.test/: v, visited 5 min before");
        let visited = Some(Visited::Host { host: "a.test".into(), ago: Duration::from_millis(9) });
        let host = Found { visited, scope: Some(Scope::Host), ..found(Kind::Url, "a.test") };
        assert_eq!(line(host), "about a.test, a site visited 9 ms before");
        let cut = Found { truncated: true, ..found(Kind::Url, "https://a.test/x") };
        assert_eq!(line(cut), "about https://a.test/x… (cut)");
    }

    #[test]
    fn repetition_and_loss_are_shown() {
        let shown = |output| line(&output, Style::default(), &Redactor::off());
        let again = Output::Repeated { alert: 4, count: 12, total: 37, unix: Some(0) };
        assert_eq!(
            shown(again).unwrap(),
            "1970-01-01T00:00:00.000Z  again 12 times (37 in all): alert 4"
        );
        let once = Output::Repeated { alert: 1, count: 1, total: 2, unix: None };
        assert_eq!(shown(once).unwrap(), "again 1 time (2 in all): alert 1");
        let lost = Output::Lost { loss: crate::record::Loss::RingFull, count: 1, total: 2 };
        assert!(shown(lost).unwrap().starts_with("WARNING: 1 sends lost: "));
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
