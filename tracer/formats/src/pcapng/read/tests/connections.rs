//! What becomes of a connection's packets.

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

/// What the pipeline makes of a file: each request's target, its body, and
/// whether it is whole.
fn requests(file: &[u8]) -> (Vec<(String, Vec<u8>, bool)>, Totals) {
    let mut pipeline = Pipeline::new(&Knowledge::default());
    let mut outputs = Vec::new();
    for event in read(file).0 {
        pipeline.push(event, &mut outputs);
    }
    pipeline.finish(&mut outputs);
    let request = |output| match output {
        Output::Request(decoded) => {
            let message = decoded.sent.message;
            Some((message.target().to_owned(), message.body.data.to_vec(), message.complete))
        }
        _ => None,
    };
    (outputs.into_iter().filter_map(request).collect(), *pipeline.totals())
}

fn whole() -> Vec<(String, Vec<u8>, bool)> {
    vec![("/v1".into(), BODY.to_vec(), true)]
}

/// The client's packets of a connection whose numbers wrap around: its SYN, and
/// the request in three segments.
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
fn a_request_is_read_and_its_answer_is_not() {
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
    // Only what begins a send says so.
    let begins: Vec<bool> = records.iter().map(|record| record.offset == 0).collect();
    assert_eq!(begins, [true, false, false, true]);
    assert_eq!(records[0].connection.local, Some("10.0.0.1:40000".parse().unwrap()));
    assert_eq!(records[0].connection.remote, Some("10.0.0.2:80".parse().unwrap()));
    assert_eq!(records[0].time.0, 2_000_000);
}

#[test]
fn segments_come_in_any_order_and_twice() {
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
fn what_the_capture_lost_is_counted() {
    let [syn, head, one, two] = segments();
    let end = two.seq.wrapping_add(20);
    // The server acknowledges it: it will not come.
    let (found, totals) =
        requests(&file(&[syn.clone(), head.clone(), two.clone(), server(end, ACK, b"")]));
    assert_eq!(found, [("/v1".into(), BODY[10..].to_vec(), false)]);
    assert_eq!(totals.missing_bytes, 10);
    // Nobody does: at the file's end.
    assert_eq!(requests(&file(&[syn.clone(), head.clone(), two.clone()])).0, found);
    // The connection's beginning is lost, and counted from the SYN.
    let (found, totals) = requests(&file(&[syn, one, two, server(end, ACK, b"")]));
    assert_eq!((found.len(), totals.missing_bytes), (0, HEAD.len() as u64));
    assert_eq!(totals.other_bytes, BODY.len() as u64);
}

/// Waiting ends also without the server's packets.
#[test]
fn nothing_waits_for_long() {
    let [syn, head, _, two] = segments();
    let end = two.seq.wrapping_add(20);
    let mut capture = File::of(1);
    for (ms, segment) in [(0, &syn), (1, &head), (2, &two), (9_000, &client(end, ACK, b"more"))] {
        capture.packet(ms * 1000, &segment.ethernet());
    }
    let mut reader = Reader::new(&capture.bytes[..]);
    let mut sent = 0;
    while let Some(event) = reader.event().unwrap() {
        sent += usize::from(matches!(event, Event::Sent(_)));
        // The file's end releases the rest.
        if reader.ended {
            break;
        }
    }
    assert_eq!(sent, 3);
}

#[test]
fn a_cut_packet_leaves_a_gap() {
    let [syn, head, one, two] = segments();
    let mut capture = File::of(1);
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
fn a_port_used_again_is_another_connection() {
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
fn the_client_is_found_without_its_syn() {
    let hello = b"\x16\x03\x01\0\x05\x01\0\0\x01\0";
    let ports = |from, to, payload: &'static [u8]| Tcp { from, to, ..client(7, ACK, payload) };
    for (first, from_client) in [
        (ports(40_000, 5000, b"GET / HTTP/1.1\r\n"), true),
        (ports(40_000, 5000, b"HTTP/1.1 200 OK\r\n"), false),
        (ports(5000, 40_000, hello), true),
        (ports(5000, 40_000, b"\x16\x03\x03\0\x05\x02\0\0\x01\0"), false),
        (ports(443, 40_000, b"\x17\x03\x03\0\x05....."), false),
        (ports(40_000, 443, b"\x17\x03\x03\0\x05....."), true),
        (ports(40_000, 5000, b"who speaks first"), true),
    ] {
        assert_eq!(
            records(&file(std::slice::from_ref(&first))).len(),
            usize::from(from_client),
            "{first:?}"
        );
    }
    // The answer to a SYN shows it as well.
    let all = [server(1, SYN | ACK, b""), client(1, ACK, b"anything")];
    assert_eq!(records(&file(&all)).len(), 1);
}

#[test]
fn datagrams_are_the_clients() {
    let mut capture = File::of(101);
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
    // Segments that wait for one that never comes, a connection each.
    let mut capture = File::of(1);
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
    // Port 80 talks to itself.
    assert_eq!(sent, 6000);
    assert_eq!(reader.flows.waiting(), 0);
    // Many of one connection.
    let mut capture = File::of(1);
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
    /// However a stream is cut into segments, shuffled and sent again, the
    /// records put it together again, if none waits for too long.
    #[test]
    fn a_stream_is_put_together(
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
        // Some first, some of them again, and then all that are not there yet.
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
