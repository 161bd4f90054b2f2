use super::*;
use crate::{
    fixtures::{report, verdict},
    report::{Question, REPORT_SCHEMA, ReadError},
};

fn quiet() -> Report {
    Report {
        run: "77aa0b1c9d".into(),
        verdicts: vec![verdict(Question::Urls, Answer::No)],
        recipients: vec![],
        identifiers: vec![],
        disclosures: vec![],
        ..report()
    }
}

fn cell(report: Report, measure: Measure) -> Cell {
    Comparison::new(&[report]).runs[0].cells[&measure].clone()
}

fn lines(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

#[test]
fn results_of_a_browser_that_reports_pages() {
    let of = |measure| cell(report(), measure);
    assert_eq!(
        of(Measure::Urls),
        Cell { answer: Some(Answer::Yes), lines: lines(&["1 of 1", "full URL: 1"]) }
    );
    let to = "collector.example, the browser's maker (Tattlers Inc): 1 page, full URL";
    assert_eq!(of(Measure::Recipients).lines, [to]);
    assert_eq!(of(Measure::Identifier).lines, ["uuid, survives restarts"]);
    assert_eq!(of(Measure::SurvivesRestart).answer, Some(Answer::CannotTell));
    assert_eq!(of(Measure::PrivateMode).lines, ["not asked"]);
    let encoding = ["protection: encoding only", "body > gzip > json.url"];
    assert_eq!(of(Measure::Encoding).lines, encoding);
    assert_eq!(of(Measure::Read).lines, ["98 % (a “no” requires 95 %)"]);
}

#[test]
fn an_account_number_counts_only_with_a_visit() {
    let mut signed_in = report();
    let items = &mut signed_in.disclosures[0].items;
    let mut account = items[0].clone();
    (account.kind, account.class) =
        (crate::report::ItemKind::PersonalDetail, Some("account_id".into()));
    items.push(account);
    let mut elsewhere = signed_in.clone();
    elsewhere.disclosures[0].items.remove(0);
    assert_eq!(cell(signed_in, Measure::Account).answer, Some(Answer::Yes));
    for other in [elsewhere, report(), quiet()] {
        assert_eq!(cell(other, Measure::Account).answer, Some(Answer::CannotTell));
    }
}

#[test]
fn recipients_beyond_the_limit_are_counted() {
    let mut report = report();
    report.recipients = vec![report.recipients[0].clone(); 9];
    let cell = cell(report, Measure::Recipients);
    assert_eq!((cell.lines.len(), &cell.lines[4][..]), (5, "and 5 more"));
}

#[test]
fn notes_name_incomplete_and_repeated_runs() {
    let cut = Report { complete: false, ..quiet() };
    let comparison = Comparison::new(&[report(), cut, report()]);
    let runs: Vec<_> = comparison.runs.iter().map(|run| (&run.run[..], run.complete)).collect();
    assert_eq!(runs, [("5f2a91c07b", true), ("77aa0b1c9d", false)]);
    let [cut, twice] = &comparison.notes[..] else { panic!("{:?}", comparison.notes) };
    assert!(cut.starts_with("Run 77aa0b1c9d (Tattler 1.2) is incomplete"), "{cut}");
    assert_eq!(twice, "Run 5f2a91c07b (Tattler 1.2) was given twice; it is shown once.");
    assert!(comparison.text(80).contains("INCOMPLETE"));
    assert!(comparison.html().contains("incomplete"));
}

#[test]
fn columns_are_side_by_side_if_they_fit() {
    let reports: Vec<Report> =
        ["a", "b", "c"].map(|run| Report { run: run.into(), ..report() }).into();
    let comparison = Comparison::new(&reports);
    for (width, beside) in [(200, 3), (90, 3), (80, 2), (40, 1), (0, 1)] {
        let text = comparison.text(width);
        let first = text.lines().nth(1).unwrap();
        assert_eq!(first.matches("run ").count(), beside, "{width}: {first}");
        // Narrower terminals get longer lines.
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap();
        assert!(longest <= width.max(40), "{width}: {longest}\n{text}");
    }
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let mut report = report();
    report.recipients[0].recipient = "\u{1b}[2J\u{202e}evil".into();
    let text = Comparison::new(&[report]).text(80);
    assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text}");
}

#[test]
fn the_json_form_is_stable() {
    let json = serde_json::to_value(Comparison::new(&[report()])).unwrap();
    assert_eq!((&json["schema"], &json["runs"][0]["name"]), (&1.into(), &"Tattler 1.2".into()));
    let cell = serde_json::json!({ "answer": "yes", "lines": ["1 of 1", "full URL: 1"] });
    assert_eq!(json["runs"][0]["cells"]["urls"], cell);
    assert_eq!(json["runs"][0]["cells"].as_object().unwrap().len(), Measure::ALL.len());
}

#[test]
fn reports_with_a_later_schema_are_refused() {
    let mut json = serde_json::to_value(report()).unwrap();
    let read = |json: &serde_json::Value| Report::from_json(json.to_string().as_bytes());
    assert_eq!(read(&json).unwrap(), report());
    // Unknown fields are ignored.
    json["later"] = true.into();
    assert!(read(&json).is_ok());
    json = serde_json::json!({ "schema": REPORT_SCHEMA + 1 });
    let err = read(&json).unwrap_err();
    assert!(matches!(err, ReadError::Newer { found: 3 }), "{err}");
    for other in ["", "[]", "{}", r#"{"schema":-1}"#, r#"{"schema":1}"#] {
        let err = Report::from_json(other.as_bytes()).unwrap_err();
        assert!(matches!(err, ReadError::Form(_)), "{other}: {err}");
    }
}

#[test]
fn two_runs_of_one_browser_have_different_headings() {
    let run = |number: &str, began: &str| Report {
        run: number.repeat(32),
        began: Some(began.into()),
        ..report()
    };
    let (first, second) = (run("a1", "2026-11-22T10:00:00Z"), run("a2", "2026-11-23T10:00:00Z"));
    let sources = ["audits/first", "audits/second"].map(|source| Some(source.to_owned()));
    let comparison = Comparison::from_sources(sources.into_iter().zip([&first, &second]));
    let (text, page) = (comparison.text(100), comparison.html());
    for heading in ["run a1a1a1a1a1a1 ", "2026-11-23T10:00:00Z", "audits/first", "audits/second"] {
        assert!(text.contains(heading), "{heading}: {text}");
    }
    assert!(page.contains("audits/second") && page.contains("2026-11-23 10:00:00 UTC"));
}
