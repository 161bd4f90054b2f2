//! Repetitions: an alert is given once, and counted after that. The counts are
//! given as well, so that nobody takes silence for an end.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher as _},
    time::Duration,
};

use crate::record::BootTime;

/// Alerts that are remembered. When there are more, all are forgotten and the
/// next repetition is an alert of its own: rather twice than not at all.
const MAX_ALERTS: usize = 16384;

/// How often a repetition is said.
const PERIOD: Duration = Duration::from_secs(10);

/// The alerts that were given.
#[derive(Debug, Default)]
pub(crate) struct Repeats {
    alerts: HashMap<u64, Alert>,
    last: u64,
    said: BootTime,
}

#[derive(Debug)]
struct Alert {
    number: u64,
    unsaid: u64,
    total: u64,
    time: BootTime,
}

/// A count to be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) alert: u64,
    pub(crate) count: u64,
    pub(crate) total: u64,
    pub(crate) time: BootTime,
}

/// Whether an alert is news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    /// The first of its kind, with its number.
    New(u64),
    /// The same as the one with this number.
    Again(u64),
}

impl Repeats {
    /// Whether an alert, told apart from others by `key`, is news.
    pub(crate) fn observe(&mut self, key: impl Hash, time: BootTime) -> News {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        if self.alerts.len() == MAX_ALERTS {
            self.alerts.clear();
        }
        match self.alerts.entry(hasher.finish()) {
            std::collections::hash_map::Entry::Occupied(known) => {
                let known = known.into_mut();
                known.unsaid += 1;
                known.total += 1;
                known.time = known.time.max(time);
                News::Again(known.number)
            }
            std::collections::hash_map::Entry::Vacant(new) => {
                self.last += 1;
                new.insert(Alert { number: self.last, unsaid: 0, total: 1, time });
                News::New(self.last)
            }
        }
    }

    /// The counts that are due.
    pub(crate) fn due(&mut self, now: BootTime) -> Vec<Count> {
        if now.since(self.said) < PERIOD {
            return Vec::new();
        }
        self.said = now;
        self.all()
    }

    /// All counts that were not said.
    pub(crate) fn all(&mut self) -> Vec<Count> {
        let unsaid = self.alerts.values_mut().filter(|alert| alert.unsaid > 0);
        let mut counts: Vec<Count> = unsaid
            .map(|alert| Count {
                alert: alert.number,
                count: std::mem::take(&mut alert.unsaid),
                total: alert.total,
                time: alert.time,
            })
            .collect();
        counts.sort_unstable_by_key(|count| count.alert);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_given_once_and_then_counted() {
        let mut repeats = Repeats::default();
        let at = |seconds: u64| BootTime(seconds * 1_000_000_000);
        assert_eq!(repeats.observe("a", at(1)), News::New(1));
        assert_eq!(repeats.observe("b", at(1)), News::New(2));
        assert_eq!(repeats.observe("a", at(2)), News::Again(1));
        assert_eq!(repeats.observe("a", at(3)), News::Again(1));
        let count = Count { alert: 1, count: 2, total: 3, time: at(3) };
        assert_eq!(repeats.due(at(11)), [count]);
        assert_eq!(repeats.observe("a", at(12)), News::Again(1));
        assert_eq!(repeats.due(at(13)), []);
        assert_eq!(repeats.all(), [Count { count: 1, total: 4, time: at(12), ..count }]);
        assert_eq!(repeats.all(), []);
    }

    #[test]
    fn forgetting_gives_alerts_again() {
        let mut repeats = Repeats::default();
        for n in 0..=MAX_ALERTS {
            assert!(matches!(repeats.observe(n, BootTime(0)), News::New(_)));
        }
        assert!(matches!(repeats.observe(0, BootTime(0)), News::New(_)));
    }
}
