//! Adapter that connects HTTP/3 to the decoder.

use super::Message;
use crate::proto::{NameSource, Request, ServerName, Traffic, h3};
use crate::record::BootTime;

/// An HTTP/3 connection.
#[derive(Debug, Default)]
pub(super) struct Http3 {
    connection: h3::Connection,
    requests: Vec<Request>,
}

impl Http3 {
    /// Reads the frames of a packet, of which `missing` further bytes are unknown.
    pub(super) fn packet(
        &mut self,
        bytes: &[u8],
        missing: Option<u64>,
        time: BootTime,
        out: &mut Vec<Message>,
    ) {
        let missing = missing.and_then(|missing| usize::try_from(missing).ok()).unwrap_or(0);
        let len = bytes.len().saturating_add(missing);
        self.connection.packet(bytes, len, time, &mut self.requests);
        self.forward(out);
    }

    pub(super) fn flush(&mut self, before: BootTime, out: &mut Vec<Message>) {
        self.connection.flush_stale(before, &mut self.requests);
        self.forward(out);
    }

    pub(super) fn finish(mut self, traffic: &mut Traffic, out: &mut Vec<Message>) {
        self.connection.end(&mut self.requests);
        self.forward(out);
        let counters = self.connection.counters();
        traffic.sent = traffic.sent.saturating_add(counters.sent);
        traffic.missing = traffic.missing.saturating_add(counters.missing);
        let unread = &mut traffic.unread;
        unread.http3 += counters.unread_bytes;
        unread.webtransport += counters.webtransport_bytes;
        unread.datagrams += counters.datagram_bytes;
        unread.gaps += counters.gaps_outside;
        let gaps_inside = counters.missing.saturating_sub(counters.gaps_outside);
        traffic.unkept += counters.request_gaps.saturating_sub(gaps_inside);
        if let (None, Some((authority, time))) = (&traffic.server, self.connection.authority()) {
            traffic.server = Some(ServerName {
                time: *time,
                source: NameSource::Quic,
                name: host(authority).to_owned(),
                alpn: vec!["h3".to_owned()],
                ech: false,
            });
        }
    }

    pub(super) fn buffered(&self) -> usize {
        self.connection.buffered()
    }

    fn forward(&mut self, out: &mut Vec<Message>) {
        out.extend(self.requests.drain(..).map(Message::Request));
    }
}

/// Returns an authority without its port.
fn host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    }
}
