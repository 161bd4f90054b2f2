//! The founding story, from requests to judgements: who is accused of what, and
//! who is not.

use data_encoding::{BASE64, HEXLOWER};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::{
    finding::{Identification, Kind, Level, Recipient, Sender, Severity, Visited},
    judge::{AlertStatus, Disclosure, Sighting},
    proto::parse_http1,
};

const PAGE: &str = "https://news.example.org/politics/story-42?q=private";
const NUMBER: &str = "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11";
const XIAOMI: &str = "sa.api.intl.miui.com";
const MI_BROWSER: &str = "com.mi.globalbrowser";
const CHROME: &str = "com.android.chrome";
const FIREFOX: &str = "org.mozilla.firefox";
const ENGINE: &str = "User-Agent: Mozilla/5.0 (Linux; Android 10)\r\n";
const OWN: &str = "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: empty\r\n";
const BY_A_PAGE: &str = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\n\
                         Sec-Fetch-Dest: empty\r\nOrigin: https://news.example.org\r\n";
const BY_THE_USER: &str =
    "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";

/// A device on which one application is watched.
struct Device {
    pipeline: Pipeline,
    process: Process,
    connection: u64,
    now: u64,
    out: Vec<Output>,
}

impl Device {
    fn with(application: &str) -> Self {
        let process = Process { uid: 10123, tgid: 1, tid: 1, comm: "NetworkService".into() };
        let pipeline = Pipeline::new(&Knowledge::default());
        let mut device =
            Self { pipeline, process, connection: 0, now: 1_000_000_000, out: Vec::new() };
        let clock = Clock { boot: BootTime(0), unix: 1_795_341_600_000_000_000 };
        device.pipeline.push(Event::Clock(clock), &mut device.out);
        device.start(application, &[]);
        device
    }

    /// The application starts, or starts again.
    fn start(&mut self, application: &str, options: &[&str]) {
        self.process.tgid += 1;
        let tgid = self.process.tgid;
        let path = "/system/bin/app_process64".into();
        self.pipeline.push(Event::Executable { tgid, path }, &mut self.out);
        let arguments = [&[application], options].concat();
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        self.pipeline.push(Event::Arguments { tgid, arguments }, &mut self.out);
    }

    /// Sends a request a second after the last one, on a connection of its own.
    fn send(&mut self, text: &str) -> Vec<Output> {
        self.now += 1_000_000_000;
        self.connection += 1;
        let (mut requests, _) = parse_http1(text.as_bytes());
        let mut message = requests.pop().expect("a request");
        message.time = BootTime(self.now);
        let (key, transport) = (self.connection, Transport::Tls);
        let connection = Connection { key, transport, local: None, remote: None };
        let process = self.process.clone();
        let sent = Sent { connection, hook: Hook::SslWrite, process, message };
        self.pipeline.request(sent, &mut self.out);
        std::mem::take(&mut self.out)
    }

    /// What becomes of a request.
    fn judged(&mut self, text: &str) -> JudgedRequest {
        let mut outputs = self.send(text);
        assert_eq!(outputs.len(), 1, "{outputs:?}");
        match outputs.pop() {
            Some(Output::Request(decoded)) => Arc::unwrap_or_clone(decoded),
            other => panic!("{other:?}"),
        }
    }

    fn severity(&mut self, text: &str) -> Option<Severity> {
        self.judged(text).severity()
    }

    fn visits(&mut self, url: &str) {
        let severity = self.severity(&visit(url));
        assert!(severity <= Some(Severity::Info), "a visit is no leak: {severity:?}");
    }
}

fn visit(url: &str) -> String {
    let (host, path) = url.strip_prefix("https://").unwrap().split_once('/').unwrap();
    format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\n{ENGINE}{BY_THE_USER}\r\n")
}

fn post(host: &str, fields: &str, body: &str) -> String {
    let len = body.len();
    format!("POST /v1 HTTP/1.1\r\nHost: {host}\r\n{fields}Content-Length: {len}\r\n\r\n{body}")
}

/// An event as Sensors Analytics sends it.
fn sensors(host: &str, fields: &str, properties: &str) -> String {
    let lib = r#"{"$lib":"Android"}"#;
    let event = format!(
        r#"{{"distinct_id":"{NUMBER}","lib":{lib},"event":"e","properties":{properties}}}"#
    );
    let data = BASE64.encode(event.as_bytes()).replace('+', "%2B").replace('=', "%3D");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    post(host, &format!("{fields}{form}"), &format!("data={data}"))
}

