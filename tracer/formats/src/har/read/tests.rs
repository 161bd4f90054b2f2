use flate2::{Compression, write::GzEncoder};
use serde_json::{Value as Json, json};

use super::*;
use tracer_core::{
    finding::Severity,
    knowledge::Knowledge,
    pipeline::{Output, Pipeline},
    proto::{self, HeadCut, Initiator, Protocol},
};

const VISITED: &str = "https://news.example.org/politics/story-42?q=private";

fn entry(request: Json) -> Json {
    json!({
        "startedDateTime": "2026-11-22T10:00:00.000Z",
        "time": 1.0,
        "request": request,
        "response": {"status": 200, "content": {"text": "]}\"\\".repeat(9)}},
    })
}

fn har(entries: &[Json]) -> String {
    json!({"log": {"version": "1.2", "pages": [{"id": "page_1"}], "entries": entries}}).to_string()
}

fn read(file: &[u8]) -> (Vec<Sent<Request>>, Counters, Result<(), ReadError>) {
    let mut reader = Reader::new(file);
    let mut all = Vec::new();
    let end = loop {
        match reader.request() {
            Ok(Some(sent)) => all.push(sent),
            Ok(None) => break Ok(()),
            Err(err) => break Err(err),
        }
    };
    (all, *reader.counters(), end)
}

fn whole(file: &str) -> Vec<Sent<Request>> {
    let (all, counters, end) = read(file.as_bytes());
    end.expect("a whole file");
    assert_eq!((counters.unreadable, counters.shortened), (0, 0));
    all
}

/// The one request of the request object.
fn one(request: Json) -> Request {
    let [sent] = <[_; 1]>::try_from(whole(&har(&[entry(request)]))).expect("one request");
    sent.message
}

fn chains(sent: Sent<Request>) -> Vec<(String, String)> {
    let mut outputs = Vec::new();
    Pipeline::new(&Knowledge::default()).request(sent, &mut outputs);
    let Some(Output::Request(decoded)) = outputs.pop() else { panic!() };
    decoded.findings().map(|found| (found.value.clone(), found.chain.clone())).collect()
}

fn post(headers: Json, post: Json) -> Json {
    let mut headers = headers;
    let host = json!({"name": "Host", "value": "collector.example"});
    headers.as_array_mut().expect("a list").insert(0, host);
    json!({
        "method": "POST", "url": "https://collector.example/v1", "httpVersion": "HTTP/1.1",
        "headers": headers, "queryString": [], "cookies": [], "headersSize": -1,
        "postData": post,
    })
}

#[test]
fn a_request_is_read_as_chromium_writes_it() {
    let sent = whole(&har(&[json!({
        "_initiator": {"type": "script"}, "pageref": "page_1", "connection": "443",
        "request": {
            "method": "POST", "url": "https://collector.example/v1?a=b#c", "httpVersion": "h3",
            "headers": [
                {"name": ":authority", "value": "collector.example"},
                {"name": ":method", "value": "POST"},
                {"name": ":path", "value": "/v1?a=b"},
                {"name": ":scheme", "value": "https"},
                {"name": "content-length", "value": "4"},
                {"name": "sec-fetch-site", "value": "cross-site"},
            ],
            "cookies": [{"name": "a", "value": "b"}, {"name": "c", "value": "d"}],
            "queryString": [], "headersSize": -1, "bodySize": 4,
            "postData": {"mimeType": "text/plain", "text": "body"},
        },
        "serverIPAddress": "[2001:db8::1]", "startedDateTime": "2026-11-22T10:00:00.500Z",
    })]));
    let Sent { connection, message, .. } = &sent[0];
    assert_eq!(connection.transport, Transport::Tls);
    assert_eq!(connection.remote, Some("[2001:db8::1]:443".parse().unwrap()));
    assert_eq!(message.time, BootTime(1_795_341_600_500_000_000));
    assert_eq!(message.protocol, Protocol::Http3);
    assert_eq!(message.method.as_deref(), Some("POST"));
    assert_eq!(message.authority.as_deref(), Some("collector.example"));
    assert_eq!(message.path.as_deref(), Some("/v1?a=b"));
    assert_eq!(message.header("sec-fetch-site"), Some(&b"cross-site"[..]));
    assert_eq!(message.header("cookie"), Some(&b"a=b; c=d"[..]));
    assert_eq!(message.header(":path"), None);
    assert_eq!((&message.body.data[..], message.complete), (&b"body"[..], true));
    assert_eq!(message.unread_bytes, 0);
}

