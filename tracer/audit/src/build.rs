//! Builds the report from what was observed.

mod experiments;
mod senders;

use std::collections::{BTreeMap, BTreeSet};

use super::{
    arrivals::nothing_arrived,
    canary::Extent,
    conclusions::{self, MIN_PERCENT_READ, MIN_PERCENT_UNDERSTOOD},
    facts::{Facts, RequestFacts, reading},
    gather::Observations,
    identifiers::IdentifierHistory,
    journal::{OpenMethod, Outcome, Stage, Visit},
    mentions::DecodeSteps,
    report::{
        DisclosureReport, IdentifierReport, Item, ItemKind, NotArrived, NotUnderstood, PhaseReport,
        REPORT_SCHEMA, Reading, RecipientReport, Report, VisitRecipient, VisitReport,
    },
    summary,
};
use tracer_core::{
    alert::{redact::Redactor, rfc3339},
    record::BootTime,
    wording::counted,
};

/// Number of disclosing requests in a report.
const MAX_DISCLOSURES: usize = 500;

/// Number of identifiers in a report.
const MAX_IDENTIFIERS: usize = 100;

/// Number of recipients in a report, and of servers that received unread bytes.
const MAX_RECIPIENTS: usize = 100;

impl Report {
    /// Answers the audit's questions.
    ///
    /// If `redactor` redacts, values that reveal something about a person or device become digests.
    /// The audit's own pages are never redacted.
    pub fn new(observations: &Observations, redactor: &Redactor) -> Self {
        let facts = Facts::new(observations);
        let journal = &observations.journal;
        let time = |at: BootTime| rfc3339(journal.clock.unix(at));
        let complete = journal.ended.is_some()
            && !journal.interrupted
            && journal
                .stages
                .iter()
                .all(|stage| matches!(stage.outcome, Outcome::Done | Outcome::Skipped { .. }));
        let unlisted = facts.disclosing.len().saturating_sub(MAX_DISCLOSURES) as u64;
        let disclosures: Vec<_> = facts
            .disclosing
            .iter()
            .take(MAX_DISCLOSURES)
            .map(|request| disclosure(&facts, request, redactor))
            .collect();
        let report = Self {
            schema: REPORT_SCHEMA,
            run: journal.run.clone(),
            tracer: env!("CARGO_PKG_VERSION").to_owned(),
            subject: journal.subject.clone(),
            began: Some(time(journal.began)),
            ended: journal.ended.map(time),
            complete,
            redacted: redactor.redacts(),
            summary: Vec::new(),
            verdicts: conclusions::all(&facts),
            phases: journal
                .stages
                .iter()
                .enumerate()
                .map(|(i, stage)| phase(&facts, i, stage))
                .collect(),
            recipients: recipients(&facts),
            identifiers: facts
                .identifiers
                .iter()
                .take(MAX_IDENTIFIERS)
                .map(|history| identifier(history, &facts, redactor))
                .collect(),
            experiments: experiments::all(&facts, redactor),
            senders: Vec::new(),
            lookups: observations.lookups.list(journal),
            lookups_uncounted: observations.lookups.uncounted(),
            disclosures,
            disclosures_uncounted: unlisted + observations.disclosing_dropped,
            reading: reading_report(observations),
            not_arrived: NotArrived::new(observations),
            notes: notes(observations),
        };
        report.summarized()
    }

    /// Groups the disclosures by sender, and sums the report up in sentences.
    #[must_use]
    pub fn summarized(self) -> Self {
        let senders = senders::all(&self.disclosures);
        let report = Self { senders, ..self };
        Self { summary: summary::sentences(&report), ..report }
    }
}

fn since(observations: &Observations, at: BootTime) -> u64 {
    at.since(observations.journal.began).as_millis().try_into().unwrap_or(u64::MAX)
}

fn phase(facts: &Facts<'_>, index: usize, stage: &Stage) -> PhaseReport {
    let observations = facts.observations;
    let own = || observations.own.iter().filter(|own| own.stage == Some(index));
    PhaseReport {
        phase: stage.phase,
        title: stage.phase.title().to_owned(),
        outcome: stage.outcome.clone(),
        began: Some(rfc3339(observations.journal.clock.unix(stage.began))),
        began_ms: (!matches!(stage.outcome, Outcome::Skipped { .. }))
            .then(|| since(observations, stage.began)),
        duration_ms: stage
            .ended
            .map(|end| end.since(stage.began).as_millis().try_into().unwrap_or(u64::MAX)),
        visits: visits(facts, stage),
        requests: own().count() as u64,
        page_requests: observations.page_requests.get(&index).copied().unwrap_or_default(),
        unread_bytes: own().map(|own| own.unread).sum(),
    }
}

