//! Real browsers over TLS: all their requests are read, and only those that
//! disclose visits to others raise an alert.

use tracer_tests::{
    browser::{CHROMIUM, Engine, Window},
    watched::watch,
    web::Protocol,
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
