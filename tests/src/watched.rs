//! A browser's visits, watched.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    browser::{self, Engine, Expected, Window, has_finding, is_expected, is_request, visited},
    skip,
    tracer_bin::{self, Running},
    web::{COLLECTOR, NEWS, Protocol, Reader, Request, Web},
};

/// The server can have a request while the call that sent it is still on its
/// way back; and what is not meant to come gets a chance to.
const SETTLE: Duration = Duration::from_millis(500);

/// How the extension in the fixtures wraps a URL.
const REPORT: &str = "body > form:data_list > base64 > gzip > json[0].properties.url";

/// What tracer said of a browser's visits, and what was really sent.
pub struct Watched {
    web: Web,
    engine: Engine,
    protocol: Protocol,
    expected: Vec<Expected>,
    requested: Vec<Request>,
    alerts: Vec<Value>,
    decoded: Vec<Value>,
    stderr: String,
}

/// A page that is visited before the stories, where what encrypts has to be
/// found first. It may or may not be read.
const FIRST: &str = "/first";

/// How long a library may take to be found in a build that is not optimised.
const LOCATING: Duration = Duration::from_secs(60);

/// Watches a browser, from before its start on, until it has made all its
/// visits and, if it is one that reports, told the collector of each. `None`,
/// and the test is skipped, where something is not installed.
///
/// # Panics
/// When the visits, or the alerts, do not come.
pub fn watch(engine: Engine, protocol: Protocol) -> Option<Watched> {
    // One browser at a time: there is one machine, and they are watched by name.
    static ONE: Mutex<()> = Mutex::new(());
    let _alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !skip::root() {
        return None;
    }
    let mut web = Web::start(protocol, engine.reader())?;
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let trace = trace.to_str().expect("a path in UTF-8");
    let options = ["--json", "--show-values", "--verbose"];
    let mut run =
        Running::start(&[&["--exe", engine.exe(), "--record", trace], options.as_slice()].concat());
    if engine.is_found_late() {
        let _first = engine.start(&web, &web.url(NEWS, FIRST))?;
        assert!(run.notes(|line| is_read(engine, line), LOCATING), "nothing is probed");
    }
    let stories: Vec<String> = visited(&web).collect();
    let browser = engine.start(&web, &stories[0])?;

    let expected = browser::expected(&web);
    let requests: Vec<Request> = expected.iter().map(|expected| expected.request.clone()).collect();
    web.wait_for(&requests);
    if engine.reader() == Reader::Reported {
        let mut left = stories;
        while !left.is_empty() {
            let alert = run.json(is_alert);
            left.retain(|url| !has_finding(&alert, REPORT, url));
        }
    }
    thread::sleep(SETTLE);
    drop(browser);

    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let mut alerts = lines(&ended.stdout);
    // Another browser of this name may run here; ours talks to this port alone.
    let ours = |alert: &Value| {
        let authority = alert["request"]["authority"].as_str();
        authority.is_none_or(|authority| authority == web.authority(site(authority)))
    };
    alerts.retain(|line| is_alert(line) && ours(line));
    let decode = tracer_bin::run(&mut tracer_bin::command(["decode", "--json", trace]));
    assert_eq!(decode.code, Some(0), "{}", decode.stderr);
    let (mut requested, decoded) = (web.wait_for(&requests).to_vec(), lines(&decode.stdout));
    requested.retain(|request| request.path != FIRST);
    Some(Watched {
        web,
        engine,
        protocol,
        expected,
        requested,
        alerts,
        decoded,
        stderr: ended.stderr,
    })
}

impl Watched {
    /// Every request that reached the server was read, the visits and the
    /// pages' reports as what they are.
    ///
    /// # Panics
    /// When something was not.
    pub fn all_was_read(&self) {
        let probed = self.stderr.lines().any(|line| is_read(self.engine, line));
        assert!(probed, "tracer said: {}", self.stderr);
        for request in &self.requested {
            assert!(
                self.decoded.iter().any(|line| is_request(line, request)),
                "{request:?} was not read\n{}",
                self.context()
            );
        }
        for expected in &self.expected {
            assert!(
                self.decoded.iter().any(|line| is_expected(line, expected, self.protocol.alpn())),
                "{:?} was not read as it should be\n{}",
                expected.request,
                self.context()
            );
        }
    }

