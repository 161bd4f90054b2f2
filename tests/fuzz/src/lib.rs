//! Fuzz targets for every parser of tracer.
//!
//! ```text
//! table of targets ─┬─ cargo xtask fuzz: libFuzzer, guided by coverage
//! (targets::ALL)    ├─ tests/mutations.rs: seeds, mutated from a fixed number, for some seconds
//!                   ├─ tests/growth.rs: parts of seeds, repeated many times
//!                   └─ tests/kept.rs: inputs that have failed before
//! ```
//!
//! A [`Target`] reads its input and returns the work that it was charged. Besides panics, an
//! input fails if it takes more memory for each of its bytes, or more time for each byte of work,
//! than the target's [`Bound`].

mod allocator;
pub mod cost;
pub mod mutate;
pub mod seeds;
pub mod split;
pub mod targets;

pub use cost::{Bound, Cost};

/// Memory that is allocated is counted, so that a target can be held to its bound.
#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

/// Returns the highest number of bytes that were allocated at once while `run` ran, besides those
/// that were allocated before.
pub fn allocated(run: impl FnOnce()) -> usize {
    let before = allocator::start();
    run();
    allocator::peak().saturating_sub(before)
}

/// A parser, or several that read the same input.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name, also of the folder of its inputs.
    pub name: &'static str,
    /// Reads an input. Returns the bytes of work that it was charged, which is the length of the
    /// input for parsers without a budget.
    pub run: fn(&[u8]) -> u64,
    /// Returns valid inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that inputs consist of.
    pub words: &'static [&'static str],
    /// Maximum length of an input.
    pub max_len: usize,
    /// The bound on the cost of an input.
    pub bound: Bound,
}

impl Target {
    /// Returns the target of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        targets::ALL.iter().find(|target| target.name == name)
    }

    /// Reads an input, and measures what that costs.
    ///
    /// # Panics
    /// Panics if the parser panics, if one of its promises is broken, or if the cost exceeds the
    /// bound.
    pub fn check(&self, input: &[u8]) -> Cost {
        let cost = Cost::of(input, self.run, self.bound);
        if let Err(excess) = self.bound.check(&cost) {
            panic!("{}: {excess}", self.name);
        }
        cost
    }
}
