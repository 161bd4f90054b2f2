//! Findings that depend on the visits: pieces, names, templates.

use super::*;
use crate::record::BootTime;
use crate::visits::Page;

const PAGE: &str = "https://news.example.org/politics/story-42?q=private";

fn find_with_visits(request: &Request, visits: &Visits) -> Findings {
    let host = request.authority.as_deref().map(host_of_authority);
    let site = host.and_then(Site::from_host);
    let context =
        Context { initiator: initiator(request), site: site.as_ref(), visits, is_browser: false };
    DETECTOR.find_in_context(request, &context)
}

/// Returns the URLs in a body that an application sends after a visit to [`PAGE`],
/// each as `class value`.
#[track_caller]
fn urls(body: &str) -> Vec<String> {
    urls_in_request(&format!("Content-Length: {}\r\n\r\n{body}", body.len()))
}

/// Returns the URLs in a request, given its last header fields and its body.
#[track_caller]
fn urls_in_request(rest: &str) -> Vec<String> {
    let mut visits = Visits::default();
    visits.record_page(&Page::parse(PAGE).unwrap(), BootTime::default());
    let head = "POST /v1/report HTTP/1.1\r\nHost: collect.vendor.test\r\n";
    let (requests, _) = parse_http1(format!("{head}{rest}").as_bytes());
    let findings = find_with_visits(requests.first().expect("a request"), &visits);
    let urls = findings.list.into_iter().filter(|finding| finding.kind == Kind::Url);
    urls.map(|url| format!("{} {}", url.class.unwrap_or_default(), url.value)).collect()
}

