use bytes::Bytes;

use super::*;
use crate::proto::{Gap, Protocol, Text};

mod differential;
mod hostile;

const DATA: u8 = 0x00;
const HEADERS: u8 = 0x01;
const RST_STREAM: u8 = 0x03;
const SETTINGS: u8 = 0x04;
const PUSH_PROMISE: u8 = 0x05;
const GOAWAY: u8 = 0x07;
const CONTINUATION: u8 = 0x09;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Builds a literal field, optionally inserted into the table.
fn literal(insert: bool, name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![if insert { 0x40 } else { 0x00 }];
    for text in [name, value] {
        assert!(text.len() < 127, "the length takes one byte");
        field.push(text.len() as u8);
        field.extend(text.bytes());
    }
    field
}

/// Builds the head of a request to a host sent as a literal.
fn head(method: &str, path: &str) -> Vec<u8> {
    let mut block = literal(false, ":method", method);
    block.push(0x87);
    block.extend(literal(false, ":authority", "example.org"));
    block.extend(literal(false, ":path", path));
    block
}

fn opening() -> Vec<u8> {
    [&PREFACE[..], &frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 100])].concat()
}

/// Decodes these writes as a new connection, at times counted from 1.
fn requests(writes: &[&[u8]]) -> (Vec<Request>, Connection) {
    let (mut connection, mut out) = (Connection::new(), Vec::new());
    for (time, write) in (1..).zip(writes) {
        connection.data(write, true, BootTime(time), &mut out);
    }
    (out, connection)
}

fn field(request: &Request, name: &str) -> Option<String> {
    request.header(name).map(|value| String::from_utf8(value.to_vec()).unwrap())
}

#[test]
fn a_request_is_read() {
    let block = [head("GET", "/a?b=c"), literal(false, "user-agent", "Mozilla/5.0")].concat();
    let (out, connection) = requests(&[&opening(), &frame(HEADERS, 0x05, 1, &block)]);
    let [request] = &out[..] else { panic!("{out:?}") };
    assert_eq!(request.protocol, Protocol::Http2);
    assert_eq!(request.time, BootTime(2));
    assert_eq!(request.method.as_deref(), Some("GET"));
    assert_eq!(request.authority.as_deref(), Some("example.org"));
    assert_eq!(request.path.as_deref(), Some("/a?b=c"));
    assert_eq!(field(request, "User-Agent").as_deref(), Some("Mozilla/5.0"));
    assert!(request.complete && request.head_cut.is_none());
    assert_eq!(connection.counters(), Counters::default());
}

#[test]
fn bodies_are_unpadded_and_kept_apart() {
    let (out, _) = requests(&[
        &opening(),
        // Padding and priority around the first part of the head.
        &frame(
            HEADERS,
            0x28,
            1,
            &[&[3, 0, 0, 0, 0, 9], &head("POST", "/1")[..20], &[0; 3]].concat(),
        ),
        &frame(CONTINUATION, 0, 1, &head("POST", "/1")[20..24]),
        &frame(CONTINUATION, 0x04, 1, &head("POST", "/1")[24..]),
        &frame(HEADERS, 0x04, 3, &head("POST", "/3")),
        &frame(DATA, 0x08, 1, b"\x04one \0\0\0\0"),
        &frame(DATA, 0x09, 3, b"\x00three"),
        &frame(DATA, 0, 1, b"and more"),
        &frame(DATA, 0x09, 1, b"\x02\0\0"),
    ]);
    let bodies: Vec<_> =
        out.iter().map(|r| (r.path.as_deref().unwrap(), &r.body.data[..], r.complete)).collect();
    assert_eq!(bodies, [("/3", &b"three"[..], true), ("/1", b"one and more", true)]);
}

#[test]
fn trailers_and_split_cookies_join_the_fields() {
    let block = [
        head("POST", "/"),
        literal(false, "cookie", "a=1"),
        literal(false, "x", "y"),
        literal(false, "cookie", "b=2"),
    ];
    let (out, _) = requests(&[
        &opening(),
        &frame(HEADERS, 0x04, 1, &block.concat()),
        &frame(DATA, 0, 1, b"body"),
        &frame(HEADERS, 0x05, 1, &literal(false, "x-checksum", "7")),
    ]);
    let [request] = &out[..] else { panic!("{out:?}") };
    let names: Vec<&[u8]> = request.headers.iter().map(|header| &header.name[..]).collect();
    assert_eq!(names, [&b"cookie"[..], b"x", b"x-checksum"]);
    assert_eq!(field(request, "cookie").as_deref(), Some("a=1; b=2"));
    assert!(request.complete);
}

