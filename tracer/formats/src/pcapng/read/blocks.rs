//! The two file formats.
//!
//! pcapng (draft-ietf-opsawg-pcapng): sections of blocks, each framed by its
//! length. The first block of a section shows its byte order.
//!
//! ```text
//! type u32 │ length u32 │ body, padded to 4 bytes │ length u32
//! ```
//!
//! | type | block | what is read |
//! |---|---|---|
//! | `0x0A0D0D0A` | section header | byte order; forgets the interfaces |
//! | 1 | interface | link type, snap length, clock, name |
//! | 2 | packet (obsolete) | as 6 |
//! | 3 | simple packet | a packet without a time |
//! | 5 | interface statistics | packets lost |
//! | 6 | enhanced packet | time, packet, comments |
//! | 10 | decryption secrets | keys of TLS, as clients log them |
//! | `0x0BAD` | custom | PCAPdroid's: which UID is which package |
//!
//! pcap (draft-ietf-opsawg-pcap): one header, then packets.
//!
//! ```text
//! magic │ version │ zone │ accuracy │ snap length │ link type     (24 bytes)
//! seconds │ µs or ns │ captured │ length │ packet                 (16 bytes and packet)
//! ```

use std::io::Read;

use bytes::Bytes;

use super::{
    super::format::{
        BYTE_ORDER_MAGIC, CLEAR_INTERFACE, PLAINTEXT_INTERFACE, UID_COMMENT, block, option,
    },
    Owner,
    options::{Endian, Options},
};
use crate::ReadError;
use tracer_core::record::{BootTime, Transport};

/// Type of a section header, as bytes.
const SECTION: [u8; 4] = block::SECTION_HEADER.to_be_bytes();

/// The classic format's magics: times in microseconds, and in nanoseconds.
const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// The largest block: Wireshark writes none beyond, and damaged lengths are.
const MAX_BLOCK: u32 = 16 << 20;

/// Interfaces of a section. Each costs some bytes, and a file can name millions.
const MAX_INTERFACES: usize = 4096;

/// PCAPdroid's number among the private enterprises (IANA).
const PCAPDROID: u32 = 62652;

/// Reports whether a file starts like a capture.
pub fn is_capture(head: &[u8]) -> bool {
    let magic = |endian: Endian, at| endian.u32(head, at);
    [Endian::Little, Endian::Big].into_iter().any(|endian| {
        head.starts_with(&SECTION) && magic(endian, 8) == Some(BYTE_ORDER_MAGIC)
            || matches!(magic(endian, 0), Some(MICROSECONDS | NANOSECONDS))
    })
}

/// Something in a capture.
#[derive(Debug)]
pub(super) enum Entry {
    Packet(Packet),
    /// A log of keys.
    Secrets(Bytes),
    /// The package that a UID is of.
    Package {
        uid: u32,
        name: String,
    },
}

/// A packet.
#[derive(Debug)]
pub(super) struct Packet {
    pub(super) time: BootTime,
    pub(super) link: u16,
    pub(super) bytes: Bytes,
    /// How long it was.
    pub(super) len: u32,
    pub(super) owner: Option<Owner>,
    /// What its interface, one of tracer's own, says of it.
    pub(super) transport: Option<Transport>,
}

/// Reads a file block by block.
#[derive(Debug)]
pub(super) struct Blocks<R> {
    from: R,
    format: Option<Format>,
    /// The last packet's time, for those that have none.
    last: BootTime,
    /// Packets lost in earlier sections, and without statistics.
    dropped: u64,
}

#[derive(Debug)]
enum Format {
    Pcapng { endian: Endian, interfaces: Vec<Interface> },
    Pcap { endian: Endian, nanos: u64, link: u16 },
}

#[derive(Debug)]
struct Interface {
    link: u16,
    snap: u32,
    clock: Ticks,
    transport: Option<Transport>,
    /// Packets it lost so far: statistics replace each other.
    dropped: u64,
}

/// An interface's clock.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    /// `if_tsresol`: a power of ten, or of two where the highest bit is set.
    resolution: u8,
    /// `if_tsoffset`: seconds to add.
    offset: i64,
}

