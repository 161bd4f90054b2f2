use proptest::prelude::*;

use super::hello::{ClientHello, Parsed};
use super::*;
use crate::proto::wire::tests::unhex;

/// The ClientHello of Python 3.11 with OpenSSL 3.0 to `www.example.org`, in one
/// record.
fn openssl() -> Vec<u8> {
    unhex(include_str!("tests/openssl-3.0.hex"))
}

/// The ClientHello of wget with GnuTLS 3.7 to `localhost`.
fn gnutls() -> Vec<u8> {
    unhex(include_str!("tests/gnutls-3.7.hex"))
}

/// Builds a record.
fn record(kind: u8, fragment: &[u8]) -> Vec<u8> {
    let [high, low] = (fragment.len() as u16).to_be_bytes();
    [&[kind, 3, 3, high, low], fragment].concat()
}

/// Builds a vector: its length in `bytes` bytes, then its content.
fn vector(bytes: usize, content: &[u8]) -> Vec<u8> {
    let len = (content.len() as u32).to_be_bytes();
    [&len[4 - bytes..], content].concat()
}

/// Builds a ClientHello with these extensions.
fn hello(extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let extensions = extensions
        .iter()
        .flat_map(|(kind, data)| [kind.to_be_bytes().to_vec(), vector(2, data)].concat());
    let body = [
        vec![3, 3],
        vec![7; 32],
        vector(1, &[9; 32]),
        vector(2, &[0x13, 0x01]),
        vector(1, &[0]),
        vector(2, &extensions.collect::<Vec<u8>>()),
    ];
    [vec![1], vector(3, &body.concat())].concat()
}

fn sni(name: &[u8]) -> (u16, Vec<u8>) {
    (0, vector(2, &[vec![0], vector(2, name)].concat()))
}

/// Reads a connection with these sends.
fn read(sends: &[&[u8]]) -> (Option<ServerName>, (u64, u64)) {
    let mut records = Records::new(BootTime(7));
    let mut name = None;
    for send in sends {
        name = name.or(records.data(send, true));
    }
    (name.or(records.cut()), tally(&records))
}

/// Returns the number of bytes without application data, and with it.
fn tally(records: &Records) -> (u64, u64) {
    let tally = records.tally();
    (tally.handshake, tally.content)
}

#[test]
fn real_clients_name_their_servers() {
    let (name, tally) = read(&[&openssl()]);
    let name = name.unwrap();
    assert_eq!((&name.name[..], name.ech, name.time), ("www.example.org", false, BootTime(7)));
    assert_eq!((name.alpn, name.source), (vec!["h2".into(), "http/1.1".into()], NameSource::Tls));
    assert_eq!(tally, (517, 0));
    let name = read(&[&gnutls()]).0.unwrap();
    assert_eq!((&name.name[..], name.alpn.is_empty()), ("localhost", true));
}

#[test]
fn an_encrypted_hello_is_flagged() {
    let outer = hello(&[(0xfe0d, vec![0, 1, 2, 3]), sni(b"Front.Example")]);
    let name = read(&[&record(22, &outer)]).0.unwrap();
    assert_eq!((&name.name[..], name.ech), ("front.example", true));
    // Without a name there is nothing to report.
    assert_eq!(read(&[&record(22, &hello(&[(0xfe0d, vec![0])]))]).0, None);
    assert_eq!(read(&[&record(22, &hello(&[sni(b"not a name")]))]).0, None);
}

#[test]
fn a_hello_is_reassembled_from_records_and_sends() {
    let hello = hello(&[sni(b"a.example")]);
    let records: Vec<u8> = hello.chunks(10).flat_map(|part| record(22, part)).collect();
    let name = read(&[&records]).0.unwrap();
    let single: Vec<&[u8]> = records.chunks(1).collect();
    assert_eq!(read(&single).0, Some(name.clone()));
    assert_eq!(read(&single).1, (records.len() as u64, 0));
    // An alert may occur in between, application data may not.
    let mut parts: Vec<Vec<u8>> = hello.chunks(40).map(|part| record(22, part)).collect();
    parts.insert(1, record(21, &[1, 0]));
    assert_eq!(read(&[&parts.concat()]).0, Some(name));
    parts.insert(1, record(23, &[0; 40]));
    assert_eq!(read(&[&parts.concat()]).0, None);
}

