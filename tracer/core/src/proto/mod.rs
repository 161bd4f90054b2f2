//! Requests: what the byte streams say in the protocols that browsers speak.
//!
//! The [`Decoder`] finds out what a connection speaks and drives the parsers:
//!
//! ```text
//! HTTP/1 ─┬─ WebSocket (after an upgrade)   TLS ── ClientHello ─┐
//!         └─ HTTP/2 (h2c, a new preface)    QUIC ───────────────┼─ names
//! HTTP/2 ─── WebSocket (extended CONNECT)   DNS ── queries ─────┘
//! ```
//!
//! What it could not read is counted ([`Traffic`]), with the name of the
//! server where the connection says it.
//!
//! A parser here tells three things apart: a complete message, a truncated
//! one, and bytes that are not its protocol. It is never more certain with
//! fewer bytes.

mod decoder;
mod detect;
mod traffic;

mod http1;
mod initiator;
pub mod h2;
pub mod hpack;
mod pieces;
pub mod ws;

mod dns;
mod name;
mod quic;
mod tls;
mod wire;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::record::BootTime;

pub use decoder::{Decoder, Limits, Message, parse_http1};
pub use initiator::{Initiator, initiator};
pub use name::{NameSource, ServerName};
pub use traffic::{Traffic, Unread};

/// The protocol a request was sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Protocol {
    /// HTTP/1.0 or HTTP/1.1 (RFC 9112).
    #[serde(rename = "http/1.1")]
    Http1,
    /// HTTP/2 (RFC 9113).
    #[serde(rename = "h2")]
    Http2,
    /// HTTP/3 (RFC 9114): only other tools' recordings have it in plain.
    #[serde(rename = "h3")]
    Http3,
    /// One message of a WebSocket (RFC 6455), under the head of the handshake.
    #[serde(rename = "websocket")]
    WebSocket,
}

/// What is known of a string that was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// All of it.
    Whole(Bytes),
    /// How it begins: nothing at all where nothing is known.
    Start(Bytes),
}

impl Text {
    /// A string of which nothing is known.
    pub const UNKNOWN: Text = Text::Start(Bytes::new());

    /// The string, where all of it is known.
    pub fn whole(&self) -> Option<&Bytes> {
        match self {
            Text::Whole(bytes) => Some(bytes),
            Text::Start(_) => None,
        }
    }

    /// The known bytes, from the string's beginning on.
    pub fn known(&self) -> &Bytes {
        match self {
            Text::Whole(bytes) | Text::Start(bytes) => bytes,
        }
    }
}

/// A header field as header compression lets it be known: one that refers to
/// what was sent before the first captured byte has unknown parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The field name.
    pub name: Text,
    /// The field value.
    pub value: Text,
}

/// One header field, as sent (name case kept, value without the white space
/// around it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The field name.
    pub name: Bytes,
    /// The field value; a truncated head can cut it short.
    pub value: Bytes,
}

/// Bytes of a body that were sent but are not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Where in [`Body::data`] they are missing.
    pub at: usize,
    /// How many they are; `None` where nobody can tell.
    pub len: Option<u64>,
}

/// What is known of a request's body, transfer coding removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    /// The known bytes, joined.
    pub data: Bytes,
    /// Where bytes are missing, in order of [`Gap::at`]. A body that ends
    /// early has its last gap at `data.len()`.
    pub gaps: Vec<Gap>,
    /// It was sent with `Transfer-Encoding: chunked`.
    pub chunked: bool,
}

impl Body {
    /// The bytes before the first gap.
    pub fn prefix(&self) -> &[u8] {
        match self.gaps.first() {
            Some(gap) => &self.data[..gap.at],
            None => &self.data,
        }
    }
}

/// Where a head was cut: what of it may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadCut {
    /// In the target: the path may be longer, and fields may be missing.
    Target,
    /// In a field: the last value may be longer, and further fields may follow.
    LastField,
    /// Between fields: some may be missing. (That the last one was sent
    /// folded, and goes on, is not considered: nobody folds any more.)
    Fields,
}

/// One request of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// When its first byte was sent.
    pub time: BootTime,
    /// What it was sent in.
    pub protocol: Protocol,
    /// `GET`, `POST`, …; `None` where it cannot be known.
    pub method: Option<String>,
    /// Host and port asked for: the `Host` field, or an absolute target's own.
    /// `None` where the head was cut before its end.
    pub authority: Option<String>,
    /// The request target as sent: path and query, empty for `CONNECT`. Where
    /// the head was cut in it, its beginning; `None` where it cannot be known.
    pub path: Option<String>,
    /// The header fields, in order; then the trailer fields of a chunked body.
    pub headers: Vec<Header>,
    /// Fields known in part, in order, pseudo-header fields among them: an
    /// HTTP/2 connection joined late, or a cut header block. A field that is
    /// not in [`Request::headers`] may be one of these.
    pub partial: Vec<Field>,
    /// Where the head was cut; `None`: all of it is known.
    pub head_cut: Option<HeadCut>,
    /// The body.
    pub body: Body,
    /// The whole head and the whole body are known.
    pub complete: bool,
    /// How many bytes of it were sent and are not known, as far as they can
    /// be counted.
    pub unread_bytes: u64,
    /// It was given out before, with less of it known: its rest had stopped
    /// coming, and came after all. This one takes the place of that one.
    pub update: bool,
}

impl Request {
    /// What is known of the path; nothing where nothing is.
    pub fn target(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }

    /// Whether the path may go on in bytes that are not known.
    pub fn path_is_cut(&self) -> bool {
        self.head_cut == Some(HeadCut::Target)
    }

    /// The first header field of that name (ASCII case ignored).
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|h| h.name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|h| &h.value[..])
    }
}

/// `text` begins with `prefix`, ASCII case ignored.
fn has_prefix(text: &[u8], prefix: &[u8]) -> bool {
    text.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}
