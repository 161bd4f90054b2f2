//! Invented audit reports: of a browser that sends everything to its maker, of one
//! that sends nothing, of an audit that was killed, and of one full of attacks on
//! the report page.

use tracer_audit::{
    canary::Extent,
    journal::{Outcome, Subject},
    phase::Phase,
    report::{
        Answer, Conclusion, Count, DecodeStep, DisclosureReport, ExtentCount, IdentifierReport,
        Item, ItemKind, LookupReport, NotArrived, NotUnderstood, Persistence, PhaseReport,
        Protection, Question, REPORT_SCHEMA, Reading, RecipientReport, Report, VisitRecipient,
        VisitReport,
    },
};
use tracer_core::finding::{Category, Recipient, Sender, Severity};

const COLLECTOR: &str = "collector.example.com";
const ADVERTISER: &str = "ads.example.net";
const UUID: &str = "‹5f2a91c0›";
const CHAIN: &str = "body > form:data_list > base64 > gzip > json[0].properties.url";

/// Each phase of the reporting browser's audit, with its duration in milliseconds
/// and the number of pages opened in it.
const PHASES: [(Phase, u64, u64); 10] = [
    (Phase::Fresh, 21_400, 3),
    (Phase::Declined, 18_200, 3),
    (Phase::Idle, 120_000, 0),
    (Phase::Pages, 24_600, 3),
    (Phase::Typed, 31_900, 2),
    (Phase::Restart, 22_700, 3),
    (Phase::Private, 19_300, 3),
    (Phase::PrivateRestart, 20_800, 3),
    (Phase::Cleared, 23_100, 3),
    (Phase::Reinstalled, 0, 0),
];

/// A browser that sends every URL to its maker, also in private mode, with a UUID
/// that survives restarts, and typed letters to an advertiser.
pub fn reporting() -> Report {
    let mut report = Report {
        schema: REPORT_SCHEMA,
        run: "c1d0a7725f3e".into(),
        tracer: "0.1.0".into(),
        subject: Subject {
            name: "Tattle Browser".into(),
            version: Some("12.4.1".into()),
            browser: Some("tattle".into()),
            watched: vec!["--exe /opt/tattle/tattle".into()],
            scenario: "chromium".into(),
            system: "Linux 6.1.0-42-amd64, x86_64".into(),
        },
        began: Some("2026-11-22T10:00:00Z".into()),
        ended: Some("2026-11-22T10:05:22Z".into()),
        complete: true,
        redacted: true,
        summary: vec![],
        verdicts: vec![],
        phases: vec![],
        recipients: recipients(),
        senders: vec![],
        lookups: vec![LookupReport {
            name: "t.collector.example".into(),
            queries: 12,
            phases: vec![Phase::Pages, Phase::Restart],
        }],
        lookups_uncounted: 0,
        identifiers: identifiers(),
        experiments: vec![],
        disclosures: vec![],
        disclosures_uncounted: 0,
        not_arrived: NotArrived::default(),
        reading: Reading {
            percent_needed: 95,
            percent_read: Some(98),
            content_bytes: 1_482_113,
            read_bytes: 1_455_020,
            percent_understood: Some(96),
            percent_understood_needed: 75,
            understood_bytes: 9_600,
            not_understood: vec![NotUnderstood {
                recipient: COLLECTOR.into(),
                place: "body > json.nonce".into(),
                values: 5,
                bytes: 200,
            }],
            opaque_bytes: 2_048,
            lost: 0,
            unread: vec![("sync.example.com".into(), 24_410), ("192.0.2.17:443".into(), 2_683)],
        },
        notes: vec![],
    };
    let mut began = 0;
    for (phase, duration, pages) in PHASES {
        add_phase(&mut report, phase, began, duration, pages);
        began += duration + 900;
    }
    report.verdicts = reporting_verdicts(&report);
    report.summarized()
}

