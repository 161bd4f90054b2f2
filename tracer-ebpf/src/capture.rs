//! The capture core: a socket and a message in, a record in the ring buffer out.
//!
//! Every entry point ends here. It runs where the kernel has preemption
//! disabled and not in interrupts, so that the CPU's scratch is its own.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    helpers::generated::{
        bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_smp_processor_id,
        bpf_ktime_get_boot_ns, bpf_probe_read_kernel,
    },
    macros::map,
    maps::{Array, PerCpuArray, RingBuf},
};
use tracer_ebpf::{
    ABI_VERSION, CIPHERTEXT_HEAD, Counter, MAX_HEAD, RecordHeader, SOCK_HEAD, flag, net,
};

use crate::{
    kernel::{Kernel, User, offset, setting},
    scope::{self, Scope},
    tls,
};

/// Records for the daemon, which polls: waking it for each would cost the
/// sender some eleven microseconds. The daemon sets the size.
#[map]
pub(crate) static RECORDS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

/// What was not delivered, by [`Counter`].
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Counter::COUNT, 0);

/// Where a record is put together, one slot a CPU (the daemon sets how many).
/// A per-CPU map would do, were its values not limited to 32 KiB.
#[map]
static SCRATCH: Array<Scratch> = Array::with_max_entries(1, 0);

/// A record in the making. The payload has twice the room that is used: an
/// offset and a length, each at most [`MAX_HEAD`], then always fit, which is
/// as much as the verifier can follow.
#[repr(C)]
struct Scratch {
    header: RecordHeader,
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
        // SAFETY: the cell is this CPU's.
        unsafe { *cell += by };
    }
}

/// What a process asked to send.
#[derive(Clone, Copy)]
pub(crate) struct Message {
    /// Where the bytes are.
    pub(crate) data: Data,
    /// The address given with the message, if any.
    pub(crate) name: User,
    /// That address's length.
    pub(crate) name_len: u32,
    /// Whether the system call sends nothing before it.
    pub(crate) first: bool,
}

/// Where a message's bytes are.
#[derive(Clone, Copy)]
pub(crate) enum Data {
    /// In one buffer.
    Buffer { base: User, len: u64 },
    /// In several, listed in the process's memory.
    Iovecs { list: User, count: u64 },
}

/// `struct iovec`, and `struct msghdr`'s idea of it, for a 64-bit process.
#[derive(Clone, Copy)]
#[repr(C)]
struct Iovec {
    base: u64,
    len: u64,
}

/// Takes the head of `message`, which the process in `scope` sends on `sk`.
/// Sockets other than TCP's and UDP's over IP are none of tracer's business.
///
/// At most `IOVECS` buffers are walked. The kernel itself takes 1024
/// (`UIO_MAXIOV`); each costs a read here, and some of the verifier's patience.
#[inline(always)]
pub(crate) fn capture<const IOVECS: u32>(hook: u8, scope: Scope, sk: Kernel, message: Message) {
    // SAFETY: has no preconditions.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let (Some(scratch), Some(policy)) = (SCRATCH.get_ptr_mut(cpu), scope::policy(scope.slot))
    else {
        return count(Counter::Internal);
    };
    // SAFETY: the slot is this CPU's, and nothing else runs on it now.
    let scratch = unsafe { &mut *scratch };
    let header = &mut scratch.header;
    if message.first {
        Progress::store(&mut scratch.progress.ahead, 0);
    }
    let ahead = Progress::load(&scratch.progress.ahead);
    if socket(header, sk, &message, ahead).is_none() {
        return;
    }
    describe(header, hook, scope);
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
    match message.data {
        Data::Buffer { base, len } => scratch.add(base, len),
        Data::Iovecs { list, count } => scratch.add_all::<IOVECS>(list, count),
    }
    submit(scratch);
    let ahead = if scratch.header.flags & flag::LEN_UNKNOWN == 0 {
        ahead.saturating_add(Progress::load(&scratch.progress.sent))
    } else {
        Progress::UNKNOWN
    };
    Progress::store(&mut scratch.progress.ahead, ahead);
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
    // SAFETY: has no preconditions.
    header.tid = unsafe { bpf_get_current_pid_tgid() } as u32;
    // SAFETY: the helper writes at most the length it is told. A failure
    // leaves zeros.
    unsafe { bpf_get_current_comm(header.comm.as_mut_ptr().cast(), header.comm.len() as u32) };
}

