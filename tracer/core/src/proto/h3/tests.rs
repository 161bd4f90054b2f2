mod hostile;
mod recorded;

use bytes::Bytes;

use super::*;
use crate::proto::{HeadCut, Protocol};

/// Encodes a variable-length integer.
fn varint(number: u64) -> Vec<u8> {
    match number {
        0..0x40 => vec![number as u8],
        0x40..0x4000 => (number as u16 | 0x4000).to_be_bytes().to_vec(),
        0x4000..0x4000_0000 => (number as u32 | 0x8000_0000).to_be_bytes().to_vec(),
        _ => (number | 0xc000_0000_0000_0000).to_be_bytes().to_vec(),
    }
}

/// Returns an HTTP/3 frame.
fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [varint(kind), varint(payload.len() as u64), payload.to_vec()].concat()
}

/// Returns a STREAM frame.
fn stream(id: u64, offset: usize, bytes: &[u8], fin: bool) -> Vec<u8> {
    let kind = 0x0e | u64::from(fin);
    let numbers = [kind, id, offset as u64, bytes.len() as u64].map(varint).concat();
    [numbers, bytes.to_vec()].concat()
}

/// The field section of `POST https://a.test/p`, all in literals.
const HEAD: &[u8] = b"\x00\x00\xd4\xd7\x50\x06a.test\x51\x02/p";

/// What a stream with that request holds.
fn post(body: &[u8]) -> Vec<u8> {
    [frame(1, HEAD), frame(0, body)].concat()
}

/// A connection and its requests.
#[derive(Default)]
struct Run {
    connection: Connection,
    requests: Vec<Request>,
    time: u64,
}

impl Run {
    fn packet(&mut self, payload: &[u8]) -> &mut Self {
        self.time += 1;
        self.connection.packet(payload, payload.len(), BootTime(self.time), &mut self.requests);
        self
    }

    /// Ends the connection. Returns the requests, after checking that each byte is
    /// counted once.
    fn end(mut self) -> (Vec<Request>, Counters) {
        self.connection.end(&mut self.requests);
        assert_eq!(self.connection.streams.len(), 0);
        let counters = self.connection.counters();
        let unread = counters.unread_bytes + counters.webtransport_bytes + counters.datagram_bytes;
        assert!(unread + counters.missing <= counters.sent, "{counters:?}");
        assert!(counters.gaps_outside <= counters.missing, "{counters:?}");
        (self.requests, counters)
    }
}

fn run(packets: &[Vec<u8>]) -> (Vec<Request>, Counters) {
    let mut run = Run::default();
    packets.iter().for_each(|packet| {
        run.packet(packet);
    });
    run.end()
}

#[test]
fn a_request_is_read_however_its_stream_is_cut() {
    let bytes = post(b"hello");
    for split in 0..bytes.len() {
        let parts = [stream(0, 0, &bytes[..split], false), stream(0, split, &bytes[split..], true)];
        for order in [[0, 1], [1, 0]] {
            let (requests, counters) = run(&order.map(|at| parts[at].clone()));
            let [request] = &requests[..] else { panic!("{requests:?}") };
            assert_eq!(request.method.as_deref(), Some("POST"));
            assert_eq!((request.authority.as_deref(), request.target()), (Some("a.test"), "/p"));
            assert_eq!(
                (&request.body.data[..], request.protocol),
                (&b"hello"[..], Protocol::Http3)
            );
            assert!(request.complete);
            assert_eq!((counters.sent, counters.unread_bytes), (bytes.len() as u64, 0));
        }
    }
}

#[test]
fn a_retransmission_counts_once() {
    let bytes = post(b"hello");
    let packet = stream(0, 0, &bytes, true);
    let overlap = stream(0, 3, &bytes[3..], true);
    let (requests, counters) = run(&[packet.clone(), overlap, packet]);
    assert_eq!((requests.len(), counters.sent), (1, bytes.len() as u64));
}

#[test]
fn missing_bytes_of_a_body_are_a_gap() {
    let bytes = post(b"0123456789");
    let at = bytes.len() - 10;
    let (requests, counters) =
        run(&[stream(0, 0, &bytes[..at + 2], false), stream(0, at + 6, &bytes[at + 6..], true)]);
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!(&request.body.data[..], b"016789");
    assert_eq!(request.body.gaps, [crate::proto::Gap { at: 2, len: Some(4) }]);
    assert_eq!((request.complete, request.unread_bytes), (false, 4));
    assert_eq!((counters.missing, counters.gaps_outside, counters.request_gaps), (4, 0, 4));
}

#[test]
fn a_gap_over_a_frame_loses_the_rest_of_its_stream_only() {
    let bytes = [post(b"hello"), frame(0, b" world")].concat();
    let at = post(b"hello").len();
    let (requests, counters) = run(&[
        stream(0, 0, &bytes[..at - 3], false),
        stream(0, at + 1, &bytes[at + 1..], true),
        stream(4, 0, &post(b"other"), true),
    ]);
    let [other, request] = &requests[..] else { panic!("{requests:?}") };
    assert!(other.complete);
    assert_eq!((&request.body.data[..], request.complete), (&b"he"[..], false));
    // The last byte of the header of the second frame, and its payload.
    assert_eq!((counters.unread_bytes, counters.missing, counters.gaps_outside), (7, 4, 1));
    // Without its start, a stream is not read at all.
    let (requests, counters) = run(&[stream(0, 1, &bytes[1..], true)]);
    assert_eq!(requests, []);
    assert_eq!(counters.unread_bytes, bytes.len() as u64 - 1);
}