/// A browser that discloses nothing about pages.
pub fn clean() -> Report {
    let mut report = reporting();
    report.run = "0f7be2a9d113".into();
    report.subject.name = "Quiet Browser".into();
    report.subject.version = Some("153.0esr".into());
    report.subject.browser = None;
    for phase in &mut report.phases {
        phase.visits.iter_mut().for_each(|visit| visit.told.clear());
    }
    report.disclosures.clear();
    report.recipients.truncate(1);
    let recipient = &mut report.recipients[0];
    (recipient.recipient, recipient.visits, recipient.scope) =
        ("quiet.example.org".into(), 0, None);
    recipient.who = Recipient::Maker { name: "Quiet Foundation".into() };
    recipient.hosts = vec!["incoming.telemetry.quiet.example.org".into()];
    report.identifiers.truncate(1);
    let identifier = &mut report.identifiers[0];
    (identifier.value, identifier.with_visits) = ("‹a11ce000›".into(), false);
    identifier.place = "quiet.example.org body > gzip > json.clientId".into();
    identifier.recipients = vec!["quiet.example.org".into()];
    for verdict in &mut report.verdicts {
        let none = || "None of 23 pages was told of.".to_owned();
        (verdict.answer, verdict.detail) = match verdict.question {
            Question::ProcessedLocally => {
                (Answer::Yes, "Counts of pages were sent in 4 requests, and no URLs.".into())
            }
            question if is_about_identifiers(question) => {
                (Answer::CannotTell, "Nothing that tells of pages was sent.".into())
            }
            _ => (Answer::No, none()),
        };
        (verdict.scopes, verdict.protection, verdict.evidence) = (vec![], None, vec![]);
        verdict.count = verdict.count.map(|count| Count { told: 0, ..count });
    }
    report.summarized()
}

/// The audit of the reporting browser, killed in the private phase.
pub fn killed() -> Report {
    let mut report = reporting();
    report.run = "77aa0b1c9d2e".into();
    (report.complete, report.ended) = (false, None);
    report.phases.truncate(7);
    let last = report.phases.last_mut().expect("a phase");
    (last.outcome, last.duration_ms) = (Outcome::Running, None);
    last.visits.truncate(1);
    let end = last.visits[0].at_ms + 1500;
    report.disclosures.retain(|told| told.at_ms < end);
    report.notes = vec![
        "The run was killed in the phase “private mode”; later phases were not begun.".into(),
        "12 sends were lost: the daemon did not keep up.".into(),
    ];
    for verdict in &mut report.verdicts {
        if verdict.question == Question::SameAfterClearing {
            verdict.answer = Answer::CannotTell;
            verdict.detail = "The phase was not begun.".into();
        }
        verdict.evidence.retain(|id| report.disclosures.iter().any(|told| told.id == *id));
    }
    report.summarized()
}

