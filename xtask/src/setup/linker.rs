//! bpf-linker: it links the programs' LLVM bitcode and compiles it for BPF.
//!
//! Its LLVM has to read what rustc's LLVM wrote, so it must not be older. The safest
//! one is rustc's own: rustup and Debian both ship it as a shared library, with which
//! the bpf-linker that is built here is linked:
//!
//! ```text
//! <cache>/bpf-linker/0.13.0/<toolchain>-llvm-22.1.8/
//!     llvm/lib/libLLVM.so        links to the library that rustc loads,
//!     llvm/lib/libLLVM.so.22.1   under the name to link and the name to load
//!     bin/bpf-linker
//! ```

use std::{
    env, fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{probe, toolchain::Compiler};
use crate::{cache, shell, ui::Ui, version::Version, workspace::Workspace};

/// The version that is built here, and the oldest one that is accepted.
pub(super) const VERSION: &str = "0.13.0";

/// Major versions of LLVM that this version can be built for.
const LLVMS: [u32; 3] = [21, 22, 23];

/// A bpf-linker that works with the chosen compiler.
pub(super) struct Linker {
    pub(super) path: PathBuf,
    pub(super) version: String,
}

/// Finds an installed linker that works with the compiler.
///
/// # Errors
/// If there is no directory for a cache.
pub(super) fn find(workspace: &Workspace, ui: &Ui, compiler: &Compiler) -> Result<Option<Linker>> {
    for path in here(&home(compiler)?) {
        match prove(workspace, ui, compiler, path.clone()) {
            Ok(linker) => return Ok(Some(linker)),
            Err(why) => ui.say(&format!("rejected {}: {why:#}", path.display())),
        }
    }
    Ok(None)
}

/// Proves that a linker works with a compiler.
///
/// # Errors
/// If it does not.
pub(super) fn prove(
    workspace: &Workspace,
    ui: &Ui,
    compiler: &Compiler,
    path: PathBuf,
) -> Result<Linker> {
    let version = examine(&path, compiler)?;
    ui.say(&format!("linker: {} ({version})", path.display()));
    probe::run(workspace, ui, compiler, &path)?;
    Ok(Linker { path, version })
}

/// Shows which linker would be used.
pub(super) fn rehearse(ui: &Ui, compiler: &Compiler) {
    let found = home(compiler)
        .ok()
        .and_then(|home| here(&home).into_iter().find(|path| examine(path, compiler).is_ok()));
    match found {
        Some(path) => ui.say(&format!("would try the linker {}", path.display())),
        None => ui.say(&format!(
            "would build bpf-linker {VERSION} with the LLVM {} of that compiler",
            compiler.rustc.llvm
        )),
    }
}

/// Runs the linker and returns its version.
///
/// # Errors
/// If it does not start.
pub(super) fn version(path: &Path) -> Result<String> {
    let text = shell::answer(Command::new(path).arg("--version"))?;
    let version = text.trim().strip_prefix("bpf-linker ").context("it is not a bpf-linker")?;
    Ok(version.to_owned())
}

fn home(compiler: &Compiler) -> Result<PathBuf> {
    let build = format!("{}-llvm-{}", compiler.name, compiler.rustc.llvm);
    Ok(cache::directory()?.join("bpf-linker").join(VERSION).join(build))
}

/// The linker that was built for this compiler, and the one on PATH.
fn here(home: &Path) -> Vec<PathBuf> {
    let cached = Some(home.join("bin/bpf-linker")).filter(|path| path.is_file());
    cached.into_iter().chain(shell::on_path("bpf-linker")).collect()
}

/// Rejects a linker that cannot work, before the proof, which takes longer.
fn examine(path: &Path, compiler: &Compiler) -> Result<String> {
    let version = version(path)?;
    ensure!(
        Version::parse(&version) >= Version::parse(VERSION),
        "bpf-linker {version} is older than {VERSION}"
    );
    // The version of a statically linked LLVM is not known; the proof decides.
    let llvm = loaded_llvm(path).and_then(|library| major(&library.name));
    if let Some(llvm) = llvm {
        let needed = compiler.rustc.llvm.major;
        ensure!(llvm >= needed, "its LLVM {llvm} is older than rustc's {needed}");
    }
    Ok(version)
}

/// A bpf-linker to be built for a compiler.
pub(super) struct Build {
    home: PathBuf,
    /// Directory whose `lib/libLLVM.so` is the LLVM to link with.
    prefix: PathBuf,
    llvm: u32,
}

impl Build {
    /// # Errors
    /// If bpf-linker does not support the compiler's LLVM, or cannot be linked with it.
    pub(super) fn plan(compiler: &Compiler) -> Result<Self> {
        let llvm = compiler.rustc.llvm.major;
        let [first, .., last] = LLVMS;
        ensure!(
            LLVMS.contains(&llvm),
            "bpf-linker {VERSION} knows LLVM {first} to {last}, and rustc has {llvm}"
        );
        let home = home(compiler)?;
        fs::create_dir_all(&home).with_context(|| format!("cannot create {}", home.display()))?;
        let prefix = llvm_prefix(compiler, &home)?;
        Ok(Self { home, prefix, llvm })
    }

    /// Builds the linker and returns its path.
    ///
    /// # Errors
    /// If cargo fails.
    pub(super) fn run(self, workspace: &Workspace, ui: &Ui) -> Result<PathBuf> {
        let Self { home, prefix, llvm } = self;
        let mut command = workspace.cargo();
        command
            // Outside the workspace, whose .cargo/config.toml does not apply to the linker.
            .current_dir(&home)
            .args(["install", "bpf-linker", "--version", VERSION, "--locked", "--force"])
            .args(["--no-default-features", "--features", &format!("llvm-{llvm}"), "--root"])
            .arg(&home)
            .env("LLVM_PREFIX", prefix)
            // LLVM does the work; a lower level builds faster.
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
            .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("CARGO_BUILD_TARGET")
            .env_remove("RUSTC_BOOTSTRAP");
        ui.step(&format!("build bpf-linker {VERSION} with LLVM {llvm}"), &mut command)?;
        Ok(home.join("bin/bpf-linker"))
    }
}

/// Finds the LLVM to link with: the caller's choice, rustc's own, or the system's.
fn llvm_prefix(compiler: &Compiler, home: &Path) -> Result<PathBuf> {
    if let Some(prefix) = env::var_os("LLVM_PREFIX") {
        return Ok(PathBuf::from(prefix));
    }
    if let Some(Library { name, path }) = loaded_llvm(&compiler.sysroot.join("bin/rustc")) {
        let prefix = home.join("llvm");
        let directory = prefix.join("lib");
        fs::create_dir_all(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        for link in ["libLLVM.so", &name] {
            replace_link(&path, &directory.join(link))?;
        }
        return Ok(prefix);
    }
    let llvm = compiler.rustc.llvm.major;
    let system = PathBuf::from(format!("/usr/lib/llvm-{llvm}"));
    ensure!(
        system.join("lib/libLLVM.so").exists(),
        "it loads no shared LLVM that a bpf-linker could be linked with. Install LLVM {llvm} \
         (Debian: apt-get install llvm-{llvm}-dev), or name one with LLVM_PREFIX"
    );
    Ok(system)
}

/// Makes `link` a symbolic link to `target`, whatever it was before.
///
/// # Errors
/// If the directory cannot be written to.
pub(super) fn replace_link(target: &Path, link: &Path) -> Result<()> {
    let failed = || format!("cannot link {} to {}", link.display(), target.display());
    // Renamed into place, so that it is never missing.
    let new = link.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(failed);
        }
        _ => {}
    }
    symlink(target, &new).and_then(|()| fs::rename(&new, link)).with_context(failed)
}

