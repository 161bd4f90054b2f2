//! Deduplication of alerts: an alert is raised once, and its repetitions are
//! counted. The counts are reported from time to time, so that silence is not
//! mistaken for the end of the reports.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash, Hasher as _},
    time::Duration,
};

use super::AlertStatus;
use crate::record::BootTime;

/// Alerts that are remembered. If there are more, all are forgotten and their
/// next repetitions are new alerts: a duplicate is better than silence.
const MAX_ALERTS: usize = 16384;

/// Time between two reports of repetitions.
const PERIOD: Duration = Duration::from_secs(10);

/// The alerts that were raised.
#[derive(Debug, Default)]
pub(super) struct Deduplicator {
    /// By the hash of their key.
    alerts: HashMap<u64, Alert>,
    /// Number of the last new alert.
    last: u64,
    reported: BootTime,
}

#[derive(Debug)]
struct Alert {
    number: u64,
    unreported: u64,
    total: u64,
    /// Time of the last repetition.
    time: BootTime,
}

/// Repetitions of one alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repetitions {
    /// Number of the alert.
    pub alert: u64,
    /// Number of repetitions since the last report.
    pub count: u64,
    /// Number of occurrences, the first one included.
    pub total: u64,
    /// Time of the last occurrence.
    pub time: BootTime,
}

impl Deduplicator {
    /// Numbers an alert, or counts it as the repetition of one with an equal key.
    pub(super) fn observe(&mut self, key: impl Hash, time: BootTime) -> AlertStatus {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        if self.alerts.len() == MAX_ALERTS {
            self.alerts.clear();
        }
        match self.alerts.entry(hasher.finish()) {
            Entry::Occupied(known) => {
                let known = known.into_mut();
                known.unreported += 1;
                known.total += 1;
                known.time = known.time.max(time);
                AlertStatus::Repetition(known.number)
            }
            Entry::Vacant(new) => {
                self.last += 1;
                new.insert(Alert { number: self.last, unreported: 0, total: 1, time });
                AlertStatus::New(self.last)
            }
        }
    }

    /// Returns the repetitions to be reported, if a report is due.
    pub(super) fn due(&mut self, now: BootTime) -> Vec<Repetitions> {
        if now.since(self.reported) < PERIOD {
            return Vec::new();
        }
        self.reported = now;
        self.take()
    }

    /// Returns all repetitions that were not reported yet.
    pub(super) fn take(&mut self) -> Vec<Repetitions> {
        let unreported = self.alerts.values_mut().filter(|alert| alert.unreported > 0);
        let mut repetitions: Vec<Repetitions> = unreported
            .map(|alert| Repetitions {
                alert: alert.number,
                count: std::mem::take(&mut alert.unreported),
                total: alert.total,
                time: alert.time,
            })
            .collect();
        repetitions.sort_unstable_by_key(|repetitions| repetitions.alert);
        repetitions
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_raised_once_and_then_counted() {
        let mut alerts = Deduplicator::default();
        let at = |seconds: u64| BootTime(seconds * 1_000_000_000);
        assert_eq!(alerts.observe("a", at(1)), AlertStatus::New(1));
        assert_eq!(alerts.observe("b", at(1)), AlertStatus::New(2));
        assert_eq!(alerts.observe("a", at(2)), AlertStatus::Repetition(1));
        assert_eq!(alerts.observe("a", at(3)), AlertStatus::Repetition(1));
        let first = Repetitions { alert: 1, count: 2, total: 3, time: at(3) };
        assert_eq!(alerts.due(at(11)), [first]);
        assert_eq!(alerts.observe("a", at(12)), AlertStatus::Repetition(1));
        assert_eq!(alerts.due(at(13)), []);
        assert_eq!(alerts.take(), [Repetitions { count: 1, total: 4, time: at(12), ..first }]);
        assert_eq!(alerts.take(), []);
    }

    #[test]
    fn forgotten_alerts_are_raised_again() {
        let mut alerts = Deduplicator::default();
        for n in 0..=MAX_ALERTS {
            assert!(matches!(alerts.observe(n, BootTime(0)), AlertStatus::New(_)));
        }
        assert!(matches!(alerts.observe(0, BootTime(0)), AlertStatus::New(_)));
    }
}
