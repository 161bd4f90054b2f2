//! Progress for the person at the terminal: one line for each step, with its time.
//! The output of a step goes to a log and is shown only if the step fails.

use std::{
    fs::{self, File},
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::shell;

/// Number of lines shown from the end of a failed step's log.
const TAIL_LINES: usize = 20;

/// Number of lines shown from the first error on, if the error is further up: after
/// a compiler's error cargo finishes its other jobs and prints a lot.
const ERROR_LINES: usize = 40;

/// Interval at which a long step reports that it is still running if no terminal is
/// redrawn. Also keeps a CI that watches for silence from ending it.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Shows progress on stderr and writes a log file for each step. Steps may run at
/// the same time.
pub(crate) struct Ui {
    logs: PathBuf,
    terminal: bool,
    running: Mutex<Vec<Running>>,
}

/// A step that has not ended yet.
struct Running {
    label: String,
    start: Instant,
}

impl Ui {
    /// Writes the logs to `logs`, which need not exist yet.
    pub(crate) fn new(logs: PathBuf) -> Self {
        Self { logs, terminal: io::stderr().is_terminal(), running: Mutex::default() }
    }

    /// Prints a line, also while steps are running.
    pub(crate) fn say(&self, text: &str) {
        eprintln!("{}  {text}", self.clear());
    }

    /// The sequence that erases the line which is being redrawn.
    fn clear(&self) -> &'static str {
        if self.terminal { "\r\x1b[K" } else { "" }
    }

    /// Runs a command quietly and prints one line when it has ended.
    ///
    /// # Errors
    /// If it cannot be started or fails. The error holds the end of the log and the
    /// command to run by hand.
    pub(crate) fn step(&self, label: &str, command: &mut Command) -> Result<()> {
        let log = self.log(label)?;
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| {
                format!(
                    "{label}: cannot start {}\nto run by hand:\n  {}",
                    command.get_program().display(),
                    shell::shown(command)
                )
            })?;
        let status = self.watch(label, || child.wait())?;
        if !status.success() {
            bail!("{}", failure(label, status, &log, command));
        }
        Ok(())
    }

    /// Returns the path of a step's log.
    ///
    /// # Errors
    /// If the directory cannot be created.
    pub(crate) fn log(&self, label: &str) -> Result<PathBuf> {
        fs::create_dir_all(&self.logs)
            .with_context(|| format!("cannot create {}", self.logs.display()))?;
        Ok(self.logs.join(format!("{}.log", file_name(label))))
    }

    /// Waits for `work`, shows that it is running, and prints the time it took.
    pub(crate) fn watch<T>(&self, label: &str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        self.running().push(Running { label: label.to_owned(), start });
        let (done, waiting) = mpsc::channel::<()>();
        let result = thread::scope(|scope| {
            scope.spawn(move || {
                let period = if self.terminal { Duration::from_secs(1) } else { HEARTBEAT };
                self.redraw();
                while waiting.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                    if self.terminal {
                        self.redraw();
                    } else {
                        eprintln!("  {label} … {} so far", elapsed(start.elapsed()));
                    }
                }
            });
            let result = work();
            drop(done);
            result
        });
        self.running().retain(|step| step.start != start || step.label != label);
        eprintln!("{}  {label} ({})", self.clear(), elapsed(start.elapsed()));
        result
    }

    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws the steps that are running on one line, over the previous drawing.
    fn redraw(&self) {
        /// Only a line that fits on the terminal can be drawn over.
        const WIDTH: usize = 70;
        if !self.terminal {
            return;
        }
        let running = self.running();
        let shown = |step: &Running| format!("{} … {}", step.label, elapsed(step.start.elapsed()));
        let line = running.iter().map(shown).collect::<Vec<_>>().join(", ");
        let line: String = line.chars().take(WIDTH).collect();
        eprint!("{}  {line}", self.clear());
        // The work goes on if the terminal has gone away.
        let _ = io::stderr().flush();
    }
}

