//! `tracer top`: shows live what applications send.
//!
//! ```text
//! tracer top        takes the terminal, starts ──▶ tracer top-view      decodes, draws
//! (parses nothing)  ◀── messages, for the end ───  (no privileges)      reads keys
//!                   restores the terminal                │ starts
//!                                                        ▼
//!                                                   tracer capture      as for `tracer run`
//! ```
//!
//! The process that decodes inherits the terminal, and draws and reads keys by its open
//! descriptors. It can change no settings of the terminal: the first process does that, and
//! restores them however the others end.

mod draw;
mod live;
mod replay;
mod terminal;

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    path::PathBuf,
    process::{Child, Command, ExitCode, ExitStatus},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    io::Interest,
    signal::unix::{Signal, SignalKind, signal},
};
use tracer_core::alert::redact::Redactor;

use self::terminal::Taken;
use super::{Usage, watch::WatchArgs};
use crate::top::view::Look;

/// Show live what applications send, to whom, and how much of it could be read (needs root).
///
/// The upper list has the applications, with their recipients and the share of the content that was
/// read; the lower one has the requests and alerts as they come. Enter shows a request in full, with
/// the steps of its encoding; ? shows all keys; q ends. Nothing is kept: `tracer run` does that,
/// also at the same time. Without root, --replay shows a recording.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo tracer top --browsers                 watch every known browser
  sudo tracer top --exe firefox-esr          watch Firefox
  tracer top --package browsers              watch all known browsers on an Android device
  tracer top --replay trace --speed 10       show what `tracer run --record trace` recorded

READ is the share of an application's content that was read so far, and UNREAD the number of bytes
that a recipient got and that were not read. It works over ssh and `adb shell -t`. With NO_COLOR
set, it uses no colours.")]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) watch: WatchArgs,
    /// Show this recording of `tracer run --record` or `tracer audit` instead
    #[arg(long, value_name = "FILE",
          conflicts_with_all = ["uid", "exe", "pid", "package", "browsers", "all"])]
    replay: Option<PathBuf>,
    /// Show the recording N times as fast as it was recorded; 0 leaves out all pauses
    #[arg(long, value_name = "N", default_value_t = 1.0, requires = "replay",
          value_parser = speed)]
    speed: f64,
    /// Scroll with the wheel of the mouse. The terminal then selects text only with Shift
    #[arg(long)]
    mouse: bool,
    /// Show values in queries, identifiers and typed text. By default only digests are shown
    #[arg(long)]
    show_values: bool,
}

/// Hidden subcommand that decodes and draws, with the arguments of `tracer top`.
const VIEW: &str = "top-view";

/// Name of the command.
const COMMAND: &str = "top";

/// Time in which the other processes may end.
const GRACE: Duration = Duration::from_secs(4);

/// Maximum number of bytes of messages that are kept for the end, the latest ones.
const MAX_MESSAGES: usize = 64 << 10;

fn speed(text: &str) -> Result<f64, String> {
    let speed: f64 = text.parse().map_err(|_| "give a number, such as 10 or 0.5".to_owned())?;
    if speed.is_finite() && speed >= 0.0 { Ok(speed) } else { Err("give 0 or more".into()) }
}

/// Takes the terminal, and lets another process use it.
pub(super) fn top(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.replay {
        // A wrong use is reported before the screen changes.
        Some(path) => drop(replay::open(path)?),
        None => drop(args.watch.watch()?),
    }
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Usage(
            "tracer top needs a terminal, and standard input or output is none; tracer run \
             and tracer decode print lines (over ssh or adb, ask for a terminal with -t)"
                .into(),
        )
        .into());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (status, messages) = runtime.block_on(async {
        let signals = Signals::new().context("cannot handle signals")?;
        let (control, theirs) = UnixStream::pair()?;
        let taken = Taken::new(args.mouse).context("cannot use the terminal")?;
        let child = Command::new("/proc/self/exe")
            .arg(VIEW)
            // The first two are the program and the command.
            .args(env::args_os().skip(2))
            .stderr(OwnedFd::from(theirs))
            .spawn()
            .context("cannot start the process that decodes")?;
        let ended = wait(child, control, signals).await;
        drop(taken);
        ended
    })?;
    // A closed standard error is not an error.
    let _ = io::stderr().write_all(&messages);
    match status.code().and_then(|code| u8::try_from(code).ok()) {
        Some(code) => Ok(ExitCode::from(code)),
        None => anyhow::bail!("the process that decodes has died ({status}); please report this"),
    }
}

/// The signals that the first process takes.
struct Signals {
    child: Signal,
    ends: [Signal; 3],
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            child: signal(SignalKind::child())?,
            ends: [
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
                signal(SignalKind::hangup())?,
            ],
        })
    }
}

/// Waits until the process has ended, and ends it on a signal. Returns its messages too.
async fn wait(
    mut child: Child,
    control: UnixStream,
    signals: Signals,
) -> anyhow::Result<(ExitStatus, Vec<u8>)> {
    control.set_nonblocking(true)?;
    let control = tokio::net::UnixStream::from_std(control)?;
    let Signals { child: mut ended, ends: [mut interrupt, mut terminate, mut hangup] } = signals;
    let mut messages = Vec::new();
    let mut is_ending = false;
    let mut is_open = true;
    loop {
        if let Some(status) = child.try_wait()? {
            // What the processes wrote before they ended has arrived.
            receive(&control, &mut messages);
            return Ok((status, messages));
        }
        tokio::select! {
            _ = ended.recv() => continue,
            ready = control.ready(Interest::READABLE), if is_open => {
                ready?;
                is_open = receive(&control, &mut messages);
                continue;
            }
            () = tokio::time::sleep(GRACE), if is_ending => {
                child.kill()?;
                continue;
            }
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        // The process ends when its side of the socket is closed.
        is_ending = true;
        let _ = rustix::net::shutdown(&control, rustix::net::Shutdown::Write);
    }
}

/// Receives messages, and returns false at their end.
fn receive(control: &tokio::net::UnixStream, messages: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 4096];
    loop {
        match control.try_read(&mut buffer) {
            Ok(0) => return false,
            Ok(length) => messages.extend_from_slice(&buffer[..length]),
            Err(err) => return err.kind() == io::ErrorKind::WouldBlock,
        }
        if messages.len() > MAX_MESSAGES {
            let surplus = messages.len() - MAX_MESSAGES;
            let line = messages[surplus..].iter().position(|&byte| byte == b'\n');
            messages.drain(..surplus + line.map_or(0, |at| at + 1));
        }
    }
}

/// Decodes and draws, for the process at the other end of standard error.
pub(super) fn view(args: &Args) -> anyhow::Result<ExitCode> {
    let control = io::stderr().as_fd().try_clone_to_owned().map(UnixStream::from)?;
    control.peer_addr().context("standard error is not a socket; this command is internal")?;
    let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    // The time zone is in a file.
    let look = Look { colour: !no_colour, zone: jiff::tz::TimeZone::system() };
    let redactor = if args.show_values {
        Redactor::off()
    } else {
        Redactor::keyed(crate::random::key().context("cannot create the key of the digests")?)
    };
    match &args.replay {
        Some(path) => replay::view(args, path, redactor, look, control),
        None => live::view(args, redactor, look, control),
    }
}
