//! Real browsers, without a screen, in profiles of their own.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    skip,
    web::{NEWS, Request, TRACKER, Web, fixture, installed},
};

/// Of the extension in the fixtures: its manifest holds the key that this is
/// a digest of.
const REPORTER_ID: &str = "afnpnmgmjdiifkegmgobgjajjbamchmn";

/// How long a browser may take to end by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Each story sends the browser to the next one.
const STORIES: u32 = 3;

/// A browser that runs.
pub struct Browser {
    process: Child,
    folder: TempDir,
}

/// Which windows Chromium opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// One of the profile's.
    Normal,
    /// One that is said to leave no traces.
    Private,
}

/// Starts Chromium at the first story, with the extension that reports every
/// page or without; `None`, and the test is skipped, where it is not installed.
pub fn chromium(web: &Web, window: Window, reporter: bool) -> Option<Browser> {
    if !skip::met(installed("chromium"), "chromium (`cargo xtask setup --tests`)") {
        return None;
    }
    let folder = folder();
    let profile = folder.path().join("profile");
    let mut command = Command::new("chromium");
    command
        // Tests run as root, which Chromium's own sandbox does not.
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"])
        .args(["--no-first-run", "--disable-background-networking", "--disable-sync"])
        .args(["--disable-component-update", "--disable-quic", "--ignore-certificate-errors"])
        // Nothing leaves the machine.
        .arg("--host-resolver-rules=MAP * 127.0.0.1")
        .arg(format!("--user-data-dir={}", profile.display()));
    if reporter {
        command
            .arg(format!("--load-extension={}", fixture("reporter").display()))
            .arg("--disable-features=DisableLoadExtensionCommandLineSwitch");
    }
    if window == Window::Private {
        command.arg("--incognito");
        // What its user agrees to in the extension's settings.
        let allowed = json!({"extensions": {"settings": {REPORTER_ID: {"incognito": true}}}});
        let folder = profile.join("Default");
        fs::create_dir_all(&folder).expect("a profile");
        fs::write(folder.join("Preferences"), allowed.to_string()).expect("its preferences");
    }
    Some(Browser::start(command, folder, web))
}

/// Starts Firefox at the first story; `None`, and the test is skipped, where
/// it is not installed.
///
/// # Panics
/// When its profile cannot be made.
pub fn firefox(web: &Web) -> Option<Browser> {
    let there = installed("firefox-esr") && installed("certutil");
    if !skip::met(there, "firefox-esr and libnss3-tools (`cargo xtask setup --tests`)") {
        return None;
    }
    let folder = folder();
    let profile = folder.path().join("profile");
    fs::create_dir(&profile).expect("a profile");
    let database = format!("sql:{}", profile.display());
    certutil(&["-N", "-d", &database, "--empty-password"]);
    let ca = web.ca();
    certutil(&["-A", "-d", &database, "-n", "tests", "-t", "C,,", "-i", path(&ca)]);
    // Nothing leaves the machine.
    let preferences = "user_pref(\"network.dns.forceResolve\", \"127.0.0.1\");\n";
    fs::write(profile.join("user.js"), preferences).expect("its preferences");
    let mut command = Command::new("firefox-esr");
    command.args(["--headless", "--no-remote", "--profile", path(&profile)]);
    Some(Browser::start(command, folder, web))
}

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("tracer-browser-").tempdir().expect("a folder")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn certutil(arguments: &[&str]) {
    let output = Command::new("certutil").args(arguments).output().expect("certutil");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

impl Browser {
    fn start(mut command: Command, folder: TempDir, web: &Web) -> Self {
        let log = File::create(folder.path().join("log")).expect("a file");
        let process = command
            .arg(story(web, 1))
            .env("HOME", folder.path())
            // A desktop's, where there is one.
            .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
            .env_remove("DISPLAY")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("a browser");
        Self { process, folder }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let pid = Pid::from_child(&self.process);
        let _ = kill_process(pid, Signal::TERM);
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.process.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        // Whoever is left, and the browser itself if it hangs.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.process.wait();
        if thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("the browser said:\n{log}");
        }
    }
}

/// The URL of a story.
fn story(web: &Web, number: u32) -> String {
    web.url(NEWS, &format!("/story-{number}?q=private"))
}

/// The URLs that every browser here visits.
pub fn visited(web: &Web) -> impl Iterator<Item = String> {
    (1..=STORIES).map(|number| story(web, number))
}

/// A request that a visit makes, and what tracer is to say of it.
pub struct Expected {
    /// The request.
    pub request: Request,
    /// Who makes it, as tracer writes it.
    pub initiator: &'static str,
    /// By what chain the visited URL is found in it, and the URL.
    pub finding: Option<(&'static str, String)>,
}

/// What all the visits make a browser send.
pub fn expected(web: &Web) -> Vec<Expected> {
    visited(web).zip(1..).flat_map(|(url, number)| visit(web, &url, number)).collect()
}

/// As fixtures/browsers/story.html has it.
fn visit(web: &Web, url: &str, number: u32) -> [Expected; 4] {
    let page = |method: &str, path: String, chain| Expected {
        request: request(web, method, TRACKER, path),
        initiator: "page",
        finding: Some((chain, url.to_owned())),
    };
    let encoded = url.replace(':', "%3A").replace('/', "%2F").replace('?', "%3F");
    let encoded = encoded.replace('=', "%3D");
    [
        Expected {
            request: request(web, "GET", NEWS, format!("/story-{number}?q=private")),
            initiator: "navigation",
            finding: None,
        },
        page("POST", "/collect".into(), "body > json.page"),
        page("POST", "/beacon".into(), "body > form:dl"),
        page("GET", format!("/pixel?dl={encoded}"), "query:dl"),
    ]
}

fn request(web: &Web, method: &str, host: &str, path: String) -> Request {
    Request { method: method.into(), authority: web.authority(host), path }
}

/// Whether a line of `tracer decode --json` is as expected.
pub fn is_expected(line: &Value, expected: &Expected, protocol: &str) -> bool {
    let Expected { request, initiator, finding } = expected;
    is_request(line, request)
        && line["request"]["protocol"] == protocol
        && line["initiator"] == *initiator
        && line["complete"] == true
        && finding.as_ref().is_none_or(|(chain, url)| has_finding(line, chain, url))
}

/// Whether a line, or an alert, is of this request.
pub fn is_request(line: &Value, request: &Request) -> bool {
    let Request { method, authority, path } = request;
    let shown = &line["request"];
    shown["method"] == **method && shown["authority"] == **authority && shown["path"] == **path
}

/// Whether a line, or an alert, has a URL found by this chain.
pub fn has_finding(line: &Value, chain: &str, url: &str) -> bool {
    let findings = line["findings"].as_array().expect("findings");
    findings.iter().any(|finding| {
        finding["kind"] == "url" && finding["chain"] == chain && finding["value"] == url
    })
}
