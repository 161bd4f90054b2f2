//! logd's write socket (AOSP, `liblog/README.protocol.md`):
//!
//! ```text
//! log id u8 │ thread u16 │ seconds u32 │ nanoseconds u32 │ priority u8 │ tag \0 │ message \0
//! ```
//!
//! in little endian. logd takes process and user from the socket's credentials.

use std::time::Duration;

use super::{IDENTIFIER, Line, cut};
use tracer_core::finding::Severity;

/// The main log (`LOG_ID_MAIN`).
const MAIN: u8 = 0;

/// Maximum number of bytes after the header (`LOGGER_ENTRY_MAX_PAYLOAD`).
const MAX_PAYLOAD: usize = 4068;

/// `ANDROID_LOG_INFO` and the following (`android/log.h`).
const INFO: u8 = 4;
const WARN: u8 = 5;
const ERROR: u8 = 6;

pub(super) fn datagram(line: &Line, thread: i32, now: Duration) -> Vec<u8> {
    let priority = match line.severity {
        Some(Severity::Critical | Severity::High) => ERROR,
        Some(Severity::Medium) => WARN,
        Some(Severity::Low | Severity::Info) | None => INFO,
    };
    // Without the priority and the two zero bytes.
    let room = MAX_PAYLOAD - IDENTIFIER.len() - 3;
    let mut datagram = vec![MAIN];
    // The field holds the low 16 bits, as in liblog.
    datagram.extend_from_slice(&(thread as u16).to_le_bytes());
    datagram.extend_from_slice(&(now.as_secs() as u32).to_le_bytes());
    datagram.extend_from_slice(&now.subsec_nanos().to_le_bytes());
    datagram.push(priority);
    datagram.extend_from_slice(IDENTIFIER.as_bytes());
    datagram.push(0);
    datagram.extend_from_slice(cut(&line.message, room).as_bytes());
    datagram.push(0);
    datagram
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_have_the_layout_of_liblog() {
        let line = |message: &str| Line {
            severity: Some(Severity::Medium),
            message: message.into(),
            fields: Vec::new(),
        };
        let now = Duration::new(0x6789_abcd, 0x0102_0304);
        assert_eq!(
            datagram(&line("told"), 0x1_2345, now),
            b"\0\x45\x23\xcd\xab\x89\x67\x04\x03\x02\x01\x05tracer\0told\0"
        );
        assert_eq!(datagram(&line(&"x".repeat(9000)), 1, now).len(), 11 + MAX_PAYLOAD);
    }
}
