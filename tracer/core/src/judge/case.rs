//! Findings in their context.

use std::collections::HashMap;
use std::sync::Arc;

use super::{
    Disclosure, Sighting,
    ledger::{Ledger, Place},
    sender::sender,
    table::{self, Case},
    typed::Typing,
};
use crate::finding::{
    Confidence, Identification, Level, Recipient, RecipientKind, Sender, Severity, Verdict,
};
use crate::{
    address::{Address, Site, host_of_authority},
    application::Application,
    detect::Findings,
    finding::{CandidateKind, Finding, Kind, Lifetime, Scope, Visited},
    proto::{Initiator, Request},
    record::BootTime,
    rules::{Browser, Rules},
    visits::Visits,
};

/// Applications whose visits are remembered; those seen least recently go
/// first. A device has a dozen browsers, and the memory of one can be a
/// megabyte.
const MAX_APPLICATIONS: usize = 64;

/// Where a request comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The application.
    pub application: &'a Application,
    /// The browser that it is, where the rules know it.
    pub browser: Option<&'a Browser>,
    /// Its window is private: `None` where nobody can tell.
    pub private: Option<bool>,
    /// The request's number in this run.
    pub request: u64,
    /// The process.
    pub process: u32,
    /// The connection.
    pub connection: u64,
    /// When it was sent, in nanoseconds since 1970-01-01 UTC; 0 where nobody
    /// knows.
    pub unix: u64,
    /// Who made it, as its header fields have it.
    pub initiator: Initiator,
}

/// What came out for a request.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Who sent it.
    pub sender: Sender,
    /// To whom.
    pub recipient: Recipient,
    /// Its findings, in their context.
    pub disclosures: Vec<Disclosure>,
    /// The gravest verdict; `None` where there is nothing to judge.
    pub verdict: Option<Verdict>,
}

/// The context that findings are judged in: what applications visited, what
/// they sent before.
#[derive(Debug)]
pub struct Judge {
    rules: Arc<Rules>,
    applications: HashMap<Application, Memory>,
    nothing: Visits,
    ledger: Ledger,
    turn: u64,
}

/// What is remembered of one application.
#[derive(Debug, Default)]
struct Memory {
    visits: Visits,
    typing: Typing,
    turn: u64,
}