#[test]
fn joins_pieces_by_name_or_by_visit() {
    let host = "host news.example.org";
    let path = " news.example.org/politics/story-42";
    let all = " news.example.org/politics/story-42?q=private";
    let body = r#"{"host":"news.example.org","path":"/politics/story-42","search":"?q=private"}"#;
    assert_eq!(urls(body), [host, path, all], "pieces are reported as they are completed");
    for (body, expected) in [
        (r#"{"hostname":"news.example.org","pathname":"/politics/story-42"}"#, path),
        (r#"{"h":"news.example.org","p":"/politics/story-42"}"#, path),
        (r#"{"p":"/politics/story-42","h":"news.example.org"}"#, path),
        ("h=news.example.org&p=%2Fpolitics%2Fstory-42", path),
        (r#"{"query":"q=private","path":"/politics/story-42","domain":"news.example.org"}"#, all),
        (r#"{"url.path":"/politics/story-42","server.address":"news.example.org"}"#, path),
    ] {
        assert_eq!(urls(body), [host, expected], "{body}");
    }
    // Pieces of different objects, and a path that was not visited.
    for body in [
        r#"[{"h":"news.example.org"},{"p":"/politics/story-42"}]"#,
        r#"{"h":"news.example.org","p":"/usr/lib/browser"}"#,
    ] {
        assert_eq!(urls(body), [host], "{body}");
    }
}

#[test]
fn finds_a_visited_address_without_scheme_in_any_field() {
    for address in
        ["news.example.org/politics/story-42?q=private", "//news.example.org/politics/story-42"]
    {
        assert_eq!(urls(&format!(r#"{{"k":"{address}"}}"#)), [format!(" {address}")]);
    }
    for other in ["news.example.org/logo.png", "other.example/politics/story-42", "a/b"] {
        assert!(urls(&format!(r#"{{"k":"{other}"}}"#)).is_empty(), "{other}");
    }
}

#[test]
fn finds_a_visited_host_in_the_name_of_a_field() {
    for name in ["news-example-org", "X-news-example-org", "x-News_Example_org"] {
        let found = urls_in_request(&format!("{name}: 1\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(found, [format!("host {}", name.trim_start_matches(['X', 'x', '-']))], "{name}");
        let found = urls(&format!(r#"{{"{name}":3}}"#));
        assert_eq!(found.len(), 1, "{name}: {found:?}");
    }
    for name in ["X-Example-Org", "news-example", "x-news", "news-example-org-id"] {
        let found = urls_in_request(&format!("{name}: 1\r\nContent-Length: 0\r\n\r\n"));
        assert!(found.is_empty(), "{name}: {found:?}");
    }
}

#[test]
fn joins_an_origin_and_a_path() {
    let origin = "https://other.example";
    for body in [
        "p=%2Fstory&h=https%3A%2F%2Fother.example&sid=x",
        "h=https%3A%2F%2Fother.example%2F&p=%2Fstory",
        r#"{"origin":"https://other.example","url":"/story"}"#,
        r#"{"site":"https://other.example","page":"/story"}"#,
    ] {
        let found = urls(body);
        assert_eq!(found.last().unwrap(), &format!(" {origin}/story"), "{body}: {found:?}");
        assert!(found[0].starts_with(&format!(" {origin}")), "{body}: {found:?}");
    }
    // Without an origin, these names are too general.
    assert!(urls(r#"{"host":"other.example","p":"/usr/lib"}"#).is_empty());
}

#[test]
fn finds_a_visited_host_among_other_things() {
    let host = ["host news.example.org"];
    for value in [
        "news.example.org.ico",
        "news.example.org@2x.png",
        "news.example.org-32x32.png",
        "favicon:news.example.org",
        "opened news.example.org twice",
        "site=news.example.org",
    ] {
        assert_eq!(urls(&format!(r#"{{"k":"{value}"}}"#)), host, "{value}");
    }
    assert_eq!(urls(r#"{"k":"news-example-org"}"#), ["host news-example-org"]);
    assert_eq!(urls(r#"{"k":"6e6577732e6578616d706c652e6f7267"}"#), host);
    let surt = "org,example,news)/politics/story-42?q=private";
    assert_eq!(urls(&format!(r#"{{"k":"{surt}"}}"#)), [format!(" {surt}")]);
    let icon = |path: &str| {
        let mut visits = Visits::default();
        visits.record_page(&Page::parse(PAGE).unwrap(), BootTime::default());
        let head = format!("GET {path} HTTP/1.1\r\nHost: icons.vendor.test\r\n\r\n");
        let (requests, _) = parse_http1(head.as_bytes());
        find_with_visits(&requests[0], &visits).list.len()
    };
    assert_eq!(icon("/ip3/news.example.org.ico"), 1);
    assert_eq!(icon("/ip3/other.example.org.ico"), 0);
    for other in [
        "reader@news.example.org",
        "other.example.org.ico",
        "renews.example.org",
        "news.example.organic",
        "news-example-organic",
        "org,example,other)/politics",
    ] {
        assert!(urls(&format!(r#"{{"k":"{other}"}}"#)).is_empty(), "{other}");
    }
}

#[test]
fn finds_a_visited_host_in_the_name_of_another() {
    let told = |host: &str| {
        let mut visits = Visits::default();
        visits.record_page(&Page::parse(PAGE).unwrap(), BootTime::default());
        let head = format!("GET /p HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let (requests, _) = parse_http1(head.as_bytes());
        let list = find_with_visits(&requests[0], &visits).list;
        list.into_iter().map(|found| format!("{} {}", found.chain, found.value)).collect::<Vec<_>>()
    };
    let base32 = data_encoding::BASE32_NOPAD.encode(PAGE.as_bytes()).to_lowercase();
    let (first, rest) = base32.split_at(50);
    assert_eq!(told("news.example.org.vendor.test"), ["host news.example.org"]);
    assert_eq!(told("a.news.example.org.vendor.test"), ["host news.example.org"]);
    assert_eq!(told("news-example-org.vendor.test"), ["host news-example-org"]);
    assert_eq!(told("news-example-org.eu.vendor.test:8443"), ["host news-example-org"]);
    assert_eq!(told(&format!("{first}.{rest}.vendor.test")), [format!("host > base32 {PAGE}")]);
    for other in ["vendor.test", "other.example.org.vendor.test", "news-example-com.vendor.test"] {
        assert_eq!(told(other), [] as [String; 0], "{other}");
    }
    assert!(told("news.example.org").is_empty(), "the page itself");
}

#[test]
fn finds_a_visited_url_under_a_long_mask() {
    // A recording may not tell the scheme.
    for page in [PAGE, &PAGE.replace("https", "http")] {
        let plain = format!(r#"{{"n":1,"words":"some of them","url":"{page}"}}"#);
        for len in [9, 16, 31, 32] {
            let key: Vec<u8> = (0..len).map(|i| (i * 53 + 129) as u8).collect();
            let mask = |text: &str| {
                let masked = text.bytes().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key);
                let masked = data_encoding::BASE64.encode(&masked.collect::<Vec<u8>>());
                format!(r#"{{"d":"{masked}"}}"#)
            };
            assert_eq!(urls(&mask(&plain)), [format!(" {page}")], "{len}");
            let other = plain.replace("story-42", "story-43").replace("news", "old");
            assert!(urls(&mask(&other)).is_empty(), "{len}");
        }
    }
}

#[test]
fn finds_a_visited_host_in_both_spellings() {
    let (unicode, ascii) = ("nachrichten-münchen.example", "xn--nachrichten-mnchen-y6b.example");
    for (visited, told) in [(unicode, ascii), (ascii, unicode)] {
        let mut visits = Visits::default();
        let page = format!("https://{visited}/42?q=private");
        visits.record_page(&Page::parse(page).unwrap(), BootTime::default());
        for value in [told.to_owned(), format!("{told}/42?q=private")] {
            let body = format!(r#"{{"k":"{value}"}}"#);
            let head = "POST / HTTP/1.1\r\nHost: collect.vendor.test\r\n";
            let len = body.len();
            let request = format!("{head}Content-Length: {len}\r\n\r\n{body}");
            let (requests, _) = parse_http1(request.as_bytes());
            let found = find_with_visits(&requests[0], &visits).list;
            assert_eq!(found.len(), 1, "{value}: {found:?}");
            assert_eq!(found[0].value, value);
        }
    }
}

#[test]
fn finds_a_visited_host_that_is_a_key() {
    let host = "host news.example.org";
    assert_eq!(urls(r#"{"visits":{"news.example.org":3,"other.example":1}}"#), [host]);
    assert_eq!(urls(r#"{"visits":{"news.example.org":["a","b"]}}"#), [host]);
    assert_eq!(urls("news.example.org=3&b=1"), [host]);
}

#[test]
fn finds_a_visited_page_in_the_user_agent() {
    let agent = |url: &str| urls_in_request(&format!("User-Agent: app/1 (+{url})\r\n\r\n"));
    assert_eq!(agent(PAGE), [format!(" {PAGE}")]);
    assert!(agent("https://app.example/bot.html").is_empty());
}

#[test]
fn classifies_search_templates() {
    for url in [
        "https://search.example/search?client=b&q=",
        "https://search.example/?q={searchTerms}",
        "https://search.example/?q=%7BsearchTerms%7D",
        "https://search.example/?wd=%s",
    ] {
        let urls = urls(&format!(r#"{{"submissionURL":"{url}"}}"#));
        assert!(
            !urls.is_empty() && urls.iter().all(|it| it.starts_with("search_template ")),
            "{urls:?}"
        );
    }
    for url in ["https://search.example/search?q=words", "https://a.example/story?id=", PAGE] {
        assert_eq!(urls(&format!(r#"{{"submissionURL":"{url}"}}"#)), [format!(" {url}")]);
    }
}

/// A truncated URL must not be reported if the complete one might not be.
#[test]
fn skips_ambiguous_ends_of_truncated_urls() {
    let cut = |rest: &str| urls_in_request(&format!("Content-Length: 999\r\n\r\n{{\"k\":\"{rest}"));
    assert!(cut("http://www.w3.org/20").is_empty(), "a vocabulary");
    assert_eq!(cut("https://a.example/x\\u00"), [" https://a.example/x"]);
    assert_eq!(cut("https://a.example/x,htt"), [" https://a.example/x"]);
    assert_eq!(cut("https://a.example/x,hats"), [" https://a.example/x,hats"]);
}

#[test]
fn finds_visits_in_multipart_names_fields_and_trailers() {
    let part = |disposition: &str, more: &str| {
        let body = format!(
            "--b\r\nContent-Disposition: form-data; {disposition}\r\n{more}\r\nx\r\n--b--\r\n"
        );
        let kind = "Content-Type: multipart/form-data; boundary=b";
        format!("{kind}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let encoded = PAGE.replace(':', "%3A").replace('/', "%2F").replace('?', "%3F");
    let base64 = data_encoding::BASE64URL_NOPAD.encode(PAGE.as_bytes());
    let file = format!("name=\"f\"; filename=\"{PAGE}\"");
    for request in [
        part(&file, ""),
        part(&format!("name=\"f\"; filename*=UTF-8''{encoded}"), ""),
        part(&format!("name=\"f\"; filename=\"{base64}\""), ""),
        part(&format!("name=\"{PAGE}\""), ""),
        part("name=\"f\"", &format!("Content-Location: {PAGE}\r\n")),
        part("name=\"f\"", &format!("X-Source: {base64}\r\n")),
        format!("Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Page: {PAGE}\r\n\r\n"),
        format!("Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Page: {base64}\r\n\r\n"),
    ] {
        let found = urls_in_request(&request);
        assert!(found.iter().any(|it| it.ends_with(PAGE)), "{request}: {found:?}");
    }
    // The same without a visit in it.
    let innocent = part("name=\"photo\"; filename=\"IMG_2026.jpg\"", "Content-ID: <1@b>\r\n");
    assert!(urls_in_request(&innocent).is_empty());
}

#[test]
fn an_address_in_the_metadata_of_an_image_is_no_report() {
    let chunk = |kind: &[u8], data: &[u8]| {
        [&(data.len() as u32).to_be_bytes()[..], kind, data, b"\x01abc"].concat()
    };
    let image = |text: &str| {
        let text = [b"Source\0", text.as_bytes()].concat();
        let chunks = [chunk(b"IHDR", &[0; 13]), chunk(b"tEXt", &text), chunk(b"IEND", b"")];
        [b"\x89PNG\r\n\x1a\n".to_vec(), chunks.concat()].concat()
    };
    for (text, expected) in [
        ("https://licence.example/by/4", "metadata https://licence.example/by/4"),
        (PAGE, &*format!("metadata {PAGE}")),
    ] {
        let body = image(text);
        let head = "POST / HTTP/1.1\r\nHost: collect.vendor.test\r\nContent-Length: ";
        let request = [format!("{head}{}\r\n\r\n", body.len()).as_bytes(), &body].concat();
        let found = find(&request);
        let urls = found.list.iter().filter(|it| it.kind == Kind::Url);
        let urls: Vec<_> =
            urls.map(|it| format!("{} {}", it.class.as_deref().unwrap_or(""), it.value)).collect();
        assert_eq!(urls, [expected]);
    }
}
