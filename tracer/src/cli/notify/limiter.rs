//! Limits how often a user is notified.

use std::{collections::HashMap, time::Duration};

/// Least time between two notifications.
const PAUSE: Duration = Duration::from_secs(20);

/// Least time between two notifications about the same sender and recipient.
const SAME: Duration = Duration::from_secs(10 * 60);

/// Maximum number of senders and recipients that are remembered.
const MAX_PAIRS: usize = 256;

/// Decides which alerts are shown.
#[derive(Debug, Default)]
pub(super) struct Limiter {
    last: Option<Duration>,
    /// Time of the last notification about each sender and recipient.
    pairs: HashMap<String, Duration>,
    /// Number of alerts that were not shown since the last notification.
    left_out: u64,
}

impl Limiter {
    /// Decides whether an alert at the time `now` is shown. If so, returns the number of alerts
    /// before it that were not.
    pub(super) fn admit(&mut self, pair: &str, now: Duration) -> Option<u64> {
        let is_soon = |last: Duration, least| now.saturating_sub(last) < least;
        let is_same = self.pairs.get(pair).is_some_and(|last| is_soon(*last, SAME));
        if is_same || self.last.is_some_and(|last| is_soon(last, PAUSE)) {
            self.left_out += 1;
            return None;
        }
        if self.pairs.len() >= MAX_PAIRS {
            self.pairs.retain(|_, last| is_soon(*last, SAME));
        }
        if self.pairs.len() < MAX_PAIRS {
            self.pairs.insert(pair.to_owned(), now);
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_shown_seldom_and_the_others_are_counted() {
        let mut limiter = Limiter::default();
        let mut at = |seconds, pair| limiter.admit(pair, Duration::from_secs(seconds));
        assert_eq!(at(0, "a"), Some(0));
        assert_eq!(at(1, "a"), None);
        assert_eq!(at(2, "b"), None);
        assert_eq!(at(20, "b"), Some(2));
        assert_eq!(at(60, "a"), None);
        assert_eq!(at(600, "a"), Some(1));
        assert_eq!(at(601, "c"), None);
    }

    #[test]
    fn it_is_bounded() {
        let mut limiter = Limiter::default();
        for i in 0..10_000_u64 {
            limiter.admit(&i.to_string(), Duration::from_millis(i * 1100));
            assert!(limiter.pairs.len() <= MAX_PAIRS);
        }
    }
}
