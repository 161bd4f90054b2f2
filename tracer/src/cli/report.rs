//! `tracer report`: rebuilds the report of an audit.

use std::{io, path::PathBuf, process::ExitCode};

use super::{
    audit::{Folder, print},
    confine,
};
use tracer_host::sandbox::Sandbox;

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
    let rules = args.rules.read()?;
    confine::enter(&Sandbox::new().with_folder(&folder))?;
    let knowledge = rules.parse()?;
    print(&folder.remake_report(&knowledge, args.show_values)?, &mut io::stdout().lock())?;
    Ok(ExitCode::SUCCESS)
}
