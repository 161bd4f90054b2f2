use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::record::{Connection, Hook, Process};

const SOCKET: u64 = 1;
const TLS: u64 = 77;
const GET: &[u8] = b"GET /page HTTP/1.1\r\nHost: a.test\r\nAccept: text/html\r\n\r\n";

/// A record of `bytes`, of which the first `captured` are known.
fn record(key: u64, transport: Transport, bytes: &[u8], captured: usize) -> Record {
    let hook = match transport {
        Transport::Tls | Transport::Quic => Hook::PrWrite,
        Transport::Tcp | Transport::Udp | Transport::Raw => Hook::SysEnter,
    };
    Record {
        hook,
        time: BootTime(1),
        process: Process { uid: 1000, tgid: 10, tid: 11, comm: "Socket Thread".into() },
        connection: Connection { key, transport, local: None, remote: None },
        within_tls: None,
        position: (transport == Transport::Tcp).then_some(5),
        offset: 0,
        len: Some(bytes.len() as u32),
        payload: Bytes::copy_from_slice(&bytes[..captured.min(bytes.len())]),
    }
}

/// A send on the socket within a write to the TLS object.
fn within(bytes: &[u8], captured: usize) -> Record {
    let within_tls = Some(TLS);
    Record { within_tls, ..record(SOCKET, Transport::Tcp, bytes, captured) }
}

fn outside(bytes: &[u8]) -> Record {
    record(SOCKET, Transport::Tcp, bytes, usize::MAX)
}

fn write(bytes: &[u8]) -> Record {
    record(TLS, Transport::Tls, bytes, usize::MAX)
}

fn paired(records: &[Record]) -> Vec<Record> {
    let (mut pairing, mut out) = (Pairing::default(), Vec::new());
    for record in records {
        pairing.push(record.clone(), &mut out);
    }
    pairing.finish(&mut out);
    out
}

/// A write of a Go program.
fn go_write(bytes: &[u8]) -> Record {
    Record { hook: Hook::GoTls, ..write(bytes) }
}

/// Builds a TLS record with application data of this length.
fn sealed(len: usize) -> Vec<u8> {
    [&[23, 3, 3], &(len as u16).to_be_bytes()[..], &vec![0x5a; len]].concat()
}

#[test]
fn a_send_that_a_write_passes_on_unchanged_is_one_send() {
    // The head of a send within a write is captured less far.
    for captured in [1, 16, GET.len()] {
        let send = within(GET, captured);
        let whole = Record { within_tls: None, payload: Bytes::from_static(GET), ..send.clone() };
        assert_eq!(paired(&[send, write(GET)]), [whole]);
    }
    // The write may be cut, too.
    let cut = record(TLS, Transport::Tls, GET, 30);
    let [known] = &paired(&[within(GET, 16), cut])[..] else { panic!("not paired") };
    assert_eq!((known.len, &known.payload[..]), (Some(GET.len() as u32), &GET[..30]));
}

#[test]
fn a_write_can_be_sent_in_parts() {
    let (head, rest) = GET.split_at(20);
    let second = Record { position: Some(25), ..within(rest, 8) };
    let sends = paired(&[within(head, 8), second, write(GET)]);
    let known: Vec<&[u8]> = sends.iter().map(|send| &send.payload[..]).collect();
    assert_eq!(known, [head, rest]);
    // The kernel accepted less than was asked for.
    let sends = paired(&[within(GET, 8), write(head)]);
    let [send] = &sends[..] else { panic!("{sends:?}") };
    assert_eq!((send.len, &send.payload[..]), (Some(GET.len() as u32), head));
}

#[test]
fn other_bytes_in_a_write_are_kept() {
    for other in [&b"POST /hidden HTTP/1.1\r\n\r\n"[..], b"rest of a record", &GET[1..]] {
        let records = [within(other, usize::MAX), write(GET)];
        assert_eq!(paired(&records), records);
    }
    // A part of the write was sent in another way.
    let records = [within(&GET[..20], 8), write(GET)];
    assert_eq!(paired(&records), records);
    // Nothing of the send is known.
    let records = [Record { payload: Bytes::new(), ..within(GET, 0) }, write(GET)];
    assert_eq!(paired(&records), records);
    // Another write.
    let another = record(78, Transport::Tls, GET, usize::MAX);
    let records = [within(GET, 16), another];
    assert_eq!(paired(&records).len(), 2);
}

#[test]
fn ciphertext_is_passed_on_at_once() {
    let (mut pairing, mut out) = (Pairing::default(), Vec::new());
    let send = within(&sealed(60), 30);
    pairing.push(send.clone(), &mut out);
    assert_eq!(out, [send]);
}

#[test]
fn sends_keep_their_order_and_do_not_wait_for_long() {
    let (first, second) = (within(b"one", 3), Record { position: Some(8), ..outside(b"two") });
    let (mut pairing, mut out) = (Pairing::default(), Vec::new());
    pairing.push(first.clone(), &mut out);
    assert_eq!(out, []);
    pairing.push(second.clone(), &mut out);
    assert_eq!(out, [first.clone(), second]);

    out.clear();
    pairing.push(first.clone(), &mut out);
    pairing.expire(BootTime(1), &mut out);
    assert_eq!(out, []);
    pairing.expire(BootTime(2_000_000_000), &mut out);
    assert_eq!(out, [first]);
}

