//! Alerts as JSON lines. `docs/alerts.md` describes them.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use super::redact::Redactor;
use crate::{
    account::{Account, Accounts, Application},
    pipeline::{Decoded, Output, Totals},
};

/// The version of the alert stream's schema. It grows when a field changes its
/// meaning or goes; new fields do not change it.
pub const ALERT_SCHEMA: u32 = 1;

/// The line of an output; `None` for what is no alert.
pub(super) fn line(output: &Output, redactor: &Redactor) -> Option<Value> {
    match output {
        Output::Request(decoded) => decoded.is_alert().then(|| alert(decoded, redactor)),
        Output::Repeated { .. } => None,
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
pub(super) fn summary(totals: &Totals, accounts: &Accounts) -> Value {
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

fn alert(decoded: &Decoded, redactor: &Redactor) -> Value {
    let sent = &decoded.sent;
    let time = decoded.unix.map(|unix| {
        humantime::format_rfc3339_millis(UNIX_EPOCH + Duration::from_nanos(unix)).to_string()
    });
    let mut line = json!({
        "schema": ALERT_SCHEMA,
        "type": "alert",
        "time": time,
        "severity": decoded.verdict.as_ref().map(|verdict| verdict.severity),
        "reason": decoded.verdict.as_ref().map(|verdict| &verdict.reason),
        "process": {
            "uid": sent.process.uid,
            "pid": sent.process.tgid,
            "tid": sent.process.tid,
            "comm": sent.process.comm,
            "exe": decoded.exe,
        },
        "hook": sent.hook,
        "connection": {
            "transport": sent.connection.transport,
            "local": sent.connection.local,
            "remote": sent.connection.remote,
        },
    });
    merge(&mut line, request(decoded, redactor));
    line
}

/// A request as `tracer decode --json` shows it: one line each.
pub fn decoded_line(source: &str, index: u64, decoded: &Decoded) -> Value {
    let mut line = json!({ "source": source, "index": index });
    merge(&mut line, request(decoded, &Redactor::off()));
    line
}

/// What both have in common.
fn request(decoded: &Decoded, redactor: &Redactor) -> Value {
    let request = &decoded.sent.message;
    let findings: Vec<Value> = decoded
        .findings
        .list
        .iter()
        .map(|finding| {
            json!({
                "kind": finding.kind,
                "value": redactor.url(&finding.value),
                "chain": finding.chain,
                "truncated": finding.truncated,
            })
        })
        .collect();
    json!({
        "request": {
            "protocol": request.protocol,
            "method": request.method,
            "authority": request.authority,
            "path": request.path.as_deref().map(|path| redactor.url(path)),
        },
        "initiator": decoded.initiator,
        "complete": request.complete,
        "unread_bytes": request.unread_bytes,
        "findings": findings,
        "findings_uncounted": decoded.findings.uncounted,
    })
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}
