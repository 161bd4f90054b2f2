use super::*;
use crate::{knowledge::Knowledge, rules::RulesFile};

fn embedded() -> std::sync::Arc<Lexicon> {
    std::sync::Arc::clone(Knowledge::default().lexicon())
}

fn identifiers(text: &str) -> Identifiers {
    Identifiers::parse(RulesFile { name: "x.toml", text }).unwrap()
}

#[test]
fn compiles_the_embedded_rules() {
    let lexicon = embedded();
    assert!(lexicon.entries.len() > 500);
    assert!(!lexicon.entries.contains_key(&Name::EMPTY));
}

#[test]
fn rejects_a_name_with_two_meanings() {
    let entry = |class: &str, name: &str| {
        format!(
            "[[identifier]]\nclass='{class}'\nnames=['{name}']\nlifetime='lasting'\n\
             reason='r'\nsource='s'\n"
        )
    };
    let lexicon = |text: &str| {
        Lexicon::new(&identifiers(text), &Fields::default(), &Roles::default(), &Sdks::default())
            .map(|_| ())
    };
    assert!(lexicon(&entry("a", "gizmo_id")).is_ok());
    let twice = entry("a", "gizmo_id") + &entry("b", "$GizmoId");
    let err = lexicon(&twice).unwrap_err().to_string();
    assert!(err.starts_with("x.toml:7:1: `$GizmoId` of `b`"), "{err}");
    let err = lexicon(&entry("a", "$_")).unwrap_err().to_string();
    assert!(err.starts_with("x.toml:1:1: `$_` has no letter"), "{err}");
}

#[test]
fn recognises_events_of_the_user_interface() {
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
fn finds_words_in_paths() {
    let lexicon = embedded();
    let search = lexicon.path_words_in("/complete/search");
    assert!(PathWords::default().satisfies(PathWords::default()));
    assert_eq!(lexicon.path_words_in("/a/b"), PathWords::default());
    assert!(!lexicon.path_words_in("/a/b").satisfies(search));
    assert!(lexicon.path_words_in("/x/Search.json").satisfies(search));
}