#[test]
fn ciphertext_from_a_memory_bio_belongs_to_the_write() {
    for overhead in OVERHEADS {
        let sealed = sealed(GET.len() + overhead as usize);
        let records = paired(&[write(GET), outside(&sealed)]);
        assert_eq!(records[1].within_tls, Some(TLS), "{overhead}");
        // The end of the handshake is sent along.
        let handshake = [&[20, 3, 3, 0, 1, 1][..], &tests::sealed(53), &sealed].concat();
        assert_eq!(paired(&[write(GET), outside(&handshake)])[1].within_tls, Some(TLS));
    }
    // A write of several records.
    let long = vec![b'x'; 40_000];
    let sealed = [sealed(16384 + 17), sealed(16384 + 17), sealed(40_000 - 2 * 16384 + 17)];
    let sends = sealed.iter().map(|bytes| outside(bytes));
    let records: Vec<Record> = std::iter::once(write(&long)).chain(sends).collect();
    let linked = paired(&records).iter().filter(|send| send.within_tls.is_some()).count();
    assert_eq!(linked, 3);
}

#[test]
fn other_ciphertext_belongs_to_no_write() {
    let fits = outside(&sealed(GET.len() + 17));
    let unlinked = |records: &[Record]| {
        let records = paired(records);
        records.last().unwrap().within_tls.is_none()
    };
    assert!(!unlinked(&[write(GET), fits.clone()]));
    // Sent before, of another length, by another thread, or much later.
    assert!(unlinked(std::slice::from_ref(&fits)));
    for len in [0, 15, 18, 25, 100] {
        assert!(unlinked(&[write(GET), outside(&sealed(GET.len() + len))]), "{len}");
    }
    let mut other = fits.clone();
    other.process.tid = 12;
    assert!(unlinked(&[write(GET), other]));
    assert!(unlinked(&[write(GET), Record { time: BootTime(2_000_000_000), ..fits.clone() }]));
    // The write was explained already, or its object sends by itself.
    assert!(unlinked(&[write(GET), fits.clone(), fits.clone()]));
    let direct = within(&sealed(10), 15);
    assert!(unlinked(&[direct.clone(), write(GET), fits.clone()]));
    assert!(unlinked(&[write(GET), direct, fits.clone()]));
    // It is not a record.
    assert!(unlinked(&[write(GET), outside(&[0x5a; 90])]));
}

proptest! {
    /// Every byte that is known of a send or a write stays known, in the same order
    /// on each connection, and the memory is bounded.
    #[test]
    fn nothing_is_lost(
        steps in proptest::collection::vec(
            (0u64..3, 0usize..4, proptest::collection::vec(0u8..3, 0..4), 0u64..4),
            0..200,
        ),
    ) {
        let (mut pairing, mut out) = (Pairing::default(), Vec::new());
        let mut sent = Vec::new();
        for (n, (key, kind, bytes, time)) in steps.into_iter().enumerate() {
            let mut record = match kind {
                0 => write(&bytes),
                1 => within(&bytes, 2),
                2 => outside(&bytes),
                _ => outside(&sealed(bytes.len() + 17)),
            };
            record.connection.key = key;
            record.within_tls = record.within_tls.map(|_| key);
            record.time = BootTime(n as u64 * 100_000_000 + time);
            record.position = record.position.map(|_| n as u32);
            sent.push(record.clone());
            pairing.push(record, &mut out);
            prop_assert!(pairing.held.len() <= MAX_HELD && pairing.writes.len() <= MAX_WRITES);
        }
        pairing.finish(&mut out);
        for key in 0..3 {
            let of = |records: &[Record]| -> Vec<Record> {
                let of = |record: &&Record| {
                    record.connection.key == key && record.connection.transport == Transport::Tcp
                };
                records.iter().filter(of).cloned().collect()
            };
            let (before, after) = (of(&sent), of(&out));
            prop_assert_eq!(before.len(), after.len());
            for (before, after) in before.iter().zip(&after) {
                prop_assert_eq!(before.position, after.position);
                prop_assert_eq!(before.len, after.len);
                prop_assert!(after.payload.starts_with(&before.payload));
            }
        }
    }
}

/// Go writes shorter records at the beginning of a connection.
#[test]
fn records_that_go_splits_belong_to_its_write() {
    let plain = [0x61; 4096];
    let first = outside(&sealed(1400 + 17));
    let sends: Vec<Record> =
        [1400, 1400, 1296].iter().map(|plain| outside(&sealed(plain + 17))).collect();
    let explained = |records: &[Record]| {
        paired(records).iter().filter(|record| record.within_tls == Some(TLS)).count()
    };
    let all = [&[go_write(&plain)][..], &sends].concat();
    assert!(explained(&all) >= 2);
    assert_eq!(explained(&[go_write(&plain), first.clone()]), 1);
    // Another library fills its records.
    assert_eq!(explained(&[write(&plain), first.clone()]), 0);
    // A record that is longer than the write is another one's.
    assert_eq!(explained(&[go_write(b"GET /"), first.clone()]), 0);
    // A write explains no more than its own bytes.
    let after = [&all[..], &[first.clone(), first]].concat();
    assert_eq!(explained(&after), explained(&all));
    let whole = [go_write(GET), outside(&sealed(GET.len() + 17)), outside(&sealed(30))];
    assert_eq!(explained(&whole), 1);
}
