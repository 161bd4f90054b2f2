//! Names of what is counted instead of read.

use std::fmt;

use etherparse::{IpNumber, ip_number};

/// The content of a packet without a TCP segment or UDP datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Other {
    /// Frames of a link type that is not supported.
    Link(u16),
    /// A payload with this EtherType.
    EtherType(u16),
    /// A payload with this number of an IP protocol.
    IpProtocol(u8),
    /// A payload with this number of PPP.
    Ppp(u16),
    /// A payload for this access point of LLC.
    Llc(u8),
    /// Content that has a name but no number.
    Named(&'static str),
}

impl fmt::Display for Other {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, number, name) = match *self {
            Self::Link(number) => ("link type", u32::from(number), link_name(number)),
            Self::EtherType(number) => {
                let name = ether_name(number);
                return match name {
                    "" => write!(f, "EtherType {number:#06x}"),
                    name => f.write_str(name),
                };
            }
            Self::IpProtocol(number) => ("IP protocol", number.into(), ip_name(number)),
            Self::Ppp(number) => return write!(f, "PPP protocol {number:#06x}"),
            Self::Llc(number) => return write!(f, "LLC access point {number:#04x}"),
            Self::Named(name) => return f.write_str(name),
        };
        match name {
            "" => write!(f, "{kind} {number}"),
            name => write!(f, "{kind} {number} ({name})"),
        }
    }
}

fn link_name(number: u16) -> &'static str {
    match number {
        143 => "DOCSIS",
        147..=162 => "private use",
        187 | 201 | 272 => "Bluetooth",
        186 | 189 | 220 | 249 | 266 | 288 => "USB",
        195 | 215 | 230 | 283 => "IEEE 802.15.4",
        227 => "CAN",
        231 => "D-Bus",
        253 => "netlink",
        _ => "",
    }
}

fn ether_name(number: u16) -> &'static str {
    match number {
        0x0806 => "ARP",
        0x8035 => "RARP",
        0x8808 => "Ethernet flow control",
        0x8809 => "Ethernet slow protocols",
        0x8863 => "PPPoE discovery",
        0x888e => "802.1X",
        0x88cc => "LLDP",
        0x88e5 => "MACsec",
        0x88f7 => "PTP",
        _ => "",
    }
}

fn ip_name(number: u8) -> &'static str {
    match IpNumber(number) {
        ip_number::ICMP => "ICMP",
        ip_number::IGMP => "IGMP",
        ip_number::EGP => "EGP",
        ip_number::IPV6_ICMP => "ICMPv6",
        ip_number::ENCAPSULATING_SECURITY_PAYLOAD => "ESP",
        ip_number::OSPFIGP => "OSPF",
        ip_number::PIM => "PIM",
        ip_number::VRRP => "VRRP",
        IpNumber(115) => "L2TP",
        ip_number::SCTP => "SCTP",
        ip_number::UDP_LITE => "UDP-Lite",
        _ => "",
    }
}
