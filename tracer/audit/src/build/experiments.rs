//! The experiments in the report.

use std::collections::BTreeSet;

use crate::{
    differential::{Dependence, FAMILY_ERROR},
    facts::Facts,
    gather::Experiment,
    phase::Phase,
    report::{Count, DependenceReport, ExperimentReport, MAX_EVIDENCE, WithVisitsReport},
};
use tracer_core::alert::redact::Redactor;

/// Number of dependences listed for one experiment.
const MAX_DEPENDENCES: usize = 100;

/// Number of identifiers named for one dependence.
const MAX_IDENTIFIERS: usize = 4;

pub(super) fn all(facts: &Facts<'_>, redactor: &Redactor) -> Vec<ExperimentReport> {
    let experiments = facts.observations.experiments.iter().zip(&facts.readable);
    let done: Vec<usize> = facts.experiments(&Phase::ALL).iter().map(|one| one.stage).collect();
    experiments
        .filter(|(one, _)| done.contains(&one.stage))
        .map(|(one, readable)| experiment(facts, one, readable, redactor))
        .collect()
}

fn experiment(
    facts: &Facts<'_>,
    experiment: &Experiment,
    readable: &[bool],
    redactor: &Redactor,
) -> ExperimentReport {
    let findings = &experiment.findings;
    let dependences = findings.dependences.iter().zip(readable);
    let count = |(told, of): (usize, usize)| Count { told: told as u64, of: of as u64 };
    ExperimentReport {
        phase: experiment.phase,
        visits: findings.visits as u64,
        idle: findings.idle as u64,
        places: findings.places as u64,
        tests: findings.tests as u64,
        error_rate: FAMILY_ERROR,
        dropped: findings.dropped,
        dependences: dependences
            .take(MAX_DEPENDENCES)
            .map(|(it, readable)| dependence(facts, it, *readable, redactor))
            .collect(),
        dependences_uncounted: findings.dependences.len().saturating_sub(MAX_DEPENDENCES) as u64,
        with_visits: findings
            .with_visits
            .iter()
            .map(|it| WithVisitsReport {
                recipient: it.recipient.clone(),
                what: it.what.label().to_owned(),
                visits: count(it.visits),
                idle: count(it.idle),
                p: it.p,
            })
            .collect(),
    }
}

fn dependence(
    facts: &Facts<'_>,
    dependence: &Dependence,
    readable: bool,
    redactor: &Redactor,
) -> DependenceReport {
    let pages: BTreeSet<u64> = dependence.requests.iter().map(|(_, page)| *page).collect();
    let requests: BTreeSet<u64> = dependence.requests.iter().map(|(number, _)| *number).collect();
    let identifiers = facts.identifiers.iter();
    let identifiers = identifiers.filter(|history| dependence.is_sent_with(&history.value));
    DependenceReport {
        recipient: dependence.recipient.clone(),
        place: dependence.place.clone(),
        depends_on: dependence.factors.clone(),
        readable,
        sent: dependence.delay.label().to_owned(),
        p: dependence.p,
        pages: pages.len() as u64,
        requests: requests.len() as u64,
        identifiers: identifiers
            .take(MAX_IDENTIFIERS)
            .map(|history| redactor.value(&history.value))
            .collect(),
        evidence: requests.into_iter().take(MAX_EVIDENCE).collect(),
    }
}
