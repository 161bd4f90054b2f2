//! Decrypts what a client sent in TLS 1.2 and 1.3, if the capture contains the
//! keys.
//!
//! | module | content |
//! |---|---|
//! | `keys` | the key log |
//! | `v13`, `v12` | key derivation and record encryption of each version |
//! | `aead` | the ciphers |
//!
//! Of the server's messages, only the ServerHello is read. Other ciphers and
//! versions stay encrypted, and their bytes are counted as unread.

pub(super) mod aead;
pub(super) mod keys;
mod v12;
pub(super) mod v13;

use bytes::Bytes;

pub(super) use self::keys::KeyLog;
use self::{
    keys::{Random, Secrets},
    v12::ServerHello,
};

/// Maximum length of a record: 2¹⁴ bytes and the overhead of encryption (RFC
/// 8446, section 5.2). RFC 5246, section 6.2.3, allows more, which none of these
/// ciphers needs.
const MAX_RECORD: usize = (1 << 14) + 256;

/// Length of a record's header.
const HEADER: usize = 5;

/// Maximum number of lost records before one that can still be decrypted. Each
/// costs an attempt.
const MAX_LOST: u64 = 16;

/// Number of records in succession that cannot be decrypted, after which the
/// connection is not decrypted any further.
const MAX_FAILURES: u32 = 64;

/// Types of records (RFC 8446, section 5.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const HANDSHAKE: u8 = 22;

/// Header of the record that announces encryption.
const CHANGE: [u8; HEADER] = [CHANGE_CIPHER_SPEC, 3, 3, 0, 1];
const APPLICATION_DATA: u8 = 23;

/// Plaintext of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plaintext {
    pub(super) bytes: Bytes,
    /// Length of the plaintext. It exceeds that of `bytes` if the record could
    /// not be decrypted.
    pub(super) len: u32,
    /// Set if it continues the previous record, which was full.
    pub(super) continues: bool,
}

/// The client's side of a connection.
#[derive(Debug, Default)]
pub(super) struct Client {
    stage: Stage,
    server: Option<ServerHello>,
    /// The start of an incomplete record.
    pending: Vec<u8>,
    /// Number of bytes to skip: the rest of a record of which bytes are missing.
    skip: usize,
    failures: u32,
    /// Set once a record was decrypted.
    opened: bool,
    /// Set if the last record was full.
    full: bool,
}

#[derive(Debug, Default)]
enum Stage {
    /// Before the first record.
    #[default]
    Start,
    /// After the ClientHello, until the capture contains the keys.
    Waiting(Waiting),
    /// Records are decrypted with these keys.
    Open(Box<Keys>),
    /// Records are not decrypted: the stream is not TLS, its keys are unknown,
    /// or the boundaries of records were lost.
    Closed,
}

/// A connection whose keys the capture has not contained yet.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    random: Random,
    /// Set once the client announced encryption (RFC 5246, section 7.1).
    has_changed_cipher: bool,
    /// Number of records without keys. They stay encrypted.
    records: u64,
}

/// The keys of one connection.
#[derive(Debug)]
enum Keys {
    V12(v12::Keys),
    V13(v13::Keys),
}

/// Content of a decrypted record.
#[derive(Debug, PartialEq, Eq)]
enum Opened {
    /// Application data.
    Content(Vec<u8>),
    /// Messages of TLS itself.
    Other,
}

impl Keys {
    fn new(client: Random, secrets: &Secrets) -> Self {
        match secrets {
            Secrets::Master(master) => Self::V12(v12::Keys::new(client, master)),
            Secrets::Traffic(secrets) => Self::V13(v13::Keys::new(secrets)),
        }
    }

    /// Returns the number of bytes that encryption adds to a record.
    fn overhead(&self) -> usize {
        match self {
            Self::V12(keys) => keys.overhead(),
            Self::V13(_) => v13::OVERHEAD,
        }
    }
}

impl Client {
    /// Reports whether a record was decrypted.
    pub(super) fn is_open(&self) -> bool {
        self.opened
    }

    /// Processes bytes that the server sent.
    pub(super) fn server_data(&mut self, bytes: &[u8]) {
        self.server = self.server.or_else(|| ServerHello::parse(bytes));
    }

