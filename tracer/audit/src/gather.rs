//! Gathers what the browser sent in which phase, and which of it mentions the audit's pages.
//!
//! A [`Gatherer`] is fed with the events of an audit while it runs, or with those of its trace
//! afterwards. Both lead to the same observations: a request is classified by what the journal says
//! about the time at which it was sent, and a journal only grows at its end.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    canary::{Canary, Mention},
    differential::{Event as SentEvent, Findings, Samples, analyse},
    identifiers::{IdentifierHistory, IdentifierTracker},
    journal::{Journal, OpenMethod, Outcome, Stage},
    lookups::Lookups,
    mentions::{CanaryMention, Titles, find_mentions},
    phase::Phase,
    understanding::{Opaque, Understanding},
};
use tracer_core::{
    account::Accounts,
    address::Site,
    application::Application,
    extensions::Extensions,
    finding::{Kind, Level, Recipient, Sender, Severity},
    judge::{Disclosure, HostSource, JudgedRequest},
    knowledge::Knowledge,
    pipeline::{Output, Pipeline},
    proto::{NameSource, ServerName},
    record::{BootTime, Event, Losses},
    rules::Rules,
};

/// Number of disclosing requests that are kept whole. An audit of ten minutes has a few hundred.
const MAX_DISCLOSING: usize = 2048;

/// Total size of their bodies, in bytes.
const MAX_DISCLOSING_BYTES: usize = 64 << 20;

/// Number of recipients that are remembered of lookups while nothing is done.
const MAX_IDLE_LOOKUPS: usize = 1024;

/// Number of the browser's own requests that are kept.
const MAX_OWN: usize = 1 << 16;

/// Decodes what an audit's browser sends, and keeps what its report needs.
pub struct Gatherer {
    rules: Arc<Rules>,
    pipeline: Pipeline,
    outputs: Vec<Output>,
    journal: Journal,
    pages: Vec<Page>,
    titles: Titles,
    /// The browser's own requests.
    own: Vec<OwnRequest>,
    /// Those of them that disclose something, whole.
    disclosing: Vec<DisclosingRequest>,
    disclosing_bytes: usize,
    disclosing_dropped: u64,
    /// The first request for each page, by stage.
    visits: Vec<(Option<usize>, Arc<JudgedRequest>)>,
    read_visits: BTreeSet<u64>,
    page_requests: BTreeMap<usize, u64>,
    identifiers: IdentifierTracker,
    understanding: Understanding,
    /// Recipients whose names were looked up while nothing was done.
    idle_lookups: BTreeSet<String>,
    /// Names that were looked up, without the pages' own.
    lookups: Lookups,
    /// What was sent during each experiment, by stage.
    samples: BTreeMap<usize, Samples>,
    /// The experiments as they were last analysed, by stage.
    analysed: RefCell<BTreeMap<usize, (AnalysedState, Experiment)>>,
}

/// What an analysis was made of: number of windows, version of the samples, end of the stage.
type AnalysedState = (usize, u64, Option<BootTime>);

/// A page of the audit, and the times at which it was opened, in order.
struct Page {
    canary: Canary,
    visits: Vec<BootTime>,
}

impl Page {
    /// Returns the time of the last visit that had begun at `time`. Before the first one, the
    /// browser cannot know the page.
    fn last_visit(&self, time: BootTime) -> Option<BootTime> {
        self.visits.iter().rfind(|visit| **visit <= time).copied()
    }
}

/// Everything that a report is made of.
pub struct Observations {
    pub(super) journal: Journal,
    pub(super) canaries: Vec<Canary>,
    /// The browser's own requests.
    pub(super) own: Vec<OwnRequest>,
    /// Those of them that disclose something, whole.
    pub(super) disclosing: Vec<DisclosingRequest>,
    /// Number of disclosing requests that were not kept.
    pub(super) disclosing_dropped: u64,
    /// The first request for each page, by stage.
    visits: Vec<(Option<usize>, Arc<JudgedRequest>)>,
    /// Pages whose own request was read, by [`Canary::id`].
    pub(super) read_visits: BTreeSet<u64>,
    /// Number of requests by pages, by stage.
    pub(super) page_requests: BTreeMap<usize, u64>,
    pub(super) identifiers: Vec<IdentifierHistory>,
    pub(super) experiments: Vec<Experiment>,
    /// Values of the browser's own requests whose meaning is not known, by place.
    pub(super) opaque: Vec<Opaque>,
    /// Names that were looked up, without the pages' own.
    pub(super) lookups: Lookups,
    pub(super) losses: Losses,
    pub(super) extensions: Extensions,
    pub(super) accounts: Accounts,
    /// True if `accounts` includes all connections, and not only those that have ended.
    pub(super) all_accounted: bool,
    pub(super) missing_bytes: u64,
}

