use bytes::Bytes;

use super::*;
use crate::record::{Hook, Process, Transport};

const SOCKET: u64 = 1;
/// The client's first destination id, and ids that the server chose.
const FIRST: &[u8] = b"first...";
const SERVER: &[u8] = b"server..";
const NEXT: &[u8] = b"next....";

/// A packet before encryption.
#[derive(Debug, Clone)]
struct Sample {
    context: u64,
    header: Vec<u8>,
    number_len: usize,
    frames: Vec<u8>,
}

fn long(context: u64, first: u8, version: &[u8], id: &[u8], token: &[u8], number: u8) -> Sample {
    let token = match first & 0x30 {
        0 => [&[token.len() as u8], token].concat(),
        _ => Vec::new(),
    };
    let frames = format!("crypto of {context}").into_bytes();
    let len = [0x40, frames.len() as u8 + 1 + TAG];
    let header = [&[first], version, &[id.len() as u8], id, &[0], &token, &len, &[number]].concat();
    Sample { context, header, number_len: 1, frames }
}

const TAG: u8 = 16;
const V1: &[u8] = &[0, 0, 0, 1];

fn initial(context: u64, id: &[u8], number: u8) -> Sample {
    long(context, 0xc0, V1, id, b"", number)
}

fn handshake(context: u64, id: &[u8]) -> Sample {
    long(context, 0xe0, V1, id, b"", 1)
}

fn zero_rtt(context: u64, id: &[u8], frames: &str) -> Sample {
    Sample { frames: frames.into(), ..long(context, 0xd0, V1, id, b"", 2) }
}

fn short(context: u64, id: &[u8], number: u8, frames: &str) -> Sample {
    let header = [&[0x40], id, &[number]].concat();
    Sample { context, header, number_len: 1, frames: frames.into() }
}

impl Sample {
    /// Returns the packet as it is sent. The ciphertext differs from the frames.
    fn sent(&self) -> Vec<u8> {
        let mut bytes = self.header.clone();
        bytes[0] ^= if bytes[0] & 0x80 == 0 { 0x1a } else { 0x0a };
        let number_at = bytes.len() - self.number_len;
        bytes[number_at..].iter_mut().for_each(|byte| *byte ^= 0x77);
        bytes.extend(self.frames.iter().map(|byte| !byte));
        bytes.extend([0xaa; TAG as usize]);
        bytes
    }

    fn record(&self) -> Record {
        let mut sealed = vec![0; SealedHeader::SIZE];
        let len = self.header.len();
        sealed[..2].copy_from_slice(&(len as u16).to_ne_bytes());
        let start = len.min(SealedHeader::START);
        sealed[2..2 + start].copy_from_slice(&self.header[..start]);
        if len > SealedHeader::START {
            sealed[60..].copy_from_slice(&self.header[len - 4..]);
        }
        sealed.extend(&self.frames);
        record(Transport::Quic, self.context, Hook::AeadSeal, sealed)
    }
}

fn record(transport: Transport, key: u64, hook: Hook, payload: Vec<u8>) -> Record {
    let remote = (transport == Transport::Udp).then(|| "192.0.2.1:443".parse().unwrap());
    Record {
        hook,
        time: BootTime(1),
        process: Process { uid: 1000, tgid: 10, tid: 11, comm: "Network".into() },
        connection: Connection { key, transport, local: None, remote },
        within_tls: None,
        position: None,
        offset: 0,
        len: Some(payload.len() as u32),
        payload: Bytes::from(payload),
    }
}

fn datagram(packets: &[&Sample]) -> Record {
    let payload = packets.iter().flat_map(|packet| packet.sent()).collect();
    record(Transport::Udp, SOCKET, Hook::Fentry, payload)
}

/// What became of the records: the frames by connection, and the parts of datagrams with
/// the connection that explains them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    frames: Vec<(u64, String)>,
    parts: Vec<(usize, Option<u64>)>,
}

impl Outcome {
    fn texts(&self) -> Vec<&str> {
        self.frames.iter().map(|(_, text)| &text[..]).collect()
    }

    fn connections(&self) -> Vec<u64> {
        let mut all: Vec<u64> = self.frames.iter().map(|(key, _)| *key).collect();
        all.dedup();
        all
    }
}

