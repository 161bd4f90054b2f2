//! Parses the output of a guest on its results port. `tests/src/bin/guest.rs` describes
//! the format.

use std::time::Duration;

/// Result of a test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Passed,
    Failed,
    /// With the reason.
    Skipped(String),
}

/// A test.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Test {
    /// `MODULE::NAME`.
    pub(super) name: String,
    pub(super) outcome: Outcome,
    pub(super) time: Duration,
}

/// The tests of one module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Module<'a> {
    pub(super) tests: Vec<&'a Test>,
}

impl Module<'_> {
    pub(super) fn count(&self, wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.tests.iter().filter(|test| wanted(&test.outcome)).count()
    }

    pub(super) fn time(&self) -> Duration {
        self.tests.iter().map(|test| test.time).sum()
    }
}

/// A test binary.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Binary {
    pub(super) name: String,
    pub(super) tests: Vec<Test>,
    /// Time of the last line.
    time: Duration,
    /// Exit code, or `killed`; `None` if it did not end.
    pub(super) exit: Option<String>,
    /// Number of tests that it announced.
    announced: Option<usize>,
    /// Its output about failures.
    pub(super) details: Vec<String>,
}

impl Binary {
    pub(super) fn count(&self, wanted: impl Fn(&Outcome) -> bool) -> usize {
        self.tests.iter().filter(|test| wanted(&test.outcome)).count()
    }

    /// True if it succeeded and every announced test has an outcome.
    pub(super) fn is_good(&self) -> bool {
        self.exit.as_deref() == Some("0")
            && self.announced == Some(self.tests.len())
            && self.count(|outcome| *outcome == Outcome::Failed) == 0
    }
}

/// The output of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Results {
    /// The kernel's release; `None` if the guest did not get that far.
    pub(super) kernel: Option<String>,
    pub(super) binaries: Vec<Binary>,
    /// True if the guest reached its end.
    pub(super) done: bool,
}

impl Results {
    /// The tests of a module, whichever binary it is in.
    pub(super) fn module(&self, name: &str) -> Module<'_> {
        let tests = self.binaries.iter().flat_map(|binary| &binary.tests);
        let is_in = |test: &&Test| test.name.split("::").next() == Some(name);
        Module { tests: tests.filter(is_in).collect() }
    }

    /// Parses output, which may be incomplete. Ignores unknown lines.
    pub(super) fn parse(text: &str) -> Self {
        let mut results = Self::default();
        for line in text.lines() {
            // The port is a terminal, which ends lines with CR LF.
            let line = line.trim_end_matches('\r');
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match (word, results.binaries.last_mut()) {
                ("kernel", _) => results.kernel = Some(rest.to_owned()),
                ("run", _) => {
                    results.binaries.push(Binary { name: rest.to_owned(), ..Binary::default() });
                }
                ("out", Some(binary)) => binary.printed(rest),
                ("skip", Some(binary)) => binary.skipped(rest),
                ("end", Some(binary)) => {
                    binary.exit = rest.rsplit(' ').next().map(str::to_owned);
                }
                ("done", _) => results.done = true,
                _ => {}
            }
        }
        results
    }
}

impl Binary {
    fn printed(&mut self, rest: &str) {
        let (time, line) = rest.split_once(' ').unwrap_or((rest, ""));
        let before = self.time;
        if let Ok(time) = time.parse() {
            self.time = Duration::from_millis(time);
        }
        if let Some(count) = line.strip_prefix("running ").and_then(|rest| rest.split(' ').next()) {
            self.announced = self.announced.or(count.parse().ok());
        } else if let Some((name, verdict)) =
            line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        {
            let outcome = match verdict.trim() {
                "ok" => Outcome::Passed,
                other => match other.strip_prefix("ignored") {
                    Some(why) => Outcome::Skipped(why.trim_start_matches(", ").to_owned()),
                    None => Outcome::Failed,
                },
            };
            let time = self.time.saturating_sub(before);
            self.tests.push(Test { name: name.to_owned(), outcome, time });
        } else if !line.is_empty() && !line.starts_with("test result: ok") {
            self.details.push(line.to_owned());
        }
    }

    /// Parses `NAME: needs WHAT`. The test returned early, and the harness counted it as
    /// passed.
    fn skipped(&mut self, rest: &str) {
        let (name, why) = rest.split_once(": ").unwrap_or((rest, ""));
        let test = self.tests.iter_mut().find(|test| test.name == name);
        if let Some(test) = test.filter(|test| test.outcome == Outcome::Passed) {
            test.outcome = Outcome::Skipped(why.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Results};

    const SAID: &str = "kernel 6.1.0-49-amd64\r\n\
        run kernel\r\n\
        out 10 \r\n\
        out 11 running 3 tests\r\n\
        out 50 test hooks::one ... ok\r\n\
        out 70 test sends::two ... FAILED\r\n\
        out 75 test sends::three ... ok\r\n\
        out 80 thread 'sends::two' panicked at x\r\n\
        out 90 test result: FAILED. 2 passed; 1 failed; 0 ignored\r\n\
        skip sends::three: needs python\r\n\
        end kernel 101\r\n\
        run live\r\n\
        out 5 running 1 test\r\n\
        out 9 test run::four ... ok\r\n\
        end live 0\r\n\
        done\r\n";

    #[test]
    fn results_of_a_guest_are_parsed() {
        let results = Results::parse(SAID);
        assert_eq!(results.kernel.as_deref(), Some("6.1.0-49-amd64"));
        assert!(results.done);
        let [kernel, live] = &results.binaries[..] else { panic!("{results:?}") };
        let outcomes: Vec<_> = kernel.tests.iter().map(|test| test.outcome.clone()).collect();
        let skipped = Outcome::Skipped("needs python".to_owned());
        assert_eq!(outcomes, [Outcome::Passed, Outcome::Failed, skipped]);
        let sends = results.module("sends");
        assert_eq!((sends.tests.len(), sends.time().as_millis()), (2, 25));
        assert_eq!(kernel.details[0], "thread 'sends::two' panicked at x");
        assert!(!kernel.is_good() && live.is_good());
    }

    /// A test whose result is missing does not count as passed.
    #[test]
    fn incomplete_output_is_never_good() {
        let good = SAID.replace("FAILED", "ok").replace("101", "0");
        assert!(Results::parse(&good).binaries.iter().all(super::Binary::is_good));
        for end in 0..good.len() - 2 {
            let results = Results::parse(&good[..end]);
            let all = results.done && results.binaries.iter().all(super::Binary::is_good);
            assert!(!all, "{end}: {results:?}");
        }
    }

    #[test]
    fn unknown_lines_are_ignored() {
        let results = Results::parse("\u{0}\u{fffd} done\nout 1 test x ... ok\nskip\nend\n\n");
        assert_eq!(results, Results::default());
    }
}
