//! Finds or installs what builds the eBPF programs, and leaves the choice in
//! `.tools/`:
//!
//! ```text
//! .tools/toolchain        name of a rustup toolchain, read by tracer/build.rs
//! .tools/bin/bpf-linker   link to the linker, named by .cargo/config.toml
//! .tools/setup            what was found when the two were written
//! .tools/boringssl/       a TLS client that the integration tests use
//! .tools/venv             Python packages that the integration tests use
//! .tools/builds/          programs that the tests of `tracer locate` analyze
//! .tools/log/             output of every step
//! ```
//!
//! The order is: what is already here (a nightly with rust-src before a
//! compiler with a prebuilt `core`), then Debian's prebuilt `core` where apt
//! has it, then rustup's nightly. A compiler counts once it has linked a small
//! program for BPF with its linker; until then the next one gets its chance.
//! `.tools/` is written last, so that a setup cut short is simply run again.

mod apt;
mod boringssl;
mod builds;
mod debian;
mod foreign;
mod host;
mod linker;
mod probe;
mod state;
mod test_needs;
mod toolchain;

use anyhow::{Context as _, Result};

use self::{
    apt::Apt,
    linker::Linker,
    toolchain::{Compiler, Survey},
};
pub(crate) use self::{
    boringssl::client as boringssl_client,
    foreign::{Archive, debian_mirror, debian_release},
    state::State,
    test_needs::venv_python,
};
use crate::{arch::Arch, ui::Ui, workspace::Workspace};

/// Sets up the build.
///
/// # Errors
/// If no compiler for BPF is here or can be installed; the error has the commands to
/// run by hand.
pub(crate) fn run(workspace: &Workspace, ui: &Ui) -> Result<State> {
    if let Some(state) = State::still_true(workspace) {
        ui.say(&format!("setup: everything is in place: {}", state.summary));
        return Ok(state);
    }
    host::check()?;
    let (compiler, linker) = find_or_install(workspace, ui)?;
    let state = State::leave(workspace, &compiler, &linker)?;
    ui.say(&format!("setup: ready: {}", state.summary));
    Ok(state)
}

/// Shows what [`run`] would do, and does nothing.
///
/// # Errors
/// If the toolchains of this machine cannot be listed.
pub(crate) fn rehearse(workspace: &Workspace, ui: &Ui) -> Result<()> {
    if let Some(state) = State::still_true(workspace) {
        ui.say(&format!("setup: everything is in place: {}", state.summary));
        return Ok(());
    }
    host::check()?;
    if let Some(compiler) = survey(ui)?.into_iter().next() {
        ui.say(&format!("would use {}", compiler.describe()));
        linker::rehearse(ui, &compiler);
        return Ok(());
    }
    if let Err(why) = debian::rehearse(ui) {
        ui.say(&format!("would reject Debian's compiler: {why:#}"));
        toolchain::rehearse_nightly(ui);
    }
    ui.say(&format!("then would build bpf-linker {} with that compiler's LLVM", linker::VERSION));
    Ok(())
}

/// Installs what the integration tests need. Returns what is not available: the tests
/// that need it are skipped.
///
/// # Errors
/// If the clone cannot be written to.
pub(crate) fn for_tests(workspace: &Workspace, ui: &Ui, dry_run: bool) -> Result<Vec<String>> {
    test_needs::install(workspace, ui, dry_run)
}

/// Installs QEMU for every architecture that tracer runs on, without removing other
/// packages.
///
/// # Errors
/// If this is not Debian, or apt fails.
pub(crate) fn install_qemu(ui: &Ui) -> Result<()> {
    const PACKAGES: [&str; 2] = ["qemu-system-x86", "qemu-system-arm"];
    const WHY: &str = "boots the kernels that tests run on";

    let mut apt = Apt::new(ui)?;
    match apt.offers_after_update(&PACKAGES, None) {
        Ok(()) => apt.install(WHY, &PACKAGES),
        // Some tools of QEMU may come from backports; the release's own QEMU would remove
        // them.
        Err(why) => {
            ui.say(&format!("{why:#}"));
            let release = debian_release()?;
            let [security, backports] =
                ["security", "backports"].map(|suite| format!("{release}-{suite}"));
            let suites = [&*release, &security, &backports];
            Archive::open(ui, &suites, Arch::host()?.debian())?.install(&PACKAGES, &backports)
        }
    }
}

/// Installs packages of this system that are missing.
///
/// # Errors
/// If this system has no apt, or apt fails.
pub(crate) fn install_packages(ui: &Ui, packages: &[&str], why: &str) -> Result<()> {
    let mut apt = Apt::new(ui)?;
    if apt.has(packages, None) {
        return Ok(());
    }
    apt.offers_after_update(packages, None)?;
    apt.install(why, packages)
}

/// Returns Debian's compiler as a rustup toolchain, and installs it if it is missing.
///
/// # Errors
/// If this is not Debian, or its apt does not have it.
pub(crate) fn debian_toolchain(ui: &Ui) -> Result<String> {
    Ok(debian::Offer::look_for(ui)?.install(ui)?.name)
}

/// If a way is not available, the next one is tried. If a way fails, the search ends:
/// the next one would hide the failure.
fn find_or_install(workspace: &Workspace, ui: &Ui) -> Result<(Compiler, Linker)> {
    let here = survey(ui)?;
    let debians_is_here = here.iter().any(debian::is_debians);
    for compiler in here {
        if let Some(both) = with_linker(workspace, ui, compiler)? {
            return Ok(both);
        }
    }
    if !debians_is_here {
        match debian::Offer::look_for(ui) {
            Ok(offer) => {
                if let Some(both) = with_linker(workspace, ui, offer.install(ui)?)? {
                    return Ok(both);
                }
            }
            Err(why) => ui.say(&format!("rejected Debian's compiler: {why:#}")),
        }
    }
    let nightly = toolchain::install_nightly(ui)?;
    with_linker(workspace, ui, nightly)?
        .context("nothing builds for BPF here, for the reasons above")
}

fn survey(ui: &Ui) -> Result<Vec<Compiler>> {
    let Survey { usable, passed_over } = Survey::take()?;
    for why in passed_over {
        ui.say(&format!("rejected {why}"));
    }
    Ok(usable)
}

/// Finds or builds the linker for a compiler. Returns `None` if there is none, or if the
/// two do not work together.
fn with_linker(
    workspace: &Workspace,
    ui: &Ui,
    compiler: Compiler,
) -> Result<Option<(Compiler, Linker)>> {
    ui.say(&format!("compiler: {}", compiler.describe()));
    if let Some(linker) = linker::find(workspace, ui, &compiler)? {
        return Ok(Some((compiler, linker)));
    }
    let proven = match linker::Build::plan(&compiler) {
        Ok(build) => {
            let path = build.run(workspace, ui)?;
            linker::prove(workspace, ui, &compiler, path)
        }
        Err(why) => Err(why),
    };
    match proven {
        Ok(linker) => Ok(Some((compiler, linker))),
        Err(why) => {
            ui.say(&format!("rejected {}: {why:#}", compiler.name));
            Ok(None)
        }
    }
}
