//! Messages to be sent, as the hooks find them: where their bytes are, and how
//! they are gathered.

use core::mem::MaybeUninit;

use tracer_ebpf::{Counter, MSG_HEAD, flag};

use crate::{
    capture::{Scratch, count},
    kernel::{Head, Kernel, Memory, User, offset},
};

/// A message: `D` says where its bytes are, `M` in which memory its address.
#[derive(Clone, Copy)]
pub(crate) struct Message<D, M> {
    pub(crate) data: D,
    /// The address given with the message, or null.
    pub(crate) name: M,
    /// That address's length.
    pub(crate) name_len: u32,
    /// Whether the system call sends nothing before it that the socket does
    /// not know of yet.
    pub(crate) first: bool,
}

/// Where a message's bytes are.
pub(crate) trait Data {
    /// Counts them, and captures as many as there is room for, from at most
    /// `MAX` buffers.
    fn gather<const MAX: u32>(self, scratch: &mut Scratch);
}

/// What a process asks to send, in its own memory.
#[derive(Clone, Copy)]
pub(crate) enum Asked {
    /// In one buffer.
    Buffer { base: User, len: u64 },
    /// In several, of which there is a list.
    Iovecs { list: User, count: u64 },
}

/// `struct iovec`, and the kernel's own `struct kvec`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Iovec {
    base: u64,
    len: u64,
}

impl Iovec {
    /// The `n`th of a list.
    #[inline(always)]
    fn of(list: impl Memory, n: u32) -> Option<Self> {
        list.value(u64::from(n) * size_of::<Self>() as u64)
    }
}

impl Data for Asked {
    #[inline(always)]
    fn gather<const MAX: u32>(self, scratch: &mut Scratch) {
        match self {
            Self::Buffer { base, len } => {
                scratch.sends(len);
                scratch.take(base, len);
            }
            Self::Iovecs { list, count } => gather_listed::<MAX>(scratch, list, count),
        }
    }
}

/// Takes buffers as listed. Their lengths add up to the message's.
#[inline(always)]
fn gather_listed<const MAX: u32>(scratch: &mut Scratch, list: User, buffers: u64) {
    for i in 0..MAX {
        if u64::from(i) >= buffers {
            return;
        }
        match Iovec::of(list, i) {
            Some(iovec) => {
                scratch.sends(iovec.len);
                scratch.take(User::at(iovec.base), iovec.len);
            }
            None => {
                scratch.header.flags |= flag::LEN_UNKNOWN;
                scratch.lose();
            }
        }
    }
    if buffers > u64::from(MAX) {
        scratch.header.flags |= flag::LEN_UNKNOWN;
        count(Counter::TooManyIovecs);
    }
}

/// What is left of a `struct iov_iter`.
#[derive(Clone, Copy)]
pub(crate) struct Iter {
    /// `enum iter_type`, as this kernel numbers it.
    kind: u32,
    /// The buffer, or the list of buffers.
    pointer: u64,
    /// Bytes of the first buffer that are done with.
    skip: u64,
    /// Buffers in the list.
    buffers: u64,
    /// Bytes left.
    pub(crate) len: u64,
}

/// The message in a `struct msghdr`, as the kernel hands it to a socket.
#[inline(always)]
pub(crate) fn of_kernel(msg: Kernel) -> Option<Message<Iter, Kernel>> {
    let mut head = MaybeUninit::uninit();
    let head = Head::<MSG_HEAD>::read(msg, &mut head)?;
    let kind = u32::from(head.field::<u8>(offset!(msg.iter_type))) & offset!(msg.kind_mask) as u32;
    let data = Iter {
        kind,
        pointer: head.field(offset!(msg.iter_pointer)),
        skip: head.field(offset!(msg.iter_offset)),
        buffers: head.field(offset!(msg.iter_segs)),
        len: head.field(offset!(msg.iter_count)),
    };
    Some(Message {
        data,
        name: Kernel(head.field(offset!(msg.name))),
        name_len: head.field(offset!(msg.name_len)),
        first: true,
    })
}

/// The most buffers of the kernel's own that are walked: what sends from them
/// are file systems, with a header and a body.
const MAX_KVECS: u32 = 8;

impl Data for Iter {
    #[inline(always)]
    fn gather<const MAX: u32>(self, scratch: &mut Scratch) {
        scratch.sends(self.len);
        scratch.limit(self.len);
        if self.kind == offset!(msg.ubuf) as u32 {
            scratch.take(User::at(self.pointer.wrapping_add(self.skip)), self.len);
        } else if self.kind == offset!(msg.iovec) as u32 {
            self.walk::<User, MAX>(scratch);
        } else if self.kind == offset!(msg.kvec) as u32 {
            self.walk::<Kernel, MAX_KVECS>(scratch);
        } else {
            // Pages, which have no address that could be read here.
            count(Counter::UnknownIterator);
        }
    }
}

impl Iter {
    /// Where the buffer ends, or the list of buffers: what stays as it is while
    /// the kernel goes through them.
    #[inline(always)]
    pub(crate) fn end(&self) -> u64 {
        if self.kind == offset!(msg.ubuf) as u32 {
            self.pointer.wrapping_add(self.skip).wrapping_add(self.len)
        } else {
            // Of `struct kvec` and `struct bio_vec` the same size.
            self.pointer.wrapping_add(self.buffers.wrapping_mul(size_of::<Iovec>() as u64))
        }
    }

    /// Takes the buffers in the list, which the kernel holds.
    #[inline(always)]
    fn walk<M: Memory, const MAX: u32>(self, scratch: &mut Scratch) {
        for i in 0..MAX {
            if u64::from(i) >= self.buffers || scratch.is_full() {
                return;
            }
            let Some(iovec) = Iovec::of(Kernel(self.pointer), i) else {
                return scratch.lose();
            };
            let skip = if i == 0 { self.skip.min(iovec.len) } else { 0 };
            scratch.take(M::at(iovec.base.wrapping_add(skip)), iovec.len - skip);
        }
        if self.buffers > u64::from(MAX) && !scratch.is_full() {
            count(Counter::TooManyIovecs);
        }
    }
}
