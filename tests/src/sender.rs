//! Starts the sender, a process that sends exactly what a test specifies.
//!
//! `src/bin/sender.rs` documents its statements.

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

/// Returns a UID that nothing else on this machine uses, including other tests and
/// tests of another checkout: it is derived from the process ID.
pub fn unused_uid() -> u32 {
    /// Above the UIDs of users, containers and Android applications.
    const BASE: u32 = 0x4000_0000;
    /// UIDs for each process. `kernel.pid_max` is at most 2²².
    const EACH: u32 = 1 << 7;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    BASE + std::process::id() * EACH + NEXT.fetch_add(1, Ordering::Relaxed) % EACH
}

/// A temporary folder with a copy of the sender that every UID can execute.
pub struct Sandbox {
    folder: TempDir,
    sender: PathBuf,
}

impl Sandbox {
    /// Creates the folder. `sender` is `env!("CARGO_BIN_EXE_sender")`.
    ///
    /// # Panics
    /// Panics if the system's temporary folder cannot be written to.
    pub fn new(sender: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("tracer-tests-").tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("permissions");
        let sandbox = Self { sender: folder.path().join("sender"), folder };
        // A copy and not a hard link: a test that watches the file would otherwise
        // capture the sends of other tests.
        copy(Path::new(sender), &sandbox.sender);
        sandbox
    }

    /// Returns the folder's path.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Returns an executable name that no other process on this machine has.
    pub fn unused_name(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        format!("tt{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Makes another copy of the sender, which is a different file.
    pub fn copy(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        copy(&self.sender, &path);
        path
    }

    /// Makes a symbolic link to the sender.
    ///
    /// # Panics
    /// Panics if the link cannot be created.
    pub fn link(&self, name: &str) -> PathBuf {
        let path = self.path().join(name);
        std::os::unix::fs::symlink(&self.sender, &path).expect("a link");
        path
    }

    /// Writes a script that the sender interprets: `#!SENDER`, then one statement a
    /// line.
    ///
    /// # Panics
    /// Panics if the script cannot be written.
    pub fn script(&self, name: &str, statements: &[&str]) -> PathBuf {
        let path = self.path().join(name);
        let text = format!("#!{}\n{}\n", self.sender.display(), statements.join("\n"));
        // Write it elsewhere first, for the reason given at `copy`.
        let draft = self.path().join(format!("{name}.draft"));
        fs::write(&draft, text).expect("a script");
        copy(&draft, &path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("permissions");
        path
    }

    /// Returns a sender, not yet started, that runs as the current user.
    pub fn sender(&self) -> Sender {
        Sender::new(&self.sender)
    }
}

/// Copies a file in a child process. If this process had the file open for writing
/// while another test forks, that child would hold it open until it calls `exec`,
/// and executing the file would fail with `ETXTBSY`.
pub fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("--").arg(from).arg(to).status().expect("cp");
    assert!(status.success(), "cp {} {}", from.display(), to.display());
}

/// A sender that has not been started.
pub struct Sender {
    command: Command,
}

impl Sender {
    /// Creates a sender from any executable.
    pub fn new(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).current_dir(env::temp_dir());
        Self { command }
    }

    /// Sets the UID.
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

    /// Starts the sender.
    ///
    /// # Panics
    /// Panics if the sender cannot be started.
    pub fn start(mut self) -> Running {
        let mut child = self.command.spawn().expect("the sender");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Running { child, stdout, text: String::new() }
    }

    /// Runs the sender to its end.
    ///
    /// # Panics
    /// Panics if the sender fails.
    pub fn run(self) -> Outcome {
        self.start().end()
    }
}

/// A running sender.
pub struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    text: String,
}

impl Running {
    /// Returns the process ID.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the sender or a descendant prints a line.
    ///
    /// # Panics
    /// Panics if the sender ends first.
    pub fn wait_for_line(&mut self) {
        let read = self.stdout.read_line(&mut self.text).expect("the output");
        assert!(read > 0, "the sender has ended");
    }

    /// Releases every `await`, then waits for the sender and for every descendant
    /// that has inherited its standard output.
    ///
    /// # Panics
    /// Panics if the sender fails.
    pub fn end(mut self) -> Outcome {
        drop(self.child.stdin.take());
        self.stdout.read_to_string(&mut self.text).expect("the output");
        let status = self.child.wait().expect("an exit status");
        assert!(status.success(), "the sender failed: {status}");
        let text = std::mem::take(&mut self.text);
        let identities = text.lines().filter_map(Identity::parse).collect();
        Outcome { pid: self.child.id(), identities, text }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Still running only if a test has failed. It could then wait for ever.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A sender that ended successfully.
pub struct Outcome {
    /// The process ID.
    pub pid: u32,
    /// Output of the `say` statements, in order.
    pub identities: Vec<Identity>,
    /// The complete standard output.
    pub text: String,
}

/// The output of a `say` statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The process ID.
    pub pid: u32,
    /// The thread ID.
    pub tid: u32,
    /// Local address of the socket, if it is an IP socket.
    pub local: Option<SocketAddr>,
}

impl Identity {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("I am ")?.split(' ');
        let mut number = || words.next()?.parse().ok();
        let (pid, tid) = (number()?, number()?);
        Some(Self { pid, tid, local: words.next()?.parse().ok() })
    }
}
