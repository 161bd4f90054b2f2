//! Packet captures: pcapng, and the classic pcap.
//!
//! ```text
//! file ─▶ blocks ─▶ Packet ─▶ link ─▶ Segment ─▶ flows ─▶ Record ─▶ pipeline
//!         (time,    (bytes)   (IP,    (ports,    (client?  (a send, at its
//!          options)            TCP)    seq)       order)    position)
//! ```
//!
//! | module | knows |
//! |---|---|
//! | `blocks` | both file formats, their clocks, and PCAPdroid's names of applications |
//! | `link` | link layers, IPv4, IPv6, TCP, UDP |
//! | `pdu` | plaintext that Wireshark or tracer wrote without packets around it |
//! | `flows`, `order` | which side is the client, and the order of what it sent |
//! | `tls` | what it sent in TLS, where the capture holds the keys |
//!
//! Only what clients sent becomes records. A capture names no processes, but
//! for PCAPdroid's; the rest is one unknown process's.

mod blocks;
mod flows;
mod link;
mod options;
mod order;
mod pdu;
#[cfg(test)]
mod tests;
mod tls;

use std::{collections::VecDeque, io::Read};

pub use self::blocks::is_capture;
use self::{
    blocks::{Blocks, Entry, Packet},
    flows::Flows,
    link::FrameError,
};
use super::format::link::UPPER_PDU;
use crate::{CLOCK, ReadError};
use tracer_core::{packages, record::Event};

/// What of a capture was read, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Packets.
    pub packets: u64,
    /// Packets in which nothing was to be read: no IP, or neither TCP nor UDP.
    pub others: u64,
    /// Packets of link types that are not known here.
    pub unknown_links: u64,
    /// Packets whose headers are cut or make no sense.
    pub malformed: u64,
    /// Fragments of IP packets, which are not put together, and the bytes in
    /// them.
    pub fragments: u64,
    /// See [`Counters::fragments`].
    pub fragment_bytes: u64,
    /// Packets that the capture itself says it lost.
    pub dropped: u64,
}

impl Counters {
    /// What was not read and should have been, for people.
    pub fn explain(&self) -> impl Iterator<Item = String> {
        let fragments = format!("fragments of IP packets ({} bytes)", self.fragment_bytes);
        [
            (self.dropped, "packets that the capture says it lost".to_owned()),
            (self.fragments, fragments),
            (self.unknown_links, "packets of link types that are not known".to_owned()),
            (self.malformed, "packets whose headers are cut or damaged".to_owned()),
        ]
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
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
    /// What ended the file early; told after what was read.
    end: Option<ReadError>,
}

impl<R: Read> Reader<R> {
    /// Reads from the file's beginning.
    pub fn new(from: R) -> Self {
        Self {
            blocks: Blocks::new(from),
            flows: Flows::default(),
            ready: VecDeque::from([Event::Clock(CLOCK)]),
            counters: Counters::default(),
            ended: false,
            end: None,
        }
    }

    /// The next event; `None` at the end.
    ///
    /// # Errors
    /// When the file cannot be read further. What was read before was given
    /// out before.
    pub fn event(&mut self) -> Result<Option<Event>, ReadError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.ended {
                return self.end.take().map_or(Ok(None), Err);
            }
            match self.blocks.next() {
                Ok(Some(entry)) => self.take(entry),
                end => {
                    self.ended = true;
                    self.end = end.err();
                    self.counters.dropped += self.blocks.dropped();
                    self.flows.finish(&mut self.ready);
                }
            }
        }
    }

    /// What was read so far; of a capture's own losses only at the end.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Packet(packet) => self.packet(packet),
            Entry::Secrets(log) => self.flows.keys(&log),
            Entry::Package { uid, name } => {
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
                None => self.counters.others += 1,
            }
            return;
        }
        match link::segment(link, &bytes, len) {
            Ok(segment) => self.flows.segment(segment, time, owner, &mut self.ready),
            Err(FrameError::OtherProtocol) => self.counters.others += 1,
            Err(FrameError::UnknownLink) => self.counters.unknown_links += 1,
            Err(FrameError::Malformed) => self.counters.malformed += 1,
            Err(FrameError::Fragment(bytes)) => {
                self.counters.fragments += 1;
                self.counters.fragment_bytes += bytes;
            }
        }
    }
}

/// Who sent, as PCAPdroid says it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Owner {
    uid: u32,
    /// The application's name for people, cut.
    name: String,
}
