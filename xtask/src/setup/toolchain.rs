//! The compilers that rustup knows, and which of them can build for BPF.

use std::{fs, path::Path, path::PathBuf, process::Command};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{shell, ui::Ui, version::Version};

/// The target of the programs.
pub(super) const TARGET: &str = "bpfel-unknown-none";

/// The oldest compiler that builds this workspace.
const MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");

const NIGHTLY: &str = "nightly";

/// The output of `rustc -vV`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rustc {
    pub(super) release: Version,
    pub(super) nightly: bool,
    pub(super) llvm: Version,
}

impl Rustc {
    pub(super) fn parse(verbose: &str) -> Result<Self> {
        let field = |name: &str| {
            verbose
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
                .with_context(|| format!("rustc -vV has no line {name:?}"))
        };
        let version =
            |text: &str| Version::parse(text).with_context(|| format!("version {text:?}"));
        let release = field("release")?;
        Ok(Self {
            release: version(release)?,
            nightly: release.ends_with("-nightly") || release.ends_with("-dev"),
            llvm: version(field("LLVM version")?)?,
        })
    }
}

/// Source of `core` for BPF. aya-build decides in the same way: it builds `core` if and
/// only if the compiler is a nightly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Core {
    /// Built together with the programs from the toolchain's rust-src.
    Source,
    /// Shipped with the compiler.
    Prebuilt,
}

impl Core {
    fn of(sysroot: &Path, nightly: bool) -> Result<Self, &'static str> {
        let rustlib = sysroot.join("lib/rustlib");
        if nightly {
            let source = rustlib.join("src/rust/library/core/src/lib.rs");
            return if source.is_file() { Ok(Self::Source) } else { Err("it has no rust-src") };
        }
        let prebuilt = fs::read_dir(rustlib.join(TARGET).join("lib"))
            .into_iter()
            .flatten()
            .filter_map(Result::ok)
            .any(|entry| entry.file_name().to_string_lossy().starts_with("libcore-"));
        if prebuilt {
            Ok(Self::Prebuilt)
        } else {
            Err("it is no nightly and has no prebuilt core for BPF")
        }
    }
}

/// A compiler that can build for BPF.
#[derive(Clone, Debug)]
pub(super) struct Compiler {
    /// Name in rustup.
    pub(super) name: String,
    /// The directory with `bin/` and `lib/`.
    pub(super) sysroot: PathBuf,
    pub(super) rustc: Rustc,
    core: Core,
}

impl Compiler {
    /// Returns a command for a tool of this toolchain.
    pub(super) fn tool(&self, program: &str) -> Command {
        tool(&self.name, program)
    }

    /// True if `core` is built together with the programs.
    pub(super) fn builds_core(&self) -> bool {
        self.core == Core::Source
    }

    /// Describes the compiler and the reason for which it was chosen.
    pub(super) fn describe(&self) -> String {
        let Rustc { release, llvm, .. } = &self.rustc;
        let why = match self.core {
            Core::Source => "a nightly with rust-src, which builds core for BPF",
            Core::Prebuilt => "it ships a prebuilt core for BPF",
        };
        format!("{} (rustc {release}, LLVM {llvm}): {why}", self.name)
    }

    fn look_at(Listed { name, path }: &Listed) -> Result<Self> {
        let rustc = Rustc::parse(&shell::answer(tool(name, "rustc").arg("-vV"))?)?;
        let minimum = Version::parse(MINIMUM).context("rust-version in Cargo.toml")?;
        ensure!(rustc.release >= minimum, "rustc {} is older than {MINIMUM}", rustc.release);
        let core = Core::of(path, rustc.nightly).map_err(anyhow::Error::msg)?;
        ensure!(has_cargo(name), "rustup has no cargo for it");
        Ok(Self { name: name.clone(), sysroot: path.clone(), rustc, core })
    }
}

/// The toolchains of rustup that can build for BPF, best first, and those that cannot.
pub(super) struct Survey {
    pub(super) usable: Vec<Compiler>,
    /// Name and reason of toolchains that only lack a part.
    pub(super) passed_over: Vec<String>,
}

impl Survey {
    /// Inspects every toolchain.
    ///
    /// # Errors
    /// If there is no rustup.
    pub(super) fn take() -> Result<Self> {
        let mut survey = Self { usable: Vec::new(), passed_over: Vec::new() };
        for listed in list()? {
            match Compiler::look_at(&listed) {
                Ok(compiler) => survey.usable.push(compiler),
                // No stable compiler of rustup has `core` for BPF; that is not worth a line.
                Err(why) if listed.is_nightly() => {
                    survey.passed_over.push(format!("{}: {why:#}", listed.name));
                }
                Err(_) => {}
            }
        }
        survey.usable.sort_by_key(|compiler| compiler.core != Core::Source);
        Ok(survey)
    }
}

