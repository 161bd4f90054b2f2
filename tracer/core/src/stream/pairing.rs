//! Pairs sends on sockets with the writes to TLS libraries that caused them.
//!
//! A write to a TLS library normally sends its ciphertext on a socket before it
//! returns, and the programs mark that send ([`Record::within_tls`]). Two cases
//! need more:
//!
//! ```text
//! a copy      PR_Write("GET /")  ──┬─ send("GET /")            a layer without TLS
//!                                  └─ same bytes, seen twice
//! a memory    SSL_write("GET /") ──── ciphertext into memory   Node.js, asyncio
//! BIO         send(ciphertext)   ──── after the write, unmarked
//! ```
//!
//! A copy is recognised by its bytes: the send gets the bytes of the write, which
//! are captured further, and the write is dropped. If the bytes differ, both are
//! kept.
//!
//! A send of ciphertext outside a write is recognised by its thread and by the
//! length of its records, which exceeds that of the write by the overhead of the
//! cipher. Each write explains as many bytes as it has. Go sends within the write
//! as well, but nothing marks its sends, and it writes records of any length.
//!
//! QUIC packets and their datagrams are paired by [`Sealed`].

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use foldhash::HashSet;
use std::time::Duration;

use super::sealed::Sealed;
use crate::record::{BootTime, Hook, Record, Transport};

/// Maximum number of sends that wait for the end of their write.
const MAX_HELD: usize = 64;

/// Maximum number of writes whose ciphertext was not sent yet. A thread sends the
/// ciphertext of a few writes together.
const MAX_WRITES: usize = 256;

/// Maximum number of TLS objects that are known to send by themselves.
const MAX_DIRECT: usize = 16_384;

/// Time within which a send and its write belong together.
const PATIENCE: Duration = Duration::from_secs(1);

/// Maximum length of the plaintext in a record (RFC 8446 section 5.1).
const MAX_PLAIN: u32 = 1 << 14;

/// Length of a record header, and the type of records with application data.
const HEADER: usize = 5;
const APPLICATION_DATA: u8 = 23;

/// Overhead of an encrypted record over its plaintext: of AES-GCM in TLS 1.2, of
/// all ciphers in TLS 1.3, and of ChaCha20-Poly1305 in TLS 1.2.
const OVERHEADS: [u32; 3] = [8 + 16, 1 + 16, MIN_OVERHEAD];
const MIN_OVERHEAD: u32 = 16;

/// Pairs the sends and writes of all processes. It has bounded memory.
#[derive(Debug, Default)]
pub struct Pairing {
    /// Sends within a write that are not ciphertext, until the write ends.
    held: VecDeque<Record>,
    /// TLS objects that send within their writes.
    direct: HashSet<u64>,
    /// Writes of the other objects, the oldest first.
    writes: VecDeque<Write>,
    sealed: Sealed,
}

/// A write whose ciphertext was not sent yet.
#[derive(Debug)]
struct Write {
    tid: u32,
    key: u64,
    time: BootTime,
    /// Number of bytes that no record explained yet.
    left: u32,
    /// Set if its records can be shorter than it, although there is room for more.
    is_split: bool,
}

impl Pairing {
    /// Adds a record, and appends the records that are ready to `out`, in their
    /// order on each connection.
    pub fn push(&mut self, mut record: Record, out: &mut Vec<Record>) {
        match (record.connection.transport, record.within_tls) {
            (Transport::Tls, _) => {
                let held = self.take(|send| send.within_tls == Some(record.connection.key));
                if complete(held, &record, out) {
                    return;
                }
                self.note_write(&record);
            }
            (Transport::Tcp, Some(key)) => {
                self.note_direct(key);
                if record.offset == 0 && !record.payload.is_empty() && !begins_record(&record) {
                    if self.held.len() >= MAX_HELD {
                        out.extend(self.held.pop_front());
                    }
                    self.held.push_back(record);
                    return;
                }
                self.release(record.connection.key, out);
            }
            (Transport::Tcp, None) => {
                self.release(record.connection.key, out);
                record.within_tls = self.explain(&record);
            }
            (Transport::Udp, None) => return self.sealed.datagram(record, out),
            (Transport::Quic, _) if matches!(record.hook, Hook::AeadSeal | Hook::NssAead) => {
                return self.sealed.seal(record, out);
            }
            (Transport::Udp | Transport::Quic | Transport::Raw, _) => {}
        }
        out.push(record);
    }

    /// Appends the records that waited too long to `out`.
    pub fn expire(&mut self, now: BootTime, out: &mut Vec<Record>) {
        out.extend(self.take(|send| now.since(send.time) >= PATIENCE));
        self.forget_writes(now);
        self.sealed.expire(now, out);
    }

    /// Appends all records that wait to `out`.
    pub fn finish(&mut self, out: &mut Vec<Record>) {
        out.extend(self.held.drain(..));
        self.sealed.finish(out);
    }

