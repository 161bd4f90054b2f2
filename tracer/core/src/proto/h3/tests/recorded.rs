//! Connections that another implementation sent.

use std::path::Path;

use super::*;
use crate::proto::Header;
use crate::proto::wire::tests::unhex;

/// A connection in `tests/fixtures/quic`.
struct Recorded {
    name: &'static str,
    packets: Vec<Vec<u8>>,
    truth: Vec<Truth>,
}

/// A request as the client made it.
struct Truth {
    method: String,
    authority: String,
    path: String,
    headers: Vec<(Bytes, Bytes)>,
    body: Vec<u8>,
}

const NAMES: [&str; 4] = ["aes128", "lossy", "zero-rtt", "webtransport"];

fn recorded() -> Vec<Recorded> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/quic");
    let read = |name: &'static str| {
        let text = std::fs::read(root.join(name).with_extension("json")).unwrap();
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let list = |key: &str| json[key].as_array().unwrap().clone();
        Recorded {
            name,
            packets: list("packets").iter().map(|hex| unhex(hex.as_str().unwrap())).collect(),
            truth: list("requests").iter().map(Truth::new).collect(),
        }
    };
    NAMES.map(read).into()
}

impl Truth {
    fn new(request: &serde_json::Value) -> Self {
        let fields: Vec<(String, String)> =
            serde_json::from_value(request["fields"].clone()).unwrap();
        let pseudo = |name: &str| fields.iter().find(|(n, _)| n == name).unwrap().1.clone();
        let mut headers: Vec<(Bytes, Bytes)> = Vec::new();
        for (name, value) in fields.iter().filter(|(name, _)| !name.starts_with(':')) {
            match headers.iter_mut().find(|(known, _)| name == "cookie" && known == "cookie") {
                Some((_, joined)) => {
                    *joined = [&joined[..], b"; ", value.as_bytes()].concat().into();
                }
                None => headers.push((name.clone().into(), value.clone().into())),
            }
        }
        Self {
            method: pseudo(":method"),
            authority: pseudo(":authority"),
            path: pseudo(":path"),
            headers,
            body: unhex(request["body"].as_str().unwrap()),
        }
    }

    fn is(&self, request: &Request) -> bool {
        request.complete && self.is_consistent(request) && self.body == request.body.data
    }

    /// Reports whether nothing that is known of a request contradicts the truth.
    fn is_consistent(&self, request: &Request) -> bool {
        let agrees = |known: &Option<String>, truth: &str| {
            known.as_deref().is_none_or(|known| known == truth)
        };
        let path = request.path.as_deref().unwrap_or_default();
        let path_agrees = match request.path_is_cut() {
            true => self.path.starts_with(path),
            false => agrees(&request.path, &self.path),
        };
        // Some crumbs of a cookie may be unknown.
        let header = |known: &Header| {
            let is_part = |(name, value): &(Bytes, Bytes)| {
                let is_crumb = || value.windows(known.value.len()).any(|part| part == known.value);
                *name == known.name && (*value == known.value || name == "cookie" && is_crumb())
            };
            self.headers.iter().any(is_part)
        };
        agrees(&request.method, &self.method)
            && agrees(&request.authority, &self.authority)
            && path_agrees
            && request.headers.iter().all(header)
            && self.body.starts_with(request.body.prefix())
    }
}

/// Checks that every request is one of the truth, as far as it is known.
fn check(recorded: &Recorded, requests: &[Request], what: &str) {
    for request in requests {
        let is_true = recorded.truth.iter().any(|truth| truth.is_consistent(request));
        assert!(is_true, "{} {what}: {request:?}", recorded.name);
    }
}

/// Checks that exactly the requests of the truth were read.
fn check_all(recorded: &Recorded, requests: &[Request], what: &str) {
    let Recorded { name, truth, .. } = recorded;
    assert_eq!(requests.len(), truth.len(), "{name} {what}");
    for truth in truth {
        assert!(requests.iter().any(|request| truth.is(request)), "{name} {what} {}", truth.path);
    }
}

