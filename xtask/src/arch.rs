//! The architectures that tracer runs on.

use std::env::consts;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

/// A processor architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Arch {
    /// PCs and servers.
    #[value(name = "x86_64", alias = "amd64")]
    X86_64,
    /// Phones, and many other machines.
    #[value(name = "aarch64", alias = "arm64")]
    Aarch64,
}

impl Arch {
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// The architecture of this machine.
    ///
    /// # Errors
    /// If tracer does not run on it.
    pub(crate) fn host() -> Result<Self> {
        let host = Self::ALL.into_iter().find(|arch| arch.rust() == consts::ARCH);
        host.with_context(|| format!("tracer does not run on {}", consts::ARCH))
    }

    /// Name in Rust and in the kernel.
    pub(crate) fn rust(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// Name in Debian.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }
}
