//! What a client sent in TLS 1.3, decrypted with the keys that a capture holds
//! (RFC 8446, section 5.2).
//!
//! ```text
//! type u8 │ version u16 │ length u16 │ encrypted: content │ type u8 │ zeros │ tag
//! ```
//!
//! Only the client's half is read, so the server's choice of a cipher is not
//! known: the secret's length tells the hash, and with it AES-128 or AES-256 in
//! GCM. A wrong guess shows, since every record is authenticated. ChaCha20 and
//! TLS 1.2 stay encrypted, and count as that.

use aes_gcm::{
    Aes128Gcm, Aes256Gcm,
    aead::{Aead as _, KeyInit as _, Payload},
};
use bytes::Bytes;
use hkdf::Hkdf;
use sha2::{Sha256, Sha384};

use super::keys::{KeyLog, Random, Secrets};

/// The longest record: 2¹⁴ bytes and what encryption may add.
const MAX_RECORD: usize = (1 << 14) + 256;

/// A record's header.
const HEADER: usize = 5;

/// What encryption adds: the content's type, and the tag.
const OVERHEAD: usize = 17;

/// Records that may have been lost before one that is read: each costs a try.
const MAX_LOST: u64 = 16;

/// Records that cannot be read before the connection is given up.
const MAX_FAILURES: u32 = 64;

const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// A piece of plaintext.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plain {
    pub(super) bytes: Bytes,
    /// How many bytes it had: more than are here where it could not be
    /// decrypted.
    pub(super) len: u32,
    /// It continues the record before it, which was full.
    pub(super) continues: bool,
}

/// A client's half of a connection.
#[derive(Debug, Default)]
pub(super) struct Client {
    stage: Stage,
    /// The beginning of a record.
    pending: Vec<u8>,
    /// Bytes of a record that is known to be damaged, still to come.
    skip: usize,
    failures: u32,
    /// Something was decrypted.
    opened: bool,
    full: bool,
}

#[derive(Debug, Default)]
enum Stage {
    /// Nothing was sent yet.
    #[default]
    Start,
    /// Records are read with these keys.
    Open(Box<Keys>),
    /// It is no TLS, there are no keys, or the place in it was lost.
    Closed,
}

/// The keys of one connection. Each secret counts its records itself.
#[derive(Debug)]
struct Keys {
    early: Option<Key>,
    handshake: Option<Key>,
    application: Option<Key>,
}

impl Keys {
    fn of(secrets: &Secrets) -> Self {
        let key = |secret: &Option<Vec<u8>>| Key::of(secret.as_deref()?);
        Self {
            early: key(&secrets.early),
            handshake: key(&secrets.handshake),
            application: key(&secrets.application),
        }
    }
}

/// One secret's key, and the number of its next record.
struct Key {
    secret: Vec<u8>,
    cipher: Cipher,
    iv: [u8; 12],
    next: u64,
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Key").field("next", &self.next).finish_non_exhaustive()
    }
}

enum Cipher {
    Aes128(Box<Aes128Gcm>),
    Aes256(Box<Aes256Gcm>),
}

impl Key {
    fn of(secret: &[u8]) -> Option<Self> {
        let mut iv = [0; 12];
        expand(secret, "iv", &mut iv)?;
        let cipher = match secret.len() {
            32 => {
                let mut key = [0; 16];
                expand(secret, "key", &mut key)?;
                Cipher::Aes128(Box::new(Aes128Gcm::new(&key.into())))
            }
            48 => {
                let mut key = [0; 32];
                expand(secret, "key", &mut key)?;
                Cipher::Aes256(Box::new(Aes256Gcm::new(&key.into())))
            }
            _ => return None,
        };
        Some(Self { secret: secret.to_owned(), cipher, iv, next: 0 })
    }

    /// The key that follows an update (RFC 8446, section 7.2).
    fn updated(&self) -> Option<Self> {
        let mut secret = vec![0; self.secret.len()];
        expand(&self.secret, "traffic upd", &mut secret)?;
        Self::of(&secret)
    }

