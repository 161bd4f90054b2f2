//! Starts the sender: a process that sends exactly what a test says.
//!
//! The binary's own documentation (`src/bin/sender.rs`) lists the statements
//! that it takes.

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _},
    net::SocketAddr,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use tempfile::TempDir;

/// A UID that nobody else on this machine has now: neither another test nor
/// the tests of another clone, since the process id is part of it.
pub fn unused_uid() -> u32 {
    /// Above what users, containers and Android's applications are given.
    const BASE: u32 = 0x4000_0000;
    /// UIDs a process. `kernel.pid_max` is 2²² at most.
    const EACH: u32 = 1 << 7;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    BASE + std::process::id() * EACH + NEXT.fetch_add(1, Ordering::Relaxed) % EACH
}

/// A folder with the sender in it, where every UID may execute it.
pub struct Sandbox {
    folder: TempDir,
    sender: PathBuf,
}

impl Sandbox {
    /// Makes the folder. `sender` is `env!("CARGO_BIN_EXE_sender")`.
    ///
    /// # Panics
    /// When the system's folder for temporary files cannot be written to.
    pub fn new(sender: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("tracer-tests-").tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("its mode");
        let sandbox = Self { sender: folder.path().join("sender"), folder };
        // Not a second name for the same file: a test that watches the file
        // would see what the others send.
        copy(Path::new(sender), &sandbox.sender);
        sandbox
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A name for an executable that no other process on the machine has.
    pub fn unused_name(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("tt{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Another copy of the sender: a file of its own.
    pub fn copy(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        copy(&self.sender, &path);
        path
    }

    /// The sender under another name.
    ///
    /// # Panics
    /// When the link cannot be made.
    pub fn link(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::os::unix::fs::symlink(&self.sender, &path).expect("a link");
        path
    }

    /// A script, run by the sender: `#!SENDER` and a statement a line.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn script(&self, name: &str, statements: &[&str]) -> PathBuf {
        let path = self.path().join(name);
        let text = format!("#!{}\n{}\n", self.sender.display(), statements.join("\n"));
        // Written elsewhere first, as `copy` does.
        let draft = self.path().join(format!("{name}.draft"));
        fs::write(&draft, text).expect("a script");
        copy(&draft, &path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        path
    }

    /// The sender, not yet started, as this process's user.
    pub fn sender(&self) -> Sender {
        Sender::of(&self.sender)
    }
}

/// Copies in a process of its own. Were the file open for writing here while
/// another test forks, its child would hold it open too, and until it executes
/// something nobody could execute the file (`ETXTBSY`).
pub(crate) fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("--").arg(from).arg(to).status().expect("cp");
    assert!(status.success(), "cp {} {}", from.display(), to.display());
}

/// A sender to be started.
pub struct Sender {
    command: Command,
}

impl Sender {
    /// Some executable that takes the sender's statements, or none.
    pub fn of(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir(env::temp_dir());
        Self { command }
    }

    /// Runs under this UID.
    #[must_use]
    pub fn uid(mut self, uid: u32) -> Self {
        self.command.uid(uid).gid(uid);
        self
    }

    /// Adds a statement.
    #[must_use]
    pub fn then(mut self, statement: impl Into<String>) -> Self {
        self.command.arg(statement.into());
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(mut self) -> Running {
        let mut child = self.command.spawn().expect("the sender");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Running { child, stdout, text: String::new() }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(self) -> Ended {
        self.start().end()
    }
}

/// A sender that runs.
pub struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    text: String,
}

impl Running {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it, or a descendant, says something.
    ///
    /// # Panics
    /// When it ends before.
    pub fn says(&mut self) {
        let read = self.stdout.read_line(&mut self.text).expect("its output");
        assert!(read > 0, "the sender has ended");
    }

    /// Lets it pass every `await`, and waits for it and for every descendant
    /// that has its standard output.
    ///
    /// # Panics
    /// When it fails.
    pub fn end(mut self) -> Ended {
        drop(self.child.stdin.take());
        self.stdout.read_to_string(&mut self.text).expect("its output");
        let status = self.child.wait().expect("its end");
        assert!(status.success(), "the sender failed: {status}");
        let text = std::mem::take(&mut self.text);
        let said = text.lines().filter_map(Said::parse).collect();
        Ended { pid: self.child.id(), said, text }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has ended, unless a test has failed: what that left behind may
        // wait for ever.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A sender that ended well.
pub struct Ended {
    /// Its process id.
    pub pid: u32,
    /// What its `say` statements said, in order.
    pub said: Vec<Said>,
    /// All that it printed.
    pub text: String,
}

/// What `say` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Its socket's end, if it has a socket of IP's.
    pub local: Option<SocketAddr>,
}

impl Said {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("I am ")?.split(' ');
        let mut number = || words.next()?.parse().ok();
        let (pid, tid) = (number()?, number()?);
        Some(Self { pid, tid, local: words.next()?.parse().ok() })
    }
}
