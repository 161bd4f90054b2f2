//! `tracer run`: watches applications.

use std::{
    fmt::Display,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{
    capture::{Captured, Source, Started},
    confine,
    decoding::{Decoding, Delay},
    keep, notify,
    otlp::Sending,
    presentation,
    rule_files::RuleTexts,
    session::{Format, Lines, MAX_LINES_WAITING, Recording, Session},
    signals::{Order, Signals},
    status::StatusFile,
    style, terminal,
    watch::WatchArgs,
};
use crate::{
    files::{self, Existing},
    queue::Queue,
    sink::{Log, SystemLog, Text},
    store::{Store, Writer},
};
use tracer_core::{
    alert::{printable, redact::Redactor},
    knowledge::Knowledge,
    pipeline::Pipeline,
    record::Event,
    wording::counted,
};
use tracer_host::hook::{Capture, Follower, ProbeEvent};
use tracer_host::{locate::Locator, sandbox};

/// Watch applications, and print an alert when one reports a visited page (needs root).
///
/// Alerts go to standard output: in paragraphs with local times on a terminal, else one line each.
/// Messages go to standard error. Ctrl-C stops the run
/// and prints a summary.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo tracer run --browsers                 watch every known browser
  sudo tracer run --exe chromium             watch every process that executes chromium
  tracer run --package browsers              watch all known browsers on an Android device
  sudo tracer run --uid alice --record t     record what alice sends, for `tracer decode`")]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) watch: WatchArgs,
    /// Print each alert in one line, with its time in UTC, on a terminal too
    #[arg(long, conflicts_with = "json")]
    full: bool,
    /// Print alerts as JSON lines (see docs/reference/alerts.md)
    #[arg(long)]
    json: bool,
    /// Also append the alerts as JSON lines to this file. It must not belong to another user, and
    /// only its owner will be able to read it
    #[arg(long, value_name = "FILE")]
    alerts: Option<PathBuf>,
    /// Record all captured sends in this new file, for `tracer decode`. They are not redacted
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Let --record replace an existing file
    #[arg(long, requires = "record")]
    force: bool,
    #[command(flatten)]
    keep: keep::Args,
    /// Also send the alerts, redacted, to this collector of OpenTelemetry, as log records over
    /// OTLP/HTTP: https://HOST:4318, or http:// on a trusted network. OTEL_EXPORTER_OTLP_HEADERS
    /// holds header fields, OTEL_EXPORTER_OTLP_CERTIFICATE the file of a CA (see docs/fleet.md)
    #[arg(long, value_name = "URL")]
    otlp: Option<String>,
    /// Also write the alerts to the system log
    #[arg(long, value_enum, value_name = "LOG")]
    log: Option<LogName>,
    /// Also notify a user on the desktop, or on a phone: by default who called sudo, else who is
    /// logged in. Of pages, only the host is named. At most every 20 seconds
    #[arg(long, value_name = "USER", num_args = 0..=1, require_equals = true,
          default_missing_value = "")]
    notify: Option<String>,
    /// Show values in queries, identifiers and typed text. By default only digests are shown
    #[arg(long)]
    show_values: bool,
}

impl Args {
    /// Opens the files. Called before programs are attached, so that errors appear early.
    fn files(&self) -> anyhow::Result<Files> {
        let alerts =
            self.alerts.as_deref().map(|path| open(path, Existing::Append).context("--alerts"));
        let existing = if self.force { Existing::Replace } else { Existing::Refuse };
        let recording = self.record.as_deref().map(|path| {
            let mut file = open(path, existing).context("--record")?;
            Recording::begin(&mut file).context("cannot write the recording")?;
            anyhow::Ok(file)
        });
        Ok(Files { alerts: alerts.transpose()?, recording: recording.transpose()? })
    }

    fn lines(&self, alerts: Option<File>) -> io::Result<Vec<Lines>> {
        let format = if self.json {
            Format::Json
        } else {
            Format::Human(Text::new(style(), presentation(self.full)))
        };
        let stdout = Queue::to_stream("standard output", io::stdout(), MAX_LINES_WAITING);
        // A closed standard output is an output that fails.
        let mut lines = match stdout {
            Ok(queue) => vec![Lines { queue, format }],
            Err(err) => {
                message!("cannot write to standard output: {err}; the run goes on without it");
                Vec::new()
            }
        };
        if let (Some(file), Some(path)) = (alerts, &self.alerts) {
            let name = printable(&path.to_string_lossy());
            let queue = Queue::to_file(&name, file, MAX_LINES_WAITING)?;
            lines.push(Lines { queue, format: Format::Json });
        }
        Ok(lines)
    }
}

/// Name of the command.
const COMMAND: &str = "run";

/// Files that the run writes to.
struct Files {
    alerts: Option<File>,
    recording: Option<File>,
}

/// Values of `--log`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogName {
    /// The log that this system has
    Auto,
    /// systemd's journal
    Journald,
    /// The syslog daemon at /dev/log
    Syslog,
    /// Android's log
    Logcat,
}

