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
            others: 2,
            unknown_links: 1,
            malformed: 3,
            fragments: 3,
            fragment_bytes: bytes,
            dropped: 5,
        }
    );
    assert_eq!(counters.explain().count(), 4);
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
        link in prop::sample::select(vec![0_u16, 1, 101, 113, 252, 276]),
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
