//! `tracer audit` on real browsers that disclose data and on browsers that do not.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tracer_tests::{
    audited::{self, chromium, firefox, variant},
    skip, tracer_bin,
    web::COLLECTOR,
};

/// Audits a "browser" that is a shell script, run as the user `daemon`, and whose `clear` command
/// is `attack`. Returns how the audit ended, and its run.json.
fn attacked(folder: &Path, attack: &str) -> (tracer_bin::Outcome, Value) {
    let temporary = folder.join("tmp");
    fs::create_dir(&temporary).expect("a folder");
    fs::set_permissions(&temporary, Permissions::from_mode(0o755)).expect("permissions");
    let modes = folder.join("modes");
    fs::write(&modes, "").expect("a file");
    fs::set_permissions(&modes, Permissions::from_mode(0o666)).expect("permissions");
    let list = format!(
        "stat -c '%a %U' {{profile}}/../.. {{profile}}/.. {{profile}} {{profile}}/user.js > {}",
        modes.display()
    );
    let mut scenario = format!(
        "name = 'a script'\nexecutables = ['no-such-browser']\nsite = 'plain'\nsettle = 0\ndwell = 0\n\
         [[file]]\npath = '{{profile}}/user.js'\ntext = 'of the scenario'\n[commands]\n\
         start = ['sh', '-c', \"{list}\"]\nclear = ['sh', '-c', \"{attack}\"]\n"
    );
    for phase in ["fresh", "cleared"] {
        scenario += &format!("[phases.{phase}]\npages = 0\nseconds = 0\n");
    }
    scenario += &audited::only(&["fresh", "cleared"]);
    fs::write(folder.join("scenario.toml"), scenario).expect("a scenario");
    let mut command = Command::new("sh");
    command
        .args(["-c", "umask 000; exec \"$@\"", "sh"])
        .arg(tracer_bin::path())
        .args(["audit", "--unattended", "--as", "daemon", "--scenario"])
        .arg(folder.join("scenario.toml"))
        .arg("--out")
        .arg(folder.join("out"))
        .env("TMPDIR", &temporary)
        .stdin(Stdio::null());
    let ended = tracer_bin::run(&mut command);
    let left: Vec<_> = fs::read_dir(&temporary).expect("a folder").collect();
    assert!(left.is_empty(), "{left:?}: {}", ended.stderr);
    let run = fs::read(folder.join("out/run.json"))
        .unwrap_or_else(|err| panic!("{err}: {}", ended.stderr));
    (ended, serde_json::from_slice(&run).expect("JSON"))
}

#[test]
fn a_browser_that_cannot_be_audited_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let audit = |browser: &str| {
        let mut command = tracer_bin::command(["audit", "--unattended", "--browser", browser]);
        // No program is found.
        let ended = tracer_bin::run(command.env("PATH", folder.path()).current_dir(folder.path()));
        assert_eq!((ended.code, &*ended.stdout), (Some(2), ""), "{browser}: {}", ended.stderr);
        ended.stderr
    };
    for (browser, part) in [
        ("falcon", "named falcon; did you mean Falkon?"),
        ("netscape", "tracer browsers --all"),
        // Names are matched whatever their case.
        ("MIDORI", "no scenario controls this browser"),
        ("eDGE", "Edge was not found on this machine: no program named msedge or"),
        ("firefox focus", "on Android only, as org.mozilla.focus; "),
    ] {
        let said = audit(browser);
        assert!(said.contains(part), "{browser}: {said}");
    }
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

#[test]
fn a_browser_that_does_not_start_is_quoted() {
    if !skip::root() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let scenario = folder.path().join("scenario.toml");
    let text = "name = 'b'\nexecutables = ['no-such-browser']\nsite = 'plain'\n[commands]\n\
                start = ['sh', '-c', 'echo first >&2; echo cannot open display >&2; exit 3']\n";
    fs::write(&scenario, text).expect("a scenario");
    let mut command = tracer_bin::command(["audit", "--unattended", "--scenario"]);
    command.arg(&scenario).arg("--out").arg(folder.path().join("out")).stdin(Stdio::null());
    let ended = tracer_bin::run(&mut command);
    assert_eq!(ended.code, Some(1), "{}", ended.stderr);
    let expected = "failed: exit code 3; it says: first / cannot open display\n";
    assert!(ended.stderr.ends_with(expected), "{}", ended.stderr);
    assert_eq!(ended.stderr.matches("cannot open display").count(), 2, "{}", ended.stderr);
}

