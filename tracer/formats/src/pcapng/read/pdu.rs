//! Reads exported PDUs (link type 252): bytes of an upper protocol after
//! [tags](super::super::format::tag) that describe them.
//!
//! Wireshark's "Export PDUs to File" writes decrypted bytes in this form, and so
//! does tracer.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;

use super::super::format::{tag, tcp_flags::PUSH};
use tracer_core::record::Transport;

/// Bytes that one side of a connection sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pdu {
    pub(super) from: Option<SocketAddr>,
    pub(super) to: Option<SocketAddr>,
    /// Position in the connection, if the tags contain it.
    pub(super) position: Option<Position>,
    pub(super) transport: Transport,
    pub(super) payload: Bytes,
    /// Length of the payload when it was sent.
    pub(super) len: u32,
}

/// Position of a PDU in its connection, taken from the TCP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) seq: u32,
    /// Set if the PDU ends a send.
    pub(super) push: bool,
}

/// Reads a packet whose original length was `len`. Returns `None` if its
/// protocol is not supported.
pub(super) fn parse(packet: &Bytes, len: u32, transport: Option<Transport>) -> Option<Pdu> {
    let mut at = 0;
    let (mut ips, mut ports) = ([None; 2], [None; 2]);
    let (mut position, mut dissector) = (None, None);
    let number = |value: &[u8]| value.iter().fold(0, |n: u32, &b| n << 8 | u32::from(b));
    loop {
        let head = packet.get(at..)?.first_chunk::<4>()?;
        let [kind, length] = [[head[0], head[1]], [head[2], head[3]]].map(u16::from_be_bytes);
        at += 4;
        let value = packet.get(at..at + usize::from(length))?;
        at += usize::from(length);
        let ipv4 = || Some(IpAddr::V4(Ipv4Addr::from(*value.first_chunk::<4>()?)));
        let ipv6 = || Some(Ipv6Addr::from(*value.first_chunk::<16>()?).to_canonical());
        match kind {
            tag::END => break,
            tag::DISSECTOR => dissector = value.split(|&b| b == 0).next(),
            tag::IPV4_SOURCE => ips[0] = ipv4(),
            tag::IPV4_DESTINATION => ips[1] = ipv4(),
            tag::IPV6_SOURCE => ips[0] = ipv6(),
            tag::IPV6_DESTINATION => ips[1] = ipv6(),
            tag::SOURCE_PORT => ports[0] = u16::try_from(number(value)).ok(),
            tag::DESTINATION_PORT => ports[1] = u16::try_from(number(value)).ok(),
            tag::TCP_INFO => {
                let [seq, flags] = [2..6, 15..17].map(|range| value.get(range).map(number));
                position = seq
                    .zip(flags)
                    .map(|(seq, flags)| Position { seq, push: flags & u32::from(PUSH) != 0 });
            }
            _ => {}
        }
    }
    if !matches!(dissector?, b"http" | b"http2" | b"http-over-tls" | b"tls" | b"data") {
        return None;
    }
    let end = |side: usize| Some(SocketAddr::new(*ips.get(side)?.as_ref()?, (*ports.get(side)?)?));
    let (from, to) = (end(0), end(1));
    // Bytes exported as HTTP were decrypted, except those sent to port 80.
    let clear = to.or(from).is_some_and(|_| ports.contains(&Some(80)));
    let transport = transport.unwrap_or(if clear { Transport::Tcp } else { Transport::Tls });
    let len = len.saturating_sub(u32::try_from(at).ok()?);
    Some(Pdu { from, to, position, transport, payload: packet.slice(at..), len })
}
