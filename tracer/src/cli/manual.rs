//! The manual pages and the completions of shells, for packages.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;

/// Print the completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracer completions bash > ~/.local/share/bash-completion/completions/tracer
  tracer completions fish > ~/.config/fish/completions/tracer.fish

The Debian package installs them.")]
pub(super) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Writes the manual pages to a folder
#[derive(Debug, clap::Args)]
pub(super) struct PagesArgs {
    /// The folder
    folder: PathBuf,
}

pub(super) fn completions(args: &CompletionsArgs) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tracer", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Writes `tracer.1`, and a page for each subcommand that `tracer help` lists.
pub(super) fn pages(args: &PagesArgs) -> anyhow::Result<ExitCode> {
    let folder = &args.folder;
    let failed = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(folder).with_context(failed)?;
    clap_mangen::generate_to(Cli::command(), folder).with_context(failed)?;
    Ok(ExitCode::SUCCESS)
}
