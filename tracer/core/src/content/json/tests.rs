use proptest::prelude::*;

use super::*;

/// Renders values as `path=value`, with `…` after a truncated one.
fn read(input: &str, truncated: bool) -> (Vec<String>, End) {
    let mut reader = Reader::new(input.as_bytes(), truncated, 0);
    let mut containers = Containers::default();
    let mut leaves = Vec::new();
    while let Some(leaf) = reader.next_leaf(&mut containers) {
        let text = String::from_utf8_lossy(&leaf.value).into_owned();
        let cut = if leaf.truncated { "…" } else { "" };
        leaves.push(format!("{}={text}{cut}", reader.path()));
    }
    assert!(reader.position() <= input.len());
    (leaves, reader.end())
}

const DOCUMENT: &str = r#"{"batch": [{"url": "https:\/\/a.example/\u00e9\ud83d\ude00\"",
    "n": [1, -2.5e3, true, null, []], "o": {}}], "last" : "x"}"#;

#[test]
fn reads_values_with_their_paths() {
    let (leaves, end) = read(DOCUMENT, false);
    assert_eq!(
        leaves,
        [
            ".batch[0].url=https://a.example/é😀\"",
            ".batch[0].n[0]=1",
            ".batch[0].n[1]=-2.5e3",
            ".batch[0].n[2]=true",
            ".last=x",
        ]
    );
    assert_eq!(end, End::Complete);
    assert_eq!(value_len(DOCUMENT.as_bytes()), Some(DOCUMENT.len()));
}

#[test]
fn a_truncated_document_yields_the_values_before_the_cut() {
    let (whole, _) = read(DOCUMENT, false);
    for len in 0..DOCUMENT.len() {
        let Some(prefix) = DOCUMENT.get(..len) else {
            continue;
        };
        let (leaves, end) = read(prefix, true);
        assert_eq!(end, End::Truncated, "{prefix}");
        for leaf in leaves.iter().filter(|leaf| !leaf.ends_with('…')) {
            assert!(whole.contains(leaf), "{prefix}: {leaf}");
        }
        assert_eq!(value_len(prefix.as_bytes()), None);
    }
    assert_eq!(read(r#"{"a":"htt"#, true).0, [".a=htt…"]);
    assert_eq!(read(r#"{"a":12"#, true).0, [".a=12…"]);
    assert_eq!(read(r#"{"a":"x\u00"#, true).0, [".a=x…"]);
}

#[test]
fn values_carry_the_number_of_their_object() {
    let mut reader = Reader::new(br#"{"a":1,"b":{"c":2},"d":["x",{"e":3}],"f":4}"#, false, 7);
    let mut containers = Containers::default();
    let mut numbers = Vec::new();
    while let Some(leaf) = reader.next_leaf(&mut containers) {
        numbers.push((reader.path().last_key().unwrap_or_default().to_owned(), leaf.container));
    }
    let expected = [("a", 1), ("c", 2), ("d", 1), ("e", 3), ("f", 1)];
    assert_eq!(numbers, expected.map(|(key, number)| (key.to_owned(), number)));
    let mut reader = Reader::new(b"[1]", false, 7);
    assert_eq!(reader.next_leaf(&mut containers).unwrap().container, 7);
}

#[test]
fn member_names_that_are_addresses_are_values() {
    let (leaves, _) = read(r#"{"https://a.example/":{"n":1}}"#, false);
    assert_eq!(leaves, [".https://a.example/=https://a.example/", ".https://a.example/.n=1"]);
}

#[test]
fn malformed_documents_end_at_the_error() {
    for broken in ["{\"a\":1]", "{\"a\" 1}", "{1:2}", "[1 2]", "{\"a\":x}", "[\"a\"}", "[,]", "}"] {
        assert_eq!(read(broken, false).1, End::Malformed, "{broken}");
    }
    assert_eq!(read("{\"a\":\"b\"", false), (vec![".a=b".to_owned()], End::Malformed));
    assert_eq!(read("[1,]", false), (vec!["[0]=1".to_owned()], End::Complete));
    let deep = "[".repeat(100_000);
    assert_eq!(read(&deep, false).1, End::TooDeep);
}

#[test]
fn finds_the_start_of_a_document() {
    for (text, at) in [
        ("{\"a\":1}", 0),
        (" \r\n[ {", 3),
        ("\u{feff}{\"a\"", 3),
        (")]}',\n[\"a\"]", 6),
        ("for(;;);{\"a\"", 8),
        ("\u{1e}{}", 1),
        ("[12,", 0),
        ("[true]", 0),
    ] {
        assert_eq!(start(text.as_bytes()), Some(at), "{text}");
    }
    for text in ["[INFO] started", "[12 monkeys]", "{a}", "[12", "{", "plain", "[]-x", "{}x", ""] {
        assert_eq!(start(text.as_bytes()), None, "{text}");
    }
    for (text, at) in [("42[\"event\",{", 2), ("callback({\"a\":1});", 9), ("v1:[{\"a\"", 3)] {
        assert_eq!(start_after_junk(text.as_bytes()), Some(at), "{text}");
    }
    for text in ["see [1] and {x}", "a[b]", "f({})", ""] {
        assert_eq!(start_after_junk(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn quoted_documents() {
    assert!(is_quoted(br#""{\"a\":1}""#, false, false));
    assert!(is_quoted(br#""plain""#, true, false));
    assert!(!is_quoted(br#""plain""#, false, false));
    assert!(!is_quoted(br#""Chromium";v="156""#, true, false));
    assert!(is_quoted(br#""{\"a\":"#, false, true));
    assert_eq!(read(r#""{\"a\":1}""#, false), (vec![r#"={"a":1}"#.to_owned()], End::Complete));
}

#[test]
fn item_headers_declare_lengths() {
    assert_eq!(declared_length(br#"{"type":"attachment","length":10}"#), Some(10));
    assert_eq!(declared_length(br#"{"type":"x","a":{"length":10}}"#), None);
    assert_eq!(declared_length(br#"{"length":-1}"#), None);
    assert_eq!(declared_length(b""), None);
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(input in "[\\[\\]{}\",:\\\\u0-9a-f \n]{0,200}", truncated: bool) {
        read(&input, truncated);
        start(input.as_bytes());
        start_after_junk(input.as_bytes());
        value_len(input.as_bytes());
    }

    /// Reads back the output of a JSON writer.
    #[test]
    fn round_trip(values in prop::collection::vec((".{0,20}", any::<i64>()), 0..20)) {
        let document = serde_json::json!(
            values.iter().map(|(s, n)| serde_json::json!({"s": s, "n": n})).collect::<Vec<_>>()
        ).to_string();
        let mut reader = Reader::new(document.as_bytes(), false, 0);
        let mut containers = Containers::default();
        for (s, n) in &values {
            // The writer sorts members by name.
            let leaf = reader.next_leaf(&mut containers).unwrap();
            let n = n.to_string();
            prop_assert_eq!(&*leaf.value, n.as_bytes());
            let leaf = reader.next_leaf(&mut containers).unwrap();
            prop_assert_eq!(&*leaf.value, s.as_bytes());
        }
        prop_assert_eq!(reader.next_leaf(&mut containers), None);
        prop_assert_eq!(reader.end(), End::Complete);
    }
}
