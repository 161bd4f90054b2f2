//! TLS records: distinguishes application data, and reads the name of the
//! server.
//!
//! ```text
//! type (8) │ version (16) │ length (16) │ fragment      records, one after the other
//!
//! 20 change_cipher_spec   21 alert   22 handshake       until encryption begins,
//! 23 application_data                                   and from then on
//! ```
//!
//! Records are followed by their lengths (RFC 8446 section 5.1), including
//! through gaps within a record. Bytes not *known* to be handshake are counted
//! as application data: counting an unread byte too many is harmless, counting
//! one too few is not. TLS 1.3 sends the end of its handshake, Finished, as
//! application data; it is recognised by its position and length:
//!
//! ```text
//! ClientHello  change_cipher_spec?  application_data of 53 or 69 bytes
//! ```
//!
//! Without early data nothing else can occur there (RFC 8446 section 2): a
//! Finished consists of a hash (4 + 32 or 48 bytes), a type (1) and a tag (16).
//! A client that refuses the server's certificate sends an alert instead, of 2
//! bytes, a type and a tag; no handshake message is as short.
//!
//! A connection that is closed unused ends with such an alert after the Finished
//! (section 6.1). A record of that length is counted as an alert if it is the only
//! one and the last: it would have room for two bytes.

mod hello;
#[cfg(test)]
mod tests;

use super::detect;
use super::name::{NameSource, ServerName};
use crate::record::BootTime;

use self::hello::Parsed;
pub(super) use self::hello::{message_len, parse};

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;

/// Lengths of an encrypted TLS 1.3 Finished, with SHA-256 and SHA-384.
const FINISHED: [usize; 2] = [4 + 32 + 1 + 16, 4 + 48 + 1 + 16];

/// Length of an alert that is not encrypted.
const PLAIN_ALERT: usize = 2;

/// Length of an encrypted TLS 1.3 alert.
const ENCRYPTED_ALERT: usize = 2 + 1 + 16;

/// Maximum overhead of an encrypted record over its plaintext, in bytes, with the
/// cipher suites in common use: CBC with SHA-384 in TLS 1.2 (5 + 16 + 48 + 16
/// bytes). Alerts and the end of the handshake look like application data in TLS
/// 1.3. They are not longer than this, so they never count as missing plaintext.
const MAX_OVERHEAD: u64 = 85;

/// Overhead of an encrypted record in TLS 1.3 without padding: the header, the type
/// and the tag.
const OVERHEAD_13: u64 = 5 + 1 + 16;

/// Maximum length of the encrypted messages of TLS 1.3 that may follow the handshake:
/// alerts, and KeyUpdate with its 5 bytes.
const MAX_CONTROL_13: u64 = OVERHEAD_13 + 5;

/// Length of a record header.
const HEADER: usize = 5;

/// Maximum length of the plaintext in a record (RFC 8446 section 5.1).
const MAX_PLAIN: u64 = 1 << 14;

/// Maximum number of bytes kept of a ClientHello. With post-quantum key shares
/// and a session ticket it has about 2 KiB; this limit equals four full
/// records.
pub(super) const MAX_HELLO: usize = 64 << 10;

/// The client side of a TLS connection.
#[derive(Debug)]
pub(super) struct Records {
    position: Position,
    /// The ClientHello so far; `None` once it was processed, or if it was never
    /// seen.
    hello: Option<Vec<u8>>,
    /// Set while only a ClientHello without early data was sent. In TLS 1.3,
    /// the first encrypted record is then the Finished.
    expects_finished: bool,
    /// The purpose of the current record, if it is encrypted.
    encrypted: Encrypted,
    /// Set while nothing was sent after the Finished.
    unused: bool,
    /// Bytes of the record that closes the connection, unless more follows.
    closing: u64,
    /// Set once the client ended the handshake with an alert.
    refused: bool,
    /// Set once a Finished of TLS 1.3 was sent.
    is_tls13: bool,
    since: BootTime,
    tally: Tally,
}

/// The purpose of a record of the type "application data".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Encrypted {
    /// The end of the handshake: the Finished, or an alert instead of it.
    Handshake,
    /// The only record after the Finished so far, of the length of an alert.
    Closing,
    /// Application data, as far as is known.
    Content,
}

