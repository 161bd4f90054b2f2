//! Who sent a request, all in all.
//!
//! [`initiator`](crate::proto::initiator) says what the header fields claim.
//! Here a claim that contradicts itself is not believed. What stays believed
//! can still be forged: the table of judgement has rows for that.

use crate::finding::Sender;
use crate::proto::{Initiator, Request};

/// Who sent a request whose fields claim `initiator`.
pub(super) fn sender(request: &Request, initiator: Initiator) -> Sender {
    if initiator != Initiator::Page {
        return initiator;
    }
    // Pages are run by engines, and every engine that sends Fetch Metadata
    // calls itself Mozilla. A library that sends these fields copied them.
    let claims = ["sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"];
    let claims = claims.iter().any(|name| request.header(name).is_some());
    let engine = request.header("user-agent").is_none_or(|agent| agent.starts_with(b"Mozilla/5.0"));
    if claims && !engine { Sender::Unknown } else { Sender::Page }
}
