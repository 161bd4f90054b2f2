//! Static programs for either architecture.
//!
//! The machine's own compiler builds for this architecture, with glibc. For the other
//! one there are two ways, of which the first needs Debian:
//!
//! - Debian's compiler with the other architecture's standard library, which is
//!   unpacked and not installed, and Debian's cross compiler for C;
//! - rustup's musl target, and a cross compiler for C with musl, which the user has to
//!   provide.
//!
//! In both cases the programs need no libraries on the system that runs them.

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

/// Builds static programs for an architecture.
pub(crate) struct Static {
    triple: String,
    /// Values of rustc's option `-C`.
    codegen: Vec<String>,
    sysroot: Option<PathBuf>,
    /// The rustup toolchain, if it is not the one that runs this.
    toolchain: Option<String>,
    why: &'static str,
}

impl Static {
    /// Finds a way to build for `arch` and installs what it needs.
    ///
    /// # Errors
    /// If there is none, with the reasons.
    pub(crate) fn find_or_install(ui: &Ui, arch: Arch) -> Result<Self> {
        if arch == Arch::host()? {
            return Self::host();
        }
        let debian = match Self::debian(ui, arch) {
            Ok(way) => return Ok(way),
            Err(why) => why,
        };
        ui.say(&format!("rejected Debian's compiler for {}: {debian:#}", arch.rust()));
        Self::musl(ui, arch)
    }

    fn host() -> Result<Self> {
        let triple = build_cmd::host()?;
        let why = "this machine's own compiler";
        Ok(Self { triple, codegen: Vec::new(), sysroot: None, toolchain: None, why })
    }

    /// rustup provides the standard library; SQLite also needs a C compiler.
    fn musl(ui: &Ui, arch: Arch) -> Result<Self> {
        let linker = format!("{}-linux-musl-gcc", arch.rust());
        ensure!(
            shell::on_path(&linker).is_some(),
            "nothing builds for {} here: {linker} is missing, too",
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

    /// Short description of the compiler.
    pub(crate) fn why(&self) -> &'static str {
        self.why
    }

    /// Builds every test of the workspace, and the programs that tests start.
    pub(crate) fn tests(&self, workspace: &Workspace) -> Command {
        let mut command = self.cargo(workspace, "build");
        command.args(["--workspace", "--bins", "--tests"]);
        command
    }

    /// Directory in which cargo puts binaries for this target; `profile` is the name of
    /// the profile's folder.
    pub(crate) fn directory(&self, workspace: &Workspace, profile: &str) -> PathBuf {
        workspace.target().join(&self.triple).join(profile)
    }

    /// Returns a cargo command for this target.
    pub(crate) fn cargo(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let mut command = match &self.toolchain {
            None => workspace.cargo(),
            Some(toolchain) => {
                let mut command = Command::new("rustup");
                command.args(["run", toolchain, "cargo"]).current_dir(workspace.root());
                crate::workspace::shed_cargo_run(&mut command);
                // They belong to the toolchain that runs this.
                for name in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN"] {
                    command.env_remove(name);
                }
                command.env("CARGO_TARGET_DIR", workspace.target());
                command
            }
        };
        // Given even for the host: flags then do not apply to build scripts and
        // procedural macros, which must not be static.
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

/// Returns Debian's C compiler for an architecture, and installs it if it is missing.
///
/// # Errors
/// If this system's apt does not have it.
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
            // Programs are linked with its C library, which it only recommends.
            (package, format!("libc6-dev-{}-cross", arch.debian()))
        };
        setup::install_packages(ui, &[&package, &library], "builds C for an architecture")?;
    }
    Ok(compiler)
}

/// Adds flags to those of the caller.
fn add_flags(command: &mut Command, flags: &[String]) {
    // Cargo prefers the first if both are set; U+001F separates its flags.
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

/// Unpacks the standard library for Debian's compiler and returns its sysroot.
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
        "{LIBRARY} {version} does not match the version of that compiler"
    );
    Ok(usr)
}
