//! HTTP/1.x requests (RFC 9112), as sent by a client.
//!
//! A [`RequestReader`] reads one request from a byte stream with gaps. It
//! follows the framing exactly, including through data that is not kept,
//! because only the framing locates the next request:
//!
//! - a gap in a body of known length, or within one chunk, is counted down;
//! - a gap in a head, in the framing of a chunked body, or of unknown length
//!   loses the position, and the caller looks for the next request at the start
//!   of a later send;
//! - a body whose length is invalid or contradictory continues up to such a
//!   position.
//!
//! Data within a well-formed body is never interpreted as a request, because
//! pages control the bytes of their uploads. The only exception is the preface
//! of HTTP/2: TLS libraries reuse the objects that represent connections, and
//! no body starts with those 24 bytes by chance.

mod body;
mod head;
mod lines;
#[cfg(test)]
mod tests;

use super::{Protocol, Request, detect};
use crate::record::BootTime;
use body::{BodyReader, Framing};
use head::{Head, HeadReader};

pub(super) use head::{begins_with_request_line, is_space, is_token};
pub(super) use lines::lines;

/// Reads one request.
#[derive(Debug)]
pub(super) struct RequestReader {
    time: BootTime,
    stage: Stage,
    max_body: usize,
    /// Set if the request is in a file, in which a tool may have left out the
    /// declaration of the body's length.
    in_file: bool,
    /// Number of bytes in the gap that truncated the head.
    unread: u64,
    /// Set once the request was emitted.
    emitted: bool,
    /// Set if more of the request arrived since then.
    changed: bool,
}

#[derive(Debug)]
enum Stage {
    Head(HeadReader),
    Body(Box<Head>, BodyReader),
}

/// The progress of reading a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The request continues.
    More,
    /// The request ended, followed by this.
    Done(Next),
}

/// The method by which the end of a body is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Remaining {
    /// By its length.
    Length(u64),
    /// By its length, once the server has asked for the body.
    Continued,
    /// By the sizes of its chunks.
    Chunked,
    /// Not declared, or invalid.
    Undeclared,
}

/// The data that follows a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another message.
    Message,
    /// The content of a tunnel, after `CONNECT`.
    Tunnel,
    /// WebSocket frames, if the server agrees.
    Upgraded,
    /// Unknown: the start of the next message cannot be located. `gap` is the
    /// number of missing bytes that come first.
    Lost { gap: u64 },
}

impl RequestReader {
    /// Starts a request, keeping at most `max_body` bytes of its body.
    pub(super) fn new(time: BootTime, max_body: usize) -> Self {
        let stage = Stage::Head(HeadReader::default());
        Self { time, stage, max_body, in_file: false, unread: 0, emitted: false, changed: false }
    }

    /// Starts a request in a file that a tool saved.
    pub(super) fn in_file(max_body: usize) -> Self {
        Self { in_file: true, ..Self::new(BootTime::default(), max_body) }
    }

    /// Returns how the end of the body is found, or `None` within the head.
    pub(super) fn remaining(&self) -> Option<Remaining> {
        match &self.stage {
            Stage::Head(_) => None,
            Stage::Body(head, body) => Some(match body.framing() {
                Framing::Length(_) if expects_continue(head) => Remaining::Continued,
                Framing::Length(len) => Remaining::Length(*len),
                Framing::Chunked(_) => Remaining::Chunked,
                Framing::Unframed => Remaining::Undeclared,
            }),
        }
    }

    /// Declares the length of the body, before any of it was read.
    pub(super) fn set_body_len(&mut self, len: u64) {
        if let Stage::Body(_, body) = &mut self.stage {
            *body = BodyReader::new(Framing::Length(len), self.max_body);
        }
    }

    /// Reads the next bytes up to the end of the request. Returns the number of
    /// bytes consumed.
    pub(super) fn data(&mut self, bytes: &[u8], begins_send: bool) -> (usize, Progress) {
        match &mut self.stage {
            Stage::Head(head) => {
                // No target continues like this, so the request will never be
                // completed.
                if begins_send && head.is_in_target() && detect::is_message(bytes) {
                    return (0, Progress::Done(Next::Message));
                }
                let (used, progress) = head.push(bytes);
                self.changed = true;
                let progress = match progress {
                    head::Progress::More => Progress::More,
                    head::Progress::Whole => self.begin_body(),
                    head::Progress::TooLong | head::Progress::NotHttp => {
                        Progress::Done(Next::Lost { gap: 0 })
                    }
                };
                (used, progress)
            }
            Stage::Body(head, body) => {
                let uncertain = body.is_unframed() || !body.started && expects_continue(head);
                let is_next = uncertain && detect::is_message(bytes) || detect::is_http2(bytes);
                if begins_send && is_next {
                    return (0, Progress::Done(Next::Message));
                }
                let (used, progress) = body.push(bytes);
                self.changed = true;
                (used, after_body(head, progress))
            }
        }
    }

