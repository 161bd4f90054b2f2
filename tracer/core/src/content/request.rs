//! The parts of a request that values stand in.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::{
    base64,
    chain::{Chain, Coding, Step},
    engine::{Engine, Label, Place, Role},
    text,
};
use crate::proto::{Body, HeadCut, Request};

/// Content codings that are undone. More than two have never been seen.
const MAX_CODINGS: usize = 4;

/// Hands out every value of a request.
pub(super) fn request(engine: &mut Engine<'_>, request: &Request) {
    target(engine, request.target().as_bytes(), request.path_is_cut());

    let container = engine.container();
    for (i, header) in request.headers.iter().enumerate() {
        let last = i + 1 == request.headers.len();
        let cut = last && request.head_cut == Some(HeadCut::LastField);
        if header.name.eq_ignore_ascii_case(b"cookie") {
            cookies(engine, &header.value, cut);
            continue;
        }
        let name = String::from_utf8_lossy(&header.name);
        let chain = Chain::new(Step::Header(&name));
        let place = Place { chain: &chain, key: Some(&name), container, truncated: cut };
        if !basic_credentials(engine, &header.value, place) {
            engine.look(&header.value, place, Role::Field);
        }
    }
    request_body(engine, request);
}

/// The request target: `/path?query`, or the same behind `http://host`.
fn target(engine: &mut Engine<'_>, target: &[u8], cut: bool) {
    let (path, query) = match memchr(b'?', target) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    };
    self::path(engine, origin_form(path), cut && query.is_none());
    if let Some(query) = query {
        let container = engine.container();
        engine.form(query, None, container, cut, |name| Step::Query(name));
    }
}

/// The path of an absolute target (RFC 9112 section 3.2.2).
fn origin_form(path: &[u8]) -> &[u8] {
    if path.starts_with(b"/") {
        return path;
    }
    let Some(authority) = memmem::find(path, b"://").map(|at| &path[at + 3..]) else {
        return path;
    };
    memchr(b'/', authority).map_or(&[], |at| &authority[at..])
}

/// The path as a whole, and each of its segments.
fn path(engine: &mut Engine<'_>, path: &[u8], cut: bool) {
    let chain = Chain::new(Step::Path);
    let container = engine.container();
    let mut place = Place { chain: &chain, key: None, container, truncated: cut };
    let path = if cut { text::whole_triplets(path) } else { path };
    let decode = |part| match text::percent_decode(part) {
        Some(decoded) => Cow::Owned(decoded),
        None => Cow::Borrowed(part),
    };
    if let Some(text) = text::printable(&decode(path), cut) {
        engine.emit(text, place);
    }
    let mut segments = path.split(|&b| b == b'/').filter(|s| !s.is_empty()).peekable();
    while let Some(segment) = segments.next() {
        place.truncated = cut && segments.peek().is_none();
        engine.look(&decode(segment), place, Role::Field);
    }
}

/// `name=value; name=value` (RFC 6265 section 4.2.1).
fn cookies(engine: &mut Engine<'_>, value: &[u8], cut: bool) {
    let container = engine.container();
    let mut pairs = value.split(|&b| b == b';').peekable();
    while let Some(pair) = pairs.next() {
        let pair = pair.trim_ascii();
        let (name, value) = match memchr(b'=', pair) {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (&pair[..0], pair),
        };
        let name = String::from_utf8_lossy(name);
        let chain = Chain::new(Step::Cookie(&name));
        let truncated = cut && pairs.peek().is_none();
        let place = Place { chain: &chain, key: Some(&name), container, truncated };
        engine.look(value, place, Role::Field);
    }
}

/// `Basic` and base64 (RFC 7617), which is believed however short it is.
fn basic_credentials(engine: &mut Engine<'_>, value: &[u8], place: Place<'_>) -> bool {
    let Some((scheme, credentials)) = value.split_at_checked(6) else {
        return false;
    };
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return false;
    }
    let Some(decoded) = base64::decode(credentials.trim_ascii(), place.truncated) else {
        return false;
    };
    let chain = place.chain.then(Step::Base64);
    engine.look(&decoded.bytes, place.at(&chain), Role::Field);
    true
}

fn request_body(engine: &mut Engine<'_>, request: &Request) {
    let Body { data, gaps, chunked } = &request.body;
    let root = Chain::new(Step::Body);
    let inner = root.then(Step::Chunked);
    let chain = if *chunked { &inner } else { &root };
    let encoding = request.header("content-encoding");
    let truncated = !request.complete || !gaps.is_empty();
    body(engine, request.body.prefix(), chain, request.header("content-type"), encoding, truncated);

    // What follows a gap has lost its place in every structure. Text can still
    // be read, unless it was compressed.
    for (i, gap) in gaps.iter().enumerate() {
        let end = gaps.get(i + 1).map_or(data.len(), |next| next.at);
        let segment = data.get(gap.at..end).unwrap_or_default();
        let container = engine.container();
        let place = Place { chain, key: None, container, truncated: true };
        if codings(encoding).is_empty() {
            engine.runs(segment, place, Step::Fragment);
        } else {
            engine.opaque(segment.len());
        }
    }
}

/// Hands out every value of a body.
pub(super) fn body(
    engine: &mut Engine<'_>,
    bytes: &[u8],
    chain: &Chain<'_>,
    content_type: Option<&[u8]>,
    content_encoding: Option<&[u8]>,
    truncated: bool,
) {
    let container = engine.container();
    let place = Place { chain, key: None, container, truncated };
    let label = content_type.map_or(Label::Unknown, label);
    engine.encoded(bytes, place, &codings(content_encoding), Role::Document(label));
}

/// The known content codings in the order they were applied.
pub(super) fn codings(content_encoding: Option<&[u8]>) -> Vec<Coding> {
    let names = content_encoding.unwrap_or_default().split(|&b| b == b',');
    let coding = |name: &[u8]| match &*name.trim_ascii().to_ascii_lowercase() {
        b"gzip" | b"x-gzip" => Some(Coding::Gzip),
        b"deflate" => Some(Coding::Zlib),
        b"br" => Some(Coding::Brotli),
        b"zstd" => Some(Coding::Zstd),
        _ => None,
    };
    names.take(MAX_CODINGS).filter_map(coding).collect()
}

/// What a `Content-Type` says, as far as it changes how a body is read.
pub(super) fn label(content_type: &[u8]) -> Label<'_> {
    if let Some(boundary) = super::multipart::boundary(content_type) {
        return Label::Multipart(boundary);
    }
    let kind = content_type.split(|&b| b == b';').next().unwrap_or_default();
    let kind = kind.trim_ascii().to_ascii_lowercase();
    match &*kind {
        b"application/x-www-form-urlencoded" => Label::Form,
        b"application/msgpack" | b"application/x-msgpack" | b"application/vnd.msgpack" => {
            Label::MessagePack
        }
        b"application/cbor" => Label::Cbor,
        kind if kind.starts_with(b"application/grpc") => Label::Grpc,
        // x-protobuf, protobuf, vnd.google.protobuf, x-google-protobuf, proto, …
        kind if memmem::find(kind, b"proto").is_some() => Label::Protobuf,
        _ => Label::Unknown,
    }
}
