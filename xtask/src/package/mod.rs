//! Packages for users: a Debian package and a module for rooted Android.

mod check;
mod deb;
mod debian;
mod module;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

pub(crate) use self::check::check;
use crate::{arch::Arch, cross::Static, shell, ui::Ui, workspace::Workspace};

/// The files of a package.
struct Contents<'a> {
    workspace: &'a Workspace,
    arch: Arch,
    version: &'a str,
    /// The release binary for `arch`.
    binary: &'a Path,
    /// A binary for this machine, which writes the manual pages and completions.
    tool: &'a Path,
}

/// The version of the packages.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Builds a binary for this machine, which writes the manual pages, and returns its path.
///
/// # Errors
/// If the build fails.
pub(crate) fn tool(workspace: &Workspace, ui: &Ui) -> Result<PathBuf> {
    let builder = Static::find_or_install(ui, Arch::host()?)?;
    let mut command = builder.cargo(workspace, "build");
    command.args(["--package", "tracer", "--bin", "tracer"]);
    ui.step("build tracer for this machine, to write the manual pages", &mut command)?;
    Ok(builder.directory(workspace, "debug").join("tracer"))
}

/// Builds the packages of a binary, and a file with their checksums. Returns their paths.
///
/// # Errors
/// If a program that is needed fails, or a file cannot be written.
pub(crate) fn build(
    workspace: &Workspace,
    ui: &Ui,
    arch: Arch,
    binary: &Path,
    tool: &Path,
) -> Result<Vec<PathBuf>> {
    let contents = Contents { workspace, arch, version: VERSION, binary, tool };
    let folder = workspace.target().join("packages");
    fs::create_dir_all(&folder)?;
    let mut packages = vec![module::build(&contents, &folder)?];
    if shell::on_path("dpkg-deb").is_some() {
        packages.push(deb::build(&contents, &folder)?);
    } else {
        ui.say("no Debian package: dpkg-deb is not installed");
    }
    packages.push(checksums(&folder, &packages, arch)?);
    Ok(packages)
}

/// Writes the checksums of the packages of one architecture.
fn checksums(folder: &Path, packages: &[PathBuf], arch: Arch) -> Result<PathBuf> {
    let names = packages.iter().filter_map(|path| path.file_name());
    let sums = shell::answer(Command::new("sha256sum").args(names).current_dir(folder))?;
    let file = folder.join(format!("SHA256SUMS-{}", arch.rust()));
    fs::write(&file, sums)?;
    Ok(file)
}

impl Contents<'_> {
    /// Returns a file of `xtask/package`.
    fn template(&self, name: &str) -> Result<String> {
        let path = self.workspace.root().join("xtask/package").join(name);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }
}

/// Writes a file with a mode, and the folders above it.
fn write(path: &Path, contents: impl AsRef<[u8]>, mode: u32) -> Result<()> {
    let write = || -> Result<()> {
        fs::create_dir_all(path.parent().context("no parent")?)?;
        fs::write(path, contents)?;
        Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
