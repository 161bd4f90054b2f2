//! A memory of earlier requests changes no result.

use proptest::prelude::*;

use super::{
    properties::{layers, wrap},
    *,
};

/// Returns what is read of a request with this memory.
fn read(request: &Request, limits: &Limits, memo: &mut Memo) -> (Vec<Seen>, Report) {
    let known = ["news.example.org/politics/story-42?q=private"];
    collect(|visit| unwrap_with(request, limits, &known, memo, |value, _| visit(value)))
}

/// Generates the value of a field.
fn field() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,60}",
        "[A-Za-z0-9+/_-]{8,80}={0,2}",
        "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "[A-Z2-7]{16,40}",
        "[a-z]{1,4}=[a-z0-9%]{1,9}[;&,] ?[a-z]{1,4}=[a-z0-9]{1,9}",
        prop::collection::vec(any::<u8>(), 20..70).prop_map(|bytes| base64(&bytes)),
        Just(XorKey::parse("a7").unwrap().apply(URL.as_bytes())).prop_map(|bytes| base64(&bytes)),
        Just(base64(EVENT.as_bytes())),
        Just(percent(URL)),
        Just(URL.to_owned()),
        Just("\u{1f}\u{8b}control\u{1}".to_owned()),
        "[0-9]{1,3}(,[0-9]{1,3}){11,20}",
    ]
}

/// Returns a request that has each value in several places.
fn request(values: &[String], body: &[u8]) -> Request {
    let mut head = format!("POST /p/{}?a=1", percent(values.concat()));
    for value in values {
        head.push_str(&format!("&q={}", percent(value)));
    }
    head.push_str(" HTTP/1.1\r\nHost: a.test\r\n");
    for value in values.iter().filter(|value| !value.contains(char::is_control)) {
        head.push_str(&format!("Accept: {value}\r\nX-Data: {value}\r\nCookie: c={value}\r\n"));
    }
    let texts = serde_json::json!({ "texts": values, "nested": [{ "a": values }] }).to_string();
    let body = [texts.as_bytes(), b"\n", body].concat();
    head.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
    parse(&[head.as_bytes(), &body].concat()).expect("a request")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn a_memo_changes_nothing(
        values in prop::collection::vec(field(), 1..6),
        title in "[ -~]{0,40}",
        layers in layers(),
        are_low: bool,
    ) {
        let event = serde_json::json!({ "title": title, "url": URL, "values": values });
        let body = wrap(&layers, &event.to_string());
        let low = Limits { output: 3 << 20, work: 3 << 19, values: 60, depth: 4 };
        let limits = if are_low { low } else { Limits::default() };
        let mut memo = Memo::default();
        for values in [&values[..1], &values, &values] {
            let request = request(values, &body);
            let alone = read(&request, &limits, &mut Memo::default());
            prop_assert_eq!(read(&request, &limits, &mut memo), alone);
        }
    }
}

#[test]
fn a_value_that_was_nothing_but_text_is_remembered() {
    let mut memo = Memo::default();
    let request = request(&["en-GB,en;q=0.9".to_owned(), base64(EVENT.as_bytes())], b"");
    read(&request, &Limits::default(), &mut memo);
    let place = memo::Place::of(&Chain::new(Step::Header("Accept")));
    let is_known = |value: &[u8]| {
        let key = memo.key(value, place).expect("a short value");
        memo.get(key, value, place, || 0).is_some()
    };
    assert!(is_known(b"en-GB,en;q=0.9"));
    assert!(!is_known(base64(EVENT.as_bytes()).as_bytes()));
    assert!(!is_known(b"never seen"));
}
