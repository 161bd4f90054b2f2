//! The course of an audit: phases, pages, experiments, recipients.

use serde::{Deserialize, Serialize};

use super::answers::Count;
use crate::{canary::Extent, differential::Factor, journal::Outcome, phase::Phase};
use tracer_core::finding::Recipient;

/// A phase of the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PhaseReport {
    /// The phase.
    pub phase: Phase,
    /// Its name in words.
    pub title: String,
    /// Outcome of the phase.
    pub outcome: Outcome,
    /// Time at which it began, RFC 3339.
    pub began: Option<String>,
    /// The same, in milliseconds since the run began; null if it was skipped.
    pub began_ms: Option<u64>,
    /// Duration in milliseconds.
    pub duration_ms: Option<u64>,
    /// The pages that were opened.
    pub visits: Vec<VisitReport>,
    /// Number of the browser's own requests that were read, without visits and requests by pages.
    pub requests: u64,
    /// Number of requests by pages.
    pub page_requests: u64,
    /// Number of bytes of the browser's own requests that are unknown or could not be read.
    pub unread_bytes: u64,
}

/// A page that was opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VisitReport {
    /// Number of the page in the run, from 1.
    pub id: u64,
    /// Its URL, made up for this audit.
    pub url: String,
    /// Time at which it was opened, in milliseconds since the run began.
    pub at_ms: u64,
    /// Times at which it was opened again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub again_ms: Vec<u64>,
    /// True if the browser requested it; null for pages on another server.
    pub served: Option<bool>,
    /// Recipients that learned of it from the browser.
    pub told: Vec<VisitRecipient>,
}

/// A recipient that learned of a visit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VisitRecipient {
    /// Registrable domain, or address.
    pub recipient: String,
    /// The most that it learned.
    pub scope: Extent,
}

/// An experiment: pages that differ in one part at a time, each opened several times in random order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExperimentReport {
    /// Its phase.
    pub phase: Phase,
    /// Number of visits that the browser made.
    pub visits: u64,
    /// Number of windows in which nothing was done.
    pub idle: u64,
    /// Number of places (recipient and chain) that were examined.
    pub places: u64,
    /// Number of tests, for which the probabilities below have to be corrected.
    pub tests: u64,
    /// Probability that any of the dependences is reported in error.
    pub error_rate: f64,
    /// Number of values and messages that were left out, because there were too many.
    pub dropped: u64,
    /// Dependences on the page, the most certain first.
    pub dependences: Vec<DependenceReport>,
    /// Number of dependences that are not in the list.
    pub dependences_uncounted: u64,
    /// Recipients that received something with each visit.
    pub with_visits: Vec<WithVisitsReport>,
}

/// A place whose values or lengths depend on the page.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DependenceReport {
    /// Registrable domain, or address.
    pub recipient: String,
    /// The place: a chain, without indices of arrays.
    pub place: String,
    /// The properties of the page that it depends on.
    pub depends_on: Vec<Factor>,
    /// True if the page was also found in these requests by decoding them.
    pub readable: bool,
    /// Time at which it is sent, in words.
    pub sent: String,
    /// Probability of such a result without a dependence, before the correction.
    pub p: f64,
    /// Number of pages that it reveals.
    pub pages: u64,
    /// Number of requests that contained it.
    pub requests: u64,
    /// Identifiers in most of these requests, or their digests.
    pub identifiers: Vec<String>,
    /// The first of these requests, by [`DisclosureReport::id`](super::DisclosureReport::id); at most
    /// [`MAX_EVIDENCE`](super::MAX_EVIDENCE).
    pub evidence: Vec<u64>,
}

/// A recipient that received something with each visit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WithVisitsReport {
    /// Registrable domain, or address.
    pub recipient: String,
    /// `request`, `lookup` or `connection`.
    pub what: String,
    /// Number of visits with one, and of all visits.
    pub visits: Count,
    /// Number of idle windows with one, and of all idle windows.
    pub idle: Count,
    /// Probability of such a result without a relation, before the correction.
    pub p: f64,
}

/// A recipient of the browser's own requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecipientReport {
    /// Registrable domain, or address.
    pub recipient: String,
    /// Its role.
    pub who: Recipient,
    /// Its hosts that received requests.
    pub hosts: Vec<String>,
    /// Number of requests that it received.
    pub requests: u64,
    /// Number of pages that it learned of.
    pub visits: u64,
    /// The most that it learned of one.
    pub scope: Option<Extent>,
    /// Number of identifiers that it received.
    pub identifiers: u64,
    /// Phases in which it received requests.
    pub phases: Vec<Phase>,
    /// Number of bytes sent to it that could not be read.
    pub unread_bytes: u64,
}
