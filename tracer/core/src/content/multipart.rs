//! Multipart bodies (RFC 2046 section 5.1, RFC 7578).
//!
//! ```text
//! --boundary CRLF
//! Content-Disposition: form-data; name="data"; filename="events.gz" CRLF
//! Content-Type: application/gzip CRLF
//! CRLF
//! content CRLF
//! --boundary--
//! ```

use memchr::{memchr, memmem};

/// Maximum length of a boundary. RFC 2046 allows 70 characters; some senders
/// use a few more.
const MAX_BOUNDARY: usize = 128;
/// Maximum number of header lines read per part.
const MAX_HEADERS: usize = 16;

/// A part of a multipart body.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'d> {
    /// The name of the form field.
    pub(super) name: Option<&'d [u8]>,
    /// The name of the file.
    pub(super) filename: Option<&'d [u8]>,
    /// The name of the file in the form that can hold any character (RFC 5987),
    /// percent-encoded.
    pub(super) encoded_filename: Option<&'d [u8]>,
    /// The lines of fields, of which [`fields`] returns those without a meaning here.
    head: &'d [u8],
    pub(super) content_type: Option<&'d [u8]>,
    pub(super) content_encoding: Option<&'d [u8]>,
    /// `Content-Transfer-Encoding: base64`.
    pub(super) base64: bool,
    /// The bytes that follow the boundary on its line.
    pub(super) padding: &'d [u8],
    pub(super) content: &'d [u8],
    /// Set if the input ends inside the part.
    pub(super) truncated: bool,
}

/// Returns the boundary declared by a `Content-Type`.
pub fn boundary(content_type: &[u8]) -> Option<&[u8]> {
    let (kind, parameters) = content_type.split_at_checked(10)?;
    if !kind.eq_ignore_ascii_case(b"multipart/") {
        return None;
    }
    parameter(parameters, b"boundary").filter(|b| !b.is_empty() && b.len() <= MAX_BOUNDARY)
}

/// Returns the boundary at the start of `input`, if the header of a part
/// follows it.
pub(super) fn sniff(input: &[u8]) -> Option<&[u8]> {
    let rest = input.strip_prefix(b"--")?;
    let len = memchr(b'\n', &rest[..rest.len().min(MAX_BOUNDARY + 2)])?;
    let line = rest[..len].strip_suffix(b"\r").unwrap_or(&rest[..len]);
    let header = rest.get(len + 1..len + 9)?;
    let fits = !line.is_empty() && line.iter().all(u8::is_ascii_graphic);
    (fits && header.eq_ignore_ascii_case(b"content-")).then_some(line)
}

/// Returns the value of a parameter: `; name=value` or `; name="value"`.
fn parameter<'d>(value: &'d [u8], name: &[u8]) -> Option<&'d [u8]> {
    let mut rest = value;
    loop {
        rest = &rest[memchr(b';', rest)? + 1..];
        let Some(text) = starts_with_name(rest.trim_ascii_start(), name) else {
            continue;
        };
        return Some(match text.strip_prefix(b"\"") {
            Some(quoted) => &quoted[..memchr(b'"', quoted).unwrap_or(quoted.len())],
            None => text[..memchr(b';', text).unwrap_or(text.len())].trim_ascii(),
        });
    }
}

/// Returns the text after `name=`.
fn starts_with_name<'d>(text: &'d [u8], name: &[u8]) -> Option<&'d [u8]> {
    let (head, rest) = text.split_at_checked(name.len())?;
    if !head.eq_ignore_ascii_case(name) {
        return None;
    }
    rest.strip_prefix(b"=")
}

/// Reports whether a boundary is in the input.
pub(super) fn has(input: &[u8], boundary: &[u8]) -> bool {
    around(input, boundary)[0].len() < input.trim_ascii().len()
}

/// Returns what is before the first boundary and after the last one. Recipients ignore it.
pub(super) fn around<'d>(input: &'d [u8], boundary: &[u8]) -> [&'d [u8]; 2] {
    let delimiter = [b"--", boundary].concat();
    let finder = memmem::Finder::new(&delimiter);
    let mut lines = finder.find_iter(input).filter(|&at| at == 0 || input[at - 1] == b'\n');
    let first = lines.next().unwrap_or(input.len());
    let is_last = |at: &usize| input[at + delimiter.len()..].starts_with(b"--");
    let last = std::iter::once(first).chain(lines).filter(|at| *at < input.len()).find(is_last);
    let after = last.map_or(&[][..], |at| &input[at + delimiter.len() + 2..]);
    [&input[..first], after].map(|part| part.trim_ascii())
}

