//! The blocks of pcapng, and the packets of pcap.
//!
//! A pcapng file (draft-ietf-opsawg-pcapng) consists of sections, a section of
//! blocks. Each block starts and ends with its length. The first block of a
//! section shows its byte order.
//!
//! ```text
//! type u32 │ length u32 │ body, padded to 4 bytes │ length u32
//! ```
//!
//! | type | block | content read |
//! |---|---|---|
//! | `0x0A0D0D0A` | section header | byte order; starts a new list of interfaces |
//! | 1 | interface | link type, snap length, clock, name |
//! | 2 | packet (obsolete) | as 6 |
//! | 3 | simple packet | packet without a time |
//! | 5 | interface statistics | packets lost |
//! | 6 | enhanced packet | time, packet, comments |
//! | 10 | decryption secrets | TLS key log |
//! | `0x0BAD` | custom | PCAPdroid's package name of a UID |
//!
//! A pcap file (draft-ietf-opsawg-pcap) consists of a header and packets.
//!
//! ```text
//! magic │ version │ zone │ accuracy │ snap length │ link type     (24 bytes)
//! seconds │ µs or ns │ captured │ length │ packet                 (16 bytes and packet)
//! ```
//!
//! `pcap-parser` is not used: its readers drop the cause of I/O errors, and its
//! blocks ignore the byte order of 64-bit options and the obsolete packet block.

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

/// Magic numbers of pcap files with times in microseconds and in nanoseconds.
const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// Maximum length of a block. Wireshark writes no longer ones, so a longer one
/// is damaged.
const MAX_BLOCK: u32 = 16 << 20;

/// Maximum number of interfaces in a section. A file could list millions.
const MAX_INTERFACES: usize = 4096;

/// PCAPdroid's private enterprise number (IANA).
const PCAPDROID: u32 = 62652;

/// Reports whether a file starts like a capture.
pub fn is_capture(head: &[u8]) -> bool {
    let magic = |endian: Endian, at| endian.u32(head, at);
    [Endian::Little, Endian::Big].into_iter().any(|endian| {
        head.starts_with(&SECTION) && magic(endian, 8) == Some(BYTE_ORDER_MAGIC)
            || matches!(magic(endian, 0), Some(MICROSECONDS | NANOSECONDS))
    })
}

/// An item of a capture.
#[derive(Debug)]
pub(super) enum Item {
    Packet(Packet),
    /// A TLS key log.
    Secrets(Bytes),
    /// The package name of a UID.
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
    /// Length of the packet on the network.
    pub(super) len: u32,
    pub(super) owner: Option<Owner>,
    /// Transport that the name of the interface states, if tracer wrote it.
    pub(super) transport: Option<Transport>,
}

/// Reads the items of a file.
#[derive(Debug)]
pub(super) struct Blocks<R> {
    from: R,
    format: Option<Format>,
    /// Time of the last packet, used for packets without a time.
    last: BootTime,
    /// Number of packets that earlier sections lost.
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
    /// Number of packets that it lost so far.
    dropped: u64,
}

/// The clock of an interface.
#[derive(Debug, Clone, Copy)]
struct Ticks {
    /// `if_tsresol`: a negative power of ten, or of two if the highest bit is
    /// set.
    resolution: u8,
    /// `if_tsoffset`, in seconds.
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

