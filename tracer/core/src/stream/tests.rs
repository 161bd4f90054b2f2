use std::net::Ipv4Addr;

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

/// A part of the stream, as received by the parser.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Received {
    Data(Vec<u8>, bool),
    Gap(Option<u64>),
    Datagram(Vec<u8>, Option<u64>),
    Flush,
    End,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Part(BootTime, Received);

impl Dated for Part {
    fn time(&self) -> BootTime {
        self.0
    }
}

/// Reports every call immediately, and pretends to buffer all data.
#[derive(Debug, Default)]
struct Echo {
    buffered: usize,
}

impl StreamParser for Echo {
    type Settings = ();
    type Message = Part;

    fn open((): &(), _: &Connection, _: BootTime) -> Self {
        Self::default()
    }

    fn chunk(&mut self, chunk: Chunk<'_>, time: BootTime, out: &mut Vec<Part>) {
        out.push(match chunk {
            Chunk::Data { bytes, begins_send } => {
                self.buffered += bytes.len();
                Part(time, Received::Data(bytes.to_vec(), begins_send))
            }
            Chunk::Gap(len) => Part(time, Received::Gap(len)),
        });
    }

    fn datagram(
        &mut self,
        bytes: &[u8],
        missing: Option<u64>,
        time: BootTime,
        out: &mut Vec<Part>,
    ) {
        out.push(Part(time, Received::Datagram(bytes.to_vec(), missing)));
    }

    fn flush(&mut self, before: BootTime, out: &mut Vec<Part>) {
        out.push(Part(before, Received::Flush));
    }

    fn end(&mut self, out: &mut Vec<Part>) {
        out.push(Part(BootTime(0), Received::End));
    }

    fn buffered(&self) -> usize {
        self.buffered
    }
}

fn connection(key: u64) -> Connection {
    let remote = SocketAddr::from((Ipv4Addr::LOCALHOST, 443));
    Connection { key, transport: Transport::Tcp, local: None, remote: Some(remote) }
}

fn process(tgid: u32) -> Process {
    Process { uid: 1000, tgid, tid: tgid, comm: "browser".to_owned() }
}

/// A send consisting of `payload`.
fn record(position: impl Into<Option<u32>>, payload: &[u8]) -> Record {
    Record {
        hook: Hook::SysEnter,
        time: BootTime(1_000_000_000),
        process: process(1),
        connection: connection(1),
        within_tls: None,
        position: position.into(),
        offset: 0,
        len: Some(payload.len() as u32),
        payload: Bytes::copy_from_slice(payload),
    }
}

fn streams() -> Streams<Echo> {
    Streams::new(Limits::default(), ())
}

fn push(streams: &mut Streams<Echo>, record: &Record) -> Vec<Received> {
    let mut out = Vec::new();
    streams.push(record, &mut out);
    received(out)
}

fn received(out: Vec<Sent<Part>>) -> Vec<Received> {
    out.into_iter().map(|sent| sent.message.1).collect()
}

fn data(bytes: &[u8]) -> Received {
    Received::Data(bytes.to_vec(), true)
}

fn later(bytes: &[u8]) -> Received {
    Received::Data(bytes.to_vec(), false)
}

#[test]
fn sends_follow_each_other() {
    let mut streams = streams();
    assert_eq!(push(&mut streams, &record(100, b"abc")), [data(b"abc")]);
    assert_eq!(push(&mut streams, &record(103, b"de")), [data(b"de")]);
}

#[test]
fn lost_records_are_counted() {
    let mut streams = streams();
    push(&mut streams, &record(u32::MAX - 1, b"abc"));
    assert_eq!(push(&mut streams, &record(8, b"x")), [Received::Gap(Some(7)), data(b"x")]);
    assert_eq!(streams.counters().lost_bytes, 7);
    assert_eq!(streams.counters().cut_bytes, 0);
}

#[test]
fn refused_bytes_are_sent_again() {
    let mut streams = streams();
    push(&mut streams, &record(0, b"abcdef"));
    // The kernel accepted nothing, then two bytes.
    assert_eq!(push(&mut streams, &record(0, b"abcdef")), []);
    assert_eq!(push(&mut streams, &record(2, b"cdefgh")), [later(b"gh")]);
    assert_eq!(push(&mut streams, &record(8, b"ij")), [data(b"ij")]);
    assert_eq!(streams.counters().repeated_bytes, 6 + 4);
}

