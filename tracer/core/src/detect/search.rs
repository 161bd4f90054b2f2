//! The search for findings in one request, value by value.

use std::borrow::Cow;

use data_encoding::HEXLOWER_PERMISSIVE;

use super::{
    Context, Findings, Lexicon, MAX_FINDINGS,
    candidates::Candidates,
    fields, identifier,
    lexicon::{Meaning, PathWords},
    pair::{self, Pairs},
    personal::{self, Places},
    resolver::NameResolver,
    role::PlacedRole,
    sdk::Evidence,
    url, urls_in,
    visited::{self, Disclosed},
};
use crate::{
    address::Site,
    finding::{Finding, Kind, Lifetime, UrlPart, UrlRole},
    visits::Visits,
};
use crate::{
    content::{self, Step, Value, Work},
    proto::{Initiator, Request},
    rules::{PersonalForm, Vocabularies},
};

/// Header fields that usually contain the URL of the software's own home page.
const SOFTWARE_FIELDS: [&str; 2] = ["User-Agent", "X-Requested-With"];

/// Maximum number of identifiers that live for one request. A batch has one in each
/// message, and they reveal the least.
const MAX_SHORT_LIVED: usize = 16;

/// Maximum number of findings of any other kind except URLs, which may fill the
/// rest of [`MAX_FINDINGS`].
const MAX_OF_KIND: usize = 32;

/// Maximum number of parts of visited URLs in one request.
const MAX_PARTS: usize = 16;

/// The class of search terms in a request by which the recipient itself is searched.
const SITE_SEARCH: &str = "site_search";

/// The class of identifiers that are cookies' values wherever they are sent.
const COOKIE_ID: &str = "cookie_id";

/// The class of a search engine's address without search terms.
const SEARCH_TEMPLATE: &str = "search_template";

/// The class of an address in the metadata of an image, sound, a video or a font.
const METADATA: &str = "metadata";

/// The class of a latitude and a longitude in two fields.
const COORDINATES: &str = "coordinates";

/// Names of engines in `User-Agent`. Programs that only claim to be compatible with Mozilla name
/// none.
const ENGINES: [&[u8]; 4] = [b"Gecko/", b"AppleWebKit/", b"Trident/", b"Presto/"];

/// Reports whether a `User-Agent` is that of a browser.
fn is_browsers(agent: &[u8]) -> bool {
    agent.starts_with(b"Mozilla/5.0")
        && ENGINES.iter().any(|name| memchr::memmem::find(agent, name).is_some())
}

/// The spot of a URL in a value, which determines its role.
#[derive(Clone, Copy)]
struct Spot<'a> {
    value: &'a Value<'a>,
    start: usize,
    end: usize,
}

impl<'a> Spot<'a> {
    fn at(value: &'a Value<'a>, start: usize, end: usize) -> Self {
        Self { value, start, end }
    }
}

