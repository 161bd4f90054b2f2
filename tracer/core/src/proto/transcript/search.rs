//! Searches for the next message where framing does not show it.
//!
//! | place | a request needs | a response needs |
//! |---|---|---|
//! | other bytes | a request line at the start of a line and fields; or anywhere with `Host` | a status line at the start of a line, or a whole head anywhere |
//! | body of a request | a whole head with `Host` at the start of a line | a whole head with a field |
//! | body of a response | the same, behind an empty line or a separator, with line ends like those of other heads | the same as a request |
//!
//! The body of a response is the work of a server: a page about HTTP contains
//! requests as text. What looks like a request there and lacks something is
//! counted.

use memchr::memmem::Finder;

use super::shape::{HeadShape, is_separator, is_status_line};
use crate::proto::begins_with_request;

/// Maximum part of a line that is searched for a request line, from its end.
const MAX_LINE: usize = 256 << 10;

/// Methods by which a request is recognised within a line.
const METHODS: [&[u8]; 8] =
    [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"OPTIONS ", b"DELETE ", b"PATCH ", b"CONNECT "];

/// Maximum number of bytes of heads that are examined for each byte of the file.
const MAX_WORK: usize = 8;

/// The message to which the searched bytes belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Around {
    /// Neither a request nor a response.
    Other,
    /// The body of a request.
    Request,
    /// The body of a response.
    Response,
}

/// A search in a file.
pub(super) struct Search<'a> {
    bytes: &'a [u8],
    version: Finder<'static>,
    /// Number of bytes of heads that may still be examined.
    work: usize,
    /// Number of requests in bodies of responses that were not accepted.
    pub(super) doubtful: u64,
}

impl<'a> Search<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let work = bytes.len().saturating_mul(MAX_WORK).saturating_add(1 << 20);
        Self { bytes, version: Finder::new("HTTP/"), work, doubtful: 0 }
    }

    /// Returns the position of the next message from `from` on.
    pub(super) fn next(&mut self, from: usize, around: Around) -> Option<usize> {
        let mut at = from;
        loop {
            let found = at + self.version.find(self.bytes.get(at..)?)?;
            let before = self.bytes.get(at..found)?;
            let line = memchr::memrchr(b'\n', before).map_or(at, |end| at + end + 1);
            let rest = self.bytes.get(found..)?;
            let end = memchr::memchr(b'\n', rest).map_or(self.bytes.len(), |end| found + end + 1);
            if let Some(message) = self.in_line(line, end, from, around) {
                return Some(message);
            }
            at = end;
        }
    }

    /// Returns the position of a message that starts in a line.
    fn in_line(&mut self, start: usize, end: usize, from: usize, around: Around) -> Option<usize> {
        let rest = self.bytes.get(start..)?;
        // The first line may be the rest of one.
        let begins_line = start > from || start == 0 || self.bytes.get(start - 1) == Some(&b'\n');
        if begins_line && begins_with_request(rest) {
            let accepted = self.accepts_request(start, around);
            self.doubtful += u64::from(!accepted && around == Around::Response);
            return accepted.then_some(start);
        }
        if begins_line && is_status_line(rest) && self.accepts_response(start, around) {
            return Some(start);
        }
        let start = start.max(end.saturating_sub(MAX_LINE));
        let line = self.bytes.get(start..end)?;
        if let Some(request) = self.request_within(line, start) {
            match around {
                Around::Other => return Some(request),
                Around::Request => {}
                Around::Response => self.doubtful += 1,
            }
        }
        if around == Around::Response {
            return None;
        }
        let versions = memchr::memmem::find_iter(line, b"HTTP/").take(64);
        let mut responses = versions
            .map(|at| start + at)
            .filter(|&at| self.bytes.get(at..).is_some_and(is_status_line));
        let response = responses.next()?;
        self.head(response).is_some_and(|head| head.is_whole && head.fields > 0).then_some(response)
    }

    /// Returns the position of a request that starts within a line.
    fn request_within(&mut self, line: &[u8], start: usize) -> Option<usize> {
        let candidates = METHODS.iter().filter_map(|method| memchr::memmem::rfind(line, method));
        let at = candidates.max()?;
        let is_word = at > 0 && line.get(at - 1).is_some_and(u8::is_ascii_alphanumeric);
        let at = start + at;
        let begins = || self.bytes.get(at..).is_some_and(begins_with_request);
        if is_word || !begins() {
            return None;
        }
        self.head(at).is_some_and(|head| head.has_host && head.is_whole).then_some(at)
    }

    fn accepts_request(&mut self, at: usize, around: Around) -> bool {
        let Some(head) = self.head(at) else { return false };
        match around {
            Around::Other => true,
            Around::Request => head.is_whole && head.has_host,
            Around::Response => head.is_whole && head.has_host && self.stands_apart(at, &head),
        }
    }

    fn accepts_response(&mut self, at: usize, around: Around) -> bool {
        let Some(head) = self.head(at) else { return around == Around::Other };
        let is_whole = head.is_whole && head.fields > 0;
        match around {
            Around::Other => true,
            Around::Request => is_whole,
            Around::Response => is_whole && self.stands_apart(at, &head),
        }
    }

    /// Reports whether an empty line or a separator precedes a head, and whether
    /// its lines end like those of the first head in the file.
    fn stands_apart(&self, at: usize, head: &HeadShape) -> bool {
        let before = self.bytes.get(..at).unwrap_or_default();
        let before = before.strip_suffix(b"\n").unwrap_or(before);
        let last = memchr::memrchr(b'\n', before)
            .map_or(before, |end| before.get(end + 1..).unwrap_or_default());
        let first = memchr::memchr(b'\n', self.bytes).unwrap_or_default();
        let has_cr = first > 0 && self.bytes.get(first - 1) == Some(&b'\r');
        (last.trim_ascii().is_empty() || is_separator(last)) && has_cr == head.has_cr
    }

    /// Returns the shape of a head, as long as the work is bounded.
    fn head(&mut self, at: usize) -> Option<HeadShape> {
        let rest = self.bytes.get(at..).filter(|_| self.work > 0)?;
        let (head, examined) = HeadShape::examine(rest);
        self.work = self.work.saturating_sub(examined);
        head
    }
}
