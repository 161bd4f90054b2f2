//! Repeats parts of valid inputs many times, and checks that the cost grows in proportion. Inputs of
//! fuzz runs are too short to show that a parser looks at its bytes again and again.

use std::{
    env,
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use tracer_fuzz::{Target, cost, mutate::Numbers, targets};

/// Time for each target. `TRACER_GROWTH_MS` replaces it, for longer searches.
const TIME: Duration = Duration::from_millis(150);

/// Lengths that are compared.
const SHORT: usize = 8 << 10;
const LONG: usize = 8 * SHORT;

/// The cost may grow by this factor more than the length: caches, and a table that grows.
const TOLERANCE: u64 = 5;

/// Times below this are not compared, in nanoseconds.
const NOTABLE: u64 = 20_000_000;

/// A place in a seed, and what is repeated there.
struct Repeated<'a> {
    before: &'a [u8],
    part: &'a [u8],
    behind: &'a [u8],
}

impl<'a> Repeated<'a> {
    fn choose(seed: &'a [u8], words: &'a [&str], numbers: &mut Numbers) -> Self {
        let at = numbers.below(seed.len());
        let len = 1 << numbers.below(8);
        let part = match words.get(numbers.below(4 * words.len().max(1))) {
            Some(word) => word.as_bytes(),
            None => &seed[at..(at + len).min(seed.len())],
        };
        let (before, behind) = seed.split_at(at);
        Self { before, part, behind }
    }

    fn of_length(&self, len: usize) -> Vec<u8> {
        let rest = len.saturating_sub(self.before.len() + self.behind.len());
        let part = self.part.repeat(rest / self.part.len().max(1));
        [self.before, &part, self.behind].concat()
    }
}

/// Nanoseconds and work of an input.
fn cost_of(target: &Target, input: &[u8]) -> (u64, u64) {
    let start = cost::cpu_time();
    let work = (target.run)(input).max(1);
    (cost::cpu_time() - start, work)
}

/// Reports whether the cost of the longer input is out of proportion.
fn grows_too_fast(target: &Target, short: &[u8], long: &[u8]) -> bool {
    let (time, work) = cost_of(target, long);
    if time < NOTABLE {
        return false;
    }
    let (short_time, short_work) = cost_of(target, short);
    // Work that is charged may grow faster than the input: it has a limit.
    let factor = (work / short_work).max((LONG / SHORT) as u64);
    time > TOLERANCE * factor * short_time.max(NOTABLE / 100)
}

#[test]
fn costs_grow_in_proportion_to_the_input() {
    let time = env::var("TRACER_GROWTH_MS").ok().and_then(|ms| ms.parse().ok());
    let time = time.map_or(TIME, Duration::from_millis);
    let only = env::var("TRACER_GROWTH_TARGET").ok();
    let mut failed = Vec::new();
    for target in targets::ALL {
        if only.as_deref().is_some_and(|only| only != target.name) {
            continue;
        }
        let mut seeds = (target.seeds)();
        // The size of a store depends on SQLite, not on a parser.
        seeds.retain(|seed| seed.len() < SHORT / 2);
        let Some(first) = seeds.first() else { continue };
        (target.run)(first);
        let mut numbers = Numbers::new(2);
        let start = Instant::now();
        while start.elapsed() < time {
            let seed = &seeds[numbers.below(seeds.len())];
            let repeated = Repeated::choose(seed, target.words, &mut numbers);
            let [short, long] = [SHORT, LONG].map(|len| repeated.of_length(len));
            // Twice, because other processes take caches.
            if grows_too_fast(target, &short, &long) && grows_too_fast(target, &short, &long) {
                let costs = [&short, &long].map(|input| cost_of(target, input));
                failed.push(format!(
                    "{}: {costs:?} for {} bytes before, {:?} repeated, {} bytes behind; short: {}",
                    target.name,
                    repeated.before.len(),
                    String::from_utf8_lossy(repeated.part),
                    repeated.behind.len(),
                    BASE64.encode(&short[..short.len().min(400)]),
                ));
                break;
            }
        }
    }
    assert!(failed.is_empty(), "costs that grow too fast:\n{}", failed.join("\n"));
}

#[test]
fn a_parser_that_looks_at_its_bytes_again_and_again_is_noticed() {
    fn again_and_again(input: &[u8]) -> u64 {
        for _ in input.chunks(64) {
            std::hint::black_box(input.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
        }
        input.len() as u64
    }
    fn once(input: &[u8]) -> u64 {
        std::hint::black_box(input.iter().fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
        input.len() as u64
    }
    // Of other lengths than above, for code without optimization and with it.
    let [short, long] = [32 << 10, 256 << 10].map(|len| vec![7; len]);
    let target = Target { run: again_and_again, ..targets::ALL[0] };
    assert!(grows_too_fast(&target, &short, &long));
    assert!(!grows_too_fast(&Target { run: once, ..target }, &short, &long));
}
