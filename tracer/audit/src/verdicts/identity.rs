//! The answers about identifiers.

use super::{evidence, plural, verdict};
use crate::{
    facts::Facts,
    lifelines::Line,
    phase::Phase,
    report::{Answer, Count, ItemKind, Question, Verdict},
};

pub(super) fn all(facts: &Facts<'_>) -> Vec<Verdict> {
    let normal = Phase::Private.before();
    let private = [Phase::Private, Phase::PrivateRestart];
    vec![
        attached(facts),
        same(
            facts,
            Question::SameAfterRestart,
            "The same after a restart",
            Phase::Restart.before(),
            &[Phase::Restart],
        ),
        same(
            facts,
            Question::SameInPrivateMode,
            "The same in private and in normal mode",
            normal,
            &private,
        ),
        same(
            facts,
            Question::SameInPrivateModeAfterRestart,
            "The same in private mode after a restart",
            &[Phase::Private],
            &[Phase::PrivateRestart],
        ),
        same(
            facts,
            Question::SameAfterClearing,
            "The same after data was cleared",
            Phase::Cleared.before(),
            &[Phase::Cleared],
        ),
        same(
            facts,
            Question::SameAfterReinstall,
            "The same after it was installed again",
            Phase::Reinstalled.before(),
            &[Phase::Reinstalled],
        ),
        in_others(facts),
    ]
}

/// Whether an identifier goes with what tells of visits.
fn attached(facts: &Facts<'_>) -> Verdict {
    const TITLE: &str = "An identifier attached to them";
    let question = Question::Identifier;
    let told: Vec<_> = facts
        .told
        .iter()
        .filter(|told| told.items.iter().any(|item| item.kind == ItemKind::Visit))
        .collect();
    if told.is_empty() {
        let (answer, detail) = match facts.doubt(&Phase::ALL) {
            Some(doubt) => (Answer::CannotTell, doubt),
            None => (Answer::No, "nothing that tells of visited pages was sent".into()),
        };
        return verdict(facts, question, TITLE, answer, detail);
    }
    let with: Vec<_> = told
        .iter()
        .filter(|told| facts.lines.iter().any(|line| line.with_visits && told.holds(&line.value)))
        .collect();
    let count = Count { told: with.len() as u64, of: told.len() as u64 };
    let requests = plural(count.of, "request");
    let (answer, detail) = if with.is_empty() {
        (Answer::No, format!("none is in the {requests} that tell of visited pages"))
    } else {
        (Answer::Yes, format!("in {} of {requests} that tell of visited pages", count.told))
    };
    Verdict {
        count: Some(count),
        evidence: evidence(with.iter().map(|told| told.id)),
        ..verdict(facts, question, TITLE, answer, detail)
    }
}

/// Whether what was sent in `before` returned in `after`. Where visits are told
/// of, the identifiers that went with them decide; otherwise, all.
fn same(
    facts: &Facts<'_>,
    question: Question,
    title: &str,
    before: &[Phase],
    after: &[Phase],
) -> Verdict {
    if !after.iter().any(|phase| facts.was_done(*phase)) {
        return verdict(facts, question, title, Answer::CannotTell, facts.why_left_out(after));
    }
    let with_visits = facts.lines.iter().any(|line| line.with_visits);
    let lines = facts.lines.iter().filter(|line| line.with_visits || !with_visits);
    let tried: Vec<(&Line, bool)> =
        lines.filter_map(|line| Some((line, line.returned(before, after)?))).collect();
    let which = if with_visits { "that went with visits" } else { "that was sent" };
    if tried.is_empty() {
        let detail = if facts.lines.is_empty() {
            match facts.doubt(&Phase::ALL) {
                Some(doubt) => doubt,
                None => "no identifier was seen".into(),
            }
        } else {
            format!("no identifier {which} was sent again, and none in its place")
        };
        return verdict(facts, question, title, Answer::CannotTell, detail);
    }
    let returned: Vec<&Line> =
        tried.iter().filter(|(_, returned)| *returned).map(|(line, _)| *line).collect();
    let count = Count { told: returned.len() as u64, of: tried.len() as u64 };
    let of = plural(count.of, "identifier");
    let (answer, detail) = if returned.is_empty() {
        (Answer::No, format!("others stood in the place of {of} {which}"))
    } else {
        (Answer::Yes, format!("{} of {of} {which} returned", count.told))
    };
    let proof = facts.told.iter().filter(|told| {
        told.phase.is_some_and(|phase| after.contains(&phase))
            && returned.iter().any(|line| told.holds(&line.value))
    });
    Verdict {
        count: Some(count),
        evidence: evidence(proof.map(|told| told.id)),
        ..verdict(facts, question, title, answer, detail)
    }
}

/// Whether other applications sent the same.
fn in_others(facts: &Facts<'_>) -> Verdict {
    const TITLE: &str = "The same in other applications";
    let question = Question::SameInOtherApplications;
    let shared: Vec<&Line> =
        facts.lines.iter().filter(|line| line.applications.len() > 1).collect();
    if !shared.is_empty() {
        let detail = format!(
            "{} sent by more than one: {}",
            plural(shared.len() as u64, "identifier"),
            super::list(shared[0].applications.iter().map(String::as_str))
        );
        return verdict(facts, question, TITLE, Answer::Yes, detail);
    }
    let (answer, detail) = if facts.applications < 2 {
        (Answer::CannotTell, "no other application was watched, or sent anything".to_owned())
    } else {
        match facts.doubt(&Phase::ALL) {
            Some(doubt) => (Answer::CannotTell, doubt),
            None => {
                (Answer::No, format!("{} were watched", plural(facts.applications, "application")))
            }
        }
    };
    verdict(facts, question, TITLE, answer, detail)
}
