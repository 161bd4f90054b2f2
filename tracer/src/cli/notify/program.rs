//! The programs that show notifications.

use std::{
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use tracer_core::finding::Severity;

/// Longest time that a program may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A program that shows notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Program {
    /// `notify-send` of libnotify.
    NotifySend(PathBuf),
    /// `busctl` of systemd.
    Busctl(PathBuf),
    /// `cmd` of Android.
    Android(PathBuf),
    /// A program that takes a title and a text.
    Other(PathBuf),
}

impl Program {
    /// Returns the first program that this system has.
    ///
    /// # Errors
    /// If none is installed.
    pub(super) fn find() -> anyhow::Result<Self> {
        Self::find_in(Path::new("/")).context(
            "no program was found that shows notifications: install notify-send (Debian: \
             libnotify-bin) or leave out --notify",
        )
    }

    fn find_in(root: &Path) -> Option<Self> {
        let at = |path| Some(root.join(path)).filter(|path: &PathBuf| path.is_file());
        let android = at("system/bin/cmd").map(Self::Android);
        let notify_send = || at("usr/bin/notify-send").map(Self::NotifySend);
        android.or_else(notify_send).or_else(|| at("usr/bin/busctl").map(Self::Busctl))
    }

    /// Shows a notification.
    ///
    /// # Errors
    /// If the program cannot be started, fails, or does not end.
    pub(super) fn show(&self, title: &str, body: &str, severity: Severity) -> anyhow::Result<()> {
        let mut command = self.command(title, body, severity);
        let name = command.get_program().display().to_string();
        let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = started.spawn().with_context(|| format!("cannot start {name}"))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = child.try_wait()? {
                ensure!(status.success(), "{name} failed ({status})");
                return Ok(());
            }
            if Instant::now() > deadline {
                child.kill().or_else(|err| match err.kind() {
                    io::ErrorKind::InvalidInput => Ok(()),
                    _ => Err(err),
                })?;
                child.wait()?;
                bail!("{name} does not end");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn command(&self, title: &str, body: &str, severity: Severity) -> Command {
        let is_critical = severity == Severity::Critical;
        match self {
            Self::NotifySend(path) => {
                let urgency = if is_critical { "critical" } else { "normal" };
                let mut command = Command::new(path);
                command.args(["--app-name=tracer", "--icon=dialog-warning"]);
                command.arg(format!("--urgency={urgency}"));
                command.args(["--", title, &without_markup(body)]);
                command
            }
            Self::Busctl(path) => {
                // Notify of the Desktop Notifications Specification, 1.2: application, number to
                // replace, icon, title, text, actions, hints, milliseconds.
                let service = "org.freedesktop.Notifications";
                let urgency = if is_critical { "2" } else { "1" };
                let mut command = Command::new(path);
                command.args(["--user", "--timeout=4", "--", "call", service]);
                command.args(["/org/freedesktop/Notifications", service, "Notify"]);
                command.args(["susssasa{sv}i", "tracer", "0", "dialog-warning", title]);
                command.arg(without_markup(body));
                command.args(["0", "1", "urgency", "y", urgency, "-1"]);
                command
            }
            Self::Android(path) => {
                let mut command = Command::new(path);
                command.args(["notification", "post", "-S", "bigtext", "-t", title]);
                command.args(["tracer", body]);
                command
            }
            Self::Other(path) => {
                let mut command = Command::new(path);
                command.args([title, body]);
                command
            }
        }
    }
}

/// Escapes what desktops would take for markup.
fn without_markup(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn arguments(program: &Program, body: &str) -> Vec<String> {
        let command = program.command("title", body, Severity::Critical);
        command.get_args().map(|it| it.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn texts_are_neither_options_nor_markup() {
        let body = "--help <b>&";
        let escaped = "--help &lt;b&gt;&amp;";
        let sent = arguments(&Program::NotifySend("notify-send".into()), body);
        assert_eq!(sent[sent.len() - 3..], ["--", "title", escaped]);
        assert!(sent.contains(&"--urgency=critical".into()));
        let sent = arguments(&Program::Busctl("busctl".into()), body);
        let options = sent.iter().position(|it| it == "--").unwrap();
        assert!(options < sent.iter().position(|it| it == escaped).unwrap());
        let signature = sent.iter().position(|it| it == "susssasa{sv}i").unwrap();
        assert_eq!(sent.len() - signature - 1, 11, "{sent:?}");
        let sent = arguments(&Program::Android("cmd".into()), "browser sent");
        assert_eq!(sent[sent.len() - 2..], ["tracer", "browser sent"]);
    }

    #[test]
    fn the_best_program_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        assert_eq!(Program::find_in(root), None);
        for (path, folder) in [
            ("usr/bin/busctl", "usr/bin"),
            ("usr/bin/notify-send", "usr/bin"),
            ("system/bin/cmd", "system/bin"),
        ] {
            fs::create_dir_all(root.join(folder)).unwrap();
            fs::write(root.join(path), "").unwrap();
            let found = Program::find_in(root).unwrap();
            assert!(
                found
                    .command("", "", Severity::High)
                    .get_program()
                    .to_str()
                    .unwrap()
                    .ends_with(path)
            );
        }
    }

    #[test]
    fn failures_are_named() {
        let show = |path: &str| Program::Other(path.into()).show("title", "body", Severity::High);
        show("/bin/true").unwrap();
        assert!(show("/bin/false").unwrap_err().to_string().contains("/bin/false failed"));
        assert!(format!("{:#}", show("/no/such").unwrap_err()).contains("cannot start /no/such"));
    }
}
