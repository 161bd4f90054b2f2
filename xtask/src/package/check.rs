//! Installs the packages in an empty system, and removes them again.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::VERSION;
use crate::{arch::Arch, privilege::Privilege, shell, ui::Ui, workspace::Workspace};

/// Files of the Debian package that users rely on.
const INSTALLED: [&str; 7] = [
    "usr/bin/tracer",
    "usr/lib/systemd/system/tracer.service",
    "usr/share/man/man1/tracer.1.gz",
    "usr/share/man/man1/tracer-run.1.gz",
    "usr/share/bash-completion/completions/tracer",
    "usr/share/zsh/vendor-completions/_tracer",
    "usr/share/doc/tracer/docs/guides/watch.md",
];

/// Commands that the scripts of the packages call.
const COMMANDS: [&str; 4] = ["sh", "rm", "cat", "sleep"];

/// Builds the packages of a binary for this machine and checks them; `all` also uses the Debian
/// package in fresh installations of Debian. Returns what could not be checked.
///
/// # Errors
/// If a package does not do what it should.
pub(crate) fn check(
    workspace: &Workspace,
    ui: &Ui,
    binary: &Path,
    all: bool,
) -> Result<Option<String>> {
    let packages = super::build(workspace, ui, Arch::host()?, binary, binary)?;
    let lacks = |what: &str| Ok(Some(format!("packages were built and not installed: {what}")));
    if shell::on_path("dpkg").is_none() {
        return lacks("dpkg is not there");
    }
    let Some(busybox) = shell::on_path("busybox") else {
        return lacks("busybox is not there (Debian: busybox-static)");
    };
    if !matches!(Privilege::of_this_process(), Privilege::Root) {
        return lacks("that needs root");
    }
    let named = |end: &str| {
        let found = packages.iter().find(|path| path.to_string_lossy().ends_with(end));
        found.with_context(|| format!("no {end}"))
    };
    let root = workspace.target().join("packages/root");
    deb(named(".deb")?, &root, &busybox).context("the Debian package")?;
    module(named(".zip")?, &root, &busybox).context("the module for Android")?;
    fs::remove_dir_all(root)?;
    if all { super::debian::check(workspace, ui, named(".deb")?) } else { Ok(None) }
}

/// Makes a system with nothing but a shell.
fn empty_system(root: &Path, busybox: &Path) -> Result<()> {
    if root.exists() {
        fs::remove_dir_all(root)?;
    }
    for folder in ["bin", "tmp", "var/lib/dpkg/info", "var/lib/dpkg/updates"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy(busybox, root.join("bin/busybox"))?;
    for name in COMMANDS {
        symlink("busybox", root.join("bin").join(name))?;
    }
    fs::write(root.join("var/lib/dpkg/status"), "")?;
    Ok(fs::write(root.join("var/lib/dpkg/available"), "")?)
}

fn deb(package: &Path, root: &Path, busybox: &Path) -> Result<()> {
    empty_system(root, busybox)?;
    let dpkg = |arguments: &[&str]| {
        let mut command = Command::new("dpkg");
        command.arg(format!("--root={}", root.display())).args(arguments);
        shell::answer(&mut command)
    };
    let install = || dpkg(&["--install", &package.display().to_string()]);
    install()?;
    for file in INSTALLED {
        ensure!(root.join(file).is_file(), "{file} is not installed");
    }
    let inside =
        |arguments: &[&str]| shell::answer(Command::new("chroot").arg(root).args(arguments));
    let version = inside(&["/usr/bin/tracer", "--version"])?;
    ensure!(version.trim() == format!("tracer {VERSION}"), "it has the version {version}");
    let unit = fs::read_to_string(root.join("usr/lib/systemd/system/tracer.service"))?;
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart="));
    let mut words: Vec<&str> = start.context("no ExecStart")?.split(' ').collect();
    // Parses the options before.
    words.push("--help");
    inside(&words)?;

    // An upgrade keeps the store, a purge removes it.
    let store = root.join("var/lib/tracer/tracer.db");
    fs::create_dir_all(store.parent().context("no folder")?)?;
    fs::write(&store, "")?;
    install()?;
    dpkg(&["--remove", "tracer"])?;
    ensure!(store.is_file(), "removing the package removed the store");
    dpkg(&["--purge", "tracer"])?;
    ensure!(!root.join("var/lib/tracer").exists(), "the store outlives a purge");
    let left = shell::answer(Command::new("find").arg(root).args(["-name", "*tracer*"]))?;
    ensure!(left.is_empty(), "a purge leaves files:\n{left}");
    Ok(())
}

fn module(archive: &Path, root: &Path, busybox: &Path) -> Result<()> {
    empty_system(root, busybox)?;
    let archive = archive.display().to_string();
    let unpacked = root.join("module");
    let run = |arguments: &[&str]| {
        shell::answer(Command::new(busybox).args(arguments).current_dir(&unpacked))
    };
    fs::create_dir_all(&unpacked)?;
    run(&["unzip", "-q", &archive])?;
    let scripts: [PathBuf; 4] =
        ["customize.sh", "service.sh", "uninstall.sh", "META-INF/com/google/android/update-binary"]
            .map(PathBuf::from);
    for script in &scripts {
        run(&["ash", "-n", &script.display().to_string()])?;
    }
    // The functions of the installer, which sources the script.
    let functions = "set_perm() { chmod \"$4\" \"$1\"; }; ui_print() { :; }; abort() { exit 9; }";
    let install = |arch: &str| {
        let script = format!("MODPATH=$PWD; ARCH={arch}; {functions}; . ./customize.sh");
        run(&["ash", "-c", &script])
    };
    let (fitting, other) = match Arch::host()? {
        Arch::X86_64 => ("x64", "arm64"),
        Arch::Aarch64 => ("arm64", "x64"),
    };
    install(fitting)?;
    ensure!(install(other).is_err(), "it is installed on another processor");
    let tracer = unpacked.join("system/bin/tracer");
    let version = shell::answer(Command::new(tracer).arg("--version"))?;
    ensure!(version.trim() == format!("tracer {VERSION}"), "it has the version {version}");
    Ok(())
}
