//! The store of alerts and `tracer alerts`. Needs root only where a test says so.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;
use tracer::store::{Query, Reader, StoreError, StoredAlert};
use tracer_tests::{
    corpus, peer,
    sender::{Sandbox, unused_uid},
    skip,
    tracer_bin::{self, Outcome, Running},
};

const KEEPER: &str = env!("CARGO_BIN_EXE_keeper");
const SENDER: &str = env!("CARGO_BIN_EXE_sender");

/// Time at which a keeper is killed.
#[derive(Clone, Copy)]
enum Life {
    /// Time after its start.
    FromStart(Duration),
    /// Time after it has reported the first alert.
    FromFirst(Duration),
}

/// Numbers of the alerts that a keeper has reported, and the time of each report.
type Said = Vec<(u64, Instant)>;

/// Runs a keeper and kills it. Returns its reports and the time of the kill.
fn kill_after(store: &Path, life: Life) -> (Said, Instant) {
    let mut keeper =
        Command::new(KEEPER).arg(store).stdout(Stdio::piped()).spawn().expect("the keeper");
    let stdout = BufReader::new(keeper.stdout.take().expect("a pipe"));
    let (first, begun) = mpsc::channel();
    let reading = thread::spawn(move || {
        let mut said = Said::new();
        for line in stdout.lines().map_while(Result::ok) {
            said.push((line.parse().expect("a number"), Instant::now()));
            let _ = first.send(());
        }
        said
    });
    match life {
        Life::FromStart(life) => thread::sleep(life),
        Life::FromFirst(life) => {
            begun.recv().expect("a first alert");
            thread::sleep(life);
        }
    }
    let killed = Instant::now();
    keeper.kill().expect("the process runs");
    keeper.wait().expect("an exit status");
    (reading.join().expect("the thread does not panic"), killed)
}

/// Returns the alerts of each run in a store.
fn runs(reader: &Reader) -> Vec<(i64, Vec<u64>)> {
    let mut runs: Vec<(i64, Vec<u64>)> = Vec::new();
    let list = |kept: StoredAlert| {
        let number = kept.alert.alert.expect("a number");
        match runs.last_mut() {
            Some((run, numbers)) if *run == kept.run => numbers.push(number),
            _ => runs.push((kept.run, vec![number])),
        }
        Ok::<_, StoreError>(())
    };
    reader.alerts(&Query::default(), list).expect("its alerts");
    runs
}

#[test]
fn a_kill_loses_at_most_the_last_second() {
    const LONG: usize = 4;
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    // At any moment: during the creation of the store, during commits, long after
    // them.
    let short = (0u64..16).map(|i| Life::FromStart(Duration::from_millis(i * 37 % 300)));
    let long = (0u64..).map(|i| Life::FromFirst(Duration::from_millis(1300 + i * 170)));
    // Number of runs that lost no more than the last second. If the machine stalls,
    // some runs can lose more, but not all of them.
    let (mut held, mut before) = (0, 0);
    for life in short.chain(long.take(LONG)) {
        let (said, killed) = kill_after(&path, life);
        // The first reader finds the store as the kill left it.
        let Some(reader) = path.exists().then(|| Reader::open(&path).expect("a store")).flatten()
        else {
            continue;
        };
        assert!(reader.is_intact().expect("an answer"), "{} said", said.len());
        let runs = runs(&reader);
        // Of each run the first alerts, without a gap.
        for (run, numbers) in &runs {
            let all = (1..).take(numbers.len()).collect::<Vec<u64>>();
            assert_eq!(*numbers, all, "run {run}");
        }
        if let Life::FromFirst(_) = life {
            let old = |(_, at): &&(u64, Instant)| killed - *at > Duration::from_secs(1);
            let (last, _) = said.iter().rfind(old).expect("the last acknowledged alert");
            // The run may have stored nothing.
            let own = runs.last().filter(|(run, _)| *run > before);
            held += usize::from(own.is_some_and(|(_, numbers)| numbers.len() as u64 >= *last));
        }
        before = runs.last().map_or(before, |(run, _)| *run);
    }
    assert!(held > LONG / 2, "{held} of {LONG}");
}

