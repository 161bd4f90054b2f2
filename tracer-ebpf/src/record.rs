//! The ring buffer, and the part of a record that does not depend on a socket.

use aya_ebpf::{
    helpers::generated::{bpf_get_current_comm, bpf_ktime_get_boot_ns},
    macros::map,
    maps::RingBuf,
};
use tracer_ebpf::{ABI_VERSION, RecordHeader};

use crate::{kernel::thread, scope::WatchedProcess};

/// Records for the daemon, which sets the size. The daemon polls: waking it for
/// each record would cost the sender about eleven microseconds.
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// Fills in the hook, the time and the current process.
#[inline(always)]
pub(crate) fn describe_sender(header: &mut RecordHeader, hook: u8, process: WatchedProcess) {
    header.version = ABI_VERSION;
    header.hook = hook;
    header.policy = process.slot;
    header.uid = process.uid;
    header.tgid = process.tgid;
    header.offset = 0;
    header.reserved = 0;
    // SAFETY: has no preconditions.
    header.time = unsafe { bpf_ktime_get_boot_ns() };
    header.tid = thread() as u32;
    // SAFETY: the helper writes at most the given length, and zeros if it fails.
    unsafe { bpf_get_current_comm(header.comm.as_mut_ptr().cast(), header.comm.len() as u32) };
}
