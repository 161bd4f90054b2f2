//! What a record says of the socket: the start of `struct sock`, and the
//! address that a datagram is given.

use core::mem::MaybeUninit;

use tracer_ebpf::{RecordHeader, SOCK_HEAD, flag, net};

use crate::{
    capture::key,
    kernel::{Head, Kernel, Memory, offset},
    message::Message,
};

/// Describes the socket in the header; `None` if it is not TCP or UDP over IP.
///
/// `ahead` are bytes that the same system call sends before this message and
/// the socket does not know of yet, if they could be counted.
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
    let protocol: u16 = sk.read(offset!(sock.protocol))?;
    if (family != net::AF_INET && family != net::AF_INET6)
        || (protocol != net::TCP && protocol != net::UDP && protocol != net::MPTCP)
    {
        return None;
    }
    header.family = family;
    header.protocol = protocol;
    header.key = key(sk.0);
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
    if protocol == net::TCP
        && sock.field::<u8>(offset!(sock.state)) != net::STATE_CLOSE
        && let Some(ahead) = ahead
    {
        let write_seq: u32 = sk.read(offset!(sock.write_seq))?;
        header.position = write_seq.wrapping_add(ahead);
        header.flags |= flag::POSITION;
    }
    if protocol == net::UDP && message.name.address() != 0 {
        named(header, message);
    }
    Some(())
}

/// Takes the remote end from the address that was given with a datagram.
#[inline(always)]
fn named(header: &mut RecordHeader, message: &Message<impl Sized, impl Memory>) {
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
        // An IPv6 socket may be given an IPv4 address, and then speaks IPv4.
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

/// An IPv6 address, in words: its bytes need not be aligned any better.
#[inline(always)]
fn v6(sock: &Head<SOCK_HEAD>, offset: usize) -> [u8; 16] {
    bytes([0, 4, 8, 12].map(|at| sock.field(offset + at)))
}

/// An IPv4 address as the header holds it; `addr` is in network order.
#[inline(always)]
fn v4(addr: u32) -> [u8; 16] {
    bytes([addr, 0, 0, 0])
}

/// An address as bytes, in the order in which they lie in memory.
#[inline(always)]
fn bytes(words: [u32; 4]) -> [u8; 16] {
    // SAFETY: both are sixteen bytes of any value.
    unsafe { core::mem::transmute(words) }
}
