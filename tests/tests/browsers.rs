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
    chromium: is_read_and_not_accused(Engine::Chromium);
    firefox: is_read_and_not_accused(Engine::Firefox);
    webkit: is_read_and_not_accused(Engine::WebKit);
    qt_webengine: is_read_and_not_accused(Engine::QtWebEngine);
    an_extension_in_private_windows: is_read_and_accused(Engine::Reporting(Window::Private));
}

/// The extension reports pages as the browser of 2020 did.
#[test]
fn an_extension_in_normal_windows() {
    is_read_and_accused(Engine::Reporting(Window::Normal), Protocol::Http1);
}

fn is_read_and_not_accused(engine: Engine, protocol: Protocol) {
    if let Some(watched) = watch(engine, protocol) {
        watched.all_was_read();
        watched.pages_are_not_accused();
        watched.no_alert();
    }
}

/// The extension raises an alert for each page that it reports.
fn is_read_and_accused(engine: Engine, protocol: Protocol) {
    if let Some(watched) = watch(engine, protocol) {
        watched.all_was_read();
        watched.pages_are_not_accused();
        watched.the_reporter_is_accused(CHROMIUM);
    }
}
