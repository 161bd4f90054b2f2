//! Puts what comes nearly in the order of time into it: what one request
//! visits, a later one can tell.

use std::{cmp::Ordering, collections::BinaryHeap};

use tracer_core::record::BootTime;

/// How many wait at a time. Tools write requests in the order in which they
/// began or ended, or were shown: an order of minutes, not of hours.
const MAX_WAITING: usize = 4096;

/// What they may cost together, in bytes.
const MAX_COST: usize = 64 << 20;

/// Those that wait for an earlier one.
#[derive(Debug)]
pub(super) struct Order<T> {
    waiting: BinaryHeap<Waiting<T>>,
    cost: usize,
    turn: u64,
}

#[derive(Debug)]
struct Waiting<T> {
    time: BootTime,
    turn: u64,
    cost: usize,
    one: T,
}

impl<T> Waiting<T> {
    fn key(&self) -> (BootTime, u64) {
        (self.time, self.turn)
    }
}

/// The earliest is the greatest, for the heap to give out first.
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

impl<T> Default for Order<T> {
    fn default() -> Self {
        Self { waiting: BinaryHeap::new(), cost: 0, turn: 0 }
    }
}

impl<T> Order<T> {
    /// Takes one that costs so many bytes to hold.
    pub(super) fn push(&mut self, time: BootTime, cost: usize, one: T) {
        self.waiting.push(Waiting { time, turn: self.turn, cost, one });
        self.turn += 1;
        self.cost += cost;
    }

    /// What they cost together.
    #[cfg(test)]
    pub(super) fn cost(&self) -> usize {
        self.cost
    }

    /// The earliest, where too many wait.
    pub(super) fn overflow(&mut self) -> Option<T> {
        let full = self.waiting.len() > MAX_WAITING || self.cost > MAX_COST;
        full.then(|| self.pop())?
    }

    /// The earliest.
    pub(super) fn pop(&mut self) -> Option<T> {
        let Waiting { cost, one, .. } = self.waiting.pop()?;
        self.cost -= cost;
        Some(one)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_comes_first_and_equals_in_their_order() {
        let mut order = Order::default();
        for (time, one) in [(3, "d"), (1, "a"), (2, "b"), (2, "c")] {
            order.push(BootTime(time), 1, one);
        }
        assert_eq!(order.overflow(), None);
        let all: String = std::iter::from_fn(|| order.pop()).collect();
        assert_eq!(all, "abcd");
    }

    #[test]
    fn only_so_many_wait() {
        let mut order = Order::default();
        for time in 0..=MAX_WAITING as u64 {
            assert_eq!(order.overflow(), None);
            order.push(BootTime(u64::MAX - time), 0, time);
        }
        assert_eq!(order.overflow(), Some(MAX_WAITING as u64));
        let mut order = Order::default();
        order.push(BootTime(1), MAX_COST, 1);
        order.push(BootTime(2), 1, 2);
        assert_eq!((order.overflow(), order.overflow()), (Some(1), None));
    }
}
