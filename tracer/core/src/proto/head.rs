//! Builds the head of a request from the fields that HPACK or QPACK decoded.

use bytes::Bytes;

use crate::proto::hpack::{End, Section};
use crate::proto::pieces::Pieces;
use crate::proto::{Field, HeadCut, Header, Protocol, Request, Text};
use crate::record::BootTime;

/// The head of a request in HTTP/2 or HTTP/3.
#[derive(Debug, Clone)]
pub(super) struct Head {
    version: Protocol,
    time: BootTime,
    method: Option<String>,
    authority: Option<String>,
    path: Option<String>,
    /// The `:protocol` of an extended CONNECT (RFC 8441 section 4, RFC 9220).
    protocol: Option<Bytes>,
    headers: Vec<Header>,
    partial: Vec<Field>,
    /// Set if every field is known.
    whole: bool,
    /// Number of bytes missing in the block.
    unread: u64,
}

/// The data that a stream carries.
pub(super) enum Payload {
    /// A request body.
    Body,
    /// WebSocket frames (RFC 8441 section 5).
    WebSocket,
    /// Another protocol, in a tunnel.
    Tunnel,
}

impl Head {
    /// Returns a head whose header block was not captured.
    pub(super) fn unseen(version: Protocol, time: BootTime) -> Head {
        Head {
            version,
            time,
            method: None,
            authority: None,
            path: None,
            protocol: None,
            headers: Vec::new(),
            partial: Vec::new(),
            whole: false,
            unread: 0,
        }
    }

    /// Creates a head from a header block in which `unread` bytes are missing.
    pub(super) fn new(version: Protocol, time: BootTime, section: Section, unread: u64) -> Head {
        let whole = section.end == End::Complete && section.dropped == 0;
        let mut head = Head { whole, unread, ..Head::unseen(version, time) };
        head.extend(section.fields);
        head.whole &= head.method.is_some();
        if head.authority.is_none() {
            let host = head.headers.iter().find(|header| header.name == "host");
            head.authority = host.map(|host| string(&host.value));
        }
        head
    }

    /// Appends the fields of a trailer section (RFC 9113 section 8.1) to those
    /// of the head.
    pub(super) fn trailers(&mut self, section: Section, unread: u64) {
        self.whole &= section.end == End::Complete && section.dropped == 0;
        self.unread = self.unread.saturating_add(unread);
        self.extend(section.fields);
    }

    fn extend(&mut self, fields: Vec<Field>) {
        // Cookies may be split into one field per pair (RFC 9113 section
        // 8.2.3).
        let mut crumbs: Option<(usize, Vec<u8>)> = None;
        for field in fields {
            let (Some(name), Some(value)) = (field.name.whole(), field.value.whole()) else {
                self.add_partial(field);
                continue;
            };
            match &name[..] {
                b":method" => set(&mut self.method, || string(value)),
                b":authority" => set(&mut self.authority, || string(value)),
                b":path" => set(&mut self.path, || string(value)),
                b":protocol" => set(&mut self.protocol, || value.clone()),
                [b':', ..] => {}
                b"cookie" => {
                    if let Some((_, joined)) = &mut crumbs {
                        joined.extend_from_slice(b"; ");
                        joined.extend_from_slice(value);
                    } else {
                        crumbs = Some((self.headers.len(), value.to_vec()));
                        self.headers.push(Header { name: name.clone(), value: Bytes::new() });
                    }
                }
                _ => self.headers.push(Header { name: name.clone(), value: value.clone() }),
            }
        }
        if let Some((at, joined)) = crumbs {
            self.headers[at].value = Bytes::from(joined);
        }
    }

    fn add_partial(&mut self, field: Field) {
        self.whole = false;
        // The start of a path is useful; that of an authority would name
        // another host.
        let path = field.name.whole().is_some_and(|name| name == ":path");
        if let (true, Text::Start(start)) = (path && self.path.is_none(), &field.value)
            && !start.is_empty()
        {
            self.path = Some(string(start));
        }
        self.partial.push(field);
    }

    /// Returns the kind of data that follows this head (RFC 9113 section 8.5,
    /// RFC 8441 section 5).
    pub(super) fn payload(&self) -> Payload {
        match (self.method.as_deref(), self.protocol.as_deref()) {
            (Some("CONNECT"), Some(b"websocket")) => Payload::WebSocket,
            (Some("CONNECT"), _) => Payload::Tunnel,
            _ => Payload::Body,
        }
    }

    /// Returns the `:protocol` of an extended CONNECT.
    pub(super) fn protocol(&self) -> Option<&[u8]> {
        self.protocol.as_deref()
    }

    /// Returns the `:authority`, or the `Host` field.
    pub(super) fn authority(&self) -> Option<&str> {
        self.authority.as_deref()
    }

    /// Returns the number of bytes missing in the header blocks.
    pub(super) fn unread(&self) -> u64 {
        self.unread
    }

    /// Returns what may be missing. Partially known values are kept apart from
    /// the headers, so no header value is truncated.
    fn cut(&self) -> Option<HeadCut> {
        let path = |field: &Field| field.name.whole().is_some_and(|name| name == ":path");
        match self.whole {
            true => None,
            false if self.partial.iter().any(path) => Some(HeadCut::Target),
            false => Some(HeadCut::Fields),
        }
    }

    /// Builds the request from this head and `body`. `ended` is set if the
    /// client ended the stream.
    pub(super) fn into_request(self, body: Pieces, ended: bool) -> Request {
        Request {
            time: self.time,
            protocol: self.version,
            head_cut: self.cut(),
            method: self.method,
            authority: self.authority,
            path: self.path,
            headers: self.headers,
            partial: self.partial,
            complete: self.whole && ended && body.gaps().is_empty(),
            unread_bytes: self.unread.saturating_add(body.unread()),
            body: body.into_body(),
            update: false,
            never_sent: None,
        }
    }
}

/// Reports whether the fields belong to a head rather than a trailer section,
/// which has no pseudo-header fields (RFC 9113 section 8.1).
pub(super) fn is_head(fields: &[Field]) -> bool {
    fields.iter().any(|field| field.name.known().starts_with(b":"))
}

/// Sets a pseudo-header field. A repetition is invalid and ignored.
fn set<T>(field: &mut Option<T>, value: impl FnOnce() -> T) {
    if field.is_none() {
        *field = Some(value());
    }
}

/// Converts the bytes of a field, which are nearly always ASCII, to text.
fn string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
