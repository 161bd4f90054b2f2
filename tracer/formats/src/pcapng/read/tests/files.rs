//! File formats and link layers.

use proptest::prelude::*;

use super::{
    super::link,
    build::{ACK, File, PSH, client, ethernet, file, ipv4, ipv6, udp},
    *,
};
use tracer_core::record::Transport;

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

fn get() -> Vec<u8> {
    client(7, ACK | PSH, GET).ipv4()
}

/// Returns the payload of the only record of a file.
fn payload(file: &[u8]) -> Vec<u8> {
    let [record] = <[_; 1]>::try_from(records(file)).expect("one record");
    record.payload.to_vec()
}

#[test]
fn every_link_layer_is_read() {
    let ip = get();
    let segment = client(7, ACK, GET).segment();
    let six = ipv6(6, 0, &segment);
    let tagged = |tags: &[u8], kind: u16| [tags, &kind.to_be_bytes(), &ip].concat();
    let mac = [0; 12];
    let sll = [&[0; 14][..], b"\x08\0", &ip].concat();
    let sll2 = [b"\x86\xdd", &[0; 18][..], &six].concat();
    for (link, frame) in [
        (1, ethernet(0x0800, &ip)),
        (1, ethernet(0x86dd, &six)),
        (1, tagged(&[&mac[..], b"\x81\0\0\x01"].concat(), 0x0800)),
        (1, tagged(&[&mac[..], b"\x88\xa8\0\x01\x81\0\0\x02"].concat(), 0x0800)),
        (101, ip.clone()),
        (12, ip.clone()),
        (14, six.clone()),
        (228, ip.clone()),
        (229, six.clone()),
        (0, [&[2, 0, 0, 0][..], &ip].concat()),
        (0, [&[30, 0, 0, 0][..], &six].concat()),
        (108, [&[0, 0, 0, 2][..], &ip].concat()),
        (113, sll),
        (113, [&[0; 14][..], b"\x81\0\0\x01\x08\0", &ip].concat()),
        (276, sll2),
        (1, tagged(&[&mac[..], b"\x88\x64\x11\0\0\x05\0\x99"].concat(), 0x0021)),
        (1, tagged(&[&mac[..], b"\0\x99\xaa\xaa\x03\0\0\0"].concat(), 0x0800)),
        (1, [&mac[..], b"\x88\x47\0\x01\0\x40\0\x02\x01\x40", &ip].concat()),
        // Without a link layer, under the link type of Ethernet.
        (1, ip.clone()),
        (1, six.clone()),
        (9, [b"\xff\x03\0\x21", &ip[..]].concat()),
        (9, [b"\x21", &ip[..]].concat()),
        (104, [b"\x0f\0\x08\0", &ip[..]].concat()),
        (105, [&[0x08, 1][..], &[0; 22], b"\xaa\xaa\x03\0\0\0\x08\0", &ip].concat()),
        (
            127,
            [&[0, 0, 8, 0, 0, 0, 0, 0, 0x88, 1][..], &[0; 24], b"\xaa\xaa\x03\0\0\0\x08\0", &ip]
                .concat(),
        ),
        (
            239,
            [
                &[2, 0, 0, 0, 8, 0, 11, 0, 0, 0, 0x27, 0x8b][..],
                &(ip.len() as u16 + 4).to_le_bytes(),
                &[9, 0],
                &ip,
            ]
            .concat(),
        ),
        (
            239,
            [
                &[2, 0, 0, 0, 0, 5, 0, 10, 0, 0, 0, 0][..],
                &(ip.len() as u16 + 4).to_be_bytes(),
                &[0, 9],
                &ip,
            ]
            .concat(),
        ),
        (258, [&[12, 0, 0, 0, 1, 0, 0, 0, 101, 0, 0, 0][..], &ip].concat()),
        (149, [&[0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 101][..], &ip].concat()),
    ] {
        let mut capture = File::with_link(link);
        capture.packet(0, &frame);
        assert_eq!(payload(&capture.bytes), GET, "{link} {frame:?}");
        // A frame that is cut yields a prefix of the payload, or none.
        let bytes = frame.clone().into();
        let whole = link::segment(link, &bytes, frame.len() as u32).unwrap();
        for len in 0..frame.len() {
            match link::segment(link, &bytes.slice(..len), frame.len() as u32) {
                Ok(cut) => {
                    assert_eq!((cut.from, cut.to, cut.len), (whole.from, whole.to, whole.len));
                    assert!(whole.payload.starts_with(&cut.payload));
                }
                Err(err) => assert_eq!(err, FrameError::Malformed, "{link} {len}"),
            }
        }
    }
}

