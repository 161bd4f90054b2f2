//! The kernel's struct layouts, as the daemon tells them to the programs.

/// Byte offsets of the kernel's struct fields, resolved by the daemon.
///
/// aya has no CO-RE relocations: the daemon reads the running kernel's BTF and
/// writes these into the programs' read-only data, where the verifier knows
/// them as constants.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// `task_struct`.
    pub task: TaskOffsets,
    /// `files_struct`, `fdtable`, `file`, `inode`, `socket`, `super_block`.
    pub file: FileOffsets,
    /// `sock`, `tcp_sock`.
    pub sock: SockOffsets,
    /// `linux_binprm`, `dentry`.
    pub exec: ExecOffsets,
    /// `msghdr`, `iov_iter`.
    pub msg: MsgOffsets,
}

/// Offsets in `task_struct` and what hangs on it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskOffsets {
    /// `task_struct.tgid`.
    pub tgid: u32,
    /// `task_struct.cred`.
    pub cred: u32,
    /// `cred.uid`.
    pub cred_uid: u32,
    /// `task_struct.files`.
    pub files: u32,
    /// `task_struct.signal`.
    pub signal: u32,
    /// `signal_struct.live`.
    pub signal_live: u32,
    /// The word of `task_struct.thread_info` that tells a 32-bit system call.
    pub compat_word: u32,
    /// The bit in it; 0 where the architecture has none.
    pub compat_mask: u32,
}

/// Offsets on the way from a file descriptor to a socket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileOffsets {
    /// `files_struct.fdt`.
    pub files_fdt: u32,
    /// `fdtable.max_fds`.
    pub fdt_max_fds: u32,
    /// `fdtable.fd`.
    pub fdt_fd: u32,
    /// `file.f_inode`.
    pub inode: u32,
    /// `file.private_data`.
    pub private_data: u32,
    /// `inode.i_mode`.
    pub inode_mode: u32,
    /// `inode.i_ino`.
    pub inode_ino: u32,
    /// `inode.i_sb`.
    pub inode_sb: u32,
    /// `super_block.s_dev`.
    pub sb_dev: u32,
    /// `socket.sk`.
    pub socket_sk: u32,
}

/// Offsets in `struct sock`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SockOffsets {
    /// `__sk_common.skc_family`.
    pub family: u32,
    /// `__sk_common.skc_state`.
    pub state: u32,
    /// `__sk_common.skc_num`, the local port in host order.
    pub num: u32,
    /// `__sk_common.skc_dport`, the remote port in network order.
    pub dport: u32,
    /// `__sk_common.skc_daddr`.
    pub daddr: u32,
    /// `__sk_common.skc_rcv_saddr`.
    pub rcv_saddr: u32,
    /// `__sk_common.skc_v6_daddr`.
    pub v6_daddr: u32,
    /// `__sk_common.skc_v6_rcv_saddr`.
    pub v6_rcv_saddr: u32,
    /// `sk_protocol`. Read apart: it lies far behind the common part.
    pub protocol: u32,
    /// `tcp_sock.write_seq`. Read apart.
    pub write_seq: u32,
}

/// Offsets that exec is matched with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecOffsets {
    /// `linux_binprm.filename`: the name that was executed.
    pub filename: u32,
    /// `linux_binprm.file`: the file that will run (a script's interpreter).
    pub file: u32,
    /// `file.f_path.dentry`.
    pub file_dentry: u32,
    /// `dentry.d_name.name`.
    pub dentry_name: u32,
}

/// Offsets in `struct msghdr` and the `iov_iter` in it, all from the msghdr's
/// beginning, and how the kernel numbers the kinds of memory.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MsgOffsets {
    /// `msg_name`.
    pub name: u32,
    /// `msg_namelen`.
    pub name_len: u32,
    /// `msg_iter.iter_type`; up to Linux 5.13 the low byte of `msg_iter.type`.
    pub iter_type: u32,
    /// `msg_iter.iov_offset`.
    pub iter_offset: u32,
    /// `msg_iter.count`.
    pub iter_count: u32,
    /// `msg_iter.__iov`, and what shares its place: `kvec`, `ubuf`.
    pub iter_pointer: u32,
    /// `msg_iter.nr_segs`.
    pub iter_segs: u32,
    /// The bits of the type that tell the kind; the others tell the direction
    /// (up to Linux 5.13).
    pub kind_mask: u32,
    /// `ITER_IOVEC`.
    pub iovec: u32,
    /// `ITER_UBUF` (Linux 6.0), or [`NO_KIND`].
    pub ubuf: u32,
    /// `ITER_KVEC`.
    pub kvec: u32,
}

/// A kind that the kernel does not have: no masked byte is equal to it.
pub const NO_KIND: u32 = 0x100;
