//! `cargo xtask demo`: builds, then shows how a leak is caught.

use std::{os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{
    build_cmd::{self, Profile},
    privilege::Privilege,
    shell,
    ui::Ui,
    workspace::Workspace,
};

/// Builds `tracer` and replaces this process with `tracer demo`, so that Ctrl-C and the
/// exit code are its own.
///
/// # Errors
/// If it cannot be built or started.
pub(crate) fn run(workspace: &Workspace, ui: &Ui, arguments: &[String]) -> Result<ExitCode> {
    let privilege = Privilege::of_this_process();
    // Reported before the build, which takes a while.
    match privilege {
        Privilege::Root => {}
        Privilege::Sudo | Privilege::SudoAsks => {
            ui.say("loading eBPF programs needs root: the demo will run through sudo");
        }
        Privilege::No => bail!(
            "loading eBPF programs needs root, and sudo is not available. \
             As root, run:\n  cargo xtask demo"
        ),
    }
    let binary = build_cmd::run(workspace, ui, Profile::Dev)?;
    let binary = binary.to_str().context("the path of the binary is not UTF-8")?;
    let mut all = vec!["demo"];
    all.extend(arguments.iter().map(String::as_str));

    let mut command = privilege.command(binary, &all)?;
    ui.say(&format!("run {}", shell::shown(&command)));
    Err(command.exec()).with_context(|| format!("cannot start {}", shell::shown(&command)))
}
