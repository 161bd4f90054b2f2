//! The result of setup in `.tools/`, and whether it is still valid.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path, process::Command};

use anyhow::{Context as _, Result};

use super::{
    linker::{self, Linker},
    toolchain::{Compiler, Rustc},
};
use crate::{shell, workspace::Workspace};

/// A finished setup.
pub(crate) struct State {
    /// The rustup toolchain that builds the programs.
    pub(crate) toolchain: String,
    /// True if it builds `core` together with them, as aya-build does with a nightly.
    pub(crate) builds_core: bool,
    /// The choice in one line.
    pub(crate) summary: String,
}

impl State {
    /// Returns the earlier setup, unless a part of it has changed.
    pub(super) fn still_true(workspace: &Workspace) -> Option<Self> {
        let tools = workspace.tools();
        let saved = fs::read_to_string(tools.join("setup")).ok()?;
        let (summary, fingerprint) = saved.split_once('\n')?;
        let toolchain = fs::read_to_string(tools.join("toolchain")).ok()?.trim().to_owned();
        let now = self::fingerprint(&tools, &toolchain).ok()?;
        let builds_core = Rustc::parse(&now).ok()?.nightly;
        (now == fingerprint).then(|| Self { toolchain, builds_core, summary: summary.to_owned() })
    }

    /// Writes the choice for the build.
    ///
    /// # Errors
    /// If `.tools/` cannot be written to.
    pub(super) fn leave(
        workspace: &Workspace,
        compiler: &Compiler,
        linker: &Linker,
    ) -> Result<Self> {
        let tools = workspace.tools();
        let write = |name: &str, text: &str| {
            let path = tools.join(name);
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
        };
        fs::create_dir_all(tools.join("bin"))
            .with_context(|| format!("cannot create {}", tools.display()))?;
        linker::replace_link(&linker.path, &tools.join("bin/bpf-linker"))?;
        write("toolchain", &format!("{}\n", compiler.name))?;
        let summary = format!("{}; bpf-linker {}", compiler.describe(), linker.version);
        let fingerprint = fingerprint(&tools, &compiler.name)?;
        write("setup", &format!("{summary}\n{fingerprint}"))?;
        Ok(Self { toolchain: compiler.name.clone(), builds_core: compiler.builds_core(), summary })
    }
}

/// Everything that the proof depended on: the compiler, the linker, and the
/// requirements of this version of xtask.
fn fingerprint(tools: &Path, toolchain: &str) -> Result<String> {
    let rustc = shell::answer(Command::new("rustup").args(["run", toolchain, "rustc", "-vV"]))?;
    let linker = tools.join("bin/bpf-linker").canonicalize()?;
    // It starts only if the loader still finds its LLVM.
    let version = linker::version(&linker)?;
    let file = linker.metadata()?;
    Ok(format!(
        "asked: rustc {}, bpf-linker {}\n{rustc}linker: {} {version} {} {}\n",
        env!("CARGO_PKG_RUST_VERSION"),
        linker::VERSION,
        linker.display(),
        file.size(),
        file.mtime(),
    ))
}
