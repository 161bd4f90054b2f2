//! Connections in protocols other than HTTP/1.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;
use crate::proto::Protocol;
use crate::proto::wire::tests::unhex;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const UPGRADE: &str = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\n\
                       Upgrade: WebSocket\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";

/// Builds an HTTP/2 frame.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [_, a, b, c] = (payload.len() as u32).to_be_bytes();
    [&[a, b, c, kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Builds HEADERS of `POST https://a.test/h2`, with authority and path as
/// literals.
fn post(stream: u8, flags: u8) -> Vec<u8> {
    frame(1, flags, stream, b"\x83\x87\x01\x06a.test\x04\x03/h2")
}

/// Builds a complete HTTP/2 request.
fn http2_request(stream: u8) -> Vec<u8> {
    [post(stream, 4), frame(0, 1, stream, b"body")].concat()
}

/// Builds a client WebSocket frame, masked with a key.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let key = [1, 2, 3, 4];
    let masked = payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
    let head = [first, 0x80 | payload.len() as u8];
    [&head[..], &key, &masked.collect::<Vec<u8>>()].concat()
}

/// Decodes a connection and accounts for all its bytes.
fn run(parts: &[Part]) -> (Vec<Message>, Traffic) {
    let mut decoder = decoder();
    let mut out = Vec::new();
    for part in parts {
        feed_part(&mut decoder, part, 0, &mut out);
    }
    decoder.end(&mut out);
    let traffic = account(&out);
    (out, traffic)
}

fn paths(requests: &[Request]) -> Vec<(Protocol, &str)> {
    requests.iter().map(|request| (request.protocol, request.target())).collect()
}

#[test]
fn http2_is_read_from_its_preface() {
    let connection = [PREFACE, &http2_request(1)].concat();
    for cut in 1..connection.len() {
        let (one, two) = connection.split_at(cut);
        let (requests, unread) = feed(&[send(one), Part::Piece(two.to_vec())]);
        assert_eq!(paths(&requests), [(Protocol::Http2, "/h2")], "{cut}");
        assert_eq!(&requests[0].body.data[..], b"body");
        assert!(requests[0].complete && unread.is_empty());
    }
}

#[test]
fn http2_follows_an_upgrade_or_another_connection() {
    let upgrade = "GET /h1 HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                   HTTP2-Settings: AAA\r\n\r\n";
    let (requests, unread) = feed(&[send(upgrade), send(PREFACE), send(http2_request(3))]);
    assert_eq!(paths(&requests), [(Protocol::Http1, "/h1"), (Protocol::Http2, "/h2")]);
    assert!(unread.is_empty());
    // The server refused.
    let (requests, unread) = feed(&[send(upgrade), send(GET)]);
    assert_eq!(requests.len(), 2);
    assert!(unread.is_empty());
    // TLS libraries reuse their objects, even in the middle of a frame.
    let unfinished = post(1, 4)[..20].to_vec();
    let (requests, _) =
        feed(&[send(PREFACE), send(unfinished), send(PREFACE), send(http2_request(1)), send(GET)]);
    assert_eq!(paths(&requests[1..]), [(Protocol::Http2, "/h2"), (Protocol::Http1, "/")]);
}

#[test]
fn http2_joined_late_is_read_in_part() {
    let (requests, unread) =
        feed(&[Part::Piece(b"rest of a frame".to_vec()), send(http2_request(5))]);
    assert_eq!(paths(&requests), [(Protocol::Http2, "/h2")]);
    assert_eq!(unread.unrecognised, 15);
}

/// Pages control the bytes of their uploads, and must not be able to forge
/// requests of the browser.
#[test]
fn uploads_are_not_requests() {
    let upload = "POST /up HTTP/1.1\r\nContent-Length: 1000\r\n\r\n";
    let (requests, _) = feed(&[send(upload), send(http2_request(1)), send("x")]);
    assert_eq!(requests.len(), 1);
    // Not even where the position in HTTP/1 was lost.
    let (requests, _) =
        feed(&[send(GET), send(upload), Part::Gap(None), send(http2_request(1)), send("x")]);
    assert_eq!(paths(&requests), [(Protocol::Http1, "/"), (Protocol::Http1, "/up")]);
    // Nor within a frame.
    let data = frame(0, 1, 1, GET.as_bytes());
    let (header, payload) = data.split_at(9);
    let (requests, unread) = feed(&[send(PREFACE), send(post(1, 4)), send(header), send(payload)]);
    assert_eq!(paths(&requests), [(Protocol::Http2, "/h2")]);
    assert_eq!(&requests[0].body.data[..], GET.as_bytes());
    assert!(unread.is_empty());
}

#[test]
fn a_stalled_http2_request_is_emitted_and_updated_later() {
    let mut decoder = decoder();
    let mut out = Vec::new();
    feed_part(&mut decoder, &send([PREFACE, &post(1, 4)].concat()), 10, &mut out);
    decoder.flush(BootTime(11), &mut out);
    feed_part(&mut decoder, &send(frame(0, 1, 1, b"late")), 20, &mut out);
    let emitted = requests(out);
    let emitted: Vec<_> = emitted.iter().map(|r| (r.update, r.complete)).collect();
    assert_eq!(emitted, [(false, false), (true, true)]);
}

#[test]
fn unread_http2_bytes_are_counted() {
    let connection = [PREFACE, &post(1, 4), &frame(0, 0, 1, &[b'x'; 100])].concat();
    let end = connection.len() - 60;
    let (out, traffic) = run(&[
        send(&connection[..end]),
        // The rest of a body, and an unknown number of bytes.
        Part::Gap(Some(60 + 30)),
        send("no frame"),
    ]);
    assert_eq!(requests(out)[0].unread_bytes, 60);
    assert_eq!((traffic.missing, traffic.unread.gaps, traffic.unread.http2), (90, 30, 8));
    assert_eq!((traffic.decoded, traffic.unkept), (end as u64, 0));
}

#[test]
fn bytes_not_kept_count_as_unread() {
    let body = vec![b'x'; (1 << 20) + 500];
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len() + 70);
    let (_, traffic) = run(&[send(&head), send(&body), Part::Gap(Some(70 + 30)), send(GET)]);
    assert_eq!((traffic.unkept, traffic.missing, traffic.unread.gaps), (500, 100, 30));
    assert_eq!(traffic.decoded, (head.len() + (1 << 20) + GET.len()) as u64);

    let mut parts = vec![send(PREFACE), send(post(1, 4))];
    parts.extend(body.chunks(1 << 14).map(|part| send(frame(0, 0, 1, part))));
    parts.push(send(frame(0, 1, 1, b"")));
    let (_, traffic) = run(&parts);
    assert_eq!((traffic.unkept, traffic.unread.http2, traffic.missing), (500, 0, 0));
}

