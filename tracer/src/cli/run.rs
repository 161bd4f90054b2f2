//! `tracer run`: watches applications.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracer_ebpf::{DEFAULT_HEAD, DEFAULT_TLS_HEAD, MAX_HEAD};

use super::{
    Usage,
    capture::{Captured, Source, Started},
    confine, keep, packages,
    rule_files::RuleTexts,
    session::Session,
    style, users,
};
use crate::{
    files::{self, Existing},
    sink::{Human, Json, Log, Sink, SystemLog},
    store::{Store, Writer},
};
use tracer_core::{
    alert::{printable, redact::Redactor},
    knowledge::Knowledge,
    pipeline::Pipeline,
    record::trace,
};
use tracer_host::hook::{Capture, DEFAULT_RING, Follower, ProbeEvent, SocketHook, Target, Watch};
use tracer_host::sandbox;

/// Watch applications, and print an alert when one reports a visited page (needs root).
///
/// Alerts go to standard output, one line each. Messages go to standard error. Ctrl-C stops the run
/// and prints a summary.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  sudo tracer run --exe chromium             watch every process that executes chromium
  tracer run --package browsers              watch all known browsers on an Android device
  sudo tracer run --uid alice --record t     record what alice sends, for `tracer decode`")]
pub(super) struct Args {
    /// Watch all processes of this user (name or UID)
    #[arg(long, value_name = "USER")]
    uid: Vec<String>,
    /// Watch processes that execute a file of this name, or at this path (if it contains a /), and
    /// their descendants
    #[arg(long, value_name = "NAME|PATH")]
    exe: Vec<String>,
    /// Watch this running process and its descendants
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    #[command(flatten)]
    pub(super) packages: packages::PackageArgs,
    /// Watch all processes
    #[arg(long)]
    all: bool,
    /// Number of bytes to capture of each send; the rest is counted as not read [default: 16384,
    /// and 32768 for writes to TLS libraries]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=MAX_HEAD as i64))]
    head_bytes: Option<u32>,
    /// Size in MiB of the buffer between the kernel and tracer. Use a larger one if sends are lost
    #[arg(long, value_name = "N", default_value_t = DEFAULT_RING >> 20,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    ring_mib: u32,
    /// Kernel hook that captures sends. `auto` uses the best one that works (see
    /// docs/reference/hooks.md)
    #[arg(long, value_name = "HOOK", value_enum, default_value_t = HookArg::Auto)]
    hook: HookArg,
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
    rules: super::rules::Folder,
    #[command(flatten)]
    keep: keep::Args,
    /// Also write the alerts to the system log
    #[arg(long, value_enum, value_name = "LOG")]
    log: Option<LogName>,
    /// Show values in queries, identifiers and typed text. By default only digests are shown
    #[arg(long)]
    show_values: bool,
    /// Show the hook, the probed TLS libraries, and diagnostics of the kernel programs
    #[arg(long, short)]
    pub(super) verbose: bool,
}

/// Values of `--hook`.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum HookArg {
    /// The best one that works
    Auto,
    /// Entry of the kernel's send functions, by trampolines (needs BTF)
    Fentry,
    /// Entry of the kernel's send functions, by kprobes
    Kprobe,
    /// Tracepoint of TCP, and system calls for everything else (needs Linux 6.16)
    TcpTracepoint,
    /// Raw tracepoint of all system calls
    SysEnter,
}

impl HookArg {
    /// Returns the hooks to try, in order.
    pub(super) fn hooks(self) -> &'static [SocketHook] {
        match self {
            Self::Auto => &SocketHook::ALL,
            Self::Fentry => &[SocketHook::Fentry],
            Self::Kprobe => &[SocketHook::Kprobe],
            Self::TcpTracepoint => &[SocketHook::TcpTracepoint],
            Self::SysEnter => &[SocketHook::SysEnter],
        }
    }
}

impl Args {
    /// Returns the processes to watch.
    pub(super) fn watch(&self) -> anyhow::Result<Watch> {
        let known = self.packages.needs_rules().then(|| self.rules.load()).transpose()?;
        let mut targets = Vec::new();
        for user in &self.uid {
            targets.push(Target::Uid(users::uid(user)?));
        }
        targets.extend(self.exe.iter().map(|exe| exe_target(exe)));
        targets.extend(self.pid.iter().copied().map(Target::Pid));
        targets.extend(self.packages.targets(known.as_ref().map(|known| &**known.rules()))?);
        if self.all {
            targets.push(Target::Everyone);
        }
        if targets.is_empty() {
            return Err(Usage(
                "nothing to watch; give --exe, --package, --uid, --pid or --all (see `tracer run \
                 --help`)"
                    .into(),
            )
            .into());
        }
        Ok(Watch {
            targets,
            head_bytes: self.head_bytes.unwrap_or(DEFAULT_HEAD),
            tls_head_bytes: self.head_bytes.unwrap_or(DEFAULT_TLS_HEAD),
        })
    }

