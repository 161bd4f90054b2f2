//! The BSD syslog protocol (RFC 3164), as a local daemon takes it:
//!
//! ```text
//! <PRI>tracer[PID]: message
//! ```
//!
//! Time and host are the daemon's to add where they are missing (section
//! 4.3.2); it knows the local time zone.

use super::{FACILITY, IDENTIFIER, Line, cut};

/// The most bytes of a packet (section 4.1).
const MAX_PACKET: usize = 1024;

pub(super) fn datagram(line: &Line, pid: u32) -> Vec<u8> {
    let priority = FACILITY * 8 + line.priority();
    let packet = format!("<{priority}>{IDENTIFIER}[{pid}]: {}", line.message);
    cut(&packet, MAX_PACKET).as_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::finding::Severity;

    #[test]
    fn a_packet_is_one_short_line() {
        let line = |message: &str| Line {
            severity: Some(Severity::Critical),
            message: message.into(),
            fields: Vec::new(),
        };
        assert_eq!(datagram(&line("told"), 12), b"<82>tracer[12]: told");
        let long = datagram(&line(&"é".repeat(2000)), 12);
        assert!(long.len() <= MAX_PACKET && str::from_utf8(&long).is_ok());
    }
}
