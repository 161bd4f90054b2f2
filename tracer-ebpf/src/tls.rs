//! Captures plaintext with probes on the write functions of TLS libraries.
//!
//! Each function has two probes. The one near the entry saves the arguments; the
//! one at the return captures the bytes, because only then is it known how many
//! the library accepted: a write after a rejected certificate returns -1, and
//! GnuTLS accepts 16 384 of 16 393 bytes and is called again with the rest.
//!
//! These programs can be preempted (uprobes run in the process's own context), so
//! they cannot use a per-CPU scratch. They assemble records in the ring buffer
//! itself, in slots of a few sizes.

use aya_ebpf::{
    bindings::BPF_RB_FORCE_WAKEUP,
    macros::{map, uprobe, uretprobe},
    maps::LruHashMap,
    programs::{ProbeContext, RetProbeContext},
};
use tracer_ebpf::{ABI_VERSION, Counter, MAPPED, MAX_HEAD, Mapped, RecordHeader, hook, net};

use crate::{
    counters::count,
    kernel::{Memory as _, Task, User, thread},
    key::object_key,
    record::{Bounded, RECORDS, describe_plaintext, wake_up},
    scope::{self, WatchedProcess},
};

/// A write in progress.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Call {
    /// Key of the connection: of the process and the library's object.
    pub(crate) key: u64,
    /// Address of the plaintext.
    pub(crate) buffer: u64,
    /// Length of the plaintext.
    pub(crate) len: u64,
    /// Address at which the library stores the number of bytes that it accepted
    /// (`SSL_write_ex`, `ssl_write_internal`).
    pub(crate) written: u64,
    /// One of [`hook`].
    pub(crate) hook: u64,
}

/// Writes in progress, by thread. Least recently used entries are evicted first:
/// a thread that is killed in a write leaves its entry behind.
#[map]
static CALLS: LruHashMap<u64, Call> = LruHashMap::with_max_entries(8192, 0);

/// Returns the key of the TLS connection to which the current thread is writing,
/// or 0.
#[inline(always)]
pub(crate) fn current_connection() -> u64 {
    // SAFETY: the thread itself is the only one that writes to its entry.
    unsafe { CALLS.get(thread()) }.map_or(0, |call| call.key)
}

/// Notifies the daemon that the current process, if it is in scope, may have
/// mapped a library.
#[inline(always)]
pub(crate) fn notify_mapped() {
    let Some(WatchedProcess { tgid, .. }) = scope::watched(Task::current()) else {
        return;
    };
    let mapped = Mapped { version: ABI_VERSION, kind: MAPPED, reserved: 0, tgid };
    // Rare and urgent: the process may write soon.
    if RECORDS.output::<Mapped>(&mapped, u64::from(BPF_RB_FORCE_WAKEUP)).is_err() {
        count(Counter::Unfollowed);
    }
}

