use std::{
    net::SocketAddr,
    sync::{Arc, LazyLock},
};

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use serde_json::Value;

use crate::{
    CLOCK, Evidence, har,
    pcapng::{
        self,
        http1::{Piece, pieces},
    },
};
use tracer_core::{
    alert::{
        fixtures,
        redact::{Key, Redactor},
    },
    finding::Finding,
    judge::JudgedRequest,
    knowledge::Knowledge,
    pipeline::{Output, Pipeline},
    proto::{Body, Gap, Header, Protocol, Request, parse_http1},
    record::{BootTime, Clock, Connection, Event, Hook, Process, Transport},
    stream::Sent,
};

const VISITED: &str = "https://news.example.org/politics/story-42?q=private";
const TIME: u64 = 1_795_341_600_000_000_000;

fn gzip(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
    gzip.finish().unwrap()
}

fn request(bytes: &[u8]) -> Request {
    let (mut requests, unread) = parse_http1(bytes);
    assert!(unread.is_empty());
    requests.pop().expect("a request")
}

fn post(fields: &str, body: &[u8]) -> Request {
    let head = format!(
        "POST /v1?id=7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11 HTTP/1.1\r\nHost: collector.example\r\n\
         Cookie: sid=0123456789abcdef; theme=dark\r\nContent-Length: {}\r\n{fields}\r\n",
        body.len()
    );
    request(&[head.as_bytes(), body].concat())
}

fn json() -> String {
    format!(r#"{{"url":"{VISITED}","n":1}}"#)
}

/// Returns requests of every kind, on different connections.
fn requests() -> Vec<(Request, Connection)> {
    let tls = |local: &str, remote: &str| Connection {
        key: 1,
        transport: Transport::Tls,
        local: Some(local.parse().unwrap()),
        remote: Some(remote.parse().unwrap()),
    };
    let v4 = tls("10.0.0.1:40000", "192.0.2.1:443");
    let v6 = tls("[2001:db8::1]:40000", "[2001:db8::2]:8443");
    let nowhere = Connection { key: 9, transport: Transport::Tcp, local: None, remote: None };
    let other = Connection { key: 10, ..nowhere };
    let plain = post("Content-Type: application/json\r\n", json().as_bytes());
    let compressed = post("Content-Encoding: gzip\r\n", &gzip(&json()));
    let chunked = request(
        [
            "PUT /c HTTP/1.1\r\nHost: collector.example\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"a\":\r\n",
            &format!("{:x}\r\n{}\r\n0\r\n\r\n", VISITED.len() + 3, format_args!("\"{VISITED}\"}}")),
        ]
        .concat()
        .as_bytes(),
    );
    let long = format!("{{\"pad\":\"{}\",\"url\":\"{VISITED}\"}}", "x".repeat(600_000));
    let h2 = Request {
        protocol: Protocol::Http2,
        headers: vec![Header {
            name: Bytes::from_static(b"referer"),
            value: Bytes::from_static(b"https://other.example/"),
        }],
        ..plain.clone()
    };
    let get = request(b"GET /g HTTP/1.1\r\nHost: collector.example\r\n\r\n");
    vec![
        (get.clone(), v4),
        (plain.clone(), v4),
        (compressed.clone(), v6),
        (chunked, nowhere),
        (post("", long.as_bytes()), v4),
        (h2, v6),
        (get, other),
        (compressed, other),
        (with_gap(&plain, 10, Some(7)), nowhere),
        (plain, nowhere),
    ]
}

/// Returns the request with a gap in its body.
fn with_gap(request: &Request, at: usize, len: Option<u64>) -> Request {
    let data = &request.body.data;
    let end = at + len.unwrap_or(1) as usize;
    let data = Bytes::from([&data[..at], data.get(end..).unwrap_or_default()].concat());
    let body = Body { data, gaps: vec![Gap { at, len }], ..request.body.clone() };
    Request { body, complete: false, unread_bytes: len.unwrap_or(0), ..request.clone() }
}

fn pipeline() -> Pipeline {
    /// Parsing them takes longer than a test.
    static KNOWLEDGE: LazyLock<Knowledge> = LazyLock::new(Knowledge::default);
    Pipeline::new(&KNOWLEDGE)
}

fn decoded(outputs: Vec<Output>) -> Vec<JudgedRequest> {
    let request = |output| match output {
        Output::Request(decoded) => Some(Arc::unwrap_or_clone(decoded)),
        _ => None,
    };
    outputs.into_iter().filter_map(request).collect()
}

fn decode(requests: Vec<(Request, Connection)>) -> Vec<JudgedRequest> {
    let mut pipeline = pipeline();
    let mut outputs = Vec::new();
    pipeline.push(Event::Clock(Clock { boot: BootTime(0), unix: TIME }), &mut outputs);
    for (i, (mut message, connection)) in requests.into_iter().enumerate() {
        message.time = BootTime(i as u64 * 1_000_000_000);
        let process = Process { uid: 10_123, tid: 8, tgid: 8, comm: "net".into() };
        pipeline.request(Sent { connection, hook: Hook::SslWrite, process, message }, &mut outputs);
    }
    decoded(outputs)
}

fn entries(all: &[JudgedRequest]) -> Vec<Evidence<'_>> {
    all.iter().map(|decoded| Evidence { decoded, phase: Some("idle") }).collect()
}

