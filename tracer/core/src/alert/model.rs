//! An alert as it is shown and kept: all that is said of a request, in plain
//! values.
//!
//! ```text
//! Decoded ──▶ Alert ──▶ store (values as sent)
//!               │         │
//!               └────┬────┘
//!                    ▼
//!                redacted ──▶ a line for people, JSON, the system's log
//! ```
//!
//! Its JSON form is the alert stream's; `docs/reference/alerts.md` describes it.

use std::{
    net::SocketAddr,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{json::ALERT_SCHEMA, redact::Redactor};
use crate::{
    finding::{Finding, Identification, Kind, Level, Recipient, Scope, Sender, Severity, Visited},
    judge::Disclosure,
    pipeline::Decoded,
    proto::{Initiator, Protocol},
    record::{Hook, Transport},
};

/// An alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// [`ALERT_SCHEMA`], when it was made.
    pub schema: u32,
    /// What kind of line this is in the alert stream.
    #[serde(rename = "type")]
    pub line: LineType,
    /// Its number in its run.
    pub alert: Option<u64>,
    /// When the request was sent, in RFC 3339.
    pub time: Option<String>,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// Why.
    pub reason: Option<String>,
    /// The application's short name.
    pub application: String,
    /// Which process sent.
    pub process: Sending,
    /// Where the bytes were taken.
    pub hook: Hook,
    /// On which connection.
    pub connection: Ends,
    /// The request, and what it discloses.
    #[serde(flatten)]
    pub content: Content,
}

/// The type of an alert's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineType {
    /// An alert.
    Alert,
}

/// The process that sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    /// Its user.
    pub uid: u32,
    /// Its number.
    pub pid: u32,
    /// Its thread's number.
    pub tid: u32,
    /// Its thread's name, which it chooses itself.
    pub comm: String,
    /// Its executable, where it is known.
    pub exe: Option<String>,
}

/// The connection's ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// The transport.
    pub transport: Transport,
    /// This machine's end.
    pub local: Option<SocketAddr>,
    /// The other.
    pub remote: Option<SocketAddr>,
}

/// What alerts and `tracer decode --json` have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Content {
    /// The browser that the application is.
    pub browser: Option<String>,
    /// In a private window; `None` where nobody can tell.
    pub private: Option<bool>,
    /// Who made the request, all in all.
    pub sender: Sender,
    /// Who gets it.
    pub recipient: Recipient,
    /// The telemetry SDK whose form it has.
    pub sdk: Option<String>,
    /// The request.
    pub request: Head,
    /// Who made it, as its header fields have it.
    pub initiator: Initiator,
    /// All of it is known.
    pub complete: bool,
    /// How many bytes of it are not.
    pub unread_bytes: u64,
    /// How many bytes of its content are known and could not be read through:
    /// encrypted once more, or of unknown form.
    #[serde(default)]
    pub opaque_bytes: u64,
    /// What it discloses.
    pub findings: Vec<Found>,
    /// How many findings are not in the list.
    pub findings_uncounted: u64,
}

/// A request's head, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its protocol.
    pub protocol: Protocol,
    /// Its method.
    pub method: Option<String>,
    /// Whom it asks.
    pub authority: Option<String>,
    /// For what.
    pub path: Option<String>,
}

/// A finding, in its context as far as that is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// Which identifier, detail or hash.
    pub class: Option<String>,
    /// The value as sent, or redacted.
    pub value: String,
    /// How it was wrapped.
    pub chain: String,
    /// It goes on in bytes that are not known.
    pub truncated: bool,
    /// How much of a URL it tells.
    pub scope: Option<Scope>,
    /// Which visit it is about.
    pub visited: Option<Visited>,
    /// What is known of an identifier's life.
    pub identification: Option<Identification>,
    /// How sure it is.
    pub confidence: Option<Sure>,
    /// How bad it is.
    pub severity: Option<Severity>,
    /// Why.
    pub reason: Option<String>,
}

/// How sure a finding is, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sure {
    /// How sure.
    pub level: Level,
    /// Why.
    pub reason: String,
}

