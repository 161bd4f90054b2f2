//! Frames to TCP or UDP segments, through link layers and tunnels.
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
    ip_number,
};

mod layer;
mod other;
mod tunnel;

use self::layer::Layer;
pub use self::other::Other;
use super::{
    super::format::{link, tcp_flags},
    Owner,
};

/// Maximum number of layers around a TCP segment. Tunnels in tunnels of a mobile
/// network have about ten.
const MAX_LAYERS: usize = 24;

/// A segment or datagram that one side of a connection sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    /// `None` for UDP.
    pub(super) tcp: Option<Tcp>,
    pub(super) around: Around,
    /// The captured start of the payload.
    pub(super) payload: Bytes,
    /// Length of the payload when it was sent.
    pub(super) len: u32,
}

/// Facts about the layers around a segment that users are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Around {
    /// Set if the packet was inside another one.
    pub(super) tunnel: bool,
    /// Set if the Ethernet header is missing.
    pub(super) no_link: bool,
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
    /// The frame contains something else.
    Other(Other),
    /// A header is cut or contradicts itself.
    Malformed,
    /// The frame contains a fragment of an IP packet, with this number of bytes.
    Fragment(u64),
}

/// Bytes of a frame, and their number on the network.
#[derive(Debug, Clone, Copy)]
struct View<'a> {
    bytes: &'a [u8],
    len: usize,
}

impl<'a> View<'a> {
    const EMPTY: Self = Self { bytes: &[], len: 0 };

    fn skip(self, count: usize) -> Result<Self, FrameError> {
        let bytes = self.bytes.get(count..).ok_or(FrameError::Malformed)?;
        Ok(Self { bytes, len: self.len.saturating_sub(count) })
    }

    fn u8(self, at: usize) -> Result<u8, FrameError> {
        self.bytes.get(at).copied().ok_or(FrameError::Malformed)
    }

    fn u16(self, at: usize) -> Result<u16, FrameError> {
        u16_at(self.bytes, at)
    }

    fn u32(self, at: usize) -> Result<u32, FrameError> {
        Ok(u32::from(self.u16(at)?) << 16 | u32::from(self.u16(at + 2)?))
    }
}

/// Reads the sender of a frame from what the capturing system added to it.
pub(super) fn owner(link_type: u16, frame: &[u8]) -> Option<Owner> {
    match link_type {
        link::ETHERNET => pcapdroid(frame),
        link::NFLOG => {
            let view = View { bytes: frame, len: frame.len() };
            let (at, _) = layer::nflog_attribute(view, NFLOG_UID)?;
            Some(Owner { uid: view.u32(at).ok()?, name: String::new() })
        }
        link_type if link::PKTAP.contains(&link_type) => {
            let name = frame.get(56..76)?.split(|&b| b == 0).next().unwrap_or_default();
            let name = String::from_utf8_lossy(name).into_owned();
            (!name.is_empty()).then_some(Owner { uid: 0, name })
        }
        _ => None,
    }
}

/// Attribute of NFLOG that holds the UID of the sender, in network byte order.
const NFLOG_UID: u16 = 11;

/// Reads the trailer that PCAPdroid appends:
/// `0x01072021 │ UID i32 │ name, 20 bytes │ checksum`, in network byte order.
fn pcapdroid(frame: &[u8]) -> Option<Owner> {
    const MAGIC: [u8; 4] = 0x0107_2021_u32.to_be_bytes();
    let (_, trailer) = frame.split_last_chunk::<32>()?;
    if trailer[..4] != MAGIC {
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
    let mut layer = Layer::Link(link_type);
    let mut view = View { bytes: frame, len: len as usize };
    let mut around = Around::default();
    for _ in 0..MAX_LAYERS {
        if layer != Layer::Ip {
            let (inner, behind) = layer::open(layer, view)?;
            around.no_link |= layer == Layer::Ethernet && inner == Layer::Ip;
            (layer, view) = (inner, behind);
            continue;
        }
        match packet(frame, view)? {
            Content::Segment(segment) => return Ok(Segment { around, ..*segment }),
            Content::Within(inner, behind) => {
                around.tunnel = true;
                (layer, view) = (inner, behind);
            }
        }
    }
    Err(FrameError::Other(Other::Named("more layers of tunnels than are read")))
}

/// Content of an IP packet.
enum Content<'a> {
    Segment(Box<Segment>),
    /// Another packet.
    Within(Layer, View<'a>),
}

fn packet<'a>(frame: &Bytes, view: View<'a>) -> Result<Content<'a>, FrameError> {
    let (ip, cut) = LaxIpSlice::from_slice(view.bytes).map_err(|err| match err {
        LaxHeaderSliceError::Content(HeaderError::UnsupportedIpVersion { .. }) => {
            FrameError::Other(Other::Named("neither IPv4 nor IPv6"))
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
    let total = if stated == 0 { view.len } else { stated };
    let len = total.checked_sub(headers).ok_or(FrameError::Malformed)?;
    if ip.is_fragmenting_payload() {
        return Err(FrameError::Fragment(len as u64));
    }
    if cut.is_some() {
        return Err(FrameError::Malformed);
    }

    let bytes = ip.payload().payload;
    let behind = View { bytes, len };
    let (tcp, header, len) = match ip.payload_ip_number() {
        ip_number::TCP => {
            let (tcp, header) = tcp(bytes)?;
            (Some(tcp), header, len)
        }
        ip_number::UDP => {
            let stated = usize::from(u16_at(bytes, 4)?);
            // Datagrams of more than 64 KiB on loopback state 0.
            let len = if stated < 8 { len } else { stated.min(len) };
            let ports = (u16_at(bytes, 0)?, u16_at(bytes, 2)?);
            let datagram =
                View { bytes: bytes.get(8..).unwrap_or_default(), len: len.saturating_sub(8) };
            if let Some((layer, view)) = tunnel::udp(ports, datagram) {
                return Ok(Content::Within(layer, view));
            }
            (None, 8, len)
        }
        ip_number::IPV4 | ip_number::IPV6 => return Ok(Content::Within(Layer::Ip, behind)),
        ip_number::GRE => return Ok(Content::Within(Layer::Gre, behind)),
        ip_number::MPLS_IN_IP => return Ok(Content::Within(Layer::Mpls, behind)),
        ip_number::ETHER_IP => return Ok(Content::Within(Layer::Ethernet, behind.skip(2)?)),
        number => return Err(FrameError::Other(Other::IpProtocol(number.0))),
    };
    let len = len.checked_sub(header).ok_or(FrameError::Malformed)?;
    let captured = bytes.get(header..).unwrap_or_default();
    let captured = captured.get(..len).unwrap_or(captured);
    Ok(Content::Segment(Box::new(Segment {
        from: SocketAddr::new(ip.source_addr().to_canonical(), u16_at(bytes, 0)?),
        to: SocketAddr::new(ip.destination_addr().to_canonical(), u16_at(bytes, 2)?),
        tcp,
        around: Around::default(),
        payload: frame.slice_ref(captured),
        len: u32::try_from(len).unwrap_or(u32::MAX),
    })))
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
