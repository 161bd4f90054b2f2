//! The buffer in which a socket record is assembled.

use aya_ebpf::{macros::map, maps::Array};
use tracer_ebpf::{MAX_HEAD, RecordHeader, flag};

use crate::kernel::{Kernel, Memory, User};

/// One [`Space`] for each entry point and CPU. The daemon sets the number of
/// entries. (A per-CPU map would do if its values were not limited to 32 KiB.)
#[map]
static SCRATCH: Array<Space> = Array::with_max_entries(1, 0);

/// A record under construction. The payload has twice the room that is used: an
/// offset and a length of at most [`MAX_HEAD`] each then always fit, which is a
/// bound that the verifier can follow.
#[repr(C)]
struct Space {
    header: RecordHeader,
    payload: [u8; 2 * MAX_HEAD],
    progress: Progress,
}

/// The space that belongs to an entry point on a CPU.
#[derive(Clone, Copy)]
pub(crate) struct Scratch {
    slot: u32,
    space: *mut Space,
}

/// The state of the loop over a message's buffers.
///
/// It is kept in the map and always read back: the verifier knows nothing about
/// a number in memory, so every iteration of the loop looks the same to it. With
/// the numbers in registers, verifying 32 iterations took 240 000 steps.
#[repr(C)]
struct Progress {
    /// Number of bytes that the process asked to send, as far as counted.
    sent: u64,
    /// Number of bytes captured.
    captured: u64,
    /// Number of bytes that may still be captured.
    room: u64,
    /// Number of bytes to copy from the current buffer.
    want: u64,
    /// 1 if a buffer could not be read. The position of the bytes behind it is
    /// then unknown.
    unreadable: u64,
    /// [`BytesAhead`].
    ahead: u64,
}

/// Number of bytes in the earlier messages of the same system call. They have not
/// been sent yet: the socket's position is still that of the first message.
#[derive(Clone, Copy)]
pub(crate) struct BytesAhead(u64);

impl BytesAhead {
    /// Stands for a number of bytes that could not be counted.
    const UNKNOWN: u64 = u64::MAX;

    /// Returns the number of bytes; `None` if they could not be counted.
    #[inline(always)]
    pub(crate) fn known(self) -> Option<u32> {
        (self.0 != Self::UNKNOWN).then_some(self.0 as u32)
    }
}

/// Reads a field of [`Progress`].
macro_rules! load {
    ($scratch:expr, $field:ident) => {
        // SAFETY: the space belongs to this program on this CPU.
        unsafe { core::ptr::read_volatile(&raw const (*$scratch.space).progress.$field) }
    };
}

/// Writes a field of [`Progress`].
macro_rules! store {
    ($scratch:expr, $field:ident, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: the space belongs to this program on this CPU.
        unsafe { core::ptr::write_volatile(&raw mut (*$scratch.space).progress.$field, value) }
    }};
}

impl Scratch {
    /// Returns the space in a slot; `None` if there are fewer slots.
    #[inline(always)]
    pub(crate) fn get(slot: u32) -> Option<Self> {
        SCRATCH.get_ptr_mut(slot).map(|space| Self { slot, space })
    }

    /// Returns the slot of the space.
    #[inline(always)]
    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    /// Returns the header of the record.
    #[inline(always)]
    pub(crate) fn header(&mut self) -> &mut RecordHeader {
        // SAFETY: the space belongs to this program on this CPU, and `append` leaves
        // the header alone.
        unsafe { &mut (*self.space).header }
    }

    /// Returns the number of bytes in the earlier messages of this system call,
    /// of which the `first` message has none.
    #[inline(always)]
    pub(crate) fn bytes_ahead(self, first: bool) -> BytesAhead {
        if first {
            store!(self, ahead, 0);
        }
        BytesAhead(load!(self, ahead))
    }

    /// Starts a message of which at most `head` bytes are captured.
    #[inline(always)]
    pub(crate) fn begin(self, head: u32) {
        store!(self, sent, 0);
        store!(self, captured, 0);
        store!(self, room, u64::from(head));
        store!(self, unreadable, 0);
    }

    /// Adds the finished message to the bytes `ahead` of the next one.
    #[inline(always)]
    pub(crate) fn finish(&mut self, ahead: BytesAhead) {
        let ahead = if self.header().flags & flag::LEN_UNKNOWN == 0 {
            ahead.0.saturating_add(load!(self, sent))
        } else {
            BytesAhead::UNKNOWN
        };
        store!(self, ahead, ahead);
    }

