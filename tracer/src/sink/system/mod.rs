//! Writes alerts to the system log, through the socket of journald, syslog or Android's logd.
//!
//! Each alert is one datagram. Nothing here blocks: lines that the log does not accept are dropped
//! and counted.

mod journald;
mod logcat;
mod syslog;

use std::{
    io,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::Sink;
use tracer_core::{
    account::Accounts,
    alert::{Alert, Notice, Style, text},
    finding::Severity,
    pipeline::Totals,
};

/// A system log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Log {
    /// systemd's journal.
    Journald,
    /// The syslog daemon at `/dev/log`.
    Syslog,
    /// Android's logd, which `logcat` shows.
    Logcat,
}

impl Log {
    /// All logs, the most detailed first.
    pub const ALL: [Self; 3] = [Self::Journald, Self::Logcat, Self::Syslog];

    /// Returns its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Journald => "journald",
            Self::Syslog => "syslog",
            Self::Logcat => "logcat",
        }
    }

    /// Returns the path of its socket.
    pub fn socket(self) -> &'static Path {
        Path::new(match self {
            Self::Journald => "/run/systemd/journal/socket",
            Self::Syslog => "/dev/log",
            Self::Logcat => "/dev/socket/logdw",
        })
    }

    /// Returns the first log that exists on this system.
    pub fn detect() -> Option<Self> {
        Self::ALL.into_iter().find(|log| log.socket().exists())
    }
}

/// Name of tracer in the log.
const IDENTIFIER: &str = "tracer";

/// The facility `authpriv` (RFC 5424, table 1), whose lines are not readable by all users.
const FACILITY: u8 = 10;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    severity: Option<Severity>,
    message: String,
    /// Parts of the message, for logs with structured fields.
    fields: Vec<(&'static str, String)>,
}

impl Line {
    fn new(notice: &Notice) -> Self {
        match notice {
            Notice::Alert { alert, .. } => Self::alert(alert),
            Notice::Repeated { alert, count, total, .. } => Self {
                severity: None,
                message: text::repeated(*alert, *count, *total),
                fields: vec![("ALERT", alert.to_string())],
            },
            Notice::Lost { loss, count, total } => Self {
                severity: Some(Severity::Medium),
                message: text::lost(*loss, *count, *total),
                fields: Vec::new(),
            },
        }
    }

    fn alert(alert: &Alert) -> Self {
        let content = &alert.content;
        let field = |name, value: Option<String>| value.map(|value| (name, value));
        let private = content.private.map(|private| u8::from(private).to_string());
        let fields = [
            field("ALERT", alert.alert.map(|number| number.to_string())),
            field("SEVERITY", alert.severity.map(|severity| severity.as_str().to_owned())),
            field("REASON", alert.reason.clone()),
            field("APPLICATION", Some(alert.application.clone())),
            field("APPLICATION_UID", Some(alert.process.uid.to_string())),
            field("APPLICATION_PID", Some(alert.process.pid.to_string())),
            field("BROWSER", content.browser.clone()),
            field("PRIVATE", private),
            field("SENDER", Some(content.sender.as_str().to_owned())),
            field("RECIPIENT", Some(content.recipient.as_str().to_owned())),
            field("HOST", Some(alert.host())),
            field("SDK", content.sdk.clone()),
        ];
        Self {
            severity: alert.severity,
            message: text::message(alert, Style::default()),
            fields: fields.into_iter().flatten().collect(),
        }
    }

    /// Returns the severity of syslog (RFC 5424, table 2).
    fn priority(&self) -> u8 {
        match self.severity {
            Some(Severity::Critical) => 2,
            Some(Severity::High) => 3,
            Some(Severity::Medium) => 4,
            Some(Severity::Low) => 5,
            Some(Severity::Info) | None => 6,
        }
    }
}

/// Sink that writes to a system log.
#[derive(Debug)]
pub struct SystemLog {
    log: Log,
    path: PathBuf,
    socket: UnixDatagram,
    dropped: u64,
}

impl SystemLog {
    /// Connects to the log.
    ///
    /// # Errors
    /// If nothing listens on its socket.
    pub fn open(log: Log) -> io::Result<Self> {
        Self::at(log.socket(), log)
    }

    fn at(path: &Path, log: Log) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.set_nonblocking(true)?;
        socket.connect(path)?;
        Ok(Self { log, path: path.to_owned(), socket, dropped: 0 })
    }

    fn send(&mut self, line: &Line) {
        let datagram = match self.log {
            Log::Journald => journald::datagram(line),
            Log::Syslog => syslog::datagram(line, std::process::id()),
            Log::Logcat => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let thread = rustix::thread::gettid().as_raw_nonzero().get();
                logcat::datagram(line, thread, now)
            }
        };
        let mut sent = self.socket.send(&datagram);
        if sent.as_ref().is_err_and(|err| err.kind() != io::ErrorKind::WouldBlock) {
            // The log may have been restarted.
            sent = self.socket.connect(&self.path).and_then(|()| self.socket.send(&datagram));
        }
        self.dropped += u64::from(sent.is_err());
    }
}

impl Sink for SystemLog {
    fn notice(&mut self, notice: &Notice) -> io::Result<()> {
        self.send(&Line::new(notice));
        Ok(())
    }

    fn summary(&mut self, _: &Totals, _: &Accounts) -> io::Result<()> {
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Truncates a text to at most `max` bytes, at a character boundary.
fn cut(text: &str, max: usize) -> &str {
    &text[..text.floor_char_boundary(max)]
}

#[cfg(test)]
mod tests;
