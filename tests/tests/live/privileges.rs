//! The two processes of `tracer run`, and their rights.

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tracer_tests::{
    audited,
    sender::{Sandbox, Sender, copy, unused_uid},
    skip,
    tracer_bin::{self, Running},
};

/// Time in which a process notices that the other one has ended.
const PATIENCE: Duration = Duration::from_secs(20);

fn start() -> Running {
    Running::start(&["--uid", &unused_uid().to_string()])
}

/// Returns the fields of a process's status.
fn status(process: u32) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{process}/status")).expect("a process");
    let field = |line: &str| line.split_once(':').map(|(k, v)| (k.into(), v.trim().into()));
    text.lines().filter_map(field).collect()
}

/// The programs are attached: the capture works on this machine.
fn can_capture() -> bool {
    skip::root()
}

#[test]
fn the_decoder_has_no_rights() {
    if !can_capture() {
        return;
    }
    let run = start();
    assert_no_rights(run.id());
    if let Some(mode) = status(run.id()).get("Seccomp") {
        assert_eq!(mode, "2");
    }
    run.signal(Signal::INT);
    assert_eq!(run.end().code, Some(0));
}

/// Returns the children of a process.
fn children(process: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).expect("threads");
    let text = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    let text = text.collect::<String>();
    text.split_whitespace().map(|id| id.parse().expect("a process id")).collect()
}

#[test]
fn files_of_processes_are_analyzed_without_rights() {
    if !can_capture() {
        return;
    }
    let own = std::env::current_exe().expect("a path");
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_sender"));
    let own = own.to_str().expect("UTF-8");
    // The file does not exist yet, so it cannot be analyzed at the start.
    let later = "analyzed-later";
    let run = Running::start(&["--exe", own, "--exe", later]);
    let is_supervisor = |child: &u32| words(*child).contains(&"--supervise".to_owned());
    let supervisor = children(run.capturing_process()).into_iter().find(is_supervisor);
    let supervisor = supervisor.expect("a process that starts those that analyze files");
    // It can change the user, and end processes: CAP_KILL, SETGID, SETUID, SETPCAP.
    let held = u64::from_str_radix(&status(supervisor)["CapPrm"], 16).expect("a number");
    assert_eq!(held & !0b1_1110_0000, 0, "{held:x}");
    assert_eq!(status(supervisor)["NoNewPrivs"], "1");
    let first = restricted_child(supervisor, None);
    // If it dies, another one is started for the next file.
    kill_process(Pid::from_raw(first as i32).expect("a process id"), Signal::KILL)
        .expect("a child");
    let other = sandbox.copy(later);
    let mut sender = Sender::new(&other).then("say").then("await").start();
    sender.wait_for_line();
    restricted_child(supervisor, Some(first));
    sender.end();
    run.signal(Signal::INT);
    assert_eq!(run.end().code, Some(0));
}

#[test]
fn profiles_are_read_without_rights() {
    if !can_capture() {
        return;
    }
    let mut run = Running::start(&["--json", "--uid", &unused_uid().to_string()]);
    let reader = sandboxed_child(run.capturing_process(), "read-profiles");
    // Without it, extensions have no names, which is said, and the rest goes on.
    kill_process(Pid::from_raw(reader as i32).expect("a process id"), Signal::KILL)
        .expect("a child");
    run.wait_for_json(|line| line["type"] == "lost" && line["reason"] == "profiles_unread");
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.contains("extension names unknown"), "{}", ended.stderr);
}

/// Waits for a restricted child other than `known`, and returns it.
fn restricted_child(parent: u32, known: Option<u32>) -> u32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let [process] = children(parent)[..]
            && Some(process) != known
            && let status = status(process)
            && (status["Seccomp"] == "2" || Instant::now() > deadline)
        {
            assert!(!status["Uid"].split_whitespace().any(|uid| uid == "0"), "{status:?}");
            assert_eq!(status["CapEff"].trim_matches('0'), "");
            assert_eq!(status["NoNewPrivs"], "1");
            return process;
        }
        assert!(Instant::now() < deadline, "no process analyzes files");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_capture_is_restricted_to_the_calls_that_it_needs() {
    if !can_capture() {
        return;
    }
    let run = start();
    let process = Path::new("/proc").join(run.capturing_process().to_string());
    for task in fs::read_dir(process.join("task")).expect("threads") {
        let task = task.expect("a thread").file_name();
        let status = status(task.to_string_lossy().parse().expect("a thread id"));
        if let Some(mode) = status.get("Seccomp") {
            assert_eq!(mode, "2", "{status:?}");
        }
    }
    run.signal(Signal::INT);
    assert_eq!(run.end().code, Some(0));
}

