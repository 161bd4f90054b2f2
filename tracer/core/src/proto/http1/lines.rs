//! Reads lines up to an empty one: a head, or the trailer section of a chunked
//! body.

/// Initial capacity for a section. Most heads fit and arrive in one send.
const TYPICAL: usize = 2048;

/// Collects a section incrementally.
#[derive(Debug, Default)]
pub(super) struct Section {
    bytes: Vec<u8>,
    /// Position at which the incomplete line starts.
    line: usize,
}

/// The result of adding bytes to a section.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// The bytes end within a line.
    Partial,
    /// The bytes completed a line that is not empty.
    Whole,
    /// The bytes completed the empty line that ends the section.
    Empty,
    /// The section would exceed the limit.
    TooLong,
}

impl Section {
    /// Adds bytes up to the end of the next line, for a total of at most `max`.
    /// Returns the number of bytes consumed.
    pub(super) fn push(&mut self, bytes: &[u8], max: usize) -> (usize, Line) {
        let room = max.saturating_sub(self.bytes.len());
        let reachable = bytes.get(..room).unwrap_or(bytes);
        let end = memchr::memchr(b'\n', reachable).map(|at| at + 1);
        let taken = reachable.get(..end.unwrap_or(reachable.len())).unwrap_or(reachable);
        if self.bytes.is_empty() {
            self.bytes.reserve(reachable.len().min(TYPICAL));
        }
        self.bytes.extend_from_slice(taken);

        let line = match end {
            Some(_) => {
                let empty = matches!(self.bytes.get(self.line..), Some(b"\n" | b"\r\n"));
                self.line = self.bytes.len();
                if empty { Line::Empty } else { Line::Whole }
            }
            None if taken.len() < bytes.len() => Line::TooLong,
            None => Line::Partial,
        };
        (taken.len(), line)
    }

    /// Returns the collected bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Returns the collected bytes, without copying them.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Returns the lines of a section that may be truncated, without their
/// terminators. The flag is set if the terminator is known.
pub(in crate::proto) fn lines(section: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
    let mut rest = section;
    let next = move || {
        let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
        let line = rest.split_off(..end)?;
        (!line.is_empty()).then_some(line)
    };
    std::iter::from_fn(next).map(|line| match line {
        [line @ .., b'\r', b'\n'] | [line @ .., b'\n'] => (line, true),
        // A carriage return that is not known to end the line.
        [line @ .., b'\r'] => (line, false),
        line => (line, false),
    })
}
