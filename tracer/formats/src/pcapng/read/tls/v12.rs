//! TLS 1.2 records that AEAD ciphers encrypt (RFC 5246, section 6.2.3.3).
//!
//! ```text
//! AES-GCM   type u8 │ version u16 │ length u16 │ nonce, 8 bytes │ encrypted │ tag
//! ChaCha20  type u8 │ version u16 │ length u16 │ encrypted │ tag
//! ```
//!
//! Keys are derived from the master secret, which clients log, and from the
//! server random and the cipher suite in the ServerHello. CBC and stream ciphers
//! are not supported.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Sha256, Sha384};

use super::{
    APPLICATION_DATA, CHANGE_CIPHER_SPEC, MAX_LOST, Opened,
    aead::{Aead, Algorithm, Nonce, TAG, nonce},
    keys::{Master, Random},
};

/// Length of the explicit part of a nonce in AES-GCM (RFC 5288, section 3).
const EXPLICIT: usize = 8;

/// Fields of a ServerHello (RFC 5246, section 7.4.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ServerHello {
    random: Random,
    suite: u16,
}

impl ServerHello {
    /// Parses the ServerHello at the start of a record.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let [22, 3, _, _, _, 2, _, _, _, 3, 3, rest @ ..] = bytes else {
            return None;
        };
        let (random, rest) = rest.split_first_chunk()?;
        let (&session, rest) = rest.split_first()?;
        let suite = rest.get(usize::from(session)..)?.first_chunk()?;
        Some(Self { random: *random, suite: u16::from_be_bytes(*suite) })
    }

    /// Returns the cipher, and whether its hash is SHA-384 (RFC 5288, RFC 5289,
    /// RFC 7905).
    fn cipher(&self) -> Option<(Algorithm, bool)> {
        Some(match self.suite {
            0x009c | 0x009e | 0xc02b | 0xc02d | 0xc02f | 0xc031 => (Algorithm::Aes128Gcm, false),
            0x009d | 0x009f | 0xc02c | 0xc02e | 0xc030 | 0xc032 => (Algorithm::Aes256Gcm, true),
            0xcca8..=0xccaa => (Algorithm::ChaCha20Poly1305, false),
            _ => return None,
        })
    }
}

/// The client's keys.
pub(super) struct Keys {
    client: Random,
    master: Master,
    /// Set once the client has sent ChangeCipherSpec.
    key: Option<Key>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let next = self.key.as_ref().map(|key| key.next);
        f.debug_struct("Keys").field("next", &next).finish_non_exhaustive()
    }
}

impl Keys {
    pub(super) fn new(client: Random, master: &Master) -> Self {
        Self { client, master: *master, key: None }
    }

    /// Returns the number of bytes that encryption adds to a record.
    pub(super) fn overhead(&self) -> usize {
        self.key.as_ref().map_or(0, |key| key.iv.explicit_len() + TAG)
    }

    /// Decrypts a record. Returns `None` if it was encrypted with another key or
    /// the cipher is not supported.
    pub(super) fn open(
        &mut self,
        header: &[u8],
        sealed: &[u8],
        server: Option<&ServerHello>,
    ) -> Option<Opened> {
        let Some(key) = &mut self.key else {
            match header.first() {
                Some(&CHANGE_CIPHER_SPEC) => {
                    self.key = Some(Key::new(&self.client, &self.master, server?)?);
                }
                // Encrypted with an unknown key.
                Some(&APPLICATION_DATA) => return None,
                _ => {}
            }
            return Some(Opened::Other);
        };
        let opened = key.open(header, sealed)?;
        Some(match header.first() {
            Some(&APPLICATION_DATA) => Opened::Content(opened),
            _ => Opened::Other,
        })
    }
}

/// The client's key and the number of its next record.
struct Key {
    cipher: Aead,
    iv: Iv,
    next: u64,
}

/// The secret part of the nonces.
enum Iv {
    /// The record contains the rest.
    Half([u8; 4]),
    /// The record's number is the rest.
    Whole(Nonce),
}

impl Iv {
    /// Returns the length of the nonce in each record.
    fn explicit_len(&self) -> usize {
        match self {
            Self::Half(_) => EXPLICIT,
            Self::Whole(_) => 0,
        }
    }
}

impl Key {
    /// Derives the key from the key block (RFC 5246, section 6.3), which
    /// consists of the client's key, the server's key, the client's IV and the
    /// server's IV.
    fn new(client: &Random, master: &Master, server: &ServerHello) -> Option<Self> {
        let (algorithm, sha384) = server.cipher()?;
        let seed: [&[u8]; 3] = [b"key expansion", &server.random, client];
        let mut block = [0; 2 * 32 + 12];
        if sha384 {
            expand::<Hmac<Sha384>>(master, &seed, &mut block)?;
        } else {
            expand::<Hmac<Sha256>>(master, &seed, &mut block)?;
        }
        let len = algorithm.key_len();
        let cipher = Aead::new(algorithm, block.get(..len)?)?;
        let iv = block.get(2 * len..)?;
        let iv = match algorithm {
            Algorithm::ChaCha20Poly1305 => Iv::Whole(*iv.first_chunk()?),
            Algorithm::Aes128Gcm | Algorithm::Aes256Gcm => Iv::Half(*iv.first_chunk()?),
        };
        Some(Self { cipher, iv, next: 0 })
    }

