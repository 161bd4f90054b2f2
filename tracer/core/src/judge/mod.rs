//! Judgement: how severe the findings of a request are, and why.
//!
//! A finding is a fact about bytes. What it discloses depends on its context:
//! the visits, the sender, the recipient, the identifier beside it, the private
//! mode. The context needs a memory, which [`Judge`] has. The judgement itself is
//! a table, `rules/judgement.toml`, of which the first row that matches decides.
//!
//! ```text
//! DecodedRequest ─▶ sender, recipient, visit, identifier ─▶ Case ─▶ JudgedRequest
//! ```

mod deduplicator;
mod disclosure;
mod ledger;
mod loads;
mod memory;
mod parts;
mod request;
mod sender;
mod table;
mod typed;

use std::sync::Arc;

pub use self::sender::Attribution;
use self::{
    deduplicator::Deduplicator,
    disclosure::{Beside, Context, most_severe},
    ledger::{Ledger, Place},
    memory::Memory,
    request::DedupKey,
    sender::{Evidence, LOADING, attribute, has_metadata, loads_frame},
};
pub use self::{
    deduplicator::Repetitions,
    disclosure::Disclosure,
    ledger::Sighting,
    request::{AlertStatus, DecodedRequest, DerivedHost, HostSource, JudgedRequest},
};
use crate::{
    address::{Address, Site, host_of_authority, is_local, is_loopback},
    application::Application,
    detect::Findings,
    finding::{
        ALERT, Candidate, CandidateKind, Finding, Identification, Kind, Lifetime, Recipient,
        RecipientKind, Sender, UrlRole, Visited,
    },
    proto::{Initiator, Request},
    record::BootTime,
    rules::{Browser, Rules},
    stream::Sent,
    visits::{Page, Visits},
};

/// Judges requests. It remembers what applications visited, typed and sent
/// before, and which alerts were raised.
#[derive(Debug)]
pub struct Judge {
    rules: Arc<Rules>,
    memory: Memory,
    ledger: Ledger,
    alerts: Deduplicator,
}

impl Judge {
    /// Creates a judge without memories.
    pub fn new(rules: Arc<Rules>) -> Self {
        Self {
            rules,
            memory: Memory::default(),
            ledger: Ledger::default(),
            alerts: Deduplicator::default(),
        }
    }

    /// Replaces the rules. What is remembered stays.
    pub fn set_rules(&mut self, rules: Arc<Rules>) {
        self.rules = rules;
    }

    /// Returns the visits of an application.
    pub fn visits(&self, application: &Application) -> &Visits {
        self.memory.visits(application)
    }

    /// Records that an application opened a page. Returns `true` if the page is
    /// new.
    pub fn record_visit(
        &mut self,
        application: &Arc<Application>,
        page: &Page<'_>,
        time: BootTime,
    ) -> bool {
        let memory = self.memory.entry(application);
        if let Some(site) = page.address().site() {
            memory.loads.record_visit(&site);
        }
        memory.visits.record_page(page, time)
    }

    /// Records that an application looked up a host, or named it in a
    /// ClientHello.
    pub fn record_lookup(&mut self, application: &Arc<Application>, host: &str, time: BootTime) {
        self.memory.entry(application).visits.record_lookup(host, time);
    }

    /// Adds the sightings of earlier runs.
    pub fn remember(&mut self, sightings: Vec<Sighting>) {
        self.ledger.remember(sightings);
    }

    /// Returns the sightings that changed since the last call.
    pub fn changed_sightings(&mut self) -> Vec<Sighting> {
        self.ledger.changed()
    }

    /// Returns the repetitions of alerts, if a report is due.
    pub fn due_repetitions(&mut self, now: BootTime) -> Vec<Repetitions> {
        self.alerts.due(now)
    }

    /// Returns all repetitions of alerts that were not reported yet.
    pub fn take_repetitions(&mut self) -> Vec<Repetitions> {
        self.alerts.take()
    }

