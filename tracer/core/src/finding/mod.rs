//! The vocabulary of judgement: findings, and the words in which their context
//! is described. Rules, detection, judgement and output share it.

mod identifier;
mod kind;
mod recipient;
mod role;
mod severity;
mod visited;

use std::ops::Range;

use serde::Serialize;

pub use self::{
    identifier::{Identification, Lifetime},
    kind::Kind,
    recipient::{Category, Recipient, RecipientKind},
    role::UrlRole,
    severity::{ALERT, Confidence, Level, Severity, Verdict},
    visited::{Scope, Visited, VisitedKind},
};

/// The sender of a request: the initiator that its header fields claim, unless
/// they contradict each other.
pub type Sender = crate::proto::Initiator;

/// A fact about the bytes of one request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Kind of the finding.
    pub kind: Kind,
    /// Class of the identifier, personal detail or hash, as listed in
    /// `docs/reference/detection.md`. `None` for kinds without classes.
    pub class: Option<String>,
    /// The value as sent.
    pub value: String,
    /// The steps from the request to the value, outermost first.
    pub chain: String,
    /// Set if the value continues in bytes that are not known.
    pub truncated: bool,
    /// Lifetime of an identifier. `None` for other kinds.
    pub lifetime: Option<Lifetime>,
    /// Role of a URL. `None` for other kinds.
    pub role: Option<UrlRole>,
    /// Reason for the lifetime.
    pub lifetime_reason: Option<String>,
}

/// A value that becomes a finding only if it returns in later requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Kind of the candidate.
    pub kind: CandidateKind,
    /// The value as sent.
    pub value: String,
    /// The steps from the request to the value, outermost first.
    pub chain: String,
}

/// A value that is a part of a visited URL, and discloses it together with others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlPart {
    /// The visited URL.
    pub url: String,
    /// The part of it that the value is.
    pub range: Range<usize>,
    /// The scheme with which the value begins.
    pub scheme: Option<String>,
    /// The steps from the request to the value, outermost first.
    pub chain: String,
}

/// The kind of a candidate: what it may turn out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CandidateKind {
    /// An identifier: the value has the entropy of one.
    Identifier,
    /// Text that the user is typing.
    TypedText,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::proto::{Initiator, Protocol};

    #[test]
    fn names_are_those_in_json() {
        for kind in Kind::ALL {
            assert_eq!(json!(kind), kind.as_str());
        }
        use Severity::{Critical, High, Info, Low, Medium};
        for severity in [Info, Low, Medium, High, Critical] {
            assert_eq!(json!(severity), severity.as_str());
            assert_eq!(severity.label(), severity.as_str().to_uppercase());
        }
        use Initiator::{Browser, Extension, Navigation, Page, Unknown};
        for sender in [Navigation, Page, Browser, Extension, Unknown] {
            assert_eq!(json!(sender), sender.as_str());
        }
        use Lifetime::{Lasting, Request, Session};
        for lifetime in [Lasting, Session, Request, Lifetime::Unknown] {
            assert_eq!(json!(lifetime), lifetime.as_str());
        }
        use Protocol::{Dns, Http1, Http2, Http3, WebSocket};
        for protocol in [Http1, Http2, Http3, WebSocket, Dns] {
            assert_eq!(json!(protocol), protocol.as_str());
        }
        use UrlRole::{Callback, Page as PageRole, Reference, Resource, Software};
        for role in [PageRole, Resource, Callback, Reference, Software, UrlRole::Unknown] {
            assert_eq!(json!(role), role.as_str());
        }
        let name = String::new;
        for recipient in [
            Recipient::SameSite,
            Recipient::Maker { name: name() },
            Recipient::Service { name: name(), category: Category::Search },
            Recipient::Local,
            Recipient::ThirdParty,
            Recipient::Unknown,
        ] {
            assert_eq!(json!(recipient)["kind"], recipient.as_str());
        }
    }
}