    /// Processes a gap in the stream.
    pub(super) fn gap(&mut self, len: Option<u64>) -> Progress {
        self.changed = true;
        match &mut self.stage {
            Stage::Head(_) => {
                self.unread += len.unwrap_or(0);
                Progress::Done(Next::Lost { gap: 0 })
            }
            Stage::Body(head, body) => {
                let progress = body.gap(len);
                after_body(head, progress)
            }
        }
    }

    /// Returns the request as far as it is known, unless it was already emitted
    /// in this state.
    pub(super) fn emit(&mut self) -> Option<Request> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let request = match &self.stage {
            Stage::Head(head) => self.request(head.partial()?, body::KnownBody::nothing()),
            Stage::Body(head, body) => self.request(Head::clone(head), body.snapshot()),
        };
        self.emitted = true;
        Some(request)
    }

    /// Finishes the request. Returns it unless it was already emitted in this
    /// state, or the number of bytes as an error if they were not a request.
    pub(super) fn finish(mut self) -> Result<Option<Request>, u64> {
        if self.emitted && !self.changed {
            return Ok(None);
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Head(HeadReader::default()));
        match stage {
            Stage::Head(head) => match head.partial() {
                Some(known) => Ok(Some(self.request(known, body::KnownBody::nothing()))),
                None => Err(head.len() as u64 + self.unread),
            },
            Stage::Body(head, body) => Ok(Some(self.request(*head, body.finish()))),
        }
    }

    /// Returns the number of bytes buffered.
    pub(super) fn buffered(&self) -> usize {
        match &self.stage {
            Stage::Head(head) => head.len(),
            Stage::Body(head, body) => head.size + body.buffered(),
        }
    }

    fn begin_body(&mut self) -> Progress {
        let reader = match &mut self.stage {
            Stage::Head(reader) => std::mem::take(reader),
            Stage::Body(..) => return Progress::More,
        };
        let Some(head) = reader.into_head() else {
            return Progress::Done(Next::Lost { gap: 0 });
        };
        // HTTP/2 and HTTP/3 end a body without declaring its length.
        let is_framed = head.version == Protocol::Http1 && !self.in_file;
        let framing = match head.undeclared && !is_framed {
            true => Framing::Unframed,
            false => head.framing.clone(),
        };
        let body = BodyReader::new(framing, self.max_body);
        let progress =
            if body.ended() { after_body(&head, body::Progress::Whole) } else { Progress::More };
        self.stage = Stage::Body(Box::new(head), body);
        progress
    }

    fn request(&self, head: Head, known: body::KnownBody) -> Request {
        let mut headers = head.fields.list;
        headers.extend(known.trailer);
        Request {
            time: self.time,
            protocol: head.version,
            method: Some(head.method),
            authority: head.authority,
            path: Some(head.path),
            partial: Vec::new(),
            headers,
            complete: head.cut.is_none()
                && head.fields.unread == 0
                && known.whole
                && known.body.gaps.is_empty(),
            head_cut: head.cut,
            unread_bytes: self.unread + head.fields.unread + known.unread,
            body: known.body,
            update: self.emitted,
            never_sent: None,
        }
    }
}

/// Reports whether the body may be absent because the client waits for
/// permission to send it.
fn expects_continue(head: &Head) -> bool {
    head.lists("expect", "100-continue")
}

fn after_body(head: &Head, progress: body::Progress) -> Progress {
    let next = match progress {
        body::Progress::More => return Progress::More,
        body::Progress::Lost => Next::Lost { gap: 0 },
        body::Progress::WholeInGap(gap) => Next::Lost { gap },
        body::Progress::Whole if head.method == "CONNECT" => Next::Tunnel,
        body::Progress::Whole if upgrades(head) => Next::Upgraded,
        body::Progress::Whole => Next::Message,
    };
    Progress::Done(next)
}

/// Reports whether the client requests an upgrade to WebSocket (RFC 6455
/// section 4.1).
fn upgrades(head: &Head) -> bool {
    head.lists("connection", "upgrade") && head.lists("upgrade", "websocket")
}