fn written_pcapng(all: &[JudgedRequest]) -> Vec<u8> {
    let mut file = Vec::new();
    pcapng::write(&mut file, &entries(all)).unwrap();
    file
}

fn written_har(all: &[JudgedRequest], redactor: &Redactor) -> String {
    let mut file = Vec::new();
    har::write(&mut file, &entries(all), redactor).unwrap();
    String::from_utf8(file).unwrap()
}

fn read_pcapng(file: &[u8]) -> Vec<JudgedRequest> {
    let mut reader = pcapng::Reader::new(file);
    let mut pipeline = pipeline();
    let mut outputs = Vec::new();
    while let Some(event) = reader.event().expect("a capture") {
        pipeline.push(event, &mut outputs);
    }
    pipeline.finish(&mut outputs);
    let mut all = decoded(outputs);
    // Requests are in order within their connection only.
    all.sort_by_key(|decoded| decoded.unix);
    all
}

fn read_har(file: &str) -> Vec<JudgedRequest> {
    let mut reader = har::Reader::new(file.as_bytes());
    let mut pipeline = pipeline();
    let mut outputs = Vec::new();
    pipeline.push(Event::Clock(CLOCK), &mut outputs);
    while let Some(sent) = reader.request().expect("a HAR") {
        pipeline.request(sent, &mut outputs);
    }
    decoded(outputs)
}

/// Returns the properties of a request that both formats keep.
fn summary(decoded: &JudgedRequest) -> (Option<&str>, &str, bool, Vec<&Finding>) {
    let request = &decoded.sent.message;
    let complete = request.complete;
    let path = request.target();
    (request.authority.as_deref(), path, complete, decoded.findings().collect())
}

#[test]
fn a_written_capture_is_read_with_the_same_findings() {
    let all = decode(requests());
    let file = written_pcapng(&all);
    let again = read_pcapng(&file);
    assert_eq!(again.len(), all.len());
    for (before, after) in all.iter().zip(&again) {
        assert_eq!(summary(before), summary(after));
        assert_eq!(before.unix, after.unix);
        assert_eq!(before.sent.message.unread_bytes, after.sent.message.unread_bytes);
        let endpoints =
            |decoded: &JudgedRequest| -> (Transport, Option<SocketAddr>, Option<SocketAddr>) {
                let connection = decoded.sent.connection;
                (connection.transport, connection.local, connection.remote)
            };
        assert_eq!(endpoints(before), endpoints(after));
        assert_eq!(after.sent.process.uid, 10_123);
    }
    // The longest request spans several packets.
    assert!(file.len() > 600_000);
    let text = String::from_utf8_lossy(&file);
    assert!(text.contains("(phase: idle)") && text.contains("by body > json.url"), "comments");
}

#[test]
fn a_written_har_is_read_with_the_same_findings() {
    let all = decode(requests());
    let again = read_har(&written_har(&all, &Redactor::off()));
    assert_eq!(again.len(), all.len());
    for (before, after) in all.iter().zip(&again) {
        let (authority, path, complete, findings) = summary(before);
        // A HAR contains the positions of gaps, but not their lengths.
        assert_eq!(summary(after), (authority, path, complete, findings));
        assert_eq!(before.unix, after.unix);
        assert_eq!(before.sent.message.protocol, after.sent.message.protocol);
        assert_eq!(before.sent.connection.transport, after.sent.connection.transport);
        assert_eq!(before.sent.message.body.data, after.sent.message.body.data);
    }
}

#[test]
fn a_written_har_has_all_required_members() {
    let all = decode(requests());
    let har: Value = serde_json::from_str(&written_har(&all, &Redactor::off())).unwrap();
    let log = &har["log"];
    assert_eq!((&log["version"], &log["creator"]["name"]), (&"1.2".into(), &"tracer".into()));
    for entry in log["entries"].as_array().unwrap() {
        for member in ["startedDateTime", "time", "request", "response", "cache", "timings"] {
            assert!(!entry[member].is_null(), "{member}: {entry}");
        }
        let request = &entry["request"];
        for member in ["method", "url", "httpVersion", "cookies", "headers", "queryString"] {
            assert!(!request[member].is_null(), "{member}: {entry}");
        }
        assert_eq!(entry["_tracer"]["phase"], "idle");
        assert_eq!(entry["_tracer"]["process"]["uid"], 10_123);
    }
    let entry = &log["entries"][1];
    assert_eq!(entry["startedDateTime"], "2026-11-22T10:00:01.000Z");
    assert_eq!(entry["request"]["queryString"][0]["name"], "id");
    assert_eq!(entry["request"]["cookies"][1]["value"], "dark");
    assert_eq!(entry["request"]["postData"]["text"], json());
    assert_eq!(entry["serverIPAddress"], "192.0.2.1");
    assert!(entry["_tracer"]["findings"][0]["chain"].is_string());
    let compressed = &log["entries"][2]["request"]["postData"];
    assert_eq!(compressed["encoding"], "base64");
}

