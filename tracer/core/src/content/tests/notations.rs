//! Encodings in unusual notations, and values that were divided over several fields.

use super::*;

fn hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(bytes)
}

fn groups(text: &str, len: usize, separator: &str) -> String {
    let groups: Vec<&str> =
        text.as_bytes().chunks(len).map(|it| std::str::from_utf8(it).unwrap()).collect();
    groups.join(separator)
}

#[test]
fn encodings_in_groups_of_characters() {
    let base32 = data_encoding::BASE32.encode(EVENT.as_bytes());
    for (text, chain) in [
        (groups(&hex(EVENT.as_bytes()), 4, " "), "body > hex > json.url"),
        (groups(&hex(EVENT.as_bytes()), 8, "-"), "body > hex > json.url"),
        (groups(&base64(EVENT.as_bytes()), 5, "-"), "body > base64 > json.url"),
        (groups(&base64(EVENT.as_bytes()), 1, " "), "body > base64 > json.url"),
        (groups(&base32, 16, "\n"), "body > base32 > json.url"),
        (groups(EVENT, 1, "x"), "body > bytes > json.url"),
    ] {
        assert_url(text.as_bytes(), &[chain]);
    }
}

#[test]
fn hexadecimal_digits_among_other_characters() {
    let digits = hex(EVENT.as_bytes());
    for text in [format!("x'{digits}'"), format!("INSERT INTO t VALUES (0x{digits})")] {
        assert_url(text.as_bytes(), &["body > hex > json.url"]);
    }
    let host = hex(b"news.example.org");
    for path in [format!("/f/{host}.ico"), format!("/f/hex:{host}")] {
        let values = values_of(&request(&path, &[], b""));
        assert_eq!(chains_to(&values, "news.example.org"), ["path > hex"], "{path}");
    }
}

#[test]
fn data_in_the_names_of_fields() {
    let (digits, encoded) = (hex(EVENT.as_bytes()), base64(EVENT.as_bytes()));
    for (body, chain) in [
        (
            format!("{{\"{encoded}\": 1}}"),
            format!("body > json.{encoded:.80}… > base64 > json.url"),
        ),
        (format!("a=1&{digits}=1"), format!("body > form:{digits:.80}… > hex > json.url")),
    ] {
        assert_url(body.as_bytes(), &[&chain]);
    }
    let values = values_of(&request(&format!("/p?{digits}=1"), &[], b""));
    assert_eq!(chains_to(&values, URL).len(), 1);
    for name in ["x-content-type-options", "a_name_of_many_words_12345", "X-Amz-Meta-Data-1234567"]
    {
        let body = format!("{{\"{name}\": 1}}");
        assert_eq!(body_values(body.as_bytes()).len(), 1, "{name}");
    }
}

#[test]
fn a_text_that_was_divided_over_fields() {
    for encoded in
        [base64(EVENT.as_bytes()), hex(EVENT.as_bytes()), base64(&gzip(EVENT.as_bytes()))]
    {
        let pieces: Vec<&str> =
            encoded.as_bytes().chunks(30).map(|it| std::str::from_utf8(it).unwrap()).collect();
        let list = serde_json::json!({ "c": pieces }).to_string();
        let form: Vec<String> = pieces
            .iter()
            .enumerate()
            .map(|(i, piece)| format!("d{i}={}", percent(piece)))
            .collect();
        for body in [list, form.join("&")] {
            let chains = chains_to(&body_values(body.as_bytes()), URL);
            assert!(chains.iter().any(|chain| chain.contains("joined")), "{body}: {chains:?}");
        }
        let plain: Vec<String> = pieces
            .iter()
            .map(|it| it.replace('+', "-").replace('/', "_").replace('=', ""))
            .collect();
        let path = plain.join("/");
        let values = values_of(&request(&format!("/{path}"), &[], b""));
        assert!(!chains_to(&values, URL).is_empty(), "{:#?}", lines(&values));
    }
    // Values of the same length that do not belong together.
    let other =
        serde_json::json!({ "c": ["https://a.test/x", "https://b.test/y", "aHR0cHM6Ly9h"] });
    let values = body_values(other.to_string().as_bytes());
    assert!(values.iter().all(|value| !value.chain.contains("joined")), "{:#?}", lines(&values));
}

