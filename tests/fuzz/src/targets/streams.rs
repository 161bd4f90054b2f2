//! Protocols over byte streams, and DNS.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use tracer_core::{
    proto::{
        Decoder, Gap, Limits, Message, dns_names, h2, hpack, parse_http1, parse_transcript, qpack,
        ws,
    },
    record::{BootTime, Connection, Transport},
    stream::{Chunk, StreamParser},
};

use crate::split::{Piece, parts, pieces};

/// Parts of an input that are read at most. More only repeat.
const MAX_PARTS: usize = 256;

fn connection(transport: Transport, port: u16) -> Connection {
    let remote = Some(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port));
    Connection { key: 1, transport, local: None, remote }
}

/// Opens the decoder of a connection.
pub(super) fn open(transport: Transport, port: u16) -> Decoder {
    Decoder::open(&Limits::default(), &connection(transport, port), BootTime(1))
}

/// Ends a connection that has sent `sent` bytes, of which some may be counted as missing without a
/// known length, and checks that each byte is counted once.
///
/// # Panics
/// Panics if a byte is not counted, or more than once.
pub(super) fn close(mut decoder: Decoder, mut messages: Vec<Message>, sent: u64) {
    decoder.flush(BootTime(u64::MAX), &mut messages);
    decoder.end(&mut messages);
    let ended = messages.iter().filter_map(|message| match message {
        Message::Ended(traffic) => Some(traffic),
        Message::Request(_) | Message::Name(_) => None,
    });
    let mut total = 0;
    for traffic in ended {
        let accounts = [
            traffic.decoded,
            traffic.handshake,
            traffic.read_in_plain,
            traffic.unread.bytes(),
            traffic.unkept,
            traffic.missing,
        ];
        assert_eq!(accounts.into_iter().sum::<u64>(), traffic.sent, "bytes counted: {traffic:?}");
        total += traffic.sent;
    }
    assert_eq!(total, sent, "bytes counted of those that were sent: {messages:?}");
}

/// Passes pieces to the decoder of a connection.
fn decode(input: &[u8], transport: Transport, port: u16) -> u64 {
    let mut decoder = open(transport, port);
    let mut messages = Vec::new();
    let mut sent = 0;
    for (time, piece) in (1..).map(BootTime).zip(pieces(input)) {
        let chunk = match piece {
            Piece::Sent(bytes) => Chunk::Data { bytes, begins_send: true },
            Piece::More(bytes) => Chunk::Data { bytes, begins_send: false },
            Piece::Gap(len) => Chunk::Gap(len),
        };
        sent += match chunk {
            Chunk::Data { bytes, .. } => bytes.len() as u64,
            Chunk::Gap(len) => len.unwrap_or(0),
        };
        if !matches!(chunk, Chunk::Data { bytes: [], .. }) {
            decoder.chunk(chunk, time, &mut messages);
        }
    }
    close(decoder, messages, sent);
    input.len() as u64
}

pub(super) fn http1(input: &[u8]) -> u64 {
    decode(input, Transport::Tls, 443)
}

pub(super) fn transcript(input: &[u8]) -> u64 {
    parse_transcript(input);
    parse_http1(input);
    input.len() as u64
}

pub(super) fn http2(input: &[u8]) -> u64 {
    decode(input, Transport::Tcp, 80)
}

