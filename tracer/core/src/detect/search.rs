//! One request's search: every value of it goes by once.

use super::{
    Context, Findings, Lexicon, MAX_FINDINGS,
    candidates::Candidates,
    fields, identifier,
    lexicon::{Meaning, Namer, PathWords},
    pair::{self, Pairs},
    personal::{self, Places},
    sdk::Evidence,
    url, urls_in, visited,
};
use crate::{
    address::Site,
    finding::{Finding, Kind, Lifetime},
    visits::Visits,
};
use crate::{
    content::{self, Step, Value},
    proto::{Initiator, Request},
    rules::{PersonalForm, Vocabularies},
};

/// Fields that hold URLs by their nature and not to tell somebody: the
/// software's own home page.
const SOFTWARE_FIELDS: [&str; 2] = ["User-Agent", "X-Requested-With"];

/// Of [`MAX_FINDINGS`], what may be identifiers of one message: a batch has
/// one in each, and they say the least.
const MAX_SHORT_LIVED: usize = 16;

/// … and what may be of any one kind but URLs, so that there is room for those.
const MAX_OF_KIND: usize = 32;

/// The class of a search engine's address without search terms.
const SEARCH_TEMPLATE: &str = "search_template";

/// The class of a place whose halves stand in two fields.
const COORDINATES: &str = "coordinates";

/// One request's search.
pub(super) struct Search<'a> {
    vocabularies: &'a Vocabularies,
    lexicon: &'a Lexicon,
    visits: &'a Visits,
    /// Site of the recipient.
    own: Option<&'a Site>,
    navigation: bool,
    /// The head was cut before it says who made the request: its target may be
    /// what the user asked for.
    maybe_navigation: bool,
    path: PathWords,
    found: Findings,
    pairs: Pairs,
    places: Places,
    namer: Namer,
    evidence: Evidence,
    candidates: Candidates,
}

impl<'a> Search<'a> {
    pub(super) fn new(
        vocabularies: &'a Vocabularies,
        lexicon: &'a Lexicon,
        context: &Context<'a>,
        request: &Request,
    ) -> Self {
        let Context { initiator, site, visits } = *context;
        Self {
            vocabularies,
            lexicon,
            visits,
            own: site,
            // A navigation's URL is what the user asked for, and the values in it
            // (a redirector's `?url=`) are part of that.
            navigation: initiator == Initiator::Navigation,
            maybe_navigation: initiator == Initiator::Unknown && request.head_cut.is_some(),
            path: PathWords::default(),
            found: Findings::default(),
            pairs: Pairs::default(),
            places: Places::default(),
            namer: Namer::default(),
            evidence: Evidence::default(),
            candidates: Candidates::default(),
        }
    }

    /// What was found.
    pub(super) fn finish(self) -> Findings {
        Findings {
            sdk: self.evidence.sdk(&self.lexicon.sdks),
            candidates: self.candidates.into_list(),
            ..self.found
        }
    }

    /// Looks at a value.
    pub(super) fn value(&mut self, value: &Value<'_>) {
        if let Step::Header(field) = value.chain.root() {
            if field.eq_ignore_ascii_case("Referer") {
                return self.field(Kind::Referer, value);
            }
            if field.eq_ignore_ascii_case("Origin") {
                return self.field(Kind::Origin, value);
            }
            if SOFTWARE_FIELDS.iter().any(|name| field.eq_ignore_ascii_case(name)) {
                return self.earlier_visits(value);
            }
        }
        if self.navigation {
            return self.earlier_visits(value);
        }
        self.visited_name(value);
        if let Some((kind, class)) = visited::disclosed(value, self.visits, self.own) {
            self.found(kind, class.as_deref(), value);
            return self.pieces(value);
        }
        let has_url = self.urls(value);
        if value.chain.last() == Step::Path && value.text.starts_with('/') {
            self.evidence.path(&self.lexicon.sdks, value);
            self.path = self.lexicon.in_path(value.text);
        }
        let root = value.chain.root();
        if root == Step::Path || self.maybe_navigation && !matches!(root, Step::Body) {
            return;
        }
        self.named(value, has_url);
    }

    /// A navigation's values are part of the visit, unless they tell of an
    /// earlier one: that is what a report disguised as a visit does.
    fn earlier_visits(&mut self, value: &Value<'_>) {
        for span in urls_in(value.text) {
            let url = &value.text[span.start..span.end];
            if self.visits.page(url).is_some() {
                let host = &value.text[span.host_start..span.host_end];
                self.url(url, host, || value.chain.to_string(), false);
            }
        }
    }

    /// Looks at what a value's field, or its form, says of it.
    fn named(&mut self, value: &Value<'_>, has_url: bool) {
        let lexicon = self.lexicon;
        let own = value.key.and_then(|key| lexicon.look_up(key));
        self.evidence.field(&lexicon.sdks, value, own);
        match self.namer.meaning(lexicon, value, own) {
            Some(Meaning::Identifier { class, lifetime, form }) => {
                if identifier::is_named(value, *form) {
                    self.identifier(class, *lifetime, value);
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
                } else if personal::is_named(value, *form) {
                    self.found(Kind::PersonalDetail, Some(class), value);
                }
            }
            Some(Meaning::Field { kind, text, path }) => {
                let is_it = self.path.allow(*path) && fields::is_named(value, *text, lexicon);
                if is_it {
                    self.found(*kind, None, value);
                }
                // What grows letter by letter has a name as well.
                if !has_url && (!is_it || *kind == Kind::SearchTerms) {
                    self.candidates.typed(value);
                }
            }
            None if has_url => {}
            None => self.unnamed(value),
        }
    }

