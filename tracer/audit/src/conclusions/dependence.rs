//! Answers what the experiments show: whether anything depends on the visited pages.

use std::collections::BTreeSet;

use super::{MIN_PERCENT_UNDERSTOOD, conclusion, evidence, list};
use crate::{
    differential::{FAMILY_ERROR, Findings, MIN_VISITS},
    facts::{Facts, factors},
    gather::Experiment,
    journal::Outcome,
    phase::Phase,
    report::{Answer, Conclusion, Question},
};
use tracer_core::finding::Recipient;
use tracer_core::wording::counted;

/// The experiments, in normal and in private windows.
pub(super) const EXPERIMENTS: [Phase; 2] = [Phase::Experiment, Phase::PrivateExperiment];

/// Answers whether anything depends on the visited pages, readable or not.
pub(super) fn derived_values(facts: &Facts<'_>) -> Conclusion {
    const TITLE: &str = "Values that depend on the page";
    let question = Question::DerivedValues;
    let found: Vec<_> =
        facts.experiments(&EXPERIMENTS).iter().flat_map(|it| &it.findings.dependences).collect();
    if let Some(first) = found.first() {
        let recipients: BTreeSet<&str> = found.iter().map(|it| &it.recipient[..]).collect();
        let what = if first.is_length() { "a length that follows" } else { "a value derived from" };
        let detail = format!(
            "{what} the {} of the page, in {} of {}{}; to {}",
            factors(&first.factors),
            first.place,
            first.recipient,
            match found.len() - 1 {
                0 => String::new(),
                more => format!(", and {}", counted(more as u64, "other place")),
            },
            list(recipients)
        );
        let detail = format!("{detail}; {}", numbers(facts));
        let requests = found.iter().flat_map(|it| &it.requests).map(|(number, _)| *number);
        let known: BTreeSet<u64> = facts.disclosing.iter().map(|request| request.id).collect();
        return Conclusion {
            evidence: evidence(requests.filter(|number| known.contains(number))),
            ..conclusion(facts, question, TITLE, Answer::Yes, detail)
        };
    }
    let doubt = facts.doubt(&Phase::ALL).or_else(|| facts.experiment_doubt(&Phase::ALL, &|_| true));
    match doubt {
        Some(doubt) => conclusion(facts, question, TITLE, Answer::CannotTell, doubt),
        None => conclusion(
            facts,
            question,
            TITLE,
            Answer::No,
            format!("nothing that was sent depends on the page; {}", numbers(facts)),
        ),
    }
}

/// Returns the extent of the experiments in words.
fn numbers(facts: &Facts<'_>) -> String {
    let sum = |of: fn(&Experiment) -> usize| {
        facts.experiments(&EXPERIMENTS).into_iter().map(of).sum::<usize>() as u64
    };
    format!(
        "{} in random order, {} without one, {} examined, probability of an error below {} %",
        counted(sum(|it| it.findings.visits), "visit"),
        counted(sum(|it| it.findings.idle), "window"),
        counted(sum(|it| it.findings.places), "place"),
        FAMILY_ERROR * 100.0
    )
}

/// Findings of the experiments about the pages that a question is about.
pub(super) struct Derived<'a> {
    /// Recipients of values or lengths that depend on the page.
    pub(super) recipients: BTreeSet<&'a str>,
    /// The most certain of them, in words.
    pub(super) detail: String,
}

impl<'a> Facts<'a> {
    /// Returns the experiments that answer a question about these phases: the one in normal windows,
    /// the one in private windows, or both, depending on where pages were opened. Whatever is sent
    /// in one normal window could be sent in another, so the first experiment also stands for the
    /// phases before consent.
    fn experiments_for(&self, phases: &[Phase]) -> Vec<Phase> {
        let opened: Vec<bool> = self.made(phases).map(|visit| visit.phase.is_private()).collect();
        let is_private: Vec<bool> = match opened.is_empty() {
            true => phases.iter().map(|phase| phase.is_private()).collect(),
            false => opened,
        };
        EXPERIMENTS.into_iter().filter(|phase| is_private.contains(&phase.is_private())).collect()
    }

