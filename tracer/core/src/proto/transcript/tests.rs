use proptest::prelude::*;

use super::*;
use crate::proto::{Protocol, decoder::tests::corpus};

const GET: &str = "GET /a HTTP/1.1\r\nHost: a.test\r\n\r\n";
const POST: &str = "POST /report HTTP/1.1\r\nHost: b.test\r\nContent-Length: 4\r\n\r\nbody";
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\n<p>GET /x HTTP/1.1</p>";

/// Returns method, path and body of the requests.
fn read(text: &str) -> Vec<(String, String, String)> {
    let request = |request: Request| {
        let body = String::from_utf8_lossy(&request.body.data).into_owned();
        (request.method.unwrap_or_default(), request.path.unwrap_or_default(), body)
    };
    parse_transcript(text.as_bytes()).requests.into_iter().map(request).collect()
}

fn paths(text: &str) -> Vec<String> {
    read(text).into_iter().map(|(_, path, _)| path).collect()
}

#[test]
fn requests_are_found_wherever_they_stand() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nGET \r\n0\r\n\r\n";
    let empty = "HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n";
    let http2 = "HTTP/2 200\r\nContent-Type: text/html\r\n\r\n<html></html>";
    for text in [
        format!("{GET}{POST}"),
        format!("{GET}{OK}{POST}{empty}"),
        format!("{GET}{chunked}{POST}"),
        format!("{GET}{empty}{POST}"),
        format!("{OK}{GET}{empty}{POST}"),
        format!("\u{feff}{GET}{POST}"),
        format!("\r\n\r\n{GET}\r\n\r\n\r\n{POST}\r\n"),
        // Separators, as proxies write them.
        format!(
            "{GET}\r\n------------------------------------------------------------------\r\n{OK}\r\n---------\r\n{POST}"
        ),
        format!("==== 1 ==========\r\n{GET}{OK}\r\n==== 2 ==========\r\n{POST}{empty}"),
        format!(
            "======================================================\r\n\
             10:00:00  https://a.test:443  [192.0.2.1]\r\n\
             ======================================================\r\n{GET}\r\n\
             ======================================================\r\n{http2}\r\n\
             ======================================================\r\n\r\n\r\n{POST}"
        ),
        format!("### first\r\n{GET}### second\r\n{POST}\r\n###\r\n"),
        // A response without a length ends at the separator.
        format!("{GET}{http2}\r\n\r\n{POST}"),
        // Other bytes.
        format!("some notes\r\n{GET}and more\r\n{POST}the end"),
        format!("\u{1}\u{2}\u{3}{GET}\u{0}\u{0}{POST}"),
        format!("# request\n{}\n# another\n{}", GET.replace('\r', ""), POST.replace('\r', "")),
        // Lines that end in LF.
        format!("{GET}{OK}{POST}").replace('\r', ""),
        // A body that the tool left out.
        format!("{GET}HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n\r\n{POST}"),
        // A body that the tool decompressed: longer and shorter than declared.
        format!(
            "{GET}HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n<p>text</p>\r\n\r\n{POST}"
        ),
        format!(
            "{GET}HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n<p>text</p>\r\n\r\n{POST}"
        ),
        // The answer to HEAD has no body.
        format!(
            "{}HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{POST}",
            GET.replace("GET", "HEAD")
        ),
        format!("{GET}{OK}\r\nPOST\t/report  HTTP/1.1\r\nHost: b.test\r\n\r\n"),
    ] {
        assert_eq!(paths(&text), ["/a", "/report"], "{text}");
    }
}

