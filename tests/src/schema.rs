//! The published JSON Schemas, against which real output is checked.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use jsonschema::Validator;
use serde_json::Value;

/// Names of the schemas.
pub const NAMES: [&str; 6] = ["alerts", "decode", "doctor", "locate", "report", "status"];

static VALIDATORS: LazyLock<BTreeMap<&str, Validator>> =
    LazyLock::new(|| NAMES.iter().map(|name| (*name, validator(name))).collect());

/// Returns the file of a schema.
pub fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/schema").join(format!("{name}.json"))
}

fn validator(name: &str) -> Validator {
    let text = fs::read_to_string(path(name)).expect("a schema");
    let schema: Value = serde_json::from_str(&text).expect("JSON");
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