/// Returns the pages of a stage, each once.
fn visits(facts: &Facts<'_>, stage: &Stage) -> Vec<VisitReport> {
    let mut visits: Vec<VisitReport> = Vec::new();
    for each in &stage.visits {
        match visits.iter_mut().find(|known| known.id == each.canary.id) {
            Some(known) => {
                known.again_ms.push(since(facts.observations, each.at));
                if each.served == Some(true) {
                    known.served = each.served;
                }
            }
            None => visits.push(visit(facts, each)),
        }
    }
    visits
}

fn visit(facts: &Facts<'_>, visit: &Visit) -> VisitReport {
    let mut learned: BTreeMap<&str, Extent> = BTreeMap::new();
    for each in &facts.disclosing {
        for item in &each.items {
            if item.kind == ItemKind::Visit
                && item.visit == Some(visit.canary.id)
                && let Some(scope) = item.scope
            {
                let known = learned.entry(&each.recipient).or_insert(scope);
                *known = (*known).max(scope);
            }
        }
    }
    let url = match visit.how {
        OpenMethod::Searched => format!("(search) {}", visit.canary.title),
        OpenMethod::Opened | OpenMethod::Typed => visit.canary.url.clone(),
    };
    VisitReport {
        id: visit.canary.id,
        url,
        at_ms: since(facts.observations, visit.at),
        again_ms: Vec::new(),
        served: visit.served,
        told: learned
            .into_iter()
            .map(|(recipient, scope)| VisitRecipient { recipient: recipient.to_owned(), scope })
            .collect(),
    }
}

fn recipients(facts: &Facts<'_>) -> Vec<RecipientReport> {
    let observations = facts.observations;
    let mut list: BTreeMap<&str, RecipientReport> = BTreeMap::new();
    for own in &observations.own {
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
        if let Some(phase) = observations.phase(own.stage)
            && !entry.phases.contains(&phase)
        {
            entry.phases.push(phase);
        }
    }
    for (name, entry) in &mut list {
        let items = || {
            let theirs = facts.disclosing.iter().filter(|request| request.recipient == *name);
            theirs.flat_map(|request| &request.items)
        };
        let visits: BTreeSet<u64> = items()
            .filter(|item| item.kind == ItemKind::Visit)
            .filter_map(|item| item.visit)
            .collect();
        entry.visits = visits.len() as u64;
        entry.scope = items().filter_map(|item| item.scope).max();
        let theirs = |history: &&IdentifierHistory| {
            history.places.iter().any(|(recipient, _)| recipient == name)
        };
        entry.identifiers = facts.identifiers.iter().filter(theirs).count() as u64;
    }
    let mut list: Vec<_> = list.into_values().collect();
    list.sort_by_key(|one| std::cmp::Reverse((one.visits, one.identifiers, one.requests)));
    list.truncate(MAX_RECIPIENTS);
    list
}

fn identifier(
    history: &IdentifierHistory,
    facts: &Facts<'_>,
    redactor: &Redactor,
) -> IdentifierReport {
    let recipients: BTreeSet<&String> =
        history.places.iter().map(|(recipient, _)| recipient).collect();
    IdentifierReport {
        value: redactor.value(&history.value),
        class: history.class.clone(),
        place: history
            .places
            .first()
            .map(|(to, chain)| format!("{to}: {chain}"))
            .unwrap_or_default(),
        recipients: recipients.into_iter().cloned().collect(),
        with_visits: history.with_visits,
        life: history.life,
        phases: history.phases.iter().map(|(phase, requests)| (*phase, *requests)).collect(),
        other_applications: history
            .applications
            .iter()
            .filter(|name| Some(&name[..]) != facts.browser)
            .cloned()
            .collect(),
    }
}

fn disclosure(
    facts: &Facts<'_>,
    disclosing: &RequestFacts<'_>,
    redactor: &Redactor,
) -> DisclosureReport {
    let decoded = &disclosing.request.decoded;
    let request = &decoded.sent.message;
    let chains = disclosing.items.iter().map(|item| &item.chain[..]);
    let mut decode_steps = DecodeSteps::new(request, chains, redactor.redacts());
    let items = disclosing.items.iter().map(|item| {
        let value = match item.kind {
            ItemKind::Visit | ItemKind::PageTitle => page_value(facts, item, redactor),
            ItemKind::Url => redactor.url(&item.value),
            ItemKind::UiEvent => item.value.clone(),
            ItemKind::Identifier
            | ItemKind::PersonalDetail
            | ItemKind::ContentItem
            | ItemKind::SearchTerms
            | ItemKind::TypedText
            | ItemKind::PageText => redactor.value(&item.value),
        };
        // Values that could not be read have no steps.
        let steps = match item.scope {
            Some(Extent::Derived | Extent::Length) => Vec::new(),
            _ => decode_steps.steps(&item.chain, &value),
        };
        Item { value, steps, ..item.clone() }
    });
    let items = items.collect();
    let extension = decoded.extension(&facts.observations.extensions);
    DisclosureReport {
        id: disclosing.id,
        phase: disclosing.phase,
        time: decoded.unix.map(rfc3339),
        at_ms: since(facts.observations, request.time),
        recipient: disclosing.recipient.clone(),
        who: disclosing.who.clone(),
        host: request.authority.clone().unwrap_or_else(|| disclosing.recipient.clone()),
        method: request.method.clone(),
        path: request.path.as_deref().map(|path| redactor.url(path)),
        sdk: decoded.sdk.clone(),
        sender: decoded.sender(),
        extension: decoded.extension_id().map(str::to_owned),
        extension_name: extension.map(|extension| extension.name.clone()),
        extension_addon: extension.and_then(|extension| extension.addon.clone()),
        application: decoded.application.name().to_owned(),
        severity: decoded.verdict().map(|verdict| verdict.severity),
        reason: decoded.verdict().map(|verdict| verdict.reason.to_owned()),
        complete: request.complete,
        unread_bytes: request.unread_bytes + decoded.opaque_bytes(),
        items,
    }
}

