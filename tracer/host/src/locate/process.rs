//! Analyzes files in a process of its own, because they are hostile.
//!
//! ```text
//! Locator ──── one byte, with the open file ───▶ serve: locate
//!         ◀─── length (u32), findings (JSON) ───
//! ```
//!
//! That process has no rights (see [`crate::sandbox`]): it can read the file that it was given, and
//! answer. A wrong answer can lead to a probe at a wrong place of a file.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use super::{Cache, FileSource, Findings, locate};

/// Longest time for an answer. Chromium's executable takes half a second.
const PATIENCE: Duration = Duration::from_secs(30);

/// Maximum length of an answer.
const MAX_ANSWER: usize = 1 << 20;

/// Locates functions, in this process or in another one.
pub struct Locator(Place);

enum Place {
    Here(Box<Cache>),
    Elsewhere { command: fn() -> Command, process: Option<Process> },
}

impl Locator {
    /// Creates a locator that analyzes files in this process.
    pub fn here() -> Self {
        Self(Place::Here(Box::new(Cache::new())))
    }

    /// Creates a locator that runs a command, which has to call [`serve`] with its standard input.
    /// The process is started again if it dies.
    pub fn elsewhere(command: fn() -> Command) -> Self {
        Self(Place::Elsewhere { command, process: None })
    }

    /// Locates the functions in a file. Returns nothing for a file without code.
    ///
    /// # Errors
    /// If the other process cannot be started, dies, or does not answer.
    pub fn locate(&mut self, file: &File) -> io::Result<Vec<Findings>> {
        match &mut self.0 {
            Place::Here(cache) => Ok(analyze(file.try_clone()?, cache)),
            Place::Elsewhere { command, process } => {
                let mut running = match process.take() {
                    Some(running) => running,
                    None => Process::start(&mut command())?,
                };
                let answer = running.ask(file)?;
                // It is not used again after an error.
                *process = Some(running);
                Ok(answer)
            }
        }
    }
}

fn analyze(file: File, cache: &mut Cache) -> Vec<Findings> {
    let found = FileSource::new(file).map(|source| locate(&source, "", cache));
    match found {
        Ok(Ok(found)) => found.into_iter().map(|located| located.findings).collect(),
        // Neither an ELF file nor an archive of ELF files.
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// The process that analyzes files.
struct Process {
    socket: UnixStream,
    child: Child,
}

impl Process {
    fn start(command: &mut Command) -> io::Result<Self> {
        let (socket, theirs) = UnixStream::pair()?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let child = command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).spawn()?;
        Ok(Self { socket, child })
    }

    fn ask(&mut self, file: &File) -> io::Result<Vec<Findings>> {
        let files = [file.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&files));
        sendmsg(&self.socket, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
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

impl Drop for Process {
    fn drop(&mut self) {
        // It ends by itself as well, when the socket is closed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Answers the questions of a [`Locator`] until it closes the socket.
///
/// # Errors
/// If the socket fails.
pub fn serve(mut socket: UnixStream) -> io::Result<()> {
    let mut cache = Cache::new();
    while let Some(file) = receive(&socket)? {
        let found = serde_json::to_vec(&analyze(file, &mut cache))?;
        let answer = if found.len() > MAX_ANSWER { b"[]" } else { &found[..] };
        let length = u32::try_from(answer.len()).unwrap_or_default();
        socket.write_all(&length.to_le_bytes())?;
        socket.write_all(answer)?;
    }
    Ok(())
}

/// Receives a file. Returns `None` if the socket was closed.
fn receive(socket: &UnixStream) -> io::Result<Option<File>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags)?;
    let file = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    Ok(file.map(File::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers on the other end of a socket.
    fn process(serve: impl FnOnce(UnixStream) + Send + 'static) -> Process {
        let (socket, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || serve(theirs));
        let child = Command::new("true").spawn().unwrap();
        Process { socket, child }
    }

    #[test]
    fn answers_equal_those_of_the_same_process() {
        let mut elsewhere = process(|socket| serve(socket).unwrap());
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
            let mut wrong = process(move |mut socket| {
                receive(&socket).unwrap();
                socket.write_all(answer).unwrap();
            });
            wrong.ask(&file).unwrap_err();
        }
        let mut dead = Locator::elsewhere(|| Command::new("true"));
        dead.locate(&file).unwrap_err();
        dead.locate(&file).unwrap_err();
    }
}
