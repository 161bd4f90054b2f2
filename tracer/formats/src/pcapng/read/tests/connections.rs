//! Connections: order, gaps, and the client.

use proptest::prelude::*;

use super::{
    build::{ACK, File, PSH, SYN, Tcp, client, file, server, udp},
    *,
};
use tracer_core::{
    knowledge::Knowledge,
    pipeline::{Output, Pipeline, Totals},
    record::Transport,
};

const HEAD: &[u8] = b"POST /v1 HTTP/1.1\r\nHost: c.test\r\nContent-Length: 30\r\n\r\n";
const BODY: &[u8] = b"0123456789abcdefghijklmnopqrst";
const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";

/// Decodes a file. Returns the target and the body of each request, and whether
/// it is complete.
fn requests(file: &[u8]) -> (Vec<(String, Vec<u8>, bool)>, Totals) {
    let mut pipeline = Pipeline::new(&Knowledge::default());
    let mut outputs = Vec::new();
    for event in read(file).0 {
        pipeline.push(event, &mut outputs);
    }
    pipeline.finish(&mut outputs);
    let request = |output| match output {
        Output::Request(decoded) => {
            let message = decoded.sent.message.clone();
            Some((message.target().to_owned(), message.body.data.to_vec(), message.complete))
        }
        _ => None,
    };
    (outputs.into_iter().filter_map(request).collect(), *pipeline.totals())
}

fn whole() -> Vec<(String, Vec<u8>, bool)> {
    vec![("/v1".into(), BODY.to_vec(), true)]
}

/// Returns the client's packets of a connection whose sequence numbers wrap
/// around: the SYN and a request in three segments.
fn segments() -> [Tcp<'static>; 4] {
    let isn = u32::MAX - 40;
    let first = isn.wrapping_add(1);
    let body = first.wrapping_add(HEAD.len() as u32);
    [
        client(isn, SYN, b""),
        client(first, ACK, HEAD),
        client(body, ACK, &BODY[..10]),
        client(body.wrapping_add(10), ACK | PSH, &BODY[10..]),
    ]
}

#[test]
fn requests_are_read_and_responses_are_ignored() {
    let [syn, head, one, two] = segments();
    let end = two.seq.wrapping_add(20);
    let all = file(&[
        syn.clone(),
        server(syn.seq.wrapping_add(1), SYN | ACK, b""),
        head,
        one,
        two,
        server(end, ACK | PSH, ANSWER),
        // The next request, in a send of its own.
        client(end, ACK | PSH, b"GET /next HTTP/1.1\r\nHost: c.test\r\n\r\n"),
    ]);
    let (found, totals) = requests(&all);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!((&found[..1], &*found[1].0), (&whole()[..], "/next"));
    assert_eq!((totals.other_bytes, totals.missing_bytes), (0, 0));
    let records = records(&all);
    // Only the first segment of a send has no offset.
    let begins: Vec<bool> = records.iter().map(|record| record.offset == 0).collect();
    assert_eq!(begins, [true, false, false, true]);
    assert_eq!(records[0].connection.local, Some("10.0.0.1:40000".parse().unwrap()));
    assert_eq!(records[0].connection.remote, Some("10.0.0.2:80".parse().unwrap()));
    assert_eq!(records[0].time.0, 2_000_000);
}