#[test]
fn requests_as_intercepting_proxies_save_them_are_read() {
    for version in ["HTTP/2", "HTTP/2.0", "HTTP/3"] {
        // Without a length, the body ends where the next message starts.
        let post =
            format!("POST /r {version}\r\nHost: b.test\r\nContent-Type: text/plain\r\n\r\nx=1");
        let get = format!("GET /a {version}\r\nHost: a.test\r\n\r\n");
        for text in [
            format!("{get}{post}"),
            format!("{get}{post}\r\n\r\n"),
            format!("{get}{post}\r\n=======\r\n{version} 200\r\nServer: x\r\n\r\n<p>"),
        ] {
            let found = read(&text);
            assert_eq!(found.len(), 2, "{text}");
            assert_eq!(found[1], ("POST".into(), "/r".into(), "x=1".into()), "{text}");
            let requests = parse_transcript(text.as_bytes()).requests;
            assert!(requests.iter().all(|request| request.complete), "{text}");
            assert_ne!(requests[0].protocol, Protocol::Http1);
        }
        let (first, last) = (format!("{post}\r\n{get}"), format!("{post}\r\n\r\n----\r\n{get}"));
        for text in [first, last] {
            assert_eq!(read(&text)[0].2, "x=1", "{text}");
            assert_eq!(paths(&text), ["/r", "/a"], "{text}");
        }
    }
    // So it does if a tool has left out the length.
    let text = "POST /r HTTP/1.1\r\nHost: b.test\r\nContent-Type: text/plain\r\n\r\nx=1\r\n";
    assert_eq!(read(text)[0].2, "x=1");
    // A proxy writes the whole address.
    let text = "GET https://a.test/p?q HTTP/1.1\r\nHost: a.test\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let requests = parse_transcript(text.as_bytes()).requests;
    assert_eq!(requests[0].authority.as_deref(), Some("a.test"));
    assert_eq!(requests[0].target(), "/p?q");
    // The permission to send the body stands before it.
    let text = "PUT /c HTTP/1.1\r\nHost: a.test\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n\
                HTTP/1.1 100 Continue\r\n\r\nab";
    assert_eq!(read(text)[0].2, "ab");
}

#[test]
fn text_in_bodies_is_no_request() {
    let page = "<pre>\r\nGET /no HTTP/1.1\r\nHost: no.test\r\n\r\n</pre>\r\n";
    let apart = format!("text\r\n\r\n{}", page.strip_prefix("<pre>\r\n").unwrap());
    let response = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
    let len = |body: &str| format!("Content-Length: {}\r\n", body.len());
    let chunk = |body: &str| format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for text in [
        format!("{GET}{}{POST}", response(&len(page), page)),
        format!("{GET}{}{POST}", response(&len(&apart), &apart)),
        format!("{GET}{}{POST}", response("Transfer-Encoding: chunked\r\n", &chunk(&apart))),
        // Without a length, too.
        format!("{GET}{}\r\n\r\n{POST}", response("", page)),
        format!("{GET}{}\r\n\r\n{POST}", response("", &apart.replace('\r', ""))),
        format!("{GET}{}\r\n\r\n{POST}", response("Content-Length: 3\r\n", page)),
        // In the body of a request.
        format!("PUT /a HTTP/1.1\r\nHost: a.test\r\n{}\r\n{apart}{POST}", len(&apart)),
    ] {
        assert_eq!(paths(&text), ["/a", "/report"], "{text}");
    }
    // What was not taken for a request is counted.
    let text = format!("{GET}{}", response("", page));
    let found = parse_transcript(text.as_bytes());
    assert_eq!((found.requests.len(), found.doubtful), (1, 1));
    let text = format!("{GET}{}", response("", "<p>") + POST);
    let found = parse_transcript(text.as_bytes());
    assert_eq!((found.requests.len(), found.doubtful), (1, 1));
    // A log of a server, and prose.
    assert_eq!(
        paths("192.0.2.1 - - \"GET /no HTTP/1.1\" 200\nGET /no over HTTP/1.1 is a request.\n"),
        [""; 0]
    );
}

#[test]
fn a_body_whose_line_ends_were_converted_is_not_read_too_far() {
    let body = "--x\r\nContent-Disposition: form-data; name=\"u\"\r\n\r\nvalue\r\n--x--\r\n";
    let text = format!(
        "PUT /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: {}\r\n\r\n{body}{POST}",
        body.len()
    );
    assert_eq!(paths(&text.replace('\r', "")), ["/a", "/report"]);
    assert_eq!(paths(&text), ["/a", "/report"]);
}

