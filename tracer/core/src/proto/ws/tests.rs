use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;
use crate::proto::Gap;

const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;

/// Builds a client frame, masked with a key derived from its length.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len();
    let mut frame = vec![first];
    match len {
        0..126 => frame.push(0x80 | len as u8),
        126..65536 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    let key = [0x37, 0xfa, 0x21 ^ len as u8, 0x3d];
    frame.extend(key);
    frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Compresses messages as in RFC 7692, with context takeover.
struct Deflate(Compress);

impl Deflate {
    fn new() -> Deflate {
        Deflate(Compress::new(Compression::default(), false))
    }

    fn message(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(text.len() * 2 + 1024);
        self.0.compress_vec(text, &mut out, FlushCompress::Sync).unwrap();
        out.truncate(out.len() - 4);
        out
    }
}

fn read(decoder: &mut Decoder, bytes: &[u8]) -> Vec<Message> {
    let mut out = Vec::new();
    decoder.data(bytes, true, BootTime(0), &mut out);
    out
}

fn texts(messages: &[Message]) -> Vec<&[u8]> {
    assert!(messages.iter().all(Message::complete));
    messages.iter().map(|message| &message.body.data[..]).collect()
}

#[test]
fn rfc_6455_examples() {
    // Section 5.7: a masked "Hello", and a masked pong with the same payload.
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    let mut decoder = Decoder::new(false);
    assert_eq!(texts(&read(&mut decoder, &hello)), [b"Hello"]);
    let pong = [0x8a, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    assert_eq!(read(&mut decoder, &pong), []);
}

#[test]
fn rfc_7692_examples() {
    // Section 7.2.3: one frame, two, a shared window, no compression, a final
    // block, two blocks in one message.
    let whole: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let mut decoder = Decoder::new(true);
    let mut messages = read(&mut decoder, &frame(FIN | RSV1 | TEXT, whole));
    messages.extend(read(&mut decoder, &frame(RSV1 | TEXT, &whole[..3])));
    messages.extend(read(&mut decoder, &frame(FIN, &whole[3..])));
    let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
    messages.extend(read(&mut decoder, &frame(FIN | RSV1 | TEXT, &again)));
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    messages.extend(read(&mut decoder, &frame(FIN | RSV1 | TEXT, &stored)));
    let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    messages.extend(read(&mut decoder, &frame(FIN | RSV1 | TEXT, &last)));
    let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    messages.extend(read(&mut decoder, &frame(FIN | RSV1 | TEXT, &two)));
    assert_eq!(texts(&messages), [b"Hello"; 6]);
}

#[test]
fn fragments_join_around_control_frames() {
    let bytes = [
        frame(TEXT, b"one "),
        frame(FIN | PING, b"are you there"),
        frame(0, b""),
        frame(FIN, b"message"),
        frame(FIN | BINARY, &[0; 70_000]),
        frame(FIN | CLOSE, b"\x03\xe8"),
    ]
    .concat();
    let messages = read(&mut Decoder::new(false), &bytes);
    let [ping, text, binary] = &messages[..] else { panic!("{messages:?}") };
    assert_eq!((&ping.body.data[..], ping.kind), (&b"are you there"[..], MessageKind::Binary));
    assert_eq!((&text.body.data[..], text.kind), (&b"one message"[..], MessageKind::Text));
    assert_eq!((&binary.body.data[..], binary.kind), (&[0; 70_000][..], MessageKind::Binary));
}

#[test]
fn the_reason_of_a_close_is_a_message() {
    let reason = b"https://visited.example/page?q=1";
    let close = frame(FIN | CLOSE, &[&b"\x0f\xa0"[..], reason].concat());
    // However the frame arrives.
    for cut in 0..close.len() {
        let mut decoder = Decoder::new(true);
        let mut messages = read(&mut decoder, &close[..cut]);
        messages.extend(read(&mut decoder, &close[cut..]));
        let [message] = &messages[..] else { panic!("{cut}: {messages:?}") };
        assert_eq!((&message.body.data[..], message.kind), (&reason[..], MessageKind::Text));
        assert!(message.complete());
    }
    // A gap is a gap, and a status alone says nothing.
    let mut decoder = Decoder::new(false);
    let mut messages = read(&mut decoder, &close[..12]);
    decoder.gap(Some(close.len() as u64 - 12), &mut messages);
    assert_eq!((messages.len(), messages.first().map(Message::complete)), (0, None));
    for payload in [&b""[..], b"\x03\xe8", b"\x03\xe9bye"] {
        assert_eq!(read(&mut Decoder::new(false), &frame(FIN | CLOSE, payload)), []);
    }
}

#[test]
fn a_gap_within_a_payload_is_counted_down() {
    let bytes = [frame(FIN | TEXT, b"0123456789"), frame(FIN | TEXT, b"next")].concat();
    let mut decoder = Decoder::new(false);
    let mut out = read(&mut decoder, &bytes[..6 + 3]);
    decoder.gap(Some(5), &mut out);
    out.extend(read(&mut decoder, &bytes[6 + 8..]));
    assert_eq!(&out[0].body.data[..], b"01289");
    assert_eq!(out[0].body.gaps, [Gap { at: 3, len: Some(5) }]);
    assert_eq!((out[0].unread_bytes, &out[1].body.data[..]), (5, &b"next"[..]));
    assert_eq!(decoder.unread(), 0);
}

#[test]
fn a_truncated_compressed_message_keeps_its_start_but_not_the_window() {
    let mut deflate = Deflate::new();
    let first =
        frame(FIN | RSV1 | TEXT, &deflate.message(b"https://example.org/ 0123456789abcdef"));
    let second = frame(FIN | RSV1 | TEXT, &deflate.message(b"seen: https://example.org/ again"));
    let mut decoder = Decoder::new(true);
    let mut out = read(&mut decoder, &first[..first.len() - 10]);
    decoder.gap(Some(10), &mut out);
    out.extend(read(&mut decoder, &second));
    let [cut, next] = &out[..] else { panic!("{out:?}") };
    assert!(cut.body.data.starts_with(b"https://example.org/"));
    assert_eq!(cut.body.gaps.last().unwrap().len, None);
    // The part that came from the window is a gap of the right length.
    assert!(next.body.data.starts_with(b"seen: "));
    assert_eq!(next.body.data.len() as u64 + next.unread_bytes, 32);
    assert!(!next.complete());
}

#[test]
fn framing_is_recovered_by_readable_text() {
    for deflated in [false, true] {
        let mut deflate = Deflate::new();
        let mut message = |text: &[u8]| {
            if deflated {
                frame(FIN | RSV1 | TEXT, &deflate.message(text))
            } else {
                frame(FIN | TEXT, text)
            }
        };
        let mut decoder = Decoder::new(true);
        let mut out = read(&mut decoder, &message(b"a first message"));
        decoder.gap(Some(100), &mut out);
        out.extend(read(&mut decoder, b"\x81\x84 what is this?"));
        out.extend(read(&mut decoder, &message(b"short")));
        let unread = decoder.unread();
        assert!(unread > 100);
        out.extend(read(&mut decoder, &message(b"{\"url\":\"https://b.example/\"}")));
        out.extend(read(&mut decoder, &message(b"ok")));
        assert_eq!(decoder.unread(), unread);
        let texts: Vec<&[u8]> = out.iter().map(|message| &message.body.data[..]).collect();
        assert_eq!(texts, [&b"a first message"[..], b"{\"url\":\"https://b.example/\"}", b"ok"],);
    }
}

#[test]
fn invalid_frames_lose_the_framing() {
    for (offered, broken) in [
        (true, vec![0x81, 0x05, b'H', b'e', b'l', b'l', b'o']), // not masked
        (true, frame(FIN | 0x20 | TEXT, b"rsv2")),
        (false, frame(FIN | RSV1 | TEXT, b"not offered")),
        (true, frame(FIN, b"continues nothing")),
        (true, [frame(TEXT, b"a"), frame(TEXT, b"b")].concat()),
        (true, frame(PING, b"in fragments")),
        (true, frame(FIN | PING, &[0; 126])),
        (true, frame(FIN | 0x3, b"reserved")),
        (true, vec![0x82, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4]),
    ] {
        let mut decoder = Decoder::new(offered);
        let out = read(&mut decoder, &broken);
        assert!(matches!(decoder.state, FramingState::Lost), "{broken:?}");
        assert!(out.iter().all(|message| !message.complete()));
    }
}

#[test]
fn a_long_message_is_kept_in_part() {
    let bytes = frame(FIN | BINARY, &vec![7; MAX_MESSAGE + 10]);
    let out = read(&mut Decoder::new(false), &bytes);
    assert_eq!(out[0].body.data.len(), MAX_MESSAGE);
    assert_eq!(out[0].body.gaps, [Gap { at: MAX_MESSAGE, len: Some(10) }]);
}

#[test]
fn the_compression_offer_is_read() {
    let handshake = |value: &'static [u8], whole: bool| Request {
        time: BootTime(0),
        protocol: Protocol::Http1,
        method: None,
        authority: None,
        path: None,
        headers: vec![crate::proto::Header {
            name: b"Sec-WebSocket-Extensions"[..].into(),
            value: value.into(),
        }],
        partial: Vec::new(),
        head_cut: (!whole).then_some(crate::proto::HeadCut::Fields),
        body: Body::default(),
        complete: whole,
        unread_bytes: 0,
        update: false,
        never_sent: None,
    };
    assert!(may_deflate(&handshake(b"permessage-deflate; client_max_window_bits", true)));
    assert!(may_deflate(&handshake(b"x-other, Permessage-Deflate", true)));
    assert!(!may_deflate(&handshake(b"permessage-bzip2", true)));
    assert!(may_deflate(&handshake(b"", false)));
}

proptest! {
    #[test]
    fn splits_do_not_matter_and_prefixes_are_consistent(
        messages in proptest::collection::vec((any::<bool>(), "[a-c]{0,200}", 1usize..300), 1..8),
        cut in 0.0..1.0,
        step in 1usize..50,
    ) {
        let mut deflate = Deflate::new();
        let mut bytes = Vec::new();
        for (compressed, text, part) in &messages {
            let rsv1 = if *compressed { RSV1 } else { 0 };
            let payload = if *compressed { deflate.message(text.as_bytes()) } else { text.clone().into_bytes() };
            let mut first = TEXT | rsv1;
            for fragment in payload.chunks(*part) {
                bytes.extend(frame(first, fragment));
                first = 0;
            }
            bytes.extend(frame(FIN | first, b""));
        }
        let (mut decoder, mut out) = (Decoder::new(true), Vec::new());
        for part in bytes.chunks(step) {
            decoder.data(part, true, BootTime(0), &mut out);
        }
        let sent: Vec<&[u8]> = messages.iter().map(|(_, text, _)| text.as_bytes()).collect();
        prop_assert_eq!(texts(&out), sent.clone());

        let cut = (cut * bytes.len() as f64) as usize;
        let (mut decoder, mut out) = (Decoder::new(true), Vec::new());
        decoder.data(&bytes[..cut], true, BootTime(0), &mut out);
        decoder.end(&mut out);
        for (message, sent) in out.iter().zip(sent) {
            prop_assert!(sent.starts_with(message.body.prefix()));
            prop_assert!(!message.complete() || sent == message.body.data);
        }
    }

    #[test]
    fn noise_is_harmless(
        writes in proptest::collection::vec(
            (proptest::collection::vec(any::<u8>(), 0..60), proptest::option::of(0u64..40)),
            0..20,
        ),
        deflate: bool,
    ) {
        let (mut decoder, mut out) = (Decoder::new(deflate), Vec::new());
        for (bytes, gap) in writes {
            decoder.data(&bytes, true, BootTime(0), &mut out);
            if let Some(gap) = gap {
                decoder.gap((gap > 0).then_some(gap), &mut out);
            }
        }
        decoder.end(&mut out);
        prop_assert_eq!(decoder.buffered(), 0);
    }
}
