//! The body of a request in a HAR.
//!
//! The format provides text and a list of form fields. For other bodies, tools
//! use one of these forms:
//!
//! | form | tools |
//! |---|---|
//! | base64, with `"encoding": "base64"` | PCAPdroid, Proxyman, Reqable, tracer |
//! | the same in a member `_content` | HTTP Toolkit |
//! | each byte as the character of that number | mitmproxy, Firefox |
//! | bytes that are not UTF-8 as lone surrogates | mitmproxy, for text |
//! | U+FFFD in place of bytes that are not UTF-8, which are lost | Chromium, older PCAPdroid |
//! | omitted | Chromium, for files and long bodies |
//!
//! The length identifies the form: `Content-Length` and `bodySize` are the
//! length of the body as sent. mitmproxy decompresses bodies and keeps
//! `Content-Encoding`. The lengths then differ, and
//! [`content`](tracer_core::content) recognises that the body is not
//! compressed.

use bytes::Bytes;
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD};

use crate::json::{Text, Value};
use tracer_core::{
    content,
    proto::{Body, Gap, Limits, ws},
};

/// Properties of the body that are known from the head.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Declared<'a> {
    /// `Content-Length`, otherwise `bodySize`.
    pub(super) len: Option<u64>,
    /// `bodySize`. mitmproxy writes the length after decompression.
    pub(super) size: Option<u64>,
    /// Set if the body was sent in chunks, which means that there was one.
    pub(super) chunked: bool,
    /// Set if the body is compressed or in a character set other than UTF-8. A
    /// tool that decodes it changes its length.
    pub(super) recoded: bool,
    /// `Content-Type`.
    pub(super) content_type: &'a [u8],
}

impl Declared<'_> {
    /// Reports whether a complete body has this length.
    fn is_len(&self, len: usize) -> bool {
        [self.len, self.size].contains(&Some(len as u64))
    }
}

/// Reads the body of the request object `request`. Returns it and the number of
/// its bytes that are missing.
pub(super) fn body(request: &Value, declared: &Declared<'_>) -> (Body, u64) {
    let mut builder = BodyBuilder::default();
    let mut checked = true;
    match content(request) {
        Some((text, encoding)) => builder.text(text, encoding, declared),
        None => {
            let fields = request.member("postData").map_or(&[][..], |post| post.list("params"));
            // The body is rebuilt, and its length differs from the original.
            checked = fields.is_empty();
            builder.fields(fields, declared.content_type);
        }
    }
    if checked {
        builder.check_len(declared);
    }
    builder.finish(declared.chunked)
}

/// Reads a WebSocket message: text, or binary data in base64.
pub(super) fn message(text: &Text, kind: ws::MessageKind) -> (Body, u64) {
    let mut builder = BodyBuilder::default();
    let encoding = (kind == ws::MessageKind::Binary).then_some(&b"base64"[..]);
    builder.text(text, encoding, &Declared::default());
    builder.finish(false)
}

/// Returns the text of a body and the name of its encoding.
fn content(request: &Value) -> Option<(&Text, Option<&[u8]>)> {
    ["postData", "_content", "content"].into_iter().find_map(|name| {
        let holder = request.member(name)?;
        let text = holder.text("text").filter(|text| !text.bytes.is_empty())?;
        let encoding = ["encoding", "_encoding"].into_iter().find_map(|name| holder.text(name));
        Some((text, encoding.map(|encoding| &encoding.bytes[..])))
    })
}

/// A body under construction.
#[derive(Debug, Default)]
struct BodyBuilder {
    data: Vec<u8>,
    gaps: Vec<Gap>,
    /// Number of missing bytes, as far as it is known.
    missing: u64,
}

impl BodyBuilder {
    fn text(&mut self, text: &Text, encoding: Option<&[u8]>, declared: &Declared<'_>) {
        let is_base64 = encoding.is_some_and(|encoding| encoding.eq_ignore_ascii_case(b"base64"));
        match is_base64.then(|| decode_base64(&text.bytes)).flatten() {
            Some(bytes) => self.data = bytes,
            None => match decode_characters(&text.bytes, declared) {
                Some(bytes) => self.data = bytes,
                None => self.lossy(without_fields(&text.bytes, declared), declared),
            },
        }
        if text.cut {
            self.gap(None);
        }
    }

    /// Adds text in which U+FFFD replaces lost bytes, unless the length shows
    /// that the characters were sent.
    fn lossy(&mut self, text: &[u8], declared: &Declared<'_>) {
        const LOST: &[u8] = "\u{fffd}".as_bytes();
        if declared.is_len(text.len()) {
            return self.data.extend_from_slice(text);
        }
        let mut rest = text;
        while let Some(at) = memchr::memmem::find(rest, LOST) {
            let (before, behind) = rest.split_at(at);
            self.data.extend_from_slice(before);
            if self.gaps.last().is_none_or(|gap| gap.at != self.data.len()) {
                self.gap(None);
            }
            rest = behind.get(LOST.len()..).unwrap_or_default();
        }
        self.data.extend_from_slice(rest);
    }