#[test]
fn a_truncated_head_is_a_gap_before_the_next_send() {
    let mut streams = streams();
    let cut = Record { len: Some(10), ..record(0, b"abc") };
    assert_eq!(push(&mut streams, &cut), [data(b"abc")]);
    assert_eq!(push(&mut streams, &record(10, b"x")), [Received::Gap(Some(7)), data(b"x")]);
    assert_eq!(streams.counters().cut_bytes, 7);
}

#[test]
fn bytes_missing_in_a_truncated_head_may_be_sent_again() {
    let mut streams = streams();
    push(&mut streams, &Record { len: Some(10), ..record(0, b"abc") });
    // Of the ten bytes, the kernel accepted six.
    assert_eq!(push(&mut streams, &record(6, b"ghij")), [Received::Gap(Some(3)), data(b"ghij")]);
    assert_eq!(streams.counters().repeated_bytes, 0);
}

#[test]
fn a_tail_is_reported_as_a_gap_after_a_delay() {
    let mut streams = streams();
    push(&mut streams, &Record { len: Some(10), ..record(0, b"abc") });
    let mut out = Vec::new();
    streams.flush_stale(BootTime(1_100_000_000), &mut out);
    assert_eq!(received(out), [Received::Flush]);
    let mut out = Vec::new();
    streams.flush_stale(BootTime(1_300_000_000), &mut out);
    assert_eq!(received(out), [Received::Gap(Some(7)), Received::Flush]);
    assert_eq!(push(&mut streams, &record(10, b"x")), [data(b"x")]);
}

#[test]
fn a_send_of_unknown_length_is_measured_by_the_next() {
    let mut streams = streams();
    let open = Record { len: None, ..record(0, b"abc") };
    push(&mut streams, &open);
    assert_eq!(push(&mut streams, &record(10, b"x")), [Received::Gap(Some(7)), data(b"x")]);
    // Without positions, its length remains unknown.
    push(&mut streams, &Record { len: None, ..record(11, b"abc") });
    assert_eq!(push(&mut streams, &record(None, b"x")), [Received::Gap(None), data(b"x")]);
    assert_eq!(streams.counters().unknown_gaps, 1);
}

#[test]
fn later_pieces_belong_to_their_send() {
    for position in [Some(5), None] {
        let mut streams = streams();
        let first = Record { len: Some(10), ..record(position, b"abc") };
        let second = Record { offset: 3, len: Some(10), ..record(position, b"de") };
        let third = Record { offset: 7, len: Some(10), ..record(position, b"hij") };
        assert_eq!(push(&mut streams, &first), [data(b"abc")]);
        assert_eq!(push(&mut streams, &second), [later(b"de")]);
        assert_eq!(push(&mut streams, &third), [Received::Gap(Some(2)), later(b"hij")]);
        let next = record(position.map(|p| p + 10), b"x");
        assert_eq!(push(&mut streams, &next), [data(b"x")]);
    }
}

#[test]
fn without_positions_sends_follow_each_other() {
    let mut streams = streams();
    assert_eq!(push(&mut streams, &record(None, b"abc")), [data(b"abc")]);
    assert_eq!(push(&mut streams, &record(None, b"abc")), [data(b"abc")]);
    push(&mut streams, &Record { len: Some(9), ..record(None, b"abc") });
    assert_eq!(push(&mut streams, &record(None, b"x")), [Received::Gap(Some(6)), data(b"x")]);
}

/// Data that is sent with a SYN has no position: the kernel has not chosen one yet.
#[test]
fn what_follows_data_without_a_position_continues_it() {
    for position in [0, 7, 1 << 31, u32::MAX - 2] {
        let mut streams = streams();
        assert_eq!(push(&mut streams, &record(None, b"abc")), [data(b"abc")]);
        assert_eq!(push(&mut streams, &record(position, b"def")), [data(b"def")]);
        // From then on, positions count.
        let lost = position.wrapping_add(5);
        assert_eq!(push(&mut streams, &record(lost, b"g")), [Received::Gap(Some(2)), data(b"g")]);
        assert_eq!(push(&mut streams, &record(lost, b"g")), []);
        assert_eq!(streams.counters().reused, 0);

        let cut = Record { len: None, ..record(None, b"abc") };
        let mut streams = self::streams();
        push(&mut streams, &cut);
        let follows = push(&mut streams, &record(position, b"def"));
        assert_eq!(follows, [Received::Gap(None), data(b"def")]);
    }
}

