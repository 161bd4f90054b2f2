//! Struct layouts of the running kernel, for programs without CO-RE: from its BTF,
//! or, for a few kernels without BTF, from `layouts.toml`.

use std::{ffi::CStr, fs, io, sync::OnceLock};

use thiserror::Error;
use tracer_ebpf::{
    ExecOffsets, FileOffsets, MSG_HEAD, MsgOffsets, NO_KIND, Offsets, SOCK_HEAD, SockOffsets,
    TaskOffsets,
};

use super::{
    btf::{Btf, BtfError},
    layouts,
};

/// Path of the kernel's type information.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// A reason for which the layouts are unknown.
#[derive(Debug, Error)]
pub enum OffsetsError {
    /// The kernel has BTF, but it cannot be read.
    #[error("cannot read {BTF_PATH}: {0}")]
    Unreadable(#[source] io::Error),
    /// The kernel has no BTF, and is not in the table of layouts.
    #[error(
        "this kernel ({release}, {arch}) has no type information ({BTF_PATH}), and tracer does \
         not know its layouts.\n\
         Use a kernel built with CONFIG_DEBUG_INFO_BTF (Debian, Fedora, Arch, Ubuntu and Android \
         from android13-5.15 on have it). Without it, tracer supports: {}.", supported.join(", ")
    )]
    Unknown {
        /// The output of `uname -r`.
        release: String,
        /// The output of `uname -m`.
        arch: String,
        /// Kernels that are supported without BTF.
        supported: Vec<String>,
    },
    /// The kernel's structs differ from those that tracer supports.
    #[error("{0}\nThis kernel is not supported yet; please report `uname -r` and this message.")]
    Btf(#[from] BtfError),
    /// A field is beyond the part of its struct that the programs read.
    #[error(
        "in this kernel, {of}.{member} is at byte {offset}, beyond the {reach} bytes that tracer \
         reads\nThis kernel is not supported yet; please report `uname -r` and this message."
    )]
    OutOfReach {
        /// Name of the struct.
        of: &'static str,
        /// Name of the field.
        member: &'static str,
        /// Offset of the field.
        offset: u32,
        /// Number of bytes that the programs read.
        reach: usize,
    },
}

/// Returns the layouts of the running kernel.
pub fn running_kernel() -> Result<Offsets, OffsetsError> {
    /// Cached because every hook that is tried needs them, and BTF is megabytes long.
    static KNOWN: OnceLock<Offsets> = OnceLock::new();

    if let Some(known) = KNOWN.get() {
        return Ok(*known);
    }
    let read = read()?;
    Ok(*KNOWN.get_or_init(|| read))
}

fn read() -> Result<Offsets, OffsetsError> {
    match fs::read(BTF_PATH) {
        Ok(data) => from_layout(&Btf::parse(&data)?),
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            let uname = rustix::system::uname();
            let text = |part: &CStr| part.to_string_lossy().into_owned();
            without_btf(&text(uname.release()), &text(uname.machine()))
        }
        Err(err) => Err(OffsetsError::Unreadable(err)),
    }
}

/// Returns the layouts of a kernel without BTF.
pub(super) fn without_btf(release: &str, arch: &str) -> Result<Offsets, OffsetsError> {
    match layouts::find(release, arch) {
        Some(layout) => from_layout(&layout),
        None => Err(OffsetsError::Unknown {
            release: release.to_owned(),
            arch: arch.to_owned(),
            supported: layouts::supported(),
        }),
    }
}

/// A source of a kernel's struct layouts.
pub(super) trait Layout {
    /// Returns the offset in bytes of a member, which may be a path through members.
    fn offset(&self, of: &str, path: &str) -> Result<u32, BtfError>;

    /// Returns the value of an enum constant.
    fn constant(&self, name: &str) -> Result<u32, BtfError>;
}

impl Layout for Btf<'_> {
    fn offset(&self, of: &str, path: &str) -> Result<u32, BtfError> {
        Btf::offset(self, of, path)
    }

    fn constant(&self, name: &str) -> Result<u32, BtfError> {
        Btf::constant(self, name)
    }
}

