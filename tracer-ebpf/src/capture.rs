//! The capture core: a socket and a message in, a record in the ring buffer out.
//!
//! Every hook ends here, never in an interrupt. Some kernels may preempt a
//! program, and then run another one on the same CPU, but none runs one
//! program twice on a CPU at once: each entry point has a scratch of its own.

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::generated::{bpf_get_current_comm, bpf_get_smp_processor_id, bpf_ktime_get_boot_ns},
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use tracer_ebpf::{ABI_VERSION, CIPHERTEXT_HEAD, Counter, MAX_HEAD, RecordHeader, flag};

use crate::{
    kernel::{Kernel, Memory, setting, thread},
    message::{Data, Message},
    scope::{self, Scope},
    sock, tls,
};

/// Records for the daemon, which polls: waking it for each would cost the
/// sender some eleven microseconds. The daemon sets the size.
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// What was not delivered, by [`Counter`].
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);

/// Where a record is put together: [`Entry::scratch`] times the CPUs, and one
/// a CPU (the daemon sets how many). A per-CPU map would do, were its values
/// not limited to 32 KiB.
#[map]
static SCRATCH: Array<Scratch> = Array::with_max_entries(1, 0);

/// A program that captures.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    /// [`tracer_ebpf::hook`].
    pub(crate) hook: u8,
    /// Which of a CPU's scratches is its own, among the programs that are
    /// attached together.
    pub(crate) scratch: u32,
}

/// A record in the making. The payload has twice the room that is used: an
/// offset and a length, each at most [`MAX_HEAD`], then always fit, which is
/// as much as the verifier can follow.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) header: RecordHeader,
    payload: [u8; 2 * MAX_HEAD],
    progress: Progress,
}

/// How far a message's buffers are taken.
///
/// Kept in the map and always read back: of a number in memory the verifier
/// knows nothing, so that every turn of the loop over the buffers looks the
/// same to it. With both in registers, 32 turns took it 240 000 steps; so, 256
/// take 80 000.
#[repr(C)]
struct Progress {
    /// Bytes the process asked to send, as far as they were counted.
    sent: u64,
    /// Bytes captured.
    captured: u64,
    /// Bytes that may still be captured.
    room: u64,
    /// Bytes wanted of the buffer at hand.
    want: u64,
    /// 1: a buffer could not be read. What lies behind it has no known place.
    unreadable: u64,
    /// Bytes that earlier messages of the same system call ask to send, or
    /// [`Progress::UNKNOWN`]. They are not sent yet: the socket's own position
    /// is still the first one's.
    ahead: u64,
}

impl Progress {
    /// Bytes that could not all be counted.
    const UNKNOWN: u64 = u64::MAX;

    #[inline(always)]
    fn load(word: &u64) -> u64 {
        // SAFETY: a reference is valid.
        unsafe { core::ptr::read_volatile(word) }
    }

    #[inline(always)]
    fn store(word: &mut u64, value: u64) {
        // SAFETY: a reference is valid.
        unsafe { core::ptr::write_volatile(word, value) }
    }
}

/// Adds one to a counter.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    count_all(counter, 1);
}

/// Adds to a counter.
#[inline(always)]
pub(crate) fn count_all(counter: Counter, by: u64) {
    if let Some(cell) = COUNTERS.get_ptr_mut(counter as u32) {
        // A program that preempts this one between the load and the store can
        // cost a count; the target has no atomic addition to prevent it.
        // SAFETY: the cell is this CPU's.
        unsafe { *cell += by };
    }
}

/// Takes the head of `message`, which the process in `scope` sends on `sk`.
/// Sockets other than TCP's and UDP's over IP are none of tracer's business.
///
/// At most `IOVECS` buffers are walked. The kernel itself takes 1024
/// (`UIO_MAXIOV`); each costs a read here, and some of the verifier's patience.
#[inline(always)]
pub(crate) fn capture<const IOVECS: u32>(
    entry: Entry,
    scope: Scope,
    sk: Kernel,
    message: Message<impl Data, impl Memory>,
) {
    // SAFETY: has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let slot = entry.scratch * setting!(cpus) + cpu;
    let (Some(scratch), Some(policy)) = (SCRATCH.get_ptr_mut(slot), scope::policy(scope.slot))
    else {
        return count(Counter::Internal);
    };
    // SAFETY: the slot is this program's on this CPU.
    let scratch = unsafe { &mut *scratch };
    let header = &mut scratch.header;
    if message.first {
        Progress::store(&mut scratch.progress.ahead, 0);
    }
    let ahead = Progress::load(&scratch.progress.ahead);
    let ahead_known = (ahead != Progress::UNKNOWN).then_some(ahead as u32);
    if sock::describe(header, sk, &message, ahead_known).is_none() {
        return;
    }
    describe(header, entry.hook, scope);
    header.tls_key = tls::current();
    let head = if header.tls_key == 0 {
        policy.head_bytes
    } else {
        policy.head_bytes.min(CIPHERTEXT_HEAD)
    };

    Progress::store(&mut scratch.progress.sent, 0);
    Progress::store(&mut scratch.progress.captured, 0);
    Progress::store(&mut scratch.progress.room, u64::from(head));
    Progress::store(&mut scratch.progress.unreadable, 0);
    message.data.gather::<IOVECS>(scratch);
    submit(scratch);
    let ahead = if scratch.header.flags & flag::LEN_UNKNOWN == 0 {
        ahead.saturating_add(Progress::load(&scratch.progress.sent))
    } else {
        Progress::UNKNOWN
    };
    Progress::store(&mut scratch.progress.ahead, ahead);
}

