//! Recognises typed text: requests to one recipient in which a value grows a little each time (`n`,
//! `ne`, `new`, `news`).
//!
//! A single request does not show it, so the last values of each recipient are remembered, by their
//! chain.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Duration,
};

use crate::{
    finding::{Candidate, CandidateKind, Finding, Kind},
    record::BootTime,
};

/// Maximum number of values of one application.
const MAX_VALUES: usize = 512;

/// Maximum pause in typing.
const PAUSE: Duration = Duration::from_secs(20);

/// Maximum growth of a value from one request to the next. Fast typists are faster than the
/// requests.
const MAX_STEP: usize = 8;

/// Minimum number of steps. Numbers that grow by a digit, and lists that get longer, do so once or
/// twice.
const MIN_STEPS: u32 = 3;

/// The values of one application that may be growing, by a hash of recipient and chain.
#[derive(Debug, Default)]
pub(crate) struct Typing(HashMap<u64, Value>);

#[derive(Debug)]
struct Value {
    text: String,
    steps: u32,
    time: BootTime,
}

impl Typing {
    /// Adds the candidates of a request. Returns those that are being typed.
    pub(crate) fn observe(
        &mut self,
        recipient: &str,
        candidates: &[Candidate],
        now: BootTime,
    ) -> Vec<Finding> {
        let typed =
            candidates.iter().filter(|candidate| candidate.kind == CandidateKind::TypedText);
        typed.filter_map(|candidate| self.value(recipient, candidate, now)).collect()
    }

    fn value(&mut self, recipient: &str, candidate: &Candidate, now: BootTime) -> Option<Finding> {
        let Candidate { value: text, chain, .. } = candidate;
        if self.0.len() >= MAX_VALUES {
            // Drop values after a pause. If there are still too many, none is typed by a person.
            self.0.retain(|_, known| now.since(known.time) <= PAUSE);
            if self.0.len() >= MAX_VALUES {
                self.0.clear();
            }
        }
        let mut hasher = DefaultHasher::new();
        (recipient, chain).hash(&mut hasher);
        let known = match self.0.entry(hasher.finish()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                new.insert(Value { text: text.clone(), steps: 0, time: now });
                return None;
            }
        };
        let paused = now.since(known.time) > PAUSE;
        known.time = known.time.max(now);
        if paused {
            known.steps = 0;
        } else if let Some(more) = text.strip_prefix(known.text.as_str()) {
            // An equal value is a retry: neither a step nor an end.
            known.steps = match more.chars().count() {
                0 => known.steps,
                1..=MAX_STEP => known.steps + 1,
                _ => 0,
            };
        } else if !known.text.starts_with(text.as_str()) {
            // No letter was deleted either.
            known.steps = 0;
        }
        known.text.clone_from(text);
        (known.steps >= MIN_STEPS).then(|| Finding {
            kind: Kind::TypedText,
            class: None,
            value: text.clone(),
            chain: chain.clone(),
            truncated: false,
            lifetime: None,
            role: None,
            lifetime_reason: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observe(typing: &mut Typing, recipient: &str, text: &str, second: u64) -> usize {
        let candidate = Candidate {
            kind: CandidateKind::TypedText,
            value: text.into(),
            chain: "query:q".into(),
        };
        typing.observe(recipient, &[candidate], BootTime(second * 1_000_000_000)).len()
    }

    #[test]
    fn what_grows_is_typed() {
        let mut typing = Typing::default();
        let found: Vec<_> = ["n", "ne", "new", "news", "news", "new", "newspaper"]
            .iter()
            .enumerate()
            .map(|(second, text)| observe(&mut typing, "a.test", text, second as u64))
            .collect();
        assert_eq!(found, [0, 0, 0, 1, 1, 1, 1]);
    }

    #[test]
    fn what_changes_is_not() {
        let mut typing = Typing::default();
        for (second, text) in ["1", "12", "2", "23", "234", "en", "en-US", "x"].iter().enumerate() {
            assert_eq!(observe(&mut typing, "a.test", text, second as u64), 0, "{text}");
        }
        // To several recipients, or with long pauses, it is nobody's typing.
        for (n, text) in ["n", "ne", "new", "news", "news "].iter().enumerate() {
            assert_eq!(observe(&mut typing, &format!("{n}.test"), text, 1), 0);
            assert_eq!(observe(&mut typing, "slow.test", text, 100 * n as u64), 0);
        }
    }

    #[test]
    fn it_is_bounded() {
        let mut typing = Typing::default();
        for n in 0..3 * MAX_VALUES {
            observe(&mut typing, &format!("{n}.test"), "x", 1);
        }
        assert!(typing.0.len() <= MAX_VALUES);
    }
}
