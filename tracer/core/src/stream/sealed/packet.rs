//! The header of a sealed QUIC packet (RFC 9000 section 17; version 2: RFC 9369).
//!
//! It is the additional data of the encryption. Header protection is applied afterwards, and
//! hides the low bits of the first byte and the packet number; the rest is sent as it is.

use tracer_ebpf::SealedHeader;

/// Maximum length of a connection id.
const MAX_ID: usize = 20;

/// Length of the tag that all ciphers of QUIC append.
const TAG: usize = 16;

const V1: &[u8] = &[0, 0, 0, 1];
const V2: &[u8] = &[0x6b, 0x33, 0x43, 0xcf];

/// A connection id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Id {
    len: u8,
    bytes: [u8; MAX_ID],
}

impl Id {
    fn from_bytes(id: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_ID];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(Self { len: u8::try_from(id.len()).ok()?, bytes })
    }

    pub(super) fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// The keys with which a packet is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Initial,
    ZeroRtt,
    Handshake,
    OneRtt,
}

impl Kind {
    /// Reports whether the packets can hold frames of streams.
    pub(super) fn has_streams(self) -> bool {
        matches!(self, Self::ZeroRtt | Self::OneRtt)
    }
}

/// A packet that was sealed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    pub(super) kind: Kind,
    /// The destination connection id.
    pub(super) destination: Id,
    /// The end of the packet number, and its length in bits.
    pub(super) number: u32,
    pub(super) number_bits: u32,
    /// Length of the whole packet after encryption.
    pub(super) len: usize,
    header: SealedHeader,
    /// Number of bytes of the header before the packet number, as far as they are known.
    clear: usize,
}

impl Packet {
    /// Parses the header of a packet with `frames` bytes of frames. Returns `None` if it is not
    /// the header of a packet.
    pub(super) fn parse(header: SealedHeader, frames: usize) -> Option<Self> {
        let len = usize::from(header.len);
        let first = *header.start.first()?;
        let number_len = usize::from(first & 0b11) + 1;
        let number_at = len.checked_sub(number_len).filter(|at| *at >= 1)?;
        let clear = number_at.min(header.start.len());
        let known = header.start.get(1..clear)?;
        // Clients may clear the fixed bit, 0x40 (RFC 9287). The reserved bits are zero.
        let (kind, destination) = match first & 0x80 {
            0 if first & 0x18 == 0 && len <= header.start.len() => {
                (Kind::OneRtt, Id::from_bytes(known)?)
            }
            0x80 if first & 0x0c == 0 => {
                let (version, rest) = known.split_at_checked(V1.len())?;
                let (&id_len, rest) = rest.split_first()?;
                let (id, rest) = rest.split_at_checked(usize::from(id_len))?;
                let (&source_len, rest) = rest.split_first()?;
                let source = rest.get(..usize::from(source_len))?;
                if source.len() > MAX_ID {
                    return None;
                }
                (kind(version, first)?, Id::from_bytes(id)?)
            }
            _ => return None,
        };
        let number = match header.start.get(number_at..len) {
            Some(number) => number,
            None => header.end.get(header.end.len() - number_len..)?,
        };
        let number = number.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        let (len, number_bits) = (len + frames + TAG, 8 * number_len as u32);
        Some(Self { kind, destination, number, number_bits, len, header, clear })
    }

    /// Reports whether `bytes`, of a datagram, begin with this packet.
    pub(super) fn begins(&self, bytes: &[u8]) -> bool {
        let protected = if self.kind == Kind::OneRtt { 0x1f } else { 0x0f };
        let start = self.header.start.get(..self.clear).unwrap_or_default();
        match (start, bytes.get(..self.clear)) {
            ([first, rest @ ..], Some([sent, others @ ..])) => {
                (first ^ sent) & !protected == 0 && rest == others
            }
            _ => false,
        }
    }

    /// Reports whether the packet was sealed after one with the end of the number `last`. The
    /// ends must be less than half of their range apart.
    pub(super) fn is_after(&self, last: u32) -> bool {
        let mask = u32::MAX >> (32 - self.number_bits);
        let ahead = self.number.wrapping_sub(last) & mask;
        0 < ahead && ahead <= mask / 2
    }
}

fn kind(version: &[u8], first: u8) -> Option<Kind> {
    let first_kind = match version {
        V1 => 0,
        V2 => 1,
        _ => return None,
    };
    Some(match (first >> 4).wrapping_sub(first_kind) & 0b11 {
        0 => Kind::Initial,
        1 => Kind::ZeroRtt,
        2 => Kind::Handshake,
        _ => return None,
    })
}
