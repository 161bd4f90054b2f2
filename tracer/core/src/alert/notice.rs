//! The entries of the alert stream.

use std::sync::Arc;

use super::{Alert, redact::Redactor};
use crate::{extensions::Extensions, judge::JudgedRequest, pipeline::Output, record::Loss};

/// An entry of the alert stream, as sinks and the store take it.
#[derive(Debug, Clone)]
pub enum Notice {
    /// A new alert, or one whose request was judged again.
    Alert {
        /// The alert.
        alert: Box<Alert>,
        /// The request, as evidence.
        request: Arc<JudgedRequest>,
    },
    /// An alert was repeated.
    Repeated {
        /// Number of the alert.
        alert: u64,
        /// Number of repetitions since the last notice about this alert.
        count: u64,
        /// Number of occurrences, the first one included.
        total: u64,
        /// Time of the last occurrence, in nanoseconds since 1970-01-01 UTC.
        unix: Option<u64>,
    },
    /// Sends were lost before they could be read.
    Lost {
        /// The reason.
        loss: Loss,
        /// Number of sends lost since the last notice about this reason.
        count: u64,
        /// Number of sends lost in total.
        total: u64,
    },
}

impl Notice {
    /// Returns the notice of an output, with values as sent. `None` for requests
    /// that raise no alert.
    pub fn from_output(output: &Output) -> Option<Self> {
        Some(match output {
            Output::Request(request) if request.is_alert() => {
                Self::Alert { alert: Box::new(Alert::new(request)), request: Arc::clone(request) }
            }
            Output::Request(_) => return None,
            &Output::Repeated { alert, count, total, unix } => {
                Self::Repeated { alert, count, total, unix }
            }
            &Output::Lost { loss, count, total } => Self::Lost { loss, count, total },
        })
    }

    /// Names the extension that sent the request of an alert, if it is known.
    #[must_use]
    pub fn naming(mut self, extensions: &Extensions) -> Self {
        if let Self::Alert { alert, request } = &mut self {
            alert.content.name_extension(request.extension(extensions));
        }
        self
    }

    /// Redacts the values of an alert.
    #[must_use]
    pub fn redacted(self, redactor: &Redactor) -> Self {
        match self {
            Self::Alert { alert, request } => {
                Self::Alert { alert: Box::new(alert.redacted(redactor)), request }
            }
            Self::Repeated { .. } | Self::Lost { .. } => self,
        }
    }
}
