//! Recordings of other tools, compared with the recorded requests, and exports of
//! tracer as other tools read them.
//!
//! The requests of the corpus are sent again to a local server while mitmproxy,
//! dumpcap or tcpdump records them. The findings in the recordings must equal those
//! in the requests themselves.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use serde_json::Value;
use tempfile::TempDir;
use tracer_core::{
    alert::redact::Redactor,
    finding::{Finding, Kind},
    judge::JudgedRequest,
    knowledge::Knowledge,
    pipeline::{Output, Pipeline},
    proto::parse_http1,
    record::{BootTime, Clock, Connection, Event, Hook, Process, Transport},
    stream::Sent,
};
use tracer_formats::{Evidence, har, pcapng};
use tracer_tests::{
    corpus::recorded,
    recorder::{
        PATIENCE, Server, Tool, free_port, in_network_namespace, run_to_end, wait_until_recorded,
    },
    skip,
    tracer_bin::{self, Outcome},
    watched::lines,
    web::{COLLECTOR, Protocol, Reader, Web, installed, python},
};

const SETUP: &str = "(`cargo xtask setup --tests`)";

/// The findings in a request: its path, and the kind, value and chain of each.
type Found = (String, BTreeSet<(String, String, String)>);

/// Decodes the requests of the corpus, in order.
fn corpus() -> Vec<JudgedRequest> {
    let mut pipeline = Pipeline::new(&Knowledge::default());
    let mut outputs = Vec::new();
    let clock = Clock { boot: BootTime(0), unix: 1_795_341_600_000_000_000 };
    pipeline.push(Event::Clock(clock), &mut outputs);
    for (i, request) in recorded().into_iter().enumerate() {
        let (requests, _) = parse_http1(&request.bytes);
        for mut message in requests {
            message.time = BootTime(i as u64 * 1_000_000_000);
            let remote = (Ipv4Addr::LOCALHOST, 80).into();
            let local = (Ipv4Addr::LOCALHOST, 20_000 + i as u16).into();
            let connection = Connection {
                key: i as u64,
                transport: Transport::Tls,
                local: Some(local),
                remote: Some(remote),
            };
            let process = Process { uid: 10_123, tgid: 7, tid: 7, comm: "browser".into() };
            let sent = Sent { connection, hook: Hook::SslWrite, process, message };
            pipeline.request(sent, &mut outputs);
        }
    }
    let request = |output| match output {
        Output::Request(decoded) => Some(Arc::unwrap_or_clone(decoded)),
        _ => None,
    };
    // A request that is judged again appears twice. Keep its first position.
    let mut all: Vec<JudgedRequest> = outputs.into_iter().filter_map(request).collect();
    all.sort_by_key(|decoded| decoded.number);
    all.dedup_by_key(|decoded| decoded.number);
    assert!(all.len() > 50, "the recorded requests");
    all
}

fn found(decoded: &JudgedRequest) -> Found {
    let kind = |kind: Kind| serde_json::to_value(kind).expect("a kind");
    let finding = |found: &Finding| {
        let kind = kind(found.kind).as_str().unwrap_or_default().to_owned();
        (kind, found.value.clone(), found.chain.clone())
    };
    let path = decoded.sent.message.target().to_owned();
    (path, decoded.findings().map(finding).collect())
}

/// Returns what `tracer decode --json` finds in a file.
fn decode(file: &Path) -> Vec<Found> {
    let mut command = tracer_bin::command(["decode", "--json"]);
    let Outcome { code, stdout, stderr } = tracer_bin::run(command.arg(file));
    assert_eq!(code, Some(0), "{stderr}");
    lines(&stdout).iter().map(found_in).collect()
}

fn found_in(line: &Value) -> Found {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let finding = |one: &Value| (text(&one["kind"]), text(&one["value"]), text(&one["chain"]));
    let findings = line["findings"].as_array().expect("findings");
    assert_eq!(line["complete"], true, "{line:#}");
    (text(&line["request"]["path"]), findings.iter().map(finding).collect())
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("tracer-formats-").tempdir().expect("a folder")
}

