use std::collections::{BTreeMap, HashSet};

use serde_json::Value;

use super::{document, page};
use crate::{
    fixtures::report,
    journal::Outcome,
    report::{MAX_EVIDENCE, Report},
};

const STYLE: &str = include_str!("style.css");

/// Returns the page of a report without its style.
fn shown(report: &Report) -> String {
    let page = document(report).into_string();
    assert!(page.contains(STYLE), "the style was changed");
    page.replace(STYLE, "")
}

/// Replaces every value of the report for which `value` returns another one, if the result is still a
/// report.
fn with(value: impl Fn(&Value) -> Option<Value>) -> Report {
    fn places(value: &Value, at: &str, all: &mut Vec<String>) {
        match value {
            Value::Array(items) => {
                items
                    .iter()
                    .enumerate()
                    .for_each(|(i, item)| places(item, &format!("{at}/{i}"), all));
            }
            Value::Object(fields) => {
                fields.iter().for_each(|(name, item)| places(item, &format!("{at}/{name}"), all));
            }
            _ => all.push(at.to_owned()),
        }
    }
    let mut json = serde_json::to_value(report()).unwrap();
    let mut all = Vec::new();
    places(&json, "", &mut all);
    for place in all {
        let mut other = json.clone();
        let at = other.pointer_mut(&place).unwrap();
        if let Some(value) = value(at) {
            *at = value;
            if serde_json::from_value::<Report>(other.clone()).is_ok() {
                json = other;
            }
        }
    }
    serde_json::from_value(json).unwrap()
}

/// Returns each text between `from` and `to`.
fn between<'a>(text: &'a str, from: &'a str, to: char) -> impl Iterator<Item = &'a str> {
    text.split(from).skip(1).map(move |rest| rest.split(to).next().unwrap())
}

#[test]
fn no_string_of_a_report_becomes_markup() {
    const HOSTILE: &str = "</code><i x=\"'\">&amp;\u{202e}\n";
    let report = with(|value| value.is_string().then(|| HOSTILE.into()));
    assert_eq!(report.recipients[0].hosts, [HOSTILE], "strings are replaced");
    let page = shown(&report);
    assert!(!page.contains("<i x") && !page.contains("&amp; ") && !page.contains('\u{202e}'));
    let escaped = r#"&lt;/code&gt;&lt;i x=&quot;'&quot;&gt;&amp;amp;"#;
    assert!(page.matches(escaped).count() > 30, "{page}");
}

#[test]
fn extreme_numbers_are_shown() {
    for number in [0, 1, u64::MAX] {
        let page = shown(&with(|value| value.is_number().then(|| number.into())));
        assert!(page.ends_with("</html>") && !page.contains("NaN") && !page.contains("inf%"));
    }
    let empty = with(|_| None);
    let empty = Report {
        verdicts: vec![],
        phases: vec![],
        recipients: vec![],
        identifiers: vec![],
        disclosures: vec![],
        ..empty
    };
    assert!(shown(&empty).contains("No request discloses anything."));
}

#[test]
fn every_element_is_closed() {
    const VOID: [&str; 2] = ["meta", "br"];
    let page = shown(&report());
    let mut open = Vec::new();
    for tag in between(page.strip_prefix("<!DOCTYPE html>").unwrap(), "<", '>') {
        let name = tag.split(' ').next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None if VOID.contains(&name) => {}
            None => open.push(name),
        }
    }
    assert_eq!(open, [""; 0]);
}

#[test]
fn the_page_refers_to_nothing_outside() {
    let page = shown(&report());
    let ids: Vec<&str> = between(&page, " id=\"", '"').collect();
    assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "{ids:?}");
    for link in between(&page, "href=\"", '"') {
        let id = link.strip_prefix('#').unwrap_or_else(|| panic!("{link} leads out"));
        assert!(ids.contains(&id), "{id} is nowhere");
    }
    for reference in ["src=", "<script", "<link", "<iframe", " on", "style=", "javascript:"] {
        let in_tags = between(&page, "<", '>').any(|tag| format!("<{tag}").contains(reference));
        assert!(!in_tags, "{reference}");
    }
    assert!(!STYLE.contains("url(") && !STYLE.contains("@import") && !STYLE.contains('<'));
    assert!(page.contains("default-src 'none'; style-src 'unsafe-inline'"));
}

