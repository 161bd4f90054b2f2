use std::{collections::BTreeMap, path::PathBuf};

use bytes::Bytes;
use tracer_core::{
    proto::{Decoder, Limits, Message, Protocol, Request, Traffic},
    record::{Event, Record, Transport},
    stream::Streams,
};

use super::super::Reader;

/// A connection in `tests/fixtures/quic`.
struct Recorded {
    name: &'static str,
    capture: Vec<u8>,
    truth: Vec<Truth>,
}

/// A request as the client made it.
struct Truth {
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

const NAMES: [&str; 12] = [
    "aes128",
    "aes256-v2",
    "chacha20",
    "version-upgrade",
    "retry",
    "lossy",
    "key-updates",
    "migration",
    "zero-rtt",
    "webtransport",
    "chromium",
    "firefox",
];

fn recorded(name: &'static str) -> Recorded {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/quic");
    let json = std::fs::read(folder.join(name).with_extension("json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let truth = |request: &serde_json::Value| Truth {
        fields: serde_json::from_value(request["fields"].clone()).unwrap(),
        body: data_encoding::HEXLOWER.decode(request["body"].as_str().unwrap().as_bytes()).unwrap(),
    };
    Recorded {
        name,
        capture: std::fs::read(folder.join(name).with_extension("pcapng")).unwrap(),
        truth: json["requests"].as_array().unwrap().iter().map(truth).collect(),
    }
}

impl Truth {
    fn field(&self, name: &str) -> &str {
        self.fields.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Reports whether nothing that is known of a request contradicts the truth.
    fn is_consistent(&self, request: &Request) -> bool {
        let path = request.path.as_deref();
        let agrees =
            |known: Option<&str>, name| known.is_none_or(|known| known == self.field(name));
        agrees(request.method.as_deref(), ":method")
            && agrees(request.authority.as_deref(), ":authority")
            && (agrees(path, ":path") || request.path_is_cut())
            && agrees(request.header("referer").map(|v| std::str::from_utf8(v).unwrap()), "referer")
            && self.body.starts_with(request.body.prefix())
    }

    fn is(&self, request: &Request) -> bool {
        request.complete
            && self.is_consistent(request)
            && request.body.data == self.body
            && request.protocol == Protocol::Http3
    }
}

fn records(capture: &[u8]) -> Vec<Record> {
    let mut reader = Reader::new(capture);
    let mut records = Vec::new();
    while let Ok(Some(event)) = reader.event() {
        if let Event::Sent(record) = event {
            records.push(record);
        }
    }
    records
}

/// Returns the requests of records, and the accounts of their connections by
/// transport.
fn decode(records: &[Record]) -> (Vec<Request>, BTreeMap<String, Vec<Traffic>>) {
    let mut streams = Streams::<Decoder>::new(Default::default(), Limits::default());
    let mut out = Vec::new();
    for record in records {
        streams.push(record, &mut out);
        streams.flush_stale(record.time, &mut out);
    }
    streams.finish(&mut out);
    let (mut requests, mut traffic) = (Vec::new(), BTreeMap::<String, Vec<Traffic>>::new());
    for sent in out {
        match sent.message {
            Message::Request(request) => requests.push(request),
            Message::Ended(ended) => {
                let transport = format!("{:?}", sent.connection.transport);
                traffic.entry(transport).or_default().push(*ended);
            }
            Message::Name(name) => assert_eq!(name.name, "shop.example"),
        }
    }
    (requests, traffic)
}

#[test]
fn every_request_is_read() {
    for name in NAMES {
        let recorded = recorded(name);
        let records = records(&recorded.capture);
        let (requests, traffic) = decode(&records);
        assert_eq!(requests.len(), recorded.truth.len(), "{name}");
        for truth in &recorded.truth {
            let is_read = requests.iter().any(|request| truth.is(request));
            assert!(is_read, "{name} {} {requests:?}", truth.field(":path"));
        }
        // Every packet was decrypted, and they belong to one connection.
        for udp in &traffic["Udp"] {
            assert_eq!((udp.unread.datagrams, udp.read_in_plain), (0, udp.sent), "{name}");
        }
        let [quic] = &traffic["Quic"][..] else { panic!("{name}") };
        let unread = quic.unread.bytes() - quic.unread.webtransport - quic.unread.datagrams;
        assert_eq!((unread, quic.missing), (0, 0), "{name}");
        assert_eq!(quic.unread.webtransport > 0, name == "webtransport");
    }
}

#[test]
fn a_migrated_connection_has_several_paths() {
    let records = records(&recorded("migration").capture);
    let quic: Vec<_> = records
        .iter()
        .filter(|record| record.connection.transport == Transport::Quic)
        .map(|record| (record.connection.key, record.connection.local.unwrap().port()))
        .collect();
    let mut ports: Vec<u16> = quic.iter().map(|(_, port)| *port).collect();
    ports.dedup();
    assert_eq!(ports, [40000, 40001, 40002]);
    assert!(quic.iter().all(|(key, _)| *key == quic[0].0));
}

/// A capture as its blocks.
fn blocks(capture: &[u8]) -> Vec<&[u8]> {
    let mut rest = capture;
    let mut blocks = Vec::new();
    while let Some(len) = rest.get(4..8) {
        let len = u32::from_le_bytes(len.try_into().unwrap()) as usize;
        let (block, behind) = rest.split_at(len);
        blocks.push(block);
        rest = behind;
    }
    blocks
}

const SECRETS: u32 = 0x0a;
const PACKET: u32 = 6;

fn kind(block: &[u8]) -> u32 {
    u32::from_le_bytes(block[..4].try_into().unwrap())
}

#[test]
fn no_lost_packet_leads_to_a_wrong_field() {
    for name in NAMES {
        let recorded = recorded(name);
        let blocks = blocks(&recorded.capture);
        for lost in 0..blocks.len() {
            if kind(blocks[lost]) != PACKET {
                continue;
            }
            let capture = [&blocks[..lost], &blocks[lost + 1..]].concat().concat();
            let (requests, _) = decode(&records(&capture));
            for request in &requests {
                let is_true = recorded.truth.iter().any(|truth| truth.is_consistent(request));
                assert!(is_true, "{} without {lost}: {request:?}", recorded.name);
            }
        }
    }
}

#[test]
fn most_requests_survive_a_lost_packet() {
    // Without the ClientHello there are no keys; without another packet, one request
    // and what depends on its insertions.
    let recorded = recorded("key-updates");
    let blocks = blocks(&recorded.capture);
    let packets = (0..blocks.len()).filter(|at| kind(blocks[*at]) == PACKET);
    let read = packets.map(|lost| {
        let capture = [&blocks[..lost], &blocks[lost + 1..]].concat().concat();
        decode(&records(&capture)).0.len()
    });
    let few = read.filter(|&read| read + 1 < recorded.truth.len()).count();
    assert_eq!(few, 1);
}

#[test]
fn without_secrets_everything_is_unread_under_the_servers_name() {
    for name in NAMES {
        let recorded = recorded(name);
        let blocks = blocks(&recorded.capture);
        let without: Vec<&[u8]> =
            blocks.iter().filter(|block| kind(block) != SECRETS).copied().collect();
        let records = records(&without.concat());
        assert!(records.iter().all(|record| record.connection.transport == Transport::Udp));
        let (requests, traffic) = decode(&records);
        assert!(requests.is_empty());
        let named = traffic["Udp"].iter().find_map(|udp| udp.server.as_ref());
        assert_eq!(named.map(|server| &server.name[..]), Some("shop.example"), "{name}");
        assert!(traffic["Udp"].iter().any(|udp| udp.unread.datagrams > 0), "{name}");
    }
}

#[test]
fn secrets_may_follow_the_handshake() {
    let recorded = recorded("aes128");
    let mut blocks = blocks(&recorded.capture);
    let secrets = blocks.remove(1);
    for later in 2..blocks.len() {
        let mut late = blocks.clone();
        late.insert(later, secrets);
        let (requests, _) = decode(&records(&late.concat()));
        for request in &requests {
            assert!(recorded.truth.iter().any(|truth| truth.is_consistent(request)), "{later}");
        }
        assert!(later > 8 || !requests.is_empty(), "{later}");
    }
}

#[test]
fn damaged_and_truncated_packets_are_unread() {
    let recorded = recorded("aes128");
    let whole = records(&recorded.capture).len();
    for cut in (0..recorded.capture.len()).step_by(29) {
        let (requests, _) = decode(&records(&recorded.capture[..cut]));
        for request in &requests {
            assert!(recorded.truth.iter().any(|truth| truth.is_consistent(request)), "{cut}");
        }
        let mut damaged = recorded.capture.clone();
        damaged[cut] ^= 0x10;
        let records = records(&damaged);
        let (requests, _) = decode(&records);
        for request in &requests {
            assert!(recorded.truth.iter().any(|truth| truth.is_consistent(request)), "{cut}");
        }
        assert!(records.len() <= whole + 2);
    }
}

#[test]
fn parts_of_a_datagram_are_its_bytes() {
    for name in NAMES {
        let recorded = recorded(name);
        let udp = |capture: &[u8]| -> Vec<Bytes> {
            let records = records(capture).into_iter();
            let udp = records.filter(|record| record.connection.transport == Transport::Udp);
            udp.map(|record| record.payload).collect()
        };
        let blocks = blocks(&recorded.capture);
        let without: Vec<&[u8]> =
            blocks.iter().filter(|block| kind(block) != SECRETS).copied().collect();
        assert_eq!(udp(&recorded.capture).concat(), udp(&without.concat()).concat(), "{name}");
    }
}
