//! Writes requests as HAR for the browsers' developer tools, mitmproxy and
//! Charles. `_tracer` contains the alert of a request
//! (`docs/reference/alerts.md`) and the audit phase in which it was sent.
//!
//! Bodies that are not text are written in base64, with `"encoding": "base64"`,
//! as PCAPdroid and others do. In text, U+FFFD replaces each gap. Of other
//! bodies with gaps, only the bytes before the first gap are written.
//!
//! Responses are not captured. They have status 0, which tools write for
//! requests without a response.

use std::{
    borrow::Cow,
    io::{self, Write},
};

use data_encoding::BASE64;
use serde::Serialize;

use crate::Evidence;
use tracer_core::{
    alert::{Alert, Endpoints, RequestReport, SendingProcess, redact::Redactor, rfc3339},
    content::percent_decode,
    finding::Severity,
    proto::{Protocol, Request},
    record::{Hook, Transport},
    wording::counted,
};

/// Host of URLs whose host is not known.
const UNKNOWN_HOST: &str = "unknown.invalid";

/// Header fields whose values are not redacted: they reveal nothing about the
/// user that the rest of the request does not.
const PLAIN_FIELDS: [&str; 18] = [
    "accept",
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "host",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "sec-fetch-user",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Writes a HAR of the requests. Redaction removes bodies and cookies, and
/// replaces other values by digests.
///
/// # Errors
/// Returns an error if `out` cannot be written to.
pub fn write(mut out: impl Write, entries: &[Evidence<'_>], redactor: &Redactor) -> io::Result<()> {
    let creator = Creator { name: "tracer", version: env!("CARGO_PKG_VERSION") };
    write!(out, "{{\"log\":{{\"version\":\"1.2\",\"creator\":")?;
    serde_json::to_writer(&mut out, &creator)?;
    write!(out, ",\"pages\":[],\"entries\":[")?;
    for (i, entry) in entries.iter().enumerate() {
        out.write_all(if i == 0 { b"\n" } else { b",\n" })?;
        serde_json::to_writer(&mut out, &HarEntry::new(entry, redactor))?;
    }
    out.write_all(b"\n]}}\n")
}

#[derive(Serialize)]
struct Creator {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HarEntry<'a> {
    started_date_time: String,
    time: u8,
    request: HarRequest<'a>,
    response: Response,
    cache: Empty,
    timings: Timings,
    #[serde(rename = "serverIPAddress", skip_serializing_if = "Option::is_none")]
    server: Option<String>,
    connection: String,
    comment: String,
    #[serde(rename = "_resourceType", skip_serializing_if = "Option::is_none")]
    resource: Option<&'static str>,
    #[serde(rename = "_webSocketMessages", skip_serializing_if = "Vec::is_empty")]
    messages: Vec<Message<'a>>,
    #[serde(rename = "_tracer")]
    annotation: Annotation<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HarRequest<'a> {
    method: &'a str,
    url: String,
    http_version: &'static str,
    cookies: Vec<Pair<'a>>,
    headers: Vec<Pair<'a>>,
    query_string: Vec<Pair<'static>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_data: Option<PostData<'a>>,
    headers_size: i8,
    body_size: u64,
}

#[derive(Serialize)]
struct Pair<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostData<'a> {
    mime_type: Cow<'a, str>,
    text: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    params: [Empty; 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

/// A WebSocket message in the form of the developer tools and mitmproxy.
#[derive(Serialize)]
struct Message<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    time: f64,
    opcode: u8,
    data: Cow<'a, str>,
}

/// The response, which was not captured.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    status: u8,
    status_text: &'static str,
    http_version: &'static str,
    cookies: [Empty; 0],
    headers: [Empty; 0],
    content: NoContent,
    #[serde(rename = "redirectURL")]
    redirect_url: &'static str,
    headers_size: i8,
    body_size: i8,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NoContent {
    size: u8,
    mime_type: &'static str,
}

#[derive(Serialize)]
struct Timings {
    send: u8,
    wait: u8,
    receive: u8,
}

#[derive(Serialize)]
struct Empty {}

/// tracer's own data about a request.
#[derive(Serialize)]
struct Annotation<'a> {
    phase: Option<&'a str>,
    alert: Option<u64>,
    severity: Option<Severity>,
    reason: Option<String>,
    application: String,
    process: SendingProcess,
    hook: Hook,
    connection: Endpoints,
    #[serde(flatten)]
    content: RequestReport,
}

impl<'a> HarEntry<'a> {
    fn new(entry: &Evidence<'a>, redactor: &Redactor) -> Self {
        let decoded = entry.decoded;
        let sent = &decoded.sent;
        let alert = Alert::new(decoded).redacted(redactor);
        let unix = decoded.unix.unwrap_or_default();
        let is_message = sent.message.protocol == Protocol::WebSocket;
        let hides = redactor.redacts();
        Self {
            started_date_time: rfc3339(unix),
            time: 0,
            request: HarRequest::new(&sent.message, &alert, redactor),
            response: Response {
                status: 0,
                status_text: "",
                http_version: "",
                cookies: [],
                headers: [],
                content: NoContent { size: 0, mime_type: "" },
                redirect_url: "",
                headers_size: -1,
                body_size: -1,
            },
            cache: Empty {},
            timings: Timings { send: 0, wait: 0, receive: 0 },
            server: sent.connection.remote.map(|remote| remote.ip().to_string()),
            connection: sent.connection.key.to_string(),
            comment: entry.comment(&alert),
            resource: is_message.then_some("websocket"),
            messages: if is_message && !hides {
                vec![Message::new(&sent.message, unix)]
            } else {
                Vec::new()
            },
            annotation: Annotation {
                phase: entry.phase,
                alert: alert.alert,
                severity: alert.severity,
                reason: alert.reason,
                application: alert.application,
                process: alert.process,
                hook: alert.hook,
                connection: alert.connection,
                content: alert.content,
            },
        }
    }
}

impl<'a> HarRequest<'a> {
    fn new(request: &'a Request, alert: &Alert, redactor: &Redactor) -> Self {
        // Already redacted.
        let path = alert.content.request.path.as_deref().unwrap_or("/");
        let body = &request.body;
        let missing = body.gaps.iter().filter_map(|gap| gap.len).fold(0, u64::saturating_add);
        let is_message = request.protocol == Protocol::WebSocket;
        Self {
            method: request.method.as_deref().unwrap_or_default(),
            url: url(request, alert, path),
            http_version: match request.protocol {
                Protocol::Http1 | Protocol::WebSocket => "HTTP/1.1",
                Protocol::Dns => "DNS",
                Protocol::Http2 => "HTTP/2",
                Protocol::Http3 => "HTTP/3",
            },
            cookies: if redactor.redacts() { Vec::new() } else { cookies(request) },
            headers: request
                .headers
                .iter()
                .map(|field| Pair {
                    name: String::from_utf8_lossy(&field.name),
                    value: field_value(&field.name, &field.value, redactor),
                })
                .collect(),
            query_string: query(path, redactor),
            post_data: (!is_message).then(|| PostData::new(request, redactor)).flatten(),
            headers_size: -1,
            body_size: if is_message {
                0
            } else {
                (body.data.len() as u64).saturating_add(missing)
            },
        }
    }
}

fn url(request: &Request, alert: &Alert, path: &str) -> String {
    if request.protocol == Protocol::Dns {
        return format!("dns:{}", request.authority.as_deref().unwrap_or_default());
    }
    let is_message = request.protocol == Protocol::WebSocket;
    let scheme = match (alert.connection.transport, is_message) {
        (Transport::Tls | Transport::Quic, false) => "https",
        (Transport::Tls | Transport::Quic, true) => "wss",
        (Transport::Tcp | Transport::Udp | Transport::Raw, false) => "http",
        (Transport::Tcp | Transport::Udp | Transport::Raw, true) => "ws",
    };
    let remote = alert.connection.remote.map(|remote| remote.to_string());
    let authority = request.authority.clone().or(remote);
    let authority = authority.as_deref().unwrap_or(UNKNOWN_HOST);
    // A target in absolute form contains scheme and authority.
    match path.starts_with('/') {
        true => format!("{scheme}://{authority}{path}"),
        false if path.contains("://") => path.to_owned(),
        false => format!("{scheme}://{authority}/{path}"),
    }
}

/// Returns the value of a header field, redacted if necessary.
fn field_value<'a>(name: &[u8], value: &'a [u8], redactor: &Redactor) -> Cow<'a, str> {
    let value = String::from_utf8_lossy(value);
    let is_named = |known: &&str| name.eq_ignore_ascii_case(known.as_bytes());
    if !redactor.redacts() || PLAIN_FIELDS.iter().any(is_named) {
        value
    } else if ["referer", "origin"].iter().any(is_named) {
        redactor.url(&value).into()
    } else {
        redactor.value(&value).into()
    }
}

