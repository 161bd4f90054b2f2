//! Static programs for either architecture.
//!
//! For this machine's, its own compiler builds them, with glibc. For the other
//! one there are two ways, the first where there is Debian:
//!
//! - Debian's compiler with the other architecture's standard library, which is
//!   unpacked and not installed, and Debian's cross compiler for C;
//! - rustup's target with musl, and a cross compiler for C with musl, which
//!   nobody brings.
//!
//! Either way the programs need nothing of the system that runs them.

use std::{env, ffi::OsString, path::PathBuf, process::Command};

use anyhow::{Result, ensure};

use crate::{
    arch::Arch,
    build_cmd,
    setup::{self, Archive},
    shell,
    ui::Ui,
    version::Version,
    workspace::Workspace,
};

/// How cargo builds static programs for an architecture.
pub(crate) struct Static {
    triple: String,
    /// Of rustc's options `-C`.
    codegen: Vec<String>,
    sysroot: Option<PathBuf>,
    /// A rustup toolchain other than the one that runs this.
    toolchain: Option<String>,
    why: &'static str,
}

impl Static {
    /// The way to build for `arch`, installing what it needs.
    ///
    /// # Errors
    /// When there is none, with the reasons.
    pub(crate) fn find_or_install(ui: &Ui, arch: Arch) -> Result<Self> {
        if arch == Arch::host()? {
            return Self::host();
        }
        let debian = match Self::debian(ui, arch) {
            Ok(way) => return Ok(way),
            Err(why) => why,
        };
        ui.say(&format!("passed over Debian's compiler for {}: {debian:#}", arch.rust()));
        Self::musl(ui, arch)
    }

    fn host() -> Result<Self> {
        let triple = build_cmd::host()?;
        let why = "this machine's own compiler";
        Ok(Self { triple, codegen: Vec::new(), sysroot: None, toolchain: None, why })
    }

    /// rustup brings the library, and nobody the C compiler for SQLite.
    fn musl(ui: &Ui, arch: Arch) -> Result<Self> {
        let linker = format!("{}-linux-musl-gcc", arch.rust());
        ensure!(
            shell::on_path(&linker).is_some(),
            "nothing builds for {} here: there is no {linker} either",
            arch.rust()
        );
        let triple = format!("{}-unknown-linux-musl", arch.rust());
        let mut add = Command::new("rustup");
        add.args(["target", "add", &triple]);
        ui.step(&format!("rustup target add {triple}"), &mut add)?;
        let codegen = vec![format!("linker={linker}")];
        Ok(Self { triple, codegen, sysroot: None, toolchain: None, why: "rustup's musl target" })
    }

    fn debian(ui: &Ui, arch: Arch) -> Result<Self> {
        let toolchain = setup::debian_toolchain(ui)?;
        let sysroot = debian_std(ui, arch, &toolchain)?;
        let linker = c_compiler(ui, arch)?;
        Ok(Self {
            triple: format!("{}-unknown-linux-gnu", arch.rust()),
            codegen: vec![format!("linker={linker}")],
            sysroot: Some(sysroot),
            toolchain: Some(toolchain),
            why: "Debian's compiler and cross linker",
        })
    }

    /// What builds, in a few words.
    pub(crate) fn why(&self) -> &'static str {
        self.why
    }

    /// Cargo's target.
    pub(crate) fn triple(&self) -> &str {
        &self.triple
    }

    /// Builds every test of the workspace, and the programs that tests start.
    pub(crate) fn tests(&self, workspace: &Workspace) -> Command {
        let mut command = self.cargo(workspace, "build");
        command.args(["--workspace", "--bins", "--tests"]);
        command
    }

    /// The directory of what cargo builds for this target, by the profile's folder.
    pub(crate) fn directory(&self, workspace: &Workspace, profile: &str) -> PathBuf {
        workspace.target().join(&self.triple).join(profile)
    }

    /// Cargo with a subcommand, for this target.
    pub(crate) fn cargo(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let mut command = match &self.toolchain {
            None => workspace.cargo(),
            Some(toolchain) => {
                let mut command = Command::new("rustup");
                command.args(["run", toolchain, "cargo"]).current_dir(workspace.root());
                crate::workspace::shed_cargo_run(&mut command);
                // Those of the toolchain that runs this.
                for name in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"] {
                    command.env_remove(name);
                }
                command.env("CARGO_TARGET_DIR", workspace.target());
                command
            }
        };
        // Named although it may be the host: flags then do not reach build
        // scripts and procedural macros, which have to stay dynamic.
        command.arg(subcommand).args(["--target", &self.triple]);
        let mut flags = Vec::new();
        if let Some(sysroot) = &self.sysroot {
            flags.extend(["--sysroot".to_owned(), sysroot.display().to_string()]);
        }
        for option in self.codegen.iter().map(String::as_str).chain(["target-feature=+crt-static"])
        {
            flags.extend(["-C".to_owned(), option.to_owned()]);
        }
        add_flags(&mut command, &flags);
        command
    }
}

/// Debian's C compiler for an architecture, installed where it is missing.
///
/// # Errors
/// When this system's apt does not have it.
pub(crate) fn c_compiler(ui: &Ui, arch: Arch) -> Result<&'static str> {
    let compiler = match arch {
        Arch::Aarch64 => "aarch64-linux-gnu-gcc",
        Arch::X86_64 => "x86_64-linux-gnu-gcc",
    };
    if shell::on_path(compiler).is_none() {
        let (package, library) = if arch == Arch::host()? {
            ("gcc".to_owned(), "libc6-dev".to_owned())
        } else {
            let package = format!("gcc-{}-linux-gnu", arch.rust().replace('_', "-"));
            // Its C library is recommended only, and is what programs are
            // linked with.
            (package, format!("libc6-dev-{}-cross", arch.debian()))
        };
        setup::install_packages(ui, &[&package, &library], "builds C for an architecture")?;
    }
    Ok(compiler)
}

/// Adds to the caller's flags.
fn add_flags(command: &mut Command, flags: &[String]) {
    // Cargo prefers the first where both are set; U+001F separates its flags.
    let (name, separator) = match env::var_os("CARGO_ENCODED_RUSTFLAGS") {
        Some(_) => ("CARGO_ENCODED_RUSTFLAGS", "\u{1f}"),
        None => ("RUSTFLAGS", " "),
    };
    let mut all: OsString = env::var_os(name).unwrap_or_default();
    for flag in flags {
        if !all.is_empty() {
            all.push(separator);
        }
        all.push(flag);
    }
    command.env(name, all);
}

/// Unpacks the standard library that goes with Debian's compiler; a sysroot.
fn debian_std(ui: &Ui, arch: Arch, toolchain: &str) -> Result<PathBuf> {
    const LIBRARY: &str = "libstd-rust-web-dev";

    let release = setup::debian_release()?;
    let security = format!("{release}-security");
    let archive = Archive::open(ui, &[&release, &security], arch.debian())?;
    let usr = archive.unpack(LIBRARY)?.join("usr");
    let version = archive.version(LIBRARY)?;
    let rustc = shell::answer(Command::new("rustup").args(["run", toolchain, "rustc", "-vV"]))?;
    let rustc = rustc.lines().find_map(|line| line.strip_prefix("release: "));
    ensure!(
        rustc.and_then(Version::parse) == Version::parse(&version),
        "{LIBRARY} {version} is of another version than that compiler"
    );
    Ok(usr)
}