#[test]
fn packets_in_tunnels_are_read() {
    let (a, b) = ([192, 0, 2, 1], [192, 0, 2, 2]);
    let ip = get();
    let six = ipv6(6, 0, &client(7, ACK, GET).segment());
    let frame = [&[0; 12][..], b"\x08\0", &ip].concat();
    let tunnel = |protocol, parts: &[&[u8]]| ipv4(a, b, protocol, 0, &parts.concat());
    let datagram = |port, parts: &[&[u8]]| tunnel(17, &[&udp(5000, port, &parts.concat())]);
    let authenticated = [&[6, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1][..], &[0; 12]].concat();
    let segment = client(7, ACK, GET).segment();
    for packet in [
        tunnel(4, &[&ip]),
        tunnel(41, &[&six]),
        tunnel(51, &[&authenticated, &segment]),
        tunnel(47, &[b"\0\0\x08\0", &ip]),
        tunnel(47, &[b"\xb0\0\x86\xdd", &[0; 12], &six]),
        // NVGRE, ERSPAN I to III, PPTP.
        tunnel(47, &[b"\x20\0\x65\x58\0\0\0\x01", &frame]),
        tunnel(47, &[b"\0\0\x88\xbe", &frame]),
        tunnel(47, &[b"\x10\0\x88\xbe", &[0; 12], &frame]),
        tunnel(47, &[b"\x10\0\x22\xeb", &[0; 16], &frame]),
        tunnel(47, &[b"\x30\x81\x88\x0b", &[0; 12], b"\xff\x03\0\x21", &ip]),
        tunnel(137, &[b"\0\x01\x01\x40", &ip]),
        tunnel(97, &[b"\x30\0", &frame]),
        datagram(4789, &[b"\x08\0\0\0\0\0\x01\0", &frame]),
        datagram(6081, &[b"\x01\0\x65\x58\0\0\x01\0", &[0; 4], &frame]),
        datagram(2152, &[b"\x30\xff\0\0\0\0\0\x01", &ip]),
        datagram(2152, &[b"\x34\xff\0\0\0\0\0\x01\0\0\0\x85\x01\0\0\0", &ip]),
        datagram(3544, &[b"\0\0\0\0\0\0\0\0", &six]),
        datagram(1701, &[b"\0\x02\0\x01\0\x01\xff\x03\0\x21", &ip]),
        // A tunnel in a tunnel.
        tunnel(4, &[&tunnel(47, &[b"\0\0\x08\0", &ip])]),
    ] {
        let mut capture = File::with_link(101);
        capture.packet(0, &packet);
        assert_eq!(payload(&capture.bytes), GET, "{packet:02x?}");
        let bytes = bytes::Bytes::from(packet.clone());
        for len in 0..packet.len() {
            if let Ok(cut) = link::segment(101, &bytes.slice(..len), packet.len() as u32) {
                // Bytes of the tunnel itself, or a prefix of the payload.
                assert!(GET.starts_with(&cut.payload) || cut.tcp.is_none(), "{len}");
            }
        }
    }
    // The number of layers is limited.
    let deep = (0..200).fold(ip, |inner, _| ipv4(a, b, 4, 0, &inner));
    let mut capture = File::with_link(101);
    capture.packet(0, &deep);
    let (events, counters, _) = read(&capture.bytes);
    assert_eq!((sends(events).len(), counters.explain().count()), (0, 1));
}

