//! The kernels that tests are run on: Debian's, of every release that has one,
//! and one that is built like Android's.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::gki;
use crate::{arch::Arch, setup::Archive, ui::Ui, workspace::Workspace};

/// A kernel to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Name on the command line.
    pub(super) name: &'static str,
    pub(super) arch: Arch,
    origin: Origin,
    /// Whether `cargo xtask test` runs it.
    pub(super) in_ci: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The newest of a flavour in some of Debian's suites.
    Debian { suites: &'static [&'static str], flavour: &'static str },
    /// Built here by `--build-gki`.
    Gki,
}

const BULLSEYE: &[&str] = &["bullseye", "bullseye-security"];
/// The archive lists newer ones for arm64 and for rt, and does not have them.
const BULLSEYE_AS_RELEASED: &[&str] = &["bullseye"];
const BOOKWORM: &[&str] = &["bookworm", "bookworm-security"];
const TRIXIE: &[&str] = &["trixie", "trixie-security"];
const SID: &[&str] = &["sid"];

const fn debian(
    name: &'static str,
    arch: Arch,
    suites: &'static [&'static str],
    flavour: &'static str,
    in_ci: bool,
) -> Kernel {
    Kernel { name, arch, origin: Origin::Debian { suites, flavour }, in_ci }
}

/// Every kernel, oldest first. There is no Debian with 5.15 or 6.6.
pub(super) const ALL: [Kernel; 14] = {
    use Arch::{Aarch64, X86_64};
    [
        debian("amd64-5.10", X86_64, BULLSEYE, "amd64", true),
        debian("amd64-5.10-rt", X86_64, BULLSEYE_AS_RELEASED, "rt-amd64", false),
        debian("amd64-6.1", X86_64, BOOKWORM, "amd64", true),
        debian("amd64-6.1-cloud", X86_64, BOOKWORM, "cloud-amd64", false),
        debian("amd64-6.1-rt", X86_64, BOOKWORM, "rt-amd64", false),
        debian("amd64-6.12", X86_64, TRIXIE, "amd64", false),
        debian("amd64-6.12-rt", X86_64, TRIXIE, "rt-amd64", false),
        debian("amd64-newest", X86_64, SID, "amd64", true),
        debian("amd64-newest-cloud", X86_64, SID, "cloud-amd64", false),
        debian("arm64-5.10", Aarch64, BULLSEYE_AS_RELEASED, "arm64", false),
        debian("arm64-6.1", Aarch64, BOOKWORM, "arm64", true),
        debian("arm64-6.12", Aarch64, TRIXIE, "arm64", false),
        debian("arm64-newest", Aarch64, SID, "arm64", true),
        Kernel { name: "gki-like-6.1", arch: X86_64, origin: Origin::Gki, in_ci: false },
    ]
};

/// A kernel's files.
#[derive(Debug)]
pub(super) struct Image {
    /// What QEMU boots.
    pub(super) vmlinuz: PathBuf,
    /// How it was configured: no kernel of Debian's tells.
    pub(super) config: Option<PathBuf>,
}

impl Kernel {
    /// Fetches it, where it is not in the cache.
    ///
    /// # Errors
    /// When it cannot be had.
    pub(super) fn image(&self, workspace: &Workspace, ui: &Ui) -> Result<Image> {
        match self.origin {
            Origin::Gki => gki::built(workspace),
            Origin::Debian { suites, flavour } => {
                let archive = Archive::open(ui, suites, self.arch.debian())?;
                fetch(&archive, flavour)
            }
        }
        .with_context(|| format!("no kernel {}", self.name))
    }

    /// Relative duration of the tests on it: newer kernels have slower verifiers, and
    /// emulating arm64 takes longer.
    pub(super) fn duration(&self) -> u32 {
        let newest = u32::from(self.name.contains("newest")) * 2;
        let rt = u32::from(self.name.contains("-rt")) * 2;
        newest + rt + u32::from(self.arch != Arch::X86_64)
    }

    /// Where it comes from, in a few words.
    pub(super) fn describe(&self) -> String {
        match self.origin {
            Origin::Gki => "built by --build-gki, configured like Android's GKI".to_owned(),
            Origin::Debian { suites, flavour } => {
                format!("Debian {}, linux-image-{flavour}", suites[0])
            }
        }
    }
}

fn fetch(archive: &Archive<'_>, flavour: &str) -> Result<Image> {
    // The flavour's own package is empty and depends on the newest.
    let depends = archive.dependencies(&format!("linux-image-{flavour}"))?;
    let version = depends
        .iter()
        .filter_map(|name| name.strip_prefix("linux-image-"))
        .find(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        .with_context(|| format!("linux-image-{flavour} depends on no kernel"))?;
    // From 6.19 on, the image's package is empty as well.
    let (binary, base) = (format!("linux-binary-{version}"), format!("linux-base-{version}"));
    let packages = if archive.has(&binary) {
        vec![binary, base]
    } else {
        vec![format!("linux-image-{version}")]
    };
    let mut found = (None, None);
    for package in packages {
        // Nothing that the tests need is a module.
        let files = archive.unpack_without(&package, &["./lib/modules", "*/kernel"])?;
        for folder in [files.join("boot"), files.join("usr/lib/modules").join(version)] {
            found.0 = found.0.or(named(&folder, "vmlinuz"));
            found.1 = found.1.or(named(&folder, "config"));
        }
    }
    let vmlinuz = found.0.with_context(|| format!("the packages of {version} hold no kernel"))?;
    Ok(Image { vmlinuz, config: found.1 })
}

/// The file of this name, or of one that begins so and names a version.
fn named(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let is_it = |file: &str| {
        file.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    entries.find(|entry| is_it(&entry.file_name().to_string_lossy())).map(|entry| entry.path())
}
