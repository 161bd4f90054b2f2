//! Keeps the paths of this machine out of binaries, so that two builds are equal byte by byte.
//!
//! rustc writes the paths of source files into messages of panics, and into the type information
//! of the programs for the kernel. `aya-build` replaces the flags in the environment, so this
//! program starts rustc itself, as cargo's `RUSTC_WRAPPER`, and adds flags.

use std::{
    env,
    ffi::OsString,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::workspace::Workspace;

/// Variable with the flags to add, separated by U+001F.
const FLAGS: &str = "TRACER_RUSTC_FLAGS";

const SEPARATOR: &str = "\u{1f}";

/// Makes a cargo command build without the paths of this machine.
///
/// # Errors
/// If this program's own path is not known.
pub(crate) fn apply(command: &mut Command, workspace: &Workspace) -> Result<()> {
    let this = env::current_exe().context("cannot find the path of this program")?;
    command.env("RUSTC_WRAPPER", this).env(FLAGS, flags(workspace));
    Ok(())
}

/// Returns the flags. The last one that matches a path counts.
fn flags(workspace: &Workspace) -> OsString {
    let home = env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let of = |variable: &str, folder: &str| {
        env::var_os(variable).map_or_else(|| home.join(folder), PathBuf::from)
    };
    let names = [
        (workspace.root().to_owned(), "/tracer"),
        (workspace.target(), "/target"),
        (of("CARGO_HOME", ".cargo"), "/cargo"),
        (of("RUSTUP_HOME", ".rustup"), "/rustup"),
    ];
    let flag = |(path, name): &(PathBuf, &str)| {
        let mut flag = OsString::from("--remap-path-prefix=");
        flag.push(Path::new(path));
        flag.push("=");
        flag.push(name);
        flag
    };
    names.iter().map(flag).collect::<Vec<_>>().join(SEPARATOR.as_ref())
}

/// Starts rustc if cargo started this program in its place. Returns otherwise.
///
/// # Errors
/// If rustc cannot be started.
pub(crate) fn wrap() -> Result<()> {
    let Some(flags) = env::var_os(FLAGS) else { return Ok(()) };
    let mut arguments = env::args_os().skip(1);
    let rustc = arguments.next().context("cargo named no compiler")?;
    let flags = flags.into_string().ok().context("the path of a folder is not valid UTF-8")?;
    let error = Command::new(rustc).args(arguments).args(flags.split(SEPARATOR)).exec();
    Err(error).context("cannot start rustc")
}
