//! The journal: what an audit did, and when. It is `run.json`, written anew at
//! each step, so that a run that is killed leaves what a report needs.

use serde::{Deserialize, Serialize};

use super::{canary::Canary, phase::Phase};
use tracer_core::record::{BootTime, Clock};

/// The version of the journal.
pub const JOURNAL_SCHEMA: u32 = 1;

/// What was done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Journal {
    /// [`JOURNAL_SCHEMA`].
    pub schema: u32,
    /// Which run this is: a random number.
    pub run: String,
    /// What digests in the report are made with, in hexadecimal.
    pub redaction_key: String,
    /// What is audited.
    pub subject: Subject,
    /// What ties the times below to the time of day.
    pub clock: Clock,
    /// When the run began.
    pub began: BootTime,
    /// When it ended; nothing while it runs, and in one that was killed.
    pub ended: Option<BootTime>,
    /// The user ended it early.
    pub interrupted: bool,
    /// What was begun, in order.
    pub stages: Vec<Stage>,
}

/// What is audited.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Subject {
    /// What it is called.
    pub name: String,
    /// Its version, where it says it.
    pub version: Option<String>,
    /// The browser's name in the rules, where they know it.
    pub browser: Option<String>,
    /// What was watched, in the words of the command line.
    pub watched: Vec<String>,
    /// The scenario.
    pub scenario: String,
    /// The kernel, and the machine's architecture.
    pub system: String,
}

impl Subject {
    /// Its name and version. Many programs say their name with it:
    /// `Chromium 156.0`.
    pub fn full_name(&self) -> String {
        match &self.version {
            Some(version) if version.starts_with(&self.name) => version.clone(),
            Some(version) => format!("{} {version}", self.name),
            None => self.name.clone(),
        }
    }
}

/// A phase that was begun, or left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// Which.
    pub phase: Phase,
    /// When it began.
    pub began: BootTime,
    /// When it ended; nothing while it runs.
    pub ended: Option<BootTime>,
    /// How.
    pub outcome: Outcome,
    /// The pages that were opened.
    pub visits: Vec<Visit>,
}

/// How a phase ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Outcome {
    /// It has not. In a report: the run was killed in it.
    Running,
    /// As it should.
    Done,
    /// The user ended the run in it.
    Interrupted,
    /// It was left out.
    Skipped {
        /// Why.
        reason: String,
    },
    /// Something went wrong.
    Failed {
        /// What.
        reason: String,
    },
}

/// A page that was opened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Visit {
    /// The page.
    pub canary: Canary,
    /// How it was opened.
    pub how: How,
    /// When.
    pub at: BootTime,
    /// Whether its server was asked for it; `None` where the server is not
    /// ours.
    pub served: Option<bool>,
}

/// How a page is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// By a command, as by a link.
    Opened,
    /// Its address was typed.
    Typed,
    /// Its words were typed as a search.
    Searched,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_said_once() {
        let of = |version: Option<&str>| {
            let version = version.map(str::to_owned);
            Subject { name: "Chromium".into(), version, ..Subject::default() }.full_name()
        };
        assert_eq!(of(None), "Chromium");
        assert_eq!(of(Some("156.0")), "Chromium 156.0");
        assert_eq!(of(Some("Chromium 156.0")), "Chromium 156.0");
    }
}
