//! Content of requests, and what is found in it.

use std::{
    io::Write as _,
    sync::{Arc, LazyLock},
};

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use tracer_core::{
    address::Site,
    content::{self, Limits, Memo, Report, Value},
    detect::{Context, Detector, urls_in},
    knowledge::Knowledge,
    proto::{initiator, parse_http1, parse_transcript},
    record::BootTime,
    visits::{Page, Visits},
};

use crate::split::parts;

/// A page that was visited before.
const VISITED: &str = "https://news.example.org/politics/story-42?q=private";

/// The names of the steps that [`content::decode_step`] reverts without a decompressor.
const STEPS: [&str; 9] = [
    "base64",
    "base32",
    "base85",
    "quoted-printable",
    "latin1",
    "bytes",
    "lz-string",
    "hex",
    "xor:6b6579",
];

/// The embedded rules.
pub(super) fn knowledge() -> &'static Knowledge {
    static KNOWLEDGE: LazyLock<Knowledge> = LazyLock::new(Knowledge::default);
    &KNOWLEDGE
}

fn visits() -> &'static Visits {
    static VISITS: LazyLock<Visits> = LazyLock::new(|| {
        let mut visits = Visits::default();
        let page = Page::parse(VISITED).expect("a URL");
        visits.record_page(&page, BootTime(1));
        visits.record_lookup("news.example.org", BootTime(1));
        visits
    });
    &VISITS
}

fn detector() -> &'static Detector {
    static DETECTOR: LazyLock<Detector> = LazyLock::new(|| {
        Detector::new(Arc::clone(knowledge().rules()), Arc::clone(knowledge().lexicon()))
    });
    &DETECTOR
}

/// Checks a report against the limits, and returns the work for an input of this length.
fn charged(report: &Report, limits: &Limits, len: usize) -> u64 {
    assert!(report.work <= limits.work, "more work than allowed: {report:?}");
    assert!(report.values <= limits.values, "more values than allowed: {report:?}");
    assert!(report.output <= limits.output, "more output than allowed: {report:?}");
    report.work + len as u64
}

/// Accepts a value.
fn visit(value: &Value<'_>) {
    std::hint::black_box(value.chain.to_string());
}

fn unwrap(input: &[u8], content_type: Option<&str>, encoding: Option<&str>) -> u64 {
    let limits = Limits::default();
    let content_type = content_type.map(str::as_bytes);
    let encoding = encoding.map(str::as_bytes);
    // Both are read differently: a cut one may continue.
    let truncated = input.last().is_some_and(|last| last % 2 == 1);
    let report = content::unwrap_body(input, content_type, encoding, truncated, &limits, visit);
    charged(&report, &limits, input.len())
}

/// A whole request, as a tool wrote it to a file.
pub(super) fn request(input: &[u8]) -> u64 {
    let (mut requests, _) = parse_http1(input);
    requests.extend(parse_transcript(input).requests);
    let limits = Limits::default();
    let mut memo = Memo::default();
    let mut work = input.len() as u64;
    for request in &requests {
        let report =
            content::unwrap_with(request, &limits, &[VISITED], &mut memo, |value, _| visit(value));
        work += charged(&report, &limits, 0);
    }
    work
}

pub(super) fn body(input: &[u8]) -> u64 {
    unwrap(input, None, None)
}

pub(super) fn form(input: &[u8]) -> u64 {
    unwrap(input, Some("application/x-www-form-urlencoded"), None)
}

pub(super) fn multipart(input: &[u8]) -> u64 {
    unwrap(input, Some("multipart/form-data; boundary=b"), None)
}

pub(super) fn json(input: &[u8]) -> u64 {
    content::read_json(input, input.len() % 2 == 1, |path, _| {
        std::hint::black_box(path.to_string());
    });
    unwrap(input, Some("application/json"), None)
}

pub(super) fn msgpack(input: &[u8]) -> u64 {
    unwrap(input, Some("application/msgpack"), None)
}

pub(super) fn cbor(input: &[u8]) -> u64 {
    unwrap(input, Some("application/cbor"), None)
}

pub(super) fn protobuf(input: &[u8]) -> u64 {
    unwrap(input, Some("application/x-protobuf"), None)
}

pub(super) fn grpc(input: &[u8]) -> u64 {
    unwrap(input, Some("application/grpc"), None)
}

