//! `tracer rules check` and `--rules`. Needs no root.

use std::fs;

use tempfile::TempDir;
use tracer_tests::tracer_bin::{self, Outcome};

const GOOD: &str = "[[vocabulary]]\nprefix = 'news.example.org/'\nreason = 'r'\nsource = 's'\n";
const BAD: &str = "[[vocabulary]]\nprefix = 'news.example.org'\nreason = 'r'\nsource = 's'\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn tracer(arguments: &[&str]) -> Outcome {
    tracer_bin::run(&mut tracer_bin::command(arguments))
}

#[test]
fn the_embedded_rules_are_counted() {
    let ended = tracer(&["rules", "check"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let line = |file: &str| ended.stdout.lines().find(|line| line.starts_with(file)).unwrap();
    assert!(line("browsers.toml (embedded): ").ends_with(" browsers"));
    assert!(line("recipients.toml (embedded): ").ends_with(" services"));
    assert!(line("vocabularies.toml (embedded): ").ends_with(" vocabularies"));
}

#[test]
fn errors_in_every_file_are_reported() {
    let folder = folder(&[("vocabularies.toml", BAD), ("recipients.toml", "x = 1\n")]);
    let path = folder.path().to_str().unwrap();
    let ended = tracer(&["rules", "check", path]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with(&format!("{path}/recipients.toml:1:1: unknown field `x`")));
    assert!(lines[1].starts_with(&format!("{path}/vocabularies.toml:2:10: `news.example.org` is")));
}

#[test]
fn user_rules_are_applied() {
    let request = "GET /?u=https%3A%2F%2Fnews.example.org%2Fa HTTP/1.1\r\nHost: c.example\r\n\r\n";
    let good = folder(&[("vocabularies.toml", GOOD), ("request", request)]);
    let bad = folder(&[("vocabularies.toml", BAD)]);
    let file = good.path().join("request");
    let file = file.to_str().unwrap();
    let decode = |rules: &[&str]| tracer(&[&["decode", "--json", file], rules].concat());

    let url = r#""value":"https://news.example.org/a""#;
    assert!(decode(&[]).stdout.contains(url));
    let ended = decode(&["--rules", good.path().to_str().unwrap()]);
    assert!(ended.code == Some(0) && !ended.stdout.contains(url), "{ended:?}");
    let ended = decode(&["--rules", bad.path().to_str().unwrap()]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("/vocabularies.toml:2:10: "), "{ended:?}");
}
