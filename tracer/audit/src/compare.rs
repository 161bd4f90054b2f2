//! Audits side by side, in the columns of the published studies of browsers:
//! to whom, how much of URLs, with which identifier, how long that lives, in
//! private mode too, tied to an account, how encoded.
//!
//! ```text
//! Report ─┐                      ┌─▶ text
//! Report ─┼─▶ Comparison: a Cell ┼─▶ JSON
//! Report ─┘   for each of both   └─▶ HTML
//! ```

mod cells;
mod html;
#[cfg(test)]
mod tests;
mod text;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;

use super::report::{Answer, Report};

/// The version of a comparison's JSON form.
pub const COMPARISON_SCHEMA: u32 = 1;

/// Several audits side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// [`COMPARISON_SCHEMA`].
    pub schema: u32,
    /// The audits, in the order they were given in.
    pub runs: Vec<Run>,
    /// What the reader has to know: runs given twice or cut short.
    pub notes: Vec<String>,
}

/// An audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Which: the report's `run`.
    pub run: String,
    /// The browser, and its version.
    pub name: String,
    /// When the run began, RFC 3339.
    pub began: Option<String>,
    /// Which tracer wrote the report.
    pub tracer: String,
    /// Whether all phases came to their end.
    pub complete: bool,
    /// What was found.
    pub cells: BTreeMap<Measure, Cell>,
}

/// What is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Whether URLs of visited pages are sent, and how much of them.
    Urls,
    /// Who is told of visited pages.
    Recipients,
    /// The identifiers that go with them.
    Identifier,
    /// Whether those survive a restart,
    SurvivesRestart,
    /// clearing the data,
    SurvivesClearing,
    /// a new installation.
    SurvivesReinstall,
    /// Whether URLs are sent in private mode.
    PrivateMode,
    /// Whether with the same identifier as outside it.
    SameInPrivateMode,
    /// Whether URLs go with the number of an account.
    Account,
    /// How URLs are encoded, and whether that protects them.
    Encoding,
    /// Whether anything is disclosed before consent.
    BeforeConsent,
    /// How much of what was sent was read.
    Read,
}

impl Measure {
    /// All of them, in the order they are shown in.
    pub const ALL: [Self; 12] = [
        Self::Urls,
        Self::Recipients,
        Self::Identifier,
        Self::SurvivesRestart,
        Self::SurvivesClearing,
        Self::SurvivesReinstall,
        Self::PrivateMode,
        Self::SameInPrivateMode,
        Self::Account,
        Self::Encoding,
        Self::BeforeConsent,
        Self::Read,
    ];

    /// What it is called for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Urls => "URLs sent",
            Self::Recipients => "told to",
            Self::Identifier => "identifier with them",
            Self::SurvivesRestart => "survives restart",
            Self::SurvivesClearing => "survives clearing",
            Self::SurvivesReinstall => "survives reinstall",
            Self::PrivateMode => "URLs sent in private mode",
            Self::SameInPrivateMode => "same identifier there",
            Self::Account => "linked to account",
            Self::Encoding => "encoding",
            Self::BeforeConsent => "before consent",
            Self::Read => "share read",
        }
    }
}

/// What was found, of one browser in one respect.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Cell {
    /// The answer, where it is one.
    pub answer: Option<Answer>,
    /// What else is to be said, a line each.
    pub lines: Vec<String>,
}

impl Comparison {
    /// Compares reports. One of a run that came before is left out.
    pub fn new(reports: &[Report]) -> Self {
        let mut comparison =
            Self { schema: COMPARISON_SCHEMA, runs: Vec::new(), notes: Vec::new() };
        let mut names = HashMap::new();
        for report in reports {
            let name = report.subject.full_name();
            if let Some(first) = names.get(&report.run) {
                let note =
                    format!("Run {} ({first}) was given twice; it is shown once.", report.run);
                comparison.notes.push(note);
                continue;
            }
            if !report.complete {
                let note = format!(
                    "Run {} ({name}) did not come to its end: what it lacks was not looked at.",
                    report.run
                );
                comparison.notes.push(note);
            }
            names.insert(report.run.clone(), name.clone());
            comparison.runs.push(Run {
                run: report.run.clone(),
                name,
                began: report.began.clone(),
                tracer: report.tracer.clone(),
                complete: report.complete,
                cells: Measure::ALL.map(|measure| (measure, cells::cell(report, measure))).into(),
            });
        }
        comparison
    }

    /// For people, in lines of at most `width` characters.
    pub fn text(&self, width: usize) -> String {
        text::text(self, width)
    }

    /// As an HTML file that needs nothing else.
    pub fn html(&self) -> String {
        html::document(self).into_string()
    }
}