    /// Releases the sends of a socket that wait, since another one follows them.
    fn release(&mut self, socket: u64, out: &mut Vec<Record>) {
        if !self.held.is_empty() {
            out.extend(self.take(|send| send.connection.key == socket));
        }
    }

    fn take(&mut self, wanted: impl Fn(&Record) -> bool) -> Vec<Record> {
        if self.held.is_empty() {
            return Vec::new();
        }
        let (taken, kept) = std::mem::take(&mut self.held).into_iter().partition(wanted);
        self.held = kept;
        Vec::from(taken)
    }

    fn note_direct(&mut self, key: u64) {
        if self.direct.len() >= MAX_DIRECT {
            // They are noted again with their next sends.
            self.direct.clear();
        }
        if self.direct.insert(key) {
            self.writes.retain(|write| write.key != key);
        }
    }

    fn note_write(&mut self, record: &Record) {
        let key = record.connection.key;
        let left = record.len.unwrap_or(0);
        if left == 0 || self.direct.contains(&key) {
            return;
        }
        self.forget_writes(record.time);
        if self.writes.len() >= MAX_WRITES {
            self.writes.pop_front();
        }
        self.writes.push_back(Write {
            tid: record.process.tid,
            key,
            time: record.time,
            left,
            is_split: record.hook == Hook::GoTls,
        });
    }

    fn forget_writes(&mut self, now: BootTime) {
        self.writes.retain(|write| now.since(write.time) < PATIENCE);
    }

    /// Returns the TLS object whose writes a send contains in encrypted form.
    fn explain(&mut self, send: &Record) -> Option<u64> {
        if self.writes.is_empty() || send.offset != 0 {
            return None;
        }
        self.forget_writes(send.time);
        let mut found = None;
        for len in application_records(&send.payload) {
            let mut writes = self.writes.iter_mut();
            let write = writes.find(|write| {
                let is_earlier = write.tid == send.process.tid && write.time <= send.time;
                is_earlier && found.is_none_or(|key| write.key == key) && write.fits(len)
            });
            if let Some(write) = write {
                found = Some(write.key);
                write.left -= write.plain(len);
            }
        }
        self.writes.retain(|write| write.left > 0);
        found
    }
}

impl Write {
    /// Reports whether an encrypted record of this length holds the next bytes.
    fn fits(&self, len: u32) -> bool {
        let plain = self.left.min(MAX_PLAIN);
        let is_whole = OVERHEADS.iter().any(|overhead| plain + overhead == len);
        is_whole || self.is_split && (MIN_OVERHEAD + 1..plain + MIN_OVERHEAD).contains(&len)
    }

    /// Returns the number of bytes that an encrypted record of this length holds, or a few more:
    /// a write must not explain records that are not its own.
    fn plain(&self, len: u32) -> u32 {
        let whole = self.left.min(MAX_PLAIN);
        match self.is_split {
            true => len.saturating_sub(MIN_OVERHEAD).min(whole),
            false => whole,
        }
    }
}

/// Appends the sends of a write to `out`: with the write's bytes if the sends are
/// copies of it, and otherwise as they are. Returns `true` if they are copies.
fn complete(mut sends: Vec<Record>, write: &Record, out: &mut Vec<Record>) -> bool {
    let is_copy = !sends.is_empty() && is_copy(&sends, write);
    if is_copy {
        let mut at = 0;
        for send in &mut sends {
            let len = send.len.unwrap_or(0) as usize;
            let end = (at + len).min(write.payload.len());
            if end - at > send.payload.len() {
                send.payload = write.payload.slice(at..end);
            }
            send.within_tls = None;
            at += len;
        }
    }
    out.append(&mut sends);
    is_copy
}

/// Reports whether the bytes of a write were sent unchanged, all of them.
fn is_copy(sends: &[Record], write: &Record) -> bool {
    let mut at = 0;
    for send in sends {
        let plain = write.payload.get(at..).unwrap_or_default();
        let compared = plain.len().min(send.payload.len());
        if compared == 0 || plain[..compared] != send.payload[..compared] {
            return false;
        }
        let Some(len) = send.len else {
            return false;
        };
        at += len as usize;
    }
    write.len.is_some_and(|len| at >= len as usize)
}

/// Reports whether a send begins with the header of a TLS record.
fn begins_record(send: &Record) -> bool {
    matches!(&send.payload[..], [20..=24, 3, ..])
}

/// Returns the lengths of the records with application data that a send begins
/// with, as far as its head shows them.
fn application_records(mut bytes: &[u8]) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        loop {
            let (&[kind, 3, _, high, low], _) = bytes.split_first_chunk::<HEADER>()? else {
                return None;
            };
            let len = u16::from_be_bytes([high, low]);
            bytes = bytes.get(HEADER + usize::from(len)..).unwrap_or_default();
            if kind == APPLICATION_DATA {
                return Some(len.into());
            }
        }
    })
}
