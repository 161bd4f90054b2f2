//! Checks for what the host's build needs besides Rust.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::shell;

/// Checks for a C compiler, which links, and for a static C library, which becomes part
/// of `tracer`.
///
/// # Errors
/// If one is missing, with what to install.
pub(super) fn check() -> Result<()> {
    let archive = shell::answer(Command::new("cc").arg("-print-file-name=libc.a"))
        .context("no C compiler. Debian: apt-get install gcc libc6-dev; Fedora: dnf install gcc")?;
    // The compiler prints a missing file without a directory.
    ensure!(
        archive.trim().contains('/'),
        "no static C library (libc.a). Debian: apt-get install libc6-dev; Fedora: dnf install glibc-static"
    );
    Ok(())
}
