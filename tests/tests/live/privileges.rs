//! The two processes of `tracer run`, and their rights.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tracer_tests::{
    sender::{Sandbox, copy, unused_uid},
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
    let process = Path::new("/proc").join(run.id().to_string());
    for task in fs::read_dir(process.join("task")).expect("threads") {
        let task = task.expect("a thread").file_name();
        let status = status(task.to_string_lossy().parse().expect("a thread id"));
        assert!(!status["Uid"].split_whitespace().any(|uid| uid == "0"), "{status:?}");
        assert!(!status["Gid"].split_whitespace().any(|gid| gid == "0"), "{status:?}");
        assert_eq!(status["Groups"], "");
        for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
            assert_eq!(status[set].trim_matches('0'), "", "{set}");
        }
        assert_eq!(status["NoNewPrivs"], "1");
        if let Some(mode) = status.get("Seccomp") {
            assert_eq!(mode, "2");
        }
    }
    // Nothing of the kernel programs is open.
    for file in fs::read_dir(process.join("fd")).expect("descriptors") {
        let target = fs::read_link(file.expect("a descriptor").path()).unwrap_or_default();
        let target = target.to_string_lossy().into_owned();
        assert!(!target.contains("bpf") && !target.contains("perf_event"), "{target}");
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
    let run = Running::start(&["--exe", own.to_str().expect("UTF-8")]);
    let [process] = children(run.capturing_process())[..] else {
        panic!("the capture has no process that analyzes files");
    };
    let status = status(process);
    assert!(!status["Uid"].split_whitespace().any(|uid| uid == "0"), "{status:?}");
    assert_eq!(status["CapEff"].trim_matches('0'), "");
    assert_eq!(status["NoNewPrivs"], "1");
    if let Some(mode) = status.get("Seccomp") {
        assert_eq!(mode, "2");
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
    let output = command.args(["capture", "--all"]).stdin(Stdio::null()).output().expect("tracer");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("this command is internal"), "{text}");
}
