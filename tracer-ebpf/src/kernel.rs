//! Reads kernel and user memory, and finds the socket of a file descriptor.

use core::mem::MaybeUninit;

use aya_ebpf::{
    bindings::task_struct,
    helpers::generated::{
        bpf_get_current_pid_tgid, bpf_get_current_task, bpf_get_current_task_btf,
        bpf_probe_read_kernel, bpf_probe_read_user,
    },
};
use tracer_ebpf::{Offsets, Settings};

/// Struct layouts of the running kernel. The daemon writes them before loading.
// SAFETY: all integers.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Offsets = unsafe { core::mem::zeroed() };

/// Settings of the whole run. The daemon writes them before loading.
// SAFETY: all integers.
#[unsafe(no_mangle)]
pub(crate) static SETTINGS: Settings = unsafe { core::mem::zeroed() };

/// Reads a field of [`OFFSETS`].
macro_rules! offset {
    ($($field:ident).+) => {
        $crate::kernel::read_only(&raw const $crate::kernel::OFFSETS.$($field).+) as usize
    };
}
pub(crate) use offset;

/// Reads a field of [`SETTINGS`].
macro_rules! setting {
    ($field:ident) => {
        $crate::kernel::read_only(&raw const $crate::kernel::SETTINGS.$field)
    };
}
pub(crate) use setting;

/// Reads a word of the read-only data. The read is volatile because the
/// compiler sees only zeros; the verifier, which runs after the daemon has
/// written the data, sees a constant.
#[inline(always)]
pub(crate) fn read_only<T: Copy>(word: *const T) -> T {
    // SAFETY: callers only pass statics and their fields.
    unsafe { core::ptr::read_volatile(word) }
}

/// An address in kernel or user memory.
pub(crate) trait Memory: Copy {
    /// True for the memory of the current process.
    const OF_PROCESS: bool;

    /// Creates an address from a pointer that was read from memory.
    fn at(address: u64) -> Self;

    /// Returns the address as a number.
    fn address(self) -> u64;

    /// Reads the value `offset` bytes after this address.
    fn value<T: Copy>(self, offset: u64) -> Option<T>;

    /// Copies `len` bytes from here to `to`.
    ///
    /// # Safety
    ///
    /// `to` must have room for `len` bytes. (The verifier checks this as well.)
    unsafe fn copy_to(self, to: *mut u8, len: u32) -> bool;

    /// Returns the number of bytes from here to the end of the page.
    #[inline(always)]
    fn to_page_end(self) -> u64 {
        4096 - (self.address() & 4095)
    }
}

/// The first `N` bytes of a kernel struct, read at once: calling a helper for
/// each field costs more than reading all of the bytes. Aligned like the kernel's
/// structs, so that reading a field is a single load.
#[repr(C, align(8))]
pub(crate) struct Head<const N: usize>([u8; N]);

impl<const N: usize> Head<N> {
    /// Reads into the caller's `head`. Returning it by value would copy it byte
    /// by byte, which takes longer than everything else.
    #[inline(always)]
    pub(crate) fn read(from: Kernel, head: &mut MaybeUninit<Self>) -> Option<&Self> {
        // SAFETY: writes all of `head` or fails.
        let result = unsafe {
            bpf_probe_read_kernel(head.as_mut_ptr().cast(), N as u32, from.0 as *const _)
        };
        // SAFETY: written, as just checked.
        (result == 0).then(|| unsafe { head.assume_init_ref() })
    }

    #[inline(always)]
    pub(crate) fn field<T: Copy>(&self, offset: usize) -> T {
        // SAFETY: the daemon refuses a kernel where a field is outside the
        // head, and so would the verifier. The compiler that built the kernel
        // aligned it.
        unsafe { core::ptr::read(self.0.as_ptr().add(offset).cast()) }
    }
}

/// An address in the kernel, only read through the checking helper.
#[derive(Clone, Copy)]
pub(crate) struct Kernel(pub(crate) u64);

impl Memory for Kernel {
    const OF_PROCESS: bool = false;

    #[inline(always)]
    fn at(address: u64) -> Self {
        Self(address)
    }

    #[inline(always)]
    fn address(self) -> u64 {
        self.0
    }

    #[inline(always)]
    fn value<T: Copy>(self, offset: u64) -> Option<T> {
        self.read(offset as usize)
    }

    #[inline(always)]
    unsafe fn copy_to(self, to: *mut u8, len: u32) -> bool {
        // SAFETY: the caller's promise.
        unsafe { bpf_probe_read_kernel(to.cast(), len, self.0 as *const _) == 0 }
    }
}

impl Kernel {
    /// Reads the value `offset` bytes after this address.
    #[inline(always)]
    pub(crate) fn read<T: Copy>(self, offset: usize) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: the helper writes all of `value` or fails, whatever the address.
        let result = unsafe {
            bpf_probe_read_kernel(
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                (self.0 + offset as u64) as *const _,
            )
        };
        // SAFETY: written, as just checked. `T` is an integer or array of them.
        (result == 0).then(|| unsafe { value.assume_init() })
    }

    /// Reads the pointer `offset` bytes after this address; `None` if it is null.
    #[inline(always)]
    pub(crate) fn pointer(self, offset: usize) -> Option<Self> {
        let pointer = self.read::<u64>(offset)?;
        (pointer != 0).then_some(Self(pointer))
    }
}

/// An address in the current process's memory.
#[derive(Clone, Copy)]
pub(crate) struct User(u64);

