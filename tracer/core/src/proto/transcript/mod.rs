//! Requests in a file of raw messages, as proxies and sniffers save them.
//!
//! ```text
//! request │ response │ separator │ request │ other bytes │ request …
//! ```
//!
//! A file may contain both sides of a connection, messages of several
//! connections, and lines between them. Requests and responses are followed by
//! their framing, so that the text of a body is not taken for a request. Where
//! the framing fails, because a tool has decompressed or left out a body, the
//! next message must show more: see [`search`].

mod pseudo;
mod response;
mod search;
mod shape;
#[cfg(test)]
mod tests;

use self::{
    search::{Around, Search},
    shape::{HeadShape, is_separator},
};
use super::{
    Message, Request,
    decoder::{Decoder, Limits},
    detect::{self, Detected},
    http1::{Next, Progress, Remaining, RequestReader, lines},
};
use crate::{
    record::BootTime,
    stream::{Chunk, StreamParser as _},
};

/// The requests of a file, and what else it contains.
#[derive(Debug, Default)]
pub struct Transcript {
    /// The requests, in the order of the file.
    pub requests: Vec<Request>,
    /// Number of bytes that belong neither to a request nor to a response, and
    /// do not merely separate them.
    pub unrecognised: u64,
    /// Number of places within the bodies of responses that look like requests,
    /// and may be text.
    pub doubtful: u64,
}

/// Reads the requests of a file.
pub fn parse_transcript(bytes: &[u8]) -> Transcript {
    // Streams of these protocols are not text.
    if matches!(detect::detect(bytes), Detected::Http2 | Detected::Tls) {
        let (requests, unread) = super::parse_http1(bytes);
        return Transcript { requests, unrecognised: unread.bytes(), doubtful: 0 };
    }
    let rewritten = pseudo::rewrite(bytes);
    let bytes = rewritten.as_deref().unwrap_or(bytes);
    let mut reader = Reader {
        bytes,
        at: bytes.strip_prefix(b"\xef\xbb\xbf").map_or(0, |_| 3),
        // The start of the file is where a message starts.
        place: Place::Message,
        method: None,
        search: Search::new(bytes),
        transcript: Transcript::default(),
    };
    while reader.step() {}
    reader.transcript.doubtful = reader.search.doubtful;
    reader.transcript
}

