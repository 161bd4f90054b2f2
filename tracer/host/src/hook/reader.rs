//! Reads the ring buffer and the counters.

use std::{
    fs,
    os::fd::{AsFd, AsRawFd as _},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{Array, MapData, PerCpuArray, RingBuf},
    programs::ProgramFd,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracer_ebpf::{Counter, MAPPED, Mapped};

use super::HookError;
use tracer_core::record::{Losses, Malformed, Record};

/// An entry of the ring buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RingEntry {
    /// A send of a process in scope.
    Record(Record),
    /// A process in scope may have mapped a library.
    Mapped {
        /// The process id.
        tgid: u32,
    },
}

/// Returns the process of a [`Mapped`] entry.
fn parse_mapped(entry: &[u8]) -> Option<u32> {
    let (head, rest) = entry.split_first_chunk::<4>()?;
    let (tgid, _) = rest.split_first_chunk()?;
    (entry.len() == size_of::<Mapped>() && head[2] == MAPPED).then(|| u32::from_ne_bytes(*tgid))
}

/// Reads records and counters. It does not borrow from [`super::Capture`], so that
/// a separate thread can poll it.
pub struct RingReader {
    ring: RingBuf<MapData>,
    sleeping: Array<MapData, u32>,
    counters: PerCpuArray<MapData, u64>,
    /// The programs whose missed runs are counted.
    programs: Vec<ProgramFd>,
    /// The counts when the capture was last started.
    before: [u64; Counter::COUNT as usize],
}

impl RingReader {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, HookError> {
        let programs = loaded_programs(ebpf);
        let mut take = |name: &'static str| ebpf.take_map(name).ok_or(HookError::Taken);
        Ok(Self {
            ring: RingBuf::try_from(take("RECORDS")?)
                .map_err(|source| HookError::Map { name: "RECORDS", source })?,
            sleeping: Array::try_from(take("SLEEPING")?)
                .map_err(|source| HookError::Map { name: "SLEEPING", source })?,
            counters: PerCpuArray::try_from(take("COUNTERS")?)
                .map_err(|source| HookError::Map { name: "COUNTERS", source })?,
            programs,
            before: Default::default(),
        })
    }

    /// Counts the missed runs of every program that is loaded by now.
    pub(super) fn update_programs(&mut self, ebpf: &Ebpf) {
        self.programs = loaded_programs(ebpf);
    }

    /// Drops what is in the ring, and counts from here on.
    pub(super) fn restart(&mut self) -> Result<(), HookError> {
        while self.ring.next().is_some() {}
        self.before = self.counts()?;
        Ok(())
    }

    /// Takes the next entry, if there is one. While this returns entries, records do not wake the
    /// reader: call it until it returns `None`, then sleep for a short time.
    pub fn entry(&mut self) -> Option<Result<RingEntry, Malformed>> {
        let entry = self.ring.next()?;
        Some(match parse_mapped(&entry) {
            Some(tgid) => Ok(RingEntry::Mapped { tgid }),
            None => Record::from_kernel(&entry).map(RingEntry::Record),
        })
    }

    /// Waits until a process in scope maps a library, or `other` can be read, or for `timeout`.
    /// Returns at once if the ring is not empty.
    pub fn wait(&self, timeout: Duration, other: Option<&impl AsFd>) {
        let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(&self.ring, PollFlags::IN)];
        fds.extend(other.map(|other| PollFd::new(other, PollFlags::IN)));
        let timeout = Timespec::try_from(timeout).ok();
        // If a signal interrupts it, the caller polls the ring early.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    /// Waits until there is an entry, or `other` can be read, or for `timeout`. The record that ends
    /// it costs its sender a wake-up.
    pub fn sleep(&mut self, timeout: Duration, other: &impl AsFd) {
        /// A program that did not see the request may put a record into the ring just after it was
        /// found empty. It is found when the ring is looked at again.
        const AGAIN: Duration = Duration::from_millis(20);
        if self.sleeping.set(0, 1, 0).is_err() {
            return self.wait(timeout.min(AGAIN), Some(other));
        }
        self.wait(timeout.min(AGAIN), Some(other));
        // Returns at once if the first call did not end by its time.
        self.wait(timeout.saturating_sub(AGAIN), Some(other));
    }

    /// Returns the counts of delivered and lost sends since the capture was started.
    pub fn losses(&self) -> Result<Losses, HookError> {
        let counts = self.counts()?;
        let mut losses = Losses::default();
        for counter in Counter::ALL {
            let index = counter as usize;
            losses.set(counter, counts[index].saturating_sub(self.before[index]));
        }
        Ok(losses)
    }

    /// Returns the counts since the programs were loaded, indexed by [`Counter`].
    fn counts(&self) -> Result<[u64; Counter::COUNT as usize], HookError> {
        let mut counts = [0; Counter::COUNT as usize];
        for counter in Counter::ALL {
            let cpus = self
                .counters
                .get(&(counter as u32), 0)
                .map_err(|source| HookError::Map { name: "COUNTERS", source })?;
            counts[counter as usize] = cpus.iter().sum();
        }
        counts[Counter::Missed as usize] = self.programs.iter().filter_map(missed_runs).sum();
        Ok(counts)
    }
}

fn loaded_programs(ebpf: &Ebpf) -> Vec<ProgramFd> {
    let programs = ebpf.programs();
    programs.filter_map(|(_, program)| program.fd().ok()?.try_clone().ok()).collect()
}

/// Returns how often the kernel skipped a program because another task was inside
/// it on the same CPU (`bpf_prog_show_fdinfo` in kernel/bpf/syscall.c, since Linux
/// 5.12).
fn missed_runs(program: &ProgramFd) -> Option<u64> {
    let fd = program.as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let count = info.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
    count.trim().parse().ok()
}
