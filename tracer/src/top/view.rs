//! Draws the model.
//!
//! ```text
//! state, numbers                     one line
//! applications and their recipients  side by side with the requests on wide screens
//! requests, or one in full
//! keys                               one line
//! ```
//!
//! Colours are the sixteen of every terminal, and everything that they show is also in words.

use jiff::{Timestamp, tz::TimeZone};
use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::{Line, Span},
    widgets::Widget as _,
};
use tracer_core::{finding::Severity, wording::counted};

use super::{
    model::{Count, Entry, Found, Model, Row, Source},
    ui::{Pane, Ui},
};

/// Width from which the lists are side by side.
const WIDE: u16 = 110;

/// Width below which less is shown of each row.
const NARROW: u16 = 60;

/// Maximum indentation of a step of a chain.
const MAX_INDENT: usize = 12;

/// Settings of the picture.
#[derive(Debug, Clone)]
pub(crate) struct Look {
    /// Set for colours.
    pub(crate) colour: bool,
    /// The time zone of times.
    pub(crate) zone: TimeZone,
}

/// The keys, as the help shows them.
const KEYS: [(&str, &str); 9] = [
    ("q, Ctrl-C", "end, and print the summary"),
    ("Tab", "change between the lists"),
    ("arrows, PgUp, PgDn, Home, End", "move; below the last request, the list follows the latest"),
    ("Enter", "on a request: all about it, with the steps of its encoding"),
    ("Enter", "on an application or recipient: only its requests"),
    ("Esc", "back"),
    ("a", "only alerts, or all requests"),
    ("Space", "hold a recording, or go on"),
    ("?", "this help"),
];

/// Draws everything into an area, and limits what was scrolled to the length of the text.
pub(crate) fn draw(model: &Model, ui: &mut Ui, look: &Look, area: Rect, buffer: &mut Buffer) {
    let [top, body, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(if area.height > 4 { 1 } else { 0 }),
    ])
    .areas(area);
    state(model, look).render(top, buffer);
    keys(ui, bottom.width, look).render(bottom, buffer);
    if ui.help {
        help(look, body, buffer);
        return;
    }
    let (applications, requests) = if body.width >= WIDE {
        let [left, right] =
            Layout::horizontal([Constraint::Percentage(42), Constraint::Fill(1)]).areas(body);
        (Rect { width: left.width.saturating_sub(1), ..left }, right)
    } else {
        let rows = u16::try_from(model.rows().len()).unwrap_or(u16::MAX).saturating_add(1);
        let most = (body.height * 2 / 5).max(2);
        let [upper, lower] =
            Layout::vertical([Constraint::Length(rows.min(most)), Constraint::Fill(1)]).areas(body);
        (upper, lower)
    };
    // In full, a request needs all of a small screen.
    if ui.detail && body.width < WIDE {
        detail(model, ui, look, body, buffer);
        return;
    }
    table(model, ui, look, applications, buffer);
    if ui.detail {
        detail(model, ui, look, requests, buffer);
    } else {
        list(model, ui, look, requests, buffer);
    }
}

impl Look {
    fn colour(&self, colour: Color) -> Style {
        if self.colour { Style::new().fg(colour) } else { Style::new() }
    }

    fn severity(&self, severity: Option<Severity>) -> Style {
        match severity {
            Some(Severity::Critical | Severity::High) => {
                self.colour(Color::Red).add_modifier(Modifier::BOLD)
            }
            Some(Severity::Medium) => self.colour(Color::Yellow).add_modifier(Modifier::BOLD),
            Some(Severity::Low | Severity::Info) | None => Style::new(),
        }
    }

    fn heading(&self, focused: bool) -> Style {
        let style = self.colour(Color::Cyan).add_modifier(Modifier::UNDERLINED);
        if focused { style.add_modifier(Modifier::BOLD) } else { style }
    }

    /// Formats a time of day.
    fn time(&self, unix: Option<u64>, format: &str) -> String {
        let seconds = unix.and_then(|unix| i64::try_from(unix / 1_000_000_000).ok());
        let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let local = time.map(|time| time.to_zoned_datetime(self.zone.clone()));
        local.map(|local| local.strftime(format).to_string()).unwrap_or_default()
    }
}

