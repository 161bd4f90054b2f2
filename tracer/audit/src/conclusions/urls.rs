//! Answers the questions about the URLs of visited pages.

use std::collections::{BTreeMap, BTreeSet};

use super::{conclusion, evidence, list};
use crate::{
    canary::Extent,
    facts::{Facts, RequestFacts, VisitFacts},
    phase::Phase,
    report::{Answer, Conclusion, Count, ExtentCount, Item, ItemKind, Protection, Question},
};
use tracer_core::finding::Recipient;
use tracer_core::wording::counted;

/// Phases with pages in normal windows. Those about consent are not among them: a browser may wait
/// for consent before it sends anything.
const NORMAL: [Phase; 5] =
    [Phase::Pages, Phase::Typed, Phase::Restart, Phase::Cleared, Phase::Reinstalled];

const PRIVATE: [Phase; 2] = [Phase::Private, Phase::PrivateRestart];

pub(super) fn all(facts: &Facts<'_>) -> Vec<Conclusion> {
    let urls =
        |question, title, phases: &[Phase]| disclosed(facts, question, title, phases, &|_| true);
    let mut conclusions = vec![
        urls(Question::Urls, "URLs of visited pages sent", &NORMAL),
        urls(Question::UrlsInPrivateMode, "In private mode", &PRIVATE),
        urls(Question::UrlsBeforeConsent, "Before consent", &[Phase::Fresh]),
        urls(Question::UrlsAfterDeclining, "After consent was declined", &[Phase::Declined]),
    ];
    let maker = |who: &Recipient| matches!(who, Recipient::Maker { .. });
    let title = "To the browser's maker";
    conclusions.push(disclosed(facts, Question::ToMaker, title, &Phase::ALL, &maker));
    let others = |who: &Recipient| !maker(who);
    conclusions.push(disclosed(facts, Question::ToThirdParties, "To others", &Phase::ALL, &others));
    conclusions
}

/// Answers whether visits of these phases were disclosed to recipients that `wanted` accepts.
fn disclosed(
    facts: &Facts<'_>,
    question: Question,
    title: &str,
    phases: &[Phase],
    wanted: &dyn Fn(&Recipient) -> bool,
) -> Conclusion {
    let visits: Vec<&VisitFacts> = facts.made(phases).collect();
    if visits.is_empty() {
        let why = facts.why_not_done(phases);
        return conclusion(facts, question, title, Answer::CannotTell, why);
    }
    let mut of = visits.len() as u64;
    // Consent allows everything that is sent after it, whenever the page was visited.
    let within =
        |request: &RequestFacts<'_>| request.phase.is_some_and(|phase| phases.contains(&phase));
    let of_pages = |ids: &BTreeSet<u64>| -> Vec<(&RequestFacts<'_>, &Item)> {
        let requests = facts.disclosing.iter();
        requests
            .filter(|one| wanted(&one.who) && (!question.is_about_consent() || within(one)))
            .flat_map(|request| request.items.iter().map(move |item| (request, item)))
            .filter(|(_, item)| {
                item.kind == ItemKind::Visit && item.visit.is_some_and(|visit| ids.contains(&visit))
            })
            .collect()
    };
    let mut disclosing = of_pages(&visits.iter().map(|visit| visit.id).collect());
    let mut which = "";
    if disclosing.is_empty() && !question.is_about_consent() {
        // The pages of the experiment are visited more often, and may be the only ones whose reports
        // are recognised.
        let ids = facts.experiment_pages(phases);
        let in_experiment = of_pages(&ids);
        if !in_experiment.is_empty() {
            (disclosing, of, which) = (in_experiment, ids.len() as u64, " of the experiment");
        }
    }
    let derived = match question.is_about_consent() {
        true => None,
        false => facts.derived(phases, wanted),
    };
    let mut most: BTreeMap<u64, Extent> = BTreeMap::new();
    for (_, item) in &disclosing {
        if let (Some(visit), Some(scope)) = (item.visit, item.scope) {
            let known = most.entry(visit).or_insert(scope);
            *known = (*known).max(scope);
        }
    }
    if most.is_empty()
        && let Some(derived) = derived
    {
        let detail = format!("{}, to {}", derived.detail, list(derived.recipients));
        return conclusion(facts, question, title, Answer::Yes, detail);
    }
    if most.is_empty() {
        let read = visits.iter().filter(|visit| visit.read).count();
        let none = format!(
            "0 of {}; tracer read the browser's requests for {read} of them",
            counted(of, "visited page"),
        );
        let experiment = || {
            if question.is_about_consent() {
                // What is sent after consent says nothing about the time before it.
                return facts.no_experiment(phases).or_else(|| facts.unreadable_doubt(phases));
            }
            facts.experiment_doubt(phases, wanted)
        };
        let (answer, detail) = match facts.doubt(phases).or_else(experiment) {
            Some(doubt) => (Answer::CannotTell, format!("{none}; {doubt}")),
            None => (Answer::No, none),
        };
        return Conclusion {
            count: Some(Count { told: 0, of }),
            ..conclusion(facts, question, title, answer, detail)
        };
    }
    let mut scopes: BTreeMap<Extent, u64> = BTreeMap::new();
    most.values().for_each(|scope| *scopes.entry(*scope).or_default() += 1);
    let scopes: Vec<ExtentCount> =
        scopes.into_iter().rev().map(|(scope, visits)| ExtentCount { scope, visits }).collect();
    let parts: Vec<String> =
        scopes.iter().map(|count| format!("{} of {}", count.scope.label(), count.visits)).collect();
    let recipients: BTreeSet<&str> =
        disclosing.iter().map(|(request, _)| &request.recipient[..]).collect();
    let count = Count { told: most.len() as u64, of };
    let derived = match derived.filter(|_| most.values().all(|scope| *scope <= Extent::Derived)) {
        Some(derived) => format!("; {}", derived.detail),
        None => String::new(),
    };
    let detail = format!(
        "{} of {}{which} ({}) to {}{derived}",
        count.told,
        counted(of, "visited page"),
        parts.join(", "),
        list(recipients)
    );
    let protection = disclosing.iter().map(|(_, item)| protection(item)).min();
    Conclusion {
        count: Some(count),
        scopes,
        protection,
        evidence: evidence(disclosing.iter().map(|(request, _)| request.id)),
        ..conclusion(facts, question, title, Answer::Yes, detail)
    }
}