/// A report in which every value that others control tries to break the page, and
/// lists are very long.
pub fn hostile() -> Report {
    const SCRIPT: &str = "</code></style><script>alert(document.domain)</script>";
    let mut report = reporting();
    report.run = "bad0bad0bad0".into();
    report.subject.name = format!("{SCRIPT}\u{202e}resworB\u{0}");
    report.redacted = false;
    report.notes = vec![format!("{SCRIPT} {}", "x".repeat(400))];
    let long = format!("{}.example", "very-long-label".repeat(12));
    let mut recipient = report.recipients[1].clone();
    recipient.recipient = long.clone();
    recipient.hosts = (0..40).map(|i| format!("{i}.{long}")).collect();
    report.recipients.extend(vec![recipient; 300]);
    let mut identifier = report.identifiers[0].clone();
    identifier.value = "9".repeat(900);
    identifier.class = Some(r#""><img src="https://x.example/?leak" onerror="alert(1)">"#.into());
    identifier.other_applications = vec![long.clone(); 30];
    report.identifiers.extend(vec![identifier; 150]);
    for told in report.disclosures.iter_mut().take(4) {
        told.path = Some(format!("/{}?<b>&q={SCRIPT}", "a".repeat(3000)));
        told.application = "مستعرض \u{2066}evil\u{2069}".into();
        told.host = format!("{long}:443");
        let item = told.items[0].clone();
        told.items.extend(vec![item; 60]);
        for item in &mut told.items {
            item.class = Some("<svg onload=alert(1)>".into());
            item.steps[0].excerpt = Some("\u{1b}[2J\0\u{7f}\u{200b}".repeat(20));
        }
    }
    report.disclosures_uncounted = 123_456;
    report.reading.unread = (0..500).map(|i| (format!("{i}.{long}"), 1 << (i % 60))).collect();
    report.summarized()
}

fn is_about_identifiers(question: Question) -> bool {
    matches!(
        question,
        Question::Identifier
            | Question::SameAfterRestart
            | Question::SameInPrivateMode
            | Question::SameInPrivateModeAfterRestart
            | Question::SameAfterClearing
            | Question::SameAfterReinstall
            | Question::SameInOtherApplications
    )
}

/// Adds a phase in which pages are opened one after the other and each is reported.
fn add_phase(report: &mut Report, phase: Phase, began: u64, duration: u64, pages: u64) {
    let earlier: usize = report.phases.iter().map(|phase| phase.visits.len()).sum();
    let mut visits = Vec::new();
    for page in 0..pages {
        let id = earlier as u64 + page + 1;
        let at_ms = began + 1800 + page * (duration - 2000) / pages;
        let url = url(id);
        visits.push(VisitReport {
            id,
            url: url.clone(),
            at_ms,
            again_ms: vec![],
            served: Some(true),
            told: vec![VisitRecipient { recipient: COLLECTOR.into(), scope: Extent::Full }],
        });
        let request = report.disclosures.len() as u64 * 7 + 12;
        report.disclosures.push(page_view(request, phase, at_ms + 640, id, &url));
        if phase == Phase::Typed {
            report.disclosures.push(typed_text_request(request + 3, at_ms + 210, id));
        }
    }
    let skipped = Outcome::Skipped { reason: "the scenario has no way to reinstall it".into() };
    report.phases.push(PhaseReport {
        phase,
        title: phase.title().into(),
        outcome: if duration == 0 { skipped } else { Outcome::Done },
        began: (duration > 0).then(|| format!("2026-11-22T10:{:02}:00Z", began / 60_000)),
        began_ms: (duration > 0).then_some(began),
        duration_ms: (duration > 0).then_some(duration),
        visits,
        requests: pages * 4 + duration / 10_000,
        page_requests: pages * 2,
        unread_bytes: duration / 9,
    });
}

fn url(visit: u64) -> String {
    const WORDS: [&str; 6] = ["tarumi", "benoko", "vasitu", "domire", "kapolu", "nefosa"];
    let word = |at: u64| WORDS[(visit * 5 + at * at) as usize % WORDS.len()];
    format!(
        "https://news-{}{visit}.tracer-audit.test:8443/{}-{}-{}?q={}-{}-{visit}",
        word(0),
        word(1),
        word(2),
        word(3),
        word(4),
        word(5)
    )
}

fn step(name: &str, bytes: u64, excerpt: &str) -> DecodeStep {
    let excerpt = (!excerpt.is_empty()).then(|| excerpt.to_owned());
    DecodeStep { name: name.into(), bytes: Some(bytes), excerpt }
}

/// Returns a request in the format that the Sensors Analytics SDK used in 2020.
fn page_view(id: u64, phase: Phase, at_ms: u64, visit: u64, url: &str) -> DisclosureReport {
    let outer = vec![
        step(
            "body",
            612,
            "crc=-1093208517&gzip=1&data_list=H4sIAAAAAAAAA41TXW%2FUMBD8KyjPTS6JncTJWy…",
        ),
        step("form:data_list", 548, "H4sIAAAAAAAAA41TXW/UMBD8KyjPTS6JncTJW1WQqFAB0QdeTo5jb3zu…"),
        step("base64", 410, ""),
        step(
            "gzip",
            934,
            r#"[{"distinct_id":"‹5f2a91c0›","event":"page_load_event_finish","properties":{"url":…"#,
        ),
    ];
    let steps = |name: &str, value: &str| {
        let mut steps = outer.clone();
        steps.push(step(name, value.len() as u64, value));
        steps
    };
    DisclosureReport {
        id,
        phase: Some(phase),
        time: Some(format!(
            "2026-11-22T10:{:02}:{:02}.{:03}Z",
            at_ms / 60_000,
            at_ms / 1000 % 60,
            at_ms % 1000
        )),
        at_ms,
        recipient: COLLECTOR.into(),
        who: maker(),
        host: "sa.collector.example.com".into(),
        method: Some("POST".into()),
        path: Some("/sa?project=global_browser".into()),
        sdk: Some("Sensors Analytics".into()),
        sender: Sender::Browser,
        extension: None,
        extension_name: None,
        extension_addon: None,
        application: "tattle".into(),
        severity: Some(if phase.is_private() { Severity::Critical } else { Severity::High }),
        reason: Some(
            "the browser told its maker the URL of a visited page, with an identifier that lasts"
                .into(),
        ),
        complete: true,
        unread_bytes: 0,
        items: vec![
            Item {
                kind: ItemKind::Visit,
                class: None,
                value: url.into(),
                visit: Some(visit),
                scope: Some(Extent::Full),
                role: None,
                chain: CHAIN.into(),
                steps: steps("json[0].properties.url", url),
            },
            Item {
                kind: ItemKind::Identifier,
                class: Some("uuid".into()),
                value: UUID.into(),
                visit: None,
                scope: None,
                role: None,
                chain: "body > form:data_list > base64 > gzip > json[0].distinct_id".into(),
                steps: steps("json[0].distinct_id", UUID),
            },
        ],
    }
}

/// Returns a request that sends typed text to an advertiser.
fn typed_text_request(id: u64, at_ms: u64, visit: u64) -> DisclosureReport {
    DisclosureReport {
        id,
        at_ms,
        recipient: ADVERTISER.into(),
        who: advertiser(),
        host: "suggest.ads.example.net".into(),
        method: Some("GET".into()),
        path: Some("/complete?q=‹77f0aa12›&cp=9".into()),
        sdk: None,
        severity: Some(Severity::Medium),
        reason: Some("what is typed was sent letter by letter".into()),
        complete: false,
        unread_bytes: 1_204,
        items: vec![Item {
            kind: ItemKind::TypedText,
            class: None,
            value: "‹77f0aa12›".into(),
            visit: Some(visit),
            scope: Some(Extent::Typed),
            role: None,
            chain: "query:q".into(),
            steps: vec![
                step("path", 48, "/complete?q=‹77f0aa12›&cp=9"),
                step("query:q", 9, "‹77f0aa12›"),
            ],
        }],
        ..page_view(id, Phase::Typed, at_ms, visit, "")
    }
}

fn maker() -> Recipient {
    Recipient::Maker { name: "Tattle Inc".into() }
}

fn advertiser() -> Recipient {
    Recipient::Service { name: "Example Ads".into(), category: Category::Advertising }
}

fn recipients() -> Vec<RecipientReport> {
    let phases: Vec<_> =
        Phase::ALL.into_iter().filter(|phase| *phase != Phase::Reinstalled).collect();
    vec![
        RecipientReport {
            recipient: COLLECTOR.into(),
            who: maker(),
            hosts: vec!["sa.collector.example.com".into(), "cfg.collector.example.com".into()],
            requests: 104,
            visits: 23,
            scope: Some(Extent::Full),
            identifiers: 2,
            phases,
            unread_bytes: 2_683,
        },
        RecipientReport {
            recipient: ADVERTISER.into(),
            who: advertiser(),
            hosts: vec!["suggest.ads.example.net".into()],
            requests: 18,
            visits: 2,
            scope: Some(Extent::Typed),
            identifiers: 0,
            phases: vec![Phase::Typed],
            unread_bytes: 24_410,
        },
        RecipientReport {
            recipient: "192.0.2.17".into(),
            who: Recipient::Unknown,
            hosts: vec!["192.0.2.17".into()],
            requests: 1,
            visits: 0,
            scope: None,
            identifiers: 0,
            phases: vec![Phase::Fresh],
            unread_bytes: 0,
        },
    ]
}

fn identifiers() -> Vec<IdentifierReport> {
    let counts = |phases: &[Phase]| {
        phases.iter().zip([3, 3, 1, 3, 2, 3, 3, 3]).map(|(p, n)| (*p, n)).collect()
    };
    let line = |value: &str, class: &str, place: &str, life, phases| IdentifierReport {
        value: value.into(),
        class: Some(class.into()),
        place: format!("{COLLECTOR} body > form:data_list > base64 > gzip > {place}"),
        recipients: vec![COLLECTOR.into()],
        with_visits: true,
        life,
        phases,
        other_applications: vec![],
    };
    let before = &Phase::ALL[..10];
    vec![
        IdentifierReport {
            other_applications: vec!["com.example.launcher".into()],
            ..line(UUID, "uuid", "json[0].distinct_id", Persistence::Installation, counts(before))
        },
        line(
            "‹e2210b7f›",
            "uuid",
            "json[0].distinct_id",
            Persistence::Unknown,
            counts(&[Phase::Cleared]),
        ),
        line(
            "‹19ac44d0›",
            "android_id",
            "json[0].properties.$device_id",
            Persistence::Device,
            counts(&[Phase::Fresh, Phase::Pages, Phase::Private, Phase::Cleared]),
        ),
        IdentifierReport {
            with_visits: false,
            ..line(
                "‹30b5e6aa›",
                "session",
                "json[0].session",
                Persistence::Session,
                counts(&[Phase::Fresh, Phase::Declined, Phase::Idle]),
            )
        },
    ]
}

fn reporting_verdicts(report: &Report) -> Vec<Conclusion> {
    use Answer::{CannotTell, No, Yes};
    let ids = |wanted: &dyn Fn(Phase) -> bool| -> Vec<u64> {
        let of = report.disclosures.iter().filter(|told| told.phase.is_some_and(wanted));
        of.map(|told| told.id).take(16).collect()
    };
    let mut verdicts = Vec::new();
    let mut answer = |question,
                      answer,
                      title: &str,
                      detail: &str,
                      count: Option<(u64, u64)>,
                      evidence: Vec<u64>| {
        verdicts.push(Conclusion {
            question,
            title: title.into(),
            answer,
            detail: detail.into(),
            count: count.map(|(told, of)| Count { told, of }),
            scopes: vec![],
            protection: None,
            evidence,
            percent_read: Some(98),
        });
    };
    let (all, private) = (ids(&|_| true), ids(&Phase::is_private));
    let (fresh, declined) =
        (ids(&|phase| phase == Phase::Fresh), ids(&|phase| phase == Phase::Declined));
    answer(
        Question::Urls,
        Yes,
        "Are URLs of visited pages sent?",
        "All 23 pages that were opened were told to collector.example.com, 23 of them with their full URL.",
        Some((23, 23)),
        all.clone(),
    );
    answer(
        Question::UrlsInPrivateMode,
        Yes,
        "In private mode?",
        "6 of 6 pages opened in private windows were told of.",
        Some((6, 6)),
        private.clone(),
    );
    answer(
        Question::UrlsBeforeConsent,
        Yes,
        "Before consent was given?",
        "3 of 3 pages.",
        Some((3, 3)),
        fresh.clone(),
    );
    answer(
        Question::UrlsAfterDeclining,
        Yes,
        "After consent was declined?",
        "3 of 3 pages.",
        Some((3, 3)),
        declined.clone(),
    );
    answer(
        Question::ToMaker,
        Yes,
        "To the browser’s maker?",
        "23 of 23 pages went to Tattle Inc at collector.example.com.",
        Some((23, 23)),
        all.clone(),
    );
    answer(
        Question::ToThirdParties,
        Yes,
        "To third parties?",
        "2 of 23 pages, as typed, to ads.example.net.",
        Some((2, 23)),
        vec![],
    );
    answer(
        Question::Identifier,
        Yes,
        "Is an identifier attached?",
        "A UUID (json[0].distinct_id) and an Android ID went with every page.",
        None,
        all.clone(),
    );
    answer(
        Question::SameAfterRestart,
        Yes,
        "The same after a restart?",
        "‹5f2a91c0› returned after 3 of 3 restarts.",
        Some((3, 3)),
        all.clone(),
    );
    answer(
        Question::SameInPrivateMode,
        Yes,
        "The same in private mode as outside it?",
        "‹5f2a91c0› was sent in both.",
        Some((2, 2)),
        private.clone(),
    );
    answer(
        Question::SameInPrivateModeAfterRestart,
        Yes,
        "The same in private mode after a restart?",
        "‹5f2a91c0› was sent in both.",
        Some((1, 1)),
        private,
    );
    answer(
        Question::SameAfterClearing,
        Yes,
        "The same after the data was cleared?",
        "The UUID was another one; the Android ID ‹19ac44d0› stayed.",
        Some((1, 1)),
        vec![],
    );
    answer(
        Question::SameAfterReinstall,
        CannotTell,
        "The same after it was installed again?",
        "The phase was skipped: the scenario has no command to reinstall it.",
        None,
        vec![],
    );
    answer(
        Question::SameInOtherApplications,
        Yes,
        "The same in other applications?",
        "com.example.launcher sent ‹5f2a91c0› too.",
        None,
        vec![],
    );
    answer(
        Question::PersonalDetails,
        No,
        "Are personal details sent?",
        "None was found in 122 requests.",
        None,
        vec![],
    );
    answer(
        Question::BeforeConsent,
        Yes,
        "Is anything that discloses sent before consent?",
        "3 requests.",
        None,
        fresh,
    );
    answer(Question::AfterDeclining, Yes, "After declining?", "3 requests.", None, declined);
    answer(
        Question::InterfaceEvents,
        No,
        "Are actions in the interface reported?",
        "None was found in 122 requests.",
        None,
        vec![],
    );
    answer(
        Question::ContentItems,
        CannotTell,
        "Which pieces of content are read?",
        "92 % of what was sent in these phases was read; 95 % are needed.",
        None,
        vec![],
    );
    answer(
        Question::TypedLetters,
        Yes,
        "What is typed, letter by letter?",
        "2 of 2 typed texts, to ads.example.net.",
        Some((2, 2)),
        vec![],
    );
    answer(
        Question::PageText,
        No,
        "Titles or texts of pages?",
        "None was found in 122 requests.",
        None,
        vec![],
    );
    answer(
        Question::ProcessedLocally,
        No,
        "Is history processed on the device, and only counts sent?",
        "URLs were sent.",
        None,
        vec![],
    );
    verdicts[0].scopes = vec![ExtentCount { scope: Extent::Full, visits: 23 }];
    verdicts[0].protection = Some(Protection::EncodingOnly);
    verdicts
}
