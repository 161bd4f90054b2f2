//! Audits of browsers with an extension that leaks over many channels at once, each to a recipient of
//! its own. No channel goes unnoticed, whatever the encoding.
//!
//! With `UPDATE_DOCS=1`, the test writes the table in `docs/measurements/channels.md`.

use std::{env, fs, path::Path};

use serde_json::Value;
use tracer_tests::{
    audited::{FinishedAudit, Scenario, leaking_chromium, leaking_firefox},
    leaker::{Channel, Leaker},
    web::{Protocol, Reader, Web},
};

/// The answer to whether the recipient of one channel learns of pages, and what shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// Pages were read in requests: this much of their addresses.
    Read(String),
    /// Values, or lengths of messages, depend on the pages.
    Derived(&'static str),
    /// There is a message for each visit, which is not understood.
    EachVisit(String),
    /// Nothing was noticed.
    Unnoticed,
}

impl Verdict {
    /// Returns the verdict on a recipient, in the report of an audit.
    fn on(site: &str, report: &Value) -> Self {
        let of = |list: &Value| -> Vec<Value> {
            let list = list.as_array().expect("an array").iter();
            list.filter(|one| one["recipient"] == site).cloned().collect()
        };
        let recipients = of(&report["recipients"]);
        let told = recipients.iter().find(|one| one["visits"].as_u64() > Some(0));
        match told.and_then(|told| told["scope"].as_str()) {
            Some("length") => return Self::Derived("length"),
            Some("derived") => return Self::Derived("value"),
            Some(scope) => return Self::Read(scope.replace('_', " and ")),
            None => {}
        }
        let experiments = report["experiments"].as_array().expect("experiments");
        if experiments.iter().any(|one| !of(&one["dependences"]).is_empty()) {
            return Self::Derived("value");
        }
        let each = experiments.iter().flat_map(|one| of(&one["with_visits"])).next();
        match each {
            Some(each) => Self::EachVisit(each["what"].as_str().unwrap_or_default().to_owned()),
            None => Self::Unnoticed,
        }
    }

    fn cell(&self) -> String {
        match self {
            Self::Read(scope) => format!("yes: {scope} read"),
            Self::Derived(what) => format!("yes: a {what} depends on the page"),
            Self::EachVisit(what) => format!("cannot tell: a {what} with each visit"),
            Self::Unnoticed => "**no**".to_owned(),
        }
    }
}

/// Audits a browser with the extension.
fn audited(scenario: impl Fn(&Leaker, &Web) -> Scenario) -> Option<FinishedAudit> {
    let web = Web::start(Protocol::Http1, Reader::Hasty)?;
    let leaker = Leaker::delayed(&Channel::all(), web.port(), 0);
    scenario(&leaker, &web).phases(&[("pages", 1), ("experiment", 8)]).run()
}

/// Checks that the report of an audit answers "yes", and notices each channel. Returns the verdicts.
fn check(report: &Value) -> Vec<Verdict> {
    let verdicts = report["verdicts"].as_array().expect("an array");
    let urls = verdicts.iter().find(|verdict| verdict["question"] == "urls");
    assert_eq!(urls.expect("a verdict")["answer"], "yes");
    let channels = Channel::all();
    let verdicts: Vec<_> =
        channels.iter().map(|channel| Verdict::on(channel.site(), report)).collect();
    let unnoticed: Vec<_> = channels
        .iter()
        .zip(&verdicts)
        .filter(|(_, verdict)| **verdict == Verdict::Unnoticed)
        .map(|(channel, _)| &channel.name)
        .collect();
    assert!(unnoticed.is_empty(), "{unnoticed:?}");
    verdicts
}

#[test]
fn no_channel_is_acquitted() {
    if let Some(audited) = audited(|leaker, _| leaking_chromium(leaker)) {
        check(&audited.json("report.json"));
    }
}

/// The same in both browsers, and the table of the document.
#[test]
#[ignore = "takes five minutes; see docs/measurements/channels.md"]
fn no_channel_is_acquitted_in_any_browser() {
    let browsers = [audited(|leaker, _| leaking_chromium(leaker)), audited(leaking_firefox)];
    let [Some(chromium), Some(firefox)] = browsers else {
        return;
    };
    let [chromium, firefox] =
        [chromium, firefox].map(|audited| check(&audited.json("report.json")));
    let mut table =
        String::from("| channel | what is sent | Chromium | Firefox |\n|---|---|---|---|\n");
    for ((Channel { name, says, .. }, chromium), firefox) in
        Channel::all().iter().zip(chromium).zip(firefox)
    {
        let (chromium, firefox) = (chromium.cell(), firefox.cell());
        table += &format!("| {name} | {says} | {chromium} | {firefox} |\n");
    }
    println!("{table}");
    if env::var_os("UPDATE_DOCS").is_some() {
        write(&table);
    }
}

/// Replaces the table in the document.
fn write(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/measurements/channels.md");
    let text = fs::read_to_string(&path).expect("the document");
    let (begin, end) = ("<!-- begin table -->\n", "<!-- end table -->");
    let (before, rest) = text.split_once(begin).expect("the beginning of the table");
    let (_, after) = rest.split_once(end).expect("the end of the table");
    fs::write(path, format!("{before}{begin}{table}{end}{after}")).expect("the document");
}