impl Judge {
    /// A judge without memories.
    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            applications: HashMap::new(),
            nothing: Visits::default(),
            ledger: Ledger::default(),
            turn: 0,
        }
    }

    /// The rules it goes by.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// What an application visited.
    pub fn visits(&self, application: &Application) -> &Visits {
        self.applications.get(application).map_or(&self.nothing, |memory| &memory.visits)
    }

    /// An application opened a page. Says whether that is news.
    pub fn opened(&mut self, application: &Application, url: &str, time: BootTime) -> bool {
        self.memory(application).visits.opened(url, time)
    }

    /// An application asked for a host.
    pub fn asked_for(&mut self, application: &Application, host: &str, time: BootTime) {
        self.memory(application).visits.asked_for(host, time);
    }

    /// Takes identifiers that earlier runs saw.
    pub fn remember(&mut self, sightings: Vec<Sighting>) {
        self.ledger.remember(sightings);
    }

    /// The identifiers that were seen since this was last asked.
    pub fn changed_sightings(&mut self) -> Vec<Sighting> {
        self.ledger.changed()
    }

    /// Judges a request's findings. Findings that only the context shows, such
    /// as what is typed, are added to them.
    pub fn judge(
        &mut self,
        request: &Request,
        findings: &mut Findings,
        origin: &Origin<'_>,
    ) -> Judged {
        let sender = sender(request, origin.initiator);
        let host = request.authority.as_deref().map(host_of_authority);
        let recipient = self.recipient(host, origin.browser, sender);
        let site = host.and_then(Site::of_host);
        let site = site.as_ref().map_or("", Site::as_str);

        let own = is_own(sender, &recipient);
        if sender != Sender::Navigation {
            let typing = &mut self.memory(origin.application).typing;
            let typed = typing.observe(site, &findings.candidates, request.time);
            findings.list.extend(typed);
        }
        let name = origin.application.name();
        let place = Place {
            application: name,
            recipient: site,
            request: origin.request,
            process: origin.process,
            connection: origin.connection,
            unix: origin.unix,
        };
        if own {
            let returning = self.returning(findings, &place);
            findings.list.extend(returning);
        }
        let identifications: Vec<Option<Identification>> =
            findings.list.iter().map(|finding| self.identification(finding, own, &place)).collect();
        let identifier =
            identifications.iter().flatten().max().copied().unwrap_or(Identification::None);

        let visits = self.visits(origin.application);
        let disclosures: Vec<Disclosure> = findings
            .list
            .iter()
            .zip(identifications)
            .map(|(finding, identification)| {
                let sdk = findings.sdk.as_deref();
                let context = Context { request, visits, sdk, sender, recipient: &recipient };
                self.disclosure(finding, identification, identifier, &context, origin)
            })
            .collect();
        // Judged again, they would be seen twice.
        findings.candidates.clear();
        let gravest = disclosures.iter().map(|one| &one.verdict).max_by_key(|one| one.severity);
        let verdict = gravest.cloned();
        Judged { sender, recipient, disclosures, verdict }
    }

    fn memory(&mut self, application: &Application) -> &mut Memory {
        self.turn += 1;
        if self.applications.len() >= MAX_APPLICATIONS
            && !self.applications.contains_key(application)
        {
            let oldest = self.applications.iter().min_by_key(|(_, memory)| memory.turn);
            if let Some(oldest) = oldest.map(|(application, _)| application.clone()) {
                self.applications.remove(&oldest);
            }
        }
        let memory = self.applications.entry(application.clone()).or_default();
        memory.turn = self.turn;
        memory
    }

    fn recipient(
        &self,
        host: Option<&str>,
        browser: Option<&Browser>,
        sender: Sender,
    ) -> Recipient {
        let Some(host) = host else {
            return Recipient::Unknown;
        };
        let party = self.rules.recipient(host, browser);
        // What pages embed, pages may have sent; the rest of a maker's hosts is
        // there for its browser alone.
        let claimed = matches!(sender, Sender::Page | Sender::Navigation);
        match (party.maker, party.service) {
            (Some(owner), _) if !(claimed && owner.embedded) => {
                Recipient::Maker { name: owner.maker.name.to_string() }
            }
            (_, Some(service)) => {
                Recipient::Service { name: service.name.to_string(), category: service.category }
            }
            _ => Recipient::ThirdParty,
        }
    }

    /// Whether a URL that was told to the maker is the maker's own.
    fn is_makers(&self, host: &str, browser: Option<&Browser>) -> bool {
        self.rules.recipient(host_of_authority(host), browser).maker.is_some()
    }

    /// Values that nothing shows to be identifiers, but that they return.
    fn returning(&mut self, findings: &Findings, place: &Place<'_>) -> Vec<Finding> {
        let candidates =
            findings.candidates.iter().filter(|one| one.kind == CandidateKind::Identifier);
        let mut returning = Vec::new();
        for candidate in candidates {
            let known = self.ledger.seen(&candidate.value, None, *place);
            if known.connections > 1 {
                returning.push(Finding {
                    kind: Kind::Identifier,
                    class: Some("returning".into()),
                    value: candidate.value.clone(),
                    chain: candidate.chain.clone(),
                    truncated: false,
                    lifetime: Some(Lifetime::Unknown),
                });
            }
        }
        returning
    }

    /// What is known of the life of an identifier.
    fn identification(
        &mut self,
        finding: &Finding,
        own: bool,
        place: &Place<'_>,
    ) -> Option<Identification> {
        if finding.kind != Kind::Identifier {
            return None;
        }
        let by_name = finding.lifetime.unwrap_or(Lifetime::Unknown);
        let class = finding.class.as_deref();
        // What was counted as a candidate is not counted again.
        let lasts = own && !finding.truncated && class != Some("returning") && {
            self.ledger.seen(&finding.value, class, *place).lasts()
        };
        let lasts = lasts || class == Some("returning") && self.ledger.lasts(&finding.value);
        Some(if by_name == Lifetime::Lasting || lasts {
            Identification::Lasting
        } else {
            Identification::Seen
        })
    }

    fn disclosure(
        &self,
        finding: &Finding,
        identification: Option<Identification>,
        identifier: Identification,
        context: &Context<'_>,
        origin: &Origin<'_>,
    ) -> Disclosure {
        let (visited, scope) = context.visit(finding);
        let told_of = match finding.kind {
            Kind::Url => Address::parse(&finding.value).map(|address| address.host().to_owned()),
            _ => None,
        };
        let own = matches!(context.recipient, Recipient::Maker { .. })
            && told_of.is_some_and(|host| self.is_makers(&host, origin.browser));
        let recipient = if own { &Recipient::SameSite } else { context.recipient };
        let confidence = confidence(finding, visited.as_ref());
        let case = Case {
            kind: finding.kind,
            class: finding.class.as_deref(),
            sdk: context.sdk,
            scope,
            visited: visited.as_ref().map(Into::into),
            sender: context.sender,
            recipient: recipient.kind(),
            identifier: identification.unwrap_or(identifier),
            private: origin.private == Some(true),
            head_cut: context.request.head_cut.is_some(),
        };
        let mut verdict = table::judge(self.rules.judgement(), &case, &recipient.describe());
        // What may be something else accuses nobody.
        if confidence.level == Level::Low {
            verdict.severity = verdict.severity.min(Severity::Low);
        }
        Disclosure { finding: finding.clone(), scope, visited, identification, confidence, verdict }
    }
}

