//! The workspace's directories, and cargo commands in it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

/// Prefixes of variables that `cargo run` sets for its program. A cargo command below
/// must not inherit them: a build script that watches one of them would run again for
/// every other caller.
const SET_BY_CARGO_RUN: &[&str] = &["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_"];

/// The clone that this xtask belongs to.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the clone: the one that cargo ran this program from, or else the one it was
    /// built in.
    ///
    /// # Errors
    /// If that directory is gone.
    pub(crate) fn locate() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
        let root = Path::new(&package).parent().context("xtask has no parent directory")?;
        let root = root
            .canonicalize()
            .with_context(|| format!("cannot find the workspace at {}", root.display()))?;
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(directory) => root.join(directory),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    /// Returns a copy of the clone, in another folder.
    pub(crate) fn copied_to(root: PathBuf) -> Self {
        let target = root.join("target");
        Self { root, target }
    }

    /// The directory that holds the workspace's Cargo.toml.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Directory of setup's results, which git ignores.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join(".tools")
    }

    /// Directory of the steps' logs.
    pub(crate) fn logs(&self) -> PathBuf {
        self.tools().join("log")
    }

    /// Cargo's target directory: the one in the environment, or `target`. A user's cargo
    /// configuration is not considered.
    pub(crate) fn target(&self) -> PathBuf {
        self.target.clone()
    }

    /// Returns a command for the cargo that runs this xtask, in the workspace.
    pub(crate) fn cargo(&self) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", self.target());
        shed_cargo_run(&mut command);
        command
    }
}

/// Removes the variables that `cargo run` set from a command's environment.
pub(crate) fn shed_cargo_run(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let inherited = name
            .to_str()
            .is_some_and(|name| SET_BY_CARGO_RUN.iter().any(|prefix| name.starts_with(prefix)));
        if inherited {
            command.env_remove(name);
        }
    }
}
