//! The queries of docs/fleet.md, over alerts of two machines and over a store.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};
use tracer_core::alert::{Notice, json as lines};
use tracer_tests::{alerting, web::python_with};

#[test]
fn the_documented_queries_answer() {
    let Some(python) = python_with("duckdb", "duckdb (`cargo xtask setup --tests`)") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (pipeline, outputs) = alerting::outputs();
    let notices = outputs.iter().filter_map(Notice::from_output);
    let mut text: String = notices.map(|notice| format!("{}\n", lines::notice(&notice))).collect();
    text += &format!("{}\n", lines::summary(pipeline.totals(), pipeline.accounts()));
    for machine in ["desk-1", "desk-2"] {
        fs::write(folder.path().join(format!("{machine}.jsonl")), &text).expect("a file");
    }
    let store = folder.path().join("tracer.db");
    alerting::store(&store);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new(python)
        .arg(root.join("fixtures/clients/fleet_queries.py"))
        .arg(root.join("../docs/fleet.md"))
        .args([folder.path(), &store])
        .output()
        .expect("Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).expect("UTF-8");
    let answers: Vec<Value> =
        output.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(answers.len(), 6, "{answers:#?}");
    let row = |query: usize| &answers[query]["rows"][0];
    let who = row(1).as_array().expect("a row");
    assert_eq!(who[..3], [json!("reporter"), json!("collector.example"), json!(2)]);
    assert_eq!(answers[2]["rows"], json!([]), "no extension is to blame");
    let chains = answers[3]["rows"].to_string();
    assert!(chains.contains("json.properties.url"), "{chains}");
    assert_eq!(row(4)[1], "collector.example");
}
