//! The audit: the researcher's experiment, from what was done and what was
//! sent to answers.
//!
//! ```text
//! trace ────▶ Pipeline ──▶ requests ──┐
//! (records)                           ├─▶ Gathered ──▶ verdicts ──▶ Report ──▶ report.json
//! run.json ─▶ Journal: phases, visits ┘                               │   └───▶ report.html
//! (what was done)                                                     └───────▶ compare
//! ```
//!
//! Pure, like the rest of the core: `cli::audit` acts, and this looks at what
//! came of it, as often as one likes. What a phase is about is told by time,
//! and what a request tells of by words that are in no other URL
//! ([`canary`]).

pub mod canary;
pub mod journal;
pub mod phase;
pub mod report;