#[test]
fn a_browser_user_cannot_lead_root_through_links() {
    let is_there = fs::read_to_string("/etc/passwd").is_ok_and(|text| text.contains("\ndaemon:"));
    if !skip::root() || !skip::met(is_there, "a user named daemon") {
        return;
    }
    let attacks = [
        // The profile becomes a link to a folder of root's.
        "rm -rf {profile}; ln -s TARGET {profile}",
        // A file of the profile becomes a link to a file of root's.
        "rm {profile}/user.js; ln -s TARGET/file {profile}/user.js",
        // Likewise, to a file that does not exist.
        "rm {profile}/user.js; ln -s TARGET/user.js {profile}/user.js",
    ];
    for attack in attacks {
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("permissions");
        let target = folder.path().join("target");
        fs::create_dir(&target).expect("a folder");
        fs::write(target.join("file"), "of root's").expect("a file");
        let attack = attack.replace("TARGET", target.to_str().expect("UTF-8"));
        let (ended, run) = attacked(folder.path(), &attack);

        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let outcome = &run["stages"][10]["outcome"];
        assert!(outcome.to_string().contains("cannot prepare"), "{attack}: {run:#}");
        assert_eq!(fs::read_dir(&target).expect("a folder").count(), 1, "{attack}");
        assert_eq!(fs::read_to_string(target.join("file")).expect("a file"), "of root's");
        for path in [&target, &target.join("file")] {
            assert_eq!(fs::metadata(path).expect("the file exists").uid(), 0, "{attack}");
        }
        // The files of folders that were not attacked have these modes, under umask
        // 000.
        let modes = fs::read_to_string(folder.path().join("modes")).expect("modes");
        assert_eq!(modes, "711 root\n700 daemon\n700 daemon\n600 daemon\n");
    }
}

/// Configures the extension to report full URLs in every mode, with one lasting
/// number.
fn full_reports() -> Value {
    json!({"to": COLLECTOR, "mode": "full", "id": "installation"})
}

fn with(name: &str, value: Value) -> Value {
    let mut config = full_reports();
    config[name] = value;
    config
}

#[test]
fn a_reporting_browser_is_detected() {
    let extension = variant(&full_reports());
    // What is read needs no experiment, which takes minutes; without one, there is no "no".
    let scenario = chromium(Some(extension.path()));
    let Some(audited) = scenario.without("experiment").without("private_experiment").run() else {
        return;
    };
    audited.assert_answers(&[
        ("urls", "yes", Some((13, 13))),
        ("urls_in_private_mode", "yes", Some((6, 6))),
        ("urls_before_consent", "yes", Some((1, 1))),
        ("urls_after_declining", "yes", Some((1, 1))),
        ("to_maker", "cannot_tell", None),
        ("to_third_parties", "yes", None),
        ("identifier", "yes", None),
        ("same_after_restart", "yes", None),
        ("same_in_private_mode", "yes", None),
        ("same_in_private_mode_after_restart", "yes", None),
        ("same_after_clearing", "no", None),
        ("same_after_reinstall", "no", None),
        ("same_in_other_applications", "cannot_tell", None),
        ("before_consent", "yes", None),
        ("processed_locally", "no", None),
    ]);
    let urls = audited.verdict("urls");
    assert_eq!(urls["scopes"], json!([{"scope": "full", "visits": 13}]), "{urls:#}");
    assert_eq!(urls["protection"], "encoding_only", "{urls:#}");

    let report = audited.json("report.json");
    assert_eq!(report["complete"], true, "{:#}", report["notes"]);
    let told = report["disclosures"].as_array().expect("an array");
    let item = &told[0]["items"][0];
    assert_eq!(item["chain"], "body > form:data_list > base64 > gzip > json[0].properties.url");
    assert!(told.iter().all(|told| told["sender"] == "extension"), "{told:#?}");
    assert_eq!(report["recipients"][0]["recipient"], "example.com");

    // SHA256SUMS covers every file in the folder, and only their owner can read
    // them.
    let sums = Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(audited.out())
        .status();
    assert!(sums.expect("sha256sum").success());
    let listed = fs::read_to_string(audited.out().join("SHA256SUMS")).expect("sums");
    for entry in fs::read_dir(audited.out()).expect("a folder") {
        let entry = entry.expect("an entry");
        let mode = entry.metadata().expect("permissions").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
        let name = entry.file_name().into_string().expect("a name");
        assert!(name == "SHA256SUMS" || listed.contains(&name), "SHA256SUMS lacks {name}");
    }

    // The evidence contains the same findings for readers without the trace.
    for name in ["evidence.har", "evidence.pcapng"] {
        let mut decode = tracer_bin::command(["decode", "--json"]);
        decode.arg(audited.out().join(name));
        let decoded = tracer_bin::run(&mut decode);
        assert_eq!(decoded.code, Some(0), "{name}: {}", decoded.stderr);
        let lines: Vec<Value> =
            decoded.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        for told in told {
            let url = &told["items"][0]["value"];
            let has = |line: &Value| {
                let findings = line["findings"].as_array().expect("an array");
                findings.iter().any(|one| one["kind"] == "url" && one["value"] == *url)
            };
            assert!(lines.iter().any(has), "{name} lacks {url}");
        }
    }

    // The report that was made while the audit ran equals the one made from its files.
    let mut again = tracer_bin::command(["report", "--show-values"]);
    again.arg(audited.out());
    assert_eq!(tracer_bin::run(&mut again).code, Some(0));
    assert_eq!(audited.json("report.json"), report);

    // It can also be written with digests.
    let mut again = tracer_bin::command(["report"]);
    again.arg(audited.out());
    assert_eq!(tracer_bin::run(&mut again).code, Some(0));
    audited.assert_answers(&[("urls", "yes", Some((13, 13)))]);
    let number = report["identifiers"][0]["value"].as_str().expect("a value");
    let redacted = audited.json("report.json");
    assert!(!redacted.to_string().contains(number), "{redacted:#}");
}

