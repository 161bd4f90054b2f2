//! Simulated experiments: innocent traffic, and every kind of report.

use std::sync::LazyLock;

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use sha2::{Digest as _, Sha256};

use super::{
    alignment::Delay,
    dependence::Event,
    design::{self, Step},
    statistics::Random,
    *,
};
use crate::{
    canary::{Canary, Hosting},
    journal::{OpenMethod, Outcome, Stage, Visit},
    phase::Phase,
};
use tracer_core::{
    proto::{NameSource, ServerName, parse_http1},
    record::BootTime,
    rules::Rules,
};

const MILLISECOND: u64 = 1_000_000;
/// Length of a window.
const WINDOW: u64 = 2600 * MILLISECOND;

/// A simulated browser in an experiment.
struct Simulation {
    stage: Stage,
    samples: Samples,
    random: Random,
    number: u64,
}

impl Simulation {
    fn new(seed: u64, pages: u32, visits: u32, idle: u32) -> Self {
        let hosting = Hosting::Wildcard { domain: "tracer-audit.test".into(), port: 8443 };
        let mut random = Random::new(seed);
        let pages = design::pages(1, &hosting, pages, random.next());
        let steps = design::schedule(pages.len(), visits, idle, random.next());
        let mut stage = Stage {
            phase: Phase::Experiment,
            began: BootTime(0),
            ended: None,
            outcome: Outcome::Done,
            visits: Vec::new(),
            idle: Vec::new(),
        };
        for (i, step) in (1..).zip(steps) {
            let at = BootTime(i * WINDOW);
            match step {
                Step::Visit(page) => stage.visits.push(Visit {
                    canary: pages[page].clone(),
                    how: OpenMethod::Opened,
                    at,
                    served: Some(true),
                }),
                Step::Idle => stage.idle.push(at),
            }
        }
        Self { stage, samples: Samples::default(), random, number: 0 }
    }

    fn usual(seed: u64) -> Self {
        Self::new(seed, 16, 2, 10)
    }

    fn visits(&self) -> Vec<(u64, Canary)> {
        self.stage.visits.iter().map(|visit| (visit.at.0, visit.canary.clone())).collect()
    }

    /// Sends a request `ms` after a time.
    fn send(&mut self, at: u64, ms: u64, host: &str, head: &str, body: &[u8]) {
        let mut text = format!(
            "{head} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Mozilla/5.0\r\nContent-Length: {}\r\n\r\n",
            body.len()
        )
        .into_bytes();
        text.extend_from_slice(body);
        let mut request = parse_http1(&text).0.pop().expect("a request");
        request.time = BootTime(at + ms * MILLISECOND);
        let recipient = host.rsplitn(3, '.').take(2).collect::<Vec<_>>();
        let recipient = recipient.into_iter().rev().collect::<Vec<_>>().join(".");
        self.number += 1;
        static RULES: LazyLock<Rules> = LazyLock::new(Rules::default);
        let is_routine = RULES.routines().iter().any(|routine| routine.is(&request));
        let identifiers = vec!["an-id".into()];
        self.samples.add_request(&request, self.number, identifiers, is_routine, &recipient, "run");
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.random.next() as u8).collect()
    }

    fn findings(&self) -> Findings {
        analyse(&self.stage, &self.samples).expect("an experiment")
    }

    /// Sends what browsers send without any relation to pages.
    fn background(&mut self) {
        let windows = (self.stage.visits.len() + self.stage.idle.len()) as u64;
        let end = (windows + 1) * WINDOW;
        let session = HEXLOWER.encode(&self.bytes(16));
        // A request with a nonce, a clock, a counter and a session, at random times.
        let (mut at, mut counter) = (0, 0);
        loop {
            at += (self.random.below(4000) as u64 + 100) * MILLISECOND;
            if at >= end {
                break;
            }
            counter += 1;
            let nonce = BASE64.encode(&self.bytes(24));
            let status = ["ok", "late", "retry"][self.random.below(3)];
            let body = format!(
                r#"{{"nonce":"{nonce}","time":{},"minute":{},"n":{counter},"session":"{session}","status":"{status}","one_of":{}}}"#,
                1_795_341_600_000 + at / MILLISECOND,
                at / MILLISECOND / 60_000,
                self.random.below(5)
            );
            self.send(at, 0, "telemetry.vendor.test", "POST /v1/event", body.as_bytes());
        }
        // A request every ten seconds, with a random body of random length.
        for at in (0..end).step_by(10_000 * MILLISECOND as usize) {
            let length = 40 + self.random.below(900);
            let body = self.bytes(length);
            self.send(at, 3, "sync.other.test", "POST /blob", &body);
        }
        // A check of one of many prefixes, at random.
        for at in (0..end).step_by(WINDOW as usize) {
            if self.random.below(3) == 0 {
                let prefix = HEXLOWER.encode(&[self.random.below(12) as u8; 4]);
                let head = format!("GET /v5/hashes:search?hashPrefixes={prefix}");
                self.send(at, 700, "safebrowsing.maker.test", &head, b"");
            }
        }
        // A new identifier and a counter with each visit, in half of the runs.
        if self.random.below(2) == 0 {
            for (i, (at, _)) in (0..).zip(self.visits()) {
                let guid = HEXLOWER.encode(&self.bytes(16));
                let head = format!("GET /ping?guid={guid}&n={i}");
                self.send(at, 300, "ping.maker.test", &head, b"");
            }
        }
    }
}

