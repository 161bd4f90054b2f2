//! Boots several guests at once. A guest has two processors and keeps less than one of
//! them busy.

use std::{
    iter,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

/// Limit on guests at the same time, since each takes a gigabyte of memory.
const MOST: usize = 4;

/// Number of guests that keep this machine's processors busy: two guests take three quarters of
/// two processors.
pub(super) fn at_once() -> usize {
    thread::available_parallelism().map_or(1, |count| count.get() + 1).min(MOST)
}

/// Jobs that wait for a worker.
pub(super) struct Queue<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
}

struct State<J> {
    /// With their numbers, in the order in which they were added.
    waiting: Vec<(usize, J)>,
    /// Number of jobs that were added.
    added: usize,
    /// True once no job will be added.
    closed: bool,
}

impl<J> Queue<J> {
    fn new() -> Self {
        let state = State { waiting: Vec::new(), added: 0, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds a job.
    pub(super) fn add(&self, job: J) {
        let mut state = self.state();
        let number = state.added;
        state.added += 1;
        state.waiting.push((number, job));
        self.changed.notify_one();
    }

    fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    /// Takes the longest of the jobs that wait, or waits for one. Returns `None` if there
    /// will be none.
    fn take(&self, duration: impl Fn(&J) -> u32) -> Option<(usize, J)> {
        let mut state = self.state();
        loop {
            let jobs = state.waiting.iter().enumerate();
            if let Some((at, _)) = jobs.rev().max_by_key(|(_, (_, job))| duration(job)) {
                return Some(state.waiting.remove(at));
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes the queue at the end of a scope, also if it is left by a panic.
struct Closing<'a, J>(&'a Queue<J>);

impl<J> Drop for Closing<'_, J> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Runs the jobs that `prepare` adds with `workers` threads, while it adds others. Of the
/// jobs that wait the longest is taken: a long job that starts last runs alone. Returns
/// the results in the order of the jobs.
pub(super) fn run<J: Send, T: Send>(
    workers: usize,
    prepare: impl FnOnce(&Queue<J>),
    duration: impl Fn(&J) -> u32 + Sync,
    work: impl Fn(J) -> T + Sync,
) -> Vec<T> {
    let queue = Queue::new();
    let one = || {
        let jobs = iter::from_fn(|| queue.take(&duration));
        jobs.map(|(n, job)| (n, work(job))).collect::<Vec<_>>()
    };
    let mut done: Vec<(usize, T)> = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers.max(1)).map(|_| scope.spawn(one)).collect();
        let closing = Closing(&queue);
        prepare(&queue);
        drop(closing);
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::{Queue, run};

    fn all(jobs: impl IntoIterator<Item = u32>) -> impl FnOnce(&Queue<u32>) {
        move |queue| jobs.into_iter().for_each(|job| queue.add(job))
    }

    #[test]
    fn results_are_in_the_order_of_the_jobs() {
        for workers in [0, 1, 3, 20] {
            let doubled: Vec<u32> = (0..10).map(|n| n * 2).collect();
            assert_eq!(run(workers, all(0..10), |n| n % 3, |n| n * 2), doubled);
        }
        assert!(run(2, all([]), |n| *n, |n| n).is_empty());
    }

    #[test]
    fn workers_run_at_the_same_time() {
        // Neither job passes it without the other.
        let both = Barrier::new(2);
        assert_eq!(run(2, all([1, 2]), |_| 0, |n| (both.wait(), n).1), [1, 2]);
    }

    #[test]
    fn a_job_runs_before_the_next_one_is_added() {
        let ran = Barrier::new(2);
        let one_by_one = |queue: &Queue<u32>| {
            for job in [1, 2] {
                queue.add(job);
                ran.wait();
            }
        };
        assert_eq!(run(1, one_by_one, |_| 0, |n| (ran.wait(), n).1), [1, 2]);
    }

    #[test]
    fn the_longest_job_that_waits_starts_first() {
        let queue = Queue::new();
        all([2, 9, 4])(&queue);
        queue.close();
        let taken: Vec<_> = std::iter::from_fn(|| queue.take(|n| *n)).collect();
        assert_eq!(taken, [(1, 9), (2, 4), (0, 2)]);
    }
}
