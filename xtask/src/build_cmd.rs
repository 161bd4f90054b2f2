//! `cargo xtask build`: a `tracer` that runs on any Linux of its architecture.

use std::{env, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};

use crate::{setup, shell, ui::Ui, workspace::Workspace};

/// Which of Cargo's profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Quick to build.
    Dev,
    /// Quick to run.
    Release,
}

/// Sets up, builds the static binary and returns its path.
///
/// # Errors
/// When setup or the build fails.
pub(crate) fn run(workspace: &Workspace, ui: &Ui, profile: Profile) -> Result<PathBuf> {
    setup::run(workspace, ui)?;
    let host = host()?;
    let mut command = workspace.cargo();
    command
        .args(["build", "--package", "tracer", "--bin", "tracer"])
        // Named although it is the host: flags then do not reach build scripts
        // and procedural macros, which have to stay dynamic.
        .args(["--target", &host]);
    add_static_flag(&mut command);
    let directory = match profile {
        Profile::Dev => "debug",
        Profile::Release => {
            command.arg("--release");
            "release"
        }
    };
    ui.step(&format!("build tracer ({directory}, static)"), &mut command)?;
    let binary = workspace.target().join(&host).join(directory).join("tracer");
    ensure!(binary.is_file(), "cargo built no {}", binary.display());
    Ok(binary)
}

/// The triple of this machine.
///
/// # Errors
/// When rustc does not say.
pub(crate) fn host() -> Result<String> {
    let verbose = shell::answer(Command::new("rustc").arg("-vV"))?;
    let host = verbose.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// Adds to the caller's flags the one that makes the binary static.
fn add_static_flag(command: &mut Command) {
    const STATIC: &str = "-Ctarget-feature=+crt-static";
    // Cargo prefers the first where both are set; U+001F separates its flags.
    let (name, separator) = match env::var_os("CARGO_ENCODED_RUSTFLAGS") {
        Some(_) => ("CARGO_ENCODED_RUSTFLAGS", "\u{1f}"),
        None => ("RUSTFLAGS", " "),
    };
    let mut flags = env::var_os(name).unwrap_or_default();
    if !flags.is_empty() {
        flags.push(separator);
    }
    flags.push(STATIC);
    command.env(name, flags);
}
