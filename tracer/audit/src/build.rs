//! The report, from what was gathered.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    facts::{Facts, reading},
    gather::Gathered,
    journal::{How, Outcome, Stage, Visit},
    lifelines::Line,
    mentions::Ways,
    report::{
        Item, ItemKind, Lifeline, PhaseReport, REPORT_SCHEMA, Reading, RecipientReport, Report,
        Scope, Told, ToldTo, VisitReport,
    },
    verdicts::{self, PERCENT_NEEDED, plural},
};
use tracer_core::{
    alert::{redact::Redactor, rfc3339},
    record::BootTime,
};

/// Disclosing requests that are in a report.
const MAX_DISCLOSURES: usize = 500;

/// Identifiers that are in a report.
const MAX_LIFELINES: usize = 100;

/// Recipients, and servers of unread bytes, that are in a report.
const MAX_RECIPIENTS: usize = 100;

impl Report {
    /// Answers the audit's questions.
    ///
    /// With a redactor that redacts, values that tell about a person or device
    /// are digests. The audit's own pages are shown: nobody else ever opened
    /// them.
    pub fn of(gathered: &Gathered, redactor: &Redactor) -> Self {
        let facts = Facts::of(gathered);
        let journal = &gathered.journal;
        let time = |at: BootTime| rfc3339(journal.clock.unix(at));
        let complete = journal.ended.is_some()
            && !journal.interrupted
            && journal
                .stages
                .iter()
                .all(|stage| matches!(stage.outcome, Outcome::Done | Outcome::Skipped { .. }));
        let uncounted = facts.told.len().saturating_sub(MAX_DISCLOSURES) as u64;
        Self {
            schema: REPORT_SCHEMA,
            run: journal.run.clone(),
            tracer: env!("CARGO_PKG_VERSION").to_owned(),
            subject: journal.subject.clone(),
            began: Some(time(journal.began)),
            ended: journal.ended.map(time),
            complete,
            redacted: redactor.redacts(),
            verdicts: verdicts::all(&facts),
            phases: journal
                .stages
                .iter()
                .enumerate()
                .map(|(i, stage)| phase(&facts, i, stage))
                .collect(),
            recipients: recipients(&facts),
            identifiers: facts
                .lines
                .iter()
                .take(MAX_LIFELINES)
                .map(|line| lifeline(line, &facts, redactor))
                .collect(),
            disclosures: facts
                .told
                .iter()
                .take(MAX_DISCLOSURES)
                .map(|told| disclosure(&facts, told, redactor))
                .collect(),
            disclosures_uncounted: uncounted + gathered.kept_uncounted,
            reading: reading_report(gathered),
            notes: notes(gathered),
        }
    }
}

fn since(gathered: &Gathered, at: BootTime) -> u64 {
    at.since(gathered.journal.began).as_millis().try_into().unwrap_or(u64::MAX)
}

fn phase(facts: &Facts<'_>, index: usize, stage: &Stage) -> PhaseReport {
    let gathered = facts.gathered;
    let own = || gathered.own.iter().filter(|own| own.stage == Some(index));
    PhaseReport {
        phase: stage.phase,
        title: stage.phase.title().to_owned(),
        outcome: stage.outcome.clone(),
        began: Some(rfc3339(gathered.journal.clock.unix(stage.began))),
        began_ms: (!matches!(stage.outcome, Outcome::Skipped { .. }))
            .then(|| since(gathered, stage.began)),
        duration_ms: stage
            .ended
            .map(|end| end.since(stage.began).as_millis().try_into().unwrap_or(u64::MAX)),
        visits: stage.visits.iter().map(|each| visit(facts, each)).collect(),
        requests: own().count() as u64,
        page_requests: gathered.page_requests.get(&index).copied().unwrap_or_default(),
        unread_bytes: own().map(|own| own.unread).sum(),
    }
}

