//! Records tests that cannot run on this machine. They report it, and `cargo xtask
//! test` does not count them as passed.

use std::{
    env,
    fs::OpenOptions,
    io::{Write as _, stderr},
};

/// Reports whether this process is root. If not, marks the test as skipped; the
/// test then returns.
pub fn root() -> bool {
    met(rustix::process::geteuid().is_root(), "root")
}

/// Returns `met`. If it is false, marks the test as skipped because of `need`.
pub fn met(met: bool, need: &str) -> bool {
    if !met {
        skipped(need);
    }
    met
}

/// Appends `NAME: needs WHAT` to the file that `TRACER_TEST_SKIPS` names. The test
/// harness names the thread of each test after it.
fn skipped(need: &str) {
    let thread = std::thread::current();
    let line = format!("{}: needs {need}\n", thread.name().unwrap_or("a test"));
    // Not `eprint!`: the harness hides its output for tests that pass.
    let _ = write!(stderr(), "SKIPPED {line}");
    if let Some(path) = env::var_os("TRACER_TEST_SKIPS") {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("the file of skipped tests can be written to");
    }
}
