//! Whole audits, from a journal and requests to a report.

use data_encoding::BASE64;
use sha2::{Digest as _, Sha256};

use super::*;
use crate::{
    canary::{SEED, Site as Pages},
    journal::{JOURNAL_SCHEMA, Stage, Subject, Visit},
    report::{Answer, Life, Protection, Question, Report, Scope},
};
use tracer_core::{
    alert::redact::{Key, Redactor},
    proto::parse_http1,
    record::{Clock, Connection, Hook, Process, Transport},
    stream::Sent,
};

const SECOND: u64 = 1_000_000_000;
const MAKER: &str = "collector.example";

/// How a browser tells somebody of a page: the body of what it posts.
type Tattle = fn(&Canary, id: &str) -> String;

/// A browser in an audit.
struct Browser {
    tattle: Option<Tattle>,
    /// Its identifier, by the phase.
    id: fn(Phase) -> String,
    /// Whether it tells in this phase.
    tells: fn(Phase) -> bool,
    /// Whether what it sends in this phase passes unseen.
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

const TATTLING: Browser =
    Browser { tattle: Some(url), id: INSTALLATION, tells: |_| true, unseen: |_| false, to: MAKER };

/// The journal of an audit that went through all phases but those left out,
/// with two pages in each that has pages.
fn journal(left_out: &[Phase]) -> Journal {
    let site = Pages::Wildcard { domain: "tracer-audit.test".into(), port: 8443 };
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
        let outcome = match left_out.contains(&phase) {
            true => Outcome::Skipped { reason: "no command for it".into() },
            false => Outcome::Done,
        };
        let with_pages = outcome == Outcome::Done && phase != Phase::Idle;
        let visits = (0..if with_pages { 2 } else { 0 }).map(|n| {
            id += 1;
            let seed: [u8; SEED] = std::array::from_fn(|i| Sha256::digest([id as u8, i as u8])[0]);
            Visit {
                canary: Canary::new(id, &site, &seed),
                how: How::Opened,
                at: BootTime(began + SECOND * (n + 1)),
                served: Some(true),
            }
        });
        let visits = visits.collect();
        let ended = Some(BootTime(began + 9 * SECOND));
        journal.stages.push(Stage { phase, began: BootTime(began), ended, outcome, visits });
    }
    journal.ended = Some(BootTime(SECOND * 120));
    journal
}

/// Sends what a browser sends in the course of a journal, and reports.
fn audit(browser: &Browser, journal: &Journal) -> Report {
    report(browser, journal, &Redactor::off())
}

fn report(browser: &Browser, journal: &Journal, redactor: &Redactor) -> Report {
    let mut gatherer = Gatherer::new(journal.clone(), Arc::default());
    gatherer.push(Event::Clock(journal.clock));
    let mut connection = 0;
    let mut send = |gatherer: &mut Gatherer, at: BootTime, process: u32, text: String| {
        connection += 1;
        let process = Process { uid: 1000, tgid: process, tid: process, comm: "Network".into() };
        let connection =
            Connection { key: connection, transport: Transport::Tls, local: None, remote: None };
        let (mut requests, _) = parse_http1(text.as_bytes());
        let message =
            tracer_core::proto::Request { time: at, ..requests.pop().expect("a request") };
        let sent = Sent { connection, hook: Hook::SslWrite, process, message };
        gatherer.pipeline.request(sent, &mut gatherer.outputs);
        gatherer.take();
    };
    for (i, stage) in journal.stages.iter().enumerate() {
        let process = 100 + i as u32;
        for visit in &stage.visits {
            if (browser.unseen)(stage.phase) {
                continue;
            }
            let canary = &visit.canary;
            let (_, path) = canary.url.split_once(&canary.authority).unwrap();
            let text = format!(
                "GET {path} HTTP/1.1\r\nHost: {}\r\nUser-Agent: Mozilla/5.0\r\n\
                 Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\r\n",
                canary.authority
            );
            send(&mut gatherer, visit.at, process, text);
            if let Some(tattle) = browser.tattle
                && (browser.tells)(stage.phase)
            {
                let body = tattle(canary, &(browser.id)(stage.phase));
                let text = format!(
                    "POST /sa HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n{body}",
                    browser.to,
                    body.len()
                );
                send(&mut gatherer, BootTime(visit.at.0 + SECOND / 10), process, text);
            }
        }
    }
    let mut gathered = gatherer.finish();
    // Requests that came from no connection are in no account.
    gathered.accounts = read_all();
    Report::of(&gathered, redactor)
}

