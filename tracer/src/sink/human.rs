//! Alerts as lines for people.

use std::{
    fmt::Write as _,
    path::Path,
    time::{Duration, UNIX_EPOCH},
};

use super::redact::Redactor;
use crate::{
    detect::Kind,
    judge::{Severity, verdict},
    pipeline::{Decoded, Output},
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
            Severity::High => Self::RED,
            Severity::Info => Self::DIM,
        };
        self.paint(code, severity.label())
    }
}

/// The line of an output; `None` for what is no alert.
pub(super) fn line(output: &Output, style: &Style, redactor: &Redactor) -> Option<String> {
    match output {
        Output::Request(decoded) => decoded.is_alert().then(|| alert(decoded, style, redactor)),
        Output::Lost { loss, count, total } => {
            let text = format!("LOST {count} {} ({total} in all)", loss.explain());
            Some(style.paint(Style::YELLOW, &text))
        }
    }
}

fn alert(decoded: &Decoded, style: &Style, redactor: &Redactor) -> String {
    let request = &decoded.sent.message;
    let process = &decoded.sent.process;
    let mut line = String::new();
    if let Some(unix) = decoded.unix {
        let time = UNIX_EPOCH + Duration::from_nanos(unix);
        let time = humantime::format_rfc3339_millis(time).to_string();
        line = style.paint(Style::DIM, &time) + "  ";
    }
    if let Some(verdict) = decoded.verdict {
        line += &style.severity(verdict.severity);
    }
    let name = decoded.exe.as_deref().and_then(|exe| Path::new(exe).file_name()?.to_str());
    let name = printable(name.unwrap_or(&process.comm));
    // Writing to a string cannot fail.
    let _ = write!(line, "  {name} (uid {}, pid {})", process.uid, process.tgid);

    let head_cut = request.head_cut.is_some();
    let urls: Vec<_> = decoded
        .findings
        .list
        .iter()
        .filter(|f| f.kind == Kind::Url)
        .filter(|f| verdict(f, decoded.initiator, head_cut).severity >= Severity::High)
        .collect();
    let to = match (&request.authority, decoded.sent.connection.remote) {
        (Some(authority), _) => printable(authority),
        (None, Some(remote)) => remote.to_string(),
        (None, None) => "an unknown host".into(),
    };
    let _ = write!(line, " told {}", style.paint(Style::BOLD, &to));
    if let Some(first) = urls.first() {
        let url = style.paint(Style::BOLD, &printable(&redactor.url(&first.value)));
        let _ = write!(line, " about {url}");
        if first.truncated {
            line.push_str("… (cut)");
        }
        // Other findings of the same URL are the same news.
        let others: std::collections::HashSet<_> =
            urls.iter().map(|f| &f.value).filter(|value| **value != first.value).collect();
        if !others.is_empty() {
            let _ = write!(line, " and {} more", others.len());
        }
        let _ = write!(line, "  {}", style.paint(Style::DIM, &printable(&first.chain)));
    }
    line
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

    #[test]
    fn nothing_from_the_network_reaches_the_terminal_raw() {
        assert_eq!(printable("a\x1b[31mb\r\n"), "a\\u{1b}[31mb\\u{d}\\u{a}");
        assert_eq!(printable("\u{202e}x"), "\\u{202e}x");
        assert!(printable(&"x".repeat(10_000)).chars().count() <= 401);
    }
}
