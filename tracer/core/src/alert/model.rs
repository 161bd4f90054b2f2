//! The model of alerts. Its JSON form is that of the alert stream, which
//! `docs/reference/alerts.md` describes.

use std::{
    cmp::Reverse,
    net::SocketAddr,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Deserialize, Serialize};

use super::{json::ALERT_SCHEMA, redact::Redactor, size};
use crate::{
    finding::{
        Confidence, Identification, Kind, Lifetime, Recipient, Scope, Sender, Severity, UrlRole,
        Visited,
    },
    judge::{DerivedHost, Disclosure, JudgedRequest},
    proto::{Initiator, NeverSent, Protocol},
    record::{Extension, Hook, Transport},
};

/// An alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Version of the schema: [`ALERT_SCHEMA`] at the time of writing.
    pub schema: u32,
    /// Type of the line in the alert stream.
    #[serde(rename = "type")]
    pub line: LineType,
    /// Number of the alert in its run.
    pub alert: Option<u64>,
    /// Time at which the request was sent, in RFC 3339.
    pub time: Option<String>,
    /// Severity of the most severe disclosure.
    pub severity: Option<Severity>,
    /// Reason for the severity.
    pub reason: Option<String>,
    /// Short name of the application.
    pub application: String,
    /// The process that sent the request.
    pub process: SendingProcess,
    /// The hook or probe that captured the request.
    pub hook: Hook,
    /// The connection.
    pub connection: Endpoints,
    /// The request, and what it discloses.
    #[serde(flatten)]
    pub content: RequestReport,
}

/// The type of an alert's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineType {
    /// An alert.
    Alert,
}

/// The process that sent a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendingProcess {
    /// User ID.
    pub uid: u32,
    /// Process ID.
    pub pid: u32,
    /// Thread ID.
    pub tid: u32,
    /// Name of the thread, which the process chooses itself.
    pub comm: String,
    /// Path of the executable, if it is known.
    pub exe: Option<String>,
}

/// The endpoints of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The transport.
    pub transport: Transport,
    /// Address of this machine.
    pub local: Option<SocketAddr>,
    /// Address of the peer.
    pub remote: Option<SocketAddr>,
}

/// The fields that alerts and `tracer decode --json` have in common.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RequestReport {
    /// Name of the browser that the application is.
    pub browser: Option<String>,
    /// Reports whether the window is private. `None` if that is not known.
    pub private: Option<bool>,
    /// The sender.
    pub sender: Sender,
    /// The reason to think so, in one clause.
    #[serde(default)]
    pub sender_reason: String,
    /// ID of the extension that sent the request, if the request names it.
    #[serde(default)]
    pub extension: Option<String>,
    /// Name of that extension, if the profile of its browser was read.
    #[serde(default)]
    pub extension_name: Option<String>,
    /// The ID by which users of Firefox know it.
    #[serde(default)]
    pub extension_addon: Option<String>,
    /// The recipient.
    pub recipient: Recipient,
    /// The telemetry SDK whose form the request has.
    pub sdk: Option<String>,
    /// Head of the request.
    pub request: RequestHead,
    /// The likely host, if the request does not name it.
    #[serde(default)]
    pub derived_host: Option<DerivedHost>,
    /// The initiator according to the header fields.
    pub initiator: Initiator,
    /// Set if all of the request is known.
    pub complete: bool,
    /// Number of bytes of the request that are not known.
    pub unread_bytes: u64,
    /// The reason why the request was never sent. `None` if it was sent, or if
    /// that is not known.
    #[serde(default)]
    pub never_sent: Option<NeverSent>,
    /// Number of bytes of the content that are known and could not be decoded:
    /// encrypted once more, or in an unknown format.
    #[serde(default)]
    pub opaque_bytes: u64,
    /// The findings, the most severe first.
    pub findings: Vec<FindingReport>,
    /// Number of findings that are not in the list.
    pub findings_uncounted: u64,
    /// Set if texts were cut or findings left out to bound the size of this report.
    #[serde(default)]
    pub shortened: bool,
    /// Set if reading the whole request would have cost too much. What was not read is in
    /// [`RequestReport::opaque_bytes`].
    #[serde(default)]
    pub limited: bool,
}

/// The head of a request, without its fields.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestHead {
    /// The protocol.
    pub protocol: Protocol,
    /// The method.
    pub method: Option<String>,
    /// The authority.
    pub authority: Option<String>,
    /// The path, with the query.
    pub path: Option<String>,
}

/// A finding with its context.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FindingReport {
    /// Kind of the finding.
    pub kind: Kind,
    /// The identifier, personal detail or hash that was found.
    pub class: Option<String>,
    /// The value, as sent or redacted.
    pub value: String,
    /// The steps from the request to the value, outermost first.
    pub chain: String,
    /// Set if the value continues in bytes that are not known.
    pub truncated: bool,
    /// Role of a URL by its place. `None` for other kinds.
    #[serde(default)]
    pub role: Option<UrlRole>,
    /// Part of a URL that the finding reveals.
    pub scope: Option<Scope>,
    /// The visit that the finding is about.
    pub visited: Option<Visited>,
    /// The degree to which an identifier identifies.
    pub identification: Option<Identification>,
    /// The time for which an identifier stays the same.
    #[serde(default)]
    pub lifetime: Option<Lifetime>,
    /// Reason for the lifetime.
    #[serde(default)]
    pub lifetime_reason: Option<String>,
    /// The confidence in the finding.
    pub confidence: Confidence,
    /// The severity.
    pub severity: Severity,
    /// The reason for the severity.
    pub reason: String,
}

