//! Definitions that both formats share: detection, errors, and the defaults for
//! facts that a recording does not contain.

use std::io;

use thiserror::Error;

use crate::pcapng;
use tracer_core::record::{BootTime, Clock, Hook, Process};

/// Clock of every recording. Recordings contain wall-clock times, so
/// [`BootTime`] counts nanoseconds since 1970 in their events.
pub const CLOCK: Clock = Clock { boot: BootTime(0), unix: 0 };

/// Hook of every recorded request. Recordings name no hook; this one makes the
/// weakest claim: a process asked to send the bytes.
pub(crate) const HOOK: Hook = Hook::SysEnter;

/// Number of bytes from the start of a file that the detection of its format
/// looks at.
pub const DETECT_LEN: usize = 4096;

/// Error that ends the reading of a recording.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The file has another format.
    #[error("{0}")]
    WrongFormat(&'static str),
    /// The file ends too early.
    #[error("the file ends in the middle of an entry; everything before it was read")]
    Cut,
    /// The file violates its format.
    #[error("the file is damaged ({0}); everything before the damage was read")]
    Damaged(String),
    /// The underlying reader failed.
    #[error("cannot read the file")]
    Io(#[from] io::Error),
}

/// Format of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recording {
    /// HTTP archive.
    Har,
    /// Packet capture, pcapng or classic pcap.
    Pcapng,
}

impl Recording {
    /// Detects the format of a file from its first bytes.
    pub fn detect(head: &[u8]) -> Option<Self> {
        if pcapng::is_capture(head) {
            return Some(Self::Pcapng);
        }
        let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
        // No request and no trace starts with a brace.
        text.trim_ascii_start().starts_with(b"{").then_some(Self::Har)
    }
}

/// Returns the process of requests whose sender the recording does not name.
pub(crate) fn unknown_process() -> Process {
    Process { uid: 0, tgid: 0, tid: 0, comm: String::new() }
}

#[cfg(test)]
mod tests {
    use super::{ReadError, Recording};
    use crate::{har, pcapng};

    fn read(kind: Recording, file: &[u8]) -> Result<(), ReadError> {
        // A buffer of one byte meets every boundary.
        let file = std::io::BufReader::with_capacity(1, file);
        match kind {
            Recording::Har => {
                let mut reader = har::Reader::new(file);
                while reader.request()?.is_some() {}
            }
            Recording::Pcapng => {
                let mut reader = pcapng::Reader::new(file);
                while reader.event()?.is_some() {}
            }
        }
        Ok(())
    }

    #[test]
    fn every_prefix_of_every_small_file_is_read_as_every_kind() {
        const SMALL: [&[u8]; 7] = [
            b"\xef\xbb\xbf{\"log\":{\"entries\":[]}}",
            b"\x0a\x0d\x0d\x0a\x1c\0\0\0\x4d\x3c\x2b\x1a\x01\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x1c\0\0\0",
            b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x01\0\0\0",
            b"\xa1\xb2\x3c\x4d\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\xff\xff\0\0\0\x01",
            b"\xef\xbbx",
            b"\xfe\xff\0{",
            b"POST / HTTP/1.1\r\n\r\n",
        ];
        for kind in [Recording::Har, Recording::Pcapng] {
            for byte in 0..=u8::MAX {
                assert!(read(kind, &[byte]).is_err(), "{byte:#x} as {kind:?}");
            }
            for file in SMALL {
                for len in 0..file.len() {
                    let _ = read(kind, &file[..len]);
                }
            }
        }
        read(Recording::Har, SMALL[0]).expect("a HAR without entries");
        for capture in &SMALL[1..4] {
            read(Recording::Pcapng, capture).expect("a capture without packets");
        }
    }

    #[test]
    fn formats_are_detected_from_the_first_bytes() {
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
            assert_eq!(Recording::detect(head), kind, "{}", head.escape_ascii());
        }
    }
}
