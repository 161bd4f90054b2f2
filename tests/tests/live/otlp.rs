//! `tracer run --otlp`, with a collector that decodes what arrives by the official definitions.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::Signal;
use serde_json::Value;
use tracer_tests::{
    corpus, peer,
    sender::{Sandbox, unused_uid},
    skip,
    tracer_bin::{self, Running},
    web::python_with,
};

const SENDER: &str = env!("CARGO_BIN_EXE_sender");
const REPORT: &str = "py-sensors-default.http";

/// A collector, which answers in one way.
struct Collector {
    process: Child,
    lines: BufReader<ChildStdout>,
    port: u16,
}

impl Collector {
    /// Starts it. Returns `None`, and marks the test as skipped, without the package.
    fn start(mode: &str) -> Option<Self> {
        if !skip::root() {
            return None;
        }
        let python = python_with(
            "opentelemetry.proto.logs.v1.logs_pb2",
            "opentelemetry-proto (`cargo xtask setup --tests`)",
        )?;
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/clients/otlp_receiver.py");
        let mut process = Command::new(python)
            .args([script, mode])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the collector");
        let mut lines = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut port = String::new();
        lines.read_line(&mut port).expect("a port");
        Some(Self { process, lines, port: port.trim().parse().expect("a port") })
    }

    /// Runs tracer, lets a watched process report a page, and ends the run. Returns what tracer says.
    fn run(&self, uid: u32, watched: &[&str]) -> tracer_bin::Outcome {
        let sandbox = Sandbox::new(SENDER);
        let copied = sandbox.path().join(REPORT);
        fs::copy(corpus::folder().join(REPORT), &copied).expect("a copy");
        fs::set_permissions(&copied, fs::Permissions::from_mode(0o644)).expect("permissions");
        let url = format!("http://127.0.0.1:{}", self.port);
        let mut command = tracer_bin::command(["run", "--no-store", "--json"]);
        command
            .args(watched)
            .args(["--otlp", &url])
            .env("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret");
        let mut run = Running::start_command(&mut command);
        let sender = sandbox.sender().uid(uid).then(format!("connect tcp {}", peer::tcp(false)));
        sender.then(format!("file {}", copied.display())).run();
        run.wait_for_json(|line| line["type"] == "alert" && line["process"]["uid"] == uid);
        run.signal(Signal::INT);
        run.end()
    }

    /// Returns the requests that arrived, until one contains the summary of the run.
    fn requests(mut self) -> Vec<Value> {
        let mut requests = Vec::new();
        let mut line = String::new();
        while self.lines.read_line(&mut line).expect("a line") > 0 {
            requests.push(serde_json::from_str(&line).expect("JSON"));
            if line.contains("tracer.summary") {
                break;
            }
            line.clear();
        }
        requests
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the records in requests.
fn records(requests: &[Value]) -> Vec<&Value> {
    let logs = requests.iter().flat_map(|it| it["request"]["resourceLogs"].as_array().unwrap());
    let logs = logs.flat_map(|logs| logs["scopeLogs"].as_array().unwrap());
    logs.flat_map(|logs| logs["logRecords"].as_array().unwrap()).collect()
}

#[test]
fn alerts_arrive_at_a_collector_redacted_and_are_not_captured_themselves() {
    let Some(collector) = Collector::start("accept") else { return };
    let uid = unused_uid();
    let port = collector.port;
    // Everyone is watched, so that the process that sends alerts would be, too.
    let ended = collector.run(uid, &["--all"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("accepted by the collector"), "{}", ended.stderr);
    let requests = collector.requests();
    assert_eq!((&requests[0]["path"], &requests[0]["key"]), (&"/v1/logs".into(), &"secret".into()));
    assert_eq!(requests[0]["type"], "application/x-protobuf");
    let records = records(&requests);
    // Other tests may send as well.
    let own = format!("\"intValue\":\"{uid}\"");
    let mut alerts = records.iter().filter(|it| it["eventName"] == "tracer.alert");
    let alert = alerts.find(|it| it.to_string().contains(&own)).expect("an alert");
    assert!(alert["severityNumber"].as_str().is_some(), "{alert:#}");
    let text = alert.to_string();
    assert!(text.contains("https://news.example.org/politics/story-42"), "{text}");
    assert!(!text.contains("q=private"), "values are redacted: {text}");
    // Nothing that was sent to the collector was captured.
    assert!(!ended.stdout.contains(&format!("127.0.0.1:{port}")), "{}", ended.stdout);
}

#[test]
fn what_a_collector_refuses_or_does_not_take_is_counted() {
    for (mode, expected) in [
        ("partial", "refused: one is too many"),
        ("later", "accepted by the collector"),
        ("refuse", "refused: the collector answered 400"),
        ("stall", "not sent"),
    ] {
        let Some(collector) = Collector::start(mode) else { return };
        let uid = unused_uid();
        let ended = collector.run(uid, &["--uid", &uid.to_string()]);
        assert_eq!(ended.code, Some(0), "{mode}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{mode}: {}", ended.stderr);
    }
}

#[test]
fn an_address_that_cannot_be_used_is_refused() {
    for (url, reason) in [
        ("collector", "give the URL of a collector"),
        ("grpc://collector:4317", "gRPC is not supported"),
    ] {
        let mut command = tracer_bin::command(["run", "--no-store", "--all", "--otlp", url]);
        let ended = tracer_bin::run(&mut command);
        assert_eq!(ended.code, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(reason), "{}", ended.stderr);
    }
}
