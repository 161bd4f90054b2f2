//! The browsers over HTTP/2, as `browsers` has them over HTTP/1.1.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tracer_tests::{
    browser::{Window, chromium, firefox},
    skip,
    watched::watch,
    web::{Protocol, Reader, Web},
};

/// Where Debian keeps it; the `chromium` on the path is a script.
const CHROMIUM: &str = "/usr/lib/chromium/chromium";

/// One browser at a time: there is one machine, and they are watched by name.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn chromium_is_read_and_not_accused() {
    let _alone = alone();
    if !skip::root() {
        return;
    }
    let start = |web: &Web| chromium(web, Window::Normal, false);
    if let Some(watched) = watch("chromium", Protocol::Http2, Reader::Hasty, start) {
        watched.all_was_read();
        watched.no_alert();
    }
}

#[test]
fn firefox_is_read_and_not_accused() {
    let _alone = alone();
    if !skip::root() {
        return;
    }
    if let Some(watched) = watch("firefox-esr", Protocol::Http2, Reader::Hasty, firefox) {
        watched.all_was_read();
        watched.no_alert();
    }
}

#[test]
fn an_extension_that_reports_every_page_is_accused_of_each() {
    let _alone = alone();
    if !skip::root() {
        return;
    }
    let start = |web: &Web| chromium(web, Window::Private, true);
    if let Some(watched) = watch("chromium", Protocol::Http2, Reader::Reported, start) {
        watched.all_was_read();
        watched.the_reporter_is_accused(CHROMIUM);
    }
}