#[test]
fn a_gap_in_a_head_is_not_guessed() {
    let bytes = post(b"");
    let at = bytes.windows(2).position(|two| two == b"/p").unwrap();
    let (requests, _) =
        run(&[stream(0, 0, &bytes[..at], false), stream(0, at + 1, &bytes[at + 1..], true)]);
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((request.path.as_deref(), request.head_cut), (None, Some(HeadCut::Target)));
    assert_eq!(request.authority.as_deref(), Some("a.test"));
}

/// The encoder stream: a capacity, and the insertion of `:authority: b.test`.
const ENCODER: &[u8] = b"\x02\x3f\xe1\x1f\xc0\x06b.test";

/// The field section of `GET https://b.test/p`, which refers to it.
const DYNAMIC: &[u8] = b"\x02\x00\xd1\xd7\x80\x51\x02/p";

#[test]
fn a_head_waits_for_its_insertions() {
    let mut run = Run::default();
    run.packet(&stream(0, 0, &[frame(1, DYNAMIC), frame(0, b"body")].concat(), true));
    assert_eq!(run.requests, []);
    run.packet(&stream(6, 4, &ENCODER[4..], false));
    assert_eq!(run.requests, []);
    run.packet(&stream(6, 0, ENCODER, false));
    let [request] = &run.requests[..] else { panic!("{:?}", run.requests) };
    assert_eq!(
        (request.authority.as_deref(), &request.body.data[..]),
        (Some("b.test"), &b"body"[..])
    );
    assert!(request.complete);
}

#[test]
fn insertions_in_the_same_packet_are_seen_first() {
    let packet = [stream(0, 0, &frame(1, DYNAMIC), true), stream(2, 0, ENCODER, false)].concat();
    let (requests, _) = run(&[packet]);
    assert_eq!(requests[0].authority.as_deref(), Some("b.test"));
}

#[test]
fn a_head_whose_insertions_never_arrive_is_read_in_part() {
    // The connection was joined late; or the encoder stream lost a packet.
    let lost = stream(6, 4, &ENCODER[4..], false);
    for before in [vec![], vec![lost]] {
        let mut run = Run::default();
        before.iter().for_each(|packet| {
            run.packet(packet);
        });
        run.packet(&stream(0, 0, &frame(1, DYNAMIC), true));
        assert_eq!(run.requests, []);
        run.connection.flush_stale(BootTime(run.time + 1), &mut run.requests);
        let [request] = &run.requests[..] else { panic!("{:?}", run.requests) };
        assert_eq!((request.authority.as_deref(), request.target()), (None, "/p"));
        assert_eq!(request.head_cut, Some(HeadCut::Fields));
        // The table stays unknown, and nothing waits for it again.
        run.packet(&stream(4, 0, &frame(1, DYNAMIC), true));
        assert_eq!(run.requests.len(), 2);
    }
}

#[test]
fn a_stalled_request_is_emitted_and_updated_later() {
    let bytes = post(b"hello");
    let mut run = Run::default();
    run.packet(&stream(0, 0, &bytes[..bytes.len() - 2], false));
    run.connection.flush_stale(BootTime(2), &mut run.requests);
    run.connection.flush_stale(BootTime(3), &mut run.requests);
    run.packet(&stream(0, bytes.len() - 2, b"lo", true));
    let [early, late] = &run.requests[..] else { panic!("{:?}", run.requests) };
    assert_eq!((&early.body.data[..], early.complete, early.update), (&b"hel"[..], false, false));
    assert_eq!((&late.body.data[..], late.complete, late.update), (&b"hello"[..], true, true));
}

#[test]
fn bytes_that_stay_missing_are_given_up() {
    let bytes = post(b"hello");
    let mut run = Run::default();
    run.packet(&stream(0, 0, &bytes[..bytes.len() - 3], false));
    run.packet(&stream(0, bytes.len() - 1, b"o", true));
    run.connection.flush_stale(BootTime(3), &mut run.requests);
    let [request] = &run.requests[..] else { panic!("{:?}", run.requests) };
    assert_eq!((&request.body.data[..], request.unread_bytes), (&b"heo"[..], 2));
    // They are not counted when they arrive after all.
    run.packet(&stream(0, bytes.len() - 3, b"ll", false));
    let (requests, counters) = run.end();
    assert_eq!((requests.len(), counters.sent), (1, bytes.len() as u64));
}

