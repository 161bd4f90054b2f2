//! Sorts the segments that a client sent.
//!
//! The [`stream`](tracer_core::stream) table expects the records of a connection
//! nearly in order, as the hooks deliver them, and treats late ones as
//! retransmissions. Packets are in the order of the network. A segment ahead of
//! its turn therefore waits until
//!
//! - the missing segment arrives,
//! - the server acknowledges the missing bytes, which means that the capture lost
//!   them,
//! - or a limit of segments, memory or time is exceeded.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;

use super::tls::{self, KeyLog, Plaintext};
use crate::recording::HOOK;
use tracer_core::record::{BootTime, Connection, Event, Process, Record, Transport};

/// Maximum number of waiting segments of one connection. A receive window of
/// 4 MiB holds fewer than 3000 segments of the usual size, and few windows are
/// that large.
const MAX_PENDING: usize = 1024;

/// Maximum memory of all waiting segments, in bytes.
const MAX_PENDING_BYTES: usize = 64 << 20;

/// Maximum time for which a segment waits. A lost segment is usually sent again
/// within a second.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The byte stream of a client.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    /// Position of the next byte, or `None` before the first. Its lower half is
    /// the sequence number, which wraps around.
    pub(super) next: Option<u64>,
    /// Sequence number of the client's first byte, known from its SYN.
    pub(super) opened: Option<u32>,
    /// Sequence number up to which the server has answered: it acknowledged the bytes before
    /// it, and sent data.
    answered: Option<u32>,
    /// Set if the next segment starts a send.
    pub(super) at_send_start: bool,
    /// Set once a record was emitted.
    pub(super) has_emitted: bool,
    /// Segments that wait, by position.
    pending: BTreeMap<u64, PendingSegment>,
    /// Decrypts the stream if it is TLS and its keys are known.
    pub(super) tls: tls::Client,
    /// Position of the next byte of plaintext.
    plaintext_seq: u32,
}

/// A segment that a client sent.
#[derive(Debug)]
pub(super) struct PendingSegment {
    pub(super) time: BootTime,
    pub(super) seq: u32,
    pub(super) payload: Bytes,
    pub(super) len: u32,
    pub(super) push: bool,
}

impl PendingSegment {
    /// Estimates its memory.
    fn cost(&self) -> usize {
        self.payload.len() + 2 * size_of::<Self>()
    }
}

/// The parts of a record that are the same for all segments.
pub(super) struct Context<'a> {
    pub(super) connection: Connection,
    pub(super) process: &'a Process,
    pub(super) keys: &'a KeyLog,
}

impl Reassembly {
    /// Returns the number of segments that wait.
    pub(super) fn waiting(&self) -> usize {
        self.pending.len()
    }

    /// Processes a segment that the client sent.
    pub(super) fn sent(
        &mut self,
        mut segment: PendingSegment,
        syn: bool,
        context: &Context<'_>,
        pending_bytes: &mut usize,
        out: &mut VecDeque<Event>,
    ) {
        if syn {
            // A SYN occupies one sequence number. It can carry data (RFC 7413).
            segment.seq = segment.seq.wrapping_add(1);
            self.opened = Some(segment.seq);
        }
        // A probe of keep-alive repeats the byte before the next one (RFC 9293,
        // section 3.8.4). As the first packet it would look like a send.
        let is_probe = self.next.is_none()
            && segment.len == 1
            && !segment.push
            && matches!(segment.payload[..], [] | [0]);
        if is_probe {
            return;
        }
        if self.next.is_none() && (syn || segment.len > 0) {
            self.next = Some((1 << 32) + u64::from(segment.seq));
            self.at_send_start = true;
        }
        if segment.len == 0 {
            return;
        }
        let first = self.pending.values().next().map_or(segment.time, |first| first.time);
        let too_late = segment.time.since(first) > MAX_WAIT;
        let position = self.position(segment.seq);
        if self.next.is_some_and(|next| position > next) {
            // A copy, because the slice would keep its whole block in memory.
            segment.payload = Bytes::copy_from_slice(&segment.payload);
        }
        // Ignored if the same bytes wait already.
        let is_repeated = self
            .pending
            .get(&position)
            .is_some_and(|pending| pending.payload.len() >= segment.payload.len());
        if !is_repeated {
            *pending_bytes += segment.cost();
            let shorter = self.pending.insert(position, segment);
            *pending_bytes -= shorter.map_or(0, |shorter| shorter.cost());
        }
        self.emit_ready(context, pending_bytes, out);
        let mut too_many = too_late;
        while too_many || self.pending.len() > MAX_PENDING || *pending_bytes > MAX_PENDING_BYTES {
            if !self.release(context, pending_bytes, out) {
                return;
            }
            too_many = false;
        }
    }

