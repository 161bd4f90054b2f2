//! Messages as the hooks find them: locates and gathers their bytes.

use core::mem::MaybeUninit;

use tracer_ebpf::{Counter, MSG_HEAD, flag};

use crate::{
    counters::count,
    kernel::{Head, Kernel, Memory, User, offset},
    scratch::Scratch,
};

/// A message with its bytes in `D`, and its destination address in memory of
/// kind `M`.
#[derive(Clone, Copy)]
pub(crate) struct Message<D, M> {
    pub(crate) data: D,
    /// Destination address (a `struct sockaddr`), or null.
    pub(crate) name: M,
    /// Length of the destination address.
    pub(crate) name_len: u32,
    /// False if earlier messages of the same system call are not yet part of
    /// the socket's position.
    pub(crate) first: bool,
}

/// The bytes of a message.
pub(crate) trait Data {
    /// Counts the bytes, and captures as many as there is room for, from at most
    /// `MAX` buffers.
    fn gather<const MAX: u32>(self, scratch: &mut Scratch);
}

/// Bytes in the sending process's memory.
#[derive(Clone, Copy)]
pub(crate) enum UserData {
    /// A single buffer.
    Buffer { base: User, len: u64 },
    /// A list of buffers.
    Iovecs { list: User, count: u64 },
}

/// `struct iovec`, which has the layout of the kernel's own `struct kvec`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Iovec {
    base: u64,
    len: u64,
}

impl Iovec {
    /// Reads the `n`th element of a list.
    #[inline(always)]
    fn read(list: impl Memory, n: u64) -> Option<Self> {
        list.value(n.wrapping_mul(size_of::<Self>() as u64))
    }
}

impl Data for UserData {
    #[inline(always)]
    fn gather<const MAX: u32>(self, scratch: &mut Scratch) {
        match self {
            Self::Buffer { base, len } => {
                scratch.add_len(len);
                scratch.append(base, len);
            }
            Self::Iovecs { list, count } => gather_list::<MAX>(scratch, list, count),
        }
    }
}

/// Maximum number of buffers of a message that are walked: as many as the kernel accepts
/// (`UIO_MAXIOV`).
pub(crate) const MAX_IOVECS: u32 = 1024;

/// Number of buffers that one call of a global function walks. The verifier reads such a
/// function once, whatever its arguments, and not again for each call.
const CHUNK: u32 = 32;

/// Gathers a list of buffers. The message's length is the sum of theirs.
#[inline(always)]
fn gather_list<const MAX: u32>(scratch: &mut Scratch, list: User, buffers: u64) {
    for n in 0..MAX / CHUNK {
        if u64::from(n * CHUNK) >= buffers {
            return;
        }
        gather_chunk(scratch.slot(), list.address(), n * CHUNK, buffers);
    }
    if buffers > u64::from(MAX) {
        scratch.header().flags |= flag::LEN_UNKNOWN;
        count(Counter::TooManyIovecs);
    }
}

/// Gathers the buffers from the `first` of a list in the process's memory.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn gather_chunk(slot: u32, list: u64, first: u32, buffers: u64) -> u32 {
    let Some(mut scratch) = Scratch::get(slot) else {
        return 0;
    };
    for i in 0..CHUNK {
        let n = u64::from(first) + u64::from(i);
        if n >= buffers {
            return 0;
        }
        match Iovec::read(User::at(list), n) {
            Some(iovec) => {
                scratch.add_len(iovec.len);
                scratch.append(User::at(iovec.base), iovec.len);
            }
            None => {
                scratch.header().flags |= flag::LEN_UNKNOWN;
                scratch.set_unreadable();
            }
        }
    }
    0
}

/// The rest of a `struct iov_iter`.
#[derive(Clone, Copy)]
pub(crate) struct IovIter {
    /// `enum iter_type`, as this kernel numbers it.
    kind: u32,
    /// Address of the buffer, or of the list of buffers.
    pointer: u64,
    /// Number of bytes of the first buffer that are already sent.
    skip: u64,
    /// Number of buffers in the list.
    buffers: u64,
    /// Number of bytes left.
    pub(crate) len: u64,
}