impl User {
    /// Creates an address without the tag that arm64 lets a process keep in the
    /// top byte (Android's heap does); the kernel's checks would reject it.
    #[inline(always)]
    pub(crate) fn new(address: u64) -> Self {
        if cfg!(bpf_target_arch = "aarch64") {
            Self(address & 0x00ff_ffff_ffff_ffff)
        } else {
            Self(address)
        }
    }

    /// Reads the value at this address.
    #[inline(always)]
    pub(crate) fn read<T: Copy>(self) -> Option<T> {
        self.value(0)
    }
}

impl Memory for User {
    const OF_PROCESS: bool = true;

    #[inline(always)]
    fn at(address: u64) -> Self {
        Self::new(address)
    }

    #[inline(always)]
    fn address(self) -> u64 {
        self.0
    }

    #[inline(always)]
    fn value<T: Copy>(self, offset: u64) -> Option<T> {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: as in `Kernel::read`.
        let result = unsafe {
            bpf_probe_read_user(
                value.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                self.0.wrapping_add(offset) as *const _,
            )
        };
        // SAFETY: as in `Kernel::read`.
        (result == 0).then(|| unsafe { value.assume_init() })
    }

    #[inline(always)]
    unsafe fn copy_to(self, to: *mut u8, len: u32) -> bool {
        // SAFETY: the caller's promise.
        unsafe { bpf_probe_read_user(to.cast(), len, self.0 as *const _) == 0 }
    }
}

/// Returns the current thread id, with the process id in the upper half.
#[inline(always)]
pub(crate) fn thread() -> u64 {
    // SAFETY: has no preconditions.
    unsafe { bpf_get_current_pid_tgid() }
}

/// The current task.
#[derive(Clone, Copy)]
pub(crate) enum Task {
    /// A pointer whose type the verifier knows: fields are read by plain loads.
    Typed(*const task_struct),
    /// An address that is read through the helper.
    Plain(Kernel),
}

impl Task {
    #[inline(always)]
    pub(crate) fn current() -> Self {
        if setting!(task_btf) != 0 {
            // SAFETY: has no preconditions.
            Self::Typed(unsafe { bpf_get_current_task_btf() })
        } else {
            // SAFETY: has no preconditions.
            Self::Plain(Kernel(unsafe { bpf_get_current_task() }))
        }
    }

    /// Loads through a pointer whose type the verifier knows. The verifier turns
    /// it into a load that yields 0 instead of faulting.
    #[inline(always)]
    fn load<T: Copy>(pointer: *const u8, offset: usize) -> T {
        // SAFETY: the verifier admits only fields of the pointer's type.
        unsafe { core::ptr::read_volatile(pointer.add(offset).cast()) }
    }

    /// Returns the real UID.
    #[inline(always)]
    pub(crate) fn uid(self) -> Option<u32> {
        match self {
            Self::Typed(task) => {
                let cred: *const u8 = Self::load(task.cast(), offset!(task.cred));
                if cred.is_null() {
                    return None;
                }
                Some(Self::load(cred, offset!(task.cred_uid)))
            }
            Self::Plain(task) => task.pointer(offset!(task.cred))?.read(offset!(task.cred_uid)),
        }
    }

    /// Returns the process id.
    #[inline(always)]
    pub(crate) fn tgid(self) -> Option<u32> {
        match self {
            Self::Typed(task) => Some(Self::load(task.cast(), offset!(task.tgid))),
            Self::Plain(task) => task.read(offset!(task.tgid)),
        }
    }

    /// Returns true in a system call of a 32-bit process.
    #[inline(always)]
    pub(crate) fn in_compat_syscall(self) -> bool {
        let mask = offset!(task.compat_mask) as u32;
        let word = match self {
            Self::Typed(task) => Self::load::<u32>(task.cast(), offset!(task.compat_word)),
            Self::Plain(task) => task.read(offset!(task.compat_word)).unwrap_or(0),
        };
        word & mask != 0
    }

    /// Returns the length and the address of the table of open files.
    #[inline(always)]
    fn files(self) -> Option<(u32, Kernel)> {
        match self {
            Self::Typed(task) => {
                let files: *const u8 = Self::load(task.cast(), offset!(task.files));
                if files.is_null() {
                    return None;
                }
                let fdt: *const u8 = Self::load(files, offset!(file.files_fdt));
                if fdt.is_null() {
                    return None;
                }
                let array: u64 = Self::load(fdt, offset!(file.fdt_fd));
                Some((Self::load(fdt, offset!(file.fdt_max_fds)), Kernel(array)))
            }
            Self::Plain(task) => {
                let fdt = task.pointer(offset!(task.files))?.pointer(offset!(file.files_fdt))?;
                Some((fdt.read(offset!(file.fdt_max_fds))?, fdt.pointer(offset!(file.fdt_fd))?))
            }
        }
    }

    /// Returns the `struct sock` of a descriptor; `None` if it is not a socket.
    #[inline(always)]
    pub(crate) fn sock(self, fd: u64) -> Option<Kernel> {
        const S_IFMT: u16 = 0o170_000;
        const S_IFSOCK: u16 = 0o140_000;

        // The kernel truncates the descriptor to an unsigned int.
        let fd = fd as u32;
        let (count, array) = self.files()?;
        if fd >= count {
            return None;
        }
        let file = array.pointer(fd as usize * size_of::<u64>())?;
        let mode: u16 = file.pointer(offset!(file.inode))?.read(offset!(file.inode_mode))?;
        if mode & S_IFMT != S_IFSOCK {
            return None;
        }
        file.pointer(offset!(file.private_data))?.pointer(offset!(file.socket_sk))
    }
}