    /// Judges a request.
    pub fn judge(&mut self, request: DecodedRequest) -> JudgedRequest {
        let DecodedRequest {
            sent,
            number,
            unix,
            application,
            browser,
            private,
            initiator,
            derived_host,
            site,
            findings: Findings { mut list, uncounted, sdk, reports, mut candidates, parts, report },
        } = request;

        let sends = sent.message.never_sent.is_none();
        if initiator != Initiator::Navigation && sends && !parts.is_empty() {
            let site = site.as_ref().map_or("", Site::as_str);
            let known = &mut self.memory.entry(&application).parts;
            list.extend(known.join(site, parts, &list, number, sent.message.time));
        }
        let attribution = self.attribute(
            &sent,
            initiator,
            &application,
            browser.as_deref(),
            site.as_ref(),
            &list,
        );
        let Attribution { sender, .. } = attribution;
        let derived = derived_host.as_ref().map(|host| &host.name[..]);
        let authority = sent.message.authority.as_deref().or(derived);
        let recipient = self.recipient(authority, browser.as_deref(), sender);
        if sender != Sender::Navigation && sends {
            let site = site.as_ref().map_or("", Site::as_str);
            let typing = &mut self.memory.entry(&application).typing;
            list.extend(typing.observe(site, &candidates, sent.message.time));
        }
        candidates.retain(|candidate| candidate.kind == CandidateKind::Identifier);

        let context = Context {
            sent: &sent,
            number,
            unix,
            application: &application,
            browser: browser.as_deref(),
            private,
            attribution,
            recipient: &recipient,
            site: site.as_ref(),
            sdk: sdk.as_deref(),
            reports,
        };
        if sends && is_own(sender, &recipient) {
            list.extend(self.returning(&candidates, context.place()));
        }
        let disclosures = self.disclosures(list, &context);
        let alert = self.alert_status(&context, &disclosures);
        JudgedRequest {
            sent,
            number,
            unix,
            application,
            browser,
            private,
            initiator,
            attribution,
            recipient,
            derived_host,
            site,
            sdk,
            reports,
            disclosures,
            findings_uncounted: uncounted,
            candidates,
            report,
            alert,
        }
    }

    /// Judges a request again, after a page was opened that it mentions. Returns
    /// `None` unless that makes it an alert, or a more severe one.
    pub fn judge_again(&mut self, request: JudgedRequest) -> Option<JudgedRequest> {
        let before = request.severity();
        let JudgedRequest { disclosures, .. } = request;
        let findings = disclosures.into_iter().map(|disclosure| disclosure.finding).collect();
        let context = Context {
            sent: &request.sent,
            number: request.number,
            unix: request.unix,
            application: &request.application,
            browser: request.browser.as_deref(),
            private: request.private,
            attribution: request.attribution,
            recipient: &request.recipient,
            site: request.site.as_ref(),
            sdk: request.sdk.as_deref(),
            reports: request.reports,
        };
        let disclosures = self.disclosures(findings, &context);
        if most_severe(&disclosures).map(|verdict| verdict.severity) <= before {
            return None;
        }
        let alert = self.alert_status(&context, &disclosures);
        let mut request = JudgedRequest { disclosures, alert, ..request };
        request.sent.message.update = true;
        (alert != AlertStatus::None).then_some(request)
    }

    /// Judges each finding in the context of its request.
    fn disclosures(&mut self, findings: Vec<Finding>, context: &Context<'_>) -> Vec<Disclosure> {
        let sends = context.sent.message.never_sent.is_none();
        let own = sends && is_own(context.attribution.sender, context.recipient);
        let place = context.place();
        let identifications: Vec<_> =
            findings.iter().map(|finding| self.identification(finding, own, place)).collect();
        let identifier =
            identifications.iter().flatten().max().copied().unwrap_or(Identification::None);
        // Pages have cookies, and no identifiers of the device.
        let has_own = findings.iter().zip(&identifications).any(|(finding, identification)| {
            *identification == Some(Identification::Lasting)
                && finding.class.as_deref() != Some("cookie")
        });
        let beside = Beside {
            identifier,
            witnesses: witnesses(&findings, identifier, is_telemetry(context)),
            may_be_page: context.attribution.may_be_page && !has_own,
        };
        let visits = self.memory.visits(context.application);
        findings
            .into_iter()
            .zip(identifications)
            .map(|(finding, identification)| {
                context.disclosure(finding, identification, beside, visits, &self.rules)
            })
            .collect()
    }

