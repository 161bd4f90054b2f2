//! `tracer purge`: removes stored alerts and identifiers.

use std::{io, path::PathBuf, process::ExitCode, time::SystemTime};

use anyhow::Context as _;

use super::{Usage, times};
use crate::store::{Place, Store, default_place};
use tracer_core::wording::counted;
use tracer_host::sandbox;

/// Remove what earlier runs stored: alerts, the requests that prove them, and identifiers.
///
/// The data is overwritten, and the file is made as small as what remains. Other files, such as
/// recordings and reports, are left as they are.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracer purge                              remove everything
  tracer purge --before 7d                  keep what was seen in the last seven days")]
pub(super) struct Args {
    /// Remove only what was last seen before this time: 2h (ago), 2026-11-22, or RFC 3339 (UTC)
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// Remove from this store instead of the default one
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
}

pub(super) fn purge(args: &Args) -> anyhow::Result<ExitCode> {
    sandbox::protect_memory()?;
    let parse = |text: &str| times::parse(text, SystemTime::now()).map_err(Usage);
    let before = args.before.as_deref().map(parse).transpose()?;
    let place = match &args.store {
        Some(path) => Place::Named(path.clone()),
        None => default_place().context("HOME is not set; name the store with --store FILE")?,
    };
    let path = place.path().display().to_string();
    let found = std::fs::symlink_metadata(place.path());
    if found.as_ref().is_err_and(|err| err.kind() == io::ErrorKind::NotFound) {
        if args.store.is_none() {
            message!("there is no store at {path}");
            return Ok(ExitCode::SUCCESS);
        }
        // Opening the store would create it.
        found.with_context(|| format!("cannot read {path}"))?;
    }
    let mut store = Store::open(&place).with_context(|| format!("cannot open {path}"))?;
    let removed = store.purge(before).with_context(|| format!("cannot purge {path}"))?;
    message!(
        "removed {} and {} from {path}",
        counted(removed.old, "alert"),
        counted(removed.identifiers, "identifier")
    );
    Ok(ExitCode::SUCCESS)
}
