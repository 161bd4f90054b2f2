//! `cargo xtask soak`: runs tracer under a load for a long time.
//! docs/measurements/soak.md has results.

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::{
    privilege::{self, Privilege},
    setup, shell,
    ui::Ui,
    workspace::Workspace,
};

/// Sets up, builds tracer and the load, and runs them. Their output goes to this command's own
/// output.
///
/// # Errors
/// If something cannot be built or started.
pub(crate) fn run(workspace: &Workspace, ui: &Ui, minutes: u32) -> Result<ExitCode> {
    setup::run(workspace, ui)?;
    let mut build = workspace.cargo();
    build.args(["build", "--package", "tracer", "--package", "tracer-tests", "--bins"]);
    ui.step("build tracer and the load", &mut build)?;
    let mut soak = workspace.cargo();
    soak.args(["run", "--quiet", "--package", "tracer-tests", "--bin", "soak"]);
    soak.arg("--").arg(minutes.to_string());
    soak.env("TRACER_BIN", workspace.target().join("debug/tracer"));
    if Privilege::of_this_process() == Privilege::Sudo {
        privilege::run_through_sudo(&mut soak)?;
    }
    ui.say(&format!("run {}", shell::shown(&soak)));
    let status = soak.status().with_context(|| format!("cannot start {}", shell::shown(&soak)))?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
