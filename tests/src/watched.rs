//! Visits of a browser that tracer watches.

use std::{
    path::Path,
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

/// Time for late events: the server can have a request before the system call that
/// sent it has returned, and unexpected alerts need a chance to appear.
const SETTLE: Duration = Duration::from_millis(500);

/// Chain by which tracer finds a URL in the extension's reports.
const REPORT_CHAIN: &str = "body > form:data_list > base64 > gzip > json[0].properties.url";

/// tracer's output for a browser's visits, and the requests that the server
/// received.
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

/// One browser at a time: they are watched by name.
static ONE: Mutex<()> = Mutex::new(());

/// A page that is visited before the stories, for browsers whose TLS functions are
/// found late. Its requests may be missed.
const FIRST: &str = "/first";

/// Longest time the search in a library may take in a debug build.
const LOCATING: Duration = Duration::from_secs(60);

/// Watches a browser from before its start until it has made all visits and, if it
/// has the reporting extension, until the collector has a report of each. Returns
/// `None`, and marks the test as skipped, if a program is not installed.
///
/// # Panics
/// Panics if visits or alerts are missing.
pub fn watch(engine: Engine, protocol: Protocol) -> Option<Watched> {
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
    if engine.is_probed_late() {
        let _first = engine.start(&web, &web.url(NEWS, FIRST))?;
        run.expect_stderr(|line| is_read(engine, line), LOCATING, "nothing is probed");
    }
    let stories: Vec<String> = visited(&web).collect();
    let browser = engine.start(&web, &stories[0])?;

    let expected = browser::expected(&web);
    let requests: Vec<Request> = expected.iter().map(|expected| expected.request.clone()).collect();
    web.wait_for(&requests);
    if engine.reader() == Reader::Reported {
        let mut left = stories;
        while !left.is_empty() {
            let alert = run.wait_for_json(is_alert);
            left.retain(|url| !has_finding(&alert, REPORT_CHAIN, url));
        }
    }
    thread::sleep(SETTLE);
    drop(browser);

    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let Observed { alerts, decoded } = observed(&web, &ended.stdout, trace);
    let mut requested = web.wait_for(&requests).to_vec();
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

/// What tracer shows of a browser.
pub struct Observed {
    /// The alerts.
    pub alerts: Vec<Value>,
    /// All requests, as `tracer decode --json` shows them.
    pub decoded: Vec<Value>,
}

/// Watches a browser from before its start at `url` until the last of `requests` has arrived: parts
/// of `METHOD AUTHORITY PATH`. Returns `None` as [`watch`] does.
///
/// # Panics
/// Panics as [`watch`] does.
pub fn observe(
    engine: Engine,
    web: &mut Web,
    extension: Option<&Path>,
    url: &str,
    requests: &[String],
) -> Option<Observed> {
    let _alone = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    if !skip::root() {
        return None;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let trace = trace.to_str().expect("a path in UTF-8");
    let run = Running::start(&[
        "--exe",
        engine.exe(),
        "--record",
        trace,
        "--json",
        "--show-values",
        "--verbose",
    ]);
    let browser = match extension {
        Some(extension) => engine.start_with(extension, web, url)?,
        None => engine.start(web, url)?,
    };
    web.wait_for_parts(requests);
    thread::sleep(SETTLE);
    drop(browser);
    run.signal(Signal::INT);
    let ended = run.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    Some(observed(web, &ended.stdout, trace))
}

/// Returns the alerts of a run, and what its recording contains.
fn observed(web: &Web, stdout: &str, trace: &str) -> Observed {
    let mut alerts = lines(stdout);
    // Another browser of this name may be running. Only ours talks to these ports.
    let ours = |alert: &Value| {
        let authority = alert["request"]["authority"].as_str();
        authority.is_none_or(|authority| {
            let ports = [web.port(), web.plain_port()];
            ports.iter().any(|port| authority.ends_with(&format!(":{port}")))
        })
    };
    alerts.retain(|line| is_alert(line) && ours(line));
    let decode = tracer_bin::run(&mut tracer_bin::command(["decode", "--json", trace]));
    assert_eq!(decode.code, Some(0), "{}", decode.stderr);
    Observed { alerts, decoded: lines(&decode.stdout) }
}

impl Watched {
    /// Checks that every request that reached the server was decoded, and that
    /// visits and pages' reports were classified correctly.
    ///
    /// # Panics
    /// Panics if one was not.
    pub fn assert_all_decoded(&self) {
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

    /// Checks that the summary of the run says that all content was read.
    ///
    /// # Panics
    /// Panics if it does not.
    pub fn assert_all_read(&self) {
        let is_read = |line: &str| line.contains("all of the content was read");
        assert!(self.stderr.lines().any(is_read), "tracer said: {}", self.stderr);
    }

    /// Checks that there is no alert.
    ///
    /// # Panics
    /// Panics if there is one.
    pub fn assert_no_alerts(&self) {
        assert!(self.alerts.is_empty(), "alerts: {:#?}", self.alerts);
    }

    /// Checks that the extension, and nothing else, caused an alert for every page.
    ///
    /// # Panics
    /// Panics if an alert is missing, or is about another sender.
    pub fn assert_reporter_alerts(&self, exe: &str) {
        for url in visited(&self.web) {
            let told = self.alerts.iter().any(|alert| has_finding(alert, REPORT_CHAIN, &url));
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
            let (hook, transport) = match self.protocol {
                Protocol::Http1 | Protocol::Http2 => ("ssl_write", "tls"),
                Protocol::Http3 => ("aead_seal", "quic"),
            };
            assert_eq!(alert["hook"], hook, "{alert:#}");
            assert_eq!(alert["connection"]["transport"], transport, "{alert:#}");
            assert_eq!(alert["process"]["exe"], exe, "{alert:#}");
            assert_eq!(alert["complete"], true, "{alert:#}");
        }
    }

    /// Checks that pages' reports to their own analytics services have severity
    /// `info`.
    ///
    /// # Panics
    /// Panics if one has another severity.
    pub fn assert_page_reports_are_info(&self) {
        let by_pages = self.decoded.iter().filter(|line| line["sender"] == "page");
        let findings = by_pages.flat_map(|line| line["findings"].as_array().expect("an array"));
        let urls: Vec<_> = findings.filter(|one| one["kind"] == "url").collect();
        assert!(!urls.is_empty(), "{}", self.context());
        assert!(urls.iter().all(|one| one["severity"] == "info"), "{urls:#?}");
    }

    /// Expected value of `private`: true for private windows, and null otherwise,
    /// because tracer cannot know that a window is not private.
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

/// Reports whether a line says that tracer reads the plaintext of this browser.
fn is_read(engine: Engine, line: &str) -> bool {
    let (function, file) = engine.tls();
    line.contains("reading ") && line.contains(function) && line.contains(file)
}

/// Reports whether a line of the alert stream is an alert.
pub fn is_alert(line: &Value) -> bool {
    line["type"] == "alert"
}

/// Parses lines of JSON.
///
/// # Panics
/// Panics if a line is not JSON.
pub fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}
