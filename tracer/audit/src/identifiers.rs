//! Follows identifiers through the phases without knowing their format. A value that returns after
//! a restart, and does not return after the data was cleared, identifies the installation, whatever
//! its name.
//!
//! Values are compared place by place (recipient and chain). This separates "it did not return"
//! from "nothing of the kind was sent".

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::{phase::Phase, place::without_indices, report::Persistence};
use tracer_core::finding::{CandidateKind, Kind, Lifetime};
use tracer_core::judge::JudgedRequest;

/// Number of values that are followed. A browser sends a few dozen; one that sends a random number
/// with each request makes many.
const MAX_VALUES: usize = 4096;

/// Number of values above which no more candidates are followed. They leave room for values whose
/// name or form says that they identify.
const MAX_WITH_CANDIDATES: usize = 3072;

/// Number of values that are remembered for one place and stage. A place with more has a new value
/// in each request.
const MAX_PER_PLACE: usize = 64;

/// Place of a value: the recipient, and the chain without array indices.
type Place = (String, String);

/// Everything that was seen of identifiers, by the index of the journal's stage.
#[derive(Debug, Default)]
pub(super) struct IdentifierTracker {
    values: HashMap<String, Tracked>,
    places: BTreeMap<Place, BTreeMap<usize, PlaceUse>>,
}

/// Use of one place during one stage.
#[derive(Debug, Default)]
struct PlaceUse {
    /// Numbers of the requests. A request that is judged again keeps its number.
    requests: BTreeSet<u64>,
    values: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Tracked {
    class: Option<String>,
    /// True if its name says that it identifies.
    named: bool,
    /// True if its name or form says that it identifies.
    formed: bool,
    /// Numbers of the requests that carried it, by stage.
    requests: BTreeMap<usize, BTreeSet<u64>>,
    places: BTreeSet<Place>,
    applications: BTreeSet<String>,
    with_visits: bool,
    /// Position among all values, in the order of their first use.
    order: usize,
}

/// Use of an identifier in the course of an audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdentifierHistory {
    pub(super) value: String,
    pub(super) class: Option<String>,
    pub(super) places: BTreeSet<Place>,
    /// Number of requests that carried it, by phase.
    pub(super) phases: BTreeMap<Phase, u64>,
    pub(super) applications: BTreeSet<String>,
    /// True if it was sent together with visited pages.
    pub(super) with_visits: bool,
    pub(super) life: Persistence,
    /// Phases in which its places held other values instead.
    pub(super) replaced: BTreeSet<Phase>,
}

impl IdentifierHistory {
    /// Reports whether the value was sent in `before` and again in `after`. Returns `None` if
    /// nothing of the kind was sent in one of them.
    pub(super) fn returned(&self, before: &[Phase], after: &[Phase]) -> Option<bool> {
        let sent = |phases: &[Phase]| phases.iter().any(|phase| self.phases.contains_key(phase));
        if !sent(before) {
            return None;
        }
        if sent(after) {
            return Some(true);
        }
        after.iter().any(|phase| self.replaced.contains(phase)).then_some(false)
    }
}

impl IdentifierTracker {
    /// Adds a request of the browser's own.
    pub(super) fn add(
        &mut self,
        decoded: &JudgedRequest,
        recipient: &str,
        stage: usize,
        with_visits: bool,
    ) {
        let identifiers = decoded.findings().filter(|one| one.kind == Kind::Identifier);
        let identifiers = identifiers.map(|one| {
            let named = matches!(one.lifetime, Some(Lifetime::Lasting | Lifetime::Session));
            (&one.value, one.class.clone(), named, true, &one.chain)
        });
        let candidates = decoded.candidates.iter();
        let candidates = candidates
            .filter(|one| one.kind == CandidateKind::Identifier)
            .map(|one| (&one.value, None, false, false, &one.chain));
        for (value, class, named, formed, chain) in identifiers.chain(candidates) {
            let room = if formed { MAX_VALUES } else { MAX_WITH_CANDIDATES };
            if self.values.len() >= room && !self.values.contains_key(value) {
                continue;
            }
            let place = (recipient.to_owned(), without_indices(chain));
            let order = self.values.len();
            let tracked = self
                .values
                .entry(value.clone())
                .or_insert_with(|| Tracked { order, ..Tracked::default() });
            tracked.class = tracked.class.take().or(class);
            tracked.named |= named;
            tracked.formed |= formed;
            tracked.with_visits |= with_visits;
            tracked.places.insert(place.clone());
            tracked.applications.insert(decoded.application.name().to_owned());
            tracked.requests.entry(stage).or_default().insert(decoded.number);

            let used = self.places.entry(place).or_default().entry(stage).or_default();
            used.requests.insert(decoded.number);
            if used.values.len() < MAX_PER_PLACE {
                used.values.insert(value.clone());
            }
        }
    }