#[test]
fn a_redacted_har_contains_no_secret() {
    let all = decode(requests());
    let redactor = Redactor::keyed(Key([7; 16]));
    let file = written_har(&all, &redactor);
    for secret in ["7f3c2a10", "0123456789abcdef", "q=private", "dark", "other.example/?x"] {
        assert!(!file.contains(secret), "{secret}");
    }
    assert!(file.contains("collector.example") && file.contains("redacted"));
    assert_eq!(read_har(&file).len(), all.len());
}

#[test]
fn written_websocket_messages_are_read() {
    let handshake = request(
        b"GET /socket HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    let message = |body: &[u8]| Request {
        protocol: Protocol::WebSocket,
        body: Body { data: Bytes::copy_from_slice(body), ..Body::default() },
        ..handshake.clone()
    };
    let connection = Connection { key: 1, transport: Transport::Tcp, local: None, remote: None };
    let bodies = [b"short".to_vec(), vec![b'x'; 300], vec![0xff; 70_000]];
    let mut all = vec![(handshake.clone(), connection)];
    all.extend(bodies.iter().map(|body| (message(body), connection)));
    let all = decode(all);
    let again = read_pcapng(&written_pcapng(&all));
    assert_eq!(again.len(), 4);
    for (before, after) in all.iter().zip(&again) {
        assert_eq!(before.sent.message.body.data, after.sent.message.body.data);
        assert_eq!(before.sent.message.protocol, after.sent.message.protocol);
    }
    // A single message is preceded by its handshake.
    assert_eq!(read_pcapng(&written_pcapng(&all[1..2])).len(), 2);
    let har: Value = serde_json::from_str(&written_har(&all, &Redactor::off())).unwrap();
    assert_eq!(har["log"]["entries"][1]["_webSocketMessages"][0]["data"], "short");
    assert_eq!(har["log"]["entries"][3]["_webSocketMessages"][0]["opcode"], 2);
}

#[test]
fn a_cut_head_is_written_up_to_the_cut() {
    let whole = b"POST /v1?a=b HTTP/1.1\r\nHost: collector.example\r\nX: y\r\n\r\n";
    for len in 0..whole.len() {
        for request in parse_http1(&whole[..len]).0 {
            let written = pieces(&request, false);
            let Some(Piece::Bytes(bytes)) = written.first() else { panic!("{len}") };
            assert!(whole.starts_with(bytes), "{len}: {}", bytes.escape_ascii());
            assert_eq!(written.len(), 2, "a gap follows: {len}");
        }
    }
}

#[test]
fn files_without_requests_or_with_an_unknown_request_are_read() {
    assert_eq!(read_pcapng(&written_pcapng(&[])).len(), 0);
    assert_eq!(read_har(&written_har(&[], &Redactor::off())).len(), 0);
    // A request without any known property.
    let mut decoded = fixtures::judged();
    let request = &mut decoded.sent.message;
    (request.method, request.authority, request.path) = (None, None, None);
    request.body = Body { gaps: vec![Gap { at: 0, len: None }], ..Body::default() };
    decoded.unix = None;
    let all = [decoded];
    let _ = written_pcapng(&all);
    assert_eq!(read_har(&written_har(&all, &Redactor::off())).len(), 1);
}

proptest! {
    /// Bodies are read with the same bytes and the same number of missing bytes.
    #[test]
    fn written_bodies_are_read_unchanged(
        data in proptest::collection::vec(any::<u8>(), 0..400),
        gaps in proptest::collection::vec((any::<prop::sample::Index>(), 1..50_u64), 0..4),
        chunked: bool,
    ) {
        let mut gaps: Vec<Gap> = gaps
            .into_iter()
            .map(|(at, len)| Gap { at: at.index(data.len() + 1), len: Some(len) })
            .collect();
        gaps.sort_by_key(|gap| gap.at);
        gaps.dedup_by_key(|gap| gap.at);
        let missing: u64 = gaps.iter().filter_map(|gap| gap.len).sum();
        let complete = gaps.is_empty();
        let fields = if chunked { "Transfer-Encoding: chunked\r\n" } else { "" };
        let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n");
        let mut request = parse_http1(head.as_bytes()).0.remove(0);
        request.body = Body { data: data.into(), gaps, chunked, ..Body::default() };
        (request.complete, request.unread_bytes) = (complete, missing);
        let connection = Connection { key: 1, transport: Transport::Tcp, local: None, remote: None };
        let all = decode(vec![(request, connection)]);
        let again = read_pcapng(&written_pcapng(&all));
        prop_assert_eq!(again.len(), 1);
        let (before, after) = (&all[0].sent.message, &again[0].sent.message);
        prop_assert_eq!(&before.body.data, &after.body.data);
        prop_assert_eq!(before.complete, after.complete);
        prop_assert_eq!(before.unread_bytes, after.unread_bytes);
        prop_assert_eq!(read_har(&written_har(&all, &Redactor::off())).len(), 1);
    }
}
