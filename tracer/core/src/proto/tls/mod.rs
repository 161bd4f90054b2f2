//! TLS, as much as can be read of it: which bytes are application data, and
//! the name of the server.
//!
//! ```text
//! type (8) │ version (16) │ length (16) │ fragment      records, one after the other
//!
//! 20 change_cipher_spec   21 alert   22 handshake       until encryption begins,
//! 23 application_data                                   and from then on
//! ```
//!
//! Records are followed by their lengths (RFC 8446, section 5.1), also through
//! gaps within one. What of a TLS connection is not *known* to be handshake is
//! counted as application data: an unread byte too many does no harm, one too
//! few would. TLS 1.3 sends the end of its handshake, Finished, as application
//! data; it is known by its place and its length:
//!
//! ```text
//! ClientHello  change_cipher_spec?  application_data of 53 or 69 bytes
//! ```
//!
//! Without early data nothing else can stand there (RFC 8446, section 2): a
//! Finished holds a hash (4 + 32 or 48 bytes), a type (1) and a tag (16).

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

/// The lengths of TLS 1.3's Finished, encrypted, with SHA-256 and SHA-384.
const FINISHED: [usize; 2] = [4 + 32 + 1 + 16, 4 + 48 + 1 + 16];

/// The header of a record.
const HEADER: usize = 5;

/// The most a record holds (RFC 8446, section 5.1).
const MAX_PLAIN: u64 = 1 << 14;

/// The most bytes kept of a ClientHello. With post-quantum key shares and a
/// session ticket they have some 2 KiB; this is what four full records hold.
pub(super) const MAX_HELLO: usize = 64 << 10;

/// The client's side of one TLS connection.
#[derive(Debug)]
pub(super) struct Records {
    place: Place,
    /// The ClientHello as far as it came; `None`: it is done with, or was
    /// never seen.
    hello: Option<Vec<u8>>,
    /// All that was sent is a ClientHello without early data: of TLS 1.3, what
    /// is encrypted first is the Finished.
    only_hello: bool,
    /// The record begun last is that Finished.
    finished: bool,
    since: BootTime,
    tally: Tally,
}

/// What a connection sent so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    /// Bytes of the records that carry no application data, headers included.
    pub(super) handshake: u64,
    /// All other bytes.
    pub(super) content: u64,
    /// How many records those are, at least.
    pub(super) records: u64,
}

/// Where in the records the next byte is.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// In a record's header, of which `len` bytes are here.
    Header { bytes: [u8; HEADER], len: usize },
    /// In a record of this type: so many bytes of it follow.
    Record { kind: u8, left: usize },
    /// Nobody knows: waiting for a send that begins with a record.
    Lost,
}

impl Place {
    const BOUNDARY: Self = Self::Header { bytes: [0; HEADER], len: 0 };
}

impl Records {
    /// A connection whose bytes begin with a record.
    pub(super) fn new(since: BootTime) -> Self {
        let tally = Tally::default();
        let (only_hello, finished) = (false, false);
        Self { place: Place::BOUNDARY, hello: Some(Vec::new()), only_hello, finished, since, tally }
    }

    /// A connection joined within a record.
    pub(super) fn joined(since: BootTime) -> Self {
        Self { place: Place::Lost, hello: None, ..Self::new(since) }
    }

    /// Takes the next bytes. Gives the server's name when they complete it.
    pub(super) fn data(&mut self, mut bytes: &[u8], begins_send: bool) -> Option<ServerName> {
        if matches!(self.place, Place::Lost) && begins_send && detect::is_tls(bytes) {
            self.place = Place::BOUNDARY;
        }
        let mut name = None;
        while !bytes.is_empty() {
            let used = match &mut self.place {
                Place::Lost => {
                    self.tally.unknown(bytes.len() as u64);
                    break;
                }
                Place::Header { bytes: header, len } => {
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
                Place::Record { left, .. } => {
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

    /// Takes note of `len` bytes that were sent here and are not known, `None`
    /// where nobody can tell how many.
    pub(super) fn gap(&mut self, len: Option<u64>) -> Option<ServerName> {
        let name = self.cut();
        self.only_hello = false;
        match (self.place, len) {
            (Place::Record { kind, left }, Some(len)) => {
                let here = usize::try_from(len).map_or(left, |len| len.min(left));
                *self.counter(kind) += here as u64;
                self.advance(kind, left, here);
                let beyond = len - here as u64;
                if beyond > 0 {
                    self.tally.unknown(beyond);
                    self.lose();
                }
            }
            (_, len) => {
                self.tally.unknown(len.unwrap_or(0));
                self.lose();
            }
        }
        name
    }

    /// No more of the ClientHello will come: gives the server's name if what
    /// came of it holds that.
    pub(super) fn cut(&mut self) -> Option<ServerName> {
        let hello = parse(&self.hello.take()?);
        self.only_hello = matches!(&hello, Parsed::Complete(hello) if !hello.early_data);
        hello.known()?.named(NameSource::Tls, self.since)
    }

    /// What was sent so far.
    pub(super) fn tally(&self) -> Tally {
        let mut tally = self.tally;
        if let Place::Header { len, .. } = self.place {
            tally.unknown(len as u64);
        }
        tally
    }

    /// How many bytes of memory are held.
    pub(super) fn buffered(&self) -> usize {
        self.hello.as_ref().map_or(0, Vec::len)
    }

    /// Begins the record of a whole header.
    fn open(&mut self, header: [u8; HEADER]) -> Option<ServerName> {
        if !detect::is_tls(&header) {
            self.lose();
            return self.cut();
        }
        let [kind, _, _, high, low] = header;
        let left = usize::from(u16::from_be_bytes([high, low]));
        self.finished = self.only_hello && !is_handshake(kind) && FINISHED.contains(&left);
        self.only_hello &= kind == CHANGE_CIPHER_SPEC;
        *self.counter(kind) += HEADER as u64;
        self.tally.records += u64::from(!is_handshake(kind) && !self.finished);
        self.advance(kind, left, 0);
        // Nothing but alerts can interrupt a ClientHello.
        if matches!(kind, HANDSHAKE | ALERT) { None } else { self.cut() }
    }

    /// Takes bytes of a record.
    fn fragment(&mut self, bytes: &[u8]) -> Option<ServerName> {
        let Place::Record { kind, left } = self.place else {
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
        self.place = match left.saturating_sub(by) {
            0 => Place::BOUNDARY,
            left => Place::Record { kind, left },
        };
    }

    fn lose(&mut self) {
        self.tally = self.tally();
        self.place = Place::Lost;
    }

    fn counter(&mut self, kind: u8) -> &mut u64 {
        match is_handshake(kind) || self.finished {
            true => &mut self.tally.handshake,
            false => &mut self.tally.content,
        }
    }
}

impl Tally {
    /// Counts bytes of records that nobody can tell: as few as hold so much.
    fn unknown(&mut self, len: u64) {
        self.content += len;
        self.records += len.div_ceil(MAX_PLAIN);
    }
}

/// Records of this type carry no application data.
fn is_handshake(kind: u8) -> bool {
    matches!(kind, CHANGE_CIPHER_SPEC | ALERT | HANDSHAKE)
}