    fn unnamed(&mut self, value: &Value<'_>) {
        if let Some(found) = identifier::by_form(value) {
            self.identifier(found.class, found.lifetime, value);
        } else if let Some(class) = personal::by_form(value) {
            self.found(Kind::PersonalDetail, Some(class), value);
        } else {
            self.candidates.add(value);
        }
    }

    /// URLs of other sites, whole or in pieces. Answers whether there was any
    /// URL.
    fn urls(&mut self, value: &Value<'_>) -> bool {
        let text = value.text;
        let mut any = false;
        for span in urls_in(text) {
            any = true;
            // With fewer bytes nothing may be more certain: a host that could
            // go on is no host yet.
            let truncated = value.truncated && url::is_punctuation(&text[span.end..]);
            if truncated && span.host_end == span.end {
                continue;
            }
            let found = &text[span.start..span.end];
            self.url(
                if truncated { url::without_list(found) } else { found },
                &text[span.host_start..span.host_end],
                || value.chain.to_string(),
                truncated,
            );
        }
        if any {
            return true;
        }
        if let Some(url) = pair::schemeless(value) {
            let host = url.split('/').next().unwrap_or_default();
            self.url(url, host, || value.chain.to_string(), value.truncated);
            return true;
        }
        self.pieces(value);
        false
    }

    /// A host that was visited, and stands where names do: `{"news.example": 3}`.
    fn visited_name(&mut self, value: &Value<'_>) {
        let Some(name) = value.key else { return };
        let known = |found: &Finding| found.class.as_deref() == Some("host") && found.value == name;
        if visited::is_others_host(name, self.visits, self.own)
            && !self.found.list.last().is_some_and(known)
        {
            let class = Some("host".to_owned());
            self.push(Kind::Url, class, name, value.chain.to_string(), false);
        }
    }

    /// A URL in pieces.
    fn pieces(&mut self, value: &Value<'_>) {
        let Some(pair) = self.pairs.add(value, self.visits) else { return };
        self.url(&pair.url, &pair.host, || pair.chain.clone(), pair.truncated);
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
        let is_vocabulary =
            self.vocabularies.contains(url) || truncated && self.vocabularies.may_contain(url);
        if !is_vocabulary {
            let is_template = !truncated && self.is_search_template(url);
            let class = is_template.then(|| SEARCH_TEMPLATE.to_owned());
            self.push(kind, class, url, chain(), truncated);
        }
    }

    /// Whether a URL is a search engine's, with nothing searched for: browsers
    /// tell which one they are set to. It ends in a parameter for search terms
    /// that is empty or holds their place, and nobody opened it.
    fn is_search_template(&self, url: &str) -> bool {
        /// OpenSearch 1.1, percent-encoded or not, and the browsers' own.
        const PLACES: [&str; 4] = ["", "{searchTerms}", "%7BsearchTerms%7D", "%s"];
        let last = url.split_once('?').and_then(|(_, query)| query.rsplit('&').next());
        let Some((name, terms)) = last.and_then(|last| last.split_once('=')) else {
            return false;
        };
        let means = self.lexicon.look_up(name).and_then(|entry| entry.meaning.as_ref());
        let is_terms = matches!(means, Some(Meaning::Field { kind: Kind::SearchTerms, .. }));
        is_terms
            && PLACES.iter().any(|place| terms.eq_ignore_ascii_case(place))
            && self.visits.page(url).is_none()
    }

    /// A field that has a kind of its own, if it names a site.
    fn field(&mut self, kind: Kind, value: &Value<'_>) {
        if value.chain.steps().count() == 1
            && urls_in(value.text).next().is_some_and(|span| span.start == 0)
        {
            self.found(kind, None, value);
        }
    }

    fn identifier(&mut self, class: &str, lifetime: Lifetime, value: &Value<'_>) {
        let class = match value.chain.root() {
            Step::Cookie(_) => "cookie",
            _ => class,
        };
        self.add(Finding {
            lifetime: Some(lifetime),
            ..finding(
                Kind::Identifier,
                Some(class.to_owned()),
                value.text,
                value.chain.to_string(),
                value.truncated,
            )
        });
    }

    fn found(&mut self, kind: Kind, class: Option<&str>, value: &Value<'_>) {
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
        if self.found.list.iter().any(|known| repeats(known, &finding)) {
            return;
        }
        let alike = |known: &&Finding| {
            known.kind == finding.kind && is_short_lived(known) == is_short_lived(&finding)
        };
        let room = match finding.kind {
            Kind::Url | Kind::UrlToUnknown => MAX_FINDINGS,
            _ if is_short_lived(&finding) => MAX_SHORT_LIVED,
            _ => MAX_OF_KIND,
        };
        if self.found.list.len() < MAX_FINDINGS
            && self.found.list.iter().filter(alike).count() < room
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
    Finding { kind, class, value: text.to_owned(), chain, truncated, lifetime: None }
}

fn is_short_lived(finding: &Finding) -> bool {
    finding.lifetime == Some(Lifetime::Request)
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
