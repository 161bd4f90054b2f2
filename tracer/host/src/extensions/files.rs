//! Opens files that another user controls.
//!
//! Every path is resolved below the root directory of the browser's process, so that it means
//! what it means there. No symbolic link is followed, in no component: a link could lead tracer,
//! which is root, to a file that the user cannot read. A file is read only if the user owns it,
//! or if it is root's and everyone may read it, and only up to a limit.

use std::{
    fs::File,
    io::{self, Read as _},
    path::{Component, Path},
};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use serde::de::DeserializeOwned;

use crate::hook::proc;

/// Longest file that is read. The preferences of a profile with many extensions take several MB.
const MAX_FILE: u64 = 32 << 20;

/// Files of a browser's user.
pub(super) trait Files {
    /// Reads a file, by its absolute path. `None` if it cannot be read, or is too long.
    fn read(&self, path: &Path) -> Option<Vec<u8>>;

    /// Parses a JSON file, by its absolute path. `None` if it cannot be read, or has another form.
    fn json<T: DeserializeOwned>(&self, path: &Path) -> Option<T> {
        serde_json::from_slice(&self.read(path)?).ok()
    }
}

/// The files that a process can see.
pub(super) struct UserFiles {
    root: File,
    uid: u32,
}

impl UserFiles {
    /// Returns the files of a process.
    pub(super) fn from_process(tgid: u32) -> io::Result<Self> {
        let uid = proc::uid(tgid).ok_or(io::ErrorKind::NotFound)?;
        let root = File::open(format!("/proc/{tgid}/root"))?;
        Ok(Self { root, uid })
    }

    /// Opens a file, by its absolute path.
    pub(super) fn open(&self, path: &Path) -> io::Result<File> {
        let below = path.strip_prefix("/").map_err(io::Error::other)?;
        if !below.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // A FIFO must not block, and a terminal must not become tracer's own.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve =
            ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::BENEATH;
        let file =
            File::from(rustix::fs::openat2(&self.root, below, flags, Mode::empty(), resolve)?);
        let status = rustix::fs::fstat(&file)?;
        let is_file = rustix::fs::FileType::from_raw_mode(status.st_mode)
            == rustix::fs::FileType::RegularFile;
        let is_public =
            status.st_uid == 0 && Mode::from_raw_mode(status.st_mode).contains(Mode::ROTH);
        if is_file && (status.st_uid == self.uid || is_public) {
            Ok(file)
        } else {
            Err(io::ErrorKind::PermissionDenied.into())
        }
    }
}

impl Files for UserFiles {
    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        read_bounded(self.open(path).ok()?)
    }
}

/// Reads a file, unless it is too long.
pub(super) fn read_bounded(file: File) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut content).ok()?;
    (content.len() as u64 <= MAX_FILE).then_some(content)
}

#[cfg(test)]
pub(super) mod tests {
    use std::{
        fs,
        os::unix::fs::{PermissionsExt as _, symlink},
        path::PathBuf,
    };

    use super::*;

    /// A temporary folder whose path contains no link.
    pub(in super::super) struct Folder(pub(in super::super) PathBuf);

    impl Folder {
        pub(in super::super) fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().canonicalize().unwrap();
            let folder = folder.join(format!("tracer-extensions-{}-{name}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            fs::create_dir(&folder).unwrap();
            Self(folder)
        }

        pub(in super::super) fn write(&self, name: &str, content: &str) -> PathBuf {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    pub(in super::super) fn own() -> UserFiles {
        UserFiles::from_process(std::process::id()).unwrap()
    }

    #[test]
    fn links_are_not_followed() {
        let folder = Folder::new("links");
        let file = folder.write("real/file", "content");
        assert_eq!(own().read(&file).unwrap(), b"content");
        symlink(&file, folder.0.join("link")).unwrap();
        symlink(folder.0.join("real"), folder.0.join("folder")).unwrap();
        for path in ["link", "folder/file", "real/../link", "real", "none", "../../etc/passwd"] {
            assert_eq!(own().read(&folder.0.join(path)), None, "{path}");
        }
        assert_eq!(own().read(Path::new("relative")), None);
    }

    #[test]
    fn only_files_of_the_user_or_public_ones_are_read() {
        let folder = Folder::new("owners");
        let file = folder.write("file", "content");
        let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        mode(0o600);
        assert!(own().read(&file).is_some());
        let is_root = rustix::process::geteuid().is_root();
        let other = UserFiles { uid: 12345, ..own() };
        assert_eq!(other.read(&file), None);
        mode(0o644);
        assert_eq!(other.read(&file).is_some(), is_root);
        // Reading a FIFO must not wait for a writer.
        let fifo = folder.0.join("fifo");
        let mode = Mode::RUSR | Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        assert_eq!(own().read(&fifo), None);
        assert_eq!(own().read(Path::new("/dev/zero")), None);
    }

    #[test]
    fn a_huge_file_is_not_read() {
        let folder = Folder::new("huge");
        let file = folder.write("file", "");
        File::options().write(true).open(&file).unwrap().set_len(MAX_FILE + 1).unwrap();
        assert_eq!(own().read(&file), None);
    }
}
