//! Parsers that turn byte streams into requests.
//!
//! The [`Decoder`] detects the protocol of a connection and drives its parsers:
//!
//! ```text
//! HTTP/1 ─┬─ WebSocket (after an upgrade)   TLS ── ClientHello ─┐
//!         └─ HTTP/2 (h2c, a new preface)    QUIC ───────────────┼─ names
//! HTTP/2 ─── WebSocket (extended CONNECT)   DNS ── queries ─────┘
//! HTTP/3 ─── WebSocket (extended CONNECT)
//! ```
//!
//! HTTP/3 is read from the frames of decrypted QUIC packets.
//!
//! Bytes that could not be read are counted ([`Traffic`]), along with the name
//! of the server if the connection reveals it.
//!
//! Every parser distinguishes a complete message, a truncated one, and bytes
//! that belong to another protocol. It is never more certain with fewer bytes.

mod decoder;
mod detect;
mod traffic;
mod transcript;

mod exchange;
mod head;
mod http1;
mod initiator;
pub mod h2;
pub mod h3;
pub mod hpack;
pub mod qpack;
mod pieces;
pub mod ws;

mod dns;
mod name;
pub mod quic;
mod tls;
mod wire;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::record::BootTime;

pub use decoder::{Decoder, Limits, Message, parse_http1};
pub use dns::names as dns_names;
pub use initiator::{Initiator, extension_id, initiator};
pub use name::{NameSource, ServerName};
pub use traffic::{Traffic, Unread};
pub use transcript::{Transcript, parse_transcript};

/// The protocol of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1 (RFC 9112).
    #[serde(rename = "http/1.1")]
    Http1,
    /// HTTP/2 (RFC 9113).
    #[serde(rename = "h2")]
    Http2,
    /// HTTP/3 (RFC 9114).
    #[serde(rename = "h3")]
    Http3,
    /// A WebSocket message (RFC 6455), with the head of its handshake.
    #[serde(rename = "websocket")]
    WebSocket,
    /// A DNS query, which tells its name to the owner of the domain. It has an authority
    /// and nothing else.
    #[serde(rename = "dns")]
    Dns,
}

impl Protocol {
    /// Returns the name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "http/1.1",
            Self::Http2 => "h2",
            Self::Http3 => "h3",
            Self::WebSocket => "websocket",
            Self::Dns => "dns",
        }
    }
}

/// A string that may be known in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// The complete string.
    Whole(Bytes),
    /// The start of the string, possibly empty.
    Start(Bytes),
}

impl Text {
    /// A completely unknown string.
    pub const UNKNOWN: Text = Text::Start(Bytes::new());

    /// Returns the string if it is complete.
    pub fn whole(&self) -> Option<&Bytes> {
        match self {
            Text::Whole(bytes) => Some(bytes),
            Text::Start(_) => None,
        }
    }

    /// Returns the known bytes at the start of the string.
    pub fn known(&self) -> &Bytes {
        match self {
            Text::Whole(bytes) | Text::Start(bytes) => bytes,
        }
    }
}

/// A decompressed header field. If it refers to a table entry sent before the
/// first captured byte, parts of it are unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The field name.
    pub name: Text,
    /// The field value.
    pub value: Text,
}

/// A header field as sent: name in its original case, value without surrounding
/// white space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The field name.
    pub name: Bytes,
    /// The field value, which may be cut short in a truncated head.
    pub value: Bytes,
}

/// Missing bytes in a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Position in [`Body::data`] where the bytes are missing.
    pub at: usize,
    /// Number of missing bytes; `None` if unknown.
    pub len: Option<u64>,
}

/// The known parts of a request body, without transfer coding.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    /// The known bytes, concatenated.
    pub data: Bytes,
    /// The gaps, ordered by [`Gap::at`]. A body that ends early has its last
    /// gap at `data.len()`.
    pub gaps: Vec<Gap>,
    /// Set if the body was sent with `Transfer-Encoding: chunked`.
    pub chunked: bool,
    /// The extensions of its chunks, each on a line: `name=value`. Recipients ignore them.
    pub extensions: Bytes,
}

