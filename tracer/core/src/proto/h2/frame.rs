//! Frame headers (RFC 9113 section 4.1), and the frames that a client can send.
//!
//! ```text
//! length (24) │ type (8) │ flags (8) │ R (1) stream (31) │ payload
//! ```

/// The client connection preface (RFC 9113 section 3.4).
pub const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length of a frame header.
pub(super) const HEADER_LEN: usize = 9;

/// Default maximum length of a payload (RFC 9113 section 6.5.2).
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

/// A frame type (RFC 9113 section 6, RFC 9218 section 7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameType {
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
    /// An extension frame, which is skipped (RFC 9113 section 5.5).
    Unknown,
}

/// A frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    /// Length of the payload.
    pub(super) len: u32,
    pub(super) kind: FrameType,
    pub(super) flags: u8,
    /// The reserved bit in front of the stream identifier.
    reserved: bool,
    pub(super) stream: u32,
}

impl Frame {
    /// Parses a frame header. Any nine bytes form one.
    pub(super) fn parse(bytes: &[u8; HEADER_LEN]) -> Frame {
        let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = *bytes;
        let kind = match kind {
            0x00 => FrameType::Data,
            0x01 => FrameType::Headers,
            0x02 => FrameType::Priority,
            0x03 => FrameType::RstStream,
            0x04 => FrameType::Settings,
            0x05 => FrameType::PushPromise,
            0x06 => FrameType::Ping,
            0x07 => FrameType::GoAway,
            0x08 => FrameType::WindowUpdate,
            0x09 => FrameType::Continuation,
            0x10 => FrameType::PriorityUpdate,
            _ => FrameType::Unknown,
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

    /// Parses the frame header at the start of `bytes`; `None` if there are too
    /// few.
    pub(super) fn first(bytes: &[u8]) -> Option<Frame> {
        bytes.first_chunk().map(Frame::parse)
    }

    /// Reports whether the flag is set.
    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Returns the number of payload bytes in front of the content: the pad
    /// length and the priority.
    pub(super) fn prefix(&self) -> u32 {
        let padded = u32::from(self.is_padded());
        let priority = self.kind == FrameType::Headers && self.has(PRIORITY);
        padded + if priority { 5 } else { 0 }
    }

    /// Reports whether the payload starts with a pad length.
    pub(super) fn is_padded(&self) -> bool {
        matches!(self.kind, FrameType::Data | FrameType::Headers) && self.has(PADDED)
    }

    /// Reports whether a client may send this frame: its type, stream and
    /// length are consistent (RFC 9113 section 6).
    pub(super) fn is_valid(&self) -> bool {
        let clients_stream = self.stream % 2 == 1;
        match self.kind {
            FrameType::Data | FrameType::Headers => clients_stream && self.len >= self.prefix(),
            FrameType::Continuation => clients_stream,
            FrameType::Priority => self.stream != 0 && self.len == 5,
            FrameType::RstStream => self.stream != 0 && self.len == 4,
            FrameType::Settings => {
                self.stream == 0 && self.len.is_multiple_of(6) && (!self.has(ACK) || self.len == 0)
            }
            FrameType::Ping => self.stream == 0 && self.len == 8,
            FrameType::GoAway => self.stream == 0 && self.len >= 8,
            FrameType::WindowUpdate => self.len == 4,
            FrameType::PriorityUpdate => self.stream == 0 && self.len >= 4,
            FrameType::PushPromise => false,
            FrameType::Unknown => true,
        }
    }

    /// Reports whether the frame is valid and typical: no extension, no
    /// undefined flag, no large payload. This decides whether nine bytes are a
    /// frame header at all.
    pub(super) fn is_typical(&self) -> bool {
        let flags = match self.kind {
            FrameType::Data => END_STREAM | PADDED,
            FrameType::Headers => END_STREAM | END_HEADERS | PADDED | PRIORITY,
            FrameType::Settings | FrameType::Ping => ACK,
            FrameType::Priority
            | FrameType::RstStream
            | FrameType::GoAway
            | FrameType::WindowUpdate
            | FrameType::PriorityUpdate => 0,
            // Never first in a write, since browsers send it together with its
            // HEADERS.
            FrameType::Continuation | FrameType::PushPromise | FrameType::Unknown => return false,
        };
        self.is_valid()
            && !self.reserved
            && self.flags & !flags == 0
            && self.len <= DEFAULT_MAX_PAYLOAD
    }
}
