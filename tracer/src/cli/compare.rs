//! `tracer compare`: audits side by side.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;

use crate::files::{self, Existing};
use tracer_audit::{compare::Comparison, report::Report};

/// More is no report: the lists in one are capped.
const MAX_BYTES: u64 = 256 << 20;

/// The width of what is written to no terminal.
const DEFAULT_WIDTH: usize = 100;

/// Put the audits of browsers side by side.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tracer compare audits/firefox audits/chromium --html both.html")]
pub(super) struct Args {
    /// Folders that `tracer audit` wrote, or their report.json
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Print JSON (docs/reference/report.md describes it)
    #[arg(long)]
    json: bool,
    /// Write a page that can be opened in any browser, instead of printing
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let reports: Vec<Report> = args.runs.iter().map(|run| read(run)).collect::<Result<_, _>>()?;
    let comparison = Comparison::new(&reports);
    if let Some(path) = &args.html {
        files::create(path, Existing::Replace)
            .and_then(|mut file| file.write_all(comparison.html().as_bytes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    if args.json {
        serde_json::to_writer_pretty(&mut out, &comparison)?;
        writeln!(out)?;
    } else {
        write!(out, "{}", comparison.text(width()))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a run's report.
fn read(run: &Path) -> anyhow::Result<Report> {
    let path = if run.is_dir() { run.join("report.json") } else { run.to_owned() };
    let mut json = Vec::new();
    File::open(&path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut json))
        .with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(
        json.len() as u64 <= MAX_BYTES,
        "{}: no report has more than {MAX_BYTES} bytes",
        path.display()
    );
    Report::from_json(&json).with_context(|| path.display().to_string())
}

/// How wide the terminal is.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    // A serial line's is 0.
    let columns = size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
    columns.unwrap_or(DEFAULT_WIDTH)
}