#[test]
fn bytes_that_were_all_changed_in_the_same_way() {
    let bytes = |change: fn(u8) -> u8| EVENT.bytes().map(change).collect::<Vec<u8>>();
    assert_url(&bytes(|b| b.wrapping_add(200)), &["body > bytes+200 > json.url"]);
    assert_url(&bytes(|b| b.rotate_left(3)), &["body > bits<<3 > json.url"]);
    assert_url(&bytes(u8::reverse_bits), &["body > bits-reversed > json.url"]);
    let masked: Vec<u8> =
        EVENT.bytes().zip([1, 0x9d, 0x4b].iter().cycle()).map(|(b, k)| b ^ k).collect();
    let body = serde_json::json!({ "p": hex(&masked) }).to_string();
    assert_url(body.as_bytes(), &["body > json.p > hex > xor:019d4b > json.url"]);
}

#[test]
fn numbers_of_other_sizes() {
    let text = URL.as_bytes();
    let units: Vec<u16> =
        text.chunks(2).map(|it| u16::from_le_bytes(it.try_into().unwrap())).collect();
    let words: Vec<u32> =
        text.chunks(4).map(|it| u32::from_le_bytes(it.try_into().unwrap())).collect();
    let rows: Vec<&[u8]> = text.chunks(8).collect();
    let objects: Vec<_> = text.iter().map(|byte| serde_json::json!({ "c": byte })).collect();
    let texts: Vec<String> = text.iter().map(u8::to_string).collect();
    let digits: Vec<String> = text.iter().map(|byte| format!("0x{byte:02x}")).collect();
    for list in [
        serde_json::json!(units),
        serde_json::json!(words),
        serde_json::json!(rows),
        serde_json::json!(objects),
        serde_json::json!(texts),
        serde_json::json!(digits),
    ] {
        let body = serde_json::json!({ "d": list, "n": 1 }).to_string();
        let chains = chains_to(&body_values(body.as_bytes()), URL);
        assert_eq!(chains.len(), 1, "{body}");
        assert!(chains[0].contains(" > bytes"), "{body}: {chains:?}");
    }
    let call = format!("String.fromCharCode({})", texts.join(","));
    assert_url(call.as_bytes(), &["body > bytes"]);
}

#[test]
fn streams_that_follow_each_other_and_those_without_a_header() {
    let streams = [zlib(b"[1, 2, 3]\n"), zlib(EVENT.as_bytes())].concat();
    assert_url(&streams, &["body > zlib > jsonl[1].url"]);
    let long = format!("[{EVENT},{EVENT}]");
    let without_header = &zlib(long.as_bytes())[2..];
    let values = body_values(without_header);
    assert_eq!(
        chains_to(&values, URL),
        ["body > deflate > json[0].url", "body > deflate > json[1].url"]
    );
    let mut other = without_header.to_vec();
    *other.last_mut().unwrap() ^= 1;
    assert!(chains_to(&body_values(&other), URL).is_empty(), "the checksum is wrong");
}

#[test]
fn an_address_shows_encoded_data_of_an_unknown_format() {
    let utf16: Vec<u8> = URL.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (bytes, end) in [
        ([b"\x01\x02\xff\xfe\x03", URL.as_bytes(), b"\xff\x00\xfa"].concat(), "text"),
        ([b"\0\0\0\x34", &utf16[..], b"\xff\xff\x00"].concat(), "utf16"),
    ] {
        let body = serde_json::json!({ "p": base64(&bytes) }).to_string();
        let chains = chains_to(&body_values(body.as_bytes()), URL);
        assert_eq!(chains, [format!("body > json.p > base64 > {end}")]);
    }
}

#[test]
fn bytes_as_long_as_a_hash_are_reported() {
    let digest = [&[0x9d, 0x4b, 0xe3, 0x07, 0x7a, 0x1f, 0x71, 0xc2][..]; 4].concat();
    let values = body_values(&digest);
    let found: Vec<_> = values.iter().filter(|value| value.chain == "body > digest").collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].text, hex(&digest));
    let longer = [&digest[..], &[0xff]].concat();
    assert!(body_values(&longer).iter().all(|value| value.chain != "body > digest"));
}