    /// Decrypts a record: one of the next few of this key.
    fn open(&mut self, header: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        (self.next..=self.next.saturating_add(MAX_LOST)).find_map(|number| {
            let mut nonce = self.iv;
            for (byte, number) in nonce[4..].iter_mut().zip(number.to_be_bytes()) {
                *byte ^= number;
            }
            let payload = Payload { msg: sealed, aad: header };
            let opened = match &self.cipher {
                Cipher::Aes128(cipher) => cipher.decrypt(&nonce.into(), payload),
                Cipher::Aes256(cipher) => cipher.decrypt(&nonce.into(), payload),
            };
            let opened = opened.ok()?;
            self.next = number + 1;
            Some(opened)
        })
    }
}

/// HKDF-Expand-Label without a context (RFC 8446, section 7.1).
fn expand(secret: &[u8], label: &str, out: &mut [u8]) -> Option<()> {
    let len = u16::try_from(out.len()).ok()?;
    let label_len = u8::try_from(b"tls13 ".len() + label.len()).ok()?;
    let info: [&[u8]; 5] = [&len.to_be_bytes(), &[label_len], b"tls13 ", label.as_bytes(), &[0]];
    match secret.len() {
        32 => Hkdf::<Sha256>::from_prk(secret).ok()?.expand_multi_info(&info, out).ok(),
        48 => Hkdf::<Sha384>::from_prk(secret).ok()?.expand_multi_info(&info, out).ok(),
        _ => None,
    }
}

impl Client {
    /// Something was decrypted.
    pub(super) fn is_open(&self) -> bool {
        self.opened
    }

    /// The next bytes that the client sent.
    pub(super) fn data(&mut self, mut bytes: &[u8], keys: &KeyLog, out: &mut Vec<Plain>) {
        if matches!(self.stage, Stage::Start) && keys.is_empty() {
            self.close();
        }
        if matches!(self.stage, Stage::Closed) {
            return self.unread(bytes.len(), out);
        }
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        bytes = bytes.get(skipped..).unwrap_or_default();
        while !bytes.is_empty() {
            let wanted = match self.record_len() {
                Some(len) if len > HEADER + MAX_RECORD => {
                    let held = self.close();
                    return self.unread(held + bytes.len(), out);
                }
                Some(len) => len,
                None => HEADER,
            };
            let (taken, rest) = bytes.split_at(bytes.len().min(wanted - self.pending.len()));
            self.pending.extend_from_slice(taken);
            bytes = rest;
            if self.record_len() == Some(self.pending.len()) {
                let record = std::mem::take(&mut self.pending);
                if !self.record(&record, keys, out) {
                    let held = self.close();
                    return self.unread(held + bytes.len(), out);
                }
            }
        }
    }

    /// So many bytes are missing.
    pub(super) fn gap(&mut self, len: u64, out: &mut Vec<Plain>) {
        if len == 0 {
            return;
        }
        let within = match self.record_len() {
            _ if self.skip > 0 => self.skip,
            Some(record) => record.saturating_sub(self.pending.len()),
            // In the middle of a header, or between two records.
            None => 0,
        };
        let missing = usize::try_from(len).unwrap_or(usize::MAX);
        if missing <= within && !matches!(self.stage, Stage::Closed) {
            if self.skip == 0 {
                let record = self.record_len().unwrap_or_default();
                self.pending.clear();
                self.lost(record, out);
            }
            self.skip = within - missing;
            return;
        }
        let held = self.close();
        self.unread(held.saturating_add(missing), out);
    }

    /// The length of the record that is pending, header included.
    fn record_len(&self) -> Option<usize> {
        let length = self.pending.get(3..HEADER)?;
        Some(HEADER + usize::from(u16::from_be_bytes([length[0], length[1]])))
    }

