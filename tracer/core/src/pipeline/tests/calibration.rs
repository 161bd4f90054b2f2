//! Calibration: innocent traffic raises no alert, and leaks keep their severity.
//!
//! `tests/fixtures/corpus/innocent/MANIFEST.tsv` says which program each file was
//! recorded from, and how. A file holds the requests of one program in their order:
//! a line `@ SCHEME LENGTH`, then as many bytes, then a line feed.
//!
//! The files in `written` hold requests that were written after the documentation of other
//! protocols and vendors, with the right answer beside each: a line `# NAME ANSWER`, then the
//! requests of one application in the same form.

use std::{collections::BTreeMap, fs, path::PathBuf};

use super::*;
use crate::{finding::Severity, proto::parse_http1, stream::Sent};

/// Least number of innocent requests. More may be recorded.
const REQUESTS: usize = 1500;

/// Time between two requests, in nanoseconds.
const INTERVAL: u64 = 50_000_000;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/corpus")
}

/// The rows of a table with tabs, by the names of its columns.
fn table(path: &str) -> Vec<BTreeMap<String, String>> {
    let text = fs::read_to_string(folder().join(path)).expect("the table can be read");
    let mut lines = text.lines().map(|line| line.split('\t').map(str::to_owned));
    let header: Vec<String> = lines.next().expect("a header line").collect();
    lines.map(|row| header.iter().cloned().zip(row).collect()).collect()
}

/// A recorded request and how it was sent.
struct Recorded {
    transport: Transport,
    bytes: Vec<u8>,
}

/// Requests that one application sent one after another.
#[derive(Default)]
struct Group {
    name: String,
    /// The right answer: `calm`, or the least severity.
    answer: String,
    requests: Vec<Recorded>,
}

/// Reads a file of requests in groups. Those before the first line that begins a group are one.
fn groups(path: &str) -> Vec<Group> {
    let bytes = fs::read(folder().join(path)).expect("the file can be read");
    let mut rest = &bytes[..];
    let mut groups = Vec::new();
    while !rest.is_empty() {
        let line = rest.iter().position(|&byte| byte == b'\n').expect("a line ends");
        let head = std::str::from_utf8(&rest[..line]).expect("the line is text");
        rest = &rest[line + 1..];
        match head.split(' ').collect::<Vec<_>>()[..] {
            ["#", name, answer] => {
                let (name, answer) = (name.to_owned(), answer.to_owned());
                groups.push(Group { name, answer, requests: Vec::new() });
            }
            ["@", scheme, len] => {
                let len: usize = len.parse().expect("a length");
                let transport = if scheme == "https" { Transport::Tls } else { Transport::Tcp };
                if groups.is_empty() {
                    groups.push(Group::default());
                }
                let requests = &mut groups.last_mut().expect("a group").requests;
                requests.push(Recorded { transport, bytes: rest[..len].to_vec() });
                rest = &rest[len + 1..];
            }
            _ => panic!("{path}: {head}"),
        }
    }
    groups
}

/// Reads a file of recorded innocent requests.
fn innocent(file: &str) -> Vec<Recorded> {
    groups(&format!("innocent/{file}")).pop().expect("a request").requests
}

/// Judges requests that one program sent one after another.
fn judge(
    knowledge: &Knowledge,
    executable: Option<&str>,
    recorded: &[Recorded],
) -> Vec<Arc<JudgedRequest>> {
    let mut pipeline = Pipeline::new(knowledge);
    let mut out = Vec::new();
    if let Some(path) = executable {
        pipeline.push(Event::Executable { tgid: PID, path: path.into() }, &mut out);
    }
    for (index, Recorded { transport, bytes }) in recorded.iter().enumerate() {
        let (requests, _) = parse_http1(bytes);
        assert_eq!(
            requests.len(),
            1,
            "{}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(200)])
        );
        for mut message in requests {
            let key = index as u64;
            message.time = BootTime(key * INTERVAL);
            let process = Process { uid: 1000, tgid: PID, tid: PID, comm: String::new() };
            let connection = Connection { key, transport: *transport, local: None, remote: None };
            let hook = match transport {
                Transport::Tls | Transport::Quic => Hook::SslWrite,
                Transport::Tcp | Transport::Udp | Transport::Raw => Hook::SysEnter,
            };
            pipeline.request(Sent { connection, hook, process, message }, &mut out);
        }
    }
    pipeline.finish(&mut out);
    let requests = out.into_iter().filter_map(|output| match output {
        Output::Request(request) => Some(request),
        Output::Repeated { .. } | Output::Lost { .. } => None,
    });
    requests.collect()
}