/// What a message's data does with the record in the making.
impl Scratch {
    /// Adds to the length of the send. A sum that wraps is beyond what the
    /// kernel takes (`MAX_RW_COUNT`).
    #[inline(always)]
    pub(crate) fn sends(&mut self, len: u64) {
        let sent = Progress::load(&self.progress.sent);
        Progress::store(&mut self.progress.sent, sent.wrapping_add(len));
    }

    /// Captures no more than `len` bytes.
    #[inline(always)]
    pub(crate) fn limit(&mut self, len: u64) {
        let room = Progress::load(&self.progress.room);
        Progress::store(&mut self.progress.room, room.min(len));
    }

    /// Whether all is captured that is to be.
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        Progress::load(&self.progress.room) == 0
    }

    /// Captures nothing more: what follows has no known place.
    #[inline(always)]
    pub(crate) fn lose(&mut self) {
        Progress::store(&mut self.progress.room, 0);
        Progress::store(&mut self.progress.unreadable, 1);
    }

    /// Captures as much of a buffer as there is room for.
    #[inline(always)]
    pub(crate) fn take(&mut self, base: impl Memory, len: u64) {
        let room = Progress::load(&self.progress.room);
        if room == 0 {
            return;
        }
        Progress::store(&mut self.progress.want, len.min(room));
        if self.copy(base) {
            let room = Progress::load(&self.progress.room);
            Progress::store(&mut self.progress.room, room - len.min(room));
            return;
        }
        self.lose();
        // One page that is not in memory fails the whole read. The first page
        // alone is more likely to be there, and is where a request begins.
        let want = Progress::load(&self.progress.want);
        Progress::store(&mut self.progress.want, base.to_page_end().min(want));
        self.copy(base);
    }

    /// Appends what is wanted of a buffer; `false` if it cannot be read.
    ///
    /// Place and length are checked right before they are used: the verifier
    /// of Linux 5.10 forgets the bounds of a number that the compiler puts on
    /// the stack in between.
    #[inline(always)]
    fn copy(&mut self, base: impl Memory) -> bool {
        const MAX: u64 = MAX_HEAD as u64;
        let want = Progress::load(&self.progress.want);
        let at = Progress::load(&self.progress.captured);
        if at > MAX || want > MAX {
            return false;
        }
        // SAFETY: `at` and `want` are at most MAX_HEAD each.
        let to = unsafe { self.payload.as_mut_ptr().add(at as usize) };
        // SAFETY: as above.
        let copied = unsafe { base.copy_to(to, want as u32) };
        if copied {
            let at = Progress::load(&self.progress.captured);
            let want = Progress::load(&self.progress.want);
            Progress::store(&mut self.progress.captured, at + want);
        }
        copied
    }
}

/// Fills in what does not depend on a socket.
#[inline(always)]
pub(crate) fn describe(header: &mut RecordHeader, hook: u8, scope: Scope) {
    header.version = ABI_VERSION;
    header.hook = hook;
    header.policy = scope.slot;
    header.uid = scope.uid;
    header.tgid = scope.tgid;
    header.offset = 0;
    header.reserved = 0;
    // SAFETY: has no preconditions.
    header.time = unsafe { bpf_ktime_get_boot_ns() };
    header.tid = thread() as u32;
    // SAFETY: the helper writes at most the length it is told. A failure
    // leaves zeros.
    unsafe { bpf_get_current_comm(header.comm.as_mut_ptr().cast(), header.comm.len() as u32) };
}

/// A number that stands for the object at an address.
#[inline(always)]
pub(crate) fn key(address: u64) -> u64 {
    mix(address ^ setting!(key_seed))
}

/// Spreads a number's bits (the finaliser of MurmurHash3).
#[inline(always)]
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// Copies the record into the ring buffer, exactly as long as it is.
#[inline(always)]
fn submit(scratch: &mut Scratch) {
    let sent = Progress::load(&scratch.progress.sent);
    if Progress::load(&scratch.progress.unreadable) != 0 {
        count(Counter::Unreadable);
    }
    if sent == 0 && scratch.header.flags & flag::LEN_UNKNOWN == 0 {
        return;
    }
    scratch.header.len = sent.min(u64::from(u32::MAX)) as u32;
    scratch.header.captured = Progress::load(&scratch.progress.captured) as u32;
    // As in `Scratch::copy`.
    let captured = Progress::load(&scratch.progress.captured).min(2 * MAX_HEAD as u64);
    let len = RecordHeader::SIZE + captured as usize;
    // SAFETY: header and payload lie side by side in the scratch.
    let record = unsafe { core::slice::from_raw_parts((&raw const *scratch).cast::<u8>(), len) };
    match RECORDS.output::<[u8]>(record, u64::from(BPF_RB_NO_WAKEUP)) {
        Ok(()) => count(Counter::Delivered),
        Err(_) => count(Counter::RingFull),
    }
}
