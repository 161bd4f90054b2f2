//! Reads packet captures.
//!
//! ```text
//! file ─▶ blocks ─▶ Packet ─▶ link ─▶ Segment ─▶ flows ─▶ Record ─▶ pipeline
//!         (times,   (bytes)   (IP,    (ports,    (client,  (a send, at its
//!          options)            TCP)    seq)       order)    position)
//! ```
//!
//! | module | content |
//! |---|---|
//! | `blocks` | both file formats, their clocks, PCAPdroid's application names |
//! | `link` | link layers, tunnels, IPv4, IPv6, TCP, UDP |
//! | `pdu` | plaintext that Wireshark or tracer wrote without packets |
//! | `flows`, `reassembly` | the client of a connection, and the order of its bytes |
//! | `tls`, `quic` | decryption of what the client sent, if the capture contains the keys |
//!
//! Only the bytes that clients sent become records. Apart from PCAPdroid's,
//! captures do not name processes, and everything belongs to one unknown process.

mod blocks;
mod flows;
mod link;
mod options;
mod reassembly;
mod pdu;
mod quic;
#[cfg(test)]
mod tests;
mod tls;

use std::{
    collections::{BTreeMap, VecDeque},
    io::Read,
};

pub use self::{blocks::is_capture, link::Other};
use self::{
    blocks::{Blocks, Item, Packet},
    flows::Flows,
    link::FrameError,
    tls::KeyLog,
};
use super::format::link::UPPER_PDU;
use crate::{CLOCK, ReadError};
use tracer_core::wording::counted;
use tracer_core::{packages, record::Event};

/// Counts of what was read from a capture, and of what was not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Number of packets.
    pub packets: u64,
    /// Number of packets that contain something other than TCP or UDP over IP,
    /// by what it is.
    pub others: BTreeMap<Other, u64>,
    /// Number of packets that were taken out of tunnels, whose own headers are
    /// not decoded.
    pub tunnelled: u64,
    /// Number of packets that start with IP in a capture of Ethernet.
    pub without_link: u64,
    /// Number of packets whose headers are cut or invalid.
    pub malformed: u64,
    /// Number of fragments of IP packets, which are not reassembled.
    pub fragments: u64,
    /// Number of bytes in these fragments.
    pub fragment_bytes: u64,
    /// Number of packets that the capture reports as lost. Set at the end.
    pub dropped: u64,
}

impl Counters {
    /// Describes what could not be read, one line for each kind.
    pub fn explain(&self) -> impl Iterator<Item = String> {
        let fragments = format!(
            "not read: fragments of IP packets, with {}",
            counted(self.fragment_bytes, "byte")
        );
        let others =
            self.others.iter().map(|(other, &count)| (count, format!("not read: {other}")));
        [
            (self.dropped, "reported as lost by the capture".to_owned()),
            (self.fragments, fragments),
            (self.tunnelled, "in tunnels, read; the headers around them were skipped".to_owned()),
            (
                self.without_link,
                "without the Ethernet header that the file announces, read as IP; the sender's \
                 hardware address is not known"
                    .to_owned(),
            ),
            (self.malformed, "with cut or damaged headers".to_owned()),
        ]
        .into_iter()
        .chain(others)
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", counted(count, "packet")))
    }

    fn add(&mut self, other: Other) {
        *self.others.entry(other).or_default() += 1;
    }
}

/// Reads a capture.
#[derive(Debug)]
pub struct Reader<R> {
    blocks: Blocks<R>,
    flows: Flows,
    ready: VecDeque<Event>,
    counters: Counters,
    ended: bool,
    /// Error that ended the file, to be returned after everything before it.
    error: Option<ReadError>,
}

/// The TLS secrets of a capture.
#[derive(Debug, Default)]
pub struct Secrets(KeyLog);

impl Secrets {
    /// Collects the secrets of a whole file, which may follow the packets that they decrypt.
    /// What is behind damage is not read.
    pub fn collect(from: impl Read) -> Self {
        let mut secrets = Self::default();
        let mut blocks = Blocks::new(from);
        while let Ok(Some(item)) = blocks.next() {
            if let Item::Secrets(log) = item {
                secrets.0.read(&log);
            }
        }
        secrets
    }
}

impl<R: Read> Reader<R> {
    /// Creates a reader at the start of a file.
    pub fn new(from: R) -> Self {
        Self::with_secrets(from, Secrets::default())
    }

    /// Creates a reader that knows these secrets, and adds those of the file.
    pub fn with_secrets(from: R, Secrets(keys): Secrets) -> Self {
        Self {
            blocks: Blocks::new(from),
            flows: Flows::with_keys(keys),
            ready: VecDeque::from([Event::Clock(CLOCK)]),
            counters: Counters::default(),
            ended: false,
            error: None,
        }
    }

    /// Returns the next event, or `None` at the end.
    ///
    /// # Errors
    /// Returns an error if the rest of the file cannot be read. All events
    /// before the error have been returned then.
    pub fn event(&mut self) -> Result<Option<Event>, ReadError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.ended {
                return self.error.take().map_or(Ok(None), Err);
            }
            match self.blocks.next() {
                Ok(Some(item)) => self.item(item),
                end => {
                    self.ended = true;
                    self.error = end.err();
                    self.counters.dropped += self.blocks.dropped();
                    self.flows.finish(&mut self.ready);
                }
            }
        }
    }

    /// Returns the counts so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn item(&mut self, item: Item) {
        match item {
            Item::Packet(packet) => self.packet(packet),
            Item::Secrets(log) => self.flows.keys(&log),
            Item::Package { uid, name } => {
                if let Some(app) = packages::id_of(uid).filter(|_| packages::is_name(&name)) {
                    self.ready.push_back(Event::Packages { app, names: vec![name] });
                }
            }
        }
    }

    fn packet(&mut self, packet: Packet) {
        self.counters.packets += 1;
        let Packet { time, link, bytes, len, owner, transport } = packet;
        let owner = owner.or_else(|| link::owner(link, &bytes));
        if link == UPPER_PDU {
            match pdu::parse(&bytes, len, transport) {
                Some(pdu) => self.flows.pdu(&pdu, time, owner, &mut self.ready),
                None => self.counters.add(Other::Named("exported messages of other protocols")),
            }
            return;
        }
        match link::segment(link, &bytes, len) {
            Ok(segment) => {
                self.counters.tunnelled += u64::from(segment.around.tunnel);
                self.counters.without_link += u64::from(segment.around.no_link);
                self.flows.segment(segment, time, owner, &mut self.ready);
            }
            Err(FrameError::Other(other)) => self.counters.add(other),
            Err(FrameError::Malformed) => self.counters.malformed += 1,
            Err(FrameError::Fragment(bytes)) => {
                self.counters.fragments += 1;
                self.counters.fragment_bytes += bytes;
            }
        }
    }
}

/// The sender of a packet as PCAPdroid states it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    uid: u32,
    /// The application's display name, shortened.
    name: String,
}