/// Frames with correct lengths: the number of a part is the frame's type, the first bytes are its
/// flags and its stream.
pub(super) fn http2_frames(input: &[u8]) -> u64 {
    let mut connection = h2::Connection::new();
    let mut requests = Vec::new();
    connection.data(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", true, BootTime(1), &mut requests);
    for (kind, part) in parts(input).take(MAX_PARTS) {
        let (&[flags, stream], payload) = part.split_first_chunk().unwrap_or((&[0, 1], part));
        let [_, high, middle, low] = (payload.len() as u32).to_be_bytes();
        let header = [high, middle, low, kind % 16, flags, 0, 0, 0, stream];
        connection.data(&header, true, BootTime(1), &mut requests);
        match kind {
            0xf0.. => connection.gap(Some(payload.len() as u64), &mut requests),
            _ => connection.data(payload, false, BootTime(2), &mut requests),
        }
    }
    connection.flush_stale(BootTime(3), &mut requests);
    connection.end(&mut requests);
    input.len() as u64
}

/// Returns the gap that a part's number stands for.
fn gaps(number: u8, part: &[u8]) -> Vec<Gap> {
    let at = usize::from(number >> 2).min(part.len());
    match number & 3 {
        0 | 1 => Vec::new(),
        2 => vec![Gap { at, len: Some(5) }],
        _ => vec![Gap { at, len: None }],
    }
}

/// Header blocks of one connection.
pub(super) fn hpack(input: &[u8]) -> u64 {
    for mut decoder in [hpack::Decoder::new(), hpack::Decoder::joined()] {
        for (number, part) in parts(input).take(MAX_PARTS) {
            match number {
                0xff => decoder.forget(),
                _ => drop(decoder.decode(part, &gaps(number, part))),
            }
        }
    }
    input.len() as u64
}

/// Data of the encoder stream, and field sections.
pub(super) fn qpack(input: &[u8]) -> u64 {
    let mut decoder = qpack::Decoder::new();
    for (number, part) in parts(input).take(MAX_PARTS) {
        match number {
            0xff => decoder.forget(),
            0xfe => decoder.encoder_gap(Some(part.len() as u64)),
            0xfd => decoder.encoder_gap(None),
            0xfc => decoder.set_waiting(part.is_empty()),
            0x80.. => decoder.encoder_data(part),
            _ => drop(decoder.decode(part, &gaps(number, part), number & 4 == 0)),
        }
    }
    input.len() as u64
}

/// Raw bytes after a handshake, with compression if their number is odd.
pub(super) fn websocket(input: &[u8]) -> u64 {
    let mut decoder = ws::Decoder::new(input.len() % 2 == 1);
    let mut messages = Vec::new();
    for piece in pieces(input) {
        match piece {
            Piece::Sent(bytes) => decoder.data(bytes, true, BootTime(1), &mut messages),
            Piece::More(bytes) => decoder.data(bytes, false, BootTime(2), &mut messages),
            Piece::Gap(len) => decoder.gap(len, &mut messages),
        }
    }
    decoder.end(&mut messages);
    input.len() as u64
}

/// Masked frames with correct lengths: the number of a part is the first byte of its frame.
pub(super) fn websocket_frames(input: &[u8]) -> u64 {
    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    for deflate in [false, true] {
        let mut decoder = ws::Decoder::new(deflate);
        let mut messages = Vec::new();
        for (first, part) in parts(input).take(MAX_PARTS) {
            let mut frame = vec![first];
            match part.len() {
                len @ 0..=125 => frame.push(0x80 | len as u8),
                len => {
                    frame.push(0x80 | 126);
                    frame.extend((len as u16).to_be_bytes());
                }
            }
            frame.extend(MASK);
            frame.extend(part.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
            decoder.data(&frame, true, BootTime(1), &mut messages);
        }
        decoder.end(&mut messages);
    }
    input.len() as u64
}

pub(super) fn tls(input: &[u8]) -> u64 {
    decode(input, Transport::Tcp, 443)
}

/// A ClientHello with correct lengths: the number of a part is the type of an extension.
pub(super) fn tls_hello(input: &[u8]) -> u64 {
    let mut extensions = Vec::new();
    for (kind, part) in parts(input).take(MAX_PARTS) {
        // Encrypted ClientHello is 0xfe0d.
        let kind = if kind == 0xfe { [0xfe, 0x0d] } else { [0, kind] };
        extensions.extend(kind);
        extensions.extend((part.len() as u16).to_be_bytes());
        extensions.extend(part);
    }
    extensions.truncate(0xff00);
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let [_, length @ ..] = (hello.len() as u32).to_be_bytes();
    let message = [&[1], &length[..], &hello].concat();
    let mut sent = Vec::new();
    for part in message.chunks(1 << 14) {
        sent.extend([22, 3, 1]);
        sent.extend((part.len() as u16).to_be_bytes());
        sent.extend(part);
    }
    let mut decoder = open(Transport::Tcp, 443);
    let mut messages = Vec::new();
    decoder.chunk(Chunk::Data { bytes: &sent, begins_send: true }, BootTime(1), &mut messages);
    close(decoder, messages, sent.len() as u64);
    input.len() as u64
}

/// The same query as a datagram and over TCP.
pub(super) fn dns(input: &[u8]) -> u64 {
    dns_names(input);
    let mut decoder = open(Transport::Udp, 53);
    let mut messages = Vec::new();
    decoder.datagram(input, Some(0), BootTime(1), &mut messages);
    close(decoder, messages, input.len() as u64);

    let length = (input.len() as u16).to_be_bytes();
    let stream = Bytes::from([&length[..], input, &[0, 0]].concat());
    decode(&stream, Transport::Tcp, 53)
}
