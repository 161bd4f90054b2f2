//! Text encodings: what is decoded, and what must be left alone.

use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

#[test]
fn json_is_recognised_under_any_label() {
    assert_url(EVENT.as_bytes(), &["body > json.url"]);
    assert_url(format!("\u{feff} {EVENT}\n").as_bytes(), &["body > json.url"]);
    assert_url(format!(")]}}',\n{EVENT}").as_bytes(), &["body > json.url"]);
    assert_url(format!("[{EVENT}]").as_bytes(), &["body > json[0].url"]);
    for label in ["application/x-www-form-urlencoded", "image/gif", "application/x-protobuf"] {
        let request = request("/", &[("content-type", label)], EVENT.as_bytes());
        assert_eq!(chains_to(&values_of(&request), URL), ["body > json.url"], "{label}");
    }
}

#[test]
fn json_inside_json() {
    let inner = serde_json::json!({ "payload": EVENT }).to_string();
    assert_url(inner.as_bytes(), &["body > json.payload > json.url"]);
    let quoted = serde_json::to_string(EVENT).unwrap();
    assert_url(quoted.as_bytes(), &["body > json > json.url"]);
    let message = format!("42[\"event\",{EVENT}]");
    let chains = chains_to(&body_values(message.as_bytes()), URL);
    assert_eq!(chains, ["body", "body > json[1].url"]);
}

/// Covers MIME line breaks, individually padded pieces, a tag in front and a
/// header inside.
#[test]
fn base64_in_its_usual_variants() {
    let encoded = encode(EVENT.as_bytes(), Alphabet::Standard, true);
    let lines: String = encoded
        .as_bytes()
        .chunks(76)
        .map(|l| format!("{}\r\n", String::from_utf8_lossy(l)))
        .collect();
    assert_url(lines.as_bytes(), &["body > base64 > json.url"]);
    for tag in ["1", "v2", "abc", "key4data"] {
        let body = serde_json::json!({ "d": format!("{tag}{encoded}") }).to_string();
        assert_url(body.as_bytes(), &["body > json.d > base64 > json.url"]);
    }
    for header in [&b"\x01"[..], &[0, 0, 0, 99], &[1, 0, 0, 0, 0, 0, 0, 99]] {
        let inner = base64(&[header, EVENT.as_bytes()].concat());
        let body = serde_json::json!({ "d": inner }).to_string();
        assert_url(body.as_bytes(), &["body > json.d > base64 > json.url"]);
    }
}

/// Statsig's SDK writes its base64 backwards.
#[test]
fn reversed_and_rotated_text_is_recovered() {
    let backwards = |text: &str| text.chars().rev().collect::<String>();
    let rotate = |text: &str| -> String {
        let rotated = |c: char| match c {
            'a'..='z' => char::from((c as u8 - b'a' + 13) % 26 + b'a'),
            'A'..='Z' => char::from((c as u8 - b'A' + 13) % 26 + b'A'),
            other => other,
        };
        text.chars().map(rotated).collect()
    };
    let in_field = |text: String| serde_json::json!({ "d": text }).to_string();
    assert_url(in_field(backwards(URL)).as_bytes(), &["body > json.d > reversed"]);
    assert_url(in_field(rotate(URL)).as_bytes(), &["body > json.d > rot13"]);
    assert_url(backwards(EVENT).as_bytes(), &["body > reversed > json.url"]);
    let encoded = backwards(&base64(EVENT.as_bytes()));
    let chain = "json.d > reversed > base64 > json.url";
    assert_url(in_field(encoded.clone()).as_bytes(), &[&format!("body > {chain}")]);
    assert_url(encoded.as_bytes(), &["body > reversed > base64 > json.url"]);
    // Reversed and plain URLs in one text would be reversed forever without
    // limits.
    let both = format!("{URL} {}", backwards(URL)).repeat(100);
    let (_, report) = body_report(both.as_bytes(), false);
    assert!(report.output <= Limits::default().output);
}

