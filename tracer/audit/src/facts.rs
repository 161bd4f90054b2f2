//! The facts that answers are made from: visits, what was disclosed of them, identifiers.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    canary::{Canary, Extent, Mention},
    differential::{Factor, Findings},
    gather::{DisclosingRequest, Observations, OwnRequest, counted},
    identifiers::IdentifierHistory,
    journal::{OpenMethod, Outcome},
    phase::Phase,
    report::{Item, ItemKind},
};
use tracer_core::{
    account::Account,
    finding::{Kind, Recipient, Visited},
};

/// Observations in the form in which questions are answered.
pub(super) struct Facts<'a> {
    pub(super) observations: &'a Observations,
    pub(super) visits: Vec<VisitFacts>,
    /// The requests that disclose something, in order.
    pub(super) disclosing: Vec<RequestFacts<'a>>,
    pub(super) identifiers: &'a [IdentifierHistory],
    /// For each experiment, and each dependence in it: whether the page was also found by decoding.
    pub(super) readable: Vec<Vec<bool>>,
    pub(super) percent_read: Option<u8>,
    pub(super) percent_understood: Option<u8>,
    /// Number of applications that made requests.
    pub(super) applications: u64,
    /// The application that made most of them: the browser.
    pub(super) browser: Option<&'a str>,
}

/// A visit.
#[derive(Debug, Clone)]
pub(super) struct VisitFacts {
    pub(super) id: u64,
    pub(super) phase: Phase,
    /// True if the browser's own request for the page was read.
    pub(super) read: bool,
    served: Option<bool>,
}

impl VisitFacts {
    /// Reports whether the page was opened, as far as is known.
    fn was_made(&self) -> bool {
        self.read || self.served != Some(false)
    }
}

/// A request that discloses something.
pub(super) struct RequestFacts<'a> {
    pub(super) id: u64,
    pub(super) phase: Option<Phase>,
    pub(super) recipient: String,
    pub(super) who: Recipient,
    /// Its disclosures, without the steps.
    pub(super) items: Vec<Item>,
    pub(super) request: &'a DisclosingRequest,
}

impl RequestFacts<'_> {
    /// Reports whether it contains this identifier.
    pub(super) fn contains(&self, value: &str) -> bool {
        let request = &self.request.decoded;
        request.findings().any(|one| one.value == value)
            || request.candidates.iter().any(|one| one.value == value)
    }
}

impl<'a> Facts<'a> {
    pub(super) fn new(observations: &'a Observations) -> Self {
        // The visits of experiments are repeated, and count separately.
        let stages = observations.journal.stages.iter();
        let stages = stages.filter(|stage| !stage.phase.is_experiment());
        let visits = stages.flat_map(|stage| {
            // A search does not open the page.
            let pages = stage.visits.iter().filter(|visit| visit.how != OpenMethod::Searched);
            pages.map(|visit| VisitFacts {
                id: visit.canary.id,
                phase: stage.phase,
                read: observations.read_visits.contains(&visit.canary.id),
                served: visit.served,
            })
        });
        let visits = visits.collect();
        let disclosing = observations.disclosing.iter().map(|request| RequestFacts {
            id: request.id(),
            phase: observations.phase(request.stage),
            recipient: request.recipient.clone(),
            who: request.decoded.recipient.clone(),
            items: items(observations, request),
            request,
        });
        let readable = readable(observations);
        let share = reading(observations);
        let mut disclosing: Vec<_> =
            disclosing.filter(|request| !request.items.is_empty()).collect();
        disclosing.sort_by_key(|one| one.request.decoded.sent.message.time);
        let mut applications: BTreeMap<&str, u64> = BTreeMap::new();
        for own in &observations.own {
            *applications.entry(own.application.name()).or_default() += 1;
        }
        let browser = applications.iter().max_by_key(|(_, requests)| **requests);
        Self {
            observations,
            visits,
            disclosing,
            readable,
            identifiers: &observations.identifiers,
            percent_read: share.percent,
            percent_understood: share.percent_understood,
            browser: browser.map(|(name, _)| *name),
            applications: applications.len() as u64,
        }
    }

    /// Reports whether a phase was gone through, at least in part: one that ended early counts if it
    /// opened a page.
    pub(super) fn was_done(&self, phase: Phase) -> bool {
        self.observations.journal.stages.iter().any(|stage| {
            stage.phase == phase
                && match stage.outcome {
                    Outcome::Done => true,
                    Outcome::Skipped { .. } => false,
                    Outcome::Running | Outcome::Interrupted | Outcome::Failed { .. } => {
                        !stage.visits.is_empty()
                    }
                }
        })
    }

    /// Returns the visits of these phases whose pages were opened, as far as is known.
    pub(super) fn made(&self, phases: &[Phase]) -> impl Iterator<Item = &VisitFacts> {
        self.visits.iter().filter(move |visit| phases.contains(&visit.phase) && visit.was_made())
    }

