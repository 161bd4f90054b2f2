//! Input that is not HTTP/2, or is malicious.

use proptest::prelude::*;

use super::*;
use crate::proto::exchange::{MAX_BODY, MAX_BUFFERED};

#[test]
fn memory_is_bounded() {
    let (mut connection, mut out) = (Connection::new(), Vec::new());
    connection.data(&opening(), true, BootTime(0), &mut out);
    let data = [b'x'; 16384];
    for stream in (1..2000).step_by(2) {
        let time = BootTime(u64::from(stream));
        connection.data(&frame(HEADERS, 0x04, stream, &head("POST", "/")), true, time, &mut out);
        for _ in 0..if stream < 40 { 80 } else { 1 } {
            connection.data(&frame(DATA, 0, stream, &data), true, time, &mut out);
        }
        assert!(connection.buffered() <= MAX_BUFFERED);
    }
    assert_eq!(connection.counters().evicted_streams, 1000 - MAX_STREAMS as u64);
    connection.end(&mut out);
    assert_eq!((out.len(), connection.buffered()), (1000, 0));
    let kept: u64 = out.iter().map(|r| r.body.data.len() as u64 + r.unread_bytes).sum();
    assert_eq!(kept, (20 * 80 + 980) * 16384);
    assert_eq!(out[0].body.data.len(), MAX_BODY);

    // An endless header block.
    connection.data(&opening(), true, BootTime(0), &mut out);
    connection.data(&frame(HEADERS, 0, 1, &data), true, BootTime(0), &mut out);
    for _ in 0..200 {
        connection.data(&frame(CONTINUATION, 0, 1, &data), true, BootTime(0), &mut out);
    }
    assert!(connection.buffered() <= MAX_BLOCK);
}

#[test]
fn other_protocols_are_not_read() {
    for other in [&b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"[..], b"\x16\x03\x01\0\x05hello"] {
        let (out, connection) = requests(&[other, other]);
        assert_eq!(out, []);
        assert_eq!(connection.counters().unread_bytes, 2 * other.len() as u64);
    }
}

proptest! {
    /// Random frames, some of them valid, in random writes with gaps.
    #[test]
    fn noise_is_harmless(
        frames in proptest::collection::vec(
            (0u8..0x11, any::<u8>(), 0u32..6, proptest::collection::vec(any::<u8>(), 0..40)),
            0..40,
        ),
        cuts in proptest::collection::vec((1usize..60, proptest::option::weighted(0.2, 0u64..50)), 1..40),
        opened: bool,
    ) {
        let mut bytes = if opened { opening() } else { Vec::new() };
        for (kind, flags, stream, payload) in frames {
            bytes.extend(frame(kind, flags, stream, &payload));
        }
        let (mut connection, mut out) = (Connection::new(), Vec::new());
        let mut rest = &bytes[..];
        for (len, gap) in cuts.into_iter().cycle().take(200) {
            let (write, after) = rest.split_at(len.min(rest.len()));
            connection.data(write, true, BootTime(0), &mut out);
            if let Some(gap) = gap {
                connection.gap((gap > 0).then_some(gap), &mut out);
            }
            rest = after;
        }
        connection.end(&mut out);
        prop_assert_eq!(connection.buffered(), 0);
        for request in out {
            prop_assert!(!request.complete || request.head_cut.is_none());
            prop_assert!(request.body.gaps.iter().all(|gap| gap.at <= request.body.data.len()));
        }
    }
}
