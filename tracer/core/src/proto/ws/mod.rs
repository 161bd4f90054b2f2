//! WebSocket, the client's side (RFC 6455), with permessage-deflate
//! (RFC 7692).
//!
//! ```text
//! FIN RSV1 RSV2 RSV3 opcode(4) │ MASK length(7) │ length(16 or 64) │ key(32) │ payload
//! ```
//!
//! A client masks every payload with a key that stands before it. A message is
//! one frame or several, and control frames may stand between them. RSV1 on a
//! message's first frame says that it is compressed: so the server's answer,
//! which we do not see, is not needed.

mod inflate;
#[cfg(test)]
mod tests;

use self::inflate::Inflate;
use super::pieces::Pieces;
use super::{Body, Protocol, Request};
use crate::record::BootTime;

/// The most bytes kept of a message, decompressed. What is beyond is counted
/// as a gap.
pub const MAX_MESSAGE: usize = 1 << 20;

/// The longest frame header: two bytes, a 64-bit length, a key.
const MAX_HEADER: usize = 14;

/// The longest payload of a control frame (RFC 6455 section 5.5).
const MAX_CONTROL: u64 = 125;

/// The text that bytes after a loss must hold to be taken for frames.
const CONVINCING_TEXT: usize = 16;

/// What a message holds, by its sender's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UTF-8 text.
    Text,
    /// Anything.
    Binary,
}

/// One message of a client, unmasked and decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// When its first byte was sent.
    pub time: BootTime,
    /// Text or binary.
    pub kind: Kind,
    /// What is known of it. A message whose end nobody saw has a gap of
    /// unknown length there.
    pub body: Body,
    /// How many bytes of it are not known, as far as they can be counted.
    pub unread_bytes: u64,
}

impl Message {
    /// All of the message is known.
    pub fn complete(&self) -> bool {
        self.body.gaps.is_empty()
    }

    /// The message as a request under the head of its `handshake`, which says
    /// who sent it and where to.
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
        }
    }
}

/// Whether a handshake, as far as it is known, lets the client compress: its
/// `Sec-WebSocket-Extensions` offers it, or may do so unseen.
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

/// Decodes what a client sends after its handshake.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// The message being sent.
    message: Option<Assembly>,
    /// The client may compress.
    deflate: bool,
    context: Context,
    unread: u64,
}

#[derive(Debug)]
enum State {
    /// In a frame header, of which `len` bytes are here.
    Header { bytes: [u8; MAX_HEADER], len: usize },
    /// In a payload.
    Payload(Frame),
    /// Nobody knows where a frame begins: waiting for a send that shows it.
    Lost,
}

impl State {
    const BOUNDARY: State = State::Header { bytes: [0; MAX_HEADER], len: 0 };
}

/// A frame whose payload is being read.
#[derive(Debug, Clone, Copy)]
struct Frame {
    control: bool,
    fin: bool,
    key: [u8; 4],
    /// How many bytes of payload are passed.
    at: u64,
    len: u64,
}

/// A message being put together.
#[derive(Debug)]
struct Assembly {
    time: BootTime,
    kind: Kind,
    compressed: bool,
    /// It is compressed and cannot be read any further.
    broken: bool,
    body: Pieces,
}

/// The compression context between messages.
#[derive(Debug, Default)]
struct Context {
    /// Made when the first compressed message comes.
    inflate: Option<Box<Inflate>>,
    /// Something compressed may have been sent before `inflate` was made.
    lost: bool,
}

/// A frame header that no client sends.
struct Invalid;

impl Decoder {
    /// A decoder for what follows a handshake; see [`may_deflate`].
    pub fn new(deflate: bool) -> Decoder {
        Decoder {
            state: State::BOUNDARY,
            message: None,
            deflate,
            context: Context::default(),
            unread: 0,
        }
    }

    /// Takes the next bytes, sent at `time`; `begins_send` where a send begins
    /// with them: only there can lost frames be found again.
    pub fn data(
        &mut self,
        bytes: &[u8],
        begins_send: bool,
        time: BootTime,
        out: &mut Vec<Message>,
    ) {
        let lost = matches!(self.state, State::Lost);
        if lost && !(begins_send && self.resynchronise(bytes, time)) {
            self.unread = self.unread.saturating_add(bytes.len() as u64);
            return;
        }
        self.read(bytes, time, out);
    }

