//! Findings in their context.

use std::net::IpAddr;

use super::{
    RETURNING,
    ledger::Place,
    sender::Attribution,
    table::{self, Case},
};
use crate::{
    address::{Address, Site, host_of_authority, is_local, is_local_address, is_loopback},
    application::Application,
    content::Step,
    finding::{
        Confidence, Finding, Identification, Kind, Level, Lifetime, Recipient, Scope, Severity,
        Verdict, Visited,
    },
    proto::{Protocol, Request},
    rules::{Browser, Rules},
    stream::Sent,
    visits::Visits,
};

/// A finding with its context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosure {
    /// The finding.
    pub finding: Finding,
    /// The URL of the finding, parsed. `None` for other kinds of findings, and if
    /// it has no host.
    pub address: Option<Address>,
    /// Part of a URL that the finding reveals. `None` for other kinds of findings.
    pub scope: Option<Scope>,
    /// The visit that the finding is about. `None` if it cannot be about one.
    pub visited: Option<Visited>,
    /// The degree to which an identifier identifies. `None` for other kinds of findings.
    pub identification: Option<Identification>,
    /// The confidence in the finding.
    pub confidence: Confidence,
    /// The severity, and the reason for it.
    pub verdict: Verdict,
}

impl Disclosure {
    /// Returns the severity.
    pub fn severity(&self) -> Severity {
        self.verdict.severity
    }

    /// Returns the lifetime of an identifier, and the reason for it: its name, unless
    /// the value was seen to last longer.
    pub fn lifetime(&self) -> (Option<Lifetime>, Option<&str>) {
        let Finding { lifetime, lifetime_reason, .. } = &self.finding;
        if self.identification == Some(Identification::Lasting)
            && *lifetime != Some(Lifetime::Lasting)
        {
            return (Some(Lifetime::Lasting), Some(LASTED));
        }
        (*lifetime, lifetime_reason.as_deref())
    }
}

/// Reason for the lifetime of a value whose name does not promise it.
const LASTED: &str = "the same value was sent after a restart, or by another application";

/// Returns the most severe verdict.
pub(super) fn most_severe(disclosures: &[Disclosure]) -> Option<&Verdict> {
    disclosures.iter().map(|one| &one.verdict).max_by_key(|verdict| verdict.severity)
}

/// The facts about a request that bear on each of its findings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside {
    /// The degree to which the request identifies.
    pub(super) identifier: Identification,
    /// Number of witnesses that the request reports pages that were looked at.
    pub(super) witnesses: u8,
    /// Set if the sender is unknown and a page may have sent the request.
    pub(super) may_be_page: bool,
}

/// The context that all findings of a request share.
pub(super) struct Context<'a> {
    pub(super) sent: &'a Sent<Request>,
    pub(super) number: u64,
    pub(super) unix: Option<u64>,
    pub(super) application: &'a Application,
    pub(super) browser: Option<&'a Browser>,
    pub(super) private: Option<bool>,
    pub(super) attribution: Attribution,
    pub(super) recipient: &'a Recipient,
    pub(super) site: Option<&'a Site>,
    pub(super) sdk: Option<&'a str>,
    pub(super) reports: bool,
}