impl Alert {
    /// What is to be said of a request, values as sent.
    pub fn of(decoded: &Decoded) -> Self {
        let sent = &decoded.sent;
        Self {
            schema: ALERT_SCHEMA,
            line: LineType::Alert,
            alert: decoded.alert,
            time: decoded.unix.map(rfc3339),
            severity: decoded.verdict.as_ref().map(|verdict| verdict.severity),
            reason: decoded.verdict.as_ref().map(|verdict| verdict.reason.to_owned()),
            application: decoded.application.name().to_owned(),
            process: Sending {
                uid: sent.process.uid,
                pid: sent.process.tgid,
                tid: sent.process.tid,
                comm: sent.process.comm.clone(),
                exe: decoded.exe.clone(),
            },
            hook: sent.hook,
            connection: Ends {
                transport: sent.connection.transport,
                local: sent.connection.local,
                remote: sent.connection.remote,
            },
            content: Content::of(decoded),
        }
    }

    /// The same with its values redacted.
    #[must_use]
    pub fn redacted(mut self, redactor: &Redactor) -> Self {
        let content = &mut self.content;
        if let Some(path) = &mut content.request.path {
            *path = redactor.url(path);
        }
        for found in &mut content.findings {
            found.value = redactor.finding(found.kind, &found.value);
            if let Some(Visited::Page { url, .. }) = &mut found.visited {
                *url = redactor.url(url);
            }
        }
        self
    }

    /// Whom it was told to, for people.
    pub fn host(&self) -> String {
        match (&self.content.request.authority, self.connection.remote) {
            (Some(authority), _) => authority.clone(),
            (None, Some(remote)) => remote.to_string(),
            (None, None) => "an unknown host".into(),
        }
    }

    /// The findings that make it an alert: those that are as bad as it is.
    /// Where none was judged for itself, the URLs of other sites.
    pub fn grave(&self) -> Vec<&Found> {
        let findings = &self.content.findings;
        let judged =
            findings.iter().filter(|f| f.severity.is_some() && f.severity >= self.severity);
        let judged: Vec<_> = judged.collect();
        if judged.is_empty() {
            return findings.iter().filter(|found| found.kind == Kind::Url).collect();
        }
        judged
    }
}

impl Content {
    /// What a request says, values as sent.
    pub(super) fn of(decoded: &Decoded) -> Self {
        let request = &decoded.sent.message;
        Self {
            browser: decoded.browser.clone(),
            private: decoded.private,
            sender: decoded.sender,
            recipient: decoded.recipient.clone(),
            sdk: decoded.findings.sdk.clone(),
            request: Head {
                protocol: request.protocol,
                method: request.method.clone(),
                authority: request.authority.clone(),
                path: request.path.clone(),
            },
            initiator: decoded.initiator,
            complete: request.complete,
            unread_bytes: request.unread_bytes,
            opaque_bytes: decoded.findings.report.unread(),
            findings: findings(decoded),
            findings_uncounted: decoded.findings.uncounted,
        }
    }
}

/// The disclosures, gravest first, and the findings that are in none: those have
/// no context.
fn findings(decoded: &Decoded) -> Vec<Found> {
    let disclosures = &decoded.disclosures;
    // Both lists are short (`MAX_FINDINGS`).
    let alone = decoded
        .findings
        .list
        .iter()
        .filter(|finding| disclosures.iter().all(|disclosure| disclosure.finding != **finding));
    let mut found: Vec<Found> =
        disclosures.iter().map(Found::disclosed).chain(alone.map(Found::alone)).collect();
    // Stable: what is equally bad stays in the request's order.
    found.sort_by_key(|found| std::cmp::Reverse(found.severity));
    found
}

impl Found {
    fn disclosed(disclosure: &Disclosure) -> Self {
        Self {
            scope: disclosure.scope,
            visited: disclosure.visited.clone(),
            identification: disclosure.identification,
            confidence: Some(Sure {
                level: disclosure.confidence.level,
                reason: disclosure.confidence.reason.to_owned(),
            }),
            severity: Some(disclosure.verdict.severity),
            reason: Some(disclosure.verdict.reason.to_owned()),
            ..Self::alone(&disclosure.finding)
        }
    }

    fn alone(finding: &Finding) -> Self {
        Self {
            kind: finding.kind,
            class: finding.class.clone(),
            value: finding.value.clone(),
            chain: finding.chain.clone(),
            truncated: finding.truncated,
            scope: None,
            visited: None,
            identification: None,
            confidence: None,
            severity: None,
            reason: None,
        }
    }
}

/// Nanoseconds since 1970-01-01 UTC, as RFC 3339 writes it, to the millisecond.
pub fn rfc3339(unix: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(unix)).to_string()
}