/// Returns a store with some alerts of one run that was killed.
fn filled(folder: &Path) -> PathBuf {
    let path = folder.join("store");
    let is_filled = || {
        let reader = path.exists().then(|| Reader::open(&path).expect("a store")).flatten();
        reader.is_some_and(|reader| reader.count().expect("a number") > 0)
    };
    let mut keeper =
        Command::new(KEEPER).arg(&path).stdout(Stdio::null()).spawn().expect("the keeper");
    while !is_filled() {
        assert_eq!(keeper.try_wait().expect("the state of the process"), None, "it ended");
        thread::sleep(Duration::from_millis(20));
    }
    keeper.kill().expect("the process runs");
    keeper.wait().expect("an exit status");
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn alerts(store: &Path, arguments: &[&str]) -> Outcome {
    let arguments = [&["alerts", "--store", text(store)], arguments].concat();
    tracer_bin::run(&mut tracer_bin::command(arguments))
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

#[test]
fn alerts_are_shown_redacted_with_the_newest_last() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = filled(folder.path());

    let human = alerts(&store, &[]);
    assert_eq!((human.code, &*human.stderr), (Some(0), ""));
    let shown = human.stdout.lines().next().expect("an alert");
    let told = "keeper (uid 1, pid 2) told collector.example about \
                https://news.example.org/story?q=‹";
    assert!(shown.contains(told), "{shown}");
    assert!(!human.stdout.contains("secret"), "{shown}");
    assert!(human.stdout == alerts(&store, &[]).stdout, "a value has one digest");
    assert!(alerts(&store, &["--show-values"]).stdout.contains("story?q=secret"));

    let json = lines(&alerts(&store, &["--json"]).stdout);
    let first = &json[0];
    assert_eq!((&first["type"], &first["schema"]), (&"alert".into(), &2.into()));
    assert_eq!((&first["count"], &first["run"]), (&1.into(), &1.into()));
    let ids: Vec<_> = json.iter().map(|line| line["id"].as_i64().expect("a number")).collect();
    assert!(ids.is_sorted(), "{ids:?}");
    assert_eq!(json.len(), human.stdout.lines().count());

    let count = |arguments: &[&str]| alerts(&store, arguments).stdout.lines().count();
    assert_eq!(count(&["--since", "1h"]), json.len());
    assert_eq!(count(&["--until", "2020-01-01"]), 0);
    assert_eq!(count(&["--severity", "medium"]), json.len());
    assert_eq!(count(&["--severity", "high"]), 0);
    assert_eq!(count(&["--application", "keeper"]), json.len());
    let none = alerts(&store, &["--application", "other"]);
    assert_eq!((none.code, &*none.stdout), (Some(0), ""));
    assert!(none.stderr.contains(&format!("{} alerts in total", json.len())), "{}", none.stderr);
    let none = alerts(&store, &["--identifiers"]);
    assert!(none.stderr.contains("no matching identifier"), "{}", none.stderr);
    let newest = ids.last().expect("an alert").to_string();
    let one = lines(&alerts(&store, &["--json", &newest]).stdout);
    assert_eq!(one, json[json.len() - 1..]);
    assert!(alerts(&store, &["999"]).stderr.contains("no matching alert"));
}

#[test]
fn the_page_of_alerts_is_private_redacted_and_loads_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = filled(folder.path());
    let at = |name: &str| folder.path().join(name);
    let page = at("alerts.html");
    let write =
        |arguments: &[&str]| alerts(&store, &[&["--html", text(&page)], arguments].concat());
    let ended = write(&[]);
    assert_eq!((ended.code, &*ended.stdout), (Some(0), ""));
    let (count, place) = ended.stderr.split_once(" to ").expect("a message");
    assert!(count.starts_with("tracer: wrote ") && count.contains(" alert"), "{count}");
    assert_eq!(place, format!("{}\n", page.display()));
    assert_eq!(mode(&page), 0o600);
    let shown = fs::read_to_string(&page).expect("a page");
    for part in ["keeper", "collector.example", "story?q=‹", "default-src 'none'", "</html>"] {
        assert!(shown.contains(part), "{part}");
    }
    for part in ["secret", "<script", "src=", "http-equiv=\"refresh"] {
        assert!(!shown.contains(part), "{part}");
    }

    let again = write(&[]);
    assert_eq!(again.code, Some(1), "{}", again.stderr);
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    let selected = write(&["--force", "--application", "other", "--show-values"]);
    assert_eq!(selected.code, Some(0), "{}", selected.stderr);
    let shown = fs::read_to_string(&page).expect("a page");
    assert!(shown.contains("of the application other") && shown.contains("No alert matches"));

    fs::write(at("target"), "kept").expect("a file");
    std::os::unix::fs::symlink(at("target"), at("link")).expect("a link");
    let ended = alerts(&store, &["--html", text(&at("link")), "--force"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("symbolic link"), "{}", ended.stderr);
    assert_eq!(fs::read_to_string(at("target")).expect("a file"), "kept");
}

#[test]
fn stored_evidence_can_be_decoded() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = filled(folder.path());
    let reader = Reader::open(&store).expect("a store").expect("alerts");
    let pieces = reader.evidence(1).expect("its evidence");
    let request = folder.path().join("request");
    fs::write(&request, pieces.concat()).expect("a file");
    let ended = tracer_bin::run(&mut tracer_bin::command(["decode", "--json", text(&request)]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let decoded = &lines(&ended.stdout)[0];
    let kept = &lines(&alerts(&store, &["--json", "--show-values"]).stdout)[0];
    for key in ["request", "initiator", "complete", "findings"] {
        assert_eq!(decoded[key], kept[key], "{key}");
    }
}

#[test]
fn errors_and_empty_stores_are_explained() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("empty"), "").expect("a file");
    fs::write(at("text"), "no database, however long it may be. ".repeat(99)).expect("a file");
    let empty = alerts(&at("empty"), &[]);
    assert_eq!((empty.code, &*empty.stdout), (Some(0), ""));
    assert!(empty.stderr.contains("sudo tracer run"), "{}", empty.stderr);
    for (name, arguments, code, part) in [
        ("missing", &[][..], 1, "No such file"),
        ("text", &[], 1, "not a database"),
        ("empty", &["--since", "yesterday"], 2, "2h"),
        ("empty", &["--severity", "grave"], 2, "critical"),
    ] {
        let ended = alerts(&at(name), arguments);
        assert_eq!((ended.code, &*ended.stdout), (Some(code), ""), "{name}: {}", ended.stderr);
        assert!(ended.stderr.contains(part), "{name}: {}", ended.stderr);
    }
    assert!(!at("missing").exists(), "reading creates no store");

    // The default store of a user without alerts.
    let mut command = tracer_bin::command(["alerts"]);
    command.env("STATE_DIRECTORY", at("state"));
    let ended = tracer_bin::run(&mut command);
    assert_eq!((ended.code, &*ended.stdout), (Some(0), ""), "{}", ended.stderr);
    assert!(ended.stderr.contains("contains no alerts yet"), "{}", ended.stderr);
    assert!(!at("state").exists(), "reading creates no store");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("the file exists").permissions().mode() & 0o7777
}

