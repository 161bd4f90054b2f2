//! The kernel's struct layouts, which the daemon passes to the programs.

/// Byte offsets of the kernel's struct fields, resolved by the daemon.
///
/// aya has no CO-RE relocations. Instead the daemon reads the running kernel's
/// BTF and writes the offsets into the programs' read-only data, where the
/// verifier treats them as constants.
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

/// Offsets in `task_struct` and the structs it points to.
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
    /// The word of `task_struct.thread_info` with the flag for 32-bit system calls.
    pub compat_word: u32,
    /// Mask of that flag; 0 if the kernel has no 32-bit system calls.
    pub compat_mask: u32,
}

/// Offsets for finding the socket of a file descriptor.
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
    /// `sk_protocol`. Read separately: it is far behind the common part.
    pub protocol: u32,
    /// `sk_type`. Read separately.
    pub kind: u32,
    /// `tcp_sock.write_seq`. Read separately.
    pub write_seq: u32,
}

/// Offsets for matching executables in exec.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExecOffsets {
    /// `linux_binprm.filename`: the path passed to `execve`.
    pub filename: u32,
    /// `linux_binprm.file`: the file that will run (for a script, its interpreter).
    pub file: u32,
    /// `file.f_path.dentry`.
    pub file_dentry: u32,
    /// `dentry.d_name.name`.
    pub dentry_name: u32,
}

/// Offsets in `struct msghdr` and its `iov_iter`, all relative to the msghdr,
/// and the kernel's numbers for the kinds of iterators.
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
    /// `msg_iter.__iov` and the other members of its union: `kvec`, `ubuf`.
    pub iter_pointer: u32,
    /// `msg_iter.nr_segs`.
    pub iter_segs: u32,
    /// Mask of the kind in the type; up to Linux 5.13 the other bits hold the
    /// direction.
    pub kind_mask: u32,
    /// `ITER_IOVEC`.
    pub iovec: u32,
    /// `ITER_UBUF` (Linux 6.0), or [`NO_KIND`].
    pub ubuf: u32,
    /// `ITER_KVEC`.
    pub kvec: u32,
}

/// Stands for a kind that the kernel does not have: no masked byte equals it.
pub const NO_KIND: u32 = 0x100;
