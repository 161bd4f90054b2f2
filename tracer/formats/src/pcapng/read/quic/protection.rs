//! The protection of packets (RFC 9001, section 5; RFC 9369, section 3.3).
//!
//! ```text
//! first byte, number ◀── header protection: a mask from a sample of what follows
//! payload, tag       ◀── AEAD: nonce from the number, header as additional data
//! ```
//!
//! As in TLS, the length of the secret determines the hash, and the hash the possible
//! ciphers. Every packet is authenticated, so the first one that can be decrypted
//! shows the cipher.

use aes_gcm::aes::{
    Aes128, Aes256,
    cipher::{BlockCipherEncrypt as _, KeyInit as _},
};
use chacha20::{
    ChaCha20,
    cipher::{KeyIvInit as _, StreamCipher as _, StreamCipherSeek as _},
};
use tracer_core::proto::quic::Version;

use super::super::tls::{
    aead::{Aead, Algorithm, Nonce, nonce},
    v13::expand,
};

/// Offset of the sample from the start of the packet number, and its length.
const SAMPLE_AT: usize = 4;
const SAMPLE: usize = 16;

/// Maximum number of key updates that the capture may have lost in succession.
const MAX_LOST_UPDATES: usize = 2;

/// Number of times that a packet number can have wrapped around unseen, because the
/// capture lost the packets in between.
const MAX_LOST_WRAPS: u64 = 3;

/// A packet without its protection.
#[derive(Debug)]
pub(super) struct Opened {
    /// Number of the packet.
    pub(super) number: u64,
    /// The frames.
    pub(super) payload: Vec<u8>,
}

/// The keys of one secret.
pub(super) struct Keys {
    version: Version,
    /// The possible ciphers; one after the first packet.
    suites: Vec<Suite>,
    /// The largest packet number so far.
    largest: Option<u64>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("largest", &self.largest).finish_non_exhaustive()
    }
}

/// A cipher with its keys.
struct Suite {
    algorithm: Algorithm,
    header: HeaderKey,
    /// The current keys, those before, and those after the next key updates.
    previous: Option<PacketKey>,
    current: PacketKey,
    next: Vec<PacketKey>,
    /// The key phase bit of the current keys (RFC 9001, section 6).
    phase: bool,
}

/// The keys of a key phase.
struct PacketKey {
    secret: Vec<u8>,
    aead: Aead,
    iv: Nonce,
}

enum HeaderKey {
    Aes128(Box<Aes128>),
    Aes256(Box<Aes256>),
    ChaCha20([u8; 32]),
}

impl Keys {
    /// Derives the keys of a secret. Returns `None` if its length fits no cipher.
    pub(super) fn new(version: Version, secret: &[u8]) -> Option<Self> {
        let algorithms: &[Algorithm] = match secret.len() {
            32 => &[Algorithm::Aes128Gcm, Algorithm::ChaCha20Poly1305],
            48 => &[Algorithm::Aes256Gcm],
            _ => return None,
        };
        let suites = algorithms.iter().map(|algorithm| Suite::new(version, *algorithm, secret));
        Some(Self { version, suites: suites.collect::<Option<_>>()?, largest: None })
    }

    /// Returns the version that the keys are for.
    pub(super) fn version(&self) -> Version {
        self.version
    }

    /// Decrypts a packet whose number starts at `number_at`. Returns `None` if it was
    /// encrypted with other keys.
    pub(super) fn open(&mut self, packet: &[u8], number_at: usize) -> Option<Opened> {
        let (version, largest) = (self.version, self.largest);
        let open = |suite: &mut Suite| suite.open(version, packet, number_at, largest);
        let (at, opened) =
            self.suites.iter_mut().enumerate().find_map(|(at, suite)| Some((at, open(suite)?)))?;
        self.suites.swap(0, at);
        self.suites.truncate(1);
        self.largest = self.largest.max(Some(opened.number));
        Some(opened)
    }
}

impl Suite {
    fn new(version: Version, algorithm: Algorithm, secret: &[u8]) -> Option<Self> {
        let [_, _, label] = version.labels();
        let mut key = vec![0; algorithm.key_len()];
        expand(secret, label, &mut key)?;
        let current = PacketKey::new(version, algorithm, secret.to_owned())?;
        Some(Self {
            algorithm,
            header: HeaderKey::new(algorithm, &key)?,
            previous: None,
            current,
            next: Vec::new(),
            phase: false,
        })
    }

    fn open(
        &mut self,
        version: Version,
        packet: &[u8],
        number_at: usize,
        largest: Option<u64>,
    ) -> Option<Opened> {
        let sample = packet.get(number_at + SAMPLE_AT..)?.first_chunk::<SAMPLE>()?;
        let mask = self.header.mask(sample);
        // A short header hides five bits of its first byte, a long one four (RFC
        // 9001, section 5.4.1).
        let protected = packet.first()?;
        let is_long = protected & 0x80 != 0;
        let first = protected ^ mask[0] & if is_long { 0x0f } else { 0x1f };
        let number_len = usize::from(first & 0b11) + 1;
        let (header, sealed) = packet.split_at_checked(number_at + number_len)?;
        let mut header = header.to_vec();
        *header.first_mut()? = first;
        let digits = header.get_mut(number_at..)?;
        digits.iter_mut().zip(&mask[1..]).for_each(|(byte, mask)| *byte ^= mask);
        let low = digits.iter().fold(0, |number: u64, &byte| number << 8 | u64::from(byte));

        let window = 1 << (8 * number_len);
        let number = nearest(low, window, largest.map_or(0, |largest| largest + 1));
        if is_long || (first & 0x04 != 0) == self.phase {
            let wraps = largest.map_or(0, |_| MAX_LOST_WRAPS);
            let opened = (0..=wraps).map(|wraps| number + wraps * window).find_map(|number| {
                Some(Opened { number, payload: self.current.open(number, &header, sealed)? })
            });
            if opened.is_some() || is_long {
                return opened;
            }
        } else if let Some(previous) = &self.previous
            && let Some(payload) = previous.open(number, &header, sealed)
        {
            return Some(Opened { number, payload });
        }
        self.update(version, number, &header, sealed)
    }

