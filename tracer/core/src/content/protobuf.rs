//! Protocol buffers, read without a schema.
//!
//! ```text
//! field     tag: number << 3 | wire type (varint) | payload
//! payload   0 varint   1 eight bytes   5 four bytes   2 length (varint), bytes
//!           3, 4 start and end of a group, which nothing new uses
//! ```
//!
//! A length-delimited payload is a message, text or bytes, and only the schema
//! could tell them apart. Text takes precedence, because text that happens to
//! be a valid message is rare, with one exception: [`is_wrapped_text`].

use super::{chain::Coding, compress, text};

/// Maximum depth at which an undeclared message is searched for text. A message
/// whose text lies deeper is read as an unknown format, which still finds the
/// text.
const MAX_PROBE_DEPTH: usize = 8;

/// Minimum length of text that identifies an undeclared message.
const MIN_EVIDENCE: usize = 6;

/// Field numbers have 29 bits.
const MAX_FIELD_NUMBER: u64 = (1 << 29) - 1;

/// A field of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'d> {
    pub(super) number: u32,
    /// The content of a length-delimited field; `None` for numbers.
    pub(super) payload: Option<&'d [u8]>,
    /// Set if the input ends inside the payload.
    pub(super) truncated: bool,
}

/// The way in which a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The input ended after a field.
    Complete,
    /// The input ended inside a field.
    Truncated,
    /// The next bytes are not a field.
    Malformed,
}

/// Reads the fields of a message.
#[derive(Debug, Clone)]
pub(super) struct Fields<'d> {
    input: &'d [u8],
    /// Set once there are no more fields.
    end: Option<End>,
}

impl<'d> Fields<'d> {
    pub(super) fn new(input: &'d [u8]) -> Self {
        Self { input, end: None }
    }

    /// Returns how the message ended.
    pub(super) fn end(&self) -> Option<End> {
        self.end
    }

    /// Returns the unread bytes.
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
            *at = at.get(len..).ok_or(End::Truncated)?;
            Ok(())
        };
        let mut field = Field { number, payload: None, truncated: false };
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
                field.truncated = len > at.len();
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
                if field.truncated {
                    self.end = Some(End::Truncated);
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
    Err(if input.len() < 10 { End::Truncated } else { End::Malformed })
}

/// Reports whether the input consists of fields. Payloads are not inspected.
fn is_message(input: &[u8], truncated: bool) -> bool {
    let mut fields = Fields::new(input);
    let count = fields.by_ref().count();
    match fields.end() {
        Some(End::Complete) => count > 0,
        Some(End::Truncated) => truncated && count > 0,
        _ => false,
    }
}

/// Reports whether text is in fact a message with a single text field.
///
/// Such a message consists of printable bytes only if the text is 32 to 126
/// bytes long, or 9, 10 or 13: `0a 34 https://…` reads `\n4https://…`. The
/// length has to match exactly, which happens by chance for one text in
/// thousands.
fn is_wrapped_text(input: &[u8]) -> bool {
    let mut fields = Fields::new(input);
    let Some(Field { payload: Some(payload), truncated: false, .. }) = fields.next() else {
        return false;
    };
    !payload.is_empty() && fields.next().is_none() && fields.end() == Some(End::Complete)
}

/// The interpretation of a length-delimited payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PayloadKind {
    /// An embedded message.
    Message,
    /// Text, or bytes in another format.
    Other,
}

/// Classifies a payload. `truncated` means that the input ends inside it.
pub(super) fn classify(payload: &[u8], truncated: bool) -> PayloadKind {
    let message = match text::as_text(payload, truncated) {
        Some(_) => !truncated && is_wrapped_text(payload),
        // Data that starts like a compressed stream or a multipart body, whose parts can be
        // binary, may be a truncated one.
        None if truncated && (compress::magic(payload).is_some() || payload.starts_with(b"--")) => {
            false
        }
        None => is_message(payload, truncated),
    };
    if message { PayloadKind::Message } else { PayloadKind::Other }
}

/// Reports whether undeclared bytes are a message: they consist of fields, and
/// contain text, plain or compressed.
pub(super) fn is_plausible(input: &[u8], truncated: bool) -> bool {
    is_message(input, truncated) && holds_text(input, MAX_PROBE_DEPTH)
}

