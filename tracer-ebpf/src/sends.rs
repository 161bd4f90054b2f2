//! Sends at the kernel's own functions, where a socket and a message are given:
//! whichever system call, io_uring or splice they come by. Other system calls
//! do not pass here and cost nothing.
//!
//! The same functions by fentry, which costs least and needs trampolines; by
//! kprobe, which every kernel with CONFIG_KPROBES has; and, for TCP alone, at a
//! tracepoint that needs neither. Above each entry point stand the prototype
//! and the first and the last kernel that it was run on (x86_64).

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_RB_NO_WAKEUP,
    macros::{fentry, kprobe, map, raw_tracepoint},
    maps::LruHashMap,
    programs::{FEntryContext, ProbeContext, RawTracePointContext},
};
use tracer_ebpf::{Counter, RecordHeader, hook, net};

use crate::{
    capture::{Entry, RECORDS, capture, count, describe},
    kernel::{Kernel, Task, offset, thread},
    message::{self, Message},
    scope, sock, tls,
};

/// The most buffers of one message that are walked.
const MAX_IOVECS: u32 = 256;

/// The first arguments of a function, as numbers: of what it knows to be a
/// pointer the verifier allows no hash.
#[inline(always)]
fn args<const N: usize>(ctx: &FEntryContext) -> Option<[u64; N]> {
    Kernel(ctx.as_ptr() as u64).read(0)
}

/// `int tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size)`,
/// run on Linux 5.10 to 7.2.
#[fentry(function = "tcp_sendmsg")]
fn fentry_tcp_sendmsg(ctx: FEntryContext) -> i32 {
    if let Some([sk, msg]) = args(&ctx) {
        sendmsg(Entry { hook: hook::FENTRY, scratch: 0 }, Kernel(sk), Kernel(msg));
    }
    0
}

/// `int udp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`,
/// run on Linux 5.10 to 7.2.
#[fentry(function = "udp_sendmsg")]
fn fentry_udp_sendmsg(ctx: FEntryContext) -> i32 {
    if let Some([sk, msg]) = args(&ctx) {
        udp_sendmsg(Entry { hook: hook::FENTRY, scratch: 1 }, Kernel(sk), Kernel(msg));
    }
    0
}

/// `int udpv6_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`,
/// run on Linux 5.10 to 7.2.
#[fentry(function = "udpv6_sendmsg")]
fn fentry_udpv6_sendmsg(ctx: FEntryContext) -> i32 {
    if let Some([sk, msg]) = args(&ctx) {
        sendmsg(Entry { hook: hook::FENTRY, scratch: 2 }, Kernel(sk), Kernel(msg));
    }
    0
}

/// `static int mptcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`,
/// since Linux 5.6; attached on 5.10 to 7.2, and never fired in a test.
#[fentry(function = "mptcp_sendmsg")]
fn fentry_mptcp_sendmsg(ctx: FEntryContext) -> i32 {
    if let Some([sk, msg]) = args(&ctx) {
        sendmsg(Entry { hook: hook::FENTRY, scratch: 3 }, Kernel(sk), Kernel(msg));
    }
    0
}

/// `int tcp_sendpage(struct sock *sk, struct page *page, int offset, size_t size, int flags)`,
/// until Linux 6.4; run on 5.10 and 6.1.
#[fentry(function = "tcp_sendpage")]
fn fentry_tcp_sendpage(ctx: FEntryContext) -> i32 {
    if let Some([sk, _page, _offset, size]) = args(&ctx) {
        sendpage(hook::FENTRY, Kernel(sk), size);
    }
    0
}

/// `unsigned long vm_mmap_pgoff(struct file *file, unsigned long addr, unsigned long len, unsigned long prot, unsigned long flag, unsigned long pgoff)`,
/// run on Linux 6.1 to 7.2, attached on 5.10.
#[fentry(function = "vm_mmap_pgoff")]
fn fentry_vm_mmap_pgoff(ctx: FEntryContext) -> i32 {
    mmap(ctx.arg(0), ctx.arg(3));
    0
}