#[test]
fn an_aborted_request_is_emitted() {
    let open =
        [opening(), frame(HEADERS, 0x04, 1, &head("POST", "/")), frame(DATA, 0, 1, b"begun")];
    let goaway = |code| frame(GOAWAY, 0, 0, &[0, 0, 0, 0, 0, 0, 0, code]);
    for (last, given_out) in [
        (frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]), true),
        (goaway(2), true),
        // The client leaves, but not before its streams have ended.
        (goaway(0), false),
    ] {
        let (out, mut connection) = requests(&[&open.concat(), &last]);
        assert_eq!(out.len(), usize::from(given_out));
        let mut out = out;
        connection.end(&mut out);
        assert_eq!(out.len(), 1);
        assert_eq!(&out[0].body.data[..], b"begun");
        assert!(out[0].head_cut.is_none() && !out[0].complete);
    }
}

#[test]
fn a_gap_within_a_payload_is_counted_down() {
    let (mut out, mut connection) = requests(&[
        &opening(),
        &frame(HEADERS, 0x04, 1, &head("POST", "/1")),
        &frame(DATA, 0x01, 1, &[b'a'; 1000])[..9 + 400],
    ]);
    connection.gap(Some(500), &mut out);
    connection.data(&[b'b'; 100], true, BootTime(4), &mut out);
    connection.data(&frame(HEADERS, 0x05, 3, &head("GET", "/3")), true, BootTime(5), &mut out);
    assert_eq!(out[0].body.data.len(), 500);
    assert_eq!(out[0].body.gaps, [Gap { at: 400, len: Some(500) }]);
    assert_eq!((out[0].unread_bytes, out[0].complete), (500, false));
    assert_eq!((out[1].path.as_deref(), out[1].complete), (Some("/3"), true));
    assert_eq!(connection.counters(), Counters { request_gaps: 500, ..Counters::default() });
}

#[test]
fn padding_never_becomes_body() {
    // The pad length is missing, alone or with the bytes after it, or with the
    // whole payload.
    let data = frame(DATA, 0x09, 1, b"\x04body\0\0\0\0");
    for lost in [1, 3, 9] {
        let (mut out, mut connection) =
            requests(&[&opening(), &frame(HEADERS, 0x04, 1, &head("POST", "/1")), &data[..9]]);
        connection.gap(Some(lost as u64), &mut out);
        connection.data(&data[9 + lost..], true, BootTime(4), &mut out);
        assert_eq!(&out[0].body.data[..], b"");
        assert_eq!(out[0].body.gaps, [Gap { at: 0, len: None }]);
    }
}

#[test]
fn a_gap_across_frames_loses_framing_table_and_body_ends() {
    let indexed = [head("POST", "/1"), literal(true, "x-id", "42")].concat();
    let (mut out, mut connection) = requests(&[
        &opening(),
        &frame(HEADERS, 0x04, 1, &indexed),
        &frame(DATA, 0, 1, &[b'a'; 1000])[..9 + 400],
    ]);
    connection.gap(Some(700), &mut out);
    connection.data(b"the middle of something", true, BootTime(4), &mut out);
    let again = [head("GET", "/3"), vec![0xbe]].concat();
    connection.data(&frame(HEADERS, 0x05, 3, &again), true, BootTime(5), &mut out);
    connection.data(&frame(DATA, 0x01, 1, b"end"), true, BootTime(6), &mut out);

    let unknown = crate::proto::Field { name: Text::UNKNOWN, value: Text::UNKNOWN };
    assert_eq!(out[0].path.as_deref(), Some("/3"));
    assert_eq!((&out[0].partial[..], out[0].head_cut.is_none()), (&[unknown][..], false));
    assert_eq!(&out[1].body.data[400..], b"end");
    assert_eq!(out[1].body.gaps, [Gap { at: 400, len: None }]);
    assert!(!out[1].complete);
    let counters = connection.counters();
    assert_eq!((counters.framing_lost, counters.unread_bytes), (1, 100 + 23));
}