/// `int SSL_write(SSL *ssl, const void *buf, int num)`
#[uprobe]
fn ssl_write(ctx: ProbeContext) -> u32 {
    // The library rejects a negative number, which its return value shows.
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

/// `int ssl_write_internal(SSL *s, const void *buf, size_t num, size_t *written)`; since OpenSSL
/// 3.3, with `uint64_t flags` before the last
///
/// Flags are few bits, so a fourth argument in the first page is not an address.
#[uprobe]
fn ssl_write_internal(ctx: ProbeContext) -> u32 {
    const PAGE: u64 = 4096;
    let mut written = ctx.arg::<u64>(3).unwrap_or(0);
    if written < PAGE {
        written = ctx.arg(4).unwrap_or(0);
    }
    enter(&ctx, hook::SSL_WRITE_INTERNAL, ctx.arg(2).unwrap_or(0), written);
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
/// Also called for file I/O and one-byte wake-ups. A TLS connection is a layer on
/// top of a socket, so its descriptor has a lower one: `PRFileDesc.lower`, the
/// third pointer (prio.h of NSPR).
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
fn ssl_write_internal_return(ctx: RetProbeContext) -> u32 {
    leave(hook::SSL_WRITE_INTERNAL, i64::from(ctx.ret::<u64>() as i32));
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

/// Saves the arguments of a write, if the process is in scope.
#[inline(always)]
fn enter(ctx: &ProbeContext, hook: u8, len: u64, written: u64) {
    let Some(process) = scope::watched(Task::current()) else {
        return;
    };
    let (Some(object), Some(buffer)) = (ctx.arg::<u64>(0), ctx.arg::<u64>(1)) else {
        return;
    };
    // The same address in two processes means two objects.
    let key = object_key(object ^ u64::from(process.tgid) << 32);
    let call = Call { key, buffer, len, written, hook: u64::from(hook) };
    if CALLS.insert(thread(), call, 0).is_err() {
        count(Counter::Internal);
    }
}

/// Captures the bytes that a write accepted.
#[inline(always)]
fn leave(hook: u8, returned: i64) {
    let thread = thread();
    // SAFETY: the thread itself is the only one that writes to its entry.
    let Some(call) = (unsafe { CALLS.get(thread) }).copied() else {
        return;
    };
    if call.hook != u64::from(hook) {
        // A library that writes through another one: the inner call replaced
        // the entry of the outer one.
        return;
    }
    let _ = CALLS.remove(thread);
    let Some(process) = scope::watched(Task::current()) else {
        return;
    };
    if returned <= 0 {
        return;
    }
    let accepted = if hook == hook::SSL_WRITE_EX || hook == hook::SSL_WRITE_INTERNAL {
        match User::new(call.written).read::<u64>() {
            Some(written) => written,
            None => return count(Counter::Unreadable),
        }
    } else {
        returned as u64
    };
    submit(hook, process, &call, accepted.min(call.len));
}

/// Puts the head of a write into the ring buffer, in the smallest slot that has
/// room for it: the size of a reservation must be a constant.
#[inline(always)]
pub(crate) fn submit(hook: u8, process: WatchedProcess, call: &Call, accepted: u64) {
    let Some(policy) = scope::policy(process.slot) else {
        return count(Counter::Internal);
    };
    let head = accepted.min(u64::from(policy.tls_head_bytes)).min(MAX_HEAD as u64);
    if head == 0 {
        return;
    }
    if head <= 512 {
        submit_slot::<512>(hook, process, call, accepted, head);
    } else if head <= 2048 {
        submit_slot::<2048>(hook, process, call, accepted, head);
    } else if head <= 8192 {
        submit_slot::<8192>(hook, process, call, accepted, head);
    } else if head <= 32768 {
        submit_slot::<32768>(hook, process, call, accepted, head);
    } else {
        submit_slot::<MAX_HEAD>(hook, process, call, accepted, head);
    }
}

#[repr(C)]
struct Slot<const N: usize> {
    header: RecordHeader,
    payload: [u8; N],
}

#[inline(always)]
fn submit_slot<const N: usize>(
    hook: u8,
    process: WatchedProcess,
    call: &Call,
    accepted: u64,
    head: u64,
) {
    let Some(mut entry) = RECORDS.reserve::<Slot<N>>(0) else {
        return count(Counter::RingFull);
    };
    let slot = entry.as_mut_ptr();
    // SAFETY: the entry belongs to this program until it is submitted.
    let header = unsafe { &mut (*slot).header };
    describe_plaintext(header, hook, process, call.key, net::TLS);
    header.len = accepted.min(u64::from(u32::MAX)) as u32;
    let want = Bounded::<N>::new(&mut header.captured, head);
    // SAFETY: as above.
    let payload = unsafe { (&raw mut (*slot).payload).cast() };
    if !want.copy(User::new(call.buffer), payload) {
        header.captured = 0;
        count(Counter::Unreadable);
    }
    entry.submit(wake_up());
    count(Counter::Delivered);
}
