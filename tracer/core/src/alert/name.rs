use serde::Serialize;

/// Returns the name that a value has in the JSON form of alerts: the name of an enum's variant, or the
/// `kind` of an object.
///
/// The names are written once this way, in the attributes of serde. Other values have an empty name.
pub fn json_name(value: impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    let name = value.get("kind").unwrap_or(&value);
    name.as_str().unwrap_or_default().to_owned()
}