fn failure(label: &str, status: ExitStatus, log: &Path, command: &Command) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    format!(
        "{label} failed ({status}). From {}:\n\n{}\n\nTo run it by hand:\n  {}\n",
        log.display(),
        excerpt(&text),
        shell::shown(command),
    )
}

/// Returns the first error and the end of a log.
fn excerpt(text: &str) -> String {
    // A progress bar draws over itself; only its last drawing is of interest.
    let drawn_last = |line| str::rsplit(line, '\r').find(|part| !part.is_empty()).unwrap_or("");
    let lines: Vec<&str> = text.lines().map(drawn_last).collect();
    let error = lines.iter().position(|line| line.starts_with("error"));
    let (from_error, end) = match error {
        Some(at) if at + ERROR_LINES + TAIL_LINES < lines.len() => {
            (&lines[at..at + ERROR_LINES], &lines[lines.len() - TAIL_LINES..])
        }
        Some(at) => (&lines[at..], &lines[lines.len()..]),
        None => (&lines[..0], &lines[lines.len().saturating_sub(TAIL_LINES)..]),
    };
    let gap: &[&str] = if from_error.is_empty() || end.is_empty() { &[] } else { &["…"] };
    let indented = |line: &&str| format!("    {line}");
    from_error.iter().chain(gap).chain(end).map(indented).collect::<Vec<_>>().join("\n")
}

fn file_name(label: &str) -> String {
    let words = label.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.take(5).collect::<Vec<_>>().join("-").to_ascii_lowercase()
}

/// `0.4 s`, `34 s` or `3m12s`.
pub(crate) fn elapsed(time: Duration) -> String {
    match time.as_secs() {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        seconds @ 10..60 => format!("{seconds} s"),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process::Command, time::Duration};

    use super::{Ui, elapsed, excerpt, file_name};

    #[test]
    fn elapsed_times_are_short() {
        assert_eq!(elapsed(Duration::from_millis(430)), "0.4 s");
        assert_eq!(elapsed(Duration::from_secs(34)), "34 s");
        assert_eq!(elapsed(Duration::from_secs(192)), "3m12s");
        assert_eq!(elapsed(Duration::from_secs(3605)), "60m05s");
    }

    #[test]
    fn logs_are_named_after_their_steps() {
        assert_eq!(file_name("build bpf-linker 0.13.0 (LLVM 22)"), "build-bpf-linker-0-13");
    }

    #[test]
    fn excerpts_without_an_error_show_the_end() {
        let log: String = (0..100).map(|n| format!("line {n}\n")).collect();
        let shown = excerpt(&log);
        assert!(shown.starts_with("    line 80\n") && shown.ends_with("    line 99"), "{shown}");
        assert_eq!(excerpt("5%\r50%\r100%\n"), "    100%");
        assert_eq!(excerpt(""), "");
    }

    #[test]
    fn excerpts_show_the_first_error() {
        let noise = |count: usize| "noise\n".repeat(count);
        let shown = excerpt(&format!("{}error: the cause\n{}last\n", noise(50), noise(500)));
        assert!(shown.starts_with("    error: the cause\n"), "{shown}");
        assert!(shown.contains("\n    …\n") && shown.ends_with("    last"), "{shown}");
        let short = excerpt(&format!("{}error: the cause\nlast\n", noise(50)));
        assert_eq!(short, "    error: the cause\n    last");
    }

    #[test]
    fn failed_steps_show_cause_and_command() {
        let logs = env::temp_dir().join(format!("xtask-ui-{}", std::process::id()));
        let ui = Ui::new(logs.clone());
        let error = ui
            .step("a step", Command::new("sh").args(["-c", "echo the cause; exit 7"]))
            .unwrap_err()
            .to_string();
        fs::remove_dir_all(logs).unwrap();
        assert!(error.contains("exit status: 7"), "{error}");
        assert!(error.contains("    the cause"), "{error}");
        assert!(error.contains("sh -c 'echo the cause; exit 7'"), "{error}");
    }
}