/// Collects the offsets that the programs need.
pub(super) fn from_layout(layout: &impl Layout) -> Result<Offsets, OffsetsError> {
    let (compat_word, compat_mask) = compat(layout);
    let sock = |member: &'static str| {
        let offset = layout.offset("sock", &format!("__sk_common.{member}"))?;
        // The widest field is an IPv6 address.
        if offset as usize + 16 > SOCK_HEAD {
            return Err(OffsetsError::OutOfReach { of: "sock", member, offset, reach: SOCK_HEAD });
        }
        Ok(offset)
    };
    Ok(Offsets {
        task: TaskOffsets {
            tgid: layout.offset("task_struct", "tgid")?,
            cred: layout.offset("task_struct", "cred")?,
            cred_uid: layout.offset("cred", "uid")?,
            files: layout.offset("task_struct", "files")?,
            signal: layout.offset("task_struct", "signal")?,
            signal_live: layout.offset("signal_struct", "live")?,
            compat_word,
            compat_mask,
        },
        file: FileOffsets {
            files_fdt: layout.offset("files_struct", "fdt")?,
            fdt_max_fds: layout.offset("fdtable", "max_fds")?,
            fdt_fd: layout.offset("fdtable", "fd")?,
            inode: layout.offset("file", "f_inode")?,
            private_data: layout.offset("file", "private_data")?,
            inode_mode: layout.offset("inode", "i_mode")?,
            inode_ino: layout.offset("inode", "i_ino")?,
            inode_sb: layout.offset("inode", "i_sb")?,
            sb_dev: layout.offset("super_block", "s_dev")?,
            socket_sk: layout.offset("socket", "sk")?,
        },
        sock: SockOffsets {
            family: sock("skc_family")?,
            state: sock("skc_state")?,
            num: sock("skc_num")?,
            dport: sock("skc_dport")?,
            daddr: sock("skc_daddr")?,
            rcv_saddr: sock("skc_rcv_saddr")?,
            // A kernel without IPv6 has no such fields, and no such sockets.
            v6_daddr: sock("skc_v6_daddr").unwrap_or(0),
            v6_rcv_saddr: sock("skc_v6_rcv_saddr").unwrap_or(0),
            protocol: layout.offset("sock", "sk_protocol")?,
            kind: layout.offset("sock", "sk_type")?,
            write_seq: layout.offset("tcp_sock", "write_seq")?,
        },
        msg: msg(layout)?,
        exec: ExecOffsets {
            filename: layout.offset("linux_binprm", "filename")?,
            file: layout.offset("linux_binprm", "file")?,
            file_dentry: layout.offset("file", "f_path.dentry")?,
            dentry_name: layout.offset("dentry", "d_name.name")?,
        },
    })
}

/// Collects the offsets in a message, and the numbers of the iterator kinds.
fn msg(layout: &impl Layout) -> Result<MsgOffsets, OffsetsError> {
    /// Up to Linux 5.13, the two lowest bits of the type are the direction and a flag
    /// (include/linux/uio.h).
    const FLAGS: u32 = 3;

    let iter = |member: &str| layout.offset("msghdr", &format!("msg_iter.{member}"));
    let (iter_type, kind_mask) = match iter("iter_type") {
        Ok(offset) => (offset, 0xff),
        Err(_) => (iter("type")?, 0xff & !FLAGS),
    };
    let msg = MsgOffsets {
        name: layout.offset("msghdr", "msg_name")?,
        name_len: layout.offset("msghdr", "msg_namelen")?,
        iter_type,
        iter_offset: iter("iov_offset")?,
        iter_count: iter("count")?,
        iter_pointer: iter("__iov").or_else(|_| iter("iov"))?,
        iter_segs: iter("nr_segs")?,
        kind_mask,
        iovec: layout.constant("ITER_IOVEC")?,
        ubuf: layout.constant("ITER_UBUF").unwrap_or(NO_KIND),
        kvec: layout.constant("ITER_KVEC")?,
    };
    let fields = [
        msg.name,
        msg.name_len,
        msg.iter_type,
        msg.iter_offset,
        msg.iter_count,
        msg.iter_pointer,
        msg.iter_segs,
    ];
    // The widest field is a pointer.
    match fields.into_iter().find(|&offset| offset as usize + 8 > MSG_HEAD) {
        Some(offset) => Err(OffsetsError::OutOfReach {
            of: "msghdr",
            member: "msg_iter",
            offset,
            reach: MSG_HEAD,
        }),
        None => Ok(msg),
    }
}

/// Returns the offset of the word with the flag for 32-bit system calls, and its mask.
fn compat(layout: &impl Layout) -> (u32, u32) {
    /// arch/x86/include/asm/thread_info.h
    const TS_COMPAT: u32 = 1 << 1;
    /// arch/arm64/include/asm/thread_info.h
    const TIF_32BIT: u32 = 1 << 22;

    let (member, mask) = if cfg!(target_arch = "aarch64") {
        ("thread_info.flags", TIF_32BIT)
    } else {
        ("thread_info.status", TS_COMPAT)
    };
    match layout.offset("task_struct", member) {
        Ok(offset) => (offset, mask),
        // The kernel cannot run 32-bit processes: with this mask no flag is ever set.
        Err(_) => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_running_kernels_layouts() {
        let Ok(data) = fs::read(BTF_PATH) else {
            eprintln!("SKIPPED: needs {BTF_PATH}");
            return;
        };
        let offsets = from_layout(&Btf::parse(&data).unwrap()).unwrap();
        // Since Linux 2.6, struct sock_common begins with daddr and rcv_saddr.
        assert_eq!((offsets.sock.daddr, offsets.sock.rcv_saddr), (0, 4));
        assert_eq!(offsets.sock.family, 16);
    }
}
