mod connections;

use std::path::Path;

use bytes::Bytes;

use super::*;
use crate::proto::{Gap, HeadCut, Unread};
use crate::record::{Connection, Hook, Process, Record, Transport};
use crate::stream::Streams;

/// A part of a byte stream.
#[derive(Debug, Clone)]
pub(in crate::proto) enum Part {
    /// Bytes at the start of a send.
    Send(Vec<u8>),
    /// Bytes within a send.
    Piece(Vec<u8>),
    Gap(Option<u64>),
}

fn feed_part(decoder: &mut Decoder, part: &Part, time: u64, out: &mut Vec<Message>) {
    let chunk = match part {
        Part::Send(bytes) | Part::Piece(bytes) => {
            Chunk::Data { bytes, begins_send: matches!(part, Part::Send(_)) }
        }
        Part::Gap(len) => Chunk::Gap(*len),
    };
    decoder.chunk(chunk, BootTime(time), out);
}

fn decoder() -> Decoder {
    Decoder::new(Limits::default(), BootTime::default())
}

/// Decodes a connection.
pub(in crate::proto) fn feed(parts: &[Part]) -> (Vec<Request>, Unread) {
    let mut decoder = decoder();
    let mut out = Vec::new();
    for part in parts {
        feed_part(&mut decoder, part, 0, &mut out);
    }
    decoder.end(&mut out);
    let unread = account(&out).unread;
    (requests(out), unread)
}

/// Returns the account of the connection's bytes, and checks that each is
/// counted once.
fn account(messages: &[Message]) -> Traffic {
    let Some(Message::Ended(traffic)) = messages.last() else {
        panic!("the connection ends");
    };
    let Traffic { sent, decoded, handshake, read_in_plain, unread, unkept, missing, .. } =
        &**traffic;
    assert_eq!(*sent, decoded + handshake + read_in_plain + unread.bytes() + unkept + missing);
    Traffic::clone(traffic)
}

fn requests(messages: Vec<Message>) -> Vec<Request> {
    let request = |message| match message {
        Message::Request(request) => Some(request),
        Message::Name(_) | Message::Ended(_) => None,
    };
    messages.into_iter().filter_map(request).collect()
}

/// Returns the recorded requests by file name.
pub(in crate::proto) fn corpus() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/corpus");
    let mut files = Vec::new();
    for folder in ["", "browser"] {
        for entry in root.join(folder).read_dir().expect("the corpus is there") {
            let path = entry.expect("the corpus can be listed").path();
            if path.extension().is_some_and(|ext| ext == "http") {
                let name = path.strip_prefix(&root).expect("inside").to_string_lossy().into_owned();
                files.push((name, std::fs::read(&path).expect("the corpus can be read")));
            }
        }
    }
    files.sort();
    assert_eq!(files.len(), 14 + 42);
    files
}

fn send(bytes: impl AsRef<[u8]>) -> Part {
    Part::Send(bytes.as_ref().to_vec())
}

const GET: &str = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";

#[test]
fn unread_bytes_are_counted() {
    // Only the start of a send can show another connection.
    let data = || send(b"\x17\x03\x03\x00\x20....");
    let (requests, unread) = feed(&[data(), Part::Piece(GET.into()), send(GET)]);
    assert_eq!((requests.len(), unread.tls), (1, 9 + GET.len() as u64));

    let other = feed(&[send("SSH-2.0-x\r\n"), Part::Gap(Some(5)), send("GE"), Part::Gap(None)]);
    let unread = Unread { unrecognised: 13, gaps: 5, ..Unread::default() };
    assert_eq!(other, (vec![], unread));

    let mut decoder = decoder();
    let mut out = Vec::new();
    decoder.datagram(b"abc", Some(2), BootTime(1), &mut out);
    decoder.datagram(b"abc", None, BootTime(1), &mut out);
    decoder.end(&mut out);
    let traffic = account(&out);
    assert_eq!((traffic.sent, traffic.unread.datagrams), (8, 6));
    assert_eq!((traffic.missing, traffic.unread.gaps, traffic.unknown_gaps), (2, 2, 1));
}