#[test]
fn only_application_data_counts_as_content() {
    let sends = [
        record(22, &hello(&[])),
        [record(20, &[1]), record(23, &[0; 60])].concat(),
        record(21, &[0; 19]),
        // From a later version, or invalid: counted as content to be safe.
        record(24, &[0; 3]),
    ];
    let sends: Vec<&[u8]> = sends.iter().map(|send| &send[..]).collect();
    let (_, (handshake, content)) = read(&sends);
    assert_eq!(content, 65 + 8);
    assert_eq!(handshake + content, sends.iter().map(|send| send.len() as u64).sum::<u64>());
}

#[test]
fn the_finished_message_is_not_content() {
    let content = |hello: Vec<u8>, rest: &[Vec<u8>]| {
        let sends = [vec![record(22, &hello)], rest.to_vec()].concat();
        let sends: Vec<&[u8]> = sends.iter().map(|send| &send[..]).collect();
        let (_, (handshake, content)) = read(&sends);
        assert_eq!(handshake + content, sends.iter().map(|send| send.len() as u64).sum::<u64>());
        content
    };
    let (ccs, sha256, sha384) = (record(20, &[1]), record(23, &[0; 53]), record(23, &[0; 69]));
    assert_eq!(content(hello(&[]), &[ccs.clone(), sha256.clone()]), 0);
    assert_eq!(content(hello(&[]), std::slice::from_ref(&sha384)), 0);
    // A Finished occurs once, is the first encrypted record, and has a known
    // length.
    assert_eq!(content(hello(&[]), &[sha256.clone(), sha256.clone()]), 58);
    assert_eq!(content(hello(&[]), &[record(23, &[0; 54]), sha256.clone()]), 59 + 58);
    // TLS 1.2 ends its handshake with a record type of its own; early data may
    // come first.
    let tls12 = [record(22, &[16; 40]), ccs, record(22, &[0; 40]), sha256.clone()];
    assert_eq!(content(hello(&[]), &tls12), 58);
    assert_eq!(content(hello(&[(42, Vec::new())]), std::slice::from_ref(&sha256)), 58);
    // Everything before it has to be known.
    let mut records = Records::new(BootTime(0));
    records.data(&record(22, &hello(&[])), true);
    records.gap(Some(0));
    records.data(&sha256, true);
    assert_eq!(records.tally().content, 58);
}

#[test]
fn a_refused_certificate_leaves_no_content() {
    let content = |rest: &[Vec<u8>]| {
        let sends = [vec![record(22, &hello(&[]))], rest.to_vec()].concat();
        let sends: Vec<&[u8]> = sends.iter().map(|send| &send[..]).collect();
        let (_, (handshake, content)) = read(&sends);
        assert_eq!(handshake + content, sends.iter().map(|send| send.len() as u64).sum::<u64>());
        content
    };
    let (ccs, alert, finished) = (record(20, &[1]), record(23, &[0; 19]), record(23, &[0; 53]));
    // In TLS 1.3, the alert is encrypted if keys are known; in TLS 1.2, it is not.
    assert_eq!(content(&[ccs.clone(), alert.clone()]), 0);
    assert_eq!(content(std::slice::from_ref(&alert)), 0);
    assert_eq!(content(&[record(21, &[2, 42])]), 0);
    // What follows it is not part of the handshake.
    assert_eq!(content(&[alert.clone(), alert.clone()]), 24);
    assert_eq!(content(&[alert.clone(), finished.clone()]), 58);
    // Shorter and longer records hold something else.
    assert_eq!(content(&[record(23, &[0; 18])]), 23);
    assert_eq!(content(&[record(23, &[0; 20])]), 25);
    // Early data may be as short.
    let early = [record(22, &hello(&[(42, Vec::new())])), alert];
    let early: Vec<&[u8]> = early.iter().map(|send| &send[..]).collect();
    assert_eq!(read(&early).1.1, 24);
}

