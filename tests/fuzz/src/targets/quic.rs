//! QUIC and HTTP/3.

use aes_gcm::{
    Aes128Gcm, KeyInit,
    aead::{Aead, Payload},
    aes::{Aes128, cipher::BlockCipherEncrypt},
};
use hkdf::Hkdf;
use sha2::Sha256;
use tracer_core::{
    proto::h3,
    record::{BootTime, Transport},
    stream::StreamParser,
};

use super::streams::{close, open};
use crate::split::{Piece, parts, pieces};

/// Parts of an input that are read at most. More only repeat.
const MAX_PARTS: usize = 256;

/// Datagrams to one server.
pub(super) fn datagram(input: &[u8]) -> u64 {
    let mut decoder = open(Transport::Udp, 443);
    let mut messages = Vec::new();
    let mut sent = 0;
    for piece in pieces(input) {
        let (bytes, missing) = match piece {
            Piece::Sent(bytes) | Piece::More(bytes) => (bytes, Some(0)),
            Piece::Gap(len) => (&[][..], len),
        };
        sent += bytes.len() as u64 + missing.unwrap_or(0);
        decoder.datagram(bytes, missing, BootTime(1), &mut messages);
    }
    close(decoder, messages, sent);
    input.len() as u64
}

/// The payloads of Initial packets, which are encrypted before they are read.
pub(super) fn initial(input: &[u8]) -> u64 {
    const ID: [u8; 8] = *b"to-these";
    let keys = Keys::new(&ID);
    let mut decoder = open(Transport::Udp, 443);
    let mut messages = Vec::new();
    let mut sent = 0;
    for (number, part) in parts(input).take(MAX_PARTS) {
        let payload = part.get(..part.len().min(4000)).unwrap_or_default();
        let packet = keys.seal(&ID, number, payload);
        sent += packet.len() as u64;
        decoder.datagram(&packet, Some(0), BootTime(1), &mut messages);
    }
    close(decoder, messages, sent);
    input.len() as u64
}

/// The payloads of decrypted packets: frames.
pub(super) fn frames(input: &[u8]) -> u64 {
    let mut decoder = open(Transport::Quic, 443);
    let mut messages = Vec::new();
    for (time, (number, part)) in (1..).map(BootTime).zip(parts(input).take(MAX_PARTS)) {
        let missing = match number {
            0xff => None,
            0xc0.. => Some(u64::from(number)),
            _ => Some(0),
        };
        decoder.datagram(part, missing, time, &mut messages);
        if number == 0xbf {
            decoder.flush(time, &mut messages);
        }
    }
    decoder.end(&mut messages);
    input.len() as u64
}

/// Streams in frames with correct lengths. The number of a part selects the stream and where the
/// frame begins: at the end of the previous one, before it, or behind it.
pub(super) fn http3_streams(input: &[u8]) -> u64 {
    const STREAMS: u64 = 16;
    let mut connection = h3::Connection::new();
    let mut ends = [0_u64; STREAMS as usize];
    let mut requests = Vec::new();
    for (time, (number, part)) in (1..).map(BootTime).zip(parts(input).take(MAX_PARTS)) {
        let id = u64::from(number) % STREAMS;
        let end = &mut ends[id as usize];
        let offset = match number >> 4 {
            0xd => end.saturating_sub(part.len() as u64 / 2),
            0xe => *end + 100,
            _ => *end,
        };
        *end = (offset + part.len() as u64).max(*end);
        // STREAM with offset and length, and the end of the stream (RFC 9000, section 19.8).
        let mut frame = vec![0x0e | u8::from(number >> 4 == 0xf)];
        for value in [id, offset, part.len() as u64] {
            frame.extend((value | 3 << 62).to_be_bytes());
        }
        frame.extend(part);
        connection.packet(&frame, frame.len(), time, &mut requests);
        if number >> 4 == 0xc {
            connection.flush_stale(time, &mut requests);
        }
    }
    connection.end(&mut requests);
    input.len() as u64
}

/// The keys of a client's Initial packets in version 1 (RFC 9001, section 5.2).
struct Keys {
    packet: Aes128Gcm,
    nonce: [u8; 12],
    header: Aes128,
}

impl Keys {
    fn new(id: &[u8]) -> Self {
        const SALT: [u8; 20] = [
            0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8,
            0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a,
        ];
        let initial = Hkdf::<Sha256>::new(Some(&SALT), id);
        let client = Hkdf::<Sha256>::from_prk(&expand::<32>(&initial, "client in"));
        let client = client.expect("a secret of 32 bytes");
        Self {
            packet: Aes128Gcm::new(&expand::<16>(&client, "quic key").into()),
            nonce: expand(&client, "quic iv"),
            header: Aes128::new(&expand::<16>(&client, "quic hp").into()),
        }
    }

    /// Builds a packet with a payload, which is padded as far as header protection needs.
    fn seal(&self, id: &[u8], number: u8, payload: &[u8]) -> Vec<u8> {
        const TAG: usize = 16;
        let mut payload = payload.to_vec();
        payload.resize(payload.len().max(4), 0);
        let len = (0x4000 | (1 + payload.len() + TAG) as u16).to_be_bytes();
        let mut packet = vec![0xc0, 0, 0, 0, 1, id.len() as u8];
        packet.extend(id);
        packet.extend([0, 0]);
        packet.extend(len);
        let number_at = packet.len();
        packet.push(number);
        let mut nonce = self.nonce;
        nonce[11] ^= number;
        let sealed = self.packet.encrypt(&nonce.into(), Payload { msg: &payload, aad: &packet });
        packet.extend(sealed.expect("a short payload"));
        let sample = packet[number_at + 4..][..16].try_into();
        let mut mask: [u8; 16] = sample.expect("16 bytes");
        self.header.encrypt_block((&mut mask).into());
        packet[0] ^= mask[0] & 0x0f;
        packet[number_at] ^= mask[1];
        packet
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446, section 7.1).
fn expand<const LEN: usize>(secret: &Hkdf<Sha256>, label: &str) -> [u8; LEN] {
    let label = format!("tls13 {label}");
    let info = [&[0, LEN as u8, label.len() as u8], label.as_bytes(), &[0]].concat();
    let mut key = [0; LEN];
    secret.expand(&info, &mut key).expect("a short key");
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::proto::Message;

    #[test]
    fn sealed_packets_are_read() {
        // A CRYPTO frame with a ClientHello for `a.example`.
        let mut hello = vec![3, 3];
        hello.extend([7; 32]);
        hello.extend([0, 0, 2, 0x13, 0x01, 1, 0, 0, 18, 0, 0, 0, 14, 0, 12, 0, 0, 9]);
        hello.extend(b"a.example");
        let message = [&[1, 0, 0, hello.len() as u8], &hello[..]].concat();
        let frame = [&[6, 0, 0x40, message.len() as u8], &message[..]].concat();
        let mut decoder = open(Transport::Udp, 443);
        let mut messages = Vec::new();
        let packet = Keys::new(b"an id...").seal(b"an id...", 0, &frame);
        decoder.datagram(&packet, Some(0), BootTime(1), &mut messages);
        let [Message::Name(name)] = &messages[..] else { panic!("{messages:?}") };
        assert_eq!(name.name, "a.example");
    }
}
