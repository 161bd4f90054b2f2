//! Formats a request as HTTP/1.1 (RFC 9112).
//!
//! The request is stored decoded. Compressed heads (HTTP/2, HTTP/3) are written
//! as text, and bodies sent in chunks or frames in one piece. Missing header
//! fields that frame the message are added, so that readers find its end.

use tracer_core::proto::{HeadCut, Protocol, Request};

/// A part of the bytes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Known bytes.
    Bytes(Vec<u8>),
    /// Number of missing bytes, which is 1 if it is unknown.
    Gap(u64),
}

/// Maximum length of a gap, because positions are modulo 2³².
const MAX_GAP: u64 = 1 << 28;

/// Returns the bytes of a request. A WebSocket message is a frame, preceded by
/// its handshake unless `has_handshake` is set.
pub(crate) fn pieces(request: &Request, has_handshake: bool) -> Vec<Piece> {
    let mut out = Out(vec![Piece::Bytes(Vec::new())]);
    if request.protocol != Protocol::WebSocket {
        head(request, &mut out);
        if request.head_cut.is_none() {
            body(request, &mut out);
        } else {
            out.gap(Some(request.unread_bytes));
        }
    } else {
        if !has_handshake {
            head(request, &mut out);
        }
        frame(request, &mut out);
    }
    out.0.retain(|piece| *piece != Piece::Bytes(Vec::new()));
    out.0
}

/// Reports whether the request opens a WebSocket. In HTTP/2 (RFC 8441), this is
/// known from the method only.
pub(crate) fn opens_websocket(request: &Request) -> bool {
    let upgrade = request.header("upgrade").unwrap_or_default();
    match request.protocol {
        Protocol::WebSocket => true,
        Protocol::Http1 => upgrade.eq_ignore_ascii_case(b"websocket"),
        Protocol::Http2 | Protocol::Http3 => {
            request.method.as_deref() == Some("CONNECT") && !request.target().is_empty()
        }
        Protocol::Dns => false,
    }
}

fn head(request: &Request, out: &mut Out) {
    let websocket = opens_websocket(request);
    let method = match request.method.as_deref() {
        _ if websocket => "GET",
        Some(method) => method,
        None => "?",
    };
    let target = match (method, &request.authority) {
        ("CONNECT", Some(authority)) => authority,
        _ => request.target(),
    };
    out.put(&[method.as_bytes(), b" ", target.as_bytes()]);
    if request.head_cut == Some(HeadCut::Target) {
        return;
    }
    out.put(&[b" HTTP/1.1\r\n"]);
    if let Some(authority) = &request.authority
        && request.header("host").is_none()
    {
        out.put(&[b"host: ", authority.as_bytes(), b"\r\n"]);
    }
    for (i, header) in request.headers.iter().enumerate() {
        out.put(&[&header.name, b": ", &header.value]);
        let last = i + 1 == request.headers.len();
        if !(last && request.head_cut == Some(HeadCut::LastField)) {
            out.put(&[b"\r\n"]);
        }
    }
    if request.head_cut.is_some() {
        return;
    }
    if websocket {
        for (name, value) in [("connection", "Upgrade"), ("upgrade", "websocket")] {
            if request.header(name).is_none() {
                out.put(&[name.as_bytes(), b": ", value.as_bytes(), b"\r\n"]);
            }
        }
    } else if request.header("content-length").is_none() && !request.body.chunked {
        let len = sent_len(request);
        if len > 0 {
            out.put(&[b"content-length: ", len.to_string().as_bytes(), b"\r\n"]);
        }
    }
    out.put(&[b"\r\n"]);
}

/// Returns the minimum length of the body when it was sent.
fn sent_len(request: &Request) -> u64 {
    let gaps = request.body.gaps.iter().map(|gap| gap.len.unwrap_or(1).clamp(1, MAX_GAP));
    gaps.fold(request.body.data.len() as u64, u64::saturating_add)
}

fn body(request: &Request, out: &mut Out) {
    let body = &request.body;
    if body.chunked {
        out.put(&[format!("{:x}\r\n", sent_len(request)).as_bytes()]);
    }
    data(request, out);
    let ends = body.gaps.last().is_none_or(|gap| gap.at < body.data.len());
    if body.chunked && ends {
        out.put(&[b"\r\n0\r\n\r\n"]);
    }
}

fn data(request: &Request, out: &mut Out) {
    let data = &request.body.data;
    let mut from = 0;
    for gap in &request.body.gaps {
        let at = gap.at.clamp(from, data.len());
        out.put(&[data.get(from..at).unwrap_or_default()]);
        out.gap(gap.len);
        from = at;
    }
    out.put(&[data.get(from..).unwrap_or_default()]);
}

/// Adds a client's frame (RFC 6455, section 5.2) with a mask of zeros.
fn frame(request: &Request, out: &mut Out) {
    const FINAL: u8 = 0x80;
    const MASKED: u8 = 0x80;
    let is_text = request.body.gaps.is_empty() && std::str::from_utf8(&request.body.data).is_ok();
    let opcode = if is_text { 1 } else { 2 };
    let len = sent_len(request);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len < 126 => out.put(&[&[FINAL | opcode, MASKED | len]]),
        (_, Ok(len)) => out.put(&[&[FINAL | opcode, MASKED | 126], &len.to_be_bytes()]),
        _ => out.put(&[&[FINAL | opcode, MASKED | 127], &len.to_be_bytes()]),
    }
    out.put(&[&[0; 4]]);
    data(request, out);
}

struct Out(Vec<Piece>);

impl Out {
    fn put(&mut self, parts: &[&[u8]]) {
        if !matches!(self.0.last(), Some(Piece::Bytes(_))) {
            self.0.push(Piece::Bytes(Vec::new()));
        }
        if let Some(Piece::Bytes(bytes)) = self.0.last_mut() {
            parts.iter().for_each(|part| bytes.extend_from_slice(part));
        }
    }

    fn gap(&mut self, len: Option<u64>) {
        self.0.push(Piece::Gap(len.unwrap_or(1).clamp(1, MAX_GAP)));
    }
}
