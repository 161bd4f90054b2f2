//! Finds the parts of a request that hold values.

use std::borrow::Cow;

use memchr::{memchr, memmem, memrchr};

use super::{
    base64,
    chain::{Chain, Step},
    engine::{Context, Engine, Role},
    label::{Label, codings},
    pieces::Pieces,
    text,
};
use crate::proto::{Body, HeadCut, Request};

/// Reads every value of a request.
pub(super) fn request(engine: &mut Engine<'_>, request: &Request) {
    if let Some(authority) = &request.authority {
        host(engine, authority);
    }
    target(engine, request.target().as_bytes(), request.path_is_cut());

    let container = engine.container();
    let mut pieces = Pieces::default();
    for (i, header) in request.headers.iter().enumerate() {
        let last = i + 1 == request.headers.len();
        let cut = last && request.head_cut == Some(HeadCut::LastField);
        if header.name.eq_ignore_ascii_case(b"cookie") {
            cookies(engine, &header.value, cut);
            continue;
        }
        let name = String::from_utf8_lossy(&header.name);
        let chain = Chain::new(Step::Header(&name));
        let context = Context { chain: &chain, key: Some(&name), container, truncated: cut };
        if is_data(&header.name) {
            let context = Context { key: None, truncated: false, ..context };
            engine.look(&header.name, context, Role::Field);
        } else {
            engine.encoded_name(&name, context);
        }
        let joined = pieces.add(&name, &header.value);
        engine.joined(joined, context);
        if !basic_credentials(engine, &header.value, context) {
            engine.look(&header.value, context, Role::Field);
        }
    }
    let chain = Chain::new(Step::Header(""));
    let context = Context { chain: &chain, key: None, container, truncated: false };
    engine.joined(pieces.take(), context);
    request_body(engine, request);
}

/// Reports whether the name of a field looks like data: digits and letters without the
/// hyphens between words.
pub(super) fn is_data(name: &[u8]) -> bool {
    const MIN: usize = 20;
    name.len() >= MIN
        && !name.contains(&b'-')
        && (name.iter().any(u8::is_ascii_digit) || name.contains(&b'.'))
}

/// Reads the host of a request: as a whole, then long labels. Several of them are
/// joined, since a label has at most 63 characters.
fn host(engine: &mut Engine<'_>, authority: &str) {
    /// Shorter labels are words.
    const MIN_LABEL: usize = 16;
    let chain = Chain::new(Step::Host);
    let container = engine.container();
    let context = Context { chain: &chain, key: None, container, truncated: false };
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    engine.emit(host, context);
    let labels: Vec<&str> = host.split('.').collect();
    let long = labels.iter().take_while(|label| label.len() >= MIN_LABEL).count();
    // Shorter pieces, or with numbers that order them. The recipient's domain follows.
    if long <= 1 || without_number(labels[0]).len() < labels[0].len() {
        let mut pieces = Pieces::default();
        for label in labels.iter().take(labels.len().saturating_sub(2)) {
            let joined = pieces.add("", without_number(label).as_bytes());
            engine.joined(joined, context);
        }
        engine.joined(pieces.take(), context);
    }
    if long > 1 {
        // The last part may be shorter than the others.
        for count in [long, long + 1].into_iter().filter(|&count| count < labels.len()) {
            engine.look(labels[..count].concat().as_bytes(), context, Role::Field);
        }
        return;
    }
    for label in labels.iter().filter(|label| label.len() >= MIN_LABEL) {
        engine.look(label.as_bytes(), context, Role::Field);
    }
}

/// Removes the number that orders the pieces of a message: `3-mfrgg`.
fn without_number(label: &str) -> &str {
    let is_number = |text: &str| text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit());
    match label.split_once(['-', '_']) {
        Some((number, piece)) if is_number(number) => piece,
        _ => label,
    }
}

/// Reads the request target: `/path?query`, or the same after `http://host`.
fn target(engine: &mut Engine<'_>, target: &[u8], cut: bool) {
    let (path, query) = match memchr(b'?', target) {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    };
    let path = origin_form(path);
    match query {
        // The query belongs to an address at the end of the path.
        Some(query) if memmem::find(path, b"://").is_some() => {
            self::path(engine, path, Some(query), cut);
        }
        _ => self::path(engine, path, None, cut && query.is_none()),
    }
    if let Some(query) = query {
        let container = engine.container();
        engine.form(query, None, container, cut, |name| Step::Query(name));
    }
}

/// Returns the path of an absolute-form target (RFC 9112 section 3.2.2).
fn origin_form(path: &[u8]) -> &[u8] {
    if path.starts_with(b"/") {
        return path;
    }
    let Some(authority) = memmem::find(path, b"://").map(|at| &path[at + 3..]) else {
        return path;
    };
    memchr(b'/', authority).map_or(&[], |at| &authority[at..])
}

