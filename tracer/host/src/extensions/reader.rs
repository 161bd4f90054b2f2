//! Reads profiles in a process of its own, because they are hostile.
//!
//! ```text
//! Reader ──── places: profiles, folders of extensions (JSON) ────▶ serve
//!        ◀─── a path (JSON) ──────────────────────────────────────
//!        ──── one byte, with the open file if the user may read it ▶ parses
//!        ◀─── extensions (JSON) ──────────────────────────────────
//! ```
//!
//! The process that parses has no rights (see [`crate::sandbox`]). It gets files that the user of
//! the browser could read as well, as `files` says.

use std::{
    cell::Cell,
    fs::File,
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tracer_core::record::Extension;

use super::{
    Found, MAX_EXTENSIONS, Places,
    files::{Files, UserFiles, read_bounded},
};
use crate::passing;

/// Longest time for a message. A large profile takes some hundred milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// Maximum length of a message: the names of all extensions.
const MAX_MESSAGE: usize = 1 << 20;

/// Maximum number of files that are opened for one search: a manifest and a translation for each
/// extension of several profiles.
const MAX_OPENED: usize = 16 * MAX_EXTENSIONS;

/// A message from the process that parses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// It wants to read this file.
    Open(PathBuf),
    /// It has found these extensions: ID, name, and ID of the add-on.
    Found(Vec<(String, String, Option<String>)>),
}

/// The process that parses profiles.
#[derive(Debug)]
pub struct Reader {
    socket: UnixStream,
    /// Not waited for: the capture may not be permitted to. It ends when `socket` is closed.
    _child: Option<Child>,
}

impl Reader {
    /// Starts a command, which has to call [`serve`] with its standard input.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        let child = command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).spawn()?;
        Self::at(socket, Some(child))
    }

    pub(super) fn at(socket: UnixStream, child: Option<Child>) -> io::Result<Self> {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { socket, _child: child })
    }

    /// Returns an error if the process has ended.
    pub(super) fn failure(&self) -> Option<io::Error> {
        let mut socket = [PollFd::new(&self.socket, PollFlags::empty())];
        let ended = poll(&mut socket, Some(&Timespec::default())).is_ok_and(|ready| ready > 0);
        ended.then(|| io::Error::other("the process that reads profiles has ended"))
    }

    /// Returns the extensions in these places.
    pub(super) fn search(&self, places: &Places, files: &UserFiles) -> io::Result<Vec<Extension>> {
        write(&self.socket, places)?;
        for _ in 0..MAX_OPENED {
            match read(&self.socket)?.ok_or(io::ErrorKind::UnexpectedEof)? {
                Answer::Open(path) => match files.open(&path) {
                    Ok(file) => passing::send(&self.socket, file)?,
                    Err(_) => passing::send_none(&self.socket)?,
                },
                Answer::Found(list) => return Ok(checked(&list)),
            }
        }
        Err(io::Error::other("it opens too many files"))
    }
}

/// Checks extensions again, since whoever controls the process chooses them.
fn checked(list: &[(String, String, Option<String>)]) -> Vec<Extension> {
    let mut found = Found::default();
    list.iter().for_each(|(id, name, addon)| found.add(id, name, addon.as_deref()));
    found.list
}

/// Searches for the [`Reader`] at the other end of a socket, until it closes the socket.
///
/// # Errors
/// If the socket fails.
pub fn serve(socket: &UnixStream) -> io::Result<()> {
    while let Some(places) = read::<Places>(socket)? {
        let files = Asked { socket, failed: Cell::new(false) };
        let mut list: Vec<_> =
            places.search(&files).into_iter().map(|it| (it.id, it.name, it.addon)).collect();
        let length = |it: &(String, String, Option<String>)| {
            64 + 6 * (it.0.len() + it.1.len() + it.2.as_ref().map_or(0, String::len))
        };
        while list.iter().map(length).sum::<usize>() > MAX_MESSAGE {
            list.pop();
        }
        write(socket, &Answer::Found(list))?;
    }
    Ok(())
}

/// Files that the other end of a socket opens.
struct Asked<'a> {
    socket: &'a UnixStream,
    /// Set once the socket has failed.
    failed: Cell<bool>,
}

