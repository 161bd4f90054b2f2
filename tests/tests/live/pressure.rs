//! `tracer run` under pressure: outputs that fail or are not read, signals, floods.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use flate2::{Compression, write::GzEncoder};
use rustix::process::{Pid, Signal, kill_process};
use tracer_tests::{
    peer,
    sender::{Sandbox, unused_uid},
    skip,
    tracer_bin::{self, Running},
};

const SENDER: &str = env!("CARGO_BIN_EXE_sender");

/// Longest time anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Writes a file with requests that each disclose another page, and returns its path.
fn reports(sandbox: &Sandbox, count: usize) -> PathBuf {
    let request = |i: usize| {
        let body = format!(
            "{{\"url\":\"https://news.example.org/story-{i}\",\"device_id\":\"7f3c2a109b1e4c57\"}}"
        );
        format!(
            "POST /v1/report HTTP/1.1\r\nHost: collector.example\r\nContent-Type: \
             application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let file = sandbox.path().join("reports");
    fs::write(&file, (0..count).map(request).collect::<String>()).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("permissions");
    file
}

/// Writes different requests of a few kilobytes that are costly to decode.
fn costly(sandbox: &Sandbox, count: usize) -> Vec<PathBuf> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all("https://a.test/?u=".repeat(60_000).as_bytes()).expect("compression");
    let body = packed.finish().expect("compression");
    let write = |n| {
        let head = format!(
            "POST /r HTTP/1.1\r\nHost: collector.example\r\nX-Number: {n}\r\n\
             Content-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let file = sandbox.path().join(format!("costly-{n}"));
        fs::write(&file, [head.as_bytes(), &body].concat()).expect("a file");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("permissions");
        file
    };
    (0..count).map(write).collect()
}

/// Makes a process of a UID send files on one connection.
fn send(sandbox: &Sandbox, uid: u32, files: &[PathBuf]) {
    let mut sender = sandbox.sender().uid(uid).then(format!("connect tcp {}", peer::tcp(false)));
    for file in files {
        sender = sender.then(format!("file {}", file.display()));
    }
    sender.run();
}

/// A file system of a few kilobytes.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(sandbox: &Sandbox) -> Option<Self> {
        let folder = sandbox.path().join("disk");
        fs::create_dir(&folder).expect("a folder");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=32k,mode=700", "tmpfs"]).arg(&folder);
        let mounted = mount.status().is_ok_and(|status| status.success());
        skip::met(mounted, "permission to mount").then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_ends_neither_the_run_nor_the_other_outputs() {
    if !skip::root() {
        return;
    }
    let (sandbox, uid) = (Sandbox::new(SENDER), unused_uid());
    let Some(disk) = SmallDisk::mount(&sandbox) else {
        return;
    };
    let [alerts, record] = ["alerts", "record"].map(|name| disk.0.join(name));
    let reports = reports(&sandbox, 60);
    let (uid_text, alerts_text, record_text) =
        (uid.to_string(), alerts.display().to_string(), record.display().to_string());
    let mut run = Running::start(&[
        "--uid",
        &uid_text,
        "--json",
        "--alerts",
        &alerts_text,
        "--record",
        &record_text,
    ]);
    send(&sandbox, uid, &[reports]);
    let last = "https://news.example.org/story-59";
    run.wait_for_line(|line| line.contains(last));
    let failed = |line: &str| line.contains("No space left") && line.contains("goes on");
    run.expect_stderr(failed, PATIENCE, "the failure is not named");
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains(", 60 requests read, 60 alerts"), "{}", ended.stderr);
    assert!(ended.stderr.contains(" lacks "), "{}", ended.stderr);
    for line in fs::read_to_string(&alerts).expect("alerts").lines() {
        assert!(serde_json::from_str::<serde_json::Value>(line).is_ok(), "torn: {line}");
    }
}

/// Kills and reaps a process that a failed test leaves behind.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Reaped {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).expect("the process runs");
    }

    /// Waits until the process ends.
    fn code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.0.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "tracer does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn outputs_that_nobody_reads_stop_neither_alerts_nor_signals() {
    if !skip::root() {
        return;
    }
    let (sandbox, uid) = (Sandbox::new(SENDER), unused_uid());
    let (alerts, errors) = (sandbox.path().join("alerts"), sandbox.path().join("errors"));
    let mut command = tracer_bin::command(["run", "--uid", &uid.to_string(), "--json"]);
    command.args(["--no-store", "--head-bytes", "65536", "--alerts"]).arg(&alerts);
    command.stdout(Stdio::piped());
    command.stderr(fs::File::create(&errors).expect("a file"));
    // Its standard output is never read.
    let mut run = Reaped(command.spawn().expect("tracer"));
    let deadline = Instant::now() + PATIENCE;
    let wait = |path: &Path, wanted: &str| {
        while !fs::read_to_string(path).unwrap_or_default().contains(wanted) {
            assert!(Instant::now() < deadline, "{wanted} is not in {}", path.display());
            thread::sleep(Duration::from_millis(10));
        }
    };
    wait(&errors, "watching; ");
    send(&sandbox, uid, &[reports(&sandbox, 200)]);
    wait(&alerts, "https://news.example.org/story-199");
    run.signal(Signal::INT);
    assert_eq!(run.code(), Some(0));
    let said = fs::read_to_string(&errors).expect("messages");
    assert!(said.contains("200 requests read, 200 alerts"), "{said}");
    assert!(said.contains("standard output lacks"), "{said}");
}

