//! What the answers are made from: visits, what was told of them, identifiers.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    canary::Mention,
    gather::{Gathered, Kept, Own, counted},
    journal::{How, Outcome},
    lifelines::Line,
    phase::Phase,
    report::{Item, ItemKind, Scope},
};
use tracer_core::{
    account::Account,
    detect::{Kind, Visited},
    judge::Recipient,
};

/// What was gathered, looked at from the questions.
pub(super) struct Facts<'a> {
    pub(super) gathered: &'a Gathered,
    pub(super) visits: Vec<VisitFacts>,
    /// The requests that disclose something, in order.
    pub(super) told: Vec<ToldFacts<'a>>,
    pub(super) lines: Vec<Line>,
    pub(super) percent_read: Option<u8>,
    /// How many applications made requests.
    pub(super) applications: u64,
    /// The one that made most of them: the browser.
    pub(super) browser: Option<&'a str>,
}

/// A visit.
#[derive(Debug, Clone)]
pub(super) struct VisitFacts {
    pub(super) id: u64,
    pub(super) phase: Phase,
    /// The browser's own request for the page was read.
    pub(super) read: bool,
    served: Option<bool>,
}

impl VisitFacts {
    /// Whether the page was opened, as far as anybody knows.
    fn was_made(&self) -> bool {
        self.read || self.served != Some(false)
    }
}

/// A request that discloses something.
pub(super) struct ToldFacts<'a> {
    pub(super) id: u64,
    pub(super) phase: Option<Phase>,
    pub(super) recipient: String,
    pub(super) who: Recipient,
    /// Without their steps.
    pub(super) items: Vec<Item>,
    pub(super) kept: &'a Kept,
}

impl ToldFacts<'_> {
    /// Whether it holds this identifier.
    pub(super) fn holds(&self, value: &str) -> bool {
        let findings = &self.kept.decoded.findings;
        findings.list.iter().any(|one| one.value == value)
            || findings.candidates.iter().any(|one| one.value == value)
    }
}

impl<'a> Facts<'a> {
    pub(super) fn of(gathered: &'a Gathered) -> Self {
        let stages = gathered.journal.stages.iter();
        let visits = stages.flat_map(|stage| {
            // A search opens no page of ours.
            let pages = stage.visits.iter().filter(|visit| visit.how != How::Searched);
            pages.map(|visit| VisitFacts {
                id: visit.canary.id,
                phase: stage.phase,
                read: gathered.read_visits.contains(&visit.canary.id),
                served: visit.served,
            })
        });
        let visits = visits.collect();
        let lines = gathered.lifelines.lines();
        let told = gathered.kept.iter().map(|kept| ToldFacts {
            id: kept.id(),
            phase: gathered.phase(kept.stage),
            recipient: kept.recipient.clone(),
            who: kept.decoded.recipient.clone(),
            items: items(gathered, kept, &lines),
            kept,
        });
        let mut told: Vec<_> = told.filter(|told| !told.items.is_empty()).collect();
        told.sort_by_key(|told| told.kept.decoded.sent.message.time);
        let mut applications: BTreeMap<&str, u64> = BTreeMap::new();
        for own in &gathered.own {
            *applications.entry(own.application.name()).or_default() += 1;
        }
        let browser = applications.iter().max_by_key(|(_, requests)| **requests);
        Self {
            gathered,
            visits,
            told,
            lines,
            percent_read: reading(gathered).percent,
            browser: browser.map(|(name, _)| *name),
            applications: applications.len() as u64,
        }
    }

    /// Whether a phase was gone through, at least in part.
    pub(super) fn was_done(&self, phase: Phase) -> bool {
        self.gathered
            .journal
            .stages
            .iter()
            .any(|stage| stage.phase == phase && !matches!(stage.outcome, Outcome::Skipped { .. }))
    }

    /// The pages that were opened in these phases, as far as anybody knows.
    pub(super) fn made(&self, phases: &[Phase]) -> impl Iterator<Item = &VisitFacts> {
        self.visits.iter().filter(move |visit| phases.contains(&visit.phase) && visit.was_made())
    }

    /// Why a phase has no pages.
    pub(super) fn left_out(&self, phase: Phase) -> Option<String> {
        let stage = self.gathered.journal.stages.iter().find(|stage| stage.phase == phase);
        match stage.map(|stage| &stage.outcome) {
            None => Some(format!("the run ended before the phase \"{}\"", phase.title())),
            Some(Outcome::Skipped { reason }) => {
                Some(format!("the phase \"{}\" was left out: {reason}", phase.title()))
            }
            Some(Outcome::Failed { reason }) => {
                Some(format!("the phase \"{}\" failed: {reason}", phase.title()))
            }
            Some(_) if self.visits.iter().any(|visit| visit.phase == phase) => Some(format!(
                "none of the pages opened in the phase \"{}\" reached the audit's server",
                phase.title()
            )),
            Some(_) => Some(format!("no page was opened in the phase \"{}\"", phase.title())),
        }
    }

    /// How many requests of the browser's own were read in a phase.
    pub(super) fn requests(&self, phase: Phase) -> u64 {
        self.own(phase).count() as u64
    }

