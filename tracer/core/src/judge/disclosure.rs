//! Findings in their context.

use crate::finding::{Confidence, Finding, Identification, Scope, Severity, Verdict, Visited};

/// A finding in its context: what was disclosed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disclosure {
    /// What was found.
    pub finding: Finding,
    /// How much of a URL it tells, where it tells of one.
    pub scope: Option<Scope>,
    /// Which visit it is about, where it can be about one.
    pub visited: Option<Visited>,
    /// For an identifier: what is known of its life.
    pub identification: Option<Identification>,
    /// How sure it is.
    pub confidence: Confidence,
    /// How bad it is, and why.
    pub verdict: Verdict,
}

impl Disclosure {
    /// How bad it is.
    pub fn severity(&self) -> Severity {
        self.verdict.severity
    }
}
