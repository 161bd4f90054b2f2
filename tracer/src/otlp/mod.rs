//! Sends alerts as log records of OpenTelemetry, over OTLP/HTTP in protobuf.
//!
//! ```text
//! tracer run ──lines of JSON──▶ tracer otlp-send   turns lines into records, batches them,
//! (no network)   (redacted)     (no privileges,    tries again what may succeed later
//!                ◀── Outcome ──  may connect)  ──POST──▶ collector
//! ```
//!
//! The process that decodes what applications send has no network, and the one that has the
//! privileges parses no answers of servers. So sending is the work of a third one.

mod client;
mod endpoint;
mod exporter;
mod record;

use serde::{Deserialize, Serialize};

pub(crate) use self::{client::Client, endpoint::Endpoint, exporter::Exporter};

/// The outcome of sending the notices of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outcome {
    /// Number of records that the collector accepted.
    pub(crate) sent: u64,
    /// Number of records that the collector refused.
    pub(crate) refused: u64,
    /// Number of records that were not sent: for lack of room, or because the run ended.
    pub(crate) lost: u64,
    /// The last reason for either.
    pub(crate) reason: Option<String>,
}
