//! Audits of real browsers: runs `tracer audit` with the tests' own scenarios on a
//! virtual screen.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    browser::{Bus, REPORTER_ID, Screen},
    leaker::{self, Leaker, UNRESOLVED},
    private::PrivateBrowser,
    skip,
    tracer_bin::{self, Outcome, Running},
    web::{Web, fixture, installed},
};

/// A question, its answer and, if the question is counted, the count and the total.
pub type Expected<'a> = (&'a str, &'a str, Option<(u64, u64)>);

/// A finished audit and its files.
pub struct FinishedAudit {
    /// Outcome of the command.
    pub ended: Outcome,
    folder: TempDir,
}

/// An audit in progress.
pub struct RunningAudit {
    /// The running command.
    pub run: Running,
    folder: TempDir,
    // Dropped after the browser, in this order.
    _bus: Bus,
    _screen: Screen,
    _browser: PrivateBrowser,
}

/// Longest time an audit may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(600);

/// Options of every Chromium. They keep all traffic on this machine.
const FLAGS: [&str; 10] = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * 127.0.0.1",
    "--ignore-certificate-errors-spki-list={spki}",
];

/// Returns a scenario for Chromium, optionally with an extension.
pub fn chromium(extension: Option<&Path>) -> Scenario {
    let mut start = vec!["chromium".to_owned()];
    start.extend(FLAGS.map(str::to_owned));
    start.push("--user-data-dir={profile}".into());
    let open = ["chromium", "--no-sandbox", "--user-data-dir={profile}"];
    let mut files = Vec::new();
    if let Some(extension) = extension {
        start.push(format!("--load-extension={}", extension.display()));
        start.push("--disable-features=DisableLoadExtensionCommandLineSwitch".into());
        // The permission that a user gives in the extension's settings.
        let allowed = json!({"extensions": {"settings": {REPORTER_ID: {"incognito": true}}}});
        files.push(("{profile}/Default/Preferences".to_owned(), allowed.to_string()));
    }
    let with = |words: &[&str], more: &[&str]| -> Value { json!([words, more].concat()) };
    let started: Vec<&str> = start.iter().map(String::as_str).collect();
    let commands = [
        ("version", json!(["chromium", "--version"])),
        ("start", with(&started, &[])),
        ("start_private", with(&started, &["--incognito"])),
        ("open", with(&open, &["{url}"])),
        ("open_private", with(&open, &["--incognito", "{url}"])),
        // The test does not type: it opens the address.
        ("type", with(&open, &["{text}"])),
        ("search", with(&open, &["https://{text}"])),
        ("accept", with(&open, &["https://accept.{domain}:{port}/"])),
        ("decline", with(&open, &["https://decline.{domain}:{port}/"])),
        ("clear", json!(["rm", "-rf", "{profile}"])),
        // The profile is all that this browser stores.
        ("reinstall", json!(["rm", "-rf", "{profile}"])),
    ];
    let mut text = format!(
        "{QUICK}name = \"Chromium, in a test\"\nbrowser = \"Chromium\"\n\
         executables = [\"chromium\"]\n"
    );
    for (path, contents) in files {
        text += &format!("[[file]]\npath = '{path}'\ntext = '{contents}'\n");
    }
    text += &format!("[commands]\n{}", lines(&commands));
    Scenario::new("Chromium", "chromium", text)
}

/// Returns a scenario for Chromium with an extension that sends to recipients of any name, whose
/// certificates are not checked. One site cannot be resolved.
pub fn leaking_chromium(leaker: &Leaker) -> Scenario {
    let scenario = chromium(Some(&leaker.unpacked()));
    let rules = format!("MAP * 127.0.0.1, EXCLUDE *.{UNRESOLVED}");
    let text = scenario
        .text
        .replace("MAP * 127.0.0.1", &rules)
        .replace("--ignore-certificate-errors-spki-list={spki}", "--ignore-certificate-errors");
    Scenario { text, ..scenario }
}

/// Returns a scenario for Firefox with an extension that sends to the server of `web`.
pub fn leaking_firefox(leaker: &Leaker, web: &Web) -> Scenario {
    let scenario = firefox();
    let extension = format!("{{profile}}/extensions/{}", leaker::FIREFOX_FILE);
    let packed = leaker.packed().display().to_string();
    let ca = web.ca().display().to_string();
    let more = json!([
        ["mkdir", "-p", "{profile}/extensions"],
        ["cp", packed, extension],
        ["certutil", "-A", "-d", "sql:{profile}", "-n", "leaker", "-t", "C,,", "-i", ca],
    ]);
    // Within the list of commands that prepare the profile, and the file of preferences.
    let more = more.to_string();
    let more = more.trim_start_matches('[').trim_end_matches(']');
    let preferences = format!(
        "user_pref(\"network.dns.forceResolve\", \"127.0.0.1\");\n{}",
        leaker::FIREFOX_PREFERENCES
    );
    let (before, after) = scenario.text.split_once("\n]\nstart = ").expect("a list");
    let text = format!("{before}\n    [{more}],\n]\nstart = {after}");
    let (before, after) = text.split_once("user_pref(").expect("preferences");
    let text = format!("{before}{preferences}user_pref({after}");
    Scenario { text, ..scenario }
}

