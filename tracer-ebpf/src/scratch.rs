//! The buffer in which a socket record is assembled.

use tracer_ebpf::{MAX_HEAD, RecordHeader, flag};

use crate::kernel::Memory;

/// A record under construction. The payload has twice the room that is used: an
/// offset and a length of at most [`MAX_HEAD`] each then always fit, which is a
/// bound that the verifier can follow.
#[repr(C)]
pub(crate) struct Scratch {
    pub(crate) header: RecordHeader,
    payload: [u8; 2 * MAX_HEAD],
    progress: Progress,
}

/// The state of the loop over a message's buffers.
///
/// It is kept in the map and always read back: the verifier knows nothing about
/// a number in memory, so every iteration of the loop looks the same to it. With
/// the numbers in registers, verifying 32 iterations took 240 000 steps; this
/// way, 256 take 80 000.
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

impl Progress {
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

impl Scratch {
    /// Returns the number of bytes in the earlier messages of this system call,
    /// of which the `first` message has none.
    #[inline(always)]
    pub(crate) fn bytes_ahead(&mut self, first: bool) -> BytesAhead {
        if first {
            Progress::store(&mut self.progress.ahead, 0);
        }
        BytesAhead(Progress::load(&self.progress.ahead))
    }

    /// Starts a message of which at most `head` bytes are captured.
    #[inline(always)]
    pub(crate) fn begin(&mut self, head: u32) {
        Progress::store(&mut self.progress.sent, 0);
        Progress::store(&mut self.progress.captured, 0);
        Progress::store(&mut self.progress.room, u64::from(head));
        Progress::store(&mut self.progress.unreadable, 0);
    }

    /// Adds the finished message to the bytes `ahead` of the next one.
    #[inline(always)]
    pub(crate) fn finish(&mut self, ahead: BytesAhead) {
        let ahead = if self.header.flags & flag::LEN_UNKNOWN == 0 {
            ahead.0.saturating_add(Progress::load(&self.progress.sent))
        } else {
            BytesAhead::UNKNOWN
        };
        Progress::store(&mut self.progress.ahead, ahead);
    }

    /// Adds to the length of the message. A sum that wraps exceeds what the
    /// kernel accepts (`MAX_RW_COUNT`).
    #[inline(always)]
    pub(crate) fn add_len(&mut self, len: u64) {
        let sent = Progress::load(&self.progress.sent);
        Progress::store(&mut self.progress.sent, sent.wrapping_add(len));
    }

    /// Returns the length of the message, as far as counted.
    #[inline(always)]
    pub(crate) fn len(&self) -> u64 {
        Progress::load(&self.progress.sent)
    }

    /// Returns the number of bytes captured.
    #[inline(always)]
    pub(crate) fn captured(&self) -> u64 {
        Progress::load(&self.progress.captured)
    }

    /// Limits the bytes that may still be captured to `len`.
    #[inline(always)]
    pub(crate) fn limit(&mut self, len: u64) {
        let room = Progress::load(&self.progress.room);
        Progress::store(&mut self.progress.room, room.min(len));
    }

    /// Returns true if there is no room left to capture more.
    #[inline(always)]
    pub(crate) fn is_full(&self) -> bool {
        Progress::load(&self.progress.room) == 0
    }

    /// Returns true if a buffer could not be read.
    #[inline(always)]
    pub(crate) fn is_unreadable(&self) -> bool {
        Progress::load(&self.progress.unreadable) != 0
    }

    /// Marks a buffer as unreadable and captures nothing more, since the
    /// position of the following bytes is unknown.
    #[inline(always)]
    pub(crate) fn set_unreadable(&mut self) {
        Progress::store(&mut self.progress.room, 0);
        Progress::store(&mut self.progress.unreadable, 1);
    }

    /// Captures as much of a buffer as there is room for.
    #[inline(always)]
    pub(crate) fn append(&mut self, base: impl Memory, len: u64) {
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
        self.set_unreadable();
        // A single page that is not in memory fails the whole read. The first
        // page is the most likely to be present, and holds the beginning of a
        // request.
        let want = Progress::load(&self.progress.want);
        Progress::store(&mut self.progress.want, base.to_page_end().min(want));
        self.copy(base);
    }

    /// Appends `want` bytes of a buffer; returns `false` if they cannot be read.
    ///
    /// The offset and the length are checked right before they are used: the
    /// verifier of Linux 5.10 forgets the bounds of a number that the compiler
    /// spills to the stack in between.
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

    /// Returns the header and the captured payload.
    #[inline(always)]
    pub(crate) fn record(&self) -> &[u8] {
        // Bounded right before its use, as in `Scratch::copy`.
        let captured = self.captured().min(2 * MAX_HEAD as u64);
        let len = RecordHeader::SIZE + captured as usize;
        // SAFETY: the header and the payload are adjacent.
        unsafe { core::slice::from_raw_parts((&raw const *self).cast::<u8>(), len) }
    }
}
