//! The ring buffer, and the part of a record that does not depend on a socket.

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::generated::{bpf_get_current_comm, bpf_ktime_get_boot_ns},
    macros::map,
    maps::{Array, RingBuf},
};
use tracer_ebpf::{ABI_VERSION, RecordHeader};

use crate::{
    kernel::{Memory as _, User, thread},
    scope::WatchedProcess,
};

/// Records for the daemon, which sets the size. While there are some, the daemon polls: waking it
/// for each record would cost the sender about eleven microseconds.
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// One number, which the daemon sets before it sleeps until the next record.
#[map]
static SLEEPING: Array<u32> = Array::with_max_entries(1, 0);

/// Returns the flags with which the next record is put into the ring buffer: the first one after the
/// daemon fell asleep wakes it. Called after the space in the ring is reserved, if it can be, so
/// that the daemon sees one or the other.
#[inline(always)]
pub(crate) fn wake_up() -> u64 {
    if let Some(sleeping) = SLEEPING.get_ptr_mut(0) {
        // SAFETY: the value is valid while the map is. The daemon and programs on other CPUs write
        // it as well, so it is read and written once each.
        unsafe {
            if sleeping.read_volatile() != 0 {
                sleeping.write_volatile(0);
                return u64::from(BPF_RB_FORCE_WAKEUP);
            }
        }
    }
    u64::from(BPF_RB_NO_WAKEUP)
}

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

/// Fills in the header of a record of plaintext, which has no socket. `key` is that of the
/// library's object.
#[inline(always)]
pub(crate) fn describe_plaintext(
    header: &mut RecordHeader,
    hook: u8,
    process: WatchedProcess,
    key: u64,
    protocol: u16,
) {
    describe_sender(header, hook, process);
    header.flags = 0;
    header.key = key;
    header.tls_key = 0;
    header.position = 0;
    header.family = 0;
    header.protocol = protocol;
    header.local_port = 0;
    header.remote_port = 0;
    header.local_addr = [0; 16];
    header.remote_addr = [0; 16];
}

/// A length of at most `N`, kept in memory.
///
/// The verifiers of Linux 5.10 and 6.1 forget the bounds of a number that the compiler spills to the
/// stack, so the length is loaded and compared right before its use.
pub(crate) struct Bounded<'a, const N: usize>(&'a u32);

impl<'a, const N: usize> Bounded<'a, N> {
    #[inline(always)]
    pub(crate) fn new(memory: &'a mut u32, len: u64) -> Self {
        // SAFETY: a reference is valid.
        unsafe { core::ptr::write_volatile(memory, len.min(N as u64) as u32) };
        Self(memory)
    }

    /// Copies this many bytes; returns false if they cannot be read. `to` must have `N` bytes.
    #[inline(always)]
    pub(crate) fn copy(self, from: User, to: *mut u8) -> bool {
        // SAFETY: a reference is valid.
        let len = unsafe { core::ptr::read_volatile(self.0) };
        if len > N as u32 {
            return false;
        }
        // SAFETY: `len` is at most N.
        unsafe { from.copy_to(to, len) }
    }
}
