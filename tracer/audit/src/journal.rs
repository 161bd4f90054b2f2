//! The journal: what an audit did, and when. It is `run.json`, rewritten at each step, so that a
//! run that is killed leaves everything that a report needs.

use serde::{Deserialize, Serialize};

use super::{canary::Canary, phase::Phase};
use tracer_core::record::{BootTime, Clock};

/// Version of the journal's format. Version 2 added experiments.
pub const JOURNAL_SCHEMA: u32 = 2;

/// Everything that an audit did. Stages and visits are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// [`JOURNAL_SCHEMA`].
    pub schema: u32,
    /// Random number that identifies the run.
    pub run: String,
    /// Key of the digests in the report, in hexadecimal.
    pub redaction_key: String,
    /// The audited browser.
    pub subject: Subject,
    /// Relates the times below to the time of day.
    pub clock: Clock,
    /// Time at which the run began.
    pub began: BootTime,
    /// Time at which it ended; `None` while it runs, or if it was killed.
    pub ended: Option<BootTime>,
    /// True if the user ended the run early.
    pub interrupted: bool,
    /// The phases that were begun, in order.
    pub stages: Vec<Stage>,
}

/// An audited browser.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// Its version, if it reports one.
    pub version: Option<String>,
    /// Its name in the rules, if they contain it.
    pub browser: Option<String>,
    /// The options that selected the watched processes.
    pub watched: Vec<String>,
    /// Name of the scenario.
    pub scenario: String,
    /// The kernel, and the machine's architecture.
    pub system: String,
}

impl Subject {
    /// Returns name and version. Many programs report their name as a part of the version:
    /// `Chromium 156.0`.
    pub fn full_name(&self) -> String {
        match &self.version {
            Some(version) if version.to_lowercase().contains(&self.name.to_lowercase()) => {
                version.clone()
            }
            Some(version) => format!("{} {version}", self.name),
            None => self.name.clone(),
        }
    }
}

/// A phase that was begun or skipped.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// The phase.
    pub phase: Phase,
    /// Time at which it began.
    pub began: BootTime,
    /// Time at which it ended; `None` while it runs.
    pub ended: Option<BootTime>,
    /// Outcome of the phase.
    pub outcome: Outcome,
    /// The pages that were opened.
    pub visits: Vec<Visit>,
    /// Times at which windows of an experiment began in which the browser was left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub idle: Vec<BootTime>,
}

/// Outcome of a phase.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Outcome {
    /// It has not ended. In a report: the run was killed during it.
    Running,
    /// It was completed.
    Done,
    /// The user ended the run during it.
    Interrupted,
    /// It was skipped.
    Skipped {
        /// The reason.
        reason: String,
    },
    /// It failed.
    Failed {
        /// The error.
        reason: String,
    },
}

/// A page that was opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Visit {
    /// The page.
    pub canary: Canary,
    /// Way in which it was opened.
    pub how: OpenMethod,
    /// Time at which the browser was made to open it.
    pub at: BootTime,
    /// True if the browser requested it, and false if the audit's server received no request or the
    /// operator skipped it. `None` for pages on another server.
    pub served: Option<bool>,
}

/// Way to open a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OpenMethod {
    /// By a command, as if a link was followed.
    Opened,
    /// By typing its address.
    Typed,
    /// By typing its title as a search.
    Searched,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_name_does_not_repeat_the_name() {
        let of = |version: Option<&str>| {
            let version = version.map(str::to_owned);
            Subject { name: "Chromium".into(), version, ..Subject::default() }.full_name()
        };
        assert_eq!(of(None), "Chromium");
        assert_eq!(of(Some("156.0")), "Chromium 156.0");
        assert_eq!(of(Some("Chromium 156.0")), "Chromium 156.0");
        assert_eq!(of(Some("The chromium 156.0")), "The chromium 156.0");
    }
}
