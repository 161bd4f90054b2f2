//! The frame of the messages between tracer's processes: `kind: u8, length: u32, contents`.
//! Numbers are little-endian.

use std::io::{self, Read};

use tracer_core::record::{Event, trace};

/// Number of bytes in front of the contents.
pub(super) const HEAD: usize = 5;

/// Maximum length of a message's contents. The largest is a batch of events, whose number and
/// sizes are bounded.
const MAX_LENGTH: usize = 64 << 20;

/// Returns the bytes in front of contents of `length` bytes.
pub(super) fn head(kind: u8, length: usize) -> [u8; HEAD] {
    let mut head = [kind; HEAD];
    head[1..].copy_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    head
}

/// Parses the bytes in front of contents: their kind and length.
///
/// # Errors
/// If the contents are longer than those of any message.
pub(super) fn parse_head([kind, length @ ..]: [u8; HEAD]) -> io::Result<(u8, usize)> {
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_LENGTH {
        return Err(invalid(&format!("a message of {length} bytes")));
    }
    Ok((kind, length))
}

/// Reads a message, and waits for it: its kind and contents. Returns `None` at the end.
///
/// # Errors
/// If it is cut or too long.
pub(super) fn read(from: &mut impl Read) -> io::Result<Option<(u8, Vec<u8>)>> {
    let mut head = [0; HEAD];
    match from.read_exact(&mut head) {
        Ok(()) => {}
        Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(err) => return Err(err),
    }
    let (kind, length) = parse_head(head)?;
    let mut contents = vec![0; length];
    from.read_exact(&mut contents)?;
    Ok(Some((kind, contents)))
}

/// Parses contents that are entries of a trace.
///
/// # Errors
/// If they are not.
pub(super) fn events(contents: &[u8]) -> io::Result<Vec<Event>> {
    let mut reader = trace::Reader::resume(contents);
    let mut events = Vec::new();
    while let Some(event) = reader.event().map_err(io::Error::other)? {
        events.push(event);
    }
    Ok(events)
}

/// Returns the error for a message that no other process of tracer sends.
pub(super) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("tracer's other process sent {what}"))
}