fn visit(facts: &Facts<'_>, visit: &Visit) -> VisitReport {
    let mut told: BTreeMap<&str, Scope> = BTreeMap::new();
    for each in &facts.told {
        for item in &each.items {
            if item.kind == ItemKind::Visit
                && item.visit == Some(visit.canary.id)
                && let Some(scope) = item.scope
            {
                let known = told.entry(&each.recipient).or_insert(scope);
                *known = (*known).max(scope);
            }
        }
    }
    let url = match visit.how {
        How::Searched => format!("(search) {}", visit.canary.title),
        How::Opened | How::Typed => visit.canary.url.clone(),
    };
    VisitReport {
        id: visit.canary.id,
        url,
        at_ms: since(facts.gathered, visit.at),
        served: visit.served,
        told: told
            .into_iter()
            .map(|(recipient, scope)| ToldTo { recipient: recipient.to_owned(), scope })
            .collect(),
    }
}

fn recipients(facts: &Facts<'_>) -> Vec<RecipientReport> {
    let gathered = facts.gathered;
    let mut list: BTreeMap<&str, RecipientReport> = BTreeMap::new();
    for own in &gathered.own {
        let entry = list.entry(&own.recipient).or_insert_with(|| RecipientReport {
            recipient: own.recipient.clone(),
            who: own.who.clone(),
            hosts: Vec::new(),
            requests: 0,
            visits: 0,
            scope: None,
            identifiers: 0,
            phases: Vec::new(),
            unread_bytes: 0,
        });
        entry.requests += 1;
        entry.unread_bytes += own.unread;
        if !entry.hosts.contains(&own.host) {
            entry.hosts.push(own.host.clone());
        }
        if let Some(phase) = gathered.phase(own.stage)
            && !entry.phases.contains(&phase)
        {
            entry.phases.push(phase);
        }
    }
    for (name, entry) in &mut list {
        let items = || {
            let theirs = facts.told.iter().filter(|told| told.recipient == *name);
            theirs.flat_map(|told| &told.items)
        };
        let visits: BTreeSet<u64> = items()
            .filter(|item| item.kind == ItemKind::Visit)
            .filter_map(|item| item.visit)
            .collect();
        entry.visits = visits.len() as u64;
        entry.scope = items().filter_map(|item| item.scope).max();
        let theirs = |line: &&Line| line.places.iter().any(|(recipient, _)| recipient == name);
        entry.identifiers = facts.lines.iter().filter(theirs).count() as u64;
    }
    let mut list: Vec<_> = list.into_values().collect();
    list.sort_by_key(|one| std::cmp::Reverse((one.visits, one.identifiers, one.requests)));
    list.truncate(MAX_RECIPIENTS);
    list
}

fn lifeline(line: &Line, facts: &Facts<'_>, redactor: &Redactor) -> Lifeline {
    let recipients: BTreeSet<&String> =
        line.places.iter().map(|(recipient, _)| recipient).collect();
    Lifeline {
        value: redactor.value(&line.value),
        class: line.class.clone(),
        place: line.places.first().map(|(to, chain)| format!("{to}: {chain}")).unwrap_or_default(),
        recipients: recipients.into_iter().cloned().collect(),
        with_visits: line.with_visits,
        life: line.life,
        phases: line.phases.iter().map(|(phase, requests)| (*phase, *requests)).collect(),
        other_applications: line
            .applications
            .iter()
            .filter(|name| Some(&name[..]) != facts.browser)
            .cloned()
            .collect(),
    }
}

