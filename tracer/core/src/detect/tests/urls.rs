//! URLs in requests: how often each is found, and where it ends.

use super::*;
use crate::visits::Page;

/// Returns the URLs that a request with this target discloses, with their chains.
fn urls_in_target(target: &str) -> Vec<(String, String)> {
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: panel.test\r\nUser-Agent: test/1\r\n\r\n");
    let list = find(request.as_bytes()).list.into_iter();
    list.filter(|it| it.kind == Kind::Url).map(|it| (it.value, it.chain)).collect()
}

fn values(target: &str) -> Vec<String> {
    urls_in_target(target).into_iter().map(|(value, _)| value).collect()
}

#[test]
fn finds_a_url_behind_the_marks_of_the_sender() {
    for target in [
        "/x?718285467__!__http://www.news.example__!__&s=x",
        "/x?rfl=4%2Chttp%253A%252F%252Fwww.news.example%242",
        "/x?r=http%3A%2F%2Fwww.news.example%262",
        "/x?r=http%3A%2F%2Fwww.news.example*2",
        "/x?r=http%3A%2F%2Fwww.news.example~2",
        "/x?r=http%3A%2F%2Fwww.news.example%21x",
        "/x?r=http%3A%2F%2Fwww.news.example%3D1",
        "/x?r=a%7Chttp%3A%2F%2Fwww.news.example%7Cb",
        "/x?r=%5Ehttp%3A%2F%2Fwww.news.example%5E1",
        "/x?r=%22http%3A%2F%2Fwww.news.example%22",
        "/x?r=%27http%3A%2F%2Fwww.news.example%27",
    ] {
        assert_eq!(values(target), ["http://www.news.example"], "{target}");
    }
}

#[test]
fn an_address_at_the_end_of_a_path_has_the_query() {
    let url = "https://news.example/politics/story-42?q=private";
    assert_eq!(values(&format!("/favicon/{url}")), [url]);
    assert_eq!(values("/favicon/https://news.example/x"), ["https://news.example/x"]);
    assert_eq!(values(&format!("http://panel.test/f/{url}")), [url]);
}

#[test]
fn a_decoded_space_does_not_repeat_a_url() {
    let encoded = "https://a.test/x?q=two%20words&r=1";
    for levels in 1..4 {
        let mut value = encoded.to_owned();
        for _ in 0..levels {
            value = value.replace('%', "%25").replace(':', "%3A").replace('/', "%2F");
        }
        let value = value.replace('?', "%3F").replace('&', "%26").replace('=', "%3D");
        let found = values(&format!("/x?u={value}"));
        assert_eq!(found, [encoded], "{levels} levels: {value}");
    }
    // A quotation mark ends a decoded URL, and another URL inside it is found.
    let found =
        values("/x?u=https://r.test/?q=%2522a%2522%26u=https%253A%252F%252Fa.test%252F%2520b");
    assert_eq!(
        found,
        ["https://r.test/?q=%22a%22&u=https%3A%2F%2Fa.test%2F%20b", "https://a.test/"]
    );
}

#[test]
fn a_visited_page_shows_that_a_space_belongs_to_the_url() {
    let mut visits = Visits::default();
    visits.record_page(&Page::parse("https://a.test/x?q=two%20words").unwrap(), Default::default());
    let find = |text: &str| {
        let request = format!(
            "POST /r HTTP/1.1\r\nHost: c.test\r\nContent-Length: {}\r\n\r\n{text}",
            text.len()
        );
        let (requests, _) = parse_http1(request.as_bytes());
        let site = Site::from_host("c.test");
        let request = requests.first().expect("a request");
        let context = Context {
            initiator: initiator(request),
            site: site.as_ref(),
            visits: &visits,
            is_browser: false,
        };
        let list = DETECTOR.find_in_context(request, &context).list.into_iter();
        list.map(|it| it.value).collect::<Vec<_>>()
    };
    assert_eq!(find(r#"{"u":"https://a.test/x?q=two words"}"#), ["https://a.test/x?q=two words"]);
    assert_eq!(find(r#"{"u":"https://a.test/x?q=two"}"#), ["https://a.test/x?q=two"]);
    assert_eq!(find(r#"{"u":"https://a.test/y and more"}"#), ["https://a.test/y"]);
    let page = "https://a.test/x?q=two%20words";
    for text in ["URL,3", "URL;3;view", "URL~1", "URL:x", "URL'", "URL,3\nURL,4"] {
        let found = find(&text.replace("URL", page));
        assert!(found.iter().all(|url| url == page) && !found.is_empty(), "{text}: {found:?}");
    }
    assert_eq!(find("https://a.test/y,3"), ["https://a.test/y,3"]);
}
