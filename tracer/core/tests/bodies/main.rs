//! Bodies that disclose nothing: random, compressed and encrypted bytes, images, text.
//! tracer must not find anything in them, whatever they look like.
//!
//! An application has visited pages, so that their URLs, hosts and hashes are looked for.
//! Every body goes to a third party, from the browser itself, so that any finding counts.

mod files;
mod generate;
mod random;

use std::{collections::BTreeMap, fmt::Write as _, thread};

use tracer_core::{
    finding::Severity,
    knowledge::Knowledge,
    pipeline::{Output, Pipeline},
    proto::{Request, parse_http1},
    record::{BootTime, Connection, Event, Hook, Process, Transport},
    stream::Sent,
};

use self::{
    files::Files,
    generate::{Body, KINDS},
    random::Random,
};

/// Number of bodies after which an application starts anew.
const BATCH: u64 = 2000;

const VISITED: [&str; 10] = [
    "news.example.org/politics/story-42?q=private",
    "www.example.com/",
    "shop.example.net/item/1234567?ref=home",
    "de.wikipedia.example/wiki/Politik",
    "a.test/x",
    "health.example.org/hiv",
    "mail.example.com/inbox/2",
    "127-0-0-1.example.org/a",
    "xn--bcher-kva.example/",
    "t.example/1",
];

fn request(text: &[u8]) -> Request {
    let (mut requests, _) = parse_http1(text);
    assert_eq!(requests.len(), 1, "one request");
    requests.remove(0)
}

/// Returns the request of a page's opening.
fn navigation(target: &str) -> Request {
    let (host, path) = target.split_once('/').expect("a path");
    request(
        format!(
            "GET /{path} HTTP/1.1\r\nHost: {host}\r\nSec-Fetch-Site: none\r\n\
             Sec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\nSec-Fetch-User: ?1\r\n\r\n"
        )
        .as_bytes(),
    )
}

/// Returns the request that carries a body.
fn upload(body: &Body) -> Request {
    let mut head = format!(
        "POST /upload HTTP/1.1\r\nHost: collector.example\r\nSec-Fetch-Site: none\r\n\
         Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: empty\r\nContent-Length: {}\r\n",
        body.bytes.len()
    );
    if !body.kind.is_empty() {
        let _ = write!(head, "Content-Type: {}\r\n", body.kind);
    }
    request(&[head.as_bytes(), b"\r\n", &body.bytes].concat())
}

/// The bodies of one kind.
#[derive(Default)]
struct Count {
    bodies: u64,
    bytes: u64,
    /// Bodies with a finding that is worth counting and no more.
    info: u64,
    found: u64,
}

#[derive(Default)]
struct Outcome {
    kinds: BTreeMap<usize, Count>,
    /// Descriptions of findings above info.
    found: Vec<String>,
}

/// Judges the bodies of one application, whose content follows from `seed`.
fn judge(knowledge: &Knowledge, files: &Files, seed: u64, count: u64, outcome: &mut Outcome) {
    let mut random = Random::new(seed);
    let mut pipeline = Pipeline::new(knowledge);
    let mut out = Vec::new();
    let path = "/opt/browser/browser".to_owned();
    pipeline.push(Event::Executable { tgid: 1, path }, &mut out);
    let mut key = 0;
    let mut push = |mut message: Request, out: &mut Vec<Output>| {
        key += 1;
        message.time = BootTime(key * 20_000_000);
        let process = Process { uid: 1000, tgid: 1, tid: 1, comm: String::new() };
        let connection = Connection { key, transport: Transport::Tls, local: None, remote: None };
        pipeline.request(Sent { connection, hook: Hook::SslWrite, process, message }, out);
    };
    for target in VISITED {
        push(navigation(target), &mut out);
    }
    for index in 0..count {
        let kind = index as usize % KINDS.len();
        let (name, generate) = KINDS[kind];
        let body = generate(&mut random, files);
        out.clear();
        push(upload(&body), &mut out);
        let row = outcome.kinds.entry(kind).or_default();
        row.bodies += 1;
        row.bytes += body.bytes.len() as u64;
        for output in &out {
            let Output::Request(judged) = output else { continue };
            row.info += u64::from(judged.severity() == Some(Severity::Info));
            let severe = judged.disclosures.iter().filter(|it| it.severity() > Severity::Info);
            row.found += u64::from(judged.severity() > Some(Severity::Info));
            outcome.found.extend(severe.map(|it| {
                let (finding, severity) = (&it.finding, it.severity().as_str());
                let value: String = finding.value.chars().take(120).collect();
                let start = String::from_utf8_lossy(&body.bytes[..body.bytes.len().min(48)]);
                let kind = finding.kind.as_str();
                let class = finding.class.as_deref().unwrap_or_default();
                format!(
                    "{name}, seed {seed}, body {index}: {severity} {kind} {class} {value:?} at {} in {start:?}",
                    finding.chain
                )
            }));
        }
    }
}

/// Judges `total` bodies on all processors.
fn run(files: &Files, total: u64) -> Outcome {
    let knowledge = Knowledge::default();
    let workers = thread::available_parallelism().map_or(1, usize::from) as u64;
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let work = |worker: u64| {
            let (knowledge, files) = (&knowledge, files);
            scope.spawn(move || {
                let mut outcome = Outcome::default();
                for batch in (worker..total.div_ceil(BATCH)).step_by(workers as usize) {
                    let count = BATCH.min(total - batch * BATCH);
                    judge(knowledge, files, batch, count, &mut outcome);
                }
                outcome
            })
        };
        let workers: Vec<_> = (0..workers).map(work).collect();
        workers.into_iter().map(|worker| worker.join().expect("no panic")).collect()
    });
    let mut all = Outcome::default();
    for outcome in outcomes {
        all.found.extend(outcome.found);
        for (kind, count) in outcome.kinds {
            let row = all.kinds.entry(kind).or_default();
            row.bodies += count.bodies;
            row.bytes += count.bytes;
            row.info += count.info;
            row.found += count.found;
        }
    }
    all
}

/// Panics if anything was found, and shows the first findings.
fn check(outcome: &Outcome) {
    let total: u64 = outcome.kinds.values().map(|it| it.found).sum();
    let mut first = outcome.found.clone();
    first.sort();
    // A few of each kind.
    let kind = |text: &str| text.split(", seed").next().map(str::to_owned);
    let mut last = (None, 0);
    first.retain(|text| {
        last = if last.0 == kind(text) { (last.0.clone(), last.1 + 1) } else { (kind(text), 0) };
        last.1 < 12
    });
    assert_eq!(total, 0, "bodies with findings above info:\n{}", first.join("\n"));
}

#[test]
fn innocent_bodies_hold_nothing() {
    let outcome = run(&Files::of_repository(), 4200);
    assert_eq!(outcome.kinds.len(), KINDS.len());
    check(&outcome);
}

/// The same with a million bodies, and the files of this machine's packages. Prints the
/// table of docs/measurements/bodies.md.
#[test]
#[ignore = "takes minutes; see docs/measurements/bodies.md"]
fn a_million_innocent_bodies_hold_nothing() {
    let total = std::env::var("BODIES").map_or(1_000_000, |it| it.parse().expect("a number"));
    let outcome = run(&Files::of_machine(), total);
    println!("| bodies | number | MB | with a finding of severity info | above info |");
    println!("|---|---|---|---|---|");
    for (kind, Count { bodies, bytes, info, found }) in &outcome.kinds {
        println!("| {} | {bodies} | {} | {info} | {found} |", KINDS[*kind].0, bytes / 1_000_000);
    }
    check(&outcome);
}