/// A request of the browser's own.
#[derive(Debug, Clone)]
pub(super) struct OwnRequest {
    /// Number of the request in the run.
    pub(super) id: u64,
    /// Index of the journal's stage.
    pub(super) stage: Option<usize>,
    pub(super) recipient: String,
    pub(super) host: String,
    pub(super) who: Recipient,
    pub(super) application: Arc<Application>,
    /// Number of its bytes that are unknown or could not be read.
    pub(super) unread: u64,
}

/// An experiment of the run, with what was found.
#[derive(Debug, Clone)]
pub(super) struct Experiment {
    /// Index of the journal's stage.
    pub(super) stage: usize,
    pub(super) phase: Phase,
    pub(super) findings: Findings,
}

/// A request that discloses something.
#[derive(Debug, Clone)]
pub(super) struct DisclosingRequest {
    /// Index of the journal's stage.
    pub(super) stage: Option<usize>,
    pub(super) recipient: String,
    pub(super) mentions: Vec<CanaryMention>,
    pub(super) decoded: Arc<JudgedRequest>,
}

impl Gatherer {
    /// Creates a gatherer for the run of this journal.
    pub fn new(journal: Journal, knowledge: &Knowledge) -> Self {
        let mut pipeline = Pipeline::new(knowledge);
        if let Some(browser) = &journal.subject.browser {
            // Whatever the name of its process, this browser is the one that is audited.
            pipeline.assume(browser);
        }
        pipeline.keep_names();
        let pages = pages(&journal);
        let mut titles = Titles::default();
        pages.iter().for_each(|page| titles.add(&page.canary.title));
        Self {
            rules: Arc::clone(knowledge.rules()),
            pipeline,
            outputs: Vec::new(),
            journal,
            pages,
            titles,
            own: Vec::new(),
            disclosing: Vec::new(),
            disclosing_bytes: 0,
            disclosing_dropped: 0,
            visits: Vec::new(),
            read_visits: BTreeSet::new(),
            page_requests: BTreeMap::new(),
            identifiers: IdentifierTracker::default(),
            understanding: Understanding::default(),
            idle_lookups: BTreeSet::new(),
            lookups: Lookups::default(),
            samples: BTreeMap::new(),
            analysed: RefCell::default(),
        }
    }

    /// Replaces the journal by a later state of it.
    ///
    /// A new stage or visit has to be passed on before the events that it causes.
    pub fn update_journal(&mut self, journal: Journal) {
        self.pages = pages(&journal);
        self.pages.iter().for_each(|page| self.titles.add(&page.canary.title));
        self.journal = journal;
    }

    /// Adds the next event.
    pub fn push(&mut self, event: Event) {
        self.pipeline.push(event, &mut self.outputs);
        self.take_outputs();
    }

    /// Returns what was observed until now. Connections that are still open are not in the
    /// accounts, and requests that are not complete are missing.
    pub fn observations(&self) -> Observations {
        self.observations_with(self.pipeline.accounts().clone(), false)
    }

    /// Ends all connections, and returns what was observed in the whole run.
    #[must_use]
    pub fn finish(mut self) -> Observations {
        self.pipeline.finish(&mut self.outputs);
        self.take_outputs();
        self.observations_with(self.pipeline.accounts().clone(), true)
    }

