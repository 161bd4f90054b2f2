//! Identifiers through the phases, without knowing their format: a value that
//! returns after a restart, and does not after the data was cleared, is the
//! installation's, whatever it is called.
//!
//! Values are compared place by place (a recipient and a chain), so that "it
//! did not return" can be told from "nothing of the kind was sent".

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{phase::Phase, report::Life};
use tracer_core::detect::{CandidateKind, Kind, Lifetime};
use tracer_core::pipeline::Decoded;

/// Values that are followed. A browser sends some dozen; one that sends a
/// random number with each request makes many.
const MAX_VALUES: usize = 4096;

/// Values told apart of one place in one phase: more than these are made anew
/// for each request.
const MAX_OF_PLACE: usize = 64;

/// Where values stand: the recipient, and the chain without its numbers.
type Place = (String, String);

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Lifelines {
    values: HashMap<String, Seen>,
    /// In each place and phase: the values, and in how many requests.
    places: BTreeMap<Place, BTreeMap<Phase, Standing>>,
}

#[derive(Debug, Default)]
struct Standing {
    requests: u64,
    values: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Seen {
    class: Option<String>,
    /// Its name says that it identifies.
    named: bool,
    /// It has an identifier's form, or name.
    formed: bool,
    phases: BTreeMap<Phase, u64>,
    places: BTreeSet<Place>,
    applications: BTreeSet<String>,
    with_visits: bool,
    order: usize,
}

/// A value that identifies, and where it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) value: String,
    pub(super) class: Option<String>,
    pub(super) places: BTreeSet<Place>,
    pub(super) phases: BTreeMap<Phase, u64>,
    pub(super) applications: BTreeSet<String>,
    pub(super) with_visits: bool,
    pub(super) life: Life,
    /// In which phases another value stood in its place.
    pub(super) replaced: BTreeSet<Phase>,
}

impl Line {
    /// Whether what was sent in `before` was sent again in `after`: `None`
    /// where nothing of the kind was sent in one of them.
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

impl Lifelines {
    /// Takes a request of the browser's own.
    pub(super) fn take(
        &mut self,
        decoded: &Decoded,
        recipient: &str,
        phase: Phase,
        with_visits: bool,
    ) {
        let mut here: BTreeMap<Place, BTreeSet<&str>> = BTreeMap::new();
        let identifiers = decoded.findings.list.iter().filter(|one| one.kind == Kind::Identifier);
        let identifiers = identifiers.map(|one| {
            let named = matches!(one.lifetime, Some(Lifetime::Lasting | Lifetime::Session));
            (&one.value, one.class.clone(), named, true, &one.chain)
        });
        let candidates = decoded.findings.candidates.iter();
        let candidates = candidates
            .filter(|one| one.what == CandidateKind::Identifier)
            .map(|one| (&one.value, None, false, false, &one.chain));
        for (value, class, named, formed, chain) in identifiers.chain(candidates) {
            if self.values.len() >= MAX_VALUES && !self.values.contains_key(value) {
                continue;
            }
            let place = (recipient.to_owned(), without_numbers(chain));
            let order = self.values.len();
            let seen = self
                .values
                .entry(value.clone())
                .or_insert_with(|| Seen { order, ..Seen::default() });
            seen.class = seen.class.take().or(class);
            seen.named |= named;
            seen.formed |= formed;
            seen.with_visits |= with_visits;
            seen.places.insert(place.clone());
            seen.applications.insert(decoded.application.name().to_owned());
            here.entry(place).or_default().insert(value);
        }
        let mut counted: BTreeSet<&str> = BTreeSet::new();
        for (place, values) in here {
            let standing = self.places.entry(place).or_default().entry(phase).or_default();
            standing.requests += 1;
            for value in values {
                if standing.values.len() < MAX_OF_PLACE {
                    standing.values.insert(value.to_owned());
                }
                if counted.insert(value)
                    && let Some(seen) = self.values.get_mut(value)
                {
                    *seen.phases.entry(phase).or_default() += 1;
                }
            }
        }
    }

    /// The values that identify, those that went with visits first.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<(usize, Line)> = self
            .values
            .iter()
            .filter_map(|(value, seen)| Some((seen.order, self.line(value, seen)?)))
            .collect();
        lines.sort_by_key(|(order, line)| (!line.with_visits, *order));
        lines.into_iter().map(|(_, line)| line).collect()
    }

    fn line(&self, value: &str, seen: &Seen) -> Option<Line> {
        // What is new in each request numbers requests.
        if seen.places.iter().all(|place| self.is_made_anew(place)) {
            return None;
        }
        let mut replaced = BTreeSet::new();
        for place in &seen.places {
            for phase in self.places.get(place)?.keys() {
                if !seen.phases.contains_key(phase) {
                    replaced.insert(*phase);
                }
            }
        }
        let mut line = Line {
            value: value.to_owned(),
            class: seen.class.clone(),
            places: seen.places.clone(),
            phases: seen.phases.clone(),
            applications: seen.applications.clone(),
            with_visits: seen.with_visits,
            life: Life::Unknown,
            replaced,
        };
        let restarted = line.returned(Phase::Restart.before(), &[Phase::Restart]);
        let restarted = match line.returned(&[Phase::Private], &[Phase::PrivateRestart]) {
            Some(true) => Some(true),
            other => restarted.or(other),
        };
        let outlived = [
            line.returned(Phase::Cleared.before(), &[Phase::Cleared]),
            line.returned(Phase::Reinstalled.before(), &[Phase::Reinstalled]),
        ];
        line.life = if outlived.contains(&Some(true)) {
            Life::Device
        } else if restarted == Some(true) {
            Life::Installation
        } else if restarted == Some(false) {
            Life::Session
        } else {
            Life::Unknown
        };
        let is_one = match line.life {
            // What nothing changes may as well be the program's, and the same
            // on every device.
            Life::Device => seen.named,
            Life::Installation => seen.formed || outlived.contains(&Some(false)),
            Life::Session | Life::Unknown => seen.formed,
        };
        is_one.then_some(line)
    }

    /// Whether a place has another value in each request: two requests in one
    /// phase can tell.
    fn is_made_anew(&self, place: &Place) -> bool {
        let Some(phases) = self.places.get(place) else {
            return true;
        };
        let telling: Vec<&Standing> =
            phases.values().filter(|standing| standing.requests > 1).collect();
        !telling.is_empty()
            && telling.iter().all(|standing| {
                standing.values.len() as u64 >= standing.requests.min(MAX_OF_PLACE as u64)
            })
    }
}

/// `json[3].id` and `json[4].id` are one place.
fn without_numbers(chain: &str) -> String {
    let mut place = String::with_capacity(chain.len());
    let mut within = false;
    for c in chain.chars() {
        match c {
            '[' => within = true,
            ']' if within => {
                within = false;
                place.push_str("[]");
            }
            _ if within => {}
            _ => place.push(c),
        }
    }
    place
}
