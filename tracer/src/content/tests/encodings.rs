//! Encodings that are text: what each gives, and what it does not.

use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

#[test]
fn json_under_any_label() {
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
fn envelopes_with_items_of_other_kinds() {
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
fn broken_json_loses_nothing() {
    let body = format!("{{\"a\": \"b\", oops {EVENT}");
    assert_eq!(
        lines(&body_values(body.as_bytes()))[..2],
        ["body > json.a = b".to_owned(), format!("body > fragment = oops {EVENT}")]
    );
    let body = format!("[WARN] {URL}");
    assert_eq!(lines(&body_values(body.as_bytes())), [format!("body = [WARN] {URL}")]);
}

#[test]
fn forms_under_any_label() {
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
fn percent_again_and_again() {
    let redirect = format!("https://r.example/?u={}", percent(URL));
    let body = serde_json::json!({ "to": redirect }).to_string();
    assert_url(body.as_bytes(), &["body > json.to > percent"]);
    let thrice = percent(percent(percent(URL)));
    assert_url(format!("u={thrice}").as_bytes(), &["body > form:u > percent > percent"]);
    let odd = "100% of 50%";
    assert_eq!(lines(&body_values(odd.as_bytes())), [format!("body = {odd}")]);
}

#[test]
fn base64_in_every_dress() {
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
fn base64_in_a_form_that_lost_its_plus_signs() {
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
fn names_that_are_addresses() {
    let body = format!("{}=3&b=2", percent(URL));
    assert_eq!(chains_to(&body_values(body.as_bytes()), URL), [format!("body > form:{URL}")]);
    let body = serde_json::json!({ "visits": { URL: 3 } }).to_string();
    let values = body_values(body.as_bytes());
    assert_eq!(values[0].text, URL);
    assert_eq!(values[1].text, "3");
}

#[test]
fn escaped_addresses_outside_of_json() {
    let text = format!("reporting \"{}\"", URL.replace('/', "\\/"));
    assert_url(text.as_bytes(), &["body > escaped"]);
}
