//! Tests of the module as a whole: requests in, values out.

mod binary;
mod corpus;
mod encodings;
mod formats;
mod notations;
pub(crate) mod properties;
mod repetition;
mod requests;

use std::io::Write as _;

use bytes::Bytes;
use flate2::{Compression, write};

use super::*;
use crate::{
    content::base64::{Alphabet, encode},
    proto::{Body, Gap, Header, Protocol},
    record::BootTime,
};

/// The page that the recorded SDKs were made to report.
const URL: &str = "https://news.example.org/politics/story-42?q=private";

/// Generates bytes without any structure, the same ones in every run.
pub(super) struct Noise(u64);

impl Noise {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        let byte = || {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (self.0 >> 56) as u8
        };
        std::iter::repeat_with(byte).take(len).collect()
    }
}

/// An owned copy of a value.
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

/// Renders values as `chain = text`, with `…` after truncated ones.
fn lines(values: &[Seen]) -> Vec<String> {
    values
        .iter()
        .map(|v| format!("{} = {}{}", v.chain, v.text, if v.truncated { "…" } else { "" }))
        .collect()
}

/// Returns the chains of all values that contain `needle`.
fn chains_to(values: &[Seen], needle: &str) -> Vec<String> {
    values.iter().filter(|v| v.text.contains(needle)).map(|v| v.chain.clone()).collect()
}

/// Parses a recorded request; `None` if too little of it is present.
fn parse(bytes: &[u8]) -> Option<Request> {
    crate::proto::parse_http1(bytes).0.into_iter().next()
}

/// Returns the values of a recorded request.
fn values_in(bytes: &[u8]) -> Vec<Seen> {
    parse(bytes).map_or_else(Vec::new, |request| values_of(&request))
}

const EVENT: &str =
    r#"{"event":"view","url":"https://news.example.org/politics/story-42?q=private"}"#;

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn base64(bytes: &[u8]) -> String {
    encode(bytes, Alphabet::Standard, true)
}

fn percent(text: impl AsRef<[u8]>) -> String {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'~');
    text.as_ref()
        .iter()
        .map(|&b| if unreserved(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

fn request(path: &str, headers: &[(&'static str, &'static str)], body: &[u8]) -> Request {
    let header = |&(name, value): &(&'static str, &'static str)| Header {
        name: Bytes::from_static(name.as_bytes()),
        value: Bytes::from_static(value.as_bytes()),
    };
    Request {
        protocol: Protocol::Http1,
        time: BootTime::default(),
        method: Some("POST".to_owned()),
        authority: None,
        path: Some(path.to_owned()),
        partial: Vec::new(),
        head_cut: None,
        update: false,
        never_sent: None,
        headers: headers.iter().map(header).collect(),
        body: Body { data: Bytes::copy_from_slice(body), ..Body::default() },
        complete: true,
        unread_bytes: 0,
    }
}

#[track_caller]
fn assert_url(body: &[u8], chains: &[&str]) {
    let values = body_values(body);
    assert_eq!(chains_to(&values, URL), chains, "{:#?}", lines(&values));
}