/// Accounts of a browser of which everything was read.
fn read_all() -> Accounts {
    let mut accounts = Accounts::default();
    let connection = Connection { key: 0, transport: Transport::Tls, local: None, remote: None };
    let traffic = tracer_core::proto::Traffic { sent: 1000, decoded: 1000, ..Default::default() };
    accounts.ended(Application::new(1000, Some("/bin/browser"), ""), &connection, &traffic);
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
fn the_tattling_browser_is_convicted_in_every_point() {
    let report = audit(&TATTLING, &journal(&[]));
    assert!(report.complete, "{:?}", report.notes);
    let urls = report.verdict(Question::Urls).unwrap();
    assert_eq!(urls.answer, Yes, "{}", urls.detail);
    assert_eq!(count(&report, Question::Urls), (10, 10));
    assert_eq!(urls.scopes[0].scope, Scope::Full);
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
        ("7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11", Life::Installation)
    );
    assert!(report.phases.iter().flat_map(|phase| &phase.visits).all(|visit| {
        visit.told.iter().any(|told| told.recipient == MAKER && told.scope == Scope::Full)
    }));
    assert_eq!(report.recipients[0].visits, 18);
    let item = &report.disclosures[0].items[0];
    assert_eq!(item.chain, "body > base64 > json.properties.url");
    assert_eq!(item.steps.last().unwrap().excerpt.as_deref(), Some(&item.value[..]));
}

#[test]
fn the_silent_browser_is_acquitted() {
    let silent = Browser { tattle: None, ..TATTLING };
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
    // It sent nothing at all.
    assert_eq!(answer(&report, Question::ProcessedLocally), CannotTell);
    assert_eq!(answer(&report, Question::SameAfterRestart), CannotTell);
    assert_eq!(report.disclosures, []);
}

