//! Audits of real browsers: `tracer audit` with a scenario of the tests', on a
//! screen that nobody sees.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    browser::{Bus, REPORTER_ID, Screen},
    skip,
    tracer_bin::{self, Ended, Running},
    web::{fixture, installed},
};

/// A question, its answer and, where it is counted, of how many how many.
pub type Expected<'a> = (&'a str, &'a str, Option<(u64, u64)>);

/// An audit, and what it left.
pub struct Audited {
    /// How the command ended.
    pub ended: Ended,
    folder: TempDir,
}

/// An audit that runs.
pub struct Auditing {
    /// The command.
    pub run: Running,
    folder: TempDir,
    // They end after the browser, in this order.
    _bus: Bus,
    _screen: Screen,
    _alone: MutexGuard<'static, ()>,
}

/// How long an audit may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(600);

/// Of Chromium in every form. Nothing leaves the machine.
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

/// A scenario for Chromium with an extension, if there is one.
pub fn chromium(extension: Option<&Path>) -> Scenario {
    let mut start = vec!["chromium".to_owned()];
    start.extend(FLAGS.map(str::to_owned));
    start.push("--user-data-dir={profile}".into());
    let open = ["chromium", "--no-sandbox", "--user-data-dir={profile}"];
    let mut files = Vec::new();
    if let Some(extension) = extension {
        start.push(format!("--load-extension={}", extension.display()));
        start.push("--disable-features=DisableLoadExtensionCommandLineSwitch".into());
        // What its user agrees to in the extension's settings.
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
        // Nobody types here: the address is opened.
        ("type", with(&open, &["https://{text}"])),
        ("accept", with(&open, &["https://accept.{domain}:{port}/"])),
        ("decline", with(&open, &["https://decline.{domain}:{port}/"])),
        ("clear", json!(["rm", "-rf", "{profile}"])),
        // Its profile is all that it keeps.
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
    Scenario::new("Chromium", text)
}

/// The ready scenario for Firefox, with what it leaves to the operator, and
/// without its waits.
pub fn firefox() -> Scenario {
    const READY: &str = include_str!("../../tracer/scenarios/firefox.toml");
    let (driving, _phases) = READY.split_once("[phases.").expect("phases at its end");
    let commands = [
        ("type", json!(["firefox-esr", "--profile", "{profile}", "--new-tab", "https://{text}"])),
        ("reinstall", json!(["rm", "-rf", "{profile}"])),
    ];
    Scenario::new("Firefox", format!("{QUICK}{driving}{}", lines(&commands)))
}

/// What is waited for, in seconds.
const QUICK: &str = "settle = 2\ndwell = 2\n";

/// Commands as a scenario has them: an array of strings is written alike in JSON
/// and in TOML.
fn lines(commands: &[(&str, Value)]) -> String {
    commands.iter().map(|(name, command)| format!("{name} = {command}\n")).collect()
}

/// A scenario that is not yet a file.
pub struct Scenario {
    browser: &'static str,
    text: String,
    left_out: Vec<&'static str>,
    pages: Vec<(&'static str, u32)>,
}

/// The phases, in their order.
const PHASES: [&str; 10] = [
    "fresh",
    "declined",
    "idle",
    "pages",
    "typed",
    "restart",
    "private",
    "private_restart",
    "cleared",
    "reinstalled",
];

impl Scenario {
    fn new(browser: &'static str, text: String) -> Self {
        Self { browser, text, left_out: Vec::new(), pages: Vec::new() }
    }

    /// With these phases, and as many pages in each.
    #[must_use]
    pub fn phases(mut self, phases: &[(&'static str, u32)]) -> Self {
        self.pages = phases.to_vec();
        let wanted = |phase: &&&str| phases.iter().any(|(name, _)| *name == **phase);
        self.left_out = PHASES.iter().filter(|phase| !wanted(phase)).copied().collect();
        self
    }

    /// Without a phase.
    #[must_use]
    pub fn without(mut self, phase: &'static str) -> Self {
        self.left_out.push(phase);
        self
    }

    fn write(&self, folder: &Path) -> PathBuf {
        let mut text = self.text.clone();
        for phase in PHASES {
            text += &format!("[phases.{phase}]\n");
            if let Some((_, pages)) = self.pages.iter().find(|(name, _)| *name == phase) {
                text += &format!("pages = {pages}\n");
            }
            // The first phase starts the browser, whatever else is wanted.
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

    /// Begins an audit; `None`, and the test is skipped, where something is not
    /// installed.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&self) -> Option<Auditing> {
        // One browser at a time: they are watched by name.
        static ONE: Mutex<()> = Mutex::new(());
        let alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        let needs = ["chromium", "firefox-esr", "certutil", "Xvfb", "dbus-daemon"];
        let there = needs.into_iter().all(installed);
        let what = "chromium, firefox-esr, libnss3-tools, xvfb and dbus-daemon (`cargo xtask setup \
                    --tests`)";
        if !skip::root() || !skip::met(there, what) {
            return None;
        }
        let folder =
            tempfile::Builder::new().prefix("tracer-audited-").tempdir().expect("a folder");
        let scenario = self.write(folder.path());
        let (screen, bus) = (Screen::start(), Bus::start());
        let home = folder.path().join("home");
        fs::create_dir(&home).expect("a home");
        let mut command = tracer_bin::command(["audit", "--unattended", "--scenario"]);
        command
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
        Some(Auditing { run, folder, _bus: bus, _screen: screen, _alone: alone })
    }

    /// Makes an audit, to its end.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self) -> Option<Audited> {
        let audited = self.start()?.end();
        assert_eq!(audited.ended.code, Some(0), "{}: {}", self.browser, audited.ended.stderr);
        Some(audited)
    }
}

impl Auditing {
    /// The folder it writes.
    pub fn out(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.run.signal(signal);
    }

    /// Waits for its end.
    pub fn end(mut self) -> Audited {
        // Nothing more is said then.
        self.run.notes(|_| false, PATIENCE);
        Audited { ended: self.run.end(), folder: self.folder }
    }
}

impl Audited {
    /// The folder it wrote.
    pub fn out(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    /// A JSON file of it.
    ///
    /// # Panics
    /// When there is none.
    pub fn json(&self, name: &str) -> Value {
        let path = self.out().join(name);
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|err| panic!("{}: {err}: {}", path.display(), self.ended.stderr));
        serde_json::from_str(&text).expect("JSON")
    }

    /// The answer to a question.
    ///
    /// # Panics
    /// When there is none.
    pub fn verdict(&self, question: &str) -> Value {
        let report = self.json("report.json");
        let verdicts = report["verdicts"].as_array().expect("an array");
        let found = verdicts.iter().find(|verdict| verdict["question"] == question);
        found.unwrap_or_else(|| panic!("no verdict on {question}")).clone()
    }

    /// Holds answers against what they should be: `yes`, `no`, `cannot_tell`,
    /// and the numbers, where there are some.
    ///
    /// # Panics
    /// When one is another.
    pub fn answers(&self, expected: &[Expected<'_>]) {
        for (question, answer, count) in expected {
            let verdict = self.verdict(question);
            assert_eq!(verdict["answer"], *answer, "{verdict:#}\n{}", self.ended.stderr);
            if let Some((told, of)) = count {
                assert_eq!(verdict["count"], json!({"told": told, "of": of}), "{verdict:#}");
            }
        }
    }
}

/// The extension that tells of pages in the way that `config` says, in a folder
/// of its own.
///
/// # Panics
/// When it cannot be written.
pub fn variant(config: &Value) -> TempDir {
    let folder = tempfile::Builder::new().prefix("tracer-variant-").tempdir().expect("a folder");
    for name in ["manifest.json", "variant.js"] {
        fs::copy(fixture("variant").join(name), folder.path().join(name)).expect("a copy");
    }
    fs::write(folder.path().join("config.json"), config.to_string()).expect("a file");
    folder
}
