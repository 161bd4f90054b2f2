//! Tunnels: GRE, and packets in UDP datagrams.

use super::{FrameError, View, layer::Layer};

const ETHERNET: u16 = 0x6558;

/// Reads a GRE header (RFC 2784, RFC 2890; version 1: RFC 2637).
pub(super) fn gre(view: View<'_>) -> Result<(Layer, View<'_>), FrameError> {
    const CHECKSUM_OR_ROUTING: u16 = 0xc000;
    const KEY: u16 = 0x2000;
    const SEQUENCE: u16 = 0x1000;
    const ACKNOWLEDGMENT: u16 = 0x0080;
    let (flags, kind) = (view.u16(0)?, view.u16(2)?);
    let version = flags & 7;
    let mut fields = [CHECKSUM_OR_ROUTING, KEY, SEQUENCE].map(|flag| flags & flag != 0).to_vec();
    fields.push(version == 1 && flags & ACKNOWLEDGMENT != 0);
    let header = 4 + 4 * fields.into_iter().filter(|&is_set| is_set).count();
    let view = view.skip(header)?;
    Ok(match (version, kind) {
        (1, 0x880b) => (Layer::Ppp, view),
        // ERSPAN, with a header if packets are numbered.
        (0, 0x88be) => (Layer::Ethernet, view.skip(if flags & SEQUENCE != 0 { 8 } else { 0 })?),
        (0, 0x22eb) => {
            let has_more = view.u8(11)? & 1 == 1;
            (Layer::Ethernet, view.skip(if has_more { 20 } else { 12 })?)
        }
        (0, kind) => (Layer::Type(kind), view),
        _ => return Err(FrameError::Malformed),
    })
}

/// Returns the packet within a UDP datagram if its port belongs to a tunnel and
/// its content fits.
pub(super) fn udp(ports: (u16, u16), view: View<'_>) -> Option<(Layer, View<'_>)> {
    let found = match ports {
        (_, 4789 | 8472) => vxlan(view),
        (_, 4790) => vxlan_gpe(view),
        (_, 6081) => geneve(view),
        (_, 2152) => gtp(view),
        (3544, _) | (_, 3544) => teredo(view),
        (_, 1701) => l2tp(view),
        (_, 37008) => tzsp(view),
        (_, 6635) => Ok((Layer::Mpls, view)),
        (_, 4754) => Ok((Layer::Gre, view)),
        _ => return None,
    };
    found.ok().filter(|(layer, view)| *layer != Layer::Ip || is_ip(*view))
}

fn is_ip(view: View<'_>) -> bool {
    view.u8(0).is_ok_and(|first| matches!(first >> 4, 4 | 6))
}

type Found<'a> = Result<(Layer, View<'a>), FrameError>;

/// RFC 7348, section 5.
fn vxlan(view: View<'_>) -> Found<'_> {
    match (view.u8(0)? & 0x08, view.u8(7)?) {
        (0x08, 0) => Ok((Layer::Ethernet, view.skip(8)?)),
        _ => Err(FrameError::Malformed),
    }
}

fn vxlan_gpe(view: View<'_>) -> Found<'_> {
    let layer = match view.u8(3)? {
        1 | 2 => Layer::Ip,
        3 => Layer::Ethernet,
        _ => return Err(FrameError::Malformed),
    };
    Ok((layer, view.skip(8)?))
}

/// RFC 8926, section 3.4.
fn geneve(view: View<'_>) -> Found<'_> {
    let first = view.u8(0)?;
    let kind = view.u16(2)?;
    if first >> 6 != 0 || !matches!(kind, ETHERNET | 0x0800 | 0x86dd) {
        return Err(FrameError::Malformed);
    }
    Ok((Layer::Type(kind), view.skip(8 + usize::from(first & 0x3f) * 4)?))
}

/// 3GPP TS 29.281, section 5.
fn gtp(view: View<'_>) -> Found<'_> {
    const MAX_EXTENSIONS: usize = 8;
    const DATA: u8 = 255;
    let flags = view.u8(0)?;
    if flags >> 4 != 3 || view.u8(1)? != DATA {
        return Err(FrameError::Malformed);
    }
    let mut at = if flags & 7 == 0 { 8 } else { 12 };
    if flags & 4 != 0 {
        for _ in 0..MAX_EXTENSIONS {
            // The byte before an extension names it; 0 ends them.
            if view.u8(at - 1)? == 0 {
                break;
            }
            at += usize::from(view.u8(at)?).max(1) * 4;
        }
    }
    Ok((Layer::Ip, view.skip(at)?))
}

/// RFC 4380, section 5.1.1.
fn teredo(mut view: View<'_>) -> Found<'_> {
    if view.u16(0)? == 1 {
        view = view.skip(13 + usize::from(view.u8(2)?) + usize::from(view.u8(3)?))?;
    }
    if view.u16(0)? == 0 {
        view = view.skip(8)?;
    }
    Ok((Layer::Ip, view))
}

/// Version 2 (RFC 2661, section 3.1).
fn l2tp(view: View<'_>) -> Found<'_> {
    let flags = view.u16(0)?;
    let is_set = |flag| flags & flag != 0;
    if flags & 15 != 2 || is_set(0x8000) {
        return Err(FrameError::Malformed);
    }
    let mut at = 6;
    at += if is_set(0x4000) { 2 } else { 0 };
    at += if is_set(0x0800) { 4 } else { 0 };
    if is_set(0x0200) {
        at += 2 + usize::from(view.u16(at)?);
    }
    Ok((Layer::Ppp, view.skip(at)?))
}

/// TaZmen Sniffer Protocol, with which routers forward captured frames.
fn tzsp(view: View<'_>) -> Found<'_> {
    const MAX_TAGS: usize = 32;
    let layer = match (view.u16(0)?, view.u16(2)?) {
        (0x0100, 1) => Layer::Ethernet,
        (0x0100, 18) => Layer::Wifi,
        _ => return Err(FrameError::Malformed),
    };
    let mut at = 4;
    for _ in 0..MAX_TAGS {
        match view.u8(at)? {
            0 => at += 1,
            1 => return Ok((layer, view.skip(at + 1)?)),
            _ => at += 2 + usize::from(view.u8(at + 1)?),
        }
    }
    Err(FrameError::Malformed)
}
