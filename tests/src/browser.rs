//! Real browsers in temporary profiles, and the requests that their visits make.

mod engine;
mod screen;

use std::{
    fs::{self, File},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::Value;
use tempfile::TempDir;

pub use self::{
    engine::{CHROMIUM, Engine, REPORTER_ID, Window},
    screen::{Bus, Screen},
};
use crate::web::{NEWS, Request, TRACKER, Web};

/// Longest time a browser may take to exit by itself.
const PATIENCE: Duration = Duration::from_secs(10);

/// Number of stories. Each one sends the browser to the next.
const STORIES: u32 = 3;

/// A running browser.
pub struct Browser {
    process: Child,
    folder: TempDir,
    // Dropped after the browser.
    _screen: Option<Screen>,
}

impl Browser {
    fn start(mut command: Command, folder: TempDir, screen: Option<Screen>, url: &str) -> Self {
        let log = File::create(folder.path().join("log")).expect("a file");
        match &screen {
            Some(screen) => command.env("DISPLAY", screen.display()),
            // Keep the browser off the user's desktop.
            None => command.env_remove("DISPLAY"),
        };
        let process = command
            .arg(url)
            .env("HOME", folder.path())
            .env("DBUS_SESSION_BUS_ADDRESS", "disabled:")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("a browser");
        Self { process, folder, _screen: screen }
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
        // Kill remaining children, and the browser itself if it hangs.
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = self.process.wait();
        if thread::panicking() {
            let log = fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            eprintln!("the browser said:\n{log}");
        }
    }
}

/// Returns the URL of a story.
fn story(web: &Web, number: u32) -> String {
    web.url(NEWS, &format!("/story-{number}?q=private"))
}

/// Returns the URLs that every browser visits.
pub fn visited(web: &Web) -> impl Iterator<Item = String> {
    (1..=STORIES).map(|number| story(web, number))
}

/// A request that a visit makes, and how tracer should report it.
pub struct Expected {
    /// The request.
    pub request: Request,
    /// Initiator of the request, as tracer writes it.
    pub initiator: &'static str,
    /// Chain by which tracer finds the visited URL in the request, and the URL.
    pub finding: Option<(&'static str, String)>,
}

/// Returns all requests that the visits make.
pub fn expected(web: &Web) -> Vec<Expected> {
    visited(web).zip(1..).flat_map(|(url, number)| visit(web, &url, number)).collect()
}

/// Returns the requests of one visit, as `fixtures/browsers/story.html` makes them.
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

/// Reports whether a line of `tracer decode --json` matches the expected request.
pub fn is_expected(line: &Value, expected: &Expected, protocol: &str) -> bool {
    let Expected { request, initiator, finding } = expected;
    is_request(line, request)
        && line["request"]["protocol"] == protocol
        && line["initiator"] == *initiator
        && line["complete"] == true
        && finding.as_ref().is_none_or(|(chain, url)| has_finding(line, chain, url))
}

/// Reports whether a line or an alert is about this request.
pub fn is_request(line: &Value, request: &Request) -> bool {
    let Request { method, authority, path } = request;
    let shown = &line["request"];
    shown["method"] == **method && shown["authority"] == **authority && shown["path"] == **path
}

/// Reports whether a line or an alert has a URL found by this chain.
pub fn has_finding(line: &Value, chain: &str, url: &str) -> bool {
    let findings = line["findings"].as_array().expect("findings");
    findings.iter().any(|finding| {
        finding["kind"] == "url" && finding["chain"] == chain && finding["value"] == url
    })
}