#[test]
fn every_request_is_read() {
    for recorded in recorded() {
        let (requests, counters) = run(&recorded.packets);
        check_all(&recorded, &requests, "whole");
        assert_eq!((counters.unread_bytes, counters.missing), (0, 0), "{}", recorded.name);
    }
}

#[test]
fn webtransport_is_counted() {
    let recorded = recorded().pop().unwrap();
    let (_, counters) = run(&recorded.packets);
    assert_eq!((counters.webtransport_sessions, counters.webtransport_streams), (1, 2));
    let sent = "within a session, both directions".len() + "within a session, one direction".len();
    // And the type of the first stream, with the session of both.
    assert_eq!(counters.webtransport_bytes, sent as u64 + 3 + 1);
    assert_eq!(counters.datagram_bytes, 1 + "a datagram".len() as u64);
}

#[test]
fn packets_may_arrive_in_any_order_and_twice() {
    for recorded in recorded() {
        let packets = &recorded.packets;
        let stream_bytes = |order: &[Vec<u8>]| {
            let counters = run(order).1;
            counters.sent - counters.datagram_bytes
        };
        let sent = stream_bytes(packets);
        let twice = |packet: &Vec<u8>| [packet.clone(), packet.clone()];
        let mut orders = vec![
            packets.iter().rev().cloned().collect(),
            packets.iter().flat_map(twice).collect(),
            [&packets[..], packets].concat(),
        ];
        for step in [3, 5, 7, 11] {
            let mut order: Vec<usize> = (0..packets.len()).collect();
            order.sort_by_key(|at| (at * step) % packets.len());
            orders.push(order.into_iter().map(|at| packets[at].clone()).collect());
        }
        for (number, order) in orders.iter().enumerate() {
            let (requests, counters) = run(order);
            check_all(&recorded, &requests, &format!("order {number}"));
            assert_eq!((stream_bytes(order), counters.unread_bytes), (sent, 0));
        }
    }
}

#[test]
fn no_lost_packet_leads_to_a_wrong_field() {
    for recorded in recorded() {
        let packets = &recorded.packets;
        for lost in 0..packets.len() {
            let rest = [&packets[..lost], &packets[lost + 1..]].concat();
            let (requests, _) = run(&rest);
            check(&recorded, &requests, &format!("without {lost}"));
            // What was sent before is read in full.
            let complete = |requests: &[Request]| requests.iter().filter(|r| r.complete).count();
            let before = complete(&run(&packets[..lost]).0);
            assert!(complete(&requests) >= before, "{} without {lost}", recorded.name);
            // From there on, the connection is joined late.
            check(&recorded, &run(&packets[lost..]).0, &format!("from {lost}"));
        }
    }
}

#[test]
fn no_two_lost_packets_lead_to_a_wrong_field() {
    let recorded = recorded().swap_remove(1);
    let packets = &recorded.packets;
    for first in 0..packets.len() {
        for second in (first + 1..packets.len()).step_by(3) {
            let kept = packets.iter().enumerate().filter(|(at, _)| ![first, second].contains(at));
            let rest: Vec<Vec<u8>> = kept.map(|(_, packet)| packet.clone()).collect();
            check(&recorded, &run(&rest).0, &format!("without {first} and {second}"));
        }
    }
}

#[test]
fn no_prefix_leads_to_a_wrong_field() {
    for recorded in recorded() {
        for (at, packet) in recorded.packets.iter().enumerate() {
            for cut in (0..packet.len()).step_by(if packet.len() > 400 { 17 } else { 1 }) {
                // The rest of the packet was not captured, and the others were; or
                // the recording ends there.
                for rest in [&recorded.packets[at + 1..], &[]] {
                    let mut run = Run::default();
                    recorded.packets[..at].iter().for_each(|packet| {
                        run.packet(packet);
                    });
                    let time = BootTime(run.time);
                    run.connection.packet(&packet[..cut], packet.len(), time, &mut run.requests);
                    rest.iter().for_each(|packet| {
                        run.packet(packet);
                    });
                    check(&recorded, &run.end().0, &format!("{at} cut at {cut}"));
                }
            }
        }
    }
}