fn disclosure(facts: &Facts<'_>, told: &super::facts::ToldFacts<'_>, redactor: &Redactor) -> Told {
    let decoded = &told.kept.decoded;
    let request = &decoded.sent.message;
    let chains = told.items.iter().map(|item| &item.chain[..]);
    let mut ways = Ways::of(request, chains, redactor.redacts());
    let items = told.items.iter().map(|item| {
        let value = match item.kind {
            ItemKind::Visit | ItemKind::PageTitle => of_visit(facts, item, redactor),
            ItemKind::Url => redactor.url(&item.value),
            ItemKind::UiEvent => item.value.clone(),
            ItemKind::Identifier
            | ItemKind::PersonalDetail
            | ItemKind::ContentItem
            | ItemKind::SearchTerms
            | ItemKind::TypedText
            | ItemKind::PageText => redactor.value(&item.value),
        };
        let steps = ways.steps(&item.chain, &value);
        Item { value, steps, ..item.clone() }
    });
    let items = items.collect();
    Told {
        id: told.id,
        phase: told.phase,
        time: decoded.unix.map(rfc3339),
        at_ms: since(facts.gathered, request.time),
        recipient: told.recipient.clone(),
        who: told.who.clone(),
        host: request.authority.clone().unwrap_or_else(|| told.recipient.clone()),
        method: request.method.clone(),
        path: request.path.as_deref().map(|path| redactor.url(path)),
        sdk: decoded.findings.sdk.clone(),
        sender: decoded.sender,
        application: decoded.application.name().to_owned(),
        severity: decoded.verdict.as_ref().map(|verdict| verdict.severity),
        reason: decoded.verdict.as_ref().map(|verdict| verdict.reason.to_owned()),
        complete: request.complete,
        unread_bytes: request.unread_bytes + decoded.findings.report.unread(),
        items,
    }
}

/// What an item tells of one of the audit's pages. What stands beside that in
/// the same value is not the audit's, and is left out where values are redacted.
fn of_visit(facts: &Facts<'_>, item: &Item, redactor: &Redactor) -> String {
    let page = facts.gathered.canaries.iter().find(|canary| Some(canary.id) == item.visit);
    match (page, item.scope) {
        (Some(page), Some(Scope::Full)) if redactor.redacts() => page.url.clone(),
        (Some(page), Some(Scope::HostPath)) if redactor.redacts() => {
            page.url.split('?').next().unwrap_or_default().to_owned()
        }
        (Some(page), Some(Scope::Host)) if redactor.redacts() => page.host().to_owned(),
        (Some(page), None) if redactor.redacts() => page.title.clone(),
        _ => item.value.clone(),
    }
}

fn reading_report(gathered: &Gathered) -> Reading {
    let share = reading(gathered);
    let mut unread: BTreeMap<String, u64> = BTreeMap::new();
    for (_, account) in gathered.accounts.applications() {
        for server in account.servers.list() {
            *unread.entry(server.name.clone()).or_default() += server.unread_bytes;
        }
    }
    let mut unread: Vec<_> = unread.into_iter().filter(|(_, bytes)| *bytes > 0).collect();
    unread.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    unread.truncate(MAX_RECIPIENTS);
    Reading {
        percent_needed: PERCENT_NEEDED,
        percent_read: share.percent,
        content_bytes: share.content,
        read_bytes: share.read,
        opaque_bytes: share.opaque,
        lost: gathered.losses.since(&Default::default()).map(|(_, count, _)| count).sum(),
        unread,
    }
}

/// What a reader has to know beside the answers.
fn notes(gathered: &Gathered) -> Vec<String> {
    let journal = &gathered.journal;
    let mut notes = Vec::new();
    if journal.interrupted {
        notes.push("The run was ended by its user before all phases were done.".to_owned());
    } else if journal.ended.is_none() {
        let at = journal.stages.iter().rfind(|stage| stage.outcome == Outcome::Running);
        let at =
            at.map_or(String::new(), |stage| format!(" in the phase \"{}\"", stage.phase.title()));
        notes.push(format!(
            "The run has not come to its end{at}: this is a report of what was gathered until then."
        ));
    }
    for stage in &journal.stages {
        if let Outcome::Failed { reason } = &stage.outcome {
            notes.push(format!("The phase \"{}\" failed: {reason}", stage.phase.title()));
        }
        let unserved = stage.visits.iter().filter(|visit| visit.served == Some(false)).count();
        if unserved > 0 {
            let pages = plural(unserved as u64, "page");
            notes.push(format!(
                "In the phase \"{}\", {pages} did not reach the audit's server.",
                stage.phase.title()
            ));
        }
    }
    for (loss, count, _) in gathered.losses.since(&Default::default()) {
        notes.push(format!("Not captured: {count} {}", loss.explain()));
    }
    if gathered.missing_bytes > 0 {
        notes.push(format!(
            "{} bytes of requests were sent and are not known.",
            gathered.missing_bytes
        ));
    }
    notes
}
