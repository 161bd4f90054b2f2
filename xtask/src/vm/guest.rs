//! The guest's system: an initramfs with the tests and the programs that they start.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{cpio::Initramfs, kernels::Image, qemu::Qemu};
use crate::{
    arch::Arch,
    cross::Static,
    setup::{self, Archive},
    shell,
    ui::Ui,
    workspace::Workspace,
};

/// The test binaries that run in guests: those that need a kernel, but not a complete
/// system.
pub(super) const TESTS: &[&str] = &["kernel", "live"];

/// Their modules, in the order in which the harness runs them.
pub(super) const MODULES: [&str; 11] = [
    "hooks",
    "load",
    "scope",
    "sends",
    "android",
    "doctor",
    "packages",
    "privileges",
    "run",
    "sandbox",
    "tls",
];

/// Programs that the tests or the guest start.
const PROGRAMS: [&str; 6] = ["guest", "sender", "sandboxed", "device", "netd", "tracer"];

/// Debian packages with programs that tests call.
const PACKAGES: [&str; 7] =
    ["busybox-static", "bash-static", "openssl", "libssl3", "libc6", "libstdc++6", "libgcc-s1"];

/// Suites to take them from, the same for every kernel.
const SUITES: [&str; 2] = ["bookworm", "bookworm-security"];

/// Files in them that no test needs.
const UNNEEDED: [&str; 5] =
    ["./usr/share", "*/gconv", "*/engines-3", "*/ossl-modules", "./etc/bash.bashrc"];

/// Names under which busybox is installed.
const BUSYBOX: [&str; 4] = ["cp", "sh", "cat", "true"];

/// The files for guests of an architecture.
pub(super) struct System {
    arch: Arch,
    programs: Vec<Executable>,
    tests: Vec<Executable>,
    packages: Vec<PathBuf>,
    /// Recorded requests and a client with BoringSSL. Tests find them at their path in
    /// the clone.
    folders: [PathBuf; 2],
}

impl System {
    /// Builds the tests for the architecture, and fetches the packages.
    ///
    /// # Errors
    /// If something cannot be built or fetched.
    pub(super) fn build(workspace: &Workspace, ui: &Ui, arch: Arch) -> Result<Self> {
        let builder = Static::find_or_install(ui, arch)?;
        ui.step(
            &format!("build the tests for {} ({})", arch.rust(), builder.why()),
            &mut shell::niced(&cargo(&builder, workspace, arch)?),
        )?;
        // Again for the paths: by now there is nothing to build.
        let mut command = cargo(&builder, workspace, arch)?;
        let messages = shell::answer(command.arg("--message-format=json"))?;
        let folder = workspace.target().join("vm/stripped").join(arch.rust());
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let built = |kind: &str, names: &[&str]| {
            let found: Vec<_> =
                names.iter().filter_map(|name| executable(&messages, kind, name)).collect();
            ensure!(found.len() == names.len(), "cargo did not build all of {names:?}");
            found.into_iter().map(|built| Executable::new(arch, built, &folder)).collect()
        };
        // Before the archive is opened, since this opens it, too.
        let boringssl = setup::boringssl_client(workspace, ui, arch)?;
        let archive = Archive::open(ui, &SUITES, arch.debian())?;
        let packages = PACKAGES.iter().map(|name| archive.unpack_without(name, &UNNEEDED));
        Ok(Self {
            arch,
            programs: built("bin", &PROGRAMS)?,
            tests: built("test", TESTS)?,
            packages: packages.collect::<Result<_>>()?,
            folders: [workspace.root().join("tests/fixtures/corpus"), boringssl],
        })
    }

