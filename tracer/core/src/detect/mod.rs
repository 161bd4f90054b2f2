//! Detection of findings: values in a request that disclose something to its
//! recipient.
//!
//! Findings are facts about bytes. Whether one is a leak depends on the sender,
//! the recipient and the visits, which [`judge`](crate::judge) takes into account.

mod candidates;
mod fields;
mod identifier;
mod lexicon;
mod memo;
mod name;
mod owner;
mod pair;
mod personal;
mod role;
mod resolver;
mod sdk;
mod search;
mod shape;
mod url;
mod visited;

use std::sync::Arc;

use self::search::Search;
pub use self::{
    lexicon::Lexicon,
    memo::Memo,
    url::{UrlSpan, urls_in},
};
use crate::{
    address::{Site, host_of_authority},
    content::{self, Limits, Report},
    finding::{Candidate, Category, Finding, UrlPart},
    proto::{Initiator, Request, initiator},
    rules::Rules,
    visits::Visits,
};

/// The findings of a request, and a report on content that could not be read.
#[derive(Debug, Clone, Default)]
pub struct Findings {
    /// Findings in the order of the request.
    pub list: Vec<Finding>,
    /// Number of findings that were dropped because of a limit.
    pub uncounted: u64,
    /// Name of the telemetry SDK that the request comes from, as in the rules.
    pub sdk: Option<String>,
    /// Set if the request reports what happened in the application: its form, its path, its
    /// recipient or its content says so.
    pub reports: bool,
    /// Values that may become findings if they return in later requests.
    pub candidates: Vec<Candidate>,
    /// Parts of visited URLs, which other requests may complete.
    pub parts: Vec<UrlPart>,
    /// Report on the decoding of the content.
    pub report: Report,
}

/// Maximum number of candidates of a request.
pub const MAX_CANDIDATES: usize = 64;

/// Maximum number of findings of a request. It is far more than evidence needs, and
/// bounds the memory for a request that consists of URLs.
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
        let site = host.and_then(Site::from_host);
        let visits = Visits::default();
        let context = Context {
            initiator: initiator(request),
            site: site.as_ref(),
            visits: &visits,
            is_browser: false,
        };
        self.find_in_context(request, &context)
    }

    /// Finds what a request discloses, also about visits.
    pub fn find_in_context(&self, request: &Request, context: &Context<'_>) -> Findings {
        self.find_again(request, context, &mut Memo::default())
    }

    /// Does the same, and does not read again what `memo` remembers of earlier requests that were
    /// searched with the same rules. The result is the same.
    pub fn find_again(
        &self,
        request: &Request,
        context: &Context<'_>,
        memo: &mut Memo,
    ) -> Findings {
        let Some(key) = memo.requests.key(request) else {
            return self.search(request, context, &mut memo.values);
        };
        if let Some(known) = memo.requests.get(key, request, context) {
            return known.clone();
        }
        let findings = self.search(request, context, &mut memo.values);
        memo.requests.insert(key, request, context, &findings);
        findings
    }

    fn search(
        &self,
        request: &Request,
        context: &Context<'_>,
        memo: &mut content::Memo,
    ) -> Findings {
        let vocabularies = self.rules.vocabularies();
        let collects = self.is_collector(request);
        let mut search = Search::new(vocabularies, &self.lexicon, context, request, collects);
        /// Visits that are looked for under a mask. Reports follow soon.
        const MASKED: usize = 8;
        let known = context.visits.last_addresses(MASKED);
        let report = content::unwrap_with(request, &self.limits, &known, memo, |value, work| {
            search.value(value, work);
        });
        Findings { report, ..search.finish() }
    }

    /// Reports whether the recipient collects what happens in applications and on pages.
    fn is_collector(&self, request: &Request) -> bool {
        let host = request.authority.as_deref().map(host_of_authority);
        let service = host.and_then(|host| self.rules.recipient(host, None).service);
        service.is_some_and(|service| service.category == Category::Analytics)
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
    /// Set if the sending application is known to be a browser, whatever its `User-Agent` says.
    pub is_browser: bool,
}

#[cfg(test)]
mod tests;