fn run(records: impl IntoIterator<Item = Record>) -> Outcome {
    let (mut sealed, mut out) = (Sealed::default(), Vec::new());
    for record in records {
        match record.connection.transport {
            Transport::Udp => sealed.datagram(record, &mut out),
            _ => sealed.seal(record, &mut out),
        }
    }
    sealed.finish(&mut out);
    let mut outcome = Outcome::default();
    for record in out {
        if record.connection.transport == Transport::Udp {
            outcome.parts.push((record.payload.len(), record.within_tls));
        } else {
            assert!(record.len.unwrap() as usize >= record.payload.len());
            let text = String::from_utf8_lossy(&record.payload).into_owned();
            outcome.frames.push((record.connection.key, text));
        }
    }
    outcome
}

/// Seals packets and sends each in a datagram of its own.
fn exchange(packets: &[Sample]) -> Outcome {
    run(packets.iter().flat_map(|packet| [packet.record(), datagram(&[packet])]))
}

#[test]
fn packets_of_a_datagram_belong_to_one_connection() {
    let packets = [
        initial(1, SERVER, 2),
        handshake(2, SERVER),
        short(3, SERVER, 1, "settings"),
        short(3, SERVER, 2, "request"),
    ];
    let [hello, first] = [initial(1, FIRST, 1), packets[3].clone()];
    // Chromium encrypts an Initial packet again, with padding, when it puts the packets together.
    let mut padded = initial(1, SERVER, 2);
    padded.frames.resize(100, 0);
    let len_at = padded.header.len() - 2;
    padded.header[len_at] = 100 + 1 + TAG;
    let sent = datagram(&[&padded, &packets[1], &packets[2]]);
    let mut records = vec![hello.record(), datagram(&[&hello])];
    records.extend(packets[..3].iter().map(Sample::record));
    records.extend([padded.record(), sent, first.record(), datagram(&[&first])]);
    let outcome = run(records);
    assert_eq!(outcome.texts(), ["settings", "request"]);
    let [key] = outcome.connections()[..] else { panic!("{outcome:?}") };
    let lens = [&hello, &padded, &packets[1], &packets[2], &first];
    assert_eq!(outcome.parts, lens.map(|packet| (packet.sent().len(), Some(key))));
}

#[test]
fn a_connection_is_followed_over_key_updates_and_new_ids() {
    let outcome = exchange(&[
        initial(1, FIRST, 0),
        zero_rtt(2, FIRST, "early"),
        initial(1, SERVER, 1),
        handshake(3, SERVER),
        short(4, SERVER, 1, "a"),
        short(5, SERVER, 2, "after a key update"),
        short(5, NEXT, 3, "after a new id"),
        short(4, NEXT, 4, "after another update, at the first address"),
    ]);
    assert_eq!(outcome.frames.len(), 5);
    assert_eq!(outcome.connections().len(), 1, "{outcome:?}");
    assert!(outcome.parts.iter().all(|(_, key)| *key == Some(outcome.connections()[0])));
}

#[test]
fn a_connection_at_the_addresses_of_an_earlier_one_is_another_one() {
    let (other, others_server) = (b"other...", b"osrv....");
    for addresses in [[1, 2, 3], [2, 3, 1], [3, 1, 2]] {
        let [initials, handshakes, requests] = addresses;
        let outcome = exchange(&[
            initial(1, FIRST, 1),
            initial(1, SERVER, 2),
            handshake(2, SERVER),
            short(3, SERVER, 1, "a"),
            initial(initials, other, 1),
            initial(initials, others_server, 2),
            handshake(handshakes, others_server),
            short(requests, others_server, 1, "b"),
            short(9, SERVER, 2, "c"),
        ]);
        assert_eq!(outcome.texts(), ["a", "b", "c"]);
        let keys: Vec<u64> = outcome.frames.iter().map(|(key, _)| *key).collect();
        assert!(keys[0] == keys[2] && keys[0] != keys[1], "{outcome:?}");
    }
}

#[test]
fn connections_of_two_processes_with_the_same_id_are_different() {
    let mut records = Vec::new();
    for (tgid, context) in [(10, 1), (20, 2)] {
        let packet = short(context, SERVER, 1, "x");
        for mut record in [packet.record(), datagram(&[&packet])] {
            record.process.tgid = tgid;
            records.push(record);
        }
    }
    assert_eq!(run(records).connections().len(), 2);
}

