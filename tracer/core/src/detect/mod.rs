//! Findings: what in a request tells its recipient about another site.
//!
//! Findings are facts about bytes. Whether one is a leak depends on who sent
//! it, to whom, and what was visited: that is [`judge`](crate::judge)'s job.

mod candidates;
mod fields;
mod identifier;
mod lexicon;
mod name;
mod pair;
mod personal;
mod sdk;
mod search;
mod shape;
mod url;
mod visited;

use std::sync::Arc;

use self::search::Search;
pub use self::{
    lexicon::Lexicon,
    url::{UrlSpan, urls_in},
};
use crate::{
    address::{Site, host_of_authority},
    content::{self, Limits, Report},
    finding::{Candidate, Finding},
    proto::{Initiator, Request, initiator},
    rules::Rules,
    visits::Visits,
};

/// A request's findings, and what of it could not be read.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// In the order in which they stand in the request.
    pub list: Vec<Finding>,
    /// Findings beyond [`MAX_FINDINGS`], only counted.
    pub uncounted: u64,
    /// The telemetry SDK that the request has the form of, by its name in the
    /// rules.
    pub sdk: Option<String>,
    /// Values that say nothing in one request and can in several: what is
    /// typed, and identifiers that no name or form shows.
    pub candidates: Vec<Candidate>,
    /// What the content could not be read through.
    pub report: Report,
}

/// The most candidates kept of one request.
pub const MAX_CANDIDATES: usize = 64;

/// The most findings kept of one request: far more than evidence needs, far
/// less than a request made of URLs could hold.
pub const MAX_FINDINGS: usize = 256;

/// Finds what requests disclose.
#[derive(Debug, Clone)]
pub struct Detector {
    rules: Arc<Rules>,
    lexicon: Arc<Lexicon>,
    limits: Limits,
}

impl Detector {
    /// Creates a detector with these rules and their lexicon.
    pub fn new(rules: Arc<Rules>, lexicon: Arc<Lexicon>) -> Self {
        Self { rules, lexicon, limits: Limits::default() }
    }

    /// Finds what a request discloses by itself.
    pub fn find(&self, request: &Request) -> Findings {
        let host = request.authority.as_deref().map(host_of_authority);
        let site = host.and_then(Site::of_host);
        let visits = Visits::default();
        let context =
            Context { initiator: initiator(request), site: site.as_ref(), visits: &visits };
        self.find_in_context(request, &context)
    }

    /// Finds what a request discloses, also about visits.
    pub fn find_in_context(&self, request: &Request, context: &Context<'_>) -> Findings {
        let vocabularies = self.rules.vocabularies();
        let mut search = Search::new(vocabularies, &self.lexicon, context, request);
        let report = content::unwrap(request, &self.limits, |value| search.value(value));
        Findings { report, ..search.finish() }
    }
}

/// The context of a request that detection needs.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The initiator according to the header fields.
    pub initiator: Initiator,
    /// Site of the recipient. `None` if it is not known.
    pub site: Option<&'a Site>,
    /// The visits of the sending application.
    pub visits: &'a Visits,
}

#[cfg(test)]
mod tests;