#[test]
fn a_connection_that_is_closed_unused_has_no_content() {
    let (ccs, alert, finished) = (record(20, &[1]), record(23, &[0; 19]), record(23, &[0; 69]));
    let start = [record(22, &hello(&[])), ccs, finished].concat();
    let content = |rest: &[u8]| read(&[&start, rest]).1;
    assert_eq!(content(&alert), (start.len() as u64 + 24, 0));
    // Not if it is one of several records, or of another length.
    let data = record(23, &[0; 90]);
    assert_eq!(content(&[&alert[..], &alert].concat()).1, 48);
    assert_eq!(content(&[&alert[..], &data].concat()).1, 24 + 95);
    assert_eq!(content(&[&data[..], &alert].concat()).1, 95 + 24);
    assert_eq!(content(&record(23, &[0; 20])).1, 25);
    assert_eq!(content(&[&alert[..], &data[..3]].concat()).1, 24 + 3);
    // Not if bytes are missing after it.
    let mut records = Records::new(BootTime(0));
    records.data(&[&start[..], &alert].concat(), true);
    assert_eq!(records.tally().records, 0);
    records.gap(Some(100));
    assert_eq!(records.tally().content, 124);
    assert_eq!(records.tally().records, 2);
}

#[test]
fn records_are_followed_through_gaps() {
    let mut records = Records::new(BootTime(0));
    let first = record(23, &[0; 1000]);
    records.data(&first[..256], true);
    records.gap(Some(first.len() as u64 - 256));
    records.data(&record(21, &[1, 0]), true);
    assert_eq!(tally(&records), (7, 1005));
    // Beyond the record, content is unknown until a send starts with a record.
    records.data(&first[..256], true);
    records.gap(Some(2000));
    records.data(&record(21, &[1, 0]), false);
    assert_eq!(tally(&records), (7, 1005 + 2256 + 7));
    records.data(&record(21, &[1, 0]), true);
    assert_eq!(tally(&records), (14, 1005 + 2256 + 7));
    // The same within a header.
    records.data(b"\x16\x03", true);
    assert_eq!(tally(&records).1, 1005 + 2256 + 7 + 2);
    records.gap(None);
    assert_eq!(tally(&records).1, 1005 + 2256 + 7 + 2);
}

#[test]
fn the_record_count_is_a_lower_bound() {
    let mut records = Records::new(BootTime(0));
    let sent = [record(22, &[0; 40]), record(23, &[0; 40]), record(23, &[0; 1])].concat();
    records.data(&sent, true);
    assert_eq!(records.tally().records, 2);
    records.gap(Some(40_000));
    records.data(&[0; 10], false);
    assert_eq!(records.tally().records, 2 + 3 + 1);
}

#[test]
fn the_overhead_is_exact_in_tls_1_3() {
    let overhead = |start: &[Vec<u8>], rest: &[Vec<u8>]| {
        let mut records = Records::new(BootTime(0));
        records.data(&[start.concat(), rest.concat()].concat(), true);
        records.tally().overhead
    };
    let hello = record(22, &hello(&[]));
    let (data, alert) = (record(23, &[0; 200]), record(23, &[0; 19]));
    let tls13 = [hello.clone(), record(20, &[1]), record(23, &[0; 53])];
    let tls12 = [hello, record(22, &[0; 40])];
    assert_eq!(overhead(&tls13, &[data.clone(), data.clone()]), 2 * 22);
    // Alerts and KeyUpdate have no plaintext.
    assert_eq!(overhead(&tls13, &[data.clone(), alert, record(23, &[0; 22])]), 22 + 24 + 27);
    assert_eq!(overhead(&tls12, &[data.clone(), record(23, &[0; 30])]), 85 + 35);
    // The version of a connection that was joined late is not known.
    assert_eq!(overhead(&[], std::slice::from_ref(&data)), 85);
}