impl Alert {
    /// Creates the alert of a request, with values as sent.
    pub fn new(request: &JudgedRequest) -> Self {
        let sent = &request.sent;
        let verdict = request.verdict();
        Self {
            schema: ALERT_SCHEMA,
            line: LineType::Alert,
            alert: request.alert.new_number(),
            time: request.unix.map(rfc3339),
            severity: verdict.map(|verdict| verdict.severity),
            reason: verdict.map(|verdict| verdict.reason.clone()),
            application: request.application.name().to_owned(),
            process: SendingProcess {
                uid: sent.process.uid,
                pid: sent.process.tgid,
                tid: sent.process.tid,
                comm: sent.process.comm.clone(),
                exe: request.application.executable.clone(),
            },
            hook: sent.hook,
            connection: Endpoints {
                transport: sent.connection.transport,
                local: sent.connection.local,
                remote: sent.connection.remote,
            },
            content: RequestReport::new(request),
        }
    }

    /// Redacts the values.
    #[must_use]
    pub fn redacted(mut self, redactor: &Redactor) -> Self {
        let content = &mut self.content;
        if let Some(path) = &mut content.request.path {
            *path = redactor.url(path);
        }
        for finding in &mut content.findings {
            finding.value = redactor.finding(finding.kind, &finding.value);
            if let Some(Visited::Page { url, .. }) = &mut finding.visited {
                *url = redactor.url(url);
            }
        }
        self
    }

    /// Returns the authority of the request, its derived host, or the address of
    /// the peer.
    pub fn host(&self) -> String {
        let content = &self.content;
        match (&content.request.authority, &content.derived_host, self.connection.remote) {
            (Some(authority), ..) => authority.clone(),
            (None, Some(host), _) => host.name.clone(),
            (None, None, Some(remote)) => remote.to_string(),
            (None, None, None) => "an unknown host".into(),
        }
    }

    /// Returns the findings that are as severe as the alert.
    pub fn most_severe_findings(&self) -> Vec<&FindingReport> {
        let is_severe = |finding: &&FindingReport| Some(finding.severity) >= self.severity;
        self.content.findings.iter().filter(is_severe).collect()
    }
}

impl RequestReport {
    /// Names the extension that sent the request, if it is known.
    pub fn name_extension(&mut self, extension: Option<&Extension>) {
        self.extension_name = extension.map(|extension| extension.name.clone());
        self.extension_addon = extension.and_then(|extension| extension.addon.clone());
    }

    /// Reports a request, with values as sent, in a bounded size.
    pub fn new(judged: &JudgedRequest) -> Self {
        let request = &judged.sent.message;
        let mut findings: Vec<_> = judged.disclosures.iter().map(FindingReport::new).collect();
        // The sort is stable: equally severe findings stay in the request's order.
        findings.sort_by_key(|finding| Reverse(finding.severity));
        let mut report = Self {
            browser: judged.browser.as_ref().map(|browser| browser.name.to_string()),
            private: judged.private,
            sender: judged.sender(),
            sender_reason: judged.sender_reason().to_owned(),
            extension: judged.extension_id().map(str::to_owned),
            extension_name: None,
            extension_addon: None,
            recipient: judged.recipient.clone(),
            sdk: judged.sdk.clone(),
            request: RequestHead {
                protocol: request.protocol,
                method: request.method.clone(),
                authority: request.authority.clone(),
                path: request.path.clone(),
            },
            derived_host: judged.derived_host.clone(),
            initiator: judged.initiator,
            complete: request.complete,
            unread_bytes: request.unread_bytes,
            never_sent: request.never_sent,
            opaque_bytes: judged.opaque_bytes(),
            findings,
            findings_uncounted: judged.findings_uncounted,
            shortened: false,
            limited: judged.report.reached.any(),
        };
        size::bound(&mut report);
        report
    }
}

impl FindingReport {
    fn new(disclosure: &Disclosure) -> Self {
        let Disclosure { finding, verdict, .. } = disclosure;
        let (lifetime, lifetime_reason) = disclosure.lifetime();
        Self {
            kind: finding.kind,
            class: finding.class.clone(),
            value: finding.value.clone(),
            chain: finding.chain.clone(),
            truncated: finding.truncated,
            role: finding.role,
            scope: disclosure.scope,
            visited: disclosure.visited.clone(),
            identification: disclosure.identification,
            lifetime,
            lifetime_reason: lifetime_reason.map(str::to_owned),
            confidence: disclosure.confidence.clone(),
            severity: verdict.severity,
            reason: verdict.reason.clone(),
        }
    }
}

/// Formats nanoseconds since 1970-01-01 UTC as in RFC 3339, with milliseconds.
pub fn rfc3339(unix: u64) -> String {
    humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(unix)).to_string()
}
