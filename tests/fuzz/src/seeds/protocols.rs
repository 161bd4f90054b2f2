//! Bytes of connections.

use tracer_core::record::{Event, Transport};
use tracer_formats::pcapng;

use super::{Inputs, all, hex_field, read, stories, unhex};
use crate::split::{join, whole};

/// Sections of a header that become one input.
const SECTIONS: usize = 6;

pub(crate) fn requests() -> Inputs {
    let mut requests = all("tests/fixtures/corpus", ".http");
    requests.extend(all("tests/fixtures/corpus/browser", ".http"));
    requests.push(
        b"POST /a HTTP/1.1\r\nHost: a.example\r\nTransfer-Encoding: chunked\r\n\r\n\
          4\r\nWiki\r\n6;x=y\r\npedia \r\n0\r\nX-T: 1\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n"
            .to_vec(),
    );
    requests.push(
        [
            &b"GET /chat HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"[..],
            &frame(0x81, b"{\"url\":\"https://news.example.org/\"}"),
        ]
        .concat(),
    );
    requests.into_iter().map(whole).collect()
}

pub(crate) fn transcripts() -> Inputs {
    let mut transcripts = requests();
    transcripts.truncate(20);
    transcripts.push(
        b"POST /a HTTP/2\r\nHost: a.example\r\nContent-Length: 3\r\n\r\na=b\r\n\r\n\
          HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nok"
            .to_vec(),
    );
    transcripts.push(
        b":method: GET\n:authority: a.example\n:path: /a?b=c\n:scheme: https\naccept: */*\n\n"
            .to_vec(),
    );
    transcripts
}

