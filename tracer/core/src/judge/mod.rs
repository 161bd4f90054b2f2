//! Judgement: how bad a request's findings are, and why.
//!
//! A finding is a fact about bytes. What it discloses depends on its context:
//! what was visited, who sent it, to whom, with which identifier, in which
//! mode. The context has a memory ([`Judge`]); the judgement itself is a table,
//! `rules/judgement.toml`, of which the first row that fits decides.
//!
//! ```text
//! request, findings ─▶ sender, recipient, visit, identifier ─▶ Case ─▶ Verdict
//! ```
//!
//! Alerts begin at [`ALERT`](crate::finding::ALERT).

mod case;
mod disclosure;
mod ledger;
mod repeats;
mod sender;
mod table;
mod typed;

pub(crate) use self::repeats::{Count, News, Repeats};
pub use self::{
    case::{Judge, Judged, Origin},
    disclosure::Disclosure,
    ledger::Sighting,
};
