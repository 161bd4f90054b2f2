//! The header fields of a request in a HAR.
//!
//! The list is what a tool knew, and not always what was sent. A field that it
//! lacks is only absent if the list is whole.

use bytes::Bytes;

use crate::json::{Text, Value};
use tracer_core::{
    proto::{self, Field, Header, Protocol, Request},
    record::Transport,
};

/// The header fields that a request object lists.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// The fields whose names and values are known.
    pub(super) fields: Vec<Header>,
    /// Fields of which only the name, or the start of the value, is known.
    pub(super) partial: Vec<Field>,
    /// Set if the list contains fields and all of them could be read.
    pub(super) is_whole: bool,
}

impl Listed {
    /// Reads the list: objects with `name` and `value`; pairs, if Slack wrote
    /// them; lines; or one object or text with all fields.
    pub(super) fn of(object: &Value) -> Self {
        let mut listed = Self { is_whole: true, ..Self::default() };
        match object.member("headers") {
            Some(Value::List(fields)) => fields.iter().for_each(|field| listed.element(field)),
            Some(Value::Object(fields)) => {
                // Repeated names have been lost.
                listed.is_whole = false;
                for (name, value) in fields {
                    listed.field(name.as_bytes(), Some(value));
                }
            }
            Some(Value::Text(head)) => {
                listed.is_whole = !head.cut;
                head.bytes.split(|&b| b == b'\n').for_each(|line| listed.line(line));
            }
            _ => {}
        }
        listed.is_whole &= !listed.fields.is_empty();
        listed
    }

    fn element(&mut self, field: &Value) {
        let [name, value] = match field {
            Value::List(pair) => [pair.first(), pair.get(1)],
            Value::Text(line) => return self.line(&line.bytes),
            field => ["name", "value"].map(|member| field.member(member)),
        };
        match name {
            Some(Value::Text(name)) if !name.cut => self.field(&name.bytes, value),
            _ => self.is_whole = false,
        }
    }

    /// Adds a line of the form `name: value`. Other lines are ignored.
    fn line(&mut self, line: &[u8]) {
        // The names of HTTP/2's own fields begin with a colon.
        let colon = line.iter().skip(1).position(|&b| b == b':').map(|at| at + 1);
        let Some((name, value)) = colon.and_then(|at| line.split_at_checked(at)) else {
            return;
        };
        let is_name = |name: &[u8]| name.iter().all(|b| b.is_ascii_graphic()) && !name.is_empty();
        if is_name(name) {
            self.add(name, value.get(1..).unwrap_or_default().trim_ascii());
        }
    }

    fn field(&mut self, name: &[u8], value: Option<&Value>) {
        if name.is_empty() {
            return;
        }
        match value {
            Some(Value::Text(text)) => self.text(name, text),
            Some(Value::Scalar(scalar)) => self.add(name, scalar.as_bytes()),
            // Node repeats a field by a list.
            Some(Value::List(values)) => {
                for value in values {
                    match value {
                        Value::Text(text) => self.text(name, text),
                        _ => self.unknown(name, &[]),
                    }
                }
            }
            // Firefox can write its own objects: a string, or the start of a long
            // one. What they hold is read, and the list counts as incomplete.
            Some(object @ Value::Object(_)) => {
                self.is_whole = false;
                match ["value", "text", "string"].iter().find_map(|name| object.text(name)) {
                    Some(text) => self.text(name, text),
                    None => {
                        let start = object.text("initial");
                        self.unknown(name, start.map_or(&[], |start| &start.bytes));
                    }
                }
            }
            Some(Value::Null) | None => self.unknown(name, &[]),
        }
    }

    fn text(&mut self, name: &[u8], text: &Text) {
        self.add(name, &text.bytes);
    }

    fn add(&mut self, name: &[u8], value: &[u8]) {
        let [name, value] = [name, value].map(|text| Bytes::copy_from_slice(text.trim_ascii()));
        self.fields.push(Header { name, value });
    }

    /// Adds a field of whose value only the start is known.
    fn unknown(&mut self, name: &[u8], start: &[u8]) {
        self.is_whole = false;
        self.partial.push(Field {
            name: proto::Text::Whole(Bytes::copy_from_slice(name)),
            value: proto::Text::Start(Bytes::copy_from_slice(start)),
        });
    }
}

/// Reports whether the fields are "provisional": those that a browser's developer
/// tools knew before the browser completed the head. The initiator must not be
/// guessed from the absence of fields then.
///
/// HTTP/1.1 requires `Host`. Over TLS, Chromium always sends `sec-fetch-site`,
/// which it adds last, and only browsers that do send `sec-ch-ua`. The handshake of
/// a WebSocket is an exception.
pub(super) fn are_provisional(
    request: &Request,
    transport: Transport,
    from_chromium: bool,
) -> bool {
    let has = |name| request.header(name).is_some();
    if has("sec-fetch-site") {
        return false;
    }
    let is_bare = request.protocol == Protocol::Http1 && !has("host");
    let lacks_metadata = transport == Transport::Tls && (from_chromium || has("sec-ch-ua"));
    is_bare || lacks_metadata && !has("sec-websocket-key")
}

/// Adds the header field `cookie` from the list of cookies if it is missing.
pub(super) fn add_cookies(object: &Value, headers: &mut Vec<Header>) {
    if headers.iter().any(|header| header.name.eq_ignore_ascii_case(b"cookie")) {
        return;
    }
    let mut joined = Vec::new();
    for cookie in object.list("cookies") {
        let (Some(name), Some(value)) = (cookie.text("name"), cookie.text("value")) else {
            continue;
        };
        if !joined.is_empty() {
            joined.extend_from_slice(b"; ");
        }
        joined.extend_from_slice(&name.bytes);
        joined.push(b'=');
        joined.extend_from_slice(&value.bytes);
    }
    if !joined.is_empty() {
        headers.push(Header { name: Bytes::from_static(b"cookie"), value: joined.into() });
    }
}
