//! What tests of sinks and of the store are made of.

use std::time::Duration;

use bytes::Bytes;

use super::{Alert, Content, Ends, Found, Head, LineType, Sending, Sure};
use crate::{
    application::Application,
    detect::Findings,
    finding::{Confidence, Finding, Kind, Level, Recipient, Scope, Severity, Verdict, Visited},
    judge::Disclosure,
    pipeline::Decoded,
    proto::{Body, Initiator, Protocol, Request},
    record::{BootTime, Connection, Hook, Process, Transport},
    stream::Sent,
};

const VISITED: &str = "https://news.example.org/story?q=private";
const CHAIN: &str = "body > json.url";
const REASON: &str = "the browser told another site about a URL";
/// 2026-11-22T10:00:00Z.
pub const TIME: u64 = 1_795_341_600_000_000_000;

fn finding() -> Finding {
    Finding {
        kind: Kind::Url,
        class: None,
        value: VISITED.into(),
        chain: CHAIN.into(),
        truncated: false,
        lifetime: None,
    }
}

/// A request that tells `collector.example` about a visited URL.
pub fn decoded() -> Decoded {
    let verdict = || Verdict { severity: Severity::High, reason: REASON.to_owned() };
    let visited = Visited::Page { url: VISITED.into(), ago: Duration::from_secs(2) };
    let body = format!(r#"{{"url":"{VISITED}"}}"#);
    let request = Request {
        time: BootTime(0),
        protocol: Protocol::Http1,
        method: Some("POST".into()),
        authority: Some("collector.example".into()),
        path: Some("/v1?id=private".into()),
        headers: Vec::new(),
        partial: Vec::new(),
        head_cut: None,
        body: Body { data: Bytes::from(body), ..Body::default() },
        complete: true,
        unread_bytes: 0,
        update: false,
    };
    let connection = Connection { key: 1, transport: Transport::Tcp, local: None, remote: None };
    let process = Process { uid: 7, tgid: 8, tid: 9, comm: "net".into() };
    let exe = "/opt/browser";
    Decoded {
        sent: Sent { connection, hook: Hook::SysEnter, process, message: request },
        number: 0,
        exe: Some(exe.into()),
        unix: Some(TIME),
        application: Application::new(7, Some(exe), "net"),
        browser: None,
        private: None,
        initiator: Initiator::Browser,
        sender: Initiator::Browser,
        recipient: Recipient::ThirdParty,
        findings: Findings { list: vec![finding()], ..Findings::default() },
        disclosures: vec![Disclosure {
            finding: finding(),
            scope: Some(Scope::Full),
            visited: Some(visited),
            identification: None,
            confidence: Confidence { level: Level::High, reason: "it stands there" },
            verdict: verdict(),
        }],
        verdict: Some(verdict()),
        alert: Some(1),
        repeats: None,
    }
}

/// A finding that is as bad as [`alert`].
pub fn found(kind: Kind, value: &str) -> Found {
    Found {
        kind,
        class: None,
        value: value.into(),
        chain: CHAIN.into(),
        truncated: false,
        scope: None,
        visited: None,
        identification: None,
        confidence: Some(Sure { level: Level::High, reason: "it stands there".into() }),
        severity: Some(Severity::High),
        reason: Some(REASON.into()),
    }
}

/// The alert of [`decoded`], without a number.
pub fn alert() -> Alert {
    let visited = Visited::Page { url: VISITED.into(), ago: Duration::from_secs(2) };
    let url =
        Found { scope: Some(Scope::Full), visited: Some(visited), ..found(Kind::Url, VISITED) };
    Alert {
        schema: super::ALERT_SCHEMA,
        line: LineType::Alert,
        alert: None,
        time: Some("2026-11-22T10:00:00.000Z".into()),
        severity: Some(Severity::High),
        reason: Some(REASON.into()),
        application: "browser".into(),
        process: Sending {
            uid: 7,
            pid: 8,
            tid: 9,
            comm: "net".into(),
            exe: Some("/opt/browser".into()),
        },
        hook: Hook::SysEnter,
        connection: Ends { transport: Transport::Tcp, local: None, remote: None },
        content: Content {
            browser: None,
            private: None,
            sender: Initiator::Browser,
            recipient: Recipient::ThirdParty,
            sdk: None,
            request: Head {
                protocol: Protocol::Http1,
                method: Some("POST".into()),
                authority: Some("collector.example".into()),
                path: Some("/v1?id=private".into()),
            },
            initiator: Initiator::Browser,
            complete: true,
            unread_bytes: 0,
            opaque_bytes: 0,
            findings: vec![url],
            findings_uncounted: 0,
        },
    }
}
