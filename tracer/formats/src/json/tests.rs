use proptest::prelude::*;

use super::*;

fn read(json: &[u8]) -> (Value, Result<bool, ReadError>) {
    let mut value = Value::Null;
    // A buffer of one byte meets every boundary.
    let read = Reader::new(io::BufReader::with_capacity(1, json)).value(&mut value);
    (value, read)
}

fn whole(json: &str) -> Value {
    let (value, read) = read(json.as_bytes());
    assert!(!read.expect(json), "{json}");
    value
}

fn text(json: &str) -> Vec<u8> {
    let Value::Text(text) = whole(json) else { panic!("{json}") };
    assert!(text.is_whole());
    text.bytes
}

#[test]
fn values_are_read() {
    let value = whole(r#" {"a": [1, -2.5e3, true, null, "x"], "b": {}, "a": 9,} "#);
    assert_eq!(value.list("a").len(), 5);
    assert_eq!(value.list("a")[3], Value::Null);
    assert_eq!(value.member("b"), Some(&Value::Object(Vec::new())));
    assert_eq!(whole("[]"), Value::List(Vec::new()));
    assert_eq!(whole(r#"{"n": 7}"#).number("n"), Some(7.0));
}

#[test]
fn strings_are_bytes() {
    assert_eq!(text(r#""a\"\\\/\b\f\n\r\t\u00e9é""#), "a\"\\/\u{8}\u{c}\n\r\téé".as_bytes());
    assert_eq!(text(r#""\ud83d\ude00""#), "😀".as_bytes());
    // What Python could not decode.
    assert_eq!(text(r#""\udc1f\udc8b\udcff""#), b"\xef\xbf\xbd\x8b\xff");
    assert_eq!(text(r#""\ud83d""#), "\u{fffd}".as_bytes());
    assert_eq!(text(r#""\ud83dx\ud83d\u0041""#), "\u{fffd}x\u{fffd}A".as_bytes());
    assert_eq!(text(r#""\ud83d\n\ud83d\ud83d\ude00""#), "\u{fffd}\n\u{fffd}😀".as_bytes());
}

#[test]
fn what_stands_before_a_cut_is_kept() {
    let whole = br#"{"url":"https://a.test/p","n":[1,{"x":"y"}],"z":null}"#;
    for len in 0..whole.len() {
        let (value, read) = read(&whole[..len]);
        assert!(matches!(read, Err(ReadError::Cut)), "{len}: {read:?}");
        if let Some(url) = value.text("url") {
            assert!(b"https://a.test/p".starts_with(&url.bytes));
            assert_eq!(url.cut, len < 25, "{len}");
        }
    }
}

#[test]
fn what_is_no_json_is_an_error() {
    for json in ["{1:2}", "{\"a\" 1}", "[1 2]", "[,]", "\"\\uzzzz\"", "}", "{\"a\":}"] {
        let (_, read) = read(json.as_bytes());
        assert!(matches!(read, Err(ReadError::Damaged(_))), "{json}: {read:?}");
    }
    let long = format!("[{}]", "1".repeat(1000));
    assert!(read(long.as_bytes()).1.is_err());
}

#[test]
fn memory_is_bounded() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert!(read(deep.as_bytes()).1.unwrap(), "something was left out");
    let many = format!("[{}1]", "1,".repeat(1 << 20));
    let mut value = Value::Null;
    assert!(Reader::new(many.as_bytes()).value(&mut value).unwrap());
    let long = format!("\"{}\"", "x".repeat(MAX_TEXT + 10));
    Reader::new(long.as_bytes()).value(&mut value).unwrap();
    let Value::Text(text) = value else { panic!() };
    assert_eq!((text.bytes.len(), text.dropped, text.cut), (MAX_TEXT, 10, false));
}

#[test]
fn skipping_ends_where_reading_does() {
    let json = br#"{"a":[{"b":"]}"},[[]],"c\"",1],"d":{}} rest"#;
    let mut reader = Reader::new(&json[..]);
    reader.skip().unwrap();
    assert_eq!(reader.position(), json.len() as u64 - 5);
}

proptest! {
    #[test]
    fn nothing_panics(json in "[\\[\\]{}\",:\\\\u0-9a-f ]{0,64}") {
        let _ = read(json.as_bytes());
        let _ = Reader::new(json.as_bytes()).skip();
    }

    #[test]
    fn strings_come_back(text in any::<String>()) {
        let json = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(self::text(&json), text.into_bytes());
    }
}
