//! The ledger of identifiers: which value went where, from what, and for how
//! long. A value that returns identifies, whatever it looks like.

use serde::{Deserialize, Serialize};

/// What is known of one value. The store keeps it between runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The value, as sent.
    pub value: String,
    /// What it is called in the rules, where its name or form says it.
    pub class: Option<String>,
    /// When it was first sent, in nanoseconds since 1970-01-01 UTC; 0 where
    /// nobody knows.
    pub first: u64,
    /// When it was sent last.
    pub last: u64,
    /// How many requests held it.
    pub requests: u64,
    /// How many connections it was sent on.
    pub connections: u64,
    /// How many processes sent it: more than one is a restart, or a second
    /// application.
    pub processes: u64,
    /// The applications that sent it.
    pub applications: Vec<String>,
    /// The sites that were sent it.
    pub recipients: Vec<String>,
}
