//! Frame headers (RFC 9113 section 4.1), and which ones a client can send.
//!
//! ```text
//! length (24) │ type (8) │ flags (8) │ R (1) stream (31) │ payload
//! ```

/// What a client sends first (RFC 9113 section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of a frame header.
pub(super) const HEADER_LEN: usize = 9;

/// The longest payload that a peer takes unless it said otherwise
/// (RFC 9113 section 6.5.2).
const DEFAULT_MAX_PAYLOAD: u32 = 1 << 14;

/// END_STREAM on DATA and HEADERS.
pub(super) const END_STREAM: u8 = 0x01;
/// ACK on SETTINGS and PING.
const ACK: u8 = 0x01;
/// END_HEADERS on HEADERS and CONTINUATION.
pub(super) const END_HEADERS: u8 = 0x04;
/// PADDED on DATA and HEADERS.
pub(super) const PADDED: u8 = 0x08;
/// PRIORITY on HEADERS.
pub(super) const PRIORITY: u8 = 0x20;

/// A frame's type (RFC 9113 section 6, RFC 9218 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Data,
    Headers,
    Priority,
    RstStream,
    Settings,
    PushPromise,
    Ping,
    GoAway,
    WindowUpdate,
    Continuation,
    PriorityUpdate,
    /// An extension's frame: skipped (RFC 9113 section 5.5).
    Unknown,
}

/// A frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// The payload's length.
    pub(super) len: u32,
    pub(super) kind: Kind,
    pub(super) flags: u8,
    /// The reserved bit before the stream's number.
    reserved: bool,
    pub(super) stream: u32,
}

impl Frame {
    /// Reads a frame header. Any nine bytes are one.
    pub(super) fn parse(bytes: &[u8; HEADER_LEN]) -> Frame {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes;
        let kind = match kind {
            0x00 => Kind::Data,
            0x01 => Kind::Headers,
            0x02 => Kind::Priority,
            0x03 => Kind::RstStream,
            0x04 => Kind::Settings,
            0x05 => Kind::PushPromise,
            0x06 => Kind::Ping,
            0x07 => Kind::GoAway,
            0x08 => Kind::WindowUpdate,
            0x09 => Kind::Continuation,
            0x10 => Kind::PriorityUpdate,
            _ => Kind::Unknown,
        };
        let stream = u32::from_be_bytes([s0, s1, s2, s3]);
        Frame {
            len: u32::from_be_bytes([0, l0, l1, l2]),
            kind,
            flags,
            reserved: stream >> 31 != 0,
            stream: stream & 0x7fff_ffff,
        }
    }

    /// Reads the frame header at the beginning of `bytes`; `None` where they
    /// are too few.
    pub(super) fn first(bytes: &[u8]) -> Option<Frame> {
        bytes.first_chunk().map(Frame::parse)
    }

    /// The frame carries this flag.
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// How many bytes of payload stand before the content: the pad length and
    /// the priority.
    pub(super) fn prefix(&self) -> u32 {
        let padded = u32::from(self.padded());
        let priority = self.kind == Kind::Headers && self.has(PRIORITY);
        padded + if priority { 5 } else { 0 }
    }

    /// The payload begins with a pad length.
    pub(super) fn padded(&self) -> bool {
        matches!(self.kind, Kind::Data | Kind::Headers) && self.has(PADDED)
    }

    /// A client may send this frame: its type, stream and length agree
    /// (RFC 9113 section 6).
    pub(super) fn valid(&self) -> bool {
        let clients_stream = self.stream % 2 == 1;
        match self.kind {
            Kind::Data | Kind::Headers => clients_stream && self.len >= self.prefix(),
            Kind::Continuation => clients_stream,
            Kind::Priority => self.stream != 0 && self.len == 5,
            Kind::RstStream => self.stream != 0 && self.len == 4,
            Kind::Settings => {
                self.stream == 0 && self.len.is_multiple_of(6) && (!self.has(ACK) || self.len == 0)
            }
            Kind::Ping => self.stream == 0 && self.len == 8,
            Kind::GoAway => self.stream == 0 && self.len >= 8,
            Kind::WindowUpdate => self.len == 4,
            Kind::PriorityUpdate => self.stream == 0 && self.len >= 4,
            Kind::PushPromise => false,
            Kind::Unknown => true,
        }
    }

    /// As [`Frame::valid`], and nothing about the header is unusual: no
    /// extension, no flag without a meaning, no large frame. For deciding
    /// whether nine bytes are a frame header at all.
    pub(super) fn usual(&self) -> bool {
        let flags = match self.kind {
            Kind::Data => END_STREAM | PADDED,
            Kind::Headers => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            Kind::Settings | Kind::Ping => ACK,
            Kind::Priority
            | Kind::RstStream
            | Kind::GoAway
            | Kind::WindowUpdate
            | Kind::PriorityUpdate => 0,
            // Never first in a write: browsers send it with its HEADERS.
            Kind::Continuation | Kind::PushPromise | Kind::Unknown => return false,
        };
        self.valid()
            && !self.reserved
            && self.flags & !flags == 0
            && self.len <= DEFAULT_MAX_PAYLOAD
    }
}