    fn observations_with(&self, accounts: Accounts, all_accounted: bool) -> Observations {
        let journal = &self.journal;
        let stage = |at: Option<usize>| journal.effective_stage(at?);
        let mut page_requests: BTreeMap<usize, u64> = BTreeMap::new();
        for (at, count) in &self.page_requests {
            if let Some(at) = stage(Some(*at)) {
                *page_requests.entry(at).or_default() += count;
            }
        }
        let own = self.own.iter().map(|own| OwnRequest { stage: stage(own.stage), ..own.clone() });
        let disclosing = self
            .disclosing
            .iter()
            .map(|request| DisclosingRequest { stage: stage(request.stage), ..request.clone() });
        let visits = self.visits.iter().map(|(at, decoded)| (stage(*at), Arc::clone(decoded)));
        let phase = |at| Some(journal.stages.get(stage(Some(at))?)?.phase);
        let experiments: Vec<Experiment> =
            (0..journal.stages.len()).filter_map(|at| self.experiment(at)).collect();
        let disclosing = disclosing.chain(self.derived(&experiments));
        let depends = |recipient: &str, place: &str| {
            let mut dependences = experiments.iter().flat_map(|it| &it.findings.dependences);
            dependences.any(|it| it.recipient == recipient && it.place == place)
        };
        let mut identifiers = self.identifiers.histories(phase);
        for history in &mut identifiers {
            let mut dependences = experiments.iter().flat_map(|it| &it.findings.dependences);
            history.with_visits |= dependences.any(|it| it.is_sent_with(&history.value));
        }
        identifiers.sort_by_key(|history| !history.with_visits);
        let opaque = self.understanding.opaque(depends);
        Observations {
            journal: journal.clone(),
            canaries: self.pages.iter().map(|page| page.canary.clone()).collect(),
            own: own.collect(),
            disclosing: disclosing.collect(),
            disclosing_dropped: self.disclosing_dropped,
            visits: visits.collect(),
            read_visits: self.read_visits.clone(),
            page_requests,
            identifiers,
            opaque,
            experiments,
            lookups: self.lookups.clone(),
            losses: *self.pipeline.losses(),
            extensions: self.pipeline.extensions().clone(),
            accounts,
            all_accounted,
            missing_bytes: self.pipeline.totals().missing_bytes,
        }
    }

    fn take_outputs(&mut self) {
        for output in std::mem::take(&mut self.outputs) {
            if let Output::Request(decoded) = output {
                self.add(decoded);
            }
        }
        for name in self.pipeline.take_names() {
            self.add_name(&name);
        }
    }

    /// Returns an experiment with what was found. It takes some time, so the last result is kept.
    fn experiment(&self, at: usize) -> Option<Experiment> {
        let none = Samples::default();
        let stage = self.journal.stages.get(at)?;
        let samples = self.samples.get(&at).unwrap_or(&none);
        let state = (stage.visits.len() + stage.idle.len(), samples.version(), stage.ended);
        let mut analysed = self.analysed.borrow_mut();
        if let Some((known, experiment)) = analysed.get(&at)
            && *known == state
        {
            return Some(experiment.clone());
        }
        let mut findings = analyse(stage, samples)?;
        // A browser tries again whenever it is busy, if the name of a service is not found.
        findings.with_visits.retain(|it| {
            it.what != SentEvent::Lookup || !self.idle_lookups.contains(&it.recipient)
        });
        let experiment = Experiment { stage: at, phase: stage.phase, findings };
        analysed.insert(at, (state, experiment.clone()));
        Some(experiment)
    }

    /// Returns the requests that disclose something only because their content depends on the page.
    fn derived(&self, experiments: &[Experiment]) -> Vec<DisclosingRequest> {
        let mut known: BTreeSet<u64> = self.disclosing.iter().map(DisclosingRequest::id).collect();
        let mut derived = Vec::new();
        for experiment in experiments {
            let Some(samples) = self.samples.get(&experiment.stage) else {
                continue;
            };
            for dependence in &experiment.findings.dependences {
                for (number, _) in &dependence.requests {
                    if let Some(decoded) = samples.request(*number)
                        && known.insert(*number)
                    {
                        derived.push(DisclosingRequest {
                            stage: Some(experiment.stage),
                            recipient: dependence.recipient.clone(),
                            mentions: Vec::new(),
                            decoded: Arc::clone(decoded),
                        });
                    }
                }
            }
        }
        derived
    }

    /// Returns the stage at this time, if it is an experiment.
    fn experiment_at(&self, time: BootTime) -> Option<usize> {
        let stage = self.journal.stage_at(time)?;
        self.journal.stages.get(stage)?.phase.is_experiment().then_some(stage)
    }

    fn add_name(&mut self, name: &ServerName) {
        let stage = self.journal.stage_at(name.time);
        if !self.pages.iter().any(|page| page.canary.host() == name.name) {
            let stage = stage.and_then(|at| self.journal.effective_stage(at));
            self.lookups.add(name, stage);
        }
        let Some((stage, phase)) =
            stage.and_then(|at| Some((at, self.journal.stages.get(at)?.phase)))
        else {
            return;
        };
        if phase != Phase::Idle && !phase.is_experiment() {
            return;
        }
        // Visits need a lookup and a connection.
        if self.pages.iter().any(|page| page.canary.host() == name.name) {
            return;
        }
        let recipient = Site::from_host(&name.name)
            .map_or_else(|| name.name.clone(), |site| site.as_str().to_owned());
        if phase == Phase::Idle {
            if name.source == NameSource::Dns && self.idle_lookups.len() < MAX_IDLE_LOOKUPS {
                self.idle_lookups.insert(recipient);
            }
            return;
        }
        self.samples.entry(stage).or_default().add_name(name, &recipient, &self.journal.run);
    }

