//! From a captured frame to a TCP or UDP segment.
//!
//! ```text
//! │ link layer │ IPv4 or IPv6 (extension headers) │ TCP or UDP │ payload │ padding, trailer │
//!              └──────────── total length ────────────────────┘
//! ```
//!
//! A frame can be cut anywhere: what is missing of the payload is known from
//! the lengths in the headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bytes::Bytes;

use super::{super::format::link::*, Owner};

const TCP: u8 = 6;
const UDP: u8 = 17;

/// Tags of virtual networks before the packet; one or two in practice.
const MAX_TAGS: usize = 4;

/// Extension headers of IPv6 that are followed. More than one is rare.
const MAX_EXTENSIONS: usize = 8;

/// What one side of a connection sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// `None`: a datagram of UDP.
    pub(super) tcp: Option<Tcp>,
    /// The captured beginning of the payload.
    pub(super) payload: Bytes,
    /// How long the payload was.
    pub(super) len: u32,
}

/// What TCP's header says (RFC 9293, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tcp {
    pub(super) seq: u32,
    /// What the other side had sent so far, where it is valid.
    pub(super) ack: Option<u32>,
    pub(super) syn: bool,
    pub(super) push: bool,
}

/// Why a frame gives no segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is none: another protocol.
    Other,
    /// The link type is not known.
    Link,
    /// A header is cut, or contradicts itself.
    Malformed,
    /// It is a part of an IP packet, of so many bytes.
    Fragment(u64),
}

/// Who sent a frame, by PCAPdroid's trailer behind it:
/// `0x01072021 │ UID i32 │ name, 20 bytes │ checksum`, in network order.
pub(super) fn owner(link: u16, frame: &[u8]) -> Option<Owner> {
    const MAGIC: [u8; 4] = 0x0107_2021_u32.to_be_bytes();
    let (_, trailer) = frame.split_last_chunk::<32>()?;
    if link != ETHERNET || trailer[..4] != MAGIC {
        return None;
    }
    let uid = u32::from_be_bytes([trailer[4], trailer[5], trailer[6], trailer[7]]);
    let name = trailer[8..28].split(|&b| b == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name).into_owned();
    // -1: it does not know either.
    (uid != u32::MAX).then_some(Owner { uid, name })
}

/// The segment in a frame that was `len` bytes long.
pub(super) fn segment(link: u16, frame: &Bytes, len: u32) -> Result<Segment, Unread> {
    let at = network(link, frame)?;
    let packet = frame.get(at..).ok_or(Unread::Malformed)?;
    let sent = (len as usize).saturating_sub(at);
    let Network { from, to, protocol, header, len } = match packet.first().map(|b| b >> 4) {
        Some(4) => ipv4(packet, sent)?,
        Some(6) => ipv6(packet, sent)?,
        Some(_) => return Err(Unread::Other),
        None => return Err(Unread::Malformed),
    };
    let bytes = packet.get(header..).ok_or(Unread::Malformed)?;
    let Some(len) = len.checked_sub(header) else { return Err(Unread::Malformed) };
    let (ports, header, tcp, len) = match protocol {
        TCP => {
            let (tcp, header) = tcp(bytes)?;
            (ports(bytes)?, header, Some(tcp), len)
        }
        UDP => {
            let said = usize::from(u16_at(bytes, 4)?);
            // A datagram of more than 64 KiB on loopback says 0.
            (ports(bytes)?, 8, None, if said < 8 { len } else { said.min(len) })
        }
        _ => return Err(Unread::Other),
    };
    let len = len.checked_sub(header).ok_or(Unread::Malformed)?;
    let known = bytes.get(header..).unwrap_or_default();
    let known = known.get(..len).unwrap_or(known);
    Ok(Segment {
        from: SocketAddr::new(from, ports.0),
        to: SocketAddr::new(to, ports.1),
        tcp,
        payload: frame.slice_ref(known),
        len: u32::try_from(len).unwrap_or(u32::MAX),
    })
}

/// Where the network layer begins.
fn network(link: u16, frame: &[u8]) -> Result<usize, Unread> {
    match link {
        ETHERNET => ethernet(frame, 12),
        LINUX_SLL => is_ip(u16_at(frame, 14)?, frame, 16),
        LINUX_SLL2 => is_ip(u16_at(frame, 0)?, frame, 20),
        // The family's number differs from system to system; the packet says
        // itself which it is of.
        NULL | LOOP => Ok(4),
        RAW | IPV4 | IPV6 => Ok(0),
        link if BSD_RAW.contains(&link) => Ok(0),
        _ => Err(Unread::Link),
    }
}

