//! The parts of a request, truncation and limits.

use super::*;
use crate::proto::HeadCut;

#[test]
fn values_in_the_head() {
    let path =
        format!("/r/{}/{}?u={}&flag", percent(URL), base64(URL.as_bytes()), percent(percent(URL)));
    let headers = [
        ("X-Data", "eyJ1cmwiOiJodHRwczovL2EuZXhhbXBsZS8ifQ"),
        ("Authorization", "Basic d2s6"),
        ("Cookie", "sid=abc; last=https%3A%2F%2Fa.example%2F; bare"),
        ("Ping-To", "https://b.example/"),
    ];
    let values = values_of(&request(&path, &headers, b""));
    assert_eq!(chains_to(&values, URL), ["path", "path", "path > base64", "query:u > percent"]);
    let lines = lines(&values);
    for line in [
        "query: = flag",
        "header:X-Data > base64 > json.url = https://a.example/",
        "header:Authorization > base64 = wk",
        "cookie:sid = abc",
        "cookie:last > percent = https://a.example/",
        "cookie: = bare",
        "header:Ping-To = https://b.example/",
    ] {
        assert!(lines.contains(&line.to_owned()), "no {line} in {lines:#?}");
    }
    assert!(!lines.iter().any(|line| line.starts_with("header:Cookie")));
    let bare = values_of(&request(&format!("/go?{URL}"), &[], b""));
    assert_eq!(chains_to(&bare, URL), ["query:"]);
    let absolute = values_of(&request("http://proxied.example/a/b?c=d", &[], b""));
    let lines = self::lines(&absolute);
    assert_eq!(lines, ["path = /a/b", "path = a", "path = b", "query:c = d"]);
}

#[test]
fn a_truncated_head_marks_only_the_value_at_the_cut() {
    let mut cut = request("/a?u=https%3A%2F%2Fa.ex", &[], b"");
    cut.complete = false;
    cut.head_cut = Some(HeadCut::Target);
    assert_eq!(lines(&values_of(&cut)), ["path = /a", "path = a", "query:u = https://a.ex…"]);
    cut.head_cut = Some(HeadCut::LastField);
    cut.headers = request("", &[("A", "one"), ("B", "two")], b"").headers;
    let lines = lines(&values_of(&cut));
    assert_eq!(lines[2..], ["query:u = https://a.ex", "header:A = one", "header:B = two…"]);
}

#[test]
fn bodies_with_gaps() {
    let known = format!("{{\"a\":\"b\",\"c\":\"start{URL}\",\"d\":1}}");
    let at = known.find("https").unwrap();
    let mut request = request("/", &[], known.as_bytes());
    request.body.gaps = vec![Gap { at, len: Some(9) }];
    request.complete = false;
    assert_eq!(
        lines(&values_of(&request))[1..],
        [
            "body > json.a = b".to_owned(),
            "body > json.c = start…".to_owned(),
            format!("body > fragment = {URL}\",\"d\":1}}…"),
        ]
    );
    // Bytes after a gap in a compressed body cannot be read.
    request.headers = vec![Header { name: "content-encoding".into(), value: "gzip".into() }];
    request.body.data = gzip(known.as_bytes()).into();
    request.body.gaps = vec![Gap { at: 20, len: None }];
    let (values, report) = collect(|visit| unwrap(&request, &Limits::default(), visit));
    assert!(!values.iter().any(|v| v.chain.contains("fragment")));
    assert!(report.opaque > 0 && report.cut > 0);
}

#[test]
fn truncation_inside_every_layer() {
    let events = format!("[{EVENT},{}]", EVENT.replace("view", "leave"));
    let form = format!("gzip=1&data_list={}", percent(base64(&gzip(events.as_bytes()))));
    for len in 40..form.len() {
        let (values, _) = body_report(&form.as_bytes()[..len], true);
        for value in values.iter().filter(|v| v.chain.contains("gzip >") && !v.truncated) {
            assert!(value.chain.starts_with("body > form:data_list > base64 > gzip > json["));
            assert!([URL, "view", "leave"].contains(&&*value.text), "{value:?}");
        }
    }
    let (values, report) = body_report(&form.as_bytes()[..form.len() - 20], true);
    assert!(
        chains_to(&values, URL)
            .contains(&"body > form:data_list > base64 > gzip > json[0].url".to_owned())
    );
    assert!(report.cut > 0);
}