    /// Adds the fields of a form, encoded as a browser encodes them.
    fn fields(&mut self, fields: &[Value], content_type: &[u8]) {
        let boundary = content::multipart_boundary(content_type);
        for field in fields {
            let [name, value, file] = ["name", "value", "fileName"]
                .map(|member| field.text(member).map(|text| &text.bytes[..]));
            let name = name.unwrap_or_default();
            if let Some(boundary) = boundary {
                let start: [&[u8]; 5] =
                    [b"--", boundary, b"\r\nContent-Disposition: form-data; name=\"", name, b"\""];
                start.iter().for_each(|part| self.data.extend_from_slice(part));
                if let Some(file) = file {
                    [b"; filename=\"", file, b"\""]
                        .iter()
                        .for_each(|part: &&[u8]| self.data.extend_from_slice(part));
                }
                self.data.extend_from_slice(b"\r\n\r\n");
                self.data.extend_from_slice(value.unwrap_or_default());
                if value.is_none() && file.is_some() {
                    self.gap(None);
                }
                self.data.extend_from_slice(b"\r\n");
            } else {
                if !self.data.is_empty() {
                    self.data.push(b'&');
                }
                escape(name, &mut self.data);
                self.data.push(b'=');
                escape(value.unwrap_or_default(), &mut self.data);
            }
        }
        if let Some(boundary) = boundary.filter(|_| !fields.is_empty()) {
            [b"--", boundary, b"--\r\n"]
                .iter()
                .for_each(|part: &&[u8]| self.data.extend_from_slice(part));
        }
    }

    /// Compares the length with the declared length, and adds the difference as
    /// a gap.
    fn check_len(&mut self, declared: &Declared<'_>) {
        let known = self.data.len() as u64;
        match declared.len {
            _ if declared.recoded && known > 0 => {}
            Some(len) if known < len => {
                let missing = len - known;
                match &mut self.gaps[..] {
                    [] => self.gap(Some(missing)),
                    [one] => {
                        one.len = Some(missing);
                        self.missing = missing;
                    }
                    // The number of missing bytes in each gap is unknown.
                    _ => self.missing = missing,
                }
            }
            None if declared.chunked && known == 0 => self.gap(None),
            _ => {}
        }
    }

    /// Adds a gap at the end of the known bytes.
    fn gap(&mut self, len: Option<u64>) {
        self.gaps.push(Gap { at: self.data.len(), len });
        self.missing = self.missing.saturating_add(len.unwrap_or(0));
    }

    /// Limits the body to the length that the core keeps of any request.
    fn finish(mut self, chunked: bool) -> (Body, u64) {
        let max = Limits::default().body;
        if self.data.len() > max {
            let dropped = self.data.len() - max;
            self.data.truncate(max);
            self.gaps.retain(|gap| gap.at < max);
            self.gap(Some(dropped as u64));
        }
        let Self { data, gaps, missing } = self;
        (Body { data: Bytes::from(data), gaps, chunked, ..Body::default() }, missing)
    }
}

/// Decodes base64 in either alphabet, with or without padding and white space.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    // Text that was cut can end within a group of four.
    let end = text.iter().rposition(|&b| b != b'=').map_or(0, |at| at + 1);
    let bare = text.get(..end)?;
    let bare = bare.get(..bare.len() - usize::from(bare.len() % 4 == 1))?;
    BASE64
        .decode(&text)
        .or_else(|_| BASE64_NOPAD.decode(bare))
        .or_else(|_| BASE64URL_NOPAD.decode(bare))
        .ok()
}

/// Decodes text that has one character for each byte. Such text has as many
/// characters as the body has bytes.
fn decode_characters(text: &[u8], declared: &Declared<'_>) -> Option<Vec<u8>> {
    if declared.is_len(text.len()) {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    bytes.filter(|bytes| declared.is_len(bytes.len()))
}

/// Removes the header fields that Firefox writes in front of some bodies. An
/// empty line and a body of the declared length follow them.
fn without_fields<'a>(text: &'a [u8], declared: &Declared<'_>) -> &'a [u8] {
    let sent = || {
        let len = usize::try_from(declared.len?).ok()?;
        let (head, body) = text.split_at_checked(text.len().checked_sub(len)?)?;
        let is_head = head.len() > 4
            && head.ends_with(b"\r\n\r\n")
            && head.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"));
        is_head.then_some(body)
    };
    sent().unwrap_or(text)
}

/// Percent-encodes the value of a form field, unless the tool has done so.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~*".contains(&b);
    let is_escaped = text.contains(&b'%')
        && text.iter().all(|&b| is_plain(b) || matches!(b, b'%' | b'+'))
        && text.split(|&b| b == b'%').skip(1).all(|rest| {
            rest.get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        });
    for &byte in text {
        if is_plain(byte) || is_escaped {
            out.push(byte);
        } else {
            let digit = |n: u8| DIGITS.get(usize::from(n)).copied().unwrap_or(b'0');
            out.extend([b'%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
}
