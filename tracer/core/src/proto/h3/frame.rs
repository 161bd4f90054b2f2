//! The frames of a stream (RFC 9114 section 7).
//!
//! ```text
//! type (varint) │ length (varint) │ payload
//! ```

/// A frame type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameType {
    Data,
    Headers,
    GoAway,
    PriorityUpdate,
    /// SETTINGS, CANCEL_PUSH, MAX_PUSH_ID.
    Control,
    /// A type that is reserved to exercise the rule that unknown frames are
    /// skipped (section 7.2.8).
    Reserved,
    /// The start of a WebTransport stream. It has no length: all that follows
    /// belongs to the session (draft-ietf-webtrans-http3 section 4.2).
    WebTransport,
    /// An extension, or no frame at all.
    Unknown,
}

impl FrameType {
    fn new(number: u64) -> Self {
        match number {
            0x00 => Self::Data,
            0x01 => Self::Headers,
            0x03 | 0x04 | 0x0d => Self::Control,
            0x07 => Self::GoAway,
            // RFC 9218 section 7.2.
            0x0f_0700 | 0x0f_0701 => Self::PriorityUpdate,
            0x41 => Self::WebTransport,
            _ if is_reserved(number) => Self::Reserved,
            _ => Self::Unknown,
        }
    }
}

/// Reports whether a number of a frame or stream type is reserved (RFC 9114 sections
/// 6.2.3 and 7.2.8).
pub(super) fn is_reserved(number: u64) -> bool {
    number.checked_sub(0x21).is_some_and(|n| n.is_multiple_of(0x1f))
}

/// Maximum length of a frame header: two integers of eight bytes.
const MAX_HEADER: usize = 16;

/// Reads the frames of a stream.
#[derive(Debug)]
pub(super) struct FrameReader {
    state: State,
}

#[derive(Debug)]
enum State {
    /// In a header, of which `len` bytes were received.
    Header { bytes: [u8; MAX_HEADER], len: usize },
    /// In a payload, of which `left` bytes are to come.
    Payload { kind: FrameType, left: u64 },
    /// At an unknown position, for good.
    Lost,
}

impl State {
    const BOUNDARY: Self = Self::Header { bytes: [0; MAX_HEADER], len: 0 };
}

/// A part of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event<'a> {
    /// The end of a frame header of this length.
    Begins(FrameType, usize),
    /// Bytes of a payload.
    Data(FrameType, &'a [u8]),
    /// The end of a frame.
    Ends(FrameType),
    /// Bytes in no frame.
    Lost(&'a [u8]),
}

/// The part of a gap that belongs to the current frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GapInFrame {
    /// The frame, unless the gap starts between two frames.
    pub(super) kind: Option<FrameType>,
    /// Number of missing bytes in it.
    pub(super) len: u64,
    /// Set if the position of the next frame is lost.
    pub(super) loses_frames: bool,
}

impl Default for FrameReader {
    fn default() -> Self {
        Self { state: State::BOUNDARY }
    }
}

impl FrameReader {
    /// Reads the next part of the stream. Returns `None` if more bytes are needed.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Event<'a>> {
        loop {
            match &mut self.state {
                State::Payload { kind, left: 0 } => {
                    let kind = *kind;
                    self.state = State::BOUNDARY;
                    return Some(Event::Ends(kind));
                }
                _ if bytes.is_empty() => return None,
                State::Lost => return Some(Event::Lost(std::mem::take(bytes))),
                State::Payload { kind, left } => {
                    let len = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    let (data, rest) = bytes.split_at(len);
                    *bytes = rest;
                    *left -= len as u64;
                    return Some(Event::Data(*kind, data));
                }
                State::Header { bytes: header, len } => {
                    let (&byte, rest) = bytes.split_first()?;
                    *bytes = rest;
                    *header.get_mut(*len)? = byte;
                    *len += 1;
                    if let Some((number, left)) = header.get(..*len).and_then(numbers) {
                        let (kind, len) = (FrameType::new(number), *len);
                        let left = if kind == FrameType::WebTransport { u64::MAX } else { left };
                        self.state = State::Payload { kind, left };
                        return Some(Event::Begins(kind, len));
                    }
                }
            }
        }
    }

    /// Processes a gap of `len` bytes.
    pub(super) fn gap(&mut self, len: u64) -> GapInFrame {
        match &mut self.state {
            State::Payload { kind, left } => {
                let within = len.min(*left);
                *left -= within;
                let kind = Some(*kind);
                let loses_frames = len > within;
                if loses_frames {
                    self.state = State::Lost;
                }
                GapInFrame { kind, len: within, loses_frames }
            }
            State::Header { .. } | State::Lost => {
                self.state = State::Lost;
                GapInFrame { kind: None, len: 0, loses_frames: true }
            }
        }
    }

    /// Gives up on the stream, which does not consist of frames.
    pub(super) fn lose(&mut self) {
        self.state = State::Lost;
    }

    /// Reports whether the next byte starts a frame.
    pub(super) fn is_at_boundary(&self) -> bool {
        matches!(self.state, State::Header { len: 0, .. })
    }
}

/// Reads the two numbers of a complete header.
fn numbers(header: &[u8]) -> Option<(u64, u64)> {
    let (kind, rest) = varint(header)?;
    let (len, _) = varint(rest)?;
    Some((kind, len))
}

/// Reads a variable-length integer (RFC 9000 section 16). Returns it and the rest.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let first = bytes.first()?;
    let (number, rest) = bytes.split_at_checked(1 << (first >> 6))?;
    let value = number.iter().fold(0, |value: u64, &byte| value << 8 | u64::from(byte));
    let bits = 8 * number.len() - 2;
    Some((value & ((1 << bits) - 1), rest))
}
