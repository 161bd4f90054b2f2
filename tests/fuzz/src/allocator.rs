//! An allocator that counts.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

/// Bytes that are allocated.
static NOW: AtomicUsize = AtomicUsize::new(0);

/// The highest value of [`NOW`] since it was last asked for.
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The system's allocator, with a count of what is allocated. Memory that the system clears without
/// touching it, such as a large window of a decompressor, stays untouched.
#[derive(Debug)]
pub(crate) struct Counting;

/// Returns the number of bytes that are allocated, and starts to look for a peak.
pub(crate) fn start() -> usize {
    let now = NOW.load(Relaxed);
    PEAK.store(now, Relaxed);
    now
}

/// Returns the highest number of bytes that were allocated since [`start`].
pub(crate) fn peak() -> usize {
    PEAK.load(Relaxed)
}

fn add(size: usize) {
    PEAK.fetch_max(NOW.fetch_add(size, Relaxed) + size, Relaxed);
}

fn remove(size: usize) {
    NOW.fetch_sub(size, Relaxed);
}

// SAFETY: every method passes its arguments on to the system's allocator, which has the same
// contract, and returns what that returns. Counting neither allocates nor panics.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the same contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller keeps the same contract.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        add(size);
        remove(layout.size());
        // SAFETY: the caller keeps the same contract.
        unsafe { System.realloc(memory, layout, size) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: the caller keeps the same contract.
        unsafe { System.dealloc(memory, layout) }
    }
}
