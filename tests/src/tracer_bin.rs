//! Runs the `tracer` binary as users run it.

use std::{
    env,
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        OnceLock,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::sender::copy;

/// Longest time anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Returns the path of the binary: the value of `TRACER_BIN`, or the one next to
/// the tests, which this function builds.
///
/// # Panics
/// Panics if the binary cannot be built.
pub fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| env::var_os("TRACER_BIN").map_or_else(build, PathBuf::from))
}

/// Builds tracer. `cargo test` only builds binaries of the package under test.
fn build() -> PathBuf {
    // target/debug/deps/TEST
    let test = env::current_exe().expect("the test's own path");
    let profile = test.ancestors().nth(2).expect("a profile's folder");
    let target = profile.parent().expect("the target folder");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["build", "--quiet", "--bin", "tracer", "--target-dir"])
        .arg(target)
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    assert!(cargo.status().expect("cargo").success(), "cannot build tracer");
    profile.join("tracer")
}

/// Returns a command without input whose two outputs are captured.
pub fn command<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(path());
    command.args(arguments);
    piped(command)
}

/// Returns such a command for a UID other than root. That user may not be allowed
/// to enter the folder of the binary, so the binary is copied to `folder`.
pub fn command_as(uid: u32, folder: &Path, arguments: &[&str]) -> Command {
    let copied = folder.join("tracer");
    copy(path(), &copied);
    let mut command = Command::new(copied);
    command.args(arguments).uid(uid).gid(uid).current_dir(folder);
    piped(command)
}

