//! Findings in recorded requests, compared with their manifests. Needs no root.

use std::{collections::HashSet, fs, path::Path, thread};

use serde_json::{Map, Value};
use tracer_core::{
    finding::{Finding, Kind, Lifetime, Severity},
    knowledge::Knowledge,
    pipeline::{Output, Pipeline},
    proto::{Initiator, parse_http1},
    record::{Connection, Event, Hook, Process, Record, Transport, trace},
    stream::Sent,
};
use tracer_ebpf::{ABI_VERSION, RecordHeader, flag, hook, net};
use tracer_tests::{
    corpus::{Recorded, recorded},
    tracer_bin::{self, Outcome},
};

/// The page that was visited when the requests were recorded.
const VISITED: &str = "https://news.example.org/politics/story-42?q=private";

/// The site of that page, to which its own requests go.
const SITE: &str = "news.example.org";

/// The identifier that the SDKs and pages were given, and the form in which Matomo
/// sends it.
const IDENTIFIER: [&str; 2] = ["7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11", "7f3c2a109b1e4c57"];

/// The SDKs whose format a request has.
const SDKS: [(&str, &str); 14] = [
    ("npm-countly-node.http", "Countly"),
    ("npm-matomo-tracker.http", "Matomo"),
    ("npm-mixpanel-node-get.http", "Mixpanel"),
    ("npm-sa-sdk-javascript-ajax.http", "Sensors Analytics"),
    ("npm-universal-analytics.http", "Universal Analytics"),
    ("page-sa-js-ajax.http", "Sensors Analytics"),
    ("page-sa-js-image.http", "Sensors Analytics"),
    ("py-otlp-gzip.http", "OpenTelemetry"),
    ("py-posthog-gzip.http", "PostHog"),
    ("py-segment.http", "Segment"),
    ("py-sensors-batch.http", "Sensors Analytics"),
    ("py-sensors-default.http", "Sensors Analytics"),
    ("py-sentry-br.http", "Sentry"),
    ("py-snowplow-get-page.http", "Snowplow"),
];

/// tracer's results for a request, whole or cut.
struct Read {
    findings: Vec<Finding>,
    sdk: Option<String>,
    initiator: Initiator,
    authority: Option<String>,
    severity: Option<Severity>,
}

fn read(knowledge: &Knowledge, bytes: &[u8]) -> Option<Read> {
    let (mut requests, _) = parse_http1(bytes);
    assert!(requests.len() <= 1, "one request is recorded in each file");
    let sent = Sent {
        connection: Connection { key: 0, transport: Transport::Tcp, local: None, remote: None },
        hook: Hook::SysEnter,
        process: Process { uid: 0, tgid: 0, tid: 0, comm: String::new() },
        message: requests.pop()?,
    };
    let mut outputs = Vec::new();
    Pipeline::new(knowledge).request(sent, &mut outputs);
    let Some(Output::Request(decoded)) = outputs.pop() else {
        panic!("the pipeline yields other outputs");
    };
    assert_eq!(decoded.sender(), decoded.initiator, "no recorded client forges its fields");
    Some(Read {
        findings: decoded.findings().cloned().collect(),
        sdk: decoded.sdk.clone(),
        initiator: decoded.initiator,
        authority: decoded.sent.message.authority.clone(),
        severity: decoded.severity(),
    })
}

fn read_whole(knowledge: &Knowledge, request: &Recorded) -> Read {
    read(knowledge, &request.bytes).unwrap_or_else(|| panic!("{}: no request", request.name))
}

