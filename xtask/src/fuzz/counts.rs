//! Counts of executions, and the highest costs of an input.

use std::{collections::BTreeMap, fmt, fmt::Write as _, fs, io, path::Path};

use anyhow::{Context as _, Result};

/// The outcome of a run of one target.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Run {
    pub(super) executions: u64,
    pub(super) seconds: f64,
    pub(super) costs: Costs,
    /// Reason for which an input failed, and its path.
    pub(super) failure: Option<String>,
}

/// The highest costs of an input.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Costs {
    /// Bytes of memory.
    memory: u64,
    /// Nanoseconds.
    time: u64,
}

impl Costs {
    fn or_higher(self, other: Self) -> Self {
        Self { memory: self.memory.max(other.memory), time: self.time.max(other.time) }
    }
}

impl Run {
    /// Parses the output of libFuzzer, and the lines `COST …` of the binary.
    pub(super) fn parse(output: &str, seconds: f64) -> Self {
        let mut run = Self { seconds, ..Self::default() };
        let mut reason = None;
        for line in output.lines() {
            if let Some(costs) = line.strip_prefix("COST ") {
                run.costs = run.costs.or_higher(parse_costs(costs));
            } else if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
                run.executions = count.trim().parse().unwrap_or(0);
            } else if let Some((_, path)) = line.split_once("Test unit written to ") {
                let reason = reason.unwrap_or("the run ended");
                run.failure = Some(format!("{reason}; the input is {path}"));
            } else if line.contains("panicked at") {
                reason = Some("panic");
            } else if reason == Some("panic") && !line.is_empty() {
                // The message is on the line below the place.
                reason = Some(line);
            } else if line.starts_with("SUMMARY: libFuzzer: timeout") {
                reason = Some("timeout");
            }
        }
        run
    }
}

fn parse_costs(line: &str) -> Costs {
    let value = |name: &str| {
        let values = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        values.and_then(|value| value.parse().ok()).unwrap_or(0)
    };
    Costs { memory: value("memory"), time: value("time") }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.executions as f64 / self.seconds;
        write!(f, "{} executions ({rate:.0} a second), at most {}", self.executions, self.costs)?;
        match &self.failure {
            Some(failure) => write!(f, "; FAILED: {failure}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Costs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kb, microseconds) = (self.memory / 1000, self.time / 1000);
        write!(f, "{kb} kB and {microseconds} µs for an input")
    }
}

/// The totals of a target.
#[derive(Debug, Default, Clone, PartialEq)]
struct Total {
    executions: u64,
    seconds: f64,
    costs: Costs,
}

/// The totals of all targets, over all runs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Counts(BTreeMap<String, Total>);

impl Counts {
    /// Reads the file, which need not exist.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self> {
        match fs::read_to_string(path) {
            Ok(text) => Ok(Self(text.lines().filter_map(parse_total).collect())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    /// Adds a run.
    pub(super) fn add(&mut self, target: &str, run: &Run) {
        let total = self.0.entry(target.to_owned()).or_default();
        total.executions += run.executions;
        total.seconds += run.seconds;
        total.costs = total.costs.or_higher(run.costs);
    }

    /// Writes the file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let mut text = String::new();
        for (name, Total { executions, seconds, costs: Costs { memory, time } }) in &self.0 {
            writeln!(text, "{name}\t{executions}\t{seconds:.1}\t{memory}\t{time}")?;
        }
        // Never half of it.
        let new = path.with_extension("new");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// Formats the totals as a table of Markdown.
    pub(super) fn table(&self) -> String {
        let mut table =
            "| target | executions | minutes | memory at most (kB) | time at most (µs) |\n\
                         |---|---|---|---|---|\n"
                .to_owned();
        let mut all = Total::default();
        for (name, total) in &self.0 {
            table += &row(&format!("`{name}`"), total);
            all.executions += total.executions;
            all.seconds += total.seconds;
            all.costs = all.costs.or_higher(total.costs);
        }
        table + &row("all", &all)
    }
}

fn row(name: &str, total: &Total) -> String {
    let Total { executions, seconds, costs: Costs { memory, time } } = total;
    let minutes = seconds / 60.0;
    format!("| {name} | {executions} | {minutes:.1} | {} | {} |\n", memory / 1000, time / 1000)
}

fn parse_total(line: &str) -> Option<(String, Total)> {
    let fields: Vec<&str> = line.split('\t').collect();
    let [name, executions, seconds, memory, time] = fields[..] else { return None };
    let costs = Costs { memory: memory.parse().ok()?, time: time.parse().ok()? };
    let (executions, seconds) = (executions.parse().ok()?, seconds.parse().ok()?);
    Some((name.to_owned(), Total { executions, seconds, costs }))
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::{Costs, Counts, Run};

    #[test]
    fn runs_are_read_from_the_output() {
        let output = "INFO: Seed: 1\nCOST len=3 work=3 memory=500 time=90\n#2 INITED\n\
                      COST len=9 work=9 memory=400 time=100\nDone 1200 runs in 3 second(s)\n\
                      stat::number_of_executed_units: 1200\n";
        let run = Run::parse(output, 3.0);
        assert_eq!((run.executions, run.costs), (1200, Costs { memory: 500, time: 100 }));
        assert_eq!(run.failure, None);
        let output = "\nthread '<unnamed>' (7) panicked at tests/fuzz/src/lib.rs:9:13:\nhar: too slow\n\
                      stack backtrace:\n==1== ERROR: libFuzzer: deadly signal\n\
                      artifact_prefix='f/har-'; Test unit written to f/har-crash-1\n\
                      stat::number_of_executed_units: 7\n";
        let run = Run::parse(output, 1.0);
        assert_eq!(run.executions, 7);
        let failure = run.failure.expect("a failure");
        assert_eq!(failure, "har: too slow; the input is f/har-crash-1");
    }

    #[test]
    fn counts_add_up_over_runs() {
        let path = env::temp_dir().join(format!("xtask-counts-{}", std::process::id()));
        for _ in 0..2 {
            let mut counts = Counts::read(&path).unwrap();
            let costs = Costs { memory: 5000, time: 9000 };
            counts.add("dns", &Run { executions: 10, seconds: 30.0, costs, failure: None });
            counts.write(&path).unwrap();
        }
        let table = Counts::read(&path).unwrap().table();
        fs::remove_file(path).unwrap();
        assert!(
            table.contains("| `dns` | 20 | 1.0 | 5 | 9 |\n| all | 20 | 1.0 | 5 | 9 |"),
            "{table}"
        );
    }
}
