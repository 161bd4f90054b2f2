//! The layers around IP packets: link layers, and tunnels that carry one packet
//! in another.

use etherparse::ether_type;

use super::{super::super::format::link, FrameError, Other, View};

/// The protocol of the next bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    Ethernet,
    /// The payload of this EtherType.
    Type(u16),
    /// IPv4 or IPv6, by the version in the packet.
    Ip,
    Llc,
    Ppp,
    Mpls,
    Gre,
    Wifi,
    /// The header of this link type, and what follows it.
    Link(u16),
}

/// Link types of which each frame starts with a header that names the next layer.
mod types {
    pub(super) const PPP: u16 = 9;
    pub(super) const FDDI: u16 = 10;
    pub(super) const ATM_RFC1483: [u16; 2] = [11, 100];
    pub(super) const PPP_HDLC: u16 = 50;
    pub(super) const PPP_ETHER: u16 = 51;
    pub(super) const CISCO_HDLC: u16 = 104;
    pub(super) const WIFI: u16 = 105;
    pub(super) const ENC: u16 = 109;
    pub(super) const PFLOG: u16 = 117;
    pub(super) const PRISM: u16 = 119;
    pub(super) const RADIOTAP: u16 = 127;
    pub(super) const APPLE_IEEE1394: u16 = 138;
    pub(super) const AVS: u16 = 163;
    pub(super) const PPP_PPPD: u16 = 166;
    pub(super) const PPI: u16 = 192;
    pub(super) const PPP_WITH_DIRECTION: u16 = 204;
}

type Step<'a> = Result<(Layer, View<'a>), FrameError>;

