//! The temporary folder with the profile of the audited browser.
//!
//! ```text
//! tracer-audit-XXXXXX   owned by tracer's user; others can enter, but not change it
//! ├── ca.pem            certificate of the audit's server, readable by all
//! └── home              owned by the browser's user, mode 0700
//!     └── profile       {profile}
//! ```
//!
//! The browser's user can replace anything in `home` at any time, for example by a symbolic link to
//! a file of root. Therefore tracer, which runs as root, does not access files in there itself. It
//! runs its own binary as that user ([`Request`]), with `home` as the working directory, which it
//! holds open and never looks up again by its path.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read as _, Seek as _, Write as _},
    os::{
        fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
        unix::{
            fs::{MetadataExt as _, PermissionsExt as _},
            process::CommandExt as _,
        },
    },
    path::{Component, Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use rustix::{
    fs::{AtFlags, CWD, Gid, MemfdFlags, Mode, OFlags, Uid, chownat, mkdirat, openat, unlinkat},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use super::{super::users::User, actions::Actions};
use tracer_audit::scenario::{ProfileFile, fill};
use tracer_core::alert::printable;

const HOME: &str = "home";
const PROFILE: &str = "profile";
/// File next to `home` that tracer itself writes.
const CERTIFICATE: &str = "ca.pem";

/// Mode of a folder that others can enter but not list.
const PASSABLE: u32 = 0o711;

/// Hidden subcommand that carries out a [`Request`].
const SUBCOMMAND: &str = "audit-files";

/// Maximum duration of a request. The user that it runs as could suspend it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The temporary folder of an audit.
pub(super) struct Scratch {
    path: PathBuf,
    folder: OwnedFd,
    home: OwnedFd,
    /// The browser's user, unless it is the user of tracer.
    user: Option<User>,
}

impl Scratch {
    pub(super) fn create(user: Option<&User>) -> anyhow::Result<Self> {
        let user = user.filter(|user| user.uid != rustix::process::geteuid().as_raw());
        let parent = std::env::temp_dir();
        if user.is_some() {
            check_parent(&parent)?;
        }
        let path = tempfile::Builder::new()
            .prefix("tracer-audit-")
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&parent)
            .with_context(|| format!("cannot create a temporary folder in {}", parent.display()))?
            .keep();
        Self::fill(&path, user)
            .inspect_err(|_| {
                let _ = fs::remove_dir_all(&path);
            })
            .with_context(|| format!("cannot prepare {}", path.display()))
    }

    fn fill(path: &Path, user: Option<&User>) -> anyhow::Result<Self> {
        let folder = open_folder(CWD, path)?;
        mkdirat(&folder, HOME, Mode::RWXU)?;
        let home = open_folder(folder.as_fd(), Path::new(HOME))?;
        if let Some(user) = user {
            // Others cannot change `folder`, so the name still refers to the new folder.
            let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
            chownat(&folder, HOME, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .with_context(|| format!("cannot change its owner to {}", user.name))?;
            rustix::fs::fchmod(&folder, Mode::from_raw_mode(PASSABLE))?;
        }
        Ok(Self { path: path.to_owned(), folder, home, user: user.cloned() })
    }

    /// Returns the path of the browser's profile.
    pub(super) fn profile(&self) -> PathBuf {
        self.path.join(HOME).join(PROFILE)
    }

    /// Writes the certificate of the audit's server, and returns its path.
    pub(super) fn certificate(&self, pem: &str) -> anyhow::Result<PathBuf> {
        let path = self.path.join(CERTIFICATE);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let written = openat(&self.folder, CERTIFICATE, flags, Mode::RUSR | Mode::WUSR)
            .map_err(io::Error::from)
            .and_then(|file| {
                let mut file = File::from(file);
                file.write_all(pem.as_bytes())?;
                file.set_permissions(Permissions::from_mode(0o644))
            });
        written.with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// Creates the folder of the profile if necessary, and writes the scenario's files to it.
    pub(super) async fn prepare(
        &self,
        files: &[ProfileFile],
        actions: &Actions,
    ) -> anyhow::Result<()> {
        let profile = self.profile();
        let files = files
            .iter()
            .map(|file| {
                let path = PathBuf::from(fill(&file.path, &actions.values));
                let below = path.strip_prefix(&profile).ok().filter(|below| {
                    let mut parts = below.components().peekable();
                    parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
                });
                let below = below.and_then(Path::to_str).with_context(|| {
                    format!(
                        "the scenario's file {} is outside the profile; begin its path with \
                         {{profile}}/",
                        printable(&file.path)
                    )
                })?;
                Ok(NewFile { path: below.into(), text: fill(&file.text, &actions.values) })
            })
            .collect::<anyhow::Result<_>>()?;
        let (request, user) = (Request::Prepare { files }, self.user.clone());
        let home = self.home.try_clone()?;
        // In another thread, so that the capture continues.
        tokio::task::spawn_blocking(move || request.run(home.as_fd(), user.as_ref()))
            .await?
            .with_context(|| format!("cannot prepare {}", profile.display()))
    }

    fn remove(&self) -> anyhow::Result<()> {
        Request::Clear.run(self.home.as_fd(), self.user.as_ref())?;
        match unlinkat(&self.folder, CERTIFICATE, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(err) => return Err(err.into()),
        }
        unlinkat(&self.folder, HOME, AtFlags::REMOVEDIR)?;
        Ok(fs::remove_dir(&self.path)?)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(err) = self.remove() {
            message!("cannot remove {}, remove it by hand: {err:#}", self.path.display());
        }
    }
}

/// Checks that no other user can rename or replace the folder at `path`.
fn check_parent(path: &Path) -> anyhow::Result<()> {
    const OTHERS_MAY_WRITE: u32 = 0o022;
    const STICKY: u32 = 0o1000;
    let path = path.canonicalize().with_context(|| format!("cannot use {}", path.display()))?;
    for folder in path.ancestors() {
        let metadata = fs::symlink_metadata(folder)?;
        let owned = [0, rustix::process::geteuid().as_raw()].contains(&metadata.uid());
        let open = metadata.mode() & OTHERS_MAY_WRITE != 0 && metadata.mode() & STICKY == 0;
        ensure!(
            owned && !open,
            "other users can replace {}; set TMPDIR to a folder that only root can write to",
            folder.display()
        );
    }
    Ok(())
}

fn open_folder(at: BorrowedFd<'_>, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(at, path, flags, Mode::empty())?)
}

/// An action in `home`, which is run as its owner.
#[derive(Debug, Serialize, Deserialize)]
enum Request {
    /// Create the folder of the profile, and write files to it.
    Prepare { files: Vec<NewFile> },
    /// Remove all files.
    Clear,
}

/// A file to write to the profile.
#[derive(Debug, Serialize, Deserialize)]
struct NewFile {
    /// Path relative to the profile.
    path: PathBuf,
    text: String,
}

impl Request {
    fn run(&self, home: BorrowedFd<'_>, user: Option<&User>) -> anyhow::Result<()> {
        match user {
            Some(user) => self.run_as(user, home),
            None => self.carry_out(home),
        }
    }

    /// Runs this binary as a user, with `home` as its working directory.
    ///
    /// The user controls the new process, so it receives no secrets, and tracer uses nothing of its
    /// output but one line of an error message.
    fn run_as(&self, user: &User, home: BorrowedFd<'_>) -> anyhow::Result<()> {
        let request = rustix::fs::memfd_create("tracer-request", MemfdFlags::CLOEXEC)?;
        let mut request = File::from(request);
        serde_json::to_writer(&request, self)?;
        request.rewind()?;
        let mut child = Command::new("/proc/self/exe")
            .arg(SUBCOMMAND)
            .env_clear()
            .uid(user.uid)
            .gid(user.gid)
            .current_dir(format!("/proc/self/fd/{}", home.as_raw_fd()))
            .stdin(request)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| {
                format!(
                    "cannot run tracer as {}; make its binary executable for all users",
                    user.name
                )
            })?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            if begun.elapsed() > PATIENCE {
                child.kill()?;
                child.wait()?;
                bail!("the process of {} did not end within {PATIENCE:?}", user.name);
            }
            thread::sleep(Duration::from_millis(2));
        };
        if !status.success() {
            let cause = first_line(&mut child).unwrap_or_else(|| status.to_string());
            bail!("as {}: {cause}", user.name);
        }
        Ok(())
    }

    fn carry_out(&self, home: BorrowedFd<'_>) -> anyhow::Result<()> {
        match self {
            Self::Prepare { files } => {
                let profile = create_folder(home, PROFILE)?;
                files.iter().try_for_each(|file| {
                    file.write(profile.as_fd())
                        .with_context(|| format!("cannot write {}", file.path.display()))
                })
            }
            Self::Clear => clear(home),
        }
    }
}

impl NewFile {
    /// Writes the file, and creates its folders. Does not follow links.
    fn write(&self, profile: BorrowedFd<'_>) -> anyhow::Result<()> {
        let mut folder = profile.try_clone_to_owned()?;
        let mut parts = self.path.components().peekable();
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else {
                bail!("it is outside the profile");
            };
            if parts.peek().is_some() {
                folder = create_folder(folder.as_fd(), name)?;
                continue;
            }
            // NONBLOCK, so that opening a FIFO does not block.
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK;
            let file = openat(&folder, name, flags | OFlags::CLOEXEC, Mode::RUSR | Mode::WUSR);
            let mut file = File::from(file.map_err(io::Error::from)?);
            ensure!(file.metadata()?.is_file(), "it is not a regular file");
            file.set_len(0)?;
            file.write_all(self.text.as_bytes())?;
        }
        Ok(())
    }
}

