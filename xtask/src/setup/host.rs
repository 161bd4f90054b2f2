//! What the host's own build needs besides Rust.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::shell;

/// A C compiler links everything, and a static C library goes into `tracer`.
///
/// # Errors
/// When one is missing; with what to install.
pub(super) fn check() -> Result<()> {
    let archive = shell::answer(Command::new("cc").arg("-print-file-name=libc.a"))
        .context("no C compiler. Debian: apt-get install gcc libc6-dev; Fedora: dnf install gcc")?;
    // A file that it does not have, the compiler names without a directory.
    ensure!(
        archive.trim().contains('/'),
        "no static C library (libc.a). Debian: apt-get install libc6-dev; Fedora: dnf install glibc-static"
    );
    Ok(())
}