#[test]
fn every_url_is_found_by_the_listed_chains() {
    let knowledge = Knowledge::default();
    let mut found = 0;
    for request in recorded() {
        let read = read_whole(&knowledge, &request);
        let own_site = read.authority.as_deref() == Some(SITE);
        for chain in &request.url_chains {
            let kind = if chain == "header:Referer" { Kind::Referer } else { Kind::Url };
            // A page's URL is not disclosed by sending it to its own site.
            if kind == Kind::Url && own_site {
                continue;
            }
            let is_it = |f: &&Finding| f.chain == *chain && f.kind == kind;
            let finding = read.findings.iter().find(is_it);
            let Some(finding) = finding else {
                panic!("{}: no finding by {chain} in {:#?}", request.name, read.findings);
            };
            // An extension also sees the fragment.
            let url = finding.value.split('#').next();
            assert_eq!((url, finding.truncated), (Some(VISITED), false), "{}", request.name);
            found += 1;
        }
        // No other chain may find it.
        let listed = |finding: &Finding| request.url_chains.contains(&finding.chain);
        for finding in
            read.findings.iter().filter(|f| f.kind == Kind::Url && f.value.contains(VISITED))
        {
            assert!(listed(finding), "{}: {finding:?}", request.name);
        }
    }
    assert!(found > 30, "{found}");
}

#[test]
fn every_identifier_is_found_by_the_listed_chains() {
    let knowledge = Knowledge::default();
    let mut found = 0;
    for request in recorded() {
        let read = read_whole(&knowledge, &request);
        let chains: Vec<_> = read
            .findings
            .iter()
            .filter(|finding| {
                finding.kind == Kind::Identifier && IDENTIFIER.contains(&&*finding.value)
            })
            .inspect(|finding| {
                // A field named `uuid` may be the identifier of a single message.
                let is_named = !finding.chain.ends_with(".uuid");
                let lifetime = if is_named { Lifetime::Lasting } else { Lifetime::Unknown };
                assert_eq!(finding.lifetime, Some(lifetime), "{}", request.name);
                assert!(!finding.truncated && finding.class.is_some(), "{}", request.name);
            })
            .map(|finding| &*finding.chain)
            .collect();
        // Compare sets: manifests do not keep the order of the request.
        let listed: HashSet<_> = request.identifier_chains.iter().map(String::as_str).collect();
        assert_eq!(HashSet::from_iter(chains), listed, "{}: {:#?}", request.name, read.findings);
        found += listed.len();
    }
    assert!(found > 20, "{found}");
}

#[test]
fn every_sdk_is_recognised_by_its_format() {
    let knowledge = Knowledge::default();
    for request in recorded() {
        let sdk = SDKS.iter().find(|(name, _)| *name == request.name).map(|&(_, sdk)| sdk);
        assert_eq!(read_whole(&knowledge, &request).sdk.as_deref(), sdk, "{}", request.name);
    }
}

/// Identifiers that browsers send on their own account in these requests are new in
/// each request or each run.
#[test]
fn visits_and_browser_requests_raise_no_alert() {
    let knowledge = Knowledge::default();
    for request in recorded() {
        if matches!(request.class.as_str(), "navigation" | "browser-internal") {
            let read = read_whole(&knowledge, &request);
            let accused = read.findings.iter().find(|finding| {
                !matches!(finding.kind, Kind::Referer | Kind::Origin)
                    && !matches!(finding.lifetime, Some(Lifetime::Request | Lifetime::Session))
            });
            assert_eq!(accused, None, "{}", request.name);
            assert!(read.severity <= Some(Severity::Info), "{}", request.name);
        }
    }
}

#[test]
fn initiators_match_the_manifests() {
    let knowledge = Knowledge::default();
    for request in recorded() {
        let read = read_whole(&knowledge, &request);
        assert_eq!(read.initiator, request.initiator(), "{}", request.name);
    }
}

/// Cut at any length, a request has no finding that the whole lacks, and no higher
/// severity.
#[test]
fn cut_requests_do_not_contradict_whole_ones() {
    let requests = recorded();
    let mut longest_first: Vec<_> = requests.iter().collect();
    longest_first.sort_by_key(|request| std::cmp::Reverse(request.bytes.len()));
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for worker in 0..workers {
            let mine = longest_first.iter().skip(worker).step_by(workers);
            scope.spawn(move || {
                let knowledge = Knowledge::default();
                mine.for_each(|request| prefixes(&knowledge, request));
            });
        }
    });
}

