//! Real browsers over TLS: all their requests are read, and only those that
//! disclose visits to others raise an alert.

use serde_json::Value;
use tracer_tests::{
    browser::{CHROMIUM, Engine, Window},
    leaker::{self, Channel, Leaker},
    watched::{Observed, observe, watch},
    web::{ADS, COLLECTOR, NEWS, Protocol, Reader, Web},
};

/// Runs each test over both protocols.
macro_rules! over_both {
    ($($test:ident: $check:ident($engine:expr);)*) => {
        mod http1 {
            use super::*;
            $(#[test] fn $test() { $check($engine, Protocol::Http1); })*
        }
        mod http2 {
            use super::*;
            $(#[test] fn $test() { $check($engine, Protocol::Http2); })*
        }
    };
}

over_both! {
    chromium: assert_no_alerts(Engine::Chromium);
    firefox: assert_no_alerts(Engine::Firefox);
    webkit: assert_no_alerts(Engine::WebKit);
    qt_webengine: assert_no_alerts(Engine::QtWebEngine);
    reporting_extension_in_private_windows: assert_reporter_alerts(Engine::Reporting(Window::Private));
}

/// The extension reports pages as the browser of 2020 did.
#[test]
fn reporting_extension_in_normal_windows() {
    assert_reporter_alerts(Engine::Reporting(Window::Normal), Protocol::Http1);
}

/// Browsers with BoringSSL and NSS, over QUIC.
mod http3 {
    use super::*;

    #[test]
    fn chromium() {
        assert_all_read(Engine::Chromium);
    }

    #[test]
    fn firefox() {
        assert_all_read(Engine::Firefox);
    }

    /// Handshakes, acknowledgements and padding count as read too.
    fn assert_all_read(engine: Engine) {
        if let Some(watched) = watch(engine, Protocol::Http3) {
            watched.assert_all_decoded();
            watched.assert_page_reports_are_info();
            watched.assert_no_alerts();
            watched.assert_all_read();
        }
    }

    #[test]
    fn qt_webengine() {
        assert_no_alerts(Engine::QtWebEngine, Protocol::Http3);
    }

    #[test]
    fn reporting_extension_in_normal_windows() {
        assert_reporter_alerts(Engine::Reporting(Window::Normal), Protocol::Http3);
    }

    #[test]
    fn reporting_extension_in_private_windows() {
        assert_reporter_alerts(Engine::Reporting(Window::Private), Protocol::Http3);
    }
}

fn assert_no_alerts(engine: Engine, protocol: Protocol) {
    if let Some(watched) = watch(engine, protocol) {
        watched.assert_all_decoded();
        watched.assert_page_reports_are_info();
        watched.assert_no_alerts();
    }
}

/// The extension raises an alert for each page that it reports.
fn assert_reporter_alerts(engine: Engine, protocol: Protocol) {
    if let Some(watched) = watch(engine, protocol) {
        watched.assert_all_decoded();
        watched.assert_page_reports_are_info();
        watched.assert_reporter_alerts(CHROMIUM);
    }
}

/// The kinds of requests that an extension can send.
const KINDS: [&str; 7] = ["get", "post", "beacon", "image", "xhr", "frame", "websocket"];

#[test]
fn extensions_of_chromium_are_named() {
    // A frame, and whatever a content script sends, bears the marks of the page.
    let named = [
        ("worker", &["get", "post", "websocket"][..]),
        ("document", &["get", "post", "beacon", "image", "xhr", "websocket"]),
    ];
    assert_extensions_are_named(Engine::Chromium, &["worker", "document", "content"], &named);
}

#[test]
fn extensions_of_firefox_are_named() {
    // Elements, beacons and WebSockets of a content script bear the marks of the page.
    let named = [("document", &KINDS[..]), ("content", &["get", "post", "xhr"])];
    assert_extensions_are_named(Engine::Firefox, &["document", "content"], &named);
}

/// Lets an extension report a page over every channel of these parts of it. Those in `named` are
/// reported as an extension's, and no other as the browser's.
fn assert_extensions_are_named(engine: Engine, parts: &[&'static str], named: &[(&str, &[&str])]) {
    let Some(mut web) = Web::start(Protocol::Http1, Reader::Hasty) else {
        return;
    };
    let possible =
        |part: &str, kind: &str| part != "worker" || ["get", "post", "websocket"].contains(&kind);
    let channels: Vec<Channel> = parts
        .iter()
        .flat_map(|part| KINDS.map(|kind| (*part, kind)))
        .filter(|(part, kind)| possible(part, kind))
        // What a page embeds is the page's. A content script's frame would make its recipient that.
        .map(|(part, kind)| (part, kind, if part == "content" { ADS } else { COLLECTOR }))
        .map(|(part, kind, host)| Channel::plain(part, kind, host))
        .collect();
    let leaker = Leaker::new(&channels, web.port());
    let extension = match engine {
        Engine::Firefox => leaker.packed(),
        _ => leaker.unpacked(),
    };
    // The last story stays open.
    let page = web.url(NEWS, "/story-3?q=private");
    let authority = |channel: &Channel| web.authority(&channel.host);
    let wanted: Vec<String> = channels
        .iter()
        .map(|channel| format!("{} /{}", authority(channel), channel.name))
        .collect();
    let authorities: Vec<String> = channels.iter().map(authority).collect();
    let Some(Observed { alerts, decoded }) =
        observe(engine, &mut web, Some(&extension), &page, &wanted)
    else {
        return;
    };

    let of = |line: &Value, channel: &Channel| {
        let path = line["request"]["path"].as_str().unwrap_or_default();
        path.split('?').next() == Some(&format!("/{}", channel.name))
    };
    let tells = |line: &Value| {
        let findings = line["findings"].as_array().expect("findings");
        findings.iter().any(|one| one["kind"] == "url" && one["value"] == *page)
    };
    for channel in &channels {
        let is_named = named
            .iter()
            .any(|(part, kinds)| *part == channel.from && kinds.contains(&&*channel.by));
        let reports: Vec<&Value> =
            decoded.iter().filter(|line| of(line, channel) && tells(line)).collect();
        assert!(!reports.is_empty(), "{} is not read: {decoded:#?}", channel.name);
        let sender = if is_named { "extension" } else { "page" };
        for report in reports {
            assert_eq!(report["sender"], sender, "{}: {report:#}", channel.name);
        }
        let alert = alerts.iter().find(|alert| of(alert, channel) && tells(alert));
        assert_eq!(alert.is_some(), is_named, "{}: {alerts:#?}", channel.name);
        if let Some(alert) = alert {
            assert_eq!(alert["sender"], "extension", "{alert:#}");
        }
    }
    let to_them = |line: &&Value| {
        let authority = line["request"]["authority"].as_str().unwrap_or_default();
        authorities.iter().any(|known| known == authority)
    };
    for line in decoded.iter().filter(to_them) {
        assert_ne!(line["sender"], "browser", "{line:#}");
    }
    // The name comes from the profile.
    let mut identified = alerts.iter().filter(|alert| !alert["extension"].is_null()).peekable();
    assert!(identified.peek().is_some(), "{alerts:#?}");
    for alert in identified {
        assert_eq!(alert["extension_name"], leaker::NAME, "{alert:#}");
        let addon = (engine == Engine::Firefox).then_some(leaker::FIREFOX_ID);
        assert_eq!(alert["extension_addon"].as_str(), addon, "{alert:#}");
    }
}

#[test]
fn innocent_pages_raise_no_alert_in_chromium() {
    assert_innocent(Engine::Chromium);
}

#[test]
fn innocent_pages_raise_no_alert_in_firefox() {
    assert_innocent(Engine::Firefox);
}

/// Visits pages with frames of advertisers, redirects, preloads and reports of their own, with and
/// without TLS, and with and without Referer.
fn assert_innocent(engine: Engine) {
    let Some(mut web) = Web::start(Protocol::Http1, Reader::Hasty) else {
        return;
    };
    let ports = format!("{}-{}", web.port(), web.plain_port());
    let page = web.url(NEWS, &format!("/innocent.html?n=1&ports={ports}"));
    let Some(Observed { alerts, decoded }) =
        observe(engine, &mut web, None, &page, &["/read?last".to_owned()])
    else {
        return;
    };
    assert!(decoded.len() > 100, "only {} requests were read", decoded.len());
    assert!(alerts.is_empty(), "{alerts:#?}");
}
