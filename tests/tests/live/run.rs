//! `tracer run` and its errors, as users meet them.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use tracer_core::record::Transport;
use tracer_tests::{
    corpus, live, names,
    peer::{self, Udp},
    sender::{Sandbox, Sender, unused_uid},
    skip,
    tracer_bin::{self, Running},
    web::{self, COLLECTOR},
};

const SENDER: &str = env!("CARGO_BIN_EXE_sender");

/// A recorded request that discloses [`VISITED`].
const REPORT: &str = "py-sensors-default.http";
const VISITED: &str = "https://news.example.org/politics/story-42?q=private";
const CHAIN: &str = "body > form:data > base64 > gzip > json.properties.url";

fn is_alert(line: &Value) -> bool {
    line["type"] == "alert"
}

fn is_summary(line: &Value) -> bool {
    line["type"] == "summary"
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

/// Makes a process send the recorded request.
trait ReportStatement {
    fn then_report(self, sandbox: &Sandbox) -> Self;
}

impl ReportStatement for Sender {
    fn then_report(self, sandbox: &Sandbox) -> Self {
        let request = sandbox.path().join(REPORT);
        let to = peer::tcp(false);
        self.then(format!("connect tcp {to}")).then(format!("file {}", request.display()))
    }
}

/// Creates a folder with the sender and the recorded request, because other UIDs
/// may not be able to read the original.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new(SENDER);
    let copied = sandbox.path().join(REPORT);
    fs::copy(corpus::folder().join(REPORT), &copied).expect("a copy");
    fs::set_permissions(&copied, fs::Permissions::from_mode(0o644)).expect("permissions");
    sandbox
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file exists").permissions().mode() & 0o777
}

#[test]
fn alerts_are_redacted_and_private_and_recordings_are_complete() {
    if !skip::root() {
        return;
    }
    let sandbox = sandbox();
    let (alerts, trace) = (sandbox.path().join("alerts"), sandbox.path().join("trace"));
    // tracer appends to an existing file and restricts its mode.
    fs::write(&alerts, "{\"type\":\"earlier\"}\n").expect("a file");
    fs::set_permissions(&alerts, fs::Permissions::from_mode(0o644)).expect("permissions");
    let uid = unused_uid().to_string();
    let mut run = Running::start(&[
        "--uid",
        &uid,
        "--json",
        "--alerts",
        text(&alerts),
        "--record",
        text(&trace),
    ]);
    let sent = sandbox.sender().uid(uid.parse().expect("a number")).then_report(&sandbox).run();
    let alert = run.wait_for_json(is_alert);
    run.signal(Signal::INT);
    let ended = run.end();

    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("1 send, 1 request read, 1 alert"), "{}", ended.stderr);
    assert_eq!((mode(&alerts), mode(&trace)), (0o600, 0o600));

    assert_eq!(alert["schema"], 2);
    assert_eq!(alert["severity"], "high");
    assert_eq!(alert["process"]["uid"].to_string(), uid);
    assert_eq!(alert["process"]["pid"], sent.pid);
    assert_eq!(alert["process"]["comm"], "sender");
    let hook = live::best().record(Transport::Tcp);
    assert_eq!(alert["hook"], serde_json::to_value(hook).expect("a name"));
    assert_eq!(alert["connection"]["transport"], "tcp");
    assert_eq!(alert["request"]["method"], "POST");
    assert_eq!(alert["complete"], true);
    let finding = &alert["findings"][0];
    assert_eq!((&finding["kind"], &finding["chain"]), (&"url".into(), &CHAIN.into()));
    // The alert shows the page without the query.
    let value = finding["value"].as_str().expect("text");
    assert!(value.starts_with("https://news.example.org/politics/story-42?q=‹"), "{value}");
    let written = fs::read_to_string(&alerts).expect("the alerts");
    for shown in [&ended.stdout, &ended.stderr, &written] {
        // The field `private` itself may appear.
        assert!(!shown.replace("\"private\":", "").contains("private"), "{shown}");
    }

    // Both outputs are equal and end with the totals.
    let shown = lines(&ended.stdout);
    assert_eq!(shown.len(), 2, "{}", ended.stdout);
    assert!(is_summary(&shown[1]), "{}", shown[1]);
    assert_eq!(shown[1]["totals"]["alerts"], 1);
    let written = lines(&written);
    assert_eq!(written[0]["type"], "earlier");
    assert_eq!(written[1..], shown);

    // The recording contains what was sent.
    let request = corpus::folder().join(REPORT);
    let decode = |file: &Path| {
        let ended = tracer_bin::run(&mut tracer_bin::command(["decode", "--json", text(file)]));
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        lines(&ended.stdout)
    };
    let (traced, raw) = (decode(&trace), decode(&request));
    assert_eq!(traced.len(), 1);
    for key in ["request", "initiator", "complete", "unread_bytes", "findings"] {
        assert_eq!(traced[0][key], raw[0][key], "{key}");
    }
    assert_eq!(traced[0]["findings"][0]["value"], VISITED);
}

