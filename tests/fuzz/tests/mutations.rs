//! Runs every target on its seeds and on mutations of them, for some seconds in all. The mutations
//! follow from a fixed number, so a failure repeats.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use tracer_fuzz::{
    Target,
    mutate::{Numbers, mutate},
    targets,
};

/// Time for each target. Guided runs (`cargo xtask fuzz`) take longer.
const TIME: Duration = Duration::from_millis(150);

/// Number of inputs for each target, however slow the machine is.
const LEAST: usize = 30;

/// Checks an input.
///
/// # Panics
/// Panics with the input if it fails.
fn check(target: &Target, input: &[u8]) {
    let result = catch_unwind(AssertUnwindSafe(|| target.check(input)));
    assert!(
        result.is_ok(),
        "target {} fails, for the reason above, on the input (base64) {}",
        target.name,
        BASE64.encode(input)
    );
}

// One test, because the allocations of all threads are counted.
#[test]
fn mutated_seeds_are_read_within_the_bounds() {
    let mut inputs = 0;
    for target in targets::ALL {
        let mut seeds = (target.seeds)();
        seeds.iter_mut().for_each(|seed| seed.truncate(target.max_len));
        // Tables that are made once are not part of the cost.
        (target.run)(&seeds[0]);
        let mut numbers = Numbers::new(1);
        let start = Instant::now();
        let mut tried = 0;
        while tried < LEAST || start.elapsed() < TIME {
            let mut input = seeds[tried % seeds.len()].clone();
            if tried >= seeds.len() {
                let other = numbers.below(seeds.len());
                mutate(&mut input, &seeds[other], target.words, target.max_len, &mut numbers);
            }
            check(target, &input);
            tried += 1;
        }
        inputs += tried;
    }
    println!("{inputs} inputs of {} targets", targets::ALL.len());
}
