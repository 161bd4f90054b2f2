//! tracer's own files, which others may have written or damaged.

use std::{fs, sync::LazyLock};

use tempfile::TempDir;
use tracer::store::{Query, Reader, StoreError};
use tracer_audit::{
    Gatherer, compare::Comparison, html, journal::Journal, report::Report, scenario::Scenario,
};
use tracer_core::{
    alert::{
        Alert,
        redact::{Key, Redactor},
        text,
    },
    knowledge::Knowledge,
    record::Event,
    rules::{RulesFile, Tables},
};

use super::content::knowledge;

/// The files of rules. The first byte of an input selects one.
pub(crate) const RULES: [&str; 8] = [
    "browsers.toml",
    "recipients.toml",
    "identifiers.toml",
    "fields.toml",
    "roles.toml",
    "sdks.toml",
    "judgement.toml",
    "vocabularies.toml",
];

pub(super) fn rules(input: &[u8]) -> u64 {
    let Some((&number, text)) = input.split_first() else { return 0 };
    let text = String::from_utf8_lossy(text);
    let name = RULES[usize::from(number) % RULES.len()];
    let file = RulesFile { name, text: &text };
    match Tables::parse(file) {
        // An error is one line.
        Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
        Ok(_) => drop(Knowledge::with_overrides(&[file])),
    }
    input.len() as u64
}

pub(super) fn scenario(input: &[u8]) -> u64 {
    let _ = Scenario::parse(&String::from_utf8_lossy(input));
    input.len() as u64
}

/// A journal, and the report on it.
pub(super) fn journal(input: &[u8]) -> u64 {
    if let Ok(journal) = serde_json::from_slice::<Journal>(input) {
        let mut gatherer = Gatherer::new(journal, knowledge());
        gatherer.push(Event::Executable { tgid: 1, path: "/usr/bin/browser".into() });
        let observations = gatherer.finish();
        let report = Report::new(&observations, &Redactor::keyed(Key([7; Key::LEN])));
        html::write(&report, &mut Vec::new()).expect("a vector takes everything");
    }
    input.len() as u64
}

/// A report, shown and compared with itself.
pub(super) fn report(input: &[u8]) -> u64 {
    if let Ok(report) = Report::from_json(input) {
        let mut page = Vec::new();
        html::write(&report, &mut page).expect("a vector takes everything");
        let comparison = Comparison::new(&[report.clone(), report]);
        std::hint::black_box((page, comparison.text(80), comparison.html()));
    }
    input.len() as u64
}

/// An alert as the store keeps it.
pub(super) fn alert(input: &[u8]) -> u64 {
    if let Ok(alert) = serde_json::from_slice::<Alert>(input) {
        let json = serde_json::to_vec(&alert).expect("an alert has a JSON form");
        let again: Alert = serde_json::from_slice(&json).expect("the JSON of an alert");
        assert_eq!(again, alert);
        let redactor = Redactor::keyed(Key([7; Key::LEN]));
        for alert in [alert.clone(), alert.redacted(&redactor)] {
            let line = text::alert(&alert, text::Style { colour: false });
            assert!(!line.contains(['\x1b', '\x07']), "control characters: {line:?}");
        }
    }
    input.len() as u64
}

/// The file of the store.
pub(super) fn store(input: &[u8]) -> u64 {
    static FOLDER: LazyLock<TempDir> = LazyLock::new(|| {
        // In memory, if there is such a folder.
        tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a folder")
    });
    let path = FOLDER.path().join(format!("store-{}", std::process::id()));
    fs::write(&path, input).expect("a file");
    if let Ok(Some(reader)) = Reader::open(&path) {
        let _ = reader.key();
        let _ = reader.count();
        let _ = reader.is_intact();
        let mut ids = Vec::new();
        let _ = reader.alerts::<StoreError>(&Query::default(), |alert| {
            ids.push(alert.id);
            Ok(())
        });
        ids.into_iter().take(16).for_each(|id| drop(reader.evidence(id)));
        let _ = reader.sightings::<StoreError>(|_| Ok(()));
    }
    input.len() as u64
}