    /// Adds to the length of the message. A sum that wraps exceeds what the
    /// kernel accepts (`MAX_RW_COUNT`).
    #[inline(always)]
    pub(crate) fn add_len(self, len: u64) {
        let sent = load!(self, sent);
        store!(self, sent, sent.wrapping_add(len));
    }

    /// Returns the length of the message, as far as counted.
    #[inline(always)]
    pub(crate) fn len(self) -> u64 {
        load!(self, sent)
    }

    /// Returns the number of bytes captured.
    #[inline(always)]
    pub(crate) fn captured(self) -> u64 {
        load!(self, captured)
    }

    /// Limits the bytes that may still be captured to `len`.
    #[inline(always)]
    pub(crate) fn limit(self, len: u64) {
        let room = load!(self, room);
        store!(self, room, room.min(len));
    }

    /// Returns true if there is no room left to capture more.
    #[inline(always)]
    pub(crate) fn is_full(self) -> bool {
        load!(self, room) == 0
    }

    /// Returns true if a buffer could not be read.
    #[inline(always)]
    pub(crate) fn is_unreadable(self) -> bool {
        load!(self, unreadable) != 0
    }

    /// Marks a buffer as unreadable and captures nothing more, since the
    /// position of the following bytes is unknown.
    #[inline(always)]
    pub(crate) fn set_unreadable(self) {
        store!(self, room, 0);
        store!(self, unreadable, 1);
    }

    /// Captures as much of a buffer as there is room for.
    #[inline(always)]
    pub(crate) fn append<M: Memory>(self, base: M, len: u64) {
        self.append_any(base.address(), len, u32::from(M::OF_PROCESS));
    }

    /// As [`Scratch::append`]; the buffer is in the current process's memory if
    /// `of_process` is not 0, else in the kernel's.
    #[inline(always)]
    pub(crate) fn append_any(self, base: u64, len: u64, of_process: u32) {
        append(self.slot, base, len, of_process);
    }

    #[inline(always)]
    fn append_from(self, base: impl Memory, len: u64) {
        let room = load!(self, room);
        if room == 0 {
            return;
        }
        store!(self, want, len.min(room));
        if self.copy(base) {
            let room = load!(self, room);
            store!(self, room, room - len.min(room));
            return;
        }
        self.set_unreadable();
        // A single page that is not in memory fails the whole read. The first
        // page is the most likely to be present, and holds the beginning of a
        // request.
        let want = load!(self, want);
        store!(self, want, base.to_page_end().min(want));
        self.copy(base);
    }

    /// Appends `want` bytes of a buffer; returns `false` if they cannot be read.
    ///
    /// The offset and the length are checked right before they are used: the
    /// verifier of Linux 5.10 forgets the bounds of a number that the compiler
    /// spills to the stack in between.
    #[inline(always)]
    fn copy(self, base: impl Memory) -> bool {
        const MAX: u64 = MAX_HEAD as u64;
        let want = load!(self, want);
        let at = load!(self, captured);
        if at > MAX || want > MAX {
            return false;
        }
        // SAFETY: `at` and `want` are at most MAX_HEAD each.
        let to = unsafe { (&raw mut (*self.space).payload).cast::<u8>().add(at as usize) };
        // SAFETY: as above.
        let copied = unsafe { base.copy_to(to, want as u32) };
        if copied {
            let at = load!(self, captured);
            let want = load!(self, want);
            store!(self, captured, at + want);
        }
        copied
    }

    /// Returns the header and the captured payload.
    #[inline(always)]
    pub(crate) fn record(&self) -> &[u8] {
        // Bounded right before its use, as in `Scratch::copy`.
        let captured = self.captured().min(2 * MAX_HEAD as u64);
        let len = RecordHeader::SIZE + captured as usize;
        // SAFETY: the header and the payload are adjacent.
        unsafe { core::slice::from_raw_parts(self.space.cast::<u8>(), len) }
    }
}

/// Captures as much of a buffer as there is room for in the scratch of `slot`. The
/// buffer is in the current process's memory if `of_process` is not 0, else in the
/// kernel's.
///
/// The verifier reads a global function once, whatever its arguments, and not again for
/// each buffer of a message: with this and the other global functions, `sys_enter` takes
/// 20 000 steps in place of 270 000.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn append(slot: u32, base: u64, len: u64, of_process: u32) -> u32 {
    if let Some(scratch) = Scratch::get(slot) {
        if of_process != 0 {
            scratch.append_from(User::at(base), len);
        } else {
            scratch.append_from(Kernel(base), len);
        }
    }
    0
}
