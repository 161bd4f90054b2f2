//! The AEAD ciphers of TLS and QUIC (RFC 5116).

use aes_gcm::{
    Aes128Gcm, Aes256Gcm,
    aead::{Aead as _, KeyInit as _, Payload},
};
use chacha20poly1305::ChaCha20Poly1305;

/// Length of the authentication tag.
pub(in super::super) const TAG: usize = 16;

/// Nonce of any of these ciphers.
pub(in super::super) type Nonce = [u8; 12];

/// A cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Algorithm {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
}

impl Algorithm {
    /// Returns the length of its keys in bytes.
    pub(in super::super) const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
}

/// A cipher with its key.
pub(in super::super) enum Aead {
    Aes128Gcm(Box<Aes128Gcm>),
    Aes256Gcm(Box<Aes256Gcm>),
    ChaCha20Poly1305(Box<ChaCha20Poly1305>),
}

impl Aead {
    /// Creates a cipher. Returns `None` if the key has the wrong length.
    pub(in super::super) fn new(algorithm: Algorithm, key: &[u8]) -> Option<Self> {
        Some(match algorithm {
            Algorithm::Aes128Gcm => Self::Aes128Gcm(Box::new(Aes128Gcm::new_from_slice(key).ok()?)),
            Algorithm::Aes256Gcm => Self::Aes256Gcm(Box::new(Aes256Gcm::new_from_slice(key).ok()?)),
            Algorithm::ChaCha20Poly1305 => {
                Self::ChaCha20Poly1305(Box::new(ChaCha20Poly1305::new_from_slice(key).ok()?))
            }
        })
    }

    /// Decrypts a record. Returns `None` if it was not encrypted with this key.
    pub(in super::super) fn open(
        &self,
        nonce: Nonce,
        aad: &[u8],
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let payload = Payload { msg: sealed, aad };
        match self {
            Self::Aes128Gcm(cipher) => cipher.decrypt(&nonce.into(), payload),
            Self::Aes256Gcm(cipher) => cipher.decrypt(&nonce.into(), payload),
            Self::ChaCha20Poly1305(cipher) => cipher.decrypt(&nonce.into(), payload),
        }
        .ok()
    }

    #[cfg(test)]
    pub(in super::super) fn seal(&self, nonce: Nonce, aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let payload = Payload { msg: plain, aad };
        match self {
            Self::Aes128Gcm(cipher) => cipher.encrypt(&nonce.into(), payload),
            Self::Aes256Gcm(cipher) => cipher.encrypt(&nonce.into(), payload),
            Self::ChaCha20Poly1305(cipher) => cipher.encrypt(&nonce.into(), payload),
        }
        .unwrap()
    }
}

/// Returns the nonce of a record that does not contain its number: the padded
/// number XORed with the IV (RFC 8446, section 5.3; RFC 7905, section 2).
pub(in super::super) fn nonce(iv: &Nonce, number: u64) -> Nonce {
    let mut nonce = *iv;
    for (byte, number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
        *byte ^= number;
    }
    nonce
}
