//! The head of a request: its request line and its fields.
//!
//! ```text
//! method SP target SP HTTP/version CRLF
//! *( name ":" OWS value OWS CRLF [ 1*( SP / HTAB ) more of the value CRLF ] )
//! CRLF
//! ```
//!
//! Bare line feeds, folded lines, and other or more white space around the
//! target are tolerated, as RFC 9112 permits. So are the versions 2 and 3, which
//! proxies write when they save requests as text.

use bytes::Bytes;

use super::body::Framing;
use super::lines::{Line, Section, lines};
use crate::proto::{HeadCut, Header, Protocol};

/// Maximum length of a request line. Servers allow 8 to 64 KiB, but reported
/// URLs make longer targets.
const MAX_REQUEST_LINE: usize = 256 << 10;

/// Maximum length of a head. Servers allow about 10 KiB of fields.
const MAX_HEAD: usize = 1 << 20;

/// Maximum number of fields kept per section. Each costs far more memory than
/// its bytes.
const MAX_FIELDS: usize = 1024;

/// Methods for which a request line without its version is accepted: those of
/// RFC 9110 and RFC 5789.
const METHODS: [&[u8]; 9] =
    [b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"CONNECT", b"OPTIONS", b"TRACE", b"PATCH"];

/// Methods whose requests usually have a body.
const METHODS_WITH_CONTENT: [&[u8]; 3] = [b"POST", b"PUT", b"PATCH"];

/// Reads a head incrementally.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    section: Section,
    /// Set once the request line is complete and valid.
    has_request_line: bool,
}

/// The progress of reading a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// The head continues.
    More,
    /// The head is complete.
    Whole,
    /// The head exceeds the limit.
    TooLong,
    /// The bytes are not a head.
    NotHttp,
}

impl HeadReader {
    /// Reads the next bytes up to the end of the head. Returns the number of
    /// bytes consumed.
    pub(super) fn push(&mut self, bytes: &[u8]) -> (usize, Progress) {
        let mut taken = 0;
        while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
            let max = if self.has_request_line { MAX_HEAD } else { MAX_REQUEST_LINE };
            let (used, line) = self.section.push(rest, max);
            taken += used;
            match line {
                Line::Partial => break,
                Line::TooLong => return (taken, Progress::TooLong),
                Line::Empty if self.has_request_line => return (taken, Progress::Whole),
                Line::Whole if self.has_request_line => {}
                Line::Whole | Line::Empty => {
                    let line = lines(self.section.bytes()).next();
                    if line.and_then(|(line, _)| RequestLine::parse(line)).is_none() {
                        return (taken, Progress::NotHttp);
                    }
                    self.has_request_line = true;
                }
            }
        }
        (taken, Progress::More)
    }

    /// Reports whether the next byte belongs to the request target or follows
    /// it.
    pub(super) fn is_in_target(&self) -> bool {
        !self.has_request_line && self.section.bytes().iter().any(|&b| is_space(b))
    }

    /// Returns the number of bytes consumed.
    pub(super) fn len(&self) -> usize {
        self.section.bytes().len()
    }

    /// Returns the known part of an incomplete head, or `None` if it does not
    /// prove to be a request.
    pub(super) fn partial(&self) -> Option<Head> {
        Head::parse(Bytes::copy_from_slice(self.section.bytes()), false)
    }

    /// Returns the complete head.
    pub(super) fn into_head(self) -> Option<Head> {
        Head::parse(Bytes::from(self.section.into_bytes()), true)
    }
}

/// A head, or the known part of one.
#[derive(Debug, Clone)]
pub(super) struct Head {
    pub(super) method: String,
    pub(super) version: Protocol,
    pub(super) authority: Option<String>,
    pub(super) path: String,
    pub(super) fields: Fields,
    pub(super) cut: Option<HeadCut>,
    pub(super) framing: Framing,
    /// Set if a body is likely, and its length is not declared.
    pub(super) undeclared: bool,
    /// Number of bytes of memory that the head occupies.
    pub(super) size: usize,
}

impl Head {
    fn parse(section: Bytes, whole: bool) -> Option<Self> {
        let (line, ended) = lines(&section).next()?;
        let line = if ended { RequestLine::parse(line)? } else { RequestLine::parse_cut(line)? };

        let after = section.iter().position(|&b| b == b'\n').map_or(section.len(), |at| at + 1);
        let mut framing = FramingFields::default();
        let (fields, last_cut) =
            Fields::parse(&section.slice(after..), |name, value| framing.see(name, value));

        let cut = match (whole, ended) {
            (true, _) => None,
            (false, false) => Some(HeadCut::Target),
            (false, true) if last_cut => Some(HeadCut::LastField),
            (false, true) => Some(HeadCut::Fields),
        };
        // A truncated host is a different host, so only the path of a truncated
        // target is kept.
        let target_cut = cut == Some(HeadCut::Target);
        let (authority, path) = line.split_target();
        let authority = authority.filter(|_| path.is_some() || !target_cut).or_else(|| {
            let host = fields.list.iter().position(|field| is(&field.name, "host"))?;
            let known = !(last_cut && host + 1 == fields.list.len());
            fields.list.get(host).filter(|_| known).map(|field| &field.value[..])
        });
        let path = match path {
            Some(path) => path_text(path, target_cut),
            None if target_cut || line.method == b"CONNECT" => String::new(),
            None => "/".to_owned(),
        };
        let has_content = METHODS_WITH_CONTENT.contains(&line.method)
            || fields.list.iter().any(|field| is(&field.name, "content-type"));
        Some(Self {
            method: String::from_utf8_lossy(line.method).into_owned(),
            version: line.version,
            authority: authority.map(|host| String::from_utf8_lossy(host).into_owned()),
            path,
            size: section.len() + fields.list.len() * size_of::<Header>(),
            undeclared: has_content && framing.length.is_none() && framing.chunked.is_none(),
            framing: framing.framing(),
            cut,
            fields,
        })
    }

