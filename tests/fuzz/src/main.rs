//! Runs a target under libFuzzer, which provides `main`.
//!
//! The target is named by `TRACER_FUZZ_TARGET`; without it, the targets and the lengths of their
//! inputs are listed. If `TRACER_FUZZ_SEEDS` names a folder, the target's seeds and words are
//! written to it first. Costs are printed when they exceed all earlier ones.

#![no_main]

use std::{
    env, fs,
    path::Path,
    process,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use libfuzzer_sys::fuzz_target;
use tracer_fuzz::{Cost, Target, targets};

static TARGET: OnceLock<&'static Target> = OnceLock::new();

fuzz_target!(
    init: {
        let Ok(name) = env::var("TRACER_FUZZ_TARGET") else {
            targets::ALL.iter().for_each(|target| println!("{}\t{}", target.name, target.max_len));
            process::exit(0);
        };
        let target = Target::named(&name).unwrap_or_else(|| panic!("no target is called {name}"));
        if let Some(folder) = env::var_os("TRACER_FUZZ_SEEDS") {
            write_seeds(target, Path::new(&folder));
        }
        // What is made once is not part of the cost of an input.
        (target.seeds)().iter().for_each(|seed| {
            (target.run)(seed);
        });
        TARGET.set(target).expect("libFuzzer starts once");
    },
    |input: &[u8]| {
        let target = TARGET.get().expect("libFuzzer has started");
        if input.len() <= target.max_len {
            note(target.check(input));
        }
    }
);

fn write_seeds(target: &Target, folder: &Path) {
    fs::create_dir_all(folder).expect("a folder for the seeds");
    for (number, seed) in (target.seeds)().iter().enumerate() {
        let seed = &seed[..seed.len().min(target.max_len)];
        fs::write(folder.join(format!("seed-{number}")), seed).expect("a seed");
    }
    // libFuzzer refuses an empty file.
    let mut words = "# Words\n".to_owned();
    for word in target.words {
        let escaped: String = word.bytes().map(|byte| format!("\\x{byte:02x}")).collect();
        words += &format!("\"{escaped}\"\n");
    }
    fs::write(folder.join("words.dict"), words).expect("the words");
}

/// Prints costs that exceed all earlier ones by a tenth.
fn note(cost: Cost) {
    static TIME: AtomicU64 = AtomicU64::new(0);
    static MEMORY: AtomicU64 = AtomicU64::new(0);
    let exceeds = |highest: &AtomicU64, value: u64| {
        let known = highest.load(Ordering::Relaxed);
        let higher = value > known + known / 10;
        if higher {
            highest.store(value, Ordering::Relaxed);
        }
        higher
    };
    // Not short-circuited: both are remembered.
    if exceeds(&TIME, cost.time) | exceeds(&MEMORY, cost.memory as u64) {
        let Cost { len, work, memory, time } = cost;
        eprintln!("COST len={len} work={work} memory={memory} time={time}");
    }
}