/// A short key does not protect text or compressed data.
#[test]
fn short_xor_keys_are_recovered() {
    let masked = |key: &[u8], plain: &[u8]| -> Vec<u8> {
        plain.iter().zip(key.iter().cycle()).map(|(a, b)| a ^ b).collect()
    };
    for key in [&b"\x5a"[..], b"\xa5", b"k9", b"\x01\x02\x03", b"secret", b"\xde\xad\xbe\xefmask"] {
        let step = format!("xor:{}", data_encoding::HEXLOWER.encode(key));
        let text = masked(key, EVENT.as_bytes());
        assert_url(&text, &[&format!("body > {step} > json.url")]);
        let body = serde_json::json!({ "d": base64(&text) }).to_string();
        assert_url(body.as_bytes(), &[&format!("body > json.d > base64 > {step} > json.url")]);
        let gzip = masked(key, &gzip(EVENT.as_bytes()));
        assert_url(&gzip, &[&format!("body > {step} > gzip > json.url")]);
    }
    for key in [&b"\xa5"[..], b"\xf0\x9f", b"\x90\x91\x92"] {
        let url = "https://news.example.org/a";
        let body = serde_json::json!({ "d": base64(&masked(key, url.as_bytes())) }).to_string();
        let step = format!("xor:{}", data_encoding::HEXLOWER.encode(key));
        let chain = format!("body > json.d > base64 > {step}");
        assert_eq!(chains_to(&body_values(body.as_bytes()), url), [chain]);
    }
    // A prefix never yields a different address.
    for key in [&b"\x5a"[..], b"\xa5\x11", b"\xde\xad\xbe\xefmask"] {
        let whole = masked(key, EVENT.as_bytes());
        for len in 0..whole.len() {
            let (values, _) = body_report(&whole[..len], true);
            for seen in values.iter().filter(|seen| seen.text.contains("://")) {
                assert!(URL.starts_with(&seen.text), "{len}: {seen:?}");
            }
        }
    }
    let step = "xor:77 > zlib > json.url";
    assert_url(&masked(b"w", &zlib(EVENT.as_bytes())), &[&format!("body > {step}")]);
}

#[test]
fn markup_is_a_tree() {
    let body = format!(
        "<e xmlns='http://s.test/1' u=\"{URL}&amp;r=1\"><u>{}</u><d>{}</d></e>",
        URL.replace('/', "&#x2F;"),
        base64(EVENT.as_bytes())
    );
    let values = body_values(body.as_bytes());
    assert_eq!(chains_to(&values, &format!("{URL}&r=1")), ["body > xml.e.u"]);
    let found = chains_to(&values, URL);
    assert_eq!(found, ["body > xml.e.u", "body > xml.e.u", "body > xml.e.d > base64 > json.url"]);
    assert!(lines(&values).contains(&"body > xmlns.e.xmlns = http://s.test/1".to_owned()));
    // Text that only begins like markup.
    let body = format!("a <b>{URL}&amp;r=1</b>");
    assert_eq!(
        chains_to(&body_values(body.as_bytes()), &format!("{URL}&r=1")),
        ["body > entities"]
    );
}

#[test]
fn grpc_web_text_may_contain_padding() {
    let message = [&[0x0a, URL.len() as u8][..], URL.as_bytes()].concat();
    let frame = [&[0, 0, 0, 0, message.len() as u8][..], &message].concat();
    let (head, tail) = frame.split_at(20);
    let text = [head, tail].map(|piece| encode(piece, Alphabet::Standard, true)).concat();
    let label = ("content-type", "application/grpc-web-text+proto");
    let request = request("/", &[label], text.as_bytes());
    assert_eq!(chains_to(&values_of(&request), URL), ["body > base64 > grpc > pb#1"]);
}

/// Raw deflate and brotli carry no marker.
#[test]
fn unmarked_compression_is_found_in_fields() {
    let event = serde_json::json!([EVENT]).to_string();
    let deflate = deflate(event.as_bytes());
    let body = serde_json::json!({ "d": encode(&deflate, Alphabet::Standard, true) }).to_string();
    let inner = "json[0] > json.url";
    assert_url(body.as_bytes(), &[&format!("body > json.d > base64 > deflate > {inner}")]);
    let field = [&[0x08, 7, 0x12, deflate.len() as u8][..], &deflate].concat();
    assert!(deflate.len() < 128);
    let request = request("/", &[("content-type", "application/x-protobuf")], &field);
    let chains = chains_to(&values_of(&request), URL);
    assert_eq!(chains, [format!("body > pb#2 > deflate > {inner}")]);
}