    /// Reports whether a comma-separated list in the fields with this name
    /// contains `member`.
    pub(super) fn lists(&self, name: &str, member: &str) -> bool {
        let mut named = self.fields.list.iter().filter(|field| is(&field.name, name));
        named.any(|field| members(&field.value).any(|m| is(m, member)))
    }
}

/// Converts a target to text. `?q` in `http://host?q` requests `/?q`; an
/// incomplete character is dropped.
fn path_text(path: &[u8], cut: bool) -> String {
    let known = match std::str::from_utf8(path) {
        Err(err) if cut && err.error_len().is_none() => path.get(..err.valid_up_to()),
        _ => Some(path),
    };
    let text = String::from_utf8_lossy(known.unwrap_or_default());
    if text.starts_with('?') { format!("/{text}") } else { text.into_owned() }
}

/// A request line, or the known part of one.
#[derive(Debug, PartialEq, Eq)]
struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Protocol,
}

impl<'a> RequestLine<'a> {
    /// Parses a complete line without its terminator. Spaces in the target are
    /// accepted, as servers do.
    fn parse(line: &'a [u8]) -> Option<Self> {
        let (method, rest) = split_at_space(line)?;
        let rest = trim_spaces_end(rest);
        let space = rest.iter().rposition(|&b| is_space(b))?;
        let (target, version) = rest.split_at_checked(space + 1)?;
        let (target, version) = (trim_spaces_end(target), version_of(version)?);
        let is_method = !method.is_empty() && method.iter().all(|&b| is_token(b));
        let is_target = !target.is_empty() && !target.iter().any(|b| b.is_ascii_control());
        // This line begins the preface of HTTP/2 and requests nothing.
        let is_preface = method == b"PRI" && version == Protocol::Http2;
        (is_method && is_target && !is_preface).then_some(Self { method, target, version })
    }

    /// Parses an incomplete line. Only known methods are accepted, with targets
    /// that occur only in requests.
    fn parse_cut(line: &'a [u8]) -> Option<Self> {
        let (method, target) = split_at_space(line)?;
        let target = trim_spaces_end(target);
        // The version may have started.
        let space = target.iter().rposition(|&b| is_space(b));
        let target = match space.and_then(|at| target.split_at_checked(at + 1)) {
            Some((target, version)) if is_cut_version(version) => trim_spaces_end(target),
            _ => target,
        };
        let is_target = target.starts_with(b"/") || split_absolute(target).is_some();
        let is_text = !target.iter().any(|b| b.is_ascii_control());
        let is_method = METHODS.iter().any(|known| known.eq_ignore_ascii_case(method));
        let version = Protocol::Http1;
        (is_method && is_target && is_text).then_some(Self { method, target, version })
    }

    /// Splits the target into its authority and its path, as far as present. A
    /// truncated target without a path may end within the authority.
    fn split_target(&self) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
        if self.method == b"CONNECT" {
            return (Some(self.target), None);
        }
        let Some(rest) = split_absolute(self.target) else {
            return (None, Some(self.target));
        };
        let end = rest.iter().position(|b| matches!(b, b'/' | b'?' | b'#'));
        let (authority, path) = rest.split_at(end.unwrap_or(rest.len()));
        let host = authority.iter().rposition(|&b| b == b'@').map_or(0, |at| at + 1);
        (authority.get(host..), end.map(|_| path))
    }
}

/// Returns the text after `scheme://` in an absolute target.
fn split_absolute(target: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::find(target.get(..16).unwrap_or(target), b"://")?;
    let (scheme, rest) = target.split_at_checked(at)?;
    let is_scheme = scheme.iter().all(u8::is_ascii_alphanumeric) && !scheme.is_empty();
    rest.get(3..).filter(|_| is_scheme)
}

/// Parses the version in a request line. Lenient servers ignore its case.
fn version_of(text: &[u8]) -> Option<Protocol> {
    let (name, version) = text.split_at_checked(b"HTTP/".len())?;
    if !name.eq_ignore_ascii_case(b"HTTP/") {
        return None;
    }
    match version {
        [b'1', b'.', b'0'..=b'9'] => Some(Protocol::Http1),
        b"2" | b"2.0" => Some(Protocol::Http2),
        b"3" | b"3.0" => Some(Protocol::Http3),
        _ => None,
    }
}

