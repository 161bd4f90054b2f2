//! The thread that writes to the store, so that the capture does not wait for the disk.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    Entry, Removed, Retention, Store, StoreError, insert_alert, now, retention::SteadyClock,
    update_count, upsert_identifier,
};
use tracer_core::{
    alert::{Alert, Notice},
    judge::Sighting,
};

/// Maximum time for which an entry waits for others to be committed with: a quarter of the second
/// that a kill may lose.
pub(super) const BATCH: Duration = Duration::from_millis(250);

/// Maximum number of items in a batch.
const MAX_BATCH: usize = 1024;

/// Maximum number of queued items. Alerts are deduplicated before they are queued, so a thousand at
/// once is a flood.
const MAX_WAITING: usize = 1024;

/// Maximum number of queued bytes.
const MAX_WAITING_BYTES: usize = 32 << 20;

/// Interval at which the limits of age and size are enforced.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// Queues the entries of a run for the writing thread.
#[derive(Debug)]
pub struct Writer {
    /// `None` once it is closed.
    queue: Option<SyncSender<Item>>,
    events: Receiver<StoreEvent>,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// An event to report to the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEvent {
    /// Rows were removed to stay within the limits.
    Removed {
        /// Number of alerts that were too old.
        old: u64,
        /// Number of alerts removed because of the store's size.
        surplus: u64,
        /// Number of identifiers, for either reason.
        identifiers: u64,
    },
    /// A write failed, with the reason.
    Failed(String),
    /// The file is damaged, with the place.
    Damaged(String),
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
    /// If the store cannot be written to or the thread cannot be started.
    pub fn start(mut store: Store, limits: Retention) -> Result<Self, StoreError> {
        let run = store.begin_run(now())?;
        let (queue, items) = sync_channel(MAX_WAITING);
        let (sender, events) = channel();
        let shared = Arc::new(Shared::default());
        let thread = Thread {
            store,
            run,
            limits,
            clock: SteadyClock::new(Instant::now(), now()),
            items,
            events: sender,
            shared: Arc::clone(&shared),
            failure: None,
        };
        let thread = thread::Builder::new()
            .name("store".into())
            .spawn(move || thread.run())
            .map_err(StoreError::Thread)?;
        Ok(Self { queue: Some(queue), events, shared, thread: Some(thread) })
    }

    /// Queues an alert or a repetition. Never blocks.
    pub fn notice(&self, notice: &Notice) {
        match notice {
            Notice::Alert { alert, request } => {
                let entry = Entry::new(Alert::clone(alert), request, now());
                self.send(Item::Alert(Box::new(entry)));
            }
            Notice::Repeated { alert, total, unix, .. } => {
                let last = unix.unwrap_or_else(now);
                self.send(Item::Repeated { alert: *alert, total: *total, last });
            }
            Notice::Lost { .. } => {}
        }
    }

    /// Queues the history of identifiers. Never blocks.
    pub fn sightings(&self, sightings: Vec<Sighting>) {
        for sighting in sightings {
            self.send(Item::Sighting(Box::new(sighting)));
        }
    }

    /// Returns the events since the last call.
    pub fn events(&self) -> impl Iterator<Item = StoreEvent> {
        self.events.try_iter()
    }

    /// Returns the number of alerts, repetitions and identifiers that could not be stored so far.
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    /// Commits everything. Afterwards [`Writer::events`] and [`Writer::lost`] are final.
    pub fn finish(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has already been printed.
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
    limits: Retention,
    clock: SteadyClock,
    items: Receiver<Item>,
    events: Sender<StoreEvent>,
    shared: Arc<Shared>,
    /// Reason for which the last write failed. A full disk is reported once.
    failure: Option<String>,
}

impl Thread {
    fn run(mut self) {
        if let Some(place) = self.store.damage() {
            let _ = self.events.send(StoreEvent::Damaged(place));
        }
        let mut retention = Instant::now();
        loop {
            if Instant::now() >= retention {
                self.enforce_limits();
                retention = Instant::now() + RETENTION_INTERVAL;
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

    /// Commits an item together with those that follow soon.
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
                Item::Alert(entry) => insert_alert(&tx, run, entry)?,
                Item::Repeated { alert, total, last } => {
                    update_count(&tx, run, *alert, *total, *last)?
                }
                Item::Sighting(sighting) => upsert_identifier(&tx, sighting)?,
            }
        }
        tx.commit()
    }

    /// Removes what is too old or too much. A time of day that is set during the run makes nothing old.
    fn enforce_limits(&mut self) {
        match self.store.enforce(&self.limits, self.clock.now(Instant::now())) {
            Ok(Removed { old: 0, surplus: 0, identifiers: 0 }) => {}
            Ok(Removed { old, surplus, identifiers }) => {
                // The receiver may be gone.
                let _ = self.events.send(StoreEvent::Removed { old, surplus, identifiers });
            }
            Err(err) => self.failed(&err),
        }
    }

    fn failed(&mut self, err: &rusqlite::Error) {
        let reason = err.to_string();
        if self.failure.as_ref() != Some(&reason) {
            let _ = self.events.send(StoreEvent::Failed(reason.clone()));
            self.failure = Some(reason);
        }
    }
}
