//! `tracer status`: what it shows of a run while it captures.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tracer_tests::{
    peer,
    sender::{Sandbox, unused_uid},
    skip,
    tracer_bin::{self, Running},
};

const SENDER: &str = env!("CARGO_BIN_EXE_sender");

/// Longest time anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns the status of a run.
fn status(pid: u32) -> Option<Value> {
    let shown = tracer_bin::run(&mut tracer_bin::command(["status", "--json"]));
    let lines = shown.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    lines.into_iter().find(|line| line["pid"] == pid)
}

#[test]
fn a_status_balances_while_the_run_goes_on() {
    if !skip::root() {
        return;
    }
    const SENDS: u64 = 500;
    let (sandbox, uid) = (Sandbox::new(SENDER), unused_uid());
    let run = Running::start(&["--uid", &uid.to_string()]);
    let sender = sandbox.sender().uid(uid).then(format!("connect tcp {}", peer::tcp(false)));
    sender.then(format!("repeat {SENDS} send 100")).run();

    let deadline = Instant::now() + PATIENCE;
    let shown = loop {
        if let Some(shown) = status(run.id()) {
            let sends = &shown["sends"];
            let count = |name: &str| sends[name].as_u64().expect("a number");
            let parts = ["decoded", "waiting", "undecoded", "on_the_way"].map(count);
            assert_eq!(count("captured"), parts.iter().sum::<u64>(), "{shown:#}");
            if count("decoded") == SENDS {
                break shown;
            }
        }
        assert!(Instant::now() < deadline, "the sends are not shown");
    };
    assert_eq!(shown["sends"]["captured"], SENDS);
    assert_eq!(shown["losses"].as_array().map(Vec::len), Some(0), "{shown:#}");
    // The connection may be used again.
    assert_eq!(
        (&shown["open_connections"], &shown["open_bytes"]),
        (&1.into(), &(SENDS * 100).into())
    );
    let text = tracer_bin::run(&mut tracer_bin::command(["status"])).stdout;
    assert!(text.contains(&format!("{SENDS} captured = {SENDS} decoded")), "{text}");
    assert!(!text.contains("does not add up"), "{text}");

    let pid = run.id();
    run.signal(Signal::INT);
    assert_eq!(run.end().code, Some(0));
    assert_eq!(status(pid), None);
}