fn prefixes(knowledge: &Knowledge, request: &Recorded) {
    let whole = read_whole(knowledge, request);
    let own = |value: &str| whole.authority.as_deref().is_some_and(|own| value.contains(own));
    for len in 0..request.bytes.len() {
        let Some(part) = read(knowledge, &request.bytes[..len]) else {
            continue;
        };
        let name = || format!("{} at {len}", request.name);
        assert!(
            part.initiator == whole.initiator || part.initiator == Initiator::Unknown,
            "{}: {:?}",
            name(),
            part.initiator
        );
        assert!(part.sdk.is_none() || part.sdk == whole.sdk, "{}: {:?}", name(), part.sdk);
        assert!(part.severity <= whole.severity, "{}: {:#?}", name(), part.findings);
        for finding in &part.findings {
            // Until the recipient is known, its own URLs count as well.
            let unknown = finding.kind == Kind::UrlToUnknown;
            let kind = if unknown { Kind::Url } else { finding.kind };
            let in_whole = |known: &Finding| {
                known.kind == kind
                    && (&known.class, known.lifetime) == (&finding.class, finding.lifetime)
                    && if finding.truncated {
                        known.value.starts_with(&finding.value) && leads_to(finding, known)
                    } else {
                        known.value == finding.value && is_chain(&finding.chain, &known.chain)
                    }
            };
            assert!(
                whole.findings.iter().any(in_whole) || unknown && own(&finding.value),
                "{}: {finding:#?} is not in {:#?}",
                name(),
                whole.findings
            );
        }
    }
}

/// Reports whether the chain of a cut request equals that of the whole. The first
/// line of JSON lines looks like a JSON document until the second one follows.
fn is_chain(part: &str, whole: &str) -> bool {
    part == whole || part.replacen(" > json", " > jsonl[0]", 1) == whole
}

/// Reports whether the chain of a cut finding is the beginning of the whole one. A
/// structure without its end is sometimes read only as the text that contains it.
fn leads_to(cut: &Finding, whole: &Finding) -> bool {
    let rest = whole.chain.strip_prefix(&cut.chain);
    is_chain(&cut.chain, &whole.chain) || rest.is_some_and(|rest| rest.starts_with(" > "))
}

/// Runs `tracer decode --json` on files and parses the lines.
fn decode(files: &[&Path]) -> (Outcome, Vec<Map<String, Value>>) {
    let mut command = tracer_bin::command(["decode", "--json"]);
    let ended = tracer_bin::run(command.args(files));
    let lines = ended.stdout.lines().map(|line| match serde_json::from_str(line) {
        Ok(Value::Object(line)) => line,
        other => panic!("{other:?} in {line}"),
    });
    let lines = lines.collect();
    (ended, lines)
}

fn keys(object: &Map<String, Value>) -> HashSet<&str> {
    object.keys().map(String::as_str).collect()
}

