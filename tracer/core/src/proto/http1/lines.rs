//! Lines up to an empty one: a head, or the trailer section of a chunked body.

/// Room that is made for a section at once. Most heads fit, and come in one send.
const TYPICAL: usize = 2048;

/// Collects a section as it comes.
#[derive(Debug, Default)]
pub(super) struct Section {
    bytes: Vec<u8>,
    /// Where the line that is not complete yet begins.
    line: usize,
}

/// What the next bytes made of a section.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// They end in the midst of a line.
    Partial,
    /// They completed a line that is not empty.
    Whole,
    /// They completed the empty line: the section ends.
    Empty,
    /// The section would become larger than allowed.
    TooLong,
}

impl Section {
    /// Takes bytes up to the next line's end, while the section has at most
    /// `max` of them. Returns how many were taken.
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

    /// Everything collected.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Everything collected, given away.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// The lines of a section that may be cut anywhere: each without its end, and
/// whether that end is known.
pub(super) fn lines(section: &[u8]) -> impl Iterator<Item = (&[u8], bool)> {
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