/// The search in one request.
pub(super) struct Search<'a> {
    vocabularies: &'a Vocabularies,
    lexicon: &'a Lexicon,
    visits: &'a Visits,
    /// Site of the recipient.
    own: Option<&'a Site>,
    is_navigation: bool,
    /// Set if the head was cut before the fields that name the initiator, so that
    /// the request may be a navigation.
    may_be_navigation: bool,
    path: PathWords,
    found: Findings,
    pairs: Pairs,
    places: Places,
    names: NameResolver<'a>,
    evidence: Evidence,
    candidates: Candidates,
    /// Set if the request reports what happened in the application.
    is_report: bool,
    /// Set if the recipient collects what happens in applications and on pages.
    is_collector: bool,
    /// Set if the path has a word of reports that other services have as well.
    may_report: bool,
    /// Set if the request is one of another service, or of a format in which nothing is
    /// reported, so that words alone do not show a report.
    is_no_report: bool,
    /// Set if the program calls itself a browser.
    of_browser: bool,
    /// Indices of the URLs that are pages only if the request reports.
    pages_in_reports: Vec<usize>,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        vocabularies: &'a Vocabularies,
        lexicon: &'a Lexicon,
        context: &Context<'a>,
        request: &Request,
        is_collector: bool,
    ) -> Self {
        let Context { initiator, site, visits, is_browser } = *context;
        Self {
            vocabularies,
            lexicon,
            visits,
            own: site,
            // The user requested the URL of a navigation, including the values in it
            // (such as `?url=` of a redirector).
            is_navigation: initiator == Initiator::Navigation,
            may_be_navigation: initiator == Initiator::Unknown && request.head_cut.is_some(),
            path: PathWords::default(),
            found: Findings::default(),
            pairs: Pairs::default(),
            places: Places::default(),
            names: NameResolver::default(),
            evidence: Evidence::default(),
            candidates: Candidates::default(),
            // Extensions call no services for themselves.
            is_report: initiator == Initiator::Extension,
            is_collector,
            may_report: false,
            is_no_report: request
                .header("content-type")
                .and_then(|it| std::str::from_utf8(it).ok())
                .is_some_and(|it| lexicon.roles.is_no_report_type(it)),
            of_browser: is_browser
                || request
                    .header("user-agent")
                    .is_some_and(|agent| is_browsers(agent) && !lexicon.roles.is_no_browser(agent)),
            pages_in_reports: Vec::new(),
        }
    }

    /// Returns the findings.
    pub(super) fn finish(mut self) -> Findings {
        let sdk = self.evidence.sdk(&self.lexicon.sdks);
        let lasts = |found: &Finding| found.lifetime == Some(Lifetime::Lasting);
        // Programs register devices and users with services of any kind.
        let reports = self.is_report
            || sdk.is_some()
            || (self.of_browser || self.may_report) && self.found.list.iter().any(lasts);
        if !reports {
            for at in self.pages_in_reports {
                self.found.list[at].role = Some(UrlRole::Unknown);
            }
        }
        Findings { sdk, reports, candidates: self.candidates.into_list(), ..self.found }
    }

    /// Searches a value, and charges what it inspects beyond its bytes.
    pub(super) fn value(&mut self, value: &Value<'_>, work: &mut Work) {
        if let Step::Header(field) = value.chain.root() {
            if field.eq_ignore_ascii_case("Referer") {
                return self.add_header_field(Kind::Referer, value);
            }
            if field.eq_ignore_ascii_case("Origin") {
                return self.add_header_field(Kind::Origin, value);
            }
            if SOFTWARE_FIELDS.iter().any(|name| field.eq_ignore_ascii_case(name)) {
                return self.find_earlier_visits(value, work);
            }
        }
        if self.is_navigation {
            return self.find_earlier_visits(value, work);
        }
        if value.chain.last() == Step::Digest {
            if let Some(disclosed) = visited::hash(value, self.visits, self.own) {
                self.add_disclosed(disclosed, value);
            }
            return;
        }
        self.find_visited_key(value);
        if let Some(disclosed) = visited::disclosed(value, self.visits, self.own) {
            self.find_part(value);
            self.add_disclosed(disclosed, value);
            return self.find_pieces(value);
        }
        self.find_part(value);
        let has_url = self.find_urls(value, work);
        if !has_url && let Some(host) = visited::host_within(value, self.visits, self.own) {
            let class = Some("host".to_owned());
            let chain = value.chain.to_string();
            let found = finding(Kind::Url, class, &host, chain, value.truncated);
            self.add(Finding { role: Some(UrlRole::Unknown), ..found });
        }
        if value.chain.last() == Step::Path && value.text.starts_with('/') {
            self.evidence.path(&self.lexicon.sdks, value);
            self.path = self.lexicon.path_words_in(value.text);
            self.is_no_report |= self.lexicon.roles.is_no_report_path(value.text);
            let is_report = self.lexicon.roles.is_report_path(value.text, self.of_browser);
            self.shows_report(is_report || self.is_collector);
            self.may_report |=
                !self.is_no_report && self.lexicon.roles.may_be_report_path(value.text);
        }
        let root = value.chain.root();
        // Segments of a path and labels of a host are not identifiers, but documents in
        // them have fields.
        let is_segment = matches!(root, Step::Path | Step::Host) && value.key.is_none();
        if is_segment || self.may_be_navigation && !matches!(root, Step::Body) {
            return;
        }
        // What an image or a font says of itself.
        if value.chain.last() == Step::Metadata {
            return;
        }
        self.shows_report(self.lexicon.roles.is_report_value(value));
        self.classify_by_name(value, has_url);
    }

    /// Finds the URLs of earlier visits. The other values of a navigation belong to
    /// the visit itself, but an earlier URL shows that it is a report in disguise.
    fn find_earlier_visits(&mut self, value: &Value<'_>, work: &mut Work) {
        for span in url::spans(value.text, false, work) {
            let url = &value.text[span.start..span.end];
            if self.visits.page(url).is_some() {
                let host = &value.text[span.host_start..span.host_end];
                let chain = || value.chain.to_string();
                self.add_url(url, host, chain, false, Spot::at(value, span.start, span.end));
            }
        }
    }

    /// Classifies a value by the name of its field, or else by its form.
    fn classify_by_name(&mut self, value: &Value<'_>, has_url: bool) {
        let lexicon = self.lexicon;
        let own = value.key.and_then(|key| lexicon.look_up(key));
        self.evidence.field(&lexicon.sdks, value, own);
        match self.names.meaning(lexicon, value, own) {
            Some(Meaning::Identifier { class, lifetime, reason, form }) => {
                // Their names are short, and can be others by chance.
                let is_cookie = *class == COOKIE_ID;
                let texts = identifier::in_listed_field(value, *form).into_iter();
                for text in texts.filter(|it| !is_cookie || identifier::may_be_cookie(it)) {
                    self.add_identifier(class, *lifetime, reason, text, value);
                }
            }
            Some(Meaning::Shared) => {}
            Some(Meaning::Personal { class, form }) => {
                let is_latitude = *form == PersonalForm::Latitude;
                if is_latitude || *form == PersonalForm::Longitude {
                    if let Some(place) = self.places.add(value, is_latitude) {
                        let class = Some(COORDINATES.to_owned());
                        self.push(Kind::PersonalDetail, class, &place.text, place.chain, false);
                    }
                } else if personal::matches_form(value, *form) {
                    self.add_value(Kind::PersonalDetail, Some(class), value);
                }
            }
            Some(Meaning::Field { kind, text, path }) => {
                // Settings in cookies have such names, too.
                let is_setting = *kind == Kind::SearchTerms
                    && matches!(value.chain.root(), Step::Cookie(_) | Step::Header(_));
                // Source code and prose have such names, too.
                let is_prose = matches!(value.chain.last(), Step::Pair(_)) && !self.is_report;
                let matches = !is_setting
                    && !is_prose
                    && self.path.satisfies(*path)
                    && fields::matches_form(value, *text, lexicon);
                if matches {
                    // The recipient itself searches: its path says so, or it is asked by a query
                    // and nothing is reported.
                    let is_asked = matches!(value.chain.root(), Step::Query(_));
                    let searches = *kind == Kind::SearchTerms
                        && !self.visits.asked_elsewhere(value.text, self.own)
                        && (lexicon.is_search(self.path) || is_asked && !self.is_report);
                    self.add_value(*kind, searches.then_some(SITE_SEARCH), value);
                }
                // A search box may also send text while the user is typing.
                if !has_url && (!matches || *kind == Kind::SearchTerms) {
                    self.candidates.add_typed(value);
                }
            }
            None if has_url => {}
            None => self.classify_by_form(value),
        }
    }

    /// Classifies a value by its form.
    fn classify_by_form(&mut self, value: &Value<'_>) {
        let identifiers = identifier::by_form(value);
        if !identifiers.is_empty() {
            for (text, class) in identifiers {
                let reason = identifier::UNKNOWN_LIFETIME;
                self.add_identifier(class, Lifetime::Unknown, reason, text, value);
            }
        } else if let Some(class) = personal::by_form(value) {
            self.add_value(Kind::PersonalDetail, Some(class), value);
        } else {
            self.candidates.add(value);
        }
    }

    /// Finds URLs of other sites, whole or in pieces. Returns `true` if the value
    /// contains any URL.
    fn find_urls(&mut self, value: &Value<'_>, work: &mut Work) -> bool {
        let text = value.text;
        let mut any = false;
        for span in url::spans(text, value.truncated, work) {
            any = true;
            let found = &text[span.start..span.end];
            // A visited page shows that a decoded space belongs to the URL, and what does not.
            let found = if span.start == 0 && !value.truncated && self.visits.page(text).is_some() {
                text
            } else {
                visited::without_neighbour(found, self.visits).unwrap_or(found)
            };
            let host = &text[span.host_start..span.host_end];
            let truncated = value.truncated && span.open;
            let spot = Spot::at(value, span.start, span.end);
            self.add_url(found, host, || value.chain.to_string(), truncated, spot);
        }
        if any {
            // The URL may be the origin of a path in another field.
            self.find_pieces(value);
            return true;
        }
        if let Some(url) = pair::schemeless(value) {
            let host = url.split('/').next().unwrap_or_default();
            let start = value.text.len() - url.len();
            let spot = Spot::at(value, start, value.text.len());
            self.add_url(url, host, || value.chain.to_string(), value.truncated, spot);
            return true;
        }
        self.find_pieces(value);
        false
    }

    /// Finds a visited host that is used as a key: `{"news.example": 3}`, `X-news-example: 3`.
    fn find_visited_key(&mut self, value: &Value<'_>) {
        let Some(key) = value.key else { return };
        if let Some(disclosed) = visited::hash_in_key(key, self.visits, self.own)
            && self.found.list.last().is_none_or(|last| last.value != key)
        {
            return self.add_disclosed(disclosed, value);
        }
        let Some(name) = visited::host_in_key(key, self.visits, self.own) else {
            return;
        };
        let known = |found: &Finding| found.class.as_deref() == Some("host") && found.value == name;
        if !self.found.list.last().is_some_and(known) {
            let class = Some("host".to_owned());
            let found = finding(Kind::Url, class, name, value.chain.to_string(), false);
            self.add(Finding { role: Some(UrlRole::Unknown), ..found });
        }
    }

    /// Finds a part of a visited URL, which other requests may complete.
    fn find_part(&mut self, value: &Value<'_>) {
        /// Digits of the shortest piece that is not by chance in a URL, and of the longest.
        const HEX_PIECE: std::ops::RangeInclusive<usize> = 16..=1024;
        if value.truncated || self.visits.is_empty() || self.found.parts.len() == MAX_PARTS {
            return;
        }
        // A short piece in hexadecimal looks like an identifier by itself.
        let digits = value.text.as_bytes();
        let is_hex = HEX_PIECE.contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
        let bytes = is_hex.then(|| HEXLOWER_PERMISSIVE.decode(digits).ok()).flatten();
        let decoded = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
        let text = decoded.as_deref().unwrap_or(value.text);
        if let Some((visit, range)) = self.visits.part(text)
            && visit.site() != self.own
        {
            let (url, mut chain) = (visit.url.clone(), value.chain.to_string());
            if decoded.is_some() {
                chain.push_str(" > hex");
            }
            let scheme = text.split_once("://").map(|(scheme, _)| scheme.to_owned());
            self.found.parts.push(UrlPart { url, range, scheme, chain });
        }
    }

    /// Finds a URL in pieces.
    fn find_pieces(&mut self, value: &Value<'_>) {
        let Some(pair) = self.pairs.add(value, self.visits) else { return };
        let spot = Spot::at(value, 0, 0);
        self.add_url(&pair.url, &pair.host, || pair.chain.clone(), pair.truncated, spot);
    }

    /// Adds a URL, unless it belongs to the recipient's site or to a vocabulary.
    fn add_url(
        &mut self,
        url: &str,
        host: &str,
        chain: impl FnOnce() -> String,
        truncated: bool,
        spot: Spot<'_>,
    ) {
        let Some(site) = Site::from_host(host) else {
            return;
        };
        let kind = match self.own {
            Some(own) if *own == site => return,
            Some(_) => Kind::Url,
            None => Kind::UrlToUnknown,
        };
        let is_vocabulary =
            self.vocabularies.contains(url) || truncated && self.vocabularies.may_contain(url);
        if !is_vocabulary {
            let is_template = !truncated && self.is_search_template(url);
            let is_metadata = || spot.value.chain.steps().any(|step| step == Step::Metadata);
            let class = match () {
                () if is_template => Some(SEARCH_TEMPLATE.to_owned()),
                () if is_metadata() => Some(METADATA.to_owned()),
                () => None,
            };
            let found = finding(kind, class, url, chain(), truncated);
            self.add_with_role(found, spot);
        }
    }

    /// Adds a value that discloses a visit.
    fn add_disclosed(&mut self, disclosed: Disclosed<'_>, value: &Value<'_>) {
        let Disclosed { kind, class, text } = disclosed;
        let found = finding(kind, class, &text, value.chain.to_string(), value.truncated);
        if kind == Kind::Url {
            self.add_with_role(found, Spot::at(value, 0, value.text.len()));
        } else {
            self.add(found);
        }
    }

    /// Adds a URL with its role.
    fn add_with_role(&mut self, found: Finding, spot: Spot<'_>) {
        let PlacedRole { role, in_reports, shows_report } = self.role(&found, spot);
        self.shows_report(shows_report);
        let in_reports = in_reports || self.is_no_report && role == UrlRole::Page;
        let before = self.found.list.len();
        self.add(Finding { role: Some(role), ..found });
        if in_reports && self.found.list.len() > before {
            self.pages_in_reports.push(before);
        }
    }

    /// Notes whether a word shows that the request reports.
    fn shows_report(&mut self, shows: bool) {
        self.is_report |= shows && !self.is_no_report;
    }

    /// Returns the role of a URL at this spot.
    fn role(&self, found: &Finding, Spot { value, start, end }: Spot<'_>) -> PlacedRole {
        let own = value.key.and_then(|key| self.lexicon.look_up(key));
        let label = self.names.label(value, own);
        self.lexicon.roles.role(value, start..end, label, found.truncated)
    }

    /// Reports whether a URL is the template of a search engine, which browsers send
    /// with their settings. Its last parameter is for search terms and empty or a
    /// placeholder, and the URL was not visited.
    fn is_search_template(&self, url: &str) -> bool {
        /// The placeholder of OpenSearch 1.1, percent-encoded or not, and that of
        /// browsers.
        const PLACEHOLDERS: [&str; 4] = ["", "{searchTerms}", "%7BsearchTerms%7D", "%s"];
        let last = url.split_once('?').and_then(|(_, query)| query.rsplit('&').next());
        let Some((name, terms)) = last.and_then(|last| last.split_once('=')) else {
            return false;
        };
        let meaning = self.lexicon.look_up(name).and_then(|entry| entry.meaning.as_ref());
        let is_terms = matches!(meaning, Some(Meaning::Field { kind: Kind::SearchTerms, .. }));
        is_terms
            && PLACEHOLDERS.iter().any(|placeholder| terms.eq_ignore_ascii_case(placeholder))
            && self.visits.page(url).is_none()
    }

    /// Adds a header field with a kind of its own, if it begins with a URL.
    fn add_header_field(&mut self, kind: Kind, value: &Value<'_>) {
        if value.chain.steps().count() == 1
            && urls_in(value.text).next().is_some_and(|span| span.start == 0)
        {
            self.add_value(kind, None, value);
        }
    }

    /// Adds an identifier: the text of a value, or a part of it.
    fn add_identifier(
        &mut self,
        class: &str,
        lifetime: Lifetime,
        reason: &str,
        text: &str,
        value: &Value<'_>,
    ) {
        let class = match value.chain.root() {
            Step::Cookie(_) => "cookie",
            _ => class,
        };
        let truncated = value.truncated && text.len() == value.text.len();
        self.add(Finding {
            lifetime: Some(lifetime),
            lifetime_reason: Some(reason.to_owned()),
            ..finding(
                Kind::Identifier,
                Some(class.to_owned()),
                text,
                value.chain.to_string(),
                truncated,
            )
        });
    }

    fn add_value(&mut self, kind: Kind, class: Option<&str>, value: &Value<'_>) {
        let class = class.map(str::to_owned);
        self.push(kind, class, value.text, value.chain.to_string(), value.truncated);
    }

    fn push(
        &mut self,
        kind: Kind,
        class: Option<String>,
        text: &str,
        chain: String,
        truncated: bool,
    ) {
        self.add(finding(kind, class, text, chain, truncated));
    }

    fn add(&mut self, finding: Finding) {
        if self.found.list.iter().any(|known| is_repetition(known, &finding)) {
            return;
        }
        let is_alike = |known: &&Finding| {
            known.kind == finding.kind && is_short_lived(known) == is_short_lived(&finding)
        };
        let room = match finding.kind {
            Kind::Url | Kind::UrlToUnknown => MAX_FINDINGS,
            _ if is_short_lived(&finding) => MAX_SHORT_LIVED,
            _ => MAX_OF_KIND,
        };
        if self.found.list.len() < MAX_FINDINGS
            && self.found.list.iter().filter(is_alike).count() < room
        {
            self.found.list.push(finding);
        } else {
            self.found.uncounted += 1;
        }
    }
}

