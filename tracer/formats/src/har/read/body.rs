//! The body of a request in a HAR.
//!
//! The format has a text, and a list of form fields. A body that is no text
//! was never provided for; the tools write it in one of these ways:
//!
//! | how | who |
//! |---|---|
//! | base64, and `"encoding": "base64"` beside it | PCAPdroid, Proxyman, Reqable, tracer |
//! | the same in a member `_content` | HTTP Toolkit |
//! | each byte as the character of that number | mitmproxy, Firefox |
//! | bytes that are no UTF-8 as lone surrogates | mitmproxy, for text |
//! | U+FFFD for what is no UTF-8: those bytes are lost | Chromium, older PCAPdroid |
//! | not at all | Chromium, for files and long bodies |
//!
//! Which it is shows in the length: `Content-Length`, or `bodySize`, is that of
//! the body as it was sent. mitmproxy undoes compression and leaves
//! `Content-Encoding` in place; the lengths differ then, and
//! [`content`](tracer_core::content) reads a body that is not what its label says.

use bytes::Bytes;
use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL_NOPAD};

use crate::json::{Text, Value};
use tracer_core::{
    content,
    proto::{Body, Gap, Limits, ws},
};

/// What the head says of the body.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Declared<'a> {
    /// `Content-Length`, or else what the tool says.
    pub(super) len: Option<u64>,
    /// What the tool says (`bodySize`): with mitmproxy, how long it was once
    /// compression was undone.
    pub(super) size: Option<u64>,
    /// It was sent in chunks, so there was one.
    pub(super) chunked: bool,
    /// It is compressed, or in another character set than UTF-8: a tool that
    /// undoes that writes it in another length.
    pub(super) recoded: bool,
    /// `Content-Type`.
    pub(super) content_type: &'a [u8],
}

impl Declared<'_> {
    /// A body of this length is the whole body.
    fn is_len(&self, len: usize) -> bool {
        [self.len, self.size].contains(&Some(len as u64))
    }
}

/// The body of the request object `request`, and how many of its bytes are not
/// known.
pub(super) fn body(request: &Value, declared: &Declared<'_>) -> (Body, u64) {
    let mut pieces = Pieces::default();
    let mut checked = true;
    match content(request) {
        Some((text, encoding)) => pieces.text(text, encoding, declared),
        None => {
            let fields = request.member("postData").map_or(&[][..], |post| post.list("params"));
            // Written anew: its length says nothing.
            checked = fields.is_empty();
            pieces.fields(fields, declared.content_type);
        }
    }
    if checked {
        pieces.check(declared);
    }
    pieces.finish(declared.chunked)
}

/// A WebSocket's message: text, or binary in base64.
pub(super) fn message(text: &Text, kind: ws::MessageKind) -> (Body, u64) {
    let mut pieces = Pieces::default();
    let encoding = (kind == ws::MessageKind::Binary).then_some(&b"base64"[..]);
    pieces.text(text, encoding, &Declared::default());
    pieces.finish(false)
}

/// The text of a body, and how it is encoded.
fn content(request: &Value) -> Option<(&Text, Option<&[u8]>)> {
    ["postData", "_content", "content"].into_iter().find_map(|name| {
        let holder = request.member(name)?;
        let text = holder.text("text").filter(|text| !text.bytes.is_empty())?;
        let encoding = ["encoding", "_encoding"].into_iter().find_map(|name| holder.text(name));
        Some((text, encoding.map(|encoding| &encoding.bytes[..])))
    })
}

/// A body being put together.
#[derive(Debug, Default)]
struct Pieces {
    data: Vec<u8>,
    gaps: Vec<Gap>,
    /// Bytes that are missing, as far as they can be counted.
    missing: u64,
}

impl Pieces {
    fn text(&mut self, text: &Text, encoding: Option<&[u8]>, declared: &Declared<'_>) {
        let is_base64 = encoding.is_some_and(|encoding| encoding.eq_ignore_ascii_case(b"base64"));
        match is_base64.then(|| base64(&text.bytes)).flatten() {
            Some(bytes) => self.data = bytes,
            None => match as_characters(&text.bytes, declared) {
                Some(bytes) => self.data = bytes,
                None => self.lossy(as_sent(&text.bytes, declared), declared),
            },
        }
        if text.cut {
            self.gap(None);
        }
    }

    /// Text in which U+FFFD stands for bytes that were lost, unless its length
    /// shows that it was sent like that.
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

    /// A form's fields, as a browser would send them.
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

    /// Holds what is known against what was sent.
    fn check(&mut self, declared: &Declared<'_>) {
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
                    // Nobody can tell how many are missing in which.
                    _ => self.missing = missing,
                }
            }
            None if declared.chunked && known == 0 => self.gap(None),
            _ => {}
        }
    }

    /// So many bytes are missing behind what is known.
    fn gap(&mut self, len: Option<u64>) {
        self.gaps.push(Gap { at: self.data.len(), len });
        self.missing = self.missing.saturating_add(len.unwrap_or(0));
    }

    /// No more is kept of it than of any other request's.
    fn finish(mut self, chunked: bool) -> (Body, u64) {
        let max = Limits::default().body;
        if self.data.len() > max {
            let dropped = self.data.len() - max;
            self.data.truncate(max);
            self.gaps.retain(|gap| gap.at < max);
            self.gap(Some(dropped as u64));
        }
        let Self { data, gaps, missing } = self;
        (Body { data: Bytes::from(data), gaps, chunked }, missing)
    }
}

/// Base64 of either alphabet, with white space and padding or not.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let text: Vec<u8> = text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    // A text that was cut can end within a group.
    let end = text.iter().rposition(|&b| b != b'=').map_or(0, |at| at + 1);
    let bare = text.get(..end)?;
    let bare = bare.get(..bare.len() - usize::from(bare.len() % 4 == 1))?;
    BASE64
        .decode(&text)
        .or_else(|_| BASE64_NOPAD.decode(bare))
        .or_else(|_| BASE64URL_NOPAD.decode(bare))
        .ok()
}

/// The bytes of a text in which each stands as the character of its number: as
/// many characters as there were bytes, and more bytes in UTF-8.
fn as_characters(text: &[u8], declared: &Declared<'_>) -> Option<Vec<u8>> {
    if declared.is_len(text.len()) {
        return None;
    }
    let text = std::str::from_utf8(text).ok()?;
    let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
    bytes.filter(|bytes| declared.is_len(bytes.len()))
}

/// Firefox can write fields of the head before a body: it ends with as much as
/// was sent, behind an empty line.
fn as_sent<'a>(text: &'a [u8], declared: &Declared<'_>) -> &'a [u8] {
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

/// Escapes what a form cannot hold. Some tools write fields escaped already.
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