#[test]
fn the_page_has_landmarks_and_captions() {
    let page = shown(&report());
    let count = |what| page.matches(what).count();
    assert_eq!(
        (count("<h1>"), count("<main>"), count("<header>"), count("<footer>")),
        (1, 1, 1, 1)
    );
    assert!(
        page.contains(r#"<html lang="en">"#) && page.contains(r##"class="skip" href="#verdicts""##)
    );
    assert_eq!(count("<table"), count("<caption"));
    assert_eq!((count("<section"), count("<h2")), (9, 9));
    for cell in between(&page, "<th", '>').filter(|tag| !tag.starts_with("ead")) {
        assert!(cell.contains("scope="), "{cell}");
    }
}

#[test]
fn the_state_of_an_incomplete_run_is_shown() {
    let of = |change: fn(&mut Report)| {
        let mut report = report();
        report.complete = false;
        report.notes = vec!["12 sends were lost.".into()];
        change(&mut report);
        shown(&report)
    };
    let killed = of(|report| report.ended = None);
    assert!(killed.contains("Incomplete: the run was killed") && killed.contains("12 sends"));
    let killed = of(|report| report.phases[0].outcome = Outcome::Running);
    assert!(killed.contains("the run was killed during this phase"));
    let interrupted = of(|report| report.phases[0].outcome = Outcome::Interrupted);
    assert!(interrupted.contains("Incomplete: the run was ended early"));
    let failed = Outcome::Failed { reason: "no such <page>".into() };
    let mut report = report();
    report.phases[0].outcome = failed;
    assert!(shown(&report).contains("failed: no such &lt;page&gt;"));
    assert!(!shown(&report).contains("Incomplete"));
}

#[test]
fn values_beyond_the_limits_are_counted() {
    let mut report = report();
    report.verdicts[0].evidence = (1..=9).collect();
    report.disclosures_uncounted = 7;
    report.recipients = vec![report.recipients[0].clone(); 203];
    report.identifiers = vec![report.identifiers[0].clone(); 104];
    report.reading.unread = vec![report.reading.unread[0].clone(); 55];
    report.disclosures[0].items = vec![report.disclosures[0].items[0].clone(); 30];
    let page = shown(&report).replace('\u{a0}', " ");
    assert!(page.contains("#6 and 3 more"));
    assert!(page.contains("And 7 requests more that disclose something"));
    for more in ["And 3 more, in", "And 4 more, in", "And 5 more, in", "And 6 more, in"] {
        assert!(page.contains(more), "{more}");
    }
    report.verdicts[0].evidence = (1..=MAX_EVIDENCE as u64).collect();
    assert!(shown(&report).contains("#6 and more"));
}

#[test]
fn answers_have_a_word_and_a_symbol() {
    let page = shown(&report());
    let chip = |class, symbol, word| {
        format!(
            r#"<span class="answer {class}"><span class="symbol" aria-hidden="true">{symbol}</span>{}{word}</span>"#,
            '\u{a0}'
        )
    };
    assert!(page.contains(&chip("adverse", '●', "yes")));
    assert!(page.contains(&chip("open", '◌', "cannot tell")));
    assert!(page.contains("1 of 1 pages") && page.contains("encoding only"));
    assert!(page.contains(r##"<a href="#request-12">#12</a>"##));
    assert!(page.contains(r##"<a class="ref" href="#visit-1">"##));
}

#[test]
fn the_title_contains_no_deceptive_characters() {
    let page = page::document("a\u{202e}b<\n", &maud::html! {}, &[], &maud::html! {}).into_string();
    assert!(page.contains("<title>ab&lt;</title>"));
}

/// WCAG 2.2, success criterion 1.4.3: 4.5 to 1.
#[test]
fn text_has_enough_contrast() {
    let (light, rest) = STYLE.split_once("@media screen and (prefers-color-scheme: dark)").unwrap();
    let dark = rest.split_once("* { box-sizing").unwrap().0;
    for scheme in [light, dark].map(colours) {
        let ratio = |ink: &str, ground: &str| contrast(scheme[ink], scheme[ground]);
        for ink in ["ink", "muted", "link", "adverse", "fine", "open"] {
            for ground in ["paper", "panel"] {
                assert!(ratio(ink, ground) >= 4.5, "{ink} on {ground}: {}", ratio(ink, ground));
            }
        }
        for tint in ["adverse", "fine", "open"] {
            let ground = &format!("{tint}-tint");
            assert!(ratio(tint, ground) >= 4.5, "{tint}: {}", ratio(tint, ground));
            assert!(
                ratio("ink", ground) >= 4.5
                    && ratio("muted", ground) >= 4.5
                    && ratio("link", ground) >= 4.5
            );
        }
    }
}

/// `--name: #rrggbb;`
fn colours(style: &str) -> BTreeMap<&str, [u8; 3]> {
    let lines = style.lines().filter_map(|line| {
        let (name, value) = line.trim().strip_prefix("--")?.split_once(": #")?;
        let digits = u32::from_str_radix(value.strip_suffix(';')?, 16).ok()?;
        let [_, r, g, b] = digits.to_be_bytes();
        Some((name, [r, g, b]))
    });
    lines.collect()
}

fn contrast(one: [u8; 3], other: [u8; 3]) -> f64 {
    let luminance = |colour: [u8; 3]| {
        let [r, g, b] = colour.map(|channel| {
            let c = f64::from(channel) / 255.0;
            if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
        });
        0.2126 * r + 0.7152 * g + 0.0722 * b
    };
    let (one, other) = (luminance(one), luminance(other));
    (one.max(other) + 0.05) / (one.min(other) + 0.05)
}