/// Describes what a false alert is raised for.
fn describe(file: &str, request: &JudgedRequest) -> String {
    let message = &request.sent.message;
    let disclosures = request.disclosures.iter().filter(|it| it.severity() >= Severity::Medium);
    let what: Vec<_> = disclosures
        .map(|it| {
            let finding = &it.finding;
            let (reason, value) = (&it.verdict.reason, finding.value.chars().take(90));
            let value: String = value.collect();
            format!("{:?} {:?} {value} at {}: {reason}", it.severity(), finding.kind, finding.chain)
        })
        .collect();
    let authority = message.authority.as_deref().unwrap_or("?");
    format!("{file} {authority} ({:?}): {}", request.sender(), what.join("; "))
}

#[test]
fn innocent_traffic_raises_no_alert() {
    let knowledge = Knowledge::default();
    let (mut total, mut alerts) = (0, Vec::new());
    for row in table("innocent/MANIFEST.tsv") {
        let file = &row["file"];
        let recorded = innocent(file);
        assert_eq!(row["requests"], recorded.len().to_string(), "{file}");
        total += recorded.len();
        let judged = judge(&knowledge, Some(&row["executable"]), &recorded);
        let critical = judged.iter().any(|it| it.severity() == Some(Severity::Critical));
        assert!(!critical, "{file}");
        let severe = judged.iter().filter(|it| it.severity() >= Some(Severity::Medium));
        alerts.extend(severe.map(|it| describe(file, it)));
    }
    assert!(alerts.is_empty(), "false alerts:\n{}", alerts.join("\n"));
    assert!(total >= REQUESTS, "{total} requests");
}

#[test]
fn recorded_leaks_keep_their_severity() {
    let knowledge = Knowledge::default();
    let mut changed = Vec::new();
    let rows = table("severities.tsv");
    assert!(rows.len() > 30, "the recorded leaks");
    for row in rows {
        let (file, expected) = (&row["file"], &row["severity"]);
        let bytes = fs::read(folder().join(file)).expect("the request can be read");
        let recorded = [Recorded { transport: Transport::Tls, bytes }];
        let judged = judge(&knowledge, None, &recorded);
        let severity =
            judged[0].severity().map_or("none".to_owned(), |it| format!("{it:?}").to_lowercase());
        if severity != *expected {
            changed.push(format!("{file}\t{severity}\t(was {expected})"));
        }
    }
    assert!(changed.is_empty(), "changed:\n{}", changed.join("\n"));
}

#[test]
fn written_innocent_requests_raise_no_alert() {
    let knowledge = Knowledge::default();
    let groups = groups("written/innocent.cases");
    assert!(groups.len() > 300, "{} groups", groups.len());
    let mut alerts = Vec::new();
    for group in groups {
        assert_eq!(group.answer, "calm", "{}", group.name);
        let judged = judge(&knowledge, None, &group.requests);
        let severe = judged.iter().filter(|it| it.severity() >= Some(Severity::Medium));
        alerts.extend(severe.map(|it| describe(&group.name, it)));
    }
    assert!(alerts.is_empty(), "false alerts:\n{}", alerts.join("\n"));
}

#[test]
fn written_leaks_raise_alerts() {
    let knowledge = Knowledge::default();
    let groups = groups("written/leaks.cases");
    assert!(groups.len() > 60, "{} groups", groups.len());
    let mut missed = Vec::new();
    for group in groups {
        let least = match &*group.answer {
            "medium" => Severity::Medium,
            "high" => Severity::High,
            "critical" => Severity::Critical,
            answer => panic!("{}: {answer}", group.name),
        };
        let judged = judge(&knowledge, None, &group.requests);
        let severity = judged.iter().filter_map(|it| it.severity()).max();
        if severity < Some(least) {
            missed.push(format!("{}: {severity:?} and not {least:?}", group.name));
        }
    }
    assert!(missed.is_empty(), "missed:\n{}", missed.join("\n"));
}
