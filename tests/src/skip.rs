//! Tests that this machine cannot run. They say so, and are not counted as
//! passed by `cargo xtask test`.

use std::{env, fs::OpenOptions, io::Write as _};

/// Whether this process is root. A test that is told `false` returns; that it
/// did is on record.
pub fn root() -> bool {
    met(rustix::process::geteuid().is_root(), "root")
}

/// Whether a need is met; where it is not, the test is recorded as skipped.
pub fn met(met: bool, need: &str) -> bool {
    if !met {
        skipped(need);
    }
    met
}

/// Appends `NAME: needs WHAT` to the file that `TRACER_TEST_SKIPS` names. The
/// harness runs each test in a thread of its name.
fn skipped(need: &str) {
    let thread = std::thread::current();
    let line = format!("{}: needs {need}\n", thread.name().unwrap_or("a test"));
    eprint!("SKIPPED {line}");
    if let Some(path) = env::var_os("TRACER_TEST_SKIPS") {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the file of skipped tests can be written to");
    }
}
