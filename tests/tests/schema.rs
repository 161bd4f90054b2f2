//! Checks the published JSON Schemas against output. The tests with real runs and audits check the
//! alert stream and reports against them too.

use std::path::Path;

use serde_json::{Value, json};
use tracer_core::alert::{Notice, json as lines};
use tracer_tests::{alerting, corpus, reports, schema, skip, tracer_bin};

/// Returns the lines of a command that ends.
fn output(arguments: &[&str]) -> Vec<Value> {
    let ended = tracer_bin::run(&mut tracer_bin::command(arguments));
    let lines: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|err| panic!("{err}: {line}")))
        .collect();
    assert!(!lines.is_empty(), "{arguments:?}: {}", ended.stderr);
    lines
}

/// Calls `change` with a copy of the value for each object in it, and with the object's place.
fn each_object(value: &Value, change: &mut impl FnMut(&str, &mut Value)) {
    fn places(value: &Value, at: &str, all: &mut Vec<String>) {
        match value {
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(i, it)| places(it, &format!("{at}/{i}"), all));
            }
            Value::Object(fields) => {
                all.push(at.to_owned());
                for (name, item) in fields {
                    let name = name.replace('~', "~0").replace('/', "~1");
                    places(item, &format!("{at}/{name}"), all);
                }
            }
            _ => {}
        }
    }
    let mut all = Vec::new();
    places(value, "", &mut all);
    for place in all {
        change(&place, &mut value.clone());
    }
}

/// Checks that the schema describes a value, and nothing with one field more or less anywhere in it.
fn assert_described(name: &str, value: &Value) {
    schema::check(name, value);
    each_object(value, &mut |place, changed| {
        changed.pointer_mut(place).unwrap()["later"] = json!(1);
        assert!(!schema::is_valid(name, changed), "{name} allows any field at `{place}`");
    });
}

#[test]
fn schemas_describe_what_reads_nothing_but_files() {
    let folder = corpus::folder();
    let mut recorded: Vec<String> = std::fs::read_dir(folder.join("browser"))
        .unwrap()
        .map(|entry| entry.unwrap().path().display().to_string())
        .collect();
    recorded.sort();
    recorded.truncate(4);
    recorded.push(folder.join("py-sensors-default.http").display().to_string());
    let mut arguments = vec!["decode", "--json"];
    arguments.extend(recorded.iter().map(String::as_str));
    let requests = output(&arguments);
    requests.iter().for_each(|request| schema::check("decode", request));
    let with_findings = requests.iter().find(|it| it["findings"].as_array().unwrap().len() > 1);
    assert_described("decode", with_findings.expect("a request with findings"));

    for report in output(&["doctor", "--json"]) {
        assert_described("doctor", &report);
    }
    let libraries = ["/usr/lib/x86_64-linux-gnu/libssl.so.3", "/lib/x86_64-linux-gnu/libc.so.6"];
    let here: Vec<&str> = libraries.into_iter().filter(|path| Path::new(path).exists()).collect();
    if !skip::met(!here.is_empty(), "a library at its place in Debian") {
        return;
    }
    for located in output(&[&["locate", "--json"], &here[..]].concat()) {
        assert_described("locate", &located);
    }
}

#[test]
fn schemas_describe_reports() {
    for report in [reports::reporting(), reports::clean(), reports::killed(), reports::hostile()] {
        schema::check("report", &json!(report));
    }
    assert_described("report", &json!(reports::reporting()));
}

#[test]
fn schemas_describe_the_alert_stream() {
    let (pipeline, outputs) = alerting::outputs();
    let notices: Vec<Notice> = outputs.iter().filter_map(Notice::from_output).collect();
    assert!(notices.iter().any(|it| matches!(it, Notice::Alert { .. })), "{notices:?}");
    for notice in &notices {
        assert_described("alerts", &lines::notice(notice));
    }
    assert_described("alerts", &lines::summary(pipeline.totals(), pipeline.accounts()));
}