/// The part of the file to which the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The start of a message, according to the framing of the one before.
    Message,
    /// Unknown, behind a message or other bytes.
    Behind(Around),
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    place: Place,
    /// Method of the last request.
    method: Option<String>,
    search: Search<'a>,
    transcript: Transcript,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    /// Reads the next message, or skips other bytes. Returns `false` at the end.
    fn step(&mut self) -> bool {
        self.at += self.rest().iter().take_while(|&&b| matches!(b, b'\r' | b'\n')).count();
        let rest = self.rest();
        if rest.is_empty() {
            return false;
        }
        if self.place == Place::Message {
            if shape::is_status_line(rest) {
                self.response();
                return true;
            }
            match detect::detect(rest) {
                Detected::Http1 if self.request() => return true,
                Detected::Http2 => {
                    self.decode([rest]);
                    return false;
                }
                _ => {}
            }
        }
        // No message starts at a place where one could.
        let (from, around) = match self.place {
            Place::Message => (self.at + 1, Around::Other),
            Place::Behind(around) => (self.at, around),
        };
        let next = self.search.next(from, around).unwrap_or(self.bytes.len());
        if around != Around::Response {
            let skipped = self.bytes.get(self.at..next).unwrap_or_default();
            self.transcript.unrecognised += unrecognised(skipped);
        }
        self.at = next;
        self.place = Place::Message;
        true
    }

    /// Moves behind a response.
    fn response(&mut self) {
        let rest = self.rest();
        let Some(head) = HeadShape::parse(rest) else {
            // A status line alone, or with something else behind it.
            let line = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
            self.at += line;
            self.place = Place::Behind(Around::Other);
            return;
        };
        let body = self.at + head.len;
        let end = response::body_len(rest, &head, self.method.as_deref())
            .and_then(|len| body.checked_add(len))
            .filter(|&end| end <= self.bytes.len());
        match end {
            Some(end) => self.leave(end, Around::Response),
            None => {
                self.at = body;
                self.place = Place::Behind(Around::Response);
            }
        }
    }

    /// Moves to the end of a message. Unless the bytes there confirm that it is
    /// the end, the message may go on.
    fn leave(&mut self, end: usize, around: Around) {
        self.at = end;
        let is_end = shape::starts_message(self.rest()) || self.is_separated();
        self.place = if is_end { Place::Message } else { Place::Behind(around) };
    }

    /// Reports whether nothing, or nothing but separators, precedes the next
    /// message.
    fn is_separated(&self) -> bool {
        let mut rest = lines(self.rest()).map(|(line, _)| line);
        match rest.find(|line| !line.is_empty() && !is_separator(line)) {
            None => true,
            Some(line) => shape::starts_message_in_line(line),
        }
    }

    /// Reads a request. Returns `false` if the bytes are not a request.
    fn request(&mut self) -> bool {
        let start = self.at;
        let mut reader = RequestReader::in_file(Limits::default().body);
        let (used, mut progress) = reader.data(self.rest(), false);
        let mut end = start + used;
        if let (Progress::More, Some(remaining)) = (&progress, reader.remaining()) {
            let (from, to) = self.body(start, end, remaining, &mut reader);
            let body = self.bytes.get(from..to).unwrap_or_default();
            let (used, after) = reader.data(body, false);
            progress = after;
            end = from + used;
        }
        let Ok(Some(request)) = reader.finish() else {
            return false;
        };
        self.method.clone_from(&request.method);
        self.at = end;
        if progress == Progress::Done(Next::Upgraded) && self.websocket(start, end) {
            return true;
        }
        self.transcript.requests.push(request);
        match progress {
            Progress::Done(Next::Lost { .. }) => self.place = Place::Behind(Around::Request),
            Progress::Done(Next::Tunnel) => self.place = Place::Message,
            _ => self.leave(end, Around::Other),
        }
        true
    }

    /// Returns the bytes that belong to a body that starts at `from`, or that
    /// are its start, and declares the length if the head does not.
    fn body(
        &mut self,
        head: usize,
        from: usize,
        remaining: Remaining,
        reader: &mut RequestReader,
    ) -> (usize, usize) {
        let all = self.bytes.len();
        let rest = self.bytes.get(from..).unwrap_or_default();
        let from = match remaining {
            // The server's permission stands between head and body.
            Remaining::Continued if shape::is_status_line(rest) => {
                from + HeadShape::parse(rest).map_or(0, |head| head.len)
            }
            // The tool has left out the body.
            Remaining::Length(_) | Remaining::Chunked if shape::is_response(rest) => {
                return (from, from);
            }
            _ => from,
        };
        let len = match remaining {
            Remaining::Chunked => return (from, all),
            Remaining::Length(len) => usize::try_from(len).ok(),
            Remaining::Continued => return (from, all),
            Remaining::Undeclared => None,
        };
        let Some(len) = len else {
            let to = self.search.next(from, Around::Request).unwrap_or(all);
            let known = self.bytes.get(from..to).unwrap_or_default();
            let to = from + trimmed(known).len();
            reader.set_body_len((to - from) as u64);
            return (from, to);
        };
        match from.checked_add(len).filter(|&end| end <= all) {
            // The body was cut, and other messages follow, or the file ends.
            None => (from, self.search.next(from, Around::Request).unwrap_or(all)),
            Some(end) => {
                let to = self.shortened(head, from, end);
                if to < end {
                    reader.set_body_len((to - from) as u64);
                }
                (from, to)
            }
        }
    }

    /// Returns the end of a body whose declared end is within another message
    /// because a tool has replaced each CRLF by LF.
    fn shortened(&mut self, head: usize, from: usize, end: usize) -> usize {
        let has_cr = self.bytes.get(head..from).is_none_or(|head| head.contains(&b'\r'));
        let body = self.bytes.get(from..end).unwrap_or_default();
        let behind = self.bytes.get(end..).unwrap_or_default();
        if has_cr || behind.is_empty() || behind.starts_with(b"\n") || shape::starts_message(behind)
        {
            return end;
        }
        let lost = memchr::memchr_iter(b'\n', body).count();
        let near = end.saturating_sub(lost).max(from);
        match self.search.next(near, Around::Request) {
            Some(next) if next < end => {
                from + trimmed(self.bytes.get(from..next).unwrap_or_default()).len()
            }
            _ => end,
        }
    }

    /// Reads the messages of a WebSocket behind its handshake. Returns `false` if
    /// there are none.
    fn websocket(&mut self, start: usize, end: usize) -> bool {
        let rest = self.rest();
        let frames = match HeadShape::parse(rest).filter(|_| shape::is_status_line(rest)) {
            Some(head) if rest.get(9..12) == Some(b"101") => end + head.len,
            Some(_) => return false,
            None if self.is_separated() => return false,
            None => end,
        };
        let part = |range| self.bytes.get(range).unwrap_or_default();
        self.decode([part(start..end), part(frames..self.bytes.len())]);
        self.at = self.bytes.len();
        true
    }

    /// Decodes parts of the file as what one connection sent.
    fn decode<const N: usize>(&mut self, parts: [&[u8]; N]) {
        let mut decoder = Decoder::new(Limits::default(), BootTime::default());
        let mut messages = Vec::new();
        for bytes in parts {
            let chunk = Chunk::Data { bytes, begins_send: true };
            decoder.chunk(chunk, BootTime::default(), &mut messages);
        }
        decoder.end(&mut messages);
        for message in messages {
            match message {
                Message::Request(request) => self.transcript.requests.push(request),
                Message::Name(_) => {}
                Message::Ended(traffic) => {
                    self.transcript.unrecognised += traffic.unread.bytes();
                }
            }
        }
    }
}

/// Returns the number of bytes in lines that are neither empty nor separators.
fn unrecognised(bytes: &[u8]) -> u64 {
    let known = |line: &[u8]| line.is_empty() || is_separator(line);
    lines(bytes).filter(|(line, _)| !known(line)).map(|(line, _)| line.len() as u64).sum()
}

/// Removes empty lines and separators from the end of a body.
fn trimmed(body: &[u8]) -> &[u8] {
    let mut rest = body.trim_ascii_end();
    while let Some(at) = memchr::memrchr(b'\n', rest) {
        let (before, last) = rest.split_at(at);
        if !is_separator(last.trim_ascii()) {
            break;
        }
        rest = before.trim_ascii_end();
    }
    rest
}
