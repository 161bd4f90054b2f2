//! Turns lines of the alert stream into log records.

use std::time::{SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest,
    common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList, any_value},
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber},
    resource::v1::Resource,
};
use serde_json::Value;
use tracer_core::wording::counted;

/// Maximum depth of values in a record. Those of alerts have four levels.
const MAX_DEPTH: usize = 16;

/// Turns a line into a record. Returns `None` for a line that is not one of the alert stream.
pub(super) fn record(line: &str, observed: SystemTime) -> Option<LogRecord> {
    let Value::Object(fields) = serde_json::from_str(line).ok()? else {
        return None;
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str);
    let kind = text("type")?;
    let (number, severity) = severity(kind, text("severity"));
    let time = text("time").and_then(|time| humantime::parse_rfc3339(time).ok());
    let attributes = fields.iter().filter(|(_, value)| !value.is_null()).map(|(name, value)| {
        KeyValue { key: format!("tracer.{name}"), value: Some(any(value, 0)), ..Default::default() }
    });
    Some(LogRecord {
        time_unix_nano: time.map(nanoseconds).unwrap_or_default(),
        observed_time_unix_nano: nanoseconds(observed),
        severity_number: number.into(),
        severity_text: severity.to_owned(),
        event_name: format!("tracer.{kind}"),
        body: Some(string(&body(kind, &fields))),
        attributes: attributes.collect(),
        ..LogRecord::default()
    })
}

/// Returns the severity as OpenTelemetry numbers it, and as tracer names it.
fn severity<'a>(kind: &str, severity: Option<&'a str>) -> (SeverityNumber, &'a str) {
    match severity {
        Some(name @ "critical") => (SeverityNumber::Error2, name),
        Some(name @ "high") => (SeverityNumber::Error, name),
        Some(name @ "medium") => (SeverityNumber::Warn, name),
        Some(name @ "low") => (SeverityNumber::Info2, name),
        Some(name) => (SeverityNumber::Info, name),
        None if kind == "lost" => (SeverityNumber::Warn, ""),
        None => (SeverityNumber::Info, ""),
    }
}

/// Returns a line for people.
fn body(kind: &str, fields: &serde_json::Map<String, Value>) -> String {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or("unknown");
    let number = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap_or_default();
    match kind {
        "alert" => {
            let host = fields.get("request").and_then(|it| it["authority"].as_str());
            let host = host.unwrap_or("an unknown host");
            format!("{} sent to {host}: {}", text("application"), text("reason"))
        }
        "repeated" => {
            let times = counted(number("count"), "time");
            format!("alert {} was repeated {times}", number("alert"))
        }
        "lost" => {
            format!("not captured: {}: {}", counted(number("count"), "send"), text("reason"))
        }
        _ => format!("tracer {kind}"),
    }
}

fn string(text: &str) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(text.to_owned())) }
}

/// Turns a JSON value into one of OpenTelemetry.
fn any(value: &Value, depth: usize) -> AnyValue {
    use any_value::Value as Any;
    if depth >= MAX_DEPTH {
        return string(&value.to_string());
    }
    let value = match value {
        Value::Null => None,
        Value::Bool(flag) => Some(Any::BoolValue(*flag)),
        Value::Number(number) => Some(match (number.as_i64(), number.as_f64()) {
            (Some(number), _) => Any::IntValue(number),
            (None, number) => Any::DoubleValue(number.unwrap_or_default()),
        }),
        Value::String(text) => Some(Any::StringValue(text.clone())),
        Value::Array(items) => Some(Any::ArrayValue(ArrayValue {
            values: items.iter().map(|item| any(item, depth + 1)).collect(),
        })),
        Value::Object(fields) => Some(Any::KvlistValue(KeyValueList {
            values: fields
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| key_value(name, any(value, depth + 1)))
                .collect(),
        })),
    };
    AnyValue { value }
}

fn key_value(name: &str, value: AnyValue) -> KeyValue {
    KeyValue { key: name.to_owned(), value: Some(value), ..KeyValue::default() }
}

/// Creates the request that carries records.
pub(super) fn request(records: Vec<LogRecord>, host: &str) -> ExportLogsServiceRequest {
    let resource = Resource {
        attributes: vec![
            key_value("service.name", string("tracer")),
            key_value("service.version", string(env!("CARGO_PKG_VERSION"))),
            key_value("host.name", string(host)),
            key_value("os.type", string("linux")),
        ],
        ..Resource::default()
    };
    let scope = InstrumentationScope {
        name: "tracer.alerts".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let logs = ScopeLogs { scope: Some(scope), log_records: records, ..ScopeLogs::default() };
    ExportLogsServiceRequest {
        resource_logs: vec![ResourceLogs {
            resource: Some(resource),
            scope_logs: vec![logs],
            ..ResourceLogs::default()
        }],
    }
}

fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_nanos().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_records() {
        let now = UNIX_EPOCH + std::time::Duration::from_secs(9);
        let line = r#"{"type":"alert","severity":"critical","time":"1970-01-01T00:00:07.000Z",
            "application":"b","reason":"why","request":{"authority":"c.example"},"alert":3,"sdk":null}"#;
        let of = record(line, now).unwrap();
        assert_eq!((of.time_unix_nano, of.observed_time_unix_nano), (7_000_000_000, 9_000_000_000));
        assert_eq!((of.severity_number, &of.severity_text[..]), (18, "critical"));
        assert_eq!(of.body, Some(string("b sent to c.example: why")));
        let value = |name: &str| {
            let found = of.attributes.iter().find(|one| one.key == name)?;
            found.value.clone()?.value
        };
        assert_eq!(value("tracer.alert"), Some(any_value::Value::IntValue(3)));
        assert_eq!(value("tracer.sdk"), None);
        assert!(matches!(value("tracer.request"), Some(any_value::Value::KvlistValue(_))));
        for other in ["", "[]", "{}", "{\"type\":1}", "{"] {
            assert!(record(other, now).is_none(), "{other}");
        }
        let lost = record(r#"{"type":"lost","count":2,"reason":"ring_full"}"#, now).unwrap();
        assert_eq!(lost.severity_number, i32::from(SeverityNumber::Warn));
    }

    #[test]
    fn deep_values_become_text() {
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let line = format!(r#"{{"type":"alert","x":{deep}}}"#);
        assert!(record(&line, UNIX_EPOCH).is_some());
    }
}
