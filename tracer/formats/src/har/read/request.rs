//! The request object of a HAR entry.

use bytes::Bytes;

use super::{
    body::{self, Declared},
    headers::Listed,
    protocol,
};
use crate::json::Value;
use tracer_core::{
    proto::{HeadCut, Header, Protocol, Request},
    record::{BootTime, Transport},
};

/// Maximum number of header fields, the same as in the core's HTTP parser.
const MAX_FIELDS: usize = 1024;

/// Reads the request that was sent at `time`, and its transport. Returns `None`
/// without an HTTP URL. `cut` means that the object is incomplete.
pub(super) fn request(object: &Value, time: BootTime, cut: bool) -> Option<(Request, Transport)> {
    let method = object.text("method").filter(|method| !method.cut && !method.bytes.is_empty());
    let url = object.text("url")?;
    let Url { encrypted, authority, path } = Url::parse(&url.bytes)?;
    let transport = if encrypted { Transport::Tls } else { Transport::Tcp };

    // HTTP/2 sends the request line as these fields (RFC 9113, section 8.3.1).
    // They take precedence over the URL, which the tool composed.
    let Listed { fields, partial, is_whole } = Listed::of(object);
    let (pseudo, mut headers): (Vec<_>, Vec<_>) =
        fields.into_iter().partition(|header| header.name.starts_with(b":"));
    super::headers::add_cookies(object, &mut headers);
    let field = |list: &[Header], name: &[u8]| {
        let found = list.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        found.map(|header| header.value.clone()).filter(|value| !value.is_empty())
    };
    let authority = field(&pseudo, b":authority")
        .or_else(|| field(&headers, b"host"))
        .unwrap_or_else(|| Bytes::copy_from_slice(authority));
    let path = field(&pseudo, b":path").unwrap_or_else(|| Bytes::copy_from_slice(path));

    let declared_len = field(&headers, b"content-length")
        .and_then(|value| std::str::from_utf8(&value).ok()?.trim().parse().ok());
    let size = object.number("bodySize").filter(|&size| size >= 0.0).map(|size| size as u64);
    let content_type = field(&headers, b"content-type")
        .or_else(|| Some(object.member("postData")?.text("mimeType")?.bytes.clone().into()));
    let content_type = content_type.unwrap_or_default();
    let encoding = field(&headers, b"content-encoding");
    let declared = Declared {
        len: declared_len.or(size),
        size,
        chunked: field(&headers, b"transfer-encoding").is_some(),
        recoded: encoding.is_some() || names_charset(&content_type),
        content_type: &content_type,
    };
    let (mut body, unread_bytes) = body::body(object, &declared);
    // Tools join the chunks, as the core's parser does.
    body.chunked = declared.chunked && !body.data.is_empty();

    let too_many = headers.len() > MAX_FIELDS;
    headers.truncate(MAX_FIELDS);
    let head_cut = head_cut(object)
        .filter(|_| cut || url.cut)
        .or_else(|| (too_many || !is_whole).then_some(HeadCut::Fields));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let request = Request {
        time,
        protocol: object
            .text("httpVersion")
            .and_then(|version| protocol::parse(&version.bytes))
            // Only HTTP/2 and HTTP/3 send such fields.
            .filter(|&version| version != Protocol::Http1 || pseudo.is_empty())
            .unwrap_or(if pseudo.is_empty() { Protocol::Http1 } else { Protocol::Http2 }),
        method: method.map(|method| text(&method.bytes)),
        authority: (!authority.is_empty()).then(|| text(&authority)),
        // A query directly after the host means the path `/?q`.
        path: Some(if path.starts_with(b"?") { format!("/{}", text(&path)) } else { text(&path) }),
        headers,
        partial,
        head_cut,
        complete: !cut && head_cut.is_none() && method.is_some() && body.gaps.is_empty(),
        body,
        unread_bytes,
        update: false,
        never_sent: None,
    };
    Some((request, transport))
}

/// Returns the part of the head in which an incomplete request object ends.
fn head_cut(object: &Value) -> Option<HeadCut> {
    if object.text("url").is_none_or(|url| url.cut) {
        return Some(HeadCut::Target);
    }
    let last = object.list("headers").last().and_then(|field| field.text("value"));
    if last.is_some_and(|value| value.cut) {
        return Some(HeadCut::LastField);
    }
    // All tools write these members after the header fields.
    let later = ["headersSize", "bodySize", "postData"];
    let is_whole = later.iter().any(|name| object.member(name).is_some());
    (!is_whole).then_some(HeadCut::Fields)
}

/// Reports whether a character set other than UTF-8 is declared.
fn names_charset(content_type: &[u8]) -> bool {
    let lower = content_type.to_ascii_lowercase();
    let Some(at) = memchr::memmem::find(&lower, b"charset=") else {
        return false;
    };
    let name = lower.get(at + b"charset=".len()..).unwrap_or_default();
    !name.strip_prefix(b"\"").unwrap_or(name).starts_with(b"utf-8")
}

/// The parts of a URL that the head of a request contains.
#[derive(Debug, PartialEq, Eq)]
struct Url<'a> {
    encrypted: bool,
    authority: &'a [u8],
    path: &'a [u8],
}

impl<'a> Url<'a> {
    /// Parses an absolute URL of HTTP or WebSocket. Tools also list URLs that
    /// were not requested over the network: `data:`, `blob:`,
    /// `chrome-extension:`.
    fn parse(url: &'a [u8]) -> Option<Self> {
        let at = memchr::memmem::find(url.get(..8).unwrap_or(url), b"://")?;
        let (scheme, rest) = (url.get(..at)?, url.get(at + 3..)?);
        let encrypted = match &*scheme.to_ascii_lowercase() {
            b"http" | b"ws" => false,
            b"https" | b"wss" => true,
            _ => return None,
        };
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let host = authority.iter().rposition(|&b| b == b'@').map_or(0, |at| at + 1);
        // The fragment is not sent.
        let path = path.split(|&b| b == b'#').next().unwrap_or_default();
        let path = if path.is_empty() { b"/" } else { path };
        Some(Self { encrypted, authority: authority.get(host..)?, path })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_http_and_websocket_urls_are_parsed() {
        let url = |url: &'static str| {
            let Url { encrypted, authority, path } = Url::parse(url.as_bytes())?;
            let text = |part| std::str::from_utf8(part).unwrap();
            Some((encrypted, text(authority), text(path)))
        };
        assert_eq!(url("https://a.test/p?q=1#f"), Some((true, "a.test", "/p?q=1")));
        assert_eq!(url("http://me:x@a.test:8080"), Some((false, "a.test:8080", "/")));
        assert_eq!(url("WSS://[::1]:9?x"), Some((true, "[::1]:9", "?x")));
        for none in ["data:text/plain,x", "blob:https://a.test/1", "chrome-extension://x/y", ""] {
            assert_eq!(url(none), None, "{none}");
        }
    }

    #[test]
    fn character_sets_other_than_utf_8_are_recognised() {
        for (content_type, other) in [
            ("text/plain; charset=GBK", true),
            ("text/plain; Charset=\"utf-16\"", true),
            ("application/json; charset=UTF-8", false),
            ("text/plain; charset=\"utf-8\"", false),
            ("application/json", false),
        ] {
            assert_eq!(names_charset(content_type.as_bytes()), other, "{content_type}");
        }
    }
}