fn keyed(text: &str) -> [u8; 32] {
    Sha256::digest(format!("a secret salt {text}")).into()
}

/// Encrypts with a key stream that starts at `nonce`.
fn encrypt(nonce: &[u8], text: &str) -> Vec<u8> {
    let mut stream = Vec::new();
    for block in 0_u32.. {
        if stream.len() >= text.len() {
            break;
        }
        stream.extend(Sha256::digest([b"key", nonce, &block.to_be_bytes()].concat()));
    }
    let encrypted = text.bytes().zip(stream).map(|(a, b)| a ^ b);
    nonce.iter().copied().chain(encrypted).collect()
}

/// Checks that one recipient is found to depend on these factors, and no other is.
fn assert_found(name: &str, simulation: &Simulation, factors: &[Factor]) -> Dependence {
    let findings = simulation.findings();
    let wrong = findings.dependences.iter().find(|one| one.recipient != "collector.test");
    assert_eq!(wrong, None, "{name}");
    let found = findings.dependences.iter().find(|one| one.factors == factors);
    found.cloned().unwrap_or_else(|| {
        let each = findings.dependences.iter().map(|it| (&it.place, &it.factors, it.delay, it.p));
        panic!("{name}: {:?}, {:?}", each.collect::<Vec<_>>(), findings.with_visits)
    })
}

#[test]
fn innocent_traffic_is_not_accused() {
    const RUNS: u64 = 120;
    let mut accused = 0;
    for seed in 0..RUNS {
        let mut simulation =
            if seed % 3 == 0 { Simulation::new(seed, 8, 2, 6) } else { Simulation::usual(seed) };
        simulation.background();
        let findings = simulation.findings();
        accused += u32::from(!findings.dependences.is_empty());
        assert!(findings.tests > 0 && findings.dropped == 0, "{seed}: {findings:#?}");
        for with in &findings.with_visits {
            assert_eq!(with.recipient, "maker.test", "{seed}: {with:#?}");
        }
    }
    // With a rate of 1 %, four or more of 120 runs have a probability of 3 %.
    assert!(accused <= 3, "{accused} of {RUNS} runs were accused");
}

