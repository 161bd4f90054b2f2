//! The client side of HTTP/3 (RFC 9114), over the frames of decrypted QUIC packets.
//!
//! ```text
//! packet │ STREAM 0 │ ACK │ STREAM 2 …       frames, in the order of sending
//!
//! client, both directions   0, 4, 8, …       a request each
//! client, one direction     2, 6, 10, …      a type, then: control frames (0),
//!                                            QPACK's encoder (2) or decoder (3),
//!                                            WebTransport (0x54)
//! ```
//!
//! Packets arrive in any order, and what is lost is sent again in other packets, so
//! every stream is reassembled by offset. Bytes that do not arrive in time are a gap
//! of known length, which affects the state as follows:
//!
//! - **Framing.** A gap that ends within the payload it started in costs only these
//!   bytes. A longer one loses the rest of the stream.
//! - **Header compression.** A gap in the encoder stream makes the dynamic table
//!   unknown; see [`qpack`]. A head that depends on insertions that have not
//!   arrived waits for them, and the rest of its stream waits with it.
//! - **Bodies.** A gap is recorded at its position in the body.

mod closed;
mod frame;
mod request;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::closed::Closed;
use self::request::Shared;
use self::stream::{Kind, Stream};
use super::exchange::{Ending, MAX_BUFFERED};
use super::quic::frame::{Frame, Frames, Piece};
use super::{Request, qpack};
use crate::record::BootTime;

/// Maximum number of open streams. Servers allow about 100 requests; beyond this
/// limit, the least recently active stream is emitted unfinished.
const MAX_STREAMS: usize = 256;

/// Counters of data that could not be emitted as requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Bytes of streams and datagrams, each counted once however often it was sent,
    /// and bytes of frames that could not be read. Includes missing bytes.
    pub sent: u64,
    /// Bytes that are known to be missing.
    pub missing: u64,
    /// Missing bytes that belong to no request.
    pub gaps_outside: u64,
    /// Captured bytes that belong to no request: unknown streams and frames, and
    /// what follows a gap.
    pub unread_bytes: u64,
    /// Bytes of WebTransport streams.
    pub webtransport_bytes: u64,
    /// Bytes of datagrams.
    pub datagram_bytes: u64,
    /// Bytes of finished requests that were not captured or not kept.
    pub request_gaps: u64,
    /// Missing bytes that WebSockets counted as unread.
    missing_unread: u64,
    /// Number of packets whose frames could not all be read.
    pub broken_packets: u64,
    /// Number of frames of unknown types: extensions.
    pub unknown_frames: u64,
    /// Number of GOAWAY frames.
    pub goaways: u64,
    /// Number of PRIORITY_UPDATE frames.
    pub priority_updates: u64,
    /// Number of requests that open a tunnel for a named protocol (RFC 9220).
    pub extended_connects: u64,
    /// Number of those for WebTransport.
    pub webtransport_sessions: u64,
    /// Number of streams within WebTransport sessions.
    pub webtransport_streams: u64,
    /// Number of invalid field sections.
    pub invalid_sections: u64,
    /// Number of field sections read in part because bytes were missing.
    pub cut_sections: u64,
    /// Number of fields dropped ([`MAX_FIELDS`](super::hpack::MAX_FIELDS)).
    pub dropped_fields: u64,
    /// Number of streams emitted early (`MAX_STREAMS`).
    pub evicted_streams: u64,
}

/// The client side of an HTTP/3 connection.
#[derive(Debug, Default)]
pub struct Connection {
    streams: BTreeMap<u64, Stream>,
    /// The streams that were read to their end, and the others that were closed.
    closed: Closed,
    abandoned: Closed,
    qpack: qpack::Decoder,
    /// Identifier of QPACK's encoder stream.
    encoder: Option<u64>,
    /// Set if the packets come from a server, which sends no requests.
    is_server: bool,
    authority: Option<(String, BootTime)>,
    counters: Counters,
}

