//! Notifications on the desktop of a user, or on a phone.
//!
//! ```text
//! tracer run (decodes) ── a line for each alert ──▶ tracer notify (as the user)
//!                                                     │ not too often
//!                                                     ▼
//!                                                   notify-send, busctl or cmd
//! ```
//!
//! The process that decodes can start no program, so another one is started before, as the user
//! whose screen it is and without privileges. It gets only the words that it shows.

mod limiter;
mod program;

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write},
    os::{
        fd::OwnedFd,
        unix::{net::UnixStream, process::CommandExt as _},
    },
    path::PathBuf,
    process::{Command, ExitCode, Stdio},
    time::Instant,
};

use anyhow::Context as _;
use rustix::process::{geteuid, getgid};
use serde::{Deserialize, Serialize};
use tracer_core::{
    address::{Address, host_of_authority},
    alert::{Alert, Notice, text},
    finding::{Severity, Visited},
    wording::counted,
};
use tracer_host::sandbox;

use self::{limiter::Limiter, program::Program};
use super::users::{self, User};

/// Hidden subcommand that shows notifications.
const SUBCOMMAND: &str = "notify";

/// The user of Android's shell, who may show notifications.
const ANDROID_SHELL: u32 = 2000;

/// Maximum length of a line.
const MAX_LINE: u64 = 16 << 10;

/// Maximum number of bytes that wait for the other process.
pub(super) const MAX_WAITING: usize = 1 << 20;

/// Arguments of the hidden subcommand.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Runs this program, with a title and a text
    #[arg(long)]
    program: Option<PathBuf>,
}

/// The words of a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Words {
    severity: Severity,
    /// The sender.
    culprit: String,
    /// The recipient.
    addressee: String,
    /// The disclosure.
    what: String,
}

impl Words {
    /// Returns the words of an alert. Of pages, they name only the host: notifications are shown on
    /// locked screens too.
    fn new(alert: &Alert) -> Option<Self> {
        let found = alert.most_severe_findings();
        let host = found.iter().find_map(|finding| {
            let url = match &finding.visited {
                Some(Visited::Page { url, .. }) => url,
                Some(Visited::Host { host, .. }) => host,
                Some(Visited::No | Visited::Unknown) | None => &finding.value,
            };
            let is_url = finding.kind.as_str().contains("url");
            Address::parse(url)
                .filter(|_| is_url)
                .map(|url| host_of_authority(url.host()).to_owned())
        });
        let what = match (host, found.first()) {
            (Some(host), _) => format!("a page of {}", tracer_core::alert::printable(&host)),
            (None, Some(finding)) => finding.kind.as_str().replace('_', " "),
            (None, None) => "a request".to_owned(),
        };
        let private =
            if alert.content.private == Some(true) { ", in a private window" } else { "" };
        Some(Self {
            severity: alert.severity?,
            culprit: text::culprit(alert),
            addressee: text::addressee(alert),
            what: what + private,
        })
    }

    fn title(&self) -> String {
        format!("tracer: {} alert", self.severity.as_str())
    }

    fn body(&self, before: u64) -> String {
        let Self { culprit, addressee, what, .. } = self;
        let more = match before {
            0 => String::new(),
            _ => format!(" ({} before this one were not shown)", counted(before, "alert")),
        };
        format!("{culprit} sent {addressee} {what}{more}")
    }
}

/// Writes what is to be shown about a notice as a line.
///
/// # Errors
/// Returns the errors of `to`.
pub(super) fn write(notice: &Notice, to: &mut impl Write) -> io::Result<()> {
    if let Notice::Alert { alert, .. } = notice
        && let Some(words) = Words::new(alert)
    {
        serde_json::to_writer(&mut *to, &words)?;
        to.write_all(b"\n")?;
    }
    Ok(())
}

