//! Determines the sender of a request.
//!
//! [`initiator`](crate::proto::initiator) returns the claim of the header fields. Contradictory
//! claims are discarded here. A consistent claim can still be forged; the judgement table has rows
//! for that.

use crate::finding::Sender;
use crate::proto::{Initiator, Request};

/// Returns the sender of a request whose fields claim `initiator`.
pub(super) fn sender(request: &Request, initiator: Initiator) -> Sender {
    if initiator != Initiator::Page {
        return initiator;
    }
    // Pages run in engines, and every engine that sends Fetch Metadata calls itself Mozilla. A
    // library that sends these fields copied them.
    let claims = ["sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest"];
    let claims = claims.iter().any(|name| request.header(name).is_some());
    let engine = request.header("user-agent").is_none_or(|agent| agent.starts_with(b"Mozilla/5.0"));
    if claims && !engine { Sender::Unknown } else { Sender::Page }
}
