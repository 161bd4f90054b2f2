//! The BSD syslog protocol (RFC 3164), in the form for a local daemon:
//!
//! ```text
//! <PRI>tracer[PID]: message
//! ```
//!
//! The daemon adds the missing time and host (section 4.3.2).

use super::{FACILITY, IDENTIFIER, Line, cut};

/// Maximum size of a packet (section 4.1).
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
    fn packets_are_one_line_of_bounded_size() {
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
