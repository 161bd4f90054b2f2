//! HTTP/1.x requests (RFC 9112), as a client sends them.
//!
//! A [`RequestReader`] reads one request from a byte stream with gaps. Framing
//! is followed exactly, also through what is not kept, since the next request
//! is found by nothing else:
//!
//! - a gap in a body of known length, or in one chunk, is counted down;
//! - a gap in a head, in the framing of a chunked body or of unknown length
//!   loses the place, and the caller looks for the next request where a later
//!   send begins;
//! - a body whose length is invalid or contradictory goes on until such a place.
//!
//! Within a sound body nothing is taken for a request, whatever it looks like:
//! pages choose the bytes of their uploads. Only the preface of HTTP/2 shows a
//! new connection there: TLS libraries use the objects that stand for a
//! connection again, and its 24 bytes begin no body by chance.

mod body;
mod head;
mod lines;
#[cfg(test)]
mod tests;

use super::{Protocol, Request, detect};
use crate::record::BootTime;
use body::BodyReader;
use head::{Head, HeadReader};

pub(super) use head::{begins_with_request_line, is_token};

/// Reads one request.
#[derive(Debug)]
pub(super) struct RequestReader {
    time: BootTime,
    stage: Stage,
    max_body: usize,
    /// Bytes of the gap that cut the head.
    unread: u64,
    /// It was given out before.
    given: bool,
    /// More of it came since.
    fresh: bool,
}

#[derive(Debug)]
enum Stage {
    Head(HeadReader),
    Body(Box<Head>, BodyReader),
}

/// How it stands with a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More of it is to come.
    More,
    /// It ended, and this follows.
    Done(Next),
}

/// What follows a request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The first byte of another message.
    Message,
    /// After `CONNECT`: whatever the tunnel carries.
    Tunnel,
    /// WebSocket frames, if the server agrees.
    Upgraded,
    /// Nobody can tell where the next message begins. So many bytes of a gap
    /// come first.
    Lost { gap: u64 },
}

impl RequestReader {
    /// Begins a request. Keeps at most `max_body` bytes of its body.
    pub(super) fn new(time: BootTime, max_body: usize) -> Self {
        let stage = Stage::Head(HeadReader::default());
        Self { time, stage, max_body, unread: 0, given: false, fresh: false }
    }

    /// Takes the next bytes, none beyond the request's end. Returns how many
    /// were taken.
    pub(super) fn data(&mut self, bytes: &[u8], begins_send: bool) -> (usize, Progress) {
        match &mut self.stage {
            Stage::Head(head) => {
                // No target goes on like that: this one will never be completed.
                if begins_send && head.is_in_target() && detect::is_message(bytes) {
                    return (0, Progress::Done(Next::Message));
                }
                let (used, progress) = head.push(bytes);
                self.fresh = true;
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
                let uncertain = body.is_unframed() || !body.begun && expects_continue(head);
                let is_next = uncertain && detect::is_message(bytes) || detect::is_http2(bytes);
                if begins_send && is_next {
                    return (0, Progress::Done(Next::Message));
                }
                let (used, progress) = body.push(bytes);
                self.fresh = true;
                (used, after_body(head, progress))
            }
        }
    }

    /// Takes a gap in the stream.
    pub(super) fn gap(&mut self, len: Option<u64>) -> Progress {
        self.fresh = true;
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

    /// The request as far as it is known, if more of it is known than was
    /// given out before.
    pub(super) fn give(&mut self) -> Option<Request> {
        if !std::mem::take(&mut self.fresh) {
            return None;
        }
        let request = match &self.stage {
            Stage::Head(head) => self.request(head.partial()?, body::Known::nothing()),
            Stage::Body(head, body) => self.request(Head::clone(head), body.snapshot()),
        };
        self.given = true;
        Some(request)
    }

    /// Ends the request, and gives it out unless that was done with as much of
    /// it. An error says how many bytes were no request.
    pub(super) fn finish(mut self) -> Result<Option<Request>, u64> {
        if self.given && !self.fresh {
            return Ok(None);
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Head(HeadReader::default()));
        match stage {
            Stage::Head(head) => match head.partial() {
                Some(known) => Ok(Some(self.request(known, body::Known::nothing()))),
                None => Err(head.len() as u64 + self.unread),
            },
            Stage::Body(head, body) => Ok(Some(self.request(*head, body.finish()))),
        }
    }

    /// How many bytes of memory are held.
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
        let body = BodyReader::new(head.framing.clone(), self.max_body);
        let progress =
            if body.ended() { after_body(&head, body::Progress::Whole) } else { Progress::More };
        self.stage = Stage::Body(Box::new(head), body);
        progress
    }

    fn request(&self, head: Head, known: body::Known) -> Request {
        let mut headers = head.fields.list;
        headers.extend(known.trailer);
        Request {
            time: self.time,
            protocol: Protocol::Http1,
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
            update: self.given,
        }
    }
}

/// The body may never come: the client waits for leave to send it.
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

/// The client asks to go on as a WebSocket (RFC 6455, section 4.1).
fn upgrades(head: &Head) -> bool {
    head.lists("connection", "upgrade") && head.lists("upgrade", "websocket")
}