/// Starts the process that shows notifications to a user; without a name, to the one who called
/// sudo, who runs this process, or who is logged in. Returns the file to write to.
///
/// # Errors
/// If the user does not exist, or no installed program shows notifications.
pub(super) fn start(user: Option<&str>) -> anyhow::Result<File> {
    let program = Program::find()?;
    let user = match (user, &program) {
        (Some(name), _) => Some(users::by_name(name)?),
        (None, Program::Android(_)) => None,
        (None, _) => Some(of_session()?),
    };
    let (ours, theirs) = UnixStream::pair()?;
    let mut command = Command::new("/proc/self/exe");
    command.arg(SUBCOMMAND).stdin(OwnedFd::from(theirs)).stdout(Stdio::null());
    // Signals of the terminal are not for it: it ends when its input does.
    command.process_group(0);
    let is_root = geteuid().is_root();
    match user {
        Some(user) if is_root => {
            command.env_clear().uid(user.uid).gid(user.gid);
            let runtime = format!("/run/user/{}", user.uid);
            command.env("DBUS_SESSION_BUS_ADDRESS", format!("unix:path={runtime}/bus"));
            command.env("XDG_RUNTIME_DIR", runtime).env("HOME", user.home);
        }
        None if is_root => {
            command.uid(ANDROID_SHELL).gid(ANDROID_SHELL);
        }
        Some(_) | None => {}
    }
    command.spawn().context("cannot start the process that shows notifications")?;
    Ok(File::from(OwnedFd::from(ours)))
}

/// Returns the user who owns the session.
fn of_session() -> anyhow::Result<User> {
    if !geteuid().is_root() {
        let (uid, gid) = (geteuid().as_raw(), getgid().as_raw());
        return Ok(User { name: String::new(), uid, gid, home: String::new() });
    }
    let names = users::with_desktop();
    let name = names.iter().find(|name| *name != "root").context(
        "no user is logged in on a desktop; name one with --notify=USER, or start tracer later",
    )?;
    Ok(users::by_name(name)?)
}

/// Shows the lines that the process at the other end of standard input writes.
pub(super) fn serve(args: &Args) -> anyhow::Result<ExitCode> {
    sandbox::protect_memory()?;
    rustix::thread::set_no_new_privs(true)?;
    let program = match &args.program {
        Some(path) => Program::Other(path.clone()),
        None => Program::find()?,
    };
    let mut lines = BufReader::new(io::stdin().lock());
    let mut limiter = Limiter::default();
    let started = Instant::now();
    let mut has_failed = false;
    loop {
        let mut line = Vec::new();
        if lines.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(ExitCode::SUCCESS);
        }
        let words: Words = serde_json::from_slice(&line).context("a line is no notification")?;
        let pair = format!("{} to {}", words.culprit, words.addressee);
        let Some(before) = limiter.admit(&pair, started.elapsed()) else {
            continue;
        };
        let shown = program.show(&words.title(), &words.body(before), words.severity);
        if let Err(err) = shown
            && !std::mem::replace(&mut has_failed, true)
        {
            message!("cannot show notifications: {err:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tracer_core::{
        alert::fixtures::{alert, found},
        finding::Kind,
    };

    use super::*;

    #[test]
    fn pages_are_named_by_their_host_only() {
        let words = Words::new(&alert()).unwrap();
        assert_eq!(words.title(), "tracer: high alert");
        assert_eq!(words.body(0), "browser sent collector.example a page of news.example.org");
        assert!(words.body(3).ends_with("(3 alerts before this one were not shown)"));

        let mut other = alert();
        other.content.private = Some(true);
        other.content.findings = vec![found(Kind::SearchTerms, "my secret")];
        let words = Words::new(&other).unwrap();
        let body = words.body(0);
        assert_eq!(body, "browser sent collector.example search terms, in a private window");
    }

    #[test]
    fn an_alert_is_one_line_that_can_be_read_again() {
        let mut hostile = alert();
        hostile.application = "a\nb\u{1b}".into();
        let request = std::sync::Arc::new(tracer_core::alert::fixtures::judged());
        let notice = Notice::Alert { alert: Box::new(hostile), request };
        let mut out = Vec::new();
        write(&notice, &mut out).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
        let words: Words = serde_json::from_slice(&out).unwrap();
        assert!(!words.body(0).contains(char::is_control), "{words:?}");
        write(&Notice::Repeated { alert: 1, count: 1, total: 2, unix: None }, &mut out).unwrap();
        assert_eq!(out.iter().filter(|byte| **byte == b'\n').count(), 1);
    }
}