/// One line of `rustup toolchain list -v`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) name: String,
    pub(super) path: PathBuf,
}

impl Listed {
    fn is_nightly(&self) -> bool {
        self.name.starts_with(NIGHTLY)
    }
}

/// Lists the toolchains of rustup.
///
/// # Errors
/// If there is no rustup, with what to do.
pub(super) fn list() -> Result<Vec<Listed>> {
    if shell::on_path("rustup").is_none() {
        bail!(
            "rustup is not installed, and the eBPF programs need a second compiler beside yours. \
             Install it (https://rustup.rs, or your distribution's package rustup), then run \
             `cargo xtask setup` again"
        );
    }
    let text = shell::answer(Command::new("rustup").args(["toolchain", "list", "-v"]))?;
    Ok(parse_list(&text))
}

fn parse_list(text: &str) -> Vec<Listed> {
    text.lines()
        .filter_map(|line| {
            let (name, _) = line.split_once(' ')?;
            let path = line.get(line.find(" /")? + 1..)?;
            Some(Listed { name: name.to_owned(), path: PathBuf::from(path) })
        })
        .collect()
}

/// Returns a command for a tool of a toolchain, in the form that aya-build uses.
fn tool(toolchain: &str, program: &str) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", toolchain, program]);
    command
}

/// True if a toolchain has a cargo, or rustup uses another toolchain's for it.
pub(super) fn has_cargo(toolchain: &str) -> bool {
    shell::succeeds(tool(toolchain, "cargo").arg("--version"))
}

/// Inspects one toolchain by name.
///
/// # Errors
/// If it is missing or cannot build for BPF.
pub(super) fn named(name: &str) -> Result<Compiler> {
    let listed = list()?.into_iter().find(|listed| listed.name == name);
    Compiler::look_at(&listed.with_context(|| format!("rustup has no {name}"))?)
}

fn install_command() -> Command {
    let mut command = Command::new("rustup");
    command.args(["toolchain", "install", NIGHTLY, "--profile", "minimal"]);
    command.args(["--component", "rust-src", "--no-self-update"]);
    command
}

/// Installs rustup's nightly with rust-src.
///
/// # Errors
/// If rustup fails, or the nightly cannot build for BPF.
pub(super) fn install_nightly(ui: &Ui) -> Result<Compiler> {
    ui.say("nothing here or in apt builds for BPF: using rustup's nightly with rust-src");
    ui.step("install nightly with rust-src", &mut install_command())?;
    let Survey { usable, passed_over } = Survey::take()?;
    usable.into_iter().find(Compiler::builds_core).with_context(|| {
        format!("rustup's nightly cannot build for BPF: {}", passed_over.join("; "))
    })
}

/// Shows what [`install_nightly`] would run.
pub(super) fn rehearse_nightly(ui: &Ui) {
    ui.say(&format!("would run: {}", shell::shown(&install_command())));
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::{Listed, Rustc, parse_list};
    use crate::version::Version;

    #[test]
    fn rustcs_version_is_parsed() {
        let text = "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\nbinary: rustc\n\
                    commit-hash: e50aa6fba4e63ab34c72bf9acfd2c307c1155d1a\n\
                    commit-date: 2026-05-19\nhost: x86_64-unknown-linux-gnu\n\
                    release: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        let rustc = Rustc::parse(text).unwrap();
        assert_eq!(rustc.release, Version { major: 1, minor: 97, patch: 0 });
        assert_eq!(rustc.llvm, Version { major: 22, minor: 1, patch: 4 });
        assert!(rustc.nightly);
    }

    #[test]
    fn debians_rustc_is_not_a_nightly() {
        let text = "rustc 1.96.0 (ac68faa20 2026-05-25) (built from a source tarball)\n\
                    release: 1.96.0\nLLVM version: 22.1.8\n";
        assert!(!Rustc::parse(text).unwrap().nightly);
    }

    #[test]
    fn a_rustc_without_llvm_is_an_error() {
        let error = Rustc::parse("release: 1.97.0\n").unwrap_err();
        assert!(error.to_string().contains("LLVM version"), "{error}");
    }

    #[test]
    fn the_list_of_toolchains_is_parsed() {
        let text = "stable-x86_64-unknown-linux-gnu (active, default) /root/.rustup/toolchains/stable\n\
                    rust-web /usr\n\
                    spaced /home/a user/rust\n";
        let listed =
            |name: &str, path: &str| Listed { name: name.into(), path: PathBuf::from(path) };
        assert_eq!(
            parse_list(text),
            [
                listed("stable-x86_64-unknown-linux-gnu", "/root/.rustup/toolchains/stable"),
                listed("rust-web", "/usr"),
                listed("spaced", "/home/a user/rust"),
            ]
        );
        assert_eq!(parse_list("no installed toolchains\n"), []);
    }
}
