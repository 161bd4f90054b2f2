//! Packets, and the protection of Initial packets.
//!
//! ```text
//! 1 1 type(2) ....(4) │ version (32) │ DCID <8> │ SCID <8>
//!   │ token <varint>                        Initial only
//!   │ length (varint) │ packet number (8–32) │ payload │ tag (128)
//!                      |<---------- length bytes ---------->|
//! ```
//!
//! Initial packets are encrypted with keys that anyone can derive from the
//! client's first destination connection id (RFC 9001 section 5.2). The
//! encryption only protects against middleboxes that do not support the
//! version.

use aes_gcm::Aes128Gcm;
use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::aes::Aes128;
use aes_gcm::aes::cipher::BlockCipherEncrypt as _;
use hkdf::Hkdf;
use sha2::Sha256;

use crate::proto::wire::{ReadError, Reader};

/// Maximum length of a connection id (RFC 9000 section 17.2).
const MAX_ID: usize = 20;

/// Length of the tag that AES-GCM appends.
const TAG: usize = 16;

/// Offset of the header protection sample from the start of the packet number,
/// and its length (RFC 9001 section 5.4.2).
const SAMPLE_AT: usize = 4;
const SAMPLE: usize = 16;

/// A version whose packets can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// RFC 9000.
    V1,
    /// RFC 9369.
    V2,
}

impl Version {
    fn from_number(number: u64) -> Option<Self> {
        match number {
            0x0000_0001 => Some(Self::V1),
            0x6b33_43cf => Some(Self::V2),
            _ => None,
        }
    }

    /// Returns the packet type with this number in the first byte (RFC 9000 section
    /// 17.2; RFC 9369 section 3.2). Clients never send Retry packets, for which it
    /// is `None`.
    fn packet_type(self, number: u8) -> Option<PacketType> {
        let first = match self {
            Self::V1 => 0,
            Self::V2 => 1,
        };
        Some(match number.wrapping_sub(first) & 0b11 {
            0 => PacketType::Initial,
            1 => PacketType::ZeroRtt,
            2 => PacketType::Handshake,
            _ => return None,
        })
    }

    /// Returns the salt for the initial secret (RFC 9001 section 5.2; RFC 9369
    /// section 3.3.1).
    fn salt(self) -> [u8; 20] {
        match self {
            Self::V1 => [
                0x38, 0x76, 0x2c, 0xf7, 0xf5, 0x59, 0x34, 0xb3, 0x4d, 0x17, 0x9a, 0xe6, 0xa4, 0xc8,
                0x0c, 0xad, 0xcc, 0xbb, 0x7f, 0x0a,
            ],
            Self::V2 => [
                0x0d, 0xed, 0xe3, 0xde, 0xf7, 0x00, 0xa6, 0xdb, 0x81, 0x93, 0x81, 0xbe, 0x6e, 0x26,
                0x9d, 0xcb, 0xf9, 0xbd, 0x2e, 0xd9,
            ],
        }
    }

    /// Returns the labels of the key, the nonce and the header protection key
    /// (RFC 9001 section 5.1; RFC 9369 section 3.3.2).
    pub fn labels(self) -> [&'static str; 3] {
        match self {
            Self::V1 => ["quic key", "quic iv", "quic hp"],
            Self::V2 => ["quicv2 key", "quicv2 iv", "quicv2 hp"],
        }
    }

    /// Returns the label of the secret after a key update (RFC 9001 section 6.1; RFC
    /// 9369 section 3.3.2).
    pub fn update_label(self) -> &'static str {
        match self {
            Self::V1 => "quic ku",
            Self::V2 => "quicv2 ku",
        }
    }
}

/// The type of a packet with a long header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacketType {
    /// The start of the handshake.
    Initial,
    /// Data before the handshake.
    ZeroRtt,
    /// The rest of the handshake.
    Handshake,
}

/// A packet with a long header.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// The version.
    pub version: Version,
    /// The destination connection id, from which the keys are derived
    /// initially.
    pub id: &'a [u8],
    /// The source connection id.
    pub source: &'a [u8],
    /// The type.
    pub kind: PacketType,
    /// The bytes of the packet.
    pub bytes: &'a [u8],
    /// Position of the packet number.
    pub number_at: usize,
}

impl<'a> Packet<'a> {
    /// Splits off the first packet of a datagram. Returns `None` if the packet is
    /// truncated, has no long header, or cannot be sent by a client in a known
    /// version.
    pub fn split(datagram: &'a [u8]) -> Option<(Self, &'a [u8])> {
        Self::read(datagram).ok()
    }

