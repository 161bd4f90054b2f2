//! Debian's compiler with its prebuilt `core` for BPF.
//!
//! It is installed under /usr. Linked as one of rustup's toolchains it can be called by
//! name, and the host's build keeps its own compiler. It needs neither a nightly nor
//! rust-src.

use std::{path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{
    apt::{self, Apt},
    toolchain::{self, Compiler, Listed},
};
use crate::{ui::Ui, version::Version};

/// The compiler, and `core` for BPF, which the compiler does not depend on.
const PACKAGES: &[&str] = &["rustc-web", "libstd-rust-web-dev-bpf"];

/// A cargo for it, if no toolchain of rustup has one.
const CARGO: &str = "cargo-web";

/// Its sysroot.
const SYSROOT: &str = "/usr";

/// Its name in rustup; the second is used if the first is taken.
pub(super) const NAMES: [&str; 2] = ["rust-web", "tracer-rust-web"];

/// True if a compiler that rustup knows is this one.
pub(super) fn is_debians(compiler: &Compiler) -> bool {
    compiler.sysroot == Path::new(SYSROOT)
}

/// A system that has the compiler installed or in its apt.
pub(super) struct Offer<'a> {
    apt: Apt<'a>,
    installed: bool,
}

impl<'a> Offer<'a> {
    /// # Errors
    /// If there is no apt, or its version is too old.
    pub(super) fn look_for(ui: &'a Ui) -> Result<Self> {
        let mut apt = Apt::new(ui)?;
        let installed = apt.has(PACKAGES, minimum());
        if !installed {
            apt.offers_after_update(PACKAGES, minimum())?;
        }
        Ok(Self { apt, installed })
    }

    /// Installs and links it.
    ///
    /// # Errors
    /// If apt or rustup fails.
    pub(super) fn install(mut self, ui: &Ui) -> Result<Compiler> {
        if !self.installed {
            self.apt.install("a compiler with a prebuilt core for BPF", PACKAGES)?;
        }
        let name = link(ui)?;
        if !toolchain::has_cargo(&name) {
            self.apt.install("rustup has no cargo to lend to it", &[CARGO])?;
        }
        toolchain::named(&name)
    }
}

/// Shows what [`Offer::install`] would run.
///
/// # Errors
/// If there is no apt.
pub(super) fn rehearse(ui: &Ui) -> Result<()> {
    let apt = Apt::new(ui)?;
    if !apt.has(PACKAGES, minimum()) {
        if let Err(why) = apt.offers(PACKAGES, minimum()) {
            ui.say(&format!("{why}: its lists may be missing or old"));
            ui.say("would run: apt-get update (and use rustup if that changes nothing)");
        }
        ui.say(&format!("would run: {}", apt::shown_install(PACKAGES)));
    }
    ui.say(&format!("would run: rustup toolchain link {} {SYSROOT}", NAMES[0]));
    Ok(())
}

fn minimum() -> Option<Version> {
    Version::parse(env!("CARGO_PKG_RUST_VERSION"))
}

/// Links it as a toolchain of rustup if necessary. Returns its name.
fn link(ui: &Ui) -> Result<String> {
    let toolchains = toolchain::list()?;
    if let Some(linked) = toolchains.iter().find(|listed| listed.path == Path::new(SYSROOT)) {
        return Ok(linked.name.clone());
    }
    let name =
        free_name(&toolchains).context("rustup's names rust-web and tracer-rust-web are taken")?;
    let mut command = Command::new("rustup");
    command.args(["toolchain", "link", name, SYSROOT]);
    ui.step(&format!("rustup toolchain link {name} {SYSROOT}"), &mut command)?;
    Ok(name.to_owned())
}

fn free_name(toolchains: &[Listed]) -> Option<&'static str> {
    NAMES.into_iter().find(|name| toolchains.iter().all(|listed| listed.name != *name))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Listed, free_name};

    #[test]
    fn takes_no_name_that_is_in_use() {
        let listed = |name: &str| Listed { name: name.into(), path: PathBuf::from("/opt/rust") };
        assert_eq!(free_name(&[]), Some("rust-web"));
        assert_eq!(free_name(&[listed("rust-web")]), Some("tracer-rust-web"));
        assert_eq!(free_name(&[listed("rust-web"), listed("tracer-rust-web")]), None);
    }
}