/// Objects of a binary property list, with valid offsets and references. The number of a part is the
/// first byte of its object, without the length; the bytes of lists and dictionaries are references.
pub(super) fn plist_objects(input: &[u8]) -> u64 {
    let parts: Vec<_> = parts(input).take(250).collect();
    let mut list = b"bplist00".to_vec();
    let mut offsets = Vec::new();
    for (number, part) in &parts {
        offsets.extend((list.len() as u32).to_be_bytes());
        let kind = number >> 4;
        let count = match kind {
            6 | 13 => part.len() / 2,
            _ => part.len(),
        };
        match kind {
            4..=6 | 10..=13 => {
                list.extend([kind << 4 | 15, 0x11]);
                list.extend((count as u16).to_be_bytes());
            }
            _ => list.push(*number),
        }
        match kind {
            10..=13 => {
                list.extend(part.iter().map(|at| *at as usize % parts.len()).map(|at| at as u8))
            }
            _ => list.extend(*part),
        }
    }
    let table = list.len() as u64;
    list.extend(offsets);
    list.extend([0, 0, 0, 0, 0, 0, 4, 1]);
    for number in [parts.len() as u64, 0, table] {
        list.extend(number.to_be_bytes());
    }
    unwrap(&list, None, None)
}

/// Compressed data. The first byte selects the format.
pub(super) fn compressed(input: &[u8]) -> u64 {
    const LIMIT: usize = 1 << 20;
    let Some((&number, data)) = input.split_first() else { return 0 };
    let codings = content::Coding::ALL;
    let coding = codings[usize::from(number) % codings.len()];
    let decoded = content::decode_step(coding.name(), data, LIMIT).unwrap_or_default();
    assert!(decoded.len() <= LIMIT, "{} bytes", decoded.len());
    unwrap(data, None, Some(coding.name())) + decoded.len() as u64
}

/// Text in an encoding. The first byte selects it.
pub(super) fn encoded(input: &[u8]) -> u64 {
    const LIMIT: usize = 1 << 20;
    let Some((&number, data)) = input.split_first() else { return 0 };
    let step = STEPS[usize::from(number) % STEPS.len()];
    content::decode_step(step, data, LIMIT);
    unwrap(data, None, None)
}

/// Content in several layers of encoding. The first bytes select them.
pub(super) fn nested(input: &[u8]) -> u64 {
    let Some((&[layers, inner], data)) = input.split_first_chunk() else { return 0 };
    let mut data = data.to_vec();
    for layer in
        [inner & 15, inner >> 4].into_iter().chain((0..4).map(|bit| layers >> (2 * bit) & 3))
    {
        data = wrap(layer, data);
    }
    unwrap(&data, None, None)
}

fn wrap(layer: u8, data: Vec<u8>) -> Vec<u8> {
    const WRITE: &str = "a vector takes everything";
    match layer {
        1 => BASE64.encode(&data).into_bytes(),
        2 => {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&data).expect(WRITE);
            encoder.finish().expect(WRITE)
        }
        3 => {
            let text = String::from_utf8_lossy(&data);
            serde_json::json!({ "properties": { "url": text } }).to_string().into_bytes()
        }
        4 => HEXLOWER.encode(&data).into_bytes(),
        5 => {
            let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(&data).expect(WRITE);
            encoder.finish().expect(WRITE)
        }
        6 => data.iter().flat_map(|byte| format!("%{byte:02X}").into_bytes()).collect(),
        7 => BASE64URL_NOPAD.encode(&data).into_bytes(),
        8 => data.iter().zip(b"key".iter().cycle()).map(|(byte, key)| byte ^ key).collect(),
        9 => [b"data=", &data[..]].concat(),
        10 => serde_json::json!([data]).to_string().into_bytes(),
        11 => data.iter().flat_map(|&byte| [byte, 0]).collect(),
        12 => [b"<a href=\"", &data[..], b"\"/>"].concat(),
        _ => data,
    }
}

/// A text as the value of a form, in a path and in a header field, after visits.
pub(super) fn detect(input: &[u8]) -> u64 {
    let Some((&number, data)) = input.split_first() else { return 0 };
    let request = match number % 3 {
        0 => [b"GET /", data, b" HTTP/1.1\r\nHost: collector.example\r\n\r\n"].concat(),
        1 => {
            let length = data.len().to_string();
            let head = "POST /collect HTTP/1.1\r\nHost: collector.example\r\nContent-Length: ";
            [head.as_bytes(), length.as_bytes(), b"\r\n\r\n", data].concat()
        }
        _ => [b"GET / HTTP/1.1\r\nHost: collector.example\r\nX-A: ", data, b"\r\n\r\n"].concat(),
    };
    let limits = Limits::default();
    let site = Site::from_host("collector.example");
    let mut work = input.len() as u64;
    for request in parse_http1(&request).0 {
        let context = Context {
            initiator: initiator(&request),
            site: site.as_ref(),
            visits: visits(),
            is_browser: false,
        };
        let findings = detector().find_in_context(&request, &context);
        work += charged(&findings.report, &limits, 0);
    }
    work
}

/// URLs in a text.
pub(super) fn urls(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    std::hint::black_box(urls_in(&text).count());
    input.len() as u64
}