    /// Writes the initramfs of a guest that runs the tests, with `arguments` for the test
    /// harness, or none at all.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn pack(
        &self,
        to: &Path,
        image: &Image,
        arguments: Option<&[String]>,
    ) -> Result<()> {
        let mut archive = Initramfs::create(to)?;
        for mounted in ["proc", "sys", "dev", "root"] {
            archive.folder(mounted, 0o755)?;
        }
        // Before it becomes part of another path: the clone may be in it.
        archive.folder("tmp", 0o1777)?;
        // Standard output of the first process.
        archive.device("dev/console", 5, 1)?;
        for package in &self.packages {
            archive.tree(package, "")?;
        }
        for name in BUSYBOX {
            archive.link(&format!("bin/{name}"), "busybox")?;
        }
        archive.link("bin/bash", "bash-static")?;
        if let Some(config) = &image.config {
            archive.copy("boot/config", config)?;
        }
        for folder in &self.folders {
            archive.tree(folder, utf8(folder)?)?;
        }
        for Executable { name, path, stripped } in &self.programs {
            // Tests look for it at the path at which it was built.
            let at = if name == "guest" { "init" } else { utf8(path)? };
            archive.copy(at, stripped)?;
        }
        for Executable { name, stripped, .. } in &self.tests {
            archive.copy(&format!("guest/{name}"), stripped)?;
        }
        archive.file("guest/plan", 0o644, self.plan(arguments)?.as_bytes())?;
        archive.finish().map(drop)
    }

    /// The guest's plan, in the format that `tests/src/bin/guest.rs` describes.
    fn plan(&self, arguments: Option<&[String]>) -> Result<String> {
        let mut plan = format!("results {}\n", Qemu::results_port(self.arch));
        let tracer = self.programs.iter().find(|program| program.name == "tracer");
        let tracer = tracer.context("tracer was not built")?;
        plan += &format!("env TRACER_BIN={}\n", utf8(&tracer.path)?);
        plan += "env PATH=/bin:/usr/bin\nenv HOME=/root\nenv TRACER_TEST_GUEST=1\n";
        // One at a time: an emulated machine is slow enough for one test.
        let arguments_or_none = arguments.unwrap_or_default();
        for (option, value) in [("--test-threads", "1"), ("--color", "never")] {
            // The harness does not accept an option twice.
            if !arguments_or_none.iter().any(|argument| argument.starts_with(option)) {
                plan += &format!("argument {option}={value}\n");
            }
        }
        for argument in arguments_or_none {
            plan += &format!("argument {argument}\n");
        }
        if arguments.is_some() {
            for Executable { name, .. } in &self.tests {
                plan += &format!("run {name} /guest/{name}\n");
            }
        }
        Ok(plan)
    }
}

/// Builds for a guest. With `--workspace` cargo selects the same features as for the tests
/// on this machine's kernel, so that both share one build.
fn cargo(builder: &Static, workspace: &Workspace, arch: Arch) -> Result<Command> {
    let mut command = builder.cargo(workspace, "build");
    if arch == Arch::host()? {
        command.arg("--workspace");
    } else {
        command.args(["--package", "tracer-tests", "--package", "tracer"]);
        // The schemas of output are checked on this machine.
        command.arg("--no-default-features");
        // Cargo locks a directory for a whole build, and lints run at the same time.
        command.env("CARGO_TARGET_DIR", workspace.target().join("vm/build"));
        command.env("CARGO_INCREMENTAL", "0");
    }
    command.args(PROGRAMS.iter().flat_map(|name| ["--bin", name]));
    command.args(TESTS.iter().flat_map(|name| ["--test", name]));
    Ok(command)
}

/// An executable that cargo built.
struct Executable {
    name: String,
    /// The path at which it was built.
    path: PathBuf,
    /// A copy without debug information, which is most of a static executable. Tests copy
    /// executables, and an emulated machine does that slowly.
    stripped: PathBuf,
}

impl Executable {
    fn new(arch: Arch, (name, path): (String, PathBuf), folder: &Path) -> Result<Self> {
        let stripped = folder.join(&name);
        let prefix = if arch == Arch::host()? {
            String::new()
        } else {
            format!("{}-linux-gnu-", arch.rust())
        };
        let mut strip = Command::new(format!("{prefix}strip"));
        strip.arg("--strip-debug").arg("-o").arg(&stripped).arg(&path);
        // Without binutils it is only slower.
        let stripped = if shell::succeeds(&mut strip) { stripped } else { path.clone() };
        Ok(Self { name, path, stripped })
    }
}

fn utf8(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

/// Finds the executable of a target in cargo's messages.
fn executable(messages: &str, kind: &str, name: &str) -> Option<(String, PathBuf)> {
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut paths = artifacts.filter_map(|message| {
        let target = &message["target"];
        let is_it = target["name"] == name && target["kind"][0] == kind;
        is_it.then(|| message["executable"].as_str().map(PathBuf::from)).flatten()
    });
    Some((name.to_owned(), paths.next()?))
}

#[cfg(test)]
mod tests {
    use super::executable;

    #[test]
    fn executables_are_found_by_kind_and_name() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"run"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"run"},"executable":"/t/deps/run-1"}
not json
{"reason":"build-finished","success":true}"#;
        let found = executable(messages, "test", "run").unwrap();
        assert_eq!(found.1.to_str(), Some("/t/deps/run-1"));
        assert!(executable(messages, "bin", "run").is_none());
    }
}
