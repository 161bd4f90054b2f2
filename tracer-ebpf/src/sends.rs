//! Captures sends at the protocols' `sendmsg` functions, which every send passes:
//! those by system calls, io_uring and splice. Other system calls are unaffected.
//!
//! The functions are probed by fentry, which is the cheapest and needs
//! trampolines; by kprobe, which every kernel with CONFIG_KPROBES has; or, for TCP
//! only, at a tracepoint that needs neither. Above each entry point are the
//! prototype and the first and last kernel that it was run on (x86_64).

use aya_ebpf::{
    EbpfContext as _,
    macros::{fentry, kprobe, raw_tracepoint},
    programs::{FEntryContext, ProbeContext, RawTracePointContext},
};
use tracer_ebpf::{Counter, RecordHeader, hook, net};

use crate::{
    capture::{EntryPoint, capture},
    counters::count,
    kernel::{Kernel, Task, offset},
    message::{MAX_IOVECS, Message},
    record::{RECORDS, describe_sender, wake_up},
    scope::{self, WatchedProcess},
    sending::{self, TcpSend},
    sock, tls,
};

/// Reads the first arguments of a function as numbers: the verifier does not
/// allow hashing a value that it knows to be a pointer.
#[inline(always)]
fn args<const N: usize>(ctx: &FEntryContext) -> Option<[u64; N]> {
    Kernel(ctx.as_ptr() as u64).read(0)
}

/// `int tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size)`,
/// run on Linux 5.10 to 7.2.
#[fentry(function = "tcp_sendmsg")]
fn fentry_tcp_sendmsg(ctx: FEntryContext) -> i32 {
    if let Some([sk, msg]) = args(&ctx) {
        sendmsg(EntryPoint { hook: hook::FENTRY, scratch: 0 }, Kernel(sk), Kernel(msg));
    }
    0
}

/// `int udp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`,
/// run on Linux 5.10 to 7.2.
#[fentry(function = "udp_sendmsg")]
fn fentry_udp_sendmsg(ctx: FEntryContext) -> i32 {
    if let Some([sk, msg]) = args(&ctx) {
        udp_sendmsg(EntryPoint { hook: hook::FENTRY, scratch: 1 }, Kernel(sk), Kernel(msg));
    }
    0
}

/// `int udpv6_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`,
/// run on Linux 5.10 to 7.2.
#[fentry(function = "udpv6_sendmsg")]
fn fentry_udpv6_sendmsg(ctx: FEntryContext) -> i32 {
    if let Some([sk, msg]) = args(&ctx) {
        sendmsg(EntryPoint { hook: hook::FENTRY, scratch: 2 }, Kernel(sk), Kernel(msg));
    }
    0
}

/// `static int mptcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`,
/// since Linux 5.6; attached on 5.10 to 7.2, never seen to fire in a test.
#[fentry(function = "mptcp_sendmsg")]
fn fentry_mptcp_sendmsg(ctx: FEntryContext) -> i32 {
    if let Some([sk, msg]) = args(&ctx) {
        sendmsg(EntryPoint { hook: hook::FENTRY, scratch: 3 }, Kernel(sk), Kernel(msg));
    }
    0
}

/// `static int raw_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`.
#[fentry(function = "raw_sendmsg")]
fn fentry_raw_sendmsg(ctx: FEntryContext) -> i32 {
    fentry_raw(&ctx, 4)
}

/// `static int rawv6_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`.
#[fentry(function = "rawv6_sendmsg")]
fn fentry_rawv6_sendmsg(ctx: FEntryContext) -> i32 {
    fentry_raw(&ctx, 5)
}

/// `static int ping_v4_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`: echo requests, which
/// a user without rights can send.
#[fentry(function = "ping_v4_sendmsg")]
fn fentry_ping_v4_sendmsg(ctx: FEntryContext) -> i32 {
    fentry_raw(&ctx, 8)
}

/// `static int ping_v6_sendmsg(struct sock *sk, struct msghdr *msg, size_t len)`.
#[fentry(function = "ping_v6_sendmsg")]
fn fentry_ping_v6_sendmsg(ctx: FEntryContext) -> i32 {
    fentry_raw(&ctx, 9)
}