    /// Processes an acknowledgment: the server has received everything up to
    /// `ack`, so the capture lost what is missing of it. `answers` is set if it sent data as
    /// well.
    pub(super) fn acknowledged(
        &mut self,
        ack: u32,
        answers: bool,
        context: &Context<'_>,
        pending_bytes: &mut usize,
        out: &mut VecDeque<Event>,
    ) {
        let end = self.position(ack);
        while self.pending.first_key_value().is_some_and(|(&position, _)| position < end) {
            self.release(context, pending_bytes, out);
        }
        if answers {
            self.answered = Some(ack);
        }
    }

    /// Converts a sequence number to the position that is nearest to the next
    /// byte.
    fn position(&self, seq: u32) -> u64 {
        let next = self.next.unwrap_or(1 << 32);
        // Serial number arithmetic (RFC 1982).
        next.saturating_add_signed(i64::from(seq.wrapping_sub(next as u32).cast_signed()))
    }

    /// Emits the first waiting segment, leaving a gap before it, and those that
    /// follow it without a gap. Returns `false` if none waits.
    pub(super) fn release(
        &mut self,
        context: &Context<'_>,
        pending_bytes: &mut usize,
        out: &mut VecDeque<Event>,
    ) -> bool {
        let Some((position, first)) = self.pending.pop_first() else {
            return false;
        };
        *pending_bytes -= first.cost();
        if let Some(opened) = self.opened.filter(|_| !self.has_emitted) {
            // An empty record at the start of the stream, from which the missing
            // bytes are counted.
            let start = PendingSegment {
                time: first.time,
                seq: opened,
                payload: Bytes::new(),
                len: 0,
                push: false,
            };
            out.push_back(Event::Sent(context.record(start, 0)));
        }
        // The missing segment may have ended a send or not. What follows an answer starts one.
        self.at_send_start = self.answered == Some(first.seq);
        self.emit(position, first, context, out);
        self.emit_ready(context, pending_bytes, out);
        true
    }

    /// Emits the segments that need not wait any longer.
    fn emit_ready(
        &mut self,
        context: &Context<'_>,
        pending_bytes: &mut usize,
        out: &mut VecDeque<Event>,
    ) {
        while let Some(entry) = self.pending.first_entry()
            && self.next.is_none_or(|next| *entry.key() <= next)
        {
            let (position, segment) = entry.remove_entry();
            *pending_bytes -= segment.cost();
            self.emit(position, segment, context, out);
        }
    }

    fn emit(
        &mut self,
        position: u64,
        segment: PendingSegment,
        context: &Context<'_>,
        out: &mut VecDeque<Event>,
    ) {
        let end = position.saturating_add(segment.len.into());
        let next = self.next.unwrap_or(position);
        let is_new = end > next;
        // A segment within a send has an offset. Only the fact that it is not 0
        // is known.
        let offset = u32::from(!(self.at_send_start && is_new));
        self.has_emitted = true;
        let mut plaintexts = Vec::new();
        if is_new {
            self.next = Some(end);
            // The last segment of a send is marked (RFC 9293, section 3.9.1.2).
            self.at_send_start = segment.push;
            let old = usize::try_from(next.saturating_sub(position)).unwrap_or(usize::MAX);
            let known = segment.payload.get(old..).unwrap_or_default();
            self.tls.gap(position.saturating_sub(next), &mut plaintexts);
            self.tls.data(known, context.keys, &mut plaintexts);
            let cut = u64::from(segment.len).saturating_sub(segment.payload.len().max(old) as u64);
            self.tls.gap(cut, &mut plaintexts);
        }
        let time = segment.time;
        let mut record = context.record(segment, offset);
        // The plaintext has its own records, as with probes on a TLS library.
        record.within_tls = self.tls.is_open().then_some(context.connection.key);
        out.push_back(Event::Sent(record));
        for plaintext in plaintexts {
            out.push_back(Event::Sent(self.plaintext(plaintext, time, context)));
        }
    }

    /// Returns the record of decrypted bytes.
    fn plaintext(&mut self, plaintext: Plaintext, time: BootTime, context: &Context<'_>) -> Record {
        let Plaintext { bytes, len, continues } = plaintext;
        let connection = Connection { transport: Transport::Tls, ..context.connection };
        let segment =
            PendingSegment { time, seq: self.plaintext_seq, payload: bytes, len, push: false };
        self.plaintext_seq = self.plaintext_seq.wrapping_add(len);
        Context { connection, ..*context }.record(segment, u32::from(continues))
    }
}

impl Context<'_> {
    /// Returns the record of a segment that starts `offset` bytes into a send.
    fn record(&self, segment: PendingSegment, offset: u32) -> Record {
        let PendingSegment { time, seq, payload, len, .. } = segment;
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