/// Returns the bundled scenario for Firefox, with the steps that it leaves to the
/// operator, and with shorter waits.
pub fn firefox() -> Scenario {
    const READY: &str = include_str!("../../tracer/scenarios/firefox.toml");
    let (driving, _phases) = READY.split_once("[phases.").expect("phases at its end");
    // Keeps all traffic on this machine. If its lookups failed, nothing could be said about what it
    // would have sent.
    let driving = driving.replacen(
        "user_pref(",
        "user_pref(\"network.dns.forceResolve\", \"127.0.0.1\");\nuser_pref(",
        1,
    );
    let commands = [
        ("type", json!(["firefox-esr", "--profile", "{profile}", "--new-tab", "{text}"])),
        ("search", json!(["firefox-esr", "--profile", "{profile}", "--new-tab", "https://{text}"])),
        ("reinstall", json!(["rm", "-rf", "{profile}"])),
    ];
    Scenario::new("Firefox", "firefox-esr", format!("{QUICK}{driving}{}", lines(&commands)))
}

/// Waiting times, in seconds.
const QUICK: &str = "settle = 2\ndwell = 2\n";

/// Formats commands for a scenario. An array of strings is written the same way in
/// JSON and in TOML.
fn lines(commands: &[(&str, Value)]) -> String {
    commands.iter().map(|(name, command)| format!("{name} = {command}\n")).collect()
}

/// A scenario before it is written to a file.
pub struct Scenario {
    browser: &'static str,
    /// Command that starts the browser.
    program: &'static str,
    text: String,
    left_out: Vec<&'static str>,
    pages: Vec<(&'static str, u32)>,
}

/// All phases, in order.
const PHASES: [&str; 12] = [
    "fresh",
    "declined",
    "idle",
    "pages",
    "experiment",
    "typed",
    "restart",
    "private",
    "private_experiment",
    "private_restart",
    "cleared",
    "reinstalled",
];

/// Returns the part of a scenario that leaves out all phases but these.
#[must_use]
pub fn only(phases: &[&str]) -> String {
    let left_out = PHASES.iter().filter(|phase| !phases.contains(phase));
    left_out.map(|phase| format!("[phases.{phase}]\nskip = 'not wanted here'\n")).collect()
}

impl Scenario {
    fn new(browser: &'static str, program: &'static str, text: String) -> Self {
        Self { browser, program, text, left_out: Vec::new(), pages: Vec::new() }
    }

    /// Limits the audit to these phases, with this number of pages in each.
    #[must_use]
    pub fn phases(mut self, phases: &[(&'static str, u32)]) -> Self {
        self.pages = phases.to_vec();
        let wanted = |phase: &&&str| phases.iter().any(|(name, _)| *name == **phase);
        self.left_out = PHASES.iter().filter(|phase| !wanted(phase)).copied().collect();
        self
    }

    /// Leaves out a phase.
    #[must_use]
    pub fn without(mut self, phase: &'static str) -> Self {
        self.left_out.push(phase);
        self
    }

    fn write(&self, folder: &Path, browser: &PrivateBrowser) -> PathBuf {
        let mut text = self.text.clone();
        let command = browser.command().display().to_string();
        text = text.replace(&format!("[\"{}\"", self.program), &format!("[\"{command}\""));
        let (before, after) = text.split_once("executables = ").expect("names of the browser");
        let (_, after) = after.split_once('\n').expect("a line");
        text = format!("{before}executables = [\"{}\"]\n{after}", browser.name());
        for phase in PHASES {
            text += &format!("[phases.{phase}]\n");
            if let Some((_, pages)) = self.pages.iter().find(|(name, _)| *name == phase) {
                text += &format!("pages = {pages}\n");
            } else if phase == "experiment" {
                // As large as the one in private windows.
                text += "pages = 8\nidle = 6\n";
            }
            // The first phase starts the browser, so it cannot be skipped.
            if self.left_out.contains(&phase) {
                text +=
                    if phase == "fresh" { "pages = 0\n" } else { "skip = \"not wanted here\"\n" };
            }
            text += if phase == "idle" { "seconds = 2\n" } else { "seconds = 1\n" };
        }
        let path = folder.join("scenario.toml");
        fs::write(&path, text).expect("a scenario");
        path
    }

    /// Starts the audit. Returns `None`, and marks the test as skipped, if a
    /// program that it needs is not installed.
    ///
    /// # Panics
    /// Panics if the audit cannot be started.
    pub fn start(&self) -> Option<RunningAudit> {
        let needs = ["chromium", "firefox-esr", "certutil", "Xvfb", "dbus-daemon"];
        let there = needs.into_iter().all(installed);
        let what = "chromium, firefox-esr, libnss3-tools, xvfb and dbus-daemon (`cargo xtask setup \
                    --tests`)";
        if !skip::root() || !skip::met(there, what) {
            return None;
        }
        let folder =
            tempfile::Builder::new().prefix("tracer-audited-").tempdir().expect("a folder");
        let browser = PrivateBrowser::new(self.program);
        let scenario = self.write(folder.path(), &browser);
        let (screen, bus) = (Screen::start(), Bus::start());
        let home = folder.path().join("home");
        fs::create_dir(&home).expect("a home");
        // Names that are not mapped to loopback cannot be resolved, and no lookup leaves the machine.
        const ISOLATED: &str = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";
        let resolver = folder.path().join("resolv.conf");
        fs::write(&resolver, "nameserver 127.0.0.1\noptions attempts:1\n").expect("a file");
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "sh", "-c", ISOLATED, "sh"])
            .arg(resolver)
            .arg(tracer_bin::path())
            .args(["audit", "--unattended", "--scenario"])
            .arg(scenario)
            .arg("--out")
            .arg(folder.path().join("audit"))
            .arg("--show-values")
            .env("DISPLAY", screen.display())
            .env("DBUS_SESSION_BUS_ADDRESS", bus.address())
            .env("LIBGL_ALWAYS_SOFTWARE", "1")
            .env("HOME", home)
            .env_remove("SUDO_USER");
        let run = Running::spawn(&mut command);
        Some(RunningAudit { run, folder, _bus: bus, _screen: screen, _browser: browser })
    }

