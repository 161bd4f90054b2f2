//! What a process can still do in its sandbox, and which commands enter one.

use std::{
    collections::BTreeMap,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags, fcntl_setfl},
    pipe::{PipeFlags, pipe_with},
};
use tempfile::TempDir;
use tracer_tests::tracer_bin;

/// Attempts that must fail in every sandbox.
const FORBIDDEN: [&str; 34] = [
    "read-file",
    "read-environment",
    "list-folder",
    "create-file",
    "write-device",
    "unix-socket",
    "listen",
    "connect",
    "udp",
    "execute",
    "bpf",
    "perf",
    "ptrace",
    "read-process",
    "write-process",
    "pidfd",
    "kill",
    "execve",
    "execveat",
    "fork",
    "unshare",
    "mount",
    "chroot",
    "become-root",
    "keyring",
    "userfault",
    "io-uring",
    "memfd",
    "type-into-terminal",
    "dumpable",
    "executable-memory",
    "create-in-folder",
    "leave-folder",
    "read-in-folder",
];

/// Attempts that only a right permits.
const BY_RIGHT: [(&str, &[&str]); 3] = [
    ("threads", &["thread"]),
    ("sockets", &["use-socket"]),
    ("folder", &["create-in-folder", "read-in-folder", "rename-in-folder", "remove-in-folder"]),
];

/// Returns the results of attempts in a sandbox.
fn attempt(rights: &str, attempts: &[&str]) -> BTreeMap<String, String> {
    // The unprivileged user has to be able to enter it.
    let folder = TempDir::new().unwrap();
    let inner = folder.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sandboxed"))
        .arg(rights)
        .arg(&inner)
        .args(attempts)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{rights}: {:?}\n{text}{:?}", output.status, output.stderr);
    let line = |line: &str| line.split_once(' ').map(|(what, it)| (what.into(), it.into()));
    text.lines().filter_map(line).collect()
}

fn refused(result: &str) -> bool {
    result == "EPERM" || result == "EACCES"
}

/// Returns true if this machine restricts system calls at all (emulators of user space do not).
fn has_seccomp(results: &BTreeMap<String, String>) -> bool {
    results.contains_key("+seccomp")
}

#[test]
fn a_sandbox_permits_nothing_but_open_descriptors() {
    let results = attempt("open", &FORBIDDEN);
    if !has_seccomp(&results) {
        eprintln!("skipped: this kernel has no seccomp");
        return;
    }
    for what in FORBIDDEN {
        assert!(refused(&results[what]), "{what}: {}", results[what]);
    }
    let harmless = attempt("open", &["stdout", "allocate"]);
    assert_eq!((&harmless["stdout"][..], &harmless["allocate"][..]), ("ok", "ok"));
}

#[test]
fn without_a_sandbox_most_attempts_succeed() {
    // So that the other tests cannot pass for another reason.
    let results = attempt("free", &FORBIDDEN);
    let count = FORBIDDEN.iter().filter(|what| !refused(&results[**what])).count();
    let expected = if rustix::process::geteuid().is_root() { 28 } else { 18 };
    assert!(count >= expected, "{results:?}");
}

#[test]
fn each_right_permits_its_attempts_only() {
    for (right, permitted) in BY_RIGHT {
        let with = attempt(right, permitted);
        let without = attempt("open", permitted);
        if !has_seccomp(&without) {
            return;
        }
        for what in permitted {
            assert_eq!(with[*what], "ok", "{right}: {what}");
            assert!(without[*what] != "ok", "{what} without {right}");
        }
        let still: Vec<&str> = FORBIDDEN
            .into_iter()
            .filter(|what| !permitted.contains(what))
            // Only Landlock restricts which files a process with a folder can open.
            .filter(|_| right != "folder" || with.contains_key("+landlock"))
            .collect();
        let results = attempt(right, &still);
        for what in still {
            assert_ne!(results[what], "ok", "{right}: {what}");
        }
    }
}

/// Attempts that the capturing process needs.
const CAPTURING: [&str; 10] = [
    "bpf",
    "perf",
    "read-file",
    "read-environment",
    "list-folder",
    "create-in-folder",
    "use-socket",
    "thread",
    "stdout",
    "allocate",
];

