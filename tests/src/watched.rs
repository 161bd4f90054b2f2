//! A browser's visits, watched.

use std::{thread, time::Duration};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    browser::{self, Browser, Expected, has_finding, is_expected, is_request, visited},
    tracer_bin::{self, Running},
    web::{COLLECTOR, Protocol, Reader, Request, Web},
};

/// The server can have a request while the call that sent it is still on its
/// way back; and what is not meant to come gets a chance to.
const SETTLE: Duration = Duration::from_millis(500);

/// How the extension in the fixtures wraps a URL.
const REPORT: &str = "body > form:data_list > base64 > gzip > json[0].properties.url";

/// What tracer said of a browser's visits, and what was really sent.
pub struct Watched {
    web: Web,
    protocol: Protocol,
    expected: Vec<Expected>,
    requested: Vec<Request>,
    alerts: Vec<Value>,
    decoded: Vec<Value>,
    stderr: String,
}

/// Watches the browser that `start` starts, from before its start on, until it
/// has made all its visits and, if `reader` says so, told the collector of each.
/// `None`, and the test is skipped, where something is not installed.
///
/// # Panics
/// When the visits, or the alerts, do not come.
pub fn watch(
    exe: &str,
    protocol: Protocol,
    reader: Reader,
    start: impl FnOnce(&Web) -> Option<Browser>,
) -> Option<Watched> {
    let mut web = Web::start(protocol, reader)?;
    let folder = tempfile::tempdir().expect("a folder");
    let trace = folder.path().join("trace");
    let trace = trace.to_str().expect("a path in UTF-8");
    let options = ["--json", "--show-values", "--verbose"];
    let mut run =
        Running::start(&[&["--exe", exe, "--record", trace], options.as_slice()].concat());
    let browser = start(&web)?;

    let expected = browser::expected(&web);
    let requests: Vec<Request> = expected.iter().map(|expected| expected.request.clone()).collect();
    web.wait_for(&requests);
    if reader == Reader::Reported {
        let mut left: Vec<String> = visited(&web).collect();
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
    let (requested, decoded) = (web.wait_for(&requests).to_vec(), lines(&decode.stdout));
    Some(Watched { web, protocol, expected, requested, alerts, decoded, stderr: ended.stderr })
}

impl Watched {
    /// Every request that reached the server was read, the visits and the
    /// pages' reports as what they are.
    ///
    /// # Panics
    /// When something was not.
    pub fn all_was_read(&self) {
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
            assert_eq!(alert["severity"], "high", "{alert:#}");
            assert_eq!(alert["hook"], "ssl_write", "{alert:#}");
            assert_eq!(alert["connection"]["transport"], "tls", "{alert:#}");
            assert_eq!(alert["process"]["exe"], exe, "{alert:#}");
            assert_eq!(alert["complete"], true, "{alert:#}");
        }
    }

    fn context(&self) -> String {
        let read: Vec<String> =
            self.decoded.iter().map(|line| line["request"].to_string()).collect();
        format!("read: {read:#?}\nalerts: {:#?}\ntracer said: {}", self.alerts, self.stderr)
    }
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
