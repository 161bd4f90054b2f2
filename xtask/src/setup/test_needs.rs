//! Installs what the integration tests need besides the build: real clients and
//! browsers. A test whose need is not met is skipped and reports it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{apt::Apt, boringssl, builds, debian, foreign::Archive, linker, state::State};
use crate::{arch::Arch, cache, shell, test::layers, ui::Ui, workspace::Workspace};

/// A Debian package.
struct Package {
    name: &'static str,
    reason: &'static str,
}

/// Packages that are installed if apt has them.
const APT: &[Package] = &[
    Package { name: "chromium", reason: "a browser with BoringSSL inside, for the tests" },
    Package { name: "firefox-esr", reason: "a browser with NSS, for the tests" },
    Package { name: "libnss3-tools", reason: "has that browser trust the tests' own CA" },
    Package { name: "surf", reason: "a browser with WebKitGTK and GnuTLS, for the tests" },
    Package { name: "busybox-static", reason: "an empty system to install packages in" },
    Package { name: "xvfb", reason: "a screen for that browser, and for those under audit" },
    Package { name: "dbus-daemon", reason: "passes pages from one Firefox to another" },
    Package {
        name: "ca-certificates",
        reason: "the certificates that browser trusts, which the tests add theirs to",
    },
    Package { name: "openssl", reason: "makes the tests' own CA" },
    Package { name: "curl", reason: "a client with OpenSSL, for the tests" },
    Package { name: "w3m", reason: "another client with OpenSSL, for the tests" },
    Package { name: "wget", reason: "a client with GnuTLS, for the tests" },
    Package { name: "tshark", reason: "records packets, and reads those that tracer writes" },
    Package { name: "tcpdump", reason: "records packets in the older format, for the tests" },
    Package { name: "iproute2", reason: "sets up the network that they record in" },
];

/// Architecture of a browser that is analyzed and not run.
const FOREIGN: &str = "arm64";

/// Suites to take it from. Browsers are updated in supported ones only.
const SUITES: [&str; 2] = ["bookworm", "bookworm-security"];

/// Clippy for Debian's compiler.
const CLIPPY: Package = Package { name: "rust-web-clippy", reason: "lints the eBPF programs" };

/// Pinned Python packages of clients that the tests watch.
const REQUIREMENTS: &str = "tests/requirements.txt";

/// Debian's Python is preferred to the one on PATH, which may be in a home directory
/// (pyenv) that the users of the tests' clients cannot read.
const PYTHONS: [&str; 2] = ["/usr/bin/python3", "python3"];

/// Installs what is missing. Returns a line for each need that could not be met.
///
/// # Errors
/// If the clone cannot be written to.
pub(super) fn install(workspace: &Workspace, ui: &Ui, dry_run: bool) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    let mut note = |need: &str, result: Result<()>| {
        if let Err(why) = result {
            ui.say(&format!("tests: no {need}: {why:#}"));
            missing.push(format!("{need}: {}", first_line(&why)));
        }
    };
    for package in APT {
        note(package.name, debian_package(ui, package, dry_run));
    }
    if let Some(state) = State::still_true(workspace) {
        note("clippy for the eBPF programs", clippy(ui, &state, dry_run));
    }
    note("chromium for arm64", foreign_chromium(workspace, ui, dry_run));
    note("client with BoringSSL", boringssl_client(workspace, ui, dry_run));
    note("Python packages", python_packages(workspace, ui, dry_run));
    builds::fetch_all(workspace, ui, dry_run, &mut note);
    if !dry_run {
        portable_targets(ui);
    }
    Ok(missing)
}

/// Asks rustup for the standard libraries that the core is compiled with for other
/// systems. Nothing else depends on them, and not every rustup can download, so that a
/// failure is only shown.
fn portable_targets(ui: &Ui) {
    let mut command = Command::new("rustup");
    let installed = shell::answer(command.args(["target", "list", "--installed"]));
    let installed = installed.unwrap_or_default();
    for target in layers::TARGETS {
        if !installed.lines().any(|line| line == target) {
            // Without a network, rustup tries for minutes.
            let mut add = Command::new("timeout");
            add.args(["90", "rustup", "target", "add", target]);
            if let Err(why) = ui.step(&format!("rustup target add {target}"), &mut add) {
                ui.say(&format!("tests: no {target}: {}", first_line(&why)));
            }
        }
    }
}

/// The Python with the packages of the tests.
pub(crate) fn venv_python(workspace: &Workspace) -> PathBuf {
    workspace.tools().join("venv/bin/python3")
}

