//! Uses the Debian package in fresh installations of Debian.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::{privilege::Privilege, setup, shell, ui::Ui, workspace::Workspace};

/// The releases that are supported.
const RELEASES: [&str; 2] = ["bookworm", "trixie"];

/// Packages that the script needs, besides those of every installation.
const PACKAGES: &str = "bash-completion,man-db";

/// Name of the script, which runs in the new root directory.
const SCRIPT: &str = "installed.sh";

/// Installs the package in fresh systems, and uses it there. Returns what could not be checked.
///
/// # Errors
/// If the package does not do there what it should.
pub(crate) fn check(workspace: &Workspace, ui: &Ui, package: &Path) -> Result<Option<String>> {
    let lacks =
        |what: &str| Ok(Some(format!("the package was not used in a fresh Debian: {what}")));
    if shell::on_path("debootstrap").is_none() {
        return lacks("debootstrap is not there");
    }
    if !matches!(Privilege::of_this_process(), Privilege::Root) {
        return lacks("that needs root");
    }
    let Ok(mirror) = setup::debian_mirror() else {
        return lacks("no mirror of Debian was found");
    };
    for release in RELEASES {
        let root = workspace.target().join("packages").join(release);
        remove(&root)?;
        let installed = install(ui, release, &root, &mirror)
            .and_then(|()| used(workspace, ui, release, &root, package));
        remove(&root)?;
        installed.with_context(|| format!("the Debian package in {release}"))?;
    }
    Ok(None)
}

fn remove(root: &Path) -> Result<()> {
    if !root.exists() {
        return Ok(());
    }
    fs::remove_dir_all(root).with_context(|| format!("cannot remove {}", root.display()))
}

/// Installs the smallest Debian.
fn install(ui: &Ui, release: &str, root: &Path, mirror: &str) -> Result<()> {
    fs::create_dir_all(root.parent().context("no folder")?)?;
    let mut command = Command::new("debootstrap");
    command.args(["--variant=minbase", &format!("--include={PACKAGES}"), release]);
    command.arg(root).arg(mirror);
    ui.step(&format!("install Debian {release}"), &mut shell::niced(&command))
}

/// Runs the script. Its mounts end with it, because they are in a namespace of their own.
fn used(workspace: &Workspace, ui: &Ui, release: &str, root: &Path, package: &Path) -> Result<()> {
    const ENTER: &str = "set -e; for folder in proc sys dev; do \
                         mount --rbind /$folder \"$1/$folder\"; done; \
                         exec chroot \"$1\" /bin/sh /installed.sh \"$2\"";
    let name = package.file_name().context("no name")?;
    fs::copy(package, root.join(name))?;
    let script = workspace.root().join("xtask/package").join(SCRIPT);
    fs::copy(&script, root.join(SCRIPT))?;
    let inside = PathBuf::from("/").join(name);
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", ENTER, "sh"]);
    command.arg(root).arg(inside);
    ui.step(&format!("use the package in Debian {release}"), &mut command)?;
    ensure!(root.join("proc").read_dir()?.next().is_none(), "/proc is still mounted");
    Ok(())
}