#[test]
fn a_distant_position_is_another_connection() {
    for position in [1000_u32.wrapping_add(1 << 31), 1000_u32.wrapping_sub(2 << 20)] {
        let mut streams = streams();
        push(&mut streams, &record(1000, b"abc"));
        assert_eq!(push(&mut streams, &record(position, b"x")), [Received::End, data(b"x")]);
        assert_eq!(streams.counters().reused, 1);
    }
}

#[test]
fn a_late_record_changes_nothing() {
    let mut streams = streams();
    push(&mut streams, &record(0, b"abc"));
    push(&mut streams, &Record { len: Some(9), ..record(6, b"ghi") });
    assert_eq!(push(&mut streams, &record(3, b"def")), []);
    assert_eq!(push(&mut streams, &record(4, b"e")), []);
    assert_eq!(push(&mut streams, &record(15, b"p")), [Received::Gap(Some(6)), data(b"p")]);
    // The six bytes before `p` were announced, the three before `ghi` were not.
    assert_eq!((streams.counters().cut_bytes, streams.counters().lost_bytes), (6, 3));
}

#[test]
fn other_addresses_are_another_connection() {
    let address = |port| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let from = |local, remote| Record {
        connection: Connection { local, remote, ..connection(1) },
        ..record(None, b"x")
    };
    let mut streams = streams();
    push(&mut streams, &from(None, address(80)));
    // The kernel chose the port late.
    assert_eq!(push(&mut streams, &from(address(2000), address(80))), [data(b"x")]);
    assert_eq!(push(&mut streams, &from(None, None)), [data(b"x")]);
    assert_eq!(push(&mut streams, &from(address(2001), address(80))), [Received::End, data(b"x")]);
    assert_eq!(push(&mut streams, &from(address(2001), address(443))), [Received::End, data(b"x")]);
}

#[test]
fn datagrams_are_independent() {
    let mut streams = streams();
    let to = |port, len| Record {
        connection: Connection {
            transport: Transport::Udp,
            remote: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
            ..connection(1)
        },
        len,
        ..record(None, b"abc")
    };
    let datagram = |missing| Received::Datagram(b"abc".to_vec(), missing);
    assert_eq!(push(&mut streams, &to(53, Some(3))), [datagram(Some(0))]);
    assert_eq!(push(&mut streams, &to(443, Some(5))), [datagram(Some(2))]);
    assert_eq!(push(&mut streams, &to(53, None)), [datagram(None)]);
    assert_eq!(streams.counters().opened, 2);
    let mut out = Vec::new();
    streams.finish(&mut out);
    assert_eq!(received(out), [Received::End, Received::End]);
}

#[test]
fn a_message_belongs_to_the_process_that_started_it() {
    let mut streams = streams();
    let mut out = Vec::new();
    let first = Record { len: Some(5), ..record(0, b"abc") };
    streams.push(&first, &mut out);
    let second =
        Record { time: BootTime(first.time.0 + 1), process: process(2), ..record(9, b"x") };
    streams.push(&second, &mut out);
    streams.finish(&mut out);
    let tgids: Vec<_> = out.iter().map(|sent| (sent.process.tgid, &sent.message.1)).collect();
    let (abc, x) = (data(b"abc"), data(b"x"));
    assert_eq!(tgids, [(1, &abc), (2, &Received::Gap(Some(6))), (2, &x), (2, &Received::End)]);
}

#[test]
fn an_open_end_is_reported_as_a_gap() {
    let mut streams = streams();
    push(&mut streams, &Record { len: None, ..record(0, b"abc") });
    let mut out = Vec::new();
    streams.close(&connection(1), &mut out);
    assert_eq!(received(out), [Received::Gap(None), Received::End]);
    assert_eq!(streams.parsers().count(), 0);
}

