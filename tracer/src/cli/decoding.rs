//! The thread of a run that decodes, judges and delivers, or shows.
//!
//! ```text
//! ring ─▶ Events ─▶ main loop ─▶ Schedule ─▶ thread: Session ─▶ store, queues of the outputs
//!                       │
//!                       └─▶ recording
//! ```
//!
//! The main loop never decodes, so it answers signals at once, and the ring is drained however
//! long a request takes.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::status::Backlog;
use tracer_core::{
    knowledge::Knowledge,
    record::{BootTime, Event},
    schedule::{Lane, Schedule, Sender},
};
use tracer_host::hook;

/// Interval of the periodic work.
const TICK: Duration = Duration::from_secs(1);

/// The work of the thread.
pub(super) trait Work: Send + 'static {
    /// Decodes an event.
    fn take(&mut self, event: Event);
    /// Does the periodic work. Called every second.
    fn tick(&mut self, now: BootTime, backlog: &Backlog);
    /// Replaces the rules.
    fn reload(&mut self, knowledge: &Knowledge);
    /// Reports whether nothing that it delivers reaches anyone.
    fn is_useless(&self) -> bool;
    /// Delivers everything after the last event.
    fn finish(&mut self);
}

/// Passes events to the thread.
#[derive(Clone)]
pub(super) struct Decoding {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    schedule: Schedule,
    reload: Option<Box<Knowledge>>,
    /// Set if no further events come.
    closed: bool,
    /// Set if nothing can be delivered any more.
    is_useless: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // No operation under the lock leaves an inconsistent state if it panics.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The delay of decoding, and the application that it concerns.
pub(super) struct Delay {
    pub(super) time: Duration,
    pub(super) sender: Sender,
    pub(super) sends: u64,
}

impl Decoding {
    /// Starts the thread, which returns the work when it ends.
    pub(super) fn start<W: Work>(work: W) -> io::Result<(Self, oneshot::Receiver<W>)> {
        let shared = Arc::<Shared>::default();
        let (sender, ended) = oneshot::channel();
        let worker = Worker { work, shared: Arc::clone(&shared), ticked: Instant::now() };
        thread::Builder::new().name("tracer-decode".into()).spawn(move || {
            // The receiver is gone if the end was forced.
            let _ = sender.send(worker.run());
        })?;
        Ok((Self { shared }, ended))
    }

    /// Adds events. Never waits for the thread.
    pub(super) fn push(&self, events: impl IntoIterator<Item = Event>) {
        let mut state = self.shared.state();
        events.into_iter().for_each(|event| state.schedule.push(event));
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Replaces the rules for what is decoded from now on.
    pub(super) fn reload(&self, knowledge: Knowledge) {
        self.shared.state().reload = Some(Box::new(knowledge));
        self.shared.changed.notify_one();
    }

    /// Makes the thread end when it has decoded everything.
    pub(super) fn close(&self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_one();
    }

    /// Makes the thread end after the event that it decodes. The others are counted.
    pub(super) fn abandon(&self) {
        let mut state = self.shared.state();
        state.schedule.abandon();
        state.closed = true;
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Returns the delay of what has waited longest.
    pub(super) fn delay(&self) -> Option<Delay> {
        let state = self.shared.state();
        let (time, sender) = state.schedule.oldest()?;
        let time = hook::boot_time().since(time);
        Some(Delay { time, sender: sender.clone(), sends: state.schedule.sends() })
    }

    /// Reports whether nothing that the session delivers reaches anyone.
    pub(super) fn is_useless(&self) -> bool {
        self.shared.state().is_useless
    }
}

struct Worker<W> {
    work: W,
    shared: Arc<Shared>,
    ticked: Instant,
}

/// The next step of the thread.
enum Step {
    Event(Event),
    Reload(Box<Knowledge>),
    Tick(BootTime, Backlog),
    End,
}

impl<W: Work> Worker<W> {
    fn run(mut self) -> W {
        let mut cost = None;
        loop {
            let (lane, step) = self.next(cost.take());
            match step {
                Step::Event(event) => {
                    let started = Instant::now();
                    self.work.take(event);
                    cost = lane.map(|lane| (lane, started.elapsed()));
                }
                Step::Reload(knowledge) => self.work.reload(&knowledge),
                Step::Tick(now, backlog) => {
                    self.work.tick(now, &backlog);
                    self.ticked = Instant::now();
                    self.shared.state().is_useless = self.work.is_useless();
                }
                Step::End => {
                    self.work.finish();
                    return self.work;
                }
            }
        }
    }

    /// Charges the last step, and waits for the next one.
    fn next(&self, cost: Option<(Lane, Duration)>) -> (Option<Lane>, Step) {
        let mut state = self.shared.state();
        if let Some((lane, time)) = cost {
            state.schedule.charge(lane, time);
        }
        loop {
            if let Some(knowledge) = state.reload.take() {
                return (None, Step::Reload(knowledge));
            }
            let due = TICK.saturating_sub(self.ticked.elapsed());
            if due.is_zero() {
                // What waits was sent earlier, and must not be taken for missing.
                let oldest = state.schedule.oldest().map(|(time, _)| time);
                let now = hook::boot_time();
                let age = oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
                let backlog = Backlog { sends: state.schedule.sends(), age };
                let reached = oldest.map_or(now, |oldest| oldest.min(now));
                return (None, Step::Tick(reached, backlog));
            }
            if let Some((lane, event)) = state.schedule.pop() {
                return (lane, Step::Event(event));
            }
            if state.closed {
                return (None, Step::End);
            }
            let waited = self.shared.changed.wait_timeout(state, due);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}
