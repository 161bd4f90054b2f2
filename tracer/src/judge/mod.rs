//! Judgement: how bad a request's findings are, and why.
//!
//! | found | sent by | severity |
//! |---|---|---|
//! | URL of another site | the browser, an extension, a program | high |
//! | URL of another site | a page | info: pages report to their own analytics |
//! | URL of another site | nobody knows: the head was cut | info: it may be a page |
//! | URL, recipient unknown | anybody | info: it may be the recipient's own |
//! | `Referer`, `Origin` | anybody | info |
//! | anything | a navigation | info: it is the visit itself |
//!
//! Alerts begin at [`ALERT`].

mod context;
pub mod ledger;
pub(crate) mod repeats;
pub(crate) mod typed;

use serde::{Deserialize, Serialize};

pub use self::context::{
    Category, Confidence, Disclosure, Identification, Level, Recipient, Sender,
};

use crate::{
    detect::{Finding, Kind},
    proto::Initiator,
};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth counting.
    Info,
    /// Worth knowing.
    Low,
    /// Worth asking about.
    Medium,
    /// What the user visits or does is told.
    High,
    /// It is told together with who the user is, or in private mode.
    Critical,
}

impl Severity {
    /// Its name, in capitals, for the terminal.
    pub fn label(self) -> &'static str {
        match self {
            Self::Info => "INFO",
            Self::Low => "LOW",
            Self::Medium => "MEDIUM",
            Self::High => "HIGH",
            Self::Critical => "CRITICAL",
        }
    }
}

/// From this severity on, a request is an alert.
pub const ALERT: Severity = Severity::Medium;

/// A severity and its reason, in one sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How bad.
    pub severity: Severity,
    /// Why.
    pub reason: &'static str,
}

/// Judges one finding in a request that `initiator` made. Where the request's
/// head was cut (`head_cut`), an unknown initiator may be anybody: the fields
/// that would tell may be among those that are missing.
pub fn verdict(finding: &Finding, initiator: Initiator, head_cut: bool) -> Verdict {
    let info = |reason| Verdict { severity: Severity::Info, reason };
    let high = |reason| Verdict { severity: Severity::High, reason };
    match (finding.kind, initiator) {
        (Kind::Referer | Kind::Origin, _) => {
            info("the request says which page it comes from, as browsers do")
        }
        (Kind::UrlToUnknown, _) => {
            info("the request's head was cut: the URL may be the recipient's own")
        }
        (kind, _) if kind != Kind::Url => info("not judged yet"),
        (_, Initiator::Navigation) => info("the URL is part of the visit itself"),
        (_, Initiator::Page) => info("a page told another site about a URL"),
        (_, Initiator::Browser) => high("the browser told another site about a URL"),
        (_, Initiator::Extension) => high("a browser extension told another site about a URL"),
        (_, Initiator::Unknown) if head_cut => {
            info("the request's head was cut: a page may have told another site about a URL")
        }
        (_, Initiator::Unknown) => high("the application told another site about a URL"),
    }
}

/// The gravest verdict on a request's findings; `None` where there are none.
pub fn judge(findings: &[Finding], initiator: Initiator, head_cut: bool) -> Option<Verdict> {
    findings
        .iter()
        .map(|finding| verdict(finding, initiator, head_cut))
        .max_by_key(|verdict| verdict.severity)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn severity(kind: Kind, initiator: Initiator) -> Severity {
        let finding = Finding {
            kind,
            class: None,
            value: String::new(),
            chain: String::new(),
            truncated: false,
        };
        verdict(&finding, initiator, false).severity
    }

    #[test]
    fn pages_and_visits_are_not_accused() {
        for initiator in [Initiator::Page, Initiator::Navigation] {
            assert!(severity(Kind::Url, initiator) < ALERT);
        }
        for initiator in [Initiator::Browser, Initiator::Extension, Initiator::Unknown] {
            assert!(severity(Kind::Url, initiator) >= ALERT);
            assert!(severity(Kind::Referer, initiator) < ALERT);
            assert!(severity(Kind::UrlToUnknown, initiator) < ALERT);
        }
    }

    #[test]
    fn a_cut_head_accuses_nobody_but_whom_it_names() {
        let finding = Finding {
            kind: Kind::Url,
            class: None,
            value: String::new(),
            chain: String::new(),
            truncated: false,
        };
        let severity = |initiator| verdict(&finding, initiator, true).severity;
        assert!(severity(Initiator::Unknown) < ALERT);
        assert!(severity(Initiator::Browser) >= ALERT);
        assert!(severity(Initiator::Extension) >= ALERT);
    }
}
