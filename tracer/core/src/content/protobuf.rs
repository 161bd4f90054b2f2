//! Protocol buffers without their schema.
//!
//! ```text
//! field     tag: number << 3 | wire type (varint) | payload
//! payload   0 varint   1 eight bytes   5 four bytes   2 length (varint), bytes
//!           3, 4 start and end of a group, which nothing new uses
//! ```
//!
//! A length-delimited payload is a message, text or bytes; only the schema
//! would tell. Text comes first, because text that happens to be a message is
//! rare, with one exception: [`is_wrapped_text`].

use super::{chain::Coding, compress, text};

/// How deep a message without a label is looked into for text. One that has
/// its text deeper still is read as bytes of no known format: text comes out.
const MAX_PROBE_DEPTH: usize = 8;

/// Shortest text by which bytes without a label are taken for a message.
const MIN_WITNESS: usize = 6;

/// Field numbers have 29 bits.
const MAX_FIELD_NUMBER: u64 = (1 << 29) - 1;

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'d> {
    pub(super) number: u32,
    /// What a length-delimited field holds; `None` for a number.
    pub(super) payload: Option<&'d [u8]>,
    /// The input ends inside the payload.
    pub(super) cut: bool,
}

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With the input, after a field.
    Complete,
    /// With the input, inside a field.
    Cut,
    /// At bytes that are no field.
    Malformed,
}

/// Reads the fields of a message.
#[derive(Debug, Clone)]
pub(super) struct Fields<'d> {
    input: &'d [u8],
    /// Set when there is no next field.
    end: Option<End>,
}

impl<'d> Fields<'d> {
    pub(super) fn new(input: &'d [u8]) -> Self {
        Self { input, end: None }
    }

    /// How the message ended.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// What is left to read.
    pub(super) fn rest(&self) -> &'d [u8] {
        self.input
    }

    fn field(&mut self) -> Result<Field<'d>, End> {
        let mut at = self.input;
        let tag = varint(&mut at)?;
        let number = tag >> 3;
        if number == 0 || number > MAX_FIELD_NUMBER {
            return Err(End::Malformed);
        }
        let number = u32::try_from(number).map_err(|_| End::Malformed)?;
        let skip = |at: &mut &'d [u8], len: usize| -> Result<(), End> {
            *at = at.get(len..).ok_or(End::Cut)?;
            Ok(())
        };
        let mut field = Field { number, payload: None, cut: false };
        match tag & 7 {
            0 => {
                varint(&mut at)?;
            }
            1 => skip(&mut at, 8)?,
            2 => {
                let len = varint(&mut at)?;
                let len = usize::try_from(len).map_err(|_| End::Malformed)?;
                if i32::try_from(len).is_err() {
                    return Err(End::Malformed);
                }
                field.cut = len > at.len();
                let (payload, rest) = at.split_at(len.min(at.len()));
                field.payload = Some(payload);
                at = rest;
            }
            5 => skip(&mut at, 4)?,
            _ => return Err(End::Malformed),
        }
        self.input = at;
        Ok(field)
    }
}

impl<'d> Iterator for Fields<'d> {
    type Item = Field<'d>;

    fn next(&mut self) -> Option<Field<'d>> {
        if self.end.is_some() {
            return None;
        }
        if self.input.is_empty() {
            self.end = Some(End::Complete);
            return None;
        }
        match self.field() {
            Ok(field) => {
                if field.cut {
                    self.end = Some(End::Cut);
                }
                Some(field)
            }
            Err(end) => {
                self.end = Some(end);
                None
            }
        }
    }
}

/// Reads a varint of at most ten bytes.
fn varint(input: &mut &[u8]) -> Result<u64, End> {
    let mut value = 0u64;
    for (i, &byte) in input.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(7 * i as u32).unwrap_or(0);
        if byte < 0x80 {
            *input = &input[i + 1..];
            return Ok(value);
        }
    }
    Err(if input.len() < 10 { End::Cut } else { End::Malformed })
}

/// Whether every byte belongs to a field. Payloads are not looked into.
fn is_message(input: &[u8], cut: bool) -> bool {
    let mut fields = Fields::new(input);
    let count = fields.by_ref().count();
    match fields.end() {
        Some(End::Complete) => count > 0,
        Some(End::Cut) => cut && count > 0,
        _ => false,
    }
}

/// Whether printable text is a message of one text field.
///
/// Such a message is printable from its first byte on when the text is 32 to
/// 126 bytes long, or 9, 10 or 13: `0a 34 https://…` reads `\n4https://…`. The
/// length has to fit to the byte, which it does for one text in thousands.
fn is_wrapped_text(input: &[u8]) -> bool {
    let mut fields = Fields::new(input);
    let Some(Field { payload: Some(payload), cut: false, .. }) = fields.next() else {
        return false;
    };
    !payload.is_empty() && fields.next().is_none() && fields.end() == Some(End::Complete)
}

/// What a length-delimited payload is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A message of its own.
    Message,
    /// Text, or bytes that are not of this format.
    Other,
}

/// Tells what a payload is. `cut` tells that the input ends inside it.
pub(super) fn classify(payload: &[u8], cut: bool) -> Kind {
    let message = match text::printable(payload, cut) {
        Some(_) => !cut && is_wrapped_text(payload),
        // What begins like a compressed stream may be one that is cut.
        None if cut && compress::magic(payload).is_some() => false,
        None => is_message(payload, cut),
    };
    if message { Kind::Message } else { Kind::Other }
}

