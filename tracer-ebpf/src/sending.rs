//! The send that each thread is making, at the hook `tcp-tracepoint`: which of its bytes the
//! programs have seen, so that none is recorded twice, and none is left out.

use aya_ebpf::{macros::map, maps::LruHashMap};
use tracer_ebpf::Counter;

use crate::{counters::count, kernel::thread};

/// A TCP send in progress, as of the start of its latest piece.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct TcpSend {
    /// Address of the `struct sock`.
    pub(crate) sk: u64,
    /// Position in the stream of the end of the send. Constant while the kernel
    /// copies: the position advances by as much as the rest shrinks.
    pub(crate) end: u64,
    /// Address of the end of the memory that is sent. Constant as well.
    pub(crate) memory: u64,
    /// Number of bytes left.
    pub(crate) left: u64,
    /// Number of bytes left when its first piece was seen.
    pub(crate) first: u64,
}

impl TcpSend {
    /// Stands for the absence of a send: no socket has address 0.
    const NONE: Self = Self { sk: 0, end: 0, memory: 0, left: 0, first: 0 };

    /// The value of `memory` of sends that were captured when their system call began. `left` is the
    /// number of its messages that are not sent yet. No memory ends at this address.
    const BY_CALL: u64 = 1;

    /// Returns true if this is a later piece of `last` and not another send.
    ///
    /// While a send waits for room, another thread's send can proceed: the stream
    /// then advances by more than the rest shrinks, but the memory stays the same.
    /// If the stream is at the end of `last`, then `last` is complete and this is a
    /// new send from the same memory: kernel TLS reuses one list.
    #[inline(always)]
    fn continues(&self, last: &Self) -> bool {
        let position = (self.end as u32).wrapping_sub(self.left as u32);
        self.sk == last.sk
            && (last.memory == Self::BY_CALL
                || self.end == last.end
                || (self.memory == last.memory
                    && self.left <= last.left
                    && position != last.end as u32))
    }
}

/// The last send of each thread. Least recently used entries are evicted first:
/// threads end without a notification.
#[map]
static SENDS: LruHashMap<u64, TcpSend> = LruHashMap::with_max_entries(8192, 0);

/// Remembers a piece of a send, and returns false if it continues the thread's last one.
#[inline(always)]
pub(crate) fn is_new(send: TcpSend) -> bool {
    let Some(last) = SENDS.get_ptr_mut(thread()) else {
        insert(send);
        return true;
    };
    // SAFETY: the thread itself is the only one that writes to its entry.
    let last = unsafe { &mut *last };
    if !send.continues(last) {
        *last = send;
        return true;
    }
    if last.memory != TcpSend::BY_CALL {
        *last = TcpSend { first: last.first, ..send };
    }
    false
}

/// Remembers that the thread's system call sends messages on a socket that are captured already.
#[inline(always)]
pub(crate) fn begin(sk: u64, messages: u64) {
    let send = TcpSend { sk, memory: TcpSend::BY_CALL, left: messages, ..TcpSend::NONE };
    match SENDS.get_ptr_mut(thread()) {
        // SAFETY: as above.
        Some(last) => unsafe { *last = send },
        None => insert(send),
    }
}

/// Forgets what the thread's earlier system calls sent, before one that sends what is not captured
/// when it begins.
#[inline(always)]
pub(crate) fn forget() {
    if let Some(last) = SENDS.get_ptr_mut(thread()) {
        // SAFETY: as above.
        unsafe { *last = TcpSend::NONE };
    }
}

/// Ends the thread's send, of `sent` bytes on a socket, and returns how many of them no program has
/// seen.
#[inline(always)]
pub(crate) fn finish(sk: u64, sent: u32) -> u32 {
    let Some(last) = SENDS.get_ptr_mut(thread()) else {
        return sent;
    };
    // SAFETY: as above.
    let last = unsafe { &mut *last };
    if last.sk != sk {
        *last = TcpSend::NONE;
        return sent;
    }
    if last.memory == TcpSend::BY_CALL {
        if last.left > 1 {
            last.left -= 1;
        } else {
            *last = TcpSend::NONE;
        }
        return 0;
    }
    let seen = last.first.min(u64::from(sent)) as u32;
    *last = TcpSend::NONE;
    sent - seen
}

#[inline(always)]
fn insert(send: TcpSend) {
    if SENDS.insert(thread(), send, 0).is_err() {
        count(Counter::Internal);
    }
}