#[test]
fn idle_connections_expire() {
    let mut streams = streams();
    let hour = 3_600_000_000_000;
    push(&mut streams, &record(0, b"abc"));
    let other = Record { time: BootTime(hour), connection: connection(2), ..record(0, b"x") };
    push(&mut streams, &other);
    let mut out = Vec::new();
    streams.expire(BootTime(hour), &mut out);
    assert_eq!(received(std::mem::take(&mut out)), []);
    push(&mut streams, &Record { time: BootTime(hour + 1), ..other });
    streams.expire(BootTime(hour + 1_000_000_000), &mut out);
    assert_eq!(received(std::mem::take(&mut out)), [Received::End]);
    streams.expire(BootTime(2 * hour), &mut out);
    assert_eq!(received(out), []);
    assert_eq!(streams.counters().expired, 1);
    assert_eq!(streams.buffered(), 1);
}

#[test]
fn the_least_recently_used_connections_make_room() {
    let mut streams = Streams::<Echo>::new(Limits { connections: 2, ..Limits::default() }, ());
    let on = |key| Record { connection: connection(key), ..record(None, b"x") };
    push(&mut streams, &on(1));
    push(&mut streams, &on(2));
    push(&mut streams, &on(1));
    assert_eq!(push(&mut streams, &on(3)), [Received::End, data(b"x")]);
    let keys: Vec<_> = streams.parsers().map(|(connection, _)| connection.key).collect();
    assert_eq!(keys, [1, 3]);
}

#[test]
fn a_hundred_thousand_connections_stay_within_the_limits() {
    let limits = Limits { buffered: 1 << 16, ..Limits::default() };
    let mut streams = Streams::<Echo>::new(limits.clone(), ());
    let mut out = Vec::new();
    let mut ends = 0;
    for key in 0..100_000 {
        let payload = if key % 2 == 0 { &[0; 100][..] } else { &[] };
        let record = Record { connection: connection(key), ..record(None, payload) };
        streams.push(&record, &mut out);
        ends += out.drain(..).filter(|sent| sent.message.1 == Received::End).count();
        assert!(streams.buffered() <= limits.buffered);
        assert!(streams.parsers().size_hint().1.is_some_and(|n| n <= limits.connections));
    }
    let counters = *streams.counters();
    assert!(counters.evicted_for_memory > 0);
    assert_eq!(counters.evicted_for_memory + counters.evicted_for_room, ends as u64);
    streams.finish(&mut out);
    assert_eq!(streams.buffered(), 0);
    assert_eq!(ends + out.len(), 100_000);
}

#[test]
fn one_connection_alone_stays_within_the_limits() {
    let mut streams = Streams::<Echo>::new(Limits { buffered: 4, ..Limits::default() }, ());
    assert_eq!(push(&mut streams, &record(0, b"abc")), [data(b"abc")]);
    assert_eq!(push(&mut streams, &record(3, b"def")), [data(b"def"), Received::End]);
    assert_eq!(streams.buffered(), 0);
}

/// A call of a process, and its outcome.
#[derive(Debug, Clone)]
struct Call {
    len: u16,
    /// Portion of `len` that the kernel accepts.
    taken: prop::sample::Index,
    /// Portion of `len` that a hook captures.
    captured: prop::sample::Index,
    /// Start of a second piece, as a portion of `len`. Bytes before it may be
    /// missing.
    piece: Option<prop::sample::Index>,
    lost: bool,
    knows_len: bool,
    /// Set if enough time passes to settle the tail.
    waits: bool,
}

fn call() -> impl Strategy<Value = Call> {
    let index = any::<prop::sample::Index>;
    let taken = prop_oneof![3 => Just(None), 1 => index().prop_map(Some)];
    let piece = prop::option::weighted(0.02, index());
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.9), prop::bool::weighted(0.01));
    (1..400_u16, taken, index(), index(), any::<bool>(), piece, flags).prop_map(
        |(len, taken, whole, captured, cut, piece, (lost, knows_len, waits))| Call {
            len,
            taken: taken.unwrap_or(whole),
            captured: if cut { captured } else { whole },
            piece,
            lost,
            knows_len,
            waits,
        },
    )
}

