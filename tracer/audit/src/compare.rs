//! Compares audits by the criteria of published studies of browsers: recipients, disclosed part of
//! URLs, identifiers and their persistence, private mode, link to an account, encoding.
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

/// Version of a comparison's JSON form.
pub const COMPARISON_SCHEMA: u32 = 1;

/// Several audits side by side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// [`COMPARISON_SCHEMA`].
    pub schema: u32,
    /// The audits, in the given order.
    pub runs: Vec<Run>,
    /// Notes on incomplete runs, and on runs given twice.
    pub notes: Vec<String>,
}

/// An audit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Run {
    /// The report's `run`.
    pub run: String,
    /// Name and version of the browser.
    pub name: String,
    /// The folder or file that it was read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Time at which the run began, RFC 3339.
    pub began: Option<String>,
    /// Version of tracer that wrote the report.
    pub tracer: String,
    /// True if every phase was completed or skipped on purpose.
    pub complete: bool,
    /// The results.
    pub cells: BTreeMap<Measure, Cell>,
}

/// A criterion of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Disclosure of visited pages, and of which part of their URLs.
    Urls,
    /// Recipients that learn of visited pages.
    Recipients,
    /// Identifiers sent with visited pages.
    Identifier,
    /// Persistence of these identifiers across a restart.
    SurvivesRestart,
    /// Their persistence after the data was cleared.
    SurvivesClearing,
    /// Their persistence after the browser was reinstalled.
    SurvivesReinstall,
    /// Disclosure of visited pages in private mode.
    PrivateMode,
    /// Use of the same identifier in private mode and outside it.
    SameInPrivateMode,
    /// Account numbers sent with visited pages.
    Account,
    /// Encoding and protection of URLs.
    Encoding,
    /// Disclosures before consent.
    BeforeConsent,
    /// Share of the traffic that was read.
    Read,
}

impl Measure {
    /// All criteria, in the order in which they are shown.
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

    /// Returns its name in words.
    pub fn title(self) -> &'static str {
        match self {
            Self::Urls => "URLs sent",
            Self::Recipients => "recipients",
            Self::Identifier => "identifier sent along",
            Self::SurvivesRestart => "survives restart",
            Self::SurvivesClearing => "survives clearing",
            Self::SurvivesReinstall => "survives reinstall",
            Self::PrivateMode => "URLs sent in private mode",
            Self::SameInPrivateMode => "same identifier in private mode",
            Self::Account => "linked to account",
            Self::Encoding => "encoding",
            Self::BeforeConsent => "before consent",
            Self::Read => "share read",
        }
    }
}

/// The result of one browser for one criterion.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Cell {
    /// The answer, if the criterion has one.
    pub answer: Option<Answer>,
    /// Details, one per line.
    pub lines: Vec<String>,
}

impl Run {
    /// Number of characters of a run's number that are shown.
    const SHOWN: usize = 12;

    /// Returns the beginning of its number, which distinguishes runs.
    fn short(&self) -> &str {
        self.run.char_indices().nth(Self::SHOWN).map_or(&self.run, |(end, _)| &self.run[..end])
    }
}

impl Comparison {
    /// Compares reports. A run that is given twice is shown once.
    pub fn new(reports: &[Report]) -> Self {
        Self::from_sources(reports.iter().map(|report| (None, report)))
    }

    /// Compares reports, each with the name of the folder or file that it was read from.
    pub fn from_sources<'a>(
        reports: impl IntoIterator<Item = (Option<String>, &'a Report)>,
    ) -> Self {
        let mut comparison =
            Self { schema: COMPARISON_SCHEMA, runs: Vec::new(), notes: Vec::new() };
        let mut names = HashMap::new();
        for (source, report) in reports {
            let name = report.subject.full_name();
            if let Some(first) = names.get(&report.run) {
                let note =
                    format!("Run {} ({first}) was given twice; it is shown once.", report.run);
                comparison.notes.push(note);
                continue;
            }
            if !report.complete {
                let note = format!(
                    "Run {} ({name}) is incomplete; phases that it lacks were not tested.",
                    report.run
                );
                comparison.notes.push(note);
            }
            names.insert(report.run.clone(), name.clone());
            comparison.runs.push(Run {
                run: report.run.clone(),
                name,
                source,
                began: report.began.clone(),
                tracer: report.tracer.clone(),
                complete: report.complete,
                cells: Measure::ALL.map(|measure| (measure, cells::cell(report, measure))).into(),
            });
        }
        comparison
    }

    /// Formats it as text, in lines of at most `width` characters.
    pub fn text(&self, width: usize) -> String {
        text::text(self, width)
    }

    /// Formats it as a single HTML file.
    pub fn html(&self) -> String {
        html::document(self).into_string()
    }
}
