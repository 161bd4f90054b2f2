//! Alerts as a page for browsers.

use std::{
    io::{self, Write},
    time::{SystemTime, UNIX_EPOCH},
};

use tracer_audit::html::alerts::{Alerts, Group, Identifier, Told, When};
use tracer_core::alert::{printable, redact::Redactor, rfc3339};

use super::{
    groups::{self, Groups},
    identifiers::Ranked,
};
use crate::sink::Terminal;

/// Maximum number of identifiers on the page.
const MAX_IDENTIFIERS: usize = 100;

/// Writes a page of alerts, with the identifiers that were sent.
pub(super) fn write(
    groups: Groups,
    identifiers: &[Ranked],
    selection: Vec<String>,
    redactor: &Redactor,
    terminal: &Terminal,
    out: &mut impl Write,
) -> io::Result<()> {
    let when = |unix: u64| When { local: terminal.time(unix), utc: rfc3339(unix) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let beyond = groups.beyond();
    let page = Alerts {
        written: when(u64::try_from(now.as_nanos()).unwrap_or_default()),
        selection,
        shows_values: !redactor.redacts(),
        groups: groups.by_severity().map(|(key, group)| self::group(key, group, &when)).collect(),
        beyond,
        identifiers: identifiers
            .iter()
            .take(MAX_IDENTIFIERS)
            .map(|ranked| identifier(ranked, redactor))
            .collect(),
        more_identifiers: identifiers.len().saturating_sub(MAX_IDENTIFIERS) as u64,
    };
    page.write(out)
}

fn group(key: groups::Key, group: groups::Group, when: &impl Fn(u64) -> When) -> Group {
    let told = |one: groups::Listed| Told {
        id: one.id,
        severity: one.severity,
        reason: one.reason,
        subject: one.subject,
        identifier: one.identifier,
        chain: one.chain.map(|chain| steps(&chain)).unwrap_or_default(),
        private: one.is_private,
        occurrences: one.occurrences,
        first: when(one.first),
        last: when(one.last),
    };
    Group {
        culprit: key.culprit,
        uid: key.uid,
        addressee: key.addressee,
        alerts: group.alerts,
        occurrences: group.occurrences,
        first: when(group.first),
        last: when(group.last),
        listed: group.listed.into_iter().map(told).collect(),
    }
}

/// Splits a chain into its steps.
fn steps(chain: &str) -> Vec<String> {
    chain.split(" > ").map(str::to_owned).collect()
}

fn identifier(ranked: &Ranked, redactor: &Redactor) -> Identifier {
    let Ranked { sighting, with_visits, lasts } = ranked;
    Identifier {
        value: printable(&redactor.value(&sighting.value)),
        class: sighting.class.clone(),
        lasts: *lasts,
        with_visits: *with_visits,
        requests: sighting.requests,
        applications: sighting.applications.clone(),
        recipients: sighting.recipients.clone(),
    }
}
