//! Describes a socket in a record: reads `struct sock`, and the destination
//! address of a datagram.

use core::mem::MaybeUninit;

use tracer_ebpf::{RecordHeader, SOCK_HEAD, flag, net};

use crate::{
    kernel::{Head, Kernel, Memory, offset},
    key::object_key,
    message::Message,
};

/// Fills in the socket's fields; returns `None` if its sends stay in this machine.
///
/// `ahead` is the number of bytes in earlier messages of the same system call,
/// which the socket's position does not include yet; `None` if it is unknown.
#[inline(always)]
pub(crate) fn describe(
    header: &mut RecordHeader,
    sk: Kernel,
    message: &Message<impl Sized, impl Memory>,
    ahead: Option<u32>,
) -> Option<()> {
    header.flags = 0;
    let mut head = MaybeUninit::uninit();
    let sock = Head::<SOCK_HEAD>::read(sk, &mut head)?;
    let family: u16 = sock.field(offset!(sock.family));
    let (kind, protocol) = kind_and_protocol(sk)?;
    if (family != net::AF_INET && family != net::AF_INET6)
        || (protocol != net::TCP && protocol != net::UDP && protocol != net::MPTCP)
        || kind == net::SOCK_RAW
    {
        return describe_raw(header, sk, family);
    }
    header.family = family;
    header.protocol = protocol;
    header.key = object_key(sk.0);
    header.local_port = sock.field(offset!(sock.num));
    header.remote_port = u16::from_be(sock.field(offset!(sock.dport)));
    if family == net::AF_INET {
        header.local_addr = v4(sock.field(offset!(sock.rcv_saddr)));
        header.remote_addr = v4(sock.field(offset!(sock.daddr)));
    } else {
        header.local_addr = v6(sock, offset!(sock.v6_rcv_saddr));
        header.remote_addr = v6(sock, offset!(sock.v6_daddr));
    }
    header.position = 0;
    let state: u8 = sock.field(offset!(sock.state));
    if protocol == net::TCP
        && state != net::STATE_CLOSE
        && state != net::STATE_SYN_SENT
        && let Some(ahead) = ahead
    {
        let write_seq: u32 = sk.read(offset!(sock.write_seq))?;
        header.position = write_seq.wrapping_add(ahead);
        header.flags |= flag::POSITION;
    }
    if protocol == net::UDP && message.name.address() != 0 {
        set_destination(header, message);
    }
    Some(())
}

/// Reads `sk_type` and `sk_protocol`, at once if they are neighbours, as in all kernels so far.
#[inline(always)]
fn kind_and_protocol(sk: Kernel) -> Option<(u16, u16)> {
    if offset!(sock.protocol) == offset!(sock.kind) + 2 {
        return sk.read(offset!(sock.kind));
    }
    Some((sk.read(offset!(sock.kind))?, sk.read(offset!(sock.protocol))?))
}

/// Fills in the fields of a socket that is neither TCP nor UDP over IP.
#[inline(always)]
fn describe_raw(header: &mut RecordHeader, sk: Kernel, family: u16) -> Option<()> {
    if family == net::AF_UNIX || family == net::AF_NETLINK || family == net::AF_ALG {
        return None;
    }
    if family == net::AF_XDP {
        header.flags = flag::LEN_UNKNOWN;
    }
    header.family = 0;
    header.protocol = net::RAW;
    header.key = object_key(sk.0);
    header.local_port = 0;
    header.remote_port = 0;
    header.local_addr = [0; 16];
    header.remote_addr = [0; 16];
    header.position = 0;
    Some(())
}

/// Sets the remote address to the destination of a datagram.
#[inline(always)]
fn set_destination(header: &mut RecordHeader, message: &Message<impl Sized, impl Memory>) {
    /// `struct sockaddr_in`.
    const V4: u32 = 16;
    /// `struct sockaddr_in6` up to its scope id.
    const V6: u32 = 24;

    let Some((family, port)) = message.name.value::<(u16, u16)>(0) else {
        return;
    };
    if family == net::AF_INET && message.name_len >= V4 {
        let Some(addr) = message.name.value::<u32>(4) else {
            return;
        };
        // An IPv6 socket sends to an IPv4 address over IPv4.
        if header.family == net::AF_INET6 {
            header.family = net::AF_INET;
            header.local_addr = [0; 16];
        }
        header.remote_addr = v4(addr);
    } else if family == net::AF_INET6 && message.name_len >= V6 && header.family == net::AF_INET6 {
        let Some(addr) = message.name.value::<[u8; 16]>(8) else {
            return;
        };
        header.remote_addr = addr;
    } else {
        return;
    }
    header.remote_port = u16::from_be(port);
}

/// Reads an IPv6 address by words, the alignment it is guaranteed to have.
#[inline(always)]
fn v6(sock: &Head<SOCK_HEAD>, offset: usize) -> [u8; 16] {
    bytes([0, 4, 8, 12].map(|at| sock.field(offset + at)))
}

/// Converts an IPv4 address in network order to the header's format.
#[inline(always)]
fn v4(addr: u32) -> [u8; 16] {
    bytes([addr, 0, 0, 0])
}

/// Returns the bytes of an address in memory order.
#[inline(always)]
fn bytes(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: both are sixteen bytes of any value.
    unsafe { core::mem::transmute(words) }
}