impl Scratch {
    /// Counts a buffer, and captures as much of it as there is room for.
    #[inline(always)]
    fn add(&mut self, base: User, len: u64) {
        const MAX: u64 = MAX_HEAD as u64;
        let progress = &mut self.progress;
        // A sum that wraps is beyond what the kernel takes (MAX_RW_COUNT).
        let sent = Progress::load(&progress.sent);
        Progress::store(&mut progress.sent, sent.wrapping_add(len));
        let room = Progress::load(&progress.room);
        let at = Progress::load(&progress.captured);
        if room == 0 || at >= MAX {
            return;
        }
        let want = len.min(room).min(MAX);
        // SAFETY: `at` and `want` are at most MAX_HEAD each.
        let to = unsafe { self.payload.as_mut_ptr().add(at as usize) };
        // SAFETY: as above.
        if unsafe { base.copy_to(to, want as u32) } {
            Progress::store(&mut progress.captured, at + want);
            Progress::store(&mut progress.room, room - want);
            return;
        }
        Progress::store(&mut progress.room, 0);
        Progress::store(&mut progress.unreadable, 1);
        // One page that is not in memory fails the whole read. The first page
        // alone is more likely to be there, and is where a request begins.
        let first = base.to_page_end().min(want);
        // SAFETY: as above.
        if unsafe { base.copy_to(to, first as u32) } {
            Progress::store(&mut progress.captured, at + first);
        }
    }

    /// Takes a message's buffers as listed.
    #[inline(always)]
    fn add_all<const MAX: u32>(&mut self, list: User, count: u64) {
        for i in 0..MAX {
            if u64::from(i) >= count {
                return;
            }
            match list.add(u64::from(i) * size_of::<Iovec>() as u64).read::<Iovec>() {
                Some(iovec) => self.add(User::new(iovec.base), iovec.len),
                None => {
                    self.header.flags |= flag::LEN_UNKNOWN;
                    Progress::store(&mut self.progress.room, 0);
                    Progress::store(&mut self.progress.unreadable, 1);
                }
            }
        }
        if count > u64::from(MAX) {
            self.header.flags |= flag::LEN_UNKNOWN;
            crate::capture::count(Counter::TooManyIovecs);
        }
    }
}

/// Describes the socket in the header; `None` if it is not TCP or UDP over IP.
#[inline(always)]
fn socket(header: &mut RecordHeader, sk: Kernel, message: &Message, ahead: u64) -> Option<()> {
    header.flags = 0;
    let mut head = MaybeUninit::uninit();
    let sock = SockHead::read(sk, &mut head)?;
    let family: u16 = sock.field(offset!(sock.family));
    let protocol: u16 = sk.read(offset!(sock.protocol))?;
    if (family != net::AF_INET && family != net::AF_INET6)
        || (protocol != net::TCP && protocol != net::UDP && protocol != net::MPTCP)
    {
        return None;
    }
    header.family = family;
    header.protocol = protocol;
    header.key = key(sk.0);
    header.local_port = sock.field(offset!(sock.num));
    header.remote_port = u16::from_be(sock.field(offset!(sock.dport)));
    if family == net::AF_INET {
        header.local_addr = v4(sock.field(offset!(sock.rcv_saddr)));
        header.remote_addr = v4(sock.field(offset!(sock.daddr)));
    } else {
        header.local_addr = sock.v6(offset!(sock.v6_rcv_saddr));
        header.remote_addr = sock.v6(offset!(sock.v6_daddr));
    }
    header.position = 0;
    if protocol == net::TCP
        && sock.field::<u8>(offset!(sock.state)) != net::STATE_CLOSE
        && ahead != Progress::UNKNOWN
    {
        let write_seq: u32 = sk.read(offset!(sock.write_seq))?;
        header.position = write_seq.wrapping_add(ahead as u32);
        header.flags |= flag::POSITION;
    }
    if protocol == net::UDP && !message.name.is_null() {
        named(header, message);
    }
    Some(())
}

