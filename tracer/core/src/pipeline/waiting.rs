//! Requests that told of pages nobody had opened yet.
//!
//! A browser can report a page before it asks for it, and the two requests go
//! to different servers, so that either may be read first. What was told is
//! kept for a while and judged again when the page is opened.

use std::{collections::VecDeque, time::Duration};

use super::Decoded;
use crate::{
    address::Address,
    application::Application,
    finding::{Kind, Visited},
    record::BootTime,
};

/// Requests that are kept.
const MAX_REQUESTS: usize = 64;

/// The largest body that is kept with one.
const MAX_BODY: usize = 64 << 10;

/// How long they are kept: a page is asked for at once, unless the network is
/// slow.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<Decoded>);

impl Waiting {
    /// Keeps a request if it told of a page that was not seen to be visited.
    pub(super) fn add(&mut self, decoded: &Decoded) {
        let told = decoded.disclosures.iter().any(|one| {
            one.finding.kind == Kind::Url
                && matches!(
                    one.visited,
                    Some(Visited::No | Visited::Unknown | Visited::Host { .. })
                )
        });
        if !told || decoded.sent.message.body.data.len() > MAX_BODY {
            return;
        }
        if self.0.len() == MAX_REQUESTS {
            self.0.pop_front();
        }
        self.0.push_back(decoded.clone());
    }

    /// Takes out the requests of an application that told of this page.
    pub(super) fn take(&mut self, application: &Application, page: &str) -> Vec<Decoded> {
        let Some(page) = Address::parse(page) else {
            return Vec::new();
        };
        let told = |decoded: &Decoded| {
            decoded.application == *application
                && decoded.disclosures.iter().any(|one| {
                    one.finding.kind == Kind::Url
                        && Address::parse(&one.finding.value)
                            .is_some_and(|address| address.same_path(&page))
                })
        };
        let (taken, kept) = std::mem::take(&mut self.0).into_iter().partition(told);
        self.0 = kept;
        Vec::from(taken)
    }

    /// Lets go of those that have waited long enough.
    pub(super) fn expire(&mut self, now: BootTime) {
        self.0.retain(|decoded| now.since(decoded.sent.message.time) < PATIENCE);
    }
}
