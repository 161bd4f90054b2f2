//! What `cargo test` prints, read line by line.
//!
//! ```text
//!      Running unittests src/lib.rs (target/debug/deps/tracer-0123456789abcdef)
//! running 3 tests
//! test stream::tests::one ... ok
//! test stream::tests::two ... FAILED
//! test kernel::three ... ignored, needs a kernel of its own
//! test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
//! error: test failed, to rerun pass `-p tracer --lib`
//! ```

use std::fmt;

/// The counts of all test binaries.
#[derive(Debug, Default)]
pub(super) struct Tally {
    passed: usize,
    failed: usize,
    failures: Vec<String>,
    skips: Vec<String>,
}

impl Tally {
    /// Takes in one line. Returns whether a person needs to see it.
    pub(super) fn read(&mut self, line: &str) -> bool {
        if let Some((passed, failed)) = counts(line) {
            self.passed += passed;
            self.failed += failed;
            return passed + failed > 0;
        }
        match outcome(line) {
            Some((_, "ok")) => false,
            Some((name, "FAILED")) => {
                self.failures.push(name.to_owned());
                true
            }
            Some((name, verdict)) if verdict.starts_with("ignored") => {
                self.skips.push(format!("{name}: {verdict}"));
                true
            }
            _ => !is_noise(line),
        }
    }

    /// Takes in how `cargo test` ended. A test binary that was killed leaves
    /// no counts, and so does one that could not be compiled: cargo's own
    /// verdict then is all there is.
    pub(super) fn ended(&mut self, success: bool) {
        if !success && self.failed == 0 {
            self.failed = 1;
            self.failures.push("(cargo test failed without naming a test: see above)".to_owned());
        }
    }

    /// Takes in the tests that found something missing: the harness counted
    /// each as passed.
    pub(super) fn skipped_by_themselves(&mut self, lines: &[String]) {
        self.passed = self.passed.saturating_sub(lines.len());
        self.skips.extend_from_slice(lines);
    }

    /// Takes in what became of tests on other kernels.
    pub(super) fn in_guests(&mut self, passed: usize, failures: Vec<String>, skips: Vec<String>) {
        self.passed += passed;
        self.failed += failures.len();
        self.failures.extend(failures);
        self.skips.extend(skips);
    }

    /// How many tests were run to a verdict.
    pub(super) fn run(&self) -> usize {
        self.passed + self.failed
    }

    pub(super) fn failed(&self) -> usize {
        self.failed
    }

    pub(super) fn skipped(&self) -> usize {
        self.skips.len()
    }

    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    pub(super) fn skips(&self) -> &[String] {
        &self.skips
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skips.len())
    }
}

/// Passed and failed, of a summary line.
fn counts(line: &str) -> Option<(usize, usize)> {
    let counts = line.trim_start().strip_prefix("test result: ")?;
    let count = |what: &str| {
        let before = counts.split(';').find_map(|part| part.trim().strip_suffix(what))?;
        before.rsplit(' ').next()?.parse().ok()
    };
    Some((count(" passed")?, count(" failed")?))
}

/// Name and verdict, of the line of one test.
fn outcome(line: &str) -> Option<(&str, &str)> {
    let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    Some((name, verdict.trim()))
}

/// Progress, cargo's own or that of the cargo that a build script runs, which
/// arrives as that package's warnings.
fn is_noise(line: &str) -> bool {
    const PROGRESS: [&str; 7] =
        ["Compiling ", "Downloaded ", "Downloading ", "Fresh ", "Finished ", "Blocking ", "info: "];
    let line = match line.strip_prefix("warning: ").and_then(|rest| rest.split_once(": ")) {
        Some((package, said)) if package.contains('@') => said.trim(),
        _ => line.trim(),
    };
    line.is_empty()
        || (line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")))
        || PROGRESS.iter().any(|word| line.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::{Tally, counts, is_noise, outcome};

    const RUN: &str = "\
   Compiling tracer v0.1.0 (/x)
    Finished `test` profile [unoptimized + debuginfo] target(s) in 0.10s
     Running unittests src/lib.rs (target/debug/deps/tracer-0123456789abcdef)

running 3 tests
test a::one ... ok
test a::two ... FAILED
test a::three ... ignored, needs a kernel of its own

failures:

---- a::two stdout ----
thread 'a::two' panicked at src/lib.rs:1:1:

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s

error: test failed, to rerun pass `-p tracer --lib`
   Doc-tests tracer

running 2 tests
test src/lib.rs - f (line 3) ... ok
test src/lib.rs - g (line 9) - compile ... ok

test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.20s
";

    fn read(text: &str) -> (Tally, Vec<&str>) {
        let mut tally = Tally::default();
        let shown = text.lines().filter(|line| tally.read(line)).collect();
        (tally, shown)
    }

    #[test]
    fn adds_up_all_binaries() {
        let (mut tally, shown) = read(RUN);
        tally.ended(false);
        assert_eq!(tally.to_string(), "3 passed, 1 failed, 1 skipped");
        assert_eq!(tally.failures(), ["a::two"]);
        assert_eq!(tally.skips(), ["a::three: ignored, needs a kernel of its own"]);
        assert!(shown.contains(&"thread 'a::two' panicked at src/lib.rs:1:1:"), "{shown:?}");
        assert!(shown.iter().all(|line| !line.contains("... ok")), "{shown:?}");
    }

    #[test]
    fn a_test_that_skipped_itself_did_not_pass() {
        let (mut tally, _) = read(RUN);
        tally.skipped_by_themselves(&["a::one: needs root".to_owned()]);
        assert_eq!(tally.to_string(), "2 passed, 1 failed, 2 skipped");
        assert_eq!(tally.run(), 3);
    }

    #[test]
    fn a_binary_that_died_without_a_summary_failed() {
        let (mut tally, _) = read("running 1 test\nerror: test failed, to rerun pass `--lib`\n");
        tally.ended(false);
        assert_eq!(tally.to_string(), "0 passed, 1 failed, 0 skipped");
        assert_eq!(tally.failures().len(), 1);
    }

    #[test]
    fn a_good_end_adds_nothing() {
        let mut tally = Tally::default();
        tally.ended(true);
        assert_eq!((tally.run(), tally.failed()), (0, 0));
    }

    #[test]
    fn progress_is_not_shown_and_warnings_are() {
        assert!(is_noise("warning: tracer@0.1.0:    Compiling aya-build v0.2.0"));
        assert!(is_noise("warning: tracer@0.1.0: info: `cargo` is unavailable"));
        assert!(!is_noise("warning: tracer@0.1.0: warning: unused variable: `x`"));
        assert!(!is_noise("warning: unused: it is Compiling "));
    }

    #[test]
    fn reads_only_what_the_harness_prints() {
        assert_eq!(
            counts("test result: ok. 12 passed; 0 failed; 3 ignored; 0 measured"),
            Some((12, 0))
        );
        assert_eq!(counts("test result: nonsense"), None);
        assert_eq!(counts("the test result: ok. 1 passed; 0 failed"), None);
        assert_eq!(outcome("test a ... b ... ok"), Some(("a ... b", "ok")));
        assert_eq!(outcome("testing a ... ok"), None);
    }
}