    /// Takes a whole record. Says whether to go on.
    fn record(&mut self, record: &[u8], keys: &KeyLog, out: &mut Vec<Plain>) -> bool {
        let Some((header, sealed)) = record.split_at_checked(HEADER) else {
            return false;
        };
        if matches!(self.stage, Stage::Start) {
            let secrets = random(record).and_then(|random| keys.of(&random));
            let Some(secrets) = secrets else {
                return false;
            };
            self.stage = Stage::Open(Box::new(Keys::of(secrets)));
            return true;
        }
        let Stage::Open(keys) = &mut self.stage else {
            return false;
        };
        match header[0] {
            APPLICATION_DATA => {}
            // What is sent in the clear: another hello, a change of ciphers.
            20..=22 => return true,
            _ => return false,
        }
        // In the order in which they come into use; a key that was followed by
        // another is used no more.
        let opened = keys
            .application
            .as_mut()
            .filter(|key| key.next > 0)
            .and_then(|key| key.open(header, sealed))
            .or_else(|| keys.handshake.as_mut()?.open(header, sealed))
            .or_else(|| keys.early.as_mut()?.open(header, sealed))
            .or_else(|| keys.application.as_mut()?.open(header, sealed));
        let Some(opened) = opened else {
            self.failures += 1;
            self.lost(record.len(), out);
            return self.failures < MAX_FAILURES;
        };
        self.failures = 0;
        let end = opened.iter().rposition(|&byte| byte != 0);
        let (kind, content) = match end {
            Some(end) => (opened[end], &opened[..end]),
            None => (0, &[][..]),
        };
        match kind {
            APPLICATION_DATA => {
                if keys.application.as_ref().is_some_and(|key| key.next > 0) {
                    (keys.handshake, keys.early) = (None, None);
                }
                self.opened = true;
                self.give(Bytes::copy_from_slice(content), content.len(), out);
            }
            // KeyUpdate (RFC 8446, section 4.6.3).
            HANDSHAKE if content.first() == Some(&24) => {
                keys.application = keys.application.as_ref().and_then(Key::updated);
                if let Some(key) = &mut keys.application {
                    // It is in use from now on.
                    key.next = 0;
                }
            }
            _ => {}
        }
        true
    }

    fn give(&mut self, bytes: Bytes, len: usize, out: &mut Vec<Plain>) {
        let continues = std::mem::replace(&mut self.full, len == 1 << 14);
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        if len > 0 {
            out.push(Plain { bytes, len, continues });
        }
    }

    /// A record of this length could not be read.
    fn lost(&mut self, record: usize, out: &mut Vec<Plain>) {
        self.unread(record.saturating_sub(HEADER + OVERHEAD), out);
    }

    /// So many bytes of plaintext are not known. Before any are, the ciphertext
    /// speaks for itself.
    fn unread(&mut self, len: usize, out: &mut Vec<Plain>) {
        if self.opened {
            self.give(Bytes::new(), len, out);
        }
    }

    /// Reads no more. Returns how many bytes were held.
    fn close(&mut self) -> usize {
        self.stage = Stage::Closed;
        std::mem::take(&mut self.pending).len()
    }
}

