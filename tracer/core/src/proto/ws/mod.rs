//! The client side of WebSocket (RFC 6455), with permessage-deflate (RFC 7692).
//!
//! ```text
//! FIN RSV1 RSV2 RSV3 opcode(4) │ MASK length(7) │ length(16 or 64) │ key(32) │ payload
//! ```
//!
//! A client masks every payload with a key that precedes it. A message consists
//! of one or more frames, possibly with control frames in between. RSV1 in the
//! first frame of a message marks it as compressed, so the server's answer,
//! which is not captured, is not needed.
//!
//! The reason in a Close frame, and what a Ping or Pong carries, are messages of their
//! own, if they are long enough to name a host.

mod inflate;
#[cfg(test)]
mod tests;

use self::inflate::Inflate;
use super::pieces::Pieces;
use super::{Body, Protocol, Request};
use crate::record::BootTime;

/// Maximum number of bytes kept per message, after decompression. The rest is
/// counted as a gap.
pub const MAX_MESSAGE: usize = 1 << 20;

/// Maximum length of a frame header: two bytes, a 64-bit length, a key.
const MAX_HEADER: usize = 14;

/// Maximum payload length of a control frame (RFC 6455 section 5.5).
const MAX_CONTROL: u64 = 125;

/// Minimum length of a payload of a control frame that is reported. Shorter ones count
/// pings.
const MIN_CONTROL: usize = 6;

/// Minimum length of text by which frames are recognised after a loss.
const MIN_RECOVERY_TEXT: usize = 16;

/// The declared type of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Arbitrary bytes.
    Binary,
}

/// A message from a client, unmasked and decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Time at which the first byte was sent.
    pub time: BootTime,
    /// Text or binary.
    pub kind: MessageKind,
    /// The known content. A message whose end was not captured has a gap of
    /// unknown length there.
    pub body: Body,
    /// Number of unknown bytes, as far as they can be counted.
    pub unread_bytes: u64,
}

impl Message {
    /// Reports whether the whole message is known.
    pub fn complete(&self) -> bool {
        self.body.gaps.is_empty()
    }

    /// Converts the message to a request with the head of its `handshake`,
    /// which identifies sender and recipient.
    pub fn into_request(self, handshake: &Request) -> Request {
        Request {
            time: self.time,
            protocol: Protocol::WebSocket,
            method: handshake.method.clone(),
            authority: handshake.authority.clone(),
            path: handshake.path.clone(),
            headers: handshake.headers.clone(),
            partial: handshake.partial.clone(),
            head_cut: handshake.head_cut,
            complete: handshake.head_cut.is_none() && self.complete(),
            unread_bytes: self.unread_bytes,
            body: self.body,
            update: false,
            never_sent: handshake.never_sent,
        }
    }
}

/// Reports whether a handshake, as far as it is known, permits the client to
/// compress: `Sec-WebSocket-Extensions` offers it, or may do so in an unknown
/// part.
pub fn may_deflate(handshake: &Request) -> bool {
    let offer = |value: &[u8]| {
        let name = |extension: &[u8]| {
            let name = extension.split(|&b| b == b';').next().unwrap_or_default();
            name.trim_ascii().eq_ignore_ascii_case(b"permessage-deflate")
        };
        value.split(|&b| b == b',').any(name)
    };
    let mut fields = handshake
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case(b"sec-websocket-extensions"));
    handshake.head_cut.is_some() || fields.any(|header| offer(&header.value))
}

/// Decodes the data that a client sends after its handshake.
#[derive(Debug)]
pub struct Decoder {
    state: FramingState,
    /// The message being sent.
    message: Option<Assembly>,
    /// The payload of the control frame being sent.
    control: Option<Assembly>,
    /// Set if the client may compress.
    deflate: bool,
    context: CompressionContext,
    unread: u64,
}

#[derive(Debug)]
enum FramingState {
    /// In a frame header, of which `len` bytes were received.
    Header { bytes: [u8; MAX_HEADER], len: usize },
    /// In a payload.
    Payload(Frame),
    /// Unknown, until a send reveals the start of a frame.
    Lost,
}

impl FramingState {
    const BOUNDARY: FramingState = FramingState::Header { bytes: [0; MAX_HEADER], len: 0 };
}

/// A frame whose payload is being read.
#[derive(Debug, Clone, Copy)]
struct Frame {
    control: bool,
    /// Set if the payload starts with a status of two bytes.
    has_status: bool,
    fin: bool,
    key: [u8; 4],
    /// Number of payload bytes processed.
    at: u64,
    len: u64,
}

/// A message being assembled.
#[derive(Debug)]
struct Assembly {
    time: BootTime,
    kind: MessageKind,
    compressed: bool,
    /// Set if the message is compressed and cannot be read any further.
    broken: bool,
    body: Pieces,
}

/// The compression context between messages.
#[derive(Debug, Default)]
struct CompressionContext {
    /// Created with the first compressed message.
    inflate: Option<Box<Inflate>>,
    /// Set if compressed data may have been sent before `inflate` was created.
    lost: bool,
}

/// A frame header that a client cannot send.
struct Invalid;

