//! Recordings of other tools: HAR and packet captures.
//!
//! ```text
//! HAR      mitmproxy, DevTools, PCAPdroid, Charles  ──▶ requests ─┐
//! pcapng,  Wireshark, tcpdump, PCAPdroid,           ──▶ events ───┴─▶ pipeline
//! pcap     tracer itself
//! ```
//!
//! They go through the same decoding and judgement as what tracer captures. A
//! recording says less: a HAR has requests as a tool understood them, a capture
//! has packets and no processes. What one does not say, or lost, is counted and
//! never made up.
//!
//! Pure: bytes in, values out. The times of a recording are those of the day:
//! [`BootTime`] counts from 1970 here ([`CLOCK`]).

mod json;
mod order;

pub mod har;
pub mod pcapng;

use std::io;

use thiserror::Error;

use tracer_core::record::{BootTime, Clock, Process};

/// The clock of every recording: its times are those of the day already.
pub const CLOCK: Clock = Clock { boot: BootTime(0), unix: 0 };

/// Why a recording cannot be read, or not further.
#[derive(Debug, Error)]
pub enum ImportError {
    /// It is of another kind.
    #[error("{0}")]
    Other(&'static str),
    /// It ends too early.
    #[error("the file ends in the middle of an entry: what stands before it was read")]
    Cut,
    /// It breaks its format's rules.
    #[error("the file is damaged ({0}): what stands before that was read")]
    Damaged(String),
    /// It cannot be read.
    #[error("cannot read the file: {0}")]
    Read(#[from] io::Error),
}

/// A kind of recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// An HTTP archive.
    Har,
    /// A packet capture, of either format.
    Pcapng,
}

/// How many bytes [`Recording::of`] wants.
pub const ENOUGH: usize = 64;

impl Recording {
    /// The kind that a file is of, by its first bytes.
    pub fn of(head: &[u8]) -> Option<Self> {
        if pcapng::is_one(head) {
            return Some(Self::Pcapng);
        }
        let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
        // No request begins like this, and nothing else that is read here.
        text.trim_ascii_start().starts_with(b"{").then_some(Self::Har)
    }
}

/// Who sent, where the recording does not say.
fn nobody() -> Process {
    Process { uid: 0, tgid: 0, tid: 0, comm: String::new() }
}

#[cfg(test)]
mod tests {
    use super::Recording;

    #[test]
    fn recordings_are_told_by_their_first_bytes() {
        for (head, kind) in [
            (&b"{\"log\":{"[..], Some(Recording::Har)),
            (b"\xef\xbb\xbf \r\n{", Some(Recording::Har)),
            (b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a", Some(Recording::Pcapng)),
            (b"\x0a\x0d\x0d\x0a\0\0\0\x1c\x1a\x2b\x3c\x4d", Some(Recording::Pcapng)),
            (b"\xd4\xc3\xb2\xa1\x02\0\x04\0", Some(Recording::Pcapng)),
            (b"\xa1\xb2\x3c\x4d\0\x02\0\x04", Some(Recording::Pcapng)),
            (b"POST / HTTP/1.1\r\n", None),
            (b"tracer\0\x01", None),
            (b"\x0a\x0d\x0d\x0a", None),
            (b"", None),
        ] {
            assert_eq!(Recording::of(head), kind, "{}", head.escape_ascii());
        }
    }
}
