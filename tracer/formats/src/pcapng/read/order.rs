//! What a client sent, in order.
//!
//! The [`stream`](tracer_core::stream) table wants a connection's records nearly in
//! order, as the hooks give them, and takes what comes late for sent again.
//! Packets come as the network had them. So a segment that comes before its
//! place waits, until
//!
//! - what is missing before it comes,
//! - the server acknowledges more: the client had sent it, and the capture has
//!   lost it,
//! - or too much waits, or for too long.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;

use super::tls::{self, KeyLog, Plain};
use crate::recording::HOOK;
use tracer_core::record::{BootTime, Connection, Event, Process, Record, Transport};

/// Segments of one connection that wait: what a receive window of 4 MiB holds
/// in segments of usual size is less than 3000, and few windows are as large.
const MAX_HELD: usize = 1024;

/// What all that wait may cost, in bytes.
const MAX_HELD_BYTES: usize = 64 << 20;

/// How long a segment waits. A lost one is sent again within a second or so.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Where a client is in its byte stream.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// The place of the next byte; `None` before the first. Its lower half is
    /// the sequence number, which wraps around.
    pub(super) next: Option<u64>,
    /// Where the client's first byte was to be, by its SYN.
    pub(super) opened: Option<u32>,
    /// The next segment begins a send: the last one ended one.
    pub(super) begins: bool,
    /// Something was given out.
    pub(super) given: bool,
    /// Segments that wait, by their places.
    held: BTreeMap<u64, Held>,
    /// What is in the stream, where it is TLS and there are keys.
    pub(super) tls: tls::Client,
    /// The place of the next byte in the plaintext.
    plain: u32,
}

/// A segment that a client sent.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) time: BootTime,
    pub(super) seq: u32,
    pub(super) payload: Bytes,
    pub(super) len: u32,
    pub(super) push: bool,
}

impl Held {
    /// What it costs in memory, roughly.
    fn cost(&self) -> usize {
        self.payload.len() + 2 * size_of::<Self>()
    }
}

/// Who sends, for records.
pub(super) struct Sender<'a> {
    pub(super) connection: Connection,
    pub(super) process: &'a Process,
    pub(super) keys: &'a KeyLog,
}