impl Ticks {
    fn time(self, ticks: u64) -> BootTime {
        const SECOND: u128 = 1_000_000_000;
        let ticks = u128::from(ticks);
        let power = u32::from(self.resolution & 0x7f);
        let nanos = match (self.resolution & 0x80 != 0, power) {
            (true, power) => (ticks * SECOND) >> power.min(127),
            (false, 0..=9) => ticks * 10_u128.pow(9 - power),
            (false, 10..=38) => ticks / 10_u128.pow(power - 9),
            (false, _) => 0,
        };
        let offset = i128::from(self.offset) * SECOND as i128;
        let nanos = i128::try_from(nanos).unwrap_or(i128::MAX).saturating_add(offset);
        BootTime(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
    }
}

impl<R: Read> Blocks<R> {
    pub(super) fn new(from: R) -> Self {
        Self { from, format: None, last: BootTime::default(), dropped: 0 }
    }

    /// The next entry; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, ReadError> {
        loop {
            let entry = match self.format {
                None => {
                    self.begin()?;
                    continue;
                }
                Some(Format::Pcap { endian, nanos, link }) => self.classic(endian, nanos, link)?,
                Some(Format::Pcapng { .. }) => match self.block()? {
                    Found::Entry(entry) => Some(*entry),
                    Found::Nothing => continue,
                    Found::End => None,
                },
            };
            if let Some(Entry::Packet(packet)) = &entry {
                self.last = packet.time;
            }
            return Ok(entry);
        }
    }

    /// Packets that the capture says it lost.
    pub(super) fn dropped(&self) -> u64 {
        let now = match &self.format {
            Some(Format::Pcapng { interfaces, .. }) => {
                interfaces.iter().map(|interface| interface.dropped).fold(0, u64::saturating_add)
            }
            _ => 0,
        };
        self.dropped.saturating_add(now)
    }

    /// Finds the format.
    fn begin(&mut self) -> Result<(), ReadError> {
        const NONE: ReadError = ReadError::WrongFormat("this is no packet capture");
        let mut magic = [0; 4];
        if fill(&mut self.from, &mut magic)? < magic.len() {
            return Err(NONE);
        }
        if magic == SECTION {
            return self.section();
        }
        let is = |endian: Endian| match endian.u32(&magic, 0) {
            Some(MICROSECONDS) => Some((endian, 1000)),
            Some(NANOSECONDS) => Some((endian, 1)),
            _ => None,
        };
        let (endian, nanos) = is(Endian::Little).or_else(|| is(Endian::Big)).ok_or(NONE)?;
        let mut header = [0; 20];
        self.exactly(&mut header)?;
        // The upper half says how long a frame's checksum is.
        let link = endian.u32(&header, 16).unwrap_or_default() as u16;
        self.format = Some(Format::Pcap { endian, nanos, link });
        Ok(())
    }

    /// Reads a section header behind its type.
    fn section(&mut self) -> Result<(), ReadError> {
        let mut start = [0; 8];
        self.exactly(&mut start)?;
        let orders = [Endian::Little, Endian::Big];
        let endian =
            orders.into_iter().find(|order| order.u32(&start, 4) == Some(BYTE_ORDER_MAGIC));
        let endian = endian.ok_or_else(|| damaged("a section has no byte order"))?;
        let len = endian.u32(&start, 0).unwrap_or_default();
        self.body(len, 12, endian)?;
        self.dropped = self.dropped();
        self.format = Some(Format::Pcapng { endian, interfaces: Vec::new() });
        Ok(())
    }

    /// The rest of a block of which `done` bytes were read: its body without
    /// the length at its end.
    fn body(&mut self, len: u32, done: u32, endian: Endian) -> Result<Bytes, ReadError> {
        if !(done + 4..=MAX_BLOCK).contains(&len) || !len.is_multiple_of(4) {
            return Err(damaged("a block has an impossible length"));
        }
        let mut body = Vec::new();
        let rest = u64::from(len - done);
        self.from.by_ref().take(rest).read_to_end(&mut body)?;
        if (body.len() as u64) < rest {
            return Err(ReadError::Cut);
        }
        let end = body.len() - 4;
        if endian.u32(&body, end) != Some(len) {
            return Err(damaged("a block's two lengths differ"));
        }
        body.truncate(end);
        Ok(body.into())
    }