/// The bytes sent so far, by kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    /// Bytes of records without application data, including headers.
    pub(super) handshake: u64,
    /// All other bytes.
    pub(super) content: u64,
    /// Minimum number of records with application data.
    pub(super) records: u64,
    /// Maximum overhead of their encryption, in bytes.
    pub(super) overhead: u64,
}

/// The position of the next byte in the sequence of records.
#[derive(Debug, Clone, Copy)]
enum Position {
    /// In a record header, of which `len` bytes were received.
    Header { bytes: [u8; HEADER], len: usize },
    /// In a record of this type, with `left` bytes remaining.
    Record { kind: u8, left: usize },
    /// Unknown, until a send starts with a record.
    Lost,
}

impl Position {
    const BOUNDARY: Self = Self::Header { bytes: [0; HEADER], len: 0 };
}

impl Records {
    /// Creates the state of a connection whose bytes start with a record.
    pub(super) fn new(since: BootTime) -> Self {
        let tally = Tally::default();
        Self {
            position: Position::BOUNDARY,
            hello: Some(Vec::new()),
            expects_finished: false,
            encrypted: Encrypted::Content,
            unused: false,
            closing: 0,
            refused: false,
            is_tls13: false,
            since,
            tally,
        }
    }

    /// Creates the state of a connection joined within a record.
    pub(super) fn joined(since: BootTime) -> Self {
        Self { position: Position::Lost, hello: None, ..Self::new(since) }
    }

    /// Processes the next bytes. Returns the server name once it is complete.
    pub(super) fn data(&mut self, mut bytes: &[u8], begins_send: bool) -> Option<ServerName> {
        if matches!(self.position, Position::Lost) && begins_send && detect::is_tls(bytes) {
            self.position = Position::BOUNDARY;
        }
        let mut name = None;
        while !bytes.is_empty() {
            let used = match &mut self.position {
                Position::Lost => {
                    self.tally.add_unknown(bytes.len() as u64);
                    break;
                }
                Position::Header { bytes: header, len } => {
                    let missing = header.get_mut(*len..).unwrap_or_default();
                    let used = missing.len().min(bytes.len());
                    missing.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                    *len += used;
                    if *len == HEADER {
                        let header = *header;
                        name = name.or(self.open(header));
                    }
                    used
                }
                Position::Record { left, .. } => {
                    let used = (*left).min(bytes.len());
                    let fragment = bytes.get(..used).unwrap_or_default();
                    name = name.or(self.fragment(fragment));
                    used
                }
            };
            bytes = bytes.get(used..).unwrap_or_default();
        }
        name
    }

    /// Processes a gap of `len` bytes; `None` if the length is unknown.
    pub(super) fn gap(&mut self, len: Option<u64>) -> Option<ServerName> {
        let name = self.cut();
        self.expects_finished = false;
        match (self.position, len) {
            (Position::Record { kind, left }, Some(len)) => {
                let inside = usize::try_from(len).map_or(left, |len| len.min(left));
                *self.counter(kind) += inside as u64;
                self.advance(kind, left, inside);
                let beyond = len - inside as u64;
                if beyond > 0 {
                    self.tally.add_unknown(beyond);
                    self.lose();
                }
            }
            (_, len) => {
                self.tally.add_unknown(len.unwrap_or(0));
                self.lose();
            }
        }
        name
    }

    /// Ends the ClientHello. Returns the server name if the known part contains
    /// it.
    pub(super) fn cut(&mut self) -> Option<ServerName> {
        let hello = parse(&self.hello.take()?);
        self.expects_finished = matches!(&hello, Parsed::Complete(hello) if !hello.early_data);
        hello.known()?.named(NameSource::Tls, self.since)
    }

