use super::*;
use crate::{knowledge::Knowledge, rules::RulesFile};

fn embedded() -> std::sync::Arc<Lexicon> {
    std::sync::Arc::clone(Knowledge::default().lexicon())
}

fn identifiers(text: &str) -> Identifiers {
    Identifiers::parse(RulesFile { name: "x.toml", text }).unwrap()
}

#[test]
fn the_embedded_rules_fit_together() {
    let lexicon = embedded();
    assert!(lexicon.entries.len() > 500);
    assert!(!lexicon.entries.contains_key(&Name::NONE));
}

#[test]
fn a_name_has_one_meaning() {
    let entry = |class: &str, name: &str| {
        format!(
            "[[identifier]]\nclass='{class}'\nnames=['{name}']\nlifetime='lasting'\n\
             reason='r'\nsource='s'\n"
        )
    };
    let lexicon = |text: &str| {
        Lexicon::new(&identifiers(text), &Fields::default(), &Sdks::default()).map(|_| ())
    };
    // Only what nothing else in the embedded fields is called.
    assert!(lexicon(&entry("a", "gizmo_id")).is_ok());
    let twice = entry("a", "gizmo_id") + &entry("b", "$GizmoId");
    let err = lexicon(&twice).unwrap_err().to_string();
    assert!(err.starts_with("x.toml:7:1: `$GizmoId` of `b`"), "{err}");
    let err = lexicon(&entry("a", "$_")).unwrap_err().to_string();
    assert!(err.starts_with("x.toml:1:1: `$_` has no letter"), "{err}");
}

#[test]
fn events_tell_what_is_done_in_the_interface() {
    let lexicon = embedded();
    for event in [
        "click",
        "folder_open",
        "statusbar.swipe",
        "$AppClick",
        "screen_view",
        "openFolder",
        "OPEN",
    ] {
        assert!(lexicon.is_interface(event), "{event}");
    }
    for event in ["page_view", "clickhouse", "purchase", "$pageview", "open_source", "", "track"] {
        assert!(!lexicon.is_interface(event), "{event}");
    }
}

#[test]
fn paths_have_words() {
    let lexicon = embedded();
    let search = lexicon.in_path("/complete/search");
    assert!(PathWords::default().allow(PathWords::default()));
    assert_eq!(lexicon.in_path("/a/b"), PathWords::default());
    assert!(!lexicon.in_path("/a/b").allow(search));
    assert!(lexicon.in_path("/x/Search.json").allow(search));
}