#[test]
fn functions_of_the_page_are_found() {
    use Factor::{Host, Path, Query, Title};
    type Value = fn(&Canary) -> String;
    let url: Value = |page| HEXLOWER.encode(&keyed(&page.url));
    let kinds: [(&str, Value, &[Factor]); 6] = [
        ("a keyed hash of the URL", url, &[Host, Path, Query]),
        ("a keyed hash of the host", |page| BASE64URL_NOPAD.encode(&keyed(page.host())), &[Host]),
        (
            "deterministic encryption",
            |page| BASE64.encode(&encrypt(b"", &page.url)),
            &[Host, Path, Query],
        ),
        (
            "without the query",
            |page| HEXLOWER.encode(&keyed(page.url.split('?').next().unwrap())),
            &[Host, Path],
        ),
        ("the title", |page| HEXLOWER.encode(&keyed(&page.title)), &[Title]),
        (
            "a number",
            |page| u32::from_be_bytes(keyed(&page.path_word)[..4].try_into().unwrap()).to_string(),
            &[Path],
        ),
    ];
    for (seed, (name, value, factors)) in (1..).zip(kinds) {
        let mut simulation = Simulation::usual(seed);
        simulation.background();
        for (at, page) in simulation.visits() {
            let nonce = HEXLOWER.encode(&simulation.bytes(8));
            let body = format!(r#"{{"r":"{nonce}","e":[{{"k":"open","v":"{}"}}]}}"#, value(&page));
            simulation.send(at, 400, "t.collector.test", "POST /c", body.as_bytes());
        }
        let found = assert_found(name, &simulation, factors);
        assert_eq!(found.delay, Delay::None, "{name}: {found:?}");
        assert_eq!(found.identifiers.get("an-id"), Some(&32), "{name}: {found:?}");
        assert_eq!(found.requests.len(), 32, "{name}");
        assert!(found.p < 1e-4, "{name}: {found:?}");
    }
}

#[test]
fn a_value_is_found_wherever_it_is() {
    type Send = fn(&mut Simulation, u64, &str);
    let kinds: [(&str, Send); 7] = [
        ("path", |it, at, value| {
            it.send(at, 400, "collector.test", &format!("GET /a/{value}/b.gif"), b"");
        }),
        ("label of the host", |it, at, value| {
            it.send(at, 400, &format!("{value}.x.collector.test"), "GET /", b"");
        }),
        ("name of a parameter", |it, at, value| {
            it.send(at, 400, "collector.test", &format!("GET /a?{value}=1"), b"");
        }),
        ("name in JSON", |it, at, value| {
            let body = format!(r#"{{"counts":{{"{value}":{{"n":1}},"all":2}}}}"#);
            it.send(at, 400, "collector.test", "POST /a", body.as_bytes());
        }),
        ("several values in one request", |it, at, value| {
            let a = &it.bytes(9);
            let body = format!(r#"{{"p":["{}","{value}",17]}}"#, HEXLOWER.encode(a));
            it.send(at, 400, "collector.test", "POST /a", body.as_bytes());
        }),
        ("whole body", |it, at, value| {
            let body: Vec<u8> = [&b"\x00\xff\x01"[..], &keyed(value), &keyed(&value[1..])].concat();
            it.send(at, 400, "collector.test", "POST /a", &body);
        }),
        ("name looked up", |it, at, value| {
            let name = ServerName {
                time: BootTime(at + 400 * MILLISECOND),
                source: NameSource::Dns,
                name: format!("{value}.collector.test"),
                alpn: Vec::new(),
                ech: false,
            };
            it.samples.add_name(&name, "collector.test", "run");
        }),
    ];
    for (seed, (name, send)) in (20..).zip(kinds) {
        let mut simulation = Simulation::usual(seed);
        simulation.background();
        for (at, page) in simulation.visits() {
            let value = HEXLOWER.encode(&keyed(&page.url)[..16]);
            send(&mut simulation, at, &value);
        }
        assert_found(name, &simulation, &[Factor::Host, Factor::Path, Factor::Query]);
    }
}

#[test]
fn reports_with_a_delay_are_found() {
    for seed in 40..43 {
        // Seconds later.
        for delay in [3000, 5500] {
            let mut simulation = Simulation::usual(seed);
            simulation.background();
            for (at, page) in simulation.visits() {
                let late = delay + simulation.random.below(900) as u64;
                let head = format!("GET /?{}", HEXLOWER.encode(&keyed(&page.url)));
                simulation.send(at, late, "collector.test", &head, b"");
            }
            assert_found("late", &simulation, &[Factor::Host, Factor::Path, Factor::Query]);
        }
        // With the next page.
        let mut simulation = Simulation::usual(seed);
        simulation.background();
        let visits = simulation.visits();
        for pair in visits.windows(2) {
            let head = format!("GET /p?v={}", HEXLOWER.encode(&keyed(pair[0].1.host())));
            simulation.send(pair[1].0, 100, "collector.test", &head, b"");
        }
        let found = assert_found("with the next page", &simulation, &[Factor::Host]);
        assert_ne!(found.delay, Delay::None);

        // Several in one request.
        let mut simulation = Simulation::usual(seed);
        simulation.background();
        for batch in visits_of(&simulation).chunks(5) {
            let each = batch.iter().map(|(_, page)| HEXLOWER.encode(&keyed(&page.url)));
            let body = serde_json::json!({"urls": each.collect::<Vec<_>>()}).to_string();
            let at = batch.last().unwrap().0;
            simulation.send(at, 700, "collector.test", "POST /", body.as_bytes());
        }
        assert_found("in batches", &simulation, &[Factor::Host, Factor::Path, Factor::Query]);
    }
}

fn visits_of(simulation: &Simulation) -> Vec<(u64, Canary)> {
    simulation.visits()
}

#[test]
fn lost_reports_do_not_hide_a_dependence() {
    let mut simulation = Simulation::usual(60);
    simulation.background();
    for (i, (at, page)) in simulation.visits().into_iter().enumerate() {
        if i % 7 != 3 {
            let head = format!("GET /?v={}", HEXLOWER.encode(&keyed(page.host())));
            simulation.send(at, 200, "collector.test", &head, b"");
        }
    }
    assert_found("with losses", &simulation, &[Factor::Host]);
}

#[test]
fn lengths_that_follow_the_url_are_found() {
    for seed in 70..75 {
        let mut simulation = Simulation::usual(seed);
        simulation.background();
        for (at, page) in simulation.visits() {
            let nonce = simulation.bytes(16);
            let text = format!(r#"{{"url":"{}","t":{at}}}"#, page.url);
            let body = encrypt(&nonce, &text);
            simulation.send(at, 200, "collector.test", "POST /e", &body);
        }
        let found = assert_found("in a body", &simulation, &[Factor::Length]);
        assert!(found.is_length());

        let mut simulation = Simulation::new(seed, 8, 2, 6);
        simulation.background();
        for (at, page) in simulation.visits() {
            let nonce = simulation.bytes(16);
            let value = BASE64.encode(&encrypt(&nonce, &page.url));
            let body = format!(r#"{{"data":"{value}"}}"#);
            simulation.send(at, 200, "collector.test", "POST /e", body.as_bytes());
        }
        assert_found("in a value", &simulation, &[Factor::Length]);
    }
}

#[test]
fn a_message_for_each_visit_is_noticed() {
    for seed in 80..84 {
        let mut simulation = Simulation::usual(seed);
        simulation.background();
        for (at, _) in simulation.visits() {
            simulation.send(at, 300, "collector.test", "GET /pixel.gif", b"");
        }
        let findings = simulation.findings();
        assert_eq!(findings.dependences, []);
        let with = findings.with_visits.iter().find(|it| it.recipient == "collector.test");
        let with = with.unwrap_or_else(|| panic!("{findings:#?}"));
        assert_eq!((with.what, with.visits, with.idle), (Event::Request, (32, 32), (0, 10)));
        // One at regular times is not.
        assert!(findings.with_visits.iter().all(|it| it.recipient != "other.test"));
    }
}

#[test]
fn a_request_of_known_meaning_is_not_noticed_unless_it_depends_on_the_page() {
    const HOST: &str = "firefox.settings.services.mozilla.com";
    const PATH: &str = "GET /v1/buckets/monitor/collections/changes/changeset";
    for (seed, depends) in [(86, false), (87, true)] {
        let mut simulation = Simulation::usual(seed);
        simulation.background();
        for (at, page) in simulation.visits() {
            let list = match depends {
                true => HEXLOWER.encode(&keyed(&page.url)),
                false => "fxmonitor-breaches".to_owned(),
            };
            let head = format!("{PATH}?collection={list}&bucket=main&_expected=0");
            simulation.send(at, 300, HOST, &head, b"");
            // The same from elsewhere.
            simulation.send(at, 300, "settings.collector.test", &head, b"");
        }
        let findings = simulation.findings();
        let noticed = |site: &str| findings.with_visits.iter().any(|it| it.recipient == site);
        assert!(!noticed("mozilla.com") && noticed("collector.test"), "{findings:#?}");
        let found = findings.dependences.iter().any(|it| it.recipient == "mozilla.com");
        assert_eq!(found, depends, "{findings:#?}");
    }
}

#[test]
fn the_shorter_experiment_is_enough_for_a_hash() {
    for seed in 90..100 {
        let mut simulation = Simulation::new(seed, 8, 2, 6);
        simulation.background();
        for (at, page) in simulation.visits() {
            let head = format!("GET /?v={}", HEXLOWER.encode(&keyed(&page.url)));
            simulation.send(at, 200, "collector.test", &head, b"");
        }
        let findings = simulation.findings();
        assert!(
            findings.dependences.iter().any(|it| it.recipient == "collector.test"),
            "{seed}: {findings:#?}"
        );
    }
}

#[test]
fn too_small_experiments_find_nothing() {
    for (pages, visits, idle) in [(0, 0, 0), (0, 0, 5), (1, 1, 0), (1, 20, 5), (7, 1, 3)] {
        let mut simulation = Simulation::new(5, pages, visits, idle);
        simulation.background();
        for (at, page) in simulation.visits() {
            let head = format!("GET /?v={}", HEXLOWER.encode(&keyed(&page.url)));
            simulation.send(at, 200, "collector.test", &head, b"");
        }
        let findings = simulation.findings();
        assert_eq!(findings.dependences, [], "{pages} {visits} {idle}");
    }
    let mut stage = Simulation::usual(1).stage;
    stage.phase = Phase::Pages;
    assert!(analyse(&stage, &Samples::default()).is_none());
}

#[test]
fn results_are_the_same_each_time() {
    let mut simulation = Simulation::usual(3);
    simulation.background();
    for (at, page) in simulation.visits() {
        let head = format!("GET /?v={}", HEXLOWER.encode(&keyed(&page.url)));
        simulation.send(at, 200, "collector.test", &head, b"");
    }
    let (one, two) = (simulation.findings(), simulation.findings());
    assert_eq!(one.dependences, two.dependences);
    assert_eq!((one.tests, one.places), (two.tests, two.places));
}

#[test]
fn memory_is_bounded_and_losses_are_counted() {
    let mut simulation = Simulation::usual(4);
    for (at, _) in simulation.visits() {
        let names: Vec<String> =
            (0..2000).map(|_| format!(r#""k{}":1"#, simulation.random.next())).collect();
        let body = format!("{{{}}}", names.join(","));
        simulation.send(at, 200, "collector.test", "POST /", body.as_bytes());
    }
    let findings = simulation.findings();
    assert!(findings.dropped > 0);
    assert!(findings.places <= 20_000, "{}", findings.places);
    assert_eq!(findings.dependences, []);
}
