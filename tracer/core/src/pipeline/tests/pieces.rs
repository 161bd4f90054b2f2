//! URLs in pieces over several requests, and in the names that are looked up.

use super::*;
use crate::finding::{Severity, Visited};

const VISIT: &str = "GET /politics/story-42?q=private HTTP/1.1\r\nHost: news.example.org\r\n\
    Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n\
    Sec-Fetch-User: ?1\r\n\r\n";

fn report(fields: &str) -> String {
    format!(
        "GET /c?{fields} HTTP/1.1\r\nHost: collector.example\r\nSec-Fetch-Site: none\r\n\
         Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: empty\r\n\r\n"
    )
}

/// The bytes of a DNS query.
fn query(name: &str) -> Vec<u8> {
    let mut query = vec![0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(label.len() as u8);
        query.extend_from_slice(label.as_bytes());
    }
    [query, vec![0, 0, 1, 0, 1]].concat()
}

fn lookup(name: &str) -> Event {
    let mut socket = Socket::new(7, Transport::Udp, "9.9.9.9:53");
    socket.whole(&query(name))
}

fn visit() -> Event {
    Socket::tls(1).whole(VISIT.as_bytes())
}

/// The most severe finding of each request: severity, chain and value.
fn severest(run: &Run) -> Vec<(Severity, String, String)> {
    let most = run.requests.iter().filter_map(|request| {
        let most = request.disclosures.iter().max_by_key(|it| it.severity())?;
        Some((most.severity(), most.finding.chain.clone(), most.finding.value.clone()))
    });
    most.collect()
}

#[test]
fn an_origin_and_a_path_in_two_requests_are_a_page() {
    let requests = [
        report("a=https%3A%2F%2Fnews.example.org"),
        report("n=1"),
        report("b=%2Fpolitics%2Fstory-42"),
    ];
    let mut events = vec![visit()];
    events.extend(requests.iter().map(|it| Socket::tls(2).whole(it.as_bytes())));
    let run = run(events);
    let found = severest(&run);
    assert!(
        found.contains(&(
            Severity::High,
            "query:a + query:b".into(),
            "https://news.example.org/politics/story-42".into()
        )),
        "{found:?}"
    );
    // A path alone, or with the host of another page.
    for other in [report("n=1"), report("a=https%3A%2F%2Fother.example.org")] {
        let events = [other, report("b=%2Fpolitics%2Fstory-42")];
        let events = events.iter().map(|it| Socket::tls(2).whole(it.as_bytes()));
        let found = severest(&super::run([visit()].into_iter().chain(events).collect()));
        assert!(found.iter().all(|it| it.0 < Severity::Medium), "{found:?}");
    }
}

#[test]
fn an_encoded_page_in_lookups_is_found() {
    let text = data_encoding::BASE32_NOPAD.encode(b"https://news.example.org/politics/story-42");
    let text = text.to_lowercase();
    let (one, two) = text.split_at(40);
    let events = vec![
        visit(),
        lookup(&format!("0.{one}.s7.collector.example")),
        lookup(&format!("1.{two}.s7.collector.example")),
    ];
    let run = run(events);
    let last = run.requests.last().expect("a lookup");
    assert_eq!(last.sent.message.protocol, Protocol::Dns);
    let disclosure = &last.disclosures[0];
    assert_eq!(disclosure.finding.chain, "host > base32");
    assert!(matches!(disclosure.visited, Some(Visited::Page { .. })), "{disclosure:?}");
    assert_eq!(disclosure.severity(), Severity::High);
}

#[test]
fn lookups_that_disclose_nothing_are_no_requests() {
    let names =
        ["news.example.org", "cdn.news.example.org", "www.other.example", "a7f3.cdn.example"];
    let run = run([visit()].into_iter().chain(names.map(lookup)).collect());
    assert_eq!(run.requests.len(), 1, "{:?}", severest(&run));
}

#[test]
fn a_visited_host_in_a_lookup_may_be_a_pages() {
    let run = run(vec![visit(), lookup("news-example-org.cdn.example")]);
    let found = severest(&run);
    assert_eq!(found.last().map(|it| it.0), Some(Severity::Low), "{found:?}");
}

#[test]
fn lookups_over_https_are_searched() {
    let host = data_encoding::BASE32_NOPAD.encode(b"news.example.org").to_lowercase();
    let message = query(&format!("{host}.collector.example"));
    let mut post = format!(
        "POST /dns-query HTTP/1.1\r\nHost: dns.example\r\nContent-Type: application/dns-message\r\n\
         Content-Length: {}\r\n\r\n",
        message.len()
    )
    .into_bytes();
    post.extend(&message);
    let get = format!(
        "GET /dns-query?dns={} HTTP/1.1\r\nHost: dns.example\r\nAccept: application/dns-message\r\n\r\n",
        data_encoding::BASE64URL_NOPAD.encode(&message)
    );
    for request in [post, get.into_bytes()] {
        let run = run(vec![visit(), Socket::tls(2).whole(&request)]);
        let last = run.requests.last().expect("a lookup");
        assert_eq!(last.sent.message.protocol, Protocol::Dns, "{:?}", severest(&run));
        assert_eq!(
            last.sent.message.authority.as_deref(),
            Some(&*format!("{host}.collector.example"))
        );
    }
}
