//! The hooks for socket sends.

use std::{fmt, io};

use aya::{
    Btf, BtfError, Ebpf,
    programs::{FEntry, KProbe, ProgramError},
};

use super::{HookError, attach, retry};
use tracer_core::record;

/// A hook that captures socket sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SocketHook {
    /// kprobes on the protocols' `sendmsg` functions. Also sees io_uring, and the length
    /// of what sendfile sends.
    Kprobe,
    /// fentry programs on the same functions. Needs trampolines, which Android's kernels
    /// do not have. The kernel may preempt the programs, and skips them for other tasks
    /// on the CPU in the meantime: under load, sends are missed (and counted).
    Fentry,
    /// A tracepoint for TCP (Linux 6.16), and `sys_enter` for everything else: UDP has no
    /// such tracepoint. What neither sees is recorded with its length, after the send.
    TcpTracepoint,
    /// The `sys_enter` raw tracepoint, which every kernel has. Runs at every system call
    /// on the machine, and does not see io_uring and sendfile.
    SysEnter,
}

/// Names of programs and of the kernel functions that they are attached to.
type Attachments = &'static [(&'static str, &'static str)];

const FENTRY: Attachments = &[
    ("fentry_tcp_sendmsg", "tcp_sendmsg"),
    ("fentry_udp_sendmsg", "udp_sendmsg"),
    ("fentry_udpv6_sendmsg", "udpv6_sendmsg"),
    ("fentry_mptcp_sendmsg", "mptcp_sendmsg"),
    ("fentry_raw_sendmsg", "raw_sendmsg"),
    ("fentry_rawv6_sendmsg", "rawv6_sendmsg"),
    ("fentry_ping_v4_sendmsg", "ping_v4_sendmsg"),
    ("fentry_ping_v6_sendmsg", "ping_v6_sendmsg"),
    ("fentry_packet_sendmsg", "packet_sendmsg"),
    ("fentry_xsk_sendmsg", "xsk_sendmsg"),
    ("fentry_tcp_sendpage", "tcp_sendpage"),
    ("fentry_udp_sendpage", "udp_sendpage"),
    ("fentry_vm_mmap_pgoff", "vm_mmap_pgoff"),
];

const KPROBE: Attachments = &[
    ("kprobe_sendmsg", "tcp_sendmsg"),
    ("kprobe_udp_sendmsg", "udp_sendmsg"),
    ("kprobe_sendmsg", "udpv6_sendmsg"),
    ("kprobe_sendmsg", "mptcp_sendmsg"),
    ("kprobe_sendmsg", "tls_sw_sendmsg"),
    ("kprobe_sendmsg", "tls_device_sendmsg"),
    ("kprobe_sendmsg", "raw_sendmsg"),
    ("kprobe_sendmsg", "rawv6_sendmsg"),
    ("kprobe_sendmsg", "ping_v4_sendmsg"),
    ("kprobe_sendmsg", "ping_v6_sendmsg"),
    ("kprobe_socket_sendmsg", "packet_sendmsg"),
    ("kprobe_socket_sendmsg", "xsk_sendmsg"),
    ("kprobe_sendpage", "tcp_sendpage"),
    ("kprobe_sendpage", "udp_sendpage"),
    ("kprobe_vm_mmap_pgoff", "vm_mmap_pgoff"),
];

/// Functions that a kernel may lack: one without IPv6, MPTCP, TLS, packet sockets or XDP, or with them
/// in modules; and Linux 6.5 or newer. If such a function exists but cannot be probed, the
/// self-test fails.
const OPTIONAL: [&str; 11] = [
    "udpv6_sendmsg",
    "mptcp_sendmsg",
    "tls_sw_sendmsg",
    "tls_device_sendmsg",
    "rawv6_sendmsg",
    "ping_v4_sendmsg",
    "ping_v6_sendmsg",
    "packet_sendmsg",
    "xsk_sendmsg",
    "tcp_sendpage",
    "udp_sendpage",
];

impl SocketHook {
    /// All hooks, the best first.
    pub const ALL: [Self; 4] = [Self::Kprobe, Self::Fentry, Self::TcpTracepoint, Self::SysEnter];

    /// Returns the name used on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fentry => "fentry",
            Self::Kprobe => "kprobe",
            Self::TcpTracepoint => "tcp-tracepoint",
            Self::SysEnter => "sys-enter",
        }
    }

    /// Returns the hook that is stored in its records of a transport.
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

    /// Returns the number of its programs that can be capturing at the same time on one
    /// CPU.
    pub(super) fn scratches(self) -> u32 {
        match self {
            Self::Fentry => 10,
            Self::Kprobe | Self::TcpTracepoint => 2,
            Self::SysEnter => 1,
        }
    }

    /// Loads and attaches the programs.
    pub(super) fn attach(self, ebpf: &mut Ebpf) -> Result<(), HookError> {
        match self {
            Self::Fentry => {
                let btf = Btf::from_sys_fs().map_err(|err| HookError::Program {
                    name: "fentry_tcp_sendmsg",
                    source: ProgramError::Btf(err),
                })?;
                attach_all(FENTRY, |program, function| fentry(ebpf, &btf, program, function))
            }
            Self::Kprobe => attach_all(KPROBE, |program, function| kprobe(ebpf, program, function)),
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

fn attach_all(
    attachments: Attachments,
    mut attach: impl FnMut(&'static str, &'static str) -> Result<(), ProgramError>,
) -> Result<(), HookError> {
    for &(name, function) in attachments {
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
    ebpf.program_mut(name).expect("the object file contains all programs")
}

/// Reports whether attaching failed because the kernel lacks the function.
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