/// Encrypted data written as text is reported as text and counted as unread.
#[test]
fn encrypted_text_counts_as_unread() {
    let secret: Vec<u8> =
        (0u32..300).map(|i| (i.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let base64 = encode(&secret, Alphabet::Standard, true);
    let reversed: String = base64.trim_end_matches('=').chars().rev().collect();
    let hex = data_encoding::HEXLOWER.encode(&secret);
    for text in [&base64, &reversed, &hex] {
        let body = serde_json::json!({ "d": text }).to_string();
        let (_, report) = body_report(body.as_bytes(), false);
        assert!(report.opaque + 2 >= text.len() as u64, "{text}: {report:?}");
    }
    let signature = encode(&secret[..64], Alphabet::Standard, true);
    let (_, report) =
        body_report(serde_json::json!({ "s": signature }).to_string().as_bytes(), false);
    assert_eq!(report.opaque, 0);
    // Tokens in the head are credentials.
    let request =
        parse(format!("GET / HTTP/1.1\r\nAuthorization: {base64}\r\n\r\n").as_bytes()).unwrap();
    let (_, report) = collect(|visit| unwrap(&request, &Limits::default(), visit));
    assert_eq!(report.opaque, 0);
}

#[test]
fn json_sequences() {
    let lines = format!("{{\"a\":1}}\n\n{EVENT}\r\n{EVENT}\n");
    assert_url(lines.as_bytes(), &["body > jsonl[1].url", "body > jsonl[2].url"]);
    assert_url(
        format!("{EVENT}{EVENT}").as_bytes(),
        &["body > jsonl[0].url", "body > jsonl[1].url"],
    );
    assert_url(format!("\x1e{EVENT}\n").as_bytes(), &["body > json.url"]);
    let values = body_values(format!("{EVENT}\n{EVENT}").as_bytes());
    assert_ne!(values[0].container, values[2].container);
    assert_eq!(values[0].container, values[1].container);
}

#[test]
fn envelopes_may_hold_items_of_other_formats() {
    let mut body = b"{\"event_id\":\"x\"}\n{\"type\":\"attachment\",\"length\":".to_vec();
    let item = gzip(EVENT.as_bytes());
    body.extend_from_slice(format!("{}}}\n", item.len()).as_bytes());
    body.extend_from_slice(&item);
    body.extend_from_slice(
        b"\n{\"type\":\"log\"}\nsaw https://news.example.org/politics/story-42?q=private\n",
    );
    body.extend_from_slice(EVENT.as_bytes());
    assert_url(
        &body,
        &["body > jsonl[2] > gzip > json.url", "body > jsonl[4]", "body > jsonl[5].url"],
    );
}

#[test]
fn malformed_json_loses_no_text() {
    let body = format!("{{\"a\": \"b\", oops {EVENT}");
    assert_eq!(
        lines(&body_values(body.as_bytes()))[..2],
        ["body > json.a = b".to_owned(), format!("body > fragment = oops {EVENT}")]
    );
    let body = format!("[WARN] {URL}");
    assert_eq!(lines(&body_values(body.as_bytes())), [format!("body = [WARN] {URL}")]);
}

#[test]
fn forms_are_recognised_under_any_label() {
    let form = format!("v=1&dl={}&t=page+view", percent(URL));
    assert_eq!(
        lines(&body_values(form.as_bytes())),
        [
            "body > form:v = 1".to_owned(),
            format!("body > form:dl = {URL}"),
            "body > form:t = page view".to_owned()
        ]
    );
    let one = format!("data={}", percent(EVENT));
    assert_url(one.as_bytes(), &["body > form:data > json.url"]);
    assert_url(format!("data={EVENT}").as_bytes(), &["body > form:data > json.url"]);
    let hits = format!("en=view&dl={}\r\nen=scroll&dl=x", percent(URL));
    let values = body_values(hits.as_bytes());
    assert_eq!(chains_to(&values, URL), ["body > form:dl"]);
    assert_eq!(values[0].container, values[1].container);
    assert_ne!(values[1].container, values[2].container);
    assert_eq!(lines(&body_values(b"PING")), ["body = PING"]);
}

#[test]
fn query_strings_inside_json() {
    let hit = format!("?idsite=1&rec=1&url={}", percent(URL));
    let body = serde_json::json!({ "requests": [hit], "token_auth": "x" }).to_string();
    assert_url(body.as_bytes(), &["body > json.requests[0] > form:url"]);
    let values = body_values(body.as_bytes());
    let keys: Vec<_> = values.iter().map(|v| v.key.as_deref().unwrap()).collect();
    assert_eq!(keys, ["requests", "idsite", "rec", "url", "token_auth"]);
}

#[test]
fn repeated_percent_encoding_is_decoded() {
    let redirect = format!("https://r.example/?u={}", percent(URL));
    let body = serde_json::json!({ "to": redirect }).to_string();
    assert_url(body.as_bytes(), &["body > json.to > percent"]);
    let thrice = percent(percent(percent(URL)));
    assert_url(format!("u={thrice}").as_bytes(), &["body > form:u > percent > percent"]);
    let odd = "100% of 50%";
    assert_eq!(lines(&body_values(odd.as_bytes())), [format!("body = {odd}")]);
}

#[test]
fn base64_in_every_context() {
    let event = EVENT.as_bytes();
    let url = encode(b"{\"a\":\"\xc3\xbf\xc3\xbf\xc3\xbe?>~\",\"u\":\"x\"}", Alphabet::Url, false);
    assert!(url.contains(['-', '_']));
    assert!(
        lines(&body_values(url.as_bytes())).contains(&"body > base64url > json.u = x".to_owned())
    );

    let chain = "body > base64 > json.url";
    assert_url(base64(event).as_bytes(), &[chain]);
    assert_url(encode(event, Alphabet::Standard, false).as_bytes(), &[chain]);
    let wrapped: Vec<_> = base64(event).as_bytes().chunks(76).map(<[u8]>::to_vec).collect();
    assert_url(&wrapped.join(&b"\r\n"[..]), &[chain]);
    assert_url(format!("v1:{}", base64(event)).as_bytes(), &[chain]);
    assert_url(format!("data:application/json;base64,{}", base64(event)).as_bytes(), &[chain]);
    assert_url(format!("https://t.example/r?d={}", base64(event)).as_bytes(), &[chain]);
    let segment = format!("/r/{}/x.gif", encode(event, Alphabet::Url, false));
    assert_url(segment.as_bytes(), &["body > base64url > json.url"]);
    assert_url(base64(base64(event).as_bytes()).as_bytes(), &["body > base64 > base64 > json.url"]);
    assert_url(base64(URL.as_bytes()).as_bytes(), &["body > base64"]);
    assert_url(base64(&zlib(event)).as_bytes(), &["body > base64 > zlib > json.url"]);
    assert_url(
        base64(&compress_to_vec(event, CompressionLevel::Fastest)).as_bytes(),
        &["body > base64 > zstd > json.url"],
    );

    let jwt = format!(
        "{}.{}.c2lnbmF0dXJlIG9mIGl0IQ",
        encode(b"{\"alg\":\"none\"}", Alphabet::Url, false),
        encode(event, Alphabet::Url, false)
    );
    assert_url(jwt.as_bytes(), &["body > base64url > json.url"]);
}

#[test]
fn base64_with_plus_signs_decoded_as_spaces() {
    let event = format!("{{\"t\":\"{}\",\"url\":\"{URL}\"}}", "~>~>~>");
    let encoded = base64(event.as_bytes());
    assert!(encoded.contains('+'));
    assert_url(format!("data={encoded}").as_bytes(), &["body > form:data > base64 > json.url"]);
}

#[test]
fn words_and_identifiers_are_not_base64() {
    for text in [
        "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11",
        "7f3c2a109b1e4c578f7e5d0a2b6c9e11",
        "17953820611795382061",
        "ApplicationDidBecomeActiveNotification",
        "com/google/android/gms/measurement/internal",
        "internationalization",
        "the quick brown fox jumps over the lazy dog",
        "SegmentationModelMetadata",
        "0fce3109e4a0c5ffc62941503f27c3e97ea6b8ac3c1914b184a0f5f1c7a482fa",
        "ML-DSA-44-16:O0GAJ29nGMsfrDB5GLb5wF1JCcTjTAg8ckIY3al1vyE",
        "ceofaddefefcbblgcgnibnonglccbfja,gcmjkmgdlgnkkcocmoeiminaijmmjnii",
    ] {
        assert_eq!(lines(&body_values(text.as_bytes())), [format!("body = {text}")]);
    }
}

#[test]
fn hex() {
    let hex: String = EVENT.bytes().map(|b| format!("{b:02x}")).collect();
    assert_url(hex.as_bytes(), &["body > hex > json.url"]);
    let hex: String = gzip(EVENT.as_bytes()).iter().map(|b| format!("{b:02X}")).collect();
    assert_url(hex.as_bytes(), &["body > hex > gzip > json.url"]);
}

#[test]
fn parameter_names_that_are_addresses() {
    let body = format!("{}=3&b=2", percent(URL));
    assert_eq!(chains_to(&body_values(body.as_bytes()), URL), [format!("body > form:{URL}")]);
    let body = serde_json::json!({ "visits": { URL: 3 } }).to_string();
    let values = body_values(body.as_bytes());
    assert_eq!(values[0].text, URL);
    assert_eq!(values[1].text, "3");
}

/// Encodings that are unusual for reports, and easy to write.
#[test]
fn unusual_encodings_are_decoded() {
    let each = |write: fn(u8) -> String| EVENT.bytes().map(write).collect::<Vec<_>>();
    let shift = |places: i32| -> String {
        EVENT
            .chars()
            .map(|c| char::from_u32((u32::from(c)).wrapping_add_signed(places)).unwrap())
            .collect()
    };
    let rot47 = |c: char| match c {
        '!'..='~' => char::from((c as u8 - b'!' + 47) % 94 + b'!'),
        other => other,
    };
    for (text, step) in [
        (each(|b| format!("\\{b:03o}")).concat(), "escaped"),
        (each(|b| format!("\\x{b:02x}")).concat(), "escaped"),
        (each(|b| format!("\\u{b:04x}")).concat(), "escaped"),
        (each(|b| format!("\\u{{{b:x}}}")).concat(), "escaped"),
        (each(|b| format!("{b:08b}")).join(" "), "bytes"),
        (each(|b| format!("{b:08b}")).concat(), "bytes"),
        (each(|b| format!("{b:03o}")).join(" "), "bytes"),
        (each(|b| format!("{b:03}")).concat(), "bytes"),
        (EVENT.chars().map(rot47).collect(), "rot47"),
        (shift(1), "characters+1"),
        (shift(0xfee0), "characters+65248"),
    ] {
        let body = serde_json::json!({ "d": text }).to_string();
        assert_url(body.as_bytes(), &[&format!("body > json.d > {step} > json.url")]);
        assert_url(text.as_bytes(), &[&format!("body > {step} > json.url")]);
        for len in (0..text.len()).filter(|&len| text.is_char_boundary(len)) {
            let (values, _) = body_report(&text.as_bytes()[..len], true);
            for seen in values.iter().filter(|seen| seen.text.contains("https://")) {
                assert!(URL.starts_with(&seen.text) || seen.truncated, "{text} to {len}: {seen:?}");
            }
        }
    }
    let little: Vec<u8> = EVENT.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
    let big: Vec<u8> = EVENT.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
    for (mark, text) in [
        (&[][..], &little),
        (&[], &big),
        (&[0xff, 0xfe, 0, 0], &little),
        (&[0, 0, 0xfe, 0xff], &big),
    ] {
        let text = [mark, text].concat();
        assert_url(&text, &["body > utf32 > json.url"]);
        let body = serde_json::json!({ "d": base64(&text) }).to_string();
        assert_url(body.as_bytes(), &["body > json.d > base64 > utf32 > json.url"]);
    }
}

#[test]
fn digits_are_rotated_with_letters_if_a_visit_shows_it() {
    let rot18 = |c: char| match c {
        'a'..='z' => char::from((c as u8 - b'a' + 13) % 26 + b'a'),
        '0'..='9' => char::from((c as u8 - b'0' + 5) % 10 + b'0'),
        other => other,
    };
    let text: String = URL.chars().map(rot18).collect();
    let body = serde_json::json!({ "d": text }).to_string();
    let request = request("/", &[], body.as_bytes());
    let chains = |known: &[&str]| {
        let (values, _) = collect(|visit| {
            let mut memo = Memo::default();
            unwrap_with(&request, &Limits::default(), known, &mut memo, |value, _| visit(value))
        });
        chains_to(&values, URL)
    };
    assert_eq!(
        chains(&["news.example.org/politics/story-42?q=private"]),
        ["body > json.d > rot18"]
    );
    assert!(chains(&[]).is_empty());
}

#[test]
fn base64_with_other_marks() {
    let packed = gzip(format!("{EVENT}{EVENT}~~~???>>>").as_bytes());
    let encoded = base64(&packed);
    assert!(encoded.contains(['+', '/']));
    for [plus, slash, padding] in
        [['.', '_', '-'], ['*', '!', '~'], ['-', '_', '.'], [',', ':', '$']]
    {
        let text: String = encoded
            .chars()
            .map(|c| match c {
                '+' => plus,
                '/' => slash,
                '=' => padding,
                other => other,
            })
            .collect();
        let body = serde_json::json!({ "d": text }).to_string();
        assert_eq!(chains_to(&body_values(body.as_bytes()), URL).len(), 2, "{text}");
    }
    let groups: Vec<_> = encoded.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    let body = serde_json::json!({ "d": groups.join(" ") }).to_string();
    assert_eq!(chains_to(&body_values(body.as_bytes()), URL).len(), 2);
    // Lines that were encoded one by one.
    let lines = [URL, "another line"].map(|line| base64(line.as_bytes())).join("\n");
    let texts: Vec<String> =
        body_values(lines.as_bytes()).into_iter().map(|seen| seen.text).collect();
    assert!(texts.contains(&URL.to_owned()), "{texts:?}");
}

#[test]
fn hexadecimal_in_another_order() {
    let hex: String = EVENT.bytes().map(|b| format!("{b:02x}")).collect();
    let swapped: String = EVENT.bytes().map(|b| format!("{:x}{:x}", b & 15, b >> 4)).collect();
    let backwards: String = hex.chars().rev().collect();
    assert_url(swapped.as_bytes(), &["body > hex-swapped > json.url"]);
    assert_url(backwards.as_bytes(), &["body > reversed > hex > json.url"]);
}

#[test]
fn hidden_characters_do_not_hide_an_address() {
    let text: String = URL.chars().flat_map(|c| [c, '\u{200b}']).collect();
    let body = serde_json::json!({ "d": text }).to_string();
    assert_url(body.as_bytes(), &["body > json.d > invisible"]);
    let bits = EVENT.bytes().flat_map(|byte| {
        (0..8).rev().map(move |at| if byte >> at & 1 == 1 { '\u{200c}' } else { '\u{200b}' })
    });
    let body = serde_json::json!({ "d": format!("nothing{}", bits.collect::<String>()) });
    assert_url(body.to_string().as_bytes(), &["body > json.d > invisible > json.url"]);
}

#[test]
fn names_of_html_are_entities() {
    let text = URL.replace(':', "&colon;").replace('/', "&sol;").replace('?', "&quest;");
    let body = serde_json::json!({ "d": text.replace('=', "&equals;") }).to_string();
    assert_url(body.as_bytes(), &["body > json.d > entities"]);
}

#[test]
fn quotation_marks_around_an_encoding_are_removed() {
    let hex: String = EVENT.bytes().map(|b| format!("{b:02x}")).collect();
    for value in [format!("\"{hex}\""), format!("W/\"{}\"", base64(EVENT.as_bytes()))] {
        let head = format!("GET / HTTP/1.1\r\nIf-None-Match: {value}\r\n\r\n");
        assert_eq!(chains_to(&values_in(head.as_bytes()), URL).len(), 1, "{value}");
    }
}

#[test]
fn credentials_are_a_user_and_a_password() {
    for (plain, values) in [
        (format!("{URL}:x"), [URL, "x"]),
        (format!("{URL}:"), [URL, ""]),
        (format!("user:{URL}"), ["user", URL]),
        ("user:pass:word".to_owned(), ["user", "pass:word"]),
        ("user:".to_owned(), ["user", ""]),
    ] {
        let head =
            format!("GET / HTTP/1.1\r\nAuthorization: Basic {}\r\n\r\n", base64(plain.as_bytes()));
        let found = values_in(head.as_bytes());
        let found =
            found.iter().filter(|seen| seen.chain.starts_with("header:Authorization > base64"));
        let found: Vec<&str> = found.map(|seen| &*seen.text).collect();
        let expected: Vec<&str> = values.into_iter().filter(|text| !text.is_empty()).collect();
        assert_eq!(found, expected, "{plain}");
    }
}

#[test]
fn escaped_addresses_outside_json() {
    let text = format!("reporting \"{}\"", URL.replace('/', "\\/"));
    assert_url(text.as_bytes(), &["body > escaped"]);
}

/// Whatever replaces the characters of a visited URL, it stays recognisable.
#[test]
fn visited_urls_in_alphabets_of_their_own() {
    const KNOWN: [&str; 1] = ["news.example.org/politics/story-42?q=private"];
    let urls = |body: &str, known: &[&str]| -> Vec<String> {
        let request = request("/", &[("content-type", "text/plain")], body.as_bytes());
        let mut urls = Vec::new();
        let mut memo = Memo::default();
        unwrap_with(&request, &Limits::default(), known, &mut memo, |value, _| {
            if value.text.contains(KNOWN[0]) {
                urls.push(value.chain.to_string());
            }
        });
        urls
    };
    const DIGITS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let turned = |c: char| match DIGITS.find(c) {
        Some(at) => char::from(DIGITS.as_bytes()[DIGITS.len() - 1 - at]),
        None => c,
    };
    let shuffled = |c: char| char::from((33 + (c as u32 - 33) * 7 % 94) as u8);
    let words: Vec<String> = URL.bytes().map(|byte| format!("w{byte}")).collect();
    let numbers: Vec<u32> = URL.bytes().map(|byte| u32::from(byte) * 3).collect();
    let encoded = base64(EVENT.as_bytes());
    let encoded = encoded.trim_end_matches('=').chars().map(turned);
    for (body, chain) in [
        (URL.chars().map(shuffled).collect(), "body > substitution"),
        (format!("{{\"d\":\"{}\"}}", words.join(" ")), "body > json.d > substitution"),
        (format!("{{\"d\":{numbers:?}}}"), "body > json.d > substitution"),
        (encoded.collect(), "body > substitution"),
    ] {
        assert_eq!(urls(&body, &KNOWN), [chain], "{body}");
        assert!(urls(&body, &["other.example/politics/story-42?q=private"]).is_empty(), "{body}");
        assert!(urls(&body, &[]).is_empty(), "{body}");
    }
}

#[test]
fn dumps_and_what_surrounds_parts_of_forms() {
    let mut dump = String::new();
    for (at, line) in EVENT.as_bytes().chunks(16).enumerate() {
        let hex: Vec<String> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = String::from_utf8_lossy(line);
        dump.push_str(&format!("{:08x}  {:<47}  |{text}|\n", at * 16, hex.join(" ")));
    }
    assert_url(dump.as_bytes(), &["body > dump > json.url"]);
    let part = "--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n";
    for body in [format!("{EVENT}\r\n{part}--b--\r\n"), format!("{part}--b--\r\n{EVENT}")] {
        let kind = [("content-type", "multipart/form-data; boundary=b")];
        let request = request("/", &kind, body.as_bytes());
        assert_eq!(chains_to(&values_of(&request), URL), ["body > multipart: > json.url"]);
    }
    let mut request = request("/", &[], b"content");
    request.body.chunked = true;
    request.body.extensions = Bytes::from(format!("a=b\nu={URL}"));
    assert_eq!(chains_to(&values_of(&request), URL), ["body > chunked > pair:u"]);
}
