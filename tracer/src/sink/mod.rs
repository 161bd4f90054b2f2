//! Sinks write alerts: as text lines, as JSON lines, or to the system log.
//!
//! Alerts contain the user's browsing history. The session redacts their values before the sinks
//! get them, unless the user asks otherwise. See [`tracer_core::alert::redact`].

mod presentation;
mod system;

use std::io::{self, Write};

pub use self::{
    presentation::{Presentation, Terminal, Text},
    system::{Log, SystemLog},
};
use tracer_core::{
    account::Accounts,
    alert::{Notice, json},
    pipeline::Totals,
};

/// A destination of the alert stream.
pub trait Sink {
    /// Writes a notice. Its values are already redacted.
    fn notice(&mut self, notice: &Notice) -> io::Result<()>;
    /// Writes the totals at the end of the run.
    fn summary(&mut self, totals: &Totals, accounts: &Accounts) -> io::Result<()>;
    /// Writes buffered data.
    fn flush(&mut self) -> io::Result<()>;
    /// Returns the number of lines that could not be written.
    fn dropped(&self) -> u64 {
        0
    }
}

/// Writes alerts as text.
pub struct Human<'a, W> {
    to: W,
    text: &'a mut Text,
}

impl<'a, W: Write> Human<'a, W> {
    /// Creates a sink that writes to `to`.
    pub fn new(to: W, text: &'a mut Text) -> Self {
        Self { to, text }
    }
}

impl<W: Write> Sink for Human<'_, W> {
    fn notice(&mut self, notice: &Notice) -> io::Result<()> {
        writeln!(self.to, "{}", self.text.notice(notice))
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
}

impl<W: Write> Json<W> {
    /// Creates a sink that writes to `to`.
    pub fn new(to: W) -> Self {
        Self { to }
    }

    fn line(&mut self, line: &serde_json::Value) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, line)?;
        self.to.write_all(b"\n")
    }
}

impl<W: Write> Sink for Json<W> {
    fn notice(&mut self, notice: &Notice) -> io::Result<()> {
        self.line(&json::notice(notice))
    }

    fn summary(&mut self, totals: &Totals, accounts: &Accounts) -> io::Result<()> {
        self.line(&json::summary(totals, accounts))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
