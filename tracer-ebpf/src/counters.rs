//! Per-CPU counters of delivered and lost sends.

use aya_ebpf::{macros::map, maps::PerCpuArray};
use tracer_ebpf::Counter;

/// Indexed by [`Counter`].
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);

/// Increments a counter.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    count_all(counter, 1);
}

/// Adds `by` to a counter.
#[inline(always)]
pub(crate) fn count_all(counter: Counter, by: u64) {
    if let Some(cell) = COUNTERS.get_ptr_mut(counter as u32) {
        // A program that preempts this one between the load and the store can
        // lose a count; the target has no atomic addition.
        // SAFETY: the cell belongs to this CPU.
        unsafe { *cell += by };
    }
}