/// Returns the byte at a position of the model stream.
fn truth(at: u64) -> u8 {
    (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn truths(from: u64, len: u64) -> Vec<u8> {
    (from..from + len).map(truth).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A process sends known bytes repeatedly until the kernel accepts them,
    /// while heads are truncated and records lost. The parser must receive that
    /// stream with every byte at its position, wherever positions wrap around.
    #[test]
    fn known_bytes_never_shift(base in any::<u32>(), calls in prop::collection::vec(call(), 1..60)) {
        let mut streams = streams();
        let mut sent = 0_u64;
        let mut reported = None;
        let mut known = std::collections::BTreeSet::new();
        let mut reached = 0;
        let mut delivered = 0;
        let mut time = 1_000_000_000;
        let mut gave_up = false;
        for call in &calls {
            let len = u64::from(call.len);
            let index = |index: &prop::sample::Index| index.index(usize::from(call.len) + 1) as u64;
            let captured = index(&call.captured);
            let mut pieces = vec![(0, captured)];
            if let Some(piece) = &call.piece {
                let from = index(piece).max(captured);
                gave_up |= from > captured && !call.lost;
                pieces.push((from, (len - from).min(70)));
            }
            for (offset, captured) in pieces {
                if call.lost {
                    continue;
                }
                let record = Record {
                    time: BootTime(time),
                    offset: offset as u32,
                    len: call.knows_len.then_some(len as u32),
                    payload: truths(sent + offset, captured).into(),
                    ..record(base.wrapping_add(sent as u32), b"")
                };
                let mut out = Vec::new();
                let at = reported.get_or_insert(sent);
                streams.push(&record, &mut out);
                known.extend(sent + offset..sent + offset + captured);
                reached = reached.max(sent + offset + captured);
                for part in out {
                    match part.message.1 {
                        Received::Data(bytes, begins_send) => {
                            prop_assert_eq!(&bytes, &truths(*at, bytes.len() as u64));
                            prop_assert!(!begins_send || *at == sent && offset == 0);
                            *at += bytes.len() as u64;
                            delivered += bytes.len();
                        }
                        Received::Gap(len) => *at += len.expect("positions tell"),
                        other => prop_assert!(false, "{other:?}"),
                    }
                }
                prop_assert!(gave_up || *at == reached.max(sent + offset));
            }
            sent += index(&call.taken);
            if call.waits {
                time += 1_000_000_000;
                gave_up = true;
                let mut out = Vec::new();
                streams.flush_stale(BootTime(time), &mut out);
                for part in out {
                    if let (Received::Gap(len), Some(at)) = (part.message.1, &mut reported) {
                        *at += len.expect("only a known tail settles");
                    }
                }
            }
        }
        prop_assert_eq!(streams.counters().reused, 0);
        // No captured byte is omitted, unless it was sent again after the
        // parser had been told that it is missing.
        prop_assert!(gave_up || delivered == known.len());
    }

    /// Whatever the fields of the records contain.
    #[test]
    fn nothing_panics(records in prop::collection::vec(
        (any::<Option<u32>>(), any::<u32>(), any::<Option<u32>>(), 0..9_usize, 0..3_u64), 0..50,
    )) {
        let mut streams = streams();
        for (position, offset, len, payload, key) in records {
            let record = Record {
                offset, len, connection: connection(key), ..record(position, &[0; 9][..payload])
            };
            push(&mut streams, &record);
        }
    }
}

#[test]
fn a_flood_displaces_only_connections_of_its_own_user() {
    let limits = Limits { connections: 100, buffered: 10_000, ..Limits::default() };
    let mut streams = Streams::<Echo>::new(limits, ());
    let mut out = Vec::new();
    let send = |key: u64, uid: u32| {
        let connection = connection(key);
        let process = Process { uid, ..record(None, b"").process };
        Record { connection, process, ..record(None, &[0; 100]) }
    };
    for key in 0..20 {
        streams.push(&send(key, 1), &mut out);
    }
    for key in 20..5000 {
        streams.push(&send(key, 2), &mut out);
    }
    let kept = streams.parsers().filter(|(connection, _)| connection.key < 20).count();
    assert_eq!(kept, 20);
    assert!(streams.parsers().count() > 60);
    let counters = streams.counters();
    assert!(counters.evicted_for_room + counters.evicted_for_memory > 4800);
    streams.finish(&mut out);
    assert_eq!(streams.buffered(), 0);
}
