//! Compression and binary formats.

use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use super::*;

#[test]
fn compression_without_a_label() {
    let event = EVENT.as_bytes();
    assert_url(&gzip(event), &["body > gzip > json.url"]);
    assert_url(&zlib(event), &["body > zlib > json.url"]);
    assert_url(&deflate(event), &["body > deflate > json.url"]);
    assert_url(&gzip(&gzip(event)), &["body > gzip > gzip > json.url"]);
    assert_url(&compress_to_vec(event, CompressionLevel::Fastest), &["body > zstd > json.url"]);
    let sentry =
        parse(include_bytes!("../../../../../tests/fixtures/corpus/py-sentry-br.http")).unwrap();
    assert_url(
        &sentry.body.data,
        &["body > br > jsonl[2].extra.page_url", "body > br > jsonl[2].request.url"],
    );
}

#[test]
fn compression_with_a_label() {
    let event = EVENT.as_bytes();
    let labelled = |label: &'static str, body: &[u8]| {
        let values = values_of(&request("/", &[("Content-Encoding", label)], body));
        chains_to(&values, URL)
    };
    assert_eq!(labelled("x-gzip", &gzip(event)), ["body > CE:gzip > json.url"]);
    assert_eq!(labelled("deflate", &zlib(event)), ["body > CE:deflate > json.url"]);
    assert_eq!(labelled("deflate", &deflate(event)), ["body > CE:deflate > json.url"]);
    let zstd = compress_to_vec(event, CompressionLevel::Fastest);
    assert_eq!(labelled("zstd", &zstd), ["body > CE:zstd > json.url"]);
    let twice = gzip(&zlib(event));
    assert_eq!(labelled("deflate, gzip", &twice), ["body > CE:gzip > CE:deflate > json.url"]);
    // A wrong label.
    assert_eq!(labelled("gzip", event), ["body > json.url"]);
    assert_eq!(labelled("br", event), ["body > json.url"]);
    assert_eq!(labelled("br", &gzip(event)), ["body > gzip > json.url"]);
    assert_eq!(labelled("identity", event), ["body > json.url"]);
    assert_eq!(labelled("snappy", event), ["body > json.url"]);
    let events = format!("{{\"hosts\":[\"https://a.test\",\"https://a.test\"],\"e\":{EVENT}}}");
    let snappy = snap::raw::Encoder::new().compress_vec(events.as_bytes()).unwrap();
    assert_eq!(labelled("snappy", &snappy), ["body > CE:snappy > json.e.url"]);
    assert_eq!(chains_to(&body_values(&snappy), URL), ["body > snappy > json.e.url"]);
    let lz4 = lz4_flex::block::compress_prepend_size(events.as_bytes());
    assert_eq!(labelled("lz4", &lz4), ["body > CE:lz4 > json.e.url"]);
    assert_eq!(chains_to(&body_values(&lz4), URL), ["body > lz4 > json.e.url"]);
    assert_eq!(chains_to(&body_values(&lz4[4..]), URL), ["body > lz4 > json.e.url"]);
    // Data for a dictionary that is not known are unread.
    let dictionary = [&b"\x28\xb5\x2f\xfd\x21\x07\x80\x01\x04\x00"[..], &[0x9d; 300]].concat();
    let (_, report) = body_report(&dictionary, false);
    assert_eq!(report.opaque, dictionary.len() as u64);
}