    /// Processes the next bytes that the client sent.
    pub(super) fn data(&mut self, mut bytes: &[u8], keys: &KeyLog, out: &mut Vec<Plaintext>) {
        let is_tls = || bytes.first().is_none_or(|&kind| kind == HANDSHAKE);
        if matches!(self.stage, Stage::Start) && self.pending.is_empty() && !is_tls() {
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
                    let pending = self.close();
                    return self.unread(pending + bytes.len(), out);
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
                    let pending = self.close();
                    return self.unread(pending + bytes.len(), out);
                }
            }
        }
    }

    /// Processes a gap of `len` bytes.
    pub(super) fn gap(&mut self, len: u64, out: &mut Vec<Plaintext>) {
        if len == 0 {
            return;
        }
        let within = match self.record_len() {
            _ if self.skip > 0 => self.skip,
            Some(record) => record.saturating_sub(self.pending.len()),
            // Within a header, or between two records.
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
        let pending = self.close();
        self.unread(pending.saturating_add(missing), out);
    }

    /// Returns the length of the pending record, header included.
    fn record_len(&self) -> Option<usize> {
        let length = self.pending.get(3..HEADER)?;
        Some(HEADER + usize::from(u16::from_be_bytes([length[0], length[1]])))
    }

    /// Processes a complete record. Returns `false` if no further record can be
    /// decrypted.
    fn record(&mut self, record: &[u8], keys: &KeyLog, out: &mut Vec<Plaintext>) -> bool {
        let Some((header, sealed)) = record.split_at_checked(HEADER) else {
            return false;
        };
        if matches!(self.stage, Stage::Start) {
            let Some(random) = client_random(record) else {
                return false;
            };
            let waiting = Waiting { random, has_changed_cipher: false, records: 0 };
            self.stage = match keys.secrets(&random) {
                Some(secrets) => Stage::Open(Box::new(Keys::new(random, secrets))),
                None => Stage::Waiting(waiting),
            };
            return true;
        }
        if let Stage::Waiting(waiting) = &mut self.stage {
            match keys.secrets(&waiting.random) {
                Some(secrets) if secrets.are_usable() => {
                    let mut keys = Keys::new(waiting.random, secrets);
                    if let (Keys::V12(keys), true) = (&mut keys, waiting.has_changed_cipher) {
                        let _ = keys.open(&CHANGE, &[1], self.server.as_ref());
                    }
                    self.stage = Stage::Open(Box::new(keys));
                }
                _ => {
                    waiting.has_changed_cipher |= header[0] == CHANGE_CIPHER_SPEC;
                    waiting.records += 1;
                    // Keys of a later record cannot find its number.
                    return waiting.records <= MAX_LOST;
                }
            }
        }
        let Stage::Open(keys) = &mut self.stage else {
            return false;
        };
        if !(CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&header[0]) {
            return false;
        }
        let opened = match &mut **keys {
            Keys::V12(keys) => keys.open(header, sealed, self.server.as_ref()),
            Keys::V13(keys) => keys.open(header, sealed),
        };
        match opened {
            None => {
                self.failures += 1;
                self.lost(record.len(), out);
                return self.failures < MAX_FAILURES;
            }
            Some(Opened::Content(content)) => {
                self.failures = 0;
                self.opened = true;
                let len = content.len();
                self.emit(content.into(), len, out);
            }
            Some(Opened::Other) => {}
        }
        true
    }

    fn emit(&mut self, bytes: Bytes, len: usize, out: &mut Vec<Plaintext>) {
        let continues = std::mem::replace(&mut self.full, len == 1 << 14);
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        if len > 0 {
            out.push(Plaintext { bytes, len, continues });
        }
    }

    /// Processes a record of this length that cannot be decrypted.
    fn lost(&mut self, record: usize, out: &mut Vec<Plaintext>) {
        let overhead = match &self.stage {
            Stage::Open(keys) => keys.overhead(),
            Stage::Start | Stage::Waiting(_) | Stage::Closed => 0,
        };
        self.unread(record.saturating_sub(HEADER + overhead), out);
    }

    /// Emits a gap of `len` bytes of plaintext. Before the first decrypted
    /// record, the encrypted bytes are counted instead.
    fn unread(&mut self, len: usize, out: &mut Vec<Plaintext>) {
        if self.opened {
            self.emit(Bytes::new(), len, out);
        }
    }

    /// Stops decryption. Returns the number of pending bytes.
    fn close(&mut self) -> usize {
        self.stage = Stage::Closed;
        std::mem::take(&mut self.pending).len()
    }
}

