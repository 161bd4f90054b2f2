//! The messages between the process that captures and the one that decodes.
//!
//! ```text
//! capture ──▶ decoder   framed messages
//! capture ◀── decoder   order: u8
//! ```
//!
//! The decoder may be under the control of whoever sends to it, so the capturing process accepts
//! nothing from it but these orders.

use std::io::{self, Read};

use crate::cli::{
    frame::{self, HEAD},
    rule_files::RuleTexts,
};
use tracer_core::record::{Event, trace};

/// A message from the capturing process.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cli) enum Message {
    /// The programs are attached.
    Attached,
    /// The capture has begun.
    Watching,
    /// Captured events.
    Events(Vec<Event>),
    /// Files of rules, which were read again, or the reason for which they could not be.
    Rules(Result<RuleTexts, String>),
    /// The capture has ended, and everything was delivered.
    Ended,
    /// The capture has failed.
    Failed {
        /// Set for a wrong use of the command line.
        is_usage: bool,
        /// Cause and next step.
        text: String,
    },
}

const ATTACHED: u8 = 1;
const WATCHING: u8 = 2;
const EVENTS: u8 = 3;
const ENDED: u8 = 4;
const FAILED: u8 = 5;
const USAGE: u8 = 6;
const RULES: u8 = 7;
const NO_RULES: u8 = 8;

/// An order to the capturing process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Order {
    /// Begin to deliver events.
    Begin = b'b',
    /// Stop the capture, and deliver what was captured.
    Stop = b's',
    /// Read the files of rules again, and deliver them.
    Reload = b'r',
}

impl Order {
    /// Parses an order.
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Begin, Self::Stop, Self::Reload].into_iter().find(|order| *order as u8 == byte)
    }
}

impl Message {
    /// Appends the message to a buffer.
    pub(in crate::cli) fn write(&self, to: &mut Vec<u8>) {
        let start = to.len();
        let kind = match self {
            Self::Attached => ATTACHED,
            Self::Watching => WATCHING,
            Self::Events(_) => EVENTS,
            Self::Rules(Ok(_)) => RULES,
            Self::Rules(Err(_)) => NO_RULES,
            Self::Ended => ENDED,
            Self::Failed { is_usage: false, .. } => FAILED,
            Self::Failed { is_usage: true, .. } => USAGE,
        };
        to.extend(frame::head(kind, 0));
        match self {
            Self::Events(events) => {
                let mut entries = trace::Writer::resume(&mut *to);
                for event in events {
                    entries.write(event).expect("a vector takes everything");
                }
            }
            Self::Failed { text, .. } | Self::Rules(Err(text)) => to.extend(text.as_bytes()),
            Self::Rules(Ok(rules)) => to.extend(rules.to_bytes()),
            Self::Attached | Self::Watching | Self::Ended => {}
        }
        let length = to.len() - start - HEAD;
        to[start..start + HEAD].copy_from_slice(&frame::head(kind, length));
    }

    fn parse(kind: u8, contents: &[u8]) -> io::Result<Self> {
        let text = || String::from_utf8_lossy(contents).into_owned();
        Ok(match kind {
            ATTACHED => Self::Attached,
            WATCHING => Self::Watching,
            EVENTS => Self::Events(frame::events(contents)?),
            ENDED => Self::Ended,
            RULES => Self::Rules(Ok(RuleTexts::from_bytes(contents)?)),
            NO_RULES => Self::Rules(Err(text())),
            FAILED => Self::Failed { is_usage: false, text: text() },
            USAGE => Self::Failed { is_usage: true, text: text() },
            kind => return Err(frame::invalid(&format!("a message of kind {kind}"))),
        })
    }

    /// Reads a message, and waits for it. Returns `None` at the end.
    pub(in crate::cli) fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        match frame::read(from)? {
            Some((kind, contents)) => Self::parse(kind, &contents).map(Some),
            None => Ok(None),
        }
    }
}

/// Received bytes, which contain messages.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    /// Number of bytes that were already taken.
    taken: usize,
}

impl Inbox {
    /// Appends received bytes.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        // Most messages arrive as a whole, so there is rarely anything to move.
        self.bytes.drain(..self.taken);
        self.taken = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the first message, if it is complete.
    pub(super) fn take(&mut self) -> io::Result<Option<Message>> {
        let waiting = &self.bytes[self.taken..];
        let Some((head, rest)) = waiting.split_first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let (kind, length) = frame::parse_head(*head)?;
        let Some(contents) = rest.get(..length) else {
            return Ok(None);
        };
        let message = Message::parse(kind, contents)?;
        self.taken += HEAD + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::record::{BootTime, Clock};

    fn messages() -> Vec<Message> {
        let clock = Event::Clock(Clock { boot: BootTime(1), unix: 2 });
        let executable = Event::Executable { tgid: 3, path: "/usr/bin/client".into() };
        vec![
            Message::Attached,
            Message::Watching,
            Message::Events(vec![clock, executable]),
            Message::Events(Vec::new()),
            Message::Rules(Ok(RuleTexts::default())),
            Message::Rules(Err("no such folder".into())),
            Message::Failed { is_usage: true, text: "no such user".into() },
            Message::Failed { is_usage: false, text: String::new() },
            Message::Ended,
        ]
    }

    fn bytes() -> Vec<u8> {
        let mut bytes = Vec::new();
        messages().iter().for_each(|message| message.write(&mut bytes));
        bytes
    }

    #[test]
    fn messages_arrive_whole_however_they_are_cut() {
        let bytes = bytes();
        for size in [1, 2, 7, bytes.len()] {
            let mut inbox = Inbox::default();
            let mut arrived = Vec::new();
            for chunk in bytes.chunks(size) {
                inbox.extend(chunk);
                while let Some(message) = inbox.take().unwrap() {
                    arrived.push(message);
                }
            }
            assert_eq!(arrived, messages(), "{size}");
        }
    }

    #[test]
    fn messages_can_be_waited_for() {
        let bytes = bytes();
        let mut from = &bytes[..];
        for message in messages() {
            assert_eq!(Message::read(&mut from).unwrap(), Some(message));
        }
        assert_eq!(Message::read(&mut from).unwrap(), None);
    }

    #[test]
    fn invalid_messages_are_errors() {
        for bytes in [[9, 0, 0, 0, 0], [EVENTS, 255, 255, 255, 255]] {
            let mut inbox = Inbox::default();
            inbox.extend(&bytes);
            inbox.take().unwrap_err();
        }
        let mut inbox = Inbox::default();
        inbox.extend(&[EVENTS, 3, 0, 0, 0, 1, 2, 3]);
        inbox.take().unwrap_err();
        assert_eq!(Order::from_byte(b's'), Some(Order::Stop));
        assert_eq!(Order::from_byte(b'x'), None);
    }
}
