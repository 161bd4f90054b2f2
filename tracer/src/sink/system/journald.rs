//! The journal's native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL):
//!
//! ```text
//! MESSAGE=one line\n
//! MESSAGE\n  length (u64, little endian)  any bytes  \n
//! ```

use super::{FACILITY, IDENTIFIER, Line, cut};

/// Maximum number of bytes in a field. All fields together stay far below the default limit of a
/// socket, 208 KiB (`net.core.wmem_default`).
const MAX_FIELD: usize = 4 << 10;

pub(super) fn datagram(line: &Line) -> Vec<u8> {
    let mut datagram = Vec::new();
    let mut field = |name: &str, value: &str| add(&mut datagram, name, cut(value, MAX_FIELD));
    field("MESSAGE", &line.message);
    field("PRIORITY", &line.priority().to_string());
    field("SYSLOG_IDENTIFIER", IDENTIFIER);
    field("SYSLOG_FACILITY", &FACILITY.to_string());
    for (name, value) in &line.fields {
        field(&format!("TRACER_{name}"), value);
    }
    datagram
}

fn add(datagram: &mut Vec<u8>, name: &str, value: &str) {
    datagram.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        datagram.push(b'\n');
        datagram.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        datagram.push(b'=');
    }
    datagram.extend_from_slice(value.as_bytes());
    datagram.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_framed() {
        let fields = vec![("HOST", "a.test\nX=forged".to_owned()), ("SDK", "x".repeat(9000))];
        let line = Line { severity: None, message: "told".into(), fields };
        let datagram = datagram(&line);
        let start = b"MESSAGE=told\nPRIORITY=6\nSYSLOG_IDENTIFIER=tracer\nSYSLOG_FACILITY=10\n\
                      TRACER_HOST\n\x0f\0\0\0\0\0\0\0a.test\nX=forged\nTRACER_SDK=xxx";
        assert!(datagram.starts_with(start), "{}", String::from_utf8_lossy(&datagram));
        assert!(datagram.len() < start.len() + MAX_FIELD);
    }
}
