//! Adapters that connect the datagram parsers to the decoder.

use super::{Message, dns_names};
use crate::proto::dns::{self, Parsed};
use crate::proto::{Traffic, quic};
use crate::record::BootTime;

/// The datagrams from one socket to one address.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    quic: quic::Client,
}

impl Datagrams {
    /// Reads a datagram, of which `missing` further bytes are unknown. `to_dns`
    /// is set if it goes to a DNS port.
    pub(super) fn datagram(
        &mut self,
        bytes: &[u8],
        missing: Option<u64>,
        to_dns: bool,
        time: BootTime,
        traffic: &mut Traffic,
        out: &mut Vec<Message>,
    ) {
        let (known, missed) = (bytes.len() as u64, missing.unwrap_or(0));
        traffic.sent += known + missed;
        traffic.missing += missed;
        traffic.unread.gaps += missed;
        traffic.unknown_gaps += u64::from(missing.is_none());
        if to_dns && !self.quic.is_certain() {
            let len = missing.map_or(u64::MAX, |missing| known.saturating_add(missing));
            match dns::parse(bytes, usize::try_from(len).unwrap_or(usize::MAX)) {
                Parsed::Complete(names) => return out.extend(dns_names(names, time)),
                Parsed::Truncated(names) if !names.is_empty() => {
                    return out.extend(dns_names(names, time));
                }
                Parsed::Truncated(_) | Parsed::NotQuery => {}
            }
        }
        traffic.unread.datagrams += known;
        if missing != Some(0) {
            return;
        }
        let name = self.quic.datagram(bytes, time);
        super::report_name(name, traffic, out);
    }

    /// Reads the server name in a datagram whose content is recorded separately, and of which
    /// `missing` further bytes are unknown.
    pub(super) fn name(
        &mut self,
        bytes: &[u8],
        missing: Option<u64>,
        time: BootTime,
        traffic: &mut Traffic,
        out: &mut Vec<Message>,
    ) {
        let len = bytes.len() as u64 + missing.unwrap_or(0);
        traffic.sent += len;
        traffic.read_in_plain += len;
        let name = self.quic.datagram(bytes, time);
        super::report_name(name, traffic, out);
    }

    /// Reports what is known of an incomplete server name.
    pub(super) fn cut(&mut self, traffic: &mut Traffic, out: &mut Vec<Message>) {
        let name = self.quic.cut();
        super::report_name(name, traffic, out);
    }

    pub(super) fn buffered(&self) -> usize {
        self.quic.buffered()
    }
}
