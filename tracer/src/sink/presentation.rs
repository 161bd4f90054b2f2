//! The presentation of alerts to people.

use std::collections::VecDeque;

use jiff::{Timestamp, tz::TimeZone};
use tracer_core::alert::{Alert, Notice, Style, printable, rfc3339, text};

/// Presentation of alerts as text.
#[derive(Debug, Clone, Default)]
pub enum Presentation {
    /// An alert in one line, with the time in UTC: for files, pipes and other programs.
    #[default]
    Line,
    /// Several short lines, with the local time: for terminals.
    Paragraph(Terminal),
}

/// The terminal for which paragraphs are formatted.
#[derive(Debug, Clone)]
pub struct Terminal {
    /// Number of columns.
    pub columns: usize,
    /// The time zone of times.
    pub zone: TimeZone,
}

/// Formats the alert stream as text.
#[derive(Debug, Default)]
pub struct Text {
    /// The style of lines.
    pub style: Style,
    /// The presentation of alerts.
    pub presentation: Presentation,
    /// Numbers of the latest alerts, and what each is about.
    latest: VecDeque<(u64, String)>,
}

/// Number of alerts whose subject is repeated when they occur again.
const REMEMBERED: usize = 1000;

impl Text {
    /// Creates a formatter.
    pub fn new(style: Style, presentation: Presentation) -> Self {
        Self { style, presentation, latest: VecDeque::new() }
    }

    /// Returns a notice as text, without a newline at its end.
    pub fn notice(&mut self, notice: &Notice) -> String {
        match notice {
            Notice::Alert { alert, .. } => {
                self.remember(alert);
                self.presentation.alert(alert, self.style)
            }
            Notice::Repeated { alert, count, total, unix } => {
                self.repeated(*alert, *count, *total, *unix)
            }
            Notice::Lost { loss, count, total } => {
                self.style.warn(&text::lost(*loss, *count, *total))
            }
        }
    }

    fn remember(&mut self, alert: &Alert) {
        let Some(number) = alert.alert else {
            return;
        };
        if self.latest.len() == REMEMBERED {
            self.latest.pop_front();
        }
        let sentence = text::culprit(alert) + " to " + &text::addressee(alert);
        self.latest.push_back((number, sentence));
    }

    fn repeated(&self, alert: u64, count: u64, total: u64, unix: Option<u64>) -> String {
        let mut line = text::repeated(alert, count, total);
        if let Some((_, sentence)) = self.latest.iter().rev().find(|(number, _)| *number == alert) {
            line = format!("{line}, {sentence}");
        }
        match &self.presentation {
            Presentation::Line => {
                let time = unix.map(|unix| self.style.dim(&rfc3339(unix)) + "  ");
                time.unwrap_or_default() + &line
            }
            Presentation::Paragraph(terminal) => {
                let time = unix.map(|unix| self.style.dim(&terminal.time(unix)) + "  ");
                terminal.wrap(&(time.unwrap_or_default() + &line), "")
            }
        }
    }
}

/// Indentation of the lines below the first one.
const INDENT: &str = "    ";

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// Minimum number of columns to wrap at.
const MIN_COLUMNS: usize = 24;