/// Returns the value of an item that mentions a page of the audit. In redacted reports, only the
/// page is shown, and not the text around it.
fn page_value(facts: &Facts<'_>, item: &Item, redactor: &Redactor) -> String {
    let page = facts.observations.canaries.iter().find(|canary| Some(canary.id) == item.visit);
    match (page, item.scope) {
        (Some(page), Some(Extent::Full)) if redactor.redacts() => page.url.clone(),
        (Some(page), Some(Extent::HostPath)) if redactor.redacts() => {
            page.url.split('?').next().unwrap_or_default().to_owned()
        }
        (Some(page), Some(Extent::Host)) if redactor.redacts() => page.host().to_owned(),
        (Some(page), None) if redactor.redacts() => page.title.clone(),
        _ => item.value.clone(),
    }
}

fn reading_report(observations: &Observations) -> Reading {
    let share = reading(observations);
    let mut unread: BTreeMap<String, u64> = BTreeMap::new();
    for (_, account) in observations.accounts.applications() {
        for server in account.servers.list() {
            *unread.entry(server.name.clone()).or_default() += server.unread_bytes;
        }
    }
    let mut unread: Vec<_> = unread.into_iter().filter(|(_, bytes)| *bytes > 0).collect();
    unread.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    unread.truncate(MAX_RECIPIENTS);
    Reading {
        percent_needed: MIN_PERCENT_READ,
        percent_read: share.percent,
        content_bytes: share.content,
        read_bytes: share.read,
        percent_understood: share.percent_understood,
        percent_understood_needed: MIN_PERCENT_UNDERSTOOD,
        understood_bytes: share.understood,
        not_understood: observations
            .opaque
            .iter()
            .take(MAX_RECIPIENTS)
            .map(|one| NotUnderstood {
                recipient: one.recipient.clone(),
                place: one.place.clone(),
                values: one.values,
                bytes: one.bytes,
            })
            .collect(),
        opaque_bytes: share.opaque,
        lost: observations.losses.since(&Default::default()).map(|(_, count, _)| count).sum(),
        unread,
    }
}

/// Returns losses and problems, one sentence each.
fn notes(observations: &Observations) -> Vec<String> {
    let journal = &observations.journal;
    let mut notes = Vec::new();
    if journal.interrupted {
        notes.push("The user ended the run before all phases were done.".to_owned());
    } else if journal.ended.is_none() {
        let at = journal.stages.iter().rfind(|stage| stage.outcome == Outcome::Running);
        let at =
            at.map_or(String::new(), |stage| format!(" in the phase \"{}\"", stage.phase.title()));
        notes.push(format!(
            "The run did not finish{at}; the report covers what was recorded until then."
        ));
    }
    for stage in &journal.stages {
        if let Outcome::Failed { reason } = &stage.outcome {
            notes.push(format!("The phase \"{}\" failed: {reason}", stage.phase.title()));
        }
        if matches!(stage.outcome, Outcome::Skipped { .. }) {
            continue;
        }
        let unserved = stage.visits.iter().filter(|visit| visit.served == Some(false)).count();
        if unserved > 0 {
            let pages = counted(unserved as u64, "page");
            notes.push(format!(
                "In the phase \"{}\", the browser did not request {pages}.",
                stage.phase.title()
            ));
        }
    }
    for (loss, count, _) in observations.losses.since(&Default::default()) {
        notes.push(format!("Not captured: {}", loss.explain(count)));
    }
    if let Some(reason) = nothing_arrived(observations) {
        let mut chars = reason.chars();
        let first = chars.next().map(|first| first.to_uppercase().to_string());
        notes.push(format!("{}{}.", first.unwrap_or_default(), chars.as_str()));
    }
    if observations.missing_bytes > 0 {
        notes.push(format!(
            "{} of requests sent and not captured.",
            counted(observations.missing_bytes, "byte")
        ));
    }
    notes
}