/// Returns the line of the state.
fn state(model: &Model, look: &Look) -> Line<'static> {
    let source = match model.source() {
        Source::Starting => "starting".to_owned(),
        Source::Watching => "watching".to_owned(),
        Source::Replaying { percent, paused: false } => format!("replay {percent}%"),
        Source::Replaying { percent, paused: true } => format!("held at {percent}%"),
        Source::Ended => "end of the recording".to_owned(),
    };
    let totals = model.totals();
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut parts = vec![
        Span::styled("tracer ", bold),
        Span::raw(source),
        Span::raw(format!("  {}  ", counted(totals.requests, "request"))),
        Span::styled(
            counted(totals.alerts, "alert"),
            if totals.alerts > 0 { look.severity(Some(Severity::High)) } else { Style::new() },
        ),
    ];
    let warn = look.colour(Color::Yellow).add_modifier(Modifier::BOLD);
    if model.lost() > 0 {
        parts.push(Span::styled(format!("  {} LOST", counted(model.lost(), "send")), warn));
    }
    if model.waiting() > 0 {
        parts.push(Span::styled(format!("  {} waiting", counted(model.waiting(), "send")), warn));
    }
    if totals.repeated > 0 {
        parts.push(Span::raw(format!("  {} repeated", totals.repeated)));
    }
    if totals.by_pages > 0 {
        parts.push(Span::raw(format!("  {} by pages", totals.by_pages)));
    }
    Line::from(parts)
}

/// Returns the line of the keys.
fn keys(ui: &Ui, width: u16, look: &Look) -> Line<'static> {
    let short = width < NARROW;
    let (back, enter, alerts) = match (ui.detail, ui.only_alerts) {
        (true, _) => ("Esc back", "↑↓ scroll", ""),
        (false, false) => ("Tab lists", "Enter detail", "a only alerts"),
        (false, true) => ("Tab lists", "Enter detail", "a all requests"),
    };
    let parts = if short {
        ["q end", back, enter, "? help", ""]
    } else {
        ["q end", back, enter, alerts, "? help"]
    };
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    Line::styled(parts.join("  "), look.colour(Color::Cyan))
}

fn help(look: &Look, area: Rect, buffer: &mut Buffer) {
    let mut lines = vec![Line::styled("KEYS", look.heading(true))];
    for (key, effect) in KEYS {
        lines.push(Line::styled(key, Style::new().add_modifier(Modifier::BOLD)));
        lines.extend(wrapped(effect, area.width, "   ").into_iter().map(Line::from));
    }
    lines.extend(
        wrapped(
            "READ is the share of an application's content that tracer could read so far. UNREAD \
                 counts bytes that a recipient got and that tracer could not read.",
            area.width,
            "",
        )
        .into_iter()
        .map(Line::from),
    );
    put(&lines, 0, area, buffer);
}

/// Draws the table of applications and recipients.
fn table(model: &Model, ui: &mut Ui, look: &Look, area: Rect, buffer: &mut Buffer) {
    let Some((head, body)) = split_head(area) else {
        return;
    };
    let rows = model.rows();
    ui.row = ui.row.min(rows.len().saturating_sub(1));
    let columns = Columns::new(area.width);
    let focused = ui.pane == Pane::Applications && !ui.detail;
    let title =
        columns.line("APPLICATIONS, RECIPIENTS", ["REQ", "ALERTS", "SENT", "READ", "UNREAD"]);
    Line::styled(title, look.heading(focused)).render(head, buffer);
    let first = first_visible(ui.row, rows.len(), body.height);
    for (i, row) in rows.iter().enumerate().skip(first).take(body.height.into()) {
        let (text, count) = columns.row(row);
        let mut style = look.severity(count.worst);
        if matches!(row, Row::Application(..)) {
            style = style.add_modifier(Modifier::BOLD);
        }
        if focused && i == ui.row {
            style = style.add_modifier(Modifier::REVERSED);
        }
        let at = Rect { y: body.y + (i - first) as u16, height: 1, ..body };
        line(&text, style, focused && i == ui.row, at, buffer);
    }
}

/// The columns of the table that a width has room for.
struct Columns {
    name: usize,
    shown: [bool; 5],
}

/// Widths of the columns of numbers, with the space before them.
const WIDTHS: [usize; 5] = [6, 7, 8, 5, 8];

impl Columns {
    fn new(width: u16) -> Self {
        let shown = match width {
            ..30 => [false, true, false, false, false],
            30..NARROW => [false, true, false, true, true],
            _ => [true; 5],
        };
        let numbers: usize =
            WIDTHS.iter().zip(shown).map(|(width, on)| width * usize::from(on)).sum();
        Self { name: usize::from(width).saturating_sub(numbers), shown }
    }

    fn line(&self, name: &str, values: [&str; 5]) -> String {
        let mut line = fit(name, self.name);
        for ((value, width), shown) in values.into_iter().zip(WIDTHS).zip(self.shown) {
            if shown {
                line.push_str(&" ".repeat(width.saturating_sub(value.chars().count())));
                line.push_str(value);
            }
        }
        line
    }