#[test]
fn a_connection_joined_late_is_read_from_the_next_send() {
    let (requests, unread) = feed(&[
        Part::Piece(format!("rest of a body{GET}").into_bytes()),
        send("another part of it"),
        send(GET),
        send("GET /"),
        Part::Piece(b"next HTTP/1.1\r\n\r\n".to_vec()),
    ]);
    let paths: Vec<_> = requests.iter().map(|request| request.target()).collect();
    assert_eq!(paths, ["/", "/next"]);
    assert_eq!(unread.unrecognised, (14 + GET.len() + 18) as u64);
}

#[test]
fn a_start_split_over_two_sends_is_joined() {
    let (requests, unread) = feed(&[send("G"), send("ET"), send(" "), send("/ HTTP/1.1\r\n\r\n")]);
    assert_eq!(requests.len(), 1);
    assert!(unread.is_empty());
    // Unless the second send is recognised by itself.
    let (requests, unread) = feed(&[send(b"\x16\x03"), send(GET)]);
    assert_eq!(requests.len(), 1);
    assert_eq!(unread.unrecognised, 2);
}

#[test]
fn an_abandoned_request_line_swallows_nothing() {
    // The first send is the rest of some body, the third a URL that was
    // truncated.
    let (requests, unread) = feed(&[send("x /y"), send(GET), send("GET /cut"), send(GET)]);
    let paths: Vec<_> = requests.iter().map(|request| request.target()).collect();
    assert_eq!(paths, ["/", "/cut", "/"]);
    assert_eq!(unread.unrecognised, 4);
}

#[test]
fn a_request_needs_a_valid_request_line() {
    for text in
        ["GET /x\r\nHost: a\r\n\r\n", "GET / HTTP/4.0\r\n\r\n", "GET /\x01 HTTP/1.1\r\n\r\n"]
    {
        let (requests, unread) = feed(&[send(text)]);
        assert_eq!(requests, []);
        assert_eq!(unread.unrecognised, text.len() as u64);
    }
    // Neither does a truncated line with an unknown method.
    assert_eq!(feed(&[send("FETCH /path?u=https://a.test/")]).0, []);
    assert_eq!(feed(&[send("FETCH /path HTTP/1.1\r\n")]).0.len(), 1);
}