    fn block(&mut self) -> Result<Found, ReadError> {
        let mut start = [0; 4];
        match fill(&mut self.from, &mut start)? {
            0 => return Ok(Found::End),
            4 => {}
            _ => return Err(ReadError::Cut),
        }
        if start == SECTION {
            self.section()?;
            return Ok(Found::Nothing);
        }
        let Some(&Format::Pcapng { endian, .. }) = self.format.as_ref() else {
            return Ok(Found::End);
        };
        let kind = endian.u32(&start, 0).unwrap_or_default();
        self.exactly(&mut start)?;
        let len = endian.u32(&start, 0).unwrap_or_default();
        let body = self.body(len, 8, endian)?;
        let last = self.last;
        let Some(Format::Pcapng { interfaces, .. }) = &mut self.format else {
            return Ok(Found::End);
        };
        let entry = match kind {
            block::INTERFACE => {
                let interface = interface(&body, endian).ok_or_else(cut_block)?;
                // Their numbers are their places: none may be left out.
                if interfaces.len() == MAX_INTERFACES {
                    return Err(damaged("it has too many interfaces"));
                }
                interfaces.push(interface);
                None
            }
            block::PACKET | block::ENHANCED_PACKET => {
                Some(enhanced(&body, kind, endian, interfaces).ok_or_else(cut_block)?)
            }
            block::SIMPLE_PACKET => {
                Some(simple(&body, endian, interfaces, last).ok_or_else(cut_block)?)
            }
            block::INTERFACE_STATISTICS => {
                statistics(&body, endian, interfaces);
                None
            }
            block::DECRYPTION_SECRETS => secrets(&body, endian),
            kind if block::CUSTOM.contains(&kind) => package(&body, endian),
            _ => None,
        };
        Ok(entry.map_or(Found::Nothing, |entry| Found::Entry(Box::new(entry))))
    }

    fn classic(
        &mut self,
        endian: Endian,
        nanos: u64,
        link: u16,
    ) -> Result<Option<Entry>, ReadError> {
        let mut header = [0; 16];
        match fill(&mut self.from, &mut header)? {
            0 => return Ok(None),
            16 => {}
            _ => return Err(ReadError::Cut),
        }
        let [seconds, fraction, captured, len] =
            [0, 4, 8, 12].map(|at| endian.u32(&header, at).unwrap_or_default());
        if captured > MAX_BLOCK {
            return Err(damaged("a packet has an impossible length"));
        }
        let mut bytes = Vec::new();
        self.from.by_ref().take(captured.into()).read_to_end(&mut bytes)?;
        if bytes.len() < captured as usize {
            return Err(ReadError::Cut);
        }
        let time = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * nanos;
        let time = BootTime(time);
        let bytes = bytes.into();
        let len = len.max(captured);
        Ok(Some(Entry::Packet(Packet { time, link, bytes, len, owner: None, transport: None })))
    }

    fn exactly(&mut self, buffer: &mut [u8]) -> Result<(), ReadError> {
        let read = fill(&mut self.from, buffer)?;
        if read < buffer.len() { Err(ReadError::Cut) } else { Ok(()) }
    }
}

/// What a block was.
enum Found {
    Entry(Box<Entry>),
    Nothing,
    End,
}

fn damaged(what: &str) -> ReadError {
    ReadError::Damaged(what.to_owned())
}

fn cut_block() -> ReadError {
    damaged("a block is shorter than its contents, or names no interface")
}

/// `link type u16 │ 0 u16 │ snap length u32 │ options`.
fn interface(body: &[u8], endian: Endian) -> Option<Interface> {
    let snap = endian.u32(body, 4)?;
    let mut interface = Interface {
        link: endian.u16(body, 0)?,
        snap: if snap == 0 { u32::MAX } else { snap },
        clock: Ticks { resolution: 6, offset: 0 },
        transport: None,
        dropped: 0,
    };
    for (code, value) in Options::new(body.get(8..).unwrap_or_default(), endian) {
        match code {
            option::INTERFACE_NAME if value.starts_with(PLAINTEXT_INTERFACE.as_bytes()) => {
                interface.transport = Some(Transport::Tls);
            }
            option::INTERFACE_NAME if value.starts_with(CLEAR_INTERFACE.as_bytes()) => {
                interface.transport = Some(Transport::Tcp);
            }
            option::INTERFACE_RESOLUTION => {
                interface.clock.resolution = value.first().copied().unwrap_or(6)
            }
            option::INTERFACE_OFFSET => {
                interface.clock.offset =
                    endian.number::<8>(value, 0).unwrap_or_default().cast_signed();
            }
            _ => {}
        }
    }
    Some(interface)
}

