//! Sinks write alerts: as text lines, as JSON lines, or to the system log.
//!
//! Alerts contain the user's browsing history, so their values are redacted by default. See
//! [`tracer_core::alert::redact`].

mod system;

use std::io::{self, Write};

pub use self::system::{Log, SystemLog};
use tracer_core::{
    account::Accounts,
    alert::{self, Style, redact::Redactor},
    pipeline::{Output, Totals},
};

/// A destination of the alert stream.
pub trait Sink {
    /// Writes an alert or losses. Ignores other outputs.
    fn output(&mut self, output: &Output) -> io::Result<()>;
    /// Writes the totals at the end of the run.
    fn summary(&mut self, totals: &Totals, accounts: &Accounts) -> io::Result<()>;
    /// Writes buffered data.
    fn flush(&mut self) -> io::Result<()>;
    /// Returns the number of lines that could not be written.
    fn dropped(&self) -> u64 {
        0
    }
}

/// Writes each alert as a line of text.
pub struct Human<W> {
    to: W,
    style: Style,
    redactor: Redactor,
}

impl<W: Write> Human<W> {
    /// Creates a sink that writes to `to`.
    pub fn new(to: W, style: Style, redactor: Redactor) -> Self {
        Self { to, style, redactor }
    }
}

impl<W: Write> Sink for Human<W> {
    fn output(&mut self, output: &Output) -> io::Result<()> {
        match alert::text_line(output, self.style, &self.redactor) {
            Some(line) => writeln!(self.to, "{line}"),
            None => Ok(()),
        }
    }

    fn summary(&mut self, _: &Totals, _: &Accounts) -> io::Result<()> {
        // The summary is printed on standard error.
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Writes JSON lines.
pub struct Json<W> {
    to: W,
    redactor: Redactor,
}

impl<W: Write> Json<W> {
    /// Creates a sink that writes to `to`.
    pub fn new(to: W, redactor: Redactor) -> Self {
        Self { to, redactor }
    }

    fn line(&mut self, line: &serde_json::Value) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, line)?;
        self.to.write_all(b"\n")
    }
}

impl<W: Write> Sink for Json<W> {
    fn output(&mut self, output: &Output) -> io::Result<()> {
        match alert::json_line(output, &self.redactor) {
            Some(line) => self.line(&line),
            None => Ok(()),
        }
    }

    fn summary(&mut self, totals: &Totals, accounts: &Accounts) -> io::Result<()> {
        self.line(&alert::json_summary(totals, accounts))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
