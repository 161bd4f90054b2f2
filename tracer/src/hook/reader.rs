//! The reading end: drains the ring buffer, adds up the counters.

use aya::{
    Ebpf,
    maps::{MapData, PerCpuArray, RingBuf},
};
use tracer_ebpf::Counter;

use super::HookError;
use crate::record::{Losses, Malformed, Record};

/// Reads records and counters. Outlives a borrow of [`super::Capture`], so
/// that a thread of its own can poll it.
pub struct Reader {
    ring: RingBuf<MapData>,
    counters: PerCpuArray<MapData, u64>,
}

impl Reader {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, HookError> {
        let mut take = |name: &'static str| ebpf.take_map(name).ok_or(HookError::Taken);
        Ok(Self {
            ring: RingBuf::try_from(take("RECORDS")?)
                .map_err(|source| HookError::Map { name: "RECORDS", source })?,
            counters: PerCpuArray::try_from(take("COUNTERS")?)
                .map_err(|source| HookError::Map { name: "COUNTERS", source })?,
        })
    }

    /// Takes the next record, if there is one. The programs never wake the
    /// reader: call it until it has no more, then sleep a little.
    pub fn next(&mut self) -> Option<Result<Record, Malformed>> {
        self.ring.next().map(|entry| Record::from_kernel(&entry))
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
        Ok(losses)
    }
}
