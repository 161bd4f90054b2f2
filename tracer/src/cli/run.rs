//! `tracer run`: watches, live.

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

/// Watch applications: alerts go to standard output, a line each; everything
/// else goes to standard error. Ctrl-C ends it and prints what was seen.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracer run --exe chromium            what every chromium sends, from its start on
  tracer run --package browsers        every browser on an Android device
  tracer run --uid alice --record t    keep what alice sends, to decode it again")]
pub(super) struct Args {
    /// Watch every process of this user (a number or a name)
    #[arg(long, value_name = "U")]
    uid: Vec<String>,
    /// Watch whoever executes a file of this name, or at this path (with a /),
    /// and its descendants
    #[arg(long, value_name = "NAME|PATH")]
    exe: Vec<String>,
    /// Watch this running process and its descendants
    #[arg(long, value_name = "N")]
    pid: Vec<u32>,
    #[command(flatten)]
    packages: packages::Wanted,
    /// Watch everybody
    #[arg(long)]
    all: bool,
    /// Bytes of each send to capture [default: 16384, and 32768 of each write
    /// to a TLS library]
    #[arg(long, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=MAX_HEAD as i64))]
    head_bytes: Option<u32>,
    /// Size of the buffer between kernel and tracer
    #[arg(long, value_name = "N", default_value_t = DEFAULT_RING >> 20,
          value_parser = clap::value_parser!(u32).range(1..=1024))]
    ring_mib: u32,
    /// Where in the kernel sends are taken; auto tries all and takes the best
    /// that works
    #[arg(long, value_name = "HOOK", value_enum, default_value_t = HookArg::Auto)]
    hook: HookArg,
    /// Print JSON lines (docs/reference/alerts.md describes them)
    #[arg(long)]
    json: bool,
    /// Append the alerts as JSON lines to this file. It must be yours, and is made readable by
    /// you only
    #[arg(long, value_name = "FILE")]
    alerts: Option<PathBuf>,
    /// Record every captured send into this new file, unredacted, for `tracer decode`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Let --record replace a file that exists
    #[arg(long, requires = "record")]
    force: bool,
    #[command(flatten)]
    rules: super::rules::Folder,
    #[command(flatten)]
    keep: keep::Args,
    /// Write the alerts to the system's log as well
    #[arg(long, value_enum, value_name = "LOG")]
    log: Option<LogName>,
    /// Show what tells about the user: values in queries, identifiers, typed
    /// text. Otherwise they are digests
    #[arg(long)]
    show_values: bool,
    /// Show which hook is used, and the kernel programs' own diagnostics
    #[arg(long, short)]
    verbose: bool,
}

/// What `--hook` takes.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum HookArg {
    Auto,
    Fentry,
    Kprobe,
    TcpTracepoint,
    SysEnter,
}

impl HookArg {
    /// The hooks to try, in order.
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
                "nothing to watch: give --exe, --package, --uid, --pid or --all (`tracer run --help`)"
                    .into(),
            ));
        }
        Ok(Watch {
            targets,
            head_bytes: self.head_bytes.unwrap_or(DEFAULT_HEAD),
            tls_head_bytes: self.head_bytes.unwrap_or(DEFAULT_TLS_HEAD),
        })
    }

    /// Opened before anything is attached: an error here should cost nothing.
    fn files(&self) -> anyhow::Result<Files> {
        let alerts =
            self.alerts.as_deref().map(|path| open(path, Existing::Append).context("for --alerts"));
        let existing = if self.force { Existing::Replace } else { Existing::Refuse };
        let recording = self.record.as_deref().map(|path| {
            let file = open(path, existing).context("for --record")?;
            trace::Writer::new(BufWriter::new(file)).context("cannot begin the recording")
        });
        Ok(Files { alerts: alerts.transpose()?, recording: recording.transpose()? })
    }

    fn sinks(
        &self,
        alerts: Option<File>,
        redactor: &Redactor,
    ) -> anyhow::Result<Vec<Box<dyn Sink>>> {
        // The same digests everywhere, so that the sinks can be compared.
        let stdout = io::stdout();
        let mut sinks: Vec<Box<dyn Sink>> = vec![if self.json {
            Box::new(Json::new(stdout, redactor.clone()))
        } else {
            Box::new(Human::new(stdout, style(), redactor.clone()))
        }];
        if let Some(file) = alerts {
            sinks.push(Box::new(Json::new(BufWriter::new(file), redactor.clone())));
        }
        if let Some(log) = self.log {
            sinks.push(Box::new(log.open(redactor.clone()).context("for --log")?));
        }
        Ok(sinks)
    }
}

