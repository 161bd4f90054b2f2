//! The process that sends alerts to a collector of OpenTelemetry (`--otlp`).

use std::{
    env,
    fs::File,
    io::{self, BufRead as _, Read as _, Write as _},
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    process::{Child, Command, ExitCode, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc::{self, Sender},
};

use super::{
    Usage,
    session::{Format, Lines, MAX_LINES_WAITING},
};
use crate::{
    otlp::{Client, Endpoint, Exporter, Outcome},
    queue::Queue,
};
use tracer_core::{alert::printable, wording::counted};
use tracer_host::sandbox;

/// Hidden subcommand that sends.
const SUBCOMMAND: &str = "otlp-send";

/// Variables of OpenTelemetry (specification, "OpenTelemetry Protocol Exporter").
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
const CERTIFICATE: &str = "OTEL_EXPORTER_OTLP_CERTIFICATE";

/// Time to wait for the outcome after the last line.
const PATIENCE: Duration = Duration::from_secs(5);

/// A sending process, as the run sees it.
pub(super) struct Sending {
    url: String,
    lines: OwnedFd,
    outcome: Pending,
    /// Its process ID, to exempt it from the capture.
    pub(super) pid: u32,
}

/// The outcome of a sending process, which it writes when it ends.
pub(super) struct Pending {
    output: File,
    /// Not waited for: a restricted process could not, and the output says when it ends.
    _child: Child,
}

impl Sending {
    /// Starts the process. It is given the address and nothing else but lines that are redacted.
    ///
    /// # Errors
    /// If the address cannot be used, or the process cannot be started.
    pub(super) fn start(url: &str) -> anyhow::Result<Self> {
        endpoint(url)?;
        let mut child = Command::new("/proc/self/exe")
            .arg(SUBCOMMAND)
            .arg(url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // Signals of the terminal are for the run.
            .process_group(0)
            .spawn()
            .context("cannot start the process that sends alerts")?;
        let lines = child.stdin.take().map(OwnedFd::from).context("a pipe")?;
        let output = child.stdout.take().map(OwnedFd::from).context("a pipe")?;
        rustix::io::ioctl_fionbio(&output, true)?;
        let pid = child.id();
        let outcome = Pending { output: output.into(), _child: child };
        Ok(Self { url: url.to_owned(), lines, outcome, pid })
    }

    /// Starts the queue of its lines. Called once the run is restricted, since that starts a thread.
    pub(super) fn begin(self) -> io::Result<(Lines, Pending)> {
        let name = format!("the collector at {}", printable(&self.url));
        let queue = Queue::to_file(&name, self.lines.into(), MAX_LINES_WAITING)?;
        Ok((Lines { queue, format: Format::Json }, self.outcome))
    }
}

impl Pending {
    /// Waits for the outcome after the last line, and prints it.
    pub(super) fn report(mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut text = Vec::new();
        while Instant::now() < deadline {
            let mut buffer = [0; 4096];
            match self.output.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => text.extend_from_slice(&buffer[..read]),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                    thread::sleep(Duration::from_millis(20));
                }
                Err(_) => break,
            }
        }
        match serde_json::from_slice::<Outcome>(&text) {
            Ok(outcome) => message!("{}", in_words(&outcome)),
            Err(_) => {
                message!("the process that sends alerts has failed, so the collector may lack some")
            }
        }
    }
}

/// Says what became of the records.
fn in_words(outcome: &Outcome) -> String {
    let mut text = format!("{} accepted by the collector", counted(outcome.sent, "record"));
    if outcome.refused > 0 {
        text += &format!(", {} refused", outcome.refused);
    }
    if outcome.lost > 0 {
        text += &format!(", {} not sent", outcome.lost);
    }
    if let Some(reason) = &outcome.reason
        && outcome.refused + outcome.lost > 0
    {
        text += &format!(": {}", printable(reason));
    }
    text
}

fn endpoint(url: &str) -> Result<Endpoint, Usage> {
    let headers = env::var(HEADERS).unwrap_or_default();
    Endpoint::parse(url, &headers).map_err(|err| Usage(format!("--otlp: {err}")))
}

/// Arguments of the hidden subcommand, which reads lines of the alert stream.
#[derive(Debug, clap::Args)]
pub(super) struct SendArgs {
    url: String,
}

/// Sends the lines on standard input to a collector. Writes the outcome to standard output.
pub(super) fn send(args: &SendArgs) -> anyhow::Result<ExitCode> {
    sandbox::protect_memory()?;
    let endpoint = endpoint(&args.url)?;
    let ca = env::var(CERTIFICATE).ok();
    // Its certificates may be readable for root only.
    let client = Client::new(endpoint, ca.as_deref()).context("--otlp")?;
    let confinement = sandbox::enter_with_network().context("cannot restrict this process")?;
    for (mechanism, reason) in &confinement.missing {
        message!("the process that sends alerts is not restricted by {mechanism}: {reason}");
    }
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(async {
        // The end of the run ends it, and not a signal to all of its processes.
        for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
            let _handled = signal(kind)?;
        }
        let (sender, lines) = mpsc::channel(MAX_LINES);
        thread::Builder::new().name("tracer-lines".into()).spawn(move || read(&sender))?;
        anyhow::Ok(Exporter::new(client, host, report).run(lines).await)
    })?;
    serde_json::to_writer(io::stdout(), &outcome)?;
    io::stdout().flush()?;
    // A lookup of the name may still be running in a thread.
    runtime.shutdown_background();
    Ok(ExitCode::SUCCESS)
}

/// Number of lines between the reading thread and the exporter.
const MAX_LINES: usize = 256;

/// Passes on the lines of standard input.
fn read(to: &Sender<String>) {
    /// Alerts are bounded to 100 KiB; the summary of a run has up to some hundred applications.
    const MAX_LINE: u64 = 8 << 20;
    let mut input = io::stdin().lock();
    loop {
        let mut line = String::new();
        match io::Read::take(&mut input, MAX_LINE).read_line(&mut line) {
            Ok(1..) if to.blocking_send(line).is_ok() => {}
            _ => return,
        }
    }
}

fn report(failure: Option<&str>) {
    match failure {
        Some(reason) => message!("the collector takes no alerts: {}", printable(reason)),
        None => message!("the collector accepts alerts again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_said_in_words() {
        let outcome = |sent, refused, lost, reason: &str| {
            let reason = Some(reason.to_owned()).filter(|it| !it.is_empty());
            in_words(&Outcome { sent, refused, lost, reason })
        };
        assert_eq!(outcome(1, 0, 0, ""), "1 record accepted by the collector");
        assert_eq!(outcome(2, 0, 0, "was slow"), "2 records accepted by the collector");
        assert_eq!(
            outcome(2, 3, 4, "no room\n"),
            "2 records accepted by the collector, 3 refused, 4 not sent: no room\\u{a}"
        );
    }
}
