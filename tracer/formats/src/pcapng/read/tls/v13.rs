//! TLS 1.3 records (RFC 8446, section 5.2).
//!
//! ```text
//! 23 │ version u16 │ length u16 │ encrypted: content │ type u8 │ zeros │ tag
//! ```
//!
//! The length of the secret determines the hash, and the hash the possible
//! ciphers: AES-256 with SHA-384, AES-128 or ChaCha20 with SHA-256. Every record
//! is authenticated, so the first one that can be decrypted shows the cipher.

use hkdf::Hkdf;
use sha2::{Sha256, Sha384};

use super::{
    APPLICATION_DATA, HANDSHAKE, MAX_LOST, Opened,
    aead::{Aead, Algorithm, Nonce, TAG, nonce},
    keys::Traffic,
};

/// Number of bytes that encryption adds: the content type and the tag.
pub(super) const OVERHEAD: usize = 1 + TAG;

/// Type of the KeyUpdate message (RFC 8446, section 4.6.3).
const KEY_UPDATE: u8 = 24;

/// The client's keys. Each has its own record numbers.
#[derive(Debug)]
pub(super) struct Keys {
    early: Option<Key>,
    handshake: Option<Key>,
    application: Option<Key>,
}

impl Keys {
    pub(super) fn new(secrets: &Traffic) -> Self {
        let key = |secret: &Option<Vec<u8>>| Key::new(secret.as_deref()?);
        Self {
            early: key(&secrets.early),
            handshake: key(&secrets.handshake),
            application: key(&secrets.application),
        }
    }

    /// Decrypts a record. Returns `None` if it was encrypted with another key.
    pub(super) fn open(&mut self, header: &[u8], sealed: &[u8]) -> Option<Opened> {
        match header.first() {
            Some(&APPLICATION_DATA) => {}
            // Not encrypted: a second ClientHello, ChangeCipherSpec.
            _ => return Some(Opened::Other),
        }
        // The keys come into use in this order. Once a key is used, earlier ones
        // are not used again.
        let opened = self
            .application
            .as_mut()
            .filter(|key| key.next > 0)
            .and_then(|key| key.open(header, sealed))
            .or_else(|| self.handshake.as_mut()?.open(header, sealed))
            .or_else(|| self.early.as_mut()?.open(header, sealed))
            .or_else(|| self.application.as_mut()?.open(header, sealed));
        let mut content = opened?;
        let end = content.iter().rposition(|&byte| byte != 0);
        let kind = end.and_then(|end| content.get(end).copied());
        content.truncate(end.unwrap_or(0));
        Some(match kind {
            Some(APPLICATION_DATA) => {
                if self.application.as_ref().is_some_and(|key| key.next > 0) {
                    (self.handshake, self.early) = (None, None);
                }
                Opened::Content(content)
            }
            Some(HANDSHAKE) if content.first() == Some(&KEY_UPDATE) => {
                self.application = self.application.as_ref().and_then(Key::updated);
                Opened::Other
            }
            _ => Opened::Other,
        })
    }

    #[cfg(test)]
    pub(super) fn application(&self) -> &Key {
        self.application.as_ref().unwrap()
    }
}

/// The key of one secret and the number of its next record.
pub(super) struct Key {
    secret: Vec<u8>,
    /// The possible ciphers; one after the first record.
    ciphers: Vec<Aead>,
    iv: Nonce,
    next: u64,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("next", &self.next).finish_non_exhaustive()
    }
}

impl Key {
    pub(super) fn new(secret: &[u8]) -> Option<Self> {
        let algorithms: &[Algorithm] = match secret.len() {
            32 => &[Algorithm::Aes128Gcm, Algorithm::ChaCha20Poly1305],
            48 => &[Algorithm::Aes256Gcm],
            _ => return None,
        };
        let mut iv = [0; 12];
        expand(secret, "iv", &mut iv)?;
        let cipher = |algorithm: &Algorithm| {
            let mut key = vec![0; algorithm.key_len()];
            expand(secret, "key", &mut key)?;
            Aead::new(*algorithm, &key)
        };
        let ciphers = algorithms.iter().map(cipher).collect::<Option<_>>()?;
        Some(Self { secret: secret.to_owned(), ciphers, iv, next: 0 })
    }

    /// Returns the key after a KeyUpdate (RFC 8446, section 7.2).
    pub(super) fn updated(&self) -> Option<Self> {
        let mut secret = vec![0; self.secret.len()];
        expand(&self.secret, "traffic upd", &mut secret)?;
        Self::new(&secret)
    }

    /// Decrypts a record, which is one of the next few.
    fn open(&mut self, header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        (self.next..=self.next.saturating_add(MAX_LOST)).find_map(|number| {
            let nonce = nonce(&self.iv, number);
            let open = |cipher: &Aead| cipher.open(nonce, header, sealed);
            let (at, opened) = self
                .ciphers
                .iter()
                .enumerate()
                .find_map(|(at, cipher)| Some((at, open(cipher)?)))?;
            self.ciphers.swap(0, at);
            self.ciphers.truncate(1);
            self.next = number + 1;
            Some(opened)
        })
    }

    #[cfg(test)]
    pub(super) fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// Encrypts a record with the cipher at `at`.
    #[cfg(test)]
    pub(super) fn seal(&self, at: usize, number: u64, content: &[u8], kind: u8) -> Vec<u8> {
        let plain = [content, &[kind]].concat();
        let mut record = vec![APPLICATION_DATA, 3, 3];
        record.extend((plain.len() as u16 + TAG as u16).to_be_bytes());
        let sealed = self.ciphers[at].seal(nonce(&self.iv, number), &record, &plain);
        record.extend(sealed);
        record
    }
}

/// HKDF-Expand-Label without a context (RFC 8446, section 7.1).
pub(in super::super) fn expand(secret: &[u8], label: &str, out: &mut [u8]) -> Option<()> {
    let len = u16::try_from(out.len()).ok()?;
    let label_len = u8::try_from(b"tls13 ".len() + label.len()).ok()?;
    let info: [&[u8]; 5] = [&len.to_be_bytes(), &[label_len], b"tls13 ", label.as_bytes(), &[0]];
    match secret.len() {
        32 => Hkdf::<Sha256>::from_prk(secret).ok()?.expand_multi_info(&info, out).ok(),
        48 => Hkdf::<Sha384>::from_prk(secret).ok()?.expand_multi_info(&info, out).ok(),
        _ => None,
    }
}
