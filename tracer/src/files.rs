//! Opens the files that tracer writes, so that only their owner can read them, and the inputs that
//! it reads later.
//!
//! tracer usually runs as root, and the paths it is given may lie in folders that other users can
//! write to. So it follows no symbolic link of another user, and none at the end of a path, and it
//! uses an existing file only if that is a regular file with one name that belongs to the caller.

use std::{
    ffi::{OsStr, OsString},
    fs::{File, Metadata, Permissions},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::OsStrExt as _,
            fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
        },
    },
    path::{Path, PathBuf},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{CWD, Mode, OFlags, openat, readlinkat},
    io::{Errno, ioctl_fionbio},
    process::{Resource, Rlimit, geteuid, getrlimit, setrlimit},
};

/// Mode of every file that tracer writes.
pub(crate) const OWNER_ONLY: u32 = 0o600;

/// Treatment of an existing file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// Append to it.
    Append,
    /// Empty it.
    Replace,
    /// Fail.
    Refuse,
}

/// Opens a file for writing, with mode 0600 whatever the umask.
///
/// # Errors
/// If the path leads through a symbolic link of another user, or names a symbolic link, anything
/// but a regular file, a file of another user, a file with several names, or, with
/// [`Existing::Refuse`], any file at all.
pub(crate) fn create(path: &Path, existing: Existing) -> io::Result<File> {
    let (folder, name) = parent(path)?;
    create_at(folder, Path::new(&name), existing)
}

/// Opens the folder that contains a path, and returns it with the last name of the path.
///
/// The path is followed step by step, so that other users cannot exchange a folder between a check
/// and its use.
pub(crate) fn parent(path: &Path) -> io::Result<(OwnedFd, OsString)> {
    let (folder, name) = match path.file_name() {
        Some(name) => (path.parent().unwrap_or(Path::new("")), name),
        // `/`, or a path that ends with `..`: the folder itself.
        None => (path, OsStr::new(".")),
    };
    let mut opened = open_step(CWD, Path::new("."))?;
    let mut steps: Vec<PathBuf> = steps(folder);
    let mut links = 0;
    while let Some(step) = steps.pop() {
        match open_step(&opened, &step) {
            Ok(next) => opened = next,
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let link = File::from(openat(&opened, &step, flags, Mode::empty())?);
                let metadata = link.metadata()?;
                links += 1;
                if !metadata.is_symlink() || links > MAX_LINKS {
                    return Err(Errno::NOTDIR.into());
                }
                if metadata.uid() != 0 && metadata.uid() != geteuid().as_raw() {
                    return Err(io::Error::other(format!(
                        "{} is a symbolic link of another user; give the path that it points to",
                        step.display()
                    )));
                }
                let target = readlinkat(&link, "", Vec::new())?;
                steps.extend(self::steps(Path::new(OsStr::from_bytes(target.as_bytes()))));
            }
            Err(err) => return Err(err.into()),
        }
    }
    Ok((opened, name.to_owned()))
}

/// Returns the components of a path, last one first.
fn steps(path: &Path) -> Vec<PathBuf> {
    path.components().rev().map(|step| PathBuf::from(step.as_os_str())).collect()
}

fn open_step(folder: impl AsFd, step: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(folder, step, flags, Mode::empty())
}

/// Maximum number of symbolic links in a path, as in the kernel (path_resolution(7)).
const MAX_LINKS: usize = 40;

/// Like [`create`], with `path` relative to an open directory.
pub(crate) fn create_at(folder: impl AsFd, path: &Path, existing: Existing) -> io::Result<File> {
    // Without NONBLOCK, opening a FIFO would wait for a reader.
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let new = flags | OFlags::CREATE | OFlags::EXCL;
    match openat(&folder, path, new, Mode::RUSR | Mode::WUSR) {
        Ok(file) => return Ok(file.into()),
        Err(Errno::EXIST) => {}
        Err(err) => return Err(err.into()),
    }
    if existing == Existing::Refuse {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it exists; name another file, or replace it with --force",
        ));
    }
    let flags = if existing == Existing::Append { flags | OFlags::APPEND } else { flags };
    let file = match openat(&folder, path, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::LOOP) => return Err(io::Error::other(LINK)),
        // A FIFO without a reader.
        Err(Errno::NXIO) => return Err(io::Error::other(NOT_A_FILE)),
        Err(err) => return Err(err.into()),
    };
    let metadata = file.metadata()?;
    check_file(&metadata)?;
    if metadata.nlink() > 1 {
        return Err(io::Error::other("it has a second name (a hard link); name another file"));
    }
    file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    if existing == Existing::Replace {
        file.set_len(0)?;
    }
    Ok(file)
}

const LINK: &str = "it is a symbolic link; name the file that it points to";
const NOT_A_FILE: &str = "it is not a regular file; name another one";

/// Checks that the metadata is of a regular file of the caller's.
pub(crate) fn check_file(metadata: &Metadata) -> io::Result<()> {
    if metadata.is_symlink() {
        return Err(io::Error::other(LINK));
    }
    if !metadata.is_file() {
        return Err(io::Error::other(NOT_A_FILE));
    }
    check_owner(metadata)
}

