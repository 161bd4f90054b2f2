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
    fn read(list: impl Memory, n: u32) -> Option<Self> {
        list.value(u64::from(n) * size_of::<Self>() as u64)
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

/// Gathers a list of buffers. The message's length is the sum of theirs.
#[inline(always)]
fn gather_list<const MAX: u32>(scratch: &mut Scratch, list: User, buffers: u64) {
    for i in 0..MAX {
        if u64::from(i) >= buffers {
            return;
        }
        match Iovec::read(list, i) {
            Some(iovec) => {
                scratch.add_len(iovec.len);
                scratch.append(User::at(iovec.base), iovec.len);
            }
            None => {
                scratch.header.flags |= flag::LEN_UNKNOWN;
                scratch.set_unreadable();
            }
        }
    }
    if buffers > u64::from(MAX) {
        scratch.header.flags |= flag::LEN_UNKNOWN;
        count(Counter::TooManyIovecs);
    }
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
const MAX_KVECS: u32 = 8;

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
        } else {
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
        for i in 0..MAX {
            if u64::from(i) >= self.buffers || scratch.is_full() {
                return;
            }
            let Some(iovec) = Iovec::read(Kernel(self.pointer), i) else {
                return scratch.set_unreadable();
            };
            let skip = if i == 0 { self.skip.min(iovec.len) } else { 0 };
            scratch.append(M::at(iovec.base.wrapping_add(skip)), iovec.len - skip);
        }
        if self.buffers > u64::from(MAX) && !scratch.is_full() {
            count(Counter::TooManyIovecs);
        }
    }
}