/// Returns the client random if the record starts with a ClientHello (RFC 8446,
/// section 4.1.2).
fn client_random(record: &[u8]) -> Option<Random> {
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

    /// RFC 8448, section 3: the client's traffic secret, and its record of 50
    /// bytes.
    const SECRET: &str = "9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5";
    const RECORD: &str = "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea
        42 f9 14 aa 66 bc ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62
        92 a2 97 70 14 bd 1e 3d ea e6 3a ee bb 21 69 49 15 e4";

    /// Indices of the ciphers for a secret of this length.
    const AES: usize = 0;
    const CHACHA: usize = 1;

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

    /// Returns an encrypted record of the client.
    fn sealed(number: u64, content: &[u8], kind: u8) -> Vec<u8> {
        v13::Key::new(&unhex(SECRET)).unwrap().seal(AES, number, content, kind)
    }

    fn decrypted(parts: &[&[u8]]) -> Vec<Plaintext> {
        let (mut client, mut out) = (Client::default(), Vec::new());
        parts.iter().for_each(|part| client.data(part, &keys(), &mut out));
        out
    }

    #[test]
    fn the_record_of_rfc_8448_is_decrypted() {
        let plain = decrypted(&[&hello(), &unhex(RECORD)]);
        let bytes: Vec<u8> = (0..50).collect();
        assert_eq!(plain, [Plaintext { bytes: bytes.into(), len: 50, continues: false }]);
    }

    #[test]
    fn keys_may_follow_the_client_hello() {
        let change = [CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1];
        let (finished, one) = (sealed(0, b"finished", 22), sealed(1, b"one", 23));
        for before in 0..3 {
            let (mut client, mut out) = (Client::default(), Vec::new());
            let parts = [&hello()[..], &change, &finished, &one];
            for (at, part) in parts.into_iter().enumerate() {
                let log = if at > before { keys() } else { KeyLog::default() };
                client.data(part, &log, &mut out);
            }
            let last = out.last().map(|plain| &plain.bytes[..]);
            assert_eq!(last, Some(&b"one"[..]), "{before}");
        }
        // Too many records without keys: the connection stays encrypted.
        let (mut client, mut out) = (Client::default(), Vec::new());
        client.data(&hello(), &KeyLog::default(), &mut out);
        (0..=MAX_LOST).for_each(|_| client.data(&one, &KeyLog::default(), &mut out));
        client.data(&one, &keys(), &mut out);
        assert_eq!(out, []);
    }

    #[test]
    fn keys_of_tls_1_2_may_follow_the_change_of_ciphers() {
        let server_hello = server_hello(0xc02f);
        let server = ServerHello::parse(&server_hello).unwrap();
        let seal = |number, kind, plain| v12::seal([7; 32], &[8; 48], &server, number, kind, plain);
        let (mut client, mut out) = (Client::default(), Vec::new());
        client.data(&hello(), &KeyLog::default(), &mut out);
        client.server_data(&server_hello);
        client.data(&[CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1], &KeyLog::default(), &mut out);
        client.data(&seal(0, HANDSHAKE, b"finished").unwrap(), &KeyLog::default(), &mut out);
        client.data(&seal(1, APPLICATION_DATA, b"one").unwrap(), &master(), &mut out);
        assert_eq!(out.last().map(|plain| &plain.bytes[..]), Some(&b"one"[..]));
    }

    #[test]
    fn both_ciphers_of_a_hash_are_tried() {
        let key = v13::Key::new(&unhex(SECRET)).unwrap();
        for cipher in [AES, CHACHA] {
            let one = key.seal(cipher, 0, b"one", APPLICATION_DATA);
            // The second record is lost.
            let three = key.seal(cipher, 2, b"three", APPLICATION_DATA);
            let plain = decrypted(&[&hello(), &one, &three]);
            let bytes: Vec<_> = plain.iter().map(|plain| &plain.bytes[..]).collect();
            assert_eq!(bytes, [&b"one"[..], b"three"], "{cipher}");
            // A connection has one cipher.
            let other = key.seal(1 - cipher, 1, b"two", APPLICATION_DATA);
            let plain = decrypted(&[&hello(), &one, &other]);
            assert_eq!((&plain[1].bytes[..], plain[1].len), (&b""[..], 3), "{cipher}");
        }
    }

    /// Returns keys for the same ClientHello in TLS 1.2.
    fn master() -> KeyLog {
        let mut keys = KeyLog::default();
        keys.read(format!("CLIENT_RANDOM {} {}", "07".repeat(32), "08".repeat(48)).as_bytes());
        keys
    }

    /// Returns a ServerHello that selects this cipher.
    fn server_hello(suite: u16) -> Vec<u8> {
        let mut hello = vec![22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
        hello.extend([9; 32]);
        hello.push(0);
        hello.extend(suite.to_be_bytes());
        hello.push(0);
        hello
    }

    /// Returns the plaintext of a TLS 1.2 connection.
    fn decrypted_v12(suite: u16, hello_is_missing: bool) -> Vec<(Vec<u8>, u32)> {
        let (keys, server_hello) = (master(), server_hello(suite));
        let server = ServerHello::parse(&server_hello);
        let seal = |number, kind, plain: &[u8]| {
            v12::seal([7; 32], &[8; 48], server.as_ref()?, number, kind, plain)
        };
        let (mut client, mut out) = (Client::default(), Vec::new());
        client.data(&hello(), &keys, &mut out);
        if !hello_is_missing {
            client.server_data(b"HTTP/1.1 200 OK");
            client.server_data(&server_hello);
        }
        // The key exchange is sent in the clear.
        client.data(&[HANDSHAKE, 3, 3, 0, 4, 16, 0, 0, 0], &keys, &mut out);
        client.data(&[CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1], &keys, &mut out);
        for (number, kind, plain) in [
            (0, HANDSHAKE, &b"finished"[..]),
            (1, APPLICATION_DATA, b"one"),
            (2, 21, b"an alert"),
            (4, APPLICATION_DATA, b"two"),
        ] {
            let sealed = seal(number, kind, plain);
            let record = sealed.unwrap_or_else(|| [kind, 3, 3, 0, 30].repeat(7));
            client.data(&record, &keys, &mut out);
        }
        let damaged = seal(5, APPLICATION_DATA, b"three").map(|mut record| {
            *record.last_mut().unwrap() ^= 1;
            record
        });
        client.data(&damaged.unwrap_or_default(), &keys, &mut out);
        out.into_iter().map(|plain| (plain.bytes.to_vec(), plain.len)).collect()
    }

    #[test]
    fn tls_1_2_is_decrypted() {
        for suite in [0xc02f, 0xc030, 0xcca8, 0x009c, 0x009f] {
            let all = [(b"one".to_vec(), 3), (b"two".to_vec(), 3), (Vec::new(), 5)];
            assert_eq!(decrypted_v12(suite, false), all, "{suite:x}");
            // The keys depend on the ServerHello.
            assert_eq!(decrypted_v12(suite, true), [], "{suite:x}");
        }
        // TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
        assert_eq!(decrypted_v12(0xc013, false), []);
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
        let bytes: Vec<_> = out.iter().map(|plain| (&plain.bytes[..], plain.len)).collect();
        assert_eq!(bytes, [(&b"one"[..], 3), (b"", 100), (b"three", 5)]);
        // Once record boundaries are lost, nothing more is decrypted.
        client.gap(1000, &mut out);
        client.data(&three, &keys(), &mut out);
        let unread: u32 = out[3..].iter().map(|plain| plain.len).sum();
        assert_eq!(unread as usize, 1000 + three.len());
    }

    #[test]
    fn nothing_is_emitted_before_the_first_decrypted_record() {
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
    fn a_key_update_changes_the_key() {
        let update = sealed(0, &[24, 0, 0, 1, 0], 22);
        let key = v13::Key::new(&unhex(SECRET)).unwrap().updated().unwrap();
        assert_ne!(key.secret(), unhex(SECRET));
        let (mut client, mut out) = (Client::default(), Vec::new());
        client.data(&hello(), &keys(), &mut out);
        client.data(&update, &keys(), &mut out);
        let Stage::Open(keys) = &client.stage else { panic!() };
        let Keys::V13(keys) = &**keys else { panic!() };
        assert_eq!(keys.application().secret(), key.secret());
    }

    proptest! {
        /// The boundaries of segments do not matter.
        #[test]
        fn records_are_reassembled(cuts in proptest::collection::vec(1..40_usize, 0..20)) {
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
            for keys in [keys(), master()] {
                let (mut client, mut out) = (Client::default(), Vec::new());
                client.data(&hello(), &keys, &mut out);
                client.server_data(&server_hello(0xc02f));
                client.data(&[CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1], &keys, &mut out);
                for part in &parts {
                    client.data(part, &keys, &mut out);
                    client.gap(part.len() as u64, &mut out);
                    client.server_data(part);
                }
            }
        }
    }
}