#[test]
fn bodies_are_read_as_each_tool_writes_them() {
    let page = format!("{{\"url\":\"{VISITED}\"}}");
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    std::io::Write::write_all(&mut gzip, page.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let base64 = data_encoding::BASE64.encode(&gzip);
    let escaped: String = gzip
        .iter()
        .map(|&b| if b < 0x80 { format!("\\u{b:04x}") } else { format!("\\udc{b:02x}") })
        .collect();
    let characters: String = gzip.iter().map(|&b| char::from(b)).collect();
    let len = char::from(VISITED.len() as u8);
    // Field 31: its tag has a second byte.
    let protobuf = format!("\u{fa}\u{1}{len}{VISITED}");
    let json = json!([{"name": "Content-Type", "value": "application/json"}]);
    let compressed = json!([
        {"name": "Content-Encoding", "value": "gzip"},
        {"name": "Content-Length", "value": gzip.len().to_string()},
    ]);
    let surrogates = har(&[entry(post(compressed.clone(), json!({"text": "PLACE"})))]);
    let in_content = {
        let mut request = post(compressed.clone(), Json::Null);
        request["_content"] = json!({"text": base64, "encoding": "base64", "size": gzip.len()});
        request
    };
    for (file, chain) in [
        (har(&[entry(post(json, json!({"text": page})))]), "body > json.url"),
        // mitmproxy has decompressed it.
        (har(&[entry(post(compressed.clone(), json!({"text": page})))]), "body > json.url"),
        // PCAPdroid.
        (
            har(&[entry(post(compressed.clone(), json!({"text": base64, "encoding": "base64"})))]),
            "body > CE:gzip > json.url",
        ),
        // HTTP Toolkit.
        (har(&[entry(in_content)]), "body > CE:gzip > json.url"),
        // Python's surrogates.
        (surrogates.replace("PLACE", &escaped), "body > CE:gzip > json.url"),
        // Firefox's characters.
        (
            har(&[entry(post(compressed.clone(), json!({"text": characters})))]),
            "body > CE:gzip > json.url",
        ),
        // Characters of a body that mitmproxy has decompressed.
        (
            har(&[entry({
                let mut request = post(compressed.clone(), json!({"text": protobuf}));
                request["bodySize"] = json!(3 + VISITED.len());
                request
            })]),
            "body > pb#31",
        ),
        (
            har(&[entry(post(
                json!([]),
                json!({"params": [
                    {"name": "a", "value": "b c"}, {"name": "page", "value": VISITED},
                ]}),
            ))]),
            "body > form:page",
        ),
        (
            har(&[entry(post(
                json!([]),
                json!({"params": [
                    {"name": "page", "value": "https%3A%2F%2Fnews.example.org%2Fpolitics%2Fstory-42%3Fq%3Dprivate"},
                ]}),
            ))]),
            "body > form:page",
        ),
        (
            har(&[entry(post(
                json!([{"name": "content-type", "value": "multipart/form-data; boundary=x"}]),
                json!({"params": [{"name": "page", "value": VISITED}]}),
            ))]),
            "body > multipart:page",
        ),
    ] {
        let [sent] = <[_; 1]>::try_from(whole(&file)).expect("one request");
        assert!(sent.message.complete, "{file}");
        let found = chains(sent);
        assert!(found.contains(&(VISITED.into(), chain.into())), "{chain}: {found:?}");
    }
}

#[test]
fn bytes_that_a_tool_lost_are_counted() {
    let length = |len: u64| json!([{"name": "content-length", "value": len.to_string()}]);
    let gaps = |request: &Request| -> Vec<(usize, Option<u64>)> {
        request.body.gaps.iter().map(|gap| (gap.at, gap.len)).collect()
    };
    // The body is missing.
    let none = one(post(length(77), Json::Null));
    assert_eq!((gaps(&none), none.unread_bytes), (vec![(0, Some(77))], 77));
    let chunked = json!([{"name": "transfer-encoding", "value": "chunked"}]);
    let none = one(post(chunked, Json::Null));
    assert_eq!((gaps(&none), none.complete), (vec![(0, None)], false));
    // Files in a form are missing.
    let part = one(post(length(100), json!({"text": "--x\r\n"})));
    assert_eq!((gaps(&part), part.unread_bytes), (vec![(5, Some(95))], 95));
    // Bytes that are not UTF-8 were replaced.
    let replaced = one(post(length(9), json!({"text": "ab\u{fffd}\u{fffd}cd"})));
    assert_eq!(&replaced.body.data[..], b"abcd");
    assert_eq!((gaps(&replaced), replaced.unread_bytes), (vec![(2, Some(5))], 5));
    let twice = one(post(json!([]), json!({"text": "a\u{fffd}b\u{fffd}"})));
    assert_eq!(gaps(&twice), [(1, None), (2, None)]);
    // This character was sent.
    let sent = one(post(length(5), json!({"text": "ab\u{fffd}"})));
    assert!(sent.complete && sent.body.gaps.is_empty());
    // The length is known from the tool only.
    let mut request = post(json!([]), Json::Null);
    request["bodySize"] = json!(12);
    assert_eq!(one(request).unread_bytes, 12);
    // A form consists of a file only.
    let form = json!([{"name": "content-type", "value": "multipart/form-data; boundary=x"}]);
    let file = one(post(form, json!({"params": [{"name": "f", "fileName": "a.png"}]})));
    assert_eq!((file.complete, file.body.gaps.len()), (false, 1));
    let long = one(post(json!([]), json!({"text": "x".repeat((1 << 20) + 5)})));
    assert_eq!((gaps(&long), long.unread_bytes), (vec![(1 << 20, Some(5))], 5));
}

#[test]
fn complete_bodies_have_no_gaps() {
    let get = one(
        json!({"method": "GET", "url": "http://a.test/p", "bodySize": 0, "headers": [["Host", "a.test"]]}),
    );
    assert!(get.complete && get.body.data.is_empty() && get.body.gaps.is_empty());
    // A length in another character set differs.
    let other = json!([
        {"name": "content-type", "value": "text/plain; charset=utf-16"},
        {"name": "content-length", "value": "20"},
    ]);
    assert!(one(post(other, json!({"text": "ten letters"}))).complete);
    // Firefox writes header fields in front of the body.
    let request = one(post(
        json!([{"name": "content-length", "value": "3"}]),
        json!({"text": "Content-Type: text/plain\r\nContent-Length: 3\r\n\r\na=b"}),
    ));
    assert_eq!((&request.body.data[..], request.complete), (&b"a=b"[..], true));
}

#[test]
fn requests_are_returned_in_the_order_of_time() {
    let at = |time: &str, path: &str| {
        let mut entry = entry(json!({"method": "GET", "url": format!("http://a.test/{path}")}));
        entry["startedDateTime"] = json!(time);
        entry
    };
    let file = har(&[
        at("2026-11-22T10:00:02Z", "c"),
        at("2026-11-22T11:00:01+01:00", "b"),
        at("not a time", "b2"),
        at("2026-11-22T10:00:00Z", "a"),
    ]);
    let paths: Vec<_> = whole(&file).iter().map(|sent| sent.message.target().to_owned()).collect();
    assert_eq!(paths, ["/a", "/b", "/b2", "/c"]);
}

#[test]
fn the_messages_of_a_websockets_client_are_read() {
    let mut entry = entry(json!({
        "method": "GET", "url": "wss://a.test/socket", "httpVersion": "HTTP/1.1",
        "headers": [{"name": "Origin", "value": "https://a.test"}],
    }));
    entry["_webSocketMessages"] = json!([
        {"type": "receive", "time": 1_795_341_601.0, "opcode": 1, "data": "no"},
        {"type": "send", "time": 1_795_341_602.5, "opcode": 1, "data": "text"},
        {"type": "send", "time": 1_795_341_603.0, "opcode": 2, "data": "AAEC"},
    ]);
    let all = whole(&har(&[entry]));
    let summary: Vec<_> = all
        .iter()
        .map(|sent| (sent.message.protocol, sent.message.body.data.to_vec(), sent.message.time.0))
        .collect();
    assert_eq!(
        summary,
        [
            (Protocol::Http1, Vec::new(), 1_795_341_600_000_000_000),
            (Protocol::WebSocket, b"text".to_vec(), 1_795_341_602_500_000_000),
            (Protocol::WebSocket, vec![0, 1, 2], 1_795_341_603_000_000_000),
        ]
    );
    assert_eq!(all[1].message.header("origin"), Some(&b"https://a.test"[..]));
}

/// Without the fields that name a page as the initiator, the request must not
/// be attributed to the browser.
#[test]
fn provisional_fields_leave_the_initiator_unknown() {
    let sender = |extra: Json, scheme: &str| {
        let mut fields = vec![json!({"name": "User-Agent", "value": "Mozilla/5.0"})];
        fields.extend(extra.as_array().cloned().unwrap_or_default());
        let url = format!("{scheme}://tracker.example/p?u={VISITED}");
        let mut entry = entry(json!({"method": "GET", "url": url, "headers": fields}));
        entry["_initiator"] = json!({"type": "script"});
        let [sent] = <[_; 1]>::try_from(whole(&har(&[entry]))).expect("one request");
        (proto::initiator(&sent.message), sent.message.complete)
    };
    assert_eq!(sender(json!([]), "https"), (Initiator::Unknown, false));
    let page = json!([{"name": "sec-fetch-site", "value": "cross-site"}]);
    assert_eq!(sender(page, "https"), (Initiator::Page, true));
    // Over plain HTTP, browsers send none. `Host` is always sent, and added late.
    assert_eq!(sender(json!([]), "http"), (Initiator::Unknown, false));
    assert!(sender(json!([{"name": "Host", "value": "tracker.example"}]), "http").1);
}

#[test]
fn a_list_of_fields_that_is_not_whole_proves_no_absence() {
    let agent = "Mozilla/5.0 (X11) Chrome/120.0.0.0";
    let read = |headers: Json, version: &str| {
        let mut request = json!({
            "method": "GET", "url": format!("https://tracker.example/p?u={VISITED}"),
            "httpVersion": version, "headersSize": -1, "bodySize": 0, "headers": headers,
        });
        if request["headers"] == json!("missing") {
            request.as_object_mut().unwrap().remove("headers");
        }
        one(request)
    };
    for headers in [
        json!("missing"),
        json!(null),
        json!([]),
        json!({}),
        json!(7),
        json!([{}]),
        json!([{"name": "user-agent"}]),
        json!([{"name": "user-agent", "value": null}]),
        json!([{"name": "user-agent", "value": agent}, {"name": "origin", "value": {"a": 1}}]),
        json!([{"name": "user-agent", "value": agent}, {"name": "origin", "value": [[1]]}]),
        json!([{"name": "user-agent", "value": {"type": "string", "value": agent}}]),
        json!([{"name": {"a": 1}, "value": "b"}, {"name": "user-agent", "value": agent}]),
        json!([{"name": "user-agent", "value": agent}, 7]),
        json!({"user-agent": agent}),
        // Chromium's provisional fields, in a file that another tool wrote.
        json!([{"name": "user-agent", "value": agent}, {"name": "sec-ch-ua", "value": "\"x\""}]),
    ] {
        for version in ["h2", "HTTP/1.1", "", "unknown"] {
            let request = read(headers.clone(), version);
            assert_eq!(request.head_cut, Some(HeadCut::Fields), "{version} {headers}");
            assert!(!request.complete, "{version} {headers}");
            assert_eq!(proto::initiator(&request), Initiator::Unknown, "{version} {headers}");
        }
    }
    for headers in [
        json!([{"name": "Host", "value": "tracker.example"}, {"name": "x", "value": 7}]),
        json!([{"name": "host", "value": ["tracker.example"]}]),
        json!([["host", "tracker.example"], ["user-agent", agent]]),
        json!(["Host: tracker.example", "User-Agent: x"]),
        json!("GET / HTTP/1.1\r\nHost: tracker.example\r\nUser-Agent: x\r\n"),
    ] {
        let request = read(headers.clone(), "HTTP/1.1");
        assert_eq!(request.header("host"), Some(&b"tracker.example"[..]), "{headers}");
        assert!(request.complete && request.head_cut.is_none(), "{headers}");
    }
    // mitmproxy lists no `:authority`.
    assert!(read(json!([["user-agent", agent]]), "HTTP/2.0").complete);
    // What is listed decides nevertheless.
    let typed = |name: &str, value: &str| json!({"name": name, "value": {"value": value}});
    let page = json!([
        typed("sec-fetch-site", "cross-site"),
        typed("sec-fetch-mode", "cors"),
        typed("sec-fetch-dest", "empty"),
    ]);
    let page = read(page, "h2");
    assert_eq!((proto::initiator(&page), page.complete), (Initiator::Page, false));
    // The start of a long value.
    let long =
        json!([["host", "a.test"], ["referer", {"type": "longString", "initial": "https:"}]]);
    let long = read(long, "HTTP/1.1");
    assert_eq!(long.partial[0].value.known(), "https:");
    assert_eq!(long.header("referer"), None);
}

/// Reads an entry with these members, and those of its response.
fn outcome(entry_members: Json, response: Json) -> Option<NeverSent> {
    let mut entry = entry(post(json!([]), json!({"text": VISITED})));
    entry["response"] = response;
    let members = entry_members.as_object().expect("an object").clone();
    entry.as_object_mut().expect("an object").extend(members);
    let [sent] = <[_; 1]>::try_from(whole(&har(&[entry]))).expect("one request");
    sent.message.never_sent
}

#[test]
fn requests_that_were_never_sent_are_recognised_as_each_tool_writes_them() {
    let none = json!({});
    for (entry, response, reason) in [
        // Chromium.
        (&none, json!({"status": 0, "_error": "net::ERR_BLOCKED_BY_CLIENT"}), NeverSent::Blocked),
        (&none, json!({"status": 0, "_error": "net::ERR_NAME_NOT_RESOLVED"}), NeverSent::Failed),
        (&none, json!({"status": 0, "_error": "net::ERR_CERT_DATE_INVALID"}), NeverSent::Failed),
        (&json!({"_fromCache": "disk"}), json!({"status": 200}), NeverSent::Cached),
        (&json!({"_fromCache": "memory"}), json!({"status": 200}), NeverSent::Cached),
        (
            &none,
            json!({"status": 200, "_fetchedViaServiceWorker": true,
                   "_serviceWorkerResponseSource": "cache-storage"}),
            NeverSent::Local,
        ),
        (&none, json!({"status": 200, "_fetchedViaServiceWorker": true}), NeverSent::Local),
        (
            &none,
            json!({"status": 307, "statusText": "Internal Redirect",
                   "headers": [{"name": "Non-Authoritative-Reason", "value": "HSTS"}]}),
            NeverSent::Local,
        ),
        // Safari.
        (&json!({"_fetchType": "Memory Cache"}), json!({"status": 200}), NeverSent::Cached),
        (&json!({"_fetchType": "Disk Cache"}), json!({"status": 200}), NeverSent::Cached),
        (&json!({"_fetchType": "Service Worker"}), json!({"status": 200}), NeverSent::Local),
        (
            &none,
            json!({"status": 0,
                   "_error": "A server with the specified hostname could not be found."}),
            NeverSent::Failed,
        ),
        // Firefox, Playwright and Puppeteer.
        (&none, json!({"status": -1, "_failureText": "NS_ERROR_UNKNOWN_HOST"}), NeverSent::Failed),
        (&none, json!({"status": -1, "_failureText": "NS_ERROR_TRACKING_URI"}), NeverSent::Blocked),
        (
            &none,
            json!({"status": -1, "_failureText": "net::ERR_BLOCKED_BY_CLIENT.Inspector"}),
            NeverSent::Blocked,
        ),
        (&json!({"_wasAborted": true}), json!({"status": -1}), NeverSent::Blocked),
        (&json!({"_wasFulfilled": true}), json!({"status": 200}), NeverSent::Local),
        (&json!({"_wasBlocked": true}), json!({"status": 0}), NeverSent::Blocked),
        (&json!({"_blockedReason": "mixed-content"}), json!({"status": 0}), NeverSent::Blocked),
        (&json!({"_error": "net::ERR_CONNECTION_REFUSED"}), json!(null), NeverSent::Failed),
        (&json!({"_blockedReason": "inspector"}), json!({"status": 0}), NeverSent::Blocked),
        (&json!({"_blockedReason": 2000}), json!({"status": 0}), NeverSent::Blocked),
        (
            &none,
            json!({"status": 502, "statusText": "Fiddler - DNS Lookup Failed"}),
            NeverSent::Failed,
        ),
        (&none, json!({"status": 503, "_charlesStatus": "FAILED"}), NeverSent::Failed),
        (&json!({"_responseCode": 12007}), json!({"status": 0}), NeverSent::Failed),
        // Libraries of applications.
        (
            &none,
            json!({"status": 0, "_error": "Unable to resolve host: a.test"}),
            NeverSent::Failed,
        ),
        (
            &none,
            json!({"status": 0, "statusText": "javax.net.ssl.SSLHandshakeException: no path"}),
            NeverSent::Failed,
        ),
        (
            &none,
            json!({"status": -1, "statusText": "SocketException: Failed host lookup: 'a.test'"}),
            NeverSent::Failed,
        ),
        // mitmproxy and other proxies.
        (
            &none,
            json!({"status": 0, "_error": "[Errno -2] Name or service not known"}),
            NeverSent::Failed,
        ),
        (&none, json!({"status": 0, "_charlesStatus": "BLOCKED"}), NeverSent::Blocked),
        (
            &none,
            json!({"status": 0, "statusText": "getaddrinfo ENOTFOUND a.test"}),
            NeverSent::Failed,
        ),
        (
            &none,
            json!({"status": "0", "comment": "Could not resolve host: a.test"}),
            NeverSent::Failed,
        ),
        (
            &none,
            json!({"status": 0, "statusText": "Couldn't resolve host name"}),
            NeverSent::Failed,
        ),
        (
            &none,
            json!({"status": 0, "statusText": "Failed to connect to a.test port 443"}),
            NeverSent::Failed,
        ),
        (&json!({"comment": "Blocked by a rule"}), json!({"status": -1}), NeverSent::Blocked),
    ] {
        assert_eq!(outcome(entry.clone(), response.clone()), Some(reason), "{entry} {response}");
    }
}

#[test]
fn requests_that_may_have_been_sent_count_as_sent() {
    let none = json!({});
    for (entry, response) in [
        (&none, json!(null)),
        (&none, json!({})),
        // tracer and HTTP Toolkit write no more of a request without an answer.
        (&none, json!({"status": 0, "statusText": ""})),
        (&none, json!({"status": -1})),
        (&none, json!({"status": 0, "_error": null, "_transferSize": 0})),
        (&none, json!({"status": 0, "_error": ""})),
        // These occur after a request, too.
        (&none, json!({"status": 0, "_error": "net::ERR_ABORTED"})),
        (&none, json!({"status": 0, "_error": "net::ERR_FAILED"})),
        (&none, json!({"status": 0, "_error": "net::ERR_CONNECTION_RESET"})),
        (&none, json!({"status": 0, "_error": "net::ERR_EMPTY_RESPONSE"})),
        (&none, json!({"status": 0, "_error": "net::ERR_TIMED_OUT"})),
        (&none, json!({"status": 0, "_error": "net::ERR_BLOCKED_BY_RESPONSE"})),
        (&none, json!({"status": 0, "_error": "net::ERR_BLOCKED_BY_ORB"})),
        (&none, json!({"status": 0, "_error": "blocked by CORS policy"})),
        (&none, json!({"status": -1, "_failureText": "NS_BINDING_ABORTED"})),
        (&json!({"_blockedReason": "corp-not-same-origin"}), json!({"status": 0})),
        // Firefox's number for a missing `Access-Control-Allow-Origin`.
        (&json!({"_blockedReason": 1005}), json!({"status": 0})),
        // There was an answer.
        (&none, json!({"status": 503, "_charlesStatus": "COMPLETE"})),
        (&none, json!({"status": 200, "_charlesStatus": "FAILED"})),
        (&none, json!({"status": 200, "_error": "net::ERR_BLOCKED_BY_CLIENT"})),
        (&none, json!({"status": 403, "statusText": "Blocked"})),
        (&none, json!({"status": 502, "statusText": "Connection failed"})),
        (&json!({"_blockedReason": 0}), json!({"status": 0})),
        (&json!({"_wasAborted": false, "_fromCache": null}), json!({"status": 200})),
        (&json!({"_fromCache": false}), json!({"status": 200})),
        // The cache asked the server.
        (&json!({"_fromCache": "disk"}), json!({"status": 304})),
        (&json!({"_fetchType": "Network Load"}), json!({"status": 200})),
        (&none, json!({"status": 200, "_fetchedViaServiceWorker": false})),
        (
            &none,
            json!({"status": 200, "_fetchedViaServiceWorker": true,
                   "_serviceWorkerResponseSource": "network"}),
        ),
        (&none, json!({"status": 307, "headers": [{"name": "Location", "value": "/"}]})),
    ] {
        assert_eq!(outcome(entry.clone(), response.clone()), None, "{entry} {response}");
    }
}

#[test]
fn a_visited_page_in_a_request_that_was_never_sent_is_no_alert() {
    let page = json!({"method": "GET", "url": VISITED, "httpVersion": "h2", "headers": [
        ["sec-fetch-site", "none"], ["sec-fetch-mode", "navigate"], ["sec-fetch-dest", "document"],
        ["sec-fetch-user", "?1"],
    ]});
    let report = post(json!([]), json!({"text": json!({"url": VISITED}).to_string()}));
    let severity = |error: Json| {
        let mut second = entry(report.clone());
        second["startedDateTime"] = json!("2026-11-22T10:00:01.000Z");
        second["response"] = json!({"status": 0, "_error": error});
        let mut outputs = Vec::new();
        let mut pipeline = Pipeline::new(&Knowledge::default());
        for sent in whole(&har(&[entry(page.clone()), second])) {
            pipeline.request(sent, &mut outputs);
        }
        let Some(Output::Request(judged)) = outputs.pop() else { panic!() };
        judged.severity()
    };
    assert!(severity(json!(null)) >= Some(Severity::High));
    assert_eq!(severity(json!("net::ERR_BLOCKED_BY_CLIENT")), Some(Severity::Low));
}

#[test]
fn what_a_file_says_about_its_requests_is_counted() {
    let mut blocked = entry(post(json!([]), json!({"text": "x"})));
    blocked["response"] = json!({"status": 0, "_error": "net::ERR_BLOCKED_BY_CLIENT"});
    let mut untimed = entry(post(json!([]), json!({"text": "x"})));
    untimed["startedDateTime"] = json!("soon");
    let bare = entry(json!({"method": "GET", "url": "http://a.test/"}));
    let (_, counters, _) = read(har(&[blocked, untimed, bare]).as_bytes());
    assert_eq!((counters.blocked, counters.untimed, counters.headless), (1, 1, 1));
    assert_eq!(counters.explain().count(), 3);
}

#[test]
fn memory_is_bounded() {
    let fields: Vec<Json> = (0..5000).map(|i| json!({"name": "x", "value": i})).collect();
    let many = one(json!({"method": "GET", "url": "http://a.test/", "headers": fields}));
    assert_eq!((many.headers.len(), many.complete), (1024, false));
    let mut entry = entry(json!({"method": "GET", "url": "ws://a.test/", "headers": fields}));
    let message = json!({"type": "send", "opcode": 1, "data": "x"});
    entry["_webSocketMessages"] = vec![message; 5000].into();
    let file = har(&[entry]);
    let mut reader = Reader::new(file.as_bytes());
    let mut count = 0;
    while reader.request().unwrap().is_some() {
        count += 1;
        assert!(reader.queue.cost() <= 65 << 20);
    }
    assert_eq!(count, 5001);
}

#[test]
fn entries_without_an_http_request_are_counted_as_unreadable() {
    let entries = [
        entry(json!({"method": "GET", "url": "data:text/plain,x"})),
        entry(json!({"method": "GET", "url": 7})),
        entry(json!(null)),
        json!("?"),
        entry(json!({"method": "GET", "url": "http://a.test/"})),
    ];
    let (all, counters, end) = read(har(&entries).as_bytes());
    end.unwrap();
    assert_eq!((all.len(), counters.entries, counters.unreadable), (1, 5, 4));
}

#[test]
fn other_json_is_rejected() {
    for file in ["{}", "[]", "{\"log\":[]}", "{\"log\":{\"entries\":{}}}", "7"] {
        let (_, _, end) = read(file.as_bytes());
        assert!(matches!(end, Err(ReadError::WrongFormat(_))), "{file}: {end:?}");
    }
}

#[test]
fn header_fields_can_be_pairs() {
    let request = one(json!({
        "method": "GET", "url": "http://a.test/p", "headers": [["Host", "b.test"], ["X", 7], []],
    }));
    assert_eq!(request.authority.as_deref(), Some("b.test"));
    assert_eq!(request.header("x"), Some(&b"7"[..]));
}

/// A prefix of a file never contradicts the whole file.
#[test]
fn every_prefix_yields_a_part_of_the_whole() {
    let file = har(&[
        entry(json!({"method": "GET", "url": "https://news.example.org/politics?q=1"})),
        entry(post(
            json!([{"name": "Content-Type", "value": "application/json"}, {"name": "X", "value": "y"}]),
            json!({"mimeType": "x", "text": format!("{{\"url\":\"{VISITED}\"}}")}),
        )),
    ]);
    let known = whole(&file);
    let entries = file.find("],\"pages\"").expect("the entries end") + 1;
    for len in 0..file.len() {
        let (all, counters, end) = read(&file.as_bytes()[..len]);
        assert!(counters.entries >= all.len() as u64);
        // The rest of the file after the entries is not read.
        if len >= entries {
            assert!(end.is_ok());
        } else {
            assert!(matches!(end, Err(ReadError::Cut)), "{len}: {end:?}");
        }
        for (sent, known) in all.iter().zip(&known) {
            let (part, all) = (&sent.message, &known.message);
            assert!(all.target().starts_with(part.target()) || part.target() == "/", "{len}");
            assert!(all.body.data.starts_with(&part.body.data), "{len}");
            assert!(part.headers.len() <= all.headers.len());
            if part.complete {
                // The time may follow the request.
                assert_eq!(&Request { time: all.time, ..part.clone() }, all, "{len}");
            }
            if part.head_cut.is_none() {
                assert_eq!(part.headers, all.headers, "{len}");
                assert_eq!(part.authority, all.authority, "{len}");
            }
            if part.head_cut == Some(HeadCut::Fields) {
                assert!(all.headers.starts_with(&part.headers), "{len}");
            }
        }
    }
}

proptest::proptest! {
    #[test]
    fn nothing_panics(tail in "[\\[\\]{}\",:a-z0-9\\\\ ]{0,80}") {
        let _ = read(tail.as_bytes());
        let _ = read(format!("{{\"log\":{{\"entries\":[{{\"request\":{{{tail}").as_bytes());
        let _ = read(
            format!("{{\"log\":{{\"entries\":[{{\"request\":{{\"url\":\"http://a/\",{tail}").as_bytes(),
        );
    }
}