    /// The browser's own requests in a phase.
    pub(super) fn own(&self, phase: Phase) -> impl Iterator<Item = &'a Own> {
        let gathered = self.gathered;
        gathered.own.iter().filter(move |own| gathered.phase(own.stage) == Some(phase))
    }
}

/// How much was read, of all applications together.
pub(super) struct ReadShare {
    pub(super) percent: Option<u8>,
    pub(super) content: u64,
    pub(super) read: u64,
    pub(super) opaque: u64,
}

pub(super) fn reading(gathered: &Gathered) -> ReadShare {
    let applications = gathered.accounts.applications();
    let accounts = || {
        let known = applications.iter().map(|(_, account)| *account);
        known.chain([gathered.accounts.others()])
    };
    let sum = |of: fn(&Account) -> u64| accounts().map(of).sum::<u64>();
    let (content, read) = (sum(Account::content), sum(Account::read));
    let all = accounts().all(Account::is_all_read);
    let percent = (u128::from(read) * 100).checked_div(content.into());
    let percent = percent.map(|percent| u8::try_from(percent).unwrap_or(100));
    ReadShare {
        percent: percent.map(|percent| percent.min(if all { 100 } else { 99 })),
        content,
        read,
        opaque: sum(|account| account.opaque_bytes),
    }
}

/// The fewest letters of what was typed that tell something.
const MIN_TYPED: usize = 4;

/// What a request tells, gravest first.
fn items(gathered: &Gathered, kept: &Kept, lines: &[Line]) -> Vec<Item> {
    let mut items: Vec<Item> = Vec::new();
    let item = |kind, value: &str, chain: &str| Item {
        kind,
        class: None,
        value: value.to_owned(),
        visit: None,
        scope: None,
        chain: chain.to_owned(),
        steps: Vec::new(),
    };
    for named in &kept.named {
        let (kind, scope) = match named.mention {
            Mention::Address(scope) => (ItemKind::Visit, Some(scope)),
            Mention::Title => (ItemKind::PageTitle, None),
        };
        let visit = Some(named.canary);
        items.push(Item { visit, scope, ..item(kind, &named.value, &named.chain) });
    }
    let named = items.len();
    for disclosure in counted(&kept.decoded) {
        let finding = &disclosure.finding;
        let base = Item {
            class: finding.class.clone(),
            ..item(ItemKind::Url, &finding.value, &finding.chain)
        };
        // What names a visit is there already, in words that nobody else has.
        if items[..named].iter().any(|item| item.chain == finding.chain) {
            continue;
        }
        let kind = match finding.kind {
            Kind::VisitedUrlHash => {
                if let Some(visit) = hashed(gathered, disclosure.visited.as_ref()) {
                    let (visit, scope) = (Some(visit), Some(Scope::Hash));
                    items.push(Item { kind: ItemKind::Visit, visit, scope, ..base });
                }
                continue;
            }
            Kind::TypedText => {
                if let Some(visit) = typed(gathered, &finding.value) {
                    let (visit, scope) = (Some(visit), Some(Scope::Typed));
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
            // As the phases tell them.
            Kind::Identifier => continue,
            Kind::PersonalDetail => ItemKind::PersonalDetail,
        };
        items.push(Item { kind, ..base });
    }
    let findings = &kept.decoded.findings;
    let values = findings.list.iter().map(|one| (&one.value, &one.chain));
    let candidates = findings.candidates.iter().map(|one| (&one.value, &one.chain));
    let mut seen = BTreeSet::new();
    for (value, chain) in values.chain(candidates) {
        if let Some(line) = lines.iter().find(|line| line.value == *value)
            && seen.insert(value)
        {
            let class = line.class.clone();
            items.push(Item { class, ..item(ItemKind::Identifier, value, chain) });
        }
    }
    items
}

/// The visit that a hash is of.
fn hashed(gathered: &Gathered, visited: Option<&Visited>) -> Option<u64> {
    let found = match visited? {
        Visited::Page { url, .. } => {
            gathered.canaries.iter().find(|canary| url.contains(&canary.path_word))
        }
        Visited::Host { host, .. } => gathered.canaries.iter().find(|canary| canary.host() == host),
        Visited::No | Visited::Unknown => None,
    };
    found.map(|canary| canary.id)
}

/// The visit whose address, or search, begins like this.
fn typed(gathered: &Gathered, text: &str) -> Option<u64> {
    let text = text.to_lowercase();
    let bare = text.trim_start_matches("https://").trim_start_matches("http://");
    let visits = gathered.journal.stages.iter().flat_map(|stage| &stage.visits);
    let mut typed = visits.filter(|visit| visit.how != How::Opened);
    let is_beginning = |canary: &super::canary::Canary| {
        let whole = canary.url.split_once("://").map_or(&canary.url[..], |(_, rest)| rest);
        bare.len() >= MIN_TYPED && (whole.starts_with(bare) || canary.title.starts_with(bare))
    };
    typed.find(|visit| is_beginning(&visit.canary)).map(|visit| visit.canary.id)
}
