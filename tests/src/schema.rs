//! The published JSON Schemas, against which real output is checked.

use std::{collections::BTreeMap, sync::LazyLock};

use jsonschema::Validator;
use serde_json::Value;

/// Names and texts of the schemas. They are embedded for guests, which have no clone.
const SCHEMAS: [(&str, &str); 6] = [
    ("alerts", include_str!("../../docs/schema/alerts.json")),
    ("decode", include_str!("../../docs/schema/decode.json")),
    ("doctor", include_str!("../../docs/schema/doctor.json")),
    ("locate", include_str!("../../docs/schema/locate.json")),
    ("report", include_str!("../../docs/schema/report.json")),
    ("status", include_str!("../../docs/schema/status.json")),
];

static VALIDATORS: LazyLock<BTreeMap<&str, Validator>> =
    LazyLock::new(|| SCHEMAS.map(|(name, text)| (name, validator(name, text))).into());

fn validator(name: &str, text: &str) -> Validator {
    let schema: Value = serde_json::from_str(text).expect("JSON");
    jsonschema::validator_for(&schema).unwrap_or_else(|err| panic!("{name}: {err}"))
}

/// Reports whether a value has the form that a schema describes.
pub fn is_valid(name: &str, value: &Value) -> bool {
    VALIDATORS[name].is_valid(value)
}

/// Checks that a value has the form that a schema describes.
///
/// # Panics
/// Panics if it has not.
pub fn check(name: &str, value: &Value) {
    let errors: Vec<String> = VALIDATORS[name]
        .iter_errors(value)
        .map(|err| format!("{err} at {}", err.instance_path()))
        .collect();
    assert!(errors.is_empty(), "docs/schema/{name}.json does not describe {value:#}:\n{errors:#?}");
}