#[test]
fn the_capture_has_the_documented_capabilities_only() {
    if !can_capture() {
        return;
    }
    // CAP_DAC_READ_SEARCH, KILL, SETGID, SETUID, SETPCAP, SYS_PTRACE, SYS_ADMIN, SYS_RESOURCE,
    // PERFMON, BPF (linux/capability.h).
    let documented: u64 =
        [2, 5, 6, 7, 8, 19, 21, 24, 38, 39].map(|number| 1_u64 << number).iter().sum();
    let run = start();
    let status = status(run.capturing_process());
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        let held = u64::from_str_radix(&status[set], 16).expect("a number");
        let further: u64 = held & !documented;
        assert_eq!(further, 0, "{set}: {held:x}");
    }
    assert_eq!(status["NoNewPrivs"], "1");
    run.signal(Signal::INT);
    assert_eq!(run.end().code, Some(0));
}

/// The capabilities that SECURITY.md names, for a user other than root.
#[test]
fn three_capabilities_are_enough_for_another_user() {
    let has_setpriv = Command::new("setpriv").arg("--version").output().is_ok();
    if !can_capture() || !has_setpriv {
        return;
    }
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_sender"));
    let program = sandbox.path().join("tracer");
    copy(tracer_bin::path(), &program);
    let uid = unused_uid().to_string();
    for (capabilities, works) in
        [("+sys_admin,+sys_ptrace,+dac_read_search", true), ("+sys_ptrace,+dac_read_search", false)]
    {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &uid, "--regid", &uid, "--clear-groups"]);
        for set in ["--bounding-set", "--inh-caps", "--ambient-caps"] {
            command.args([set, &format!("-all,{capabilities}")]);
        }
        command.arg(&program).args(["run", "--uid", &uid, "--no-store"]);
        if works {
            let run = Running::start_command(&mut command);
            let status = status(run.id());
            assert_eq!(status["CapEff"].trim_matches('0'), "");
            run.signal(Signal::INT);
            let ended = run.end();
            assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        } else {
            let output = command.output().expect("setpriv");
            assert_eq!(output.status.code(), Some(1));
            assert!(String::from_utf8_lossy(&output.stderr).contains("CAP_SYS_ADMIN"));
        }
    }
}

#[test]
fn a_dead_capture_ends_the_run_with_an_error() {
    if !can_capture() {
        return;
    }
    let run = start();
    run.signal_capture(Signal::KILL);
    let ended = run.end();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("the capturing process has died"), "{}", ended.stderr);
    assert!(ended.stderr.contains("0 sends, "), "a summary: {}", ended.stderr);
}

#[test]
fn a_dead_decoder_ends_the_capture() {
    if !can_capture() {
        return;
    }
    let run = start();
    // An ended process has no executable, also before it is waited for.
    let capture = Path::new("/proc").join(run.capturing_process().to_string()).join("exe");
    run.signal(Signal::KILL);
    assert_eq!(run.end().code, None);
    let deadline = Instant::now() + PATIENCE;
    while fs::read_link(&capture).is_ok() {
        assert!(Instant::now() < deadline, "the capture goes on");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn signals_to_the_capture_alone_change_nothing() {
    if !can_capture() {
        return;
    }
    let run = start();
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        run.signal_capture(signal);
    }
    thread::sleep(Duration::from_millis(200));
    run.signal(Signal::TERM);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn the_capturing_command_is_internal() {
    let mut command = Command::new(tracer_bin::path());
    let output =
        command.args(["capture", "run", "--all"]).stdin(Stdio::null()).output().expect("tracer");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("this command is internal"), "{text}");
}

/// Returns the command line of a process.
fn words(process: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).split('\0').map(str::to_owned).collect()
}

/// Waits for a child that runs a subcommand of tracer in a sandbox, and returns it.
fn sandboxed_child(parent: u32, subcommand: &str) -> u32 {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = children(parent).into_iter().find(|child| {
            let runs = words(*child).iter().any(|word| word == subcommand);
            let text = fs::read_to_string(format!("/proc/{child}/status")).unwrap_or_default();
            runs && text.contains("Seccomp:\t2\n")
        });
        if let Some(child) = found {
            assert_no_rights(child);
            return child;
        }
        assert!(Instant::now() < deadline, "no process runs {subcommand} in a sandbox");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Checks all threads of a process.
fn assert_no_rights(process: u32) {
    for task in fs::read_dir(format!("/proc/{process}/task")).expect("threads") {
        let task = task.expect("a thread").file_name();
        let status = status(task.to_string_lossy().parse().expect("a thread id"));
        for ids in ["Uid", "Gid"] {
            assert!(!status[ids].split_whitespace().any(|id| id == "0"), "{status:?}");
        }
        assert_eq!(status["Groups"], "");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status[set].trim_matches('0'), "", "{set}");
        }
        assert_eq!(status["NoNewPrivs"], "1");
    }
    for file in fs::read_dir(format!("/proc/{process}/fd")).expect("descriptors") {
        let target = fs::read_link(file.expect("a descriptor").path()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        assert!(!target.contains("bpf") && !target.contains("perf_event"), "{target}");
    }
}

