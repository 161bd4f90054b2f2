//! Reads the ring buffer and the counters.

use std::{
    fs,
    os::fd::{AsFd as _, AsRawFd as _},
    time::Duration,
};

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray, RingBuf},
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
    counters: PerCpuArray<MapData, u64>,
    /// The programs that were loaded when this was created.
    programs: Vec<ProgramFd>,
}

impl RingReader {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, HookError> {
        let programs = ebpf
            .programs()
            .filter_map(|(_, program)| program.fd().ok()?.try_clone().ok())
            .collect();
        let mut take = |name: &'static str| ebpf.take_map(name).ok_or(HookError::Taken);
        Ok(Self {
            ring: RingBuf::try_from(take("RECORDS")?)
                .map_err(|source| HookError::Map { name: "RECORDS", source })?,
            counters: PerCpuArray::try_from(take("COUNTERS")?)
                .map_err(|source| HookError::Map { name: "COUNTERS", source })?,
            programs,
        })
    }

    /// Takes the next entry, if there is one. Records never wake the reader: call
    /// this until it returns `None`, then sleep for a short time.
    pub fn entry(&mut self) -> Option<Result<RingEntry, Malformed>> {
        let entry = self.ring.next()?;
        Some(match parse_mapped(&entry) {
            Some(tgid) => Ok(RingEntry::Mapped { tgid }),
            None => Record::from_kernel(&entry).map(RingEntry::Record),
        })
    }

    /// Waits until a process in scope maps a library, or for `timeout`. Returns at
    /// once if the ring is not empty.
    pub fn wait(&self, timeout: Duration) {
        let mut fds = [PollFd::new(&self.ring, PollFlags::IN)];
        let timeout = Timespec::try_from(timeout).ok();
        // If a signal interrupts it, the caller polls the ring early.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    /// Returns the counts of delivered and lost sends since the programs were
    /// loaded.
    pub fn losses(&self) -> Result<Losses, HookError> {
        let mut losses = Losses::default();
        for counter in Counter::ALL {
            let cpus = self
                .counters
                .get(&(counter as u32), 0)
                .map_err(|source| HookError::Map { name: "COUNTERS", source })?;
            losses.set(counter, cpus.iter().sum());
        }
        losses.set(Counter::Missed, self.programs.iter().filter_map(missed_runs).sum());
        Ok(losses)
    }
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
