//! `tracer compare`: compares audits.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;

use super::confine;
use crate::files::{self, Existing};
use tracer_audit::{compare::Comparison, report::Report};

/// Maximum size of a report. The lists in a report are bounded, so real ones are far smaller.
const MAX_BYTES: u64 = 256 << 20;

/// Width of the output if it is not a terminal.
const DEFAULT_WIDTH: usize = 100;

/// Compare the audits of several browsers, one column for each.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  tracer compare audits/firefox audits/chromium --html both.html")]
pub(super) struct Args {
    /// Folders of audits, or their report.json files
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Print JSON (see docs/reference/report.md)
    #[arg(long)]
    json: bool,
    /// Write an HTML page to this file instead of printing
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    html: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let texts: Vec<_> = args.runs.iter().map(|run| read(run)).collect::<Result<_, _>>()?;
    let cannot_write = |path: &Path| format!("cannot write {}", path.display());
    // It is emptied when the comparison is complete.
    let page = args.html.as_ref().map(|path| {
        files::create(path, Existing::Append)
            .with_context(|| cannot_write(path))
            .map(|it| (path, it))
    });
    let page = page.transpose()?;
    confine::to_open_files()?;
    let parse = |(path, json): &(PathBuf, Vec<u8>)| {
        Report::from_json(json).with_context(|| path.display().to_string())
    };
    let reports: Vec<Report> = texts.iter().map(parse).collect::<Result<_, _>>()?;
    let sources = args.runs.iter().map(|run| Some(run.display().to_string()));
    let comparison = Comparison::from_sources(sources.zip(&reports));
    if let Some((path, mut file)) = page {
        file.set_len(0)
            .and_then(|()| file.write_all(comparison.html().as_bytes()))
            .with_context(|| cannot_write(path))?;
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

/// Reads the report of an audit. Returns its path and its text.
fn read(run: &Path) -> anyhow::Result<(PathBuf, Vec<u8>)> {
    let path = if run.is_dir() { run.join("report.json") } else { run.to_owned() };
    let mut json = Vec::new();
    // A report that the user named can be a FIFO, one that is in a folder cannot.
    let opened = if run.is_dir() { files::open_regular(&path) } else { File::open(&path) };
    opened
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut json))
        .with_context(|| format!("cannot read {}", path.display()))?;
    anyhow::ensure!(
        json.len() as u64 <= MAX_BYTES,
        "{} has more than {MAX_BYTES} bytes, and cannot be a report",
        path.display()
    );
    Ok((path, json))
}

/// Returns the width of the terminal.
fn width() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    // Serial lines report 0.
    let columns = size.ok().map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0);
    columns.unwrap_or(DEFAULT_WIDTH)
}
