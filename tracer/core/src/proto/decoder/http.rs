//! Adapters that connect the HTTP and WebSocket parsers to the decoder. They
//! convert parsed data to messages, and finally account for unread bytes.

use super::Message;
use crate::proto::http1::{Next, Progress, RequestReader};
use crate::proto::{Request, Traffic, h2, ws};
use crate::record::BootTime;

/// An HTTP/1 request.
#[derive(Debug)]
pub(super) struct Http1 {
    reader: RequestReader,
    /// Number of bytes missing in the request or after it.
    gaps: u64,
    /// Number of missing bytes that the last emitted version of the request
    /// reported.
    reported_missing: u64,
}

impl Http1 {
    pub(super) fn new(reader: RequestReader) -> Self {
        Self { reader, gaps: 0, reported_missing: 0 }
    }

    pub(super) fn data(&mut self, bytes: &[u8], begins_send: bool) -> (usize, Progress) {
        self.reader.data(bytes, begins_send)
    }

    pub(super) fn gap(&mut self, len: Option<u64>) -> Progress {
        self.gaps += len.unwrap_or(0);
        self.reader.gap(len)
    }

    pub(super) fn flush(&mut self, out: &mut Vec<Message>) {
        if let Some(request) = self.reader.emit() {
            self.reported_missing = request.unread_bytes;
            out.push(Message::Request(request));
        }
    }

    /// Finishes the request. Returns it unless the same state was already
    /// emitted, or an error if the bytes were not a request.
    pub(super) fn finish(
        self,
        next: &Next,
        traffic: &mut Traffic,
    ) -> Result<Option<Request>, NotARequest> {
        let gap_after = match next {
            Next::Lost { gap } => *gap,
            Next::Message | Next::Tunnel | Next::Upgraded => 0,
        };
        let gaps = self.gaps.saturating_sub(gap_after);
        traffic.unread.gaps += gap_after;
        match self.reader.finish() {
            Ok(request) => {
                let reported_missing =
                    request.as_ref().map_or(self.reported_missing, |request| request.unread_bytes);
                traffic.unkept += reported_missing.saturating_sub(gaps);
                Ok(request)
            }
            Err(bytes) => {
                traffic.unread.unrecognised += bytes.saturating_sub(gaps);
                traffic.unread.gaps += gaps;
                Err(NotARequest)
            }
        }
    }

    pub(super) fn buffered(&self) -> usize {
        self.reader.buffered()
    }
}

/// The bytes looked like a request but were not one.
#[derive(Debug)]
pub(super) struct NotARequest;

/// An HTTP/2 connection.
#[derive(Debug, Default)]
pub(super) struct Http2 {
    connection: h2::Connection,
    /// Number of missing bytes in total, and the number of those outside
    /// requests.
    gaps: u64,
    gaps_outside: u64,
    requests: Vec<Request>,
}

impl Http2 {
    pub(super) fn data(
        &mut self,
        bytes: &[u8],
        begins_send: bool,
        time: BootTime,
        out: &mut Vec<Message>,
    ) {
        self.connection.data(bytes, begins_send, time, &mut self.requests);
        self.forward(out);
    }

    pub(super) fn gap(&mut self, len: Option<u64>, out: &mut Vec<Message>) {
        let before = self.connection.counters().unread_bytes;
        self.connection.gap(len, &mut self.requests);
        let outside = self.connection.counters().unread_bytes.saturating_sub(before);
        self.gaps += len.unwrap_or(0);
        self.gaps_outside += outside;
        self.forward(out);
    }

    pub(super) fn flush(&mut self, before: BootTime, out: &mut Vec<Message>) {
        self.connection.flush_stale(before, &mut self.requests);
        self.forward(out);
    }

    /// Reports whether the next byte is known to lie within a frame.
    pub(super) fn in_frame(&self) -> bool {
        self.connection.in_frame()
    }

    pub(super) fn finish(mut self, traffic: &mut Traffic, out: &mut Vec<Message>) {
        self.connection.end(&mut self.requests);
        self.forward(out);
        let counters = self.connection.counters();
        let unread = &mut traffic.unread;
        unread.http2 += counters.unread_bytes.saturating_sub(self.gaps_outside);
        unread.gaps += self.gaps_outside;
        let gaps_inside = self.gaps.saturating_sub(self.gaps_outside);
        traffic.unkept += counters.request_gaps.saturating_sub(gaps_inside);
    }

    pub(super) fn buffered(&self) -> usize {
        self.connection.buffered()
    }

    fn forward(&mut self, out: &mut Vec<Message>) {
        out.extend(self.requests.drain(..).map(Message::Request));
    }
}

/// A WebSocket connection after its handshake.
#[derive(Debug)]
pub(super) struct WebSocket {
    handshake: Request,
    decoder: ws::Decoder,
    /// Set once frames have been received.
    pub(super) has_frames: bool,
    /// Number of missing bytes in total, and the number of those outside
    /// messages.
    gaps: u64,
    gaps_outside: u64,
    /// Number of missing bytes that the messages reported.
    reported_missing: u64,
    messages: Vec<ws::Message>,
}

impl WebSocket {
    pub(super) fn new(handshake: Request) -> Self {
        let decoder = ws::Decoder::new(ws::may_deflate(&handshake));
        Self {
            handshake,
            decoder,
            has_frames: false,
            gaps: 0,
            gaps_outside: 0,
            reported_missing: 0,
            messages: Vec::new(),
        }
    }

    pub(super) fn data(
        &mut self,
        bytes: &[u8],
        begins_send: bool,
        time: BootTime,
        out: &mut Vec<Message>,
    ) {
        self.has_frames = true;
        self.decoder.data(bytes, begins_send, time, &mut self.messages);
        self.forward(out);
    }

    pub(super) fn gap(&mut self, len: Option<u64>, out: &mut Vec<Message>) {
        let before = self.decoder.unread();
        self.decoder.gap(len, &mut self.messages);
        self.gaps += len.unwrap_or(0);
        self.gaps_outside += self.decoder.unread().saturating_sub(before);
        self.forward(out);
    }

    pub(super) fn finish(mut self, traffic: &mut Traffic, out: &mut Vec<Message>) {
        self.decoder.end(&mut self.messages);
        self.forward(out);
        let unread = &mut traffic.unread;
        unread.websocket += self.decoder.unread().saturating_sub(self.gaps_outside);
        unread.gaps += self.gaps_outside;
        let gaps_inside = self.gaps.saturating_sub(self.gaps_outside);
        traffic.unkept += self.reported_missing.saturating_sub(gaps_inside);
    }

    pub(super) fn buffered(&self) -> usize {
        let handshake = self.handshake.headers.iter().map(|field| field.value.len());
        self.decoder.buffered() + handshake.sum::<usize>()
    }

    fn forward(&mut self, out: &mut Vec<Message>) {
        for message in self.messages.drain(..) {
            self.reported_missing = self.reported_missing.saturating_add(message.unread_bytes);
            out.push(Message::Request(message.into_request(&self.handshake)));
        }
    }
}
