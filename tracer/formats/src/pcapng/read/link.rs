//! Frames to TCP or UDP segments.
//!
//! ```text
//! │ link layer │ IPv4 or IPv6 (extension headers) │ TCP or UDP │ payload │ padding, trailer │
//!              └──────────── total length ────────────────────┘
//! ```
//!
//! A frame can be cut anywhere. The length fields of its headers tell how many
//! bytes of the payload are missing. `etherparse` reads IP; its TCP header has
//! to be complete, so a frame that is cut within TCP options would lose that
//! length, and TCP is read here.

use std::net::SocketAddr;

use bytes::Bytes;
use etherparse::{
    LaxIpSlice,
    err::ip::{HeaderError, LaxHeaderSliceError},
    ether_type, ip_number,
};

use super::{
    super::format::{link, tcp_flags},
    Owner,
};

/// Maximum number of VLAN tags before a packet. One or two occur in practice.
const MAX_TAGS: usize = 4;

/// A segment or datagram that one side of a connection sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// `None` for UDP.
    pub(super) tcp: Option<Tcp>,
    /// The captured start of the payload.
    pub(super) payload: Bytes,
    /// Length of the payload when it was sent.
    pub(super) len: u32,
}

/// Fields of a TCP header (RFC 9293, section 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tcp {
    pub(super) seq: u32,
    /// The acknowledgment number, if the ACK flag is set.
    pub(super) ack: Option<u32>,
    pub(super) syn: bool,
    pub(super) push: bool,
}

/// Reason why a frame contains no readable segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameError {
    /// The frame contains another protocol.
    OtherProtocol,
    /// The link type is not supported.
    UnknownLink,
    /// A header is cut or contradicts itself.
    Malformed,
    /// The frame contains a fragment of an IP packet, with this number of bytes.
    Fragment(u64),
}

/// Reads the sender of a frame from the trailer that PCAPdroid appends:
/// `0x01072021 │ UID i32 │ name, 20 bytes │ checksum`, in network byte order.
pub(super) fn owner(link_type: u16, frame: &[u8]) -> Option<Owner> {
    const MAGIC: [u8; 4] = 0x0107_2021_u32.to_be_bytes();
    let (_, trailer) = frame.split_last_chunk::<32>()?;
    if link_type != link::ETHERNET || trailer[..4] != MAGIC {
        return None;
    }
    let uid = u32::from_be_bytes([trailer[4], trailer[5], trailer[6], trailer[7]]);
    let name = trailer[8..28].split(|&b| b == 0).next().unwrap_or_default();
    let name = String::from_utf8_lossy(name).into_owned();
    // -1 means that PCAPdroid does not know the sender.
    (uid != u32::MAX).then_some(Owner { uid, name })
}