#[test]
fn the_sender_in_nflog_and_pktap_is_read() {
    let ip = get();
    let len = (ip.len() as u16 + 4).to_le_bytes();
    let mut capture = File::with_link(239);
    let uid = &[2, 0, 0, 0, 8, 0, 11, 0, 0, 0, 0x27, 0x8b][..];
    capture.packet(0, &[uid, &len, &[9, 0], &ip].concat());
    assert_eq!(records(&capture.bytes)[0].process.uid, 10_123);
    let mut header = [0; 108];
    (header[0], header[4], header[8]) = (108, 1, 101);
    header[56..63].copy_from_slice(b"Browser");
    let mut capture = File::with_link(258);
    capture.packet(0, &[&header[..], &ip].concat());
    assert_eq!(records(&capture.bytes)[0].process.comm, "Browser");
}

#[test]
fn packets_that_cannot_be_read_are_counted() {
    let segment = client(7, ACK, GET).segment();
    let (a, b) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let mut capture = File::with_link(1);
    for frame in [
        ethernet(0x0806, b"an ARP request"),
        ethernet(0x0800, &ipv4(a, b, 1, 0, b"a ping")),
        // The first fragment, and one behind it.
        ethernet(0x0800, &ipv4(a, b, 6, 0x2000, &segment)),
        ethernet(0x0800, &ipv4(a, b, 6, 0x0010, b"the rest")),
        ethernet(0x86dd, &ipv6(6, 0x0011, b"another")),
        // Invalid headers.
        ethernet(0x0800, b"\x41\0\0\x14"),
        ethernet(0x0800, &ipv4(a, b, 6, 0, b"short")),
        vec![0; 7],
    ] {
        capture.packet(0, &frame);
    }
    capture.interface(9999, &[]);
    capture.cut_packet(1, 0, b"?", 1, &[(4, &[3, 0, 0, 0, 0, 0, 0, 0])]);
    let statistics = [&[0; 12][..], b"\x05\0\x08\0", &[2, 0, 0, 0, 0, 0, 0, 0], &[0; 4]].concat();
    capture.block(5, &statistics);
    let (events, counters, end) = read(&capture.bytes);
    end.unwrap();
    assert!(sends(events).is_empty());
    let bytes = (segment.len() + b"the rest".len() + b"another".len()) as u64;
    assert_eq!(
        counters,
        Counters {
            packets: 9,
            others: [
                (Other::Link(9999), 1),
                (Other::EtherType(0x0806), 1),
                (Other::IpProtocol(1), 1),
            ]
            .into(),
            tunnelled: 0,
            without_link: 0,
            malformed: 3,
            fragments: 3,
            fragment_bytes: bytes,
            dropped: 5,
        }
    );
    assert_eq!(counters.explain().count(), 6);
}

#[test]
fn sections_in_both_byte_orders_are_read() {
    let mut both = Vec::new();
    for big in [false, true] {
        let mut capture = File::new(big);
        capture.block(10, b"not a list of secrets");
        capture.interface(101, &[(2, b"eth0"), (9, &[9])]);
        capture.interface(
            1,
            &[
                (9, &[0x80 | 20]),
                (14, &if big { 5_u64.to_be_bytes() } else { 5_u64.to_le_bytes() }),
            ],
        );
        capture.packet(1_500_000_000, &get());
        let again = client(7 + GET.len() as u32, ACK, GET).ethernet();
        capture.cut_packet(1, 3 << 19, &again, again.len(), &[(1, b"a comment")]);
        both.extend(capture.bytes);
    }
    let times: Vec<u64> = records(&both).iter().map(|record| record.time.0).collect();
    assert_eq!(times, [1_500_000_000, 6_500_000_000, 1_500_000_000, 6_500_000_000]);
}