#[test]
fn json_lines_match_the_documentation() {
    let requests = recorded();
    let files: Vec<&Path> = requests.iter().map(|request| &*request.path).collect();
    let (ended, lines) = decode(&files);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    assert_eq!(lines.len(), requests.len());
    let knowledge = Knowledge::default();
    for (line, recorded) in lines.iter().zip(&requests) {
        let documented = [
            "source",
            "index",
            "browser",
            "private",
            "sender",
            "sender_reason",
            "extension",
            "extension_name",
            "extension_addon",
            "recipient",
            "sdk",
            "request",
            "derived_host",
            "initiator",
            "complete",
            "unread_bytes",
            "never_sent",
            "opaque_bytes",
            "findings",
            "findings_uncounted",
            "shortened",
            "limited",
        ];
        assert_eq!(keys(line), documented.into());
        assert_eq!(line["source"], recorded.path.to_str().expect("a path in UTF-8"));
        assert_eq!(line["index"], 0);
        assert_eq!(line["complete"], true);
        assert_eq!(line["unread_bytes"], 0);
        assert_eq!(line["findings_uncounted"], 0);
        let initiator = format!("{:?}", recorded.initiator()).to_lowercase();
        assert_eq!(line["initiator"], initiator);

        let request = line["request"].as_object().expect("an object");
        assert_eq!(keys(request), ["protocol", "method", "authority", "path"].into());
        assert_eq!(request["protocol"], "http/1.1");
        let text = String::from_utf8_lossy(&recorded.bytes);
        let start = format!(
            "{} {} HTTP/1.1\r\n",
            request["method"].as_str().expect("a method"),
            request["path"].as_str().expect("a path")
        );
        assert!(text.starts_with(&start), "{}: {start}", recorded.name);
        let host = format!("host: {}\r\n", request["authority"].as_str().expect("an authority"));
        assert!(text.to_lowercase().contains(&host), "{}: {host}", recorded.name);

        let findings = line["findings"].as_array().expect("an array");
        for finding in findings {
            let finding = finding.as_object().expect("an object");
            let context = [
                "role",
                "scope",
                "visited",
                "identification",
                "lifetime",
                "lifetime_reason",
                "confidence",
                "severity",
                "reason",
            ];
            let facts = ["kind", "class", "value", "chain", "truncated"];
            assert_eq!(keys(finding), facts.into_iter().chain(context).collect());
            let kind = finding["kind"].as_str().expect("a kind");
            let documented = [
                "url",
                "referer",
                "origin",
                "identifier",
                "page_text",
                "ui_event",
                "search_terms",
                "content_item",
                "personal_detail",
            ];
            assert!(documented.contains(&kind), "{kind}");
        }
        let known = read_whole(&knowledge, recorded).findings;
        for known in known {
            let known = serde_json::to_value(&known).expect("JSON");
            let said = |finding: &&Value| {
                let known = known.as_object().expect("an object");
                let mut shown = known.iter().filter(|(key, _)| *key != "lifetime");
                shown.all(|(key, it)| finding[key] == *it)
            };
            assert!(findings.iter().any(|finding| said(&finding)), "{}: {known}", recorded.name);
        }
    }
}

/// A trace of `tracer run --record` gives the same results as the requests in it.
#[test]
fn a_trace_decodes_like_its_requests() {
    let requests = recorded();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace");
    let file = fs::File::create(&path).expect("a file");
    let mut writer = trace::Writer::new(file).expect("a trace");
    for (key, request) in (1..).zip(&requests) {
        // Each in two sends, on a connection of its own.
        let (head, rest) = request.bytes.split_at(request.bytes.len() / 2);
        for (position, bytes) in [(0, head), (head.len(), rest)] {
            writer
                .write(&Event::Sent(record(key, position, bytes)))
                .expect("the trace can be written");
        }
    }
    drop(writer);

    let files: Vec<&Path> = requests.iter().map(|request| &*request.path).collect();
    let (_, raw) = decode(&files);
    let (ended, traced) = decode(&[&path]);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    assert_eq!(traced.len(), raw.len());
    for (index, (mut traced, raw)) in traced.into_iter().zip(raw).enumerate() {
        assert_eq!(traced.insert("index".into(), raw["index"].clone()), Some(index.into()));
        traced.insert("source".into(), raw["source"].clone());
        assert_eq!(traced, raw);
    }
}

fn record(key: u64, position: usize, bytes: &[u8]) -> Record {
    let len = u32::try_from(bytes.len()).expect("a short request");
    let header = RecordHeader {
        version: ABI_VERSION,
        hook: hook::SYS_ENTER,
        flags: flag::POSITION,
        key,
        // A UID for each request, so that visits are not shared.
        uid: u32::try_from(key).expect("a short list"),
        position: u32::try_from(position).expect("a short request"),
        family: net::AF_INET,
        protocol: net::TCP,
        len,
        captured: len,
        ..RecordHeader::default()
    };
    Record::from_kernel(&[&header.bytes(), bytes].concat()).expect("a record")
}

