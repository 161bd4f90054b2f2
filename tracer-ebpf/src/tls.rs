//! Plaintext at TLS libraries: probes on their write functions.
//!
//! Two probes a function. The one near the entry notes the call; the one at
//! the return takes the bytes, as only then it is known how many the library
//! accepted: a write after a rejected certificate gives -1, and GnuTLS takes
//! 16 384 of 16 393 bytes and is given the rest again.
//!
//! These programs can be preempted (uprobes run in the process's own context),
//! so that nothing here uses a CPU's scratch: records are put together in the
//! ring buffer itself, in slots of a few sizes.

use aya_ebpf::{
    bindings::{BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    macros::{map, uprobe, uretprobe},
    maps::LruHashMap,
    programs::{ProbeContext, RetProbeContext},
};
use tracer_ebpf::{ABI_VERSION, Counter, MAPPED, MAX_HEAD, Mapped, RecordHeader, hook, net};

use crate::{
    capture::{RECORDS, count, describe, key},
    kernel::{Memory as _, Task, User, thread},
    scope::{self, Scope},
};

/// A write in progress.
#[derive(Clone, Copy)]
#[repr(C)]
struct Call {
    /// The connection: the process and the library's object.
    key: u64,
    /// What the process wants to send.
    buffer: u64,
    /// How much of it.
    len: u64,
    /// Where the library will say how much it took (`SSL_write_ex`).
    written: u64,
    /// [`hook`].
    hook: u64,
}

/// Writes in progress, by thread. Least recently used entries go first: a
/// thread that was killed in a write leaves one behind.
#[map]
static CALLS: LruHashMap<u64, Call> = LruHashMap::with_max_entries(8192, 0);

/// The TLS connection in whose write the current thread is, or 0.
#[inline(always)]
pub(crate) fn current() -> u64 {
    // SAFETY: the thread itself is the only one that writes to its entry.
    unsafe { CALLS.get(thread()) }.map_or(0, |call| call.key)
}

/// Tells the daemon that the current process, if it is in scope, may have
/// mapped a library.
#[inline(always)]
pub(crate) fn mapped() {
    let Some(Scope { tgid, .. }) = scope::of(Task::current()) else {
        return;
    };
    let mapped = Mapped { version: ABI_VERSION, kind: MAPPED, reserved: 0, tgid };
    // Rare, and urgent: the process may write soon.
    if RECORDS.output::<Mapped>(&mapped, u64::from(BPF_RB_FORCE_WAKEUP)).is_err() {
        count(Counter::Unfollowed);
    }
}

/// `int SSL_write(SSL *ssl, const void *buf, int num)`
#[uprobe]
fn ssl_write(ctx: ProbeContext) -> u32 {
    // A negative number is refused by the library; its return value says so.
    let len = ctx.arg::<u64>(2).unwrap_or(0) & 0xffff_ffff;
    enter(&ctx, hook::SSL_WRITE, len, 0);
    0
}

/// `int SSL_write_ex(SSL *s, const void *buf, size_t num, size_t *written)`
#[uprobe]
fn ssl_write_ex(ctx: ProbeContext) -> u32 {
    enter(&ctx, hook::SSL_WRITE_EX, ctx.arg(2).unwrap_or(0), ctx.arg(3).unwrap_or(0));
    0
}

/// `ssize_t gnutls_record_send(gnutls_session_t session, const void *data, size_t data_size)`
#[uprobe]
fn gnutls_record_send(ctx: ProbeContext) -> u32 {
    enter(&ctx, hook::GNUTLS_RECORD_SEND, ctx.arg(2).unwrap_or(0), 0);
    0
}

/// `PRInt32 PR_Write(PRFileDesc *fd, const void *buf, PRInt32 amount)`
///
/// Also carries file I/O and one-byte wake-ups. A TLS connection is a layer
/// upon a socket, so its descriptor has one below it: `PRFileDesc.lower`, the
/// third pointer (nspr's prio.h).
#[uprobe]
fn pr_write(ctx: ProbeContext) -> u32 {
    let Some(fd) = ctx.arg::<u64>(0) else {
        return 0;
    };
    if User::new(fd).value::<u64>(16).is_some_and(|lower| lower != 0) {
        let len = ctx.arg::<u64>(2).unwrap_or(0) & 0xffff_ffff;
        enter(&ctx, hook::PR_WRITE, len, 0);
    }
    0
}

#[uretprobe]
fn ssl_write_return(ctx: RetProbeContext) -> u32 {
    leave(hook::SSL_WRITE, i64::from(ctx.ret::<u64>() as i32));
    0
}

#[uretprobe]
fn ssl_write_ex_return(ctx: RetProbeContext) -> u32 {
    leave(hook::SSL_WRITE_EX, i64::from(ctx.ret::<u64>() as i32));
    0
}

#[uretprobe]
fn gnutls_record_send_return(ctx: RetProbeContext) -> u32 {
    leave(hook::GNUTLS_RECORD_SEND, ctx.ret::<u64>() as i64);
    0
}

#[uretprobe]
fn pr_write_return(ctx: RetProbeContext) -> u32 {
    leave(hook::PR_WRITE, i64::from(ctx.ret::<u64>() as i32));
    0
}

/// Notes a write, if the process is in scope.
#[inline(always)]
fn enter(ctx: &ProbeContext, hook: u8, len: u64, written: u64) {
    let Some(scope) = scope::of(Task::current()) else {
        return;
    };
    let (Some(object), Some(buffer)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1)) else {
        return;
    };
    // The same address in two processes is two objects.
    let key = key(object ^ u64::from(scope.tgid) << 32);
    let call = Call { key, buffer, len, written, hook: u64::from(hook) };
    if CALLS.insert(thread(), call, 0).is_err() {
        count(Counter::Internal);
    }
}