    /// Nobody was accused.
    ///
    /// # Panics
    /// When somebody was.
    pub fn no_alert(&self) {
        assert!(self.alerts.is_empty(), "alerts: {:#?}", self.alerts);
    }

    /// The extension was accused, of every page; and nobody else.
    ///
    /// # Panics
    /// When it is not so.
    pub fn the_reporter_is_accused(&self, exe: &str) {
        for url in visited(&self.web) {
            let told = self.alerts.iter().any(|alert| has_finding(alert, REPORT, &url));
            assert!(told, "no alert for {url}\n{}", self.context());
        }
        let collector = self.web.authority(COLLECTOR);
        for alert in &self.alerts {
            assert_eq!(alert["request"]["authority"], *collector, "{alert:#}");
            assert_eq!(alert["request"]["method"], "POST", "{alert:#}");
            assert_eq!(alert["request"]["path"], "/sa?project=default", "{alert:#}");
            assert_eq!(alert["request"]["protocol"], self.protocol.alpn(), "{alert:#}");
            assert_eq!(alert["initiator"], "extension", "{alert:#}");
            assert_eq!(alert["sender"], "extension", "{alert:#}");
            assert_eq!(alert["severity"], "critical", "{alert:#}");
            assert_eq!(alert["browser"], "Chromium", "{alert:#}");
            assert_eq!(alert["private"], self.private(), "{alert:#}");
            assert_eq!(alert["recipient"]["kind"], "third_party", "{alert:#}");
            assert_eq!(alert["sdk"], "Sensors Analytics", "{alert:#}");
            let findings = alert["findings"].as_array().expect("an array");
            let has = |field: &str, word: &str| findings.iter().any(|one| one[field] == word);
            assert!(has("identification", "lasting"), "{alert:#}");
            assert!(findings.iter().any(|one| one["visited"]["kind"] == "page"), "{alert:#}");
            assert_eq!(alert["hook"], "ssl_write", "{alert:#}");
            assert_eq!(alert["connection"]["transport"], "tls", "{alert:#}");
            assert_eq!(alert["process"]["exe"], exe, "{alert:#}");
            assert_eq!(alert["complete"], true, "{alert:#}");
        }
    }

    /// What the pages reported to their own analytics accuses nobody.
    ///
    /// # Panics
    /// When it does.
    pub fn pages_are_not_accused(&self) {
        let by_pages = self.decoded.iter().filter(|line| line["sender"] == "page");
        let findings = by_pages.flat_map(|line| line["findings"].as_array().expect("an array"));
        let urls: Vec<_> = findings.filter(|one| one["kind"] == "url").collect();
        assert!(!urls.is_empty(), "{}", self.context());
        assert!(urls.iter().all(|one| one["severity"] == "info"), "{urls:#?}");
    }

    /// Whether it is known that the windows are private: nobody knows that they
    /// are not.
    fn private(&self) -> Value {
        match self.engine {
            Engine::Reporting(Window::Private) => Value::Bool(true),
            _ => Value::Null,
        }
    }

    fn context(&self) -> String {
        let read: Vec<String> =
            self.decoded.iter().map(|line| line["request"].to_string()).collect();
        format!("read: {read:#?}\nalerts: {:#?}\ntracer said: {}", self.alerts, self.stderr)
    }
}

/// Whether tracer says that it reads what this browser encrypts.
fn is_read(engine: Engine, line: &str) -> bool {
    let (function, file) = engine.tls();
    line.contains("reads ") && line.contains(function) && line.contains(file)
}

/// The host of an authority.
fn site(authority: &str) -> &str {
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}

/// Whether a line of the alert stream is an alert.
pub fn is_alert(line: &Value) -> bool {
    line["type"] == "alert"
}

/// Lines of JSON.
///
/// # Panics
/// When one is not.
pub fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}
