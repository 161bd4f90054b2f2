//! `tracer alerts`: shows stored alerts, also during a run.

mod groups;
mod identifiers;
mod page;

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::json;

use self::{
    groups::Groups,
    identifiers::{Mentions, Ranked},
};
use super::{Usage, confine, style, terminal_of_output, times};
use crate::{
    files::{self, Existing},
    sink::Terminal,
    store::{Query, Reader, StoredAlert, default_place},
};
use tracer_core::{
    alert::{Alert, Style, printable, redact::Redactor, rfc3339, text},
    finding::Severity,
    wording::counted,
};

/// Show the alerts that earlier runs stored, newest last.
///
/// On a terminal, alerts are grouped by sender and recipient, with local times. Elsewhere, and with
/// --full, each alert is one line, with its time in UTC.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracer alerts --since 2h                  alerts of the last two hours
  tracer alerts 3 --full                    alert 3 of the list, with everything known about it
  tracer alerts --severity high --json      high and critical alerts as JSON lines
  tracer alerts --recipient example.com     alerts about requests to example.com and hosts below it
  tracer alerts --identifiers               identifiers that were sent, and their recipients
  tracer alerts --html alerts.html          one page for a browser, to read and to pass on")]
pub(super) struct Args {
    /// Show only the alerts with these numbers, as this command shows them (each run counts its own)
    #[arg(value_name = "NUMBER", conflicts_with = "identifiers")]
    numbers: Vec<u64>,
    /// Show only alerts that were seen at or after this time: 2h (ago), 2026-11-22, or RFC 3339
    /// (UTC)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Show only alerts that were first seen before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Show only alerts of at least this severity
    #[arg(long, value_enum)]
    severity: Option<Level>,
    /// Show only alerts of the application or browser of this name
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Show only alerts about requests to this host, or to hosts below it
    #[arg(long, value_name = "HOST", conflicts_with = "identifiers")]
    recipient: Option<String>,
    /// Show the identifiers that were sent instead of the alerts: first those that last, then those
    /// sent with visited pages, then those that several applications share
    #[arg(long, conflicts_with_all = ["until", "severity"])]
    identifiers: bool,
    /// Print each alert in one line on a terminal too, and do not group alerts
    #[arg(long, conflicts_with = "json")]
    full: bool,
    /// Print JSON lines (see docs/reference/store.md)
    #[arg(long)]
    json: bool,
    /// Write the alerts, in groups, and the identifiers to this new file as a page that loads nothing
    /// from elsewhere. Only its owner will be able to read it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["json", "full", "identifiers"])]
    html: Option<PathBuf>,
    /// Let --html replace an existing file
    #[arg(long, requires = "html")]
    force: bool,
    /// Show values in queries, identifiers and typed text. By default only digests are shown
    #[arg(long)]
    show_values: bool,
    /// Read this store instead of the default one
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Level {
    Info,
    Low,
    Medium,
    High,
    Critical,
}

impl From<Level> for Severity {
    fn from(level: Level) -> Self {
        match level {
            Level::Info => Self::Info,
            Level::Low => Self::Low,
            Level::Medium => Self::Medium,
            Level::High => Self::High,
            Level::Critical => Self::Critical,
        }
    }
}

impl Args {
    fn query(&self) -> Result<Query, Usage> {
        let now = SystemTime::now();
        let time = |text: &Option<String>| {
            text.as_deref().map(|text| times::parse(text, now).map_err(Usage)).transpose()
        };
        Ok(Query {
            since: time(&self.since)?,
            until: time(&self.until)?,
            severity: self.severity.map(Severity::from),
            application: self.application.clone(),
        })
    }
}

pub(super) fn alerts(args: &Args) -> anyhow::Result<ExitCode> {
    let query = args.query()?;
    let Some((path, reader)) = open(args.store.as_deref())? else {
        return Ok(ExitCode::SUCCESS);
    };
    let terminal = terminal_of_output().filter(|_| !args.full && !args.json);
    let page = args.page().transpose()?;
    // The store is open, with the files next to it, and the time zone is known.
    confine::to_open_files()?;
    let redactor = if args.show_values {
        Redactor::off()
    } else {
        Redactor::keyed(reader.key().with_context(|| cannot_read(&path))?)
    };
    if let Some((mut file, terminal)) = page {
        let mut groups = Groups::new(groups::ON_PAGE);
        let mut alerts = 0;
        args.each_alert(&reader, &query, |stored| {
            alerts += 1;
            let alert = stored.alert.clone().redacted(&redactor);
            groups.add(&stored, &alert, Style::default());
            Ok(())
        })
        .with_context(|| cannot_read(&path))?;
        let identifiers = args.identifiers(&reader, &query).with_context(|| cannot_read(&path))?;
        page::write(groups, &identifiers, args.selection(), &redactor, &terminal, &mut file)
            .context("cannot write the page")?;
        if let Some(path) = &args.html {
            message!(
                "wrote {} to {}",
                counted(alerts, "alert"),
                printable(&path.to_string_lossy())
            );
        }
        return Ok(ExitCode::SUCCESS);
    }
    let out = io::BufWriter::new(io::stdout().lock());
    let groups = terminal.map(|terminal| (Groups::new(groups::ON_TERMINAL), terminal));
    let mut list = List { out, style: style(), redactor, json: args.json, groups, shown: 0 };
    if args.identifiers {
        args.identifiers(&reader, &query)
            .and_then(|ranked| Ok(ranked.iter().try_for_each(|one| list.identifier(one))?))
    } else {
        args.each_alert(&reader, &query, |stored| Ok(list.alert(stored)?))
    }
    .with_context(|| cannot_read(&path))?;
    if let Some((groups, terminal)) = list.groups.take() {
        groups.write(&mut list.out, &terminal)?;
    }
    list.out.flush()?;
    if list.shown == 0 {
        let what = if args.identifiers { "identifier" } else { "alert" };
        let all = reader.count().with_context(|| cannot_read(&path))?;
        message!("no matching {what} in {} ({} in total)", path.display(), counted(all, "alert"));
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// Opens the page to write, and finds out the local time zone.
    fn page(&self) -> Option<anyhow::Result<(File, Terminal)>> {
        let path = self.html.as_deref()?;
        let existing = if self.force { Existing::Replace } else { Existing::Refuse };
        let file = files::create(path, existing)
            .with_context(|| format!("--html: cannot write {}", path.display()));
        let terminal = Terminal { columns: 80, zone: jiff::tz::TimeZone::system() };
        Some(file.map(|file| (file, terminal)))
    }

    /// Calls `each` with the selected alerts, in the order of time.
    fn each_alert(
        &self,
        reader: &Reader,
        query: &Query,
        mut each: impl FnMut(StoredAlert) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let is_wanted = |stored: &StoredAlert| {
            let is_numbered = |number: &u64| i64::try_from(*number) == Ok(stored.id);
            (self.numbers.is_empty() || self.numbers.iter().any(is_numbered))
                && self.recipient.as_ref().is_none_or(|name| sent_to(&stored.alert, name))
        };
        reader.alerts(query, |stored| match is_wanted(&stored) {
            true => each(stored),
            false => Ok(()),
        })
    }

    /// Returns the selected identifiers, the most important first.
    fn identifiers(&self, reader: &Reader, query: &Query) -> anyhow::Result<Vec<Ranked>> {
        let mut mentions = Mentions::default();
        reader.alerts(&Query::default(), |stored| {
            mentions.add(&stored.alert);
            anyhow::Ok(())
        })?;
        let mut sightings = Vec::new();
        reader.sightings(|sighting| {
            let is_recent = query.since.is_none_or(|since| sighting.last >= since);
            let named = |name: &String| {
                sighting.applications.iter().any(|by| by.eq_ignore_ascii_case(name))
            };
            if is_recent && query.application.as_ref().is_none_or(named) {
                sightings.push(sighting);
            }
            anyhow::Ok(())
        })?;
        Ok(mentions.rank(sightings))
    }

    /// Describes what the alerts were selected by.
    fn selection(&self) -> Vec<String> {
        let numbers: Vec<String> = self.numbers.iter().map(u64::to_string).collect();
        let numbers = Some(numbers.join(", ")).filter(|text| !text.is_empty());
        let least = self.severity.map(|level| Severity::from(level).as_str().to_owned());
        let options = [
            ("with the number", &numbers),
            ("seen since", &self.since),
            ("first seen before", &self.until),
            ("of at least the severity", &least),
            ("of the application", &self.application),
            ("sent to the host", &self.recipient),
        ];
        let chosen = options.into_iter().filter_map(|(what, value)| Some((what, value.as_ref()?)));
        chosen.map(|(what, value)| format!("{what} {}", printable(value))).collect()
    }
}

/// Reports whether an alert's request went to this host or to one below it.
fn sent_to(alert: &Alert, name: &str) -> bool {
    let host = alert.host().to_ascii_lowercase();
    let host = host.rsplit_once(':').map_or(host.as_str(), |(host, _)| host);
    let above = host.strip_suffix(&name.to_ascii_lowercase());
    above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

/// Opens the store. Returns `None` if it is empty, after a message about it.
fn open(named: Option<&Path>) -> anyhow::Result<Option<(PathBuf, Reader)>> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => {
            let place =
                default_place().context("HOME is not set; name the store with --store FILE")?;
            place.path().to_owned()
        }
    };
    match std::fs::metadata(&path) {
        Err(err) if named.is_none() && err.kind() == io::ErrorKind::NotFound => {
            report_empty(&path);
            return Ok(None);
        }
        // SQLite's own message does not include the cause.
        found => found.with_context(|| cannot_read(&path))?,
    };
    let reader = Reader::open(&path).with_context(|| cannot_read(&path))?;
    if reader.is_none() {
        report_empty(&path);
    }
    Ok(reader.map(|reader| (path, reader)))
}

fn report_empty(path: &Path) {
    message!(
        "{} contains no alerts yet; those of `sudo tracer run` are in root's store, which `sudo \
         tracer alerts` shows",
        path.display()
    );
}

/// Prints alerts or identifiers, and counts them.
struct List<W> {
    out: W,
    style: Style,
    redactor: Redactor,
    json: bool,
    /// Set to show alerts in groups.
    groups: Option<(Groups, Terminal)>,
    shown: u64,
}

impl<W: Write> List<W> {
    fn alert(&mut self, stored: StoredAlert) -> io::Result<()> {
        self.shown += 1;
        let alert = stored.alert.clone().redacted(&self.redactor);
        if let Some((groups, _)) = &mut self.groups {
            groups.add(&stored, &alert, self.style);
            return Ok(());
        }
        let StoredAlert { id, run, count, last, .. } = stored;
        if self.json {
            let mut line = json!(alert);
            line["id"] = id.into();
            line["run"] = run.into();
            line["count"] = count.into();
            line["last"] = rfc3339(last).into();
            return writeln!(self.out, "{line}");
        }
        // Show the number in the store, since the number in the run is not unique here.
        let alert = Alert { alert: u64::try_from(id).ok(), ..alert };
        let line = text::alert(&alert, self.style);
        match count {
            0 | 1 => writeln!(self.out, "{line}"),
            _ => writeln!(self.out, "{line}  ({count} times, last at {})", rfc3339(last)),
        }
    }