    fn add(&mut self, decoded: Arc<JudgedRequest>) {
        let request = &decoded.sent.message;
        let stage = self.journal.stage_at(request.time);
        let pages = self.pages_at(request.time);
        let mentions = find_mentions(request, &pages, &self.titles);
        let host = certain_host(&decoded).unwrap_or_default();
        if pages.iter().any(|page| page.host() == host) {
            // The visit itself, or something that the page loads.
            let path = request.target();
            let visited = pages.iter().find(|page| page.host() == host && page.target() == path);
            let visited = visited.or_else(|| {
                pages.iter().find(|page| page.host() == host && path.contains(&page.path_word))
            });
            let visited = visited.map(|page| page.id);
            if visited.is_some_and(|id| self.read_visits.insert(id)) {
                self.visits.push((stage, decoded));
            }
            return;
        }
        let mentions_address =
            mentions.iter().any(|one| matches!(one.mention, Mention::Address(_)));
        let (host, recipient) = recipient_of(&decoded);
        // The audit's own pages load nothing, so whatever is sent to others does not come from them.
        let serves_pages = serves_pages(&pages);
        let is_sampled =
            serves_pages || !matches!(decoded.sender(), Sender::Page | Sender::Navigation);
        if let Some(stage) = self.experiment_at(request.time)
            && is_sampled
        {
            let samples = self.samples.entry(stage).or_default();
            let is_routine = self.rules.routines().iter().any(|it| it.is(request));
            samples.add(&decoded, is_routine, &recipient, &self.journal.run);
        }
        let is_own = match decoded.sender() {
            Sender::Navigation => mentions_address && !self.was_searched(&mentions),
            // The audit's own pages mention no other page, so a mention does not come from them.
            Sender::Page => {
                matches!(decoded.recipient, Recipient::Maker { .. })
                    || (!mentions.is_empty() && serves_pages)
            }
            _ => true,
        };
        if !is_own {
            if decoded.sender() == Sender::Page
                && !request.update
                && let Some(stage) = stage
            {
                *self.page_requests.entry(stage).or_default() += 1;
            }
            return;
        }
        self.understanding.add(request, decoded.number, &recipient, &self.journal.run);
        if let Some(stage) = stage {
            let with_visits = mentions_address || reveals_visit(&decoded);
            self.identifiers.add(&decoded, &recipient, stage, with_visits);
        }
        let own = OwnRequest {
            id: decoded.number,
            stage,
            recipient: recipient.clone(),
            host,
            who: decoded.recipient.clone(),
            application: Arc::clone(&decoded.application),
            unread: request.unread_bytes + decoded.opaque_bytes(),
        };
        let known = self.own.iter().rposition(|known| request.update && known.id == own.id);
        if let Some(at) = known {
            self.own[at] = own;
        } else if self.own.len() < MAX_OWN {
            self.own.push(own);
        }
        if mentions.is_empty() && counted(&decoded).next().is_none() {
            return;
        }
        self.keep(DisclosingRequest { stage, recipient, mentions, decoded });
    }

    fn keep(&mut self, request: DisclosingRequest) {
        if let Some(known) = self.disclosing.iter_mut().find(|known| known.id() == request.id()) {
            *known = request;
            return;
        }
        self.disclosing_bytes += request.decoded.sent.message.body.data.len();
        if self.disclosing.len() < MAX_DISCLOSING && self.disclosing_bytes < MAX_DISCLOSING_BYTES {
            self.disclosing.push(request);
        } else {
            self.disclosing_dropped += 1;
        }
    }

    /// Returns the pages that the browser could know at this time, the last one that was opened
    /// first.
    fn pages_at(&self, time: BootTime) -> Vec<&Canary> {
        let known =
            self.pages.iter().filter_map(|page| Some((page.last_visit(time)?, &page.canary)));
        let mut known: Vec<(BootTime, &Canary)> = known.collect();
        known.sort_by_key(|(visit, _)| std::cmp::Reverse(*visit));
        known.into_iter().map(|(_, canary)| canary).collect()
    }

