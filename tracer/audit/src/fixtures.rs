//! A report for tests, with one of everything.

use super::{
    canary::Extent,
    differential::Factor,
    journal::{Outcome, Subject},
    phase::Phase,
    report::{
        Answer, Conclusion, Count, DecodeStep, DependenceReport, DisclosureReport,
        ExperimentReport, ExtentCount, IdentifierReport, Item, ItemKind, LookupReport, NotArrived,
        NotUnderstood, Persistence, PhaseReport, Protection, Question, REPORT_SCHEMA, Reading,
        RecipientReport, Report, SenderReport, UnfinishedReport, UnreachedReport, VisitRecipient,
        VisitReport, WithVisitsReport,
    },
};
use tracer_core::account::Attempt;
use tracer_core::finding::{Recipient, Sender, Severity, UrlRole};

const URL: &str = "https://news-lokifa.audit.test:8443/tarumi-benoko?q=domire-kapolu";
const COLLECTOR: &str = "collector.example";

/// The report on a browser that reported the only page it opened.
pub(crate) fn report() -> Report {
    Report {
        schema: REPORT_SCHEMA,
        run: "5f2a91c07b".into(),
        tracer: "0.1.0".into(),
        subject: Subject {
            name: "Tattler".into(),
            version: Some("1.2".into()),
            browser: Some("tattler".into()),
            watched: vec!["--exe /opt/tattler".into()],
            scenario: "chromium".into(),
            system: "Linux 6.1 x86_64".into(),
        },
        began: Some("2026-11-22T10:00:00Z".into()),
        ended: Some("2026-11-22T10:01:00Z".into()),
        complete: true,
        redacted: true,
        summary: vec!["Tattler 1.2 reported 1 of 1 page that it opened.".into()],
        verdicts: vec![urls(), verdict(Question::SameAfterRestart, Answer::CannotTell)],
        phases: vec![phase()],
        recipients: vec![RecipientReport {
            recipient: COLLECTOR.into(),
            who: maker(),
            hosts: vec!["t.collector.example".into()],
            requests: 3,
            visits: 1,
            scope: Some(Extent::Full),
            identifiers: 1,
            phases: vec![Phase::Pages],
            unread_bytes: 0,
        }],
        senders: vec![SenderReport {
            sender: Sender::Browser,
            name: "the browser itself".into(),
            application: "tattler".into(),
            requests: 1,
            visits: 1,
            scope: Some(Extent::Full),
            identifiers: 0,
            recipients: vec![COLLECTOR.into()],
        }],
        lookups: vec![LookupReport {
            name: "t.collector.example".into(),
            queries: 2,
            phases: vec![Phase::Pages],
        }],
        lookups_uncounted: 0,
        identifiers: vec![IdentifierReport {
            value: "‹0badcafe›".into(),
            class: Some("uuid".into()),
            place: "collector.example body > json.uuid".into(),
            recipients: vec![COLLECTOR.into()],
            with_visits: true,
            life: Persistence::Installation,
            phases: vec![(Phase::Pages, 1)],
            other_applications: vec!["org.example.other".into()],
        }],
        experiments: vec![experiment()],
        disclosures: vec![told()],
        disclosures_uncounted: 0,
        reading: Reading {
            percent_needed: 95,
            percent_read: Some(98),
            content_bytes: 10_000,
            read_bytes: 9_800,
            percent_understood: Some(96),
            percent_understood_needed: 75,
            understood_bytes: 9_600,
            not_understood: vec![NotUnderstood {
                recipient: COLLECTOR.into(),
                place: "body > json.nonce".into(),
                values: 5,
                bytes: 200,
            }],
            opaque_bytes: 10,
            lost: 0,
            unread: vec![("sync.example".into(), 200)],
        },
        not_arrived: NotArrived {
            outside_connections: 4,
            hosts: vec![UnreachedReport {
                host: "lost.collector.example".into(),
                attempt: Attempt::LookedUp,
                lookups: 3,
                connections: 0,
                first: "2026-11-22T10:00:03Z".into(),
                last: "2026-11-22T10:00:09Z".into(),
                phases: vec![Phase::Pages],
            }],
            requests: vec![UnfinishedReport {
                time: "2026-11-22T10:00:04Z".into(),
                phase: Some(Phase::Pages),
                host: Some("slow.collector.example".into()),
                method: Some("POST".into()),
            }],
            unlisted: 0,
        },
        notes: vec![],
    }
}