    /// Returns the hooks to try, in order.
    pub(super) fn hooks(&self) -> &'static [SocketHook] {
        self.hook.hooks()
    }

    /// Returns the size of the buffer between the kernel and tracer.
    pub(super) fn ring_bytes(&self) -> u32 {
        self.ring_mib << 20
    }

    /// Opens the files. Called before programs are attached, so that errors appear early.
    fn files(&self) -> anyhow::Result<Files> {
        let alerts =
            self.alerts.as_deref().map(|path| open(path, Existing::Append).context("--alerts"));
        let existing = if self.force { Existing::Replace } else { Existing::Refuse };
        let recording = self.record.as_deref().map(|path| {
            let file = open(path, existing).context("--record")?;
            trace::Writer::new(BufWriter::new(file)).context("cannot write the recording")
        });
        Ok(Files { alerts: alerts.transpose()?, recording: recording.transpose()? })
    }

    fn sinks(
        &self,
        alerts: Option<File>,
        log: Option<SystemLog>,
    ) -> anyhow::Result<Vec<Box<dyn Sink>>> {
        let stdout = io::stdout();
        let mut sinks: Vec<Box<dyn Sink>> = vec![if self.json {
            Box::new(Json::new(stdout))
        } else {
            Box::new(Human::new(stdout, style()))
        }];
        if let Some(file) = alerts {
            sinks.push(Box::new(Json::new(BufWriter::new(file))));
        }
        if let Some(log) = log {
            sinks.push(Box::new(log));
        }
        Ok(sinks)
    }
}

/// Parses the value of `--exe`: a name, or a path if it contains a slash.
pub(super) fn exe_target(exe: &str) -> Target {
    if exe.contains('/') {
        Target::ExePath(std::path::absolute(exe).unwrap_or_else(|_| exe.into()))
    } else {
        Target::ExeName(exe.to_owned())
    }
}

/// Files that the run writes to.
struct Files {
    alerts: Option<File>,
    recording: Option<trace::Writer<BufWriter<File>>>,
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

/// What a run opened with its privileges, before it gave them up.
struct Opened {
    source: Started,
    rules: RuleTexts,
    files: Files,
    store: Option<Store>,
    log: Option<SystemLog>,
}

impl Opened {
    /// Opens the outputs, starts the process that captures, and restricts this one: from here on,
    /// it cannot open anything. No thread has been started yet.
    fn open(args: &Args) -> anyhow::Result<Self> {
        // A wrong use is reported before anything is opened.
        args.watch()?;
        sandbox::protect_memory()?;
        let rules = args.rules.read()?;
        let files = args.files()?;
        let named = args.keep.open_named()?;
        let log = args.log.map(LogName::open).transpose().context("--log")?;
        let source = Source::start()?;
        // Now that the programs are attached: no store is created if that fails.
        let store = named.or_else(|| args.keep.open_default());
        confine::decoder(args.verbose)?;
        Ok(Self { source, rules, files, store, log })
    }
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let opened = Opened::open(args)?;
    let knowledge = opened.rules.parse()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut session = session(args, &knowledge, opened.files, opened.store, opened.log)?;
        let mut source = opened.source.begin()?;

        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let ended = loop {
            tokio::select! {
                captured = source.next() => match captured {
                    Ok(Some(Captured::Events(batch))) => session.take(batch)?,
                    Ok(Some(Captured::Watching)) => message!("watching; press Ctrl-C to stop"),
                    Ok(None) => break Ok(()),
                    Err(err) => break Err(err),
                },
                _ = tick.tick() => session.tick()?,
                _ = interrupt.recv() => source.stop(),
                _ = terminate.recv() => source.stop(),
            }
        };
        session.finish()?;
        let ended = match ended {
            Ok(()) => source.finish().await,
            Err(err) => Err(err),
        };
        session.summary();
        ended.map(|()| ExitCode::SUCCESS)
    })
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
        sinks: args.sinks(files.alerts, log)?,
        store: store.context("cannot write to the store")?,
        recording: files.recording,
        outputs: Vec::new(),
        says_unknown: false,
    })
}

/// Starts to probe the TLS libraries of processes. Failing that, unencrypted sends are still
/// captured.
pub(super) fn follow(capture: &Capture) -> Option<Follower> {
    capture
        .follow()
        .inspect_err(|err| {
            message!("cannot read what applications encrypt: {err}");
        })
        .ok()
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
