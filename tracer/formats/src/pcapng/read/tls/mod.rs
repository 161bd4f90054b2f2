//! What a client sent in TLS 1.2 and 1.3, decrypted with the keys that a capture
//! holds.
//!
//! | module | knows |
//! |---|---|
//! | `keys` | the log of secrets |
//! | `v13`, `v12` | how each version makes keys of them, and encrypts a record |
//! | `aead` | the ciphers |
//!
//! Of what the server sends, only its hello is looked at. Other ciphers and
//! versions stay encrypted, and count as that.

mod aead;
mod keys;
mod v12;
mod v13;

use bytes::Bytes;

pub(super) use self::keys::KeyLog;
use self::{
    keys::{Random, Secrets},
    v12::ServerHello,
};

/// The longest record: 2¹⁴ bytes and what encryption may add (RFC 8446, section
/// 5.2; RFC 5246, section 6.2.3, allows more, which no cipher here needs).
const MAX_RECORD: usize = (1 << 14) + 256;

/// A record's header.
const HEADER: usize = 5;

/// Records that may have been lost before one that is read: each costs a try.
const MAX_LOST: u64 = 16;

/// Records that cannot be read before the connection is given up.
const MAX_FAILURES: u32 = 64;

/// Types of records (RFC 8446, section 5.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
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
    server: Option<ServerHello>,
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

/// The keys of one connection.
#[derive(Debug)]
enum Keys {
    V12(v12::Keys),
    V13(v13::Keys),
}

/// What a record held.
#[derive(Debug, PartialEq, Eq)]
enum Opened {
    /// What the client's user has written.
    Content(Vec<u8>),
    /// What TLS itself sends.
    Other,
}

impl Keys {
    fn of(client: Random, secrets: &Secrets) -> Self {
        match secrets {
            Secrets::Master(master) => Self::V12(v12::Keys::of(client, master)),
            Secrets::Traffic(secrets) => Self::V13(v13::Keys::of(secrets)),
        }
    }

    /// What encryption adds to a record.
    fn overhead(&self) -> usize {
        match self {
            Self::V12(keys) => keys.overhead(),
            Self::V13(_) => v13::OVERHEAD,
        }
    }
}

impl Client {
    /// Something was decrypted.
    pub(super) fn is_open(&self) -> bool {
        self.opened
    }

    /// The server sent this.
    pub(super) fn answered(&mut self, bytes: &[u8]) {
        self.server = self.server.or_else(|| ServerHello::read(bytes));
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
            let open = |random| Some(Keys::of(random, keys.of(&random)?));
            let Some(keys) = random(record).and_then(open) else {
                return false;
            };
            self.stage = Stage::Open(Box::new(keys));
            return true;
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
                self.give(content.into(), len, out);
            }
            Some(Opened::Other) => {}
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
        let overhead = match &self.stage {
            Stage::Open(keys) => keys.overhead(),
            Stage::Start | Stage::Closed => 0,
        };
        self.unread(record.saturating_sub(HEADER + overhead), out);
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

    /// The ciphers that a secret as long as that one can be of.
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

    /// A record of the client's, encrypted.
    fn sealed(number: u64, content: &[u8], kind: u8) -> Vec<u8> {
        v13::Key::of(&unhex(SECRET)).unwrap().seal(AES, number, content, kind)
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
    fn either_cipher_of_a_hash() {
        let key = v13::Key::of(&unhex(SECRET)).unwrap();
        for cipher in [AES, CHACHA] {
            let one = key.seal(cipher, 0, b"one", APPLICATION_DATA);
            // One is lost.
            let three = key.seal(cipher, 2, b"three", APPLICATION_DATA);
            let plain = decrypted(&[&hello(), &one, &three]);
            let told: Vec<_> = plain.iter().map(|plain| &plain.bytes[..]).collect();
            assert_eq!(told, [&b"one"[..], b"three"], "{cipher}");
            // No connection has two.
            let other = key.seal(1 - cipher, 1, b"two", APPLICATION_DATA);
            let plain = decrypted(&[&hello(), &one, &other]);
            assert_eq!((&plain[1].bytes[..], plain[1].len), (&b""[..], 3), "{cipher}");
        }
    }

    /// The keys of that hello, had it come to TLS 1.2.
    fn master() -> KeyLog {
        let mut keys = KeyLog::default();
        keys.read(format!("CLIENT_RANDOM {} {}", "07".repeat(32), "08".repeat(48)).as_bytes());
        keys
    }

    /// A server's hello that chooses this cipher.
    fn answer(suite: u16) -> Vec<u8> {
        let mut answer = vec![22, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
        answer.extend([9; 32]);
        answer.push(0);
        answer.extend(suite.to_be_bytes());
        answer.push(0);
        answer
    }

    /// A connection in TLS 1.2, and what of it is read.
    fn told(suite: u16, hidden: bool) -> Vec<(Vec<u8>, u32)> {
        let (keys, answer) = (master(), answer(suite));
        let server = ServerHello::read(&answer);
        let seal = |number, kind, plain: &[u8]| {
            v12::seal([7; 32], &[8; 48], server.as_ref()?, number, kind, plain)
        };
        let (mut client, mut out) = (Client::default(), Vec::new());
        client.data(&hello(), &keys, &mut out);
        if !hidden {
            client.answered(b"HTTP/1.1 200 OK");
            client.answered(&answer);
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
    fn tls_1_2_is_read() {
        for suite in [0xc02f, 0xc030, 0xcca8, 0x009c, 0x009f] {
            let all = [(b"one".to_vec(), 3), (b"two".to_vec(), 3), (Vec::new(), 5)];
            assert_eq!(told(suite, false), all, "{suite:x}");
            // Which keys, only the server's hello tells.
            assert_eq!(told(suite, true), [], "{suite:x}");
        }
        // TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA
        assert_eq!(told(0xc013, false), []);
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
        let key = v13::Key::of(&unhex(SECRET)).unwrap().updated().unwrap();
        assert_ne!(key.secret(), unhex(SECRET));
        let (mut client, mut out) = (Client::default(), Vec::new());
        client.data(&hello(), &keys(), &mut out);
        client.data(&update, &keys(), &mut out);
        let Stage::Open(keys) = &client.stage else { panic!() };
        let Keys::V13(keys) = &**keys else { panic!() };
        assert_eq!(keys.application().secret(), key.secret());
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
            for keys in [keys(), master()] {
                let (mut client, mut out) = (Client::default(), Vec::new());
                client.data(&hello(), &keys, &mut out);
                client.answered(&answer(0xc02f));
                client.data(&[CHANGE_CIPHER_SPEC, 3, 3, 0, 1, 1], &keys, &mut out);
                for part in &parts {
                    client.data(part, &keys, &mut out);
                    client.gap(part.len() as u64, &mut out);
                    client.answered(part);
                }
            }
        }
    }
}