/// Creates an answer without numbers.
pub(crate) fn verdict(question: Question, answer: Answer) -> Conclusion {
    Conclusion {
        question,
        title: format!("{question:?}?"),
        answer,
        detail: "Because.".into(),
        count: None,
        scopes: vec![],
        protection: None,
        evidence: vec![],
        percent_read: Some(98),
    }
}

fn urls() -> Conclusion {
    Conclusion {
        count: Some(Count { told: 1, of: 1 }),
        scopes: vec![ExtentCount { scope: Extent::Full, visits: 1 }],
        protection: Some(Protection::EncodingOnly),
        evidence: vec![12],
        ..verdict(Question::Urls, Answer::Yes)
    }
}

fn phase() -> PhaseReport {
    PhaseReport {
        phase: Phase::Pages,
        title: Phase::Pages.title().into(),
        outcome: Outcome::Done,
        began: Some("2026-11-22T10:00:01Z".into()),
        began_ms: Some(1000),
        duration_ms: Some(20_000),
        visits: vec![VisitReport {
            id: 1,
            url: URL.into(),
            at_ms: 2000,
            again_ms: vec![],
            served: Some(true),
            told: vec![VisitRecipient { recipient: COLLECTOR.into(), scope: Extent::Full }],
        }],
        requests: 3,
        page_requests: 1,
        unread_bytes: 200,
    }
}

fn experiment() -> ExperimentReport {
    ExperimentReport {
        phase: Phase::Experiment,
        visits: 32,
        idle: 10,
        places: 40,
        tests: 25,
        error_rate: 0.01,
        dropped: 0,
        dependences: vec![DependenceReport {
            recipient: COLLECTOR.into(),
            place: "body > gzip > json.url".into(),
            depends_on: vec![Factor::Host, Factor::Path, Factor::Query],
            readable: true,
            sent: "during the visit".into(),
            p: 0.000_01,
            pages: 16,
            requests: 32,
            identifiers: vec!["‹0badcafe›".into()],
            evidence: vec![12],
        }],
        dependences_uncounted: 0,
        with_visits: vec![WithVisitsReport {
            recipient: COLLECTOR.into(),
            what: "request".into(),
            visits: Count { told: 32, of: 32 },
            idle: Count { told: 0, of: 10 },
            p: 0.000_01,
        }],
    }
}

fn told() -> DisclosureReport {
    let step = |name: &str, bytes, excerpt: &str| DecodeStep {
        name: name.into(),
        bytes: Some(bytes),
        excerpt: (!excerpt.is_empty()).then(|| excerpt.into()),
    };
    DisclosureReport {
        id: 12,
        phase: Some(Phase::Pages),
        time: Some("2026-11-22T10:00:03Z".into()),
        at_ms: 3000,
        recipient: COLLECTOR.into(),
        who: maker(),
        host: "t.collector.example".into(),
        method: Some("POST".into()),
        path: Some("/v1".into()),
        sdk: None,
        sender: Sender::Browser,
        extension: None,
        extension_name: None,
        extension_addon: None,
        application: "tattler".into(),
        severity: Some(Severity::High),
        reason: Some("the browser sent a visited URL to its maker".into()),
        complete: true,
        unread_bytes: 0,
        items: vec![Item {
            kind: ItemKind::Visit,
            class: None,
            value: URL.into(),
            visit: Some(1),
            scope: Some(Extent::Full),
            role: Some(UrlRole::Page),
            chain: "body > gzip > json.url".into(),
            steps: vec![
                step("body", 120, ""),
                step("gzip", 180, r#"{"url":"https://news-lokifa"#),
                step("json.url", URL.len() as u64, URL),
            ],
        }],
    }
}

fn maker() -> Recipient {
    Recipient::Maker { name: "Tattlers Inc".into() }
}