/// `static int packet_sendmsg(struct socket *sock, struct msghdr *msg, size_t len)`.
#[fentry(function = "packet_sendmsg")]
fn fentry_packet_sendmsg(ctx: FEntryContext) -> i32 {
    fentry_socket(&ctx, 6)
}

/// `static int xsk_sendmsg(struct socket *sock, struct msghdr *m, size_t total_len)`.
#[fentry(function = "xsk_sendmsg")]
fn fentry_xsk_sendmsg(ctx: FEntryContext) -> i32 {
    fentry_socket(&ctx, 7)
}

#[inline(always)]
fn fentry_raw(ctx: &FEntryContext, scratch: u32) -> i32 {
    if let Some([sk, msg]) = args(ctx) {
        sendmsg(EntryPoint { hook: hook::FENTRY, scratch }, Kernel(sk), Kernel(msg));
    }
    0
}

#[inline(always)]
fn fentry_socket(ctx: &FEntryContext, scratch: u32) -> i32 {
    if let Some([socket, msg]) = args(ctx)
        && let Some(sk) = Kernel(socket).pointer(offset!(file.socket_sk))
    {
        sendmsg(EntryPoint { hook: hook::FENTRY, scratch }, sk, Kernel(msg));
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

/// `int udp_sendpage(struct sock *sk, struct page *page, int offset, size_t size, int flags)`,
/// until Linux 6.4.
#[fentry(function = "udp_sendpage")]
fn fentry_udp_sendpage(ctx: FEntryContext) -> i32 {
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

/// As `fentry_tcp_sendmsg`, `fentry_udpv6_sendmsg`, `fentry_mptcp_sendmsg`, `fentry_raw_sendmsg`,
/// `fentry_rawv6_sendmsg` and those for `ping`, and at `tls_sw_sendmsg` and `tls_device_sendmsg` of
/// kernel TLS, where the message is the plaintext (attached where they exist, never seen to fire); run on Linux 5.10 to 7.2.
#[kprobe]
fn kprobe_sendmsg(ctx: ProbeContext) -> u32 {
    if let (Some(sk), Some(msg)) = (ctx.arg(0), ctx.arg(1)) {
        sendmsg(EntryPoint { hook: hook::KPROBE, scratch: 0 }, Kernel(sk), Kernel(msg));
    }
    0
}

/// As `fentry_udp_sendmsg`; run on Linux 5.10 to 7.2.
#[kprobe]
fn kprobe_udp_sendmsg(ctx: ProbeContext) -> u32 {
    if let (Some(sk), Some(msg)) = (ctx.arg(0), ctx.arg(1)) {
        udp_sendmsg(EntryPoint { hook: hook::KPROBE, scratch: 1 }, Kernel(sk), Kernel(msg));
    }
    0
}

/// As `fentry_packet_sendmsg` and `fentry_xsk_sendmsg`.
#[kprobe]
fn kprobe_socket_sendmsg(ctx: ProbeContext) -> u32 {
    if let (Some(socket), Some(msg)) = (ctx.arg::<u64>(0), ctx.arg(1))
        && let Some(sk) = Kernel(socket).pointer(offset!(file.socket_sk))
    {
        sendmsg(EntryPoint { hook: hook::KPROBE, scratch: 0 }, sk, Kernel(msg));
    }
    0
}

/// As `fentry_tcp_sendpage` and `fentry_udp_sendpage`; run on Linux 5.10 and 6.1.
#[kprobe]
fn kprobe_sendpage(ctx: ProbeContext) -> u32 {
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
fn sendmsg(entry: EntryPoint, sk: Kernel, msg: Kernel) {
    let Some(process) = scope::watched(Task::current()) else {
        return;
    };
    match Message::from_kernel(msg) {
        Some(message) => capture::<MAX_IOVECS>(entry, process, sk, message),
        None => count(Counter::Internal),
    }
}

/// Captures at `udp_sendmsg`, except on IPv6 sockets: `udpv6_sendmsg` calls it for
/// IPv4 destinations, which would record the same send twice.
#[inline(always)]
fn udp_sendmsg(entry: EntryPoint, sk: Kernel, msg: Kernel) {
    if sk.read(offset!(sock.family)) == Some(net::AF_INET) {
        sendmsg(entry, sk, msg);
    }
}

/// Records the length of a page of a file, which is sent without a message.
#[inline(always)]
fn sendpage(hook: u8, sk: Kernel, size: u64) {
    if let Some(process) = scope::watched(Task::current()) {
        length(hook, process, sk, 0, size.min(u64::from(u32::MAX)) as u32);
    }
}

/// Records a send of which only the length is known. It begins `first` bytes after the end of the
/// socket's stream.
#[inline(always)]
fn length(hook: u8, process: WatchedProcess, sk: Kernel, first: u32, len: u32) {
    let Some(mut entry) = RECORDS.reserve::<RecordHeader>(0) else {
        return count(Counter::RingFull);
    };
    // SAFETY: the entry belongs to this program until it is submitted.
    let header = unsafe { &mut *entry.as_mut_ptr() };
    let message = Message { data: (), name: Kernel(0), name_len: 0, first: true };
    if sock::describe(header, sk, &message, Some(first)).is_none() {
        return entry.discard(0);
    }
    describe_sender(header, hook, process);
    header.tls_key = tls::current_connection();
    header.len = len;
    header.captured = 0;
    entry.submit(wake_up());
    count(Counter::UnknownIterator);
    count(Counter::Delivered);
}

/// Notifies the daemon of a file mapped as executable, which may be a TLS library.
#[inline(always)]
fn mmap(file: u64, prot: u64) {
    const PROT_EXEC: u64 = 4;
    if file != 0 && prot & PROT_EXEC != 0 {
        tls::notify_mapped();
    }
}

/// `tcp_sendmsg_locked(const struct sock *sk, const struct msghdr *msg, const struct sk_buff *skb, int size_goal)`,
/// since Linux 6.16; run on 6.18 and 7.2. It is in the loop that copies, and so
/// fires for every piece of a large send; the first one is recorded.
///
/// Does not fire for data sent with a SYN (TCP Fast Open), which `sys_enter` records.
#[raw_tracepoint(tracepoint = "tcp_sendmsg_locked")]
fn tcp_sendmsg_locked(ctx: RawTracePointContext) -> i32 {
    const ENTRY: EntryPoint = EntryPoint { hook: hook::TCP_TRACEPOINT, scratch: 1 };
    let Some(process) = scope::watched(Task::current()) else {
        return 0;
    };
    let (sk, msg) = (Kernel(ctx.arg(0)), Kernel(ctx.arg(1)));
    let (Some(message), Some(write_seq)) =
        (Message::from_kernel(msg), sk.read::<u32>(offset!(sock.write_seq)))
    else {
        count(Counter::Internal);
        return 0;
    };
    let left = message.data.len;
    let end = u64::from(write_seq.wrapping_add(left as u32));
    if sending::is_new(TcpSend { sk: sk.0, end, memory: message.data.end(), left, first: left }) {
        capture::<MAX_IOVECS>(ENTRY, process, sk, message);
    }
    0
}

/// `sock_send_length(struct sock *sk, int ret, int flags)`, since Linux 6.3; run
/// on 6.18 and 7.2. Fires after each send on a socket of any kind, by any system call. Ends the
/// thread's send: one that ended early is often retried with the same bytes, and the retry is a new
/// send. Records the length of what no other program saw: datagrams by io_uring or splice, and data
/// sent with a SYN.
#[raw_tracepoint(tracepoint = "sock_send_length")]
fn sock_send_length(ctx: RawTracePointContext) -> i32 {
    let Some(process) = scope::watched(Task::current()) else {
        return 0;
    };
    let (sk, sent) = (Kernel(ctx.arg(0)), ctx.arg::<u64>(1) as i32);
    let unseen = sending::finish(sk.0, sent.max(0) as u32);
    if unseen > 0 {
        let first = (sent as u32).wrapping_neg();
        length(hook::SYS_ENTER, process, sk, first, unseen);
    }
    0
}

/// Does nothing. Only benchmarks attach it, to measure the cost of the hook itself.
#[raw_tracepoint(tracepoint = "tcp_sendmsg_locked")]
fn null_tcp_sendmsg_locked(_: RawTracePointContext) -> i32 {
    0
}
