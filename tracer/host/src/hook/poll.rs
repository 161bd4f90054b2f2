//! The thread that polls the ring buffer.
//!
//! While records arrive, they do not wake it: a wake-up costs the sender eleven microseconds, a
//! poll of an empty ring costs the daemon one. The pause between polls is short then, and grows
//! while there are none. After the longest pause, the thread sleeps until the next record wakes
//! it. A mapped library wakes the thread at any time, because it must be probed before it
//! is used.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::{
    event::{EventfdFlags, eventfd},
    time::{ClockId, Timespec, clock_gettime},
};
use tokio::sync::mpsc;

use super::{Follower, HookError, RingReader, proc, reader::RingEntry};
use crate::extensions;
use tracer_core::record::{BootTime, Clock, Event, Losses, bounded_arguments};
use tracer_ebpf::Counter;

/// Pause between polls while records arrive.
const BUSY: Duration = Duration::from_millis(1);
/// Longest pause between polls, after which the thread sleeps. 16 MiB of ring hold what is sent in
/// it at 2 GB a second.
const IDLE: Duration = Duration::from_millis(8);
/// Interval at which the counters are read.
const COUNT_INTERVAL: Duration = Duration::from_secs(1);
/// The same while nothing is sent.
const IDLE_COUNT_INTERVAL: Duration = Duration::from_secs(10);
/// Maximum time for which the ring is drained after the stop.
const DRAIN: Duration = Duration::from_millis(500);
/// Maximum number of events in a batch.
const BATCH: usize = 256;
/// Maximum number of batches that wait for the decoder: at most 256 MiB with heads of
/// 16 KiB, and a few hundred KiB in practice. Beyond that the ring fills up, and the
/// records it has no room for are counted.
const WAITING: usize = 64;

/// Batches of events from the kernel.
pub struct Events {
    batches: mpsc::Receiver<Vec<Event>>,
    stop: Arc<Stop>,
    matched: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<(), HookError>>>,
}

/// The request to stop, which also wakes the thread.
struct Stop {
    requested: AtomicBool,
    /// Readable once it is requested.
    wakes: OwnedFd,
}

impl Events {
    /// Starts to poll. Processes that map libraries are passed to `follower`, and `profiles` reads
    /// the names of extensions.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn start(
        reader: RingReader,
        follower: Option<&Follower>,
        profiles: Option<extensions::Reader>,
    ) -> io::Result<Self> {
        let mapped = follower.map(Follower::processes);
        let (sender, batches) = mpsc::channel(WAITING);
        let unread = Arc::<AtomicBool>::default();
        let extensions = profiles
            .map(|it| extensions::follow(sender.clone(), it, Arc::clone(&unread)))
            .transpose()?;
        let wakes = eventfd(0, EventfdFlags::CLOEXEC)?;
        let stop = Arc::new(Stop { requested: AtomicBool::new(false), wakes });
        let stopped = Arc::clone(&stop);
        let matched = Arc::new(AtomicBool::new(false));
        let sees = Arc::clone(&matched);
        let thread = thread::Builder::new().name("tracer-ring".into()).spawn(move || {
            Poller::new(reader, sender, mapped, sees, extensions, unread).run(&stopped)
        })?;
        Ok(Self { batches, stop, matched, thread: Some(thread) })
    }

    /// Waits for the next batch; returns `None` when the thread has ended and all
    /// batches were taken.
    pub async fn next(&mut self) -> Option<Vec<Event>> {
        self.batches.recv().await
    }

    /// Reports whether a process in scope executed a program, mapped a library or sent
    /// something.
    pub fn has_matched(&self) -> bool {
        self.matched.load(Ordering::Relaxed)
    }

    /// Makes the thread drain the ring and end.
    pub fn stop(&self) {
        self.stop.requested.store(true, Ordering::Relaxed);
        // It fails only if the counter is full, and then the thread is awake.
        let _ = rustix::io::write(&self.stop.wakes, &1_u64.to_ne_bytes());
    }

    /// Returns the thread's result, once [`Events::next`] has returned `None`.
    pub fn join(mut self) -> Result<(), HookError> {
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(panic)) => std::panic::resume_unwind(panic),
            None => Ok(()),
        }
    }
}

/// Error of sending a batch to a receiver that was dropped.
struct Closed;

struct Poller {
    reader: RingReader,
    batches: mpsc::Sender<Vec<Event>>,
    mapped: Option<std::sync::mpsc::Sender<u32>>,
    /// Set once anything comes from a process in scope.
    matched: Arc<AtomicBool>,
    /// Takes processes whose extensions are searched.
    extensions: Option<std::sync::mpsc::Sender<u32>>,
    /// Set if no names of extensions are read any more.
    unread: Arc<AtomicBool>,
    losses: Losses,
    counted: Instant,
    reported: Reported,
}