#[test]
fn the_demo_decodes_without_rights() {
    if !can_capture() {
        return;
    }
    let demo = Running::spawn(&mut tracer_bin::command(["demo"]));
    sandboxed_child(demo.id(), "demo-decode");
    let ended = demo.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

/// Starts an audit of a program that only waits, and returns it with the folder of its report.
fn waiting_audit(folder: &Path) -> (Running, PathBuf) {
    let mut scenario = "name = 'a script'\nexecutables = ['no-such-browser']\nsite = 'plain'\n\
         settle = 0\ndwell = 0\n[commands]\nstart = ['true']\n\
         [phases.fresh]\npages = 0\nseconds = 2\n"
        .to_owned();
    scenario += &audited::only(&["fresh"]);
    fs::write(folder.join("scenario.toml"), scenario).expect("a scenario");
    let out = folder.join("out");
    let mut command = tracer_bin::command(["audit", "--unattended", "--scenario"]);
    command.arg(folder.join("scenario.toml")).arg("--out").arg(&out).env("TMPDIR", folder);
    (Running::spawn(&mut command), out)
}

#[test]
fn an_audit_decodes_without_rights() {
    if !can_capture() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (audit, out) = waiting_audit(folder.path());
    let decoder = sandboxed_child(audit.id(), "audit-decode");
    // It never has the folder, nor anything in it, open, except for files of a report.
    for file in fs::read_dir(format!("/proc/{decoder}/fd")).expect("descriptors") {
        let target = fs::read_link(file.expect("a descriptor").path()).unwrap_or_default();
        assert!(!target.starts_with(&out) || target.extension() == Some("part".as_ref()));
    }
    let ended = audit.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("cannot tell"), "{}", ended.stdout);
    for name in ["report.json", "report.html", "evidence.har", "evidence.pcapng", "SHA256SUMS"] {
        assert!(out.join(name).exists(), "{name}");
    }
    let parts = fs::read_dir(&out).expect("the folder").filter(|entry| {
        entry.as_ref().is_ok_and(|entry| entry.file_name().to_string_lossy().ends_with(".part"))
    });
    assert_eq!(parts.count(), 0);
}

#[test]
fn the_pages_of_an_audit_are_served_without_rights() {
    if !can_capture() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (audit, _) = waiting_audit(folder.path());
    let server = sandboxed_child(audit.id(), "audit-serve");
    // It listens on its standard output.
    let listens = fs::read_link(format!("/proc/{server}/fd/1")).expect("a descriptor");
    let inode = listens.to_string_lossy().replace(|c: char| !c.is_ascii_digit(), "");
    let sockets = fs::read_to_string("/proc/net/tcp").expect("sockets");
    let port = sockets.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(9) == Some(&&*inode)).then(|| fields[1].rsplit_once(':'))?
    });
    let port = u16::from_str_radix(port.expect("a listening socket").1, 16).expect("a port");
    let mut browser = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    browser
        .write_all(b"GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        .expect("a request");
    let mut answer = String::new();
    browser.read_to_string(&mut answer).expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.contains("<h1>tracer</h1>"),
        "{answer}"
    );
    // Handshakes and requests that break it do not end the audit.
    kill_process(Pid::from_raw(server as i32).expect("a process id"), Signal::KILL)
        .expect("a child");
    let ended = audit.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

#[test]
fn an_audit_whose_output_is_closed_writes_its_report() {
    if !can_capture() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (mut audit, out) = waiting_audit(folder.path());
    audit.close_stdout();
    let ended = audit.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(out.join("SHA256SUMS").exists());
}

#[test]
fn an_audit_whose_decoder_dies_can_be_reported() {
    if !can_capture() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (audit, out) = waiting_audit(folder.path());
    let decoder = sandboxed_child(audit.id(), "audit-decode");
    kill_process(Pid::from_raw(decoder as i32).expect("a process id"), Signal::KILL)
        .expect("a child");
    let ended = audit.end();
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    assert!(ended.stderr.contains("make it with `tracer report "), "{}", ended.stderr);
    let mut command = tracer_bin::command(["report"]);
    let report = tracer_bin::run(command.arg(&out));
    assert_eq!(report.code, Some(0), "{}", report.stderr);
    assert!(out.join("report.json").exists());
}

#[test]
fn an_audit_that_dies_ends_its_decoder() {
    if !can_capture() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let (audit, _) = waiting_audit(folder.path());
    let decoder = sandboxed_child(audit.id(), "audit-decode");
    audit.signal(Signal::KILL);
    assert_eq!(audit.end().code, None);
    let deadline = Instant::now() + PATIENCE;
    while fs::read_link(format!("/proc/{decoder}/exe")).is_ok() {
        assert!(Instant::now() < deadline, "the decoder goes on");
        thread::sleep(Duration::from_millis(5));
    }
}