    /// Returns the number of bytes sent so far, by kind.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = self.tally;
        match self.position {
            Position::Header { len: len @ 1.., .. } => {
                tally.add_closing(self.closing);
                tally.add_unknown(len as u64);
            }
            _ => tally.handshake += self.closing,
        }
        tally
    }

    /// Reports whether the client ended the handshake with an alert.
    pub(super) fn was_refused(&self) -> bool {
        self.refused
    }

    /// Returns the number of bytes buffered.
    pub(super) fn buffered(&self) -> usize {
        self.hello.as_ref().map_or(0, Vec::len)
    }

    /// Starts a record after its complete header.
    fn open(&mut self, header: [u8; HEADER]) -> Option<ServerName> {
        if !detect::is_tls(&header) {
            self.lose();
            return self.cut();
        }
        let [kind, _, _, high, low] = header;
        let left = usize::from(u16::from_be_bytes([high, low]));
        self.continue_after_closing();
        self.encrypted = match left {
            _ if is_handshake(kind) => Encrypted::Content,
            ENCRYPTED_ALERT if self.unused => Encrypted::Closing,
            ENCRYPTED_ALERT if self.expects_finished => Encrypted::Handshake,
            _ if self.expects_finished && FINISHED.contains(&left) => Encrypted::Handshake,
            _ => Encrypted::Content,
        };
        // Alerts of other lengths are encrypted: TLS 1.2 closes connections with them.
        self.refused |= kind == ALERT && left == PLAIN_ALERT
            || self.encrypted == Encrypted::Handshake && left == ENCRYPTED_ALERT;
        if !is_handshake(kind) {
            self.unused = self.expects_finished && FINISHED.contains(&left);
            self.is_tls13 |= self.unused;
            if self.encrypted == Encrypted::Content {
                self.tally.add_record((HEADER + left) as u64, self.is_tls13);
            }
        }
        self.expects_finished &= kind == CHANGE_CIPHER_SPEC;
        *self.counter(kind) += HEADER as u64;
        self.advance(kind, left, 0);
        // Only alerts can interrupt a ClientHello.
        if matches!(kind, HANDSHAKE | ALERT) { None } else { self.cut() }
    }

    /// Processes bytes of a record.
    fn fragment(&mut self, bytes: &[u8]) -> Option<ServerName> {
        let Position::Record { kind, left } = self.position else {
            return None;
        };
        *self.counter(kind) += bytes.len() as u64;
        self.advance(kind, left, bytes.len());
        if kind != HANDSHAKE {
            return None;
        }
        let hello = self.hello.as_mut()?;
        let room = MAX_HELLO.saturating_sub(hello.len());
        hello.extend(bytes.iter().take(room));
        let ended = message_len(hello).is_some_and(|len| hello.len() >= len);
        if ended || hello.len() >= MAX_HELLO { self.cut() } else { None }
    }

    fn advance(&mut self, kind: u8, left: usize, by: usize) {
        self.position = match left.saturating_sub(by) {
            0 => Position::BOUNDARY,
            left => Position::Record { kind, left },
        };
    }

    fn lose(&mut self) {
        self.continue_after_closing();
        self.tally = self.tally();
        self.position = Position::Lost;
    }

    fn counter(&mut self, kind: u8) -> &mut u64 {
        match self.encrypted {
            _ if is_handshake(kind) => &mut self.tally.handshake,
            Encrypted::Handshake => &mut self.tally.handshake,
            Encrypted::Closing => &mut self.closing,
            Encrypted::Content => &mut self.tally.content,
        }
    }

    /// Counts the record that seemed to close the connection as content.
    fn continue_after_closing(&mut self) {
        self.tally.add_closing(std::mem::take(&mut self.closing));
    }
}

impl Tally {
    /// Counts the start of a record of `len` bytes.
    fn add_record(&mut self, len: u64, is_tls13: bool) {
        self.records += 1;
        self.overhead += match is_tls13 {
            true if len > MAX_CONTROL_13 => OVERHEAD_13,
            _ => MAX_OVERHEAD.min(len),
        };
    }

    /// Counts a record that did not close the connection.
    fn add_closing(&mut self, len: u64) {
        if len > 0 {
            self.content += len;
            self.add_record(len, true);
        }
    }

    /// Counts bytes of an unknown number of records, assuming as few as
    /// possible.
    fn add_unknown(&mut self, len: u64) {
        let records = len.div_ceil(MAX_PLAIN);
        self.content += len;
        self.records += records;
        self.overhead += (MAX_OVERHEAD * records).min(len);
    }
}

/// Reports whether records of this type carry no application data.
fn is_handshake(kind: u8) -> bool {
    matches!(kind, CHANGE_CIPHER_SPEC | ALERT | HANDSHAKE)
}
