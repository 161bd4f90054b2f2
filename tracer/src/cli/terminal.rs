//! Messages on standard error.

use std::{
    fmt,
    io::{self, Write as _},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::queue::Queue;

/// The queue of the messages of a run, which never waits for a terminal.
static QUEUE: Mutex<Option<Queue>> = Mutex::new(None);

/// Maximum number of bytes of messages that wait.
const MAX_WAITING: usize = 1 << 20;

/// Puts the messages that follow into a queue, until [`finish`].
pub(super) fn start_queue() {
    // Without a queue, messages are written at once.
    let queue = Queue::to_stream("standard error", io::stderr(), MAX_WAITING).ok();
    *QUEUE.lock().unwrap_or_else(PoisonError::into_inner) = queue;
}

/// Writes the messages that wait, for no longer than `patience`.
pub(super) fn finish(patience: Duration) {
    let queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(mut queue) = queue {
        queue.finish(patience);
    }
}

/// Prints `tracer: ` and a message as a line on standard error.
///
/// Unlike `eprintln!`, it does not panic if standard error is closed or its disk is full: a run
/// that cannot report its progress still captures.
macro_rules! message {
    ($($argument:tt)*) => {
        $crate::cli::terminal::print_line(format_args!("tracer: {}", format_args!($($argument)*)))
    };
}

/// Returns an error and its causes in one line, leaving out a cause that the text before it contains.
pub(super) fn explained(err: &anyhow::Error) -> String {
    err.chain().map(ToString::to_string).fold(String::new(), |text, cause| match &text[..] {
        "" => cause,
        before if before.contains(&cause) => text,
        before => format!("{before}: {cause}"),
    })
}

/// Prints a line on standard error, and ignores failures.
pub(super) fn print_line(line: fmt::Arguments<'_>) {
    // In one write, so that lines of several threads do not mix.
    let line = format!("{line}\n");
    match &mut *QUEUE.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(queue) => {
            let _ = queue.write_all(line.as_bytes()).and_then(|()| queue.flush());
        }
        None => {
            let _ = io::stderr().lock().write_all(line.as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::{Context as _, anyhow};

    use super::explained;

    #[test]
    fn every_cause_is_named_once() {
        let err = anyhow!("No such file").context("cannot open f").context("--record");
        assert_eq!(explained(&err), "--record: cannot open f: No such file");
        // Some errors name their cause themselves, and go on with the next step.
        let named: anyhow::Result<()> = Err(anyhow!("No such file"));
        let named =
            named.context("cannot open f: No such file\nUse the path of a file.").unwrap_err();
        assert_eq!(explained(&named), "cannot open f: No such file\nUse the path of a file.");
    }
}
