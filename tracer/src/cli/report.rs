//! `tracer report`: an audit's report, made again.

use std::{path::PathBuf, process::ExitCode};

use super::audit::{Folder, print};

/// Make the report of an audit again, from what it recorded.
///
/// A run that was killed leaves all that was gathered until then. With other
/// rules, or without redaction, the answers can be looked at anew.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    rules: super::rules::Folder,
    /// Show what identifies a person or device. Otherwise the report shows
    /// digests
    #[arg(long)]
    show_values: bool,
    /// The folder that `tracer audit` wrote
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let folder = Folder::open(&args.folder)?;
    let knowledge = args.rules.load()?;
    print(&folder.report(&knowledge, args.show_values)?)?;
    Ok(ExitCode::SUCCESS)
}