/// Even with a umask of 000.
#[test]
fn only_the_owner_can_read_the_store() {
    if !skip::root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state/tracer");
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 0; exec \"$0\" \"$@\""])
        .arg(tracer_bin::path())
        .args(["run", "--uid", &unused_uid().to_string()])
        .env("STATE_DIRECTORY", &state);
    let run = Running::start_command(&mut command);
    for (name, wanted) in
        [("", 0o700), ("tracer.db", 0o600), ("tracer.db-wal", 0o600), ("tracer.db-shm", 0o600)]
    {
        assert_eq!(mode(&state.join(name)), wanted, "{name}");
    }
    assert_eq!(mode(state.parent().expect("a folder")), 0o700);
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    // The restricted process cannot remove SQLite's other files, but it empties the first one.
    for (name, size) in [("tracer.db-wal", 0), ("tracer.db-shm", 64 << 10)] {
        let length = fs::metadata(state.join(name)).map_or(0, |metadata| metadata.len());
        assert!(length <= size, "{name}: {length}");
    }
}

#[test]
fn alerts_are_stored_and_digests_are_equal_in_later_runs() {
    if !skip::root() {
        return;
    }
    const REPORT: &str = "py-sensors-default.http";
    let sandbox = Sandbox::new(SENDER);
    let request = sandbox.path().join(REPORT);
    fs::copy(corpus::folder().join(REPORT), &request).expect("a copy");
    fs::set_permissions(&request, fs::Permissions::from_mode(0o644)).expect("permissions");
    let store = sandbox.path().join("store");
    let uid = unused_uid();
    let mut shown = Vec::new();
    for _ in 0..2 {
        let mut run =
            Running::start(&["--uid", &uid.to_string(), "--json", "--store", text(&store)]);
        let to = peer::tcp(false);
        sandbox
            .sender()
            .uid(uid)
            .then(format!("connect tcp {to}"))
            .then(format!("file {}", request.display()))
            .run();
        shown.push(run.wait_for_json(|line| line["type"] == "alert"));
        run.signal(Signal::INT);
        let ended = run.end();
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    }
    assert_eq!(shown[0]["findings"][0]["value"], shown[1]["findings"][0]["value"]);
    let kept = lines(&alerts(&store, &["--json"]).stdout);
    assert_eq!(kept.len(), 2);
    for (kept, shown) in kept.iter().zip(&shown) {
        for (key, value) in shown.as_object().expect("an object") {
            assert_eq!(&kept[key], value, "{key}");
        }
    }
    // Other users cannot read it.
    let mut command =
        tracer_bin::command_as(unused_uid(), sandbox.path(), &["alerts", "--store", "store"]);
    let ended = tracer_bin::run(&mut command);
    assert_eq!((ended.code, &*ended.stdout), (Some(1), ""), "{}", ended.stderr);
}

#[test]
fn an_unusable_store_is_an_error_if_it_was_named() {
    if !skip::root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let text_file = folder.path().join("text");
    fs::write(&text_file, "no database, however long it may be. ".repeat(99)).expect("a file");
    for (store, part) in [("/no/such/file", "No such file"), (text(&text_file), "not a database")] {
        let call = ["run", "--all", "--store", store];
        let ended = tracer_bin::run(&mut tracer_bin::command(call));
        assert_eq!((ended.code, &*ended.stdout), (Some(1), ""), "{}", ended.stderr);
        for part in ["--store", store, part] {
            assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
        }
    }
    // An unusable default store only causes a warning.
    let mut command = Command::new(tracer_bin::path());
    command.args(["run", "--uid", &unused_uid().to_string()]).env("STATE_DIRECTORY", &text_file);
    let run = Running::start_command(&mut command);
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("alerts are not kept"), "{}", ended.stderr);
}
