use proptest::prelude::*;

use super::packet::Version;
use super::*;
use crate::proto::wire::tests::unhex;

/// The packet of RFC 9001 appendix A.2.
fn rfc9001() -> Vec<u8> {
    unhex(include_str!("tests/rfc9001-a2.hex"))
}

/// The packet of RFC 9369 appendix A.2.
fn rfc9369() -> Vec<u8> {
    unhex(include_str!("tests/rfc9369-a2.hex"))
}

/// A ClientHello too large for two datagrams, as sent by aioquic 1.x.
fn three_datagrams() -> Vec<Vec<u8>> {
    include_str!("tests/aioquic-three-datagrams.hex").split("\n\n").map(unhex).collect()
}

fn read<'a>(datagrams: impl IntoIterator<Item = &'a Vec<u8>>) -> Vec<ServerName> {
    let mut client = Client::default();
    let names = datagrams.into_iter().filter_map(|datagram| client.datagram(datagram, BootTime(3)));
    let mut names: Vec<ServerName> = names.collect();
    names.extend(client.cut());
    names
}

/// Returns the payload of the packet in RFC 9001: a ClientHello and padding.
fn hello() -> Vec<u8> {
    let datagram = rfc9001();
    let (packet, _) = Packet::split(&datagram).unwrap();
    let payload = Keys::new(packet.version, packet.id).unwrap().open(&packet).unwrap();
    let mut crypto = Crypto::default();
    crypto.frames(&payload);
    crypto.prefix().to_vec()
}

/// Builds a CRYPTO frame with a range of `stream`.
fn crypto(stream: &[u8], range: std::ops::Range<usize>) -> Vec<u8> {
    let numbers = [0x4000 | range.start as u16, 0x4000 | range.len() as u16];
    let [offset, len] = numbers.map(u16::to_be_bytes);
    [&[0x06], &offset[..], &len[..], &stream[range]].concat()
}

/// Builds an Initial packet to the connection id `to`, encrypted with the keys
/// for `keys`.
fn initial(keys: &[u8], to: &[u8], number: u8, frames: &[u8]) -> Vec<u8> {
    let payload = [frames, &vec![0; 1100_usize.saturating_sub(frames.len())]].concat();
    let len = (0x4000 | (1 + payload.len() + 16) as u16).to_be_bytes();
    let header = [&[0xc0, 0, 0, 0, 1, to.len() as u8], to, &[0, 0], &len, &[number]].concat();
    Keys::new(Version::V1, keys).unwrap().seal(&header, 1, &payload)
}

#[test]
fn rfc_examples() {
    for datagram in [rfc9001(), rfc9369()] {
        let names = read([&datagram]);
        let [name] = &names[..] else { panic!("{names:?}") };
        assert_eq!((&name.name[..], name.source), ("example.com", NameSource::Quic));
        assert_eq!((&name.alpn[..], name.time), (&["alpn".to_owned()][..], BootTime(3)));
    }
}

#[test]
fn a_hello_in_several_datagrams_is_reassembled() {
    let datagrams = three_datagrams();
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let names = read(order.map(|at| &datagrams[at]));
        let [name] = &names[..] else { panic!("{names:?}") };
        assert_eq!((&name.name[..], name.alpn.len()), ("big.example.org", 11));
    }
    // All in one send, as with segmentation offload, and with repetitions.
    assert_eq!(read([&datagrams.concat()]).len(), 1);
    assert_eq!(read([&datagrams[0], &datagrams[0], &datagrams[1], &datagrams[2]]).len(), 1);
    // With padding behind each, as Firefox sends it.
    let padded: Vec<u8> =
        datagrams.iter().flat_map(|bytes| [&bytes[..], &[0; 30]].concat()).collect();
    assert_eq!(read([&padded]).len(), 1);
}

#[test]
fn a_truncated_hello_may_yield_a_name() {
    let hello = hello();
    // The name lies within the first 90 bytes.
    let first = initial(b"first-id", b"first-id", 0, &crypto(&hello, 0..90));
    assert_eq!(read([&first])[0].name, "example.com");
    let last = initial(b"first-id", b"first-id", 0, &crypto(&hello, 90..hello.len()));
    assert_eq!(read([&last]), []);
}

#[test]
fn crypto_frames_may_be_reordered_and_interleaved() {
    let hello = hello();
    let [ping, ack] = [&[0x01][..], &[0x02, 0x05, 0x00, 0x01, 0x02, 0x00, 0x01]];
    let frames = [
        &crypto(&hello, 100..hello.len())[..],
        ping,
        &crypto(&hello, 20..101),
        &[0, 0, 0],
        ack,
        &crypto(&hello, 0..20),
    ];
    let names =
        read([&initial(b"an-id-of-some-length", b"an-id-of-some-length", 7, &frames.concat())]);
    assert_eq!(names[0].name, "example.com");
    // A frame that is not allowed in Initial packets ends the packet.
    let stream = [&[0x08, 0, 0][..], &crypto(&hello, 0..hello.len())].concat();
    assert_eq!(read([&initial(b"first-id", b"first-id", 0, &stream)]), []);
}

#[test]
fn keys_follow_changes_of_the_connection_id() {
    let hello = hello();
    let half = [crypto(&hello, 0..120), crypto(&hello, 120..hello.len())];
    // After the first packet from the server, the client sends to the id chosen
    // by the server, with unchanged keys.
    let names = read([
        &initial(b"first-id", b"first-id", 0, &half[0]),
        &initial(b"first-id", b"server", 1, &half[1]),
    ]);
    assert_eq!(names.len(), 1);
    assert!(!names[0].alpn.is_empty());
    // After a Retry, the client starts over.
    let whole = crypto(&hello, 0..hello.len());
    let names = read([
        &initial(b"first-id", b"first-id", 0, &half[0]),
        &initial(b"retry-id", b"retry-id", 1, &whole),
        &initial(b"retry-id", b"server", 2, &whole),
    ]);
    assert_eq!(names.len(), 1);
}

#[test]
fn other_datagrams_are_not_quic() {
    let mut client = Client::default();
    for datagram in [&b""[..], b"\x40short header", b"\xc0\0\0\0\x02........", b"hello"] {
        assert_eq!(client.datagram(datagram, BootTime(0)), None);
    }
    // A packet that does not authenticate is ignored.
    let mut forged = rfc9001();
    *forged.last_mut().unwrap() ^= 1;
    for _ in 0..=MAX_FAILURES {
        assert_eq!(client.datagram(&forged, BootTime(0)), None);
    }
    assert!(!client.is_certain());
    assert_eq!(client.failures, MAX_FAILURES);
}

#[test]
fn truncated_packets_yield_nothing() {
    for datagram in [rfc9001(), rfc9369()] {
        for len in 0..datagram.len() {
            assert_eq!(read([&datagram[..len].to_vec()]), [], "{len}");
        }
    }
}

proptest! {
    #[test]
    fn nothing_panics(mut datagram in proptest::collection::vec(any::<u8>(), 0..200), quic: bool) {
        if quic && datagram.len() > 6 {
            datagram[..6].copy_from_slice(&[0xc3, 0, 0, 0, 1, 8]);
        }
        prop_assert_eq!(read([&datagram]), []);
    }

    /// Frames of any kind in packets with valid keys, which anyone can send.
    #[test]
    fn no_frame_panics(frames in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut client = Client::default();
        client.datagram(&initial(b"first-id", b"first-id", 0, &frames), BootTime(0));
        prop_assert!(client.is_certain());
        prop_assert!(client.buffered() <= MAX_CRYPTO + (8 << 10));
        client.cut();
    }
}