impl Decoder {
    /// Creates a decoder for the data after a handshake; see [`may_deflate`].
    pub fn new(deflate: bool) -> Decoder {
        Decoder {
            state: FramingState::BOUNDARY,
            message: None,
            control: None,
            deflate,
            context: CompressionContext::default(),
            unread: 0,
        }
    }

    /// Processes the next bytes, sent at `time`. `begins_send` is set at the
    /// start of a send, where lost framing can be recovered.
    pub fn data(
        &mut self,
        bytes: &[u8],
        begins_send: bool,
        time: BootTime,
        out: &mut Vec<Message>,
    ) {
        let lost = matches!(self.state, FramingState::Lost);
        if lost && !(begins_send && self.resynchronise(bytes, time)) {
            self.unread = self.unread.saturating_add(bytes.len() as u64);
            return;
        }
        self.read(bytes, time, out);
    }

    /// Processes a gap of `len` bytes; `None` if the length is unknown.
    pub fn gap(&mut self, len: Option<u64>, out: &mut Vec<Message>) {
        let mut missing = len;
        if let FramingState::Payload(frame) = self.state {
            // The payload length bounds the number of bytes missing in the
            // payload.
            let left = frame.len - frame.at;
            let here = len.map_or(left, |len| len.min(left));
            self.skip(frame, here, out);
            missing = len.map(|len| len - here);
        }
        if missing != Some(0) {
            self.unread = self.unread.saturating_add(missing.unwrap_or(0));
            self.lose(out);
        }
    }

    /// Ends the stream and emits the known part of an unfinished message.
    pub fn end(&mut self, out: &mut Vec<Message>) {
        self.lose(out);
    }

    /// Returns the number of bytes buffered for an unfinished message.
    pub fn buffered(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.body.data().len())
    }

    /// Returns the number of bytes that belong to no message, because frames
    /// could not be located or decompressed.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    fn read(&mut self, mut bytes: &[u8], time: BootTime, out: &mut Vec<Message>) {
        while !bytes.is_empty() {
            match &mut self.state {
                FramingState::Lost => {
                    self.unread = self.unread.saturating_add(bytes.len() as u64);
                    return;
                }
                FramingState::Header { bytes: header, len } => {
                    let (first, rest) = bytes.split_at(1);
                    header[*len] = first[0];
                    *len += 1;
                    bytes = rest;
                    if *len == header_len(header) {
                        let header = *header;
                        self.open(&header, time, out);
                    }
                }
                FramingState::Payload(frame) => {
                    let frame = *frame;
                    let left = usize::try_from(frame.len - frame.at).unwrap_or(usize::MAX);
                    let (payload, rest) = bytes.split_at(bytes.len().min(left));
                    self.payload(frame, payload, out);
                    bytes = rest;
                }
            }
        }
    }

    /// Starts a frame after its complete header.
    fn open(&mut self, header: &[u8; MAX_HEADER], time: BootTime, out: &mut Vec<Message>) {
        match self.begin(header, time) {
            Err(Invalid) => self.lose(out),
            Ok(frame) if frame.len == 0 => self.close(frame, out),
            Ok(frame) => self.state = FramingState::Payload(frame),
        }
    }

    /// Parses a frame header (RFC 6455 section 5.2).
    fn begin(&mut self, header: &[u8; MAX_HEADER], time: BootTime) -> Result<Frame, Invalid> {
        let [first, second, ..] = *header;
        let (fin, rsv1, opcode) = (first & 0x80 != 0, first & 0x40 != 0, first & 0x0f);
        let len = match second & 0x7f {
            126 => u64::from(u16::from_be_bytes([header[2], header[3]])),
            127 => {
                let [_, _, len @ .., _, _, _, _] = *header;
                u64::from_be_bytes(len)
            }
            len => u64::from(len),
        };
        let key_at = header_len(header) - 4;
        let key = [header[key_at], header[key_at + 1], header[key_at + 2], header[key_at + 3]];
        let masked = second & 0x80 != 0;
        if !masked || first & 0x30 != 0 || len >> 63 != 0 {
            return Err(Invalid);
        }
        let control = match opcode {
            0x0 if self.message.is_some() && !rsv1 => false,
            0x1 | 0x2 if self.message.is_none() && (!rsv1 || self.deflate) => {
                let kind = if opcode == 0x1 { MessageKind::Text } else { MessageKind::Binary };
                self.message = Some(Assembly::new(time, kind, rsv1));
                false
            }
            0x8..=0xa if fin && !rsv1 && len <= MAX_CONTROL => {
                let kind = if opcode == 0x8 { MessageKind::Text } else { MessageKind::Binary };
                self.control = Some(Assembly::new(time, kind, false));
                true
            }
            _ => return Err(Invalid),
        };
        Ok(Frame { control, has_status: opcode == 0x8, fin, key, at: 0, len })
    }

    /// Processes bytes of a payload.
    fn payload(&mut self, mut frame: Frame, masked: &[u8], out: &mut Vec<Message>) {
        let into = if frame.control { &mut self.control } else { &mut self.message };
        if let Some(message) = into {
            if message.broken {
                self.unread = self.unread.saturating_add(masked.len() as u64);
            }
            // The position in the key depends only on the position in the
            // payload, so gaps do not disturb it.
            let key_at = (frame.at % 4) as usize;
            let key = frame.key.iter().cycle().skip(key_at);
            let bytes: Vec<u8> = masked.iter().zip(key).map(|(byte, key)| byte ^ key).collect();
            let status = if frame.has_status { 2u64.saturating_sub(frame.at) as usize } else { 0 };
            message.push(bytes.get(status..).unwrap_or_default(), &mut self.context);
        }
        frame.at += masked.len() as u64;
        self.advance(frame, out);
    }

    /// Skips missing bytes of a payload.
    fn skip(&mut self, mut frame: Frame, len: u64, out: &mut Vec<Message>) {
        let into = if frame.control { &mut self.control } else { &mut self.message };
        if let Some(message) = into {
            message.skip(Some(len), &mut self.context);
        }
        frame.at += len;
        self.advance(frame, out);
    }

    fn advance(&mut self, frame: Frame, out: &mut Vec<Message>) {
        if frame.at == frame.len {
            self.close(frame, out);
        } else {
            self.state = FramingState::Payload(frame);
        }
    }

    fn close(&mut self, frame: Frame, out: &mut Vec<Message>) {
        self.state = FramingState::BOUNDARY;
        if frame.control {
            let payload = self.control.take().map(|m| m.finish(&mut self.context));
            out.extend(payload.filter(|it| it.body.data.len() >= MIN_CONTROL));
        } else if frame.fin {
            let finished = self.message.take().map(|m| m.finish(&mut self.context));
            out.extend(finished);
        }
    }

    /// Loses the framing. Emits the known part of a message, and discards the
    /// compression context.
    fn lose(&mut self, out: &mut Vec<Message>) {
        if let Some(mut message) = self.message.take() {
            message.skip(None, &mut self.context);
            out.push(message.finish(&mut self.context));
        }
        self.control = None;
        self.context = CompressionContext::LOST;
        self.state = FramingState::Lost;
    }

    /// Recovers the framing after a loss, from a send that consists exactly of
    /// frames and contains a message of readable text. Returns whether `bytes`
    /// should be read.
    ///
    /// A frame header has few fixed bits, but text masked with the wrong key is
    /// as good as random. 16 bytes of text are therefore strong evidence.
    fn resynchronise(&mut self, bytes: &[u8], time: BootTime) -> bool {
        let mut trial = Decoder { context: CompressionContext::LOST, ..Decoder::new(self.deflate) };
        let mut messages = Vec::new();
        trial.read(bytes, time, &mut messages);
        let whole =
            matches!(trial.state, FramingState::Header { len: 0, .. }) && trial.message.is_none();
        if whole && messages.iter().any(is_readable_text) {
            self.state = FramingState::BOUNDARY;
            return true;
        }
        false
    }
}