#[test]
fn a_preface_shows_another_connection() {
    let post = "POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nabc";
    let (requests, unread) = feed(&[send(post), send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")]);
    assert_eq!(&requests[0].body.data[..], b"abc");
    assert!(!requests[0].complete);
    assert!(unread.is_empty());
}

/// Covers the way from kernel records to requests: a truncated head, a partly
/// accepted send, a lost record, and a second process.
#[test]
fn records_become_requests() {
    let record = |tgid, position, len, payload: &str| Record {
        hook: Hook::SysEnter,
        time: BootTime(u64::from(position)),
        process: Process { uid: 1, tgid, tid: tgid, comm: "browser".to_owned() },
        connection: Connection { key: 1, transport: Transport::Tcp, local: None, remote: None },
        within_tls: None,
        position: Some(position),
        offset: 0,
        len: Some(len),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    };
    let post = "POST / HTTP/1.1\r\nContent-Length: 60\r\n\r\n";
    let body = "0123456789";
    let mut streams = Streams::<Decoder>::new(Default::default(), Limits::default());
    let mut out = Vec::new();
    let at = post.len() as u32;
    for record in [
        record(1, 0, at, post),
        // Of 30 bytes, 10 are captured and 20 accepted.
        record(1, at, 30, body),
        record(1, at + 20, 10, body),
        // 10 bytes are lost.
        record(2, at + 40, 20, &format!("{body}{body}")),
        record(2, at + 60, GET.len() as u32, GET),
    ] {
        streams.push(&record, &mut out);
    }
    let senders: Vec<_> = out.iter().map(|sent| sent.process.tgid).collect();
    assert_eq!(senders, [1, 2]);
    let requests = requests(out.into_iter().map(|sent| sent.message).collect());
    let request = &requests[0];
    assert_eq!(request.body.data, body.repeat(4));
    let gap = |at| Gap { at, len: Some(10) };
    assert_eq!(request.body.gaps, [gap(10), gap(20)]);
    assert_eq!(request.unread_bytes, 20);
    assert!(requests[1].complete);
}

#[test]
fn a_tunnel_carries_another_protocol() {
    let connect = "CONNECT a.test:443 HTTP/1.1\r\n\r\n";
    let (requests, unread) = feed(&[send(connect), send(b"\x17\x03\x03\x02\x00")]);
    assert_eq!(requests.len(), 1);
    assert_eq!(unread.tls, 5);
    let (requests, unread) = feed(&[send(connect), send(GET)]);
    assert_eq!(requests.len(), 2);
    assert!(unread.is_empty());
    // Outside a tunnel, a body that looks like TLS is not TLS.
    let (requests, unread) = feed(&[send(GET), send(b"\x16\x03\x01\x02\x00"), send(GET)]);
    assert_eq!(requests.len(), 2);
    assert_eq!((unread.tls, unread.unrecognised), (0, 5));
}

#[test]
fn a_stalled_request_is_emitted_and_updated_later() {
    let mut decoder = decoder();
    let mut out = Vec::new();
    let mut emitted = |decoder: &mut Decoder, part: Option<&str>, time, before| {
        if let Some(part) = part {
            feed_part(decoder, &send(part), time, &mut out);
        }
        decoder.flush(BootTime(before), &mut out);
        requests(std::mem::take(&mut out))
    };
    assert_eq!(emitted(&mut decoder, Some("POST / HTTP/1.1\r\nHost: a.t"), 10, 9), []);

    let head = emitted(&mut decoder, None, 0, 10);
    assert_eq!(head[0].head_cut, Some(HeadCut::LastField));
    assert_eq!((head[0].authority.as_deref(), head[0].update), (None, false));
    assert_eq!(emitted(&mut decoder, None, 0, 20), []);

    let rest = "est\r\nContent-Length: 6\r\n\r\nabc";
    let body = emitted(&mut decoder, Some(rest), 20, 20);
    assert_eq!((body[0].authority.as_deref(), body[0].update), (Some("a.test"), true));
    assert_eq!((&body[0].body.data[..], body[0].complete), (&b"abc"[..], false));
    assert_eq!((body[0].time, body[0].body.gaps.len()), (BootTime(10), 1));

    let whole = emitted(&mut decoder, Some("def"), 30, 0);
    assert_eq!((&whole[0].body.data[..], whole[0].complete), (&b"abcdef"[..], true));
    assert!(whole[0].update && whole[0].body.gaps.is_empty());
    assert_eq!(emitted(&mut decoder, None, 0, 40), []);
    assert!(!emitted(&mut decoder, Some(GET), 50, 0)[0].update);

    // Also emitted at the end if more is known.
    emitted(&mut decoder, Some("POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc"), 60, 60);
    let mut out = Vec::new();
    decoder.end(&mut out);
    assert_eq!(requests(out), []);
}

#[test]
fn slow_and_endless_requests_are_bounded() {
    let mut decoder = decoder();
    let mut out = Vec::new();
    feed_part(
        &mut decoder,
        &send("POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n"),
        0,
        &mut out,
    );
    for _ in 0..64 {
        feed_part(&mut decoder, &send(vec![b'x'; 1 << 16]), 0, &mut out);
    }
    assert!(decoder.buffered() <= 3 << 20);
    assert_eq!(out, []);

    let mut decoder = self::decoder();
    feed_part(&mut decoder, &send("GET / HTTP/1.1\r\n"), 0, &mut out);
    for time in 0..100_000 {
        feed_part(&mut decoder, &send("Cookie: never ends\r\n"), time, &mut out);
        assert!(decoder.buffered() <= 2 << 20);
    }
    assert_eq!(out.len(), 1);

    // Single bytes cost no more than many at once.
    let mut decoder = self::decoder();
    for _ in 0..1 << 20 {
        feed_part(&mut decoder, &Part::Piece(vec![b'\n']), 0, &mut out);
    }
    assert_eq!(decoder.buffered(), 0);
    feed_part(&mut decoder, &send("GET /"), 0, &mut out);
    for _ in 0..(256 << 10) - 5 {
        feed_part(&mut decoder, &send("x"), 0, &mut out);
    }
    assert_eq!(out.len(), 1);
    feed_part(&mut decoder, &send("x"), 0, &mut out);
    assert_eq!(out.len(), 2);
}
