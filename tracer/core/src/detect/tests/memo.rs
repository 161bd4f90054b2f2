//! A memory of earlier requests changes no result.

use super::*;
use crate::record::BootTime;
use crate::visits::Page;

const PAGE: &str = "https://news.example.org/politics/story-42?q=private";

/// Searches a request, sent to `site`.
fn search(request: &Request, site: &str, visits: &Visits, memo: &mut Memo) -> String {
    let site = Site::from_host(site);
    let context =
        Context { initiator: initiator(request), site: site.as_ref(), visits, is_browser: false };
    format!("{:?}", DETECTOR.find_again(request, &context, memo))
}

/// A report of a page, and requests that differ from it in one part.
fn requests() -> Vec<Request> {
    let report = |path: &str, field: &str, body: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: collect.vendor.test\r\n{field}\r\n");
        let text = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        parse_http1(text.as_bytes()).0.remove(0)
    };
    let body = format!(r#"{{"page":"{PAGE}","story":"news-example-org","deviceId":"{UUID}"}}"#);
    let mut all = vec![
        report("/v1", "X-Id: 17", &body),
        report("/v1?page=2", "X-Id: 17", &body),
        report("/v1", "X-Id: 18", &body),
        report("/v1", "X-Ie: 17", &body),
        report("/v1", "X-Id: 17", &body.replace("42", "43")),
        report("/v1", "X-Id: 17", ""),
    ];
    let mut cut = all[0].clone();
    cut.complete = false;
    all.push(cut);
    all
}

#[test]
fn a_memo_changes_nothing() {
    let mut visits = Visits::default();
    let mut memo = Memo::default();
    let requests = requests();
    for page in ["", PAGE, "https://shop.example.net/", PAGE] {
        if let Some(page) = Page::parse(page) {
            visits.record_page(&page, BootTime::default());
        }
        // From the third time on, they are remembered.
        for site in ["collect.vendor.test", "news.example.org"].repeat(4) {
            for (at, request) in requests.iter().enumerate() {
                let alone = search(request, site, &visits, &mut Memo::default());
                assert_eq!(search(request, site, &visits, &mut memo), alone, "{at} {page} {site}");
            }
        }
    }
}

#[test]
fn a_request_that_repeats_is_remembered() {
    let visits = Visits::default();
    let mut memo = Memo::default();
    let requests = requests();
    let is_known = |memo: &Memo, request: &Request| {
        let site = Site::from_host("vendor.test");
        let site = site.as_ref();
        let context =
            Context { initiator: initiator(request), site, visits: &visits, is_browser: false };
        let key = memo.requests.key(request).expect("a small request");
        memo.requests.get(key, request, &context).is_some()
    };
    for times in 1..4 {
        search(&requests[0], "vendor.test", &visits, &mut memo);
        assert_eq!(is_known(&memo, &requests[0]), times > 1, "{times}");
    }
    assert!(!requests[1..].iter().any(|other| is_known(&memo, other)));
    let later = Request { time: BootTime(7), ..requests[0].clone() };
    assert!(is_known(&memo, &later), "the time makes no difference");
}

#[test]
fn a_memo_is_bounded() {
    let visits = Visits::default();
    let mut memo = Memo::default();
    for n in 0..150 {
        let body = format!("{n}&https://a{n}.example/{}", "x".repeat(n % 7 * 3000));
        let head = format!("POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}", body.len());
        let request = parse_http1(format!("{head}\r\n\r\n{body}").as_bytes()).0.remove(0);
        for _ in 0..3 {
            search(&request, "a.test", &visits, &mut memo);
        }
    }
    assert!(memo.requests.is_bounded());
}
