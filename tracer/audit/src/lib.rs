//! Audits: from what was done to a browser, and what it sent, to answers.
//!
//! ```text
//! run.json ─▶ Journal ─┐  phases, visits
//!                      ├─▶ Gatherer ─▶ Observations ─▶ Facts ─▶ conclusions ─▶ Report
//! events ──────────────┘  what was sent                                          │
//!                                              report.json, report.html, compare ◀┘
//! ```
//!
//! This crate is pure: `cli::audit` acts, and passes on what it did and captured. The phase of a
//! request follows from its time, and the pages that it mentions from words that occur in no other
//! URL ([`canary`]).

mod arrivals;
mod build;
pub mod canary;
pub mod compare;
mod conclusions;
pub mod differential;
mod facts;
#[cfg(test)]
mod fixtures;
mod gather;
pub mod html;
mod identifiers;
pub mod journal;
mod lookups;
mod mentions;
pub mod phase;
mod place;
pub mod report;
pub mod scenario;
mod summary;
mod understanding;

pub use conclusions::MIN_PERCENT_READ;
pub use gather::{Gatherer, Observations};
