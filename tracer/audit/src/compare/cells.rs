//! The result of one report for one criterion.

use std::collections::BTreeMap;

use super::{Cell, Measure};
use crate::report::{Answer, ItemKind, Question, Report};
use tracer_core::wording::counted;

/// Number of recipients, classes or encodings shown for one run.
const MAX_NAMED: usize = 4;

/// Class of account numbers in `rules/identifiers.toml`.
const ACCOUNT: &str = "account_id";

pub(super) fn cell(report: &Report, measure: Measure) -> Cell {
    let verdict = |question| verdict(report, question);
    match measure {
        Measure::Urls => urls(report),
        Measure::Recipients => recipients(report),
        Measure::Identifier => identifier(report),
        Measure::SurvivesRestart => verdict(Question::SameAfterRestart),
        Measure::SurvivesClearing => verdict(Question::SameAfterClearing),
        Measure::SurvivesReinstall => verdict(Question::SameAfterReinstall),
        Measure::PrivateMode => verdict(Question::UrlsInPrivateMode),
        Measure::SameInPrivateMode => verdict(Question::SameInPrivateMode),
        Measure::Account => account(report),
        Measure::Encoding => encoding(report),
        Measure::BeforeConsent => verdict(Question::BeforeConsent),
        Measure::Read => read(report),
    }
}

/// Returns an answer with its numbers.
fn verdict(report: &Report, question: Question) -> Cell {
    let Some(verdict) = report.verdict(question) else {
        return Cell { answer: None, lines: vec!["not asked".into()] };
    };
    let lines = verdict.count.map(|count| format!("{} of {}", count.told, count.of));
    Cell { answer: Some(verdict.answer), lines: lines.into_iter().collect() }
}

fn urls(report: &Report) -> Cell {
    let mut cell = verdict(report, Question::Urls);
    let scopes = report.verdict(Question::Urls).map_or(&[][..], |verdict| &verdict.scopes);
    cell.lines.extend(scopes.iter().map(|of| format!("{}: {}", of.scope.label(), of.visits)));
    cell
}

fn recipients(report: &Report) -> Cell {
    let told = report.recipients.iter().filter(|recipient| recipient.visits > 0);
    let lines = told.map(|to| {
        let scope = to.scope.map(|scope| format!(", {}", scope.label())).unwrap_or_default();
        let pages = if to.visits == 1 { "page" } else { "pages" };
        format!("{}, {}: {} {pages}{scope}", to.recipient, to.who.describe(), to.visits)
    });
    named(lines.collect())
}

fn identifier(report: &Report) -> Cell {
    let answer = verdict(report, Question::Identifier).answer;
    let with_visits = report.identifiers.iter().filter(|identifier| identifier.with_visits);
    let mut classes: Vec<String> = with_visits
        .map(|identifier| {
            let class = identifier.class.as_deref().unwrap_or("unknown class");
            format!("{class}, {}", identifier.life.label())
        })
        .collect();
    classes.sort();
    classes.dedup();
    Cell { answer, ..named(classes) }
}

/// Returns whether an account number was sent with a visited page. Audits do not sign in, so its
/// absence proves nothing.
fn account(report: &Report) -> Cell {
    let linked = report.disclosures.iter().any(|told| {
        let about_visits = told.items.iter().any(|item| item.kind == ItemKind::Visit);
        about_visits && told.items.iter().any(|item| item.class.as_deref() == Some(ACCOUNT))
    });
    if linked {
        Cell { answer: Some(Answer::Yes), lines: vec![] }
    } else {
        Cell { answer: Some(Answer::CannotTell), lines: vec!["no account number was seen".into()] }
    }
}

fn encoding(report: &Report) -> Cell {
    let protection = report.verdict(Question::Urls).and_then(|verdict| verdict.protection);
    let mut chains: BTreeMap<&str, u64> = BTreeMap::new();
    let items = report.disclosures.iter().flat_map(|told| &told.items);
    for item in items.filter(|item| item.kind == ItemKind::Visit) {
        *chains.entry(&item.chain).or_default() += 1;
    }
    let mut chains: Vec<_> = chains.into_iter().collect();
    // The sort is stable, so equal counts stay in alphabetical order.
    chains.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let mut cell = named(chains.into_iter().map(|(chain, _)| chain.to_owned()).collect());
    if let Some(protection) = protection {
        cell.lines.insert(0, format!("protection: {}", protection.label()));
    }
    cell
}

fn read(report: &Report) -> Cell {
    let reading = &report.reading;
    let share = match reading.percent_read {
        Some(percent) => format!("{percent} % (a “no” requires {} %)", reading.percent_needed),
        None => "nothing was sent".into(),
    };
    let lost = (reading.lost > 0).then(|| format!("lost: {}", counted(reading.lost, "send")));
    Cell { answer: None, lines: [share].into_iter().chain(lost).collect() }
}

/// Returns the first few lines, and the number of the others.
fn named(mut lines: Vec<String>) -> Cell {
    if lines.len() > MAX_NAMED {
        let more = lines.len() - MAX_NAMED;
        lines.truncate(MAX_NAMED);
        lines.push(format!("and {more} more"));
    }
    Cell { answer: None, lines }
}
