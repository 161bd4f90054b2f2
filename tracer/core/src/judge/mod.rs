//! Judgement: how bad a request's findings are, and why.
//!
//! A finding is a fact about bytes. What it discloses depends on its context:
//! what was visited, who sent it, to whom, with which identifier, in which
//! mode. The context has a memory ([`Judge`]); the judgement itself is a table,
//! `rules/judgement.toml`, of which the first row that fits decides.
//!
//! ```text
//! request, findings ─▶ sender, recipient, visit, identifier ─▶ Case ─▶ Verdict
//! ```
//!
//! Alerts begin at [`ALERT`].

mod case;
mod context;
mod ledger;
mod repeats;
mod sender;
pub(crate) mod table;
mod typed;

use serde::{Deserialize, Serialize};

pub(crate) use self::repeats::{Count, News, Repeats};
pub use self::{
    case::{Judge, Judged, Origin},
    context::{
        Category, Confidence, Disclosure, Identification, Level, Recipient, RecipientKind, Sender,
    },
    ledger::Sighting,
    table::{Case, Table, VisitedKind},
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How bad.
    pub severity: Severity,
    /// Why.
    pub reason: String,
}