#[test]
fn obsolete_and_simple_packet_blocks_are_read() {
    let ip = get();
    let mut capture = File::with_link(101);
    let mut simple = (ip.len() as u32).to_le_bytes().to_vec();
    simple.extend(&ip);
    capture.block(3, &simple);
    assert_eq!(payload(&capture.bytes), GET);
    let mut capture = File::with_link(101);
    let len = (ip.len() as u32).to_le_bytes();
    let old = [&[0, 0, 9, 9, 0, 0, 0, 0, 1, 0, 0, 0][..], &len, &len, &ip].concat();
    capture.block(2, &old);
    assert_eq!(payload(&capture.bytes), GET);
    assert_eq!(records(&capture.bytes)[0].time.0, 1000);
}

#[test]
fn pcap_files_are_read() {
    let ip = get();
    for (magic, nanos) in [(0xa1b2_c3d4_u32, 7000), (0xa1b2_3c4d, 7)] {
        for big in [false, true] {
            let number = |n: u32| if big { n.to_be_bytes() } else { n.to_le_bytes() };
            let len = ip.len() as u32;
            let header = [magic, 0x0004_0002, 0, 0, 65535, 101, 1, 7, len, len + 3];
            let mut file: Vec<u8> = header.into_iter().flat_map(number).collect();
            file.extend(&ip);
            let [record] = <[_; 1]>::try_from(records(&file)).unwrap();
            assert_eq!((&record.payload[..], record.time.0), (GET, 1_000_000_000 + nanos));
            for cut in 24..file.len() {
                let (_, _, end) = read(&file[..cut]);
                assert_eq!(matches!(end, Err(ReadError::Cut)), cut > 24, "{cut}");
            }
        }
    }
}

#[test]
fn pcapdroids_senders_are_read() {
    // In a trailer, after padding to four bytes.
    let mut frame = [&[0; 12][..], b"\x08\0", &get()].concat();
    frame.resize(frame.len().next_multiple_of(4), 0);
    frame.extend(0x0107_2021_u32.to_be_bytes());
    frame.extend(10_123_u32.to_be_bytes());
    frame.extend(b"Mi Browser\0\0\0\0\0\0\0\0\0\0");
    frame.extend([1, 2, 3, 4]);
    let mut capture = File::with_link(1);
    capture.packet(0, &frame);
    let [record] = <[_; 1]>::try_from(records(&capture.bytes)).unwrap();
    assert_eq!((record.process.uid, &*record.process.comm), (10_123, "Mi Browser"));
    assert_eq!(&record.payload[..], GET);

    // In a comment, with a block that contains the package name.
    let mut capture = File::with_link(101);
    let name = b"com.mi.globalbrowser";
    let mut block = 62_652_u32.to_le_bytes().to_vec();
    block.extend([1, 0, 1, 0]);
    block.extend(10_123_u32.to_le_bytes());
    block.extend([name.len() as u8, 3]);
    block.extend(name);
    block.extend(b"Mi?");
    capture.block(0x0bad, &block);
    let ip = get();
    capture.cut_packet(0, 0, &ip, ip.len(), &[(1, b"u-10123")]);
    let (events, ..) = read(&capture.bytes);
    let packages = Event::Packages { app: 10_123, names: vec!["com.mi.globalbrowser".into()] };
    assert!(events.contains(&packages), "{events:?}");
    assert_eq!(sends(events)[0].process.uid, 10_123);
}

