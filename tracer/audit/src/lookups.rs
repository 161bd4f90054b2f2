//! The names that a browser looks up over DNS.

use std::collections::{BTreeMap, BTreeSet};

use super::{journal::Journal, report::LookupReport};
use tracer_core::proto::{NameSource, ServerName};

/// Maximum number of names that are counted separately.
const MAX_NAMES: usize = 2048;

/// The names that were looked up, with the number of queries.
#[derive(Debug, Clone, Default)]
pub(super) struct Lookups {
    names: BTreeMap<String, Lookup>,
    /// Number of queries for other names.
    uncounted: u64,
}

#[derive(Debug, Clone, Default)]
struct Lookup {
    queries: u64,
    /// Indices of the journal's stages.
    stages: BTreeSet<usize>,
}

impl Lookups {
    /// Adds a name, if it was looked up.
    pub(super) fn add(&mut self, name: &ServerName, stage: Option<usize>) {
        if name.source != NameSource::Dns {
            return;
        }
        if self.names.len() >= MAX_NAMES && !self.names.contains_key(&name.name) {
            self.uncounted += 1;
            return;
        }
        let lookup = self.names.entry(name.name.clone()).or_default();
        lookup.queries += 1;
        lookup.stages.extend(stage);
    }

    /// Returns the number of queries for names that are not listed.
    pub(super) fn uncounted(&self) -> u64 {
        self.uncounted
    }

    /// Lists the names, those with most queries first.
    pub(super) fn list(&self, journal: &Journal) -> Vec<LookupReport> {
        let phase = |stage: &usize| Some(journal.stages.get(*stage)?.phase);
        let list = self.names.iter().map(|(name, lookup)| LookupReport {
            name: name.clone(),
            queries: lookup.queries,
            phases: lookup.stages.iter().filter_map(phase).collect(),
        });
        let mut list: Vec<_> = list.collect();
        // The sort is stable, so equal numbers stay in alphabetical order.
        list.sort_by_key(|one| std::cmp::Reverse(one.queries));
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracer_core::record::BootTime;

    #[test]
    fn names_are_counted_up_to_a_limit() {
        let mut lookups = Lookups::default();
        let mut add = |name: String, source| {
            let (time, alpn) = (BootTime(0), Vec::new());
            lookups.add(&ServerName { time, source, name, alpn, ech: false }, None);
        };
        for i in 0..MAX_NAMES + 3 {
            add(format!("{i}.example"), NameSource::Dns);
        }
        add("7.example".into(), NameSource::Dns);
        add("other.example".into(), NameSource::Tls);
        assert_eq!((lookups.uncounted(), lookups.names.len()), (3, MAX_NAMES));
        assert_eq!(lookups.names["7.example"].queries, 2);
    }
}
