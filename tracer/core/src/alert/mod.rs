//! Alerts: the part of a judged request that is shown and stored, its redaction,
//! and its forms as text and as JSON.
//!
//! ```text
//! Output ─▶ Notice ─▶ store (values as sent)
//!             │
//!             ▼
//!          redacted ─▶ text, JSON, the system's log
//! ```
//!
//! The list of what a user visits is the most sensitive one on the device, so
//! values are redacted unless the user asks otherwise; see [`redact`].

mod accounts;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
pub mod json;
mod model;
mod notice;
pub mod redact;
mod size;
pub mod text;

pub use self::{
    accounts::{application_line, arrival_lines},
    model::{
        Alert, Endpoints, FindingReport, LineType, RequestHead, RequestReport, SendingProcess,
        rfc3339,
    },
    notice::Notice,
    text::{Style, printable},
};