/// Returns the protection of a value that was read.
fn protection(item: &Item) -> Protection {
    match item.scope {
        Some(Extent::Hash) => return Protection::Hashed,
        Some(Extent::Derived | Extent::Length) => return Protection::Encrypted,
        _ => {}
    }
    // Query and form fields have to be percent-encoded, so that is no protection.
    let plain = |step: &str| {
        let word = step.split([':', '.', '[']).next().unwrap_or(step);
        matches!(
            word,
            "path"
                | "query"
                | "header"
                | "cookie"
                | "body"
                | "chunked"
                | "form"
                | "json"
                | "part"
                | "percent"
                | "text"
                | "line"
                | "escaped"
                | "entities"
        )
    };
    if item.chain.split(" > ").all(plain) { Protection::None } else { Protection::EncodingOnly }
}

/// Answers whether the history stays on the device, as far as requests show it.
pub(super) fn processed_locally(facts: &Facts<'_>) -> Conclusion {
    const TITLE: &str = "History processed on the device";
    let revealing = facts
        .disclosing
        .iter()
        .filter(|request| request.items.iter().any(|item| item.kind == ItemKind::Visit));
    let revealing: Vec<u64> = revealing.map(|request| request.id).collect();
    if !revealing.is_empty() {
        let detail = "visited pages were sent".to_owned();
        return Conclusion {
            evidence: evidence(revealing),
            ..conclusion(facts, Question::ProcessedLocally, TITLE, Answer::No, detail)
        };
    }
    if let Some(derived) = facts.derived(&Phase::ALL, &|_| true) {
        let detail = format!("{}, was sent to {}", derived.detail, list(derived.recipients));
        return conclusion(facts, Question::ProcessedLocally, TITLE, Answer::No, detail);
    }
    let visits = facts.made(&Phase::ALL).count() as u64;
    let requests: u64 = Phase::ALL.iter().map(|phase| facts.requests(*phase)).sum();
    let nothing = match (visits, requests) {
        (0, _) => Some("no page was visited"),
        (_, 0) => Some("the browser sent no requests of its own"),
        _ => None,
    };
    let read = format!(
        "tracer read {} of the browser's own while it opened {}; none mentions a page",
        counted(requests, "request"),
        counted(visits, "page")
    );
    let doubt = facts.doubt(&Phase::ALL).or_else(|| facts.experiment_doubt(&Phase::ALL, &|_| true));
    let (answer, detail) = match (doubt, nothing) {
        (Some(doubt), _) => (Answer::CannotTell, format!("{doubt}; {read}")),
        (None, Some(nothing)) => (Answer::CannotTell, nothing.to_owned()),
        (None, None) => (Answer::Yes, read),
    };
    conclusion(facts, Question::ProcessedLocally, TITLE, answer, detail)
}