fn entries(all: &[JudgedRequest]) -> Vec<Evidence<'_>> {
    all.iter().map(|decoded| Evidence { decoded, phase: Some("idle") }).collect()
}

/// Exports the corpus as HAR and pcapng. Returns both paths.
fn exported(folder: &Path, all: &[JudgedRequest]) -> (PathBuf, PathBuf) {
    let (archive, capture) = (folder.join("requests.har"), folder.join("requests.pcapng"));
    let create = |path: &Path| fs::File::create(path).expect("a file");
    har::write(create(&archive), &entries(all), &Redactor::off()).expect("an archive");
    pcapng::write(create(&capture), &entries(all)).expect("a capture");
    (archive, capture)
}

#[test]
fn tracer_reads_its_own_exports() {
    let folder = folder();
    let all = corpus();
    let expected: Vec<Found> = all.iter().map(found).collect();
    let (archive, capture) = exported(folder.path(), &all);
    for file in [archive, capture] {
        let read = decode(&file);
        assert_eq!(read.len(), expected.len(), "{}", file.display());
        for (read, expected) in read.iter().zip(&expected) {
            assert_eq!(read, expected, "{}", file.display());
        }
        // A file cut in the middle yields the requests before the cut and an error.
        let bytes = fs::read(&file).expect("the file");
        let cut = folder.path().join("cut");
        fs::write(&cut, &bytes[..bytes.len() / 2]).expect("a file");
        let ended = tracer_bin::run(tracer_bin::command(["decode", "--json"]).arg(&cut));
        assert_eq!(ended.code, Some(1), "{}", ended.stderr);
        let count = lines(&ended.stdout).len();
        assert!(count > 10 && count < expected.len(), "{count}");
        assert!(ended.stderr.contains("ends in the middle"), "{}", ended.stderr);
    }
}

#[test]
fn wireshark_reads_exports() {
    if !skip::met(installed("tshark"), &format!("tshark {SETUP}")) {
        return;
    }
    const FIELDS: [&str; 5] =
        ["http.request.method", "http.host", "http.request.uri", "frame.comment", "_ws.malformed"];
    let folder = folder();
    let all = corpus();
    let (_, capture) = exported(folder.path(), &all);
    let mut command = Command::new("tshark");
    command.arg("-r").arg(&capture).args(["-T", "json"]);
    FIELDS.iter().for_each(|field| {
        command.args(["-e", field]);
    });
    let output = run_to_end(&mut command);
    let packets: Vec<Value> = serde_json::from_slice(&output.stdout).expect("tshark's JSON");
    let field = |packet: &Value, name: &str| -> String {
        packet["_source"]["layers"][name][0].as_str().unwrap_or_default().to_owned()
    };
    let heads: Vec<&Value> =
        packets.iter().filter(|packet| !field(packet, FIELDS[0]).is_empty()).collect();
    assert_eq!(heads.len(), all.len());
    for (packet, decoded) in heads.iter().zip(&all) {
        let request = &decoded.sent.message;
        assert_eq!(field(packet, FIELDS[0]), request.method.as_deref().unwrap_or_default());
        assert_eq!(field(packet, FIELDS[2]), request.target(), "{packet:#}");
        assert_eq!(field(packet, FIELDS[1]), request.authority.as_deref().unwrap_or_default());
        let comment = field(packet, FIELDS[3]);
        assert!(comment.contains("(phase: idle)"), "{packet:#}");
    }
    let malformed = packets.iter().filter(|packet| !field(packet, FIELDS[4]).is_empty());
    assert_eq!(malformed.count(), 0);
}

