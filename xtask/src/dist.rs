//! `cargo xtask dist`: the one file that users are given.

use std::process::ExitCode;

use anyhow::{Result, ensure};

use crate::{arch::Arch, cross::Static, setup, ui::Ui, vm, workspace::Workspace};

/// Builds it and prints its path, its size and what is in it.
///
/// # Errors
/// When setup or the build fails.
pub(crate) fn run(workspace: &Workspace, ui: &Ui, arch: Arch) -> Result<ExitCode> {
    setup::run(workspace, ui)?;
    let way = Static::find_or_install(ui, arch)?;
    let mut command = way.cargo(workspace, "build");
    command.args(["--profile", vm::PROFILE, "--package", "tracer", "--bin", "tracer"]);
    ui.step(&format!("build tracer for {} ({})", arch.rust(), way.why()), &mut command)?;
    let binary = workspace.target().join(way.triple()).join(vm::PROFILE).join("tracer");
    ensure!(binary.is_file(), "cargo built no {}", binary.display());
    println!("{}", binary.display());
    ui.say(&format!(
        "{}, static, stripped: the daemon, its rules, and the programs for the kernel. \
         It needs no other file, on Linux or Android.",
        vm::size(&binary)?
    ));
    Ok(ExitCode::SUCCESS)
}