#[test]
fn an_executable_is_watched_and_show_values_shows_values() {
    if !skip::root() {
        return;
    }
    let sandbox = sandbox();
    let name = sandbox.unused_name();
    let program = sandbox.copy(&name);
    let alerts = sandbox.path().join("alerts");
    let mut run = Running::start(&["--exe", &name, "--show-values", "--alerts", text(&alerts)]);
    sandbox.sender().then_report(&sandbox).run();
    let sender = Sender::new(&program).then_report(&sandbox).then("await").start();
    // The executable is known while the process runs.
    run.wait_for_line(|line| line.contains("HIGH"));
    let sent = sender.end();
    run.signal(Signal::TERM);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let [line] = ended.stdout.lines().collect::<Vec<_>>()[..] else {
        panic!("one line: {}", ended.stdout);
    };
    let process = format!("HIGH  {name} (uid 0, pid {})", sent.pid);
    for part in [&*process, VISITED, CHAIN] {
        assert!(line.contains(part), "{part} is not in {line}");
    }
    assert!(!line.contains('\x1b'), "no colours in a pipe: {line:?}");
    let written = lines(&fs::read_to_string(&alerts).expect("the alerts"));
    assert_eq!(written[0]["findings"][0]["value"], VISITED);
    assert_eq!(written[0]["process"]["exe"], text(&program));
}

/// Losses are reported in the alert stream, and add up with the delivered sends.
#[test]
fn losses_are_reported_and_add_up() {
    if !skip::root() {
        return;
    }
    const SENDS: u64 = 4000;
    let (sandbox, udp, uid) = (Sandbox::new(SENDER), Udp::open(false), unused_uid());
    let mut run = Running::start(&["--uid", &uid.to_string(), "--json", "--ring-mib", "1"]);
    run.signal_capture(Signal::STOP);
    sandbox
        .sender()
        .uid(uid)
        .then(format!("connect udp {}", udp.address()))
        .then(format!("repeat {SENDS} send 1000"))
        .run();
    run.signal_capture(Signal::CONT);
    let lost = run.wait_for_json(|line| line["type"] == "lost");
    assert_eq!(lost["reason"], "ring_full");
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let all = lines(&ended.stdout);
    let summary = all.last().expect("a summary");
    assert!(is_summary(summary), "{summary}");
    let lost = all.iter().rfind(|line| line["type"] == "lost").expect("losses");
    let number = |value: &Value| value.as_u64().expect("a number");
    assert_eq!(number(&lost["total"]) + number(&summary["totals"]["sends"]), SENDS);
    let told = format!("{} sends lost: the ring buffer was full", lost["total"]);
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
}

