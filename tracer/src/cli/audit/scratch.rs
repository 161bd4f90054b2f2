//! What the browser under audit may write to, and is removed afterwards.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tempfile::TempDir;

use super::{super::users::User, actions::Actions};
use tracer_audit::scenario::{ProfileFile, fill};

/// A folder of the browser's user.
pub(super) struct Scratch {
    folder: TempDir,
    user: Option<User>,
}

impl Scratch {
    pub(super) fn create(user: Option<&User>) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("tracer-audit-").tempdir();
        let folder = folder.context("no folder for the browser's profile")?;
        let scratch = Self { folder, user: user.cloned() };
        scratch.give(scratch.folder.path())?;
        Ok(scratch)
    }

    /// The browser's profile.
    pub(super) fn profile(&self) -> PathBuf {
        self.folder.path().join("profile")
    }

    /// Writes a file, and gives its path.
    pub(super) fn file(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.path().join(name);
        self.write(&path, text)?;
        Ok(path)
    }

    /// Makes a new profile, if there is none.
    pub(super) fn prepare(&self, files: &[ProfileFile], actions: &Actions) -> anyhow::Result<()> {
        let profile = self.profile();
        if !profile.is_dir() {
            fs::create_dir(&profile)
                .with_context(|| format!("cannot make {}", profile.display()))?;
            fs::set_permissions(&profile, fs::Permissions::from_mode(0o700))?;
            self.give(&profile)?;
        }
        files.iter().try_for_each(|file| {
            let path = PathBuf::from(fill(&file.path, &actions.values));
            if let Some(parent) = path.parent()
                && !parent.is_dir()
            {
                fs::create_dir_all(parent)?;
                self.give(parent)?;
            }
            self.write(&path, &fill(&file.text, &actions.values))
        })
    }

    fn write(&self, path: &Path, text: &str) -> anyhow::Result<()> {
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        self.give(path)
    }

    fn give(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(user) = &self.user {
            chown(path, Some(user.uid), Some(user.gid))
                .with_context(|| format!("cannot give {} to {}", path.display(), user.name))?;
        }
        Ok(())
    }
}
