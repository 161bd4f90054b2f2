//! `tracer report`: rebuilds the report of an audit.

use std::{path::PathBuf, process::ExitCode};

use super::audit::{Folder, print};

/// Rebuild the report of an audit from its recording.
///
/// Use it after an audit that was killed, with other rules, or to change whether values are shown.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    rules: super::rules::Folder,
    /// Show values that identify a person or device. By default the report shows digests of them
    #[arg(long)]
    show_values: bool,
    /// Folder of the audit
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = Folder::open(&args.folder)?;
    let knowledge = args.rules.load()?;
    print(&folder.remake_report(&knowledge, args.show_values)?)?;
    Ok(ExitCode::SUCCESS)
}
