//! Messages on standard error.

use std::{
    fmt,
    io::{self, Write as _},
};

/// Prints `tracer: ` and a message as a line on standard error.
///
/// Unlike `eprintln!`, it does not panic if standard error is closed or its disk is full: a run
/// that cannot report its progress still captures.
macro_rules! message {
    ($($argument:tt)*) => {
        $crate::cli::terminal::print_line(format_args!("tracer: {}", format_args!($($argument)*)))
    };
}

/// Prints a line on standard error, and ignores failures.
pub(super) fn print_line(line: fmt::Arguments<'_>) {
    // In one write, so that lines of several threads do not mix.
    let _ = io::stderr().lock().write_all(format!("{line}\n").as_bytes());
}