#[test]
fn websocket_messages_become_requests_with_the_handshake_head() {
    let mut compressed = Vec::with_capacity(100);
    let text = br#"{"url":"https://b.test/page"}"#;
    let mut deflate = Compress::new(Compression::default(), false);
    deflate.compress_vec(text, &mut compressed, FlushCompress::Sync).unwrap();
    compressed.truncate(compressed.len() - 4);
    let (requests, unread) = feed(&[
        send(UPGRADE),
        send(masked(0x89, b"ping")),
        send(masked(0x81, b"plain")),
        send(masked(0xc1, &compressed)),
    ]);
    let chat = (Protocol::WebSocket, "/chat");
    assert_eq!(paths(&requests), [(Protocol::Http1, "/chat"), chat, chat]);
    assert_eq!(&requests[1].body.data[..], b"plain");
    assert_eq!(&requests[2].body.data[..], text);
    assert!(requests[2].authority.as_deref() == Some("a.test") && requests[2].complete);
    assert!(unread.is_empty());
}

#[test]
fn http_continues_after_a_refused_websocket() {
    let (requests, unread) = feed(&[send(UPGRADE), send(GET)]);
    assert_eq!(paths(&requests), [(Protocol::Http1, "/chat"), (Protocol::Http1, "/")]);
    assert!(unread.is_empty());
    // In one piece, as in files of requests.
    let (requests, unread) = feed(&[send([UPGRADE, GET].concat())]);
    assert_eq!(requests.len(), 2);
    assert!(unread.is_empty());
}

#[test]
fn bytes_lost_in_a_websocket_are_counted() {
    let message = masked(0x82, &[7; 100]);
    let (out, traffic) =
        run(&[send(UPGRADE), send(&message[..56]), Part::Gap(Some(50 + 20)), send("no frame")]);
    assert_eq!(requests(out)[1].unread_bytes, 50);
    assert_eq!((traffic.missing, traffic.unread.gaps, traffic.unread.websocket), (70, 20, 8));

    // Compressed data that cannot be decompressed counts as unread too.
    let broken = masked(0xc1, &[0xff; 40]);
    let (_, traffic) = run(&[send(UPGRADE), send(&broken[..20]), send(&broken[20..])]);
    assert_eq!(traffic.unread.websocket, 26);
}

fn hello() -> Vec<u8> {
    unhex(include_str!("../../tls/tests/openssl-3.0.hex"))
}

fn tls_data(len: usize) -> Vec<u8> {
    let [high, low] = (len as u16).to_be_bytes();
    [&[0x17, 3, 3, high, low], &vec![9; len][..]].concat()
}