/// The random of a record that begins with a ClientHello (RFC 8446, section
/// 4.1.2).
fn random(record: &[u8]) -> Option<Random> {
    let is_hello = matches!(record, [HANDSHAKE, 3, _, _, _, 1, ..]);
    record.get(11..43).filter(|_| is_hello)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use data_encoding::HEXLOWER;
    use proptest::prelude::*;

    use super::*;

    fn unhex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        HEXLOWER.decode(digits.as_bytes()).unwrap()
    }

    /// RFC 8448, section 3: the secret of what the client sends, and the record
    /// with 50 bytes of it.
    const SECRET: &str = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
    const RECORD: &str = "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea
        42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62
        92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4";

    fn keys() -> KeyLog {
        let mut keys = KeyLog::default();
        let line = format!("CLIENT_TRAFFIC_SECRET_0 {} {SECRET}", "07".repeat(32));
        keys.read(line.as_bytes());
        keys
    }

    fn hello() -> Vec<u8> {
        let mut hello = vec![22, 3, 1, 0, 44, 1, 0, 0, 40, 3, 3];
        hello.extend([7; 32]);
        hello.extend([0; 6]);
        hello
    }

    /// A record of the client's, encrypted.
    fn sealed(number: u64, content: &[u8], kind: u8) -> Vec<u8> {
        let key = Key::of(&unhex(SECRET)).unwrap();
        let Cipher::Aes128(cipher) = &key.cipher else { panic!() };
        let mut nonce = key.iv;
        nonce[4..].iter_mut().zip(number.to_be_bytes()).for_each(|(byte, n)| *byte ^= n);
        let mut record = vec![23, 3, 3];
        record.extend((content.len() as u16 + 17).to_be_bytes());
        let msg = &[content, &[kind]].concat();
        let payload = Payload { msg, aad: &record };
        let sealed = cipher.encrypt(&nonce.into(), payload).unwrap();
        record.extend(sealed);
        record
    }

    fn decrypted(parts: &[&[u8]]) -> Vec<Plain> {
        let (mut client, mut out) = (Client::default(), Vec::new());
        parts.iter().for_each(|part| client.data(part, &keys(), &mut out));
        out
    }

    #[test]
    fn the_record_of_rfc_8448() {
        let plain = decrypted(&[&hello(), &unhex(RECORD)]);
        let bytes: Vec<u8> = (0..50).collect();
        assert_eq!(plain, [Plain { bytes: bytes.into(), len: 50, continues: false }]);
    }

    #[test]
    fn lost_records_are_counted() {
        let (one, three) = (sealed(0, b"one", 23), sealed(2, b"three", 23));
        let (mut client, mut out) = (Client::default(), Vec::new());
        client.data(&hello(), &keys(), &mut out);
        client.data(&one, &keys(), &mut out);
        // The middle of the second is missing.
        let two = sealed(1, &[b'2'; 100], 23);
        client.data(&two[..50], &keys(), &mut out);
        client.gap(20, &mut out);
        client.data(&two[70..], &keys(), &mut out);
        client.data(&three, &keys(), &mut out);
        let told: Vec<_> = out.iter().map(|plain| (&plain.bytes[..], plain.len)).collect();
        assert_eq!(told, [(&b"one"[..], 3), (b"", 100), (b"three", 5)]);
        // Where the place is lost, all that follows is.
        client.gap(1000, &mut out);
        client.data(&three, &keys(), &mut out);
        let unread: u32 = out[3..].iter().map(|plain| plain.len).sum();
        assert_eq!(unread as usize, 1000 + three.len());
    }

    #[test]
    fn what_cannot_be_decrypted_says_nothing_of_its_own() {
        let other = |at: usize| {
            let mut record = sealed(0, b"something", 23);
            record[at] ^= 1;
            record
        };
        for parts in [
            vec![b"GET / HTTP/1.1\r\n".to_vec()],
            vec![hello(), other(9)],
            vec![other(9), hello()],
            vec![hello(), vec![23, 3, 3, 0xff, 0xff, 0]],
            vec![unhex(RECORD)],
        ] {
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            assert_eq!(decrypted(&parts), []);
        }
    }

    #[test]
    fn keys_are_updated() {
        let update = sealed(0, &[24, 0, 0, 1, 0], 22);
        let key = Key::of(&unhex(SECRET)).unwrap().updated().unwrap();
        assert_ne!(key.secret, unhex(SECRET));
        let (mut client, mut out) = (Client::default(), Vec::new());
        client.data(&hello(), &keys(), &mut out);
        client.data(&update, &keys(), &mut out);
        let Stage::Open(keys) = &client.stage else { panic!() };
        assert_eq!(keys.application.as_ref().unwrap().secret, key.secret);
    }

    proptest! {
        /// However the bytes come.
        #[test]
        fn records_are_put_together(cuts in proptest::collection::vec(1..40_usize, 0..20)) {
            let all = [hello(), sealed(0, b"one", 23), sealed(1, b"two", 23)].concat();
            let mut rest = &all[..];
            let mut parts = Vec::new();
            for cut in cuts {
                let (part, behind) = rest.split_at(cut.min(rest.len()));
                parts.push(part);
                rest = behind;
            }
            parts.push(rest);
            let plain = decrypted(&parts);
            let joined: Vec<u8> = plain.iter().flat_map(|plain| plain.bytes.to_vec()).collect();
            prop_assert_eq!(joined, b"onetwo");
        }

        #[test]
        fn nothing_panics(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6)) {
            let (mut client, mut out) = (Client::default(), Vec::new());
            client.data(&hello(), &keys(), &mut out);
            for part in &parts {
                client.data(part, &keys(), &mut out);
                client.gap(part.len() as u64, &mut out);
            }
        }
    }
}