/// A shared library: the name by which it is requested, and its file.
#[derive(Debug, PartialEq, Eq)]
struct Library {
    name: String,
    path: PathBuf,
}

/// The LLVM that the loader finds for a program, if the program requests one.
fn loaded_llvm(program: &Path) -> Option<Library> {
    parse_ldd(&shell::answer(Command::new("ldd").arg(program)).ok()?)
}

fn parse_ldd(text: &str) -> Option<Library> {
    text.lines().find_map(|line| {
        let (name, rest) = line.trim().split_once(" => ")?;
        let path = rest.split(" (").next()?.trim();
        (name.starts_with("libLLVM") && path.starts_with('/'))
            .then(|| Library { name: name.to_owned(), path: PathBuf::from(path) })
    })
}

/// 22 of `libLLVM.so.22.1`, `libLLVM.so.22.1-rust-1.95.0-stable` and `libLLVM-22.so`.
fn major(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("libLLVM")?;
    let rest = rest.strip_prefix(".so.").or_else(|| rest.strip_prefix('-'))?;
    Version::parse(rest).map(|version| version.major)
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::Path, path::PathBuf};

    use super::{Library, major, parse_ldd, replace_link};

    #[test]
    fn the_llvm_of_a_program_is_found() {
        let text = "\tlinux-vdso.so.1 (0x00007fbb4ee58000)\n\
                    \tlibrustc_driver-6108105cd7e839cf.so => /r/lib/librustc_driver-6108105cd7e839cf.so (0x1)\n\
                    \tlibLLVM.so.22.1-rust-1.95.0-stable => /r/bin/../lib/libLLVM.so.22.1-rust-1.95.0-stable (0x2)\n\
                    \tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x3)\n";
        let library = Library {
            name: "libLLVM.so.22.1-rust-1.95.0-stable".into(),
            path: PathBuf::from("/r/bin/../lib/libLLVM.so.22.1-rust-1.95.0-stable"),
        };
        assert_eq!(parse_ldd(text), Some(library));
        assert_eq!(parse_ldd("\tlibLLVM.so.22.1 => not found\n"), None);
        assert_eq!(parse_ldd("\tstatically linked\n"), None);
    }

    #[test]
    fn major_versions_are_parsed_from_names() {
        assert_eq!(major("libLLVM.so.22.1"), Some(22));
        assert_eq!(major("libLLVM.so.22.1-rust-1.95.0-stable"), Some(22));
        assert_eq!(major("libLLVM-19.so.1"), Some(19));
        assert_eq!(major("libLLVM.so"), None);
        assert_eq!(major("libclang-cpp.so.22.1"), None);
    }

    #[test]
    fn links_are_replaced() {
        let directory = env::temp_dir().join(format!("xtask-link-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let link = directory.join("bpf-linker");
        fs::write(&link, "a file").unwrap();
        for target in ["/first", "/second"] {
            replace_link(Path::new(target), &link).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new(target));
        }
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "nothing is left behind");
        fs::remove_dir_all(directory).unwrap();
    }
}