    /// Takes note of `len` bytes that were sent here and are not known, `None`
    /// where nobody can tell how many.
    pub fn gap(&mut self, len: Option<u64>, out: &mut Vec<Message>) {
        let mut missing = len;
        if let State::Payload(frame) = self.state {
            // The payload's length is known: what is missing of it is not more.
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

    /// The stream ends: gives out what there is of an unfinished message.
    pub fn end(&mut self, out: &mut Vec<Message>) {
        self.lose(out);
    }

    /// How many bytes are kept for an unfinished message.
    pub fn buffered(&self) -> usize {
        self.message.as_ref().map_or(0, |message| message.body.data().len())
    }

    /// How many bytes were sent that are in no message: of frames that could
    /// not be found, or that could not be decompressed.
    pub fn unread(&self) -> u64 {
        self.unread
    }

    fn read(&mut self, mut bytes: &[u8], time: BootTime, out: &mut Vec<Message>) {
        while !bytes.is_empty() {
            match &mut self.state {
                State::Lost => {
                    self.unread = self.unread.saturating_add(bytes.len() as u64);
                    return;
                }
                State::Header { bytes: header, len } => {
                    let (first, rest) = bytes.split_at(1);
                    header[*len] = first[0];
                    *len += 1;
                    bytes = rest;
                    if *len == header_len(header) {
                        let header = *header;
                        self.open(&header, time, out);
                    }
                }
                State::Payload(frame) => {
                    let frame = *frame;
                    let left = usize::try_from(frame.len - frame.at).unwrap_or(usize::MAX);
                    let (payload, rest) = bytes.split_at(bytes.len().min(left));
                    self.payload(frame, payload, out);
                    bytes = rest;
                }
            }
        }
    }

    /// Begins the frame of a whole header.
    fn open(&mut self, header: &[u8; MAX_HEADER], time: BootTime, out: &mut Vec<Message>) {
        match self.begin(header, time) {
            Err(Invalid) => self.lose(out),
            Ok(frame) if frame.len == 0 => self.close(frame, out),
            Ok(frame) => self.state = State::Payload(frame),
        }
    }

    /// Reads a frame header (RFC 6455 section 5.2).
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
                let kind = if opcode == 0x1 { Kind::Text } else { Kind::Binary };
                self.message = Some(Assembly {
                    time,
                    kind,
                    compressed: rsv1,
                    broken: false,
                    body: Pieces::default(),
                });
                false
            }
            0x8..=0xa if fin && !rsv1 && len <= MAX_CONTROL => true,
            _ => return Err(Invalid),
        };
        Ok(Frame { control, fin, key, at: 0, len })
    }

    /// Takes bytes of a payload.
    fn payload(&mut self, mut frame: Frame, masked: &[u8], out: &mut Vec<Message>) {
        if let (false, Some(message)) = (frame.control, &mut self.message) {
            if message.broken {
                self.unread = self.unread.saturating_add(masked.len() as u64);
            }
            // The key's turn depends on the place in the payload alone, so a
            // gap does not disturb it.
            let turn = (frame.at % 4) as usize;
            let key = frame.key.iter().cycle().skip(turn);
            let bytes: Vec<u8> = masked.iter().zip(key).map(|(byte, key)| byte ^ key).collect();
            message.push(&bytes, &mut self.context);
        }
        frame.at += masked.len() as u64;
        self.advance(frame, out);
    }

    /// Passes bytes of a payload that are missing.
    fn skip(&mut self, mut frame: Frame, len: u64, out: &mut Vec<Message>) {
        if let (false, Some(message)) = (frame.control, &mut self.message) {
            message.skip(Some(len), &mut self.context);
        }
        frame.at += len;
        self.advance(frame, out);
    }

    fn advance(&mut self, frame: Frame, out: &mut Vec<Message>) {
        if frame.at == frame.len {
            self.close(frame, out);
        } else {
            self.state = State::Payload(frame);
        }
    }

    fn close(&mut self, frame: Frame, out: &mut Vec<Message>) {
        self.state = State::BOUNDARY;
        if frame.fin && !frame.control {
            let finished = self.message.take().map(|m| m.finish(&mut self.context));
            out.extend(finished);
        }
    }

    /// The frames are lost: gives out what there is of a message, and takes
    /// the compression context for lost with them.
    fn lose(&mut self, out: &mut Vec<Message>) {
        if let Some(mut message) = self.message.take() {
            message.skip(None, &mut self.context);
            out.push(message.finish(&mut self.context));
        }
        self.context = Context::LOST;
        self.state = State::Lost;
    }

    /// After a loss, finds the frames again in a send that they fill exactly
    /// and that holds a message of readable text. True: `bytes` are to be read.
    ///
    /// A frame header has few fixed bits, but text masked with the wrong key
    /// is as good as random: that 16 bytes of it are text is no accident.
    fn resynchronise(&mut self, bytes: &[u8], time: BootTime) -> bool {
        let mut trial = Decoder { context: Context::LOST, ..Decoder::new(self.deflate) };
        let mut messages = Vec::new();
        trial.read(bytes, time, &mut messages);
        let whole = matches!(trial.state, State::Header { len: 0, .. }) && trial.message.is_none();
        if whole && messages.iter().any(convincing) {
            self.state = State::BOUNDARY;
            return true;
        }
        false
    }
}

/// How long a frame header is, by its second byte.
fn header_len(header: &[u8; MAX_HEADER]) -> usize {
    let length = match header[1] & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    2 + length + 4
}

/// The message is text for certain.
fn convincing(message: &Message) -> bool {
    let prefix = message.body.prefix();
    let control = |b: &u8| b.is_ascii_control() && !matches!(b, b'\t' | b'\n' | b'\r');
    message.kind == Kind::Text
        && prefix.len() >= CONVINCING_TEXT
        && !prefix.iter().any(control)
        && str::from_utf8(prefix).is_ok()
}

impl Assembly {
    fn push(&mut self, bytes: &[u8], context: &mut Context) {
        if !self.compressed {
            self.body.push(bytes, MAX_MESSAGE);
        } else if !self.broken && context.inflate().push(bytes, &mut self.body).is_err() {
            self.cut(context);
        }
    }

    fn skip(&mut self, len: Option<u64>, context: &mut Context) {
        if !self.compressed {
            self.body.skip(len);
        } else if !self.broken {
            self.cut(context);
        }
    }

    /// The rest of a compressed message cannot be read, nor how long it is.
    fn cut(&mut self, context: &mut Context) {
        self.body.skip(None);
        self.broken = true;
        *context = Context::LOST;
    }

    fn finish(mut self, context: &mut Context) -> Message {
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

impl Context {
    const LOST: Context = Context { inflate: None, lost: true };

    fn inflate(&mut self) -> &mut Inflate {
        let lost = self.lost;
        let new = || {
            if lost { Inflate::lost() } else { Inflate::new() }
        };
        self.inflate.get_or_insert_with(|| Box::new(new()))
    }
}