#[test]
fn a_connection_that_is_joined_late_is_read_from_its_next_datagram_on() {
    let [first, second] = [short(1, SERVER, 7, "a"), short(1, SERVER, 8, "b")];
    let outcome = run([first.record(), second.record(), datagram(&[&second])]);
    assert_eq!(outcome.texts(), ["a", "b"]);
}

#[test]
fn other_encryption_that_looks_like_quic_is_not_read() {
    let text = short(1, b"A.column.name", 0, "secret");
    let similar = short(2, SERVER, 1, "secret of the same length");
    let other = short(2, NEXT, 1, "secret of the same length");
    let longer = short(2, SERVER, 1, "secret of another length");
    for sent in [datagram(&[&other]), datagram(&[&longer, &longer])] {
        let len = sent.payload.len();
        let outcome = run([text.record(), similar.record(), sent]);
        assert_eq!(outcome, Outcome { frames: vec![], parts: vec![(len, None)] });
    }
}

#[test]
fn a_packet_that_was_never_sent_explains_no_datagram() {
    let close = short(1, SERVER, 3, "close");
    let [first, second] = [short(1, SERVER, 4, "a request"), short(1, SERVER, 5, "another one")];
    // Segmentation offload: one send, two datagrams.
    let both = datagram(&[&first, &second]);
    let outcome = run([close.record(), first.record(), second.record(), both]);
    assert_eq!(outcome.texts(), ["close", "a request", "another one"]);
    let lens: Vec<usize> = outcome.parts.iter().map(|(len, _)| *len).collect();
    assert_eq!(lens, [first.sent().len(), second.sent().len()]);
}

#[test]
fn packets_beyond_the_captured_head_of_a_send_are_known_by_their_lengths() {
    let packets = [2, 3, 4].map(|number| short(1, SERVER, number, "a request"));
    let whole = datagram(&packets.each_ref());
    let all = whole.payload.len();
    let sealed = || packets.iter().map(Sample::record);
    for known in 0..=all {
        let cut = Record { payload: whole.payload.slice(..known), ..whole.clone() };
        let outcome = run(sealed().chain([cut]));
        let sum: usize = outcome.parts.iter().map(|(len, _)| len).sum();
        assert_eq!(sum, known);
        let read = outcome.parts.iter().filter(|(_, key)| key.is_some()).count();
        // The second packet shows that several were sent together.
        let expected = if known < all / 3 + 9 { 0 } else { 3 };
        assert_eq!(read, expected, "{known}: {outcome:?}");
    }
    // Another one was sent with them, which was not seen when it was encrypted.
    let mut longer = datagram(&packets.each_ref());
    longer.len = Some(all as u32 + 40);
    let outcome = run(sealed().chain([longer]));
    assert!(outcome.parts.iter().any(|(_, key)| key.is_none()), "{outcome:?}");
}

#[test]
fn padding_behind_packets_is_part_of_them() {
    let [first, second] = [initial(1, FIRST, 1), initial(1, FIRST, 2)];
    // Firefox sends several padded datagrams together.
    let padded = |packet: &Sample| [packet.sent(), vec![0; 40]].concat();
    for packets in [vec![&first], vec![&first, &second]] {
        let payload: Vec<u8> = packets.iter().flat_map(|packet| padded(packet)).collect();
        let sent = record(Transport::Udp, SOCKET, Hook::Fentry, payload);
        let outcome = run(packets.iter().map(|packet| packet.record()).chain([sent]));
        let lens: Vec<usize> = outcome.parts.iter().map(|(len, _)| *len).collect();
        assert_eq!(lens, packets.iter().map(|packet| padded(packet).len()).collect::<Vec<_>>());
        assert!(outcome.parts.iter().all(|(_, key)| key.is_some()), "{outcome:?}");
    }
}

#[test]
fn a_long_token_does_not_hide_the_packet_number() {
    let token = [7; 90];
    let sealed = |context, id, number| long(context, 0xc0, V1, id, &token, number);
    // With the number, the second connection is known to be another one.
    let outcome = exchange(&[
        sealed(1, FIRST, 3),
        zero_rtt(2, FIRST, "a"),
        sealed(1, b"other...", 3),
        zero_rtt(3, b"other...", "b"),
    ]);
    assert_eq!(outcome.connections().len(), 2);
}