/// The type field is at `at`; tags of virtual networks may stand before it.
fn ethernet(frame: &[u8], mut at: usize) -> Result<usize, Unread> {
    for _ in 0..=MAX_TAGS {
        match u16_at(frame, at)? {
            0x8100 | 0x88a8 | 0x9100 => at += 4,
            kind => return is_ip(kind, frame, at + 2),
        }
    }
    Err(Unread::Malformed)
}

/// The EtherType says that IP begins at `at`. Behind a tag (SLL has it like
/// Ethernet) it begins later.
fn is_ip(kind: u16, frame: &[u8], at: usize) -> Result<usize, Unread> {
    match kind {
        0x0800 | 0x86dd => Ok(at),
        0x8100 if matches!(u16_at(frame, at + 2)?, 0x0800 | 0x86dd) => Ok(at + 4),
        _ => Err(Unread::Other),
    }
}

/// What IP says of a packet.
struct Network {
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    /// The length of the headers.
    header: usize,
    /// The length of the packet, headers included.
    len: usize,
}

/// RFC 791, section 3.1.
fn ipv4(packet: &[u8], sent: usize) -> Result<Network, Unread> {
    let header = usize::from(packet.first().ok_or(Unread::Malformed)? & 0x0f) * 4;
    let total = usize::from(u16_at(packet, 2)?);
    // Offloading hands on packets whose length is not filled in yet.
    let len = if total == 0 { sent } else { total };
    if header < 20 || len < header {
        return Err(Unread::Malformed);
    }
    // More fragments, or not the first.
    if u16_at(packet, 6)? & 0x3fff != 0 {
        return Err(Unread::Fragment((len - header) as u64));
    }
    let ip = |at| Some(IpAddr::V4(Ipv4Addr::from(*packet.get(at..)?.first_chunk::<4>()?)));
    Ok(Network {
        from: ip(12).ok_or(Unread::Malformed)?,
        to: ip(16).ok_or(Unread::Malformed)?,
        protocol: *packet.get(9).ok_or(Unread::Malformed)?,
        header,
        len,
    })
}

/// RFC 8200, sections 3 and 4.
fn ipv6(packet: &[u8], sent: usize) -> Result<Network, Unread> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const AUTHENTICATION: u8 = 51;
    const DESTINATION: u8 = 60;
    let payload = usize::from(u16_at(packet, 4)?);
    // Jumbograms, and offloading.
    let len = if payload == 0 { sent } else { payload + 40 };
    let ip = |at| {
        let octets = packet.get(at..).and_then(|rest| rest.first_chunk::<16>());
        octets.map(|octets| Ipv6Addr::from(*octets).to_canonical()).ok_or(Unread::Malformed)
    };
    let (from, to) = (ip(8)?, ip(24)?);
    let mut protocol = *packet.get(6).ok_or(Unread::Malformed)?;
    let mut header = 40;
    for _ in 0..MAX_EXTENSIONS {
        let extension = |at: usize| packet.get(header + at).copied().ok_or(Unread::Malformed);
        let words = match protocol {
            HOP_BY_HOP | ROUTING | DESTINATION => (usize::from(extension(1)?) + 1) * 8,
            AUTHENTICATION => (usize::from(extension(1)?) + 2) * 4,
            FRAGMENT => {
                // A fragment that is all of its packet is none (RFC 6946).
                if u16_at(packet, header + 2)? & 0xfff9 != 0 {
                    let rest = len.saturating_sub(header + 8);
                    return Err(Unread::Fragment(rest as u64));
                }
                8
            }
            _ => return Ok(Network { from, to, protocol, header, len }),
        };
        protocol = extension(0)?;
        header += words;
    }
    Err(Unread::Malformed)
}

fn ports(segment: &[u8]) -> Result<(u16, u16), Unread> {
    Ok((u16_at(segment, 0)?, u16_at(segment, 2)?))
}

fn tcp(segment: &[u8]) -> Result<(Tcp, usize), Unread> {
    const SYN: u8 = 0x02;
    const PUSH: u8 = 0x08;
    const ACK: u8 = 0x10;
    let number = |at: usize| {
        let bytes = segment.get(at..).and_then(|rest| rest.first_chunk::<4>());
        bytes.map(|bytes| u32::from_be_bytes(*bytes)).ok_or(Unread::Malformed)
    };
    let byte = |at: usize| segment.get(at).copied().ok_or(Unread::Malformed);
    let header = usize::from(byte(12)? >> 4) * 4;
    if header < 20 {
        return Err(Unread::Malformed);
    }
    let flags = byte(13)?;
    let ack = if flags & ACK != 0 { Some(number(8)?) } else { None };
    let (syn, push) = (flags & SYN != 0, flags & PUSH != 0);
    Ok((Tcp { seq: number(4)?, ack, syn, push }, header))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Unread> {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>());
    bytes.map(|bytes| u16::from_be_bytes(*bytes)).ok_or(Unread::Malformed)
}
