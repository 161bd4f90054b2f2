//! `tracer run`: watches, live.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tracer_ebpf::{DEFAULT_HEAD, DEFAULT_TLS_HEAD, MAX_HEAD};

use super::{Usage, style, users};
use crate::{
    hook::{self, Capture, DEFAULT_RING, Events, Followed, Follower, Options, Rule, Watch},
    pipeline::{Output, Pipeline},
    record::{Event, Losses, trace},
    sink::{Human, Json, Sink, application_line, printable, private_file, redact::Redactor},
};

/// Watch applications: alerts go to standard output, a line each; everything
/// else goes to standard error. Ctrl-C ends it and prints what was seen.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  tracer run --exe chromium            what every chromium sends, from its start on
  tracer run --uid 10123 --json        one Android application, as JSON lines
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
    /// Print JSON lines (docs/alerts.md describes them)
    #[arg(long)]
    json: bool,
    /// Append the alerts as JSON lines to this file, which only its owner can read
    #[arg(long, value_name = "FILE")]
    alerts: Option<PathBuf>,
    /// Record every captured send into this file, unredacted, for `tracer decode`
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    rules: super::rules::Folder,
    /// Show the values in URLs' queries, which are digests otherwise
    #[arg(long)]
    show_values: bool,
    /// Show the kernel programs' own diagnostics
    #[arg(long, short)]
    verbose: bool,
}

impl Args {
    fn watch(&self) -> Result<Watch, Usage> {
        let mut rules = Vec::new();
        for user in &self.uid {
            rules.push(Rule::Uid(users::uid(user)?));
        }
        for exe in &self.exe {
            rules.push(if exe.contains('/') {
                let path = std::path::absolute(exe).unwrap_or_else(|_| exe.into());
                Rule::ExePath(path)
            } else {
                Rule::ExeName(exe.clone())
            });
        }
        rules.extend(self.pid.iter().copied().map(Rule::Pid));
        if self.all {
            rules.push(Rule::Everyone);
        }
        if rules.is_empty() {
            return Err(Usage(
                "nothing to watch: give --uid, --exe, --pid or --all (`tracer run --help`)".into(),
            ));
        }
        Ok(Watch {
            rules,
            head_bytes: self.head_bytes.unwrap_or(DEFAULT_HEAD),
            tls_head_bytes: self.head_bytes.unwrap_or(DEFAULT_TLS_HEAD),
        })
    }

    fn redactor(&self) -> Redactor {
        if self.show_values { Redactor::off() } else { Redactor::random() }
    }

    /// Opened before anything is attached: an error here should cost nothing.
    fn sinks(&self) -> anyhow::Result<Vec<Box<dyn Sink>>> {
        // The same digests everywhere, so that the sinks can be compared.
        let redactor = self.redactor();
        let stdout = io::stdout();
        let mut sinks: Vec<Box<dyn Sink>> = vec![if self.json {
            Box::new(Json::new(stdout, redactor.clone()))
        } else {
            Box::new(Human::new(stdout, style(), redactor.clone()))
        }];
        if let Some(path) = &self.alerts {
            let file = open(path, true).context("for --alerts")?;
            sinks.push(Box::new(Json::new(BufWriter::new(file), redactor)));
        }
        Ok(sinks)
    }
}

fn open(path: &Path, append: bool) -> anyhow::Result<File> {
    private_file(path, append).with_context(|| format!("cannot write {}", path.display()))
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let watch = args.watch()?;
    let rules = args.rules.load()?;
    let mut session = Session {
        pipeline: Pipeline::new(Arc::new(rules)),
        sinks: args.sinks()?,
        recording: match &args.record {
            Some(path) => {
                let file = BufWriter::new(open(path, false).context("for --record")?);
                Some(trace::Writer::new(file).context("cannot begin the recording")?)
            }
            None => None,
        },
        outputs: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // Before the programs are attached: a signal meanwhile is not lost.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;

        let capture = Capture::start(&Options { watch, ring: args.ring_mib << 20 })?;
        let mut diagnostics = args.verbose.then(|| diagnostics(&capture)).transpose()?;
        let follower = follow(&capture);
        let mut events = Events::start(capture.reader()?, follower.as_ref())?;
        eprintln!("tracer: watching; Ctrl-C ends it");

        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                batch = events.next() => match batch {
                    Some(batch) => session.take(batch)?,
                    None => break,
                },
                _ = tick.tick() => {
                    if let Some(log) = &mut diagnostics {
                        log.flush();
                    }
                    if let Some(follower) = &follower {
                        follower.news().for_each(|news| tell(&news, args.verbose));
                    }
                    session.tick()?;
                }
                _ = interrupt.recv() => events.stop(),
                _ = terminate.recv() => events.stop(),
            }
        }
        session.finish()?;
        events.join()?;
        if let Some(follower) = follower {
            follower.news().for_each(|news| tell(&news, args.verbose));
            follower.join();
        }
        anyhow::Ok(())
    })?;
    session.summary();
    Ok(ExitCode::SUCCESS)
}