impl Connection {
    /// Creates the state of a connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Processes the frames of a packet of `len` bytes, of which the first are
    /// known. Completed requests are appended to `out`.
    pub fn packet(&mut self, bytes: &[u8], len: usize, time: BootTime, out: &mut Vec<Request>) {
        let mut frames = Frames::new(bytes, len);
        let mut changed = Vec::new();
        while let Some(frame) = frames.next() {
            match frame {
                Ok(Frame::Stream { id, piece, fin }) => {
                    if self.insert(id, piece, fin, time, out) && !changed.contains(&id) {
                        changed.push(id);
                    }
                }
                Ok(Frame::Reset { id, reliable: 0 }) => self.finish(id, Ending::Reset, time, out),
                Ok(Frame::Datagram(len)) => {
                    self.counters.sent += len as u64;
                    self.counters.datagram_bytes += len as u64;
                }
                Ok(Frame::FromServer) => self.is_server = true,
                Ok(Frame::Common | Frame::Crypto(_) | Frame::Reset { .. } | Frame::Other) => {}
                Err(_) => {
                    let missing = len.saturating_sub(bytes.len()).min(frames.len());
                    let counters = &mut self.counters;
                    counters.broken_packets += 1;
                    counters.sent += frames.len() as u64;
                    counters.unread_bytes += (frames.len() - missing) as u64;
                    counters.missing += missing as u64;
                    counters.gaps_outside += missing as u64;
                    break;
                }
            }
        }
        // Insertions first: heads in the same packet may refer to them. The type of
        // a stream is known only after its first byte, so all of that kind.
        changed.sort_by_key(|id| (id & 3 != 2, *id));
        changed.into_iter().for_each(|id| self.run(id, time, out));
        self.unblock(time, out);
        self.make_room(time, out);
    }

    /// Emits, as incomplete, requests that received no byte since `before`, and gives
    /// up on bytes that have been missing since then. If more of an emitted request
    /// arrives, it is emitted again as an update.
    pub fn flush_stale(&mut self, before: BootTime, out: &mut Vec<Request>) {
        let ids: Vec<u64> = self.streams.keys().copied().collect();
        let is_stale = |since: Option<BootTime>| since.is_some_and(|since| since < before);
        for id in ids {
            while self.streams.get(&id).is_some_and(|stream| is_stale(stream.waits_since())) {
                if !self.advance(id, before, out) {
                    break;
                }
            }
            if let Some(stream) = self.streams.get_mut(&id).filter(|stream| stream.last < before)
                && let Kind::Request(request) = &mut stream.kind
            {
                request.emit(out);
            }
        }
    }

    /// Ends the connection and emits every pending request, those without an end as
    /// incomplete.
    pub fn end(&mut self, out: &mut Vec<Request>) {
        // The encoder stream first, so that what it holds can still be used.
        let encoder = self.encoder.filter(|id| self.streams.contains_key(id));
        let others = self.streams.keys().copied().filter(|id| Some(*id) != encoder);
        let ids: Vec<u64> = encoder.into_iter().chain(others).chain(encoder).collect();
        for (at, &id) in ids.iter().enumerate() {
            let time = self.streams.get(&id).map_or(BootTime::default(), |stream| stream.last);
            while self.advance(id, time, out) {}
            if at > 0 || encoder.is_none() {
                self.finish(id, Ending::Cut, time, out);
            }
        }
    }

    /// Returns the number of bytes buffered.
    pub fn buffered(&self) -> usize {
        let streams: usize = self.streams.values().map(Stream::buffered).sum();
        streams + self.qpack.buffered()
    }

    /// Returns the counters. Those of requests are final after [`Connection::end`].
    pub fn counters(&self) -> Counters {
        let unread_bytes = self.counters.unread_bytes.saturating_sub(self.counters.missing_unread);
        Counters { unread_bytes, ..self.counters }
    }

    /// Returns the `:authority` of the first request, and the time at which it was
    /// sent.
    pub fn authority(&self) -> Option<&(String, BootTime)> {
        self.authority.as_ref()
    }