/// As `fentry_tcp_sendmsg`, `fentry_udpv6_sendmsg` and `fentry_mptcp_sendmsg`; run on Linux 5.10 to 7.2.
#[kprobe]
fn kprobe_sendmsg(ctx: ProbeContext) -> u32 {
    if let (Some(sk), Some(msg)) = (ctx.arg(0), ctx.arg(1)) {
        sendmsg(Entry { hook: hook::KPROBE, scratch: 0 }, Kernel(sk), Kernel(msg));
    }
    0
}

/// As `fentry_udp_sendmsg`; run on Linux 5.10 to 7.2.
#[kprobe]
fn kprobe_udp_sendmsg(ctx: ProbeContext) -> u32 {
    if let (Some(sk), Some(msg)) = (ctx.arg(0), ctx.arg(1)) {
        udp_sendmsg(Entry { hook: hook::KPROBE, scratch: 1 }, Kernel(sk), Kernel(msg));
    }
    0
}

/// As `fentry_tcp_sendpage`; run on Linux 5.10 and 6.1.
#[kprobe]
fn kprobe_tcp_sendpage(ctx: ProbeContext) -> u32 {
    if let (Some(sk), Some(size)) = (ctx.arg(0), ctx.arg(3)) {
        sendpage(hook::KPROBE, Kernel(sk), size);
    }
    0
}

/// As `fentry_vm_mmap_pgoff`; run on Linux 6.1 to 7.2, attached on 5.10.
#[kprobe]
fn kprobe_vm_mmap_pgoff(ctx: ProbeContext) -> u32 {
    if let (Some(file), Some(prot)) = (ctx.arg(0), ctx.arg(3)) {
        mmap(file, prot);
    }
    0
}

#[inline(always)]
fn sendmsg(entry: Entry, sk: Kernel, msg: Kernel) {
    let Some(scope) = scope::of(Task::current()) else {
        return;
    };
    match message::of_kernel(msg) {
        Some(message) => capture::<MAX_IOVECS>(entry, scope, sk, message),
        None => count(Counter::Internal),
    }
}

/// `udpv6_sendmsg` calls `udp_sendmsg` for a destination of IPv4's, which would
/// be a second record of the same send.
#[inline(always)]
fn udp_sendmsg(entry: Entry, sk: Kernel, msg: Kernel) {
    if sk.read(offset!(sock.family)) == Some(net::AF_INET) {
        sendmsg(entry, sk, msg);
    }
}

/// A page of a file, which goes to the socket without a message: a record of
/// its length alone.
#[inline(always)]
fn sendpage(hook: u8, sk: Kernel, size: u64) {
    let Some(scope) = scope::of(Task::current()) else {
        return;
    };
    let Some(mut entry) = RECORDS.reserve::<RecordHeader>(0) else {
        return count(Counter::RingFull);
    };
    // SAFETY: the entry is this program's until it is submitted.
    let header = unsafe { &mut *entry.as_mut_ptr() };
    let message = Message { data: (), name: Kernel(0), name_len: 0, first: true };
    if sock::describe(header, sk, &message, Some(0)).is_none() {
        return entry.discard(0);
    }
    describe(header, hook, scope);
    header.tls_key = tls::current();
    header.len = size.min(u64::from(u32::MAX)) as u32;
    header.captured = 0;
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    count(Counter::UnknownIterator);
    count(Counter::Delivered);
}

/// A file mapped to be executed may be a TLS library.
#[inline(always)]
fn mmap(file: u64, prot: u64) {
    const PROT_EXEC: u64 = 4;
    if file != 0 && prot & PROT_EXEC != 0 {
        tls::mapped();
    }
}

