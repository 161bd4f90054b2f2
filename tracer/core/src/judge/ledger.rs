//! The ledger of identifiers: the recipients, senders and times of each value. A value that returns
//! identifies, whatever it looks like.

use foldhash::{HashMap, HashSet};
use serde::{Deserialize, Serialize};

/// The history of one value. The store keeps it between runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sighting {
    /// The value as sent.
    pub value: String,
    /// Class of the identifier, if its name or form shows it.
    pub class: Option<String>,
    /// Time of the first request, in nanoseconds since 1970-01-01 UTC; 0 if it is not known.
    pub first: u64,
    /// Time of the last request.
    pub last: u64,
    /// Number of requests that contained it.
    pub requests: u64,
    /// Number of connections on which it was sent.
    pub connections: u64,
    /// Number of processes that sent it. More than one means a restart, or a second application.
    pub processes: u64,
    /// Applications that sent it.
    pub applications: Vec<String>,
    /// Sites that received it.
    pub recipients: Vec<String>,
}

impl Sighting {
    /// Reports whether it outlived a process, or was sent by more than one application.
    pub fn lasts(&self) -> bool {
        self.processes > 1 || self.applications.len() > 1
    }
}

/// The place at which a value was seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) application: &'a str,
    pub(crate) recipient: &'a str,
    /// Number of the request in this run, which stays the same when it is judged again.
    pub(crate) request: u64,
    /// Process ID, which is not reused soon.
    pub(crate) process: u32,
    /// Key of the connection.
    pub(crate) connection: u64,
    /// Time in nanoseconds since 1970-01-01 UTC.
    pub(crate) unix: u64,
}

/// Maximum number of values. The least recently seen are forgotten first; a browser sends some
/// dozen that last.
const MAX_VALUES: usize = 8192;

/// Maximum number of applications, and of recipients, of one value.
const MAX_NAMES: usize = 16;

/// Maximum number of processes, and of connections, of one value: a few more than it takes to know
/// that there are several.
const MAX_TOLD_APART: usize = 64;

/// The histories of all values.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: HashMap<String, Entry>,
    changed: HashSet<String>,
    turn: u64,
}

#[derive(Debug, Default)]
struct Entry {
    sighting: Sighting,
    /// Processes and connections of this run. Those of earlier runs are only counted.
    processes: Vec<u32>,
    connections: Vec<u64>,
    /// The last request of this run that was counted. A request may contain a value several times,
    /// and be judged again.
    request: Option<u64>,
    turn: u64,
}

impl Ledger {
    /// Adds the histories of earlier runs.
    pub(crate) fn remember(&mut self, sightings: Vec<Sighting>) {
        for sighting in sightings.into_iter().take(MAX_VALUES) {
            let value = sighting.value.clone();
            self.entries.insert(value, Entry { sighting, ..Entry::default() });
        }
    }

    /// Returns the histories that changed since the last call.
    pub(crate) fn changed(&mut self) -> Vec<Sighting> {
        let changed = std::mem::take(&mut self.changed);
        changed
            .iter()
            .filter_map(|value| self.entries.get(value))
            .map(|entry| entry.sighting.clone())
            .collect()
    }

    /// Records that a value was sent, and returns its history.
    pub(crate) fn seen(&mut self, value: &str, class: Option<&str>, at: Place<'_>) -> &Sighting {
        self.turn += 1;
        if self.entries.len() >= MAX_VALUES && !self.entries.contains_key(value) {
            self.forget();
        }
        if !self.changed.contains(value) {
            self.changed.insert(value.to_owned());
        }
        let entry = self.entries.entry(value.to_owned()).or_default();
        entry.turn = self.turn;
        let known = &mut entry.sighting;
        if known.value.is_empty() {
            known.value = value.to_owned();
            known.first = at.unix;
        }
        if known.class.is_none() {
            known.class = class.map(str::to_owned);
        }
        known.last = known.last.max(at.unix);
        if entry.request < Some(at.request) {
            entry.request = Some(at.request);
            known.requests += 1;
        }
        known.connections += u64::from(is_new(&mut entry.connections, at.connection));
        known.processes += u64::from(is_new(&mut entry.processes, at.process));
        add_name(&mut known.applications, at.application);
        add_name(&mut known.recipients, at.recipient);
        &entry.sighting
    }