/// Reports whether the text may be the start of a version, or is one.
fn is_cut_version(text: &[u8]) -> bool {
    let starts = [&b"HTTP/1."[..], b"HTTP/2.0", b"HTTP/3.0"];
    let begins = |start: &&[u8]| {
        start.get(..text.len()).is_some_and(|known| known.eq_ignore_ascii_case(text))
    };
    starts.iter().any(begins) || version_of(text).is_some()
}

/// Splits a line after its first word and the white space behind it.
fn split_at_space(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let (word, rest) = line.split_at_checked(line.iter().position(|&b| is_space(b))?)?;
    let next = rest.iter().position(|&b| !is_space(b)).unwrap_or(rest.len());
    Some((word, rest.get(next..)?))
}

fn trim_spaces_end(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&b| !is_space(b)).map_or(0, |at| at + 1);
    text.get(..end).unwrap_or(text)
}

/// Reports whether a byte separates the parts of a request line for lenient
/// servers (RFC 9112 section 3). A bare CR is not accepted.
pub(in crate::proto) fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | 0x0b | 0x0c)
}

/// Reports whether the bytes start with a complete request line.
pub(in crate::proto) fn begins_with_request_line(bytes: &[u8]) -> bool {
    let reachable = bytes.get(..MAX_REQUEST_LINE).unwrap_or(bytes);
    let first = lines(reachable).next();
    first.is_some_and(|(line, ended)| ended && RequestLine::parse(line).is_some())
}

/// Reports whether a byte is a `tchar` (RFC 9110 section 5.6.2).
pub(in crate::proto) fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// The fields of a section.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields {
    pub(super) list: Vec<Header>,
    /// Number of bytes in invalid lines and in fields beyond the limit.
    pub(super) unread: u64,
}

impl Fields {
    /// Parses a section and passes every field to `see`. Also returns whether
    /// the section ends within the last field.
    pub(super) fn parse(section: &Bytes, mut see: impl FnMut(&[u8], &[u8])) -> (Self, bool) {
        let mut fields = Self::default();
        let mut last_cut = false;
        let mut rest = lines(section).peekable();
        while let Some((line, mut ended)) = rest.next() {
            if line.is_empty() {
                continue;
            }
            let mut sent = line.len();
            let is_name = |(name, _): &(&[u8], &[u8])| name.first().is_some_and(|&b| is_token(b));
            let colon = memchr::memchr(b':', line);
            let field = colon.and_then(|at| line.split_at_checked(at)).filter(is_name);
            let Some((name, value)) = field else {
                // A truncated name says nothing; other lines are not fields.
                fields.unread += if ended { sent as u64 } else { 0 };
                continue;
            };
            let value = value.get(1..).unwrap_or_default().trim_ascii();
            let mut folded = None;
            while let Some(&(more @ [b' ' | b'\t', ..], more_ended)) = rest.peek() {
                rest.next();
                sent += more.len();
                ended = more_ended;
                let value = folded.get_or_insert_with(|| value.to_vec());
                value.push(b' ');
                value.extend_from_slice(more.trim_ascii());
            }
            let value = folded.map_or_else(|| section.slice_ref(value), Bytes::from);
            let name = section.slice_ref(name.trim_ascii_end());
            see(&name, &value);
            if fields.list.len() < MAX_FIELDS {
                fields.list.push(Header { name, value });
                last_cut = !ended;
            } else {
                fields.unread += sent as u64;
            }
        }
        (fields, last_cut)
    }
}

/// The fields that determine the framing of the body.
#[derive(Debug, Default)]
struct FramingFields {
    length: Option<Result<u64, InvalidLength>>,
    /// Whether the last transfer coding is `chunked`; `None` without any
    /// coding.
    chunked: Option<bool>,
}

#[derive(Debug)]
struct InvalidLength;

impl FramingFields {
    fn see(&mut self, name: &[u8], value: &[u8]) {
        if is(name, "content-length") {
            for member in members(value) {
                let length = parse_length(member);
                self.length = Some(match (self.length.take(), length) {
                    (None, Some(length)) => Ok(length),
                    (Some(Ok(before)), Some(length)) if before == length => Ok(length),
                    _ => Err(InvalidLength),
                });
            }
        } else if is(name, "transfer-encoding") {
            for coding in members(value).filter(|coding| !is(coding, "identity")) {
                self.chunked = Some(is(coding, "chunked"));
            }
        }
    }

    /// Determines the framing (RFC 9112 section 6.3). A transfer coding takes
    /// precedence over a length.
    fn framing(&self) -> Framing {
        match (self.chunked, &self.length) {
            (Some(true), _) => Framing::chunked(),
            (Some(false), _) | (None, Some(Err(InvalidLength))) => Framing::Unframed,
            (None, Some(Ok(length))) => Framing::Length(*length),
            (None, None) => Framing::Length(0),
        }
    }
}

fn parse_length(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// Returns the members of a comma-separated list.
fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii)
}

fn is(name: &[u8], other: &str) -> bool {
    name.eq_ignore_ascii_case(other.as_bytes())
}