#[test]
fn counts_without_pages_are_no_history() {
    let counting = Browser {
        tattle: Some(|_, id| format!(r#"{{"client_id":"{id}","pages":3}}"#)),
        ..TATTLING
    };
    let report = audit(&counting, &journal(&[]));
    assert_eq!(answer(&report, Question::Urls), No);
    assert_eq!(answer(&report, Question::ProcessedLocally), Yes);
    // Nor is it nothing.
    assert_eq!(answer(&report, Question::BeforeConsent), Yes);
    assert_eq!(answer(&report, Question::SameAfterRestart), Yes);
    assert_eq!(answer(&report, Question::SameAfterClearing), No);
}

#[test]
fn pages_told_of_after_consent_were_not_told_of_before() {
    // In each phase, the page of the fresh start is told of, once consent is there.
    let mut journal = journal(&[]);
    let first = journal.stages[0].visits[0].canary.clone();
    for stage in &mut journal.stages {
        stage.visits.iter_mut().for_each(|visit| visit.canary = first.clone());
    }
    let patient =
        Browser { tells: |phase| !matches!(phase, Phase::Fresh | Phase::Declined), ..TATTLING };
    let report = audit(&patient, &journal);
    assert_eq!(answer(&report, Question::Urls), Yes);
    assert_eq!(answer(&report, Question::UrlsBeforeConsent), No);
    assert_eq!(answer(&report, Question::UrlsAfterDeclining), No);
    assert_eq!(answer(&report, Question::BeforeConsent), No);
}

#[test]
fn the_maker_is_known() {
    let mut journal = journal(&[]);
    journal.subject.browser = Some("Mi Browser".into());
    let phoning_home = Browser { to: "sa.api.intl.miui.com", ..TATTLING };
    let report = audit(&phoning_home, &journal);
    assert_eq!(answer(&report, Question::ToMaker), Yes);
    assert_eq!(answer(&report, Question::ToThirdParties), No);
}

#[test]
fn nothing_is_denied_that_was_not_tried_or_not_read() {
    let silent = Browser { tattle: None, ..TATTLING };
    let left_out = [Phase::Private, Phase::PrivateRestart, Phase::Declined];
    let report = audit(&silent, &journal(&left_out));
    let private = report.verdict(Question::UrlsInPrivateMode).unwrap();
    assert_eq!(private.answer, CannotTell);
    assert!(private.detail.contains("no command for it"), "{}", private.detail);
    assert_eq!(answer(&report, Question::AfterDeclining), CannotTell);

    // The journal alone: no byte was seen.
    let gathered = Gatherer::new(journal(&[]), Arc::default()).finish();
    let report = Report::of(&gathered, &Redactor::off());
    for verdict in &report.verdicts {
        assert_eq!(verdict.answer, CannotTell, "{verdict:#?}");
    }
}

#[test]
fn nothing_is_denied_of_what_may_pass_unseen() {
    let another = Browser { tattle: None, unseen: |phase| phase.is_private(), ..TATTLING };
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
    // What was seen stays true.
    let report = audit(&Browser { tattle: Some(url), ..another }, &journal(&[]));
    assert_eq!(answer(&report, Question::Urls), Yes);

    // A browser that did not open a page had no occasion.
    let mut journal = journal(&[]);
    let visits = journal.stages.iter_mut().flat_map(|stage| &mut stage.visits);
    visits.for_each(|visit| visit.served = Some(false));
    let report = audit(&Browser { tattle: None, unseen: |_| true, ..TATTLING }, &journal);
    for verdict in &report.verdicts {
        assert_eq!(verdict.answer, CannotTell, "{verdict:#?}");
    }
    let urls = report.verdict(Question::Urls).unwrap();
    assert!(urls.detail.contains("\"pages opened\" reached the audit's server"), "{urls:#?}");
}

#[test]
fn variants_are_told_apart() {
    let host = Browser {
        tattle: Some(|canary, id| {
            format!(r#"{{"distinct_id":"{id}","host":"{}"}}"#, canary.host())
        }),
        ..TATTLING
    };
    let report = audit(&host, &journal(&[]));
    let urls = report.verdict(Question::Urls).unwrap();
    assert_eq!((urls.answer, urls.scopes[0].scope), (Yes, Scope::Host));
    assert_eq!(urls.protection, Some(Protection::None));

    let hashed = Browser {
        tattle: Some(|canary, id| {
            let hash = data_encoding::HEXLOWER.encode(&Sha256::digest(canary.url.as_bytes()));
            format!(r#"{{"distinct_id":"{id}","u":"{hash}"}}"#)
        }),
        ..TATTLING
    };
    let report = audit(&hashed, &journal(&[]));
    let urls = report.verdict(Question::Urls).unwrap();
    assert_eq!((urls.answer, urls.scopes[0].scope), (Yes, Scope::Hash), "{}", urls.detail);
    assert_eq!(urls.protection, Some(Protection::Hashed));

    let discreet = Browser { tells: |phase| !phase.is_private(), ..TATTLING };
    let report = audit(&discreet, &journal(&[]));
    assert_eq!(answer(&report, Question::Urls), Yes);
    assert_eq!(answer(&report, Question::UrlsInPrivateMode), No);
    assert_eq!(answer(&report, Question::SameInPrivateMode), CannotTell);

    let patient =
        Browser { tells: |phase| !matches!(phase, Phase::Fresh | Phase::Declined), ..TATTLING };
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
        ..TATTLING
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
    assert_eq!(report.identifiers[0].life, Life::Session);

    let third = Browser { to: "www.google-analytics.com", ..TATTLING };
    let report = audit(&third, &journal(&[]));
    assert_eq!(answer(&report, Question::ToMaker), No);
    assert_eq!(answer(&report, Question::ToThirdParties), Yes);
}

#[test]
fn a_killed_run_says_so() {
    let mut journal = journal(&[]);
    journal.ended = None;
    journal.stages.truncate(5);
    let last = journal.stages.last_mut().unwrap();
    (last.ended, last.outcome) = (None, Outcome::Running);
    let report = audit(&TATTLING, &journal);
    assert!(!report.complete);
    assert!(report.notes[0].contains("has not come to its end"), "{:?}", report.notes);
    assert_eq!(answer(&report, Question::Urls), Yes);
    assert_eq!(answer(&report, Question::SameAfterRestart), CannotTell);
}

#[test]
fn values_are_redacted_and_pages_are_not() {
    let redactor = Redactor::keyed(Key([7; Key::LEN]));
    let report = report(&TATTLING, &journal(&[]), &redactor);
    let text = serde_json::to_string(&report).unwrap();
    assert!(!text.contains("7f3c2a10-9b1e-4c57"), "an identifier is shown");
    assert!(text.contains(&journal(&[]).stages[0].visits[0].canary.url));
    assert!(report.redacted);
    // What is not redacted can be read again.
    assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
}

#[test]
fn what_stands_beside_a_page_is_redacted() {
    let beside = Browser {
        tattle: Some(|canary, _| format!(r#"{{"u":"{}&who=a-secret-name"}}"#, canary.url)),
        ..TATTLING
    };
    let redactor = Redactor::keyed(Key([7; Key::LEN]));
    let text = serde_json::to_string(&report(&beside, &journal(&[]), &redactor)).unwrap();
    assert!(text.contains(r#""scope":"full""#) && !text.contains("a-secret-name"));
}
