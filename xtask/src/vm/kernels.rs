//! The kernels that tests run on: those of Debian's releases, and one that is
//! configured like Android's.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::gki;
use crate::{arch::Arch, setup::Archive, ui::Ui, workspace::Workspace};

/// A kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// Name on the command line.
    pub(super) name: &'static str,
    pub(super) arch: Arch,
    origin: Origin,
    /// True if `cargo xtask test` boots it.
    pub(super) in_ci: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The newest of a flavour in Debian's suites.
    Debian { suites: &'static [&'static str], flavour: &'static str },
    /// Built here by `--build-gki`.
    Gki,
}

const BULLSEYE: &[&str] = &["bullseye", "bullseye-security"];
/// The archive lists newer ones for arm64 and rt, but does not have their files.
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

/// All kernels, oldest first. No Debian release has 5.15 or 6.6.
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
    /// The image that QEMU boots.
    pub(super) vmlinuz: PathBuf,
    /// Its configuration, which Debian's kernels do not contain.
    pub(super) config: Option<PathBuf>,
}

impl Kernel {
    /// Returns its files, which are fetched if they are not in the cache.
    ///
    /// # Errors
    /// If it is not available.
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

    /// Short description of its origin.
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
        .with_context(|| format!("linux-image-{flavour} does not depend on a kernel"))?;
    // From 6.19 on, the image's package is empty, too.
    let (binary, base) = (format!("linux-binary-{version}"), format!("linux-base-{version}"));
    let packages = if archive.has(&binary) {
        vec![binary, base]
    } else {
        vec![format!("linux-image-{version}")]
    };
    let mut found = (None, None);
    for package in packages {
        // The tests need no modules.
        let files = archive.unpack_without(&package, &["./lib/modules", "*/kernel"])?;
        for folder in [files.join("boot"), files.join("usr/lib/modules").join(version)] {
            found.0 = found.0.or(named(&folder, "vmlinuz"));
            found.1 = found.1.or(named(&folder, "config"));
        }
    }
    let vmlinuz =
        found.0.with_context(|| format!("the packages of {version} do not contain a kernel"))?;
    Ok(Image { vmlinuz, config: found.1 })
}

/// Finds the file with this name, or with this name and a version.
fn named(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).ok()?.filter_map(Result::ok);
    let is_it = |file: &str| {
        file.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    };
    entries.find(|entry| is_it(&entry.file_name().to_string_lossy())).map(|entry| entry.path())
}
