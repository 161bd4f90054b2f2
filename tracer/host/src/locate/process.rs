//! Analyzes files in a process of its own, because they are hostile.
//!
//! ```text
//! Locator ──── one byte ────────────────────────▶ supervise: starts ──▶ serve
//!         ◀─── one byte, with a socket ─────────
//!         ──── one byte, with the open file ────────────────────────▶ locate
//!         ◀─── length (u32), findings (JSON) ────────────────────────
//! ```
//!
//! The process that analyzes has no rights (see [`crate::sandbox`]): it can read the file that it
//! was given, and answer. A wrong answer can lead to a probe at a wrong place of a file. If it dies,
//! the supervisor starts another one, because the process of the locator may not start any. The
//! supervisor reads nothing but these single bytes.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use super::{Cache, FileSource, Findings, locate_mapped};
use crate::passing::{receive, send};

/// Longest time for an answer. Chromium's executable takes half a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Maximum length of an answer.
const MAX_ANSWER: usize = 1 << 20;

/// Locates functions, in this process or in another one.
pub struct Locator(Place);

enum Place {
    Here(Box<Cache>),
    Elsewhere { supervisor: Supervisor, analyst: Option<Analyst> },
}

impl Locator {
    /// Creates a locator that analyzes files in this process.
    pub fn here() -> Self {
        Self(Place::Here(Box::new(Cache::new())))
    }

    /// Creates a locator that runs a command, which has to call [`supervise`] with its standard
    /// input.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub fn elsewhere(command: &mut Command) -> io::Result<Self> {
        let supervisor = Supervisor::start(command)?;
        Ok(Self(Place::Elsewhere { supervisor, analyst: None }))
    }

    /// Locates the functions in a file. Returns nothing for a file without code.
    ///
    /// # Errors
    /// If the other process cannot be started, dies, or does not answer.
    pub fn locate(&mut self, file: &File) -> io::Result<Vec<Findings>> {
        match &mut self.0 {
            Place::Here(cache) => Ok(analyze(file.try_clone()?, cache)),
            Place::Elsewhere { supervisor, analyst } => {
                let mut asked = match analyst.take() {
                    Some(analyst) => analyst,
                    None => supervisor.start_analyst()?,
                };
                let answer = asked.ask(file)?;
                // It is not used again after an error.
                *analyst = Some(asked);
                Ok(answer)
            }
        }
    }
}

fn analyze(file: File, cache: &mut Cache) -> Vec<Findings> {
    let found = FileSource::new(file).map(|source| locate_mapped(&source, "", cache));
    match found {
        Ok(Ok(found)) => found.into_iter().map(|located| located.findings).collect(),
        // Neither an ELF file nor an archive of ELF files.
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// The process that starts those that analyze files.
struct Supervisor {
    control: UnixStream,
    /// Not waited for: the process of the locator may not be permitted to. It ends when `control`
    /// is closed.
    _child: Child,
}

impl Supervisor {
    fn start(command: &mut Command) -> io::Result<Self> {
        let (control, theirs) = UnixStream::pair()?;
        control.set_read_timeout(Some(PATIENCE))?;
        control.set_write_timeout(Some(PATIENCE))?;
        let child = command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).spawn()?;
        Ok(Self { control, _child: child })
    }

    /// Ends the process that analyzes, if there is one, and starts another one.
    fn start_analyst(&mut self) -> io::Result<Analyst> {
        self.control.write_all(&[0])?;
        let socket = receive(&self.control)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let socket = UnixStream::from(socket);
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Analyst { socket })
    }
}

/// Starts a process that analyzes files whenever the [`Locator`] at the other end of a socket asks
/// for one, until it closes the socket. `command` has to call [`serve`] with its standard input.
///
/// # Errors
/// If the socket fails, or a process cannot be started.
pub fn supervise(mut control: UnixStream, command: fn() -> Command) -> io::Result<()> {
    let mut running = Ended(None);
    while control.read(&mut [0])? > 0 {
        drop(running);
        let (ours, theirs) = UnixStream::pair()?;
        let child = command().stdin(OwnedFd::from(ours)).stdout(Stdio::null()).spawn()?;
        running = Ended(Some(child));
        send(&control, theirs)?;
    }
    Ok(())
}

/// A process that ends when this is dropped.
struct Ended(Option<Child>);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The process that analyzes files.
struct Analyst {
    socket: UnixStream,
}

impl Analyst {
    fn ask(&mut self, file: &File) -> io::Result<Vec<Findings>> {
        send(&self.socket, file)?;
        let mut length = [0; 4];
        self.socket.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_ANSWER {
            return Err(io::Error::other(format!("an answer of {length} bytes")));
        }
        let mut answer = vec![0; length];
        self.socket.read_exact(&mut answer)?;
        Ok(serde_json::from_slice(&answer)?)
    }
}

/// Answers the questions of a [`Locator`] until it closes the socket.
///
/// # Errors
/// If the socket fails.
pub fn serve(mut socket: UnixStream) -> io::Result<()> {
    let mut cache = Cache::new();
    while let Some(file) = receive(&socket)? {
        let found = serde_json::to_vec(&analyze(file.into(), &mut cache))?;
        let answer = if found.len() > MAX_ANSWER { b"[]" } else { &found[..] };
        let length = u32::try_from(answer.len()).unwrap_or_default();
        socket.write_all(&length.to_le_bytes())?;
        socket.write_all(answer)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers on the other end of a socket.
    fn analyst(serve: impl FnOnce(UnixStream) + Send + 'static) -> Analyst {
        let (socket, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || serve(theirs));
        Analyst { socket }
    }

    #[test]
    fn answers_equal_those_of_the_same_process() {
        let mut elsewhere = analyst(|socket| serve(socket).unwrap());
        let mut here = Locator::here();
        let own = std::env::current_exe().unwrap();
        let text = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        for path in [own.as_path(), text.as_ref(), "/".as_ref()] {
            let file = File::open(path).unwrap();
            let answer = elsewhere.ask(&file).unwrap();
            assert_eq!(answer, here.locate(&file).unwrap(), "{}", path.display());
            assert_eq!(answer.len(), usize::from(path == own));
        }
    }

    #[test]
    fn wrong_answers_are_errors() {
        let file = File::open("/dev/null").unwrap();
        for answer in [&b""[..], b"\xff\xff\xff\xff", b"\x02\0\0\0{}", b"\x09\0\0\0[]"] {
            let mut wrong = analyst(move |mut socket| {
                receive(&socket).unwrap();
                socket.write_all(answer).unwrap();
            });
            wrong.ask(&file).unwrap_err();
        }
        let mut dead = Locator::elsewhere(&mut Command::new("true")).unwrap();
        dead.locate(&file).unwrap_err();
        dead.locate(&file).unwrap_err();
    }

    #[test]
    fn a_process_that_dies_is_started_again() {
        let (control, theirs) = UnixStream::pair().unwrap();
        let supervisor = std::thread::spawn(move || {
            // It dies at once.
            supervise(theirs, || Command::new("true"))
        });
        let child = Command::new("true").spawn().unwrap();
        let supervised = Supervisor { control, _child: child };
        let place = Place::Elsewhere { supervisor: supervised, analyst: None };
        let mut locator = Locator(place);
        let file = File::open("/dev/null").unwrap();
        for _ in 0..3 {
            locator.locate(&file).unwrap_err();
        }
        drop(locator);
        supervisor.join().unwrap().unwrap();
    }
}
