//! The workspace: its directories, and cargo as its tasks call it.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

/// What `cargo run` sets for the program it runs, and a cargo below that
/// program should not inherit: a build script that watches one of these would
/// run again for every change of caller.
const SET_BY_CARGO_RUN: &[&str] = &["CARGO_MANIFEST_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_CRATE_"];

/// The clone that this xtask belongs to.
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// Finds the clone: where cargo ran this program from, or where it was built.
    ///
    /// # Errors
    /// When that directory is gone.
    pub(crate) fn locate() -> Result<Self> {
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .unwrap_or_else(|| OsString::from(env!("CARGO_MANIFEST_DIR")));
        let root = Path::new(&package).parent().context("xtask has no parent directory")?;
        let root = root
            .canonicalize()
            .with_context(|| format!("cannot find the workspace at {}", root.display()))?;
        Ok(Self { root })
    }

    /// The directory that holds the workspace's Cargo.toml.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What setup leaves for the build; git ignores it.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join(".tools")
    }

    /// The logs of the steps.
    pub(crate) fn logs(&self) -> PathBuf {
        self.tools().join("log")
    }

    /// Cargo's target directory: the environment's or `target`, not one that
    /// the user's own configuration names.
    pub(crate) fn target(&self) -> PathBuf {
        match env::var_os("CARGO_TARGET_DIR") {
            Some(directory) => self.root.join(directory),
            None => self.root.join("target"),
        }
    }

    /// The cargo that runs this xtask, in the workspace and its target directory.
    pub(crate) fn cargo(&self) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
        let mut command = Command::new(cargo);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", self.target());
        shed_cargo_run(&mut command);
        command
    }
}

/// Takes from a command's environment what `cargo run` put into ours.
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