    fn read(datagram: &'a [u8]) -> Result<(Self, &'a [u8]), ReadError> {
        let mut reader = Reader::whole(datagram);
        let first = reader.u8()?;
        if first & 0xc0 != 0xc0 {
            return Err(ReadError::Malformed);
        }
        let version = Version::from_number(reader.number(4)?).ok_or(ReadError::Malformed)?;
        let id = reader.vector(1)?.rest()?;
        let source = reader.vector(1)?.rest()?;
        if id.len() > MAX_ID || source.len() > MAX_ID {
            return Err(ReadError::Malformed);
        }
        let kind = version.packet_type(first >> 4 & 0b11).ok_or(ReadError::Malformed)?;
        if kind == PacketType::Initial {
            reader.varvector()?;
        }
        let protected = reader.varvector()?.rest()?;
        let len = datagram.len() - reader.len();
        let (bytes, rest) = datagram.split_at_checked(len).ok_or(ReadError::Cut)?;
        let number_at = len - protected.len();
        Ok((Self { version, id, source, kind, bytes, number_at }, rest))
    }
}

/// The keys that decrypt the Initial packets of a client.
pub(super) struct Keys {
    packet: Aes128Gcm,
    nonce: [u8; 12],
    header: Aes128,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").finish_non_exhaustive()
    }
}

impl Keys {
    /// Derives the keys of a client whose first packet is sent to the
    /// connection id `id`.
    pub(super) fn new(version: Version, id: &[u8]) -> Option<Self> {
        let initial = Hkdf::<Sha256>::new(Some(&version.salt()), id);
        let client = Hkdf::<Sha256>::from_prk(&expand::<32>(&initial, "client in")?).ok()?;
        let [key, nonce, header] = version.labels();
        Some(Self {
            packet: Aes128Gcm::new(&expand::<16>(&client, key)?.into()),
            nonce: expand(&client, nonce)?,
            header: Aes128::new(&expand::<16>(&client, header)?.into()),
        })
    }

    /// Decrypts the payload of an Initial packet. Returns `None` if these are
    /// not its keys.
    pub(super) fn open(&self, packet: &Packet<'_>) -> Option<Vec<u8>> {
        let sample_at = packet.number_at + SAMPLE_AT;
        let sample = packet.bytes.get(sample_at..sample_at + SAMPLE)?;
        let mut mask: [u8; SAMPLE] = sample.try_into().ok()?;
        self.header.encrypt_block((&mut mask).into());

        // A long header hides four bits of its first byte, including the length
        // of the packet number (RFC 9001 section 5.4.1).
        let first = packet.bytes.first()? ^ mask[0] & 0x0f;
        let number_len = usize::from(first & 0b11) + 1;
        let sealed_at = packet.number_at + number_len;
        let mut header = packet.bytes.get(..sealed_at)?.to_vec();
        *header.first_mut()? = first;
        let number = header.get_mut(packet.number_at..)?;
        number.iter_mut().zip(&mask[1..]).for_each(|(byte, mask)| *byte ^= mask);

        // The numbers of Initial packets are small, so they are not truncated.
        let mut nonce = self.nonce;
        nonce.iter_mut().rev().zip(number.iter().rev()).for_each(|(byte, n)| *byte ^= n);
        let sealed = packet.bytes.get(sealed_at..).filter(|sealed| sealed.len() >= TAG)?;
        self.packet.decrypt(&nonce.into(), Payload { msg: sealed, aad: &header }).ok()
    }
}

/// Implements HKDF-Expand-Label with an empty context (RFC 8446 section 7.1).
fn expand<const LEN: usize>(secret: &Hkdf<Sha256>, label: &str) -> Option<[u8; LEN]> {
    const PREFIX: &str = "tls13 ";
    let [high, low] = u16::try_from(LEN).ok()?.to_be_bytes();
    let label_len = u8::try_from(PREFIX.len() + label.len()).ok()?;
    let info = [&[high, low, label_len], PREFIX.as_bytes(), label.as_bytes(), &[0]];
    let mut key = [0; LEN];
    secret.expand_multi_info(&info, &mut key).ok()?;
    Some(key)
}

#[cfg(test)]
impl Keys {
    /// Encrypts a packet. The header ends with a packet number of `number_len`
    /// bytes.
    pub(super) fn seal(&self, header: &[u8], number_len: usize, payload: &[u8]) -> Vec<u8> {
        let number_at = header.len() - number_len;
        let mut nonce = self.nonce;
        let number = header[number_at..].iter().rev();
        nonce.iter_mut().rev().zip(number).for_each(|(byte, n)| *byte ^= n);
        let sealed = self.packet.encrypt(&nonce.into(), Payload { msg: payload, aad: header });
        let mut packet = [header, &sealed.unwrap()].concat();
        let sample_at = number_at + SAMPLE_AT;
        let mut mask: [u8; SAMPLE] = packet[sample_at..sample_at + SAMPLE].try_into().unwrap();
        self.header.encrypt_block((&mut mask).into());
        packet[0] ^= mask[0] & 0x0f;
        packet[number_at..header.len()].iter_mut().zip(&mask[1..]).for_each(|(b, m)| *b ^= m);
        packet
    }
}
