//! Restricts commands that parse untrusted files, once these are open.

use anyhow::Context as _;

use tracer_host::sandbox::Sandbox;

/// Restricts this process to the files that it has open.
pub(super) fn to_open_files() -> anyhow::Result<()> {
    enter(&Sandbox::new())
}

/// Restricts this process.
pub(super) fn enter(sandbox: &Sandbox<'_>) -> anyhow::Result<()> {
    // Mechanisms that this kernel lacks are shown by `tracer doctor`.
    sandbox.enter().map(drop).context("cannot restrict this process")
}
