//! Evidence in the formats of other tools: requests, with what is said of them.
//!
//! | format | opens in | what is said stands in |
//! |---|---|---|
//! | [`har`] | the browsers' developer tools, mitmproxy, Charles | `comment`, `_tracer` |
//! | [`pcapng`] | Wireshark, tshark | comments on packets |
//!
//! `tracer decode` reads both again ([`import`](crate::import)). What is written
//! is what was sent: whoever makes a file of it makes it readable to its owner
//! only.

pub mod har;
pub mod pcapng;
mod wire;

#[cfg(test)]
mod tests;

use tracer_core::{alert::Alert, pipeline::Decoded};

/// A request to be written.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The request.
    pub decoded: &'a Decoded,
    /// What was going on when it was sent, in a word: "idle", "private".
    pub phase: Option<&'a str>,
}

/// A URL's end that nobody can read out of the bytes.
const UNKNOWN: &str = "unknown.invalid";

impl Entry<'_> {
    /// What is said of it in one line.
    fn comment(&self, alert: &Alert) -> String {
        let mut comment = match (alert.severity, &alert.reason) {
            (Some(severity), Some(reason)) => format!("{}: {reason}", severity.label()),
            _ => "nothing disclosed".to_owned(),
        };
        if let Some(phase) = self.phase {
            comment.push_str(&format!(" (phase: {phase})"));
        }
        let content = &alert.content;
        if !content.complete {
            comment.push_str(&format!(
                "; incomplete, {} bytes or more not known",
                content.unread_bytes
            ));
        }
        comment
    }
}
