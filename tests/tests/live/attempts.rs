//! What clients try to send and what does not arrive, and watches that match nothing.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;
use tracer_tests::{
    sender::unused_uid,
    skip,
    tracer_bin::{Outcome, Running},
    watched::lines,
    web::{self, NEWS, Protocol, Reader, Web, installed},
};

/// Sends a DNS query for `argv[1]`, which nothing answers. Then begins a request to the
/// port `argv[2]`, and sends a part of it.
const CLIENT: &str = "
import socket, sys, time
name, port = sys.argv[1:]
labels = b''.join(bytes([len(part)]) + part.encode() for part in name.split('.'))
query = b'\\x12\\x34\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0' + labels + b'\\0\\0\\1\\0\\1'
socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(query, ('127.0.0.1', 53))
server = socket.create_connection(('127.0.0.1', int(port)))
server.sendall(b'POST /report HTTP/1.1\\r\\nHost: slow.test\\r\\nContent-Length: 400\\r\\n\\r\\nbegun')
";

/// Makes requests over HTTP/2 on one connection, until its input ends.
const HTTP2: &str = "
const [url, authority, ca] = process.argv.slice(1);
const options = {ca: require('fs').readFileSync(ca), servername: authority.split(':')[0]};
const session = require('http2').connect(url, {...options, checkServerIdentity: () => undefined});
const get = path => new Promise(done => {
  const request = session.request({':path': path, ':authority': authority});
  request.on('end', done).resume();
});
let ended = false;
process.stdin.on('end', () => ended = true).resume();
const again = () => ended ? session.close() : get('/page').then(() => setTimeout(again, 200));
get('/first').then(() => { console.log('ready'); again(); });
";

