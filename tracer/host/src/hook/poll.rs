//! The thread that polls the ring buffer.
//!
//! Records never wake anybody: a wake-up costs the sender eleven microseconds,
//! a poll that finds nothing costs the daemon one. The pause between polls
//! grows while nothing comes and is short while something does. Only a mapped
//! library wakes the thread, as it has to be probed before it is used.

use std::{
    collections::HashSet,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tokio::sync::mpsc;

use super::{Follower, HookError, Reader, reader::Entry};
use tracer_core::record::{BootTime, Clock, Event, Losses};

/// The pause while records come.
const BUSY: Duration = Duration::from_millis(1);
/// The longest pause. 16 MiB of ring hold what is sent in it many times over.
const IDLE: Duration = Duration::from_millis(20);
/// How often the counters are read.
const COUNT: Duration = Duration::from_secs(1);
/// Events handed over at once.
const BATCH: usize = 256;
/// Batches that may wait for the decoder. With heads of 16 KiB at most 256 MiB,
/// and a few hundred KiB in practice; behind that the ring fills, and what it
/// cannot hold is counted.
const WAITING: usize = 64;

/// Events from the kernel, in batches.
pub struct Events {
    batches: mpsc::Receiver<Vec<Event>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), HookError>>>,
}

impl Events {
    /// Begins to poll; `follower` is told of processes that map libraries.
    pub fn start(reader: Reader, follower: Option<&Follower>) -> io::Result<Self> {
        let mapped = follower.map(Follower::processes);
        let (sender, batches) = mpsc::channel(WAITING);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::Builder::new()
            .name("tracer-ring".into())
            .spawn(move || Poller::new(reader, sender, mapped).run(&stopped))?;
        Ok(Self { batches, stop, thread: Some(thread) })
    }

    /// The next events; `None` when the thread has ended and all were taken.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        self.batches.recv().await
    }

    /// Has the thread take what is left in the ring, and end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Why the thread ended, once [`Events::next`] gave `None`.
    pub fn join(mut self) -> Result<(), HookError> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

struct Poller {
    reader: Reader,
    batches: mpsc::Sender<Vec<Event>>,
    mapped: Option<std::sync::mpsc::Sender<u32>>,
    losses: Losses,
    counted: Instant,
    /// Processes whose executable was told, by id and thread name: one that
    /// executes something else changes its name.
    told: HashSet<(u32, String)>,
}

/// Processes remembered in [`Poller::told`].
const MAX_TOLD: usize = 4096;

impl Poller {
    fn new(
        reader: Reader,
        batches: mpsc::Sender<Vec<Event>>,
        mapped: Option<std::sync::mpsc::Sender<u32>>,
    ) -> Self {
        Self {
            reader,
            batches,
            mapped,
            losses: Losses::default(),
            counted: Instant::now(),
            told: HashSet::new(),
        }
    }

    fn run(mut self, stop: &AtomicBool) -> Result<(), HookError> {
        let mut pause = BUSY;
        if self.send(clock().map(Event::Clock).into_iter().collect()).is_err() {
            return Ok(());
        }
        loop {
            // Read before the ring: what was sent before the stop is in it.
            let stopping = stop.load(Ordering::Relaxed);
            let batch = self.batch();
            let more = batch.len() >= BATCH;
            pause = if batch.is_empty() { (pause * 2).min(IDLE) } else { BUSY };
            if !batch.is_empty() && self.send(batch).is_err() {
                return Ok(());
            }
            if more {
                continue;
            }
            if stopping || self.counted.elapsed() >= COUNT {
                self.counted = Instant::now();
                let losses = self.reader.losses()?;
                if (stopping || losses != self.losses)
                    && self.send(vec![Event::Lost(losses)]).is_err()
                {
                    return Ok(());
                }
                self.losses = losses;
            }
            if stopping {
                return Ok(());
            }
            if pause > BUSY {
                self.reader.wait(pause);
            } else {
                // With records in the ring, waiting would be no pause.
                thread::sleep(pause);
            }
        }
    }

    /// What is in the ring, up to [`BATCH`].
    fn batch(&mut self) -> Vec<Event> {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let Some(record) = self.reader.entry() else {
                break;
            };
            match record {
                Ok(Entry::Mapped { tgid }) => {
                    if let Some(mapped) = &self.mapped {
                        // The follower ends last.
                        let _ = mapped.send(tgid);
                    }
                }
                Ok(Entry::Sent(record)) => {
                    let key = (record.process.tgid, record.process.comm.clone());
                    if !self.told.contains(&key) {
                        batch.extend(program(key.0));
                        if self.told.len() >= MAX_TOLD {
                            self.told.clear();
                        }
                        self.told.insert(key);
                    }
                    batch.push(Event::Sent(record));
                }
                // Both sides are built together: only a defect can do this.
                Err(malformed) => {
                    log::error!("a record from the kernel cannot be read: {malformed}")
                }
            }
        }
        batch
    }

    /// An error: nobody listens any more.
    fn send(&self, batch: Vec<Event>) -> Result<(), ()> {
        self.batches.blocking_send(batch).map_err(drop)
    }
}

/// What a process runs and how it was started, if it still runs.
fn program(tgid: u32) -> impl Iterator<Item = Event> {
    let exe = executable(tgid);
    let arguments = exe.as_deref().map(|exe| arguments(tgid, exe));
    let path = exe.map(|exe| exe.to_string_lossy().into_owned());
    let executable = path.map(|path| Event::Executable { tgid, path });
    executable.into_iter().chain(arguments.map(|arguments| Event::Arguments { tgid, arguments }))
}

fn executable(tgid: u32) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{tgid}/exe")).ok()
}

/// The most that is read of a command line: options stand at its beginning.
const MAX_ARGUMENTS: u64 = 16 << 10;

/// How far up a browser's own processes are looked at: main process, zygote,
/// network process.
const MAX_ANCESTORS: usize = 4;

/// The arguments of a process, and of those above it that run the same program:
/// a browser's network process is started by its main process, and only that
/// one has the options that the user gave.
fn arguments(tgid: u32, exe: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut process = tgid;
    for _ in 0..MAX_ANCESTORS {
        let mut line = Vec::new();
        if let Ok(file) = File::open(format!("/proc/{process}/cmdline")) {
            let _ = file.take(MAX_ARGUMENTS).read_to_end(&mut line);
        }
        let line = line.strip_suffix(b"\0").unwrap_or(&line);
        // Chromium writes its command line anew, with spaces between.
        let separator = if line.contains(&0) { 0 } else { b' ' };
        let arguments = line.split(|&b| b == separator);
        all.extend(arguments.map(|one| String::from_utf8_lossy(one).into_owned()));
        match parent(process) {
            Some(above) if executable(above).as_deref() == Some(exe) => process = above,
            _ => break,
        }
    }
    all
}

/// The fourth field of `/proc/PID/stat` (proc(5)); the second, the name, stands
/// in parentheses and can hold anything.
fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// Reads both clocks. The kernel tells the time since boot in hundredths of a
/// second here, which is enough to date an alert; the order of records comes
/// from their own nanoseconds.
fn clock() -> Option<Clock> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = uptime.split(' ').next()?.parse().ok()?;
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(Clock {
        boot: BootTime((seconds * 1e9) as u64),
        unix: u64::try_from(unix.as_nanos()).ok()?,
    })
}

/// The time since boot, as records have it.
pub fn now() -> Option<BootTime> {
    clock().map(|clock| clock.boot)
}
