//! Captures socket sends at the `sys_enter` raw tracepoint, the hook that every
//! kernel has.
//!
//! It sees the bytes before the kernel copies them: another thread can still
//! change them, and a page that is not in memory cannot be read. It does not see
//! io_uring and sendfile. Beside TCP's tracepoint, it says what it has captured
//! ([`sending`]), so that the lengths of all other sends are recorded.

use aya_ebpf::{macros::raw_tracepoint, programs::RawTracePointContext};
use tracer_ebpf::{Counter, hook, net};

use crate::{
    capture::{EntryPoint, capture},
    counters::{count, count_all},
    kernel::{Kernel, Task, User, offset, setting},
    message::{MAX_IOVECS, Message, UserData},
    scope::{self, WatchedProcess},
    sending, tls,
};

/// System calls that send, by number (arch/x86/entry/syscalls/syscall_64.tbl
/// and, for 32-bit processes, syscall_32.tbl).
#[cfg(bpf_target_arch = "x86_64")]
mod nr {
    pub(super) const WRITE: u64 = 1;
    pub(super) const MMAP: u64 = 9;
    pub(super) const WRITEV: u64 = 20;
    pub(super) const SENDTO: u64 = 44;
    pub(super) const SENDMSG: u64 = 46;
    pub(super) const SENDMMSG: u64 = 307;
    pub(super) const PWRITEV2: u64 = 328;
    /// `write`, `socketcall`, `writev`, `sendmmsg`, `sendto`, `sendmsg`, `pwritev2` of
    /// 32-bit processes, and of 64-bit processes that use `int 0x80`.
    pub(super) const COMPAT: [u64; 7] = [4, 102, 146, 345, 369, 370, 379];
    /// The one of these whose arguments are in memory.
    pub(super) const SOCKETCALL: Option<u64> = Some(102);
    pub(super) const SENDFILE: u64 = 40;
    pub(super) const IO_SUBMIT: u64 = 209;
    pub(super) const SPLICE: u64 = 275;
    /// Marks the calls of the x32 ABI, which kernels can have.
    pub(super) const X32: u64 = 0x4000_0000;
}

/// System calls that send, by number (include/uapi/asm-generic/unistd.h and,
/// for 32-bit processes, arch/arm64's table of arch/arm/tools/syscall.tbl).
#[cfg(bpf_target_arch = "aarch64")]
mod nr {
    pub(super) const WRITE: u64 = 64;
    pub(super) const WRITEV: u64 = 66;
    pub(super) const SENDTO: u64 = 206;
    pub(super) const SENDMSG: u64 = 211;
    pub(super) const MMAP: u64 = 222;
    pub(super) const SENDMMSG: u64 = 269;
    pub(super) const PWRITEV2: u64 = 287;
    /// `write`, `writev`, `send`, `sendto`, `sendmsg`, `sendmmsg`, `pwritev2` of 32-bit
    /// processes.
    pub(super) const COMPAT: [u64; 7] = [4, 146, 289, 290, 296, 374, 393];
    /// All of these have their arguments in registers.
    pub(super) const SOCKETCALL: Option<u64> = None;
    pub(super) const IO_SUBMIT: u64 = 2;
    pub(super) const SENDFILE: u64 = 71;
    pub(super) const SPLICE: u64 = 76;
    /// No call has this bit.
    pub(super) const X32: u64 = 0x4000_0000;
}

/// The same number on all architectures.
const IO_URING_ENTER: u64 = 426;

/// The part of `struct pt_regs` that holds a system call's arguments.
#[cfg(bpf_target_arch = "x86_64")]
mod regs {
    /// r10, r9, r8, ax, cx, dx, si, di.
    pub(super) type Regs = [u64; 8];
    pub(super) const AT: usize = 56;
    /// bx, the first argument of a 32-bit process.
    pub(super) const COMPAT_FIRST: usize = 40;
    /// cx, the second one.
    pub(super) const COMPAT_SECOND: usize = 88;

    pub(super) fn args(regs: &Regs) -> [u64; 6] {
        [regs[7], regs[6], regs[5], regs[0], regs[2], regs[1]]
    }
}

/// `struct user_pt_regs`, the first member of arm64's `struct pt_regs`.
#[cfg(bpf_target_arch = "aarch64")]
mod regs {
    /// x0 to x5.
    pub(super) type Regs = [u64; 6];
    pub(super) const AT: usize = 0;
    /// x0, also the first argument of a 32-bit process.
    pub(super) const COMPAT_FIRST: usize = 0;
    /// x1, the second one.
    pub(super) const COMPAT_SECOND: usize = 8;

    pub(super) fn args(regs: &Regs) -> [u64; 6] {
        *regs
    }
}

