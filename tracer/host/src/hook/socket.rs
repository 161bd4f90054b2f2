//! Where sends are taken: the hooks at sockets, and which of them work here.

use std::{fmt, io};

use aya::{
    Btf, BtfError, Ebpf,
    programs::{FEntry, KProbe, ProgramError},
};

use super::{HookError, attach, retry};
use tracer_core::record;

/// A way to take what is sent on sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketHook {
    /// The protocols' `sendmsg` functions, by kprobe: sees io_uring and the
    /// length of sendfile as well.
    Kprobe,
    /// The same functions by fentry. Needs trampolines, which Android's kernels
    /// do not have. The kernel may preempt the programs, and then skips them for
    /// other tasks on the CPU: under load, sends are missed (and counted).
    Fentry,
    /// TCP at a tracepoint (Linux 6.16), everything else at `sys_enter`: there
    /// is no such tracepoint for UDP.
    TcpTracepoint,
    /// The `sys_enter` raw tracepoint, which every kernel has. Runs at every
    /// system call of the machine, and does not see io_uring and sendfile.
    SysEnter,
}

/// Programs and the functions that they are attached to.
type Places = &'static [(&'static str, &'static str)];

const FENTRY: Places = &[
    ("fentry_tcp_sendmsg", "tcp_sendmsg"),
    ("fentry_udp_sendmsg", "udp_sendmsg"),
    ("fentry_udpv6_sendmsg", "udpv6_sendmsg"),
    ("fentry_mptcp_sendmsg", "mptcp_sendmsg"),
    ("fentry_tcp_sendpage", "tcp_sendpage"),
    ("fentry_vm_mmap_pgoff", "vm_mmap_pgoff"),
];

const KPROBE: Places = &[
    ("kprobe_sendmsg", "tcp_sendmsg"),
    ("kprobe_udp_sendmsg", "udp_sendmsg"),
    ("kprobe_sendmsg", "udpv6_sendmsg"),
    ("kprobe_sendmsg", "mptcp_sendmsg"),
    ("kprobe_tcp_sendpage", "tcp_sendpage"),
    ("kprobe_vm_mmap_pgoff", "vm_mmap_pgoff"),
];

/// Functions that not every kernel has: without IPv6, without MPTCP, from
/// Linux 6.5 on. The self-test notices one that is only hidden.
const OPTIONAL: [&str; 3] = ["udpv6_sendmsg", "mptcp_sendmsg", "tcp_sendpage"];

impl SocketHook {
    /// All of them, the best first.
    pub const ALL: [Self; 4] = [Self::Kprobe, Self::Fentry, Self::TcpTracepoint, Self::SysEnter];

    /// Its name, as `--hook` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::TcpTracepoint => "tcp-tracepoint",
            Self::SysEnter => "sys-enter",
        }
    }

    /// What its records of a transport say they were taken by.
    pub fn record(self, transport: record::Transport) -> record::Hook {
        match self {
            Self::Fentry => record::Hook::Fentry,
            Self::Kprobe => record::Hook::Kprobe,
            Self::TcpTracepoint if transport == record::Transport::Tcp => {
                record::Hook::TcpTracepoint
            }
            Self::TcpTracepoint | Self::SysEnter => record::Hook::SysEnter,
        }
    }

    /// How many of its programs may be in the middle of a record on one CPU.
    pub(super) fn scratches(self) -> u32 {
        match self {
            Self::Fentry => 4,
            Self::Kprobe | Self::TcpTracepoint => 2,
            Self::SysEnter => 1,
        }
    }

    /// Loads and attaches its programs.
    pub(super) fn attach(self, ebpf: &mut Ebpf) -> Result<(), HookError> {
        match self {
            Self::Fentry => {
                let btf = Btf::from_sys_fs().map_err(|err| HookError::Program {
                    name: "fentry_tcp_sendmsg",
                    source: ProgramError::Btf(err),
                })?;
                each(FENTRY, |program, function| fentry(ebpf, &btf, program, function))
            }
            Self::Kprobe => each(KPROBE, |program, function| kprobe(ebpf, program, function)),
            Self::TcpTracepoint => {
                attach(ebpf, "sock_send_length", "sock_send_length")?;
                attach(ebpf, "tcp_sendmsg_locked", "tcp_sendmsg_locked")?;
                attach(ebpf, "sys_enter", "sys_enter")
            }
            Self::SysEnter => attach(ebpf, "sys_enter", "sys_enter"),
        }
    }
}

impl fmt::Display for SocketHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn each(
    places: Places,
    mut attach: impl FnMut(&'static str, &'static str) -> Result<(), ProgramError>,
) -> Result<(), HookError> {
    for &(name, function) in places {
        match attach(name, function) {
            Err(err) if OPTIONAL.contains(&function) && is_absent(&err) => {}
            result => result.map_err(|source| HookError::Program { name, source })?,
        }
    }
    Ok(())
}

fn fentry(ebpf: &mut Ebpf, btf: &Btf, name: &str, function: &str) -> Result<(), ProgramError> {
    let program: &mut FEntry = program(ebpf, name).try_into()?;
    retry(|| program.load(function, btf))?;
    program.attach().map(drop)
}

fn kprobe(ebpf: &mut Ebpf, name: &str, function: &str) -> Result<(), ProgramError> {
    let program: &mut KProbe = program(ebpf, name).try_into()?;
    if program.fd().is_err() {
        retry(|| program.load())?;
    }
    program.attach(function, 0).map(drop)
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> &'a mut aya::programs::Program {
    ebpf.program_mut(name).expect("the object has the programs it is built from")
}

/// Whether a kernel has no such function.
fn is_absent(err: &ProgramError) -> bool {
    if let ProgramError::Btf(BtfError::UnknownBtfTypeName { .. }) = err {
        return true;
    }
    let mut source = Some(err as &dyn std::error::Error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return io.kind() == io::ErrorKind::NotFound;
        }
        source = cause.source();
    }
    false
}
