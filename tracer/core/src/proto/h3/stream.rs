//! The streams of a connection.

use super::Counters;
use super::frame::{Event, FrameReader, FrameType, is_reserved};
use super::request::RequestStream;
use crate::proto::quic::reassembly::Reassembly;
use crate::record::BootTime;

/// An open stream.
#[derive(Debug)]
pub(super) struct Stream {
    /// Time of the most recent frame.
    pub(super) last: BootTime,
    pub(super) data: Reassembly,
    /// Bytes in order that wait until the stream is no longer blocked.
    pub(super) held: Vec<u8>,
    pub(super) kind: Kind,
    /// Time since which bytes are missing.
    waiting: Option<BootTime>,
}

/// The meaning of the bytes of a stream.
#[derive(Debug)]
pub(super) enum Kind {
    Request(Box<RequestStream>),
    /// A stream in one direction, whose type was received in part.
    Untyped(Vec<u8>),
    Control(FrameReader),
    Encoder,
    /// A stream whose meaning is known and of no interest.
    Read,
    WebTransport,
    Unknown,
}

impl Kind {
    /// Returns the kind of a stream of this type (RFC 9114 section 6.2; RFC 9204
    /// section 4.2; draft-ietf-webtrans-http3 section 4.1). A connection has one
    /// encoder stream.
    pub(super) fn from_type(number: u64, no_encoder: bool) -> Self {
        match number {
            0x00 => Self::Control(FrameReader::default()),
            0x02 if no_encoder => Self::Encoder,
            0x03 => Self::Read,
            0x54 => Self::WebTransport,
            _ if is_reserved(number) => Self::Read,
            _ => Self::Unknown,
        }
    }

    pub(super) fn is_webtransport(&self) -> bool {
        matches!(self, Self::WebTransport)
    }
}

impl Stream {
    pub(super) fn new(id: u64, time: BootTime) -> Self {
        let kind = match id & 3 {
            0 => Kind::Request(Box::new(RequestStream::new(time))),
            2 => Kind::Untyped(Vec::new()),
            _ => Kind::Unknown,
        };
        Self { last: time, data: Reassembly::default(), held: Vec::new(), kind, waiting: None }
    }

    /// Takes the next bytes, unless the stream is blocked.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        if self.blocked().is_some() {
            return None;
        }
        match self.held.is_empty() {
            true => self.data.take(),
            false => Some(std::mem::take(&mut self.held)),
        }
    }

    /// Notes that the next bytes arrived.
    pub(super) fn made_progress(&mut self) {
        self.waiting = None;
    }

    /// Notes whether bytes are missing now.
    pub(super) fn note_waiting(&mut self, time: BootTime) {
        match self.data.is_waiting() {
            true => self.waiting = self.waiting.or(Some(time)),
            false => self.waiting = None,
        }
    }

    /// Returns the time since which a head waits for insertions.
    pub(super) fn blocked(&self) -> Option<BootTime> {
        match &self.kind {
            Kind::Request(request) => request.blocked(),
            _ => None,
        }
    }

    /// Returns the time since which bytes or insertions are missing.
    pub(super) fn waits_since(&self) -> Option<BootTime> {
        self.blocked().or(self.waiting)
    }

    /// Reports whether everything up to the end was processed.
    pub(super) fn is_finished(&self) -> bool {
        self.data.is_finished() && self.held.is_empty() && self.blocked().is_none()
    }

    /// Returns the number of bytes buffered.
    pub(super) fn buffered(&self) -> usize {
        let kind = match &self.kind {
            Kind::Request(request) => request.buffered(),
            Kind::Untyped(prefix) => prefix.len(),
            _ => 0,
        };
        self.data.buffered() + self.held.len() + kind
    }
}

/// Returns the length of the stream type that starts with these bytes.
pub(super) fn type_len(prefix: &[u8], bytes: &[u8]) -> usize {
    prefix.first().or(bytes.first()).map_or(1, |first| 1 << (first >> 6))
}

/// Reads the frames of a control stream (RFC 9114 section 6.2.1).
pub(super) fn control(frames: &mut FrameReader, mut bytes: &[u8], counters: &mut Counters) {
    while let Some(event) = frames.next(&mut bytes) {
        match event {
            Event::Ends(FrameType::GoAway) => counters.goaways += 1,
            Event::Ends(FrameType::PriorityUpdate) => counters.priority_updates += 1,
            Event::Begins(FrameType::Unknown, header) => {
                counters.unknown_frames += 1;
                counters.unread_bytes += header as u64;
            }
            Event::Data(FrameType::Unknown, bytes) | Event::Lost(bytes) => {
                counters.unread_bytes += bytes.len() as u64;
            }
            _ => {}
        }
    }
}
