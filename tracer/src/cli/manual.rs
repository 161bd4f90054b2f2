//! The manual pages and the completions of shells, for packages.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
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
    clap_complete::generate(args.shell, &mut shown(Cli::command()), "tracer", &mut script);
    io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// Returns a command without the commands that only tracer itself calls, which scripts for shells
/// would offer.
fn shown(whole: Command) -> Command {
    let subcommands = whole.get_subcommands().filter(|one| !one.is_hide_set()).cloned();
    let about = whole.get_about().cloned().unwrap_or_default();
    let command = Command::new("tracer").version(env!("CARGO_PKG_VERSION")).about(about);
    command.args(whole.get_arguments().cloned()).subcommands(subcommands)
}

/// Writes `tracer.1`, and a page for each subcommand that `tracer help` lists.
pub(super) fn pages(args: &PagesArgs) -> anyhow::Result<ExitCode> {
    let folder = &args.folder;
    let failed = || format!("cannot write to {}", folder.display());
    fs::create_dir_all(folder).with_context(failed)?;
    clap_mangen::generate_to(Cli::command(), folder).with_context(failed)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_offer_only_the_commands_of_users() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut shown(Cli::command()), "tracer", &mut script);
            let script = String::from_utf8(script).unwrap();
            // Options and their texts contain some of the other names.
            let is_unique =
                |command: &&Command| !command.is_hide_set() || command.get_name().contains('-');
            for command in Cli::command().get_subcommands().filter(is_unique) {
                let name = command.get_name();
                assert_eq!(script.contains(name), !command.is_hide_set(), "{shell}: {name}");
            }
        }
    }
}