#[test]
fn a_truncated_hello_yields_a_name_before_the_gap() {
    let hello = record(22, &hello(&[sni(b"a.example"), (0xfe0d, vec![0; 300])]));
    for (at, named) in [(60, false), (150, true)] {
        let mut records = Records::new(BootTime(0));
        assert_eq!(records.data(&hello[..at], true), None);
        let name = records.gap(Some((hello.len() - at) as u64));
        assert_eq!(name.is_some(), named, "{at}");
        assert_eq!(tally(&records), (hello.len() as u64, 0));
        assert_eq!(records.cut(), None);
    }
}

#[test]
fn a_connection_joined_late_has_no_name() {
    let mut records = Records::joined(BootTime(0));
    assert_eq!(records.data(b"rest of a record", false), None);
    assert_eq!(records.data(&openssl(), true), None);
    assert_eq!(tally(&records), (517, 16));
}

#[test]
fn other_handshakes_are_not_a_hello() {
    for bytes in [&b"\x02\0\0\x02\x03\x03"[..], b"\x01\0\0\x03\x02\0\0", b"\x01\0\0\x02\x03\x03"] {
        assert_eq!(parse(bytes), Parsed::NotClientHello, "{bytes:?}");
    }
    // Ancient clients send no extensions.
    let mut old = hello(&[]);
    old.truncate(old.len() - 2);
    old[3] -= 2;
    assert_eq!(parse(&old), Parsed::Complete(ClientHello::default()));
}

#[test]
fn an_endless_hello_is_bounded() {
    let mut records = Records::new(BootTime(0));
    let part = record(22, &[&b"\x01\xff\xff\xff\x03\x03"[..], &[0; 10_000]].concat());
    for _ in 0..100 {
        records.data(&part, true);
        assert!(records.buffered() <= MAX_HELLO);
    }
    assert_eq!(records.buffered(), 0);
}

/// A prefix never yields anything that the whole does not.
#[test]
fn prefixes_are_consistent() {
    let mut hellos = vec![openssl()[5..].to_vec(), gnutls()[5..].to_vec()];
    hellos.push(hello(&[sni(b"a.example"), (16, vector(2, &vector(1, b"h2")))]));
    // One that is malformed after the name.
    hellos.push(hello(&[sni(b"a.example"), (16, vec![9, 9, 9])]));
    for bytes in hellos {
        let whole = parse(&bytes).known().unwrap();
        for len in 0..bytes.len() {
            let Parsed::Truncated(part) = parse(&bytes[..len]) else {
                panic!("{len}: {:?}", parse(&bytes[..len]));
            };
            assert!(part.server_name.is_none() || part.server_name == whole.server_name);
            assert!(whole.alpn.starts_with(&part.alpn) && part.ech <= whole.ech);
        }
    }
}

proptest! {
    #[test]
    fn nothing_panics_and_every_byte_counts(
        parts in proptest::collection::vec(
            (proptest::option::of(0u64..30_000), any::<bool>(), prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..60),
                (20u8..25, 0usize..200).prop_map(|(kind, len)| record(kind, &vec![1; len])),
                Just(openssl()),
            ]),
            0..12,
        ),
    ) {
        let mut records = Records::new(BootTime(0));
        let mut sent = 0;
        for (gap, begins_send, bytes) in parts {
            records.data(&bytes, begins_send);
            sent += bytes.len() as u64;
            if let Some(len) = gap {
                records.gap(Some(len));
                sent += len;
            }
            let (handshake, content) = tally(&records);
            prop_assert_eq!(handshake + content, sent);
        }
    }

    #[test]
    fn changed_hellos_do_not_panic(at in 0usize..512, byte: u8) {
        let mut bytes = openssl()[5..].to_vec();
        bytes[at] = byte;
        parse(&bytes);
    }
}
