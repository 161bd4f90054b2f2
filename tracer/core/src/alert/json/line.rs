//! The line of a request, written without an intermediate tree of values.
//!
//! Lines have their keys in alphabetical order, like all lines that are built from
//! [`serde_json::Value`]s. The fields of the structures here are declared in that order.

use serde::Serialize;
use serde_json::{Value, json};

use super::super::{FindingReport, RequestHead, RequestReport};
use crate::{
    finding::{
        Confidence, Identification, Kind, Lifetime, Scope, Sender, Severity, UrlRole, Visited,
    },
    judge::{DerivedHost, HostSource},
    proto::{Initiator, NeverSent, Protocol},
};

/// A line of `tracer decode --json`.
#[derive(Serialize)]
pub(super) struct RequestLine<'a> {
    browser: Option<&'a str>,
    complete: bool,
    derived_host: Option<HostLine<'a>>,
    extension: Option<&'a str>,
    extension_addon: Option<&'a str>,
    extension_name: Option<&'a str>,
    findings: Vec<FindingLine<'a>>,
    findings_uncounted: u64,
    index: u64,
    initiator: Initiator,
    limited: bool,
    never_sent: Option<NeverSent>,
    opaque_bytes: u64,
    private: Option<bool>,
    recipient: Value,
    request: HeadLine<'a>,
    sdk: Option<&'a str>,
    sender: Sender,
    sender_reason: &'a str,
    shortened: bool,
    source: &'a str,
    unread_bytes: u64,
}

#[derive(Serialize)]
struct HostLine<'a> {
    from: HostSource,
    name: &'a str,
}

#[derive(Serialize)]
struct HeadLine<'a> {
    authority: Option<&'a str>,
    method: Option<&'a str>,
    path: Option<&'a str>,
    protocol: Protocol,
}

#[derive(Serialize)]
struct FindingLine<'a> {
    chain: &'a str,
    class: Option<&'a str>,
    confidence: &'a Confidence,
    identification: Option<Identification>,
    kind: Kind,
    lifetime: Option<Lifetime>,
    lifetime_reason: Option<&'a str>,
    reason: &'a str,
    role: Option<UrlRole>,
    scope: Option<Scope>,
    severity: Severity,
    truncated: bool,
    value: &'a str,
    visited: Option<Value>,
}

impl<'a> RequestLine<'a> {
    /// Creates the line of a report. The structures are taken apart, so that a new field
    /// cannot be left out.
    pub(super) fn new(source: &'a str, index: u64, report: &'a RequestReport) -> Self {
        let RequestReport {
            browser,
            private,
            sender,
            sender_reason,
            extension,
            extension_name,
            extension_addon,
            recipient,
            sdk,
            request: RequestHead { protocol, method, authority, path },
            derived_host,
            initiator,
            complete,
            unread_bytes,
            never_sent,
            opaque_bytes,
            findings,
            findings_uncounted,
            shortened,
            limited,
        } = report;
        Self {
            browser: browser.as_deref(),
            complete: *complete,
            derived_host: derived_host
                .as_ref()
                .map(|DerivedHost { name, from }| HostLine { from: *from, name }),
            extension: extension.as_deref(),
            extension_addon: extension_addon.as_deref(),
            extension_name: extension_name.as_deref(),
            findings: findings.iter().map(FindingLine::new).collect(),
            findings_uncounted: *findings_uncounted,
            index,
            initiator: *initiator,
            limited: *limited,
            never_sent: *never_sent,
            opaque_bytes: *opaque_bytes,
            private: *private,
            recipient: json!(recipient),
            request: HeadLine {
                authority: authority.as_deref(),
                method: method.as_deref(),
                path: path.as_deref(),
                protocol: *protocol,
            },
            sdk: sdk.as_deref(),
            sender: *sender,
            sender_reason,
            shortened: *shortened,
            source,
            unread_bytes: *unread_bytes,
        }
    }
}

impl<'a> FindingLine<'a> {
    fn new(report: &'a FindingReport) -> Self {
        let FindingReport {
            kind,
            class,
            value,
            chain,
            truncated,
            role,
            scope,
            visited,
            identification,
            lifetime,
            lifetime_reason,
            confidence,
            severity,
            reason,
        } = report;
        Self {
            chain,
            class: class.as_deref(),
            confidence,
            identification: *identification,
            kind: *kind,
            lifetime: *lifetime,
            lifetime_reason: lifetime_reason.as_deref(),
            reason,
            role: *role,
            scope: *scope,
            severity: *severity,
            truncated: *truncated,
            value,
            visited: visited.as_ref().map(|visited: &Visited| json!(visited)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        alert::fixtures,
        finding::{Category, Recipient},
    };

    /// Returns the line as it results from values.
    fn of_values(source: &str, index: u64, report: &RequestReport) -> String {
        let mut line = json!({ "source": source, "index": index });
        super::super::merge(&mut line, json!(report));
        line.to_string()
    }

    #[test]
    fn lines_equal_those_of_values() {
        let empty = fixtures::alert().content;
        let mut full = empty.clone();
        full.browser = Some("Browser \"7\"".into());
        full.private = Some(true);
        full.extension = Some("id".into());
        full.extension_name = Some("Näme\n".into());
        full.extension_addon = Some("a@b".into());
        full.sdk = Some("SDK".into());
        full.recipient = Recipient::Service { name: "S".into(), category: Category::Analytics };
        full.derived_host =
            Some(DerivedHost { name: "a.test".into(), from: HostSource::ServerName });
        full.never_sent = Some(NeverSent::Blocked);
        full.findings.push(FindingReport {
            class: Some("uuid".into()),
            role: Some(UrlRole::Page),
            identification: Some(Identification::Lasting),
            lifetime: Some(Lifetime::Lasting),
            lifetime_reason: Some("because".into()),
            visited: Some(Visited::Host { host: "b.test".into(), ago: Duration::from_secs(1) }),
            ..fixtures::found(Kind::Identifier, "7f3c")
        });
        for visited in [Visited::No, Visited::Unknown] {
            let finding = fixtures::found(Kind::Url, "https://b.test/");
            full.findings.push(FindingReport { visited: Some(visited), ..finding });
        }
        for report in [&empty, &full] {
            let line = serde_json::to_string(&RequestLine::new("file", 3, report)).unwrap();
            assert_eq!(line, of_values("file", 3, report));
        }
    }
}