fn finding(
    kind: Kind,
    class: Option<String>,
    text: &str,
    chain: String,
    truncated: bool,
) -> Finding {
    Finding {
        kind,
        class,
        value: text.to_owned(),
        chain,
        truncated,
        lifetime: None,
        lifetime_reason: None,
        role: None,
    }
}

fn is_short_lived(finding: &Finding) -> bool {
    finding.lifetime == Some(Lifetime::Request)
}

/// Reports whether a finding repeats a known one: the same value, or the same after
/// percent-decoding, which may have ended a URL at a character that was encoded. URLs
/// inside the decoded value are separate findings.
fn is_repetition(known: &Finding, new: &Finding) -> bool {
    /// End of the chain of a decoded value.
    const DECODED: &str = " > percent";
    if known.kind != new.kind {
        return false;
    }
    if known.chain == new.chain {
        return known.value == new.value;
    }
    let Some(mut steps) = new.chain.strip_prefix(&*known.chain) else {
        return false;
    };
    let mut text = Cow::Borrowed(known.value.as_bytes());
    while let Some(rest) = steps.strip_prefix(DECODED) {
        let Some(decoded) = content::percent_decode(&text) else {
            break;
        };
        (steps, text) = (rest, Cow::Owned(decoded));
    }
    let is_url = matches!(new.kind, Kind::Url | Kind::UrlToUnknown);
    steps.is_empty()
        && (text == new.value.as_bytes() || is_url && text.starts_with(new.value.as_bytes()))
}
