//! The writing thread: what the disk takes long for, the capture does not wait
//! for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{Entry, Keep, Store, StoreError, keep, now, repeat, retention::Forgotten, sight};
use tracer_core::{judge::Sighting, pipeline::Output};

/// How long something waits for company before it is committed: a fourth of
/// the second that a kill may cost.
pub(super) const BATCH: Duration = Duration::from_millis(250);

/// The most items of a batch.
const MAX_BATCH: usize = 1024;

/// The most items that wait. Alerts are told apart before they come here, so
/// that a thousand at once is a flood.
const MAX_WAITING: usize = 1024;

/// The most bytes that wait.
const MAX_WAITING_BYTES: usize = 32 << 20;

/// How often the store is looked through for what is too old or too much.
const RETENTION: Duration = Duration::from_secs(60);

/// Writes what a run has to keep.
#[derive(Debug)]
pub struct Writer {
    /// `None` once it was closed.
    queue: Option<SyncSender<Item>>,
    news: Receiver<News>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Something that the user should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Alerts went, to keep within the age or the size.
    Forgotten {
        /// How many, because they were too old.
        old: u64,
        /// How many, because there were too many.
        surplus: u64,
        /// How many identifiers, because of either.
        identifiers: u64,
    },
    /// Something could not be written: why.
    Failed(String),
}

#[derive(Debug, Default)]
struct Shared {
    waiting_bytes: AtomicUsize,
    lost: AtomicU64,
}

#[derive(Debug)]
enum Item {
    Alert(Box<Entry>),
    Repeated { alert: u64, total: u64, last: u64 },
    Sighting(Box<Sighting>),
}

impl Item {
    fn size(&self) -> usize {
        let held = match self {
            Self::Alert(entry) => entry.size(),
            Self::Repeated { .. } => 0,
            Self::Sighting(known) => {
                let lists = [&known.applications, &known.recipients];
                known.value.len() + lists.into_iter().flatten().map(String::len).sum::<usize>()
            }
        };
        held + size_of::<Self>()
    }
}

impl Writer {
    /// Begins a run in a store.
    ///
    /// # Errors
    /// When the store cannot be written to, or no thread be had.
    pub fn start(mut store: Store, keep: Keep) -> Result<Self, StoreError> {
        let run = store.begin_run(now())?;
        let (queue, items) = sync_channel(MAX_WAITING);
        let (tell, news) = channel();
        let shared = Arc::new(Shared::default());
        let shared_too = Arc::clone(&shared);
        let thread = Thread { store, run, keep, items, tell, shared: shared_too, failure: None };
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || thread.run())
            .map_err(StoreError::Thread)?;
        Ok(Self { queue: Some(queue), news, shared, thread: Some(thread) })
    }

    /// Keeps an alert, or that it came again. Never waits.
    pub fn output(&self, output: &Output) {
        match output {
            Output::Request(decoded) if decoded.is_alert() => {
                self.send(Item::Alert(Box::new(Entry::of(decoded, now()))));
            }
            Output::Repeated { alert, total, unix, .. } => {
                let last = unix.unwrap_or_else(now);
                self.send(Item::Repeated { alert: *alert, total: *total, last });
            }
            Output::Request(_) | Output::Lost { .. } => {}
        }
    }

    /// Keeps what is known of identifiers. Never waits.
    pub fn sightings(&self, sightings: Vec<Sighting>) {
        for sighting in sightings {
            self.send(Item::Sighting(Box::new(sighting)));
        }
    }

    /// What the user should know, since it was last asked for.
    pub fn news(&self) -> impl Iterator<Item = News> {
        self.news.try_iter()
    }

    /// How many alerts, repetitions and identifiers could not be kept so far.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Commits everything. [`Writer::news`] and [`Writer::lost`] then have the
    /// last word.
    pub fn finish(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread's has been printed.
            let _ = thread.join();
        }
    }

    fn send(&self, item: Item) {
        let size = item.size();
        let waiting = self.shared.waiting_bytes.fetch_add(size, Ordering::Relaxed);
        let has_room = waiting.saturating_add(size) <= MAX_WAITING_BYTES;
        let queue = self.queue.as_ref().filter(|_| has_room);
        if queue.is_none_or(|queue| queue.try_send(item).is_err()) {
            self.shared.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
            self.shared.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.finish();
    }
}

struct Thread {
    store: Store,
    run: i64,
    keep: Keep,
    items: Receiver<Item>,
    tell: Sender<News>,
    shared: Arc<Shared>,
    /// Why the last attempt to write failed, if it did: a full disk is said once.
    failure: Option<String>,
}

impl Thread {
    fn run(mut self) {
        let mut retention = Instant::now();
        loop {
            if Instant::now() >= retention {
                self.forget();
                retention = Instant::now() + RETENTION;
            }
            let patience = retention.saturating_duration_since(Instant::now());
            match self.items.recv_timeout(patience) {
                Ok(first) => self.batch(first),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let lost = self.shared.lost.load(Ordering::Relaxed);
        if let Err(err) = self.store.end_run(self.run, now(), lost) {
            self.failed(&err);
        }
    }

    /// Commits an item, with those that come soon after.
    fn batch(&mut self, first: Item) {
        let deadline = Instant::now() + BATCH;
        let mut batch = vec![first];
        while batch.len() < MAX_BATCH {
            let patience = deadline.saturating_duration_since(Instant::now());
            match self.items.recv_timeout(patience) {
                Ok(item) => batch.push(item),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        match self.write(&batch) {
            Ok(()) => self.failure = None,
            Err(err) => {
                self.shared.lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
                self.failed(&err);
            }
        }
        let size = batch.iter().map(Item::size).sum();
        self.shared.waiting_bytes.fetch_sub(size, Ordering::Relaxed);
    }

    fn write(&mut self, batch: &[Item]) -> rusqlite::Result<()> {
        let run = self.run;
        let tx = self.store.begin()?;
        for item in batch {
            match item {
                Item::Alert(entry) => keep(&tx, run, entry)?,
                Item::Repeated { alert, total, last } => repeat(&tx, run, *alert, *total, *last)?,
                Item::Sighting(sighting) => sight(&tx, sighting)?,
            }
        }
        tx.commit()
    }

    fn forget(&mut self) {
        match self.store.forget(&self.keep, now()) {
            Ok(Forgotten { old: 0, surplus: 0, identifiers: 0 }) => {}
            Ok(Forgotten { old, surplus, identifiers }) => {
                // Nobody may be listening any more.
                let _ = self.tell.send(News::Forgotten { old, surplus, identifiers });
            }
            Err(err) => self.failed(&err),
        }
    }

    fn failed(&mut self, err: &rusqlite::Error) {
        let why = Some(err.to_string());
        if why != self.failure {
            let _ = self.tell.send(News::Failed(err.to_string()));
            self.failure = why;
        }
    }
}