#[test]
fn lookups_and_requests_that_go_nowhere_are_listed() {
    const LOST: &str = "collector-of-pages.test";
    if !skip::root() {
        return;
    }
    let Some(python) = web::python() else {
        return;
    };
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port().to_string();
    let mut client = Command::new(python);
    client.args(["-c", &format!("input(){CLIENT}"), LOST, &port]).stdin(Stdio::piped());
    let mut client = client.spawn().expect("a client");
    let run = Running::start(&["--pid", &client.id().to_string(), "--json"]);
    client.stdin.take().expect("a pipe").write_all(b"\n").expect("the client reads");
    client.wait().expect("the client ends");
    // Nothing shows that a connection was closed, except the time.
    thread::sleep(Duration::from_secs(7));
    let ended = end(run);

    let account = account(&ended);
    let [unreached] = &array(&account["unreached"])[..] else { panic!("{account:#}") };
    assert_eq!((&unreached["host"], &unreached["attempt"]), (&LOST.into(), &"looked_up".into()));
    assert_eq!(unreached["lookups"], 1, "{account:#}");
    assert!(unreached["first"].is_string(), "{account:#}");
    let [unfinished] = &array(&account["unfinished"])[..] else { panic!("{account:#}") };
    assert_eq!((&unfinished["host"], &unfinished["method"]), (&"slow.test".into(), &"POST".into()));
    assert_eq!(account["connections"]["outside"], 0, "{account:#}");
    for part in [
        "no other machine was reached",
        "looked up, and nothing was sent: collector-of-pages.test (",
        "requests that were not finished: POST to slow.test (",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn a_refused_certificate_is_listed_by_name() {
    if !skip::root() || !skip::met(installed("curl"), "curl (`cargo xtask setup --tests`)") {
        return;
    }
    let Some(web) = Web::start(Protocol::Http1, Reader::Hasty) else {
        return;
    };
    let uid = unused_uid();
    let run = Running::start(&["--uid", &uid.to_string(), "--json"]);
    let resolve = format!("{NEWS}:{}:127.0.0.1", web.port());
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--resolve", &resolve, &web.url(NEWS, "/page")]);
    let refused = curl.uid(uid).gid(uid).env("HOME", "/").current_dir("/").output();
    assert_eq!(refused.expect("curl").status.code(), Some(60));
    let account = account(&end(run));
    let [host] = &array(&account["unreached"])[..] else { panic!("{account:#}") };
    assert_eq!((&host["host"], &host["attempt"]), (&NEWS.into(), &"refused".into()));
    assert_eq!(account["percent_read"], Value::Null, "{account:#}");
}

/// The table of the connection has the host, and its beginning was not seen.
#[test]
fn requests_of_a_program_that_ran_before_have_unknown_hosts() {
    if !skip::root() || !skip::met(installed("node"), "node") {
        return;
    }
    let Some(web) = Web::start(Protocol::Http2, Reader::Hasty) else {
        return;
    };
    let url = format!("https://127.0.0.1:{}", web.port());
    let ca = web.ca().display().to_string();
    let mut node = Command::new("node");
    node.args(["-e", HTTP2, "--", &url, &web.authority(NEWS), &ca]);
    let mut node = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("node");
    let mut ready = String::new();
    let mut output = BufReader::new(node.stdout.take().expect("a pipe"));
    output.read_line(&mut ready).expect("a line");
    assert_eq!(ready, "ready\n");

    let mut run = Running::start(&["--pid", &node.id().to_string(), "--json"]);
    run.expect_stderr(
        |line| line.contains("node sends requests on a connection that it opened before"),
        Duration::from_secs(90),
        "nothing is said about the host",
    );
    drop(node.stdin.take());
    node.wait().expect("node ends");
    let ended = end(run);
    let summary = lines(&ended.stdout).pop().expect("a summary");
    let unknown = summary["totals"]["unknown_hosts"].as_u64().expect("a number");
    assert!(unknown >= 1, "{summary:#}");
    assert!(ended.stderr.contains(" to unknown hosts, on connections"), "{}", ended.stderr);
}

#[test]
fn a_run_that_matches_nothing_says_so() {
    if !skip::root() || !skip::met(Path::new(SLEEP).exists(), SLEEP) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = copy_of_sleep(folder.path(), "tracer-lookalike-esr");
    let mut running = Command::new(&program).arg("60").spawn().expect("the copy");
    let run = Running::start(&["--exe", "tracer-lookalike"]);
    let ended = end(run);
    stop(&mut running);
    let similar = format!("tracer-lookalike-esr (process {})", running.id());
    for part in ["no program of this name was found", &similar, "no process matched"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[test]
fn a_run_that_matches_a_silent_program_does_not_say_that_it_matched_none() {
    if !skip::root() || !skip::met(Path::new(SLEEP).exists(), SLEEP) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = copy_of_sleep(folder.path(), "tracer-silent");
    for starts_before in [true, false] {
        let start = || Command::new(&program).arg("60").spawn().expect("the copy");
        let before = starts_before.then(start);
        let run = Running::start(&["--exe", "tracer-silent"]);
        let mut running = before.unwrap_or_else(start);
        thread::sleep(Duration::from_millis(500));
        let ended = end(run);
        stop(&mut running);
        assert!(!ended.stderr.contains("no process matched"), "{}", ended.stderr);
    }
}

#[test]
fn a_script_is_named_when_it_is_watched() {
    if !skip::root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let script = folder.path().join("a-browser");
    fs::write(&script, "#!/bin/sh\nexec sleep 1\n").expect("a script");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("permissions");
    let script = script.to_str().expect("a path in UTF-8");
    let ended = end(Running::start(&["--exe", script]));
    assert!(ended.stderr.contains(&format!("{script} is a script; it and")), "{}", ended.stderr);
}

/// A program that does nothing for a while.
const SLEEP: &str = "/bin/sleep";

fn copy_of_sleep(folder: &Path, name: &str) -> PathBuf {
    let program = folder.join(name);
    let sleep = fs::canonicalize(SLEEP).expect("a program");
    fs::copy(sleep, &program).expect("a copy");
    program
}

fn stop(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

fn end(run: Running) -> Outcome {
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    ended
}

fn array(value: &Value) -> &Vec<Value> {
    value.as_array().expect("an array")
}

/// Returns the account of the only application.
fn account(ended: &Outcome) -> Value {
    let summary = lines(&ended.stdout).pop().expect("a summary");
    let [account] = &array(&summary["applications"])[..] else { panic!("{summary:#}") };
    account.clone()
}
