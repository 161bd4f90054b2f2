//! Sorts requests that are nearly in the order of time. Detection needs that
//! order: a page that one request opens can be reported by a later one.

use std::{cmp::Ordering, collections::BinaryHeap};

use tracer_core::record::BootTime;

/// Maximum number of waiting items. Tools write requests in the order in which
/// they started, ended or were displayed, which differ by minutes, not hours.
const MAX_WAITING: usize = 4096;

/// Maximum memory of all waiting items, in bytes.
const MAX_COST: usize = 64 << 20;

/// Items that wait for earlier ones.
#[derive(Debug)]
pub(super) struct TimeQueue<T> {
    waiting: BinaryHeap<Waiting<T>>,
    cost: usize,
    sequence: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    time: BootTime,
    sequence: u64,
    cost: usize,
    item: T,
}

impl<T> Waiting<T> {
    fn key(&self) -> (BootTime, u64) {
        (self.time, self.sequence)
    }
}

/// The earliest item is the greatest, so that the heap returns it first.
impl<T> Ord for Waiting<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl<T> PartialOrd for Waiting<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Waiting<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Waiting<T> {}

impl<T> Default for TimeQueue<T> {
    fn default() -> Self {
        Self { waiting: BinaryHeap::new(), cost: 0, sequence: 0 }
    }
}

impl<T> TimeQueue<T> {
    /// Adds an item that occupies `cost` bytes.
    pub(super) fn push(&mut self, time: BootTime, cost: usize, item: T) {
        self.waiting.push(Waiting { time, sequence: self.sequence, cost, item });
        self.sequence += 1;
        self.cost += cost;
    }

    /// Returns the memory of all waiting items.
    #[cfg(test)]
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// Returns the earliest item if a limit is exceeded.
    pub(super) fn overflow(&mut self) -> Option<T> {
        let full = self.waiting.len() > MAX_WAITING || self.cost > MAX_COST;
        full.then(|| self.pop())?
    }

    /// Returns the earliest item.
    pub(super) fn pop(&mut self) -> Option<T> {
        let Waiting { cost, item, .. } = self.waiting.pop()?;
        self.cost -= cost;
        Some(item)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_sorted_by_time_and_then_by_arrival() {
        let mut queue = TimeQueue::default();
        for (time, item) in [(3, "d"), (1, "a"), (2, "b"), (2, "c")] {
            queue.push(BootTime(time), 1, item);
        }
        assert_eq!(queue.overflow(), None);
        let all: String = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(all, "abcd");
    }

    #[test]
    fn the_number_and_memory_of_items_is_bounded() {
        let mut queue = TimeQueue::default();
        for time in 0..=MAX_WAITING as u64 {
            assert_eq!(queue.overflow(), None);
            queue.push(BootTime(u64::MAX - time), 0, time);
        }
        assert_eq!(queue.overflow(), Some(MAX_WAITING as u64));
        let mut queue = TimeQueue::default();
        queue.push(BootTime(1), MAX_COST, 1);
        queue.push(BootTime(2), 1, 2);
        assert_eq!((queue.overflow(), queue.overflow()), (Some(1), None));
    }
}