/// Reads the header of one layer other than IP.
pub(super) fn open(layer: Layer, view: View<'_>) -> Step<'_> {
    match layer {
        Layer::Link(number) => link(number, view),
        Layer::Ethernet => ethernet(view),
        Layer::Type(kind) => typed(kind, view),
        Layer::Llc => llc(view),
        Layer::Ppp => ppp(view),
        Layer::Mpls => mpls(view),
        Layer::Gre => super::tunnel::gre(view),
        Layer::Wifi => wifi(view),
        Layer::Ip => Ok((Layer::Ip, view)),
    }
}

fn link(number: u16, view: View<'_>) -> Step<'_> {
    let unknown = Err(FrameError::Other(Other::Link(number)));
    match number {
        link::ETHERNET => Ok((Layer::Ethernet, view)),
        link::LINUX_SLL => cooked(view.u16(14)?, view.skip(16)?),
        link::LINUX_SLL2 => cooked(view.u16(0)?, view.skip(20)?),
        // The number of the address family differs between systems. The IP
        // version is in the packet itself.
        link::NULL | link::LOOP => Ok((Layer::Ip, view.skip(4)?)),
        link::RAW | link::IPV4 | link::IPV6 => Ok((Layer::Ip, view)),
        number if link::BSD_RAW.contains(&number) => Ok((Layer::Ip, view)),
        link::NFLOG => nflog(view),
        number if link::PKTAP.contains(&number) => pktap(view),
        types::PPP | types::PPP_PPPD => Ok((Layer::Ppp, view)),
        types::PPP_HDLC if view.u8(0)? == 0xff => Ok((Layer::Ppp, view)),
        types::PPP_HDLC | types::CISCO_HDLC => Ok((Layer::Type(view.u16(2)?), view.skip(4)?)),
        types::PPP_ETHER => Ok((Layer::Type(link::PPPOE_SESSION), view)),
        types::PPP_WITH_DIRECTION => Ok((Layer::Ppp, view.skip(1)?)),
        types::FDDI => Ok((Layer::Llc, view.skip(13)?)),
        number if types::ATM_RFC1483.contains(&number) => Ok((Layer::Llc, view)),
        types::ENC => Ok((Layer::Ip, view.skip(12)?)),
        types::PFLOG => Ok((Layer::Ip, view.skip(usize::from(view.u8(0)?).next_multiple_of(4))?)),
        types::APPLE_IEEE1394 => Ok((Layer::Type(view.u16(16)?), view.skip(18)?)),
        types::WIFI => Ok((Layer::Wifi, view)),
        types::PRISM => Ok((Layer::Wifi, view.skip(144)?)),
        types::AVS => Ok((Layer::Wifi, view.skip(view.u32(4)? as usize)?)),
        types::RADIOTAP => Ok((Layer::Wifi, view.skip(view.u16(2)?.swap_bytes().into())?)),
        types::PPI => {
            let inner = view.u32(4)?.swap_bytes();
            let inner = u16::try_from(inner).map_err(|_| FrameError::Malformed)?;
            Ok((Layer::Link(inner), view.skip(view.u16(2)?.swap_bytes().into())?))
        }
        _ => unknown,
    }
}

/// Linux's cooked headers hold an EtherType, or a small number of their own.
fn cooked(kind: u16, view: View<'_>) -> Step<'_> {
    const LLC: u16 = 4;
    Ok(if kind == LLC { (Layer::Llc, view) } else { (Layer::Type(kind), view) })
}

fn ethernet(view: View<'_>) -> Step<'_> {
    let kind = view.u16(12);
    if !kind.is_ok_and(is_known) && is_raw_ip(view) {
        return Ok((Layer::Ip, view));
    }
    let (kind, view) = (kind?, view.skip(14)?);
    // Up to 1500, it is a length (IEEE 802.3).
    Ok(if kind <= 1500 { (Layer::Llc, view) } else { (Layer::Type(kind), view) })
}

fn is_known(kind: u16) -> bool {
    !matches!(typed(kind, View::EMPTY), Err(FrameError::Other(_)))
}

/// Reports whether a frame is an IP packet without a link layer, as captures of
/// iOS devices contain them under the link type of Ethernet: the lengths and
/// numbers of its header agree with the frame.
fn is_raw_ip(view: View<'_>) -> bool {
    let is_protocol = |number| matches!(number, 1 | 4 | 6 | 17 | 41 | 47 | 50 | 51 | 58 | 132);
    let (Ok(first), Ok(protocol4), Ok(protocol6)) = (view.u8(0), view.u8(9), view.u8(6)) else {
        return false;
    };
    let stated = |at| view.u16(at).map_or(0, usize::from);
    match first >> 4 {
        4 => first & 15 >= 5 && stated(2) == view.len && is_protocol(protocol4),
        6 => stated(4) + 40 == view.len && (protocol6 == 0 || is_protocol(protocol6)),
        _ => false,
    }
}

fn typed(kind: u16, view: View<'_>) -> Step<'_> {
    const BRIDGED: u16 = 0x6558;
    const PROVIDER_BACKBONE: u16 = 0x88e7;
    const OLD_DOUBLE_TAGS: u16 = 0x9200;
    match etherparse::EtherType(kind) {
        ether_type::IPV4 | ether_type::IPV6 => Ok((Layer::Ip, view)),
        ether_type::VLAN_TAGGED_FRAME
        | ether_type::PROVIDER_BRIDGING
        | ether_type::VLAN_DOUBLE_TAGGED_FRAME
        | etherparse::EtherType(OLD_DOUBLE_TAGS) => {
            let inner = view.u16(2)?;
            let layer = if inner <= 1500 { Layer::Llc } else { Layer::Type(inner) };
            Ok((layer, view.skip(4)?))
        }
        etherparse::EtherType(0x8847 | 0x8848) => Ok((Layer::Mpls, view)),
        etherparse::EtherType(link::PPPOE_SESSION) => {
            // Version 1, type 1, session data (RFC 2516, section 4).
            match view.u16(0)? {
                0x1100 => Ok((Layer::Ppp, view.skip(6)?)),
                _ => Err(FrameError::Malformed),
            }
        }
        etherparse::EtherType(BRIDGED) => Ok((Layer::Ethernet, view)),
        etherparse::EtherType(PROVIDER_BACKBONE) => Ok((Layer::Ethernet, view.skip(4)?)),
        _ => Err(FrameError::Other(Other::EtherType(kind))),
    }
}

fn llc(view: View<'_>) -> Step<'_> {
    const SNAP: u16 = 0xaaaa;
    const IP: u16 = 0x0606;
    match view.u16(0)? {
        SNAP => Ok((Layer::Type(view.u16(6)?), view.skip(8)?)),
        IP => Ok((Layer::Ip, view.skip(3)?)),
        other => Err(FrameError::Other(Other::Llc((other >> 8) as u8))),
    }
}

/// Reads the protocol of PPP, whose address and high zero byte may be left out
/// (RFC 1661, section 6).
fn ppp(view: View<'_>) -> Step<'_> {
    // The second value of the address is a direction (pppd).
    let view = match view.u16(0)? {
        0xff03 | 0x0003 | 0x0103 => view.skip(2)?,
        _ => view,
    };
    let (protocol, len) =
        if view.u8(0)? & 1 == 1 { (view.u8(0)?.into(), 1) } else { (view.u16(0)?, 2) };
    let view = view.skip(len)?;
    match protocol {
        0x0021 | 0x0057 => Ok((Layer::Ip, view)),
        0x0281 | 0x0283 => Ok((Layer::Mpls, view)),
        other => Err(FrameError::Other(Other::Ppp(other))),
    }
}

/// Skips MPLS labels (RFC 3032). What follows them is not named: IP starts with
/// its version, and Ethernet usually with a control word (RFC 4448).
fn mpls(mut view: View<'_>) -> Step<'_> {
    const MAX_LABELS: usize = 16;
    for _ in 0..MAX_LABELS {
        let is_last = view.u8(2)? & 1 == 1;
        view = view.skip(4)?;
        if is_last {
            return match view.u8(0)? >> 4 {
                4 | 6 => Ok((Layer::Ip, view)),
                0 => Ok((Layer::Ethernet, view.skip(4)?)),
                _ => Err(FrameError::Other(Other::Named("MPLS without IP"))),
            };
        }
    }
    Err(FrameError::Malformed)
}

/// Reads the header of an IEEE 802.11 frame.
fn wifi(view: View<'_>) -> Step<'_> {
    let named = |name| Err(FrameError::Other(Other::Named(name)));
    let (kind, flags) = (view.u8(0)?, view.u8(1)?);
    if kind & 0x0c != 0x08 {
        return named("802.11 management and control");
    }
    let (is_empty, has_qos) = (kind & 0x40 != 0, kind & 0x80 != 0);
    if is_empty {
        return named("802.11 without data");
    }
    if flags & 0x40 != 0 {
        return named("encrypted 802.11");
    }
    let mut header = if flags & 3 == 3 { 30 } else { 24 };
    if has_qos {
        if view.u8(header)? & 0x80 != 0 {
            return named("aggregated 802.11");
        }
        header += if flags & 0x80 != 0 { 6 } else { 2 };
    }
    Ok((Layer::Llc, view.skip(header)?))
}

/// Reads the attributes that Linux's NFLOG puts before a packet: `length u16 │
/// type u16 │ value`, padded to 4 bytes, in the byte order of the machine.
fn nflog(view: View<'_>) -> Step<'_> {
    let (at, len) = nflog_attribute(view, 9).ok_or(FrameError::Malformed)?;
    let view = view.skip(at)?;
    Ok((Layer::Ip, View { len: view.len.min(len), ..view }))
}

/// Returns the offset and the stated length of an attribute's value.
pub(super) fn nflog_attribute(view: View<'_>, wanted: u16) -> Option<(usize, usize)> {
    const MAX_ATTRIBUTES: usize = 64;
    let mut at = 4;
    for _ in 0..MAX_ATTRIBUTES {
        let (len, kind) = (view.u16(at).ok()?, view.u16(at + 2).ok()?);
        // Types are small, which shows the byte order.
        let is_little = kind & 0xff == 0;
        let order = |number: u16| if is_little { number.swap_bytes() } else { number };
        let (len, kind) = (usize::from(order(len)), order(kind));
        let value = len.checked_sub(4)?;
        if kind == wanted {
            return Some((at + 4, value));
        }
        at += len.next_multiple_of(4);
    }
    None
}

/// Skips the header of macOS's PKTAP, which names the link type that follows.
fn pktap(view: View<'_>) -> Step<'_> {
    let (len, kind) = (view.u32(0)?, view.u32(8)?);
    // The length is below 64 KiB, which shows the byte order.
    let is_little = len & 0xffff == 0 || len.swap_bytes() < len;
    let order = |number: u32| if is_little { number.swap_bytes() } else { number };
    let inner = u16::try_from(order(kind)).map_err(|_| FrameError::Malformed)?;
    let header = order(len) as usize;
    if header < 12 {
        return Err(FrameError::Malformed);
    }
    Ok((Layer::Link(inner), view.skip(header)?))
}