/// Begins to follow processes to their TLS libraries. Without that, what is
/// sent in the clear is still seen.
fn follow(capture: &Capture) -> Option<Follower> {
    capture
        .follow()
        .inspect_err(|err| {
            eprintln!("tracer: what applications encrypt will stay unread: {err}");
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
            eprintln!("tracer: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Says what became of a library.
fn tell(news: &Followed, verbose: bool) {
    match news {
        Followed::Probed { file, functions, after } => {
            if verbose {
                eprintln!(
                    "tracer: reads {} in {} ({} ms after it was mapped)",
                    functions.join(", "),
                    printable(&file.to_string_lossy()),
                    after.as_millis()
                );
            }
        }
        Followed::Missed { file, reason } => eprintln!(
            "tracer: cannot read what is encrypted by {}: {}",
            printable(&file.to_string_lossy()),
            printable(reason)
        ),
    }
}

/// Everything from the events on.
struct Session {
    pipeline: Pipeline,
    sinks: Vec<Box<dyn Sink>>,
    recording: Option<trace::Writer<BufWriter<File>>>,
    outputs: Vec<Output>,
}

impl Session {
    fn take(&mut self, batch: Vec<Event>) -> anyhow::Result<()> {
        for event in batch {
            if let Some(recording) = &mut self.recording {
                recording.write(&event).context("cannot write the recording")?;
            }
            self.pipeline.push(event, &mut self.outputs);
        }
        self.deliver()
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        if let Some(now) = hook::now() {
            self.pipeline.tick(now, &mut self.outputs);
        }
        if let Some(recording) = &mut self.recording {
            recording.flush().context("cannot write the recording")?;
        }
        self.deliver()
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        self.pipeline.finish(&mut self.outputs);
        self.deliver()?;
        for sink in &mut self.sinks {
            sink.summary(self.pipeline.totals(), self.pipeline.accounts())?;
            sink.flush()?;
        }
        if let Some(recording) = &mut self.recording {
            recording.flush().context("cannot write the recording")?;
        }
        Ok(())
    }

    fn deliver(&mut self) -> anyhow::Result<()> {
        if self.outputs.is_empty() {
            return Ok(());
        }
        for sink in &mut self.sinks {
            for output in &self.outputs {
                sink.output(output)?;
            }
            sink.flush()?;
        }
        self.outputs.clear();
        Ok(())
    }

    /// What was seen and what was not, for people.
    fn summary(&self) {
        print_summary(&self.pipeline);
    }
}

/// The last words of a run: what was seen, and what was not.
pub(super) fn print_summary(pipeline: &Pipeline) {
    let totals = pipeline.totals();
    eprintln!(
        "tracer: {} sends, {} requests read, {} alerts, {} reports by pages (not alerted)",
        totals.sends, totals.requests, totals.alerts, totals.by_pages
    );
    let unread = [
        (totals.tls_bytes, "encrypted (TLS)"),
        (totals.other_bytes, "in protocols that are not read"),
        (totals.missing_bytes, "not captured"),
        (totals.opaque_bytes, "in bodies that could not be read through"),
    ];
    let unread: Vec<String> = unread
        .iter()
        .filter(|(bytes, _)| *bytes > 0)
        .map(|(bytes, what)| format!("{bytes} bytes {what}"))
        .collect();
    if !unread.is_empty() {
        eprintln!("tracer: not read: {}", unread.join(", "));
    }
    let applications = pipeline.accounts().applications();
    for (application, account) in applications.iter().take(MAX_LINES) {
        eprintln!("tracer: {}", application_line(application, account));
    }
    if let Some(more) = applications.len().checked_sub(MAX_LINES).filter(|&more| more > 0) {
        eprintln!("tracer: and {more} applications that sent less (all of them: --json)");
    }
    for (loss, _, total) in pipeline.losses().since(&Losses::default()) {
        eprintln!("tracer: {total} {}", loss.explain());
    }
    let _ = io::stderr().flush();
}

/// Applications that the last words name.
const MAX_LINES: usize = 20;