/// Takes what a write returned for.
#[inline(always)]
fn leave(hook: u8, returned: i64) {
    let thread = thread();
    // SAFETY: the thread itself is the only one that writes to its entry.
    let Some(call) = (unsafe { CALLS.get(thread) }).copied() else {
        return;
    };
    if call.hook != u64::from(hook) {
        // A library that writes through another one: the inner write was
        // noted last, and has taken its entry with it.
        return;
    }
    let _ = CALLS.remove(thread);
    let Some(scope) = scope::of(Task::current()) else {
        return;
    };
    if returned <= 0 {
        return;
    }
    let accepted = if hook == hook::SSL_WRITE_EX {
        match User::new(call.written).read::<u64>() {
            Some(written) => written,
            None => return count(Counter::Unreadable),
        }
    } else {
        returned as u64
    };
    take(hook, scope, &call, accepted.min(call.len));
}

/// Puts the head of a write into the ring buffer, in the smallest slot that
/// has room for it: a reservation's size has to be a constant.
#[inline(always)]
fn take(hook: u8, scope: Scope, call: &Call, accepted: u64) {
    let Some(policy) = scope::policy(scope.slot) else {
        return count(Counter::Internal);
    };
    let head = accepted.min(u64::from(policy.tls_head_bytes)).min(MAX_HEAD as u64);
    if head == 0 {
        return;
    }
    if head <= 512 {
        take_into::<512>(hook, scope, call, accepted, head);
    } else if head <= 2048 {
        take_into::<2048>(hook, scope, call, accepted, head);
    } else if head <= 8192 {
        take_into::<8192>(hook, scope, call, accepted, head);
    } else if head <= 32768 {
        take_into::<32768>(hook, scope, call, accepted, head);
    } else {
        take_into::<MAX_HEAD>(hook, scope, call, accepted, head);
    }
}

#[repr(C)]
struct Slot<const N: usize> {
    header: RecordHeader,
    payload: [u8; N],
}

#[inline(always)]
fn take_into<const N: usize>(hook: u8, scope: Scope, call: &Call, accepted: u64, head: u64) {
    let Some(mut entry) = RECORDS.reserve::<Slot<N>>(0) else {
        return count(Counter::RingFull);
    };
    let slot = entry.as_mut_ptr();
    // SAFETY: the entry is this program's until it is submitted.
    let header = unsafe { &mut (*slot).header };
    describe(header, hook, scope);
    header.flags = 0;
    header.key = call.key;
    header.tls_key = 0;
    header.position = 0;
    header.family = 0;
    header.protocol = net::TLS;
    header.local_port = 0;
    header.remote_port = 0;
    header.local_addr = [0; 16];
    header.remote_addr = [0; 16];
    header.len = accepted.min(u64::from(u32::MAX)) as u32;
    let want = head.min(N as u64) as u32;
    // SAFETY: `want` is at most the payload's length.
    let read = unsafe { User::new(call.buffer).copy_to((&raw mut (*slot).payload).cast(), want) };
    if read {
        header.captured = want;
    } else {
        header.captured = 0;
        count(Counter::Unreadable);
    }
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    count(Counter::Delivered);
}
