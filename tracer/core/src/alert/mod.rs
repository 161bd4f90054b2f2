//! Alerts: the model of what is shown and kept of a judged request, its
//! redaction, and its forms as text and as JSON.
//!
//! What tracer shows is the most sensitive list on the device, so values are
//! redacted unless the user asks otherwise; see [`redact`].

mod accounts;
#[cfg(any(test, feature = "fixtures"))]
pub mod fixtures;
mod json;
mod model;
mod name;
pub mod redact;
mod text;

pub use self::{
    accounts::application_line,
    json::{ALERT_SCHEMA, decoded_line, line as json_line, summary as json_summary},
    model::*,
    name::json_name,
    text::{
        Style, alert as alert_line, line as text_line, lost as lost_line, printable,
        repeated as repeated_line, told as alert_message,
    },
};
