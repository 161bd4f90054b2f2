//! `tracer doctor`, as root and as another user.

use serde_json::Value;
use tracer_tests::{
    sender::unused_uid,
    skip,
    tracer_bin::{self, Outcome},
};

const CHECKS: [&str; 13] = [
    "kernel",
    "config",
    "btf",
    "lockdown",
    "selinux",
    "mounts",
    "privileges",
    "kprobe",
    "fentry",
    "tcp-tracepoint",
    "sys-enter",
    "tls-probes",
    "browsers",
];

fn report(ended: &Outcome) -> Value {
    let report: Value = serde_json::from_str(&ended.stdout).expect("one JSON object");
    assert_eq!(report["schema"], 1);
    assert!(report["tracer"].is_string());
    assert!(report["sees"].is_array() && !report["misses"].as_array().expect("a list").is_empty());
    let checks = report["checks"].as_array().expect("a list");
    let names: Vec<_> = checks.iter().map(|check| check["check"].as_str().unwrap()).collect();
    for wanted in CHECKS {
        assert!(names.contains(&wanted), "{wanted} is not in {names:?}");
    }
    for check in checks {
        let state = check["state"].as_str().expect("a state");
        assert!(["ok", "absent", "unknown", "warning", "problem"].contains(&state), "{check}");
        assert!(!check["says"].as_str().expect("text").is_empty());
        // Every problem comes with a next step.
        assert!(!["warning", "problem"].contains(&state) || check["next"].is_string(), "{check}");
    }
    report
}

fn state<'a>(report: &'a Value, name: &str) -> &'a str {
    let checks = report["checks"].as_array().expect("a list");
    let check = checks.iter().find(|check| check["check"] == name).expect("a check");
    check["state"].as_str().expect("a state")
}

#[test]
fn the_hooks_of_this_machine_work() {
    if !skip::root() {
        return;
    }
    let ended = tracer_bin::run(&mut tracer_bin::command(["doctor", "--json"]));
    let report = report(&ended);
    assert_eq!((ended.code, &report["works"]), (Some(0), &Value::Bool(true)), "{report:#}");
    for check in ["privileges", "sys-enter", "tls-probes"] {
        assert_eq!(state(&report, check), "ok", "{report:#}");
    }
    assert_eq!(report["sees"].as_array().map(Vec::len), Some(2), "{report:#}");

    let ended = tracer_bin::run(&mut tracer_bin::command(["doctor"]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.starts_with("ok       kernel         Linux "), "{}", ended.stdout);
    assert!(ended.stdout.ends_with("\ntracer run works here.\n"), "{}", ended.stdout);
}

#[test]
fn without_root_unknown_checks_are_listed() {
    if !skip::root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).expect("permissions");
    let mut command = tracer_bin::command_as(unused_uid(), folder.path(), &["doctor", "--json"]);
    let ended = tracer_bin::run(&mut command);
    let report = report(&ended);
    assert_eq!((ended.code, &report["works"]), (Some(1), &Value::Bool(false)));
    assert_eq!(state(&report, "privileges"), "problem");
    assert_eq!(state(&report, "sys-enter"), "unknown");
    assert_eq!(state(&report, "kernel"), "ok");
    assert_eq!(report["sees"].as_array().map(Vec::len), Some(0));
}
