//! Compares the recorded requests with their manifests.

use std::{collections::HashSet, fs, path::PathBuf};

use super::*;

/// The identifier that most SDKs were given.
const ID: &str = "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11";

/// A row of a manifest.
struct Row {
    name: String,
    bytes: Vec<u8>,
    url_chains: Vec<String>,
    identifier_chains: Vec<String>,
}

/// Reads both manifests and the files that they list.
fn rows() -> Vec<Row> {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/corpus");
    let mut rows = Vec::new();
    for folder in [corpus.clone(), corpus.join("browser")] {
        let manifest = fs::read_to_string(folder.join("MANIFEST.tsv")).unwrap();
        let mut lines = manifest.lines().map(|line| line.split('\t').collect::<Vec<_>>());
        let header = lines.next().unwrap();
        let column = |name| header.iter().position(|&h| h == name).unwrap();
        let (file, url, id) = (column("file"), column("url_layers"), column("identifier_layers"));
        for line in lines {
            let chains = |column: usize| -> Vec<String> {
                line[column]
                    .split(" | ")
                    .filter(|&chain| chain != "-")
                    .map(|chain| chain.trim_end_matches(" (substring)").replace('>', " > "))
                    .collect()
            };
            rows.push(Row {
                name: line[file].to_owned(),
                bytes: fs::read(folder.join(line[file])).unwrap(),
                url_chains: chains(url),
                identifier_chains: chains(id),
            });
        }
    }
    assert!(rows.len() > 50);
    rows
}

#[test]
fn every_listed_url_is_found() {
    for row in rows() {
        let found = chains_to(&values_in(&row.bytes), URL);
        for chain in &row.url_chains {
            assert!(found.contains(chain), "{}: no {chain} in {found:#?}", row.name);
        }
        // No other chain contains it, except that Referer is listed for some
        // requests only.
        for chain in found.iter().filter(|&chain| chain != "header:Referer") {
            assert!(row.url_chains.contains(chain), "{}: {chain} is not listed", row.name);
        }
    }
}

#[test]
fn every_listed_identifier_is_found() {
    for row in rows() {
        let values = values_in(&row.bytes);
        for chain in &row.identifier_chains {
            let texts: Vec<_> =
                values.iter().filter(|v| v.chain == *chain).map(|v| &*v.text).collect();
            // Matomo takes 16 digits only, and OTLP has other attributes in the
            // same place.
            let known = texts.contains(&ID) || texts == ["7f3c2a109b1e4c57"];
            assert!(known, "{}: {chain} gives {texts:?}", row.name);
        }
    }
}

/// Every part of a recorded request is read, and nothing is over-interpreted.
#[test]
fn nothing_is_opaque_or_damaged() {
    for row in rows() {
        let (values, report) =
            collect(|visit| unwrap(&parse(&row.bytes).unwrap(), &Limits::default(), visit));
        // The trace and span identifiers of OTLP are binary, 24 bytes before gzip.
        let opaque = if row.name.starts_with("py-otlp") { 18..=26 } else { 0..=0 };
        assert!(opaque.contains(&report.opaque), "{}: {values:#?}", row.name);
        assert_eq!((report.damaged, report.cut, report.skipped), (0, 0, 0), "{}", row.name);
        assert_eq!(report.values, values.len());
        assert!(!report.reached.any());
        for value in &values {
            assert!(!value.truncated, "{}: {value:?}", row.name);
            let guessed = ["hex", "cbor", "msgpack", "text", "fragment", "utf16"];
            assert!(!guessed.iter().any(|g| value.chain.contains(&format!("> {g}"))), "{value:?}");
        }
    }
}

/// A value found in a prefix and not marked as truncated is also found in the
/// whole request.
#[test]
fn prefixes_never_contradict_the_whole() {
    for row in rows() {
        let whole: HashSet<(String, Option<String>)> =
            values_in(&row.bytes).into_iter().map(|v| (v.text, v.key)).collect();
        for len in 0..row.bytes.len() {
            for value in values_in(&row.bytes[..len]) {
                let known = (value.text, value.key);
                assert!(
                    value.truncated || whole.contains(&known),
                    "{} at {len}: {} = {known:?}",
                    row.name,
                    value.chain
                );
            }
        }
    }
}
