//! The audit: the researcher's experiment, from what was done and what was
//! sent to answers.
//!
//! ```text
//! run.json ─▶ Journal ──┐  what was done: phases, visits
//!                       ├─▶ Gathered ─▶ Facts ─▶ verdicts ─▶ Report ─▶ report.json
//! trace ───▶ Pipeline ──┘  what was sent                       │  └──▶ report.html
//!                                                              └─────▶ compare
//! ```
//!
//! Pure, like the rest of the core: `cli::audit` acts, and this looks at what
//! came of it, as often as one likes. In which phase something was sent is told
//! by time, and what a request tells of by words that are in no other URL
//! ([`canary`]).

mod build;
pub mod canary;
pub mod compare;
mod facts;
#[cfg(test)]
mod fixtures;
mod gather;
pub mod html;
pub mod journal;
mod lifelines;
mod mentions;
pub mod phase;
pub mod report;
pub mod scenario;
mod verdicts;

pub use gather::{Gathered, Gatherer};
pub use verdicts::PERCENT_NEEDED;
