//! The end of what a command writes to standard error, for the message that it failed.

use std::{
    io::{self, Read},
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tracer_core::alert::printable;

/// Number of bytes that are kept.
const MAX_BYTES: usize = 4096;

/// Number of lines that are shown, and of characters of each.
const MAX_LINES: usize = 3;
const MAX_CHARS: usize = 200;

/// Time to wait for the rest of the output of a command that has ended.
const PATIENCE: Duration = Duration::from_millis(500);

/// The end of an output.
#[derive(Debug, Clone, Default)]
pub(super) struct OutputTail(Arc<Mutex<Tail>>);

#[derive(Debug, Default)]
struct Tail {
    bytes: Vec<u8>,
    has_ended: bool,
}

impl OutputTail {
    /// Reads an output to its end, in a thread.
    pub(super) fn follow(output: Option<impl Read + Send + 'static>) -> io::Result<Self> {
        let this = Self::default();
        let Some(mut output) = output else {
            this.0.lock().unwrap_or_else(PoisonError::into_inner).has_ended = true;
            return Ok(this);
        };
        let tail = this.clone();
        thread::Builder::new().name("tracer-output".into()).spawn(move || {
            let mut buffer = [0; MAX_BYTES];
            while let Ok(read @ 1..) = output.read(&mut buffer) {
                tail.add(&buffer[..read]);
            }
            tail.0.lock().unwrap_or_else(PoisonError::into_inner).has_ended = true;
        })?;
        Ok(this)
    }

    fn add(&self, new: &[u8]) {
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tail.bytes.extend_from_slice(new);
        let beyond = tail.bytes.len().saturating_sub(MAX_BYTES);
        tail.bytes.drain(..beyond);
    }

    /// Returns the last lines. Waits a moment for them, because they may still be on the way.
    pub(super) fn text(&self) -> String {
        let begun = Instant::now();
        loop {
            let tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if tail.has_ended || begun.elapsed() > PATIENCE {
                return last_lines(&String::from_utf8_lossy(&tail.bytes));
            }
            drop(tail);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(MAX_LINES)..];
    let cut = |line: &&str| printable(&line.chars().take(MAX_CHARS).collect::<String>());
    last.iter().map(cut).collect::<Vec<_>>().join(" / ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept() {
        let of = |text: &str| {
            let bytes = io::Cursor::new(text.as_bytes().to_vec());
            OutputTail::follow(Some(bytes)).unwrap().text()
        };
        assert_eq!(of("one\n\ntwo\nthree\nfour \x1b[2J\n"), "two / three / four \\u{1b}[2J");
        let long = of(&"x".repeat(3 * MAX_BYTES));
        assert_eq!(long.len(), MAX_CHARS);
        assert_eq!(OutputTail::follow(None::<io::Empty>).unwrap().text(), "");
    }
}
