//! Packets that no client sends.

use proptest::prelude::*;

use super::*;

/// Estimated memory beyond the limit: one packet, and the table.
const SLACK: usize = 1 << 20;

#[test]
fn memory_is_bounded() {
    let body = [b'x'; 1200];
    // Many uploads at once; bytes that never become contiguous; heads that wait.
    let upload = |n: u64| stream(4 * (n % 1000), (n / 1000) as usize * 1200, &body, false);
    let scattered = |n: u64| stream(4 * (n % 100), n as usize * 1000 + 1, &body[..500], false);
    let bytewise = |n: u64| stream(0, n as usize * 2 + 1, b"x", false);
    let blocked = |n: u64| {
        let head = [frame(1, DYNAMIC), vec![0, 0x80, 0xff, 0xff, 0xff]].concat();
        match n / 100 {
            0 => stream(4 * n, 0, &head, false),
            round => stream(4 * (n % 100), head.len() + (round as usize - 1) * 1200, &body, false),
        }
    };
    let untyped = |n: u64| stream(4 * n + 2, 0, b"\x80", false);
    check_memory(upload, 10_000);
    check_memory(scattered, 20_000);
    check_memory(bytewise, 150_000);
    check_memory(blocked, 9_000);
    check_memory(untyped, 2_000);
}

fn check_memory(packet: impl Fn(u64) -> Vec<u8>, count: u64) {
    let mut run = Run::default();
    for n in 0..count {
        run.packet(&packet(n));
        if n % 500 == 0 {
            let buffered = run.connection.buffered();
            assert!(buffered <= MAX_BUFFERED + SLACK, "{n} {buffered}");
            assert!(run.connection.streams.len() <= MAX_STREAMS);
        }
    }
    run.end();
}

#[test]
fn huge_numbers_are_not_believed() {
    let far = [&[0x0e, 0x00][..], &varint(1 << 61), &varint(1), b"x"].concat();
    let (requests, counters) = run(&[far, stream(0, 0, &post(b"a"), true)]);
    assert_eq!((requests.len(), counters.missing, counters.unread_bytes), (1, 0, 1));
    // Ends that contradict each other, or what was sent.
    let bytes = post(b"hello");
    let (requests, counters) = run(&[
        stream(0, 0, &bytes, false),
        stream(0, 3, b"", true),
        stream(0, bytes.len(), b"", true),
        stream(0, bytes.len() + 7, b"", true),
    ]);
    assert_eq!((requests.len(), requests[0].complete, counters.missing), (1, true, 0));
}

#[test]
fn quiet_streams_are_closed_to_make_room() {
    let mut run = Run::default();
    for n in 0..MAX_STREAMS as u64 + 10 {
        run.packet(&stream(4 * n, 0, &post(b""), false));
    }
    assert_eq!(run.requests.len(), 10);
    assert!(run.requests.iter().all(|request| !request.complete));
    // What follows on them belongs to no request.
    run.packet(&stream(0, post(b"").len(), &frame(0, b"late"), true));
    let (requests, counters) = run.end();
    assert_eq!(requests.len(), MAX_STREAMS + 10);
    assert_eq!((counters.evicted_streams, counters.unread_bytes), (10, 6));
}

proptest! {
    #[test]
    fn no_packet_panics(
        packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..100), 0..8),
    ) {
        let (mut connection, mut out) = (Connection::new(), Vec::new());
        for (time, packet) in packets.iter().enumerate() {
            let time = BootTime(time as u64);
            connection.packet(packet, packet.len() + packet.len() % 7, time, &mut out);
            connection.flush_stale(time, &mut out);
        }
        connection.end(&mut out);
    }

    /// Any bytes on any streams, in pieces, lost and repeated.
    #[test]
    fn no_stream_panics(
        pieces in proptest::collection::vec(
            (0u64..12, 0usize..60, proptest::collection::vec(any::<u8>(), 0..40), any::<bool>()),
            0..20,
        ),
        start in proptest::sample::select(vec![vec![], post(b"abc"), ENCODER.to_vec(), vec![0, 4]]),
    ) {
        let mut run = Run::default();
        for (id, offset, bytes, fin) in pieces {
            run.packet(&stream(id, 0, &start, false));
            run.packet(&stream(id, offset, &bytes, fin));
            run.connection.flush_stale(BootTime(run.time / 2), &mut run.requests);
        }
        run.end();
    }
}