fn cookies(request: &Request) -> Vec<Pair<'_>> {
    let fields = request.headers.iter().filter(|h| h.name.eq_ignore_ascii_case(b"cookie"));
    let pairs = fields.flat_map(|field| field.value.split(|&b| b == b';'));
    let pair = |pair: &'_ [u8]| {
        let pair = pair.trim_ascii().to_owned();
        let at = memchr::memchr(b'=', &pair)?;
        let text = |bytes: &[u8]| Cow::Owned(String::from_utf8_lossy(bytes).into_owned());
        Some(Pair { name: text(pair.get(..at)?), value: text(pair.get(at + 1..)?) })
    };
    pairs.filter_map(pair).collect()
}

/// Splits the query into fields and decodes them. Digests are not decoded.
fn query(path: &str, redactor: &Redactor) -> Vec<Pair<'static>> {
    let Some((_, query)) = path.split_once('?') else {
        return Vec::new();
    };
    let text = |part: &str| {
        let decoded = percent_decode(part.as_bytes()).filter(|_| !redactor.redacts());
        let decoded = decoded.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        Cow::Owned(decoded.unwrap_or_else(|| part.to_owned()))
    };
    let pair = |field: &str| {
        let (name, value) = field.split_once('=').unwrap_or((field, ""));
        Pair { name: text(name), value: text(value) }
    };
    query.split('&').filter(|field| !field.is_empty()).map(pair).collect()
}

