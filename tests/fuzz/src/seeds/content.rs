//! Contents of requests.

use std::{collections::BTreeMap, io::Write as _};

use flate2::{
    Compression,
    write::{DeflateEncoder, GzEncoder, ZlibEncoder},
};
use tracer_core::proto::{Request, parse_http1};
use tracer_tests::apk::Archive;

use super::{Inputs, all};
use crate::split::join;

const URL: &str = "https://news.example.org/politics/story-42?q=private";

/// Returns the recorded requests, with those of innocent programs: a few of each file.
fn recorded() -> Vec<Request> {
    const EACH: usize = 12;
    let mut requests = Vec::new();
    for file in super::requests() {
        requests.extend(parse_http1(&file).0);
    }
    for file in all("tests/fixtures/corpus/innocent", ".requests") {
        let mut rest = &file[..];
        for _ in 0..EACH {
            // A line `@ KIND LENGTH`, then the bytes.
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else { break };
            let line = String::from_utf8_lossy(&rest[..end]).into_owned();
            let len = line.rsplit(' ').next().and_then(|len| len.parse().ok()).unwrap_or(0);
            let body = &rest[end + 1..];
            requests.extend(parse_http1(&body[..body.len().min(len)]).0);
            rest = body.get(len..).unwrap_or_default().trim_ascii_start();
        }
    }
    requests
}

/// Returns the bodies whose type contains a word, at most a few of each type.
fn typed(word: &str) -> Inputs {
    const EACH: usize = 8;
    let mut types = BTreeMap::<Vec<u8>, usize>::new();
    let mut found = Inputs::new();
    for request in recorded() {
        let kind = request.header("content-type").unwrap_or_default().to_ascii_lowercase();
        if !String::from_utf8_lossy(&kind).contains(word) || request.body.data.is_empty() {
            continue;
        }
        let count = types.entry(kind).or_default();
        *count += 1;
        if *count <= EACH {
            found.push(request.body.data.to_vec());
        }
    }
    found
}

pub(crate) fn bodies() -> Inputs {
    typed("")
}

pub(crate) fn texts() -> Inputs {
    let numbered = |(number, text): (u8, &str)| [&[number], text.as_bytes()].concat();
    let texts = [
        URL,
        "?u=https%3A%2F%2Fnews.example.org%2Fpolitics&id=7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11",
        "see news.example.org/politics/story-42 or <https://a.example/b>, //c.example/d",
        "email=a@b.example&tel=%2B4915112345678&lat=52.520008&lon=13.404954",
        "{\"distinct_id\":\"a1\",\"properties\":{\"$current_url\":\"https://news.example.org/\"}}",
        "5f6f40d3bb79f0a6f39a8c1d7d8f2a3e https://xn--bcher-kva.example:8443/%7Euser#frag",
    ];
    let mut seeds: Inputs = (0..).zip(texts).map(numbered).collect();
    seeds.extend(typed("json").into_iter().take(10).map(|body| [&[1], &body[..]].concat()));
    seeds
}

pub(crate) fn forms() -> Inputs {
    let mut forms = typed("urlencoded");
    forms.push(
        b"a=1&b[c]=2&d=%7B%22e%22%3A1%7D&f=H4sIAAAAAAAAA6tWKkktLlGyUlAqS8wpTtVRSkxPVbJSqgUAAAD__w"
            .to_vec(),
    );
    forms
}

pub(crate) fn multiparts() -> Inputs {
    vec![
        b"--b\r\nContent-Disposition: form-data; name=\"u\"\r\n\r\nhttps://a.example/\r\n--b\r\n\
          Content-Disposition: form-data; name=\"f\"; filename=\"x.json\"\r\n\
          Content-Type: application/json\r\nContent-Transfer-Encoding: base64\r\n\r\neyJhIjoxfQ==\r\n\
          --b--\r\n"
            .to_vec(),
        b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\none\r\n--c--\r\n--b--".to_vec(),
    ]
}