    fn alert_status(&mut self, context: &Context<'_>, disclosures: &[Disclosure]) -> AlertStatus {
        if most_severe(disclosures).is_none_or(|verdict| verdict.severity < ALERT) {
            return AlertStatus::None;
        }
        let request = &context.sent.message;
        let key = DedupKey {
            application: context.application,
            process: context.sent.process.tgid,
            request,
            disclosures,
        };
        self.alerts.observe(key, request.time)
    }

    /// Determines the sender of a request, and remembers what it shows of the application.
    fn attribute(
        &mut self,
        sent: &Sent<Request>,
        initiator: Initiator,
        application: &Arc<Application>,
        browser: Option<&Browser>,
        site: Option<&Site>,
        findings: &[Finding],
    ) -> Attribution {
        let request = &sent.message;
        let transport = sent.connection.transport;
        let host = request.authority.as_deref().map(host_of_authority);
        // Engines send Fetch Metadata to this machine over plain HTTP, too.
        if has_metadata(request)
            && !host.is_some_and(is_loopback)
            && !self.memory.sends_metadata(application, transport)
        {
            self.memory.entry(application).metadata.push(transport);
        }
        let visits = self.memory.visits(application);
        let is_recent = |finding: &Finding| {
            let address = Address::parse(&finding.value);
            let visited = address.map(|it| visits.find(&it, finding.truncated, request.time).0);
            matches!(
                visited,
                Some(Visited::Page { ago, .. } | Visited::Host { ago, .. }) if ago <= LOADING
            )
        };
        let owner = host.and_then(|host| self.rules.recipient(host, browser).maker);
        let evidence = Evidence {
            sends_metadata: self.memory.sends_metadata(application, transport),
            mentions_recent_page: matches!(initiator, Initiator::Unknown | Initiator::Navigation)
                && findings.iter().filter(|finding| finding.kind == Kind::Url).any(is_recent),
            never_opened: !visits.is_empty()
                && site.is_some_and(|site| {
                    visits.page_on(site.as_str()).is_none()
                        && !self.memory.is_framed(application, site)
                }),
            makers_own_host: owner.is_some_and(|owner| !owner.embedded),
        };
        let mut attribution = attribute(request, initiator, evidence);
        if let Some(site) = site
            && attribution.sender == Sender::Page
            && loads_frame(request)
        {
            self.memory.entry(application).record_frame(site);
        }
        if attribution.sender == Sender::Page
            && request.never_sent.is_none()
            && let Some((page, site)) = named_page(request).zip(site)
        {
            let is_unusual = self.memory.entry(application).loads.record_load(&page, site);
            if is_unusual && findings.iter().any(|finding| finding.kind == Kind::Url) {
                attribution.reason = UNUSUAL;
            }
        }
        attribution
    }

    fn recipient(
        &self,
        authority: Option<&str>,
        browser: Option<&Browser>,
        sender: Sender,
    ) -> Recipient {
        let Some(host) = authority.map(host_of_authority) else {
            return Recipient::Unknown;
        };
        let party = self.rules.recipient(host, browser);
        // Pages may have sent what they embed. The other hosts of a maker serve
        // its browser alone.
        let claimed = matches!(sender, Sender::Page | Sender::Navigation);
        match (party.maker, party.service) {
            (Some(owner), _) if !(claimed && owner.embedded) => {
                Recipient::Maker { name: owner.maker.name.to_string() }
            }
            (_, Some(service)) => {
                Recipient::Service { name: service.name.to_string(), category: service.category }
            }
            _ if is_local(host) => Recipient::Local,
            _ => Recipient::ThirdParty,
        }
    }