impl Order {
    /// How many segments wait.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.held.len()
    }

    /// The client sent a segment.
    pub(super) fn sent(
        &mut self,
        mut segment: Held,
        syn: bool,
        sender: &Sender<'_>,
        held: &mut usize,
        out: &mut VecDeque<Event>,
    ) {
        if syn {
            // It takes a position of its own; data can come with it (RFC 7413).
            segment.seq = segment.seq.wrapping_add(1);
            self.opened = Some(segment.seq);
        }
        if self.next.is_none() && (syn || segment.len > 0) {
            self.next = Some((1 << 32) + u64::from(segment.seq));
            self.begins = true;
        }
        if segment.len == 0 {
            return;
        }
        let first = self.held.values().next().map_or(segment.time, |first| first.time);
        let too_late = segment.time.since(first) > MAX_WAIT;
        let place = self.place(segment.seq);
        if self.next.is_some_and(|next| place > next) {
            // Not with the whole block that it lies in.
            segment.payload = Bytes::copy_from_slice(&segment.payload);
        }
        // One that is sent again while it waits says no more than before.
        let waits =
            self.held.get(&place).is_some_and(|one| one.payload.len() >= segment.payload.len());
        if !waits {
            *held += segment.cost();
            let shorter = self.held.insert(place, segment);
            *held -= shorter.map_or(0, |one| one.cost());
        }
        self.give_ready(sender, held, out);
        let mut too_many = too_late;
        while too_many || self.held.len() > MAX_HELD || *held > MAX_HELD_BYTES {
            if !self.release(sender, held, out) {
                return;
            }
            too_many = false;
        }
    }

    /// The server has got everything up to `ack`: what of it is missing was
    /// lost by the capture.
    pub(super) fn acknowledged(
        &mut self,
        ack: u32,
        sender: &Sender<'_>,
        held: &mut usize,
        out: &mut VecDeque<Event>,
    ) {
        let ack = self.place(ack);
        while self.held.first_key_value().is_some_and(|(&place, _)| place < ack) {
            self.release(sender, held, out);
        }
    }

    /// Where in the stream a sequence number stands, next to what comes next.
    fn place(&self, seq: u32) -> u64 {
        let next = self.next.unwrap_or(1 << 32);
        // Serial number arithmetic (RFC 1982).
        next.saturating_add_signed(i64::from(seq.wrapping_sub(next as u32).cast_signed()))
    }

    /// Gives out the first that waits, over a gap, and what follows it.
    pub(super) fn release(
        &mut self,
        sender: &Sender<'_>,
        held: &mut usize,
        out: &mut VecDeque<Event>,
    ) -> bool {
        let Some((place, first)) = self.held.pop_first() else {
            return false;
        };
        *held -= first.cost();
        if let Some(opened) = self.opened.filter(|_| !self.given) {
            // Nothing, where the stream begins: what is missing is counted from
            // there.
            let nothing =
                Held { time: first.time, seq: opened, payload: Bytes::new(), len: 0, push: false };
            out.push_back(Event::Sent(sender.record(nothing, 0)));
        }
        // Nobody knows what the missing segment ended with.
        self.begins = false;
        self.give(place, first, sender, out);
        self.give_ready(sender, held, out);
        true
    }

    /// Gives out what waits no longer.
    fn give_ready(&mut self, sender: &Sender<'_>, held: &mut usize, out: &mut VecDeque<Event>) {
        while let Some(entry) = self.held.first_entry()
            && self.next.is_none_or(|next| *entry.key() <= next)
        {
            let (place, segment) = entry.remove_entry();
            *held -= segment.cost();
            self.give(place, segment, sender, out);
        }
    }

    fn give(&mut self, place: u64, segment: Held, sender: &Sender<'_>, out: &mut VecDeque<Event>) {
        let end = place.saturating_add(segment.len.into());
        let next = self.next.unwrap_or(place);
        let is_news = end > next;
        // A segment in the middle of a send has an offset in it, of which only
        // that there is one is known.
        let offset = u32::from(!(self.begins && is_news));
        self.given = true;
        let mut plain = Vec::new();
        if is_news {
            self.next = Some(end);
            // The last segment of a send is marked (RFC 9293, section 3.9.1.2).
            self.begins = segment.push;
            let old = usize::try_from(next.saturating_sub(place)).unwrap_or(usize::MAX);
            let known = segment.payload.get(old..).unwrap_or_default();
            self.tls.gap(place.saturating_sub(next), &mut plain);
            self.tls.data(known, sender.keys, &mut plain);
            let cut = u64::from(segment.len).saturating_sub(segment.payload.len().max(old) as u64);
            self.tls.gap(cut, &mut plain);
        }
        let time = segment.time;
        let mut record = sender.record(segment, offset);
        // Its plaintext has records of its own, as at a TLS library.
        record.within_tls = self.tls.is_open().then_some(sender.connection.key);
        out.push_back(Event::Sent(record));
        for plain in plain {
            out.push_back(Event::Sent(self.plaintext(plain, time, sender)));
        }
    }

    /// The record of what a client wrote to its TLS library.
    fn plaintext(&mut self, plain: Plain, time: BootTime, sender: &Sender<'_>) -> Record {
        let Plain { bytes, len, continues } = plain;
        let connection = Connection { transport: Transport::Tls, ..sender.connection };
        let held = Held { time, seq: self.plain, payload: bytes, len, push: false };
        self.plain = self.plain.wrapping_add(len);
        Sender { connection, ..*sender }.record(held, u32::from(continues))
    }
}

impl Sender<'_> {
    /// The record of a segment that begins so far behind a send's beginning.
    fn record(&self, segment: Held, offset: u32) -> Record {
        let Held { time, seq, payload, len, .. } = segment;
        Record {
            hook: HOOK,
            time,
            process: self.process.clone(),
            connection: self.connection,
            within_tls: None,
            position: Some(seq.wrapping_sub(offset)),
            offset,
            len: Some(len.saturating_add(offset)),
            payload,
        }
    }
}