/// Returns the parts between boundaries.
pub(super) fn parts<'d>(input: &'d [u8], boundary: &[u8]) -> impl Iterator<Item = Part<'d>> {
    let mut delimiter = b"--".to_vec();
    delimiter.extend_from_slice(boundary);
    let finder = memmem::Finder::new(&delimiter).into_owned();
    // A delimiter is always at the start of a line.
    let find =
        move |input: &[u8]| finder.find_iter(input).find(|&at| at == 0 || input[at - 1] == b'\n');
    let skip = delimiter.len();
    let mut rest = find(input).map(|at| &input[at + skip..]);
    std::iter::from_fn(move || {
        let input = rest?;
        // The closing delimiter ends with two hyphens.
        if input.starts_with(b"--") {
            return None;
        }
        let next = find(input).filter(|&at| at > 0);
        rest = next.map(|at| &input[at + skip..]);
        let part = match next {
            Some(at) => {
                let part = &input[..at];
                let part = part.strip_suffix(b"\n").unwrap_or(part);
                part.strip_suffix(b"\r").unwrap_or(part)
            }
            None => input,
        };
        let first_line = memchr(b'\n', part)?;
        let padding = part[..first_line].trim_ascii();
        Some(Part { padding, ..read(&part[first_line + 1..], next.is_none()) })
    })
}

/// Reads the headers and content of a part.
fn read(part: &[u8], truncated: bool) -> Part<'_> {
    let mut read = Part { truncated, ..Part::default() };
    let mut rest = part;
    for _ in 0..MAX_HEADERS {
        let Some(end) = memchr(b'\n', rest) else {
            // The headers are truncated, so there is no content.
            return read;
        };
        let line = rest[..end].trim_ascii();
        rest = &rest[end + 1..];
        if line.is_empty() {
            break;
        }
        let Some(colon) = memchr(b':', line) else {
            continue;
        };
        let value = line[colon + 1..].trim_ascii();
        match &*line[..colon].to_ascii_lowercase() {
            b"content-disposition" => {
                read.name = parameter(value, b"name");
                read.filename = parameter(value, b"filename");
                read.encoded_filename = parameter(value, b"filename*").map(after_charset);
            }
            b"content-type" => read.content_type = Some(value),
            b"content-encoding" => read.content_encoding = Some(value),
            b"content-transfer-encoding" => read.base64 = value.eq_ignore_ascii_case(b"base64"),
            _ => {}
        }
    }
    read.head = &part[..part.len() - rest.len()];
    read.content = rest;
    read
}

/// Returns the text behind the name of its character set and language: `UTF-8''text`.
fn after_charset(value: &[u8]) -> &[u8] {
    let mut quotes = memchr::memchr_iter(b'\'', value);
    quotes.nth(1).map_or(value, |at| &value[at + 1..])
}

/// Returns the parameters of a field's value: `value; name=value; name="value"`.
fn parameters(value: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            rest = &rest[memchr(b';', rest)? + 1..];
            let Some(equals) = memchr(b'=', rest) else { continue };
            let name = rest[..equals].trim_ascii();
            if name.contains(&b';') {
                continue;
            }
            let text = &rest[equals + 1..];
            let value = match text.strip_prefix(b"\"") {
                Some(quoted) => &quoted[..memchr(b'"', quoted).unwrap_or(quoted.len())],
                None => text[..memchr(b';', text).unwrap_or(text.len())].trim_ascii(),
            };
            rest = &text[value.len()..];
            return Some((name, value));
        }
    })
}