/// The processes whose programs were reported.
#[derive(Default)]
struct Reported {
    /// By process.
    processes: HashMap<u32, Known>,
    /// Number of names in all of them.
    names: usize,
}

/// A process whose program was reported.
#[derive(Default)]
struct Known {
    /// The names of its threads at which its program was read: a process that executes
    /// another program changes its name.
    names: HashSet<String>,
    /// Hash of what was reported.
    hash: u64,
}

impl Reported {
    /// Maximum number of names. A process can change its name at each send.
    const MAX_NAMES: usize = 4096;

    /// Returns what is to be reported before a send of a process.
    fn events(&mut self, tgid: u32, name: &str) -> Vec<Event> {
        if self.processes.get(&tgid).is_some_and(|known| known.names.contains(name)) {
            return Vec::new();
        }
        if self.names >= Self::MAX_NAMES {
            // The decoder, which forgets as well, gets to know them again.
            self.processes.clear();
            self.names = 0;
        }
        let known = self.processes.entry(tgid).or_default();
        known.names.insert(name.to_owned());
        self.names += 1;
        let events: Vec<Event> = describe_program(tgid).collect();
        let mut hasher = DefaultHasher::new();
        for event in &events {
            match event {
                Event::Executable { path, .. } => path.hash(&mut hasher),
                Event::Arguments { arguments, .. } => arguments.hash(&mut hasher),
                _ => {}
            }
        }
        let hash = hasher.finish();
        if events.is_empty() || std::mem::replace(&mut known.hash, hash) == hash {
            return Vec::new();
        }
        events
    }
}

impl Poller {
    fn new(
        reader: RingReader,
        batches: mpsc::Sender<Vec<Event>>,
        mapped: Option<std::sync::mpsc::Sender<u32>>,
        matched: Arc<AtomicBool>,
        extensions: Option<std::sync::mpsc::Sender<u32>>,
        unread: Arc<AtomicBool>,
    ) -> Self {
        Self {
            reader,
            batches,
            mapped,
            matched,
            extensions,
            unread,
            losses: Losses::default(),
            counted: Instant::now(),
            reported: Reported::default(),
        }
    }

    fn run(mut self, stop: &Stop) -> Result<(), HookError> {
        match self.poll(stop) {
            Ok(result) => result,
            Err(Closed) => Ok(()),
        }
    }

    fn poll(&mut self, stop: &Stop) -> Result<Result<(), HookError>, Closed> {
        let mut pause = BUSY;
        let mut stopped = None;
        let mut known = clock();
        // Set if something was sent since the counters were read.
        let mut sent = true;
        self.send(vec![Event::Clock(known)])?;
        loop {
            // Read before the ring, which then has all that was sent before the stop.
            let stopping = stop.requested.load(Ordering::Relaxed);
            let batch = self.batch();
            // A process that goes on sending must not keep the run from ending.
            let is_late = stopping && stopped.get_or_insert_with(Instant::now).elapsed() > DRAIN;
            let more = batch.len() >= BATCH && !is_late;
            let now = clock();
            if has_jumped(&known, &now) {
                known = now;
                self.send(vec![Event::Clock(now)])?;
            }
            let is_idle = pause == IDLE && batch.is_empty();
            pause = if batch.is_empty() { (pause * 2).min(IDLE) } else { BUSY };
            if !batch.is_empty() {
                sent = true;
                self.send(batch)?;
            }
            if more {
                continue;
            }
            let interval = if sent { COUNT_INTERVAL } else { IDLE_COUNT_INTERVAL };
            if stopping || self.counted.elapsed() >= interval {
                self.counted = Instant::now();
                sent = false;
                let mut losses = match self.reader.losses() {
                    Ok(losses) => losses,
                    Err(error) => return Ok(Err(error)),
                };
                let unread = self.unread.load(Ordering::Relaxed);
                losses.set(Counter::ProfilesUnread, u64::from(unread));
                if stopping || losses != self.losses {
                    self.send(vec![Event::Lost(losses)])?;
                }
                self.losses = losses;
            }
            if stopping {
                return Ok(Ok(()));
            }
            if is_idle {
                let interval = if sent { COUNT_INTERVAL } else { IDLE_COUNT_INTERVAL };
                self.reader.sleep(interval.saturating_sub(self.counted.elapsed()), &stop.wakes);
            } else if pause > BUSY {
                self.reader.wait(pause, Some(&stop.wakes));
            } else {
                // `wait` would return at once while there are records in the ring.
                thread::sleep(pause);
            }
        }
    }