#[test]
fn control_frames_and_extensions_are_skipped() {
    let settings = frame(4, b"\x01\x50\x00");
    let control = [
        &[0][..],
        &settings,
        &frame(0xf_0700, b"\x00u=1"),
        &frame(0x21 + 0x1f * 5, b"reserved"),
        &frame(0x0b, b"extension"),
        &frame(7, &[0]),
    ];
    let request = [frame(0x21, b"reserved"), post(b""), frame(0x40ab, b"extension")].concat();
    let (requests, counters) = run(&[
        stream(2, 0, &control.concat(), false),
        stream(6, 0, b"\x03\x80", false),
        stream(10, 0, b"\x21anything", false),
        stream(0, 0, &request, true),
    ]);
    assert_eq!((requests.len(), requests[0].complete), (1, true));
    assert_eq!((counters.goaways, counters.priority_updates, counters.unknown_frames), (1, 1, 2));
    assert_eq!(counters.unread_bytes, 2 * "extension".len() as u64 + 2 + 5);
}

#[test]
fn a_reset_ends_a_request() {
    let bytes = post(b"hello");
    let reset = [&[0x04][..], &varint(0), &varint(0x10c), &varint(bytes.len() as u64)].concat();
    let (requests, _) = run(&[stream(0, 0, &bytes[..bytes.len() - 2], false), reset]);
    let [request] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((&request.body.data[..], request.complete), (&b"hel"[..], false));
}

#[test]
fn tunnels_are_named_and_counted() {
    let connect = |protocol: &str| {
        let literal = |name: &str, value: &str| {
            let name = [&[0x27, name.len() as u8 - 7][..], name.as_bytes()].concat();
            [&name[..], &[value.len() as u8], value.as_bytes()].concat()
        };
        let head =
            [b"\x00\x00\xcf\xd7\x50\x06a.test\x51\x02/p", &literal(":protocol", protocol)[..]];
        frame(1, &head.concat())
    };
    let (requests, counters) = run(&[
        stream(0, 0, &[connect("webtransport"), frame(0, b"capsule")].concat(), false),
        stream(4, 0, b"\x40\x41\x00within a session", true),
        stream(2, 0, b"\x40\x54\x00within a session", true),
        stream(8, 0, &[connect("connect-udp"), frame(0, b"data")].concat(), false),
        b"\x31\x02hi".to_vec(),
    ]);
    let targets: Vec<_> = requests.iter().map(|request| request.method.as_deref()).collect();
    assert_eq!(targets, [Some("CONNECT"); 2]);
    assert_eq!((counters.extended_connects, counters.webtransport_sessions), (2, 1));
    assert_eq!((counters.webtransport_streams, counters.datagram_bytes), (2, 2));
    assert_eq!((counters.webtransport_bytes, counters.unread_bytes), (3 + 16 + 17, 11));
}

#[test]
fn a_websocket_over_http_3_is_read() {
    let literal = b"\x27\x02:protocol\x09websocket";
    let head = [&b"\x00\x00\xcf\xd7\x50\x06a.test\x51\x02/p"[..], literal].concat();
    // A masked text frame, with an empty mask.
    let message = frame(0, b"\x81\x82\0\0\0\0hi");
    let (requests, counters) = run(&[stream(0, 0, &[frame(1, &head), message].concat(), false)]);
    let [handshake, message] = &requests[..] else { panic!("{requests:?}") };
    assert_eq!((handshake.protocol, message.protocol), (Protocol::Http3, Protocol::WebSocket));
    assert_eq!((&message.body.data[..], counters.unread_bytes), (&b"hi"[..], 0));
}

#[test]
fn responses_are_not_requests() {
    // A server's answer on the client's stream; everything of a server that is
    // known as one.
    let answer = [frame(1, b"\x00\x00\xd9"), frame(0, b"hello")].concat();
    let (requests, counters) = run(&[stream(0, 0, &answer, true)]);
    assert_eq!((requests.len(), counters.unread_bytes), (0, 3 + 7));
    let (requests, counters) =
        run(&[stream(3, 0, b"\x00\x04\x00", false), stream(0, 0, &post(b"hello"), true)]);
    assert_eq!((requests.len(), counters.unread_bytes), (0, 3 + post(b"hello").len() as u64));
}

#[test]
fn other_protocols_are_not_read() {
    // DNS over QUIC (RFC 9250), and HTTP/0.9 as in interoperability tests.
    let dns = b"\x00\x1d\0\0\x01\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\x01\0\x01";
    for bytes in [&dns[..], b"GET /index.html\r\n", b"\x01\x02\xff\xff"] {
        let (requests, counters) = run(&[stream(0, 0, bytes, true)]);
        assert_eq!(requests, []);
        assert!(counters.unread_bytes + 4 >= counters.sent, "{counters:?}");
    }
}

#[test]
fn trailers_belong_to_the_request() {
    let trailers = frame(1, b"\x00\x00\x21x\x01y");
    let (requests, _) = run(&[stream(0, 0, &[post(b"a"), trailers].concat(), true)]);
    assert_eq!(requests[0].header("x"), Some(&b"y"[..]));
    assert!(requests[0].complete);
}

#[test]
fn the_first_authority_names_the_server() {
    let mut run = Run::default();
    run.packet(&stream(0, 0, &post(b""), true));
    let named = run.connection.authority().map(|(name, time)| (&name[..], time.0));
    assert_eq!(named, Some(("a.test", 1)));
}
