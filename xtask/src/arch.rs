//! The architectures that tracer runs on.

use std::env::consts;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

/// An architecture, as Rust calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub(crate) enum Arch {
    /// PCs and servers.
    #[value(name = "x86_64", alias = "amd64")]
    X86_64,
    /// Phones, and more and more of the rest.
    #[value(name = "aarch64", alias = "arm64")]
    Aarch64,
}

impl Arch {
    pub(crate) const ALL: [Self; 2] = [Self::X86_64, Self::Aarch64];

    /// This machine's.
    ///
    /// # Errors
    /// When tracer does not run on it.
    pub(crate) fn host() -> Result<Self> {
        let host = Self::ALL.into_iter().find(|arch| arch.rust() == consts::ARCH);
        host.with_context(|| format!("tracer does not run on {}", consts::ARCH))
    }

    /// As Rust and the kernel call it.
    pub(crate) fn rust(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// As Debian calls it.
    pub(crate) fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }
}