#[test]
fn exported_pdus_are_read() {
    let pdu = |dissector: &[u8], to: u16, payload: &[u8]| {
        let mut out = vec![0, 12, 0, 8];
        out.extend(dissector);
        out.resize(12, 0);
        out.extend([0, 20, 0, 4, 10, 0, 0, 1, 0, 21, 0, 4, 10, 0, 0, 2]);
        out.extend([0, 25, 0, 4, 0, 0, 0x9c, 0x40, 0, 26, 0, 4, 0, 0]);
        out.extend(to.to_be_bytes());
        out.extend([0, 0, 0, 0]);
        out.extend(payload);
        out
    };
    let mut capture = File::with_link(252);
    capture.packet(0, &pdu(b"http", 443, GET));
    capture.packet(0, &pdu(b"http", 443, b"GET /b"));
    capture.packet(0, &pdu(b"sip", 443, b"GET /c"));
    capture.packet(0, &pdu(b"http", 80, GET));
    let all = records(&capture.bytes);
    let summary: Vec<_> = all.iter().map(|r| (r.connection.transport, r.payload.len())).collect();
    assert_eq!(
        summary,
        [(Transport::Tls, GET.len()), (Transport::Tls, 6), (Transport::Tcp, GET.len())]
    );
    assert_eq!(all[0].connection.remote, Some("10.0.0.2:443".parse().unwrap()));
    let whole = pdu(b"http", 443, GET);
    for len in 0..whole.len() {
        let mut capture = File::with_link(252);
        capture.cut_packet(0, 0, &whole[..len], whole.len(), &[]);
        for record in records(&capture.bytes) {
            assert!(GET.starts_with(&record.payload));
            assert_eq!(record.len, Some(GET.len() as u32));
        }
    }
}

/// A file that ends early yields everything before its end, and an error.
#[test]
fn every_prefix_yields_the_packets_before_its_end() {
    let whole = file(&[
        client(7, ACK, b"GET / HTTP/1.1\r\n"),
        client(23, ACK | PSH, b"Host: a.test\r\n\r\n"),
    ]);
    let all = read(&whole).0;
    let mut ends = 0;
    for len in 12..whole.len() {
        let (events, _, end) = read(&whole[..len]);
        assert!(all.starts_with(&events), "{len}");
        match end {
            Ok(()) => ends += 1,
            Err(ReadError::Cut) => {}
            Err(err) => panic!("{len}: {err}"),
        }
    }
    // After the section header, the interface and the first packet.
    assert_eq!(ends, 3);
}

#[test]
fn damage_is_an_error() {
    let whole = file(&[client(7, ACK, GET)]);
    let damaged = |at: usize, byte: u8| {
        let mut file = whole.clone();
        file[at] = byte;
        read(&file).2
    };
    assert!(matches!(read(b"no capture").2, Err(ReadError::WrongFormat(_))));
    // The byte order, a length, its repetition, an interface's number.
    for (at, byte) in [(8, 0), (4, 29), (24, 99), (60, 7)] {
        assert!(matches!(damaged(at, byte), Err(ReadError::Damaged(_))), "{at}");
    }
    // An excessive length allocates nothing.
    let mut huge = File::new(false).bytes;
    huge.extend([6, 0, 0, 0, 0xfc, 0xff, 0xff, 0xff]);
    assert!(matches!(read(&huge).2, Err(ReadError::Damaged(_))));
}

proptest! {
    #[test]
    fn nothing_panics(
        link in prop::sample::select(vec![0_u16, 1, 9, 50, 101, 105, 113, 127, 192, 239, 252, 258, 276]),
        frames in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..90), 0..8),
        at: prop::sample::Index,
        byte: u8,
    ) {
        let mut capture = File::with_link(link);
        for frame in &frames {
            capture.packet(0, frame);
            capture.packet(0, &[&[0x45, 0, 0, 60, 0, 0, 0, 0, 9, 6][..], frame].concat());
            capture.packet(0, &ethernet(0x86dd, &ipv6(17, 0, &udp(1, 2, frame))));
            capture.block(u32::from(byte % 12), frame);
        }
        let mut file = capture.bytes;
        *at.get_mut(&mut file) = byte;
        let _ = read(&file);
    }
}
