//! The answers about the URLs of visited pages.

use std::collections::{BTreeMap, BTreeSet};

use super::{evidence, list, plural, verdict};
use crate::{
    facts::{Facts, ToldFacts, VisitFacts},
    phase::Phase,
    report::{Answer, Count, Item, ItemKind, Protection, Question, Scope, ScopeCount, Verdict},
};
use tracer_core::judge::Recipient;

/// Phases of pages in normal windows, but for those of consent: a browser that
/// waits for it is asked about what it does with it.
const NORMAL: [Phase; 5] =
    [Phase::Pages, Phase::Typed, Phase::Restart, Phase::Cleared, Phase::Reinstalled];

const PRIVATE: [Phase; 2] = [Phase::Private, Phase::PrivateRestart];

pub(super) fn all(facts: &Facts<'_>) -> Vec<Verdict> {
    let urls = |question, title, phases: &[Phase]| told(facts, question, title, phases, &|_| true);
    let mut verdicts = vec![
        urls(Question::Urls, "URLs of visited pages sent", &NORMAL),
        urls(Question::UrlsInPrivateMode, "In private mode, too", &PRIVATE),
        urls(Question::UrlsBeforeConsent, "Before consent", &[Phase::Fresh]),
        urls(Question::UrlsAfterDeclining, "After consent was declined", &[Phase::Declined]),
    ];
    let maker = |who: &Recipient| matches!(who, Recipient::Maker { .. });
    verdicts.push(told(facts, Question::ToMaker, "To the browser's maker", &Phase::ALL, &maker));
    let others = |who: &Recipient| !maker(who);
    verdicts.push(told(facts, Question::ToThirdParties, "To others", &Phase::ALL, &others));
    verdicts
}

/// Whether visits of these phases were told of to such recipients.
fn told(
    facts: &Facts<'_>,
    question: Question,
    title: &str,
    phases: &[Phase],
    wanted: &dyn Fn(&Recipient) -> bool,
) -> Verdict {
    let visits: Vec<&VisitFacts> = facts.made(phases).collect();
    if visits.is_empty() {
        let why = facts.why_left_out(phases);
        return verdict(facts, question, title, Answer::CannotTell, why);
    }
    let of = visits.len() as u64;
    // Consent allows what is sent after it, whenever the page was visited.
    let within = |told: &ToldFacts<'_>| told.phase.is_some_and(|phase| phases.contains(&phase));
    let ids: BTreeSet<u64> = visits.iter().map(|visit| visit.id).collect();
    let told: Vec<_> = facts
        .told
        .iter()
        .filter(|told| wanted(&told.who) && (!question.is_of_consent() || within(told)))
        .flat_map(|told| told.items.iter().map(move |item| (told, item)))
        .filter(|(_, item)| {
            item.kind == ItemKind::Visit && item.visit.is_some_and(|visit| ids.contains(&visit))
        })
        .collect();
    let mut most: BTreeMap<u64, Scope> = BTreeMap::new();
    for (_, item) in &told {
        if let (Some(visit), Some(scope)) = (item.visit, item.scope) {
            let known = most.entry(visit).or_insert(scope);
            *known = (*known).max(scope);
        }
    }
    if most.is_empty() {
        let read = visits.iter().filter(|visit| visit.read).count();
        let pages = format!(
            "none of {}; {read} of the browser's own requests for them were read",
            plural(of, "visited page"),
        );
        let (answer, detail) = match facts.doubt(phases) {
            Some(doubt) => (Answer::CannotTell, format!("{pages}; {doubt}")),
            None => (Answer::No, pages),
        };
        return Verdict {
            count: Some(Count { told: 0, of }),
            ..verdict(facts, question, title, answer, detail)
        };
    }
    let mut scopes: BTreeMap<Scope, u64> = BTreeMap::new();
    most.values().for_each(|scope| *scopes.entry(*scope).or_default() += 1);
    let scopes: Vec<ScopeCount> =
        scopes.into_iter().rev().map(|(scope, visits)| ScopeCount { scope, visits }).collect();
    let parts: Vec<String> =
        scopes.iter().map(|count| format!("{} of {}", count.scope.label(), count.visits)).collect();
    let recipients: BTreeSet<&str> = told.iter().map(|(told, _)| &told.recipient[..]).collect();
    let count = Count { told: most.len() as u64, of };
    let detail = format!(
        "{} of {} ({}) to {}",
        count.told,
        plural(of, "visited page"),
        parts.join(", "),
        list(recipients)
    );
    let protection = told.iter().map(|(_, item)| protection(item)).min();
    Verdict {
        count: Some(count),
        scopes,
        protection,
        evidence: evidence(told.iter().map(|(told, _)| told.id)),
        ..verdict(facts, question, title, Answer::Yes, detail)
    }
}

/// What protects a value that was read.
fn protection(item: &Item) -> Protection {
    if item.scope == Some(Scope::Hash) {
        return Protection::Hashed;
    }
    // Query and form fields have to be percent-encoded: that hides nothing.
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

/// Whether history stays on the device, as far as requests tell.
pub(super) fn processed_locally(facts: &Facts<'_>) -> Verdict {
    const TITLE: &str = "History processed on the device";
    let told = facts.told.iter().flat_map(|told| told.items.iter().map(move |item| (told, item)));
    let told: Vec<u64> =
        told.filter(|(_, item)| item.kind == ItemKind::Visit).map(|(told, _)| told.id).collect();
    if !told.is_empty() {
        let detail = "what was visited was sent".to_owned();
        return Verdict {
            evidence: evidence(told),
            ..verdict(facts, Question::ProcessedLocally, TITLE, Answer::No, detail)
        };
    }
    let visits = facts.made(&Phase::ALL).count() as u64;
    let requests: u64 = Phase::ALL.iter().map(|phase| facts.requests(*phase)).sum();
    let detail = format!(
        "{} of the browser's own were read, over {}, and none names one",
        plural(requests, "request"),
        plural(visits, "visited page")
    );
    let doubt = facts.doubt(&Phase::ALL).or_else(|| {
        let none = if visits == 0 { "no page was visited" } else { "it sent nothing of its own" };
        (visits == 0 || requests == 0).then(|| none.into())
    });
    let (answer, detail) = match doubt {
        Some(doubt) => (Answer::CannotTell, format!("{doubt}; {detail}")),
        None => (Answer::Yes, detail),
    };
    verdict(facts, Question::ProcessedLocally, TITLE, answer, detail)
}
