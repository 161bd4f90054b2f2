//! Tests of the whole: requests in, values out.

mod corpus;
mod encodings;
mod properties;

use bytes::Bytes;

use super::*;
use crate::proto::{Body, Gap, Header, Protocol};

/// The page that the recorded SDKs were made to report.
const URL: &str = "https://news.example.org/politics/story-42?q=private";

/// A value that outlives the visit.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    text: String,
    key: Option<String>,
    container: u32,
    chain: String,
    truncated: bool,
}

fn collect(unwrap: impl FnOnce(&mut dyn FnMut(&Value<'_>)) -> Report) -> (Vec<Seen>, Report) {
    let mut seen = Vec::new();
    let report = unwrap(&mut |value| {
        seen.push(Seen {
            text: value.text.to_owned(),
            key: value.key.map(str::to_owned),
            container: value.container,
            chain: value.chain.to_string(),
            truncated: value.truncated,
        });
    });
    (seen, report)
}

fn values_of(request: &Request) -> Vec<Seen> {
    collect(|visit| unwrap(request, &Limits::default(), visit)).0
}

fn body_report(bytes: &[u8], truncated: bool) -> (Vec<Seen>, Report) {
    collect(|visit| unwrap_body(bytes, None, None, truncated, &Limits::default(), visit))
}

fn body_values(bytes: &[u8]) -> Vec<Seen> {
    body_report(bytes, false).0
}

/// `chain = text`, with `…` behind a value that is cut.
fn lines(values: &[Seen]) -> Vec<String> {
    values
        .iter()
        .map(|v| format!("{} = {}{}", v.chain, v.text, if v.truncated { "…" } else { "" }))
        .collect()
}

/// The chains of the values that contain `needle`.
fn chains_to(values: &[Seen], needle: &str) -> Vec<String> {
    values.iter().filter(|v| v.text.contains(needle)).map(|v| v.chain.clone()).collect()
}

/// Splits recorded bytes into a request: enough of HTTP/1.1 for the corpus.
fn parse(bytes: &[u8]) -> Request {
    let (head, body) = match memchr::memmem::find(bytes, b"\r\n\r\n") {
        Some(at) => (&bytes[..at], Some(&bytes[at + 4..])),
        None => (bytes, None),
    };
    let mut lines = head.split(|&b| b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    let request_line = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
    let mut words = request_line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let headers: Vec<Header> = lines
        .filter_map(|line| {
            let colon = line.iter().position(|&b| b == b':')?;
            Some(Header {
                name: Bytes::copy_from_slice(&line[..colon]),
                value: Bytes::copy_from_slice(line[colon + 1..].trim_ascii()),
            })
        })
        .collect();
    let mut request = Request {
        protocol: Protocol::Http1,
        method: method.to_owned(),
        authority: None,
        path: path.to_owned(),
        headers,
        body: Body::default(),
        complete: false,
        unread_bytes: 0,
    };
    if let Some(body) = body {
        request.body.chunked = request.header("transfer-encoding") == Some(b"chunked");
        let (data, whole) = if request.body.chunked {
            unchunk(body)
        } else {
            let length = request.header("content-length").map_or(0, |length| {
                String::from_utf8_lossy(length).parse::<usize>().expect("a length")
            });
            (body.to_vec(), body.len() >= length)
        };
        request.complete = whole;
        if !whole {
            request.body.gaps = vec![Gap { at: data.len(), len: None }];
        }
        request.body.data = data.into();
    }
    request
}

fn unchunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
        let size = std::str::from_utf8(&rest[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (data, true);
        }
        rest = &rest[end + 2..];
        data.extend_from_slice(&rest[..size.min(rest.len())]);
        let Some(behind) = rest.get(size + 2..) else {
            break;
        };
        rest = behind;
    }
    (data, false)
}