impl<'d> Part<'d> {
    /// Returns the names and values of the parameters of fields that do not describe the part.
    pub(super) fn parameters(&self) -> impl Iterator<Item = (&'d [u8], &'d [u8])> {
        const DESCRIBING: [&[u8]; 5] =
            [b"name", b"filename", b"filename*", b"charset", b"boundary"];
        let lines = self.head.split(|&b| b == b'\n').take(MAX_HEADERS);
        let fields = lines.filter(|line| {
            line.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"content-"))
        });
        fields
            .flat_map(parameters)
            .filter(|(name, _)| !DESCRIBING.iter().any(|it| name.eq_ignore_ascii_case(it)))
    }

    /// Returns the names and values of the fields that do not describe the part, such as
    /// `Content-Location`.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&'d [u8], &'d [u8])> {
        const DESCRIBING: [&[u8]; 5] = [
            b"content-disposition",
            b"content-type",
            b"content-encoding",
            b"content-transfer-encoding",
            b"content-length",
        ];
        self.head.split(|&b| b == b'\n').take(MAX_HEADERS).filter_map(|line| {
            let colon = memchr(b':', line)?;
            let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
            let describes = DESCRIBING.iter().any(|it| name.eq_ignore_ascii_case(it));
            (!describes && !name.is_empty()).then_some((name, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_recipients_ignore_is_returned() {
        assert_eq!(around(BODY, b"xyz"), [&b"preamble"[..], b"epilogue"]);
        assert_eq!(around(b"--b\r\n\r\n1\r\n--b--\r\n", b"b"), [b"", b""]);
        assert_eq!(around(b"all of it", b"b"), [&b"all of it"[..], b""]);
        let body =
            b"--b \t x\r\nContent-Type: a/b; charset=utf-8; u=\"1;2\"; v = 3\r\n\r\n1\r\n--b--";
        let part = parts(body, b"b").next().unwrap();
        assert_eq!(part.padding, b"x");
        let parameters: Vec<_> = part.parameters().collect();
        assert_eq!(parameters, [(&b"u"[..], &b"1;2"[..]), (b"v", b"3")]);
    }

    const BODY: &[u8] = b"preamble\r\n--xyz\r\n\
        Content-Disposition: form-data; name=\"data\"; filename=\"a;b.gz\"\r\n\
        Content-Type: application/json\r\n\r\n{\"a\": 1}\r\n--xyz\r\n\
        content-disposition: form-data; name=plain\r\n\r\none\r\ntwo\r\n--xyz--\r\nepilogue";

    #[test]
    fn finds_the_boundary() {
        let header: &[u8] = b"multipart/form-data; charset=utf-8; Boundary=\"xyz\"";
        assert_eq!(boundary(header), Some(&b"xyz"[..]));
        assert_eq!(boundary(b"multipart/mixed; boundary=a-b"), Some(&b"a-b"[..]));
        assert_eq!(boundary(b"multipart/mixed"), None);
        assert_eq!(boundary(b"text/plain; boundary=a"), None);
        assert_eq!(sniff(b"--a-b\r\nContent-Type: x\r\n\r\n"), Some(&b"a-b"[..]));
        assert_eq!(sniff(b"--\r\nContent-Type: x\r\n\r\n"), None);
        assert_eq!(sniff(b"-- a comment\nselect"), None);
    }

    #[test]
    fn reads_parts() {
        let parts: Vec<_> = parts(BODY, b"xyz").collect();
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].name, Some(&b"data"[..]));
        assert_eq!(parts[0].filename, Some(&b"a;b.gz"[..]));
        assert_eq!(parts[0].content_type, Some(&b"application/json"[..]));
        assert_eq!(parts[0].content, b"{\"a\": 1}");
        assert_eq!((parts[1].name, parts[1].filename), (Some(&b"plain"[..]), None));
        assert_eq!(parts[1].content, b"one\r\ntwo");
        assert!(!parts[0].truncated && !parts[1].truncated);
    }

    #[test]
    fn a_delimiter_starts_a_line() {
        let body = b"--b\r\n\r\n{\"a\": \"--b\"}\r\n--b--";
        assert_eq!(parts(body, b"b").next().unwrap().content, b"{\"a\": \"--b\"}");
    }

    #[test]
    fn a_truncated_body_yields_prefixes() {
        let whole: Vec<_> = parts(BODY, b"xyz").collect();
        for len in 0..BODY.len() {
            for (part, whole) in parts(&BODY[..len], b"xyz").zip(&whole) {
                // A truncated boundary looks like content.
                let known = part.content.len().min(whole.content.len());
                assert_eq!(part.content[..known], whole.content[..known], "{len}");
                assert!(part.truncated || part == *whole, "{len}");
            }
        }
    }
}