/// Whether a request speaks for the application itself: pages have identifiers
/// of their own.
fn is_own(sender: Sender, recipient: &Recipient) -> bool {
    match sender {
        Sender::Navigation => false,
        Sender::Page => recipient.kind() == RecipientKind::Maker,
        Sender::Browser | Sender::Extension | Sender::Unknown => true,
    }
}

/// What all findings of a request share.
struct Context<'a> {
    request: &'a Request,
    visits: &'a Visits,
    sdk: Option<&'a str>,
    sender: Sender,
    recipient: &'a Recipient,
}

impl Context<'_> {
    fn visit(&self, finding: &Finding) -> (Option<Visited>, Option<Scope>) {
        let now = self.request.time;
        let found = match finding.kind {
            Kind::Url if finding.class.as_deref() == Some("host") => {
                (self.visits.host(&finding.value, now), Scope::Host)
            }
            Kind::Url | Kind::UrlToUnknown => {
                self.visits.find(&finding.value, finding.truncated, now)
            }
            Kind::VisitedUrlHash => match self.visits.hashed(&finding.value, true) {
                Some(hash) if hash.form.is_host() => {
                    (self.visits.host(&hash.text, now), Scope::Host)
                }
                Some(hash) => self.visits.find(&hash.text, false, now),
                None => (Visited::Unknown, Scope::Full),
            },
            _ => return (None, None),
        };
        (Some(found.0), Some(found.1))
    }
}

/// How sure a finding is.
fn confidence(finding: &Finding, visited: Option<&Visited>) -> Confidence {
    let sure = |level, reason| Confidence { level, reason };
    let class = finding.class.as_deref().unwrap_or_default();
    match (finding.kind, visited) {
        _ if finding.truncated => sure(Level::Medium, "the value was cut, and may go on"),
        (Kind::VisitedUrlHash, _) if class.starts_with("crc32") || class.starts_with("java") => {
            sure(Level::Low, "32 bits of a hash agree, in a field that is named for one")
        }
        (Kind::VisitedUrlHash, _) => sure(Level::High, "64 bits of a hash or more agree"),
        (_, Some(Visited::Page { .. })) => sure(Level::High, "the same URL was visited"),
        (_, Some(Visited::Host { .. })) => sure(Level::High, "the host was visited or asked for"),
        (Kind::Url | Kind::UrlToUnknown | Kind::Referer | Kind::Origin, _) => {
            sure(Level::High, "it is a URL as it was sent")
        }
        (Kind::Identifier, _) => match (finding.lifetime, class) {
            (_, "returning") => {
                sure(Level::Medium, "the same value was sent on several connections")
            }
            (Some(Lifetime::Unknown) | None, _) => {
                sure(Level::Medium, "it has the form of an identifier")
            }
            _ => sure(Level::High, "its field is named for an identifier"),
        },
        (Kind::PersonalDetail, _) => sure(Level::High, "its form and its field's name agree"),
        (Kind::TypedText, _) => sure(Level::Medium, "the value grew from request to request"),
        (Kind::SearchTerms | Kind::PageText | Kind::UiEvent | Kind::ContentItem, _) => {
            sure(Level::Medium, "its field is named for it")
        }
    }
}