    /// Reports whether the pages that a request mentions were all typed as a search.
    fn was_searched(&self, mentions: &[CanaryMention]) -> bool {
        let visits = || self.journal.stages.iter().flat_map(|stage| &stage.visits);
        mentions.iter().all(|one| {
            visits().any(|visit| visit.canary.id == one.canary && visit.how == OpenMethod::Searched)
        })
    }
}

/// Returns the pages of a journal.
fn pages(journal: &Journal) -> Vec<Page> {
    let mut pages: Vec<Page> = Vec::new();
    for visit in journal.stages.iter().flat_map(|stage| &stage.visits) {
        match pages.iter_mut().find(|page| page.canary.id == visit.canary.id) {
            Some(page) => page.visits.push(visit.at),
            None => pages.push(Page { canary: visit.canary.clone(), visits: vec![visit.at] }),
        }
    }
    pages
}

/// Returns the host that a request names, or that its connection does. Other hosts at the same
/// address may be of other sites.
fn certain_host(decoded: &JudgedRequest) -> Option<&str> {
    let is_certain =
        decoded.derived_host.as_ref().is_none_or(|host| host.from == HostSource::ServerName);
    decoded.host().filter(|_| is_certain)
}

/// Returns the host that a request was sent to, and its registrable domain.
fn recipient_of(decoded: &JudgedRequest) -> (String, String) {
    let host = match (decoded.host(), decoded.sent.connection.remote) {
        (Some(host), _) => host.to_owned(),
        (None, Some(remote)) => remote.ip().to_string(),
        (None, None) => "an unknown host".to_owned(),
    };
    let recipient =
        Site::from_host(&host).map_or_else(|| host.clone(), |site| site.as_str().to_owned());
    (host, recipient)
}

/// Reports whether tracer serves the pages, and therefore knows their content.
fn serves_pages(pages: &[&Canary]) -> bool {
    pages.iter().any(|page| page.host_word.is_some())
}

impl DisclosingRequest {
    /// Returns the number of the request in the run.
    pub(super) fn id(&self) -> u64 {
        self.decoded.number
    }
}

/// Reports whether a request contains a hash of a visited URL, or typed text.
fn reveals_visit(decoded: &JudgedRequest) -> bool {
    counted(decoded).any(|one| matches!(one.finding.kind, Kind::VisitedUrlHash | Kind::TypedText))
}

/// Returns the disclosures that are certain and severe enough to count in an audit.
pub(super) fn counted(decoded: &JudgedRequest) -> impl Iterator<Item = &Disclosure> {
    decoded
        .disclosures
        .iter()
        .filter(|one| one.verdict.severity > Severity::Info && one.confidence.level > Level::Low)
}

impl Journal {
    /// Returns the index of the last stage that began at or before `time`. A browser also sends
    /// when it is stopped, so what is sent between two stages belongs to the first of them.
    fn stage_at(&self, time: BootTime) -> Option<usize> {
        self.stages.iter().rposition(|stage| stage.began <= time)
    }

    /// Returns the index of the stage that the requests of this stage belong to: the last one that
    /// was not skipped.
    fn effective_stage(&self, stage: usize) -> Option<usize> {
        let is_done = |stage: &Stage| !matches!(stage.outcome, Outcome::Skipped { .. });
        self.stages.get(..=stage)?.iter().rposition(is_done)
    }
}

impl Observations {
    /// Returns the run's journal.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Returns the visits and the requests that disclose something, in order, each with its phase.
    pub fn evidence(&self) -> Vec<(Option<Phase>, &JudgedRequest)> {
        let visits = self.visits.iter().map(|(stage, decoded)| (*stage, &**decoded));
        let disclosing = self.disclosing.iter().map(|request| (request.stage, &*request.decoded));
        let all = visits.chain(disclosing).map(|(stage, decoded)| (self.phase(stage), decoded));
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(_, decoded)| decoded.sent.message.time);
        all
    }

    /// Returns the phase of what was sent at this time.
    pub(super) fn phase_at(&self, time: BootTime) -> Option<Phase> {
        self.phase(self.journal.effective_stage(self.journal.stage_at(time)?))
    }

    pub(super) fn phase(&self, stage: Option<usize>) -> Option<Phase> {
        Some(self.journal.stages.get(stage?)?.phase)
    }
}

#[cfg(test)]
mod tests;