    /// Returns the experiments in these phases that were done.
    pub(crate) fn experiments(&self, phases: &[Phase]) -> Vec<&'a Experiment> {
        let observations = self.observations;
        let is_done = |one: &Experiment| {
            let stage = observations.journal.stages.get(one.stage);
            stage.is_some_and(|stage| !matches!(stage.outcome, Outcome::Skipped { .. }))
        };
        let all = observations.experiments.iter();
        all.filter(|one| phases.contains(&one.phase) && is_done(one)).collect()
    }

    /// Returns what these recipients learn of pages in the experiments about these phases, decoded or
    /// not.
    pub(super) fn derived(
        &self,
        phases: &[Phase],
        wanted: &dyn Fn(&Recipient) -> bool,
    ) -> Option<Derived<'a>> {
        let experiments = self.experiments(&self.experiments_for(phases));
        let dependences = experiments.into_iter().flat_map(|one| &one.findings.dependences);
        let mut dependences = dependences.filter(|it| self.is_wanted(&it.recipient, wanted));
        let first = dependences.next()?;
        let what = match first.is_length() {
            true => "an encrypted message whose length follows the",
            false => "a value derived from the page: its",
        };
        let detail = format!("{what} {}", factors(&first.factors));
        let recipients = dependences.map(|it| &it.recipient[..]).chain([&first.recipient[..]]);
        Some(Derived { recipients: recipients.collect(), detail })
    }

    /// Reports whether a recipient is one that a question is about. One whose role is not known is.
    fn is_wanted(&self, recipient: &str, wanted: &dyn Fn(&Recipient) -> bool) -> bool {
        let known = self.observations.own.iter().find(|own| own.recipient == recipient);
        known.is_none_or(|own| wanted(&own.who))
    }

    /// Explains why the experiments do not justify a "no" about these phases. Returns `None` if they
    /// do.
    pub(super) fn experiment_doubt(
        &self,
        phases: &[Phase],
        wanted: &dyn Fn(&Recipient) -> bool,
    ) -> Option<String> {
        let experiments = self.experiments_for(phases).into_iter();
        let doubt = experiments.into_iter().find_map(|phase| self.doubt_of(phase, wanted));
        doubt.or_else(|| self.not_understood())
    }

    /// Explains that too little was understood for a "no". Returns `None` if enough was.
    fn not_understood(&self) -> Option<String> {
        let percent = self.percent_understood.filter(|it| *it < MIN_PERCENT_UNDERSTOOD)?;
        let first = self.observations.opaque.first();
        let most = first.map_or(String::new(), |one| {
            format!("; most of the rest went to {} in {}", one.recipient, one.place)
        });
        Some(format!(
            "only {percent}% of the traffic could be understood, and a \"no\" about pages requires \
             {MIN_PERCENT_UNDERSTOOD}%{most}"
        ))
    }

    /// Explains why an experiment about these phases is missing. Returns `None` if all were done.
    pub(super) fn no_experiment(&self, phases: &[Phase]) -> Option<String> {
        self.experiments_for(phases).into_iter().find_map(|phase| self.done(phase).err())
    }

    /// Returns what an experiment found, or explains why it says nothing.
    fn done(&self, phase: Phase) -> Result<&'a Findings, String> {
        let Some(experiment) = self.experiments(&[phase]).into_iter().next() else {
            return Err(format!(
                "data that cannot be read may depend on the page, and no experiment showed that it \
                 does not: {}",
                self.why_not_done(&[phase])
            ));
        };
        let findings = &experiment.findings;
        if findings.visits < MIN_VISITS {
            return Err(format!(
                "the browser made {} in the phase \"{}\", and at least {MIN_VISITS} are needed",
                counted(findings.visits as u64, "visit"),
                phase.title()
            ));
        }
        Ok(findings)
    }

    fn doubt_of(&self, phase: Phase, wanted: &dyn Fn(&Recipient) -> bool) -> Option<String> {
        let title = phase.title();
        let findings = match self.done(phase) {
            Ok(findings) => findings,
            Err(why) => return Some(why),
        };
        if findings.dropped > 0 {
            return Some(format!(
                "in the phase \"{title}\", {} not be examined, because there was too much",
                match findings.dropped {
                    1 => "1 value could".to_owned(),
                    more => format!("{more} values could"),
                }
            ));
        }
        let explained =
            |recipient: &str| findings.dependences.iter().any(|it| it.recipient == recipient);
        let with = findings.with_visits.iter();
        let mut with =
            with.filter(|it| !explained(&it.recipient) && self.is_wanted(&it.recipient, wanted));
        let first = with.next()?;
        let others: BTreeSet<&str> = with
            .map(|it| &it.recipient[..])
            .filter(|recipient| *recipient != first.recipient)
            .collect();
        let more = match others.len() {
            0 => String::new(),
            _ => format!("; so did {}", list(others)),
        };
        Some(format!(
            "{} received one {} for each visit in the phase \"{title}\" ({} of {} visits, {} of {} \
             windows without one), and it is not known what it means{more}",
            first.recipient,
            first.what.label(),
            first.visits.0,
            first.visits.1,
            first.idle.0,
            first.idle.1
        ))
    }

    /// Explains why a "no" about pages disclosed in these phases, which have no experiment of their
    /// own, is not justified: a recipient of unreadable values that depend on pages received requests
    /// in them.
    pub(super) fn unreadable_doubt(&self, phases: &[Phase]) -> Option<String> {
        let experiments = self.observations.experiments.iter().zip(&self.readable);
        let unreadable = experiments
            .filter(|(one, _)| one.phase == Phase::Experiment)
            .flat_map(|(one, readable)| one.findings.dependences.iter().zip(readable))
            .filter(|(_, readable)| !**readable)
            .map(|(it, _)| &it.recipient[..]);
        let received: BTreeSet<&str> = phases
            .iter()
            .flat_map(|phase| self.own(*phase))
            .map(|own| &own.recipient[..])
            .collect();
        let first = unreadable.into_iter().find(|recipient| received.contains(recipient))?;
        Some(format!(
            "{first} received requests, and in the experiment it received values that depend on the \
             page and cannot be read"
        ))
    }

    /// Returns the pages of the experiments about these phases.
    pub(super) fn experiment_pages(&self, phases: &[Phase]) -> BTreeSet<u64> {
        let wanted = self.experiments_for(phases);
        let stages = self.observations.journal.stages.iter();
        let stages = stages.filter(|stage| wanted.contains(&stage.phase));
        let visits = stages.flat_map(|stage| &stage.visits);
        visits.filter(|visit| visit.served != Some(false)).map(|visit| visit.canary.id).collect()
    }
}