/// Returns the length of a frame header, which its second byte determines.
fn header_len(header: &[u8; MAX_HEADER]) -> usize {
    let length = match header[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + 4
}

/// Reports whether the message is certainly text.
fn is_readable_text(message: &Message) -> bool {
    let prefix = message.body.prefix();
    let control = |b: &u8| b.is_ascii_control() && !matches!(b, b'\t' | b'\n' | b'\r');
    message.kind == MessageKind::Text
        && prefix.len() >= MIN_RECOVERY_TEXT
        && !prefix.iter().any(control)
        && str::from_utf8(prefix).is_ok()
}

impl Assembly {
    fn new(time: BootTime, kind: MessageKind, compressed: bool) -> Self {
        Self { time, kind, compressed, broken: false, body: Pieces::default() }
    }

    fn push(&mut self, bytes: &[u8], context: &mut CompressionContext) {
        if !self.compressed {
            self.body.push(bytes, MAX_MESSAGE);
        } else if !self.broken && context.inflate().push(bytes, &mut self.body).is_err() {
            self.cut(context);
        }
    }

    fn skip(&mut self, len: Option<u64>, context: &mut CompressionContext) {
        if !self.compressed {
            self.body.skip(len);
        } else if !self.broken {
            self.cut(context);
        }
    }

    /// Abandons the rest of a compressed message, whose length is unknown as
    /// well.
    fn cut(&mut self, context: &mut CompressionContext) {
        self.body.skip(None);
        self.broken = true;
        *context = CompressionContext::LOST;
    }

    fn finish(mut self, context: &mut CompressionContext) -> Message {
        if self.compressed && !self.broken && context.inflate().finish(&mut self.body).is_err() {
            self.cut(context);
        }
        Message {
            time: self.time,
            kind: self.kind,
            unread_bytes: self.body.unread(),
            body: self.body.into_body(),
        }
    }
}

impl CompressionContext {
    const LOST: CompressionContext = CompressionContext { inflate: None, lost: true };

    fn inflate(&mut self) -> &mut Inflate {
        let lost = self.lost;
        let new = || {
            if lost { Inflate::lost() } else { Inflate::new() }
        };
        self.inflate.get_or_insert_with(|| Box::new(new()))
    }
}