/// Opens a regular file for reading. Does not wait for the writer of a FIFO.
pub(crate) fn open_regular(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other(NOT_A_FILE)) }
}

/// Checks that the metadata is of something that belongs to the caller.
pub(crate) fn check_owner(metadata: &Metadata) -> io::Result<()> {
    let caller = geteuid().as_raw();
    if metadata.uid() != caller {
        return Err(io::Error::other(format!(
            "it belongs to another user (UID {}, and tracer runs as UID {caller}); name another \
             path",
            metadata.uid()
        )));
    }
    Ok(())
}

/// An input that is opened before the process restricts itself, and read afterwards.
#[derive(Debug)]
pub(crate) struct Input(File);

impl Input {
    /// Opens a file. Does not wait for the writer of a FIFO, who may first write to another input.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        File::options().read(true).custom_flags(flags).open(path).map(Self)
    }

    /// Returns the file, once it can be read from. Waits for the writer of a FIFO.
    pub(crate) fn into_file(self) -> io::Result<File> {
        if self.0.metadata()?.file_type().is_fifo() {
            while poll(&mut [PollFd::new(&self.0, PollFlags::IN)], None) == Err(Errno::INTR) {}
        }
        ioctl_fionbio(&self.0, false)?;
        Ok(self.0)
    }
}

/// Raises the limit of open files as far as permitted: all inputs are open at the same time.
pub(crate) fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write as _,
        os::unix::fs::{chown, lchown, symlink},
    };

    use super::*;

    const ALL: [Existing; 3] = [Existing::Append, Existing::Replace, Existing::Refuse];

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn new_files_are_private_whatever_the_umask() {
        let folder = tempfile::tempdir().unwrap();
        let before = rustix::process::umask(Mode::empty());
        for (at, existing) in ALL.into_iter().enumerate() {
            let path = folder.path().join(at.to_string());
            create(&path, existing).unwrap();
            assert_eq!(mode(&path), 0o600);
        }
        rustix::process::umask(before);
    }

    #[test]
    fn existing_files_are_appended_to_replaced_or_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        for (existing, expected) in
            [(Existing::Append, "old new"), (Existing::Replace, " new"), (Existing::Refuse, "old")]
        {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
            match create(&path, existing) {
                Ok(mut file) => {
                    file.write_all(b" new").unwrap();
                    assert_eq!(mode(&path), 0o600);
                }
                Err(err) => {
                    assert_eq!(existing, Existing::Refuse);
                    assert!(err.to_string().contains("--force"), "{err}");
                    assert_eq!(mode(&path), 0o644);
                }
            }
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
    }

    #[test]
    fn inputs_wait_for_their_writers_when_they_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        rustix::fs::mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();
        let input = Input::open(&path).unwrap();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(50));
            fs::write(path, vec![b'x'; 100_000]).unwrap();
        });
        let text = io::read_to_string(input.into_file().unwrap()).unwrap();
        assert_eq!(text.len(), 100_000);
        writer.join().unwrap();
        assert!(Input::open(&folder.path().join("missing")).is_err());
    }

    #[test]
    fn folders_are_reached_through_links_of_the_caller_only() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir(at("target")).unwrap();
        symlink("target", at("relative")).unwrap();
        symlink(at("relative"), at("absolute")).unwrap();
        symlink("loop", at("loop")).unwrap();
        create(&at("absolute/../relative/./file"), Existing::Refuse).unwrap();
        assert!(at("target/file").exists());
        create(&at("loop/file"), Existing::Refuse).unwrap_err();
        create(&at("target/file/other"), Existing::Refuse).unwrap_err();
        create(Path::new("/"), Existing::Refuse).unwrap_err();
        if geteuid().is_root() {
            symlink("target", at("foreign")).unwrap();
            lchown(at("foreign"), Some(65_510), Some(65_510)).unwrap();
            let err = create(&at("foreign/new"), Existing::Refuse).unwrap_err();
            assert!(err.to_string().contains("symbolic link of another user"), "{err}");
            assert!(!at("target/new").exists());
        }
    }

    #[test]
    fn links_pipes_folders_and_files_of_other_users_are_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("target"), "kept").unwrap();
        fs::set_permissions(at("target"), Permissions::from_mode(0o644)).unwrap();
        symlink(at("target"), at("link")).unwrap();
        symlink(at("new"), at("dangling")).unwrap();
        fs::write(at("linked"), "kept").unwrap();
        fs::hard_link(at("linked"), at("second name")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        rustix::fs::mkfifoat(CWD, at("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
        let mut names = vec!["link", "dangling", "second name", "folder", "fifo"];
        if geteuid().is_root() {
            fs::write(at("foreign"), "kept").unwrap();
            chown(at("foreign"), Some(65_510), Some(65_510)).unwrap();
            names.push("foreign");
        }
        for name in names {
            for existing in ALL {
                let err = create(&at(name), existing).unwrap_err();
                assert!(!err.to_string().is_empty(), "{name}");
            }
        }
        assert_eq!(fs::read_to_string(at("target")).unwrap(), "kept");
        assert_eq!(mode(&at("target")), 0o644);
        assert_eq!(fs::read_to_string(at("linked")).unwrap(), "kept");
        assert!(!at("new").exists());
    }
}