/// `struct user_msghdr` of a 64-bit process.
#[derive(Clone, Copy)]
#[repr(C)]
struct Msghdr {
    name: u64,
    name_len: u32,
    _pad: u32,
    iov: u64,
    iov_len: u64,
}

/// `sizeof(struct mmsghdr)` for a 64-bit process: a msghdr of 56 bytes and a
/// count.
const MMSGHDR: u64 = 64;

/// Maximum number of messages of one `sendmmsg` that are captured. glibc's resolver
/// sends two, QUIC stacks send dozens. This and [`MAX_IOVECS_OF_MANY`] bound the time
/// in which nothing else can run on the CPU.
const MAX_MESSAGES: u32 = 128;

/// Maximum number of messages of one `sendmmsg` that the kernel accepts
/// (`UIO_MAXIOV`).
const KERNEL_MESSAGES: u32 = 1024;

/// Maximum number of buffers that are walked of each message of a `sendmmsg`.
const MAX_IOVECS_OF_MANY: u32 = 64;

const ENTRY: EntryPoint = EntryPoint { hook: hook::SYS_ENTER, scratch: 0 };

/// `sys_enter(struct pt_regs *regs, long id)`, run on Linux 5.10 to 7.2.
#[raw_tracepoint(tracepoint = "sys_enter")]
fn sys_enter(ctx: RawTracePointContext) -> i32 {
    let id: u64 = ctx.arg(1);
    let sends = matches!(
        id,
        nr::WRITE | nr::WRITEV | nr::SENDTO | nr::SENDMSG | nr::SENDMMSG | nr::PWRITEV2
    );
    let compat = nr::COMPAT.contains(&id);
    if id == nr::MMAP {
        mmap(&ctx);
        return 0;
    }
    let others = matches!(id, nr::IO_SUBMIT | nr::SENDFILE | nr::SPLICE | IO_URING_ENTER)
        || id & nr::X32 != 0;
    if !sends && !compat && !others {
        return 0;
    }
    let task = Task::current();
    let Some(process) = scope::watched(task) else {
        return 0;
    };
    if setting!(tcp_elsewhere) != 0 {
        sending::forget();
    }
    if task.in_compat_syscall() {
        // Beside TCP's tracepoint, the lengths of these sends are recorded.
        let counts = compat && setting!(tcp_elsewhere) == 0;
        if counts && is_compat_send(task, id, Kernel(ctx.arg(0))) {
            count(Counter::Compat);
        }
        return 0;
    }
    if !sends {
        return 0;
    }
    let Some(regs) = Kernel(ctx.arg(0)).read::<regs::Regs>(regs::AT) else {
        count(Counter::Internal);
        return 0;
    };
    let args = regs::args(&regs);
    let Some(sk) = task.sock(args[0]) else {
        return 0;
    };
    if has_other_hook(sk) && !opens_connection(sk, id, &args) {
        return 0;
    }
    if setting!(tcp_elsewhere) != 0 {
        let messages = (args[2] as u32).min(MAX_MESSAGES);
        sending::begin(sk.0, if id == nr::SENDMMSG { u64::from(messages) } else { 1 });
    }
    let [ids, tgid] = process.to_scalars();
    if id == nr::SENDMMSG {
        send_many(ids, tgid, sk, args[1], args[2]);
    } else {
        send_one(ids, tgid, sk.0, ctx.arg(0), id);
    }
    0
}

/// Captures the message of a system call with the registers `regs`.
///
/// This is a global function, and so is [`send_one_of_many`]: the verifier reads such a
/// function once, and its stack is not that of the program, of which there are 512 bytes
/// for both.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_one(ids: u64, tgid: u64, sk: u64, regs: u64, id: u64) -> u32 {
    let Some(regs) = Kernel(regs).read::<regs::Regs>(regs::AT) else {
        count(Counter::Internal);
        return 0;
    };
    let args = regs::args(&regs);
    let message = match id {
        nr::SENDMSG => read_msghdr(args[1]),
        nr::SENDTO => Some(Message {
            data: UserData::Buffer { base: User::new(args[1]), len: args[2] },
            name: User::new(args[4]),
            name_len: args[5] as u32,
            first: true,
        }),
        nr::WRITE => {
            let data = UserData::Buffer { base: User::new(args[1]), len: args[2] };
            Some(Message::connected(data))
        }
        _ => {
            let data = UserData::Iovecs { list: User::new(args[1]), count: args[2] };
            Some(Message::connected(data))
        }
    };
    let process = WatchedProcess::from_scalars([ids, tgid]);
    match message {
        Some(message) => capture::<MAX_IOVECS>(ENTRY, process, Kernel(sk), message),
        None => count(Counter::Unreadable),
    }
    0
}