/// Takes the remote end from the address that was given with a datagram.
#[inline(always)]
fn named(header: &mut RecordHeader, message: &Message) {
    /// `struct sockaddr_in`.
    const V4: u32 = 16;
    /// `struct sockaddr_in6` up to its scope id.
    const V6: u32 = 24;

    let Some((family, port)) = message.name.read::<(u16, u16)>() else {
        return;
    };
    if family == net::AF_INET && message.name_len >= V4 {
        let Some(addr) = message.name.add(4).read::<u32>() else {
            return;
        };
        // An IPv6 socket may be given an IPv4 address, and then speaks IPv4.
        if header.family == net::AF_INET6 {
            header.family = net::AF_INET;
            header.local_addr = [0; 16];
        }
        header.remote_addr = v4(addr);
    } else if family == net::AF_INET6 && message.name_len >= V6 && header.family == net::AF_INET6 {
        let Some(addr) = message.name.add(8).read::<[u8; 16]>() else {
            return;
        };
        header.remote_addr = addr;
    } else {
        return;
    }
    header.remote_port = u16::from_be(port);
}

/// The beginning of `struct sock`, read at once: a call for each field would
/// cost more than all the bytes. Aligned as the kernel's is, so that a field is
/// one load.
#[repr(C, align(8))]
struct SockHead([u8; SOCK_HEAD]);

impl SockHead {
    /// Reads into the caller's `head`. Returned by value it would be copied,
    /// byte by byte, which takes longer than all the rest of [`socket`].
    #[inline(always)]
    fn read(sk: Kernel, head: &mut MaybeUninit<Self>) -> Option<&Self> {
        // SAFETY: writes all of `head` or fails.
        let result = unsafe {
            bpf_probe_read_kernel(head.as_mut_ptr().cast(), SOCK_HEAD as u32, sk.0 as *const _)
        };
        // SAFETY: written, as just checked.
        (result == 0).then(|| unsafe { head.assume_init_ref() })
    }

    #[inline(always)]
    fn field<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: the daemon refuses a kernel where a field does not lie in
        // the head, and the verifier would. The compiler that built the kernel
        // aligned it.
        unsafe { core::ptr::read(self.0.as_ptr().add(offset).cast()) }
    }

    /// An IPv6 address, in words: its bytes need not be aligned any better.
    #[inline(always)]
    fn v6(&self, offset: usize) -> [u8; 16] {
        bytes([0, 4, 8, 12].map(|at| self.field(offset + at)))
    }
}

/// An IPv4 address as the header holds it; `addr` is in network order.
#[inline(always)]
fn v4(addr: u32) -> [u8; 16] {
    bytes([addr, 0, 0, 0])
}

/// An address as bytes, in the order in which they lie in memory.
#[inline(always)]
fn bytes(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: both are sixteen bytes of any value.
    unsafe { core::mem::transmute(words) }
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
    let captured = Progress::load(&scratch.progress.captured).min(2 * MAX_HEAD as u64);
    scratch.header.captured = captured as u32;
    let len = RecordHeader::SIZE + captured as usize;
    // SAFETY: header and payload lie side by side in the scratch.
    let record = unsafe { core::slice::from_raw_parts((&raw const *scratch).cast::<u8>(), len) };
    match RECORDS.output::<[u8]>(record, u64::from(BPF_RB_NO_WAKEUP)) {
        Ok(()) => count(Counter::Delivered),
        Err(_) => count(Counter::RingFull),
    }
}