/// `tracer run --json | head -1`
#[test]
fn tracer_ends_when_its_output_is_closed() {
    if !skip::root() {
        return;
    }
    let (sandbox, uid) = (sandbox(), unused_uid());
    let mut run = Running::start(&["--uid", &uid.to_string(), "--json"]);
    let deadline = Instant::now() + Duration::from_secs(90);
    sandbox.sender().uid(uid).then_report(&sandbox).run();
    run.wait_for_json(is_alert);
    run.close_stdout();
    while !run.has_ended() {
        assert!(Instant::now() < deadline, "tracer does not end");
        sandbox.sender().uid(uid).then_report(&sandbox).run();
    }
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);

    let files = vec![text(&corpus::folder().join(REPORT)).to_owned(); 300];
    let mut decode = tracer_bin::command(["decode", "--json"]);
    let mut decode = decode.args(files).spawn().expect("tracer decode");
    drop(decode.stdout.take());
    let ended = decode.wait_with_output().expect("an exit status");
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}

#[test]
fn usage_errors_name_the_next_step() {
    if !skip::root() {
        return;
    }
    let gone = Sandbox::new(SENDER).sender().run().pid.to_string();
    let usage = 2;
    let error = 1;
    let calls: [(&[&str], i32, &[&str]); 8] = [
        (&["run"], usage, &["nothing to watch", "--uid"]),
        (&["run", "--uid", "nobody-of-this-name"], usage, &["nobody-of-this-name", "id -u"]),
        (&["run", "--all", "--head-bytes", "0"], usage, &["--head-bytes"]),
        (&["run", "--all", "--head-bytes", "65537"], usage, &["--head-bytes"]),
        (&["run", "--pid", &gone], error, &[&gone, "ps"]),
        (&["run", "--exe", "/no/such/file"], error, &["/no/such/file", "No such file"]),
        (&["run", "--all", "--alerts", "/no/such/file"], error, &["--alerts", "/no/such/file"]),
        (&["run", "--all", "--record", "/no/such/file"], error, &["--record", "/no/such/file"]),
    ];
    for (arguments, code, parts) in calls {
        let ended = tracer_bin::run(&mut tracer_bin::command(arguments));
        assert_eq!(ended.code, Some(code), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{arguments:?}");
        for part in parts {
            assert!(ended.stderr.contains(part), "{arguments:?}: {part}? {}", ended.stderr);
        }
        let causes = ended.stderr.matches("(os error 2)").count();
        assert!(causes <= 1, "{arguments:?}: the cause is named {causes} times: {}", ended.stderr);
    }
}

#[test]
fn a_run_whose_terminal_is_closed_ends_with_a_summary() {
    if !skip::root() || !skip::met(web::installed("script"), "script, of the package bsdutils") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (out, err) = (folder.path().join("out"), folder.path().join("err"));
    let line = format!(
        "exec {} run --uid {} --no-store --json >{} 2>{}",
        tracer_bin::path().display(),
        unused_uid(),
        out.display(),
        err.display()
    );
    let mut terminal = Command::new("script")
        .args(["--quiet", "--command", &line, "/dev/null"])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("script");
    let expect = |file: &Path, text: &str| {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            let found = fs::read_to_string(file).unwrap_or_default();
            if found.contains(text) {
                return;
            }
            assert!(Instant::now() < deadline, "{text}: {found}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    expect(&err, "watching; press Ctrl-C to stop");
    terminal.kill().expect("the terminal is closed");
    terminal.wait().expect("a status");
    expect(&out, "\"type\":\"summary\"");
    expect(&err, "0 sends, 0 requests read");
}

#[test]
fn without_root_the_reason_is_reported() {
    if !skip::root() {
        return;
    }
    let sandbox = Sandbox::new(SENDER);
    for arguments in [&["run", "--all"][..], &["demo"]] {
        let mut command = tracer_bin::command_as(unused_uid(), sandbox.path(), arguments);
        let ended = tracer_bin::run(&mut command);
        assert_eq!(ended.code, Some(1), "{arguments:?}: {}", ended.stderr);
        assert_eq!(ended.stdout, "", "{arguments:?}");
        for part in ["needs root", "sudo"] {
            assert!(ended.stderr.contains(part), "{arguments:?}: {}", ended.stderr);
        }
    }
    // Decoding needs no root.
    let request = fs::read(corpus::folder().join(REPORT)).expect("a request");
    fs::write(sandbox.path().join("request"), request).expect("a copy");
    let mut command = tracer_bin::command_as(unused_uid(), sandbox.path(), &["decode", "request"]);
    let ended = tracer_bin::run(&mut command);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains(VISITED), "{}", ended.stdout);
}

#[test]
fn the_demo_raises_alerts_for_one_client_only() {
    if !skip::root() {
        return;
    }
    let ended = tracer_bin::run(&mut tracer_bin::command(["demo"]));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    let alerts: Vec<&str> = ended.stdout.lines().filter(|line| line.contains("CRITICAL")).collect();
    assert_eq!(alerts.len(), 3, "{}", ended.stdout);
    let uid = |manners: &str| {
        let start = format!("client {manners} (uid ");
        let uid =
            ended.stdout.lines().find_map(|line| line.strip_prefix(&start)?.split(')').next());
        format!("(uid {},", uid.expect("a UID"))
    };
    let (tattling, discreet) = (uid("tattling"), uid("discreet"));
    assert_ne!(tattling, discreet);
    assert!(alerts.iter().all(|alert| alert.contains(&tattling)), "{alerts:#?}");
    assert!(ended.stdout.contains("The discreet client: 0 alerts."), "{}", ended.stdout);
}

/// Watches a third-party client.
fn sdk(consumer: &str, chain: &str) {
    if !skip::root() {
        return;
    }
    let Some(python) = python() else {
        return;
    };
    let (uid, collector) = (unused_uid(), peer::collector());
    let uid = uid.to_string();
    // By name: data sent to this machine itself is not a disclosure.
    let authority = format!("{COLLECTOR}:{}", collector.port());
    let folder = tempfile::tempdir().expect("a folder");
    let hosts = names::write_hosts(folder.path());
    let mut run = Running::start(&["--uid", &uid, "--json", "--show-values"]);
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/clients/sensors.py");
    let python = python.to_str().expect("a path in UTF-8");
    let status = names::command(&hosts, None, python)
        .arg(client)
        .args([&uid, &format!("http://{authority}/sa?project=default"), consumer, VISITED])
        .status()
        .expect("python");
    assert!(status.success(), "the client failed: {status}");

    let alert = run.wait_for_json(is_alert);
    assert_eq!(alert["severity"], "high");
    assert_eq!(alert["process"]["uid"].to_string(), uid);
    assert_eq!(alert["request"]["authority"], authority);
    assert_eq!(alert["connection"]["remote"], collector.to_string());
    assert_eq!(alert["initiator"], "unknown");
    assert_eq!(alert["sdk"], "Sensors Analytics");
    assert_eq!(alert["recipient"]["kind"], "third_party");
    let findings = alert["findings"].as_array().expect("an array");
    let of_kind =
        |kind: &str| findings.iter().filter(|one| one["kind"] == kind).collect::<Vec<_>>();
    let [finding] = of_kind("url")[..] else {
        panic!("one URL: {findings:#?}");
    };
    let lasts = |one: &&Value| one["identification"] == "lasting";
    assert!(of_kind("identifier").iter().any(lasts), "{findings:#?}");
    assert_eq!(finding["visited"]["kind"], "unknown");
    assert_eq!(finding["value"], VISITED);
    assert_eq!(finding["chain"], chain);
    assert_eq!(finding["truncated"], false);

    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let alerts = lines(&ended.stdout).iter().filter(|line| is_alert(line)).count();
    assert_eq!(alerts, 1, "{}", ended.stdout);
}

#[test]
fn the_sensors_sdk_is_detected() {
    sdk("DefaultConsumer", "body > form:data > base64 > gzip > json.properties.url");
}

#[test]
fn the_sensors_sdk_is_detected_in_batches() {
    sdk("BatchConsumer", "body > form:data_list > base64 > gzip > json[0].properties.url");
}

/// Returns a Python with the packages of `requirements.txt`, or `None` if the test
/// is skipped.
fn python() -> Option<PathBuf> {
    let python = env::var_os("TRACER_TEST_PYTHON").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin/python3"),
        PathBuf::from,
    );
    let has_sdk = Command::new(&python).args(["-c", "import sensorsanalytics"]).output();
    let has_sdk = has_sdk.is_ok_and(|output| output.status.success());
    skip::met(has_sdk, "SensorsAnalyticsSDK (`cargo xtask setup --tests`)").then_some(python)
}

/// Runs tracer with its standard error on a full disk, or closed, and returns its exit code.
fn code_without_stderr(arguments: &[&str], closed: bool) -> Option<i32> {
    let redirect = if closed { "2>&-" } else { "2>/dev/full" };
    let status = Command::new("sh")
        .args(["-c", &format!("exec \"$@\" {redirect} >/dev/null"), "sh"])
        .arg(tracer_bin::path())
        .args(arguments)
        .status();
    status.expect("sh").code()
}

#[test]
fn a_failing_stderr_does_not_change_the_exit_code() {
    let request = corpus::folder().join(REPORT);
    for closed in [false, true] {
        let code = |arguments: &[&str]| code_without_stderr(arguments, closed);
        assert_eq!(code(&["decode", "/no/such/file", text(&request)]), Some(1));
        assert_eq!(code(&["locate", "/no/such/file", "/dev/null"]), Some(1));
        assert_eq!(code(&["rules", "check", "/no/such/folder"]), Some(1));
        assert_eq!(code(&["alerts", "--store", "/no/such/file"]), Some(1));
        assert_eq!(code(&["report", "/no/such/folder"]), Some(1));
        assert_eq!(code(&["run"]), Some(2));
        assert_eq!(code(&["decode"]), Some(2));
        if rustix::process::geteuid().is_root() {
            assert_eq!(code(&["demo"]), Some(0));
        }
    }
}

#[test]
fn a_closed_stdout_ends_tracer_quietly() {
    let request = corpus::folder().join(REPORT);
    for (redirect, code, said) in [("| true", 0, ""), (">/dev/full", 1, "No space left on device")]
    {
        let script = format!("( \"$@\" ; echo $? >&2 ) {redirect}");
        let output = Command::new("sh")
            .args(["-c", &script, "sh"])
            .arg(tracer_bin::path())
            .args(["decode", "--json", text(&request)])
            .output()
            .expect("sh");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.ends_with(&format!("{code}\n")), "{redirect}: {stderr}");
        assert!(stderr.contains(said), "{redirect}: {stderr}");
    }
}