    /// Adds a piece of a stream. Returns `false` if the stream cannot continue.
    fn insert(
        &mut self,
        id: u64,
        piece: Piece<'_>,
        fin: bool,
        time: BootTime,
        out: &mut Vec<Request>,
    ) -> bool {
        if !self.streams.contains_key(&id) {
            if self.closed.contains(id) {
                return false;
            }
            if self.abandoned.contains(id) {
                self.counters.sent += piece.known.len() as u64;
                self.counters.unread_bytes += piece.known.len() as u64;
                return false;
            }
            // A stream that a server opened for itself.
            self.is_server |= id & 3 == 3;
            self.evict(time, out);
            self.streams.insert(id, Stream::new(id, time));
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return false;
        };
        stream.last = time;
        let known = piece.known.len() as u64;
        let Some(new) = stream.data.insert(piece.offset, piece.known) else {
            self.counters.sent += known;
            self.counters.unread_bytes += known;
            return false;
        };
        self.counters.sent += new as u64;
        if let (true, Some(end)) = (fin, piece.offset.checked_add(piece.len as u64)) {
            stream.data.set_end(end);
        }
        true
    }

    /// Processes the bytes of a stream that are in order.
    fn run(&mut self, id: u64, time: BootTime, out: &mut Vec<Request>) {
        loop {
            let Some(stream) = self.streams.get_mut(&id) else {
                return;
            };
            let Some(bytes) = stream.take() else {
                break;
            };
            let used = self.feed(id, &bytes, time, out);
            let Some(stream) = self.streams.get_mut(&id) else {
                return;
            };
            stream.held = bytes.get(used..).unwrap_or_default().to_vec();
            stream.made_progress();
        }
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        stream.note_waiting(time);
        if self.encoder == Some(id) {
            self.qpack.set_waiting(stream.data.is_waiting());
        }
        if stream.is_finished() {
            self.finish(id, Ending::Ended, time, out);
        }
    }

    /// Passes bytes to what they belong to. Returns the number of bytes processed.
    fn feed(&mut self, id: u64, bytes: &[u8], time: BootTime, out: &mut Vec<Request>) -> usize {
        let room = MAX_BUFFERED.saturating_sub(self.buffered());
        let Some(stream) = self.streams.get_mut(&id) else {
            return bytes.len();
        };
        if self.is_server {
            stream.kind = Kind::Unknown;
        }
        let counters = &mut self.counters;
        match &mut stream.kind {
            Kind::Request(request) => {
                let mut shared = Shared {
                    qpack: &mut self.qpack,
                    counters,
                    authority: &mut self.authority,
                    room,
                    time,
                    out,
                };
                return request.data(bytes, &mut shared);
            }
            Kind::Untyped(prefix) => {
                // A stream type has at most eight bytes.
                let missing = stream::type_len(prefix, bytes).saturating_sub(prefix.len());
                let (first, _) = bytes.split_at(missing.min(bytes.len()));
                prefix.extend_from_slice(first);
                let used = first.len();
                if let Some((number, _)) = frame::varint(prefix) {
                    let kind = Kind::from_type(number, self.encoder.is_none());
                    counters.webtransport_streams += u64::from(kind.is_webtransport());
                    if matches!(kind, Kind::Encoder) {
                        self.encoder = Some(id);
                    }
                    counters.unread_bytes +=
                        if matches!(kind, Kind::Unknown) { used as u64 } else { 0 };
                    stream.kind = kind;
                }
                return used;
            }
            Kind::Encoder => self.qpack.encoder_data(bytes),
            Kind::Control(frames) => stream::control(frames, bytes, counters),
            Kind::Read => {}
            Kind::WebTransport => counters.webtransport_bytes += bytes.len() as u64,
            Kind::Unknown => counters.unread_bytes += bytes.len() as u64,
        }
        bytes.len()
    }

