//! `cargo xtask dist`: the one file that users are given.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Result, ensure};

use crate::{arch::Arch, cross::Static, setup, ui::Ui, workspace::Workspace};

/// The profile of the file: that of a release, without debug information.
const PROFILE: &str = "dist";

/// Limit on the size of the file, in bytes. Raise it with the reason in the commit:
/// everything in it is copied to phones.
pub(crate) const MAX_SIZE: u64 = 19_000_000;

/// Builds the file and prints its path and size.
///
/// # Errors
/// If setup or the build fails.
pub(crate) fn run(workspace: &Workspace, ui: &Ui, arch: Arch) -> Result<ExitCode> {
    setup::run(workspace, ui)?;
    let binary = build(workspace, ui, arch)?;
    println!("{}", binary.display());
    println!(
        "{}, static, the programs for the kernel inside: nothing else has to be installed",
        shown(size(&binary)?)
    );
    Ok(ExitCode::SUCCESS)
}

/// Builds the file and returns its path.
///
/// # Errors
/// If the build fails.
pub(crate) fn build(workspace: &Workspace, ui: &Ui, arch: Arch) -> Result<PathBuf> {
    let builder = Static::find_or_install(ui, arch)?;
    let mut command = builder.cargo(workspace, "build");
    command.args(["--profile", PROFILE, "--package", "tracer", "--bin", "tracer"]);
    let label = format!("build tracer for {} ({}, {})", arch.rust(), PROFILE, builder.why());
    ui.step(&label, &mut command)?;
    let binary = builder.directory(workspace, PROFILE).join("tracer");
    ensure!(binary.is_file(), "cargo did not build {}", binary.display());
    Ok(binary)
}

/// Size of a file in bytes.
///
/// # Errors
/// If the file cannot be looked at.
pub(crate) fn size(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path)?.len())
}

/// `12.3 MB`.
pub(crate) fn shown(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}