#[test]
fn chromium_discloses_nothing() {
    let Some(audited) = chromium(None).run() else {
        return;
    };
    audited.assert_answers(&[
        ("derived_values", "no", None),
        ("urls", "no", Some((0, 13))),
        ("urls_in_private_mode", "no", Some((0, 6))),
        ("urls_before_consent", "no", Some((0, 1))),
        ("to_maker", "no", None),
        ("to_third_parties", "no", None),
        ("identifier", "no", None),
    ]);
}

#[test]
fn firefox_discloses_nothing() {
    let Some(audited) = firefox().without("declined").run() else {
        return;
    };
    audited.assert_answers(&[
        ("urls", "no", Some((0, 13))),
        ("urls_in_private_mode", "no", Some((0, 6))),
        ("urls_after_declining", "cannot_tell", None),
        ("derived_values", "no", None),
        ("to_third_parties", "no", None),
        ("identifier", "no", None),
    ]);
}

/// Runs an audit with one page in each of these phases, reported by the extension
/// as configured.
fn short_audit(config: &Value, phases: &[(&'static str, u32)]) -> Option<audited::FinishedAudit> {
    let extension = variant(config);
    chromium(Some(extension.path())).phases(phases).run()
}

#[test]
fn hosts_are_distinguished_from_urls() {
    let Some(audited) = short_audit(&with("mode", json!("host")), &[("pages", 2)]) else {
        return;
    };
    audited.assert_answers(&[("urls", "yes", Some((2, 2))), ("processed_locally", "no", None)]);
    let urls = audited.verdict("urls");
    assert_eq!(urls["scopes"], json!([{"scope": "host", "visits": 2}]), "{urls:#}");
    assert_eq!(urls["protection"], "none", "{urls:#}");
}

#[test]
fn hashed_urls_are_recognised() {
    let Some(audited) = short_audit(&with("mode", json!("hash")), &[("pages", 2)]) else {
        return;
    };
    audited.assert_answers(&[("urls", "yes", Some((2, 2)))]);
    let urls = audited.verdict("urls");
    assert_eq!(urls["scopes"], json!([{"scope": "hash", "visits": 2}]), "{urls:#}");
    assert_eq!(urls["protection"], "hashed", "{urls:#}");
}

#[test]
fn typed_letters_are_recognised() {
    let Some(audited) = short_audit(&with("mode", json!("letters")), &[("typed", 1)]) else {
        return;
    };
    audited.assert_answers(&[("typed_letters", "yes", None)]);
}

#[test]
fn a_session_identifier_does_not_last() {
    let phases = [("pages", 1), ("restart", 1), ("private", 1)];
    let Some(audited) = short_audit(&with("id", json!("session")), &phases) else {
        return;
    };
    audited.assert_answers(&[
        ("urls", "yes", Some((2, 2))),
        ("urls_in_private_mode", "yes", Some((1, 1))),
        ("same_after_restart", "no", None),
        ("same_in_private_mode", "no", None),
        ("same_after_clearing", "cannot_tell", None),
    ]);
}

#[test]
fn silence_in_private_mode_is_recognised() {
    let phases = [("pages", 1), ("private", 2), ("private_experiment", 8)];
    let Some(audited) = short_audit(&with("skip_private", json!(true)), &phases) else {
        return;
    };
    audited.assert_answers(&[
        ("urls", "yes", Some((1, 1))),
        ("urls_in_private_mode", "no", Some((0, 2))),
        ("same_in_private_mode", "cannot_tell", None),
    ]);
}

#[test]
fn waiting_for_consent_is_recognised() {
    let phases = [("fresh", 1), ("declined", 1), ("pages", 1), ("experiment", 8)];
    let Some(audited) = short_audit(&with("consent", json!(true)), &phases) else {
        return;
    };
    audited.assert_answers(&[
        ("urls", "yes", Some((1, 1))),
        ("urls_before_consent", "no", Some((0, 1))),
        ("urls_after_declining", "no", Some((0, 1))),
        ("before_consent", "no", None),
        ("after_declining", "no", None),
    ]);
}

#[test]
fn third_parties_are_named() {
    let to = "api.mixpanel.com";
    let Some(audited) = short_audit(&with("to", json!(to)), &[("pages", 1), ("experiment", 8)])
    else {
        return;
    };
    audited.assert_answers(&[("urls", "yes", None), ("to_maker", "no", None)]);
    let report = audited.json("report.json");
    let recipient = &report["recipients"][0];
    assert_eq!(recipient["recipient"], "mixpanel.com", "{recipient:#}");
    assert_eq!(recipient["who"]["kind"], "service", "{recipient:#}");
    assert_eq!(recipient["who"]["category"], "analytics", "{recipient:#}");
}

#[test]
fn a_killed_audit_can_be_reported() {
    let extension = variant(&full_reports());
    let scenario = chromium(Some(extension.path())).phases(&[("pages", 1), ("restart", 1)]);
    let Some(mut auditing) = scenario.start() else {
        return;
    };
    assert!(
        auditing
            .run
            .wait_for_stderr(|line| line.contains("after a restart"), Duration::from_secs(120)),
        "the phase does not start"
    );
    auditing.wait_for_answer("urls", "yes");
    auditing.signal(Signal::KILL);
    let audited = auditing.end();
    assert_eq!(audited.ended.code, None, "{}", audited.ended.stderr);
    // The report after the last completed phase.
    audited.assert_answers(&[("urls", "yes", Some((1, 1)))]);
    // A report from everything that was recorded.
    let mut again = tracer_bin::command(["report", "--show-values"]);
    again.arg(audited.out());
    let again = tracer_bin::run(&mut again);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(again.stdout.contains("did not finish"), "{}", again.stdout);
    audited.assert_answers(&[("urls", "yes", None), ("same_after_clearing", "cannot_tell", None)]);
    assert_eq!(audited.json("report.json")["complete"], false);
    // The browser survives a killed tracer, so end it here.
    let ours = format!("load-extension={}", extension.path().display());
    let _ = Command::new("pkill").args(["-f", &ours]).status();
}

#[test]
fn ctrl_c_keeps_the_results_so_far() {
    let scenario = chromium(None).phases(&[("pages", 1), ("experiment", 8), ("restart", 1)]);
    let Some(mut auditing) = scenario.start() else {
        return;
    };
    assert!(
        auditing
            .run
            .wait_for_stderr(|line| line.contains("after a restart"), Duration::from_secs(240)),
        "the phase does not start"
    );
    auditing.signal(Signal::INT);
    let audited = auditing.end();
    assert_eq!(audited.ended.code, Some(130), "{}", audited.ended.stderr);
    audited.assert_answers(&[("urls", "no", None)]);
    let report = audited.json("report.json");
    assert_eq!(report["complete"], false);
    assert!(
        report["notes"].to_string().contains("The user ended the run"),
        "{:#}",
        report["notes"]
    );
}