#[test]
fn outputs_follow_no_links_and_recordings_replace_no_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("target"), "kept").expect("a file");
    fs::write(at("own"), "kept").expect("a file");
    std::os::unix::fs::symlink(at("target"), at("link")).expect("a link");
    let mut cases = vec![
        (["--alerts", "link"].as_slice(), "symbolic link"),
        (&["--record", "link"], "--force"),
        (&["--record", "link", "--force"], "symbolic link"),
        (&["--record", "own"], "--force"),
    ];
    if rustix::process::geteuid().is_root() {
        fs::write(at("foreign"), "kept").expect("a file");
        std::os::unix::fs::chown(at("foreign"), Some(65_510), Some(65_510)).expect("its owner");
        cases.push((&["--alerts", "foreign"], "another user"));
        cases.push((&["--record", "foreign", "--force"], "another user"));
    }
    for (options, expected) in cases {
        let mut command = tracer_bin::command([&["run", "--all", "--no-store"], options].concat());
        let ended = tracer_bin::run(command.current_dir(folder.path()));
        assert_eq!(ended.code, Some(1), "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(options[0]), "{options:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(expected), "{options:?}: {}", ended.stderr);
    }
    for entry in fs::read_dir(folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        assert_eq!(fs::read_to_string(&path).expect("a file"), "kept", "{}", path.display());
    }
}
