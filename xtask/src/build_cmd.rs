//! `cargo xtask build`: a `tracer` that runs on any Linux of its architecture.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{arch::Arch, cross::Static, dist, setup, shell, ui::Ui, workspace::Workspace};

/// Profile of the binary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Builds quickly; shared with `cargo xtask test`.
    Dev,
    /// Runs quickly; the file of `cargo xtask dist`.
    Release,
}

/// Sets up, builds the static binary and returns its path.
///
/// # Errors
/// If setup or the build fails.
pub(crate) fn run(workspace: &Workspace, ui: &Ui, profile: Profile) -> Result<PathBuf> {
    setup::run(workspace, ui)?;
    if profile == Profile::Release {
        return dist::build(workspace, ui, Arch::host()?);
    }
    let builder = Static::find_or_install(ui, Arch::host()?)?;
    let mut command = builder.cargo(workspace, "build");
    command.args(["--package", "tracer", "--bin", "tracer"]);
    ui.step("build tracer (static)", &mut command)?;
    let binary = builder.directory(workspace, "debug").join("tracer");
    ensure!(binary.is_file(), "cargo did not build {}", binary.display());
    Ok(binary)
}

/// Target triple of this machine.
///
/// # Errors
/// If rustc does not print it.
pub(crate) fn host() -> Result<String> {
    let verbose = shell::answer(Command::new("rustc").arg("-vV"))?;
    let host = verbose.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV does not name the host")?.to_owned())
}
