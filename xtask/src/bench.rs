//! `cargo xtask bench`: the benchmarks of the decoder and of the programs in
//! the kernel. docs/measurements/performance.md says what they measure.

use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    privilege::{self, Privilege},
    setup, shell,
    ui::Ui,
    workspace::Workspace,
};

pub(crate) mod peers;

/// The package whose benchmarks load programs into the kernel.
const KERNEL: &str = "tracer-tests";

/// Sets up, builds the benchmarks and runs them. Their output goes to this command's
/// own output.
///
/// # Errors
/// If something cannot be built or started.
pub(crate) fn run(workspace: &Workspace, ui: &Ui, options: &peers::Options) -> Result<ExitCode> {
    if options.is_of_peers() {
        return peers::run(workspace, ui, options);
    }
    setup::run(workspace, ui)?;
    let bench = |arguments: &[&str]| {
        let mut command = workspace.cargo();
        command.arg("bench").args(arguments);
        command
    };
    ui.step("build the benchmarks", &mut bench(&["--workspace", "--no-run"]))?;

    let core = bench(&["--quiet", "--workspace", "--exclude", KERNEL]);
    let mut kernel = bench(&["--quiet", "--package", KERNEL]);
    if Privilege::of_this_process() == Privilege::Sudo {
        privilege::run_through_sudo(&mut kernel)?;
    }
    let core = show(ui, core)?;
    let kernel = show(ui, kernel)?;
    Ok(if core && kernel { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a command and shows its output. Returns true if it succeeded.
fn show(ui: &Ui, mut command: Command) -> Result<bool> {
    ui.say(&format!("run {}", shell::shown(&command)));
    let status =
        command.status().with_context(|| format!("cannot start {}", shell::shown(&command)))?;
    Ok(status.success())
}
