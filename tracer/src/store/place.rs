//! Location of the store, and protection from other users.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, OpenOptions, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use super::{StoreError, at};
use crate::files;

const FOLDER_MODE: u32 = 0o700;

/// Suffixes of SQLite's files next to the database in WAL mode. It creates them with the mode of
/// the database.
const COMPANIONS: [&str; 2] = ["-wal", "-shm"];

/// Location of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file that the user named. Its folder is left as it is.
    Named(PathBuf),
    /// The default: a file in a folder that belongs to tracer.
    Default(PathBuf),
}

/// Returns the default place, or `None` if the user has no home folder.
///
/// | user | folder |
/// |---|---|
/// | a systemd service with `StateDirectory=` | `$STATE_DIRECTORY` |
/// | root | `/var/lib/tracer`; on Android `/data/local/tmp/tracer` |
/// | others | `$XDG_STATE_HOME/tracer`, or `~/.local/state/tracer` |
pub fn default_place() -> Option<Place> {
    let is_root = rustix::process::geteuid().is_root();
    let is_android = Path::new("/data/system").is_dir();
    folder(is_root, is_android, |name| std::env::var_os(name))
        .map(|folder| Place::Default(folder.join("tracer.db")))
}

fn folder(
    is_root: bool,
    is_android: bool,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Option<PathBuf> {
    // A relative path in such a variable is invalid (XDG Base Directory).
    let absolute = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(folder) = absolute("STATE_DIRECTORY") {
        return Some(folder);
    }
    match (is_root, is_android) {
        (true, false) => Some("/var/lib/tracer".into()),
        (true, true) => Some("/data/local/tmp/tracer".into()),
        (false, _) => {
            let home = || absolute("HOME").map(|home| home.join(".local/state"));
            Some(absolute("XDG_STATE_HOME").or_else(home)?.join("tracer"))
        }
    }
}

impl Place {
    /// Returns the path of the database file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Named(path) | Self::Default(path) => path,
        }
    }

    /// Creates the folder, if it belongs to tracer, and an empty file.
    pub(super) fn prepare(&self) -> Result<(), StoreError> {
        let path = self.path();
        if let Self::Default(_) = self
            && let Some(folder) = path.parent()
        {
            DirBuilder::new()
                .recursive(true)
                .mode(FOLDER_MODE)
                .create(folder)
                .and_then(|()| own_folder(folder))
                .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE)))
                .map_err(at(folder))?;
        }
        let created =
            OpenOptions::new().create_new(true).write(true).mode(files::OWNER_ONLY).open(path);
        match created {
            Ok(_) => Ok(()),
            // Not opened for the check: closing it again would release the locks that SQLite
            // holds on it in this process (fcntl(2)).
            Err(err) if err.kind() == io::ErrorKind::AlreadyExists => fs::symlink_metadata(path)
                .and_then(|metadata| files::check_file(&metadata))
                .map_err(at(path)),
            Err(err) => Err(at(path)(err)),
        }
    }

    /// Restricts the files to their owner.
    pub(super) fn restrict_to_owner(&self) -> Result<(), StoreError> {
        let path = self.path();
        let restrict =
            |path: &Path| fs::set_permissions(path, Permissions::from_mode(files::OWNER_ONLY));
        restrict(path).map_err(at(path))?;
        for suffix in COMPANIONS {
            let companion = companion(path, suffix);
            match restrict(&companion) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => {
                    return Err(at(&companion)(err));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn companion(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Checks that the path names a folder that belongs to the caller, and not a link to one.
fn own_folder(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(io::Error::other("it is not a folder (a link is not followed)"));
    }
    files::check_owner(&metadata)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn default_place_depends_on_the_user() {
        let nothing = |_: &str| None;
        assert_eq!(folder(true, false, nothing), Some("/var/lib/tracer".into()));
        assert_eq!(folder(true, true, nothing), Some("/data/local/tmp/tracer".into()));
        assert_eq!(folder(false, false, nothing), None);
        let home = |name: &str| (name == "HOME").then(|| "/home/a".into());
        assert_eq!(folder(false, false, home), Some("/home/a/.local/state/tracer".into()));
        let both = |name: &str| match name {
            "XDG_STATE_HOME" => Some("/state".into()),
            other => home(other),
        };
        assert_eq!(folder(false, false, both), Some("/state/tracer".into()));
        let relative = |name: &str| match name {
            "XDG_STATE_HOME" => Some("state".into()),
            other => home(other),
        };
        assert_eq!(folder(false, false, relative), Some("/home/a/.local/state/tracer".into()));
        let service = |name: &str| (name == "STATE_DIRECTORY").then(|| "/var/lib/x".into());
        assert_eq!(folder(true, false, service), Some("/var/lib/x".into()));
    }

    #[test]
    fn links_are_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        fs::create_dir(&target).unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        fs::set_permissions(&target, Permissions::from_mode(0o755)).unwrap();
        let err = Place::Default(link.join("tracer.db")).prepare().unwrap_err();
        assert!(err.to_string().contains("link"), "{err}");
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o777, 0o755);
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, folder.path().join("named")).unwrap();
        assert!(Place::Named(folder.path().join("named")).prepare().is_err());
    }
}