fn pb(number: u8, payload: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut len = payload.len();
    while len >= 0x80 {
        field.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    field.push(len as u8);
    field.extend_from_slice(payload);
    field
}

#[test]
fn protobuf() {
    let inner = [pb(1, b"page"), vec![0x10, 0x96, 0x01], pb(3, URL.as_bytes())].concat();
    let message = [pb(1, &inner), pb(4, EVENT.as_bytes())].concat();
    assert_url(&message, &["body > pb#1 > pb#3", "body > pb#4 > json.url"]);
    let values = body_values(&message);
    assert_eq!(values[1].key.as_deref(), Some("pb#3"));
    assert_eq!(values[0].container, values[1].container);
    // A message with a single text field is printable as a whole.
    assert_url(&pb(1, URL.as_bytes()), &["body > pb#1"]);
    let grpc = [&[0, 0, 0, 0, message.len() as u8][..], &message].concat();
    assert_url(&grpc, &["body > grpc > pb#1 > pb#3", "body > grpc > pb#4 > json.url"]);
    let packed = gzip(&message);
    let grpc = [&[1, 0, 0, 0, packed.len() as u8][..], &packed].concat();
    assert_url(
        &grpc,
        &["body > grpc > gzip > pb#1 > pb#3", "body > grpc > gzip > pb#4 > json.url"],
    );
    assert_url(
        base64(&message).as_bytes(),
        &["body > base64 > pb#1 > pb#3", "body > base64 > pb#4 > json.url"],
    );
    assert_url(&pb(2, &gzip(&inner)), &["body > pb#2 > gzip > pb#3"]);
}

#[test]
fn msgpack_and_cbor() {
    let mut document = b"\x91\x82\xa3url\xd9\x34".to_vec();
    document.extend_from_slice(URL.as_bytes());
    document.extend_from_slice(b"\xa1n\x2a");
    assert_url(&document, &["body > msgpack[0].url"]);
    let mut document = b"\xa2\x63url\x78\x34".to_vec();
    document.extend_from_slice(URL.as_bytes());
    document.extend_from_slice(b"\x61n\x18\x2a");
    assert_url(&document, &["body > cbor.url"]);
}

#[test]
fn utf16() {
    let wide: Vec<u8> = EVENT.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_url(&wide, &["body > utf16 > json.url"]);
}

#[test]
fn text_within_unknown_bytes() {
    let mut body = b"\x80\x01\x00\x01\xff\xfe\x00\x0b\x00\x01\x00\x00\x00\x34".to_vec();
    body.extend_from_slice(URL.as_bytes());
    body.extend_from_slice(b"\x00\x0b\xff\xff\xff");
    let (values, report) = body_report(&body, false);
    assert_eq!(lines(&values), [format!("body > string = {URL}")]);
    assert_eq!(report.opaque, (body.len() - URL.len()) as u64);
    // Without its length, the string may be longer than it is.
    body[13] = 0xff;
    body.splice(14..14, *b"u=");
    assert_eq!(lines(&body_values(&body)), [format!("body > text = u={URL}")]);
}

#[test]
fn multipart() {
    let mut body = b"--b\r\nContent-Disposition: form-data; name=\"events\"; filename=\"e.gz\"\r\n\
        Content-Type: application/octet-stream\r\n\r\n"
        .to_vec();
    body.extend_from_slice(&gzip(EVENT.as_bytes()));
    body.extend_from_slice(
        b"\r\n--b\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--b\r\n\
        Content-Transfer-Encoding: base64\r\n\r\n",
    );
    body.extend_from_slice(base64(EVENT.as_bytes()).as_bytes());
    body.extend_from_slice(b"\r\n--b--\r\n");
    let expected =
        ["body > multipart:events > gzip > json.url", "body > multipart:2 > base64 > json.url"];
    assert_url(&body, &expected);
    let labelled = request("/", &[("Content-Type", "multipart/form-data; boundary=b")], &body);
    let values = values_of(&labelled);
    assert_eq!(chains_to(&values, URL), expected);
    assert!(lines(&values).contains(&"body > multipart:note = hello".to_owned()));
}

#[test]
fn compression_after_a_proprietary_header() {
    let body = [&b"\x01\x02(v3\x1f\x00\x00\x00"[..], &gzip(EVENT.as_bytes())].concat();
    assert_url(&body, &["body > gzip > json.url"]);
    let (_, report) = body_report(&body, false);
    assert_eq!(report.opaque, 9);
}

#[test]
fn grpc_in_base64() {
    let message = pb(1, URL.as_bytes());
    let stream = [&[0, 0, 0, 0, message.len() as u8][..], &message].concat();
    assert_url(base64(&stream).as_bytes(), &["body > base64 > grpc > pb#1"]);
}