#[test]
fn segments_can_be_reordered_and_repeated() {
    let [syn, head, one, two] = segments();
    let orders: [[&Tcp<'_>; 6]; 5] = [
        [&syn, &two, &one, &head, &two, &head],
        [&syn, &one, &one, &two, &head, &one],
        [&syn, &syn, &head, &two, &two, &one],
        [&syn, &head, &head, &one, &one, &two],
        [&syn, &two, &head, &one, &syn, &head],
    ];
    for order in orders {
        let (found, totals) = requests(&file(&order.map(Clone::clone)));
        assert_eq!(found, whole(), "{order:?}");
        assert_eq!(totals.missing_bytes, 0);
    }
}

#[test]
fn segments_that_the_capture_lost_are_counted() {
    let [syn, head, one, two] = segments();
    let end = two.seq.wrapping_add(20);
    // The server acknowledges the missing segment.
    let (found, totals) =
        requests(&file(&[syn.clone(), head.clone(), two.clone(), server(end, ACK, b"")]));
    assert_eq!(found, [("/v1".into(), BODY[10..].to_vec(), false)]);
    assert_eq!(totals.missing_bytes, 10);
    // The file ends without an acknowledgment.
    assert_eq!(requests(&file(&[syn.clone(), head.clone(), two.clone()])).0, found);
    // The start of the stream is lost, and counted from the SYN.
    let (found, totals) = requests(&file(&[syn, one, two, server(end, ACK, b"")]));
    assert_eq!((found.len(), totals.missing_bytes), (0, HEAD.len() as u64));
    assert_eq!(totals.other_bytes, BODY.len() as u64);
}

/// The wait is limited, even without packets of the server.
#[test]
fn a_segment_waits_for_a_limited_time() {
    let [syn, head, _, two] = segments();
    let end = two.seq.wrapping_add(20);
    let mut capture = File::with_link(1);
    for (ms, segment) in [(0, &syn), (1, &head), (2, &two), (9_000, &client(end, ACK, b"more"))] {
        capture.packet(ms * 1000, &segment.ethernet());
    }
    let mut reader = Reader::new(&capture.bytes[..]);
    let mut sent = 0;
    while let Some(event) = reader.event().unwrap() {
        sent += usize::from(matches!(event, Event::Sent(_)));
        // The end of the file would release all segments.
        if reader.ended {
            break;
        }
    }
    assert_eq!(sent, 3);
}

#[test]
fn a_cut_packet_leaves_a_gap() {
    let [syn, head, one, two] = segments();
    let mut capture = File::with_link(1);
    for segment in [&syn, &head, &one] {
        capture.packet(0, &segment.ethernet());
    }
    let frame = two.ethernet();
    capture.cut_packet(0, 0, &frame[..frame.len() - 5], frame.len(), &[]);
    let (found, totals) = requests(&capture.bytes);
    assert_eq!(found, [("/v1".into(), BODY[..25].to_vec(), false)]);
    assert_eq!(totals.missing_bytes, 5);
}

#[test]
fn a_new_syn_starts_another_connection() {
    let get = |isn: u32| {
        [
            client(isn, SYN, b""),
            client(isn + 1, ACK | PSH, b"GET /a HTTP/1.1\r\nHost: c.test\r\n\r\n"),
        ]
    };
    let all = [get(1000), get(900)].concat();
    let keys: Vec<u64> = records(&file(&all)).iter().map(|r| r.connection.key).collect();
    assert_eq!(keys, [1, 2]);
    assert_eq!(requests(&file(&all)).0.len(), 2);
}

#[test]
fn the_client_is_recognised_without_a_syn() {
    let hello = b"\x16\x03\x01\0\x05\x01\0\0\x01\0";
    let ports = |from, to, payload: &'static [u8]| Tcp { from, to, ..client(7, ACK, payload) };
    for (first, from_client) in [
        (ports(40_000, 5000, b"GET / HTTP/1.1\r\n"), true),
        (ports(40_000, 5000, b"HTTP/1.1 200 OK\r\n"), false),
        (ports(5000, 40_000, hello), true),
        (ports(5000, 40_000, b"\x16\x03\x03\0\x05\x02\0\0\x01\0"), false),
        (ports(443, 40_000, b"\x17\x03\x03\0\x05....."), false),
        (ports(40_000, 443, b"\x17\x03\x03\0\x05....."), true),
        (ports(40_000, 5000, b"the client sends first"), true),
    ] {
        assert_eq!(
            records(&file(std::slice::from_ref(&first))).len(),
            usize::from(from_client),
            "{first:?}"
        );
    }
    // A SYN-ACK identifies the server.
    let all = [server(1, SYN | ACK, b""), client(1, ACK, b"anything")];
    assert_eq!(records(&file(&all)).len(), 1);
}

#[test]
fn the_side_that_sends_requests_is_the_client() {
    const REQUEST: &[u8] = b"GET /a HTTP/1.1\r\nHost: c.test\r\n\r\n";
    let to = |from, to, seq, flags, payload: &'static [u8]| Tcp {
        from,
        to,
        ..client(seq, flags, payload)
    };
    let next = 100 + REQUEST.len() as u32;
    // Heard mid-connection, the server first.
    let joined = [
        to(8080, 40_000, 900_000, ACK | PSH, b"the end of an answer"),
        to(40_000, 8080, 100, ACK | PSH, REQUEST),
        to(8080, 40_000, 900_020, ACK | PSH, ANSWER),
        to(40_000, 8080, next, ACK | PSH, REQUEST),
    ];
    assert_eq!(requests(&file(&joined)).0.len(), 2);
    // The side that accepted the connection sends the requests.
    let reverse = [
        to(40_000, 8080, 99, SYN, b""),
        to(8080, 40_000, 99, SYN | ACK, b""),
        to(40_000, 8080, 100, ACK, b""),
        to(8080, 40_000, 100, ACK | PSH, REQUEST),
        to(40_000, 8080, 100, ACK | PSH, ANSWER),
        to(8080, 40_000, next, ACK | PSH, REQUEST),
    ];
    assert_eq!(requests(&file(&reverse)).0.len(), 2);
}

#[test]
fn a_keep_alive_probe_is_no_send() {
    let get = b"GET /a HTTP/1.1\r\nHost: c.test\r\n\r\n";
    let all = [client(6, ACK, b"\0"), server(7, ACK, b""), client(7, ACK | PSH, get)];
    let (found, totals) = requests(&file(&all));
    assert_eq!((found.len(), totals.other_bytes), (1, 0));
}

