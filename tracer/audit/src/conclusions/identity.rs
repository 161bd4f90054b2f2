//! Answers the questions about identifiers.

use super::{conclusion, evidence, list};
use crate::{
    facts::Facts,
    identifiers::IdentifierHistory,
    phase::Phase,
    report::{Answer, Conclusion, Count, ItemKind, Question},
};
use tracer_core::wording::counted;

pub(super) fn all(facts: &Facts<'_>) -> Vec<Conclusion> {
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
            "The same in private mode as in normal mode",
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
            "The same after the data was cleared",
            Phase::Cleared.before(),
            &[Phase::Cleared],
        ),
        same(
            facts,
            Question::SameAfterReinstall,
            "The same after the browser was reinstalled",
            Phase::Reinstalled.before(),
            &[Phase::Reinstalled],
        ),
        in_others(facts),
    ]
}

/// Answers whether an identifier is sent together with visited pages.
fn attached(facts: &Facts<'_>) -> Conclusion {
    const TITLE: &str = "An identifier sent with them";
    let question = Question::Identifier;
    let revealing: Vec<_> = facts
        .disclosing
        .iter()
        .filter(|request| request.items.iter().any(|item| item.kind == ItemKind::Visit))
        .collect();
    if revealing.is_empty() {
        let doubt =
            facts.doubt(&Phase::ALL).or_else(|| facts.experiment_doubt(&Phase::ALL, &|_| true));
        let (answer, detail) = match doubt {
            Some(doubt) => (Answer::CannotTell, doubt),
            None => (Answer::No, "no visited page was disclosed".into()),
        };
        return conclusion(facts, question, TITLE, answer, detail);
    }
    let identified: Vec<_> = revealing
        .iter()
        .filter(|request| {
            let mut known = facts.identifiers.iter();
            known.any(|history| history.with_visits && request.contains(&history.value))
        })
        .collect();
    let count = Count { told: identified.len() as u64, of: revealing.len() as u64 };
    let requests = counted(count.of, "request");
    let (answer, detail) = if identified.is_empty() {
        (facts.no_if_ended(), format!("none in {requests} that disclosed visited pages"))
    } else {
        (Answer::Yes, format!("in {} of {requests} that disclosed visited pages", count.told))
    };
    Conclusion {
        count: Some(count),
        evidence: evidence(identified.iter().map(|request| request.id)),
        ..conclusion(facts, question, TITLE, answer, detail)
    }
}

/// Answers whether identifiers sent in `before` returned in `after`. If visits are disclosed, only
/// the identifiers sent with them count, otherwise all do.
fn same(
    facts: &Facts<'_>,
    question: Question,
    title: &str,
    before: &[Phase],
    after: &[Phase],
) -> Conclusion {
    if !after.iter().any(|phase| facts.was_done(*phase)) {
        return conclusion(facts, question, title, Answer::CannotTell, facts.why_not_done(after));
    }
    let with_visits = facts.identifiers.iter().any(|history| history.with_visits);
    let relevant = facts.identifiers.iter().filter(|history| history.with_visits || !with_visits);
    let compared: Vec<(&IdentifierHistory, bool)> =
        relevant.filter_map(|history| Some((history, history.returned(before, after)?))).collect();
    let which = if with_visits { " sent with visited pages" } else { "" };
    if compared.is_empty() {
        let detail = if facts.identifiers.is_empty() {
            facts.doubt(&Phase::ALL).unwrap_or_else(|| "no identifier was seen".into())
        } else {
            format!("no identifier{which} was sent again, and no other value in its place")
        };
        return conclusion(facts, question, title, Answer::CannotTell, detail);
    }
    let returned: Vec<&IdentifierHistory> =
        compared.iter().filter(|(_, returned)| *returned).map(|(history, _)| *history).collect();
    let count = Count { told: returned.len() as u64, of: compared.len() as u64 };
    let all = counted(count.of, "identifier");
    let (answer, detail) = if returned.is_empty() {
        (facts.no_if_ended(), format!("0 of {all}{which} returned; other values took their place"))
    } else {
        (Answer::Yes, format!("{} of {all}{which} returned", count.told))
    };
    let proof = facts.disclosing.iter().filter(|request| {
        request.phase.is_some_and(|phase| after.contains(&phase))
            && returned.iter().any(|history| request.contains(&history.value))
    });
    Conclusion {
        count: Some(count),
        evidence: evidence(proof.map(|request| request.id)),
        ..conclusion(facts, question, title, answer, detail)
    }
}

/// Answers whether other applications sent the same identifiers.
fn in_others(facts: &Facts<'_>) -> Conclusion {
    const TITLE: &str = "The same in other applications";
    let question = Question::SameInOtherApplications;
    let shared: Vec<&IdentifierHistory> =
        facts.identifiers.iter().filter(|history| history.applications.len() > 1).collect();
    if let Some(first) = shared.first() {
        let detail = format!(
            "{} sent by more than one application: {}",
            counted(shared.len() as u64, "identifier"),
            list(first.applications.iter().map(String::as_str))
        );
        return conclusion(facts, question, TITLE, Answer::Yes, detail);
    }
    let (answer, detail) = if facts.applications < 2 {
        (Answer::CannotTell, "no other application was watched, or none sent anything".to_owned())
    } else {
        match facts.doubt(&Phase::ALL) {
            Some(doubt) => (Answer::CannotTell, doubt),
            None => {
                let applications = counted(facts.applications, "application");
                (Answer::No, format!("no identifier was sent by more than one of {applications}"))
            }
        }
    };
    conclusion(facts, question, TITLE, answer, detail)
}
