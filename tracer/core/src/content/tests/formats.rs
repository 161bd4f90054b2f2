//! Archives, markup, numbers, LZ-String, names with values, and strings behind their
//! length.

use super::*;

/// Asserts that no prefix of a body holds a URL that the body does not hold.
#[track_caller]
fn assert_prefixes_agree(body: &[u8]) {
    for len in 0..body.len() {
        let (values, report) = body_report(&body[..len], true);
        for seen in values.iter().filter(|seen| seen.text.contains("://") && !seen.truncated) {
            assert!(seen.text.contains(URL), "{len}: {seen:?}");
        }
        assert!(report.unread() <= len as u64, "{len}: {report:?}");
    }
}

fn numbers(bytes: &[u8]) -> String {
    bytes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

#[test]
fn bytes_written_as_numbers() {
    let gzip = gzip(EVENT.as_bytes());
    let buffer =
        format!("{{\"payload\": {{\"type\": \"Buffer\", \"data\": [{}]}}}}", numbers(&gzip));
    assert_url(buffer.as_bytes(), &["body > json.payload.data > bytes > gzip > json.url"]);
    assert_prefixes_agree(buffer.as_bytes());
    let signed: Vec<i8> = gzip.iter().map(|b| b.cast_signed()).collect();
    let body = serde_json::json!({ "d": signed, "n": 1 }).to_string();
    assert_url(body.as_bytes(), &["body > json.d > bytes > gzip > json.url"]);
    let indexed: serde_json::Map<String, serde_json::Value> =
        gzip.iter().enumerate().map(|(i, b)| (i.to_string(), (*b).into())).collect();
    let pairs: Vec<String> =
        (0..gzip.len()).map(|i| format!("\"{i}\": {}", indexed[&i.to_string()])).collect();
    let body = format!("{{\"d\": {{{}}}}}", pairs.join(", "));
    assert_url(body.as_bytes(), &["body > json.d > bytes > gzip > json.url"]);
    let characters: Vec<u16> = format!("{URL}&t=日本").encode_utf16().collect();
    let body = serde_json::json!([characters, [1, 2]]).to_string();
    assert_url(body.as_bytes(), &["body > json[0] > bytes"]);
    let list = serde_json::json!({ "d": numbers(EVENT.as_bytes()) }).to_string();
    assert_url(list.as_bytes(), &["body > json.d > bytes > json.url"]);
    let hex: Vec<String> = gzip.iter().map(|b| format!("{b:02X}")).collect();
    assert_url(hex.join(" ").as_bytes(), &["body > bytes > gzip > json.url"]);
    let characters: Vec<String> = EVENT.chars().map(String::from).collect();
    let body = serde_json::json!({ "d": characters }).to_string();
    assert_url(body.as_bytes(), &["body > json.d > bytes > json.url"]);
    assert_prefixes_agree(body.as_bytes());
    let bits = EVENT.bytes().flat_map(|b| (0..8).rev().map(move |at| b >> at & 1));
    let body = serde_json::json!({ "d": bits.collect::<Vec<u8>>() }).to_string();
    assert_url(body.as_bytes(), &["body > json.d > bytes > json.url"]);
    // Numbers that are numbers, and bytes that nothing reads.
    let counts: Vec<u32> = (0..200).map(|i| i * 37 % 90).collect();
    let (values, report) =
        body_report(serde_json::json!({ "n": counts }).to_string().as_bytes(), false);
    assert!(values.iter().all(|seen| !seen.chain.contains("bytes")));
    assert_eq!(report.opaque, 0);
    let secret = Noise::new(1).bytes(300);
    let body = serde_json::json!({ "d": secret }).to_string();
    let (_, report) = body_report(body.as_bytes(), false);
    assert!(report.opaque > 600 && report.opaque <= body.len() as u64, "{report:?}");
}

#[test]
fn bytes_written_as_characters() {
    let latin1 = |bytes: &[u8]| bytes.iter().map(|&b| char::from(b)).collect::<String>();
    let body = serde_json::json!({ "d": latin1(&gzip(EVENT.as_bytes())) }).to_string();
    assert_url(body.as_bytes(), &["body > json.d > latin1 > gzip > json.url"]);
    assert_prefixes_agree(body.as_bytes());
    assert_url(latin1(&zlib(EVENT.as_bytes())).as_bytes(), &["body > latin1 > zlib > json.url"]);
    let deflated = deflate(serde_json::json!([EVENT]).to_string().as_bytes());
    let body = serde_json::json!({ "d": latin1(&deflated) }).to_string();
    assert_url(body.as_bytes(), &["body > json.d > latin1 > deflate > json[0] > json.url"]);
}

#[test]
fn lz_string_in_every_form() {
    const BASE64: &str = "N4IgpgbmB2AuIC4QQJZgO4gDQgK4CcAbREAC1lgAcBnBAejug2oDowAPAQwFtLCwWAe3wBzOpUGEUsFAGNqdarGEBPALQAWAEwB+AI4BeSvhQROsMCAC+QA=";
    const UTF16: &str = "\u{1be1}\u{849}\u{40fc}\u{6096}\u{191}\u{d8}\u{20a1}\u{1680}\u{1de4}\u{f0}\u{4077}\u{bc}\u{fa}\u{1120}\u{5cc}\u{5820}\u{382c}\u{7060}\u{3d3d}\u{6856}\u{503d}\u{c20}\u{1e22}\u{c25}\u{5a78}\u{2c36}\u{116}\u{7c21}\u{6695}\u{1526}\u{8c5}\u{4160}\u{c8d}\u{277a}\u{5650}\u{406f}z6F\u{9e}g~\u{259c}\u{1431}\u{1d81}\u{40a0}\u{612}  ";
    const BYTES: &str = "378220a606e607602e202e104096603b88034202b809c01b444002d658007019c101e8ee836a03a3000f010c05b4b0b05807b7c01ccea5418452c14018da9d6ab18404f00b40058013007e008e01792be14113ac302002f90000";
    assert_url(BASE64.as_bytes(), &["body > lz-string > json.url"]);
    let uri = BASE64.trim_end_matches('=').replace('/', "-");
    assert_url(format!("v=1&d={uri}").as_bytes(), &["body > form:d > lz-string > json.url"]);
    let body = serde_json::json!({ "d": UTF16 }).to_string();
    assert_url(body.as_bytes(), &["body > json.d > lz-string > json.url"]);
    assert_prefixes_agree(body.as_bytes());
    let bytes = data_encoding::HEXLOWER.decode(BYTES.as_bytes()).unwrap();
    assert_url(&bytes, &["body > lz-string > json.url"]);
    assert_prefixes_agree(&bytes);
}

pub(super) fn zip(name: &str, method: u16, flags: u16, data: &[u8], plain: usize) -> Vec<u8> {
    let mut entry = b"PK\x03\x04\x14\0".to_vec();
    entry.extend_from_slice(&flags.to_le_bytes());
    entry.extend_from_slice(&method.to_le_bytes());
    entry.extend_from_slice(&[0; 8]);
    let known = if flags & 8 == 0 { [data.len(), plain] } else { [0, 0] };
    known.iter().for_each(|size| entry.extend_from_slice(&(*size as u32).to_le_bytes()));
    entry.extend_from_slice(&(name.len() as u16).to_le_bytes());
    entry.extend_from_slice(&[0, 0]);
    entry.extend_from_slice(name.as_bytes());
    entry.extend_from_slice(data);
    if flags & 8 != 0 {
        entry.extend_from_slice(b"PK\x07\x08\0\0\0\0");
        [data.len(), plain]
            .iter()
            .for_each(|size| entry.extend_from_slice(&(*size as u32).to_le_bytes()));
    }
    entry
}

#[test]
fn archives_are_read_entry_by_entry() {
    let event = EVENT.as_bytes();
    let deflated = deflate(event);
    for flags in [0, 8] {
        let mut archive = zip("history.csv", 8, flags, &deflated, event.len());
        archive.extend_from_slice(&zip("b/plain.json", 0, flags, event, event.len()));
        archive.extend_from_slice(&zip("last.txt", 0, flags, b"some words", 10));
        archive.extend_from_slice(b"PK\x01\x02directory");
        let expected = ["body > zip:history.csv > json.url", "body > zip:b/plain.json > json.url"];
        assert_url(&archive, &expected);
        assert!(
            lines(&body_values(&archive)).contains(&"body > zip:last.txt = some words".to_owned())
        );
        assert_prefixes_agree(&archive);
        let inside = serde_json::json!({ "d": base64(&archive) }).to_string();
        assert_eq!(chains_to(&body_values(inside.as_bytes()), URL).len(), 2);
    }
    let options = lzma_rust2::LzmaOptions::with_preset(0);
    let encoder = lzma_rust2::LzmaWriter::new_use_header(Vec::new(), &options, None);
    let mut encoder = encoder.unwrap();
    encoder.write_all(event).unwrap();
    let lzma = encoder.finish().unwrap();
    // The encoder's header holds the properties and a length, an entry's only the properties.
    let data = [&[26, 3, 5, 0], &lzma[..5], &lzma[13..]].concat();
    let mut archive = zip("history.csv", 14, 2, &data, event.len());
    archive.extend_from_slice(&zip("b/plain.json", 0, 0, event, event.len()));
    let expected = ["body > zip:history.csv > json.url", "body > zip:b/plain.json > json.url"];
    assert_url(&archive, &expected);
    assert_prefixes_agree(&archive);
    // Encrypted, and Deflate64, implode and PPMd.
    for (method, flags) in [(8, 1), (9, 0), (6, 0), (98, 0)] {
        let (_, report) =
            body_report(&zip("secret", method, flags, &Noise::new(1).bytes(500), 900), false);
        assert_eq!(report.opaque, 500, "{method}");
    }
    let mut header = vec![0; 512];
    header[..9].copy_from_slice(b"pages.txt");
    header[124..136].copy_from_slice(format!("{:011o}\0", event.len()).as_bytes());
    header[257..262].copy_from_slice(b"ustar");
    let mut tar = [header, event.to_vec()].concat();
    tar.resize(2048, 0);
    assert_url(&tar, &["body > tar:pages.txt > json.url"]);
    assert_url(&gzip(&tar), &["body > gzip > tar:pages.txt > json.url"]);
    assert_prefixes_agree(&tar[..700]);
}

#[test]
fn lengths_may_be_characters_of_a_text() {
    let id = "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11";
    // A zigzag varint, as in Avro, and a byte.
    for body in [format!("h{URL}H{id}"), format!("4{URL}${id}")] {
        let values = body_values(body.as_bytes());
        let texts: Vec<&str> = values.iter().map(|seen| &*seen.text).collect();
        assert_eq!(texts, [URL, id], "{:?}", lines(&values));
    }
    for body in
        [format!("h{URL}"), format!("h{URL} and more words"), format!("4{URL}${id} and more")]
    {
        let values = body_values(body.as_bytes());
        assert!(values.iter().all(|seen| seen.chain == "body"), "{:?}", lines(&values));
    }
}

#[test]
fn databases_are_read_row_by_row() {
    let history = sqlite::tests::history();
    let values = body_values(&history);
    let found: Vec<&Seen> = values.iter().filter(|seen| seen.text == URL).collect();
    assert_eq!(found.len(), 20, "{:#?}", lines(&values));
    for seen in &found {
        assert_eq!((&*seen.chain, seen.key.as_deref()), ("body > sqlite:urls.url", Some("url")));
    }
    assert_ne!(found[0].container, found[1].container);
    assert_prefixes_agree(&history);
    let body = serde_json::json!({ "d": base64(&gzip(&history)) }).to_string();
    assert_eq!(chains_to(&body_values(body.as_bytes()), URL).len(), 20);
}

#[test]
fn names_and_values_in_text() {
    let line = format!("pageview,user_id=7f3c2a10 n=1i,url=\"{URL}\" 1795382061");
    assert_url(line.as_bytes(), &["body > pair:url"]);
    assert_prefixes_agree(line.as_bytes());
    let log = format!("level=info msg=\"page opened\" url={URL} user=7f3c\nlevel=info url=x");
    let values = body_values(log.as_bytes());
    assert_eq!(chains_to(&values, URL), ["body > pair:url"]);
    let container = |key: &str, at: usize| {
        values.iter().filter(|seen| seen.key.as_deref() == Some(key)).nth(at).unwrap().container
    };
    assert_eq!(container("url", 0), container("user", 0));
    assert_ne!(container("url", 0), container("url", 1));
    let tags = serde_json::json!({ "tags": format!("a=b; url={URL}; c=d") }).to_string();
    assert_url(tags.as_bytes(), &["body > json.tags > pair:url"]);
}

#[test]
fn strings_behind_their_length() {
    let id = "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11";
    let bond = [b"\x294", URL.as_bytes(), b"I$", id.as_bytes(), b"\0"].concat();
    assert_eq!(
        lines(&body_values(&bond)),
        [format!("body > string = {URL}"), format!("body > string = {id}")]
    );
    assert_prefixes_agree(&bond);
    let text = |text: &str| [&(text.len() as u32).to_be_bytes()[..], text.as_bytes()].concat();
    let tag = |key: &str, value: &str| {
        [b"\x0b\0\x01".to_vec(), text(key), b"\x0b\0\x03".to_vec(), text(value), vec![0]].concat()
    };
    let thrift =
        [b"\x0c\0\x01".to_vec(), tag("url.full", URL), tag("user.id", id), vec![0]].concat();
    let values = body_values(&thrift);
    let key =
        |text: &str| values.iter().find(|seen| seen.text == text).and_then(|seen| seen.key.clone());
    assert_eq!(key(URL).as_deref(), Some("url.full"), "{values:#?}");
    assert_eq!(key(id).as_deref(), Some("user.id"));
}

#[test]
fn messages_behind_their_length() {
    let mut call = b"\x95\x01\x80\xc0\xa5Track\x91\x82\xa3url\xd94".to_vec();
    call.extend_from_slice(URL.as_bytes());
    call.extend_from_slice(b"\xa1n\x2a");
    let body = [b"\x02\x91\x06", &[call.len() as u8][..], &call].concat();
    assert_url(&body, &["body > frame > msgpack[4][0].url"]);
    assert_url(base64(&body).as_bytes(), &["body > base64 > frame > msgpack[4][0].url"]);
    assert_prefixes_agree(&body);
}

#[test]
fn armour_is_not_read_as_text() {
    let armour = |bytes: &[u8]| {
        let lines: Vec<String> = base64(bytes)
            .as_bytes()
            .chunks(64)
            .map(|l| String::from_utf8_lossy(l).into_owned())
            .collect();
        format!(
            "-----BEGIN MESSAGE-----\nVersion: 1\n\n{}\n=njUN\n-----END MESSAGE-----\n",
            lines.join("\n")
        )
    };
    assert_url(armour(&gzip(EVENT.as_bytes())).as_bytes(), &["body > armour > gzip > json.url"]);
    let secret = armour(&Noise::new(1).bytes(900));
    let (_, report) = body_report(secret.as_bytes(), false);
    assert!(report.opaque > 1000 && report.opaque <= secret.len() as u64, "{report:?}");
    let (_, report) = body_report(&secret.as_bytes()[..800], true);
    assert!(report.opaque > 600 && report.opaque <= 800, "{report:?}");
}

#[test]
fn other_bases_and_encodings_of_mail() {
    let in_field = |text: &str| serde_json::json!({ "d": text }).to_string().into_bytes();
    let gzip = gzip(EVENT.as_bytes());
    for (chain, encode) in [
        (
            "base32",
            &(|bytes: &[u8]| data_encoding::BASE32.encode(bytes)) as &dyn Fn(&[u8]) -> String,
        ),
        ("base32", &|bytes| data_encoding::BASE32_NOPAD.encode(bytes).to_lowercase()),
        ("base32", &|bytes| data_encoding::BASE32HEX.encode(bytes)),
        ("base85", &|bytes| properties::base85(bytes)),
    ] {
        assert_url(&in_field(&encode(URL.as_bytes())), &[&format!("body > json.d > {chain}")]);
        assert_url(
            &in_field(&encode(&gzip)),
            &[&format!("body > json.d > {chain} > gzip > json.url")],
        );
        assert_prefixes_agree(&in_field(&encode(URL.as_bytes())));
        let (_, report) = body_report(&in_field(&encode(&Noise::new(1).bytes(300))), false);
        assert!(report.opaque > 340, "{chain} {report:?}");
    }
    let base64 = base64(EVENT.as_bytes());
    let swapped: String =
        base64
            .chars()
            .map(|c| {
                if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() }
            })
            .collect();
    assert_url(&in_field(&swapped), &["body > json.d > base64-swapped > json.url"]);
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let shifted: String = base64
        .chars()
        .map(|c| ALPHABET.find(c).map_or(c, |at| ALPHABET.as_bytes()[(at + 7) % 64].into()))
        .collect();
    assert_url(&in_field(&shifted), &["body > json.d > base64+7 > json.url"]);
    let mail = URL.replace('=', "=3D").replace("news", "ne=\r\nws");
    assert_url(&in_field(&mail), &["body > json.d > quoted-printable"]);
    let utf7 = URL.replace(':', "+ADo-").replace('=', "+AD0-");
    assert_url(&in_field(&utf7), &["body > json.d > utf7"]);
}