#[test]
fn a_lost_packet_costs_one_request() {
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: c.test\r\n\r\n").into_bytes();
    let [one, three, four] = ["/one", "/three", "/four"].map(get);
    let lost = 7 + one.len() as u32;
    let (third, fourth) = (lost + 66, lost + 66 + three.len() as u32);
    let capture = |answer: &'static [u8]| {
        file(&[
            client(6, SYN, b""),
            client(7, ACK | PSH, &one),
            server(lost, ACK | PSH, ANSWER),
            server(third, ACK | PSH, answer),
            client(third, ACK | PSH, &three),
            server(fourth, ACK | PSH, ANSWER),
            client(fourth, ACK | PSH, &four),
        ])
    };
    let (found, totals) = requests(&capture(ANSWER));
    let targets: Vec<_> = found.iter().map(|(target, ..)| &**target).collect();
    assert_eq!(targets, ["/one", "/three", "/four"]);
    assert_eq!(totals.missing_bytes, 66);
    // Without an answer, what follows the gap may be the rest of a body.
    assert_eq!(requests(&capture(b"")).0.len(), 2);
}

#[test]
fn headers_alone_leave_everything_unread() {
    let mut capture = File::with_link(1);
    for number in 0..3 {
        let frame = client(1000 * (number + 1), ACK | PSH, &[b'x'; 1000]).ethernet();
        capture.cut_packet(0, 0, &frame[..frame.len() - 1000], frame.len(), &[]);
    }
    let (found, totals) = requests(&capture.bytes);
    assert_eq!((found.len(), totals.missing_bytes), (0, 3000));
}

#[test]
fn only_datagrams_of_the_client_are_read() {
    let mut capture = File::with_link(101);
    let ip = |from, to, from_port, to_port, payload: &[u8]| {
        build::ipv4(from, to, 17, 0, &udp(from_port, to_port, payload))
    };
    let (a, b) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    capture.packet(0, &ip(b, a, 53, 3000, b"an answer"));
    capture.packet(0, &ip(a, b, 3000, 53, b"a question"));
    let records = records(&capture.bytes);
    assert_eq!(records.len(), 1);
    assert_eq!(&records[0].payload[..], b"a question");
    assert_eq!(records[0].connection.transport, Transport::Udp);
    assert_eq!((records[0].position, records[0].len), (None, Some(10)));
}

#[test]
fn memory_is_bounded() {
    // One segment in each connection waits for a missing one.
    let mut capture = File::with_link(1);
    for port in 0..6000_u16 {
        let open = Tcp { from: port, ..client(0, SYN, b"") };
        let ahead = Tcp { from: port, ..client(100, ACK, b"x") };
        capture.packet(0, &open.ethernet());
        capture.packet(0, &ahead.ethernet());
    }
    let mut reader = Reader::new(&capture.bytes[..]);
    let mut sent = 0;
    while let Some(event) = reader.event().unwrap() {
        sent += usize::from(matches!(&event, Event::Sent(record) if !record.payload.is_empty()));
        assert!(reader.flows.len() <= 4096);
    }
    // One of the connections is from port 80 to port 80.
    assert_eq!(sent, 6000);
    assert_eq!(reader.flows.waiting(), 0);
    // Many segments of one connection wait.
    let mut capture = File::with_link(1);
    capture.packet(0, &client(0, SYN, b"").ethernet());
    for i in (1..5000_u32).rev() {
        capture.packet(0, &client(2 * i, ACK, b"x").ethernet());
    }
    let mut reader = Reader::new(&capture.bytes[..]);
    while reader.event().unwrap().is_some() {
        assert!(reader.flows.waiting() <= 1025);
    }
}

proptest! {
    /// A stream is restored from segments of any size, in any order, with
    /// repetitions.
    #[test]
    fn a_stream_is_restored_from_its_segments(
        isn: u32,
        cuts in proptest::collection::vec(1..30_usize, 1..20),
        order in proptest::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let len: usize = cuts.iter().sum();
        let stream: Vec<u8> = (0..len).map(|i| i as u8).collect();
        let mut at = 0;
        let mut segments = Vec::new();
        for cut in cuts {
            let seq = isn.wrapping_add(1 + at as u32);
            segments.push(client(seq, ACK, &stream[at..at + cut]));
            at += cut;
        }
        // Any segments first, possibly repeated, and then all of them.
        let mut all = vec![client(isn, SYN, b"")];
        all.extend(order.iter().map(|index| index.get(&segments).clone()));
        all.extend(segments.iter().cloned());
        let mut next = isn.wrapping_add(1);
        let mut joined = Vec::new();
        for record in records(&file(&all)) {
            let seq = record.position.unwrap().wrapping_add(record.offset);
            let skip = next.wrapping_sub(seq) as usize;
            prop_assert!(skip < 1 << 16, "a gap");
            if let Some(new) = record.payload.get(skip..) {
                joined.extend_from_slice(new);
                next = next.wrapping_add(new.len() as u32);
            }
        }
        prop_assert_eq!(joined, stream);
    }
}
