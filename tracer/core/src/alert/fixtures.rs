//! Requests and alerts for the tests of sinks and of the store.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use super::{
    Alert, Endpoints, FindingReport, LineType, RequestHead, RequestReport, SendingProcess,
};
use crate::{
    address::{Address, Site},
    application::Application,
    content::Report,
    finding::{Confidence, Finding, Kind, Level, Recipient, Scope, Severity, Verdict, Visited},
    judge::{AlertStatus, Attribution, Disclosure, JudgedRequest},
    proto::{Body, Initiator, Protocol, Request},
    record::{BootTime, Connection, Hook, Process, Transport},
    stream::Sent,
};

const VISITED: &str = "https://news.example.org/story?q=private";
const CHAIN: &str = "body > json.url";
const SENDER_REASON: &str = "Fetch Metadata say that no page is involved";
const REASON: &str = "the browser told another site about a URL";
/// 2026-11-22T10:00:00Z.
pub const TIME: u64 = 1_795_341_600_000_000_000;

fn confidence() -> Confidence {
    Confidence { level: Level::High, reason: "it stands there".into() }
}

fn finding() -> Finding {
    Finding {
        kind: Kind::Url,
        class: None,
        value: VISITED.into(),
        chain: CHAIN.into(),
        truncated: false,
        lifetime: None,
        role: None,
        lifetime_reason: None,
    }
}

/// Returns a request that sends a visited URL to `collector.example`.
pub fn judged() -> JudgedRequest {
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
        never_sent: None,
    };
    let connection = Connection { key: 1, transport: Transport::Tcp, local: None, remote: None };
    let process = Process { uid: 7, tgid: 8, tid: 9, comm: "net".into() };
    let disclosure = Disclosure {
        finding: finding(),
        address: Address::parse(VISITED),
        scope: Some(Scope::Full),
        visited: Some(visited),
        identification: None,
        confidence: confidence(),
        verdict: Verdict { severity: Severity::High, reason: REASON.to_owned() },
    };
    JudgedRequest {
        sent: Sent { connection, hook: Hook::SysEnter, process, message: request },
        number: 0,
        unix: Some(TIME),
        application: Arc::new(Application::new(7, Some("/opt/browser"), "net")),
        browser: None,
        private: None,
        derived_host: None,
        initiator: Initiator::Browser,
        attribution: Attribution {
            sender: Initiator::Browser,
            reason: SENDER_REASON,
            may_be_page: false,
        },
        recipient: Recipient::ThirdParty,
        site: Site::from_host("collector.example"),
        sdk: None,
        reports: true,
        disclosures: vec![disclosure],
        findings_uncounted: 0,
        candidates: Vec::new(),
        report: Report::default(),
        alert: AlertStatus::New(1),
    }
}

/// Returns a finding that is as severe as [`alert`].
pub fn found(kind: Kind, value: &str) -> FindingReport {
    FindingReport {
        kind,
        class: None,
        value: value.into(),
        chain: CHAIN.into(),
        truncated: false,
        role: None,
        scope: None,
        visited: None,
        identification: None,
        lifetime: None,
        lifetime_reason: None,
        confidence: confidence(),
        severity: Severity::High,
        reason: REASON.into(),
    }
}

/// Returns the alert of [`judged`], without a number.
pub fn alert() -> Alert {
    let visited = Visited::Page { url: VISITED.into(), ago: Duration::from_secs(2) };
    let url = FindingReport {
        scope: Some(Scope::Full),
        visited: Some(visited),
        ..found(Kind::Url, VISITED)
    };
    Alert {
        schema: super::json::ALERT_SCHEMA,
        line: LineType::Alert,
        alert: None,
        time: Some("2026-11-22T10:00:00.000Z".into()),
        severity: Some(Severity::High),
        reason: Some(REASON.into()),
        application: "browser".into(),
        process: SendingProcess {
            uid: 7,
            pid: 8,
            tid: 9,
            comm: "net".into(),
            exe: Some("/opt/browser".into()),
        },
        hook: Hook::SysEnter,
        connection: Endpoints { transport: Transport::Tcp, local: None, remote: None },
        content: RequestReport {
            browser: None,
            private: None,
            sender: Initiator::Browser,
            sender_reason: SENDER_REASON.into(),
            extension: None,
            extension_name: None,
            extension_addon: None,
            recipient: Recipient::ThirdParty,
            sdk: None,
            request: RequestHead {
                protocol: Protocol::Http1,
                method: Some("POST".into()),
                authority: Some("collector.example".into()),
                path: Some("/v1?id=private".into()),
            },
            derived_host: None,
            initiator: Initiator::Browser,
            complete: true,
            unread_bytes: 0,
            never_sent: None,
            opaque_bytes: 0,
            findings: vec![url],
            findings_uncounted: 0,
            shortened: false,
            limited: false,
        },
    }
}