/// Reads the path as a whole, with this query, then each of its segments.
fn path(engine: &mut Engine<'_>, path: &[u8], query: Option<&[u8]>, cut: bool) {
    let chain = Chain::new(Step::Path);
    let container = engine.container();
    let mut context = Context { chain: &chain, key: None, container, truncated: cut };
    let path = if cut { text::whole_triplets(path) } else { path };
    let decode = |part| match text::percent_decode(part) {
        Some(decoded) => Cow::Owned(decoded),
        None => Cow::Borrowed(part),
    };
    let mut whole = decode(path);
    if let Some(query) = query {
        let whole = whole.to_mut();
        whole.push(b'?');
        whole.extend_from_slice(query);
    }
    if let Some(text) = text::as_text(&whole, cut) {
        engine.emit(text, context);
    }
    let mut segments = path.split(|&b| b == b'/').filter(|s| !s.is_empty()).peekable();
    let mut pieces = Pieces::default();
    while let Some(segment) = segments.next() {
        context.truncated = cut && segments.peek().is_none();
        let segment = decode(segment);
        let joined = pieces.add("", &segment);
        engine.joined(joined, context);
        engine.look(&segment, context, Role::Field);
    }
    engine.joined(pieces.take(), context);
}

/// Reads cookies: `name=value; name=value` (RFC 6265 section 4.2.1).
fn cookies(engine: &mut Engine<'_>, value: &[u8], cut: bool) {
    let container = engine.container();
    let mut pieces = Pieces::default();
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
        let context = Context { chain: &chain, key: Some(&name), container, truncated };
        engine.encoded_name(&name, context);
        let joined =
            pieces.add(&name, value).or_else(|| pairs.peek().is_none().then(|| pieces.take())?);
        engine.joined(joined, context);
        engine.look(value, context, Role::Field);
    }
}

/// Reads `Basic` credentials (RFC 7617), whose base64 is accepted at any
/// length.
fn basic_credentials(engine: &mut Engine<'_>, value: &[u8], context: Context<'_>) -> bool {
    let Some((scheme, credentials)) = value.split_at_checked(6) else {
        return false;
    };
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return false;
    }
    let Some(decoded) = base64::decode(credentials.trim_ascii(), context.truncated) else {
        return false;
    };
    let chain = context.chain.then(Step::Base64);
    let context = context.with_chain(&chain);
    let (user, password) = user_and_password(&decoded.bytes);
    let is_cut = context.truncated;
    engine.look(user, Context { truncated: is_cut && password.is_none(), ..context }, Role::Field);
    engine.look(password.unwrap_or_default(), context, Role::Field);
    true
}

/// Splits credentials at their first colon, and at the last one if the user is an address.
fn user_and_password(credentials: &[u8]) -> (&[u8], Option<&[u8]>) {
    let scheme = memmem::find(credentials, b"://").unwrap_or(credentials.len());
    let at = match memchr(b':', credentials) {
        Some(at) if at < scheme => Some(at),
        _ => memrchr(b':', credentials).filter(|at| *at > scheme),
    };
    match at {
        Some(at) => (&credentials[..at], Some(&credentials[at + 1..])),
        None => (credentials, None),
    }
}

fn request_body(engine: &mut Engine<'_>, request: &Request) {
    let Body { data, gaps, chunked, extensions } = &request.body;
    let root = Chain::new(Step::Body);
    let inner = root.then(Step::Chunked);
    let chain = if *chunked { &inner } else { &root };
    let encoding = request.header("content-encoding");
    let truncated = !request.complete || !gaps.is_empty();
    body(engine, request.body.prefix(), chain, request.header("content-type"), encoding, truncated);

    if !extensions.is_empty() {
        chunk_extensions(engine, extensions, chain);
    }

    // The position of bytes after a gap is unknown in every structure. Text can
    // still be read, unless it was compressed.
    for (i, gap) in gaps.iter().enumerate() {
        let end = gaps.get(i + 1).map_or(data.len(), |next| next.at);
        let segment = data.get(gap.at..end).unwrap_or_default();
        let container = engine.container();
        let context = Context { chain, key: None, container, truncated: true };
        if codings(encoding).is_empty() {
            engine.runs(segment, context, Step::Fragment);
        } else {
            engine.count_opaque(segment.len());
        }
    }
}

/// Reads the extensions of chunks, each on a line.
fn chunk_extensions(engine: &mut Engine<'_>, lines: &[u8], chain: &Chain<'_>) {
    let container = engine.container();
    let mut pieces = Pieces::default();
    for line in lines.split(|&b| b == b'\n').map(<[u8]>::trim_ascii) {
        let (name, value) = match memchr(b'=', line) {
            Some(at) => (&line[..at], &line[at + 1..]),
            None => (&line[..0], line),
        };
        let name = String::from_utf8_lossy(name);
        let inside = chain.then(Step::Pair(&name));
        let key = (!name.is_empty()).then_some(&*name);
        let context = Context { chain: &inside, key, container, truncated: false };
        let joined = pieces.add(&name, value);
        engine.joined(joined, context);
        engine.look(value, context, Role::Field);
    }
    let context = Context { chain, key: None, container, truncated: false };
    engine.joined(pieces.take(), context);
}

/// Reads every value of a body.
pub(super) fn body(
    engine: &mut Engine<'_>,
    bytes: &[u8],
    chain: &Chain<'_>,
    content_type: Option<&[u8]>,
    content_encoding: Option<&[u8]>,
    truncated: bool,
) {
    let container = engine.container();
    let context = Context { chain, key: None, container, truncated };
    let label = content_type.map_or(Label::Unknown, Label::from_content_type);
    engine.encoded(bytes, context, &codings(content_encoding), Role::Document(label));
}