    /// Runs the audit to its end. Returns `None` as [`Scenario::start`] does.
    ///
    /// # Panics
    /// Panics if the audit fails.
    pub fn run(&self) -> Option<FinishedAudit> {
        let audited = self.start()?.end();
        assert_eq!(audited.ended.code, Some(0), "{}: {}", self.browser, audited.ended.stderr);
        Some(audited)
    }
}

impl RunningAudit {
    /// Returns the folder that the audit writes.
    pub fn out(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    /// Sends a signal to the audit.
    pub fn signal(&self, signal: Signal) {
        self.run.signal(signal);
    }

    /// Waits for an interim report that answers a question like this. Reports are written
    /// while the next phase runs.
    ///
    /// # Panics
    /// Panics if there is none in time.
    pub fn wait_for_answer(&self, question: &str, answer: &str) {
        let deadline = Instant::now() + PATIENCE;
        let is_answered = || {
            let text = fs::read_to_string(self.out().join("report.json")).ok()?;
            let report: Value = serde_json::from_str(&text).ok()?;
            let verdicts = report["verdicts"].as_array()?;
            let found = verdicts.iter().find(|verdict| verdict["question"] == question)?;
            Some(found["answer"] == answer)
        };
        while is_answered() != Some(true) {
            assert!(Instant::now() < deadline, "no report answers {question} with {answer}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until the audit ends.
    pub fn end(mut self) -> FinishedAudit {
        // Reads standard error to its end.
        self.run.wait_for_stderr(|_| false, PATIENCE);
        FinishedAudit { ended: self.run.end(), folder: self.folder }
    }
}

impl FinishedAudit {
    /// Returns the folder that the audit wrote.
    pub fn out(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    /// Returns a JSON file of the audit.
    ///
    /// # Panics
    /// Panics if the file is missing or is not JSON.
    pub fn json(&self, name: &str) -> Value {
        let path = self.out().join(name);
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|err| panic!("{}: {err}: {}", path.display(), self.ended.stderr));
        serde_json::from_str(&text).expect("JSON")
    }

    /// Returns the verdict on a question.
    ///
    /// # Panics
    /// Panics if the report has no verdict on it.
    pub fn verdict(&self, question: &str) -> Value {
        let report = self.json("report.json");
        #[cfg(feature = "schemas")]
        crate::schema::check("report", &report);
        let verdicts = report["verdicts"].as_array().expect("an array");
        let found = verdicts.iter().find(|verdict| verdict["question"] == question);
        found.unwrap_or_else(|| panic!("no verdict on {question}")).clone()
    }

    /// Checks answers (`yes`, `no`, `cannot_tell`) and counts against the expected
    /// ones.
    ///
    /// # Panics
    /// Panics if one differs.
    pub fn assert_answers(&self, expected: &[Expected<'_>]) {
        for (question, answer, count) in expected {
            let verdict = self.verdict(question);
            assert_eq!(verdict["answer"], *answer, "{verdict:#}\n{}", self.ended.stderr);
            if let Some((told, of)) = count {
                assert_eq!(verdict["count"], json!({"told": told, "of": of}), "{verdict:#}");
            }
        }
    }
}

/// Returns a folder with the extension that reports pages as `config` specifies.
///
/// # Panics
/// Panics if the folder cannot be written.
pub fn variant(config: &Value) -> TempDir {
    let folder = tempfile::Builder::new().prefix("tracer-variant-").tempdir().expect("a folder");
    for name in ["manifest.json", "variant.js"] {
        fs::copy(fixture("variant").join(name), folder.path().join(name)).expect("a copy");
    }
    fs::write(folder.path().join("config.json"), config.to_string()).expect("a file");
    folder
}