#[test]
fn a_truncated_path_is_a_prefix() {
    let long = format!("/{}", "p".repeat(100));
    let block = [head("GET", &long), literal(false, "accept", "*/*")].concat();
    let whole = frame(HEADERS, 0x05, 1, &block);
    let cut = whole.len() - 60;
    for len in [Some(60), Some(61), None] {
        let (mut out, mut connection) = requests(&[&opening(), &whole[..cut]]);
        connection.gap(len, &mut out);
        let [request] = &out[..] else { panic!("{out:?}") };
        assert!(long.starts_with(request.path.as_deref().unwrap()));
        assert_eq!(request.authority.as_deref(), Some("example.org"));
        assert!(request.head_cut.is_some() && !request.complete);
        assert_eq!(request.unread_bytes, 60);
    }
    // A truncated host could be any host with that prefix.
    let host = whole.windows(7).position(|window| window == b"example").unwrap() + 5;
    let (mut out, mut connection) = requests(&[&opening(), &whole[..host]]);
    connection.end(&mut out);
    assert_eq!(out[0].authority, None);
    assert_eq!(out[0].partial[0].value, Text::Start(Bytes::from_static(b"examp")));
}

#[test]
fn a_connection_joined_late_is_read_from_the_next_send() {
    let block = [vec![0x82, 0x87, 0xbe], literal(false, ":path", "/seen")].concat();
    let (out, connection) = requests(&[
        b"rest of a frame",
        &frame(HEADERS, 0x05, 9, &block),
        &frame(DATA, 0x01, 7, b"its head was not seen"),
    ]);
    assert_eq!(out[0].method.as_deref(), Some("GET"));
    assert_eq!((out[0].authority.as_deref(), out[0].path.as_deref()), (None, Some("/seen")));
    assert!(out[0].head_cut.is_some());
    assert_eq!((out[1].method.as_deref(), out[1].path.as_deref()), (None, None));
    assert_eq!(&out[1].body.data[..], b"its head was not seen");
    assert_eq!(out[1].body.gaps, [Gap { at: 0, len: None }]);
    let counters = connection.counters();
    assert_eq!((counters.unread_bytes, counters.framing_lost), (15, 0));
}

#[test]
fn trailers_alone_are_not_a_head() {
    let trailers = frame(HEADERS, 0x05, 9, &literal(false, "x-checksum", "7"));
    let (out, _) = requests(&[&trailers]);
    assert_eq!(field(&out[0], "x-checksum").as_deref(), Some("7"));
    assert!(out[0].head_cut.is_some());
    // They prove that a body came before them, but not which.
    assert_eq!(out[0].body.gaps, [Gap { at: 0, len: None }]);
}

#[test]
fn frames_are_found_only_at_the_start_of_a_send() {
    let head = frame(HEADERS, 0x05, 9, &head("GET", "/"));
    for begins_send in [false, true] {
        let (mut connection, mut out) = (Connection::new(), Vec::new());
        connection.data(&head, begins_send, BootTime(0), &mut out);
        assert_eq!(out.len(), usize::from(begins_send));
    }
}

#[test]
fn complete_traffic_has_no_lost_heads() {
    let (out, connection) = requests(&[&opening(), &frame(DATA, 0x01, 5, b"stray")]);
    assert_eq!(out, []);
    assert_eq!(connection.counters().unread_bytes, 5);
}

#[test]
fn a_new_preface_starts_a_new_connection() {
    let first = [
        opening(),
        frame(HEADERS, 0x04, 1, &[head("POST", "/old"), literal(true, "x", "old")].concat()),
    ];
    let second = [
        opening(),
        frame(
            HEADERS,
            0x05,
            1,
            &[head("GET", "/new"), literal(true, "x", "new"), vec![0xbe]].concat(),
        ),
    ];
    let bytes = [first.concat(), second.concat()].concat();
    for at in 0..bytes.len() {
        let (mut out, mut connection) = requests(&[&bytes[..at], &bytes[at..]]);
        if at > 0 && at < 10 {
            // Too little of a preface to be recognised.
            continue;
        }
        connection.end(&mut out);
        let [old, new] = &out[..] else { panic!("{at}: {out:?}") };
        assert_eq!((old.path.as_deref(), old.complete), (Some("/old"), false));
        assert_eq!((new.path.as_deref(), new.complete), (Some("/new"), true));
        assert_eq!(connection.counters(), Counters::default(), "{at}");
    }
}

