//! Findings: what in a request tells its recipient about another site.
//!
//! Findings are facts about bytes. Whether one is a leak depends on who sent
//! it, to whom, and what was visited: that is [`judge`](crate::judge)'s job.

mod address;
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
mod site;
mod url;
mod visited;
mod visits;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::search::Search;
pub use self::{
    address::Address,
    lexicon::Lexicon,
    site::{Site, host_of_authority},
    url::{UrlSpan, urls_in},
    visits::{Algorithm, HashMatch, HashedForm, Scope, Visit, Visited, Visits},
};
use crate::{
    content::{self, Limits, Report},
    proto::Request,
    rules::{Rules, Vocabularies},
};

/// What a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A URL, or a host and path, of another site than the request goes to.
    Url,
    /// A URL in a request whose recipient is not known, because its head was
    /// cut before the authority. It may be the recipient's own.
    UrlToUnknown,
    /// A hash of a URL, host or registrable domain that was visited.
    VisitedUrlHash,
    /// What the user searched for.
    SearchTerms,
    /// What the user typed, letter by letter.
    TypedText,
    /// The title or text of a page.
    PageText,
    /// What the user did in the interface: a click, a screen, a folder.
    UiEvent,
    /// A piece of content that the user saw, by its number.
    ContentItem,
    /// A value that tells one installation or user from others.
    Identifier,
    /// An e-mail address, a telephone number, a number of the device.
    PersonalDetail,
    /// The `Referer` field: the page that the request comes from.
    Referer,
    /// The `Origin` field, where it names a site.
    Origin,
}

/// How long an identifier lives, as far as its name tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lifetime {
    /// As long as the installation, the device or the account.
    Lasting,
    /// As long as the application runs, or a visit takes.
    Session,
    /// One request or message: it tells copies of it apart.
    Request,
    /// Nobody knows: it has the form of an identifier and no name.
    #[serde(skip_deserializing)]
    Unknown,
}

/// Something found in a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Which identifier, which detail, which hash of what: one of the names in
    /// `docs/reference/detection.md`. `None` for the kinds that have no classes.
    pub class: Option<String>,
    /// The value as sent.
    pub value: String,
    /// How it was wrapped, from the outside in.
    pub chain: String,
    /// It was cut: the value goes on in bytes that are not known.
    pub truncated: bool,
    /// Of an identifier: how long it lives. `None` for the other kinds.
    pub lifetime: Option<Lifetime>,
}

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

/// A value that may show its meaning when it comes again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Whether it could be an identifier (long, random) or typed text.
    pub what: CandidateKind,
    /// The value, as sent.
    pub value: String,
    /// How it was wrapped, from the outside in.
    pub chain: String,
}

/// What a candidate could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CandidateKind {
    /// An identifier: it has the entropy of one.
    Identifier,
    /// What the user is typing.
    Typed,
}

/// The most candidates kept of one request.
pub const MAX_CANDIDATES: usize = 64;

/// The most findings kept of one request: far more than evidence needs, far
/// less than a request made of URLs could hold.
pub const MAX_FINDINGS: usize = 256;

/// Finds what requests disclose.
#[derive(Debug, Clone)]
pub struct Detector {
    vocabularies: Vocabularies,
    lexicon: Arc<Lexicon>,
    limits: Limits,
}

impl Detector {
    /// A detector that goes by these rules.
    pub fn of(rules: &Rules) -> Self {
        Self {
            vocabularies: rules.vocabularies().clone(),
            lexicon: Arc::clone(rules.lexicon()),
            limits: Limits::default(),
        }
    }

    /// Finds what `request` discloses by itself.
    pub fn find(&self, request: &Request) -> Findings {
        self.find_among(request, &Visits::default())
    }

    /// Finds what `request` discloses, also about the `visits` of those who
    /// sent it.
    pub fn find_among(&self, request: &Request, visits: &Visits) -> Findings {
        let mut search = Search::new(&self.vocabularies, &self.lexicon, visits, request);
        let report = content::unwrap(request, &self.limits, |value| search.value(value));
        Findings { report, ..search.finish() }
    }
}

impl Default for Detector {
    /// A detector that goes by the embedded rules.
    fn default() -> Self {
        Self::of(&Rules::default())
    }
}

#[cfg(test)]
mod tests;