impl Message<IovIter, Kernel> {
    /// Reads a `struct msghdr` that the kernel passes to a socket.
    #[inline(always)]
    pub(crate) fn from_kernel(msg: Kernel) -> Option<Self> {
        let mut head = MaybeUninit::uninit();
        let head = Head::<MSG_HEAD>::read(msg, &mut head)?;
        let kind =
            u32::from(head.field::<u8>(offset!(msg.iter_type))) & offset!(msg.kind_mask) as u32;
        let data = IovIter {
            kind,
            pointer: head.field(offset!(msg.iter_pointer)),
            skip: head.field(offset!(msg.iter_offset)),
            buffers: head.field(offset!(msg.iter_segs)),
            len: head.field(offset!(msg.iter_count)),
        };
        Some(Self {
            data,
            name: Kernel(head.field(offset!(msg.name))),
            name_len: head.field(offset!(msg.name_len)),
            first: true,
        })
    }
}

/// Maximum number of the kernel's own buffers that are walked. File systems send
/// from them, with a header and a body.
const MAX_KVECS: u32 = CHUNK;

impl Data for IovIter {
    #[inline(always)]
    fn gather<const MAX: u32>(self, scratch: &mut Scratch) {
        scratch.add_len(self.len);
        scratch.limit(self.len);
        if self.kind == offset!(msg.ubuf) as u32 {
            scratch.append(User::at(self.pointer.wrapping_add(self.skip)), self.len);
        } else if self.kind == offset!(msg.iovec) as u32 {
            self.walk::<User, MAX>(scratch);
        } else if self.kind == offset!(msg.kvec) as u32 {
            self.walk::<Kernel, MAX_KVECS>(scratch);
        } else if self.len != 0 {
            // Pages: they have no address that can be read here.
            count(Counter::UnknownIterator);
        }
    }
}

impl IovIter {
    /// Returns the address where the buffer, or the list of buffers, ends. It
    /// does not change while the kernel advances through them.
    #[inline(always)]
    pub(crate) fn end(&self) -> u64 {
        if self.kind == offset!(msg.ubuf) as u32 {
            self.pointer.wrapping_add(self.skip).wrapping_add(self.len)
        } else {
            // `struct kvec` and `struct bio_vec` have the same size.
            self.pointer.wrapping_add(self.buffers.wrapping_mul(size_of::<Iovec>() as u64))
        }
    }

    /// Captures the buffers in the list, which is in kernel memory.
    #[inline(always)]
    fn walk<M: Memory, const MAX: u32>(self, scratch: &mut Scratch) {
        if self.buffers == 0 {
            return;
        }
        let Some(first) = Iovec::read(Kernel(self.pointer), 0) else {
            return scratch.set_unreadable();
        };
        let skip = self.skip.min(first.len);
        scratch.append(M::at(first.base.wrapping_add(skip)), first.len - skip);
        for n in 0..MAX / CHUNK {
            let first = 1 + n * CHUNK;
            if u64::from(first) >= self.buffers || scratch.is_full() {
                return;
            }
            let slot = scratch.slot();
            walk_chunk(slot, self.pointer, first, self.buffers, u32::from(M::OF_PROCESS));
        }
        if self.buffers > u64::from(MAX) && !scratch.is_full() {
            count(Counter::TooManyIovecs);
        }
    }
}

/// Captures the buffers from the `first` of a list in kernel memory. The buffers are in
/// the process's memory if `of_process` is not 0, else in the kernel's.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn walk_chunk(slot: u32, list: u64, first: u32, buffers: u64, of_process: u32) -> u32 {
    let Some(scratch) = Scratch::get(slot) else {
        return 0;
    };
    for i in 0..CHUNK {
        let n = u64::from(first) + u64::from(i);
        if n >= buffers || scratch.is_full() {
            return 0;
        }
        let Some(iovec) = Iovec::read(Kernel(list), n) else {
            scratch.set_unreadable();
            return 0;
        };
        scratch.append_any(iovec.base, iovec.len, of_process);
    }
    0
}