    fn identifier(&mut self, ranked: &Ranked) -> io::Result<()> {
        self.shown += 1;
        let Ranked { sighting, with_visits, lasts } = ranked;
        let value = self.redactor.value(&sighting.value);
        let time = |unix| (unix > 0).then(|| rfc3339(unix));
        if self.json {
            let mut line = json!(sighting);
            line["value"] = value.into();
            line["first"] = json!(time(sighting.first));
            line["last"] = json!(time(sighting.last));
            line["lasts"] = json!(lasts);
            line["with_visits"] = json!(with_visits);
            return writeln!(self.out, "{line}");
        }
        let names = |names: &[String]| printable(&names.join(", "));
        let time = |unix| time(unix).unwrap_or_else(|| "an unknown time".into());
        let lasts = if *lasts { ", lasting" } else { "" };
        let visits = match with_visits {
            0 => String::new(),
            count => format!(", with visited pages in {}", counted(*count, "alert")),
        };
        writeln!(
            self.out,
            "{}{}  {} to {}: {}, {}, {}{lasts}{visits}\n    by {}\n    to {}",
            printable(&value),
            sighting
                .class
                .as_deref()
                .map(|class| format!(" ({})", printable(class)))
                .unwrap_or_default(),
            time(sighting.first),
            time(sighting.last),
            counted(sighting.requests, "request"),
            counted(sighting.connections, "connection"),
            counted(sighting.processes, "process"),
            names(&sighting.applications),
            names(&sighting.recipients),
        )
    }
}