impl LogName {
    fn open(self) -> anyhow::Result<SystemLog> {
        let log = match self {
            Self::Auto => Log::detect().context(
                "no system log was found (journald, logd or syslog); name one, or leave out --log",
            )?,
            Self::Journald => Log::Journald,
            Self::Syslog => Log::Syslog,
            Self::Logcat => Log::Logcat,
        };
        SystemLog::open(log).with_context(|| {
            format!("cannot connect to {} at {}", log.name(), log.socket().display())
        })
    }
}

fn open(path: &Path, existing: Existing) -> anyhow::Result<File> {
    files::create(path, existing).with_context(|| format!("cannot write {}", path.display()))
}

/// The files that a run opened with its privileges, before it gave them up.
struct Opened {
    source: Started,
    rules: RuleTexts,
    files: Files,
    store: Option<Store>,
    log: Option<SystemLog>,
    notifications: Option<File>,
    status: Option<StatusFile>,
    sending: Option<Sending>,
}

impl Opened {
    /// Opens the outputs, starts the process that captures, and restricts this one: from here on,
    /// it cannot open anything. No thread has been started yet.
    fn open(args: &Args) -> anyhow::Result<Self> {
        // A wrong use is reported before anything is opened.
        args.watch.watch()?;
        sandbox::protect_memory()?;
        let rules = args.watch.rules.read()?;
        let files = args.files()?;
        let named = args.keep.open_named()?;
        let log = args.log.map(LogName::open).transpose().context("--log")?;
        let user = args.notify.as_deref().map(|name| Some(name).filter(|name| !name.is_empty()));
        let notifications = user.map(notify::start).transpose().context("--notify")?;
        let sending = args.otlp.as_deref().map(Sending::start).transpose()?;
        let source = Source::start(COMMAND, sending.as_ref().map(|sending| sending.pid))?;
        // Now that the programs are attached: no store is created if that fails.
        let store = named.or_else(|| args.keep.open_default());
        let status = StatusFile::create();
        confine::decoder(args.watch.verbose)?;
        Ok(Self { source, rules, files, store, log, notifications, status, sending })
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut opened = Opened::open(args)?;
    let mut signals = Signals::start().context("cannot handle signals")?;
    terminal::start_queue();
    let knowledge = opened.rules.parse()?;
    let recording = opened.files.recording.take().map(Recording::new).transpose()?;
    let mut session = session(args, &knowledge, opened.files, opened.store, opened.log)?;
    session.is_recorded = recording.is_some();
    session.status = opened.status.take();
    let sending = opened.sending.take().map(Sending::begin).transpose()?;
    let pending = sending.map(|(lines, pending)| {
        session.lines.push(lines);
        pending
    });
    if let Some(file) = opened.notifications.take() {
        let queue = Queue::to_file("notifications", file, notify::MAX_WAITING)?;
        session.lines.push(Lines { queue, format: Format::Notifications });
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (decoding, mut ended) = Decoding::start(session)?;
        let mut consumers = Consumers { recording, decoding };
        let mut source = opened.source.begin()?;

        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut late = Late::default();
        // The result of the capture, once it has ended.
        let mut captured = None;
        let mut is_stopping = false;
        let mut is_forced = false;
        let session = loop {
            tokio::select! {
                next = source.next(), if captured.is_none() => match next {
                    Ok(Some(Captured::Events(events))) => consumers.take(events),
                    Ok(Some(Captured::Watching)) if !is_stopping => {
                        message!("watching; press Ctrl-C to stop");
                    }
                    Ok(Some(Captured::Watching)) => {}
                    Ok(Some(Captured::Rules(rules))) => reload(rules, &consumers.decoding),
                    Ok(None) => {
                        captured = Some(Ok(()));
                        consumers.decoding.close();
                    }
                    Err(err) => {
                        captured = Some(Err(err));
                        consumers.decoding.close();
                    }
                },
                session = &mut ended => break session.context("the decoder has failed")?,
                _ = tick.tick() => {
                    if let Some(recording) = &mut consumers.recording {
                        recording.report();
                    }
                    late.report(consumers.decoding.delay());
                    if consumers.decoding.is_useless() {
                        source.stop();
                    }
                }
                order = signals.next() => match order {
                    Order::Stop => {
                        is_stopping = true;
                        source.stop();
                        let waiting = consumers.decoding.delay().map_or(0, |delay| delay.sends);
                        message!(
                            "stopping; {} to be decoded (press Ctrl-C again to end at once)",
                            counted(waiting, "send")
                        );
                    }
                    Order::Force => {
                        is_forced = true;
                        consumers.decoding.abandon();
                    }
                    Order::Reload => source.reload(),
                },
            }
        };
        if let Some(recording) = &mut consumers.recording {
            recording.finish();
        }
        let ended = match captured {
            Some(Ok(())) if !is_forced => source.finish().await,
            Some(Err(err)) => Err(err),
            _ => Ok(()),
        };
        session.summary();
        if let Some(pending) = pending {
            // Its lines end with the session.
            drop(session);
            pending.report();
        }
        ended.map(|()| ExitCode::SUCCESS)
    })
}