/// mitmproxy loads tracer's HAR as flows and writes them as a HAR of its own, which
/// contains the same requests.
#[test]
fn mitmproxy_reads_exports() {
    let Some(mitmdump) = mitmdump() else { return };
    let folder = folder();
    let all = corpus();
    let (archive, _) = exported(folder.path(), &all);
    let again = folder.path().join("again.har");
    run_to_end(
        Command::new(mitmdump)
            .args(["--quiet", "--no-server", "--rfile"])
            .arg(&archive)
            .arg("--set")
            .arg(format!("hardump={}", again.display()))
            .arg("--set")
            .arg(format!("confdir={}", folder.path().display())),
    );
    let read = decode_any(&again);
    assert_eq!(read.len(), all.len());
    for (read, decoded) in read.iter().zip(&all) {
        // mitmproxy decodes bodies, so chains are shorter, and it does not support
        // base64 in requests: compare only text.
        let (path, expected) = found(decoded);
        assert_eq!(read.0, path);
        if std::str::from_utf8(&decoded.sent.message.body.data).is_ok() {
            assert_eq!(values(&read.1), values(&expected), "{path}");
        }
    }
}

#[test]
fn mitmproxy_recordings_are_read() {
    let Some(mitmdump) = mitmdump() else { return };
    let folder = folder();
    let archive = folder.path().join("recorded.har");
    let server = Server::start(0);
    let port = free_port();
    let mut proxy = Tool::start(
        Command::new(mitmdump)
            .args(["--mode", &format!("reverse:http://127.0.0.1:{}", server.port())])
            .args(["--listen-host", "127.0.0.1", "--listen-port", &port.to_string()])
            .args(["--set", "keep_host_header=true"])
            .args(["--set", &format!("hardump={}", archive.display())])
            .args(["--set", &format!("confdir={}", folder.path().display())]),
    );
    proxy.wait_until_listening(port);
    let all = corpus();
    replay(port);
    proxy.end();
    let read = decode_any(&archive);
    assert_eq!(read.len(), all.len());
    for decoded in &all {
        let (path, expected) = found(decoded);
        // Requests can end in another order than they began.
        let same = read.iter().any(|read| read.0 == path && values(&read.1) == values(&expected));
        assert!(same, "{path}: {expected:#?} in {read:#?}");
    }
}

#[test]
fn wireshark_recordings_are_read() {
    captured("dumpcap", |file| {
        let mut command = Command::new("dumpcap");
        command.args(["-q", "-i", "lo", "-w"]).arg(file);
        command
    });
}

#[test]
fn tcpdump_recordings_are_read() {
    captured("tcpdump", |file| {
        let mut command = Command::new("tcpdump");
        command.args(["-i", "lo", "-U", "-B", "16384", "-Z", "root", "-w"]).arg(file);
        command
    });
}

/// Wireshark's tools add the keys that a client logs to the file.
#[test]
fn encrypted_recordings_are_read_with_their_keys() {
    let tools = ["dumpcap", "editcap", "ip", "curl"];
    let there = tools.iter().all(|tool| installed(tool));
    if !skip::root() || !skip::met(there, &format!("tshark, iproute2 and curl {SETUP}")) {
        return;
    }
    in_network_namespace(encrypted);
}