    fn row(&self, row: &Row<'_>) -> (String, Count) {
        let (name, count, sent, read, unread) = match row {
            Row::Application(who, it) => {
                let read = it.percent_read.map(|percent| format!("{percent}%"));
                let name = format!("{} (uid {})", who.name, who.uid);
                (name, it.count, bytes(it.sent), read.unwrap_or_default(), String::new())
            }
            Row::Recipient(_, host, it) => {
                let unread = if it.unread > 0 { bytes(it.unread) } else { String::new() };
                (format!("  {host}"), it.count, String::new(), String::new(), unread)
            }
            Row::Others(others) => {
                let name = format!("  and {} more", others.rows);
                (name, others.count, String::new(), String::new(), String::new())
            }
        };
        let alerts = if count.alerts > 0 { count.alerts.to_string() } else { String::new() };
        let requests = count.requests.to_string();
        (self.line(&name, [&requests, &alerts, &sent, &read, &unread]), count)
    }
}

/// Draws the list of requests.
fn list(model: &Model, ui: &Ui, look: &Look, area: Rect, buffer: &mut Buffer) {
    let Some((head, body)) = split_head(area) else {
        return;
    };
    let listed = ui.listed(model);
    let focused = ui.pane == Pane::Requests;
    let mut title = if ui.only_alerts { "ALERTS" } else { "REQUESTS" }.to_owned();
    if let Some(filter) = &ui.filter {
        title += &format!(" of {}", filter.who.name);
        if let Some(host) = &filter.host {
            title += &format!(" to {host}");
        }
        title += " (Esc: all)";
    }
    if model.forgotten() > 0 {
        title += &format!(", the last {}", model.requests().len());
    }
    Line::styled(fit(&title, area.width.into()), look.heading(focused)).render(head, buffer);
    if listed.is_empty() {
        let text = match model.source() {
            Source::Starting => "tracer starts",
            Source::Watching => "nothing was sent so far",
            Source::Replaying { .. } | Source::Ended => "no request so far",
        };
        Line::raw(text).render(body, buffer);
        return;
    }
    let chosen = ui.position(&listed).unwrap_or_default();
    // While the list follows the latest request, that is at the bottom.
    let height = usize::from(body.height);
    let first = match ui.request {
        None => listed.len().saturating_sub(height),
        Some(_) => first_visible(chosen, listed.len(), body.height),
    };
    for (i, entry) in listed.iter().enumerate().skip(first).take(height) {
        let is_chosen = focused && ui.request.is_some() && i == chosen;
        let mut style = match entry.alert {
            Some(_) => look.severity(entry.severity),
            None => Style::new(),
        };
        if is_chosen {
            style = style.add_modifier(Modifier::REVERSED);
        }
        let at = Rect { y: body.y + (i - first) as u16, height: 1, ..body };
        line(&row(entry, look, area.width), style, is_chosen, at, buffer);
    }
}

fn row(entry: &Entry, look: &Look, width: u16) -> String {
    let label = match (entry.alert, entry.is_new) {
        (Some(_), true) => entry.severity.map_or("", Severity::label),
        (Some(_), false) => "again",
        (None, _) => "",
    };
    let times =
        if entry.occurrences > 1 { format!("{}× ", entry.occurrences) } else { String::new() };
    let Entry { culprit, host, text, .. } = entry;
    if width < NARROW {
        let mark: String = label.chars().take(5).collect();
        return format!("{} {mark:<5} {times}{host} {text}", look.time(entry.unix, "%H:%M"));
    }
    // A long name leaves room for the others.
    let (culprit, host) = (short(culprit, width / 4), short(host, width / 3));
    let time = look.time(entry.unix, "%H:%M:%S");
    format!("{time} {label:<8} {times}{culprit} → {host} {text}")
}

/// Draws a request in full.
fn detail(model: &Model, ui: &mut Ui, look: &Look, area: Rect, buffer: &mut Buffer) {
    let Some((head, body)) = split_head(area) else {
        return;
    };
    let Some(entry) = ui.chosen(model) else {
        return;
    };
    let title = match (entry.alert, entry.is_new) {
        (Some(alert), true) => format!("REQUEST {}, alert {alert}", entry.number),
        (Some(alert), false) => format!("REQUEST {}, again alert {alert}", entry.number),
        (None, _) => format!("REQUEST {}", entry.number),
    };
    Line::styled(fit(&title, area.width.into()), look.heading(true)).render(head, buffer);
    let lines = in_full(entry, look, body.width);
    ui.scroll = ui.scroll.min(lines.len().saturating_sub(body.height.into()));
    put(&lines, ui.scroll, body, buffer);
}