    /// Stops waiting for the next missing bytes, or insertions, of a stream. Returns
    /// `false` if there was nothing to wait for.
    fn advance(&mut self, id: u64, time: BootTime, out: &mut Vec<Request>) -> bool {
        let room = MAX_BUFFERED.saturating_sub(self.buffered());
        let Some(stream) = self.streams.get_mut(&id) else {
            return false;
        };
        let counters = &mut self.counters;
        let (qpack, authority) = (&mut self.qpack, &mut self.authority);
        let mut shared = Shared { qpack, counters, authority, room, time, out };
        match &mut stream.kind {
            Kind::Request(request) if request.blocked().is_some() => {
                if self.encoder.is_none() {
                    // The connection was joined late, or the stream is lost.
                    shared.qpack.forget();
                }
                request.unblock(false, &mut shared);
            }
            kind => {
                let at_start = stream.data.is_at_start();
                let Some(missing) = stream.data.skip() else {
                    return false;
                };
                let counters = &mut *shared.counters;
                counters.sent = counters.sent.saturating_add(missing);
                counters.missing = counters.missing.saturating_add(missing);
                if let Kind::Request(request) = &mut *kind {
                    request.gap(missing, &mut shared);
                } else {
                    counters.gaps_outside = counters.gaps_outside.saturating_add(missing);
                }
                match &mut *kind {
                    Kind::Untyped(prefix) => {
                        shared.counters.unread_bytes += prefix.len() as u64;
                        *kind = Kind::Unknown;
                        if at_start && self.encoder.is_none() {
                            // It may be the encoder stream.
                            shared.qpack.forget();
                        }
                    }
                    Kind::Encoder => shared.qpack.encoder_gap(Some(missing)),
                    Kind::Control(frames) => {
                        frames.gap(missing);
                    }
                    _ => {}
                }
            }
        }
        self.run(id, time, out);
        self.unblock(time, out);
        true
    }

    /// Continues the streams whose insertions have arrived.
    fn unblock(&mut self, time: BootTime, out: &mut Vec<Request>) {
        let blocked = |(id, stream): (&u64, &Stream)| stream.blocked().is_some().then_some(*id);
        let ids: Vec<u64> = self.streams.iter().filter_map(blocked).collect();
        for id in ids {
            let room = MAX_BUFFERED.saturating_sub(self.buffered());
            if let Some(Stream { kind: Kind::Request(request), .. }) = self.streams.get_mut(&id) {
                let (qpack, authority) = (&mut self.qpack, &mut self.authority);
                let counters = &mut self.counters;
                request.unblock(true, &mut Shared { qpack, counters, authority, room, time, out });
            }
            self.run(id, time, out);
        }
    }

    /// Closes a stream and emits its request.
    fn finish(&mut self, id: u64, ending: Ending, time: BootTime, out: &mut Vec<Request>) {
        let Some(stream) = self.streams.remove(&id) else {
            return;
        };
        match ending {
            Ending::Ended => self.closed.insert(id),
            Ending::Reset | Ending::Cut => self.abandoned.insert(id),
        }
        // What waits for missing bytes or insertions is not read any more.
        let rest = stream.held.len() + stream.data.unread();
        let room = MAX_BUFFERED.saturating_sub(self.buffered());
        let (qpack, authority) = (&mut self.qpack, &mut self.authority);
        let counters = &mut self.counters;
        counters.unread_bytes += rest as u64;
        match stream.kind {
            Kind::Request(mut request) => {
                let mut shared = Shared { qpack, counters, authority, room, time, out };
                request.unblock(false, &mut shared);
                request.finish(ending, &mut shared);
            }
            Kind::Untyped(prefix) => counters.unread_bytes += prefix.len() as u64,
            Kind::Encoder => qpack.forget(),
            _ => {}
        }
    }

    /// Closes the least recently active stream if there are too many.
    fn evict(&mut self, time: BootTime, out: &mut Vec<Request>) {
        if self.streams.len() < MAX_STREAMS {
            return;
        }
        let may_go = |stream: &Stream| !matches!(stream.kind, Kind::Encoder | Kind::Control(_));
        let open = self.streams.iter().filter(|(_, stream)| may_go(stream));
        if let Some((&id, _)) = open.min_by_key(|(_, stream)| stream.last) {
            self.counters.evicted_streams += 1;
            while self.advance(id, time, out) {}
            self.finish(id, Ending::Cut, time, out);
        }
    }

    /// Stops waiting on the streams that hold most, until the limit is kept.
    fn make_room(&mut self, time: BootTime, out: &mut Vec<Request>) {
        while self.buffered() > MAX_BUFFERED {
            let waiting = |(&id, stream): (&u64, &Stream)| {
                let waits = stream.waits_since().is_some();
                waits.then_some((stream.data.buffered() + stream.held.len(), id))
            };
            let Some((_, id)) = self.streams.iter().filter_map(waiting).max() else {
                return;
            };
            if !self.advance(id, time, out) {
                return;
            }
        }
    }
}
