//! Checks the links between documents, and from code to documents.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace")
}

/// Returns the files with one of these extensions, without hidden and built ones.
fn files(extensions: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy();
            if name.starts_with('.') || name == "target" {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .is_some_and(|extension| extensions.iter().any(|wanted| extension == *wanted))
            {
                found.push(path);
            }
        }
    }
    found
}

/// Returns the lines of a document that are not in a code block.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// Returns the targets of the links in a line: `[text](target)`.
fn links(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
}

/// Returns the anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> HashSet<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|&char| char.is_alphanumeric() || matches!(char, ' ' | '-' | '_'))
                .map(|char| if char == ' ' { '-' } else { char })
                .collect()
        })
        .collect()
}

#[test]
fn links_between_documents_lead_to_files_and_headings() {
    let mut checked = 0;
    for document in files(&["md"]) {
        let text = fs::read_to_string(&document).unwrap();
        for link in prose(&text).flat_map(links) {
            if link.contains("://") {
                continue;
            }
            checked += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                _ => document.parent().unwrap().join(path),
            };
            let from = document.strip_prefix(root()).unwrap().display();
            assert!(target.exists(), "{from} links to {link}, which does not exist");
            if !anchor.is_empty() {
                let headings = anchors(&fs::read_to_string(&target).unwrap());
                assert!(
                    headings.contains(anchor),
                    "{from} links to {link}, which has no such heading"
                );
            }
        }
    }
    assert!(checked > 50, "only {checked} links were found");
}

#[test]
fn documents_that_code_names_exist() {
    let mut checked = 0;
    for file in files(&["rs", "toml"]) {
        let text = fs::read_to_string(&file).unwrap();
        // A rule's source can be a document of another project.
        for line in text.lines().filter(|line| !line.starts_with("source")) {
            for rest in line.split("docs/").skip(1) {
                let end =
                    rest.find(|char: char| !(char.is_alphanumeric() || "/._-".contains(char)));
                let name = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
                if !name.ends_with(".md") {
                    continue;
                }
                checked += 1;
                assert!(
                    root().join("docs").join(name).exists(),
                    "{} names docs/{name}, which does not exist",
                    file.display()
                );
            }
        }
    }
    assert!(checked > 10, "only {checked} documents are named");
}

/// Folders that paths in documents begin with, from the root or from `tracer`.
const FOLDERS: [&str; 10] = [
    "audit/",
    "core/",
    "docs/",
    "formats/",
    "host/",
    "rules/",
    "tests/",
    "tracer-ebpf/",
    "tracer/",
    "xtask/",
];

#[test]
fn paths_that_documents_name_exist() {
    let mut checked = 0;
    for document in files(&["md"]) {
        let text = fs::read_to_string(&document).unwrap();
        let paths = prose(&text)
            .flat_map(|line| line.split('`').skip(1).step_by(2))
            .filter(|span| FOLDERS.iter().any(|folder| span.starts_with(folder)))
            .filter(|span| !span.contains([' ', '*']));
        for path in paths {
            checked += 1;
            assert!(
                root().join(path).exists() || root().join("tracer").join(path).exists(),
                "{} names {path}, which does not exist",
                document.strip_prefix(root()).unwrap().display()
            );
        }
    }
    assert!(checked > 30, "only {checked} paths are named");
}
