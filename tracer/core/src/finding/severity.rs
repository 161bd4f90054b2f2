//! The outcome of judgement.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The severity of a disclosure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth counting.
    Info,
    /// Worth knowing.
    Low,
    /// Worth asking about.
    Medium,
    /// Reveals what the user visits or does.
    High,
    /// Reveals visits or actions together with an identity, or from private mode.
    Critical,
}

impl Severity {
    /// Returns the name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Returns the name in capitals, as the terminal shows it.
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

/// The lowest severity of an alert.
pub const ALERT: Severity = Severity::Medium;

/// A severity and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// The severity.
    pub severity: Severity,
    /// The reason, in one sentence.
    pub reason: String,
}

/// A level of confidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// The value may be something else.
    Low,
    /// The value is what it seems to be, except by chance or forgery.
    Medium,
    /// The value is what it seems to be.
    High,
}

/// The confidence in a disclosure, and the reason for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confidence {
    /// The level.
    pub level: Level,
    /// The reason, in one sentence.
    pub reason: Cow<'static, str>,
}
