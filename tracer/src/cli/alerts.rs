//! `tracer alerts`: what earlier runs kept, also while one runs.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use anyhow::Context as _;
use clap::ValueEnum;
use serde_json::json;

use super::{Usage, style, times};
use crate::store::{Query, Reader, StoredAlert, default_place};
use tracer_core::{
    alert::{Alert, Style, alert_line, printable, redact::Redactor, rfc3339},
    finding::Severity,
    judge::Sighting,
};

/// Show the alerts that runs have kept, the newest last.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracer alerts --since 2h                  what came in the last two hours
  tracer alerts --severity high --json      the worst, for programs
  tracer alerts --identifiers               which numbers went where, and since when")]
pub(super) struct Args {
    /// Only alerts that came from then on: 2h, 2026-11-22, or RFC 3339 (UTC)
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only alerts that first came before then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only alerts that are at least so bad
    #[arg(long, value_enum)]
    severity: Option<Level>,
    /// Only alerts of the application, or the browser, of this name
    #[arg(long, value_name = "NAME")]
    application: Option<String>,
    /// Show the identifiers that were sent, instead of the alerts
    #[arg(long, conflicts_with_all = ["until", "severity"])]
    identifiers: bool,
    /// Print JSON lines (docs/reference/store.md describes them)
    #[arg(long)]
    json: bool,
    /// Show what tells about the user, which is digests otherwise
    #[arg(long)]
    show_values: bool,
    /// The store, if it is not the default one
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
    let redactor = if args.show_values {
        Redactor::off()
    } else {
        Redactor::keyed(reader.key().with_context(|| cannot_read(&path))?)
    };
    let out = io::BufWriter::new(io::stdout().lock());
    let mut list = List { out, style: style(), redactor, json: args.json, shown: 0 };
    if args.identifiers {
        reader.sightings(|sighting| {
            let is_recent = query.since.is_none_or(|since| sighting.last >= since);
            let named = |name: &String| {
                sighting.applications.iter().any(|by| by.eq_ignore_ascii_case(name))
            };
            if is_recent && query.application.as_ref().is_none_or(named) {
                list.sighting(&sighting)?;
            }
            anyhow::Ok(())
        })
    } else {
        reader.alerts(&query, |stored| anyhow::Ok(list.alert(stored)?))
    }
    .with_context(|| cannot_read(&path))?;
    list.out.flush()?;
    if list.shown == 0 {
        let what = if args.identifiers { "identifier" } else { "alert" };
        let all = reader.count().with_context(|| cannot_read(&path))?;
        message!("no such {what} in {} ({all} alerts in all)", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn cannot_read(path: &Path) -> String {
    format!("cannot read {}", path.display())
}

/// Opens the store. `None`: there is nothing in it, and the user was told.
fn open(named: Option<&Path>) -> anyhow::Result<Option<(PathBuf, Reader)>> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => {
            let place = default_place().context("there is no home to look in; give --store")?;
            place.path().to_owned()
        }
    };
    match std::fs::metadata(&path) {
        Err(err) if named.is_none() && err.kind() == io::ErrorKind::NotFound => {
            nothing(&path);
            return Ok(None);
        }
        // SQLite's own words for it do not say why.
        found => found.with_context(|| cannot_read(&path))?,
    };
    let reader = Reader::open(&path).with_context(|| cannot_read(&path))?;
    if reader.is_none() {
        nothing(&path);
    }
    Ok(reader.map(|reader| (path, reader)))
}

fn nothing(path: &Path) {
    message!(
        "nothing was kept in {} yet; `sudo tracer run` keeps its alerts in root's store: \
         `sudo tracer alerts` shows them",
        path.display()
    );
}

/// What is shown.
struct List<W> {
    out: W,
    style: Style,
    redactor: Redactor,
    json: bool,
    shown: u64,
}

impl<W: Write> List<W> {
    fn alert(&mut self, stored: StoredAlert) -> io::Result<()> {
        self.shown += 1;
        let StoredAlert { id, run, alert, count, last, .. } = stored;
        let alert = alert.redacted(&self.redactor);
        if self.json {
            let mut line = json!(alert);
            line["id"] = id.into();
            line["run"] = run.into();
            line["count"] = count.into();
            line["last"] = rfc3339(last).into();
            return writeln!(self.out, "{line}");
        }
        // Its number in its run means nothing here; that in the store does.
        let alert = Alert { alert: u64::try_from(id).ok(), ..alert };
        let line = alert_line(&alert, self.style);
        match count {
            0 | 1 => writeln!(self.out, "{line}"),
            _ => writeln!(self.out, "{line}  ({count} times, the last {})", rfc3339(last)),
        }
    }

    fn sighting(&mut self, sighting: &Sighting) -> io::Result<()> {
        self.shown += 1;
        let value = self.redactor.value(&sighting.value);
        let time = |unix| (unix > 0).then(|| rfc3339(unix));
        if self.json {
            let mut line = json!(sighting);
            line["value"] = value.into();
            line["first"] = json!(time(sighting.first));
            line["last"] = json!(time(sighting.last));
            return writeln!(self.out, "{line}");
        }
        let names = |names: &[String]| printable(&names.join(", "));
        let time = |unix| time(unix).unwrap_or_else(|| "an unknown time".into());
        writeln!(
            self.out,
            "{}{}  {} to {}: {} requests, {} connections, {} processes\n    by {}\n    to {}",
            printable(&value),
            sighting
                .class
                .as_deref()
                .map(|class| format!(" ({})", printable(class)))
                .unwrap_or_default(),
            time(sighting.first),
            time(sighting.last),
            sighting.requests,
            sighting.connections,
            sighting.processes,
            names(&sighting.applications),
            names(&sighting.recipients),
        )
    }
}
