//! Datagrams, as the front drives their parsers.

use super::{Message, asked};
use crate::proto::dns::{self, Parsed};
use crate::proto::{Traffic, quic};
use crate::record::BootTime;

/// What one socket sends to one address.
#[derive(Debug, Default)]
pub(super) struct Datagrams {
    quic: quic::Client,
}

impl Datagrams {
    /// Takes a datagram of which `missing` more bytes are not known. `to_dns`:
    /// it goes to a port of the domain name system's.
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
                Parsed::Complete(names) => return out.extend(asked(names, time)),
                Parsed::Truncated(names) if !names.is_empty() => {
                    return out.extend(asked(names, time));
                }
                Parsed::Truncated(_) | Parsed::NotMine => {}
            }
        }
        traffic.unread.datagrams += known;
        if missing != Some(0) {
            return;
        }
        let name = self.quic.datagram(bytes, time);
        super::tell(name, traffic, out);
    }

    /// Gives out the name of a server whose rest does not come.
    pub(super) fn cut(&mut self, traffic: &mut Traffic, out: &mut Vec<Message>) {
        let name = self.quic.cut();
        super::tell(name, traffic, out);
    }

    pub(super) fn buffered(&self) -> usize {
        self.quic.buffered()
    }
}