    /// Returns the next item, or `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Item>, ReadError> {
        loop {
            let item = match self.format {
                None => {
                    self.start()?;
                    continue;
                }
                Some(Format::Pcap { endian, nanos, link }) => {
                    self.pcap_packet(endian, nanos, link)?
                }
                Some(Format::Pcapng { .. }) => match self.block()? {
                    Block::Item(item) => Some(*item),
                    Block::Skipped => continue,
                    Block::End => None,
                },
            };
            if let Some(Item::Packet(packet)) = &item {
                self.last = packet.time;
            }
            return Ok(item);
        }
    }

    /// Returns the number of packets that the capture reports as lost.
    pub(super) fn dropped(&self) -> u64 {
        let now = match &self.format {
            Some(Format::Pcapng { interfaces, .. }) => {
                interfaces.iter().map(|interface| interface.dropped).fold(0, u64::saturating_add)
            }
            _ => 0,
        };
        self.dropped.saturating_add(now)
    }

    /// Reads the start of the file.
    fn start(&mut self) -> Result<(), ReadError> {
        const NOT_CAPTURE: ReadError = ReadError::WrongFormat("this file is not a packet capture");
        let mut magic = [0; 4];
        if fill(&mut self.from, &mut magic)? < magic.len() {
            return Err(NOT_CAPTURE);
        }
        if magic == SECTION {
            return self.section();
        }
        let format = |endian: Endian| match endian.u32(&magic, 0) {
            Some(MICROSECONDS) => Some((endian, 1000)),
            Some(NANOSECONDS) => Some((endian, 1)),
            _ => None,
        };
        let (endian, nanos) =
            format(Endian::Little).or_else(|| format(Endian::Big)).ok_or(NOT_CAPTURE)?;
        let mut header = [0; 20];
        self.exactly(&mut header)?;
        // The upper half is the length of the frame checksum.
        let link = endian.u32(&header, 16).unwrap_or_default() as u16;
        self.format = Some(Format::Pcap { endian, nanos, link });
        Ok(())
    }

    /// Reads a section header after its type.
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

    /// Reads the rest of a block, of which `done` bytes have been read. Returns
    /// the body without the length at its end.
    fn body(&mut self, len: u32, done: u32, endian: Endian) -> Result<Bytes, ReadError> {
        if !(done + 4..=MAX_BLOCK).contains(&len) || !len.is_multiple_of(4) {
            return Err(damaged("a block has an impossible length"));
        }
        let mut body = read_exactly(&mut self.from, len - done)?;
        let end = body.len() - 4;
        if endian.u32(&body, end) != Some(len) {
            return Err(damaged("a block's two lengths differ"));
        }
        body.truncate(end);
        Ok(body.into())
    }

    fn block(&mut self) -> Result<Block, ReadError> {
        let mut start = [0; 4];
        match fill(&mut self.from, &mut start)? {
            0 => return Ok(Block::End),
            4 => {}
            _ => return Err(ReadError::Cut),
        }
        if start == SECTION {
            self.section()?;
            return Ok(Block::Skipped);
        }
        let Some(&Format::Pcapng { endian, .. }) = self.format.as_ref() else {
            return Ok(Block::End);
        };
        let kind = endian.u32(&start, 0).unwrap_or_default();
        self.exactly(&mut start)?;
        let len = endian.u32(&start, 0).unwrap_or_default();
        let body = self.body(len, 8, endian)?;
        let last = self.last;
        let Some(Format::Pcapng { interfaces, .. }) = &mut self.format else {
            return Ok(Block::End);
        };
        let item = match kind {
            block::INTERFACE => {
                let interface = interface(&body, endian).ok_or_else(cut_block)?;
                // Packets refer to interfaces by index, so none can be skipped.
                if interfaces.len() == MAX_INTERFACES {
                    return Err(damaged("a section has too many interfaces"));
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
        Ok(item.map_or(Block::Skipped, |item| Block::Item(Box::new(item))))
    }

    fn pcap_packet(
        &mut self,
        endian: Endian,
        nanos: u64,
        link: u16,
    ) -> Result<Option<Item>, ReadError> {
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
        let bytes = read_exactly(&mut self.from, captured)?;
        let time = u64::from(seconds) * 1_000_000_000 + u64::from(fraction) * nanos;
        let time = BootTime(time);
        let bytes = bytes.into();
        let len = len.max(captured);
        Ok(Some(Item::Packet(Packet { time, link, bytes, len, owner: None, transport: None })))
    }

    fn exactly(&mut self, buffer: &mut [u8]) -> Result<(), ReadError> {
        let read = fill(&mut self.from, buffer)?;
        if read < buffer.len() { Err(ReadError::Cut) } else { Ok(()) }
    }
}

/// Result of reading a block.
enum Block {
    Item(Box<Item>),
    Skipped,
    End,
}

fn damaged(what: &str) -> ReadError {
    ReadError::Damaged(what.to_owned())
}

fn cut_block() -> ReadError {
    damaged("a block is shorter than its content, or refers to a missing interface")
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

/// `interface u32 │ time u32, u32 │ captured u32 │ length u32 │ packet │ options`.
/// The obsolete block has 16 bits for the interface and 16 for lost packets.
fn enhanced(body: &Bytes, kind: u32, endian: Endian, interfaces: &mut [Interface]) -> Option<Item> {
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
            // Packets lost since the last one. Statistics include them.
            option::PACKET_DROPPED if kind == block::ENHANCED_PACKET => {
                let more = endian.number::<8>(value, 0).unwrap_or(0);
                interface.dropped = interface.dropped.saturating_add(more);
            }
            _ => {}
        }
    }
    Some(Item::Packet(Packet {
        time: interface.clock.time(ticks),
        link: interface.link,
        bytes: body.slice(20..end),
        len: len.max(captured as u32),
        owner,
        transport: interface.transport,
    }))
}

/// `length u32 │ packet`, of the section's first interface.
fn simple(body: &Bytes, endian: Endian, interfaces: &[Interface], time: BootTime) -> Option<Item> {
    let interface = interfaces.first()?;
    let len = endian.u32(body, 0)?;
    let captured = len.min(interface.snap) as usize;
    let end = captured.checked_add(4)?.min(body.len());
    Some(Item::Packet(Packet {
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
        // -1 means unknown.
        .filter(|&count| count != u64::MAX)
        .fold(0, u64::saturating_add);
    interface.dropped = interface.dropped.max(lost);
}

/// `type u32 │ length u32 │ secrets`.
fn secrets(body: &Bytes, endian: Endian) -> Option<Item> {
    /// `TLSK`.
    const TLS_KEYS: u32 = 0x544c_534b;
    let is_log = endian.u32(body, 0)? == TLS_KEYS;
    let end = 8_usize.checked_add(endian.u32(body, 4)? as usize)?;
    (is_log && end <= body.len()).then(|| Item::Secrets(body.slice(8..end)))
}

/// Parses PCAPdroid's comment on a packet: `u-10123`.
fn uid_comment(comment: &[u8]) -> Option<Owner> {
    let number = std::str::from_utf8(comment).ok()?.strip_prefix(UID_COMMENT)?;
    // -1 means that PCAPdroid does not know the sender.
    let uid = number.parse().ok()?;
    Some(Owner { uid, name: String::new() })
}

/// Parses PCAPdroid's block: `enterprise u32 │ version u16 │ type u8 │ 0 u8 │ UID u32 │
/// lengths u8, u8 │ package │ name`.
fn package(body: &[u8], endian: Endian) -> Option<Item> {
    const UID_MAP: u8 = 1;
    if endian.u32(body, 0)? != PCAPDROID || *body.get(6)? != UID_MAP {
        return None;
    }
    let uid = endian.u32(body, 8)?;
    let len = usize::from(*body.get(12)?);
    let name = std::str::from_utf8(body.get(14..14 + len)?).ok()?.to_owned();
    Some(Item::Package { uid, name })
}

/// Reads this many bytes.
fn read_exactly(from: &mut impl Read, len: u32) -> Result<Vec<u8>, ReadError> {
    /// Longer data gets its memory while it is read, since a length may be a lie.
    const MAX_TRUSTED: u32 = 256 << 10;
    let mut bytes = Vec::new();
    if len <= MAX_TRUSTED {
        bytes.resize(len as usize, 0);
        let read = fill(from, &mut bytes)?;
        bytes.truncate(read);
    } else {
        from.take(len.into()).read_to_end(&mut bytes)?;
    }
    if bytes.len() < len as usize { Err(ReadError::Cut) } else { Ok(bytes) }
}

/// Reads until the buffer is full or the file ends. Returns the number of bytes
/// read.
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
