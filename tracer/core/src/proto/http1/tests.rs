use proptest::prelude::*;

use crate::proto::decoder::tests::{Part, corpus, feed};
use crate::proto::{HeadCut, Protocol, Request, parse_http1};

fn one(bytes: &[u8]) -> Request {
    let (mut requests, unread) = parse_http1(bytes);
    assert!(unread.is_empty(), "{unread:?}");
    assert_eq!(requests.len(), 1, "{requests:?}");
    requests.remove(0)
}

fn fields(request: &Request) -> Vec<(&str, &str)> {
    let text = |bytes| std::str::from_utf8(bytes).expect("the tests' fields are text");
    request.headers.iter().map(|h| (text(&h.name), text(&h.value))).collect()
}

#[test]
fn reads_a_request_with_a_body() {
    let request = one(b"POST /v1?x=1 HTTP/1.1\r\nHost: a.test\r\ncontent-length:  5 \r\n\r\nhello");
    assert_eq!(request.method.as_deref(), Some("POST"));
    assert_eq!(request.target(), "/v1?x=1");
    assert_eq!(request.authority.as_deref(), Some("a.test"));
    assert_eq!(fields(&request), [("Host", "a.test"), ("content-length", "5")]);
    assert_eq!(&request.body.data[..], b"hello");
    assert!(request.complete && !request.body.chunked && request.body.gaps.is_empty());
    assert_eq!((request.head_cut, request.unread_bytes), (None, 0));
}

#[test]
fn reads_every_recorded_request() {
    for (name, bytes) in corpus() {
        let request = one(&bytes);
        assert!(request.complete, "{name}");
        let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("a whole head");
        let lines = bytes[..head].split(|&b| b == b'\n').count();
        assert_eq!(request.headers.len(), lines - 1, "{name}");
        if !request.body.chunked {
            assert_eq!(request.body.data, bytes[head + 4..], "{name}");
        }
    }
}

#[test]
fn decodes_chunks() {
    let request = one(b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n\
          5\r\nhello\r\n00a;x=\"y\"\r\n, chunked \r\n1 \r\n!\r\n0\r\nCheck: sum\r\n\r\n");
    assert_eq!(&request.body.data[..], b"hello, chunked !");
    assert!(request.body.chunked && request.complete);
    assert_eq!(fields(&request).last(), Some(&("Check", "sum")));
    assert_eq!(&request.body.extensions[..], b"x=\"y\"");
    assert_eq!(request.unread_bytes, 0);
}