#[test]
fn signals_act_at_once_and_a_second_one_ends_the_run() {
    if !skip::root() {
        return;
    }
    let (sandbox, uid) = (Sandbox::new(SENDER), unused_uid());
    let costly = costly(&sandbox, 300);
    let mut run = Running::start(&["--uid", &uid.to_string(), "--json"]);
    send(&sandbox, uid, &costly);
    let behind = |line: &str| line.contains("seconds behind") && line.contains("sends wait");
    run.expect_stderr(behind, PATIENCE, "the delay is not shown");
    // A busy machine may schedule the processes late.
    let soon = Duration::from_secs(2);
    run.signal(Signal::INT);
    run.expect_stderr(|line| line.contains("stopping; "), soon, "the signal does not act");
    assert!(!run.has_ended());
    run.signal(Signal::INT);
    let forced = Instant::now();
    let ended = run.end();
    assert!(forced.elapsed() < 2 * soon, "{:?}", forced.elapsed());
    let summary = ended.code == Some(0) && ended.stderr.contains("captured and not decoded");
    assert!(summary || ended.code == Some(130), "{:?} {}", ended.code, ended.stderr);
}

#[test]
fn a_flood_of_one_application_does_not_delay_another() {
    if !skip::root() {
        return;
    }
    let (sandbox, flood, other) = (Sandbox::new(SENDER), unused_uid(), unused_uid());
    let costly = costly(&sandbox, 600);
    let reports = reports(&sandbox, 1);
    let (one, two) = (flood.to_string(), other.to_string());
    let mut run = Running::start(&["--uid", &one, "--uid", &two, "--json"]);
    send(&sandbox, flood, &costly);
    send(&sandbox, other, &[reports]);
    let sent = Instant::now();
    let alert = run.wait_for_json(|line| line["process"]["uid"] == other);
    assert_eq!(alert["type"], "alert");
    // The flood takes much longer.
    assert!(sent.elapsed() < PATIENCE / 2, "{:?}", sent.elapsed());
    run.signal(Signal::INT);
    run.expect_stderr(|line| line.contains("stopping; "), PATIENCE, "the signal does not act");
    run.signal(Signal::INT);
    run.end();
}

#[test]
fn a_hangup_loads_the_rules_again_and_does_not_end_the_run() {
    if !skip::root() {
        return;
    }
    let (sandbox, uid) = (Sandbox::new(SENDER), unused_uid());
    let mut run = Running::start(&["--uid", &uid.to_string(), "--json"]);
    run.signal(Signal::HUP);
    let loaded = |line: &str| line.contains("the rules were loaded again");
    run.expect_stderr(loaded, PATIENCE, "the rules are not loaded");
    send(&sandbox, uid, &[reports(&sandbox, 1)]);
    run.wait_for_json(|line| line["type"] == "alert");
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}