    /// Explains why a phase has no pages.
    pub(super) fn why_without_pages(&self, phase: Phase) -> String {
        let title = phase.title();
        let stage = self.observations.journal.stages.iter().find(|stage| stage.phase == phase);
        match stage.map(|stage| &stage.outcome) {
            None => format!("the run ended before the phase \"{title}\""),
            Some(Outcome::Skipped { reason }) => {
                format!("the phase \"{title}\" was skipped: {reason}")
            }
            Some(Outcome::Failed { reason }) => format!("the phase \"{title}\" failed: {reason}"),
            Some(_) if self.visits.iter().any(|visit| visit.phase == phase) => format!(
                "none of the pages opened in the phase \"{title}\" reached the audit's server"
            ),
            Some(_) => format!("no page was opened in the phase \"{title}\""),
        }
    }

    /// Returns the number of the browser's own requests in a phase.
    pub(super) fn requests(&self, phase: Phase) -> u64 {
        self.own(phase).count() as u64
    }

    /// Returns the browser's own requests in a phase.
    pub(super) fn own(&self, phase: Phase) -> impl Iterator<Item = &'a OwnRequest> {
        let observations = self.observations;
        observations.own.iter().filter(move |own| observations.phase(own.stage) == Some(phase))
    }
}

/// The share of the traffic of all applications that was read, in bytes.
pub(super) struct ReadShare {
    pub(super) percent: Option<u8>,
    /// The share that was read, and whose meaning is known.
    pub(super) percent_understood: Option<u8>,
    pub(super) understood: u64,
    pub(super) content: u64,
    pub(super) read: u64,
    pub(super) opaque: u64,
}

pub(super) fn reading(observations: &Observations) -> ReadShare {
    let applications = observations.accounts.applications();
    let accounts = || {
        let known = applications.iter().map(|(_, account)| *account);
        known.chain([observations.accounts.others()])
    };
    let sum = |of: fn(&Account) -> u64| accounts().map(of).sum::<u64>();
    let (content, read) = (sum(Account::content), sum(Account::read));
    let all = accounts().all(Account::is_all_read);
    let hidden = observations.opaque.iter().map(|one| one.bytes).sum::<u64>();
    let understood = read.saturating_sub(hidden);
    let percent = |part: u64, all: bool| {
        let percent = (u128::from(part) * 100).checked_div(content.into())?;
        Some(u8::try_from(percent).unwrap_or(100).min(if all { 100 } else { 99 }))
    };
    ReadShare {
        percent: percent(read, all),
        percent_understood: percent(understood, all && hidden == 0),
        understood,
        content,
        read,
        opaque: sum(|account| account.opaque_bytes),
    }
}

/// Number of typed letters that identify a visit.
const MIN_TYPED: usize = 4;

/// Returns what a request discloses: pages first, identifiers last.
fn items(observations: &Observations, request: &DisclosingRequest) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let item = |kind, value: &str, chain: &str| Item {
        kind,
        class: None,
        value: value.to_owned(),
        visit: None,
        scope: None,
        role: None,
        chain: chain.to_owned(),
        steps: Vec::new(),
    };
    for named in &request.mentions {
        let (kind, scope) = match named.mention {
            Mention::Address(scope) => (ItemKind::Visit, Some(scope)),
            Mention::Title => (ItemKind::PageTitle, None),
        };
        let visit = Some(named.canary);
        let mut findings = request.decoded.findings();
        let role = findings.find(|found| found.chain == named.chain).and_then(|found| found.role);
        items.push(Item { visit, scope, role, ..item(kind, &named.value, &named.chain) });
    }
    let mentions = items.len();
    items.extend(derived(observations, request, &items));
    for disclosure in counted(&request.decoded) {
        let finding = &disclosure.finding;
        let base = Item {
            class: finding.class.clone(),
            role: finding.role,
            ..item(ItemKind::Url, &finding.value, &finding.chain)
        };
        // The words of a page already show which visit the value reveals.
        if items[..mentions].iter().any(|item| item.chain == finding.chain) {
            continue;
        }
        let kind = match finding.kind {
            Kind::VisitedUrlHash => {
                if let Some(visit) = hashed(observations, disclosure.visited.as_ref()) {
                    let (visit, scope) = (Some(visit), Some(Extent::Hash));
                    items.push(Item { kind: ItemKind::Visit, visit, scope, ..base });
                }
                continue;
            }
            Kind::TypedText => {
                if let Some(visit) = typed(observations, &finding.value) {
                    let (visit, scope) = (Some(visit), Some(Extent::Typed));
                    let base = base.clone();
                    items.push(Item { kind: ItemKind::Visit, visit, scope, ..base });
                }
                ItemKind::TypedText
            }
            Kind::Url | Kind::UrlToUnknown | Kind::Referer | Kind::Origin => ItemKind::Url,
            Kind::SearchTerms => ItemKind::SearchTerms,
            Kind::PageText => ItemKind::PageText,
            Kind::UiEvent => ItemKind::UiEvent,
            Kind::ContentItem => ItemKind::ContentItem,
            // Added below, by their use in the phases.
            Kind::Identifier => continue,
            Kind::PersonalDetail => ItemKind::PersonalDetail,
        };
        items.push(Item { kind, ..base });
    }
    let values = request.decoded.findings().map(|one| (&one.value, &one.chain));
    let candidates = request.decoded.candidates.iter().map(|one| (&one.value, &one.chain));
    let mut seen = BTreeSet::new();
    for (value, chain) in values.chain(candidates) {
        if let Some(known) = observations.identifiers.iter().find(|known| known.value == *value)
            && seen.insert(value)
        {
            let class = known.class.clone();
            items.push(Item { class, ..item(ItemKind::Identifier, value, chain) });
        }
    }
    items
}