/// The destination of the events.
struct Consumers {
    recording: Option<Recording>,
    decoding: Decoding,
}

impl Consumers {
    fn take(&mut self, events: Vec<Event>) {
        if let Some(recording) = &mut self.recording {
            events.iter().for_each(|event| recording.write(event));
        }
        self.decoding.push(events);
    }
}

/// Says when decoding is late.
#[derive(Default)]
struct Late {
    said: Option<Instant>,
}

impl Late {
    fn report(&mut self, delay: Option<Delay>) {
        /// A shorter delay is that of a busy machine.
        const LATE: Duration = Duration::from_secs(2);
        const AGAIN: Duration = Duration::from_secs(10);
        match (delay.filter(|delay| delay.time >= LATE), self.said) {
            (None, None) => {}
            (None, Some(_)) => {
                message!("decoding has caught up");
                self.said = None;
            }
            (Some(_), Some(said)) if said.elapsed() < AGAIN => {}
            (Some(delay), _) => {
                message!(
                    "decoding is {} behind: {} waiting, the oldest from {} (uid {})",
                    counted(delay.time.as_secs(), "second"),
                    counted(delay.sends, "send"),
                    printable(&delay.sender.comm),
                    delay.sender.uid
                );
                self.said = Some(Instant::now());
            }
        }
    }
}

/// Uses rules that were read again. A thread compiles them, because that takes some time.
fn reload(rules: Result<RuleTexts, String>, decoding: &Decoding) {
    let decoding = decoding.clone();
    let compile = move || match rules.map(|texts| texts.parse()) {
        Ok(Ok(knowledge)) => decoding.reload(knowledge),
        Ok(Err(err)) => keep_rules(&err),
        Err(reason) => keep_rules(&reason),
    };
    if let Err(err) = thread::Builder::new().name("tracer-rules".into()).spawn(compile) {
        keep_rules(&err);
    }
}

fn keep_rules(reason: &dyn Display) {
    message!("the rules stay as they are: {}", printable(&reason.to_string()));
}

/// Starts the outputs.
fn session(
    args: &Args,
    knowledge: &Knowledge,
    files: Files,
    mut store: Option<Store>,
    log: Option<SystemLog>,
) -> anyhow::Result<Session> {
    let mut pipeline = Pipeline::new(knowledge);
    let key = match &mut store {
        Some(store) => {
            pipeline.remember(store.sightings().context("cannot read the store")?);
            store.key().context("cannot read the store")?
        }
        None => crate::random::key().context("cannot create the key of the digests")?,
    };
    let redactor = if args.show_values { Redactor::off() } else { Redactor::keyed(key) };
    let store = store.map(|store| Writer::start(store, args.keep.limits())).transpose();
    Ok(Session {
        pipeline,
        redactor,
        lines: args.lines(files.alerts)?,
        log,
        store: store.context("cannot write to the store")?,
        is_recorded: false,
        status: None,
        outputs: Vec::new(),
        says_unknown: false,
    })
}

/// Starts to probe the TLS libraries of processes. Failing that, unencrypted sends are still
/// captured.
pub(super) fn follow(capture: &Capture, locator: io::Result<Locator>) -> Option<Follower> {
    let unreadable = |err: &dyn Display| {
        message!("cannot read what applications encrypt: {err}");
    };
    let locator = locator.inspect_err(|err| unreadable(err)).ok()?;
    capture.follow_with(locator).inspect_err(|err| unreadable(err)).ok()
}

/// Prints the diagnostics of the kernel programs on standard error.
pub(super) fn diagnostics(
    capture: &Capture,
) -> anyhow::Result<aya_log::EbpfLogger<&'static dyn log::Log>> {
    log::set_logger(&Diagnostics).map(|()| log::set_max_level(log::LevelFilter::Debug)).ok();
    Ok(capture.diagnostics()?)
}

/// Logger for `--verbose`.
struct Diagnostics;

impl log::Log for Diagnostics {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        // The lines have the name of the library or of the kernel programs as their target.
        metadata.target().starts_with("tracer")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            message!("{}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Reports whether the functions of a library are probed.
pub(super) fn report_probe(event: &ProbeEvent, verbose: bool) {
    match event {
        ProbeEvent::Probed { file, functions, after } => {
            if verbose {
                message!(
                    "reading {} in {} ({} ms after it was mapped)",
                    functions.join(", "),
                    printable(&file.to_string_lossy()),
                    after.as_millis()
                );
            }
        }
        ProbeEvent::Missed { file, reason } => message!(
            "cannot read what {} encrypts: {}",
            printable(&file.to_string_lossy()),
            printable(reason)
        ),
    }
}
