//! Restricts commands that parse untrusted files, once these are open.

use anyhow::Context as _;

use tracer_host::sandbox::{self, Sandbox};

/// Restricts this process to the files that it has open.
pub(super) fn to_open_files() -> anyhow::Result<()> {
    enter(&Sandbox::new())
}

/// Restricts this process to the files that it has open and to threads of its own.
pub(super) fn to_open_files_and_threads() -> anyhow::Result<()> {
    enter(&Sandbox::new().with_threads())
}

/// Restricts a process that decodes what others send, to its open files and sockets. Says which
/// mechanisms the kernel lacks.
pub(super) fn decoder(verbose: bool) -> anyhow::Result<()> {
    sandbox::die_first();
    let sandbox = Sandbox::new().with_threads().with_sockets();
    let confinement = sandbox.enter().context("cannot restrict this process")?;
    for (mechanism, reason) in &confinement.missing {
        message!("the decoder is not restricted by {mechanism}: {reason}");
    }
    if verbose {
        let active: Vec<_> = confinement.active.iter().map(|(name, _)| name.name()).collect();
        message!("the decoder is restricted by {}", active.join(", "));
    }
    Ok(())
}

/// Forbids the process that captures what it does not need once its programs are attached. Says if
/// the kernel cannot.
pub(super) fn capture(verbose: bool) {
    match sandbox::restrict_capture() {
        Ok(()) if verbose => message!("the capture is restricted by seccomp"),
        Ok(()) => {}
        Err(reason) => message!("the capture is not restricted by seccomp: {reason}"),
    }
}

/// Restricts this process.
pub(super) fn enter(sandbox: &Sandbox<'_>) -> anyhow::Result<()> {
    // Mechanisms that this kernel lacks are shown by `tracer doctor`.
    sandbox.enter().map(drop).context("cannot restrict this process")
}
