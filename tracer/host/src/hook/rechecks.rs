//! The schedule by which the maps of a process are read again.
//!
//! The notification of a mapping is sent when the system call begins, so the first read can
//! be too early, and on a busy machine the second one as well. Each delay therefore starts
//! when the previous read has happened: reads that are late cannot all come too early.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

/// Delays after which the maps of a process are read again, each since the previous read.
/// The first ones are short because the process may write soon. The last one covers a
/// system call that is delayed by an overloaded machine.
const DELAYS: [Duration; 5] = [
    Duration::from_millis(1),
    Duration::from_millis(10),
    Duration::from_millis(100),
    Duration::from_secs(1),
    Duration::from_secs(10),
];

/// The next read of a process's maps.
struct Recheck {
    /// Time of the oldest notification that led to it.
    since: Instant,
    at: Instant,
    /// Index in [`DELAYS`].
    step: usize,
}

/// The processes whose maps will be read again. There is at most one entry a process.
#[derive(Default)]
pub(super) struct Rechecks {
    entries: HashMap<u32, Recheck>,
    order: BTreeSet<(Instant, u32)>,
}

impl Rechecks {
    /// Starts the schedule of a process whose maps were read at `now`, after a notification
    /// at `since`. A schedule that is already running starts again.
    pub(super) fn start(&mut self, tgid: u32, since: Instant, now: Instant) {
        if let Some(running) = self.entries.remove(&tgid) {
            self.order.remove(&(running.at, tgid));
        }
        self.insert(tgid, Recheck { since, at: now + DELAYS[0], step: 0 });
    }

    /// Returns the time of the next read.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|&(at, _)| at)
    }

    /// Takes a process whose maps are due to be read at `now`, with the time of its
    /// notification, and schedules the read after this one.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(u32, Instant)> {
        let &(at, tgid) = self.order.first()?;
        if at > now {
            return None;
        }
        self.order.pop_first();
        let Recheck { since, step, .. } = self.entries.remove(&tgid)?;
        if let Some(&delay) = DELAYS.get(step + 1) {
            self.insert(tgid, Recheck { since, at: now + delay, step: step + 1 });
        }
        Some((tgid, since))
    }

    fn insert(&mut self, tgid: u32, recheck: Recheck) {
        self.order.insert((recheck.at, tgid));
        self.entries.insert(tgid, recheck);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_read_delays_the_reads_after_it() {
        let start = Instant::now();
        let mut rechecks = Rechecks::default();
        rechecks.start(7, start, start);
        let mut now = start + Duration::from_secs(60);
        for delay in &DELAYS[1..] {
            assert_eq!(rechecks.take_due(now), Some((7, start)));
            assert_eq!(rechecks.take_due(now), None);
            assert_eq!(rechecks.next(), Some(now + *delay));
            now += *delay;
        }
        assert_eq!(rechecks.take_due(now), Some((7, start)));
        assert_eq!(rechecks.next(), None);
    }

    #[test]
    fn a_notification_restarts_the_schedule_of_its_process() {
        let start = Instant::now();
        let mut rechecks = Rechecks::default();
        rechecks.start(7, start, start);
        rechecks.start(8, start, start);
        let later = start + DELAYS[0];
        assert!(rechecks.take_due(later).is_some());
        assert!(rechecks.take_due(later).is_some());
        rechecks.start(8, later, later);
        assert_eq!(rechecks.next(), Some(later + DELAYS[0]));
        assert_eq!(rechecks.take_due(later + DELAYS[0]), Some((8, later)));
        assert_eq!(rechecks.take_due(later + DELAYS[1]), Some((7, start)));
    }
}