#[test]
fn every_limit_is_reported() {
    let with = |limits: Limits, body: &[u8]| {
        collect(|visit| unwrap_body(body, None, None, false, &limits, visit))
    };
    let limits = Limits::default();
    let bomb = gzip(&gzip(&vec![b' '; 1 << 20]));

    let (_, report) = with(Limits { output: 10_000, ..limits }, &bomb);
    assert!(report.reached.output && report.output <= 10_000);

    let events = format!("[{}]", vec![EVENT; 100].join(","));
    let (values, report) = with(Limits { values: 10, ..limits }, events.as_bytes());
    assert!(report.reached.values && values.len() == 10 && report.skipped > 0);

    let (values, report) = with(Limits { work: 100, ..limits }, events.as_bytes());
    assert!(report.reached.work && values.is_empty() && report.skipped == events.len() as u64);

    let mut deep = URL.to_owned();
    for _ in 0..6 {
        deep = percent(&deep);
    }
    let (values, report) = with(Limits { depth: 4, ..limits }, deep.as_bytes());
    assert!(report.reached.depth);
    assert_eq!(values.last().unwrap().chain, "body > percent > percent > percent");

    let nested = "[".repeat(1000) + "\"x\"";
    let (_, report) = with(limits, nested.as_bytes());
    assert!(report.reached.nesting);
}

/// Many streams that yield nothing are charged like those that do.
#[test]
fn many_small_bombs_share_one_budget() {
    let bomb = base64(&zlib(&vec![0; 1 << 20]));
    let fields = vec![format!("\"{}\"", &bomb[..bomb.len() - 8]); 500].join(",");
    let limits = Limits::default();
    let (_, report) = collect(|visit| {
        unwrap_body(format!("[{fields}]").as_bytes(), None, None, false, &limits, visit)
    });
    assert!(report.output <= limits.output && report.work <= limits.work);

    let part = "--b\r\nContent-Encoding: br\r\n\r\n\x0f0123456789\r\n";
    let body = part.repeat(5000);
    let (_, report) =
        collect(|visit| unwrap_body(body.as_bytes(), None, None, false, &limits, visit));
    assert!(report.reached.work && report.work <= limits.work);
}

/// Recursion is bounded by `Limits::depth` and fits the stack of any thread,
/// even in a debug build.
#[test]
fn the_deepest_chains_fit_a_small_stack() {
    const LEVELS: usize = 64;
    let wrap = |mut body: Vec<u8>, layer: fn(Vec<u8>) -> Vec<u8>| {
        for _ in 0..LEVELS {
            body = layer(body);
        }
        body
    };
    let bodies = [
        wrap(b"%41%42".to_vec(), |b| {
            String::from_utf8(b).unwrap().replacen('%', "%25", 1).into_bytes()
        }),
        wrap(EVENT.into(), |b| gzip(&b)),
        wrap(EVENT.into(), |b| {
            let len = b.len();
            let head = format!("--b{len}\r\nContent-Type: text/plain\r\n\r\n");
            [head.as_bytes(), &b, format!("\r\n--b{len}--").as_bytes()].concat()
        }),
        wrap(b"\x0a\x07session".to_vec(), |b| {
            let len = b.len();
            let tag = [0x12, (len & 0x7f) as u8 | 0x80, (len >> 7) as u8];
            [&tag[..], &b, b"\x1a\x07session"].concat()
        }),
    ];
    let small = std::thread::Builder::new().stack_size(512 << 10);
    let run = move || bodies.map(|body| body_report(&body, false).1.reached.depth);
    assert_eq!(small.spawn(run).unwrap().join().unwrap(), [true; 4]);
}
