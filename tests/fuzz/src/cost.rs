//! The cost of an input, and bounds on it.

use std::{fmt, time::Instant};

use rustix::time::{ClockId, clock_gettime};

use super::allocator;

/// The bounds on time are those of optimized code. Tests are built with less.
const SLOWNESS: u64 = if cfg!(feature = "libfuzzer") { 1 } else { 40 };

/// Number of measurements of an input that seems to take too long.
const REPETITIONS: usize = 3;

/// The cost of an input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Length of the input.
    pub len: usize,
    /// Bytes of work that the target was charged.
    pub work: u64,
    /// Bytes that were allocated at most.
    pub memory: usize,
    /// Nanoseconds.
    pub time: u64,
}

impl Cost {
    /// Measures what a function costs.
    pub(crate) fn of(input: &[u8], run: fn(&[u8]) -> u64, bound: Bound) -> Self {
        let before = allocator::start();
        let start = Instant::now();
        let work = run(input);
        let time = start.elapsed().as_nanos() as u64;
        let memory = allocator::peak().saturating_sub(before);
        let mut cost = Self { len: input.len(), work, memory, time };
        if time > bound.time(work) {
            // Other processes may have taken the time.
            let times = (0..REPETITIONS).map(|_| {
                let start = cpu_time();
                run(input);
                cpu_time() - start
            });
            cost.time = times.min().unwrap_or(time);
        }
        cost
    }
}

/// Returns the nanoseconds for which this thread has run.
pub fn cpu_time() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A bound on the cost of an input: a constant, and a part in proportion.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Bytes of memory for any input.
    pub memory: usize,
    /// Bytes of memory for each byte of the input.
    pub memory_per_byte: usize,
    /// Nanoseconds for any input.
    pub time: u64,
    /// Nanoseconds for each byte of work.
    pub time_per_byte: u64,
}

impl Bound {
    /// Fails if the cost exceeds the bound.
    ///
    /// # Errors
    /// Says which one is exceeded, and by how much.
    pub fn check(&self, cost: &Cost) -> Result<(), Excess> {
        let memory = self.memory + self.memory_per_byte * cost.len;
        if cost.memory > memory {
            return Err(Excess::Memory { cost: *cost, allowed: memory });
        }
        let time = self.time(cost.work);
        if cost.time > time {
            return Err(Excess::Time { cost: *cost, allowed: time });
        }
        Ok(())
    }

    fn time(&self, work: u64) -> u64 {
        SLOWNESS * (self.time + self.time_per_byte * work)
    }
}

/// A cost beyond its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// Too much memory.
    Memory {
        /// The cost.
        cost: Cost,
        /// The bound in bytes.
        allowed: usize,
    },
    /// Too much time.
    Time {
        /// The cost.
        cost: Cost,
        /// The bound in nanoseconds.
        allowed: u64,
    },
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { cost, allowed } => write!(
                f,
                "an input of {} bytes allocates {} bytes, more than {allowed}",
                cost.len, cost.memory
            ),
            Self::Time { cost, allowed } => write!(
                f,
                "an input of {} bytes, charged as {} bytes of work, takes {} µs, more than {} µs",
                cost.len,
                cost.work,
                cost.time / 1000,
                allowed / 1000
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUND: Bound = Bound { memory: 1000, memory_per_byte: 2, time: 1000, time_per_byte: 10 };

    #[test]
    fn costs_within_the_bound_pass_and_others_do_not() {
        let cost = Cost { len: 100, work: 50, memory: 1200, time: 1500 * SLOWNESS };
        assert_eq!(BOUND.check(&cost), Ok(()));
        let large = Cost { memory: 1201, ..cost };
        assert_eq!(BOUND.check(&large), Err(Excess::Memory { cost: large, allowed: 1200 }));
        let slow = Cost { time: 1500 * SLOWNESS + 1, ..cost };
        let allowed = 1500 * SLOWNESS;
        assert_eq!(BOUND.check(&slow), Err(Excess::Time { cost: slow, allowed }));
    }

    #[test]
    fn memory_is_measured_though_it_is_freed_again() {
        let run = |input: &[u8]| std::hint::black_box(vec![1; 1000 * input.len()]).len() as u64;
        let cost = Cost::of(&[0; 100], run, BOUND);
        assert!((100_000..1_000_000).contains(&cost.memory), "{cost:?}");
        assert_eq!((cost.len, cost.work), (100, 100_000));
    }
}