impl Terminal {
    /// Formats a time: `2026-11-30 14:02:11`.
    pub fn time(&self, unix: u64) -> String {
        let time = i64::try_from(unix / SECOND).ok().and_then(|s| Timestamp::from_second(s).ok());
        let local = time.map(|time| time.to_zoned_datetime(self.zone.clone()));
        local.map(|local| local.strftime("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
    }

    /// Formats a time in RFC 3339 in the local zone, or returns it as it is.
    fn local(&self, time: &str) -> String {
        let parsed = time.parse::<Timestamp>().ok();
        let unix = parsed.and_then(|time| u64::try_from(time.as_nanosecond()).ok());
        unix.map_or_else(|| printable(time), |unix| self.time(unix))
    }

    /// Wraps text at words, with an indentation. A word that is longer than a line, as URLs are,
    /// stays whole, so that it can be copied.
    pub fn wrap(&self, text: &str, indent: &str) -> String {
        let options = textwrap::Options::new(self.columns.max(MIN_COLUMNS))
            .initial_indent(indent)
            .subsequent_indent(indent)
            .word_splitter(textwrap::WordSplitter::NoHyphenation)
            .break_words(false);
        textwrap::fill(text, options)
    }
}

impl Presentation {
    /// Returns an alert in this form, without a newline at its end.
    pub fn alert(&self, alert: &Alert, style: Style) -> String {
        match self {
            Self::Line => text::alert(alert, style),
            Self::Paragraph(terminal) => paragraph(alert, style, terminal),
        }
    }
}

fn paragraph(alert: &Alert, style: Style, terminal: &Terminal) -> String {
    let time = alert.time.as_deref().map(|time| style.dim(&terminal.local(time)));
    let number = alert.alert.map(|number| style.dim(&format!("alert {number}")));
    let first: Vec<String> =
        [time, text::severity(alert, style), number].into_iter().flatten().collect();
    let sentence = text::culprit(alert) + &text::disclosure(alert, style) + &text::limits(alert);
    let mut place = format!("uid {}, pid {}", alert.process.uid, alert.process.pid);
    if let Some(chain) = text::chain(alert) {
        place = format!("{chain}  ({place})");
    }
    format!(
        "{}\n{}\n{}",
        first.join("  "),
        terminal.wrap(&sentence, INDENT),
        style.dim(&terminal.wrap(&place, INDENT))
    )
}

#[cfg(test)]
mod tests {
    use jiff::tz::{Offset, TimeZone};
    use tracer_core::alert::fixtures::alert;

    use super::*;

    fn terminal(columns: usize) -> Terminal {
        Terminal { columns, zone: TimeZone::fixed(Offset::constant(2)) }
    }

    #[test]
    fn an_alert_is_wrapped_at_words_in_local_time() {
        let mut alert = alert();
        alert.alert = Some(4);
        let shown = Presentation::Paragraph(terminal(40));
        assert_eq!(
            shown.alert(&alert, Style::default()),
            "2026-11-22 12:00:00  HIGH  alert 4\n    \
             browser told collector.example about\n    \
             https://news.example.org/story?q=private,\n    \
             visited 2 s before\n    \
             body > json.url  (uid 7, pid 8)"
        );
        let line = Presentation::Line.alert(&alert, Style::default());
        assert!(line.starts_with("2026-11-22T10:00:00.000Z  HIGH  browser (uid 7"), "{line}");
    }

    #[test]
    fn only_words_longer_than_a_line_exceed_the_width() {
        let alert = alert();
        for columns in [0, 24, 40, 80, 200] {
            let text = Presentation::Paragraph(terminal(columns)).alert(&alert, Style::default());
            for line in text.lines().skip(1) {
                let fits = line.chars().count() <= columns.max(MIN_COLUMNS);
                assert!(fits || line.split_whitespace().count() <= 2, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn the_colours_of_a_terminal_take_no_width() {
        let shown = Presentation::Paragraph(terminal(60));
        let plain = shown.alert(&alert(), Style::default());
        let coloured = shown.alert(&alert(), Style { colour: true });
        assert_eq!(plain.lines().count(), coloured.lines().count(), "{coloured}");
    }

    #[test]
    fn a_repetition_names_what_repeats() {
        let mut text = Text::default();
        let mut first = alert();
        first.alert = Some(4);
        text.remember(&first);
        let again = |alert| Notice::Repeated { alert, count: 2, total: 3, unix: Some(0) };
        assert_eq!(
            text.notice(&again(4)),
            "1970-01-01T00:00:00.000Z  again 2 times (3 in all): alert 4, browser to \
             collector.example"
        );
        assert!(text.notice(&again(5)).ends_with("alert 5"));
        for number in 100..100 + REMEMBERED as u64 {
            first.alert = Some(number);
            text.remember(&first);
        }
        assert_eq!(text.latest.len(), REMEMBERED);
        assert!(text.notice(&again(4)).ends_with("alert 4"));
    }

    #[test]
    fn a_time_that_cannot_be_parsed_is_shown_safely() {
        assert_eq!(terminal(80).local("\x1b[2J"), "\\u{1b}[2J");
    }
}