/// Returns true if another hook captures the sends on this socket. Raw sockets can have the number
/// of TCP as well.
#[inline(always)]
fn has_other_hook(sk: Kernel) -> bool {
    setting!(tcp_elsewhere) != 0
        && sk.read::<u16>(offset!(sock.protocol)) == Some(net::TCP)
        && sk.read::<u16>(offset!(sock.kind)) != Some(net::SOCK_RAW)
}

/// Reports whether the data is sent with a SYN, where that hook does not see it: by a call that
/// opens the connection, or by the first one after a `connect` that waits for it
/// (`TCP_FASTOPEN_CONNECT`).
#[inline(always)]
fn opens_connection(sk: Kernel, id: u64, args: &[u64; 6]) -> bool {
    const MSG_FASTOPEN: u64 = 0x2000_0000;
    let flags = match id {
        nr::SENDTO | nr::SENDMMSG => args[3],
        nr::SENDMSG => args[2],
        _ => 0,
    };
    match sk.read::<u8>(offset!(sock.state)) {
        Some(net::STATE_SYN_SENT) => true,
        Some(net::STATE_CLOSE) => flags & MSG_FASTOPEN != 0,
        _ => false,
    }
}

/// Reports whether a system call of a 32-bit process sends on a socket.
#[inline(always)]
fn is_compat_send(task: Task, id: u64, regs: Kernel) -> bool {
    /// `send`, `sendto`, `sendmsg` and `sendmmsg` as calls of `socketcall`.
    const SENDS: [u64; 4] = [9, 11, 16, 20];
    let Some(first) = regs.read::<u64>(regs::COMPAT_FIRST) else {
        return true;
    };
    let mut fd = first;
    if Some(id) == nr::SOCKETCALL {
        if !SENDS.contains(&first) {
            return false;
        }
        // The arguments are in memory, as 32-bit words.
        let list = regs.read::<u64>(regs::COMPAT_SECOND).unwrap_or(0);
        match User::new(list).read::<u32>() {
            Some(word) => fd = u64::from(word),
            None => return true,
        }
    }
    task.sock(fd).is_some()
}

/// Notifies the daemon of a file mapped as executable, which may be a TLS library:
/// `mmap(addr, len, prot, flags, fd, offset)`.
#[inline(always)]
fn mmap(ctx: &RawTracePointContext) {
    const PROT_EXEC: u64 = 4;
    const MAP_ANONYMOUS: u64 = 0x20;
    let Some(regs) = Kernel(ctx.arg(0)).read::<regs::Regs>(regs::AT) else {
        return;
    };
    let args = regs::args(&regs);
    if args[2] & PROT_EXEC != 0 && args[3] & MAP_ANONYMOUS == 0 {
        tls::notify_mapped();
    }
}

/// Does nothing. Only benchmarks attach it, to measure the cost of the hook itself.
#[raw_tracepoint(tracepoint = "sys_enter")]
fn null_sys_enter(_: RawTracePointContext) -> i32 {
    0
}

#[inline(always)]
fn read_msghdr(address: u64) -> Option<Message<UserData, User>> {
    let header: Msghdr = User::new(address).read()?;
    Some(Message {
        data: UserData::Iovecs { list: User::new(header.iov), count: header.iov_len },
        name: User::new(header.name),
        name_len: header.name_len,
        first: true,
    })
}

#[inline(always)]
fn send_many(ids: u64, tgid: u64, sk: Kernel, list: u64, len: u64) {
    // The kernel truncates the length to an unsigned int.
    let len = (len as u32).min(KERNEL_MESSAGES);
    for i in 0..MAX_MESSAGES {
        if i >= len {
            return;
        }
        let header = list.wrapping_add(u64::from(i) * MMSGHDR);
        if send_one_of_many(ids, tgid, sk.0, header, i) == 0 {
            // The position of the following messages is unknown. If the kernel
            // cannot read this one either, it does not send them.
            return count(Counter::Unreadable);
        }
    }
    // The other hook records the lengths of the rest.
    if len > MAX_MESSAGES && setting!(tcp_elsewhere) == 0 {
        count_all(Counter::TooManyMessages, u64::from(len - MAX_MESSAGES));
    }
}

/// Captures the `n`th message of a `sendmmsg`; returns 0 if its header cannot be read.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn send_one_of_many(ids: u64, tgid: u64, sk: u64, header: u64, n: u32) -> u32 {
    let Some(message) = read_msghdr(header) else {
        return 0;
    };
    let message = Message { first: n == 0, ..message };
    let process = WatchedProcess::from_scalars([ids, tgid]);
    capture::<MAX_IOVECS_OF_MANY>(ENTRY, process, Kernel(sk), message);
    1
}

impl Message<UserData, User> {
    /// Creates a message without a destination, for a connected socket.
    fn connected(data: UserData) -> Self {
        Self { data, name: User::new(0), name_len: 0, first: true }
    }
}