/// Reads the segment in a frame whose original length was `len`.
pub(super) fn segment(link_type: u16, frame: &Bytes, len: u32) -> Result<Segment, FrameError> {
    let at = ip_offset(link_type, frame)?;
    let packet = frame.get(at..).ok_or(FrameError::Malformed)?;
    let (ip, cut) = LaxIpSlice::from_slice(packet).map_err(|err| match err {
        LaxHeaderSliceError::Content(HeaderError::UnsupportedIpVersion { .. }) => {
            FrameError::OtherProtocol
        }
        _ => FrameError::Malformed,
    })?;
    let (headers, stated) = match &ip {
        LaxIpSlice::Ipv4(ip) => {
            let extension = ip.extensions().auth.map_or(0, |auth| auth.slice().len());
            (ip.header().slice().len() + extension, usize::from(ip.header().total_len()))
        }
        LaxIpSlice::Ipv6(ip) => {
            const FIXED_HEADER: usize = 40;
            let payload = usize::from(ip.header().payload_length());
            let stated = if payload == 0 { 0 } else { payload + FIXED_HEADER };
            (FIXED_HEADER + ip.extensions().slice().len(), stated)
        }
    };
    // The length is 0 in jumbograms, and in packets that are captured before
    // the network card fills it in (offloading).
    let total = if stated == 0 { (len as usize).saturating_sub(at) } else { stated };
    let len = total.checked_sub(headers).ok_or(FrameError::Malformed)?;
    if ip.is_fragmenting_payload() {
        return Err(FrameError::Fragment(len as u64));
    }
    if cut.is_some() {
        return Err(FrameError::Malformed);
    }

    let bytes = ip.payload().payload;
    let ports = (u16_at(bytes, 0), u16_at(bytes, 2));
    let (tcp, header, len) = match ip.payload_ip_number() {
        ip_number::TCP => {
            let (tcp, header) = tcp(bytes)?;
            (Some(tcp), header, len)
        }
        ip_number::UDP => {
            let stated = usize::from(u16_at(bytes, 4)?);
            // Datagrams of more than 64 KiB on loopback state 0.
            (None, 8, if stated < 8 { len } else { stated.min(len) })
        }
        _ => return Err(FrameError::OtherProtocol),
    };
    let len = len.checked_sub(header).ok_or(FrameError::Malformed)?;
    let captured = bytes.get(header..).unwrap_or_default();
    let captured = captured.get(..len).unwrap_or(captured);
    Ok(Segment {
        from: SocketAddr::new(ip.source_addr().to_canonical(), ports.0?),
        to: SocketAddr::new(ip.destination_addr().to_canonical(), ports.1?),
        tcp,
        payload: frame.slice_ref(captured),
        len: u32::try_from(len).unwrap_or(u32::MAX),
    })
}

/// Returns the offset of the IP header.
fn ip_offset(link_type: u16, frame: &[u8]) -> Result<usize, FrameError> {
    match link_type {
        link::ETHERNET => behind_tags(u16_at(frame, 12)?, frame, 14),
        link::LINUX_SLL => behind_tags(u16_at(frame, 14)?, frame, 16),
        link::LINUX_SLL2 => behind_tags(u16_at(frame, 0)?, frame, 20),
        // The number of the address family differs between systems. The IP
        // version is in the packet itself.
        link::NULL | link::LOOP => Ok(4),
        link::RAW | link::IPV4 | link::IPV6 => Ok(0),
        link_type if link::BSD_RAW.contains(&link_type) => Ok(0),
        _ => Err(FrameError::UnknownLink),
    }
}

/// Skips the VLAN tags at `at`, where the payload of type `kind` begins.
fn behind_tags(kind: u16, frame: &[u8], at: usize) -> Result<usize, FrameError> {
    let (mut kind, mut at) = (kind, at);
    for _ in 0..=MAX_TAGS {
        match kind.into() {
            ether_type::IPV4 | ether_type::IPV6 => return Ok(at),
            ether_type::VLAN_TAGGED_FRAME
            | ether_type::PROVIDER_BRIDGING
            | ether_type::VLAN_DOUBLE_TAGGED_FRAME => {
                kind = u16_at(frame, at + 2)?;
                at += 4;
            }
            _ => return Err(FrameError::OtherProtocol),
        }
    }
    Err(FrameError::Malformed)
}

/// Reads the fixed part of a TCP header. Returns it and the header's length,
/// options included.
fn tcp(segment: &[u8]) -> Result<(Tcp, usize), FrameError> {
    let number =
        |at: usize| Ok(u32::from(u16_at(segment, at)?) << 16 | u32::from(u16_at(segment, at + 2)?));
    let flags = u16_at(segment, 12)?;
    let header = usize::from(flags >> 12) * 4;
    if header < 20 {
        return Err(FrameError::Malformed);
    }
    let is_set = |flag| flags & flag != 0;
    let ack = is_set(tcp_flags::ACK).then(|| number(8)).transpose()?;
    let (syn, push) = (is_set(tcp_flags::SYN), is_set(tcp_flags::PUSH));
    Ok((Tcp { seq: number(4)?, ack, syn, push }, header))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, FrameError> {
    let bytes = bytes.get(at..).and_then(|rest| rest.first_chunk::<2>());
    bytes.map(|bytes| u16::from_be_bytes(*bytes)).ok_or(FrameError::Malformed)
}
