//! Boots several guests at once. A guest has two processors and mostly keeps one
//! of them busy.

use std::{
    iter,
    sync::{Mutex, PoisonError},
    thread,
};

/// Limit on guests at the same time, since each takes a gigabyte of memory.
const MOST: usize = 4;

/// Number of guests that this machine has processors for.
pub(super) fn at_once() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MOST)
}

/// Runs all jobs with `workers` threads, the longest first: a long job that
/// starts last runs alone. Returns the results in the order of the jobs.
pub(super) fn run<J: Send, T: Send>(
    jobs: Vec<J>,
    workers: usize,
    duration: impl Fn(&J) -> u32,
    work: impl Fn(J) -> T + Sync,
) -> Vec<T> {
    let mut waiting: Vec<(usize, J)> = jobs.into_iter().enumerate().collect();
    // They are taken from the end.
    waiting.sort_by_key(|(_, job)| duration(job));
    let waiting = Mutex::new(waiting);
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let mut done: Vec<(usize, T)> = thread::scope(|scope| {
        let one = || iter::from_fn(next).map(|(n, job)| (n, work(job))).collect::<Vec<_>>();
        let workers: Vec<_> = (0..workers.max(1)).map(|_| scope.spawn(one)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, Mutex};

    use super::run;

    #[test]
    fn results_are_in_the_order_of_the_jobs() {
        for workers in [0, 1, 3, 20] {
            let jobs: Vec<u32> = (0..10).collect();
            let doubled: Vec<u32> = (0..10).map(|n| n * 2).collect();
            assert_eq!(run(jobs, workers, |n| n % 3, |n| n * 2), doubled);
        }
        assert!(run(Vec::<u32>::new(), 2, |n| *n, |n| n).is_empty());
    }

    #[test]
    fn workers_run_at_the_same_time() {
        // Neither job passes it without the other.
        let both = Barrier::new(2);
        assert_eq!(run(vec![1, 2], 2, |_| 0, |n| (both.wait(), n).1), [1, 2]);
    }

    #[test]
    fn the_longest_job_starts_first() {
        let started = Mutex::new(Vec::new());
        run(vec![2, 9, 4], 1, |n| *n, |n| started.lock().unwrap().push(n));
        assert_eq!(started.into_inner().unwrap(), [9, 4, 2]);
    }
}