    /// Decrypts a record, which is one of the next few.
    fn open(&mut self, header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let (explicit, sealed) = sealed.split_at_checked(self.iv.explicit_len())?;
        let len = u16::try_from(sealed.len().checked_sub(TAG)?).ok()?;
        (self.next..=self.next.saturating_add(MAX_LOST)).find_map(|number| {
            let opened = self.cipher.open(
                self.nonce(explicit, number)?,
                &aad(header, number, len),
                sealed,
            )?;
            self.next = number + 1;
            Some(opened)
        })
    }

    fn nonce(&self, explicit: &[u8], number: u64) -> Option<Nonce> {
        match &self.iv {
            Iv::Half(iv) => [iv, explicit].concat().try_into().ok(),
            Iv::Whole(iv) => Some(nonce(iv, number)),
        }
    }
}

/// Returns the additional authenticated data: the record's number, type and
/// version, and the length of its content (RFC 5246, section 6.2.3.3).
fn aad(header: &[u8], number: u64, len: u16) -> Vec<u8> {
    let kind = header.get(..3).unwrap_or_default();
    [&number.to_be_bytes(), kind, &len.to_be_bytes()].concat()
}

/// Pseudorandom function (RFC 5246, section 5). The seed starts with the label.
fn expand<H>(secret: &[u8], seed: &[&[u8]], out: &mut [u8]) -> Option<()>
where
    H: Mac + KeyInit + Clone,
{
    let keyed = H::new_from_slice(secret).ok()?;
    let hash = |parts: &[&[u8]]| {
        let mut hash = keyed.clone();
        parts.iter().for_each(|part| Mac::update(&mut hash, part));
        hash.finalize().into_bytes()
    };
    let mut a = hash(seed);
    for chunk in out.chunks_mut(a.len()) {
        let parts: Vec<&[u8]> = [&a[..]].into_iter().chain(seed.iter().copied()).collect();
        let block = hash(&parts);
        chunk.copy_from_slice(block.get(..chunk.len())?);
        a = hash(&[&a]);
    }
    Some(())
}

/// Encrypts a record of a client.
#[cfg(test)]
pub(super) fn seal(
    client: Random,
    master: &Master,
    server: &ServerHello,
    number: u64,
    kind: u8,
    plain: &[u8],
) -> Option<Vec<u8>> {
    let key = Key::new(&client, master, server)?;
    let explicit: Vec<u8> = (0xa0..).take(key.iv.explicit_len()).collect();
    let header = [kind, 3, 3];
    let aad = aad(&header, number, plain.len() as u16);
    let sealed = key.cipher.seal(key.nonce(&explicit, number)?, &aad, plain);
    let len = (explicit.len() + sealed.len()) as u16;
    Some([&header[..], &len.to_be_bytes(), &explicit, &sealed].concat())
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;

    use super::*;

    /// Test vector for SHA-256 from the mailing list of the TLS working group.
    #[test]
    fn the_pseudorandom_function_matches_the_test_vector() {
        let unhex = |text: &str| HEXLOWER.decode(text.as_bytes()).unwrap();
        let secret = unhex("9bbe436ba940f017b17652849a71db35");
        let seed = unhex("a0ba9f936cda311827a6f796ffd5198c");
        let mut out = [0; 100];
        expand::<Hmac<Sha256>>(&secret, &[b"test label", &seed], &mut out).unwrap();
        let expected = "e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a6b301791\
                        e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab4fbc91666e9def9b\
                        97fce34f796789baa48082d122ee42c5a72e5a5110fff70187347b66";
        assert_eq!(HEXLOWER.encode(&out), expected);
    }

    #[test]
    fn only_a_complete_server_hello_is_parsed() {
        let mut hello = vec![22, 3, 3, 0, 48, 2, 0, 0, 44, 3, 3];
        hello.extend([9; 32]);
        hello.extend([2, 1, 1, 0xc0, 0x2f, 0]);
        let whole = ServerHello { random: [9; 32], suite: 0xc02f };
        for len in 0..hello.len() {
            let read = ServerHello::parse(&hello[..len]);
            assert_eq!(read, (len >= hello.len() - 1).then_some(whole), "{len}");
        }
        hello[5] = 1;
        assert_eq!(ServerHello::parse(&hello), None);
    }
}