fn piped(mut command: Command) -> Command {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Outcome of a command.
#[derive(Debug)]
pub struct Outcome {
    /// The exit code, or `None` if a signal killed the process.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs a command to its end.
///
/// # Panics
/// Panics if the command cannot be run.
pub fn run(command: &mut Command) -> Outcome {
    let output = command.output().expect("tracer");
    Outcome {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A running command.
pub struct Running {
    child: Child,
    stdout: Lines,
    stderr: Lines,
}

impl Running {
    /// Starts `tracer run` and waits until it watches.
    ///
    /// # Panics
    /// Panics if it ends or does not watch in time.
    pub fn start(arguments: &[&str]) -> Self {
        let mut command = command([&["run"], arguments].concat());
        if !arguments.contains(&"--store") {
            // Alerts of tests do not belong in this machine's store.
            command.arg("--no-store");
        }
        Self::start_command(&mut command)
    }

    /// Starts a `tracer run` command and waits until it watches.
    ///
    /// # Panics
    /// Panics if it ends or does not watch in time.
    pub fn start_command(command: &mut Command) -> Self {
        let mut running = Self::spawn(command);
        let watches = running.stderr.until(|line| line.contains("watching; "));
        assert!(watches, "tracer does not watch: {:?}", running.stderr.seen);
        running
    }

    /// Starts any command, without waiting.
    ///
    /// # Panics
    /// Panics if the command cannot be started.
    pub fn spawn(command: &mut Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("tracer");
        let stdout = Lines::new(child.stdout.take().expect("a pipe"));
        let stderr = Lines::new(child.stderr.take().expect("a pipe"));
        Self { child, stdout, stderr }
    }

    /// Waits for a matching line on standard output.
    ///
    /// # Panics
    /// Panics if none comes in time.
    pub fn wait_for_line(&mut self, wanted: impl Fn(&str) -> bool) -> &str {
        let found = self.stdout.until(wanted);
        assert!(found, "no line matches: {:?} {:?}", self.stdout.seen, self.stderr.seen);
        self.stdout.seen.last().expect("a matching line")
    }

    /// Reports whether a matching line appears on standard error in time.
    pub fn wait_for_stderr(&mut self, wanted: impl Fn(&str) -> bool, patience: Duration) -> bool {
        self.stderr.until_deadline(wanted, Instant::now() + patience)
    }

    /// Waits for a matching line on standard error.
    ///
    /// # Panics
    /// Panics with `failure` and all lines so far if none comes in time.
    #[track_caller]
    pub fn expect_stderr(
        &mut self,
        wanted: impl Fn(&str) -> bool,
        patience: Duration,
        failure: &str,
    ) {
        let found = self.wait_for_stderr(wanted, patience);
        assert!(found, "{failure}: {:?}", self.stderr.seen);
    }

    /// Waits for a matching line on standard error, unless there was one.
    ///
    /// # Panics
    /// Panics with `failure` and all lines so far if none comes in time.
    #[track_caller]
    pub fn expect_said(
        &mut self,
        wanted: impl Fn(&str) -> bool,
        patience: Duration,
        failure: &str,
    ) {
        if !self.stderr.seen.iter().any(|line| wanted(line)) {
            self.expect_stderr(wanted, patience, failure);
        }
    }

    /// Waits for a matching JSON object on standard output.
    ///
    /// # Panics
    /// Panics if none comes in time.
    pub fn wait_for_json(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        let parsed = |line: &str| {
            let line: Value = serde_json::from_str(line).expect("a line of JSON");
            #[cfg(feature = "schemas")]
            if line["type"].is_string() {
                crate::schema::check("alerts", &line);
            }
            line
        };
        parsed(self.wait_for_line(|line| wanted(&parsed(line))))
    }

    /// Stops reading standard output: the pipe is closed when the next line
    /// arrives.
    pub fn close_stdout(&mut self) {
        let (_, coming) = channel();
        self.stdout = Lines { coming, seen: Vec::new() };
    }

    /// Reports whether the command has ended.
    ///
    /// # Panics
    /// Panics if the state of the process cannot be read.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Sends a signal to the command.
    ///
    /// # Panics
    /// Panics if the command has ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("the process runs");
    }

    /// Returns the id of the command's process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the process that captures for `tracer run`.
    ///
    /// # Panics
    /// Panics if there is none.
    pub fn capturing_process(&self) -> u32 {
        let id = self.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        children.expect("a process").trim().parse().expect("one child")
    }

    /// Sends a signal to the process that captures.
    ///
    /// # Panics
    /// Panics if it has ended.
    pub fn signal_capture(&self, signal: Signal) {
        let id = i32::try_from(self.capturing_process()).ok().and_then(Pid::from_raw);
        kill_process(id.expect("a process id"), signal).expect("the process runs");
    }

    /// Waits until the command ends.
    ///
    /// # Panics
    /// Panics if it does not end in time.
    pub fn end(mut self) -> Outcome {
        let status = self.wait();
        self.stdout.until(|_| false);
        self.stderr.until(|_| false);
        let text = |lines: &mut Lines| {
            lines.seen.iter().map(|line| format!("{line}\n")).collect::<String>()
        };
        Outcome {
            code: status.code(),
            stdout: text(&mut self.stdout),
            stderr: text(&mut self.stderr),
        }
    }

    fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(Instant::now() < deadline, "tracer does not end: {:?}", self.stderr.seen);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Still running only if a test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines read so far, and a channel for those to come.
struct Lines {
    coming: Receiver<String>,
    seen: Vec<String>,
}

impl Lines {
    fn new(from: impl Read + Send + 'static) -> Self {
        let (sender, coming) = channel();
        thread::spawn(move || {
            for line in BufReader::new(from).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { coming, seen: Vec::new() }
    }

    /// Reads until a line matches, which is then the last element of `seen`.
    /// Returns `false` at the end of the stream.
    fn until(&mut self, wanted: impl Fn(&str) -> bool) -> bool {
        self.until_deadline(wanted, Instant::now() + PATIENCE)
    }

    fn until_deadline(&mut self, wanted: impl Fn(&str) -> bool, deadline: Instant) -> bool {
        loop {
            match self.coming.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    let found = wanted(&line);
                    self.seen.push(line);
                    if found {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}