#[test]
fn version_2_numbers_its_packets_differently() {
    let v2: &[u8] = &[0x6b, 0x33, 0x43, 0xcf];
    let early = |frames: &str| Sample { frames: frames.into(), ..long(2, 0xe0, v2, FIRST, b"", 1) };
    let mut hello = long(1, 0xd0, v2, FIRST, b"", 1);
    hello.header.insert(hello.header.len() - 3, 0);
    assert_eq!(exchange(&[hello, early("early")]).texts(), ["early"]);
}

#[test]
fn an_opened_connection_is_read_even_if_its_datagrams_are_not_seen() {
    let outcome =
        run([initial(1, FIRST, 1), zero_rtt(2, FIRST, "early")].map(|packet| packet.record()));
    assert_eq!(outcome.texts(), ["early"]);
    assert_eq!(run([short(2, FIRST, 1, "late").record()]).texts(), [""; 0]);
}

#[test]
fn a_function_that_can_also_decrypt_is_read_only_after_a_datagram() {
    let [hello, first] = [initial(1, FIRST, 1), zero_rtt(2, FIRST, "early")];
    let nss = |packet: &Sample| Record { hook: Hook::NssAead, ..packet.record() };
    // The server's packets have the client's id.
    let received = nss(&short(3, b"client..", 1, "response"));
    let records = [nss(&hello), nss(&first), received.clone()];
    assert_eq!(run(records.clone()).texts(), [""; 0]);
    let sent = datagram(&[&hello, &first]);
    assert_eq!(run(records.into_iter().chain([sent])).texts(), ["early"]);
}

#[test]
fn a_cleared_fixed_bit_is_part_of_the_packet() {
    let set = short(1, SERVER, 1, "a");
    let mut cleared = short(1, SERVER, 2, "b");
    cleared.header[0] &= !0x40;
    let outcome = exchange(&[set.clone(), cleared.clone()]);
    assert_eq!((outcome.texts(), outcome.connections().len()), (vec!["a", "b"], 1));
    assert!(outcome.parts.iter().all(|(_, key)| key.is_some()));
    let outcome = run([cleared.record(), datagram(&[&set])]);
    assert_eq!(outcome.texts(), [""; 0]);
}

#[test]
fn connections_are_forgotten_in_the_order_of_their_last_packets() {
    let mut sealed = Sealed::default();
    let mut out = Vec::new();
    for number in 0..3 * MAX_CONNECTIONS as u64 {
        let id = number.to_be_bytes();
        let mut record = short(number, &id, 1, "x").record();
        record.time = BootTime(number);
        sealed.seal(record, &mut out);
    }
    assert_eq!(sealed.connections.len(), MAX_CONNECTIONS);
    assert_eq!((sealed.ids.len(), sealed.contexts.len()), (MAX_CONNECTIONS, MAX_CONNECTIONS));
    assert_eq!(sealed.waiting.len(), MAX_WAITING);
    for number in 0..3 * MAX_NAMES as u64 {
        sealed.seal(short(1, &number.to_le_bytes(), 1, "x").record(), &mut out);
    }
    assert!(sealed.ids.len() <= MAX_CONNECTIONS + MAX_NAMES);
}

#[test]
fn every_prefix_and_every_changed_byte_of_a_header_is_harmless() {
    for packet in [initial(1, FIRST, 1), handshake(2, SERVER), short(3, SERVER, 1, "x")] {
        let whole = packet.record();
        for len in 0..whole.payload.len() {
            let payload = whole.payload.slice(..len);
            run([Record { payload, ..whole.clone() }, datagram(&[&packet])]);
        }
        for at in 0..SealedHeader::SIZE {
            for value in [0, 1, 0x40, 0x80, 0xff] {
                let mut payload = whole.payload.to_vec();
                payload[at] = value;
                run([Record { payload: payload.into(), ..whole.clone() }, datagram(&[&packet])]);
            }
        }
        for len in [None, Some(0), Some(u32::MAX)] {
            run([Record { len, ..whole.clone() }, datagram(&[&packet])]);
        }
    }
}
