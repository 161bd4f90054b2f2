//! A request stream: a head, a body, and possibly trailers (RFC 9114 section 4.1).

use super::Counters;
use super::frame::{Event, FrameReader, FrameType};
use crate::proto::exchange::{Ending, Exchange};
use crate::proto::head::{Head, is_head};
use crate::proto::hpack::{End, Section};
use crate::proto::pieces::Pieces;
use crate::proto::qpack::{self, Decoded};
use crate::proto::{Field, Protocol, Request};
use crate::record::BootTime;

/// Maximum number of bytes kept per field section. Long URLs take tens of KiB.
const MAX_SECTION: usize = 1 << 20;

/// The state of a request stream.
#[derive(Debug)]
pub(super) struct RequestStream {
    since: BootTime,
    frames: FrameReader,
    /// The field section that is being received, or that waits for insertions.
    section: Option<Pieces>,
    /// Time since which the section waits.
    blocked: Option<BootTime>,
    /// The request, once its head is known.
    exchange: Option<Exchange>,
    /// Set at the start of a DATA frame.
    begins: bool,
}

/// The state that all request streams of a connection share.
pub(super) struct Shared<'a> {
    pub(super) qpack: &'a mut qpack::Decoder,
    pub(super) counters: &'a mut Counters,
    /// The `:authority` of the first request.
    pub(super) authority: &'a mut Option<(String, BootTime)>,
    /// Number of bytes that can be kept.
    pub(super) room: usize,
    pub(super) time: BootTime,
    pub(super) out: &'a mut Vec<Request>,
}

impl RequestStream {
    pub(super) fn new(since: BootTime) -> Self {
        Self {
            since,
            frames: FrameReader::default(),
            section: None,
            blocked: None,
            exchange: None,
            begins: false,
        }
    }

    /// Returns the time since which the stream waits for insertions.
    pub(super) fn blocked(&self) -> Option<BootTime> {
        self.blocked
    }

    /// Returns the number of bytes buffered.
    pub(super) fn buffered(&self) -> usize {
        self.section.as_ref().map_or(0, |section| section.data().len())
            + self.exchange.as_ref().map_or(0, Exchange::buffered)
    }

    /// Processes bytes until the stream is blocked. Returns the number of bytes
    /// processed.
    pub(super) fn data(&mut self, bytes: &[u8], shared: &mut Shared<'_>) -> usize {
        let mut rest = bytes;
        while self.blocked.is_none()
            && let Some(event) = self.frames.next(&mut rest)
        {
            self.event(event, shared);
        }
        bytes.len() - rest.len()
    }

    fn event(&mut self, event: Event<'_>, shared: &mut Shared<'_>) {
        match event {
            Event::Begins(FrameType::Headers, _) => self.section = Some(Pieces::default()),
            Event::Begins(FrameType::Data, _) => self.begins = true,
            Event::Begins(FrameType::WebTransport, header) => {
                shared.counters.webtransport_streams += 1;
                shared.counters.webtransport_bytes += header as u64;
            }
            Event::Begins(FrameType::Reserved, _) => {}
            Event::Begins(_, header) => {
                shared.counters.unknown_frames += 1;
                shared.counters.unread_bytes += header as u64;
            }
            Event::Data(FrameType::Headers, bytes) => {
                if let Some(section) = &mut self.section {
                    section.push(bytes, MAX_SECTION);
                }
            }
            Event::Data(FrameType::Data, bytes) => {
                let begins = std::mem::take(&mut self.begins);
                shared.counters.unread_bytes += match &mut self.exchange {
                    Some(exchange) => {
                        exchange.data(bytes, begins, shared.time, shared.room, shared.out)
                    }
                    None => bytes.len() as u64,
                };
            }
            Event::Data(FrameType::WebTransport, bytes) => {
                shared.counters.webtransport_bytes += bytes.len() as u64;
            }
            Event::Data(FrameType::Reserved, _) => {}
            Event::Data(_, bytes) | Event::Lost(bytes) => {
                shared.counters.unread_bytes += bytes.len() as u64;
            }
            Event::Ends(FrameType::Headers) => self.end_section(true, shared),
            Event::Ends(_) => {}
        }
    }

