use proptest::prelude::*;

use super::*;

fn read(json: &[u8]) -> (Value, Result<bool, ReadError>) {
    let mut value = Value::Null;
    // A buffer of one byte tests every boundary between buffers.
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
    assert!(!text.cut);
    text.bytes
}

#[test]
fn values_become_a_tree() {
    let value = whole(r#" {"a": [1, -2.5e3, true, null, "x"], "b": {}, "a": 9,} "#);
    assert_eq!(value.list("a").len(), 5);
    assert_eq!(value.list("a")[3], Value::Null);
    assert_eq!(value.member("b"), None);
    assert_eq!(whole(r#"{"n": 7}"#).number("n"), Some(7.0));
    assert_eq!(whole("[]"), Value::Null);
}

#[test]
fn a_value_of_an_unexpected_type_is_ignored() {
    let value = whole(r#"{"a": 1, "a": {"b": 2}, "a": [3], "c": "d"}"#);
    assert_eq!((value.number("a"), value.text("a")), (Some(1.0), None));
    assert_eq!(value.text("c").map(|text| &text.bytes[..]), Some(&b"d"[..]));
}

#[test]
fn strings_are_bytes() {
    assert_eq!(text(r#""a\"\\\/\b\f\n\r\t\u00e9é""#), "a\"\\/\u{8}\u{c}\n\r\téé".as_bytes());
    assert_eq!(text(r#""\ud83d\ude00""#), "😀".as_bytes());
    // Bytes that Python could not decode.
    assert_eq!(text(r#""\udc1f\udc8b\udcff""#), b"\xef\xbf\xbd\x8b\xff");
    assert_eq!(text(r#""\ud83dx\ud83d\u0041""#), "\u{fffd}x\u{fffd}A".as_bytes());
    assert_eq!(text(r#""\ud83d\n\ud83d\ud83d\ude00""#), "\u{fffd}\n\u{fffd}😀".as_bytes());
    // The second half of a pair, and text that only looks like an escape.
    assert_eq!(text(r#""\ud83d\udc8b""#), "💋".as_bytes());
    assert_eq!(text(r#""\\udc8b\\\udc8b""#), b"\\udc8b\\\x8b");
}

#[test]
fn everything_before_a_cut_is_kept() {
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
fn a_number_that_is_cut_is_not_a_number() {
    assert_eq!(read(br#"{"n":12"#).0.number("n"), None);
    assert_eq!(read(br#"{"n":12,"#).0.number("n"), Some(12.0));
}

#[test]
fn invalid_json_is_an_error() {
    for json in ["{1:2}", "{\"a\" 1}", "[1 2]", "[,]", "}", "{\"a\":}", "[1}", "nil"] {
        let (_, read) = read(json.as_bytes());
        assert!(matches!(read, Err(ReadError::Damaged(_))), "{json}: {read:?}");
    }
}

#[test]
fn memory_is_bounded() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    assert!(read(deep.as_bytes()).1.unwrap(), "values were left out");
    for many in [format!("[{}1]", "1,".repeat(1 << 20)), format!("[{}1]", "{},".repeat(1 << 20))] {
        let mut value = Value::Null;
        assert!(Reader::new(many.as_bytes()).value(&mut value).unwrap());
    }
    let long = format!("\"{}\" ", "x".repeat(MAX_VALUE + 10));
    let mut value = Value::Null;
    assert!(Reader::new(long.as_bytes()).value(&mut value).unwrap());
    let Value::Text(text) = value else { panic!() };
    assert_eq!((text.bytes.len(), text.cut), (MAX_VALUE - 1, true));
}

#[test]
fn skipping_ends_where_reading_does() {
    let json = br#"{"a":[{"b":"]}"},[[]],"c\"",1],"d":{}} rest"#;
    for skip in [false, true] {
        let mut reader = Reader::new(&json[..]);
        if skip {
            reader.skip().unwrap();
        } else {
            reader.value(&mut Value::Null).unwrap();
        }
        assert_eq!(reader.at, json.len() as u64 - 5);
    }
}

/// The file, and the buffer, may end within the mark.
#[test]
fn a_byte_order_mark_is_skipped_whole_or_the_file_is_cut() {
    for len in 0..=4 {
        let file = &b"\xef\xbb\xbf{"[..len];
        let mut reader = Reader::new(io::BufReader::with_capacity(1, file));
        let skipped = reader.skip_byte_order_mark();
        match len {
            1 | 2 => assert!(matches!(skipped, Err(ReadError::Cut)), "{len}: {skipped:?}"),
            _ => assert!(skipped.is_ok(), "{len}: {skipped:?}"),
        }
        assert_eq!(reader.at, len.min(3) as u64);
    }
    let mut reader = Reader::new(&b"\xef{\"log\":"[..]);
    assert!(matches!(reader.skip_byte_order_mark(), Err(ReadError::Damaged(_))));
}

proptest! {
    #[test]
    fn nothing_panics(json in "[\\[\\]{}\",:\\\\u0-9a-f ]{0,64}") {
        let _ = read(json.as_bytes());
        let _ = Reader::new(json.as_bytes()).skip();
    }

    #[test]
    fn strings_are_read_as_written(text in any::<String>()) {
        let json = serde_json::to_string(&text).unwrap();
        prop_assert_eq!(self::text(&json), text.into_bytes());
    }
}