/// Opens a folder, and creates it if necessary.
fn create_folder(at: BorrowedFd<'_>, name: impl AsRef<Path>) -> anyhow::Result<OwnedFd> {
    let name = name.as_ref();
    let folder = match mkdirat(at, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => open_folder(at, name),
        Err(err) => Err(err.into()),
    };
    folder.with_context(|| {
        format!("cannot create the folder {} (links are not followed)", name.display())
    })
}

/// Removes all entries of a folder. `remove_dir_all` does not follow links.
fn clear(folder: BorrowedFd<'_>) -> anyhow::Result<()> {
    let folder = match folder.as_raw_fd() == CWD.as_raw_fd() {
        true => PathBuf::from("."),
        false => format!("/proc/self/fd/{}", folder.as_raw_fd()).into(),
    };
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let removed = match entry.file_type()?.is_dir() {
            true => fs::remove_dir_all(entry.path()),
            false => fs::remove_file(entry.path()),
        };
        removed.with_context(|| format!("cannot remove {}", entry.path().display()))?;
    }
    Ok(())
}

/// Returns the first line that a process has written to its standard error, without blocking.
fn first_line(child: &mut Child) -> Option<String> {
    const MAX: usize = 1024;
    let mut stderr = child.stderr.take()?;
    // A descendant may still hold the other end open.
    rustix::io::ioctl_fionbio(&stderr, true).ok()?;
    let mut text = vec![0; MAX];
    let length = stderr.read(&mut text).ok()?;
    let text = String::from_utf8_lossy(text.get(..length)?).into_owned();
    let line = text.lines().next()?;
    Some(printable(line.strip_prefix("tracer: ").unwrap_or(line)))
}