/// A frame of HTTP/2.
fn http2_frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    [&length[..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// Header blocks of recorded stories.
fn blocks() -> Vec<Vec<Vec<u8>>> {
    stories("tests/fixtures/hpack")
        .map(|story| {
            let cases = story["cases"].as_array().expect("a list");
            cases.iter().take(SECTIONS).map(|case| hex_field(case, "wire")).collect()
        })
        .collect()
}

pub(crate) fn http2() -> Inputs {
    let connection = |blocks: Vec<Vec<u8>>| {
        let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        bytes.extend(http2_frame(4, 0, 0, &[0, 1, 0, 0, 0x10, 0]));
        for (stream, block) in (1..).step_by(2).zip(blocks) {
            bytes.extend(http2_frame(1, 4, stream, &block));
            bytes.extend(http2_frame(0, 1, stream, b"url=https%3A%2F%2Fnews.example.org"));
        }
        whole(bytes)
    };
    blocks().into_iter().map(connection).collect()
}

pub(crate) fn http2_frames() -> Inputs {
    let connection = |blocks: Vec<Vec<u8>>| {
        let mut frames = vec![(4, vec![0, 0])];
        for (stream, block) in (1..).step_by(2).zip(blocks) {
            let (first, second) = block.split_at(block.len() / 2);
            frames.push((1, [&[0, stream], first].concat()));
            frames.push((9, [&[4, stream], second].concat()));
            frames.push((0, [&[1, stream], &b"{\"a\":1}"[..]].concat()));
        }
        join(frames.iter().map(|(kind, part)| (*kind, &part[..])))
    };
    blocks().into_iter().map(connection).collect()
}

pub(crate) fn hpack() -> Inputs {
    blocks().iter().map(|blocks| join(blocks.iter().map(|block| (0, &block[..])))).collect()
}

pub(crate) fn qpack() -> Inputs {
    let story = |story: serde_json::Value| {
        let mut data = Vec::new();
        for case in story["cases"].as_array().expect("a list").iter().take(SECTIONS) {
            data.push((0x80, hex_field(case, "encoder")));
            data.push((0, hex_field(case, "wire")));
        }
        join(data.iter().map(|(number, part)| (*number, &part[..])))
    };
    stories("tests/fixtures/qpack").map(story).collect()
}

/// A short masked frame of WebSocket.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [1, 2, 3, 4];
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    [first, 0x80 | payload.len() as u8].into_iter().chain(MASK).chain(masked).collect()
}

/// `Hello`, compressed as RFC 7692, section 7.2.3, has it.
const HELLO: [u8; 7] = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

pub(crate) fn websocket() -> Inputs {
    let text = frame(0x81, b"{\"event\":\"open\"}");
    let pieces = [frame(0x01, b"one "), frame(0x89, b"ping"), frame(0x80, b"message")].concat();
    let closed = frame(0x88, b"\x03\xe8bye");
    let compressed = [frame(0xc1, &HELLO), frame(0xc1, &HELLO)].concat();
    vec![
        whole(text),
        whole(pieces),
        whole(closed),
        whole([&compressed[..], &[0]].concat()),
        whole(compressed),
    ]
}

pub(crate) fn websocket_frames() -> Inputs {
    vec![
        join([(0x81, &b"text"[..]), (0x82, &[0x81, 0xa1, 0x61, 1]), (0x88, b"\x03\xe8bye")]),
        join([(0x01, &b"one "[..]), (0x89, b"ping"), (0x80, b"message")]),
        join([(0xc1, &HELLO[..]), (0x41, &HELLO[..3]), (0x80, &HELLO[3..])]),
    ]
}

pub(crate) fn tls() -> Inputs {
    ["openssl-3.0", "gnutls-3.7"]
        .map(|name| whole(unhex(&read(&format!("tracer/core/src/proto/tls/tests/{name}.hex")))))
        .into()
}

pub(crate) fn tls_hello() -> Inputs {
    vec![join([
        (0, &b"\0\x0c\0\0\x09a.example"[..]),
        (16, b"\0\x0c\x02h2\x08http/1.1"),
        (0xfe, &[0, 0, 1, 0, 1, 7, 0, 0, 0, 0]),
        (43, &[2, 3, 4]),
    ])]
}

pub(crate) fn dns() -> Inputs {
    vec![
        b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03www\x07example\x03org\0\0\x01\0\x01".to_vec(),
        b"\x12\x34\x01\0\0\x02\0\0\0\0\0\x01\x01a\x07example\0\0\x1c\0\x01\xc0\x0c\0\x41\0\x01\
          \0\0\x29\x10\0\0\0\0\0\0\0"
            .to_vec(),
        b"\0\0\0\0\0\x01\0\0\0\0\0\0\x05_http\x04_tcp\x05local\0\0\x0c\0\x01".to_vec(),
    ]
}

/// Returns the payloads of the records over a transport in recorded captures, a list for each.
fn captured(transport: Transport) -> Vec<Vec<Vec<u8>>> {
    let payloads = |file: Vec<u8>| {
        let secrets = pcapng::Secrets::collect(&file[..]);
        let mut reader = pcapng::Reader::with_secrets(&file[..], secrets);
        let mut payloads = Vec::new();
        while let Ok(Some(event)) = reader.event() {
            if let Event::Sent(record) = event
                && record.connection.transport == transport
            {
                payloads.push(record.payload.to_vec());
            }
        }
        payloads
    };
    all("tests/fixtures/quic", ".pcapng").into_iter().map(payloads).collect()
}

pub(crate) fn quic_datagrams() -> Inputs {
    let mut datagrams: Inputs = ["rfc9001-a2", "rfc9369-a2", "aioquic-three-datagrams"]
        .map(|name| whole(unhex(&read(&format!("tracer/core/src/proto/quic/tests/{name}.hex")))))
        .into();
    let firsts = captured(Transport::Udp).into_iter().flat_map(|all| all.into_iter().take(2));
    datagrams.extend(firsts.map(whole));
    datagrams
}

pub(crate) fn quic_initials() -> Inputs {
    let hello = unhex(&read("tracer/core/src/proto/tls/tests/openssl-3.0.hex"));
    // Without the header of its record.
    let hello = &hello[5..];
    let crypto = |from: usize, to: usize| {
        let mut frame = vec![6];
        for number in [from, to - from] {
            frame.extend((0x4000 | number as u16).to_be_bytes());
        }
        [&frame[..], &hello[from..to]].concat()
    };
    let len = hello.len();
    let (whole, first, second) = (crypto(0, len), crypto(0, 200), crypto(200, len));
    let ack = [2, 0, 0, 0, 0, 1];
    vec![
        join([(0, &whole[..])]),
        join([(1, &second[..]), (0, &first[..])]),
        join([(0, &[&ack[..], &first, &[0; 20]].concat()[..]), (1, &second)]),
    ]
}

pub(crate) fn quic_frames() -> Inputs {
    captured(Transport::Quic)
        .iter()
        .map(|packets| join(packets.iter().take(12).map(|packet| (0, &packet[..]))))
        .collect()
}

pub(crate) fn http3_streams() -> Inputs {
    stories("tests/fixtures/qpack")
        .map(|story| {
            // Control and encoder streams begin with their type.
            let mut data = vec![(2, vec![0, 4, 0]), (6, vec![2])];
            let cases = story["cases"].as_array().expect("a list");
            for (at, case) in cases.iter().take(3).enumerate() {
                data.push((6, hex_field(case, "encoder")));
                let section = hex_field(case, "wire");
                let length = (0x4000 | section.len() as u16).to_be_bytes();
                let request = [&[1][..], &length, &section, &[0, 4], b"body"].concat();
                data.push((0xf0 | (4 * at as u8), request));
            }
            join(data.iter().map(|(number, part)| (*number, &part[..])))
        })
        .collect()
}
