//! The line of a request, written without an intermediate tree of values.
//!
//! Lines have their keys in alphabetical order, like all lines that are built from
//! [`serde_json::Value`]s. The fields are written in that order here.

use std::time::Duration;

use serde::Serialize;

use super::super::{FindingReport, RequestHead, RequestReport};
use crate::{
    finding::{Recipient, Visited},
    judge::DerivedHost,
};

/// An object that is being written.
struct Object<'o> {
    out: &'o mut Vec<u8>,
    /// The text before the next field.
    before: u8,
}

impl<'o> Object<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        Self { out, before: b'{' }
    }

    /// Writes a key, which needs no escapes.
    fn key(&mut self, key: &'static str) {
        self.out.push(self.before);
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.before = b',';
    }

    fn field(&mut self, key: &'static str, value: &(impl Serialize + ?Sized)) {
        self.key(key);
        serde_json::to_writer(&mut *self.out, value).expect("a vector takes everything");
    }

    /// Writes a field whose value is an object with at least one field.
    fn object(&mut self, key: &'static str, write: impl FnOnce(&mut Object<'_>)) {
        self.key(key);
        let mut object = Object::begin(self.out);
        write(&mut object);
        object.end();
    }

    fn end(self) {
        self.out.push(b'}');
    }
}

/// Writes a line of `tracer decode --json`, without its line break. The structures are taken apart,
/// so that a new field cannot be left out.
pub(super) fn write(source: &str, index: u64, report: &RequestReport, out: &mut Vec<u8>) {
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
    let mut line = Object::begin(out);
    line.field("browser", browser);
    line.field("complete", complete);
    match derived_host {
        Some(DerivedHost { name, from }) => line.object("derived_host", |host| {
            host.field("from", from);
            host.field("name", name);
        }),
        None => line.field("derived_host", &()),
    }
    line.field("extension", extension);
    line.field("extension_addon", extension_addon);
    line.field("extension_name", extension_name);
    line.key("findings");
    line.out.push(b'[');
    for (at, finding) in findings.iter().enumerate() {
        if at > 0 {
            line.out.push(b',');
        }
        write_finding(finding, line.out);
    }
    line.out.push(b']');
    line.field("findings_uncounted", findings_uncounted);
    line.field("index", &index);
    line.field("initiator", initiator);
    line.field("limited", limited);
    line.field("never_sent", never_sent);
    line.field("opaque_bytes", opaque_bytes);
    line.field("private", private);
    line.object("recipient", |line| {
        let (category, name) = match recipient {
            Recipient::Service { name, category } => (Some(category), Some(name)),
            Recipient::Maker { name } => (None, Some(name)),
            Recipient::SameSite | Recipient::Local | Recipient::ThirdParty | Recipient::Unknown => {
                (None, None)
            }
        };
        if let Some(category) = category {
            line.field("category", category);
        }
        line.field("kind", recipient.as_str());
        if let Some(name) = name {
            line.field("name", name);
        }
    });
    line.object("request", |head| {
        head.field("authority", authority);
        head.field("method", method);
        head.field("path", path);
        head.field("protocol", protocol);
    });
    line.field("sdk", sdk);
    line.field("sender", sender);
    line.field("sender_reason", sender_reason);
    line.field("shortened", shortened);
    line.field("source", source);
    line.field("unread_bytes", unread_bytes);
    line.end();
}

fn write_finding(report: &FindingReport, out: &mut Vec<u8>) {
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
    let mut line = Object::begin(out);
    line.field("chain", chain);
    line.field("class", class);
    line.field("confidence", confidence);
    line.field("identification", identification);
    line.field("kind", kind);
    line.field("lifetime", lifetime);
    line.field("lifetime_reason", lifetime_reason);
    line.field("reason", reason);
    line.field("role", role);
    line.field("scope", scope);
    line.field("severity", severity);
    line.field("truncated", truncated);
    line.field("value", value);
    match visited {
        Some(visited) => line.object("visited", |line| write_visited(visited, line)),
        None => line.field("visited", &()),
    }
    line.end();
}

fn write_visited(visited: &Visited, line: &mut Object<'_>) {
    let milliseconds = |ago: &Duration| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    match visited {
        Visited::Page { url, ago } => {
            line.field("ago_ms", &milliseconds(ago));
            line.field("kind", "page");
            line.field("url", url);
        }
        Visited::Host { host, ago } => {
            line.field("ago_ms", &milliseconds(ago));
            line.field("host", host);
            line.field("kind", "host");
        }
        Visited::No => line.field("kind", "no"),
        Visited::Unknown => line.field("kind", "unknown"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        alert::fixtures,
        finding::{Category, Identification, Kind, Lifetime, UrlRole},
        judge::HostSource,
        proto::NeverSent,
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
        let mut makers = empty.clone();
        makers.recipient = Recipient::Maker { name: "M".into() };
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
        let page = Visited::Page { url: "https://b.test/".into(), ago: Duration::from_secs(2) };
        for visited in [Visited::No, Visited::Unknown, page] {
            let finding = fixtures::found(Kind::Url, "https://b.test/");
            full.findings.push(FindingReport { visited: Some(visited), ..finding });
        }
        for report in [&empty, &makers, &full] {
            let mut line = Vec::new();
            write("file", 3, report, &mut line);
            assert_eq!(String::from_utf8(line).unwrap(), of_values("file", 3, report));
        }
    }
}