pub(crate) fn json() -> Inputs {
    let mut json = typed("json");
    json.push(
        br#"{"a":[1,2.5e-3,null,true,"\u00e9\ud83d\ude00"],"b":{"c":{}},"":""} trailing"#.to_vec(),
    );
    json.push(b"{\"a\":1}\n{\"a\":2}\n".to_vec());
    json.push(b"{\"d\":[104,116,116,112,115,58,47,47,97,46,101,120,97,109,112,108,101]}".to_vec());
    json
}

pub(crate) fn xml() -> Inputs {
    let mut xml = typed("xml");
    xml.push(
        b"<?xml version=\"1.0\"?><!DOCTYPE a [<!ENTITY e \"https://a.example/\">]>\
          <a xmlns:n=\"urn:x\" u='https://b.example/?a&amp;b'><![CDATA[x]]><n:c>&#x68;&e;</n:c></a>"
            .to_vec(),
    );
    xml.push(
        b"<plist version=\"1.0\"><dict><key>url</key><string>https://a.example/</string>\
          <key>d</key><data>eyJhIjoxfQ==</data></dict></plist>"
            .to_vec(),
    );
    xml
}

pub(crate) fn msgpack() -> Inputs {
    let url = URL.as_bytes();
    let string = [&[0xd9, url.len() as u8], url].concat();
    vec![
        [&b"\x82\xa3url"[..], &string, b"\xa1n\xcd\x01\x02"].concat(),
        [&b"\x93\xc0\xc3\xde\0\x01\xa1b\xc4\x03abc"[..], &string].concat(),
        b"\xdd\0\0\0\x02\xcb\x3f\xf0\0\0\0\0\0\0\xc7\x02\x05xy\xd3\0\0\0\0\0\0\0\x01".to_vec(),
    ]
}

pub(crate) fn cbor() -> Inputs {
    let url = URL.as_bytes();
    let string = [&[0x78, url.len() as u8], url].concat();
    vec![
        [&b"\xa2\x63url"[..], &string, b"\x61n\x19\x01\x02"].concat(),
        [&b"\xd9\xd9\xf7\xbf\x61a\x9f\x01\x02\xff\x61b\x5f\x42ab\x41c\xff\xff"[..], &string]
            .concat(),
        b"\x83\xf9\x3c\x00\xfb\x3f\xf0\0\0\0\0\0\0\xc1\x1a\x51\x4b\x67\xb0".to_vec(),
    ]
}

/// A field of a message: number 1 to 15, and its bytes.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, content.len() as u8], content].concat()
}

pub(crate) fn protobuf() -> Inputs {
    let inner = [field(2, URL.as_bytes()), vec![0x18, 0x96, 0x01]].concat();
    let message =
        [field(1, &inner), field(4, b"id-7"), vec![0x29, 1, 2, 3, 4, 5, 6, 7, 8]].concat();
    let mut messages = vec![message.clone(), field(3, &field(3, &field(3, URL.as_bytes())))];
    messages.push([&[0x1b], &message[..], &[0x1c, 0x35, 1, 2, 3, 4]].concat());
    messages.extend(typed("proto"));
    messages
}

pub(crate) fn grpc() -> Inputs {
    let message = field(1, URL.as_bytes());
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&message).expect("a vector takes everything");
    let packed = encoder.finish().expect("a vector takes everything");
    let frame = |flag, content: &[u8]| {
        [&[flag], &(content.len() as u32).to_be_bytes()[..], content].concat()
    };
    vec![frame(0, &message), frame(1, &packed), [frame(0, &message), frame(0, &message)].concat()]
}

pub(crate) fn plists() -> Inputs {
    // Objects, their offsets, and the trailer of 32 bytes.
    let plist = |objects: &[&[u8]]| {
        let mut bytes = b"bplist00".to_vec();
        let mut offsets = Vec::new();
        for object in objects {
            offsets.push(bytes.len() as u8);
            bytes.extend(*object);
        }
        let table = bytes.len() as u64;
        bytes.extend(&offsets);
        bytes.extend([0, 0, 0, 0, 0, 0, 1, 1]);
        for number in [objects.len() as u64, 0, table] {
            bytes.extend(number.to_be_bytes());
        }
        bytes
    };
    let url = [&[0x5f, 0x10, URL.len() as u8], URL.as_bytes()].concat();
    vec![
        plist(&[&[0xd2, 1, 2, 3, 4], b"\x53url", b"\x51n", &url, &[0x11, 1, 2]]),
        plist(&[
            &[0xa3, 1, 2, 3],
            &[0x62, 0, 0x61, 0, 0x62],
            b"\x43abc",
            &[0x33, 0, 0, 0, 0, 0, 0, 0, 0],
        ]),
    ]
}