/// Returns the pages that a request reveals because its content depends on them, apart from those
/// that are `known`.
fn derived(observations: &Observations, request: &DisclosingRequest, known: &[Item]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let dependences = observations.experiments.iter().flat_map(|it| &it.findings.dependences);
    for dependence in dependences.filter(|it| it.recipient == request.recipient) {
        let pages = dependence.requests.iter().filter(|(number, _)| *number == request.id());
        for (_, page) in pages {
            let mut all = known.iter().chain(&items);
            if all.any(|item| item.kind == ItemKind::Visit && item.visit == Some(*page)) {
                continue;
            }
            let parts = factors(&dependence.factors);
            let (scope, value) = match dependence.is_length() {
                true => (Extent::Length, format!("a length that follows the {parts}")),
                false => (Extent::Derived, format!("a value that depends on {parts}")),
            };
            items.push(Item {
                kind: ItemKind::Visit,
                class: None,
                value,
                visit: Some(*page),
                scope: Some(scope),
                role: None,
                chain: dependence.place.clone(),
                steps: Vec::new(),
            });
        }
    }
    items
}

/// Returns the names of factors as a list.
pub(super) fn factors(factors: &[Factor]) -> String {
    let names: Vec<&str> = factors.iter().map(|factor| factor.label()).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, first)) => format!("{} and {last}", first.join(", ")),
        None => String::new(),
    }
}

/// Reports for each dependence whether most of its requests mention their page openly.
fn readable(observations: &Observations) -> Vec<Vec<bool>> {
    let mentioned: BTreeSet<(u64, u64)> = observations
        .disclosing
        .iter()
        .flat_map(|request| {
            let addresses = request.mentions.iter();
            let addresses = addresses.filter(|one| matches!(one.mention, Mention::Address(_)));
            addresses.map(|one| (request.id(), one.canary))
        })
        .collect();
    let is_readable = |requests: &[(u64, u64)]| {
        let known = requests.iter().filter(|one| mentioned.contains(one)).count();
        !requests.is_empty() && known * 2 > requests.len()
    };
    let of = |findings: &Findings| {
        findings.dependences.iter().map(|it| is_readable(&it.requests)).collect()
    };
    observations.experiments.iter().map(|it| of(&it.findings)).collect()
}

/// Returns the visit whose URL or host was hashed.
fn hashed(observations: &Observations, visited: Option<&Visited>) -> Option<u64> {
    let found = match visited? {
        Visited::Page { url, .. } => {
            let pages = || observations.canaries.iter();
            let exact = pages().find(|canary| url.ends_with(canary.target()));
            exact.or_else(|| pages().find(|canary| url.contains(&canary.path_word)))
        }
        Visited::Host { host, .. } => {
            observations.canaries.iter().find(|canary| canary.host() == host)
        }
        Visited::No | Visited::Unknown => None,
    };
    found.map(|canary| canary.id)
}

/// Returns the visit whose address or search begins with `text`.
fn typed(observations: &Observations, text: &str) -> Option<u64> {
    let text = text.to_lowercase();
    let bare = text.trim_start_matches("https://").trim_start_matches("http://");
    let visits = observations.journal.stages.iter().flat_map(|stage| &stage.visits);
    let mut typed = visits.filter(|visit| visit.how != OpenMethod::Opened);
    let is_beginning = |canary: &Canary| {
        let whole = canary.url.split_once("://").map_or(&canary.url[..], |(_, rest)| rest);
        bare.len() >= MIN_TYPED && (whole.starts_with(bare) || canary.title.starts_with(bare))
    };
    typed.find(|visit| is_beginning(&visit.canary)).map(|visit| visit.canary.id)
}