    /// Reports whether a value is known to last.
    pub(crate) fn lasts(&self, value: &str) -> bool {
        self.entries.get(value).is_some_and(|entry| entry.sighting.lasts())
    }

    /// Forgets the least recently seen quarter. Forgetting one at a time would search all values
    /// for each new one.
    fn forget(&mut self) {
        let mut turns: Vec<u64> = self.entries.values().map(|entry| entry.turn).collect();
        let (_, limit, _) = turns.select_nth_unstable(MAX_VALUES / 4);
        let limit = *limit;
        self.entries.retain(|_, entry| entry.turn > limit);
        self.changed.retain(|value| self.entries.contains_key(value));
    }
}

fn is_new<T: PartialEq>(known: &mut Vec<T>, one: T) -> bool {
    if known.contains(&one) || known.len() == MAX_TOLD_APART {
        return false;
    }
    known.push(one);
    true
}

fn add_name(names: &mut Vec<String>, name: &str) {
    if names.len() < MAX_NAMES && !names.iter().any(|known| known == name) {
        names.push(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place<'_> = Place {
        application: "browser",
        recipient: "a.test",
        request: 0,
        process: 1,
        connection: 1,
        unix: 5,
    };

    #[test]
    fn a_value_that_outlives_its_process_lasts() {
        let mut ledger = Ledger::default();
        assert!(!ledger.seen("x", None, HERE).lasts());
        let again = Place { request: 1, connection: 2, unix: 9, ..HERE };
        let known = ledger.seen("x", Some("device_id"), again).clone();
        assert!(!known.lasts());
        assert_eq!((known.first, known.last, known.connections, known.requests), (5, 9, 2, 2));
        assert_eq!(known.class.as_deref(), Some("device_id"));
        assert!(ledger.seen("x", None, Place { process: 2, ..HERE }).lasts());

        ledger.seen("y", None, HERE);
        let other = Place { application: "launcher", ..HERE };
        assert!(ledger.seen("y", None, other).lasts());
    }

    #[test]
    fn a_request_is_counted_once() {
        let mut ledger = Ledger::default();
        for request in [0, 0, 3, 3, 4, 0] {
            ledger.seen("x", None, Place { request, ..HERE });
        }
        assert_eq!(ledger.entries["x"].sighting.requests, 3);
    }

    #[test]
    fn what_an_earlier_run_saw_counts() {
        let mut ledger = Ledger::default();
        ledger.seen("x", None, HERE);
        let changed = ledger.changed();
        assert_eq!(changed.len(), 1);
        assert!(ledger.changed().is_empty());

        let mut next = Ledger::default();
        next.remember(changed);
        assert!(next.changed().is_empty());
        let known = next.seen("x", None, Place { process: 7, unix: 50, ..HERE });
        assert!(known.lasts());
        assert_eq!((known.first, known.last), (5, 50));
    }

    #[test]
    fn it_is_bounded() {
        let mut ledger = Ledger::default();
        for n in 0..2 * MAX_VALUES {
            ledger.seen(&n.to_string(), None, HERE);
            let name = n.to_string();
            let known = ledger.seen(
                "kept",
                None,
                Place {
                    application: &name,
                    recipient: &name,
                    request: n as u64,
                    process: n as u32,
                    ..HERE
                },
            );
            assert!(known.applications.len() <= MAX_NAMES);
        }
        assert!(ledger.entries.len() <= MAX_VALUES);
        assert!(ledger.changed.len() <= MAX_VALUES);
        assert_eq!(ledger.entries["kept"].sighting.requests, 2 * MAX_VALUES as u64);
    }
}