/// The first parts refer to the later ones: dictionaries, lists, and an archive with identifiers.
pub(crate) fn plist_objects() -> Inputs {
    let url = URL.as_bytes();
    let repeated = [1; 200];
    vec![
        join([
            (0xd0, &[1, 2, 3, 4][..]),
            (0x50, b"url"),
            (0x50, b"n"),
            (0x50, url),
            (0x11, &[1, 2]),
        ]),
        join([(0xa0, &repeated[..]), (0xa0, &[2; 200]), (0x50, url)]),
        join([
            (0xd0, &[1, 2, 3, 4][..]),
            (0x50, b"$objects"),
            (0x50, b"$top"),
            (0xa0, &[5, 6, 7]),
            (0xd0, &[1, 8]),
            (0x60, &[0, b'a', 0, b'b']),
            (0xd0, &[5, 8]),
            (0x50, url),
            (0x80, &[2]),
        ]),
    ]
}

pub(crate) fn archives() -> Inputs {
    let mut archive = Archive::default();
    archive.store("history.txt", URL.as_bytes());
    let stored = archive.bytes();
    // The local header of a compressed file whose sizes follow it.
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(URL.repeat(3).as_bytes()).expect("a vector takes everything");
    let packed = encoder.finish().expect("a vector takes everything");
    let mut streamed = b"PK\x03\x04\x14\0\x08\0\x08\0\0\0\0\0".to_vec();
    streamed.extend([0; 12]);
    streamed.extend(b"\x05\0\0\0a.txt");
    streamed.extend(packed);
    streamed.extend(b"PK\x07\x08\0\0\0\0\0\0\0\0\0\0\0\0");
    vec![compact(&stored), streamed, tar("a/history.txt", URL.as_bytes())]
}

/// Removes the padding of a zip file, which would be most of it.
fn compact(zip: &[u8]) -> Vec<u8> {
    let start = zip.windows(4).position(|part| part == &URL.as_bytes()[..4]).unwrap_or(0);
    let mut local = zip[..30].to_vec();
    local[28..30].fill(0);
    [&local[..], b"history.txt", &zip[start..]].concat()
}

fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    header.extend(content);
    header.resize(header.len().next_multiple_of(512) + 1024, 0);
    header
}

pub(crate) fn media() -> Inputs {
    let chunk = |kind: &[u8; 4], data: &[u8]| {
        [&(data.len() as u32).to_be_bytes()[..], kind, data, &[0; 4]].concat()
    };
    let png = [
        b"\x89PNG\r\n\x1a\n".to_vec(),
        chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]),
        chunk(b"tEXt", format!("Source\0{URL}").as_bytes()),
        chunk(b"iTXt", format!("XML:com.adobe.xmp\0\0\0\0\0<x u=\"{URL}\"/>").as_bytes()),
        chunk(b"IDAT", &[0x78, 0x9c, 0x63, 0, 1]),
        chunk(b"IEND", b""),
    ];
    let segment = |marker: u8, data: &[u8]| {
        [&[0xff, marker], &(data.len() as u16 + 2).to_be_bytes()[..], data].concat()
    };
    let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x0e\0\x02\0\0\0\x14\0\0\0\x1a\0\0\0\0https://a.example/x\0";
    let jpeg = [
        vec![0xff, 0xd8],
        segment(0xe1, exif),
        segment(0xfe, URL.as_bytes()),
        segment(0xda, &[1, 1, 0, 0, 63, 0]),
        vec![1, 2, 3, 0xff, 0xd9],
    ];
    let webp = format!("WEBPVP8X\x0a\0\0\0\x04\0\0\0\0\0\0\0\0\0XMP \x34\0\0\0{URL}");
    let riff = [b"RIFF", &(webp.len() as u32).to_le_bytes()[..], webp.as_bytes()].concat();
    let gif =
        [&b"GIF89a\x01\0\x01\0\0\0\0\x21\xfe"[..], &[URL.len() as u8], URL.as_bytes(), &[0, 0x3b]];
    vec![png.concat(), jpeg.concat(), riff, gif.concat()]
}