    /// Tries the keys after the next key updates.
    fn update(
        &mut self,
        version: Version,
        number: u64,
        header: &[u8],
        sealed: &[u8],
    ) -> Option<Opened> {
        while self.next.len() <= MAX_LOST_UPDATES {
            let last = self.next.last().unwrap_or(&self.current);
            self.next.push(last.updated(version, self.algorithm)?);
        }
        let (at, payload) = self
            .next
            .iter()
            .enumerate()
            .find_map(|(at, key)| Some((at, key.open(number, header, sealed)?)))?;
        let mut later = self.next.split_off(at + 1);
        std::mem::swap(&mut self.next, &mut later);
        let mut passed = later.into_iter();
        let new = passed.next_back()?;
        let before = passed.next_back();
        let old = std::mem::replace(&mut self.current, new);
        self.previous = before.or(Some(old));
        self.phase ^= at % 2 == 0;
        Some(Opened { number, payload })
    }
}

impl PacketKey {
    fn new(version: Version, algorithm: Algorithm, secret: Vec<u8>) -> Option<Self> {
        let [key_label, iv_label, _] = version.labels();
        let mut key = vec![0; algorithm.key_len()];
        expand(&secret, key_label, &mut key)?;
        let mut iv = Nonce::default();
        expand(&secret, iv_label, &mut iv)?;
        Some(Self { aead: Aead::new(algorithm, &key)?, iv, secret })
    }

    /// Returns the keys after a key update (RFC 9001, section 6.1).
    fn updated(&self, version: Version, algorithm: Algorithm) -> Option<Self> {
        let mut secret = vec![0; self.secret.len()];
        expand(&self.secret, version.update_label(), &mut secret)?;
        Self::new(version, algorithm, secret)
    }

    fn open(&self, number: u64, header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        self.aead.open(nonce(&self.iv, number), header, sealed)
    }
}

impl HeaderKey {
    fn new(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        Some(match algorithm {
            Algorithm::Aes128Gcm => Self::Aes128(Box::new(Aes128::new_from_slice(key).ok()?)),
            Algorithm::Aes256Gcm => Self::Aes256(Box::new(Aes256::new_from_slice(key).ok()?)),
            Algorithm::ChaCha20Poly1305 => Self::ChaCha20(key.try_into().ok()?),
        })
    }

    /// Returns the mask for a sample (RFC 9001, sections 5.4.3 and 5.4.4).
    fn mask(&self, sample: &[u8; SAMPLE]) -> [u8; 5] {
        let mut block = *sample;
        match self {
            Self::Aes128(key) => key.encrypt_block((&mut block).into()),
            Self::Aes256(key) => key.encrypt_block((&mut block).into()),
            Self::ChaCha20(key) => {
                let (counter, nonce) = sample.split_at(4);
                let counter = counter.iter().rev().fold(0, |n: u64, &b| n << 8 | u64::from(b));
                let nonce: [u8; 12] = nonce.try_into().unwrap_or_default();
                let mut cipher = ChaCha20::new(key.into(), (&nonce).into());
                block = [0; SAMPLE];
                // The counter counts blocks of 64 bytes.
                if cipher.try_seek(64 * counter).is_ok() {
                    cipher.apply_keystream(&mut block);
                }
            }
        }
        let mut mask = [0; 5];
        mask.iter_mut().zip(block).for_each(|(to, from)| *to = from);
        mask
    }
}

/// Returns the number with these low digits that is nearest to the expected one (RFC
/// 9000, appendix A.3).
fn nearest(low: u64, window: u64, expected: u64) -> u64 {
    let candidate = expected & !(window - 1) | low;
    let half = window / 2;
    if candidate + half <= expected {
        candidate + window
    } else if candidate > expected + half && candidate >= window {
        candidate - window
    } else {
        candidate
    }
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        HEXLOWER.decode(digits.as_bytes()).unwrap()
    }

    /// RFC 9001, appendix A.5, and RFC 9369, appendix A.5: a PING in a short header
    /// with ChaCha20.
    #[test]
    fn the_packets_of_the_rfcs_are_decrypted() {
        let secret = unhex("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b");
        for (version, packet) in [
            (Version::V1, "4cfe4189655e5cd55c41f69080575d7999c25a5bfb"),
            (Version::V2, "5558b1c60ae7b6b932bc27d786f4bc2bb20f2162ba"),
        ] {
            let mut keys = Keys::new(version, &secret).unwrap();
            // The number has three bytes of 654 360 564, which is after this one.
            keys.largest = Some(654_360_000);
            let opened = keys.open(&unhex(packet), 1).unwrap();
            assert_eq!((opened.number, &opened.payload[..]), (654_360_564, &[0x01][..]));
            for len in 0..21 {
                assert!(keys.open(&unhex(packet)[..len], 1).is_none(), "{len}");
            }
        }
    }

    #[test]
    fn numbers_are_restored() {
        // RFC 9000, appendix A.3.
        assert_eq!(nearest(0x9b32, 1 << 16, 0xa82f_30eb), 0xa82f_9b32);
        assert_eq!(nearest(0xff, 0x100, 0x100), 0xff);
        assert_eq!(nearest(0x00, 0x100, 0xff), 0x100);
        assert_eq!(nearest(0xff, 0x100, 0), 0xff);
    }
}
