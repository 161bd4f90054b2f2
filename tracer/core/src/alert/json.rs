//! Alerts as JSON lines. `docs/reference/alerts.md` describes them.

use serde_json::{Value, json};

use super::{Alert, Content, redact::Redactor, rfc3339};
use crate::{
    account::{Account, Accounts},
    application::Application,
    pipeline::{Decoded, Output, Totals},
};

/// The version of the alert stream's schema. It grows when a field changes its
/// meaning or goes, or a new type of line or kind of finding comes; new fields
/// do not change it.
pub const ALERT_SCHEMA: u32 = 2;

/// The line of an output; `None` for what is no alert.
pub fn line(output: &Output, redactor: &Redactor) -> Option<Value> {
    match output {
        Output::Request(decoded) => {
            decoded.is_alert().then(|| json!(Alert::of(decoded).redacted(redactor)))
        }
        Output::Repeated { alert, count, total, unix } => Some(json!({
            "schema": ALERT_SCHEMA,
            "type": "repeated",
            "alert": alert,
            "count": count,
            "total": total,
            "time": unix.map(rfc3339),
        })),
        Output::Lost { loss, count, total } => Some(json!({
            "schema": ALERT_SCHEMA,
            "type": "lost",
            "reason": loss,
            "count": count,
            "total": total,
        })),
    }
}

/// The last line of a run. Beside the totals:
///
/// ```text
/// applications   those that sent, most first; each:
///   uid            their user
///   executable     what they run, or null
///   comm           where that is null: the name of a thread of theirs
///   percent_read   of the content, rounded down; 100 only if all of it was
///                  read; null where there was none
///   sockets, plain, opaque_bytes, servers, queries: see `Account`
/// other_applications   the sum of those beyond the number that are told apart
/// ```
pub fn summary(totals: &Totals, accounts: &Accounts) -> Value {
    let applications = accounts.applications();
    let applications = applications.iter().map(|(who, account)| application(who, account));
    json!({
        "schema": ALERT_SCHEMA,
        "type": "summary",
        "totals": totals,
        "applications": applications.collect::<Vec<_>>(),
        "other_applications": accounts.others(),
    })
}

fn application(who: &Application, account: &Account) -> Value {
    let mut line = json!(who);
    merge(&mut line, json!({ "percent_read": account.percent_read() }));
    merge(&mut line, json!(account));
    line
}

/// A request as `tracer decode --json` shows it: one line each.
pub fn decoded_line(source: &str, index: u64, decoded: &Decoded) -> Value {
    let mut line = json!({ "source": source, "index": index });
    merge(&mut line, json!(Content::of(decoded)));
    line
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::fixtures;

    /// The store keeps alerts in this form.
    #[test]
    fn an_alert_survives_its_json() {
        let alert = fixtures::alert();
        let line = json!(alert);
        assert_eq!((&line["schema"], &line["type"]), (&2.into(), &"alert".into()));
        assert_eq!(line["recipient"]["kind"], "third_party");
        assert_eq!(line["findings"][0]["visited"]["ago_ms"], 2000);
        assert_eq!(serde_json::from_value::<Alert>(line).unwrap(), alert);
    }

    #[test]
    fn repetition_has_a_line() {
        let again = Output::Repeated { alert: 4, count: 12, total: 37, unix: Some(0) };
        let line = line(&again, &Redactor::off()).unwrap();
        let time = "1970-01-01T00:00:00.000Z";
        let known = json!({ "schema": 2, "type": "repeated", "alert": 4, "count": 12, "total": 37, "time": time });
        assert_eq!(line, known);
    }
}
