//! Requests that mention pages before they are opened.
//!
//! A browser can report a page before it requests it. The two requests go to
//! different servers, so that either may be read first. Requests with such reports
//! are kept for a while, and judged again when the page is opened.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::{
    address::Address,
    application::Application,
    finding::{Kind, Visited},
    judge::{Disclosure, JudgedRequest},
    record::BootTime,
};

/// Requests that are kept.
const MAX_REQUESTS: usize = 64;

/// The largest body of a request that is kept.
const MAX_BODY: usize = 64 << 10;

/// Time for which requests are kept. A page is requested at once, unless the
/// network is slow.
const PATIENCE: Duration = Duration::from_secs(30);

/// The requests that are kept, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<Arc<JudgedRequest>>);

impl Waiting {
    /// Keeps a request if it mentions a page that is not known to be visited.
    pub(super) fn add(&mut self, request: &Arc<JudgedRequest>) {
        let is_unvisited = |disclosure: &Disclosure| {
            disclosure.finding.kind == Kind::Url
                && matches!(
                    disclosure.visited,
                    Some(Visited::No | Visited::Unknown | Visited::Host { .. })
                )
        };
        if !request.disclosures.iter().any(is_unvisited)
            || request.sent.message.body.data.len() > MAX_BODY
        {
            return;
        }
        if self.0.len() == MAX_REQUESTS {
            self.0.pop_front();
        }
        self.0.push_back(Arc::clone(request));
    }

    /// Removes the requests of an application that mention a page, and returns
    /// them.
    pub(super) fn take(
        &mut self,
        application: &Application,
        page: &Address,
    ) -> VecDeque<Arc<JudgedRequest>> {
        let mentions_page = |request: &Arc<JudgedRequest>| {
            *request.application == *application
                && request.disclosures.iter().any(|disclosure| {
                    disclosure.finding.kind == Kind::Url
                        && disclosure.address.as_ref().is_some_and(|url| url.same_path(page))
                })
        };
        let (taken, kept) = std::mem::take(&mut self.0).into_iter().partition(mentions_page);
        self.0 = kept;
        taken
    }

    /// Drops the requests that were kept long enough.
    pub(super) fn expire(&mut self, now: BootTime) {
        self.0.retain(|request| now.since(request.sent.message.time) < PATIENCE);
    }
}
