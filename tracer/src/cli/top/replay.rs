//! Shows a recording.

use std::{
    fs::File,
    io::{BufReader, Read},
    os::unix::net::UnixStream,
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::sync::oneshot;
use tracer_core::{
    alert::redact::Redactor,
    record::{
        BootTime, Event,
        trace::{self, TraceError},
    },
};

use super::{
    Args,
    draw::{self, End, Shared},
    live::Watcher,
};
use crate::{
    cli::{confine, decoding::Work as _, session::print_summary},
    files::Input,
    top::{
        model::{Model, Source},
        view::Look,
    },
};

/// Longest time to wait between two events, however long nothing was sent.
const MAX_PAUSE: Duration = Duration::from_secs(3);

/// Time between two updates of the accounts.
const UPDATE: Duration = Duration::from_millis(500);

/// Time between two looks at whether the recording is held or the view ended.
const STEP: Duration = Duration::from_millis(50);

/// Opens a recording.
pub(super) fn open(path: &Path) -> anyhow::Result<Input> {
    let failed = || format!("--replay: cannot open {}", path.display());
    let input = Input::open(path).with_context(failed)?;
    Ok(input)
}

/// Decodes and draws a recording until the user ends it.
pub(super) fn view(
    args: &Args,
    path: &Path,
    redactor: Redactor,
    look: Look,
    control: UnixStream,
) -> anyhow::Result<ExitCode> {
    let rules = args.watch.rules.read()?;
    let file = open(path)?.into_file()?;
    let length = file.metadata()?.len();
    confine::decoder(args.watch.verbose)?;
    let knowledge = rules.parse()?;
    let read = Arc::new(AtomicU64::new(0));
    let counted = Counted { file, read: Arc::clone(&read) };
    let reader = trace::Reader::new(BufReader::new(counted))
        .with_context(|| format!("--replay: cannot read {}", path.display()))?;
    let shared = Shared::new(Model::new(redactor));
    let watcher = Watcher::new(&knowledge, shared.clone());
    let mut ends = draw::start(shared.clone(), look, control).context("cannot draw")?;
    let player = Player {
        watcher,
        shared,
        speed: args.speed,
        position: Position { read, length: length.max(1) },
        updated: None,
    };
    let (sender, mut ended) = oneshot::channel();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    thread::Builder::new().name("tracer-decode".into()).spawn(move || {
        let _ = sender.send(player.play(reader, &stopped));
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut played = None;
        let end = loop {
            tokio::select! {
                end = ends.recv() => break end.unwrap_or(End::Wanted),
                // The end of the recording stays on the screen.
                watcher = &mut ended, if played.is_none() => {
                    played = Some(watcher.context("the decoder has failed")?);
                }
            }
        };
        drop(stop);
        let (watcher, damage) = match played {
            Some(played) => played,
            None => ended.await.context("the decoder has failed")?,
        };
        print_summary(&watcher.pipeline);
        if let Some(damage) = damage {
            return Err(damage).with_context(|| path.display().to_string());
        }
        anyhow::ensure!(end == End::Wanted, "cannot draw on the terminal any more");
        Ok(ExitCode::SUCCESS)
    })
}

/// Plays a recording.
struct Player {
    watcher: Watcher,
    shared: Shared,
    speed: f64,
    position: Position,
    updated: Option<Instant>,
}

/// The position in a recording.
struct Position {
    read: Arc<AtomicU64>,
    length: u64,
}

impl Position {
    fn percent(&self) -> u8 {
        let read = self.read.load(Ordering::Relaxed).min(self.length);
        u8::try_from(read.saturating_mul(100) / self.length).unwrap_or(100)
    }
}

type Stopped = std::sync::mpsc::Receiver<()>;

impl Player {
    /// Plays until the end, or until `stopped` is closed.
    fn play(
        mut self,
        mut reader: trace::Reader<impl Read>,
        stopped: &Stopped,
    ) -> (Watcher, Option<TraceError>) {
        let mut last: Option<BootTime> = None;
        let mut damage = None;
        loop {
            let event = match reader.event() {
                Ok(Some(event)) => event,
                Ok(None) => break,
                // Everything before the damage is valid.
                Err(err) => {
                    damage = Some(err);
                    break;
                }
            };
            if let Event::Sent(record) = &event {
                let pause = last.map_or(Duration::ZERO, |last| record.time.since(last));
                last = last.max(Some(record.time));
                if !self.wait(pause, stopped) {
                    return (self.watcher, damage);
                }
            }
            self.watcher.take(event);
            self.update();
        }
        self.watcher.finish();
        self.shared.model().set_source(Source::Ended);
        (self.watcher, damage)
    }

    /// Waits as long as nothing was sent, and while the recording is held. Returns `false` if the
    /// view has ended.
    fn wait(&mut self, pause: Duration, stopped: &Stopped) -> bool {
        let pause = match self.speed {
            0.0 => Duration::ZERO,
            speed => Duration::try_from_secs_f64(pause.as_secs_f64() / speed)
                .unwrap_or(MAX_PAUSE)
                .min(MAX_PAUSE),
        };
        let mut until = Instant::now() + pause;
        loop {
            if self.shared.is_paused() {
                until = until.max(Instant::now() + STEP);
            }
            let rest = until.saturating_duration_since(Instant::now());
            use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
            let is_stopped = match rest.is_zero() {
                true => stopped.try_recv() == Err(TryRecvError::Disconnected),
                false => {
                    stopped.recv_timeout(rest.min(STEP)) == Err(RecvTimeoutError::Disconnected)
                }
            };
            if is_stopped {
                return false;
            }
            if rest.is_zero() {
                return true;
            }
            self.update();
        }
    }

    fn update(&mut self) {
        let (percent, paused) = (self.position.percent(), self.shared.is_paused());
        self.shared.model().set_source(Source::Replaying { percent, paused });
        if self.updated.is_none_or(|updated| updated.elapsed() >= UPDATE) {
            self.watcher.update(0);
            self.updated = Some(Instant::now());
        }
    }
}

/// A file that counts the bytes that were read from it.
struct Counted {
    file: File,
    read: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.file.read(buffer)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}