/// `interface u32 │ time u32, u32 │ captured u32 │ length u32 │ packet │ options`;
/// the obsolete one has 16 bits for the interface and 16 for losses.
fn enhanced(
    body: &Bytes,
    kind: u32,
    endian: Endian,
    interfaces: &mut [Interface],
) -> Option<Entry> {
    let number = match kind {
        block::PACKET => endian.u16(body, 0)?.into(),
        _ => endian.u32(body, 0)?,
    };
    let interface = interfaces.get_mut(usize::try_from(number).ok()?)?;
    let ticks = u64::from(endian.u32(body, 4)?) << 32 | u64::from(endian.u32(body, 8)?);
    let captured = usize::try_from(endian.u32(body, 12)?).ok()?;
    let len = endian.u32(body, 16)?;
    let end = 20_usize.checked_add(captured)?;
    if end > body.len() {
        return None;
    }
    let mut owner = None;
    let options = body.get(end.next_multiple_of(4)..).unwrap_or_default();
    for (code, value) in Options::new(options, endian) {
        match code {
            option::COMMENT => owner = owner.or_else(|| uid_comment(value)),
            // Lost since the last packet; statistics count the same again.
            option::PACKET_DROPPED if kind == block::ENHANCED_PACKET => {
                let more = endian.number::<8>(value, 0).unwrap_or(0);
                interface.dropped = interface.dropped.saturating_add(more);
            }
            _ => {}
        }
    }
    Some(Entry::Packet(Packet {
        time: interface.clock.time(ticks),
        link: interface.link,
        bytes: body.slice(20..end),
        len: len.max(captured as u32),
        owner,
        transport: interface.transport,
    }))
}

/// `length u32 │ packet`: of the section's first interface, and without a time.
fn simple(body: &Bytes, endian: Endian, interfaces: &[Interface], time: BootTime) -> Option<Entry> {
    let interface = interfaces.first()?;
    let len = endian.u32(body, 0)?;
    let captured = len.min(interface.snap) as usize;
    let end = captured.checked_add(4)?.min(body.len());
    Some(Entry::Packet(Packet {
        time,
        link: interface.link,
        bytes: body.slice(4..end),
        len,
        owner: None,
        transport: interface.transport,
    }))
}

/// `interface u32 │ time u32, u32 │ options`.
fn statistics(body: &[u8], endian: Endian, interfaces: &mut [Interface]) {
    let number = endian.u32(body, 0).and_then(|number| usize::try_from(number).ok());
    let Some(interface) = number.and_then(|number| interfaces.get_mut(number)) else {
        return;
    };
    let lost: u64 = Options::new(body.get(12..).unwrap_or_default(), endian)
        .filter(|(code, _)| {
            matches!(*code, option::STATISTICS_DROPPED | option::STATISTICS_DROPPED_BY_SYSTEM)
        })
        .filter_map(|(_, value)| endian.number::<8>(value, 0))
        // -1: not known.
        .filter(|&count| count != u64::MAX)
        .fold(0, u64::saturating_add);
    interface.dropped = interface.dropped.max(lost);
}

/// `type u32 │ length u32 │ secrets`.
fn secrets(body: &Bytes, endian: Endian) -> Option<Entry> {
    /// A log of TLS keys: `TLSK`.
    const TLS_KEYS: u32 = 0x544c_534b;
    let is_log = endian.u32(body, 0)? == TLS_KEYS;
    let end = 8_usize.checked_add(endian.u32(body, 4)? as usize)?;
    (is_log && end <= body.len()).then(|| Entry::Secrets(body.slice(8..end)))
}

/// PCAPdroid's comment on a packet: `u-10123`.
fn uid_comment(comment: &[u8]) -> Option<Owner> {
    let number = std::str::from_utf8(comment).ok()?.strip_prefix(UID_COMMENT)?;
    // -1: it does not know either.
    let uid = number.parse().ok()?;
    Some(Owner { uid, name: String::new() })
}

/// PCAPdroid's block: `enterprise u32 │ version u16 │ type u8 │ 0 u8 │ UID u32 │
/// lengths u8, u8 │ package │ name`.
fn package(body: &[u8], endian: Endian) -> Option<Entry> {
    const UID_MAP: u8 = 1;
    if endian.u32(body, 0)? != PCAPDROID || *body.get(6)? != UID_MAP {
        return None;
    }
    let uid = endian.u32(body, 8)?;
    let len = usize::from(*body.get(12)?);
    let name = std::str::from_utf8(body.get(14..14 + len)?).ok()?.to_owned();
    Some(Entry::Package { uid, name })
}

/// Reads until the buffer is full or the file ends; returns how much.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> Result<usize, ReadError> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match from.read(room) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(err) if err.kind() == std::io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err.into()),
        }
    }
    Ok(filled)
}