/// Attempts that it does not need.
const NOT_CAPTURING: [&str; 28] = [
    "execute",
    "execve",
    "execveat",
    "fork",
    "unix-socket",
    "listen",
    "connect",
    "udp",
    "ptrace",
    "read-process",
    "write-process",
    "pidfd",
    "kill",
    "unshare",
    "mount",
    "chroot",
    "become-root",
    "keyring",
    "userfault",
    "io-uring",
    "memfd",
    "type-into-terminal",
    "dumpable",
    "executable-memory",
    "rename-in-folder",
    "remove-in-folder",
    "chmod",
    "link",
];

#[test]
fn the_capturing_process_can_do_what_it_needs_only() {
    let results = attempt("capture", &[&CAPTURING[..], &NOT_CAPTURING].concat());
    if !has_seccomp(&results) {
        eprintln!("skipped: this kernel has no seccomp");
        return;
    }
    for what in NOT_CAPTURING {
        assert!(refused(&results[what]), "{what}: {}", results[what]);
    }
    let free = attempt("free", &CAPTURING);
    for what in CAPTURING {
        assert_eq!(results[what], free[what], "{what}");
    }
}

/// Starts tracer with a full pipe as its outputs, so that it stops at its first line, and returns
/// the fields of its status once it is restricted.
fn status_of(arguments: &[&str], input: Stdio) -> BTreeMap<String, String> {
    let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    let mut full = fs::File::from(writer);
    while full.write(&[0; 4096]).is_ok() {}
    fcntl_setfl(&full, OFlags::empty()).unwrap();
    let mut child = Command::new(tracer_bin::path())
        .args(arguments)
        .stdin(input)
        .stdout(full.try_clone().unwrap())
        .stderr(full)
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let path = format!("/proc/{}/status", child.id());
    let status = loop {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let field = |line: &str| line.split_once(':').map(|(k, v)| (k.into(), v.trim().into()));
        let fields: BTreeMap<String, String> = text.lines().filter_map(field).collect();
        if fields.get("Seccomp").is_some_and(|mode| mode == "2")
            || begun.elapsed() > Duration::from_secs(30)
        {
            break fields;
        }
        thread::sleep(Duration::from_millis(5));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    drop(reader);
    status
}

#[test]
fn commands_that_parse_files_enter_a_sandbox() {
    if !has_seccomp(&attempt("open", &["stdout"])) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), Mode::RUSR | Mode::WUSR).unwrap();
    let (fifo, libraries) = (at("fifo"), tracer_bin::path().to_str().unwrap());
    let commands: [&[&str]; 4] =
        [&["decode", "-"], &["decode", &fifo], &["locate", libraries], &["rules", "check"]];
    for command in commands {
        // An input that does not end.
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let status = status_of(command, Stdio::from(reader));
        drop(writer);
        assert_restricted(command, &status);
        if rustix::process::geteuid().is_root() {
            assert!(!status["Uid"].split_whitespace().any(|uid| uid == "0"), "{command:?}");
        }
    }
}

fn assert_restricted(command: &[&str], status: &BTreeMap<String, String>) {
    let field = |name: &str| status.get(name).map_or("", String::as_str);
    assert_eq!(field("Seccomp"), "2", "{command:?}: {status:?}");
    assert_eq!(field("NoNewPrivs"), "1", "{command:?}");
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(set).trim_matches('0'), "", "{command:?}: {set}");
    }
}

#[test]
fn commands_that_read_audits_and_stores_enter_a_sandbox() {
    if !has_seccomp(&attempt("open", &["stdout"])) {
        return;
    }
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(at("run.json"), "{").unwrap();
    fs::write(at("report.json"), "{").unwrap();
    assert_restricted(&["report"], &status_of(&["report", &at("")], Stdio::null()));
    assert_restricted(&["compare"], &status_of(&["compare", &at("")], Stdio::null()));
    let store = at("tracer.db");
    create_store(Path::new(&store));
    let command = ["alerts", "--store", &store];
    assert_restricted(&command, &status_of(&command, Stdio::null()));
}

fn create_store(path: &Path) {
    tracer::store::Store::open(&tracer::store::Place::Named(path.to_owned())).unwrap();
}
