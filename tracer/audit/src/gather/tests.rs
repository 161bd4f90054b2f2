//! Complete audits, from a journal and events to a report.

use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::{
    canary::{Extent, Hosting, SEED},
    differential::{
        Factor,
        design::{self, Step},
    },
    journal::{JOURNAL_SCHEMA, Subject, Visit},
    report::{Answer, ExtentCount, Persistence, Protection, Question, Report},
};
use tracer_core::{
    alert::redact::{Key, Redactor},
    record::{Clock, Connection, Hook, Process, Record, Transport},
};

const SECOND: u64 = 1_000_000_000;
const COLLECTOR: &str = "collector.example";

/// Returns the body with which a browser reports a page.
type Body = fn(&Canary, id: &str) -> String;

/// A browser in an audit.
struct Browser {
    body: Option<Body>,
    /// Returns its identifier in a phase.
    id: fn(Phase) -> String,
    /// Reports whether it reports pages in a phase.
    reports: fn(Phase) -> bool,
    /// Reports whether tracer sees nothing of it in a phase.
    unseen: fn(Phase) -> bool,
    to: &'static str,
}

fn url(canary: &Canary, id: &str) -> String {
    let event = format!(r#"{{"distinct_id":"{id}","properties":{{"url":"{}"}}}}"#, canary.url);
    BASE64.encode(event.as_bytes())
}

const INSTALLATION: fn(Phase) -> String = |phase| match phase {
    Phase::Cleared => "0b6f5a3e-52f7-4d0e-8f43-9d5b2c7e1a60".into(),
    Phase::Reinstalled => "5e8c1f77-3d09-4a4b-b5ba-6c1d0f9a2b34".into(),
    _ => "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11".into(),
};

/// Reports every page that it opens.
const REPORTING: Browser = Browser {
    body: Some(url),
    id: INSTALLATION,
    reports: |_| true,
    unseen: |_| false,
    to: COLLECTOR,
};

/// The journal of an audit with two pages in each phase. The phases in `skipped` were skipped.
fn journal(skipped: &[Phase]) -> Journal {
    let hosting = Hosting::Wildcard { domain: "tracer-audit.test".into(), port: 8443 };
    let mut journal = Journal {
        schema: JOURNAL_SCHEMA,
        run: "1".into(),
        redaction_key: String::new(),
        subject: Subject { name: "a browser".into(), ..Subject::default() },
        clock: Clock { boot: BootTime(0), unix: 1_795_341_600_000_000_000 },
        began: BootTime(SECOND),
        ended: None,
        interrupted: false,
        stages: Vec::new(),
    };
    let mut id = 0;
    for (i, phase) in Phase::ALL.into_iter().enumerate() {
        let began = SECOND * 10 * (i as u64 + 1);
        let outcome = match skipped.contains(&phase) {
            true => Outcome::Skipped { reason: "no command for it".into() },
            false => Outcome::Done,
        };
        if phase.is_experiment() {
            let stage = experiment(phase, BootTime(began), outcome, id + 1, &hosting);
            id += 16;
            journal.stages.push(stage);
            continue;
        }
        let with_pages = outcome == Outcome::Done && phase != Phase::Idle;
        let visits = (0..if with_pages { 2 } else { 0 }).map(|n| {
            id += 1;
            let seed: [u8; SEED] = std::array::from_fn(|i| Sha256::digest([id as u8, i as u8])[0]);
            Visit {
                canary: Canary::new(id, &hosting, &seed),
                how: OpenMethod::Opened,
                at: BootTime(began + SECOND * (n + 1)),
                served: Some(true),
            }
        });
        let visits = visits.collect();
        let ended = Some(BootTime(began + 9 * SECOND));
        journal.stages.push(Stage {
            phase,
            began: BootTime(began),
            ended,
            outcome,
            visits,
            idle: Vec::new(),
        });
    }
    journal.ended = Some(BootTime(SECOND * 120));
    journal
}

/// An experiment with 16 pages, in windows of 0.2 seconds.
fn experiment(
    phase: Phase,
    began: BootTime,
    outcome: Outcome,
    first: u64,
    hosting: &Hosting,
) -> Stage {
    let mut stage = Stage {
        phase,
        began,
        ended: Some(BootTime(began.0 + 9 * SECOND)),
        outcome,
        visits: Vec::new(),
        idle: Vec::new(),
    };
    if stage.outcome != Outcome::Done {
        return stage;
    }
    let pages = design::pages(first, hosting, 16, first);
    for (i, step) in (0..).zip(design::schedule(16, 2, 10, first)) {
        let at = BootTime(began.0 + i * SECOND / 5);
        match step {
            Step::Idle => stage.idle.push(at),
            Step::Visit(page) => stage.visits.push(Visit {
                canary: pages[page].clone(),
                how: OpenMethod::Opened,
                at,
                served: Some(true),
            }),
        }
    }
    stage
}

/// The events of a browser, each request on a connection of its own.
struct Events(Vec<Event>);

impl Events {
    fn send(&mut self, at: BootTime, process: u32, request: String) {
        self.0.push(Event::Sent(Record {
            hook: Hook::SslWrite,
            time: at,
            process: Process { uid: 1000, tgid: process, tid: process, comm: "Network".into() },
            connection: Connection {
                key: self.0.len() as u64,
                transport: Transport::Tls,
                local: None,
                remote: None,
            },
            within_tls: None,
            position: None,
            offset: 0,
            len: Some(request.len() as u32),
            payload: request.into_bytes().into(),
        }));
    }

    fn post(&mut self, at: BootTime, process: u32, host: &str, body: &str) {
        let request = format!(
            "POST /sa HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.send(at, process, request);
    }
}

/// Returns everything that a browser sends in the course of a journal.
fn events(browser: &Browser, journal: &Journal) -> Vec<Event> {
    let mut events = Events(vec![Event::Clock(journal.clock)]);
    for (i, stage) in journal.stages.iter().enumerate() {
        let process = 100 + i as u32;
        for visit in &stage.visits {
            if (browser.unseen)(stage.phase) {
                continue;
            }
            let canary = &visit.canary;
            let (_, path) = canary.url.split_once(&canary.authority).unwrap();
            let request = format!(
                "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Mozilla/5.0\r\n\
                 Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\r\n",
                canary.authority
            );
            events.send(visit.at, process, request);
            if let Some(body) = browser.body
                && (browser.reports)(stage.phase)
            {
                let body = body(canary, &(browser.id)(stage.phase));
                events.post(BootTime(visit.at.0 + SECOND / 10), process, browser.to, &body);
            }
        }
    }
    events.0
}

fn audit(browser: &Browser, journal: &Journal) -> Report {
    report(browser, journal, &Redactor::off())
}

fn report(browser: &Browser, journal: &Journal, redactor: &Redactor) -> Report {
    let mut gatherer = Gatherer::new(journal.clone(), &Knowledge::default());
    events(browser, journal).into_iter().for_each(|event| gatherer.push(event));
    let mut observations = gatherer.finish();
    // A browser that is not seen sends something else that is.
    observations.accounts = read_all();
    Report::new(&observations, redactor)
}

/// Accounts of a browser whose traffic was read completely.
fn read_all() -> Accounts {
    let mut accounts = Accounts::default();
    let connection = Connection { key: 0, transport: Transport::Tls, local: None, remote: None };
    let traffic = tracer_core::proto::Traffic { sent: 1000, decoded: 1000, ..Default::default() };
    let application = Application::new(1000, Some("/bin/browser"), "");
    accounts.ended(application.into(), &connection, &traffic);
    accounts
}

fn answer(report: &Report, question: Question) -> Answer {
    report.verdict(question).expect("an answer").answer
}

fn count(report: &Report, question: Question) -> (u64, u64) {
    let count = report.verdict(question).and_then(|verdict| verdict.count).expect("a count");
    (count.told, count.of)
}

use Answer::{CannotTell, No, Yes};

#[test]
fn a_browser_that_reports_pages_is_answered_with_yes() {
    let report = audit(&REPORTING, &journal(&[]));
    assert!(report.complete, "{:?}", report.notes);
    let urls = report.verdict(Question::Urls).unwrap();
    assert_eq!(urls.answer, Yes, "{}", urls.detail);
    assert_eq!(count(&report, Question::Urls), (10, 10));
    assert_eq!(urls.scopes[0].scope, Extent::Full);
    assert_eq!(urls.protection, Some(Protection::EncodingOnly));
    for question in [
        Question::UrlsInPrivateMode,
        Question::UrlsBeforeConsent,
        Question::UrlsAfterDeclining,
        Question::ToThirdParties,
        Question::Identifier,
        Question::SameAfterRestart,
        Question::SameInPrivateMode,
        Question::SameInPrivateModeAfterRestart,
        Question::BeforeConsent,
    ] {
        assert_eq!(answer(&report, question), Yes, "{:#?}", report.verdict(question));
    }
    assert_eq!(count(&report, Question::UrlsInPrivateMode), (4, 4));
    for question in
        [Question::SameAfterClearing, Question::SameAfterReinstall, Question::ProcessedLocally]
    {
        assert_eq!(answer(&report, question), No, "{:#?}", report.verdict(question));
    }
    assert_eq!(answer(&report, Question::SameInOtherApplications), CannotTell);
    let first = &report.identifiers[0];
    assert_eq!(
        (&first.value[..], first.life),
        ("7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11", Persistence::Installation)
    );
    assert!(report.phases.iter().flat_map(|phase| &phase.visits).all(|visit| {
        visit.told.iter().any(|told| told.recipient == COLLECTOR && told.scope == Extent::Full)
    }));
    assert_eq!(report.recipients[0].visits, 18 + 2 * 16);
    let item = &report.disclosures[0].items[0];
    assert_eq!(item.chain, "body > base64 > json.properties.url");
    assert_eq!(item.steps.last().unwrap().excerpt.as_deref(), Some(&item.value[..]));
}

#[test]
fn a_silent_browser_is_answered_with_no() {
    let silent = Browser { body: None, ..REPORTING };
    let report = audit(&silent, &journal(&[]));
    for question in [
        Question::Urls,
        Question::UrlsInPrivateMode,
        Question::UrlsBeforeConsent,
        Question::ToMaker,
        Question::ToThirdParties,
        Question::Identifier,
        Question::PersonalDetails,
        Question::BeforeConsent,
        Question::InterfaceEvents,
        Question::TypedLetters,
    ] {
        assert_eq!(answer(&report, question), No, "{:#?}", report.verdict(question));
    }
    assert_eq!(count(&report, Question::Urls), (0, 10));
    // It sent no requests of its own.
    assert_eq!(answer(&report, Question::ProcessedLocally), CannotTell);
    assert_eq!(answer(&report, Question::SameAfterRestart), CannotTell);
    assert_eq!(report.disclosures, []);
}

/// Reports on a silent browser that looked up these hosts, and sent something to this address.
fn report_of_attempts(lookups: &[&str], remote: &str) -> Report {
    let journal = journal(&[]);
    let silent = Browser { body: None, ..REPORTING };
    let mut gatherer = Gatherer::new(journal.clone(), &Knowledge::default());
    events(&silent, &journal).into_iter().for_each(|event| gatherer.push(event));
    let mut observations = gatherer.finish();
    let mut accounts = read_all();
    let browser: Arc<_> = Application::new(1000, Some("/bin/browser"), "").into();
    for (name, at) in lookups.iter().zip(31..) {
        let name = ServerName {
            time: BootTime(SECOND * at),
            source: NameSource::Dns,
            name: (*name).to_owned(),
            alpn: Vec::new(),
            ech: false,
        };
        accounts.named(Arc::clone(&browser), &name);
    }
    let remote = Some(remote.parse().unwrap());
    let connection = Connection { key: 0, transport: Transport::Tcp, local: None, remote };
    let traffic = tracer_core::proto::Traffic { sent: 100, decoded: 100, ..Default::default() };
    accounts.ended(browser, &connection, &traffic);
    observations.accounts = accounts;
    Report::new(&observations, &Redactor::off())
}

#[test]
fn a_browser_that_reached_no_other_machine_is_not_acquitted() {
    let lost = report_of_attempts(&[COLLECTOR, "maker.example"], "127.0.0.1:8443");
    for question in [Question::Urls, Question::UrlsInPrivateMode, Question::ToThirdParties] {
        assert_eq!(answer(&lost, question), CannotTell, "{question:?}");
    }
    let reason = &lost.verdict(Question::Urls).unwrap().detail;
    let expected = "no other machine was reached, although the browser tried to \
                    (collector.example and 1 more)";
    assert!(reason.contains(expected), "{reason}");
    assert!(lost.notes.iter().any(|note| note.starts_with("No other machine was")), "{lost:#?}");
    let hosts: Vec<_> = lost.not_arrived.hosts.iter().map(|host| &host.host[..]).collect();
    assert_eq!(hosts, [COLLECTOR, "maker.example"]);
    assert_eq!(lost.not_arrived.hosts[0].first, "2026-11-22T10:00:31.000Z");
    assert_eq!(lost.not_arrived.hosts[0].phases.len(), 1);

    // Another machine was reached, nothing was tried, or only the audit's own pages were.
    for (lookups, remote) in [
        (&[COLLECTOR][..], "192.0.2.1:443"),
        (&[], "127.0.0.1:8443"),
        (&["accept.tracer-audit.test"], "127.0.0.1:8443"),
    ] {
        let report = report_of_attempts(lookups, remote);
        assert_eq!(answer(&report, Question::Urls), No, "{lookups:?} {remote}");
    }
}

#[test]
fn counts_of_pages_are_not_urls() {
    let counting =
        Browser { body: Some(|_, id| format!(r#"{{"client_id":"{id}","pages":3}}"#)), ..REPORTING };
    // A count with each visit cannot be told from a report of the page.
    let report = audit(&counting, &journal(&[]));
    for question in [Question::Urls, Question::ProcessedLocally, Question::DerivedValues] {
        let verdict = report.verdict(question).unwrap();
        assert_eq!(verdict.answer, CannotTell, "{verdict:#?}");
        assert!(verdict.detail.contains("one request for each visit"), "{verdict:#?}");
    }
    let counting = Browser { reports: |phase| !phase.is_experiment(), ..counting };
    let report = audit(&counting, &journal(&[]));
    assert_eq!(answer(&report, Question::Urls), No);
    assert_eq!(answer(&report, Question::DerivedValues), No);
    assert_eq!(answer(&report, Question::ProcessedLocally), Yes);
    // They are still disclosures.
    assert_eq!(answer(&report, Question::BeforeConsent), Yes);
    assert_eq!(answer(&report, Question::SameAfterRestart), Yes);
    assert_eq!(answer(&report, Question::SameAfterClearing), No);
}

#[test]
fn values_that_depend_on_the_page_are_found_without_their_encoding() {
    fn keyed(text: &str) -> String {
        data_encoding::HEXLOWER.encode(&Sha256::digest(format!("a salt {text}")))
    }
    let bodies: [(Body, &[Factor]); 2] = [
        (
            |canary, id| format!(r#"{{"client_id":"{id}","h":"{}"}}"#, keyed(canary.host())),
            &[Factor::Host],
        ),
        (
            |canary, id| format!(r#"{{"client_id":"{id}","h":"{}"}}"#, keyed(&canary.url)),
            &[Factor::Host, Factor::Path, Factor::Query],
        ),
    ];
    for (body, factors) in bodies {
        let report = audit(&Browser { body: Some(body), ..REPORTING }, &journal(&[]));
        for question in [
            Question::Urls,
            Question::UrlsInPrivateMode,
            Question::ToThirdParties,
            Question::Identifier,
            Question::DerivedValues,
        ] {
            assert_eq!(answer(&report, question), Yes, "{:#?}", report.verdict(question));
        }
        assert_eq!(answer(&report, Question::ProcessedLocally), No);
        // Requests were sent before consent too, and could contain the same.
        assert_eq!(answer(&report, Question::UrlsBeforeConsent), CannotTell);
        let urls = report.verdict(Question::Urls).unwrap();
        assert_eq!(urls.scopes, [ExtentCount { scope: Extent::Derived, visits: 16 }]);
        assert_eq!(urls.protection, Some(Protection::Encrypted));
        assert!(urls.detail.contains("a value derived from the page"), "{}", urls.detail);
        let found = &report.experiments[0].dependences[0];
        assert_eq!((&found.recipient[..], &found.depends_on[..]), (COLLECTOR, factors));
        assert!(!found.readable && found.requests == 32 && !found.identifiers.is_empty());
        // The requests are in the evidence.
        assert!(urls.evidence.iter().all(|id| report.disclosures.iter().any(|it| it.id == *id)));
    }
}

#[test]
fn an_encrypted_message_whose_length_follows_the_url_is_found() {
    fn encrypted(canary: &Canary, id: &str) -> String {
        // Every request has another key stream: the time of the visit is not in the body.
        use std::sync::atomic::{AtomicU64, Ordering};
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let mut random = Vec::new();
        for block in 0_u64..=(canary.url.len() as u64 / 32) {
            random.extend(Sha256::digest([number, block].map(u64::to_be_bytes).concat()));
        }
        random.truncate(canary.url.len());
        format!(r#"{{"client_id":"{id}","e":"{}"}}"#, BASE64.encode(&random))
    }
    let report = audit(&Browser { body: Some(encrypted), ..REPORTING }, &journal(&[]));
    let urls = report.verdict(Question::Urls).unwrap();
    assert_eq!(urls.answer, Yes, "{urls:#?}");
    assert!(urls.detail.contains("length follows the length of the URL"), "{}", urls.detail);
    assert_eq!(urls.scopes[0].scope, Extent::Length);
}

/// A query for the address of `a.service.example` or of `collector.example`.
fn query(at: BootTime, labels: &[&str]) -> Event {
    let mut payload = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in labels {
        payload.push(label.len() as u8);
        payload.extend_from_slice(label.as_bytes());
    }
    payload.extend_from_slice(&[0, 0, 1, 0, 1]);
    Event::Sent(Record {
        hook: Hook::Fentry,
        time: at,
        process: Process { uid: 1000, tgid: 100, tid: 100, comm: "DNS".into() },
        connection: Connection {
            key: 1 << 40,
            transport: Transport::Udp,
            local: Some("192.0.2.1:5000".parse().unwrap()),
            remote: Some("192.0.2.53:53".parse().unwrap()),
        },
        within_tls: None,
        position: None,
        offset: 0,
        len: Some(payload.len() as u32),
        payload: payload.into(),
    })
}

#[test]
fn lookups_with_each_visit_prevent_a_no_unless_they_are_made_in_idle_time() {
    let silent = Browser { body: None, ..REPORTING };
    for (also_idle, expected) in [(false, CannotTell), (true, No)] {
        let journal = journal(&[]);
        let mut all = events(&silent, &journal);
        for stage in &journal.stages {
            if stage.phase.is_experiment() {
                let visits = stage.visits.iter();
                let late = |at: BootTime| BootTime(at.0 + SECOND / 50);
                all.extend(visits.map(|visit| query(late(visit.at), &["a", "service", "example"])));
            }
            if stage.phase == Phase::Idle && also_idle {
                all.push(query(BootTime(stage.began.0 + SECOND), &["a", "service", "example"]));
            }
        }
        all.sort_by_key(|event| match event {
            Event::Sent(record) => record.time,
            _ => BootTime(0),
        });
        let mut gatherer = Gatherer::new(journal, &Knowledge::default());
        all.into_iter().for_each(|event| gatherer.push(event));
        let mut observations = gatherer.finish();
        observations.accounts = read_all();
        let report = Report::new(&observations, &Redactor::off());
        let urls = report.verdict(Question::Urls).unwrap();
        assert_eq!(urls.answer, expected, "{also_idle}: {urls:#?}");
        assert_eq!(urls.detail.contains("service.example received one lookup"), !also_idle);
    }
}

#[test]
fn values_that_are_not_understood_prevent_a_no() {
    fn random(canary: &Canary, id: &str) -> String {
        let value = data_encoding::HEXLOWER.encode(&Sha256::digest(&canary.url));
        // A prefix in each value makes the known hash unrecognisable.
        format!(r#"{{"client_id":"{id}","blob":"f{}"}}"#, value.repeat(9))
    }
    let rarely = Browser { body: Some(random), reports: |it| it == Phase::Cleared, ..REPORTING };
    let report = audit(&rarely, &journal(&[]));
    let urls = report.verdict(Question::ToMaker).unwrap();
    assert_eq!(urls.answer, CannotTell, "{urls:#?}");
    assert!(urls.detail.contains("could be understood"), "{}", urls.detail);
    let first = &report.reading.not_understood[0];
    assert_eq!((&first.recipient[..], &first.place[..]), (COLLECTOR, "body > json.blob"));
    assert_eq!(first.values, 2);
    assert_eq!(report.reading.percent_read, Some(100));

    let silent = Browser { body: None, ..REPORTING };
    let report = audit(&silent, &journal(&[]));
    assert_eq!(report.reading.percent_understood, Some(100));
    assert_eq!(report.reading.not_understood, []);
}

#[test]
fn an_audit_without_an_experiment_acquits_no_one() {
    let silent = Browser { body: None, ..REPORTING };
    let without = [Phase::Experiment, Phase::PrivateExperiment];
    let report = audit(&silent, &journal(&without));
    for question in [
        Question::Urls,
        Question::UrlsInPrivateMode,
        Question::UrlsBeforeConsent,
        Question::ToThirdParties,
        Question::Identifier,
        Question::DerivedValues,
        Question::ProcessedLocally,
    ] {
        let verdict = report.verdict(question).unwrap();
        assert_eq!(verdict.answer, CannotTell, "{verdict:#?}");
        assert!(verdict.detail.contains("no experiment"), "{verdict:#?}");
    }
    assert_eq!(report.experiments, []);
    // Questions that do not concern pages are answered as before.
    assert_eq!(answer(&report, Question::PersonalDetails), No);

    // A browser that requested too few of the pages.
    let mut journal = journal(&[]);
    for stage in journal.stages.iter_mut().filter(|stage| stage.phase.is_experiment()) {
        stage.visits.iter_mut().skip(5).for_each(|visit| visit.served = Some(false));
    }
    let report = audit(&silent, &journal);
    let urls = report.verdict(Question::Urls).unwrap();
    assert!(urls.answer == CannotTell && urls.detail.contains("5 visits"), "{urls:#?}");
}

#[test]
fn journals_of_the_first_version_can_be_read() {
    let mut json = serde_json::to_value(journal(&[])).unwrap();
    json["schema"] = 1.into();
    for stage in json["stages"].as_array_mut().unwrap() {
        stage.as_object_mut().unwrap().remove("idle");
    }
    let journal: Journal = serde_json::from_value(json).unwrap();
    assert!(journal.stages.iter().all(|stage| stage.idle.is_empty()));
}

#[test]
fn questions_about_consent_use_the_time_of_the_disclosure() {
    // In each phase after consent, the page of the first start is reported.
    let mut journal = journal(&[]);
    let first = journal.stages[0].visits[0].canary.clone();
    for stage in &mut journal.stages {
        stage.visits.iter_mut().for_each(|visit| visit.canary = first.clone());
    }
    let patient =
        Browser { reports: |phase| !matches!(phase, Phase::Fresh | Phase::Declined), ..REPORTING };
    let report = audit(&patient, &journal);
    assert_eq!(answer(&report, Question::Urls), Yes);
    assert_eq!(answer(&report, Question::UrlsBeforeConsent), No);
    assert_eq!(answer(&report, Question::UrlsAfterDeclining), No);
    assert_eq!(answer(&report, Question::BeforeConsent), No);
}

#[test]
fn requests_to_the_maker_are_recognised() {
    let mut journal = journal(&[]);
    journal.subject.browser = Some("Mi Browser".into());
    let phoning_home = Browser { to: "sa.api.intl.miui.com", ..REPORTING };
    let report = audit(&phoning_home, &journal);
    assert_eq!(answer(&report, Question::ToMaker), Yes);
    assert_eq!(answer(&report, Question::ToThirdParties), No);
}

#[test]
fn skipped_phases_and_missing_traffic_lead_to_cannot_tell() {
    let silent = Browser { body: None, ..REPORTING };
    let skipped = [Phase::Private, Phase::PrivateRestart, Phase::Declined];
    let report = audit(&silent, &journal(&skipped));
    let private = report.verdict(Question::UrlsInPrivateMode).unwrap();
    assert_eq!(private.answer, CannotTell);
    assert!(private.detail.contains("no command for it"), "{}", private.detail);
    assert_eq!(answer(&report, Question::AfterDeclining), CannotTell);

    // A journal without traffic.
    let observations = Gatherer::new(journal(&[]), &Knowledge::default()).finish();
    let report = Report::new(&observations, &Redactor::off());
    for verdict in &report.verdicts {
        assert_eq!(verdict.answer, CannotTell, "{verdict:#?}");
    }
}

#[test]
fn visits_that_were_not_seen_lead_to_cannot_tell() {
    let another = Browser { body: None, unseen: |phase| phase.is_private(), ..REPORTING };
    let report = audit(&another, &journal(&[]));
    for question in [Question::Urls, Question::UrlsBeforeConsent, Question::BeforeConsent] {
        assert_eq!(answer(&report, question), No, "{:#?}", report.verdict(question));
    }
    for question in [
        Question::UrlsInPrivateMode,
        Question::ToMaker,
        Question::ToThirdParties,
        Question::Identifier,
        Question::PersonalDetails,
        Question::ProcessedLocally,
    ] {
        let verdict = report.verdict(question).unwrap();
        assert_eq!(verdict.answer, CannotTell, "{verdict:#?}");
        assert!(verdict.detail.contains("any page in the phase \"private mode\""), "{verdict:#?}");
    }
    // Disclosures that were seen still count.
    let report = audit(&Browser { body: Some(url), ..another }, &journal(&[]));
    assert_eq!(answer(&report, Question::Urls), Yes);

    // No page was opened.
    let mut journal = journal(&[]);
    let visits = journal.stages.iter_mut().flat_map(|stage| &mut stage.visits);
    visits.for_each(|visit| visit.served = Some(false));
    let report = audit(&Browser { body: None, unseen: |_| true, ..REPORTING }, &journal);
    for verdict in &report.verdicts {
        assert_eq!(verdict.answer, CannotTell, "{verdict:#?}");
    }
    let urls = report.verdict(Question::Urls).unwrap();
    assert!(urls.detail.contains("\"pages opened\" reached the audit's server"), "{urls:#?}");
}

#[test]
fn variants_of_reporting_are_distinguished() {
    let host = Browser {
        body: Some(|canary, id| format!(r#"{{"distinct_id":"{id}","host":"{}"}}"#, canary.host())),
        ..REPORTING
    };
    let report = audit(&host, &journal(&[]));
    let urls = report.verdict(Question::Urls).unwrap();
    assert_eq!((urls.answer, urls.scopes[0].scope), (Yes, Extent::Host));
    assert_eq!(urls.protection, Some(Protection::None));

    let hashed = Browser {
        body: Some(|canary, id| {
            let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(canary.url.as_bytes()));
            format!(r#"{{"distinct_id":"{id}","u":"{hash}"}}"#)
        }),
        ..REPORTING
    };
    let report = audit(&hashed, &journal(&[]));
    let urls = report.verdict(Question::Urls).unwrap();
    assert_eq!((urls.answer, urls.scopes[0].scope), (Yes, Extent::Hash), "{}", urls.detail);
    assert_eq!(urls.protection, Some(Protection::Hashed));

    let discreet = Browser { reports: |phase| !phase.is_private(), ..REPORTING };
    let report = audit(&discreet, &journal(&[]));
    assert_eq!(answer(&report, Question::Urls), Yes);
    assert_eq!(answer(&report, Question::UrlsInPrivateMode), No);
    assert_eq!(answer(&report, Question::SameInPrivateMode), CannotTell);

    let patient =
        Browser { reports: |phase| !matches!(phase, Phase::Fresh | Phase::Declined), ..REPORTING };
    let report = audit(&patient, &journal(&[]));
    assert_eq!(answer(&report, Question::Urls), Yes);
    assert_eq!(answer(&report, Question::UrlsBeforeConsent), No);
    assert_eq!(answer(&report, Question::UrlsAfterDeclining), No);

    let rotating = Browser {
        id: |phase| {
            format!(
                "{:08x}-9b1e-4c57-8f7e-5d0a2b6c9e11",
                match phase {
                    Phase::Fresh | Phase::Declined | Phase::Idle | Phase::Pages | Phase::Typed =>
                        0x7f3c_2a10,
                    other => 0x1b3d_5f70_u32.wrapping_mul(other as u32 + 3),
                }
            )
        },
        ..REPORTING
    };
    let report = audit(&rotating, &journal(&[]));
    for question in [
        Question::SameAfterRestart,
        Question::SameInPrivateMode,
        Question::SameInPrivateModeAfterRestart,
        Question::SameAfterClearing,
    ] {
        assert_eq!(answer(&report, question), No, "{:#?}", report.verdict(question));
    }
    assert_eq!(report.identifiers[0].life, Persistence::Session);

    let third = Browser { to: "www.google-analytics.com", ..REPORTING };
    let report = audit(&third, &journal(&[]));
    assert_eq!(answer(&report, Question::ToMaker), No);
    assert_eq!(answer(&report, Question::ToThirdParties), Yes);
}

#[test]
fn a_killed_run_is_reported_as_unfinished() {
    let mut journal = journal(&[]);
    journal.ended = None;
    journal.stages.truncate(5);
    let last = journal.stages.last_mut().unwrap();
    (last.ended, last.outcome) = (None, Outcome::Running);
    let report = audit(&REPORTING, &journal);
    assert!(!report.complete);
    assert!(report.notes[0].contains("did not finish"), "{:?}", report.notes);
    assert_eq!(answer(&report, Question::Urls), Yes);
    assert_eq!(answer(&report, Question::SameAfterRestart), CannotTell);
}

#[test]
fn values_are_redacted_and_pages_are_not() {
    let redactor = Redactor::keyed(Key([7; Key::LEN]));
    let report = report(&REPORTING, &journal(&[]), &redactor);
    let text = serde_json::to_string(&report).unwrap();
    assert!(!text.contains("7f3c2a10-9b1e-4c57"), "an identifier is shown");
    assert!(text.contains(&journal(&[]).stages[0].visits[0].canary.url));
    assert!(report.redacted);
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}

#[test]
fn text_beside_a_page_is_redacted() {
    let beside = Browser {
        body: Some(|canary, _| format!(r#"{{"u":"{}&who=a-secret-name"}}"#, canary.url)),
        ..REPORTING
    };
    let redactor = Redactor::keyed(Key([7; Key::LEN]));
    let text = serde_json::to_string(&report(&beside, &journal(&[]), &redactor)).unwrap();
    assert!(text.contains(r#""scope":"full""#) && !text.contains("a-secret-name"));
}

/// Uses one connection per phase, and an identifier that neither its name nor its form reveals.
#[test]
fn identifiers_without_name_or_form_are_followed_from_the_first_connection_on() {
    let unnamed = Browser {
        body: Some(|canary, id| format!(r#"{{"blob":"{id}","u":"{}"}}"#, canary.url)),
        id: |phase| match phase {
            Phase::Cleared => "q7Rk2_Lw9Zt4XbVn-Hs8PcMd".into(),
            _ => "V1StGXR8_Z5jdHi6B-myT4kq".into(),
        },
        reports: |phase| matches!(phase, Phase::Pages | Phase::Restart | Phase::Cleared),
        ..REPORTING
    };
    let mut journal = journal(&[]);
    journal.stages.iter_mut().for_each(|stage| stage.visits.truncate(1));
    let report = audit(&unnamed, &journal);
    assert_eq!(answer(&report, Question::Identifier), Yes, "{:#?}", report.identifiers);
    assert_eq!(answer(&report, Question::SameAfterRestart), Yes, "{:#?}", report.identifiers);
    assert_eq!(answer(&report, Question::SameAfterClearing), No, "{:#?}", report.identifiers);
    let first = &report.identifiers[0];
    assert_eq!(
        (&first.value[..], first.life),
        ("V1StGXR8_Z5jdHi6B-myT4kq", Persistence::Installation)
    );
    assert_eq!(first.phases, [(Phase::Pages, 1), (Phase::Restart, 1)]);

    // A value that never changes can belong to the program.
    let constant = Browser { id: |_| "V1StGXR8_Z5jdHi6B-myT4kq".into(), ..unnamed };
    let report = audit(&constant, &journal);
    assert_eq!(report.identifiers, [], "{:#?}", report.identifiers);
}

/// Passes on the journal as an audit does: stages and visits as they begin, outcomes later.
#[test]
fn reports_made_live_and_from_the_trace_are_equal() {
    let skipped = [Phase::Declined, Phase::PrivateRestart];
    let whole = journal(&skipped);
    let mut all = Events(events(&REPORTING, &whole));
    // Requests of the browser's own, also during phases that are skipped in the end.
    for (i, stage) in whole.stages.iter().enumerate() {
        let body = format!(r#"{{"client_id":"{}","nonce":"{i}"}}"#, INSTALLATION(stage.phase));
        all.post(BootTime(stage.began.0 + SECOND / 2), 100 + i as u32, "updates.example", &body);
    }
    let time = |event: &Event| match event {
        Event::Sent(record) => record.time,
        _ => BootTime(0),
    };
    let mut all = all.0;
    all.sort_by_key(time);

    let at = |time: BootTime| {
        let mut journal = Journal { ended: None, ..whole.clone() };
        journal.stages.retain(|stage| stage.began <= time);
        let last = journal.stages.len().saturating_sub(1);
        for stage in journal.stages.iter_mut().skip(last) {
            (stage.ended, stage.outcome) = (None, Outcome::Running);
            stage.visits.retain(|visit| visit.at <= time);
        }
        journal
    };
    let mut live = Gatherer::new(at(BootTime(0)), &Knowledge::default());
    for (i, event) in all.iter().enumerate() {
        live.update_journal(at(time(event)));
        live.push(event.clone());
        if i % 8 > 0 {
            continue;
        }
        let interim = Report::new(&live.observations(), &Redactor::off());
        assert!(!interim.complete);
        // Open connections may carry what has not been decoded yet.
        let denied = interim.verdicts.iter().filter(|verdict| verdict.answer == No);
        assert!(denied.map(|verdict| verdict.question).all(|it| it == Question::ProcessedLocally));
    }
    live.update_journal(whole.clone());

    let mut remade = Gatherer::new(whole, &Knowledge::default());
    all.into_iter().for_each(|event| remade.push(event));
    let (live, remade) = (live.finish(), remade.finish());
    let evidence = |of: &Observations| -> Vec<(Option<Phase>, u64)> {
        of.evidence().into_iter().map(|(phase, decoded)| (phase, decoded.number)).collect()
    };
    assert_eq!(evidence(&live), evidence(&remade));
    let [live, remade] = [live, remade].map(|of| Report::new(&of, &Redactor::off()));
    assert_eq!(live, remade);
    assert_eq!(answer(&live, Question::Urls), Yes);
    assert!(live.complete && live.reading.percent_read == Some(100), "{:#?}", live.reading);
}

#[test]
fn a_phase_that_was_left_out_or_failed_is_not_answered_with_no() {
    let silent = Browser { body: None, ..REPORTING };
    let report = audit(&silent, &journal(&[]));
    for question in [Question::TypedLetters, Question::AfterDeclining] {
        assert_eq!(answer(&report, question), No, "{question:?}");
    }
    let report = audit(&silent, &journal(&[Phase::Typed]));
    assert_eq!(answer(&report, Question::TypedLetters), CannotTell);
    // A command failed before a page was opened.
    let mut failed = journal(&[]);
    let stage = failed.stages.iter_mut().find(|stage| stage.phase == Phase::Declined).unwrap();
    stage.outcome = Outcome::Failed { reason: "exit code 1".into() };
    stage.visits.clear();
    let report = audit(&silent, &failed);
    let verdict = report.verdict(Question::AfterDeclining).unwrap();
    assert_eq!(verdict.answer, CannotTell);
    assert!(verdict.detail.contains("exit code 1"), "{verdict:?}");
    assert!(report.summary[2].contains("left out"), "{:?}", report.summary);
}
