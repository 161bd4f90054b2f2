//! A kernel configured like Android's GKI: no trampolines for fentry, no
//! tracepoints for single system calls. Built from Debian's source with
//! `xtask/kernels/gki-like.fragment`, which takes a quarter of an hour.

use std::{fs, process::Command, thread};

use anyhow::{Context as _, Result, ensure};

use super::kernels::Image;
use crate::{
    arch::Arch,
    cache,
    setup::{self, Archive},
    ui::Ui,
    workspace::Workspace,
};

/// Options that differ from the smallest configuration.
const FRAGMENT: &str = "xtask/kernels/gki-like.fragment";

/// The package with the source, and its suites.
const SOURCE: &str = "linux-source-6.1";
const SUITES: [&str; 2] = ["bookworm", "bookworm-security"];

/// Packages that build it; dwarves makes the BTF.
const NEEDS: [&str; 12] = [
    "gcc",
    "make",
    "libc6-dev",
    "bc",
    "flex",
    "bison",
    "dwarves",
    "libelf-dev",
    "libssl-dev",
    "lz4",
    "xz-utils",
    "kmod",
];

/// Returns the kernel that was built.
///
/// # Errors
/// If it was not built, with the command that does.
pub(super) fn built(workspace: &Workspace) -> Result<Image> {
    let folder = folder(workspace)?;
    let vmlinuz = folder.join("vmlinuz");
    ensure!(vmlinuz.is_file(), "it is not built; run cargo xtask vm --build-gki");
    Ok(Image { vmlinuz, config: Some(folder.join("config")) })
}

/// Builds the kernel and keeps it for every clone with the same fragment.
///
/// # Errors
/// If something cannot be installed, fetched or built.
pub(super) fn build(workspace: &Workspace, ui: &Ui) -> Result<()> {
    let folder = folder(workspace)?;
    if folder.join("vmlinuz").is_file() {
        ui.say(&format!("{} exists", folder.display()));
        return Ok(());
    }
    setup::install_packages(ui, &NEEDS, "builds the GKI-like kernel")?;
    let archive = Archive::open(ui, &SUITES, Arch::X86_64.debian())?;
    let package = archive.unpack_without(SOURCE, &["./usr/share"])?;
    // The build takes long, and others wait for the lock.
    drop(archive);
    let tarball = package.join("usr/src").join(format!("{SOURCE}.tar.xz"));

    let work = folder.with_extension("building");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(&work)?;
    let mut unpack = Command::new("tar");
    unpack.args(["--strip-components=1", "-xf"]).arg(&tarball).arg("-C").arg(&work);
    ui.step("unpack the kernel's source", &mut unpack)?;
    let make = |arguments: &[&str]| {
        let mut command = Command::new("nice");
        command.args(["make", "ARCH=x86_64"]).args(arguments).current_dir(&work);
        command
    };
    ui.step("configure the kernel", &mut make(&["tinyconfig"]))?;
    let mut merge = Command::new("scripts/kconfig/merge_config.sh");
    merge.args(["-m", ".config"]).arg(workspace.root().join(FRAGMENT)).current_dir(&work);
    ui.step("merge the fragment", &mut merge)?;
    ui.step("complete the configuration", &mut make(&["olddefconfig"]))?;
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    ui.step("build the kernel", &mut make(&[&format!("-j{jobs}"), "bzImage"]))?;

    fs::create_dir_all(&folder)?;
    fs::copy(work.join(".config"), folder.join("config"))?;
    // Last, since its presence means that everything is there.
    fs::copy(work.join("arch/x86/boot/bzImage"), folder.join("partial"))?;
    fs::rename(folder.join("partial"), folder.join("vmlinuz"))?;
    fs::remove_dir_all(&work).context("cannot remove the kernel's source")?;
    ui.say(&format!("built {}", folder.display()));
    Ok(())
}

fn folder(workspace: &Workspace) -> Result<std::path::PathBuf> {
    let fragment = workspace.root().join(FRAGMENT);
    let text = fs::read_to_string(&fragment)
        .with_context(|| format!("cannot read {}", fragment.display()))?;
    Ok(cache::directory()?.join("kernels").join(format!("gki-like-6.1-{}", cache::hash(&text))))
}