pub(crate) fn compressed() -> Inputs {
    const WRITE: &str = "a vector takes everything";
    let text = format!("{{\"url\":\"{URL}\",\"again\":\"{URL}\"}}");
    let text = text.as_bytes();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(text).expect(WRITE);
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
    zlib.write_all(text).expect(WRITE);
    let mut deflate = DeflateEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(text).expect(WRITE);
    // A frame with a raw block (RFC 8878), and stored blocks of the other formats.
    let len = text.len();
    let zstd = [
        &b"\x28\xb5\x2f\xfd\x20"[..],
        &[len as u8],
        &((len as u32) << 3 | 1).to_le_bytes()[..3],
        text,
    ];
    let snappy = [&[len as u8, 60 << 2, len as u8 - 1][..], text];
    let lz4 = [&[0xf0, (len - 15) as u8][..], text];
    let brotli = b"\x8b\x02\x80https://a.example/\x03";
    let all = [
        gzip.finish().expect(WRITE),
        zlib.finish().expect(WRITE),
        deflate.finish().expect(WRITE),
        brotli.to_vec(),
        zstd.concat(),
        lz4.concat(),
        snappy.concat(),
        b"BZh91AY&SY\x19\x31\x65\x3d\0\0\0\x81\0\x02\x44\xa0\0\x21\x9a\x68\x33\x4d\x07\x33\x8b\xb9\x22\x9c\x28\x48\x0c\x98\xb2\x9e\x80".to_vec(),
        b"\xfd7zXZ\0\0\x04\xe6\xd6\xb4\x46\x02\0\x21\x01\x16\0\0\0\x74\x2f\xe5\xa3\x01\0\x04hello\0\0\0".to_vec(),
        b"\x5d\0\0\x80\0\xff\xff\xff\xff\xff\xff\xff\xff\0\x34\x19\x49\xee\x8d\xe9\x17\x89\x3a\x33\x5f\xfc\xac\xf7\x20".to_vec(),
    ];
    (0..).zip(all).map(|(number, data): (u8, Vec<u8>)| [&[number], &data[..]].concat()).collect()
}

pub(crate) fn encoded() -> Inputs {
    let texts = [
        "aHR0cHM6Ly9uZXdzLmV4YW1wbGUub3JnL3BvbGl0aWNzL3N0b3J5LTQy",
        "NB2HI4DTHIXS63TFO5ZS4ZLYMFWXA3DFFZXXEZZPOBXWY2LUNFRXG===",
        "<~BOu!rDZBb;F(K*5AKYo'+DGm>@;TQu~>",
        "https=3A//news.example.org/=\r\npolitics",
        "h\u{e9}https://a.example/\u{ff}",
        "104,116,116,112,115,58,47,47,97,46,101,120,97,109,112,108,101",
        "N4Ig7gFg9gRiBcICGEDWBbANgOwKYBcQAaEAZxgFcAnASwHN8kQBfIA=",
        "68747470733a2f2f6e6577732e6578616d706c652e6f72672f706f6c6974696373",
        "\\x68\\x74\\x74\\x70\\x73\\u003a//a.example",
    ];
    (0..)
        .zip(texts)
        .map(|(number, text): (u8, &str)| [&[number], text.as_bytes()].concat())
        .collect()
}

pub(crate) fn nested() -> Inputs {
    [[0b0001_1011, 0x93], [0b1110_0100, 0x41], [0b0110_0001, 0x8a], [0, 0xbc]]
        .map(|layers| [&layers[..], URL.as_bytes()].concat())
        .into()
}
