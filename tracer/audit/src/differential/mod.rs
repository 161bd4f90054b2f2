//! Experiments: whether what a browser sends depends on the pages that it opens, whatever the
//! encoding.
//!
//! ```text
//! design ─▶ pages, order of the visits ─▶ the browser ─▶ Samples ─▶ alignment ─▶ dependence
//!                                                        values of    values of    tests
//!                                                        each place   each visit
//! ```
//!
//! The pages of an experiment are visited several times each, in random order, with windows of the
//! same length in which nothing is done. The order is the only thing that the experiment changes, so
//! a value that follows it depends on the page.

mod alignment;
mod dependence;
pub mod design;
mod samples;
mod statistics;
mod trial;

#[cfg(test)]
mod tests;

pub(crate) use dependence::{Dependence, Event, Findings, MIN_VISITS};
pub(crate) use samples::Samples;
pub(crate) use statistics::FAMILY_ERROR;
pub use trial::Factor;

use crate::journal::Stage;

/// Looks for dependences in one experiment. Returns `None` if the stage is not an
/// experiment.
pub(crate) fn analyse(stage: &Stage, samples: &Samples) -> Option<Findings> {
    Some(dependence::find(&trial::Trial::new(stage)?, samples))
}
