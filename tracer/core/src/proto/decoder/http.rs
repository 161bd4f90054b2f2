//! The HTTP parsers and WebSockets, as the front drives them: they turn what
//! they read into messages, and at their end say what they did not read.

use super::Message;
use crate::proto::http1::{Next, Progress, RequestReader};
use crate::proto::{Request, Traffic, h2, ws};
use crate::record::BootTime;

/// One HTTP/1 request.
#[derive(Debug)]
pub(super) struct Http1 {
    reader: RequestReader,
    /// Bytes that are missing in it or behind it.
    gaps: u64,
    /// How many bytes the request says are unread.
    told: u64,
}

impl Http1 {
    pub(super) fn new(reader: RequestReader) -> Self {
        Self { reader, gaps: 0, told: 0 }
    }

    pub(super) fn data(&mut self, bytes: &[u8], begins_send: bool) -> (usize, Progress) {
        self.reader.data(bytes, begins_send)
    }

    pub(super) fn gap(&mut self, len: Option<u64>) -> Progress {
        self.gaps += len.unwrap_or(0);
        self.reader.gap(len)
    }

    pub(super) fn flush(&mut self, out: &mut Vec<Message>) {
        if let Some(request) = self.reader.give() {
            self.told = request.unread_bytes;
            out.push(Message::Request(request));
        }
    }

    /// Ends the request. Gives it out unless that was done with as much of it
    /// known; an error: it was none.
    pub(super) fn finish(
        self,
        next: &Next,
        traffic: &mut Traffic,
    ) -> Result<Option<Request>, NoRequest> {
        let behind = match next {
            Next::Lost { gap } => *gap,
            Next::Message | Next::Tunnel | Next::Upgraded => 0,
        };
        let gaps = self.gaps.saturating_sub(behind);
        traffic.unread.gaps += behind;
        match self.reader.finish() {
            Ok(request) => {
                let told = request.as_ref().map_or(self.told, |request| request.unread_bytes);
                traffic.unkept += told.saturating_sub(gaps);
                Ok(request)
            }
            Err(bytes) => {
                traffic.unread.unrecognised += bytes.saturating_sub(gaps);
                traffic.unread.gaps += gaps;
                Err(NoRequest)
            }
        }
    }

    pub(super) fn buffered(&self) -> usize {
        self.reader.buffered()
    }
}

/// What looked like a request was none.
#[derive(Debug)]
pub(super) struct NoRequest;

/// An HTTP/2 connection.
#[derive(Debug, Default)]
pub(super) struct Http2 {
    connection: h2::Connection,
    /// Bytes that are missing in all, and those of them outside of requests.
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
        self.hand_on(out);
    }

    pub(super) fn gap(&mut self, len: Option<u64>, out: &mut Vec<Message>) {
        let before = self.connection.counters().unread_bytes;
        self.connection.gap(len, &mut self.requests);
        let outside = self.connection.counters().unread_bytes.saturating_sub(before);
        self.gaps += len.unwrap_or(0);
        self.gaps_outside += outside;
        self.hand_on(out);
    }

    pub(super) fn flush(&mut self, before: BootTime, out: &mut Vec<Message>) {
        self.connection.flush_stale(before, &mut self.requests);
        self.hand_on(out);
    }

    /// The next byte is known to lie within a frame.
    pub(super) fn in_frame(&self) -> bool {
        self.connection.in_frame()
    }

    pub(super) fn finish(mut self, traffic: &mut Traffic, out: &mut Vec<Message>) {
        self.connection.end(&mut self.requests);
        self.hand_on(out);
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

    fn hand_on(&mut self, out: &mut Vec<Message>) {
        out.extend(self.requests.drain(..).map(Message::Request));
    }
}

/// What follows the handshake of a WebSocket.
#[derive(Debug)]
pub(super) struct WebSocket {
    handshake: Request,
    decoder: ws::Decoder,
    /// Frames came.
    pub(super) begun: bool,
    /// Bytes that are missing in all, and those of them outside of messages.
    gaps: u64,
    gaps_outside: u64,
    /// Bytes that are missing in messages, by their own account.
    told: u64,
    messages: Vec<ws::Message>,
}

impl WebSocket {
    pub(super) fn new(handshake: Request) -> Self {
        let decoder = ws::Decoder::new(ws::may_deflate(&handshake));
        Self {
            handshake,
            decoder,
            begun: false,
            gaps: 0,
            gaps_outside: 0,
            told: 0,
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
        self.begun = true;
        self.decoder.data(bytes, begins_send, time, &mut self.messages);
        self.hand_on(out);
    }

    pub(super) fn gap(&mut self, len: Option<u64>, out: &mut Vec<Message>) {
        let before = self.decoder.unread();
        self.decoder.gap(len, &mut self.messages);
        self.gaps += len.unwrap_or(0);
        self.gaps_outside += self.decoder.unread().saturating_sub(before);
        self.hand_on(out);
    }

    pub(super) fn finish(mut self, traffic: &mut Traffic, out: &mut Vec<Message>) {
        self.decoder.end(&mut self.messages);
        self.hand_on(out);
        let unread = &mut traffic.unread;
        unread.websocket += self.decoder.unread().saturating_sub(self.gaps_outside);
        unread.gaps += self.gaps_outside;
        let gaps_inside = self.gaps.saturating_sub(self.gaps_outside);
        traffic.unkept += self.told.saturating_sub(gaps_inside);
    }

    pub(super) fn buffered(&self) -> usize {
        let handshake = self.handshake.headers.iter().map(|field| field.value.len());
        self.decoder.buffered() + handshake.sum::<usize>()
    }

    fn hand_on(&mut self, out: &mut Vec<Message>) {
        for message in self.messages.drain(..) {
            self.told = self.told.saturating_add(message.unread_bytes);
            out.push(Message::Request(message.into_request(&self.handshake)));
        }
    }
}
