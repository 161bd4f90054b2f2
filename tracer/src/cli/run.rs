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

use super::{Usage, keep, packages, session::Session, style, users};
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
    rules::Rules,
};
use tracer_host::hook::{
    Capture, DEFAULT_RING, Events, Follower, ProbeEvent, SocketHook, Target, Watch,
};

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
    packages: packages::PackageArgs,
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
    verbose: bool,
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
    fn watch(&self, known: &Rules) -> Result<Watch, Usage> {
        let mut targets = Vec::new();
        for user in &self.uid {
            targets.push(Target::Uid(users::uid(user)?));
        }
        targets.extend(self.exe.iter().map(|exe| exe_target(exe)));
        targets.extend(self.pid.iter().copied().map(Target::Pid));
        targets.extend(self.packages.targets(known)?);
        if self.all {
            targets.push(Target::Everyone);
        }
        if targets.is_empty() {
            return Err(Usage(
                "nothing to watch; give --exe, --package, --uid, --pid or --all (see `tracer run \
                 --help`)"
                    .into(),
            ));
        }
        Ok(Watch {
            targets,
            head_bytes: self.head_bytes.unwrap_or(DEFAULT_HEAD),
            tls_head_bytes: self.head_bytes.unwrap_or(DEFAULT_TLS_HEAD),
        })
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

    fn sinks(&self, alerts: Option<File>) -> anyhow::Result<Vec<Box<dyn Sink>>> {
        let stdout = io::stdout();
        let mut sinks: Vec<Box<dyn Sink>> = vec![if self.json {
            Box::new(Json::new(stdout))
        } else {
            Box::new(Human::new(stdout, style()))
        }];
        if let Some(file) = alerts {
            sinks.push(Box::new(Json::new(BufWriter::new(file))));
        }
        if let Some(log) = self.log {
            sinks.push(Box::new(log.open().context("--log")?));
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

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let knowledge = args.rules.load()?;
    let watch = args.watch(knowledge.rules())?;
    let files = args.files()?;
    let named = args.keep.open_named()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before programs are attached, so that no signal is lost.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;

        let (capture, choice) =
            Capture::start_best(args.hook.hooks(), &watch, args.ring_mib << 20)?;
        if args.verbose {
            for (hook, reason) in &choice.rejected {
                message!("cannot capture sends with {hook}: {}", printable(&reason.to_string()));
            }
            message!("capturing sends with {}", choice.hook);
        }
        let mut session = session(args, &knowledge, files, named)?;
        let mut diagnostics = args.verbose.then(|| diagnostics(&capture)).transpose()?;
        let follower = follow(&capture);
        let mut packages = args.packages.follow(&capture, follower.as_ref())?;
        session.take(packages.pending())?;
        let mut events = Events::start(capture.reader()?, follower.as_ref())?;
        message!("watching; press Ctrl-C to stop");

        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                batch = events.next() => match batch {
                    Some(batch) => session.take(batch)?,
                    None => break,
                },
                event = packages.next() => {
                    session.take(packages.report(event).into_iter().collect())?;
                }
                _ = tick.tick() => {
                    if let Some(log) = &mut diagnostics {
                        log.flush();
                    }
                    if let Some(follower) = &follower {
                        follower.events().for_each(|event| report_probe(&event, args.verbose));
                    }
                    session.tick()?;
                }
                _ = interrupt.recv() => events.stop(),
                _ = terminate.recv() => events.stop(),
            }
        }
        session.finish()?;
        events.join()?;
        // It sends to the follower, so it has to be dropped before the follower is joined.
        drop(packages);
        if let Some(follower) = follower {
            follower.events().for_each(|event| report_probe(&event, args.verbose));
            follower.join();
        }
        session.summary();
        Ok(ExitCode::SUCCESS)
    })
}

/// Opens the store and the sinks. Called after the programs are attached, so that no store is
/// created if that fails.
fn session(
    args: &Args,
    knowledge: &Knowledge,
    files: Files,
    named: Option<Store>,
) -> anyhow::Result<Session> {
    let mut store = named.or_else(|| args.keep.open_default());
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
        sinks: args.sinks(files.alerts)?,
        store: store.context("cannot write to the store")?,
        recording: files.recording,
        outputs: Vec::new(),
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
fn diagnostics(capture: &Capture) -> anyhow::Result<aya_log::EbpfLogger<&'static dyn log::Log>> {
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