/// Whoever executes a file of this name, or at this path.
pub(super) fn exe_target(exe: &str) -> Target {
    if exe.contains('/') {
        Target::ExePath(std::path::absolute(exe).unwrap_or_else(|_| exe.into()))
    } else {
        Target::ExeName(exe.to_owned())
    }
}

/// Files that a run writes.
struct Files {
    alerts: Option<File>,
    recording: Option<trace::Writer<BufWriter<File>>>,
}

/// A system log, as the user names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogName {
    /// The one that is there
    Auto,
    /// systemd's journal
    Journald,
    /// What listens on /dev/log
    Syslog,
    /// Android's log
    Logcat,
}

impl LogName {
    fn open(self, redactor: Redactor) -> anyhow::Result<SystemLog> {
        let log = match self {
            Self::Auto => Log::of_this_system().context("this system has no log that is known")?,
            Self::Journald => Log::Journald,
            Self::Syslog => Log::Syslog,
            Self::Logcat => Log::Logcat,
        };
        SystemLog::open(log, redactor)
            .with_context(|| format!("cannot reach {} at {}", log.name(), log.socket().display()))
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
        // Before the programs are attached: a signal meanwhile is not lost.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;

        let (capture, choice) =
            Capture::start_best(args.hook.hooks(), &watch, args.ring_mib << 20)?;
        if args.verbose {
            for (hook, reason) in &choice.rejected {
                message!("cannot take sends by {hook}: {}", printable(&reason.to_string()));
            }
            message!("takes sends by {}", choice.hook);
        }
        let mut session = session(args, &knowledge, files, named)?;
        let mut diagnostics = args.verbose.then(|| diagnostics(&capture)).transpose()?;
        let follower = follow(&capture);
        let mut packages = args.packages.follow(&capture, follower.as_ref())?;
        packages.pending(&mut session)?;
        let mut events = Events::start(capture.reader()?, follower.as_ref())?;
        message!("watching; Ctrl-C ends it");

        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                batch = events.next() => match batch {
                    Some(batch) => session.take(batch)?,
                    None => break,
                },
                news = packages.next() => packages.take(news, &mut session)?,
                _ = tick.tick() => {
                    if let Some(log) = &mut diagnostics {
                        log.flush();
                    }
                    if let Some(follower) = &follower {
                        follower.events().for_each(|news| tell(&news, args.verbose));
                    }
                    session.tick()?;
                }
                _ = interrupt.recv() => events.stop(),
                _ = terminate.recv() => events.stop(),
            }
        }
        session.finish()?;
        events.join()?;
        // It can tell the follower of processes, whose end is waited for.
        drop(packages);
        if let Some(follower) = follower {
            follower.events().for_each(|news| tell(&news, args.verbose));
            follower.join();
        }
        session.summary();
        Ok(ExitCode::SUCCESS)
    })
}

/// Opens what else is told and kept. Whoever may not attach the programs has
/// not come here, and no store was made for him.
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
        None => crate::random::key().context("no random numbers for the digests")?,
    };
    let redactor = if args.show_values { Redactor::off() } else { Redactor::keyed(key) };
    let store = store.map(|store| Writer::start(store, args.keep.limits())).transpose();
    Ok(Session {
        pipeline,
        sinks: args.sinks(files.alerts, &redactor)?,
        store: store.context("cannot write to the store")?,
        recording: files.recording,
        outputs: Vec::new(),
    })
}

/// Begins to follow processes to their TLS libraries. Without that, what is
/// sent in the clear is still seen.
pub(super) fn follow(capture: &Capture) -> Option<Follower> {
    capture
        .follow()
        .inspect_err(|err| {
            message!("what applications encrypt will stay unread: {err}");
        })
        .ok()
}

/// The programs' own diagnostics, on standard error.
fn diagnostics(capture: &Capture) -> anyhow::Result<aya_log::EbpfLogger<&'static dyn log::Log>> {
    log::set_logger(&Diagnostics).map(|()| log::set_max_level(log::LevelFilter::Debug)).ok();
    Ok(capture.diagnostics()?)
}

/// Where `--verbose` goes.
struct Diagnostics;

impl log::Log for Diagnostics {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        // The programs' lines come under the library's own name or theirs.
        metadata.target().starts_with("tracer")
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            message!("{}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Says what became of a library.
pub(super) fn tell(news: &ProbeEvent, verbose: bool) {
    match news {
        ProbeEvent::Probed { file, functions, after } => {
            if verbose {
                message!(
                    "reads {} in {} ({} ms after it was mapped)",
                    functions.join(", "),
                    printable(&file.to_string_lossy()),
                    after.as_millis()
                );
            }
        }
        ProbeEvent::Missed { file, reason } => message!(
            "cannot read what is encrypted by {}: {}",
            printable(&file.to_string_lossy()),
            printable(reason)
        ),
    }
}