impl<'a> Context<'a> {
    /// Returns the place at which the values of the request were seen.
    pub(super) fn place(&self) -> Place<'a> {
        Place {
            application: self.application.name(),
            recipient: self.site.map_or("", Site::as_str),
            request: self.number,
            process: self.sent.process.tgid,
            connection: self.sent.connection.key,
            unix: self.unix.unwrap_or_default(),
        }
    }

    /// Judges a finding. `identification` is the finding's own.
    pub(super) fn disclosure(
        &self,
        finding: Finding,
        identification: Option<Identification>,
        beside: Beside,
        visits: &Visits,
        rules: &Rules,
    ) -> Disclosure {
        let address = match finding.kind {
            Kind::Url | Kind::UrlToUnknown => {
                Address::parse_surt(&finding.value).or_else(|| Address::parse(&finding.value))
            }
            _ => None,
        };
        let (visited, scope) = self.visit(&finding, address.as_ref(), visits).unzip();
        let is_makers_own = finding.kind == Kind::Url
            && matches!(self.recipient, Recipient::Maker { .. })
            && address.as_ref().is_some_and(|address| {
                rules.recipient(host_of_authority(address.host()), self.browser).maker.is_some()
            });
        let recipient = if is_makers_own { &Recipient::SameSite } else { self.recipient };
        let confidence = confidence(&finding, visited.as_ref());
        let case = Case {
            kind: finding.kind,
            class: finding.class.as_deref(),
            sdk: self.sdk,
            reports: self.reports,
            scope,
            role: finding.role,
            witnesses: beside.witnesses + u8::from(matches!(visited, Some(Visited::Page { .. }))),
            visited: visited.as_ref().map(Into::into),
            sender: self.attribution.sender,
            may_be_page: beside.may_be_page && self.may_be_pages(&finding),
            local_connection: is_local_connection(self.sent),
            recipient: recipient.kind(),
            identifier: identification.unwrap_or(beside.identifier),
            private: self.private == Some(true),
            head_cut: self.sent.message.head_cut.is_some(),
            never_sent: self.sent.message.never_sent.is_some(),
        };
        let mut verdict = table::judge(rules.judgement(), &case, recipient);
        // A value that may be something else does not raise an alert.
        if confidence.level == Level::Low {
            verdict.severity = verdict.severity.min(Severity::Low);
        }
        Disclosure { finding, address, scope, visited, identification, confidence, verdict }
    }

    /// Reports whether a page may have sent a finding, if it may have sent the request. Pages
    /// load from hosts that are named after theirs, and need no encoding in the names that
    /// they look up.
    fn may_be_pages(&self, finding: &Finding) -> bool {
        self.sent.message.protocol != Protocol::Dns || finding.chain == Step::Host.to_string()
    }

    /// Returns the visit that a finding is about, and how much of its URL the
    /// finding reveals.
    fn visit(
        &self,
        finding: &Finding,
        address: Option<&Address>,
        visits: &Visits,
    ) -> Option<(Visited, Scope)> {
        let now = self.sent.message.time;
        let find = |address: Option<&Address>, truncated| match address {
            Some(address) => visits.find(address, truncated, now),
            None => (Visited::Unknown, Scope::Host),
        };
        Some(match finding.kind {
            Kind::Url if finding.class.as_deref() == Some("host") => {
                (visits.host(&finding.value, now), Scope::Host)
            }
            Kind::Url | Kind::UrlToUnknown => find(address, finding.truncated),
            Kind::VisitedUrlHash => match visits.hashed(&finding.value, || true) {
                Some(hash) if hash.form.is_host() => (visits.host(&hash.host, now), Scope::Host),
                Some(hash) => find(Address::parse(&hash.address()).as_ref(), false),
                None => (Visited::Unknown, Scope::Full),
            },
            _ => return None,
        })
    }
}

/// Reports whether a request names an address of this machine or of its own network, and its
/// connection goes there. In recordings, an address alone says only where the recorder was: a
/// proxy, or a server that answered in place of another.
fn is_local_connection(sent: &Sent<Request>) -> bool {
    let (Some(authority), Some(remote)) = (&sent.message.authority, sent.connection.remote) else {
        return false;
    };
    let host = host_of_authority(authority);
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let names_remote = bare.parse::<IpAddr>().map_or_else(
        |_| names_address(bare, remote.ip()),
        |address| address.to_canonical() == remote.ip().to_canonical(),
    );
    let port = authority.rsplit_once(']').map_or(&authority[..], |(_, port)| port);
    let port = port.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let is_own = || sent.connection.local.is_some_and(|local| local.ip() == remote.ip());
    names_remote
        && port.map_or(matches!(remote.port(), 80 | 443), |port: u16| port == remote.port())
        && (is_local(host) || is_own())
}

/// Reports whether a name of this machine or of the local network can be that of an address.
fn names_address(name: &str, address: IpAddr) -> bool {
    let address = address.to_canonical();
    if is_loopback(name) {
        return address.is_loopback();
    }
    is_local(name) && is_local_address(&address.to_string())
}

/// Returns the confidence in a finding.
fn confidence(finding: &Finding, visited: Option<&Visited>) -> Confidence {
    let class = finding.class.as_deref().unwrap_or_default();
    let (level, reason) = match (finding.kind, visited) {
        _ if finding.truncated => (Level::Medium, "the value was cut, and may go on"),
        (Kind::VisitedUrlHash, _) if class.starts_with("crc32") || class.starts_with("java") => {
            (Level::Low, "32 bits of a hash agree, in a field that is named for one")
        }
        (Kind::VisitedUrlHash, _) => (Level::High, "64 bits of a hash or more agree"),
        (_, Some(Visited::Page { .. })) => (Level::High, "the same URL was visited"),
        (_, Some(Visited::Host { .. })) => (Level::High, "the host was visited or asked for"),
        (Kind::Url | Kind::UrlToUnknown | Kind::Referer | Kind::Origin, _) => {
            (Level::High, "it is a URL as it was sent")
        }
        (Kind::Identifier, _) => match (finding.lifetime, class) {
            (_, RETURNING) => (Level::Medium, "the same value was sent on several connections"),
            (Some(Lifetime::Unknown) | None, _) => {
                (Level::Medium, "it has the form of an identifier")
            }
            _ => (Level::High, "its field is named for an identifier"),
        },
        (Kind::PersonalDetail, _) => (Level::High, "its form and its field's name agree"),
        (Kind::TypedText, _) => (Level::Medium, "the value grew from request to request"),
        (Kind::SearchTerms | Kind::PageText | Kind::UiEvent | Kind::ContentItem, _) => {
            (Level::Medium, "its field is named for it")
        }
    };
    Confidence { level, reason: reason.into() }
}