impl Files for Asked<'_> {
    fn read(&self, path: &Path) -> Option<Vec<u8>> {
        if self.failed.get() {
            return None;
        }
        let asked = write(self.socket, &Answer::Open(path.to_owned()));
        let Ok(file) = asked.and_then(|()| passing::receive(self.socket)) else {
            self.failed.set(true);
            return None;
        };
        read_bounded(File::from(file?))
    }
}

fn write(mut socket: &UnixStream, message: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    socket.write_all(&[&length.to_le_bytes()[..], &bytes].concat())
}

/// Reads a message. Returns `None` at the end.
fn read<T: DeserializeOwned>(mut socket: &UnixStream) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match socket.read_exact(&mut length) {
        Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_MESSAGE {
        return Err(io::Error::other(format!("a message of {length} bytes")));
    }
    let mut bytes = vec![0; length];
    socket.read_exact(&mut bytes)?;
    Ok(Some(serde_json::from_slice(&bytes)?))
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Profile,
            files::tests::{Folder, own},
        },
        *,
    };

    fn reader(serve: impl FnOnce(UnixStream) + Send + 'static) -> Reader {
        let (socket, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || serve(theirs));
        Reader::at(socket, None).unwrap()
    }

    #[test]
    fn another_process_finds_what_this_one_does() {
        let folder = Folder::new("reader");
        let id = "a".repeat(32);
        let manifest = r#"{"name": "__MSG_n__", "default_locale": "de"}"#;
        folder.write(&format!("Extensions/{id}/1/manifest.json"), manifest);
        folder.write(
            &format!("Extensions/{id}/1/_locales/de/messages.json"),
            r#"{"n": {"message": "Übersetzer"}}"#,
        );
        folder.write(
            "Preferences",
            &format!(r#"{{"extensions": {{"settings": {{"{id}": {{"path": "{id}/1"}}}}}}}}"#),
        );
        let places = Places {
            unpacked: vec!["/no/such/folder".into()],
            profiles: vec![Profile::Chromium(folder.0.clone())],
        };
        let elsewhere = reader(|socket| serve(&socket).unwrap());
        for _ in 0..2 {
            let found = elsewhere.search(&places, &own()).unwrap();
            assert_eq!(found, places.search(&own()));
            assert_eq!(found[0].name, "Übersetzer");
        }
    }

    #[test]
    fn the_process_gets_only_files_of_the_user() {
        let folder = Folder::new("asked");
        let link = folder.0.join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        let file = folder.write("file", "content");
        let asks = move |socket: UnixStream| {
            read::<Places>(&socket).unwrap();
            let files = Asked { socket: &socket, failed: Cell::new(false) };
            assert_eq!(files.read(&link), None);
            assert_eq!(files.read(Path::new("relative")), None);
            assert_eq!(files.read(Path::new("/dev/zero")), None);
            assert_eq!(files.read(&file).unwrap(), b"content");
            let list = vec![("id".into(), "all was as expected".into(), None)];
            write(&socket, &Answer::Found(list)).unwrap();
        };
        let found = reader(asks).search(&Places::default(), &own()).unwrap();
        assert_eq!(found[0].name, "all was as expected");
    }

    #[test]
    fn wrong_answers_are_errors_or_left_out() {
        for answer in [&b""[..], b"\xff\xff\xff\xff", b"\x02\0\0\0{}", b"\x09\0\0\0[]"] {
            let wrong = reader(move |mut socket| {
                let _ = read::<Places>(&socket);
                socket.write_all(answer).unwrap();
            });
            wrong.search(&Places::default(), &own()).unwrap_err();
        }
        let endless = reader(|socket| {
            let files = Asked { socket: &socket, failed: Cell::new(false) };
            while !files.failed.get() {
                files.read(Path::new("/"));
            }
        });
        endless.search(&Places::default(), &own()).unwrap_err();
        let hostile = [("a/../b", "x"), ("ok", "\u{1b}[31m"), ("ok2", "name")]
            .map(|(id, name)| (id.to_owned(), name.to_owned(), None));
        let names: Vec<_> = checked(&hostile).into_iter().map(|it| it.name).collect();
        assert_eq!(names, ["[31m", "name"]);
    }
}
