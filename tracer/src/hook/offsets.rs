//! The running kernel's struct layouts, for programs that have no CO-RE.

use std::{fs, io, path::Path};

use thiserror::Error;
use tracer_ebpf::{ExecOffsets, FileOffsets, Offsets, SOCK_HEAD, SockOffsets, TaskOffsets};

use super::btf::{Btf, BtfError};

/// Where the kernel shows its type information.
pub const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// Why the layouts are not known.
#[derive(Debug, Error)]
pub enum OffsetsError {
    /// The kernel has no BTF, or it cannot be read.
    #[error(
        "cannot read {BTF_PATH}: {0}\n\
         tracer needs the kernel's type information to find sockets in its memory.\n\
         Use a kernel built with CONFIG_DEBUG_INFO_BTF (Debian, Fedora, Arch, Ubuntu and Android \
         from android13-5.15 on have it)."
    )]
    Unreadable(#[source] io::Error),
    /// The kernel's structs are not as expected.
    #[error("{0}\nThis kernel is not supported yet; please report `uname -r` and this message.")]
    Btf(#[from] BtfError),
    /// A socket's fields lie further apart than the programs read.
    #[error(
        "in this kernel sock.{member} lies at byte {offset}, beyond the {SOCK_HEAD} that tracer \
         reads\nThis kernel is not supported yet; please report `uname -r` and this message."
    )]
    OutOfReach {
        /// The field.
        member: &'static str,
        /// Where it lies.
        offset: u32,
    },
}

/// Reads the running kernel's layouts.
pub fn running_kernel() -> Result<Offsets, OffsetsError> {
    let data = fs::read(Path::new(BTF_PATH)).map_err(OffsetsError::Unreadable)?;
    from_btf(&Btf::parse(&data)?)
}

/// Takes the layouts from a kernel's BTF.
pub fn from_btf(btf: &Btf<'_>) -> Result<Offsets, OffsetsError> {
    let (compat_word, compat_mask) = compat(btf);
    let sock = |member: &'static str| {
        let offset = btf.offset("sock", &format!("__sk_common.{member}"))?;
        // The widest field is an IPv6 address.
        if offset as usize + 16 > SOCK_HEAD {
            return Err(OffsetsError::OutOfReach { member, offset });
        }
        Ok(offset)
    };
    Ok(Offsets {
        task: TaskOffsets {
            tgid: btf.offset("task_struct", "tgid")?,
            cred: btf.offset("task_struct", "cred")?,
            cred_uid: btf.offset("cred", "uid")?,
            files: btf.offset("task_struct", "files")?,
            signal: btf.offset("task_struct", "signal")?,
            signal_live: btf.offset("signal_struct", "live")?,
            compat_word,
            compat_mask,
        },
        file: FileOffsets {
            files_fdt: btf.offset("files_struct", "fdt")?,
            fdt_max_fds: btf.offset("fdtable", "max_fds")?,
            fdt_fd: btf.offset("fdtable", "fd")?,
            inode: btf.offset("file", "f_inode")?,
            private_data: btf.offset("file", "private_data")?,
            inode_mode: btf.offset("inode", "i_mode")?,
            inode_ino: btf.offset("inode", "i_ino")?,
            inode_sb: btf.offset("inode", "i_sb")?,
            sb_dev: btf.offset("super_block", "s_dev")?,
            socket_sk: btf.offset("socket", "sk")?,
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
            protocol: btf.offset("sock", "sk_protocol")?,
            write_seq: btf.offset("tcp_sock", "write_seq")?,
        },
        exec: ExecOffsets {
            filename: btf.offset("linux_binprm", "filename")?,
            file: btf.offset("linux_binprm", "file")?,
            file_dentry: btf.offset("file", "f_path.dentry")?,
            dentry_name: btf.offset("dentry", "d_name.name")?,
        },
    })
}

/// Where a task says that it is in a 32-bit system call, and by which bit.
fn compat(btf: &Btf<'_>) -> (u32, u32) {
    /// arch/x86/include/asm/thread_info.h
    const TS_COMPAT: u32 = 1 << 1;
    /// arch/arm64/include/asm/thread_info.h
    const TIF_32BIT: u32 = 1 << 22;

    let (member, mask) = if cfg!(target_arch = "aarch64") {
        ("thread_info.flags", TIF_32BIT)
    } else {
        ("thread_info.status", TS_COMPAT)
    };
    match btf.offset("task_struct", member) {
        Ok(offset) => (offset, mask),
        // The kernel cannot run 32-bit processes; any word will do.
        Err(_) => (0, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernels_layouts_are_found() {
        let Ok(data) = fs::read(BTF_PATH) else {
            eprintln!("SKIPPED: needs {BTF_PATH}");
            return;
        };
        let offsets = from_btf(&Btf::parse(&data).unwrap()).unwrap();
        // Fixed since Linux 2.6: struct sock_common begins with daddr, rcv_saddr.
        assert_eq!((offsets.sock.daddr, offsets.sock.rcv_saddr), (0, 4));
        assert_eq!(offsets.sock.family, 16);
    }
}
