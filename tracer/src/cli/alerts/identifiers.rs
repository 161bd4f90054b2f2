//! Ranks identifiers by what matters.

use std::{cmp::Reverse, collections::HashMap};

use tracer_core::{
    alert::Alert,
    finding::{Kind, Lifetime},
    judge::Sighting,
};

/// Maximum number of values that are remembered from alerts, as many as the ledger has.
const MAX_VALUES: usize = 8192;

/// The identifiers in alerts, and how they were sent.
#[derive(Debug, Default)]
pub(super) struct Mentions(HashMap<String, Mention>);

#[derive(Debug, Clone, Copy, Default)]
struct Mention {
    with_visits: u64,
    lasts: bool,
}

impl Mentions {
    /// Adds an alert whose values are not redacted.
    pub(super) fn add(&mut self, alert: &Alert) {
        let findings = &alert.content.findings;
        let visits =
            findings.iter().any(|found| matches!(found.kind, Kind::Url | Kind::VisitedUrlHash));
        let mut counted: Vec<&str> = Vec::new();
        for found in findings.iter().filter(|found| found.kind == Kind::Identifier) {
            if self.0.len() >= MAX_VALUES && !self.0.contains_key(&found.value) {
                continue;
            }
            let mention = self.0.entry(found.value.clone()).or_default();
            mention.lasts |= found.lifetime == Some(Lifetime::Lasting);
            // A request may contain a value several times.
            if visits && !counted.contains(&found.value.as_str()) {
                mention.with_visits += 1;
                counted.push(&found.value);
            }
        }
    }

    /// Ranks identifiers: first those that last, then those that were sent with visits, then those
    /// that several applications share, and then those that went to the most sites.
    pub(super) fn rank(&self, sightings: Vec<Sighting>) -> Vec<Ranked> {
        let ranked = sightings.into_iter().map(|sighting| {
            let mention = self.0.get(&sighting.value).copied().unwrap_or_default();
            let lasts = mention.lasts || sighting.lasts();
            Ranked { with_visits: mention.with_visits, lasts, sighting }
        });
        let mut ranked: Vec<_> = ranked.collect();
        ranked.sort_by_key(|one| {
            let Sighting { applications, recipients, requests, .. } = &one.sighting;
            let is_shared = applications.len() > 1;
            Reverse((one.lasts, one.with_visits > 0, is_shared, recipients.len(), *requests))
        });
        ranked
    }
}

/// An identifier with what its rank depends on.
#[derive(Debug)]
pub(super) struct Ranked {
    pub(super) sighting: Sighting,
    /// Number of alerts about visits with which it was sent.
    pub(super) with_visits: u64,
    /// Set if it outlives a process, is shared by applications, or its name says that it lasts.
    pub(super) lasts: bool,
}

#[cfg(test)]
mod tests {
    use tracer_core::alert::fixtures::{alert, found};

    use super::*;

    #[test]
    fn identifiers_that_last_and_were_sent_with_visits_come_first() {
        let sighting = |value: &str, applications: &[&str], processes| Sighting {
            value: value.into(),
            applications: applications.iter().map(|&name| name.into()).collect(),
            processes,
            requests: 1,
            ..Sighting::default()
        };
        let mut mentions = Mentions::default();
        let mut with_visit = alert();
        let named = found(Kind::Identifier, "named");
        let named =
            tracer_core::alert::FindingReport { lifetime: Some(Lifetime::Lasting), ..named };
        let session = found(Kind::Identifier, "session");
        with_visit.content.findings.extend([named.clone(), named, session]);
        mentions.add(&with_visit);
        let mut alone = alert();
        alone.content.findings = vec![found(Kind::Identifier, "shared")];
        mentions.add(&alone);

        let ranked = mentions.rank(vec![
            sighting("plain", &["a"], 1),
            sighting("session", &["a"], 1),
            sighting("restarted", &["a"], 2),
            sighting("shared", &["a", "b"], 1),
            sighting("named", &["a"], 1),
        ]);
        let order: Vec<_> =
            ranked.iter().map(|one| (&one.sighting.value[..], one.with_visits)).collect();
        assert_eq!(
            order,
            [("named", 1), ("shared", 0), ("restarted", 0), ("session", 1), ("plain", 0)]
        );
    }
}