#[test]
fn takes_the_authority_from_an_absolute_target() {
    for (target, authority, path) in [
        ("http://u:p@a.test:8080/x?y", "a.test:8080", "/x?y"),
        ("HTTP://a.test", "a.test", "/"),
        ("http://a.test?y", "a.test", "/?y"),
    ] {
        let request = one(format!("GET {target} HTTP/1.0\nHost: b.test\n\n").as_bytes());
        assert_eq!(request.authority.as_deref(), Some(authority));
        assert_eq!(request.target(), path);
    }
    let request = one(b"OPTIONS * HTTP/1.1\r\nHost: b.test\r\n\r\n");
    assert_eq!((request.target(), request.authority.as_deref()), ("*", Some("b.test")));
    let request = one(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n");
    assert_eq!((request.target(), request.authority.as_deref()), ("", Some("a.test:443")));
}

#[test]
fn tolerates_old_and_sloppy_heads() {
    let request = one(b"\r\n\nGET /a b HTTP/1.1\nA: 1\n\t 2\r\n  3\nB :x\r\n\n");
    assert_eq!(request.target(), "/a b");
    assert_eq!(fields(&request), [("A", "1 2 3"), ("B", "x")]);
    assert!(request.complete);

    let request = one(b"BREW-POT / HTTP/1.1\r\nno field\r\n: no name\r\nA: 1\r\n\r\n");
    assert_eq!(request.method.as_deref(), Some("BREW-POT"));
    assert_eq!(fields(&request), [("A", "1")]);
    assert_eq!((request.complete, request.unread_bytes), (false, 8 + 9));
}

#[test]
fn a_transfer_coding_overrides_a_length() {
    let request = one(
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    );
    assert_eq!(&request.body.data[..], b"x");
}

#[test]
fn a_length_can_be_repeated_but_not_contradicted() {
    let head = |lengths| format!("POST / HTTP/1.1\r\nContent-Length: {lengths}\r\n\r\n");
    let request = one((head("2, 2") + "xy").as_bytes());
    assert_eq!(&request.body.data[..], b"xy");

    for lengths in ["2, 3", "2\r\nContent-Length: 3", "-1", "+2", "", "0x2", "18446744073709551616"]
    {
        let parts = [
            Part::Send(head(lengths).into_bytes()),
            Part::Send(b"all of this".to_vec()),
            Part::Send(b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ];
        let requests = feed(&parts).0;
        assert_eq!(requests.len(), 2, "{lengths:?}");
        assert_eq!(&requests[0].body.data[..], b"all of this");
        assert!(!requests[0].complete && requests[0].body.gaps[0].len.is_none());
        assert_eq!(requests[1].method.as_deref(), Some("GET"));
    }
}

#[test]
fn a_body_may_be_absent_after_expect_continue() {
    let head = "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    let next = "GET /next HTTP/1.1\r\n\r\n";
    let send = |text: &str| Part::Send(text.as_bytes().to_vec());

    let came = feed(&[send(head), send("abc"), send(next)]).0;
    assert_eq!(&came[0].body.data[..], b"abc");
    assert!(came[0].complete);
    assert_eq!(came[1].target(), "/next");

    let never = feed(&[send(head), send(next)]).0;
    assert_eq!(&never[0].body.data[..], b"");
    assert!(!never[0].complete);
    assert_eq!(never[1].target(), "/next");

    // Without `Expect`, a body may look like anything.
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", next.len());
    let body = feed(&[send(&head), send(next)]).0;
    assert_eq!(body.len(), 1);
    assert_eq!(&body[0].body.data[..], next.as_bytes());
}

#[test]
fn a_truncated_head_reports_the_position() {
    let whole = b"GET /path HTTP/1.1\r\nHost: a.test\r\nA: 12\r\n\r\n";
    for (end, path, headers, cut) in [
        (6, "/p", 0, HeadCut::Target),
        (11, "/path", 0, HeadCut::Target),
        (18, "/path", 0, HeadCut::Target),
        (20, "/path", 0, HeadCut::Fields),
        (24, "/path", 0, HeadCut::Fields),
        (25, "/path", 1, HeadCut::LastField),
        (33, "/path", 1, HeadCut::LastField),
        (34, "/path", 1, HeadCut::Fields),
        (38, "/path", 2, HeadCut::LastField),
        (41, "/path", 2, HeadCut::Fields),
    ] {
        let request = one(&whole[..end]);
        assert_eq!((request.target(), request.headers.len()), (path, headers), "{end}");
        assert_eq!(request.head_cut, Some(cut), "{end}");
        assert_eq!(request.authority.is_some(), end >= 34, "{end}");
        assert!(!request.complete);
    }
    // A truncated host is a different host.
    assert_eq!(one(b"GET http://a.te").authority, None);
    assert_eq!(one(b"GET http://a.test/").authority.as_deref(), Some("a.test"));
}

#[test]
fn a_gap_truncates_the_head() {
    let rest = b"\r\nReferer: https://a.test/\r\n\r\n";
    let parts = [
        Part::Send(b"GET / HTTP/1.1\r\nCookie: abc".to_vec()),
        Part::Gap(Some(1000)),
        Part::Piece(rest.to_vec()),
        Part::Send(b"GET /next HTTP/1.1\r\n\r\n".to_vec()),
    ];
    let (requests, unread) = feed(&parts);
    assert_eq!(fields(&requests[0]), [("Cookie", "abc")]);
    assert_eq!(requests[0].head_cut, Some(HeadCut::LastField));
    assert_eq!(requests[0].unread_bytes, 1000);
    assert_eq!(requests[1].target(), "/next");
    assert_eq!(unread.unrecognised, rest.len() as u64);
}

#[test]
fn a_gap_in_a_body_is_counted_down() {
    let body = |framing: &str, before: &str, gap, after: &str| {
        let parts = [
            Part::Send(format!("POST / HTTP/1.1\r\n{framing}\r\n\r\n{before}").into_bytes()),
            Part::Gap(gap),
            Part::Piece(format!("{after}GET /next HTTP/1.1\r\n\r\n").into_bytes()),
        ];
        feed(&parts)
    };
    let chunked = "Transfer-Encoding: chunked";
    for (framing, before, gap, after, data) in [
        ("Content-Length: 10", "abc", 4, "hij", "abchij"),
        ("Content-Length: 10", "abc", 7, "", "abc"),
        (chunked, "a\r\nabc", 4, "hij\r\n0\r\n\r\n", "abchij"),
        (chunked, "a\r\nabc", 7, "\r\n0\r\n\r\n", "abc"),
    ] {
        let (requests, _) = body(framing, before, Some(gap), after);
        assert_eq!(requests.len(), 2, "{framing} {before} {gap}");
        assert_eq!(requests[0].body.data, data.as_bytes());
        assert_eq!((requests[0].body.gaps[0].at, requests[0].body.gaps[0].len), (3, Some(gap)));
        assert_eq!((requests[0].complete, requests[0].unread_bytes), (false, gap));
        assert_eq!(requests[1].target(), "/next");
    }
    // Nothing is guessed once the position is lost.
    let last = "\r\n0\r\n\r\n";
    for (framing, before, gap, after) in [
        ("Content-Length: 10", "abc", Some(8), ""),
        ("Content-Length: 10", "abc", None, ""),
        (chunked, "a\r\nabc", Some(8), last),
        (chunked, "a", Some(1), last),
        (chunked, "a\r\nabc", None, last),
    ] {
        let (requests, unread) = body(framing, before, gap, after);
        assert_eq!(requests.len(), 1, "{framing} {before} {gap:?}");
        assert!(!requests[0].complete);
        let rest = after.len() + "GET /next HTTP/1.1\r\n\r\n".len();
        assert_eq!(unread.unrecognised, rest as u64);
    }
}

#[test]
fn long_targets_are_read() {
    let target = format!("/?u={}", "x".repeat(200 << 10));
    let request = one(format!("GET {target} HTTP/1.1\r\n\r\n").as_bytes());
    assert_eq!(request.target(), target);

    let (requests, unread) = parse_http1(format!("GET /{}", "x".repeat(1 << 20)).as_bytes());
    assert_eq!(requests[0].head_cut, Some(HeadCut::Target));
    assert_eq!(requests[0].target().len() + "GET ".len(), 256 << 10);
    assert_eq!(requests[0].target().len() as u64 + unread.unrecognised, 1 + (1 << 20));
}

#[test]
fn a_large_body_is_kept_in_part_and_read_to_its_end() {
    let body = "x".repeat(3 << 20);
    let head = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len());
    let (requests, unread) = parse_http1(format!("{head}{body}GET / HTTP/1.1\r\n\r\n").as_bytes());
    assert_eq!(requests.len(), 2);
    assert!(unread.is_empty());
    assert_eq!(requests[0].body.data.len(), 1 << 20);
    let gap = requests[0].body.gaps[0];
    assert_eq!((gap.at, gap.len), (1 << 20, Some(2 << 20)));
    assert_eq!((requests[0].complete, requests[0].unread_bytes), (false, 2 << 20));
}

#[test]
fn hostile_input_is_bounded() {
    // An endless sequence of tiny fields.
    let head = format!("GET / HTTP/1.1\r\n{}", "a:\n".repeat(1 << 20));
    let (requests, _) = parse_http1(head.as_bytes());
    assert_eq!(requests[0].headers.len(), 1024);
    assert!(requests[0].unread_bytes > 0 && !requests[0].complete);

    // A value folded without end.
    let head = format!("GET / HTTP/1.1\r\na: b{}\n\n", "\n c".repeat(300_000));
    assert_eq!(one(head.as_bytes()).headers[0].value.len(), 1 + 2 * 300_000);

    // Huge chunks, invalid sizes, endless trailers.
    let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (rest, known) in [
        ("ffffffffffffffff\r\nabc".to_owned(), "abc"),
        ("10000000000000003\r\nabc".to_owned(), ""),
        ("0000000000000000000003\r\nabc\r\n".to_owned(), "abc"),
        ("-1\r\nabc".to_owned(), ""),
        ("\r\nabc".to_owned(), ""),
        ("3\r\nabcdef".to_owned(), "abc"),
        (format!("{}3\r\nabc", "0".repeat(1 << 20)), ""),
        (format!("3;{}\r\nabc", "x".repeat(1 << 20)), ""),
        (format!("3\r\nabc\r\n0\r\n{}", "a: b\r\n".repeat(1 << 20)), "abc"),
    ] {
        let (requests, _) = parse_http1(format!("{chunked}{rest}").as_bytes());
        assert_eq!(requests[0].body.data, known.as_bytes(), "{:.20}", rest);
        assert!(!requests[0].complete, "{:.20}", rest);
    }

    // Single bytes separated by gaps.
    let mut parts = vec![Part::Send(b"POST / HTTP/1.1\r\nContent-Length: 20000\r\n\r\n".to_vec())];
    for _ in 0..10_000 {
        parts.extend([Part::Piece(b"x".to_vec()), Part::Gap(Some(1))]);
    }
    let request = &feed(&parts).0[0];
    assert!(request.body.gaps.len() <= 257);
    assert_eq!(request.body.data.len() as u64 + request.unread_bytes, 20_000);
}

#[test]
fn request_lines_are_read_as_lenient_servers_read_them() {
    for (line, method, path, version) in [
        ("GET    /a HTTP/1.1", "GET", "/a", Protocol::Http1),
        ("GET\t/a\tHTTP/1.1", "GET", "/a", Protocol::Http1),
        ("GET \t /a  \t HTTP/1.1 ", "GET", "/a", Protocol::Http1),
        ("GET\u{b}/a\u{c}HTTP/1.0", "GET", "/a", Protocol::Http1),
        ("get /a HTTP/1.1", "get", "/a", Protocol::Http1),
        ("get /a http/1.1", "get", "/a", Protocol::Http1),
        ("\r\n\r\n\nGET /a HTTP/1.1", "GET", "/a", Protocol::Http1),
        ("GET /a b  c HTTP/1.1", "GET", "/a b  c", Protocol::Http1),
        ("GET  http://a.test/a HTTP/1.1", "GET", "/a", Protocol::Http1),
        ("GET /a HTTP/2", "GET", "/a", Protocol::Http2),
        ("GET /a HTTP/2.0", "GET", "/a", Protocol::Http2),
        ("GET /a HTTP/3", "GET", "/a", Protocol::Http3),
    ] {
        for end in ["\n", "\r\n"] {
            let request = one(format!("{line}{end}Host: a.test{end}{end}").as_bytes());
            assert_eq!(request.method.as_deref(), Some(method), "{line:?}");
            assert_eq!(request.target(), path, "{line:?}");
            assert_eq!(request.authority.as_deref(), Some("a.test"), "{line:?}");
            assert!(request.protocol == version && request.complete, "{line:?}");
        }
        for len in 0..line.len() {
            for part in parse_http1(&line.as_bytes()[..len]).0 {
                assert!(path.starts_with(part.target()), "{line:?} {len}: {part:?}");
            }
        }
    }
    for line in [
        "GET/a HTTP/1.1",
        "GET /a HTTP/1.1x",
        "GET /a HTTP/4",
        "GET /a http",
        "GET\r/a HTTP/1.1",
        "GET                  /a HTTP/1.1",
        "PRI * HTTP/2.0",
        "HTTP/1.1 200 OK",
    ] {
        let (requests, _) = parse_http1(format!("{line}\r\nHost: a.test\r\n\r\n").as_bytes());
        assert_eq!(requests.len(), 0, "{line:?}");
    }
}

/// Reports whether a partially known request is consistent with the whole.
fn is_consistent(part: &Request, whole: &Request) -> bool {
    let target_cut = part.head_cut == Some(HeadCut::Target);
    let value_cut = part.head_cut == Some(HeadCut::LastField);
    let path = match target_cut {
        true => whole.target().starts_with(part.target()) && part.headers.is_empty(),
        false => part.target() == whole.target(),
    };
    let authority = match part.head_cut {
        Some(_) => part.authority.is_none() || part.authority == whole.authority,
        None => part.authority == whole.authority,
    };
    let headers = part.headers.iter().enumerate().all(|(at, field)| {
        whole.headers.get(at).is_some_and(|known| {
            let may_be_cut = value_cut && at + 1 == part.headers.len();
            field.name == known.name
                && (field.value == known.value
                    || may_be_cut && known.value.starts_with(&field.value))
        })
    });
    let chunked = part.body.chunked == (whole.body.chunked && part.head_cut.is_none());
    let body = whole.body.data.starts_with(part.body.prefix());
    part.method == whole.method && path && authority && headers && chunked && body
}

#[test]
fn prefixes_are_consistent_with_the_whole() {
    for (name, bytes) in corpus() {
        let whole = one(&bytes);
        for end in 0..bytes.len() {
            let (requests, unread) = parse_http1(&bytes[..end]);
            match &requests[..] {
                [part] => {
                    assert!(is_consistent(part, &whole), "{name} {end}: {part:?}");
                    assert!(!part.complete, "{name} {end}");
                    assert!(unread.is_empty(), "{name} {end}");
                }
                [] => assert!(end < "OPTIONS /".len(), "{name} {end}"),
                more => panic!("{name} {end}: {more:?}"),
            }
        }
    }
}

/// A request and its bytes.
#[derive(Debug, Clone)]
struct Sample {
    bytes: Vec<u8>,
    path: String,
    body: Vec<u8>,
}

fn sample() -> impl Strategy<Value = Sample> {
    let chunk = prop::collection::vec(any::<u8>(), 1..40);
    let chunks = prop::collection::vec((chunk, "(;[a-z]{1,5}(=\"[a-z ]{0,5}\")?)?"), 0..5);
    let fields = prop::collection::vec(("X-[a-z]{1,5}", "[ -~]{0,20}"), 0..4);
    let kinds = prop::sample::select(vec!["none", "length", "chunked", "trailer"]);
    ("/[a-z/?=]{0,30}", fields, chunks, kinds, any::<bool>()).prop_map(
        |(path, fields, chunks, kind, absolute)| {
            let host = if absolute { "http://a.test" } else { "" };
            let method = if kind == "none" { "GET" } else { "POST" };
            let mut bytes =
                format!("{method} {host}{path} HTTP/1.1\r\nHost: a.test\r\n").into_bytes();
            for (name, value) in fields {
                bytes.extend(format!("{name}: {value}\r\n").as_bytes());
            }
            let mut body = chunks.iter().flat_map(|(data, _)| data.clone()).collect::<Vec<_>>();
            match kind {
                "none" => {
                    body.clear();
                    bytes.extend(b"\r\n");
                }
                "length" => {
                    bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
                    bytes.extend(&body);
                }
                kind => {
                    bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
                    for (data, extension) in &chunks {
                        bytes.extend(format!("{:X}{extension}\r\n", data.len()).as_bytes());
                        bytes.extend(data);
                        bytes.extend(b"\r\n");
                    }
                    let trailer = if kind == "trailer" { "A: b\r\n" } else { "" };
                    bytes.extend(format!("0\r\n{trailer}\r\n").as_bytes());
                }
            }
            Sample { bytes, path, body }
        },
    )
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    prop::collection::vec(sample(), 1..6)
}

fn joined(samples: &[Sample]) -> Vec<u8> {
    samples.iter().flat_map(|sample| sample.bytes.clone()).collect()
}

/// Splits bytes at any positions into parts that start sends or do not.
fn cut(bytes: &[u8], places: &[(prop::sample::Index, bool)]) -> Vec<Part> {
    let place = |(at, begins): &(prop::sample::Index, bool)| (at.index(bytes.len() + 1), *begins);
    let mut places: Vec<_> = places.iter().map(place).collect();
    places.push((0, true));
    places.sort_unstable();
    places.dedup_by_key(|(at, _)| *at);
    let ends = places.iter().skip(1).map(|(at, _)| *at).chain([bytes.len()]);
    let part = |(&(from, begins), to): (&(usize, bool), usize)| {
        let bytes = bytes[from..to].to_vec();
        if begins || from == 0 { Part::Send(bytes) } else { Part::Piece(bytes) }
    };
    places.iter().zip(ends).map(part).collect()
}

proptest! {
    #[test]
    fn any_split_yields_the_same_requests(
        samples in samples(),
        places in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>()), 0..40),
    ) {
        let bytes = joined(&samples);
        let (whole, unread) = parse_http1(&bytes);
        prop_assert!(unread.is_empty());
        prop_assert_eq!(whole.len(), samples.len());
        for (request, sample) in whole.iter().zip(&samples) {
            prop_assert_eq!(request.target(), sample.path.as_str());
            prop_assert_eq!(&request.body.data, &sample.body);
            prop_assert!(request.complete);
        }
        prop_assert_eq!(&feed(&cut(&bytes, &places)).0, &whole);
        let bytewise: Vec<_> = bytes.iter().map(|&b| Part::Send(vec![b])).collect();
        prop_assert_eq!(&feed(&bytewise).0, &whole);
    }

    /// Requests are found again no later than at the start of a send, and the
    /// known parts match the data sent.
    #[test]
    fn gaps_do_not_shift_bytes(
        samples in samples(),
        from in any::<prop::sample::Index>(),
        len in any::<prop::sample::Index>(),
        counted in any::<bool>(),
    ) {
        let whole = parse_http1(&joined(&samples)).0;
        let from = from.index(joined(&samples).len());
        let to = from + len.index(joined(&samples).len() - from + 1);
        let mut parts = Vec::new();
        let mut start = 0;
        for sample in &samples {
            let end = start + sample.bytes.len();
            let known = |a: usize, b: usize| sample.bytes[a.clamp(start, end) - start..b.clamp(start, end) - start].to_vec();
            parts.push(Part::Send(known(start, from)));
            if (start..end).contains(&from) {
                parts.push(Part::Gap(counted.then_some((to - from) as u64)));
            }
            let rest = known(to, end);
            parts.push(if start >= to { Part::Send(rest) } else { Part::Piece(rest) });
            start = end;
        }
        let found = feed(&parts).0;
        for request in &found {
            prop_assert!(whole.iter().any(|sent| is_consistent(request, sent)), "{:?}", request);
        }
        let mut start = 0;
        for (sample, sent) in samples.iter().zip(&whole) {
            let end = start + sample.bytes.len();
            if end <= from || start >= to {
                prop_assert!(found.contains(sent), "{:?}", sent);
            }
            start = end;
        }
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        parse_http1(&bytes);
        parse_http1(&[b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes[..]].concat());
        parse_http1(&[b"GET / HTTP/1.1\r\n", &bytes[..]].concat());
    }

    /// Random bytes are not taken for a request.
    #[test]
    fn noise_is_not_a_request(bytes in "[A-Z]{3,7} [ -~\r\n]{0,60}") {
        let has_version = bytes.contains(" HTTP/1.");
        let begins_target = bytes.contains(" /") || bytes.contains("://");
        prop_assume!(!has_version && !begins_target);
        prop_assert_eq!(parse_http1(bytes.as_bytes()).0, []);
    }
}