fn in_full(entry: &Entry, look: &Look, width: u16) -> Vec<Line<'static>> {
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut lines = Vec::new();
    let label = entry.severity.map_or("discloses nothing that tracer knows", Severity::label);
    let mut first = vec![Span::styled(label, look.severity(entry.severity))];
    if entry.occurrences > 1 {
        first.push(Span::raw(format!("  {} times", entry.occurrences)));
    }
    first.push(Span::raw(format!("  {}", look.time(entry.unix, "%Y-%m-%d %H:%M:%S"))));
    lines.push(Line::from(first));
    for (name, value) in &entry.facts {
        let text = format!("{name:<10} {value}");
        lines.extend(wrapped(&text, width, "           ").into_iter().map(Line::from));
    }
    for Found { severity, kind, value, remark, chain } in &entry.findings {
        lines.push(Line::raw(""));
        let remark = remark.as_deref().map(|remark| format!(", {remark}")).unwrap_or_default();
        lines.push(Line::from(vec![
            Span::styled(severity.label(), look.severity(Some(*severity))),
            Span::styled(format!("  {kind}"), bold),
            Span::raw(remark),
        ]));
        lines.extend(wrapped(value, width, "").into_iter().map(Line::from));
        for (depth, step) in chain.iter().enumerate() {
            let indent = " ".repeat((depth * 2).min(MAX_INDENT));
            let arrow = if depth == 0 { "" } else { "└ " };
            let text = format!("  {indent}{arrow}{step}");
            lines.extend(
                wrapped(&text, width, &format!("    {indent}"))
                    .into_iter()
                    .map(|line| Line::styled(line, look.colour(Color::Cyan))),
            );
        }
    }
    if entry.more_findings > 0 {
        lines.push(Line::raw(format!(
            "and {} that matter less",
            counted(entry.more_findings, "finding")
        )));
    }
    lines
}

/// Divides an area into a line and the rest. Returns `None` if it has no room for both.
fn split_head(area: Rect) -> Option<(Rect, Rect)> {
    if area.height == 0 || area.width == 0 {
        return None;
    }
    let head = Rect { height: 1, ..area };
    Some((head, Rect { y: area.y + 1, height: area.height - 1, ..area }))
}

/// Returns the first row to draw, so that the chosen one is visible.
fn first_visible(chosen: usize, rows: usize, height: u16) -> usize {
    let height = usize::from(height).max(1);
    let middle = chosen.saturating_sub(height / 2);
    middle.min(rows.saturating_sub(height))
}

/// Draws a line that is cut with `…` if it does not fit, over the whole width if it is chosen.
fn line(text: &str, style: Style, whole: bool, area: Rect, buffer: &mut Buffer) {
    if whole {
        buffer.set_style(area, style);
    }
    Line::styled(fit(text, area.width.into()), style).render(area, buffer);
}

/// Draws lines from the `skip`th on.
fn put(lines: &[Line<'_>], skip: usize, area: Rect, buffer: &mut Buffer) {
    for (line, y) in lines.iter().skip(skip).zip(area.y..area.y.saturating_add(area.height)) {
        line.render(Rect { y, height: 1, ..area }, buffer);
    }
}

/// Cuts text to a width with `…`, or fills it with spaces.
fn fit(text: &str, width: usize) -> String {
    let mut used = Span::raw(text).width();
    if used <= width {
        return text.to_owned() + &" ".repeat(width - used);
    }
    let mut cut = String::new();
    used = 0;
    for c in text.chars() {
        let columns = textwrap::core::display_width(c.encode_utf8(&mut [0; 4]));
        if used + columns + 1 > width {
            break;
        }
        used += columns;
        cut.push(c);
    }
    if width > 0 {
        cut.push('…');
        used += 1;
    }
    cut + &" ".repeat(width.saturating_sub(used))
}

/// Cuts text to a width with `…`.
fn short(text: &str, width: u16) -> String {
    fit(text, width.into()).trim_end().to_owned()
}

/// Wraps text. Long words are broken.
fn wrapped(text: &str, width: u16, indent: &str) -> Vec<String> {
    let width = usize::from(width).max(1);
    // An indentation as wide as the line would leave no room.
    let indent = if indent.len() * 2 < width { indent } else { "" };
    let options = textwrap::Options::new(width)
        .subsequent_indent(indent)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(text, options).into_iter().map(|line| line.into_owned()).collect()
}

/// Formats an amount of bytes in up to six columns.
fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1e3;
    let mut unit = 0;
    while amount >= 999.5 && unit + 1 < UNITS.len() {
        amount /= 1e3;
        unit += 1;
    }
    if amount < 9.95 {
        format!("{amount:.1} {}", UNITS[unit])
    } else {
        format!("{amount:.0} {}", UNITS[unit])
    }
}