fn encrypted() {
    const PAGE: &str = "https://news.example.org/politics/story-42?q=private";
    const V13: &[&str] = &["--tlsv1.3", "--tls13-ciphers"];
    const V12: &[&str] = &["--tls-max", "1.2", "--ciphers"];
    const CIPHERS: [(&str, &[&str], &str); 6] = [
        ("/1.3/aes-256", V13, "TLS_AES_256_GCM_SHA384"),
        ("/1.3/aes-128", V13, "TLS_AES_128_GCM_SHA256"),
        ("/1.3/chacha20", V13, "TLS_CHACHA20_POLY1305_SHA256"),
        ("/1.2/aes-256", V12, "ECDHE-ECDSA-AES256-GCM-SHA384"),
        ("/1.2/aes-128", V12, "ECDHE-ECDSA-AES128-GCM-SHA256"),
        ("/1.2/chacha20", V12, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ];
    let Some(web) = Web::start(Protocol::Http1, Reader::Hasty) else { return };
    let folder = folder();
    let [file, keys, both] = ["capture", "keys", "both"].map(|name| folder.path().join(name));
    let mut recorder =
        Tool::start(Command::new("dumpcap").args(["-q", "-i", "lo", "-w"]).arg(&file));
    recorder.wait_for_line("lo");
    wait_until_recorded(&file, "it begins");
    for (path, version, cipher) in CIPHERS {
        run_to_end(
            Command::new("curl")
                .args(["-sS", "--cacert"])
                .arg(web.ca())
                .args(version)
                .args([cipher, "--resolve", &format!("{COLLECTOR}:{}:127.0.0.1", web.port())])
                .args(["--data-urlencode", &format!("page={PAGE}")])
                .arg(web.url(COLLECTOR, path))
                .env("SSLKEYLOGFILE", &keys),
        );
    }
    wait_until_recorded(&file, "it has all");
    recorder.end();
    let inject = format!("tls,{}", keys.display());
    run_to_end(Command::new("editcap").args(["--inject-secrets", &inject]).args([&file, &both]));
    // Without the keys nothing can be read, and tracer says so.
    let without = tracer_bin::run(tracer_bin::command(["decode", "--json"]).arg(&file));
    assert_eq!((without.code, &*without.stdout), (Some(0), ""), "{}", without.stderr);
    assert!(without.stderr.contains("bytes encrypted (TLS)"), "{}", without.stderr);
    let read = decode(&both);
    let paths: Vec<&str> = read.iter().map(|(path, _)| &**path).collect();
    assert_eq!(paths, CIPHERS.map(|(path, ..)| path));
    for (path, found) in &read {
        let page = ("url".to_owned(), PAGE.to_owned(), "body > form:page".to_owned());
        assert!(found.contains(&page), "{path}: {found:#?}");
    }
}

/// Records the replayed corpus in a separate network namespace and decodes the
/// recording.
fn captured(tool: &str, command: impl Fn(&Path) -> Command + Sync) {
    let there = installed(tool) && installed("ip");
    if !skip::root() || !skip::met(there, &format!("{tool} and iproute2 {SETUP}")) {
        return;
    }
    in_network_namespace(|| record(&command));
}

fn record(command: impl Fn(&Path) -> Command) {
    let folder = folder();
    let file = folder.path().join("capture");
    let server = Server::start(80);
    let mut recorder = Tool::start(&mut command(&file));
    recorder.wait_for_line("lo");
    let all = corpus();
    wait_until_recorded(&file, "it begins");
    replay(server.port());
    wait_until_recorded(&file, "it has all");
    recorder.end();
    let read = decode(&file);
    assert_eq!(read.len(), all.len());
    for (read, decoded) in read.iter().zip(&all) {
        let (path, expected) = found(decoded);
        assert_eq!(read, &(path, expected));
    }
}

/// Returns the kinds and values of findings about URLs. Their chains differ where a
/// tool has undone an encoding.
fn values(found: &BTreeSet<(String, String, String)>) -> BTreeSet<(&str, &str)> {
    let is_url = |kind: &str| kind == "url" || kind == "identifier";
    let list = found.iter().filter(|(kind, ..)| is_url(kind));
    list.map(|(kind, value, _)| (&**kind, &**value)).collect()
}

/// Like [`decode`], but accepts requests whose bodies the tool left out.
fn decode_any(file: &Path) -> Vec<Found> {
    let ended = tracer_bin::run(tracer_bin::command(["decode", "--json"]).arg(file));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let whole = |mut line: Value| {
        line["complete"] = true.into();
        found_in(&line)
    };
    lines(&ended.stdout).into_iter().map(whole).collect()
}

/// Sends every recorded request in two writes, each on a connection of its own.
fn replay(port: u16) {
    for request in recorded() {
        send(port, &request.bytes);
    }
}

fn send(port: u16, request: &[u8]) {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the server");
    server.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let (one, two) = request.split_at(request.len() / 2);
    server.write_all(one).expect("a request");
    server.write_all(two).expect("a request");
    let mut answer = [0; 12];
    server.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 204");
}

/// Returns the mitmproxy next to the tests' Python. Returns `None`, and marks the
/// test as skipped, if there is none.
fn mitmdump() -> Option<PathBuf> {
    let mitmdump = python()?.with_file_name("mitmdump");
    skip::met(mitmdump.is_file(), &format!("mitmproxy {SETUP}")).then_some(mitmdump)
}
