//! Requests that were not finished: of which the beginning was sent, and not the rest.
//!
//! Nothing shows that a connection was closed, so a request counts as unfinished if
//! nothing was sent on its connection for a while.

use std::time::Duration;

use foldhash::HashMap;

use crate::{
    account::UnfinishedRequest,
    address::host_of_authority,
    proto::{Protocol, Request, Traffic},
    record::{BootTime, Connection, Transport},
    stream::Sent,
};

/// Time without data after which a request is not continued.
const PATIENCE: Duration = Duration::from_secs(5);

/// Maximum number of connections with requests that are not complete.
const MAX_CONNECTIONS: usize = 1024;

/// Maximum number of such requests on one connection.
const MAX_REQUESTS: usize = 64;

/// The requests that are not complete, by connection.
#[derive(Debug, Default)]
pub(super) struct Unfinished(HashMap<(u64, Transport), Vec<UnfinishedRequest>>);

impl Unfinished {
    /// Adds a request, or replaces an earlier version of it.
    pub(super) fn observe(&mut self, sent: &Sent<Request>) {
        let request = &sent.message;
        let key = (sent.connection.key, sent.connection.transport);
        if let Some(pending) = self.0.get_mut(&key) {
            pending.retain(|known| known.time != request.time);
        }
        // What was sent and is not known may be the rest.
        let is_unfinished = !request.complete
            && request.unread_bytes == 0
            && request.partial.is_empty()
            && request.never_sent.is_none()
            && matches!(request.protocol, Protocol::Http1 | Protocol::Http2);
        if !is_unfinished || self.0.len() >= MAX_CONNECTIONS && !self.0.contains_key(&key) {
            return;
        }
        let pending = self.0.entry(key).or_default();
        if pending.len() < MAX_REQUESTS {
            let host = request.authority.as_deref().map(host_of_authority);
            pending.push(UnfinishedRequest {
                time: request.time,
                host: host.map(str::to_owned),
                method: request.method.clone(),
            });
        }
    }

    /// Returns the unfinished requests of a connection that ended, or that is followed
    /// no longer at the end of the data, `at_end`.
    pub(super) fn ended(
        &mut self,
        connection: &Connection,
        traffic: &Traffic,
        at_end: Option<BootTime>,
    ) -> Vec<UnfinishedRequest> {
        let pending = self.0.remove(&(connection.key, connection.transport)).unwrap_or_default();
        let is_known = traffic.missing == 0 && traffic.unknown_gaps == 0;
        let is_over = at_end.is_none_or(|end| end.since(traffic.last) >= PATIENCE);
        if is_known && is_over { pending } else { Vec::new() }
    }
}
