//! The resources that processes used, according to `/proc`.

use std::{collections::BTreeMap, fs, process::Child, thread, time::Duration};

use anyhow::{Result, ensure};

/// Clock ticks a second in `/proc` (`USER_HZ`), on all architectures that tracer supports.
const TICKS: f64 = 100.0;

/// The fields of `/proc/PID/stat` that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: u32,
    /// Ticks of the process itself.
    ticks: u64,
}

impl Stat {
    fn read(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The name can contain spaces and parentheses.
        let mut fields = text.rsplit_once(')')?.1.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent = fields.next()?.parse().ok()?;
        // utime and stime: fields 14 and 15 of the line
        let mut ticks = fields.skip(9).map_while(|field| field.parse::<u64>().ok());
        Some(Self { state, parent, ticks: ticks.next()? + ticks.next()? })
    }
}

/// The CPU time of a process and of its descendants.
///
/// A process that has ended is counted as it was last seen, because not every parent waits for its
/// children.
#[derive(Debug, Default)]
pub(super) struct Usage(BTreeMap<u32, u64>);

impl Usage {
    /// Looks at the processes that run now.
    pub(super) fn observe(&mut self, root: u32) {
        for pid in tree(root) {
            if let Some(stat) = Stat::read(pid) {
                self.0.insert(pid, stat.ticks);
            }
        }
    }

    /// Returns the time in seconds.
    pub(super) fn seconds(&self) -> f64 {
        self.0.values().sum::<u64>() as f64 / TICKS
    }

    /// Looks at the processes until the first one has ended.
    ///
    /// # Errors
    /// If it is still running after `patience`.
    pub(super) fn observe_to_end(&mut self, child: &mut Child, patience: Duration) -> Result<()> {
        const STEP: Duration = Duration::from_millis(50);
        let mut waited = Duration::ZERO;
        loop {
            self.observe(child.id());
            // A process that has ended is there until it is waited for.
            if Stat::read(child.id()).is_none_or(|stat| stat.state == 'Z') {
                child.wait()?;
                return Ok(());
            }
            ensure!(waited < patience, "still running after {} s", patience.as_secs());
            thread::sleep(STEP);
            waited += STEP;
        }
    }
}

/// Returns the most memory that a process and its descendants have had so far, in MB: the sum of
/// their resident sets.
pub(super) fn memory(pid: u32) -> f64 {
    let peak = |pid: u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().trim_end_matches(" kB").parse::<f64>().ok()
    };
    tree(pid).into_iter().filter_map(peak).sum::<f64>() / 1024.0
}

/// Returns a process and its descendants.
fn tree(root: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u32)> =
        pids.filter_map(|pid| Some((pid, Stat::read(pid)?.parent))).collect();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(parent) = tree.get(next).copied() {
        tree.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::Stat;

    #[test]
    fn reads_the_state_parent_and_times_of_a_process() {
        let line = "42 (a) b) Z 7 42 42 0 -1 4 1 2 3 4 10 20 30 40 20 0 1 0 99";
        assert_eq!(Stat::parse(line), Some(Stat { state: 'Z', parent: 7, ticks: 30 }));
        assert_eq!(Stat::parse("42 (a) Z 7 42"), None);
    }
}