#[test]
fn names_of_files_and_header_fields_are_values() {
    let body = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"news.example.org.html\"\r\n\r\n\
        x\r\n--b--\r\n";
    let found = lines(&body_values(body.as_bytes()));
    assert!(found.contains(&"body > multipart:f = news.example.org.html".to_owned()), "{found:?}");
    let name = data_encoding::BASE32_NOPAD.encode(URL.as_bytes());
    let head = format!("GET / HTTP/1.1\r\nHost: a.test\r\n{name}: 1\r\n\r\n");
    let chains = chains_to(&values_in(head.as_bytes()), URL);
    assert_eq!(chains.len(), 1);
    assert!(chains[0].ends_with(" > base32"), "{chains:?}");
}

/// Unread bytes are counted as they were sent, not as they were decompressed.
#[test]
fn the_unread_part_of_a_body_is_never_longer_than_the_body() {
    let mut plain = Noise::new(1).bytes(400);
    plain.extend(std::iter::repeat_n([0xff, 0x00], 14_000).flatten());
    for body in [gzip(&plain), base64(&gzip(&plain)).into_bytes()] {
        let (_, report) = body_report(&body, false);
        assert!(report.unread() <= body.len() as u64, "{report:?} of {}", body.len());
        assert!(report.unread() * 10 >= body.len() as u64 * 9, "{report:?} of {}", body.len());
    }
}