    /// Processes a gap.
    pub(super) fn gap(&mut self, len: u64, shared: &mut Shared<'_>) {
        let gap = self.frames.gap(len);
        let mut outside = len - gap.len;
        match (gap.kind, &mut self.section, &mut self.exchange) {
            (Some(FrameType::Headers), Some(section), _) => section.skip(Some(gap.len)),
            (Some(FrameType::Data), _, Some(exchange)) => {
                let before = exchange.unread();
                let counted = exchange.gap(Some(gap.len), shared.out);
                let unread = exchange.unread().saturating_sub(before).saturating_add(counted);
                // These bytes were never captured.
                shared.counters.missing_unread += unread - counted;
                outside = outside.saturating_add(unread);
            }
            _ => outside = len,
        }
        shared.counters.gaps_outside = shared.counters.gaps_outside.saturating_add(outside);
        if gap.loses_frames {
            self.lose(shared);
        }
    }

    /// Handles the loss of the position of the next frame.
    fn lose(&mut self, shared: &mut Shared<'_>) {
        self.frames.lose();
        if let Some(section) = &mut self.section {
            section.skip(None);
            self.end_section(false, shared);
        }
        if let Some(exchange) = &mut self.exchange {
            exchange.gap(None, shared.out);
        }
    }

    /// Decodes the section that waits. It keeps waiting only if `may_wait` is set.
    pub(super) fn unblock(&mut self, may_wait: bool, shared: &mut Shared<'_>) {
        if self.blocked.is_some() {
            self.end_section(may_wait, shared);
        }
    }

    /// Ends a field section: the head of a request, or its trailers.
    fn end_section(&mut self, may_wait: bool, shared: &mut Shared<'_>) {
        let Some(pieces) = self.section.take() else {
            return;
        };
        let section = match shared.qpack.decode(pieces.data(), pieces.gaps(), may_wait) {
            Decoded::Section(section) => section,
            Decoded::Blocked => {
                self.blocked.get_or_insert(shared.time);
                self.section = Some(pieces);
                return;
            }
        };
        self.blocked = None;
        let counters = &mut *shared.counters;
        match section.end {
            End::Complete => {}
            End::Cut => counters.cut_sections += 1,
            End::Invalid(_) => counters.invalid_sections += 1,
        }
        counters.dropped_fields += section.dropped;
        if let Some(exchange) = &mut self.exchange {
            exchange.trailers(section, pieces.unread());
        } else if may_be_head(&section) {
            self.open(section, pieces.unread(), shared);
        } else {
            // A response, or no HTTP/3.
            let known = pieces.data().len() as u64;
            counters.unread_bytes += known;
            counters.gaps_outside = counters.gaps_outside.saturating_add(pieces.unread());
            self.frames.lose();
        }
    }

    fn open(&mut self, section: Section, unread: u64, shared: &mut Shared<'_>) {
        let head = Head::new(Protocol::Http3, self.since, section, unread);
        if let Some(protocol) = head.protocol() {
            shared.counters.extended_connects += 1;
            shared.counters.webtransport_sessions += u64::from(is_webtransport(protocol));
        }
        if let (None, Some(authority)) = (&shared.authority, head.authority()) {
            *shared.authority = Some((authority.to_owned(), self.since));
        }
        self.exchange = Some(Exchange::new(head, shared.out));
    }

    /// Emits the known part of the request.
    pub(super) fn emit(&mut self, out: &mut Vec<Request>) {
        if let Some(exchange) = &mut self.exchange {
            exchange.emit(out);
        }
    }

    /// Ends the stream.
    pub(super) fn finish(mut self, ending: Ending, shared: &mut Shared<'_>) {
        if ending != Ending::Ended || !self.frames.is_at_boundary() {
            self.lose(shared);
        }
        if let Some(exchange) = self.exchange.take() {
            let counters = &mut *shared.counters;
            counters.unread_bytes = counters.unread_bytes.saturating_add(exchange.unread());
            let gaps = exchange.finish(ending, shared.out);
            counters.request_gaps = counters.request_gaps.saturating_add(gaps);
        }
    }
}

/// Reports whether a first section is the head of a request, as far as it is known.
/// Protocols other than HTTP/3 can look like frames.
fn may_be_head(section: &Section) -> bool {
    let is_response = |field: &Field| field.name.known() == ":status";
    let is_unknown = |field: &Field| field.name.whole().is_none();
    match section.end {
        End::Invalid(_) => false,
        _ if section.fields.iter().any(is_response) => false,
        End::Cut => true,
        End::Complete => is_head(&section.fields) || section.fields.iter().any(is_unknown),
    }
}

/// Reports whether the `:protocol` of an extended CONNECT is WebTransport's, in any
/// of its drafts.
fn is_webtransport(protocol: &[u8]) -> bool {
    protocol.starts_with(b"webtransport")
}
