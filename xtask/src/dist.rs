//! `cargo xtask dist`: the one file that users are given, and packages of it.

use std::{
    fs, iter,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    arch::Arch, cross::Static, package, remap, setup, shell, ui::Ui, workspace::Workspace,
};

/// The profile of the file: that of a release, without debug information.
const PROFILE: &str = "dist";

/// Limit on the size of the file, in bytes. Raise it with the reason in the commit:
/// everything in it is copied to phones.
pub(crate) const MAX_SIZE: u64 = 18_500_000;

/// Builds the file and its packages, and prints their paths.
///
/// # Errors
/// If setup or the build fails, or if `verify` is set and a second build differs.
pub(crate) fn run(workspace: &Workspace, ui: &Ui, arch: Arch, verify: bool) -> Result<ExitCode> {
    setup::run(workspace, ui)?;
    let binary = build(workspace, ui, arch)?;
    if verify {
        build_again(workspace, ui, arch, &binary)?;
    }
    println!("{}", binary.display());
    println!(
        "{}, static, the programs for the kernel inside: nothing else has to be installed",
        shown(size(&binary)?)
    );
    // The binary runs here, unless it is for another architecture.
    let tool = match arch == Arch::host()? {
        true => binary.clone(),
        false => package::tool(workspace, ui)?,
    };
    for file in package::build(workspace, ui, arch, &binary, &tool)? {
        println!("{}", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the file and returns its path.
///
/// # Errors
/// If the build fails.
pub(crate) fn build(workspace: &Workspace, ui: &Ui, arch: Arch) -> Result<PathBuf> {
    let builder = Static::find_or_install(ui, arch)?;
    let mut command = builder.cargo(workspace, "build");
    command.args(["--profile", PROFILE, "--package", "tracer", "--bin", "tracer"]);
    remap::apply(&mut command, workspace)?;
    let label = format!("build tracer for {} ({}, {})", arch.rust(), PROFILE, builder.why());
    ui.step(&label, &mut command)?;
    let binary = builder.directory(workspace, PROFILE).join("tracer");
    ensure!(binary.is_file(), "cargo did not build {}", binary.display());
    Ok(binary)
}

/// Builds the file from a copy of the clone in another folder, and compares.
///
/// # Errors
/// If it cannot be built there, or differs.
fn build_again(workspace: &Workspace, ui: &Ui, arch: Arch, binary: &Path) -> Result<()> {
    let folder = workspace.target().join("verify/a-copy-of-the-clone");
    let copy = copy(workspace, &folder)?;
    let second = build(&copy, ui, arch)?;
    let read =
        |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    if let Some(at) = first_difference(&read(binary)?, &read(&second)?) {
        bail!("{} and {} differ from byte {at} on", binary.display(), second.display());
    }
    ui.say("a second build in another folder has the same bytes");
    fs::remove_dir_all(&folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// Copies the files that git knows or would add.
fn copy(workspace: &Workspace, to: &Path) -> Result<Workspace> {
    if to.exists() {
        fs::remove_dir_all(to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    let mut list = Command::new("git");
    list.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let names = shell::answer(list.current_dir(workspace.root()))?;
    for name in names.split_terminator('\0') {
        let (from, to) = (workspace.root().join(name), to.join(name));
        // Listed, but removed, or a folder of another repository.
        if !from.is_file() {
            continue;
        }
        let folder = to.parent().context("a file without a folder")?;
        fs::create_dir_all(folder)
            .and_then(|()| fs::copy(&from, &to))
            .with_context(|| format!("cannot copy {}", from.display()))?;
    }
    symlink(workspace.tools(), to.join(".tools")).context("cannot link to .tools")?;
    let to = to.canonicalize().with_context(|| format!("cannot find {}", to.display()))?;
    Ok(Workspace::copied_to(to))
}

/// Position of the first byte in which two files differ.
fn first_difference(one: &[u8], other: &[u8]) -> Option<usize> {
    let end = iter::once(one.len().min(other.len())).filter(|_| one.len() != other.len());
    let differs = iter::zip(one, other).position(|(one, other)| one != other);
    differs.into_iter().chain(end).next()
}

/// Size of a file in bytes.
///
/// # Errors
/// If the file cannot be looked at.
pub(crate) fn size(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path)?.len())
}

/// `12.3 MB`.
pub(crate) fn shown(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

#[cfg(test)]
mod tests {
    use super::first_difference;

    #[test]
    fn files_of_equal_bytes_are_equal() {
        assert_eq!(first_difference(b"abc", b"abc"), None);
        assert_eq!(first_difference(b"abc", b"axc"), Some(1));
        assert_eq!(first_difference(b"abc", b"abcd"), Some(3));
        assert_eq!(first_difference(b"", b"a"), Some(0));
    }
}