/// Installs clippy for the compiler that builds the programs.
fn clippy(ui: &Ui, state: &State, dry_run: bool) -> Result<()> {
    let toolchain = state.toolchain.as_str();
    let present = ["run", toolchain, "cargo", "clippy", "--version"];
    if shell::succeeds(Command::new("rustup").args(present)) {
        return Ok(());
    }
    if debian::NAMES.contains(&toolchain) {
        return debian_package(ui, &CLIPPY, dry_run);
    }
    let mut command = Command::new("rustup");
    command.args(["component", "add", "clippy", "--toolchain", toolchain]);
    if dry_run {
        ui.say(&format!("would run: {}", shell::shown(&command)));
        return Ok(());
    }
    ui.step("install clippy", &mut command)
}

fn debian_package(ui: &Ui, Package { name, reason }: &Package, dry_run: bool) -> Result<()> {
    let mut apt = Apt::new(ui)?;
    if apt.has(&[name], None) {
        return Ok(());
    }
    if dry_run {
        ui.say(&format!("would install {name}: {reason}"));
        return Ok(());
    }
    apt.offers_after_update(&[name], None)?;
    apt.install(reason, &[name])
}

/// Fetches a browser into the cache and links `.tools/arm64/chromium` to it.
fn foreign_chromium(workspace: &Workspace, ui: &Ui, dry_run: bool) -> Result<()> {
    let link = workspace.tools().join(FOREIGN).join("chromium");
    // Any version is good enough for the tests.
    if link.is_file() {
        return Ok(());
    }
    if dry_run {
        ui.say(&format!("would fetch chromium for {FOREIGN} into the cache, to analyze it"));
        return Ok(());
    }
    let files = Archive::open(ui, &SUITES, FOREIGN)?.unpack("chromium")?;
    let folder = workspace.tools().join(FOREIGN);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    linker::replace_link(&files.join("usr/lib/chromium/chromium"), &link)
}

/// Builds the client for this machine. Those of guests are built with the guests.
fn boringssl_client(workspace: &Workspace, ui: &Ui, dry_run: bool) -> Result<()> {
    let arch = Arch::host()?;
    if dry_run && !boringssl::is_built(workspace, arch) {
        ui.say("would fetch Android's BoringSSL into the cache, and build a client with it");
        return Ok(());
    }
    boringssl::client(workspace, ui, arch).map(drop)
}

/// Installs [`REQUIREMENTS`] in `.tools/venv`. The stamp with the hash of the list is
/// written last, so that an incomplete or outdated venv is made again.
fn python_packages(workspace: &Workspace, ui: &Ui, dry_run: bool) -> Result<()> {
    let venv = workspace.tools().join("venv");
    let stamp = venv.join("requirements-hash");
    let requirements = workspace.root().join(REQUIREMENTS);
    let wanted = fs::read_to_string(&requirements)
        .with_context(|| format!("cannot read {}", requirements.display()))?;
    let wanted = cache::hash(&wanted);
    let python = venv_python(workspace);
    let works = || shell::succeeds(Command::new(&python).arg("--version"));
    if fs::read_to_string(&stamp).is_ok_and(|stamped| stamped == wanted) && works() {
        return Ok(());
    }
    if dry_run {
        ui.say(&format!("would install what {REQUIREMENTS} names in {}", venv.display()));
        return Ok(());
    }
    make_venv(ui, &venv)?;
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "install", "--no-input", "--disable-pip-version-check", "-r"])
        .arg(&requirements);
    ui.step("pip install the tests' Python packages", &mut pip)?;
    fs::write(&stamp, wanted).with_context(|| format!("cannot write {}", stamp.display()))
}

fn make_venv(ui: &Ui, venv: &Path) -> Result<()> {
    let python = match python_with_venv() {
        Some(python) => python,
        None => {
            let mut apt = Apt::new(ui).context("no Python here can make a venv")?;
            let packages = ["python3", "python3-venv"];
            apt.offers_after_update(&packages, None)?;
            apt.install("clients that the tests watch", &packages)?;
            PYTHONS[0]
        }
    };
    let mut command = Command::new(python);
    command.args(["-m", "venv", "--clear"]).arg(venv);
    ui.step("create a Python venv for the tests", &mut command)
}

/// A Python that can make a venv (Debian has `ensurepip` in a separate package).
fn python_with_venv() -> Option<&'static str> {
    let able =
        |python: &str| shell::succeeds(Command::new(python).args(["-c", "import venv, ensurepip"]));
    PYTHONS.into_iter().find(|python| able(python))
}

fn first_line(error: &anyhow::Error) -> String {
    let text = format!("{error:#}");
    text.lines().next().unwrap_or_default().to_owned()
}