#[test]
fn unreadable_files_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let good = &recorded()[0];
    fs::write(at("other"), "neither a request nor a trace\n").expect("a file");
    fs::write(at("newer"), b"tracer\0\x7f").expect("a file");
    fs::write(at("damaged"), b"tracer\0\x01\x01\0\0\0\xff\xff\xff\xff").expect("a file");
    fs::write(at("cut"), b"tracer\0\x01\x01\0").expect("a file");
    for (name, cause) in [
        ("missing", "No such file"),
        (".", "directory"),
        ("other", "no HTTP request"),
        ("newer", "version 127"),
        ("damaged", "damaged"),
        ("cut", "middle of an entry"),
    ] {
        // A readable file next to it is still decoded.
        let (ended, lines) = decode(&[&at(name), &good.path]);
        assert_eq!(ended.code, Some(1), "{name}: {}", ended.stderr);
        assert_eq!(lines.len(), 1, "{name}");
        assert!(ended.stderr.contains(cause), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains(at(name).to_str().expect("UTF-8")), "{}", ended.stderr);
    }
    fs::write(at("empty"), "").expect("a file");
    let empty = tracer_bin::run(tracer_bin::command(["decode"]).arg(at("empty")));
    assert_eq!(empty.code, Some(1));
    assert!(empty.stderr.contains("empty: it is empty, so there is nothing"), "{}", empty.stderr);
    let empty = tracer_bin::run(&mut tracer_bin::command(["decode", "-"]));
    assert_eq!(empty.code, Some(1));
    assert!(empty.stderr.starts_with("tracer: standard input: it is empty"), "{}", empty.stderr);
    let ended = tracer_bin::run(&mut tracer_bin::command(["decode"]));
    assert_eq!(ended.code, Some(2), "decode without files: {}", ended.stderr);
}

#[test]
fn a_recording_without_requests_is_not_passed_over_in_silence() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("t.trace");
    let mut trace = Vec::new();
    trace::Writer::new(&mut trace).expect("a trace");
    fs::write(&file, &trace).expect("a file");
    let (ended, lines) = decode(&[&file]);
    assert_eq!((ended.code, lines.len()), (Some(0), 0), "{}", ended.stderr);
    let expected = "t.trace: it holds no request that tracer can read\n";
    assert!(ended.stderr.ends_with(expected), "{}", ended.stderr);
    assert_eq!(decode(&[&recorded()[0].path]).0.stderr, "");
}

#[test]
fn packed_files_are_read_and_files_of_other_tools_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let har = "{\"log\":{\"entries\":[{\"startedDateTime\":\"2026-11-22T10:00:00Z\",\
               \"request\":{\"method\":\"GET\",\"url\":\"http://a.test/\"}}]}}";
    let utf16: Vec<u8> = har.encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(at("utf16.har"), utf16).expect("a file");
    let (ended, lines) = decode(&[&at("utf16.har")]);
    assert_eq!((ended.code, lines.len()), (Some(0), 1), "{}", ended.stderr);
    assert!(ended.stderr.contains("header fields"), "{}", ended.stderr);

    fs::write(at("1.json"), "{\"constants\":{\"logEventTypes\":{}},\"events\":[]}")
        .expect("a file");
    fs::write(at("2.chls"), b"\xac\xed\0\x05").expect("a file");
    fs::write(at("3.xz"), b"\xfd7zXZ\0\0\x04").expect("a file");
    for (name, step) in [("1.json", "net-log"), ("2.chls", "charles convert"), ("3.xz", "xz -d")] {
        let (ended, _) = decode(&[&at(name)]);
        assert_eq!(ended.code, Some(1), "{name}");
        assert!(ended.stderr.contains(step), "{name}: {}", ended.stderr);
    }
    // Another tool's words in the body of a request do not make it that tool's.
    fs::write(at("4"), "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 11\r\n\r\n_postman_id")
        .expect("a file");
    let (ended, lines) = decode(&[&at("4")]);
    assert_eq!((ended.code, lines.len()), (Some(0), 1), "{}", ended.stderr);
}
