//! The reading end: drains the ring buffer, adds up the counters.

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
pub enum Entry {
    /// Somebody in scope sent.
    Sent(Record),
    /// A process in scope may have mapped a library.
    Mapped {
        /// The process.
        tgid: u32,
    },
}

/// The process of a [`Mapped`] entry.
fn mapped(entry: &[u8]) -> Option<u32> {
    let (head, rest) = entry.split_first_chunk::<4>()?;
    let (tgid, _) = rest.split_first_chunk()?;
    (entry.len() == size_of::<Mapped>() && head[2] == MAPPED).then(|| u32::from_ne_bytes(*tgid))
}

/// Reads records and counters. Outlives a borrow of [`super::Capture`], so
/// that a thread of its own can poll it.
pub struct Reader {
    ring: RingBuf<MapData>,
    counters: PerCpuArray<MapData, u64>,
    /// The programs that were loaded by then.
    programs: Vec<ProgramFd>,
}

impl Reader {
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

    /// Takes the next entry, if there is one. Records never wake the reader:
    /// call it until it has no more, then sleep a little.
    pub fn entry(&mut self) -> Option<Result<Entry, Malformed>> {
        let entry = self.ring.next()?;
        Some(match mapped(&entry) {
            Some(tgid) => Ok(Entry::Mapped { tgid }),
            None => Record::from_kernel(&entry).map(Entry::Sent),
        })
    }

    /// Waits until a process in scope maps a library, or for `timeout`. With
    /// records in the ring it returns at once.
    pub fn wait(&self, timeout: Duration) {
        let mut fds = [PollFd::new(&self.ring, PollFlags::IN)];
        let timeout = Timespec::try_from(timeout).ok();
        // Interrupted by a signal or not: the caller looks at the ring.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    /// What was not delivered since the programs were loaded, and how much was.
    pub fn losses(&self) -> Result<Losses, HookError> {
        let mut losses = Losses::default();
        for counter in Counter::ALL {
            let cpus = self
                .counters
                .get(&(counter as u32), 0)
                .map_err(|source| HookError::Map { name: "COUNTERS", source })?;
            losses.set(counter, cpus.iter().sum());
        }
        losses.set(Counter::Missed, self.programs.iter().filter_map(missed).sum());
        Ok(losses)
    }
}

/// How often the kernel skipped a program because another task was within it
/// on the same CPU (`bpf_prog_show_fdinfo` in kernel/bpf/syscall.c, from Linux
/// 5.12 on).
fn missed(program: &ProgramFd) -> Option<u64> {
    let fd = program.as_fd().as_raw_fd();
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok()?;
    let count = info.lines().find_map(|line| line.strip_prefix("recursion_misses:"))?;
    count.trim().parse().ok()
}
