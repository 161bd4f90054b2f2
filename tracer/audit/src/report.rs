//! The report: everything that an audit found, in plain values. Its JSON form is `report.json`;
//! `docs/reference/report.md` describes it.

mod answers;
mod disclosures;
mod reading;
mod runs;
mod senders;

use serde::{Deserialize, Serialize};

pub use self::{
    answers::{Answer, Conclusion, Count, ExtentCount, MAX_EVIDENCE, Protection, Question},
    disclosures::{DecodeStep, DisclosureReport, IdentifierReport, Item, ItemKind, Persistence},
    reading::{NotArrived, NotUnderstood, Reading, UnfinishedReport, UnreachedReport},
    runs::{
        DependenceReport, ExperimentReport, PhaseReport, RecipientReport, VisitRecipient,
        VisitReport, WithVisitsReport,
    },
    senders::{LookupReport, SenderReport},
};
use super::journal::Subject;

/// Version of the report's schema. It increases when a field is removed or changes its meaning. In
/// version 2, a "no" about pages requires an experiment.
pub const REPORT_SCHEMA: u32 = 2;

/// Everything that an audit found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_SCHEMA`].
    pub schema: u32,
    /// Random number that identifies the run.
    pub run: String,
    /// Version of tracer that wrote the report.
    pub tracer: String,
    /// The audited browser.
    pub subject: Subject,
    /// Time at which the run began, RFC 3339.
    pub began: Option<String>,
    /// Time at which it ended; null for a run that was killed.
    pub ended: Option<String>,
    /// True if every phase was completed or skipped on purpose. Otherwise, [`Report::notes`] gives
    /// the reason.
    pub complete: bool,
    /// True if values that reveal something about a person or device are digests.
    pub redacted: bool,
    /// The result in three sentences. Empty in reports of earlier versions.
    #[serde(default)]
    pub summary: Vec<String>,
    /// The answers.
    pub verdicts: Vec<Conclusion>,
    /// The phases, in order.
    pub phases: Vec<PhaseReport>,
    /// Recipients of the browser's own requests, those that learned of the most pages first.
    pub recipients: Vec<RecipientReport>,
    /// The parts of the browser that disclosed something, those that disclosed the most pages first.
    #[serde(default)]
    pub senders: Vec<SenderReport>,
    /// Names that were looked up over DNS, without the pages' own, those with most queries first.
    #[serde(default)]
    pub lookups: Vec<LookupReport>,
    /// Number of DNS queries for names that are not in the list.
    #[serde(default)]
    pub lookups_uncounted: u64,
    /// Identifiers, those sent with visited pages first.
    pub identifiers: Vec<IdentifierReport>,
    /// The experiments, in order.
    #[serde(default)]
    pub experiments: Vec<ExperimentReport>,
    /// Requests that disclose something, in order.
    pub disclosures: Vec<DisclosureReport>,
    /// Number of disclosing requests that are not in the list.
    pub disclosures_uncounted: u64,
    /// Share of the traffic that was read.
    pub reading: Reading,
    /// What the browser tried to send and what did not arrive.
    #[serde(default)]
    pub not_arrived: NotArrived,
    /// Losses and problems, one sentence each.
    pub notes: Vec<String>,
}

/// Why a report cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is not JSON, or not a report.
    #[error("not the report of an audit")]
    Form(#[from] serde_json::Error),
    /// A later version of tracer wrote it.
    #[error(
        "the report has schema {found}, and this version reads schemas up to {REPORT_SCHEMA}; use a newer tracer"
    )]
    Newer {
        /// The report's schema.
        found: u64,
    },
}

impl Report {
    /// Parses `report.json`.
    ///
    /// # Errors
    /// Returns an error for anything else, and for a newer schema.
    pub fn from_json(json: &[u8]) -> Result<Self, ReadError> {
        /// The part that all versions have in common.
        #[derive(Deserialize)]
        struct Versioned {
            schema: u64,
        }
        let Versioned { schema: found } = serde_json::from_slice(json)?;
        if found > u64::from(REPORT_SCHEMA) {
            return Err(ReadError::Newer { found });
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// Returns the answer to a question.
    pub fn verdict(&self, question: Question) -> Option<&Conclusion> {
        self.verdicts.iter().find(|verdict| verdict.question == question)
    }
}