impl<'a> PostData<'a> {
    fn new(request: &'a Request, redactor: &Redactor) -> Option<Self> {
        let body = &request.body;
        if body.data.is_empty() && body.gaps.is_empty() {
            return None;
        }
        let mime_type = request.header("content-type").unwrap_or_default();
        let mime_type = String::from_utf8_lossy(mime_type);
        if redactor.redacts() {
            let comment = Some("redacted: the body was removed".to_owned());
            return Some(Self { mime_type, text: "".into(), encoding: None, params: [], comment });
        }
        let (text, encoding, omitted) = text(request);
        let comment = (!body.gaps.is_empty()).then(|| {
            let gaps = counted(body.gaps.len() as u64, "place");
            match omitted {
                0 => format!("bytes are missing in {gaps} (U+FFFD)"),
                omitted => format!(
                    "bytes are missing in {gaps}; {omitted} bytes after the first are omitted"
                ),
            }
        });
        Some(Self { mime_type, text, encoding, params: [], comment })
    }
}

/// Returns a body as text, the name of its encoding, and the number of known
/// bytes that are omitted.
fn text(request: &Request) -> (Cow<'_, str>, Option<&'static str>, usize) {
    const GAP: char = char::REPLACEMENT_CHARACTER;
    let body = &request.body;
    match std::str::from_utf8(&body.data) {
        Ok(text) if !text.contains(GAP) && body.gaps.is_empty() => (text.into(), None, 0),
        Ok(text)
            if !text.contains(GAP) && body.gaps.iter().all(|gap| text.is_char_boundary(gap.at)) =>
        {
            let mut joined = String::new();
            let mut from = 0;
            for gap in &body.gaps {
                let at = gap.at.max(from);
                joined.push_str(text.get(from..at).unwrap_or_default());
                joined.push(GAP);
                from = at;
            }
            joined.push_str(text.get(from..).unwrap_or_default());
            (joined.into(), None, 0)
        }
        _ => {
            let known = body.prefix();
            (BASE64.encode(known).into(), Some("base64"), body.data.len() - known.len())
        }
    }
}

impl<'a> Message<'a> {
    fn new(request: &'a Request, unix: u64) -> Self {
        let (data, encoding, _) = text(request);
        let opcode = if encoding.is_some() { 2 } else { 1 };
        Self { kind: "send", time: unix as f64 / 1e9, opcode, data }
    }
}
