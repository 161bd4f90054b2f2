//! Findings: what in a request tells its recipient about another site.
//!
//! Findings are facts about bytes. Whether one is a leak depends on who sent
//! it, to whom, and what was visited: that is [`judge`](crate::judge)'s job.

mod address;
mod pair;
mod site;
mod url;
mod visited;
mod visits;

use serde::{Deserialize, Serialize};

use self::pair::Pairs;
pub use self::{
    address::Address,
    site::{Site, host_of_authority},
    url::{UrlSpan, urls_in},
    visits::{Algorithm, HashMatch, HashedForm, Scope, Visit, Visited, Visits},
};
use crate::{
    content::{self, Limits, Report, Step, Value},
    proto::{Initiator, Request, initiator},
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
    /// `docs/alerts.md`. `None` for the kinds that have no classes.
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

/// Fields that hold URLs by their nature and not to tell somebody: the
/// software's own home page.
const SOFTWARE_FIELDS: [&str; 2] = ["User-Agent", "X-Requested-With"];

/// Finds what requests disclose.
#[derive(Debug, Clone, Default)]
pub struct Detector {
    vocabularies: Vocabularies,
    limits: Limits,
}

impl Detector {
    /// A detector with the embedded rules.
    pub fn new(vocabularies: Vocabularies, limits: Limits) -> Self {
        Self { vocabularies, limits }
    }

    /// A detector that goes by these rules.
    pub fn of(rules: &Rules) -> Self {
        Self::new(rules.vocabularies().clone(), Limits::default())
    }

    /// Finds what `request` discloses by itself.
    pub fn find(&self, request: &Request) -> Findings {
        self.find_among(request, &Visits::default())
    }

    /// Finds what `request` discloses, also about the `visits` of those who
    /// sent it.
    pub fn find_among(&self, request: &Request, visits: &Visits) -> Findings {
        let own = request
            .authority
            .as_deref()
            .and_then(|authority| Site::of_host(host_of_authority(authority)));
        // A navigation's URL is what the user asked for, and what it holds
        // (a redirector's `?url=`) is part of that.
        let navigation = initiator(request) == Initiator::Navigation;
        let mut search = Search {
            vocabularies: &self.vocabularies,
            visits,
            own: own.as_ref(),
            navigation,
            found: Findings::default(),
            pairs: Pairs::default(),
        };
        let report = content::unwrap(request, &self.limits, |value| search.value(value));
        let mut found = search.found;
        found.report = report;
        found
    }
}

/// One request's search.
struct Search<'a> {
    vocabularies: &'a Vocabularies,
    visits: &'a Visits,
    own: Option<&'a Site>,
    navigation: bool,
    found: Findings,
    pairs: Pairs,
}

impl Search<'_> {
    fn value(&mut self, value: &Value<'_>) {
        let text = value.text;
        if let Step::Header(field) = value.chain.root() {
            if field.eq_ignore_ascii_case("Referer") {
                return self.field(Kind::Referer, value);
            }
            if field.eq_ignore_ascii_case("Origin") {
                return self.field(Kind::Origin, value);
            }
            if SOFTWARE_FIELDS.iter().any(|name| field.eq_ignore_ascii_case(name)) {
                return;
            }
        }
        if self.navigation {
            return self.navigation(value);
        }
        if let Some((kind, class)) = visited::disclosed(value, self.visits, self.own) {
            return self.push(Finding {
                kind,
                class: Some(class),
                value: text.to_owned(),
                chain: value.chain.to_string(),
                truncated: value.truncated,
                lifetime: None,
            });
        }
        let mut any = false;
        for span in urls_in(text) {
            any = true;
            // With fewer bytes nothing may be more certain: a host that could
            // go on is no host yet.
            let reaches_end = span.end == text.len();
            if value.truncated && reaches_end && span.host_end == span.end {
                continue;
            }
            let truncated = value.truncated && reaches_end;
            self.url(
                &text[span.start..span.end],
                &text[span.host_start..span.host_end],
                || value.chain.to_string(),
                truncated,
            );
        }
        if any {
            return;
        }
        if let Some(url) = pair::schemeless(value) {
            let host = url.split('/').next().unwrap_or_default();
            self.url(url, host, || value.chain.to_string(), value.truncated);
        } else if let Some(pair) = self.pairs.add(value) {
            self.url(&pair.url(), &pair.host, || pair.chain(), pair.truncated);
        }
    }

    /// A navigation's values are part of the visit, unless they tell of an
    /// earlier one: that is what a report disguised as a visit does.
    fn navigation(&mut self, value: &Value<'_>) {
        for span in urls_in(value.text) {
            let url = &value.text[span.start..span.end];
            if self.visits.page(url).is_some() {
                let host = &value.text[span.host_start..span.host_end];
                self.url(url, host, || value.chain.to_string(), false);
            }
        }
    }

    /// A URL with its host: a finding if it is another site's.
    fn url(&mut self, url: &str, host: &str, chain: impl FnOnce() -> String, truncated: bool) {
        let Some(site) = Site::of_host(host) else {
            return;
        };
        let kind = match self.own {
            Some(own) if *own == site => return,
            Some(_) => Kind::Url,
            None => Kind::UrlToUnknown,
        };
        if !self.vocabularies.contains(url) {
            self.push(Finding {
                kind,
                class: None,
                value: url.to_owned(),
                chain: chain(),
                truncated,
                lifetime: None,
            });
        }
    }

    /// A field that has a kind of its own, if it names a site.
    fn field(&mut self, kind: Kind, value: &Value<'_>) {
        if value.chain.steps().count() == 1
            && urls_in(value.text).next().is_some_and(|span| span.start == 0)
        {
            self.push(Finding {
                kind,
                class: None,
                value: value.text.to_owned(),
                chain: value.chain.to_string(),
                truncated: value.truncated,
                lifetime: None,
            });
        }
    }

    fn push(&mut self, finding: Finding) {
        if self.found.list.iter().any(|known| repeats(known, &finding)) {
            return;
        }
        if self.found.list.len() < MAX_FINDINGS {
            self.found.list.push(finding);
        } else {
            self.found.uncounted += 1;
        }
    }
}

/// Whether a finding says nothing beyond a known one: the same again, or the
/// same URL with one level of percent-encoding off (what it *contains* is
/// found for itself).
fn repeats(known: &Finding, new: &Finding) -> bool {
    if known.kind != new.kind {
        return false;
    }
    if known.chain == new.chain {
        return known.value == new.value;
    }
    new.chain.strip_suffix(" > percent") == Some(&known.chain)
        && content::percent_decode(known.value.as_bytes())
            .is_some_and(|text| text == new.value.as_bytes())
}
