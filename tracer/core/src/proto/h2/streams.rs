//! The streams of a connection, and the known parts of their bodies.

use std::collections::{BTreeMap, VecDeque};

use super::MAX_STREAMS;
use crate::proto::exchange::{Ending, Exchange, MAX_BUFFERED};
use crate::proto::head::Head;
use crate::proto::hpack::Section;
use crate::proto::{Protocol, Request};
use crate::record::BootTime;

/// Maximum number of early-emitted streams remembered, so that their late bytes
/// are not mistaken for a request whose head was lost.
const MAX_CLOSED: usize = 1024;

/// An open stream.
#[derive(Debug)]
struct Stream {
    /// Time of the most recent byte.
    last: BootTime,
    exchange: Exchange,
}

/// The open streams, by identifier.
#[derive(Debug, Default)]
pub(super) struct Streams {
    open: BTreeMap<u32, Stream>,
    closed: VecDeque<u32>,
    /// Number of bytes buffered by open streams.
    buffered: usize,
    unread: u64,
    /// Number of bytes missing in the requests of closed streams.
    request_gaps: u64,
    evicted: u64,
}

impl Streams {
    /// Reports whether the stream is open.
    pub(super) fn is_open(&self, id: u32) -> bool {
        self.open.contains_key(&id)
    }

    /// Reports whether the stream was emitted before the client ended it.
    pub(super) fn is_closed(&self, id: u32) -> bool {
        self.closed.contains(&id)
    }

    /// Reports whether the stream is open or was emitted, so its head is known.
    pub(super) fn is_known(&self, id: u32) -> bool {
        self.is_open(id) || self.is_closed(id)
    }

    /// Opens a stream with the head of its request.
    pub(super) fn open(&mut self, id: u32, head: Head, time: BootTime, out: &mut Vec<Request>) {
        let exchange = Exchange::new(head, out);
        self.insert(id, Stream { last: time, exchange }, out);
    }

    /// Opens a stream whose head and an unknown part of its body were lost.
    pub(super) fn open_unseen(&mut self, id: u32, time: BootTime, out: &mut Vec<Request>) {
        let exchange = Exchange::unseen(Protocol::Http2, time);
        self.insert(id, Stream { last: time, exchange }, out);
    }

    fn insert(&mut self, id: u32, stream: Stream, out: &mut Vec<Request>) {
        if self.open.len() >= MAX_STREAMS {
            let quietest = self.open.iter().min_by_key(|(_, stream)| stream.last);
            if let Some(quietest) = quietest.map(|(&id, _)| id) {
                self.evicted += 1;
                self.finish(quietest, Ending::Cut, out);
            }
        }
        self.open.insert(id, stream);
    }

    /// Adds a trailer section.
    pub(super) fn trailers(&mut self, id: u32, section: Section, unread: u64) {
        if let Some(stream) = self.open.get_mut(&id) {
            stream.exchange.trailers(section, unread);
        }
    }

    /// Processes bytes of a stream. `begins` is set at the start of a DATA
    /// frame.
    pub(super) fn data(
        &mut self,
        id: u32,
        bytes: &[u8],
        begins: bool,
        time: BootTime,
        out: &mut Vec<Request>,
    ) {
        let room = MAX_BUFFERED.saturating_sub(self.buffered);
        let Some(stream) = self.open.get_mut(&id) else {
            self.unread = self.unread.saturating_add(bytes.len() as u64);
            return;
        };
        stream.last = time;
        let before = stream.exchange.buffered();
        let unread = stream.exchange.data(bytes, begins, time, room, out);
        self.buffered = self.buffered - before + stream.exchange.buffered();
        self.unread = self.unread.saturating_add(unread);
    }

    /// Processes a gap in a stream; `None` if the length is unknown.
    pub(super) fn gap(&mut self, id: u32, len: Option<u64>, out: &mut Vec<Request>) {
        match self.open.get_mut(&id) {
            Some(stream) => {
                let before = stream.exchange.buffered();
                let counted = stream.exchange.gap(len, out);
                self.buffered = self.buffered - before + stream.exchange.buffered();
                self.unread = self.unread.saturating_add(counted);
            }
            None => self.unread = self.unread.saturating_add(len.unwrap_or(0)),
        }
    }

    /// Records that any open stream may miss any number of bytes here.
    pub(super) fn gap_all(&mut self, out: &mut Vec<Request>) {
        for stream in self.open.values_mut() {
            stream.exchange.gap(None, out);
        }
        self.buffered = self.open.values().map(|stream| stream.exchange.buffered()).sum();
    }

    /// Closes a stream and emits its request.
    pub(super) fn finish(&mut self, id: u32, ending: Ending, out: &mut Vec<Request>) {
        let Some(stream) = self.open.remove(&id) else {
            return;
        };
        let exchange = stream.exchange;
        self.buffered -= exchange.buffered();
        self.unread = self.unread.saturating_add(exchange.unread());
        if ending != Ending::Ended {
            if self.closed.len() >= MAX_CLOSED {
                self.closed.pop_front();
            }
            self.closed.push_back(id);
        }
        self.request_gaps = self.request_gaps.saturating_add(exchange.finish(ending, out));
    }

    /// Closes all streams.
    pub(super) fn finish_all(&mut self, ending: Ending, out: &mut Vec<Request>) {
        while let Some((&id, _)) = self.open.first_key_value() {
            self.finish(id, ending, out);
        }
    }

    /// Emits the known parts of requests that received no byte since `before`,
    /// and keeps them open.
    pub(super) fn flush_stale(&mut self, before: BootTime, out: &mut Vec<Request>) {
        for stream in self.open.values_mut().filter(|stream| stream.last < before) {
            stream.exchange.emit(out);
        }
    }

    /// Forgets the identifiers of closed streams when a new connection starts.
    pub(super) fn restart(&mut self) {
        self.closed.clear();
    }

    /// Returns the number of bytes buffered by open streams.
    pub(super) fn buffered(&self) -> usize {
        self.buffered
    }

    /// Returns the number of stream bytes that belong to no request.
    pub(super) fn unread_bytes(&self) -> u64 {
        let open = self.open.values().map(|stream| stream.exchange.unread());
        open.fold(self.unread, u64::saturating_add)
    }

    /// Returns the number of bytes missing in the requests of closed streams.
    pub(super) fn request_gaps(&self) -> u64 {
        self.request_gaps
    }

    /// Returns the number of streams closed to make room.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }
}