    /// Takes up to [`BATCH`] events from the ring.
    fn batch(&mut self) -> Vec<Event> {
        let mut batch = Vec::new();
        while batch.len() < BATCH {
            let Some(entry) = self.reader.entry() else {
                break;
            };
            self.matched.store(true, Ordering::Relaxed);
            match entry {
                Ok(RingEntry::Mapped { tgid }) => {
                    if let Some(mapped) = &self.mapped {
                        // The follower ends after this thread.
                        let _ = mapped.send(tgid);
                    }
                }
                Ok(RingEntry::Record(record)) => {
                    let process = &record.process;
                    let events = self.reported.events(process.tgid, &process.comm);
                    if !events.is_empty()
                        && let Some(extensions) = &self.extensions
                    {
                        let _ = extensions.send(process.tgid);
                    }
                    batch.extend(events);
                    batch.push(Event::Sent(record));
                }
                // Both sides are built together, so this is a bug.
                Err(malformed) => log::error!("malformed record from the kernel: {malformed}"),
            }
        }
        batch
    }

    fn send(&self, batch: Vec<Event>) -> Result<(), Closed> {
        self.batches.blocking_send(batch).map_err(|_| Closed)
    }
}

/// Returns the executable and the arguments of a process, if it still runs.
fn describe_program(tgid: u32) -> impl Iterator<Item = Event> {
    let exe = proc::executable(tgid);
    let arguments = exe.as_deref().map(|exe| arguments(tgid, exe));
    let path = exe.map(|exe| exe.to_string_lossy().into_owned());
    let executable = path.map(|path| Event::Executable { tgid, path });
    executable.into_iter().chain(arguments.map(|arguments| Event::Arguments { tgid, arguments }))
}

/// Maximum number of bytes of the arguments of a process and its ancestors: many times what
/// browsers have, and less than an entry of a trace can hold.
const MAX_ARGUMENTS: usize = 64 << 10;

/// Maximum number of processes in a browser whose arguments are read: the network
/// process, the zygote, the main process.
const MAX_ANCESTORS: usize = 4;

/// Returns the arguments of a process and of its ancestors that run the same program:
/// a browser's main process starts its network process, and only the main process has
/// the user's options.
fn arguments(tgid: u32, exe: &Path) -> Vec<String> {
    let mut all = Vec::new();
    let mut process = tgid;
    let mut room = MAX_ARGUMENTS;
    for _ in 0..MAX_ANCESTORS {
        let mut line = proc::cmdline(process);
        line.truncate(room);
        room -= line.len();
        let line = line.strip_suffix(b"\0").unwrap_or(&line);
        // Chromium rewrites its command line, separated by spaces.
        let separator = if line.contains(&0) { 0 } else { b' ' };
        all.extend(bounded_arguments(line.split(|&b| b == separator)));
        match proc::parent(process) {
            Some(parent) if proc::executable(parent).as_deref() == Some(exe) => process = parent,
            _ => break,
        }
    }
    all
}

/// Reads both clocks.
fn clock() -> Clock {
    Clock { boot: boot_time(), unix: nanoseconds(clock_gettime(ClockId::Realtime)) }
}

/// Reports whether the time of day was set between two readings.
fn has_jumped(before: &Clock, now: &Clock) -> bool {
    /// Adjustments by steps this small do not matter.
    const NOTABLE: u64 = 1_000_000_000;
    before.unix(now.boot).abs_diff(now.unix) >= NOTABLE
}

/// Returns the time since boot, on the clock of the records.
pub fn boot_time() -> BootTime {
    BootTime(nanoseconds(clock_gettime(ClockId::Boottime)))
}

fn nanoseconds(time: Timespec) -> u64 {
    let duration = Duration::try_from(time).unwrap_or_default();
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_was_set_has_jumped() {
        const SECOND: u64 = 1_000_000_000;
        let clock = |boot, unix| Clock { boot: BootTime(boot * SECOND), unix: unix * SECOND };
        let before = clock(10, 1000);
        assert!(!has_jumped(&before, &clock(10, 1000)));
        assert!(!has_jumped(&before, &clock(500, 1490)));
        assert!(!has_jumped(&before, &Clock { unix: 1000 * SECOND + 5000, ..before }));
        assert!(has_jumped(&before, &clock(11, 4600)));
        assert!(has_jumped(&before, &clock(11, 900)));
        // A machine without a clock of its own begins at 1970.
        assert!(has_jumped(&clock(1, 0), &clock(20, 1_795_000_000)));
    }
}