/// Arguments of the hidden subcommand, which reads its request from standard input.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct FilesArgs {}

/// Carries out a request in the working directory, as the current user.
pub(in crate::cli) fn files(_: &FilesArgs) -> anyhow::Result<ExitCode> {
    let request: Request = serde_json::from_reader(io::stdin().lock())
        .context("standard input is not a request of `tracer audit`; this command is internal")?;
    request.carry_out(CWD)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(home: &Path, path: &str) -> anyhow::Result<()> {
        let files = vec![NewFile { path: path.into(), text: "text".into() }];
        Request::Prepare { files }.carry_out(open_folder(CWD, home).unwrap().as_fd())
    }

    #[test]
    fn profile_is_prepared_and_cleared() {
        let home = tempfile::tempdir().unwrap();
        let profile = home.path().join(PROFILE);
        for _ in 0..2 {
            write(home.path(), "Default/Preferences").unwrap();
            assert_eq!(fs::read(profile.join("Default/Preferences")).unwrap(), b"text");
            assert_eq!(fs::metadata(&profile).unwrap().mode() & 0o777, 0o700);
        }
        fs::write(home.path().join("file"), "").unwrap();
        symlink("/", home.path().join("link")).unwrap();
        Request::Clear.carry_out(open_folder(CWD, home.path()).unwrap().as_fd()).unwrap();
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn links_in_a_profile_are_not_followed() {
        let (home, target) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let profile = home.path().join(PROFILE);
        let attempts = [
            (PROFILE, "user.js", target.path().to_owned()),
            ("profile/user.js", "user.js", target.path().join("new")),
            ("profile/sub", "sub/user.js", target.path().to_owned()),
        ];
        for (link, path, to) in attempts {
            let _ = fs::remove_dir_all(&profile);
            let link = home.path().join(link);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(to, &link).unwrap();
            write(home.path(), path).unwrap_err();
            assert_eq!(fs::read_dir(target.path()).unwrap().count(), 0);
            fs::remove_file(link).unwrap();
        }
        write(home.path(), "../outside").unwrap_err();
        assert!(!home.path().join("outside").exists());
    }

    #[test]
    fn temporary_folders_that_others_can_replace_are_refused() {
        check_parent(Path::new("/tmp")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
        let err = check_parent(folder.path()).unwrap_err();
        assert!(err.to_string().contains("TMPDIR"), "{err}");
    }
}