impl Body {
    /// Returns the bytes before the first gap.
    pub fn prefix(&self) -> &[u8] {
        match self.gaps.first() {
            Some(gap) => &self.data[..gap.at],
            None => &self.data,
        }
    }
}

/// The position at which a head was truncated, which determines what may be
/// missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadCut {
    /// In the target: the path may be longer, and fields may be missing.
    Target,
    /// In a field: the last value may be longer, and further fields may follow.
    LastField,
    /// Between fields: some may be missing. A folded continuation of the last
    /// value is not considered, since folding is obsolete.
    Fields,
}

/// The reason why a recorded request never reached the network. Only other
/// tools' recordings contain such requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NeverSent {
    /// It was blocked: by an extension, a policy, or the recording tool.
    Blocked,
    /// The connection to the server failed before it could be sent.
    Failed,
    /// It was answered from a cache.
    Cached,
    /// It was answered on the device: by a service worker, by the recording
    /// tool, or by an internal redirect.
    Local,
}

impl NeverSent {
    /// Returns a description that completes the words "never sent:".
    pub fn explain(self) -> &'static str {
        match self {
            Self::Blocked => "it was blocked",
            Self::Failed => "the connection failed",
            Self::Cached => "it was answered from a cache",
            Self::Local => "it was answered on the device",
        }
    }
}

/// A request sent by a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Time at which the first byte was sent.
    pub time: BootTime,
    /// The protocol of the request.
    pub protocol: Protocol,
    /// `GET`, `POST`, …; `None` if unknown.
    pub method: Option<String>,
    /// Requested host and port, from the `Host` field or an absolute target.
    /// `None` if the head was truncated before its end.
    pub authority: Option<String>,
    /// The request target as sent: path and query, empty for `CONNECT`. If the
    /// head was truncated inside it, its start; `None` if unknown.
    pub path: Option<String>,
    /// The header fields in order, followed by the trailer fields of a chunked
    /// body.
    pub headers: Vec<Header>,
    /// Partially known fields in order, including pseudo-header fields. They
    /// occur if an HTTP/2 connection was joined late or a header block was
    /// truncated. A field missing from [`Request::headers`] may be one of
    /// these.
    pub partial: Vec<Field>,
    /// Position at which the head was truncated; `None` if it is complete.
    pub head_cut: Option<HeadCut>,
    /// The body.
    pub body: Body,
    /// Set if the whole head and the whole body are known.
    pub complete: bool,
    /// Number of bytes sent but unknown, as far as they can be counted.
    pub unread_bytes: u64,
    /// Set if this replaces an earlier, less complete version of the request,
    /// which was emitted because its remainder had not arrived in time.
    pub update: bool,
    /// The reason why the request was never sent. `None` if it was sent, or if
    /// that is not known.
    pub never_sent: Option<NeverSent>,
}

impl Request {
    /// Creates a lookup of a name.
    pub fn lookup(name: String, time: BootTime) -> Self {
        Self {
            time,
            protocol: Protocol::Dns,
            method: None,
            authority: Some(name),
            path: None,
            headers: Vec::new(),
            partial: Vec::new(),
            head_cut: None,
            body: Body::default(),
            complete: true,
            unread_bytes: 0,
            update: false,
            never_sent: None,
        }
    }

    /// Returns the known part of the path, possibly empty.
    pub fn target(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }

    /// Reports whether the path may continue in unknown bytes.
    pub fn path_is_cut(&self) -> bool {
        self.head_cut == Some(HeadCut::Target)
    }

    /// Returns the value of the first header field with that name, ignoring
    /// ASCII case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|h| &h.value[..])
    }
}

/// Reports whether the bytes start with a complete request line, or with the
/// preface of HTTP/2.
pub fn begins_with_request(bytes: &[u8]) -> bool {
    detect::is_message(bytes)
}

/// Reports whether `text` starts with `prefix`, ignoring ASCII case.
fn has_prefix(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
