//! `cargo xtask demo`: build, then watch a leak being caught.

use std::{os::unix::process::CommandExt as _, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{
    build_cmd::{self, Profile},
    privilege::Privilege,
    shell,
    ui::Ui,
    workspace::Workspace,
};

/// Builds `tracer` and becomes `tracer demo`: its exit code is ours, and Ctrl-C
/// reaches it alone.
///
/// # Errors
/// When it cannot be built or started.
pub(crate) fn run(workspace: &Workspace, ui: &Ui, arguments: &[String]) -> Result<ExitCode> {
    let privilege = Privilege::of_this_process();
    // Told before the build, which takes a while.
    match privilege {
        Privilege::Root => {}
        Privilege::Sudo | Privilege::SudoAsks => {
            ui.say("loading eBPF programs takes root: the demo will run through sudo");
        }
        Privilege::No => bail!(
            "loading eBPF programs takes root, and no sudo is to be had here. \
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