#[test]
fn other_bytes_are_counted() {
    let found = parse_transcript(format!("abc\r\n\r\n----\r\n{GET}{OK}").as_bytes());
    assert_eq!((found.requests.len(), found.unrecognised), (1, 3));
    let found = parse_transcript(format!("{GET}{OK}{POST}").as_bytes());
    assert_eq!((found.requests.len(), found.unrecognised, found.doubtful), (2, 0, 0));
    assert_eq!(parse_transcript(b"neither\nnor\n").unrecognised, 10);
}

#[test]
fn the_messages_of_a_websocket_follow_its_handshake() {
    let handshake =
        "GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let frame = b"\x81\x84\0\0\0\0text";
    let accepted = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";
    for text in [handshake.to_owned(), format!("{handshake}{accepted}")] {
        let file = [text.as_bytes(), frame].concat();
        let requests = parse_transcript(&file).requests;
        assert_eq!(requests.len(), 2, "{text}");
        assert_eq!(&requests[1].body.data[..], b"text");
    }
    let refused = format!("{handshake}HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n{GET}");
    assert_eq!(paths(&refused), ["/ws", "/a"]);
    let tunnel = format!("CONNECT a.test:443 HTTP/1.1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{GET}");
    assert_eq!(paths(&tunnel), ["", "/a"]);
}

#[test]
fn every_recorded_request_reads_as_on_a_connection() {
    for (name, bytes) in corpus() {
        let (alone, _) = super::super::parse_http1(&bytes);
        assert_eq!(parse_transcript(&bytes).requests, alone, "{name}");
        let both = [&bytes[..], OK.as_bytes(), &bytes, b"\r\n=====\r\n", OK.as_bytes()].concat();
        let found = parse_transcript(&both);
        if alone.len() > 1 {
            // The frames of a WebSocket continue to the end.
            continue;
        }
        assert_eq!(found.requests, [alone.clone(), alone].concat(), "{name}");
        assert_eq!((found.unrecognised, found.doubtful), (0, 0), "{name}");
    }
}

#[test]
fn hostile_files_take_bounded_time() {
    const MANY: usize = 20_000;
    for text in [
        "GET / HTTP/1.1\r\nHost: a\r\n".repeat(MANY),
        "a: HTTP/1.1 200 OK\r\n".repeat(MANY),
        format!(
            "{GET}HTTP/1.1 200 OK\r\n\r\n{}",
            "\r\n\r\nGET / HTTP/1.1\r\na: b\r\n".repeat(MANY)
        ),
        "x HTTP/1.1 200 ".repeat(MANY),
        format!("x{}", "GET / HTTP/1.1 ".repeat(MANY)),
        "HTTP/1.1 200 OK\r\n".repeat(MANY),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n".repeat(MANY),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".repeat(MANY),
        format!("x\r\n{}", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".repeat(MANY)),
        "POST / HTTP/2\r\nHost: a\r\n\r\n".repeat(MANY),
        "---\r\n".repeat(MANY),
    ] {
        parse_transcript(text.as_bytes());
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(
        parts in prop::collection::vec(
            prop_oneof![
                Just(GET.as_bytes().to_vec()),
                Just(POST.as_bytes().to_vec()),
                Just(OK.as_bytes().to_vec()),
                Just(b"HTTP/2 200\r\n\r\n".to_vec()),
                Just(b"\r\n".to_vec()),
                Just(b"----\n".to_vec()),
                Just(b"POST / HTTP/2\r\nContent-Type: a\r\n".to_vec()),
                Just(b"Transfer-Encoding: chunked\r\n\r\n".to_vec()),
                prop::collection::vec(any::<u8>(), 0..20),
            ],
            0..12,
        ),
    ) {
        let file = parts.concat();
        for len in 0..=file.len() {
            let found = parse_transcript(&file[..len]);
            prop_assert!(found.unrecognised <= len as u64);
        }
    }
}