#[test]
fn encrypted_traffic_has_a_server_name() {
    let parts = [send(hello()), send(tls_data(100)), Part::Gap(Some(11))];
    let (out, traffic) = run(&parts);
    let Message::Name(name) = &out[0] else { panic!("{out:?}") };
    assert_eq!((&name.name[..], name.source), ("www.example.org", NameSource::Tls));
    assert_eq!(traffic.server.as_ref(), Some(name));
    assert_eq!((traffic.handshake, traffic.unread.tls), (517, 105 + 11));
    assert_eq!((traffic.decoded, traffic.missing, out.len()), (0, 0, 2));
}

#[test]
fn ciphertext_with_captured_plaintext_is_not_unread() {
    let mut decoder = decoder();
    let mut out = Vec::new();
    feed_part(&mut decoder, &send(hello()), 0, &mut out);
    decoder.within_tls();
    feed_part(&mut decoder, &send(tls_data(100)), 0, &mut out);
    decoder.end(&mut out);
    let traffic = account(&out);
    assert_eq!((traffic.handshake, traffic.read_in_plain, traffic.unread.tls), (517, 105, 0));

    // Joined within a record: nothing else shows that it is TLS.
    let mut decoder = super::decoder();
    let mut out = Vec::new();
    decoder.within_tls();
    feed_part(&mut decoder, &Part::Piece(vec![9; 50]), 0, &mut out);
    feed_part(&mut decoder, &send(tls_data(100)), 0, &mut out);
    decoder.end(&mut out);
    assert_eq!(account(&out).read_in_plain, 155);
}

#[test]
fn quic_and_dns_reveal_server_names() {
    let connection = |transport, remote: &str| Connection {
        key: 1,
        transport,
        local: None,
        remote: Some(remote.parse().unwrap()),
    };
    let open = |transport, remote| {
        Decoder::open(&Limits::default(), &connection(transport, remote), BootTime(0))
    };
    let name = |message: &Message| match message {
        Message::Name(name) => (name.source, name.name.clone()),
        other => panic!("{other:?}"),
    };
    let initial = unhex(include_str!("../../quic/tests/rfc9001-a2.hex"));
    for remote in ["192.0.2.1:443", "192.0.2.1:53"] {
        let mut decoder = open(Transport::Udp, remote);
        let mut out = Vec::new();
        decoder.datagram(&initial, Some(0), BootTime(0), &mut out);
        decoder.datagram(b"\x40short", Some(0), BootTime(0), &mut out);
        decoder.end(&mut out);
        assert_eq!(name(&out[0]), (NameSource::Quic, "example.com".into()));
        assert_eq!(account(&out).unread.datagrams, 1206);
    }

    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
    let asked = (NameSource::Dns, "a.test".to_owned());
    let mut decoder = open(Transport::Udp, "192.0.2.1:53");
    let mut out = Vec::new();
    decoder.datagram(query, Some(0), BootTime(0), &mut out);
    decoder.datagram(query, Some(30), BootTime(0), &mut out);
    decoder.datagram(b"no query", Some(0), BootTime(0), &mut out);
    decoder.end(&mut out);
    assert_eq!([name(&out[0]), name(&out[1])], [asked.clone(), asked.clone()]);
    let traffic = account(&out);
    assert_eq!((traffic.decoded, traffic.unread.datagrams, traffic.missing), (48, 8, 30));

    let framed = [&[0, query.len() as u8], &query[..]].concat();
    let mut decoder = open(Transport::Tcp, "192.0.2.1:53");
    let mut out = Vec::new();
    feed_part(&mut decoder, &send(&framed), 0, &mut out);
    feed_part(&mut decoder, &send([0, 3, 1, 2, 3]), 0, &mut out);
    // Other protocols can use the port too.
    feed_part(&mut decoder, &send(GET), 0, &mut out);
    decoder.end(&mut out);
    assert_eq!(name(&out[0]), asked);
    assert_eq!(account(&out).unread.unrecognised, 5);
    assert_eq!(requests(out).len(), 1);
    // On other ports it is not DNS.
    let mut decoder = open(Transport::Udp, "192.0.2.1:1053");
    let mut out = Vec::new();
    decoder.datagram(query, Some(0), BootTime(0), &mut out);
    assert_eq!(out, []);
}

/// A STREAM frame: `POST https://a.test/p` with the body `hello`, in HTTP/3.
const HTTP3: &[u8] = b"\x09\x00\x01\x10\x00\x00\xd4\xd7\x50\x06a.test\x51\x02/p\x00\x05hello";

