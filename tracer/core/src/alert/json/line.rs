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
    has_fields: bool,
}

/// Returns a key as it follows another field: with a comma, quotes and a colon. It must not need
/// escapes.
macro_rules! key {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

impl<'o> Object<'o> {
    fn begin(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, has_fields: false }
    }

    /// Writes a [`key`].
    fn key(&mut self, key: &'static str) {
        let key = if self.has_fields { key } else { key.trim_start_matches(',') };
        self.out.extend_from_slice(key.as_bytes());
        self.has_fields = true;
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
    line.field(key!("browser"), browser);
    line.field(key!("complete"), complete);
    match derived_host {
        Some(DerivedHost { name, from }) => line.object(key!("derived_host"), |host| {
            host.field(key!("from"), from);
            host.field(key!("name"), name);
        }),
        None => line.field(key!("derived_host"), &()),
    }
    line.field(key!("extension"), extension);
    line.field(key!("extension_addon"), extension_addon);
    line.field(key!("extension_name"), extension_name);
    line.key(key!("findings"));
    line.out.push(b'[');
    for (at, finding) in findings.iter().enumerate() {
        if at > 0 {
            line.out.push(b',');
        }
        write_finding(finding, line.out);
    }
    line.out.push(b']');
    line.field(key!("findings_uncounted"), findings_uncounted);
    line.field(key!("index"), &index);
    line.field(key!("initiator"), initiator);
    line.field(key!("limited"), limited);
    line.field(key!("never_sent"), never_sent);
    line.field(key!("opaque_bytes"), opaque_bytes);
    line.field(key!("private"), private);
    line.object(key!("recipient"), |line| {
        let (category, name) = match recipient {
            Recipient::Service { name, category } => (Some(category), Some(name)),
            Recipient::Maker { name } => (None, Some(name)),
            Recipient::SameSite | Recipient::Local | Recipient::ThirdParty | Recipient::Unknown => {
                (None, None)
            }
        };
        if let Some(category) = category {
            line.field(key!("category"), category);
        }
        line.field(key!("kind"), recipient.as_str());
        if let Some(name) = name {
            line.field(key!("name"), name);
        }
    });
    line.object(key!("request"), |head| {
        head.field(key!("authority"), authority);
        head.field(key!("method"), method);
        head.field(key!("path"), path);
        head.field(key!("protocol"), protocol);
    });
    line.field(key!("sdk"), sdk);
    line.field(key!("sender"), sender);
    line.field(key!("sender_reason"), sender_reason);
    line.field(key!("shortened"), shortened);
    line.field(key!("source"), source);
    line.field(key!("unread_bytes"), unread_bytes);
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
    line.field(key!("chain"), chain);
    line.field(key!("class"), class);
    line.field(key!("confidence"), confidence);
    line.field(key!("identification"), identification);
    line.field(key!("kind"), kind);
    line.field(key!("lifetime"), lifetime);
    line.field(key!("lifetime_reason"), lifetime_reason);
    line.field(key!("reason"), reason);
    line.field(key!("role"), role);
    line.field(key!("scope"), scope);
    line.field(key!("severity"), severity);
    line.field(key!("truncated"), truncated);
    line.field(key!("value"), value);
    match visited {
        Some(visited) => line.object(key!("visited"), |line| write_visited(visited, line)),
        None => line.field(key!("visited"), &()),
    }
    line.end();
}

fn write_visited(visited: &Visited, line: &mut Object<'_>) {
    let milliseconds = |ago: &Duration| u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
    match visited {
        Visited::Page { url, ago } => {
            line.field(key!("ago_ms"), &milliseconds(ago));
            line.field(key!("kind"), "page");
            line.field(key!("url"), url);
        }
        Visited::Host { host, ago } => {
            line.field(key!("ago_ms"), &milliseconds(ago));
            line.field(key!("host"), host);
            line.field(key!("kind"), "host");
        }
        Visited::No => line.field(key!("kind"), "no"),
        Visited::Unknown => line.field(key!("kind"), "unknown"),
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