/// A TCP send in progress, as it was when its last piece began.
#[derive(Clone, Copy)]
#[repr(C)]
struct Send {
    /// The `struct sock`.
    sk: u64,
    /// The stream's position behind all that is to be sent. It stays the same
    /// while the kernel copies, as what is left shrinks by what the position
    /// advances.
    end: u64,
    /// Where the memory that is sent ends, which stays the same as well.
    memory: u64,
    /// Bytes left.
    left: u64,
}

impl Send {
    /// None: no socket lies there.
    const NONE: Self = Self { sk: 0, end: 0, memory: 0, left: 0 };

    /// Whether this is a piece of `last`, and not another send. While a send
    /// waits for room, another thread's can go on: the stream then advances by
    /// more than what was left shrinks. Where it stands at the last one's end,
    /// that is done: kernel TLS sends from one list over and over.
    #[inline(always)]
    fn continues(&self, last: &Self) -> bool {
        let position = (self.end as u32).wrapping_sub(self.left as u32);
        self.sk == last.sk
            && (self.end == last.end
                || (self.memory == last.memory
                    && self.left <= last.left
                    && position != last.end as u32))
    }
}

/// The last send of each thread. Least recently used entries go first: threads
/// end without a word.
#[map]
static SENDS: LruHashMap<u64, Send> = LruHashMap::with_max_entries(8192, 0);

/// `tcp_sendmsg_locked(const struct sock *sk, const struct msghdr *msg, const struct sk_buff *skb, int size_goal)`,
/// since Linux 6.16; run on 6.18 and 7.2. It stands in the loop that copies, and so
/// fires for every piece of a large send: the first takes the record.
///
/// What goes with a SYN (TCP Fast Open) does not come here.
#[raw_tracepoint(tracepoint = "tcp_sendmsg_locked")]
fn tcp_sendmsg_locked(ctx: RawTracePointContext) -> i32 {
    const ENTRY: Entry = Entry { hook: hook::TCP_TRACEPOINT, scratch: 1 };
    let Some(scope) = scope::of(Task::current()) else {
        return 0;
    };
    let (sk, msg) = (Kernel(ctx.arg(0)), Kernel(ctx.arg(1)));
    let (Some(message), Some(write_seq)) =
        (message::of_kernel(msg), sk.read::<u32>(offset!(sock.write_seq)))
    else {
        count(Counter::Internal);
        return 0;
    };
    let left = message.data.len;
    let end = u64::from(write_seq.wrapping_add(left as u32));
    if begins(Send { sk: sk.0, end, memory: message.data.end(), left }) {
        capture::<MAX_IOVECS>(ENTRY, scope, sk, message);
    }
    0
}

/// `sock_send_length(struct sock *sk, int ret, int flags)`, since Linux 6.3; run
/// on 6.18 and 7.2. A send that ends early is often tried again, for the same bytes:
/// that is another one.
#[raw_tracepoint(tracepoint = "sock_send_length")]
fn sock_send_length(_: RawTracePointContext) -> i32 {
    if scope::of(Task::current()).is_some()
        && let Some(last) = SENDS.get_ptr_mut(thread())
    {
        // SAFETY: the thread itself is the only one that writes to its entry.
        unsafe { *last = Send::NONE };
    }
    0
}

/// Whether this is not the thread's send that is in progress already.
#[inline(always)]
fn begins(send: Send) -> bool {
    let thread = thread();
    if let Some(last) = SENDS.get_ptr_mut(thread) {
        // SAFETY: as above.
        let last = unsafe { &mut *last };
        let continues = send.continues(last);
        *last = send;
        return !continues;
    }
    if SENDS.insert(thread, send, 0).is_err() {
        count(Counter::Internal);
    }
    true
}

/// Does nothing. The daemon never attaches it; the benchmarks do, to show what
/// the hook costs whatever runs there.
#[raw_tracepoint(tracepoint = "tcp_sendmsg_locked")]
fn null_tcp_sendmsg_locked(_: RawTracePointContext) -> i32 {
    0
}