#[test]
fn the_streams_of_quic_packets_are_read() {
    let remote = Some("192.0.2.1:443".parse().unwrap());
    let connection = Connection { key: 1, transport: Transport::Quic, local: None, remote };
    let mut decoder = Decoder::open(&Limits::default(), &connection, BootTime(0));
    let mut out = Vec::new();
    // With a PING before it, and padding; then sent again, then a datagram.
    decoder.datagram(&[b"\x01\0\0", HTTP3].concat(), Some(0), BootTime(1), &mut out);
    decoder.datagram(HTTP3, Some(0), BootTime(2), &mut out);
    decoder.datagram(b"\x31\x02hi", Some(0), BootTime(3), &mut out);
    decoder.end(&mut out);
    let traffic = account(&out);
    let stream = HTTP3.len() as u64 - 2;
    assert_eq!((traffic.sent, traffic.decoded, traffic.unread.datagrams), (stream + 2, stream, 2));
    assert_eq!(traffic.server.map(|server| server.name).as_deref(), Some("a.test"));
    let requests = requests(out);
    assert_eq!((requests.len(), &requests[0].body.data[..]), (1, &b"hello"[..]));
}

#[test]
fn datagrams_whose_frames_are_recorded_are_read() {
    let initial = unhex(include_str!("../../quic/tests/rfc9001-a2.hex"));
    let mut decoder = decoder();
    let mut out = Vec::new();
    for (in_plain, bytes) in [(true, &initial[..]), (false, b"\x40other"), (true, b"\x40short")] {
        if in_plain {
            decoder.within_tls();
        }
        decoder.datagram(bytes, Some(0), BootTime(0), &mut out);
    }
    decoder.end(&mut out);
    let traffic = account(&out);
    assert_eq!((traffic.read_in_plain, traffic.unread.datagrams), (1206, 6));
    assert_eq!(traffic.server.map(|server| server.name).as_deref(), Some("example.com"));
}

/// Generates parts of connections, in any order and truncated anywhere.
fn part() -> impl Strategy<Value = Part> {
    let bytes = prop_oneof![
        Just(GET.as_bytes().to_vec()),
        Just(UPGRADE.as_bytes().to_vec()),
        Just(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n".to_vec()),
        Just(PREFACE.to_vec()),
        Just(http2_request(1)),
        Just(http2_request(3)),
        Just(masked(0x81, b"hello")),
        Just(masked(0xc1, b"\xf2\x48\xcd\xc9\xc9\x07\x00")),
        Just(tls_data(40)),
        Just(hello()),
        Just(b"\0\x18\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01".to_vec()),
        proptest::collection::vec(any::<u8>(), 1..40),
    ];
    prop_oneof![
        6 => (bytes, any::<proptest::sample::Index>(), any::<bool>()).prop_map(|(bytes, cut, whole)| {
            let len = if whole { bytes.len() } else { 1 + cut.index(bytes.len()) };
            Part::Send(bytes[..len].to_vec())
        }),
        2 => proptest::collection::vec(any::<u8>(), 1..40).prop_map(Part::Piece),
        1 => proptest::option::of(0u64..200).prop_map(Part::Gap),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// `account` checks that every byte is counted once.
    #[test]
    fn every_byte_of_quic_is_counted_once(
        packets in proptest::collection::vec(
            (0u8..3, 0u8..40, proptest::collection::vec(any::<u8>(), 0..30), 0u64..9),
            0..12,
        ),
    ) {
        let remote = Some("192.0.2.1:443".parse().unwrap());
        let connection = Connection { key: 1, transport: Transport::Quic, local: None, remote };
        let mut decoder = Decoder::open(&Limits::default(), &connection, BootTime(0));
        let mut out = Vec::new();
        for (at, (id, offset, bytes, missing)) in packets.into_iter().enumerate() {
            let packet = match id {
                0 => [b"\x0d\x00", &[offset][..], &HTTP3[4..]].concat(),
                1 => [b"\x0c\x00", &[offset][..], &bytes].concat(),
                _ => bytes,
            };
            decoder.datagram(&packet, Some(missing), BootTime(at as u64), &mut out);
            decoder.flush(BootTime(at as u64 / 2), &mut out);
        }
        decoder.end(&mut out);
        account(&out);
    }

    /// `account` checks that every byte is counted once.
    #[test]
    fn every_byte_is_counted_once(
        parts in proptest::collection::vec(part(), 0..12),
        linked_at in 0usize..24,
        to_dns: bool,
    ) {
        let mut decoder = Decoder { to_dns, ..decoder() };
        let mut out = Vec::new();
        let mut sent = 0;
        for (at, part) in parts.iter().enumerate() {
            if at == linked_at {
                decoder.within_tls();
            }
            feed_part(&mut decoder, part, at as u64, &mut out);
            decoder.flush(BootTime(at as u64), &mut out);
            sent += match part {
                Part::Send(bytes) | Part::Piece(bytes) => bytes.len() as u64,
                Part::Gap(len) => len.unwrap_or(0),
            };
        }
        decoder.end(&mut out);
        prop_assert_eq!(account(&out).sent, sent);
    }
}
