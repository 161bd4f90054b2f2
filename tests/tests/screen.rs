//! `tracer top` on a terminal, which `script` makes, and notifications. Needs no root.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tracer_tests::tracer_bin;

/// A recording of two requests of Node.js.
const RECORDED: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../tracer/core/src/pipeline/tests/node-20.trace");

/// Longest time to wait for a picture.
const PATIENCE: Duration = Duration::from_secs(30);

/// The sequences that end the view: the first screen again, with a cursor.
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Runs a command line on a terminal. `act` gets the process that makes the terminal, once it has
/// shown a text. Returns everything that was shown.
fn on_terminal(line: &str, text: &str, act: impl FnOnce(&mut std::process::Child)) -> String {
    let mut script = Command::new("script")
        .args(["--quiet", "--return", "--command", line, "/dev/null"])
        .env("TERM", "dumb")
        .env_remove("NO_COLOR")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("script, of the package bsdutils");
    let mut out = script.stdout.take().expect("a pipe");
    let (sender, arrived) = std::sync::mpsc::channel();
    let reading = thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = out.read(&mut buffer) {
            let _ = sender.send(buffer[..length].to_vec());
        }
    });
    let mut shown = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while !String::from_utf8_lossy(&shown).contains(text) {
        let rest = deadline.saturating_duration_since(Instant::now());
        match arrived.recv_timeout(rest) {
            Ok(bytes) => shown.extend(bytes),
            Err(err) => panic!("{err}: {}", String::from_utf8_lossy(&shown)),
        }
    }
    act(&mut script);
    script.wait().expect("an exit status");
    reading.join().expect("the thread does not panic");
    shown.extend(arrived.try_iter().flatten());
    String::from_utf8_lossy(&shown).into_owned()
}

fn press(script: &mut std::process::Child, keys: &str) {
    let input = script.stdin.as_mut().expect("a pipe");
    input.write_all(keys.as_bytes()).expect("keys");
}

fn replay(folder: &Path) -> String {
    let binary = tracer_bin::path().display();
    let pid = folder.join("pid");
    // The terminal's settings afterwards follow what tracer showed.
    format!(
        "stty rows 24 cols 80; sh -c 'echo $$ >{}; exec {binary} top --replay {RECORDED} --speed 0'; \
         echo code=$?; stty -a",
        pid.display()
    )
}

fn assert_restored(shown: &str, code: &str) {
    let (_, after) = shown.rsplit_once(LEAVE).unwrap_or_else(|| panic!("{shown:?}"));
    assert!(after.contains(&format!("code={code}")), "{after:?}");
    for setting in ["icanon", "echo", "isig", "opost"] {
        assert!(after.split_whitespace().any(|word| word == setting), "{setting}: {after:?}");
    }
}

#[test]
fn the_terminal_is_as_before_however_the_view_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let line = replay(folder.path());
    for keys in ["q", "\x03"] {
        let shown = on_terminal(&line, "recording", |script| press(script, keys));
        assert!(shown.contains("localhost"), "{shown:?}");
        assert_restored(&shown, "0");
        // The summary follows the picture.
        let (_, after) = shown.rsplit_once(LEAVE).expect("the end");
        assert!(after.contains("2 requests read"), "{after:?}");
    }
    let pid = || fs::read_to_string(folder.path().join("pid")).expect("a number").trim().to_owned();
    let kill = |signal: &str, pid: &str| {
        let status = Command::new("kill").args([signal, pid]).status();
        assert!(status.expect("kill").success());
    };
    let shown = on_terminal(&line, "recording", |_| kill("-TERM", &pid()));
    assert_restored(&shown, "0");
    // The process that draws is killed.
    let shown = on_terminal(&line, "recording", |_| {
        let children = format!("/proc/{0}/task/{0}/children", pid());
        let children = fs::read_to_string(children).expect("the children");
        kill("-KILL", children.split_whitespace().next().expect("a child"));
    });
    assert_restored(&shown, "1");
    assert!(shown.contains("has died"), "{shown:?}");
}

#[test]
fn what_cannot_be_shown_is_an_error_before_the_screen_changes() {
    for (arguments, code, part) in [
        (&["top", "--replay", "/no/such/file"][..], 1, "No such file"),
        (&["top"], 2, "nothing to watch"),
        (&["top", "--replay", RECORDED], 2, "needs a terminal"),
        (&["top", "--replay", RECORDED, "--uid", "1"], 2, "cannot be used with"),
        (&["top", "--replay", RECORDED, "--speed=-1"], 2, "--speed"),
    ] {
        let ended = tracer_bin::run(&mut tracer_bin::command(arguments));
        assert_eq!((ended.code, &*ended.stdout), (Some(code), ""), "{arguments:?}");
        assert!(ended.stderr.contains(part), "{arguments:?}: {}", ended.stderr);
    }
}

#[test]
fn notifications_are_shown_seldom_and_as_words() {
    let folder = tempfile::tempdir().expect("a folder");
    let (program, shown) = (folder.path().join("program"), folder.path().join("shown"));
    let script = format!("#!/bin/sh\nprintf '%s|' \"$#\" \"$@\" >>{}\n", shown.display());
    fs::write(&program, script).expect("a program");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("permissions");
    let mut command = tracer_bin::command(["notify", "--program"]);
    let mut process = command.arg(&program).stdin(Stdio::piped()).spawn().expect("tracer");
    let mut input = process.stdin.take().expect("a pipe");
    let line = |culprit: &str| {
        format!(
            "{{\"severity\":\"critical\",\"culprit\":\"{culprit}\",\"addressee\":\"collector.example\",\
             \"what\":\"a page of $(id) <b>\"}}\n"
        )
    };
    for culprit in ["-x", "-x", "other"] {
        input.write_all(line(culprit).as_bytes()).expect("a line");
    }
    drop(input);
    let ended = process.wait_with_output().expect("an exit status");
    assert!(ended.status.success() && ended.stderr.is_empty(), "{ended:?}");
    let shown = fs::read_to_string(shown).expect("a notification");
    assert_eq!(shown, "2|tracer: critical alert|-x sent collector.example a page of $(id) <b>|");

    // A line that is not a notification ends it.
    let mut process = tracer_bin::command(["notify", "--program", "/bin/true"])
        .stdin(Stdio::piped())
        .spawn()
        .expect("tracer");
    let mut input = process.stdin.take().expect("a pipe");
    input.write_all(b"{\"severity\":\"none\"}\n").expect("a line");
    drop(input);
    assert_eq!(process.wait().expect("an exit status").code(), Some(1));
}