fn page_load(host: &str, fields: &str) -> String {
    sensors(host, fields, &format!(r#"{{"url":"{PAGE}"}}"#))
}

#[test]
fn mi_browser_is_convicted() {
    let mut device = Device::with(MI_BROWSER);
    device.visits(PAGE);
    let report = device.judged(&page_load(XIAOMI, ""));
    assert_eq!(report.browser.as_ref().unwrap().name.as_str(), "Mi Browser");
    assert_eq!(report.sdk.as_deref(), Some("Sensors Analytics"));
    assert_eq!(report.recipient, Recipient::Maker { name: "Xiaomi".into() });
    let verdict = report.verdict().unwrap();
    assert_eq!(verdict.severity, Severity::Critical, "{}", verdict.reason);
    let url = report.disclosures.iter().find(|one| one.finding.kind == Kind::Url).unwrap();
    let ago = Duration::from_secs(1);
    assert_eq!(url.visited, Some(Visited::Page { url: PAGE.into(), ago }));
    assert_eq!(url.confidence.level, Level::High);
    let number = report.disclosures.iter().find(|one| one.finding.value == NUMBER).unwrap();
    assert_eq!(number.identification, Some(Identification::Lasting));
    assert!(report.is_alert());
}

#[test]
fn forged_fields_do_not_acquit_its_maker() {
    let mut device = Device::with(MI_BROWSER);
    device.visits(PAGE);
    let by_a_page = format!("{ENGINE}{BY_A_PAGE}");
    let by_the_user = format!("{ENGINE}{BY_THE_USER}");
    assert!(device.severity(&page_load(XIAOMI, &by_a_page)) >= Some(Severity::Medium));
    assert!(device.severity(&page_load(XIAOMI, &by_the_user)) >= Some(Severity::Medium));
    // What calls itself a library is not believed to be a page.
    let library = format!("User-Agent: okhttp/4.9\r\n{BY_A_PAGE}");
    assert_eq!(device.severity(&page_load(XIAOMI, &library)), Some(Severity::Critical));
    // The same fields, to whom pages report.
    assert_eq!(device.severity(&page_load("t.example.net", &by_a_page)), Some(Severity::Info));
}

#[test]
fn private_windows_are_no_excuse() {
    let mut device = Device::with(CHROME);
    device.start("chromium", &["--incognito"]);
    device.visits(PAGE);
    let url = format!(r#"{{"url":"{PAGE}"}}"#);
    let report = device.judged(&post("collector.example.com", "", &url));
    assert_eq!(report.private, Some(true));
    assert_eq!(report.verdict().unwrap().severity, Severity::Critical);
}

#[test]
fn the_launcher_and_the_news_report_what_is_done() {
    let mut device = Device::with("com.miui.home");
    for properties in [
        r#"{"event_name":"folder_open","folder":"games"}"#,
        r#"{"event_name":"statusbar_swipe"}"#,
        r#"{"event_name":"screen_view","screen":"display"}"#,
        r#"{"item_id":"n83745"}"#,
    ] {
        let severity = device.severity(&sensors(XIAOMI, "", properties));
        assert_eq!(severity, Some(Severity::Medium), "{properties}");
    }
}

#[test]
fn chrome_and_firefox_walk_free() {
    let own = format!("{ENGINE}{OWN}");
    let ids = format!(r#"{{"sessionid":"{{{NUMBER}}}","requestid":"{{{NUMBER}}}"}}"#);
    let counts = r#"{"histogram":{"PageLoad":17,"Omnibox":3}}"#;
    // Four bytes of a hash.
    let prefix = &HEXLOWER.encode(&Sha256::digest("news.example.org/"))[..8];
    let prefixes = format!(r#"{{"hashPrefixes":["{prefix}"]}}"#);
    let ping =
        format!(r#"{{"client_info":{{"client_id":"{NUMBER}"}},"metrics":{{"uri_count":3}}}}"#);
    for browser in [CHROME, FIREFOX] {
        let mut device = Device::with(browser);
        device.visits(PAGE);
        for request in [
            post("update.googleapis.com", &own, &format!(r#"{{"request":{ids}}}"#)),
            post("safebrowsing.googleapis.com", &own, &prefixes),
            post("clients4.google.com", &own, counts),
            post("firefox.settings.services.mozilla.com", &own, r#"{"collection":"blocklists"}"#),
            // The page's own, to a service of a maker that pages embed.
            page_load("www.google-analytics.com", &format!("{ENGINE}{BY_A_PAGE}")),
            page_load("t.example.net", &format!("{ENGINE}{BY_A_PAGE}")),
        ] {
            let severity = device.severity(&request);
            assert!(severity <= Some(Severity::Info), "{browser}: {severity:?} for {request}");
        }
        let ping = device.severity(&post("incoming.telemetry.mozilla.org", &own, &ping));
        assert_eq!(ping, Some(Severity::Low), "an identifier, and no URL");
    }
}

#[test]
fn a_hash_of_a_visit_is_a_url() {
    let mut device = Device::with(MI_BROWSER);
    let digest = HEXLOWER.encode(&Sha256::digest(PAGE));
    let report = post(XIAOMI, "", &format!(r#"{{"h":"{digest}","distinct_id":"{NUMBER}"}}"#));
    assert!(device.severity(&report) < Some(Severity::Medium), "of what, nobody knows");
    device.visits(PAGE);
    let judged = device.judged(&report);
    let hash = judged.findings().find(|one| one.kind == Kind::VisitedUrlHash).unwrap();
    assert_eq!(hash.class.as_deref(), Some("sha256/url"));
    assert_eq!(judged.verdict().unwrap().severity, Severity::Critical);
}

#[test]
fn a_host_alone_is_told_as_well() {
    let mut device = Device::with(MI_BROWSER);
    device.visits(PAGE);
    let report = post(XIAOMI, "", r#"{"domain":"news.example.org"}"#);
    assert_eq!(device.severity(&report), Some(Severity::Medium));
}

#[test]
fn who_tells_before_the_visit_is_judged_again() {
    let mut device = Device::with(MI_BROWSER);
    device.visits("https://other.example.net/");
    let early = device.judged(&page_load(XIAOMI, ""));
    let severity = early.verdict().unwrap().severity;
    assert!(severity < Severity::Critical, "{severity:?}");
    let outputs = device.send(&visit(PAGE));
    let [Output::Request(_), Output::Request(again)] = &outputs[..] else {
        panic!("{outputs:?}");
    };
    assert_eq!(again.number, early.number);
    assert_eq!(again.verdict().unwrap().severity, Severity::Critical);
    assert!(again.is_alert() && again.sent.message.update);
}

#[test]
fn typing_shows_in_several_requests() {
    let mut device = Device::with(MI_BROWSER);
    let ask = |text: &str| format!("GET /suggest?q={text} HTTP/1.1\r\nHost: {XIAOMI}\r\n\r\n");
    let typed =
        |decoded: &JudgedRequest| decoded.findings().any(|finding| finding.kind == Kind::TypedText);
    for text in ["n", "ne", "new"] {
        assert!(!typed(&device.judged(&ask(text))), "{text}");
    }
    assert!(typed(&device.judged(&ask("news"))));
}

#[test]
fn a_value_that_returns_after_a_restart_identifies() {
    // No name and no form of an identifier.
    const VALUE: &str = "Qx7-pL2_vR9tYk3mWs5d";
    let mut device = Device::with(MI_BROWSER);
    device.visits(PAGE);
    let report = post(XIAOMI, "", &format!(r#"{{"url":"{PAGE}","z":"{VALUE}"}}"#));
    assert_eq!(device.severity(&report), Some(Severity::High));
    device.start(MI_BROWSER, &[]);
    let again = device.judged(&report);
    let of_kind = |one: &&Disclosure| one.finding.kind == Kind::Identifier;
    let number = again.disclosures.iter().find(of_kind).unwrap();
    assert_eq!(number.identification, Some(Identification::Lasting));
    assert_eq!(again.verdict().unwrap().severity, Severity::Critical);

    // The store hands it on to the next run.
    let kept = device.pipeline.changed_sightings();
    let known = kept.iter().find(|known| known.value == VALUE).unwrap();
    assert_eq!((known.processes, known.recipients.len()), (2, 1));
    let mut next = Device::with(MI_BROWSER);
    next.pipeline.remember(vec![Sighting::clone(known)]);
    next.visits(PAGE);
    assert_eq!(next.severity(&report), Some(Severity::Critical));
}

#[test]
fn the_same_again_is_counted() {
    let mut device = Device::with(MI_BROWSER);
    device.visits(PAGE);
    assert_eq!(device.judged(&page_load(XIAOMI, "")).alert, AlertStatus::New(1));
    let again = device.judged(&page_load(XIAOMI, ""));
    assert_eq!(again.alert, AlertStatus::Repetition(1));
    device.pipeline.finish(&mut device.out);
    let said = device.out.iter().any(|output| {
        matches!(output, Output::Repeated { alert: 1, count: 1, total: 2, unix: Some(_) })
    });
    assert!(said, "{:?}", device.out);
}

#[test]
fn what_a_steady_site_never_loaded_from_may_be_an_extensions() {
    let load = |host: &str| {
        let body = format!(r#"{{"page_url":"{PAGE}"}}"#);
        post(host, &[ENGINE, BY_A_PAGE].concat(), &body)
    };
    let mut chrome = Device::with(CHROME);
    for _ in 0..4 {
        chrome.visits(PAGE);
        let judged = chrome.judged(&load("analytics.example.net"));
        assert!(!judged.attribution.reason.contains("extension"), "{judged:?}");
    }
    chrome.visits(PAGE);
    let judged = chrome.judged(&load("spy.example.com"));
    assert_eq!(judged.sender(), Sender::Page);
    assert_eq!(judged.severity(), Some(Severity::Info));
    assert!(judged.attribution.reason.contains("extension"), "{judged:?}");
}