/// Reports whether printable bytes are a message, which can only be text in a
/// field.
pub(super) fn is_plausible_text_field(input: &[u8]) -> bool {
    input.first() == Some(&b'\n') && is_wrapped_text(input)
}

fn holds_text(input: &[u8], depth: usize) -> bool {
    Fields::new(input).any(|field| {
        field.payload.is_some_and(|payload| match classify(payload, field.truncated) {
            PayloadKind::Message => depth > 0 && holds_text(payload, depth - 1),
            PayloadKind::Other => {
                let is_text = text::as_text(payload, field.truncated).is_some();
                let compressed =
                    matches!(compress::magic(payload), Some(Coding::Gzip | Coding::Zstd));
                compressed || (is_text && payload.len() >= MIN_EVIDENCE)
            }
        })
    })
}

/// A message in a gRPC stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GrpcMessage<'d> {
    pub(super) payload: &'d [u8],
    /// Set if the input ends inside the payload.
    pub(super) truncated: bool,
}

/// Returns the messages of a gRPC stream: `compressed: u8, length: u32,
/// payload`. The compression format is recognised later, from the payload.
/// Iteration stops at bytes that are not a message.
pub(super) fn grpc(input: &[u8]) -> impl Iterator<Item = GrpcMessage<'_>> {
    let mut rest = input;
    std::iter::from_fn(move || {
        let [0 | 1, a, b, c, d, content @ ..] = rest else {
            return None;
        };
        let len = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok()?;
        let (payload, after) = content.split_at(len.min(content.len()));
        rest = after;
        Some(GrpcMessage { payload, truncated: len > payload.len() })
    })
}

/// Reports whether undeclared bytes are a gRPC stream with a plausible message.
pub(super) fn is_plausible_grpc(input: &[u8], truncated: bool) -> bool {
    is_grpc(input, truncated)
        && grpc(input).any(|message| {
            compress::magic(message.payload).is_some()
                || is_plausible(message.payload, message.truncated)
                || is_plausible_text_field(message.payload)
        })
}

/// Reports whether the lengths in a gRPC stream match the input exactly.
pub(super) fn is_grpc(input: &[u8], truncated: bool) -> bool {
    let mut used = 0;
    let mut ends_early = false;
    for message in grpc(input) {
        used += 5 + message.payload.len();
        ends_early |= message.truncated;
    }
    used > 5 && used == input.len() && (!ends_early || truncated)
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
    fn distinguishes_truncated_from_malformed() {
        let end = |input: &[u8]| {
            let mut fields = Fields::new(input);
            fields.by_ref().for_each(drop);
            fields.end()
        };
        assert_eq!(end(&[0x0a, 9, 1]), Some(End::Truncated));
        assert_eq!(end(&[0x80]), Some(End::Truncated));
        assert_eq!(end(&[0x00, 1]), Some(End::Malformed));
        assert_eq!(end(&[0x0f]), Some(End::Malformed));
        assert_eq!(end(&[0xff; 12]), Some(End::Malformed));
        assert_eq!(end(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x7f]), Some(End::Malformed));
    }

    #[test]
    fn distinguishes_printable_messages_from_text() {
        let any_value = field(1, URL);
        assert!(text::as_text(&any_value, false).is_some());
        assert_eq!(classify(&any_value, false), PayloadKind::Message);
        assert_eq!(classify(&field(6, URL), false), PayloadKind::Message);
        assert_eq!(classify(URL, false), PayloadKind::Other);
        assert_eq!(classify(b"7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11", false), PayloadKind::Other);
        assert_eq!(classify(b"\nplain text after a line break", false), PayloadKind::Other);
        assert_eq!(classify(&any_value[..20], true), PayloadKind::Other);
        assert_eq!(classify(&[0xff, 0xfe, 0x01], false), PayloadKind::Other);
    }

    #[test]
    fn plausible_messages_contain_text() {
        let nested = field(1, &field(2, &[&field(1, b"url")[..], &field(2, URL)].concat()));
        assert!(is_plausible(&nested, false));
        assert!(is_plausible(&nested[..nested.len() - 5], true));
        assert!(!is_plausible(&nested[..nested.len() - 5], false));
        assert!(!is_plausible(&[0x08, 0x96, 0x01], false));
        assert!(!is_plausible(&[0x08], true));
    }

    #[test]
    fn grpc_lengths_must_match_the_input() {
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