/// Whether bytes without a label are a message: every byte belongs to a field
/// and somewhere inside there is text, plain or compressed.
pub(super) fn convincing(input: &[u8], truncated: bool) -> bool {
    is_message(input, truncated) && holds_text(input, MAX_PROBE_DEPTH)
}

/// The same for printable bytes, which can only be text in a field.
pub(super) fn convincing_text(input: &[u8]) -> bool {
    input.first() == Some(&b'\n') && is_wrapped_text(input)
}

fn holds_text(input: &[u8], depth: usize) -> bool {
    Fields::new(input).any(|field| {
        field.payload.is_some_and(|payload| match classify(payload, field.cut) {
            Kind::Message => depth > 0 && holds_text(payload, depth - 1),
            Kind::Other => {
                let printable = text::printable(payload, field.cut).is_some();
                let compressed =
                    matches!(compress::magic(payload), Some(Coding::Gzip | Coding::Zstd));
                compressed || (printable && payload.len() >= MIN_WITNESS)
            }
        })
    })
}

/// One message of a gRPC stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GrpcMessage<'d> {
    pub(super) payload: &'d [u8],
    /// The input ends inside it.
    pub(super) cut: bool,
}

/// The messages of a gRPC stream: `compressed: u8, length: u32, payload`. The
/// compression is left to be found by looking. Stops at what is no message.
pub(super) fn grpc(input: &[u8]) -> impl Iterator<Item = GrpcMessage<'_>> {
    let mut rest = input;
    std::iter::from_fn(move || {
        let [0 | 1, a, b, c, d, content @ ..] = rest else {
            return None;
        };
        let len = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok()?;
        let (payload, behind) = content.split_at(len.min(content.len()));
        rest = behind;
        Some(GrpcMessage { payload, cut: len > payload.len() })
    })
}

/// Whether bytes without a label are such a stream, by a message in it.
pub(super) fn convincing_grpc(input: &[u8], truncated: bool) -> bool {
    is_grpc(input, truncated)
        && grpc(input).any(|message| {
            compress::magic(message.payload).is_some()
                || convincing(message.payload, message.cut)
                || convincing_text(message.payload)
        })
}

/// Whether the lengths of such a stream fit to the byte.
pub(super) fn is_grpc(input: &[u8], truncated: bool) -> bool {
    let mut used = 0;
    let mut cut = false;
    for message in grpc(input) {
        used += 5 + message.payload.len();
        cut |= message.cut;
    }
    used > 5 && used == input.len() && (!cut || truncated)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &[u8] = b"https://news.example.org/politics/story-42?q=private";

    fn field(number: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = vec![number << 3 | 2, payload.len() as u8];
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn reads_every_wire_type() {
        let mut message = vec![0x08, 0x96, 0x01, 0x11];
        message.extend_from_slice(&[0; 8]);
        message.extend_from_slice(&[0x1d, 1, 2, 3, 4]);
        message.extend_from_slice(&field(4, b"text"));
        let mut fields = Fields::new(&message);
        let read: Vec<_> = fields.by_ref().map(|f| (f.number, f.payload)).collect();
        assert_eq!(read, [(1, None), (2, None), (3, None), (4, Some(&b"text"[..]))]);
        assert_eq!(fields.end(), Some(End::Complete));
    }

    #[test]
    fn tells_cut_from_malformed() {
        let end = |input: &[u8]| {
            let mut fields = Fields::new(input);
            fields.by_ref().for_each(drop);
            fields.end()
        };
        assert_eq!(end(&[0x0a, 9, 1]), Some(End::Cut));
        assert_eq!(end(&[0x80]), Some(End::Cut));
        assert_eq!(end(&[0x00, 1]), Some(End::Malformed));
        assert_eq!(end(&[0x0f]), Some(End::Malformed));
        assert_eq!(end(&[0xff; 12]), Some(End::Malformed));
        assert_eq!(end(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f]), Some(End::Malformed));
    }

    #[test]
    fn a_printable_message_is_told_from_text() {
        let any_value = field(1, URL);
        assert!(text::printable(&any_value, false).is_some());
        assert_eq!(classify(&any_value, false), Kind::Message);
        assert_eq!(classify(&field(6, URL), false), Kind::Message);
        assert_eq!(classify(URL, false), Kind::Other);
        assert_eq!(classify(b"7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11", false), Kind::Other);
        assert_eq!(classify(b"\nplain text after a line break", false), Kind::Other);
        assert_eq!(classify(&any_value[..20], true), Kind::Other);
        assert_eq!(classify(&[0xff, 0xfe, 0x01], false), Kind::Other);
    }

    #[test]
    fn needs_text_to_be_convincing() {
        let nested = field(1, &field(2, &[&field(1, b"url")[..], &field(2, URL)].concat()));
        assert!(convincing(&nested, false));
        assert!(convincing(&nested[..nested.len() - 5], true));
        assert!(!convincing(&nested[..nested.len() - 5], false));
        assert!(!convincing(&[0x08, 0x96, 0x01], false));
        assert!(!convincing(&[0x08], true));
    }

    #[test]
    fn grpc_lengths_must_fit() {
        let mut stream = vec![0, 0, 0, 0, 2, b'a', b'b', 1, 0, 0, 0, 1, b'c'];
        let read: Vec<_> = grpc(&stream).map(|m| m.payload).collect();
        assert_eq!(read, [&b"ab"[..], b"c"]);
        assert!(is_grpc(&stream, false));
        stream.pop();
        assert!(!is_grpc(&stream, false) && is_grpc(&stream, true));
        assert!(!is_grpc(b"\0\0\0\0\0", false));
        stream.extend_from_slice(b"cd");
        assert!(!is_grpc(&stream, true));
    }
}