#[test]
fn a_body_cannot_start_a_new_connection() {
    let forged = [opening(), frame(HEADERS, 0x05, 1, &head("GET", "/forged"))].concat();
    let (out, _) = requests(&[
        &opening(),
        &frame(HEADERS, 0x04, 1, &head("POST", "/")),
        &frame(DATA, 0x01, 1, &forged)[..9],
        &forged,
    ]);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].body.data, forged);
}

#[test]
fn invalid_frames_lose_the_framing() {
    for broken in [
        frame(PUSH_PROMISE, 0x04, 1, &head("GET", "/")),
        frame(DATA, 0, 0, b"data"),
        frame(DATA, 0x08, 1, &[5, 0, 0, 0, 0]),
        frame(HEADERS, 0x05, 2, &head("GET", "/")),
        frame(CONTINUATION, 0x04, 1, &head("GET", "/")),
        frame(SETTINGS, 0, 0, &[0; 5]),
        [frame(HEADERS, 0, 1, &[0x82]), frame(DATA, 0, 1, b"")].concat(),
        [frame(HEADERS, 0, 1, &[0x82]), frame(CONTINUATION, 0x04, 3, b"")].concat(),
    ] {
        let (_, connection) = requests(&[&opening(), &broken]);
        let counters = connection.counters();
        assert_eq!((counters.invalid_frames, counters.framing_lost), (1, 1), "{broken:?}");
    }
}

#[test]
fn websockets_and_tunnels_are_not_bodies() {
    let connect = |protocol: Option<&str>| {
        let mut block = literal(false, ":method", "CONNECT");
        block.extend(literal(false, ":authority", "example.org"));
        if let Some(protocol) = protocol {
            block.extend(literal(false, ":protocol", protocol));
            block.extend(literal(false, ":path", "/socket"));
        }
        frame(HEADERS, 0x04, 1, &block)
    };
    // "hi", masked with zeros.
    let message = frame(DATA, 0, 1, &[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']);
    let (out, _) = requests(&[&opening(), &connect(Some("websocket")), &message]);
    assert_eq!((out[0].protocol, out[0].path.as_deref()), (Protocol::Http2, Some("/socket")));
    assert_eq!((out[1].protocol, out[1].path.as_deref()), (Protocol::WebSocket, Some("/socket")));
    assert_eq!((&out[1].body.data[..], out[1].complete), (&b"hi"[..], true));
    for protocol in [None, Some("connect-udp")] {
        let (out, connection) = requests(&[&opening(), &connect(protocol), &message]);
        assert_eq!(out.len(), 1);
        assert_eq!(connection.counters().unread_bytes, 8);
    }
}

#[test]
fn a_stalled_request_is_emitted_and_replaced() {
    let (mut out, mut connection) = requests(&[
        &opening(),
        &frame(HEADERS, 0x04, 1, &head("POST", "/quiet")),
        &frame(HEADERS, 0x04, 3, &head("POST", "/busy")),
    ]);
    connection.flush_stale(BootTime(3), &mut out);
    connection.flush_stale(BootTime(3), &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].body.gaps, [Gap { at: 0, len: None }]);
    connection.data(&frame(DATA, 0, 1, b"late"), true, BootTime(4), &mut out);
    connection.flush_stale(BootTime(5), &mut out);
    connection.data(&frame(DATA, 0x01, 1, b"r"), true, BootTime(6), &mut out);
    connection.end(&mut out);
    let emitted: Vec<_> = out
        .iter()
        .map(|r| (r.path.as_deref().unwrap(), &r.body.data[..], r.update, r.complete))
        .collect();
    assert_eq!(
        emitted,
        [
            ("/quiet", &b""[..], false, false),
            ("/quiet", b"late", true, false),
            ("/busy", b"", false, false),
            ("/quiet", b"later", true, true),
        ]
    );
}
