//! Sinks: alerts for people (one line each), for programs (JSON lines) and for
//! the system's log.
//!
//! What tracer shows is the most sensitive list on the device, so values are
//! redacted unless the user says otherwise; see [`tracer_core::alert::redact`].

mod system;

use std::io::{self, Write};

pub use self::system::{Log, SystemLog};
use tracer_core::{
    account::Accounts,
    alert::{self, Style, redact::Redactor},
    pipeline::{Output, Totals},
};

/// Where the alert stream goes.
pub trait Sink {
    /// An alert, or losses. What is no alert is passed over.
    fn output(&mut self, output: &Output) -> io::Result<()>;
    /// The run's numbers, last of all.
    fn summary(&mut self, totals: &Totals, accounts: &Accounts) -> io::Result<()>;
    /// Hands on what is buffered.
    fn flush(&mut self) -> io::Result<()>;
    /// How many lines it did not get rid of.
    fn dropped(&self) -> u64 {
        0
    }
}

/// One line an alert, for people.
pub struct Human<W> {
    to: W,
    style: Style,
    redactor: Redactor,
}

impl<W: Write> Human<W> {
    /// Writes to `to`.
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
        // People read the summary on standard error.
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// JSON lines, for programs.
pub struct Json<W> {
    to: W,
    redactor: Redactor,
}

impl<W: Write> Json<W> {
    /// Writes to `to`.
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
