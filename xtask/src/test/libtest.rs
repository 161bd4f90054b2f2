//! Reads the output of test binaries line by line.
//!
//! ```text
//! running 3 tests
//! test stream::tests::one ... ok
//! test stream::tests::two ... FAILED
//! test kernel::three ... ignored, needs a kernel of its own
//! test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
//! ```

use std::fmt;

/// Counts of passed, failed and skipped tests.
#[derive(Debug, Default)]
pub(super) struct Tally {
    passed: usize,
    failed: usize,
    failures: Vec<String>,
    skips: Vec<String>,
}

impl Tally {
    /// Reads one line. Returns true if a person needs to see it.
    pub(super) fn read(&mut self, line: &str) -> bool {
        if let Some((passed, failed)) = counts(line) {
            self.passed += passed;
            self.failed += failed;
            return failed > 0;
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

    /// Records how a test binary ended. One that was killed leaves no counts.
    pub(super) fn ended(&mut self, name: &str, success: bool) {
        if !success && self.failed == 0 {
            self.failed = 1;
            self.failures.push(format!("{name} (it failed without naming a test: see above)"));
        }
    }

    /// Adds the results of another binary.
    pub(super) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
        self.skips.extend(other.skips);
    }

    /// Records tests that found something missing. The harness counted each as
    /// passed.
    pub(super) fn skipped_by_themselves(&mut self, lines: &[String]) {
        self.passed = self.passed.saturating_sub(lines.len());
        self.skips.extend_from_slice(lines);
    }

    /// Adds the results of tests on other kernels.
    pub(super) fn in_guests(&mut self, passed: usize, failures: Vec<String>, skips: Vec<String>) {
        self.passed += passed;
        self.failed += failures.len();
        self.failures.extend(failures);
        self.skips.extend(skips);
    }

    /// Number of tests that passed or failed.
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

/// Numbers of passed and failed tests in a summary line.
fn counts(line: &str) -> Option<(usize, usize)> {
    let counts = line.trim_start().strip_prefix("test result: ")?;
    let count = |what: &str| {
        let before = counts.split(';').find_map(|part| part.trim().strip_suffix(what))?;
        before.rsplit(' ').next()?.parse().ok()
    };
    Some((count(" passed")?, count(" failed")?))
}

/// Name and verdict in the line of a test.
fn outcome(line: &str) -> Option<(&str, &str)> {
    let (name, verdict) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    Some((name, verdict.trim()))
}

/// True for a line that need not be shown.
fn is_noise(line: &str) -> bool {
    let line = line.trim();
    line.is_empty()
        // Listed at the end.
        || line.starts_with("SKIPPED ")
        || (line.starts_with("running ") && (line.ends_with(" tests") || line.ends_with(" test")))
}

#[cfg(test)]
mod tests {
    use super::{Tally, counts, is_noise, outcome};

    const RUN: &str = "running 3 tests
test a::one ... ok
test a::two ... FAILED
test a::three ... ignored, needs a kernel of its own

failures:

---- a::two stdout ----
thread 'a::two' panicked at src/lib.rs:1:1:

test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
";

    fn read(text: &str) -> (Tally, Vec<&str>) {
        let mut tally = Tally::default();
        let shown = text.lines().filter(|line| tally.read(line)).collect();
        (tally, shown)
    }

    #[test]
    fn failures_are_counted_and_shown() {
        let (mut tally, shown) = read(RUN);
        tally.ended("a", false);
        assert_eq!(tally.to_string(), "1 passed, 1 failed, 1 skipped");
        assert_eq!(tally.failures(), ["a::two"]);
        assert_eq!(tally.skips(), ["a::three: ignored, needs a kernel of its own"]);
        assert!(shown.contains(&"thread 'a::two' panicked at src/lib.rs:1:1:"), "{shown:?}");
        assert!(shown.iter().all(|line| !line.contains("... ok")), "{shown:?}");
    }

    #[test]
    fn results_of_binaries_add_up() {
        let (mut tally, _) = read(RUN);
        tally.add(read(RUN).0);
        assert_eq!(tally.to_string(), "2 passed, 2 failed, 2 skipped");
        assert_eq!(tally.failures(), ["a::two", "a::two"]);
    }

    #[test]
    fn a_test_that_skipped_itself_did_not_pass() {
        let (mut tally, _) = read(RUN);
        tally.skipped_by_themselves(&["a::one: needs root".to_owned()]);
        assert_eq!(tally.to_string(), "0 passed, 1 failed, 2 skipped");
        assert_eq!(tally.run(), 1);
    }

    #[test]
    fn a_binary_that_died_without_a_summary_failed() {
        let (mut tally, _) = read("running 1 test\n");
        tally.ended("store", false);
        assert_eq!(tally.to_string(), "0 passed, 1 failed, 0 skipped");
        assert_eq!(tally.failures().len(), 1);
    }

    #[test]
    fn a_binary_that_ended_well_adds_no_failure() {
        let mut tally = Tally::default();
        tally.ended("store", true);
        assert_eq!((tally.run(), tally.failed()), (0, 0));
    }

    #[test]
    fn the_announcement_of_tests_is_not_shown() {
        assert!(is_noise("running 12 tests") && is_noise("running 1 test") && is_noise(" "));
        assert!(!is_noise("running 12 testers"));
    }

    #[test]
    fn lines_of_tests_are_told_from_other_output() {
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
