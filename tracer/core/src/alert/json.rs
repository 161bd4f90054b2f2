//! Alerts as JSON lines. `docs/reference/alerts.md` describes them.

mod line;

use serde_json::{Value, json};

use super::{Notice, RequestReport, rfc3339};
use crate::{
    account::{Account, Accounts},
    application::Application,
    extensions::Extensions,
    judge::JudgedRequest,
    pipeline::Totals,
    record::{BootTime, Clock},
};

/// Version of the alert stream's schema. It is increased when a field changes its
/// meaning or is removed, and for a new type of line or kind of finding, but not
/// for a new field.
pub const ALERT_SCHEMA: u32 = 2;

/// Returns the line of a notice.
pub fn notice(notice: &Notice) -> Value {
    match notice {
        Notice::Alert { alert, .. } => json!(alert),
        Notice::Repeated { alert, count, total, unix } => json!({
            "schema": ALERT_SCHEMA,
            "type": "repeated",
            "alert": alert,
            "count": count,
            "total": total,
            "time": unix.map(rfc3339),
        }),
        Notice::Lost { loss, count, total } => json!({
            "schema": ALERT_SCHEMA,
            "type": "lost",
            "reason": loss,
            "count": count,
            "total": total,
        }),
    }
}

/// Returns the last line of a run. Beside the totals, it has:
///
/// ```text
/// applications   the applications that sent, in descending order of bytes; each:
///   uid            user ID
///   executable     path of the executable, or null
///   comm           name of a thread if the executable is null
///   percent_read   share of the content that was read, rounded down; 100 only if
///                  all of it was read; null if there was none
///   sockets, plain, opaque_bytes, servers, queries: see `Account`
///   connections, unreached, unfinished, uncounted: see `Arrivals`
///   never_left_bytes   bytes that a TLS library accepted and that were not sent
/// other_applications   the sum of the applications beyond the limit
/// ```
pub fn summary(totals: &Totals, accounts: &Accounts) -> Value {
    let applications = accounts.applications();
    let clock = accounts.clock();
    let applications = applications.iter().map(|(who, account)| application(who, account, clock));
    json!({
        "schema": ALERT_SCHEMA,
        "type": "summary",
        "totals": totals,
        "applications": applications.collect::<Vec<_>>(),
        "other_applications": accounts.others(),
    })
}

fn application(who: &Application, account: &Account, clock: Option<Clock>) -> Value {
    let mut line = json!(who);
    merge(&mut line, arrivals(account, clock));
    merge(&mut line, json!({ "percent_read": account.percent_read() }));
    merge(&mut line, json!(account));
    line
}

/// Returns what an application tried to send and what did not arrive.
fn arrivals(account: &Account, clock: Option<Clock>) -> Value {
    let time = |time: BootTime| clock.map(|clock| rfc3339(clock.unix(time)));
    let arrivals = &account.arrivals;
    let unreached = arrivals.unreached().into_iter().map(|host| {
        json!({
            "host": host.host,
            "attempt": host.attempt,
            "lookups": host.lookups,
            "connections": host.connections,
            "first": time(host.first),
            "last": time(host.last),
        })
    });
    let unfinished = arrivals.unfinished_requests().map(|request| {
        json!({
            "time": time(request.time),
            "host": request.host,
            "method": request.method,
        })
    });
    json!({
        "connections": arrivals.connections(),
        "unreached": unreached.collect::<Vec<_>>(),
        "unfinished": unfinished.collect::<Vec<_>>(),
        "uncounted": arrivals.uncounted(),
        "never_left_bytes": account.never_left(),
    })
}

/// Appends the line of a request in the output of `tracer decode --json`, with its line
/// break.
pub fn write_request(
    source: &str,
    index: u64,
    request: &JudgedRequest,
    extensions: &Extensions,
    out: &mut Vec<u8>,
) {
    let mut report = RequestReport::new(request);
    report.name_extension(request.extension(extensions));
    line::write(source, index, &report, out);
    out.push(b'\n');
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::{Alert, fixtures};

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
    fn a_repetition_has_a_line() {
        let again = Notice::Repeated { alert: 4, count: 12, total: 37, unix: Some(0) };
        let line = notice(&again);
        let time = "1970-01-01T00:00:00.000Z";
        let known = json!({ "schema": 2, "type": "repeated", "alert": 4, "count": 12, "total": 37, "time": time });
        assert_eq!(line, known);
    }
}