    /// Returns the values that identify, those sent with visited pages first. `phase_of` returns
    /// the phase that the requests of a stage belong to.
    pub(super) fn histories(
        &self,
        phase_of: impl Fn(usize) -> Option<Phase>,
    ) -> Vec<IdentifierHistory> {
        let mut phases: HashMap<&Place, BTreeSet<Phase>> = HashMap::new();
        let mut fresh_each_time: HashSet<&Place> = HashSet::new();
        for (place, stages) in &self.places {
            let mut uses: BTreeMap<Phase, (usize, BTreeSet<&str>)> = BTreeMap::new();
            for (stage, used) in stages {
                if let Some(phase) = phase_of(*stage) {
                    let (requests, values) = uses.entry(phase).or_default();
                    *requests += used.requests.len();
                    values.extend(used.values.iter().map(String::as_str));
                }
            }
            // A phase with a single request cannot show whether the value changes.
            let mut repeated = uses.values().filter(|(requests, _)| *requests > 1).peekable();
            let is_fresh = repeated.peek().is_some()
                && repeated
                    .all(|(requests, values)| values.len() >= (*requests).min(MAX_PER_PLACE));
            if is_fresh {
                fresh_each_time.insert(place);
            }
            phases.insert(place, uses.into_keys().collect());
        }
        let mut histories: Vec<(usize, IdentifierHistory)> = self
            .values
            .iter()
            // A value that is new in each request numbers requests.
            .filter(|(_, tracked)| {
                tracked.places.iter().any(|place| !fresh_each_time.contains(place))
            })
            .filter_map(|(value, tracked)| {
                Some((tracked.order, tracked.history(value, &phases, &phase_of)?))
            })
            .collect();
        histories.sort_by_key(|(order, history)| (!history.with_visits, *order));
        histories.into_iter().map(|(_, history)| history).collect()
    }
}

impl Tracked {
    /// Returns the history of a value, or `None` if nothing shows that it identifies.
    fn history(
        &self,
        value: &str,
        phases_of: &HashMap<&Place, BTreeSet<Phase>>,
        phase_of: impl Fn(usize) -> Option<Phase>,
    ) -> Option<IdentifierHistory> {
        let mut phases: BTreeMap<Phase, u64> = BTreeMap::new();
        for (stage, requests) in &self.requests {
            if let Some(phase) = phase_of(*stage) {
                *phases.entry(phase).or_default() += requests.len() as u64;
            }
        }
        if phases.is_empty() {
            return None;
        }
        let used = self.places.iter().filter_map(|place| phases_of.get(place)).flatten();
        let replaced = used.filter(|phase| !phases.contains_key(phase)).copied().collect();
        let mut history = IdentifierHistory {
            value: value.to_owned(),
            class: self.class.clone(),
            places: self.places.clone(),
            phases,
            applications: self.applications.clone(),
            with_visits: self.with_visits,
            life: Persistence::Unknown,
            replaced,
        };
        let restarted = history.returned(Phase::Restart.before(), &[Phase::Restart]);
        let restarted = match history.returned(&[Phase::Private], &[Phase::PrivateRestart]) {
            Some(true) => Some(true),
            other => restarted.or(other),
        };
        let outlived = [
            history.returned(Phase::Cleared.before(), &[Phase::Cleared]),
            history.returned(Phase::Reinstalled.before(), &[Phase::Reinstalled]),
        ];
        history.life = if outlived.contains(&Some(true)) {
            Persistence::Device
        } else if restarted == Some(true) {
            Persistence::Installation
        } else if restarted == Some(false) {
            Persistence::Session
        } else {
            Persistence::Unknown
        };
        let identifies = match history.life {
            // A value that never changes can belong to the program, and be the same on every
            // device.
            Persistence::Device => self.named,
            Persistence::Installation => self.formed || outlived.contains(&Some(false)),
            Persistence::Session | Persistence::Unknown => self.formed,
        };
        identifies.then_some(history)
    }
}