    /// Returns the candidates that were sent on an earlier connection as well, as
    /// findings: identifiers that neither name nor form shows.
    fn returning(&mut self, candidates: &[Candidate], place: Place<'_>) -> Vec<Finding> {
        let mut returning = Vec::new();
        for candidate in candidates {
            let known = self.ledger.seen(&candidate.value, None, place);
            if known.connections > 1 {
                returning.push(Finding {
                    kind: Kind::Identifier,
                    class: Some(RETURNING.into()),
                    value: candidate.value.clone(),
                    chain: candidate.chain.clone(),
                    truncated: false,
                    lifetime: Some(Lifetime::Unknown),
                    role: None,
                    lifetime_reason: Some(RETURNED.into()),
                });
            }
        }
        returning
    }

    /// Returns how well an identifier identifies. `None` for other findings.
    fn identification(
        &mut self,
        finding: &Finding,
        own: bool,
        place: Place<'_>,
    ) -> Option<Identification> {
        if finding.kind != Kind::Identifier {
            return None;
        }
        let class = finding.class.as_deref();
        let lasts = if class == Some(RETURNING) {
            // It was counted as a candidate.
            self.ledger.lasts(&finding.value)
        } else {
            own && !finding.truncated && self.ledger.seen(&finding.value, class, place).lasts()
        };
        Some(if finding.lifetime == Some(Lifetime::Lasting) || lasts {
            Identification::Lasting
        } else {
            Identification::Seen
        })
    }
}

/// Reports whether a request is telemetry: it has the form of an SDK, or its recipient collects
/// nothing else.
fn is_telemetry(context: &Context<'_>) -> bool {
    context.sdk.is_some() || context.recipient.kind() == RecipientKind::Analytics
}

/// Counts the witnesses that a request reports pages that were looked at: that it is telemetry,
/// a lasting identifier, and several pages.
fn witnesses(findings: &[Finding], identifier: Identification, is_telemetry: bool) -> u8 {
    let mut pages = findings.iter().filter(|finding| finding.role == Some(UrlRole::Page));
    let several = pages
        .next()
        .is_some_and(|first| pages.any(|other| !is_same_page(&first.value, &other.value)));
    u8::from(is_telemetry) + u8::from(identifier == Identification::Lasting) + u8::from(several)
}

/// Reports whether two URLs differ at most in their scheme, query and fragment.
fn is_same_page(one: &str, other: &str) -> bool {
    let page = |url: &str| {
        let url = url.split(['?', '#']).next().unwrap_or_default();
        let url = url.split_once("://").map_or(url, |(_, rest)| rest);
        url.trim_end_matches('/').to_owned()
    };
    page(one) == page(other)
}

/// Reason of a page's request to a recipient that its site did not load from before.
const UNUSUAL: &str = "the header fields are those of a request that a page makes; on earlier \
                       visits, its site loaded nothing from this recipient, so that a script of an \
                       extension in the page may have made it";

/// Returns the site of the page that a request names as its origin.
fn named_page(request: &Request) -> Option<Site> {
    let named = |field| std::str::from_utf8(request.header(field)?).ok();
    ["origin", "referer"]
        .into_iter()
        .filter_map(named)
        .filter(|value| value.contains("://"))
        .find_map(|value| Address::parse(value)?.site())
}

/// Class of identifiers that neither name nor form shows, and that were sent on
/// several connections.
const RETURNING: &str = "returning";

/// Reason for the unknown lifetime of such an identifier.
const RETURNED: &str = "the same value was sent on several connections";

/// Reports whether the application itself speaks in a request. Pages have
/// identifiers of their own.
fn is_own(sender: Sender, recipient: &Recipient) -> bool {
    match sender {
        Sender::Navigation => false,
        Sender::Page => recipient.kind() == RecipientKind::Maker,
        Sender::Browser | Sender::Extension | Sender::Unknown => true,
    }
}
