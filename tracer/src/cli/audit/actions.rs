//! What is done to the browser: commands, and questions to the operator.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, IsTerminal as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Command as Process, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::sync::mpsc;

use super::super::users::User;
use tracer_audit::scenario::{Command, fill};
use tracer_core::alert::printable;

/// How long a command may take; one that takes longer is the browser itself,
/// and goes on.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a browser may take to end when it is asked to.
const ENDING: Duration = Duration::from_secs(10);

/// How often it is looked whether something ended.
const LOOK: Duration = Duration::from_millis(50);

/// Does what a scenario says.
pub(super) struct Actions {
    pub(super) values: BTreeMap<&'static str, String>,
    /// Who runs the commands: not the root that tracer needs to be.
    user: Option<User>,
    running: Vec<Group>,
    operator: Option<mpsc::Receiver<String>>,
}

/// What the operator answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answered {
    Done,
    Skip,
}

impl Actions {
    pub(super) fn new(user: Option<User>, ask: bool) -> io::Result<Self> {
        let operator = (ask && io::stdin().is_terminal()).then(listen).transpose()?;
        Ok(Self { values: BTreeMap::new(), user, running: Vec::new(), operator })
    }

    /// Whether there is somebody to ask.
    pub(super) fn can_ask(&self) -> bool {
        self.operator.is_some()
    }

    /// Runs a command's parts, one after the other. What has not ended after a
    /// while is left to run.
    pub(super) async fn run(&mut self, command: &Command) -> anyhow::Result<()> {
        for part in command.parts() {
            let words: Vec<String> = part.iter().map(|word| fill(word, &self.values)).collect();
            let mut group = self.spawn(&words, Stdio::null())?;
            let begun = Instant::now();
            let ended = loop {
                if let Some(status) = group.child.try_wait()? {
                    break Some(status);
                }
                if begun.elapsed() > PATIENCE {
                    break None;
                }
                tokio::time::sleep(LOOK).await;
            };
            if let Some(status) = ended
                && !status.success()
            {
                let how = match (status.code(), status.signal()) {
                    (Some(code), _) => format!("exit code {code}"),
                    (None, Some(signal)) => format!("signal {signal}"),
                    (None, None) => "an unknown end".into(),
                };
                anyhow::bail!("`{}` failed: {how}", printable(&words.join(" ")));
            }
            // What it has started may live on without it.
            self.running.push(group);
        }
        Ok(())
    }

    /// The first line that a command writes.
    pub(super) fn answer(&mut self, command: &Command) -> Option<String> {
        let words: Vec<String> =
            command.parts().first()?.iter().map(|word| fill(word, &self.values)).collect();
        let mut process = self.process(&words);
        let output = process.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout);
        // `dumpsys package` says much, and this in a line of its own.
        let line = text.lines().find_map(|line| line.trim().strip_prefix("versionName="));
        let line = line.or_else(|| text.lines().next())?.trim();
        const MAX_VERSION: usize = 80;
        (!line.is_empty()).then(|| line.chars().take(MAX_VERSION).collect())
    }

    fn process(&self, words: &[String]) -> Process {
        let mut process = Process::new(words.first().map_or("", String::as_str));
        process.args(words.get(1..).unwrap_or_default());
        if let Some(user) = &self.user {
            process.uid(user.uid).gid(user.gid);
            process.env("HOME", &user.home).env("USER", &user.name).env("LOGNAME", &user.name);
            process.env("XDG_RUNTIME_DIR", format!("/run/user/{}", user.uid));
            process.current_dir(&user.home);
        }
        process
    }

    fn spawn(&self, words: &[String], stdout: Stdio) -> anyhow::Result<Group> {
        let mut process = self.process(words);
        // A group of its own: it ends as a whole, and not by Ctrl-C.
        process.process_group(0).stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null());
        let child = process
            .spawn()
            .with_context(|| format!("cannot run `{}`", printable(&words.join(" "))))?;
        Ok(Group { child })
    }

    /// Ends what was started and still runs: politely, then not.
    pub(super) async fn end_all(&mut self) {
        for group in &self.running {
            group.signal(Signal::TERM);
        }
        let begun = Instant::now();
        while begun.elapsed() < ENDING {
            self.running.retain_mut(Group::lives);
            if self.running.is_empty() {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
        // Their drop ends the rest.
        self.running.clear();
    }

    /// Asks the operator to do something.
    pub(super) async fn ask(&mut self, what: &str) -> Option<Answered> {
        let operator = self.operator.as_mut()?;
        // What was typed before the question was no answer to it.
        while operator.try_recv().is_ok() {}
        message!("please {what}\n        then press Enter (s, Enter: leave it out)");
        let line = operator.recv().await?;
        Some(if line.trim().eq_ignore_ascii_case("s") { Answered::Skip } else { Answered::Done })
    }
}

/// A process, with all that it started in its group.
struct Group {
    child: Child,
}

impl Group {
    fn id(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.id(), signal);
    }

    fn lives(&mut self) -> bool {
        // It is waited for, or it would count as a member for ever.
        let _ = self.child.try_wait();
        test_kill_process_group(self.id()).is_ok()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.lives() {
            self.signal(Signal::KILL);
            let _ = self.child.wait();
        }
    }
}

/// What the operator types, line by line.
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
