//! Requests to be written as evidence, and the comment that explains each.

use tracer_core::wording::counted;
use tracer_core::{alert::Alert, judge::JudgedRequest};

/// A request to be written.
///
/// The files contain what was sent, so they should be readable by their owner
/// only.
#[derive(Debug, Clone, Copy)]
pub struct Evidence<'a> {
    /// The request.
    pub decoded: &'a JudgedRequest,
    /// The audit phase in which it was sent, such as "idle" or "private".
    pub phase: Option<&'a str>,
}

impl Evidence<'_> {
    /// Returns the verdict on the request in one line.
    pub(crate) fn comment(&self, alert: &Alert) -> String {
        let mut comment = match (alert.severity, &alert.reason) {
            (Some(severity), Some(reason)) => format!("{}: {reason}", severity.label()),
            _ => "nothing disclosed".to_owned(),
        };
        if let Some(phase) = self.phase {
            comment.push_str(&format!(" (phase: {phase})"));
        }
        let content = &alert.content;
        if !content.complete {
            comment.push_str(&format!(
                "; incomplete, at least {} missing",
                counted(content.unread_bytes, "byte")
            ));
        }
        comment
    }
}
