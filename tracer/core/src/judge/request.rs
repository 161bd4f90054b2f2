//! Requests before and after judgement.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{Disclosure, disclosure::most_severe, sender::Attribution};
use crate::{
    address::{Site, host_of_authority},
    application::Application,
    content::Report,
    detect::Findings,
    extensions::Extensions,
    finding::{ALERT, Candidate, Finding, Recipient, Sender, Severity, Verdict},
    proto::{Initiator, Protocol, Request, extension_id},
    record::Extension,
    rules::Browser,
    stream::Sent,
};

/// A request with everything that is known about it before judgement.
#[derive(Debug, Clone)]
pub struct DecodedRequest {
    /// The request, its connection and its process.
    pub sent: Sent<Request>,
    /// Number of the request in this run, from 0.
    pub number: u64,
    /// Time at which it was sent, in nanoseconds since 1970-01-01 UTC. `None` if
    /// the trace has no clock.
    pub unix: Option<u64>,
    /// The application that sent it.
    pub application: Arc<Application>,
    /// The browser that the application is, if the rules know it.
    pub browser: Option<Arc<Browser>>,
    /// Reports whether the window is private. `None` if that is not known.
    pub private: Option<bool>,
    /// The initiator according to the header fields.
    pub initiator: Initiator,
    /// The likely host, if the request does not name it.
    pub derived_host: Option<DerivedHost>,
    /// Site of the host. `None` if the host is not known.
    pub site: Option<Site>,
    /// The findings, and the parts that could not be decoded.
    pub findings: Findings,
}

/// A judged request: a request, its context, and what it discloses.
///
/// [`Judge::judge`](super::Judge::judge) makes it from a [`DecodedRequest`].
#[derive(Debug, Clone)]
pub struct JudgedRequest {
    /// The request, its connection and its process.
    pub sent: Sent<Request>,
    /// Number of the request in this run, from 0. It stays the same when the
    /// request is judged again.
    pub number: u64,
    /// Time at which it was sent, in nanoseconds since 1970-01-01 UTC. `None` if
    /// the trace has no clock.
    pub unix: Option<u64>,
    /// The application that sent it.
    pub application: Arc<Application>,
    /// The browser that the application is, if the rules know it.
    pub browser: Option<Arc<Browser>>,
    /// Reports whether the window is private. `None` if that is not known.
    pub private: Option<bool>,
    /// The initiator according to the header fields.
    pub initiator: Initiator,
    /// The sender: the initiator, weighed against what is known of the application.
    pub attribution: Attribution,
    /// The recipient.
    pub recipient: Recipient,
    /// The likely host, if the request does not name it.
    pub derived_host: Option<DerivedHost>,
    /// Site of the host. `None` if the host is not known.
    pub site: Option<Site>,
    /// The telemetry SDK whose form the request has, by its name in the rules.
    pub sdk: Option<String>,
    /// Set if the request reports what happened in the application.
    pub reports: bool,
    /// The findings in their context: first those of the request alone, in the
    /// request's order, then those that show only in several requests.
    pub disclosures: Vec<Disclosure>,
    /// Number of findings beyond [`MAX_FINDINGS`](crate::detect::MAX_FINDINGS).
    pub findings_uncounted: u64,
    /// Values that may be identifiers, although neither their name nor their form
    /// says so: at most [`MAX_CANDIDATES`](crate::detect::MAX_CANDIDATES).
    pub candidates: Vec<Candidate>,
    /// The parts of the content that could not be decoded.
    pub report: Report,
    /// Reports whether the request raises an alert.
    pub alert: AlertStatus,
}

/// A host that the request itself does not name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DerivedHost {
    /// The host name.
    pub name: String,
    /// The source of the name.
    pub from: HostSource,
}

/// The source of a derived host name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HostSource {
    /// The server name in the ClientHello of the same connection.
    ServerName,
    /// Other connections to the same address, all of which name this host.
    Address,
}

impl HostSource {
    /// Returns the source in words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::ServerName => "by the connection's server name",
            Self::Address => "by other connections to its address",
        }
    }
}

/// The relation of a request to the alerts of its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertStatus {
    /// The request is not severe enough for an alert.
    None,
    /// The request raises the alert of this number. Numbers begin at 1.
    New(u64),
    /// The request repeats the alert of this number, and is only counted.
    Repetition(u64),
}

impl AlertStatus {
    /// Returns the number of a new alert.
    pub fn new_number(self) -> Option<u64> {
        match self {
            Self::New(number) => Some(number),
            Self::None | Self::Repetition(_) => None,
        }
    }
}

impl JudgedRequest {
    /// Reports whether the request raises a new alert.
    pub fn is_alert(&self) -> bool {
        matches!(self.alert, AlertStatus::New(_))
    }

    /// Returns the host, as the request names it or derived.
    pub fn host(&self) -> Option<&str> {
        let authority = self.sent.message.authority.as_deref().map(host_of_authority);
        authority.or_else(|| self.derived_host.as_ref().map(|host| &host.name[..]))
    }

    /// Reports whether the host is unknown because the beginning of the connection
    /// is: its later requests refer to it.
    pub fn has_unknown_host(&self) -> bool {
        let request = &self.sent.message;
        let has_table = matches!(request.protocol, Protocol::Http2 | Protocol::Http3);
        has_table && self.host().is_none() && request.unread_bytes == 0
    }

    /// Returns the sender.
    pub fn sender(&self) -> Sender {
        self.attribution.sender
    }

    /// Returns the reason to think so, in one clause.
    pub fn sender_reason(&self) -> &'static str {
        self.attribution.reason
    }

    /// Returns the ID of the extension that the request names as its sender.
    pub fn extension_id(&self) -> Option<&str> {
        extension_id(&self.sent.message)
    }

    /// Returns the extension that the request names as its sender, if it is known by name.
    pub fn extension<'a>(&self, known: &'a Extensions) -> Option<&'a Extension> {
        known.get(self.sent.process.uid, self.extension_id()?)
    }

    /// Returns the most severe verdict. `None` if nothing is disclosed.
    pub fn verdict(&self) -> Option<&Verdict> {
        most_severe(&self.disclosures)
    }

    /// Returns the severity of the most severe disclosure.
    pub fn severity(&self) -> Option<Severity> {
        self.verdict().map(|verdict| verdict.severity)
    }

    /// Returns the findings of all disclosures.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.disclosures.iter().map(|disclosure| &disclosure.finding)
    }

    /// Returns the number of bytes of the content that are known and could not
    /// be decoded.
    pub fn opaque_bytes(&self) -> u64 {
        self.report.unread()
    }
}

/// The facts that distinguish one alert from another: sender, recipient, path,
/// and the severe disclosures.
pub(super) struct DedupKey<'a> {
    pub(super) application: &'a Application,
    pub(super) process: u32,
    pub(super) request: &'a Request,
    pub(super) disclosures: &'a [Disclosure],
}

impl Hash for DedupKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let Self { application, process, request, disclosures } = self;
        let path = request.target().split('?').next().unwrap_or_default();
        (application, process, &request.authority, path).hash(state);
        for Disclosure { finding, .. } in disclosures.iter().filter(|one| one.severity() >= ALERT) {
            (finding.kind, &finding.value, &finding.chain).hash(state);
        }
        most_severe(disclosures).map(|verdict| verdict.severity).hash(state);
    }
}
