//! Several guests at once: a guest has two processors, and mostly keeps one of
//! them busy.

use std::{
    iter,
    sync::{Mutex, PoisonError},
    thread,
};

/// More are not booted at once, however many processors there are: each is
/// given a gigabyte.
const MOST: usize = 4;

/// How many guests this machine has processors for.
pub(super) fn at_once() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(MOST)
}

/// Does all jobs, as many at once as `workers` says, the last of them first.
/// What they gave is in the order of the jobs.
pub(super) fn run<J: Send, T: Send>(
    jobs: Vec<J>,
    workers: usize,
    work: impl Fn(J) -> T + Sync,
) -> Vec<T> {
    let waiting: Mutex<Vec<(usize, J)>> = Mutex::new(jobs.into_iter().enumerate().collect());
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
    use std::sync::Barrier;

    use super::run;

    #[test]
    fn each_job_is_done_once_and_keeps_its_place() {
        for workers in [0, 1, 3, 20] {
            let jobs: Vec<u32> = (0..10).collect();
            let doubled: Vec<u32> = (0..10).map(|n| n * 2).collect();
            assert_eq!(run(jobs, workers, |n| n * 2), doubled);
        }
        assert!(run(Vec::<u32>::new(), 2, |n| n).is_empty());
    }

    #[test]
    fn as_many_as_told_are_done_at_once() {
        // Nobody passes it alone.
        let both = Barrier::new(2);
        assert_eq!(run(vec![1, 2], 2, |n| (both.wait(), n).1), [1, 2]);
    }
}
