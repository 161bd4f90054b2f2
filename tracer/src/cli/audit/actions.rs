//! Actions on the browser: commands of the scenario, and questions to the operator.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, IsTerminal as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::Path,
    process::{Child, Command as Process, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::sync::mpsc;

use super::{super::users::User, desktop::Desktop, output_tail::OutputTail};
use tracer_audit::scenario::Command;
use tracer_core::alert::printable;

/// Time to wait for a command. One that takes longer is the browser itself, and continues to run.
const PATIENCE: Duration = Duration::from_secs(5);

/// Time to wait for a browser after SIGTERM.
const TERMINATION: Duration = Duration::from_secs(10);

/// Interval at which processes are polled.
const POLL: Duration = Duration::from_millis(50);

/// Runs the commands of a scenario.
pub(super) struct Actions {
    pub(super) values: BTreeMap<&'static str, String>,
    /// User to run the commands as, since tracer itself runs as root.
    user: Option<User>,
    /// That user's desktop.
    desktop: Desktop,
    running: Vec<Group>,
    operator: Option<mpsc::Receiver<String>>,
}

/// Answer of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    Skip,
}

impl Actions {
    pub(super) fn new(user: Option<User>, ask: bool) -> io::Result<Self> {
        let operator = (ask && io::stdin().is_terminal()).then(listen).transpose()?;
        let known = |name: &str| std::env::var(name).ok();
        let desktop = user.as_ref().map(|user| Desktop::new(user, known)).unwrap_or_default();
        if !desktop.has_screen() && known("DISPLAY").or(known("WAYLAND_DISPLAY")).is_none() {
            let name = user.as_ref().map_or("this user", |user| &user.name);
            message!(
                "no screen of {name} was found, which most browsers need; log in at the desktop, or \
                 set DISPLAY or WAYLAND_DISPLAY"
            );
        }
        Ok(Self { values: BTreeMap::new(), user, desktop, running: Vec::new(), operator })
    }

    /// Returns true if there is an operator to ask.
    pub(super) fn can_ask(&self) -> bool {
        self.operator.is_some()
    }

    /// Runs the parts of a command, one after another. A part that does not end in time continues
    /// to run.
    pub(super) async fn run(&mut self, command: &Command) -> anyhow::Result<()> {
        for words in command.filled(&self.values) {
            let mut group = self.spawn(&words, Stdio::null())?;
            let begun = Instant::now();
            let ended = loop {
                if let Some(status) = group.child.try_wait()? {
                    break Some(status);
                }
                if begun.elapsed() > PATIENCE {
                    break None;
                }
                tokio::time::sleep(POLL).await;
            };
            if let Some(status) = ended
                && !status.success()
            {
                let how = match (status.code(), status.signal()) {
                    (Some(code), _) => format!("exit code {code}"),
                    (None, Some(signal)) => format!("signal {signal}"),
                    (None, None) => "unknown status".into(),
                };
                let said = group.said.text();
                let said = if said.is_empty() { said } else { format!("; it says: {said}") };
                anyhow::bail!("`{}` failed: {how}{said}", printable(&words.join(" ")));
            }
            // Its descendants may still be running.
            self.running.push(group);
        }
        Ok(())
    }

    /// Runs a command, and returns the version in its output.
    pub(super) fn version(&mut self, command: &Command) -> Option<String> {
        let parts = command.filled(&self.values);
        let mut process = self.process(parts.first()?);
        let output = process.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        version_in(&text)
    }

    fn process(&self, words: &[String]) -> Process {
        let mut process = Process::new(words.first().map_or("", String::as_str));
        process.args(words.get(1..).unwrap_or_default());
        if let Some(user) = &self.user {
            process.uid(user.uid).gid(user.gid);
            process.env("HOME", &user.home).env("USER", &user.name).env("LOGNAME", &user.name);
            process.envs(self.desktop.variables());
            // Users of services have homes that do not exist.
            let home = Path::new(&user.home);
            process.current_dir(if home.is_dir() { home } else { Path::new("/") });
        }
        process
    }

    fn spawn(&self, words: &[String], stdout: Stdio) -> anyhow::Result<Group> {
        let mut process = self.process(words);
        // A separate group, so that it can be ended as a whole and ignores Ctrl-C.
        process.process_group(0).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped());
        let mut child = process
            .spawn()
            .with_context(|| format!("cannot run `{}`", printable(&words.join(" "))))?;
        let said = OutputTail::follow(child.stderr.take())?;
        Ok(Group { child, said })
    }

    /// Ends all running commands, with SIGTERM and then SIGKILL.
    pub(super) async fn end_all(&mut self) {
        for group in &self.running {
            group.signal(Signal::TERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < TERMINATION {
            self.running.retain_mut(Group::is_running);
            if self.running.is_empty() {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
        // Dropping the others kills them.
        self.running.clear();
    }

    /// Asks the operator to do something.
    pub(super) async fn ask(&mut self, what: &str) -> Option<Answer> {
        let operator = self.operator.as_mut()?;
        // Discard lines that were typed before the question.
        while operator.try_recv().is_ok() {}
        message!("please {what}\n        then press Enter (or s and Enter to skip this)");
        let line = operator.recv().await?;
        Some(if line.trim().eq_ignore_ascii_case("s") { Answer::Skip } else { Answer::Done })
    }
}

/// Finds the version in the output of a command: the first line with a number. Some browsers draw
/// their emblem before it.
fn version_in(text: &str) -> Option<String> {
    const MAX_VERSION: usize = 80;
    // `dumpsys package` prints the version in one of many lines.
    let line = text.lines().find_map(|line| line.trim().strip_prefix("versionName="));
    let numbered = || text.lines().find(|line| line.contains(|c: char| c.is_ascii_digit()));
    let line = line.or_else(numbered).or_else(|| text.lines().next())?.trim();
    (!line.is_empty()).then(|| line.chars().take(MAX_VERSION).collect())
}

/// A process and its descendants in the same group.
struct Group {
    child: Child,
    /// Its output on standard error.
    said: OutputTail,
}

impl Group {
    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.id(), signal);
    }

    fn is_running(&mut self) -> bool {
        // Reap it, since a zombie counts as a member of the group.
        let _ = self.child.try_wait();
        test_kill_process_group(self.id()).is_ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.is_running() {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// Reads the lines that the operator types.
fn listen() -> io::Result<mpsc::Receiver<String>> {
    const LINES: usize = 16;
    let (sender, lines) = mpsc::channel(LINES);
    thread::Builder::new().name("tracer-operator".into()).spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    })?;
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::version_in;

    #[test]
    fn the_version_is_the_first_line_with_a_number() {
        for (text, version) in [
            ("Mozilla Firefox 140.1esr\n", Some("Mozilla Firefox 140.1esr")),
            (
                "   ______     ,,\n  /      \\ | |\nqutebrowser v2.5.3\nGit commit: \n",
                Some("qutebrowser v2.5.3"),
            ),
            ("Packages:\n    versionCode=12 minSdk=26\n    versionName=1.2\n", Some("1.2")),
            ("unreleased\n", Some("unreleased")),
            ("\n", None),
            ("", None),
        ] {
            assert_eq!(version_in(text).as_deref(), version, "{text}");
        }
    }
}
