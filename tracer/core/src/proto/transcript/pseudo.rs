//! Heads with the pseudo-header fields of HTTP/2 and HTTP/3 (RFC 9113 section 8.3), as the
//! developer tools and command line tools show them. They are rewritten to the form of
//! HTTP/1.1:
//!
//! ```text
//! :authority: a.test          :authority           POST /x HTTP/2
//! :method: POST               a.test               Host: a.test
//! :path: /x                   :method         ─▶   accept: */*
//! accept: */*                 POST …
//! ```

use std::borrow::Cow;

/// Maximum number of lines of a head.
const MAX_LINES: usize = 512;

/// The pseudo-header fields of requests and responses.
const NAMES: [&str; 6] = [":method", ":authority", ":path", ":scheme", ":protocol", ":status"];

/// Rewrites all heads of a file. Returns `None` unless the first message of the file has such
/// a head.
pub(super) fn rewrite(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut rest = bytes;
    let mut out = Vec::new();
    while let Some(at) = first_head(rest) {
        let (before, head) = rest.split_at(at);
        // In other files, such lines are content.
        if out.is_empty() && memchr::memmem::find(before, b"HTTP/").is_some() {
            return None;
        }
        out.extend_from_slice(before);
        // Lines that are not a head are not parsed again: no head starts among them.
        let (fields, len) = Head::parse(head);
        match fields {
            Some(fields) => fields.write(&mut out),
            None => out.extend_from_slice(head.get(..len).unwrap_or_default()),
        }
        rest = head.get(len..).unwrap_or_default();
        if rest.len() == bytes.len() {
            return None;
        }
    }
    (rest.len() < bytes.len()).then(|| [out.as_slice(), rest].concat())
}

/// Returns the position of the first line that is a pseudo-header field.
fn first_head(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    for line in bytes.split_inclusive(|&b| b == b'\n') {
        if field(line).is_some() {
            return Some(at);
        }
        at += line.len();
    }
    None
}

/// Splits a pseudo-header field into its name and its value, which is empty if it is in the
/// next line.
fn field(line: &[u8]) -> Option<(&'static str, &[u8])> {
    let line = line.trim_ascii();
    line.starts_with(b":").then_some(())?;
    NAMES.into_iter().find_map(|name| {
        let rest = line.strip_prefix(name.as_bytes())?;
        match rest {
            [] => Some((name, rest)),
            [b':' | b' ' | b'\t', value @ ..] => Some((name, value.trim_ascii())),
            _ => None,
        }
    })
}

/// The fields of a head.
#[derive(Debug, Default)]
struct Head<'a> {
    method: &'a [u8],
    authority: &'a [u8],
    path: &'a [u8],
    status: &'a [u8],
    others: Vec<Cow<'a, [u8]>>,
}

impl<'a> Head<'a> {
    /// Parses the head at the start of the bytes. Returns it, if it has a method or a status, and
    /// the number of bytes that were parsed, with the empty line that ends it.
    fn parse(bytes: &'a [u8]) -> (Option<Self>, usize) {
        let mut head = Self::default();
        let mut all = bytes.split_inclusive(|&b| b == b'\n').take(MAX_LINES).peekable();
        let mut len = 0;
        let mut in_pairs = false;
        while let Some(line) = all.next() {
            let text = line.trim_ascii();
            let starts_next = field(line).is_some_and(|(name, _)| head.has(name));
            if starts_next {
                break;
            }
            len += line.len();
            if text.is_empty() {
                break;
            }
            let next = |all: &mut std::iter::Peekable<_>, len: &mut usize| {
                let value: &[u8] = all.next_if(|line: &&[u8]| !line.trim_ascii().is_empty())?;
                *len += value.len();
                Some(value.trim_ascii())
            };
            if let Some((name, value)) = field(line) {
                in_pairs |= value.is_empty();
                let value = match value {
                    [] => next(&mut all, &mut len).unwrap_or_default(),
                    _ => value,
                };
                match name {
                    ":method" => head.method = value,
                    ":authority" => head.authority = value,
                    ":path" => head.path = value,
                    ":status" => head.status = value,
                    _ => {}
                }
            } else if in_pairs && !text.contains(&b' ') {
                // A name, whose value is in the next line.
                let name = text.strip_suffix(b":").unwrap_or(text);
                let value = next(&mut all, &mut len).unwrap_or_default();
                head.others.push(Cow::Owned([name, b": ", value].concat()));
            } else {
                head.others.push(Cow::Borrowed(text));
            }
        }
        let is_message =
            !head.method.is_empty() && !head.path.is_empty() || !head.status.is_empty();
        (is_message.then_some(head), len)
    }

    /// Reports whether a field is known already, so that it belongs to the next head.
    fn has(&self, name: &str) -> bool {
        let value = match name {
            ":method" => self.method,
            ":authority" => self.authority,
            ":path" => self.path,
            ":status" => self.status,
            _ => return false,
        };
        !value.is_empty()
    }

    /// Writes the head in the form of HTTP/1.1.
    fn write(&self, out: &mut Vec<u8>) {
        let mut line = |parts: &[&[u8]]| {
            parts.iter().for_each(|part| out.extend_from_slice(part));
            out.extend_from_slice(b"\r\n");
        };
        if self.method.is_empty() {
            line(&[b"HTTP/2 ", self.status]);
        } else {
            line(&[self.method, b" ", self.path, b" HTTP/2"]);
            if !self.authority.is_empty() {
                line(&[b"Host: ", self.authority]);
            }
        }
        for other in &self.others {
            line(&[other]);
        }
        line(&[]);
    }
}

#[cfg(test)]
mod tests {
    use crate::proto::{Request, parse_transcript};

    fn only(text: &str) -> Request {
        let mut requests = parse_transcript(text.as_bytes()).requests;
        assert_eq!(requests.len(), 1, "{text}: {requests:?}");
        requests.remove(0)
    }

    #[test]
    fn pseudo_header_fields_are_a_request() {
        let body = "{\"url\":\"https://visited.example/a\"}";
        for head in [
            ":authority: a.test\n:method: POST\n:path: /v1?x=1\n:scheme: https\naccept: */*\n",
            ":method: POST\r\n:scheme: https\r\n:authority: a.test\r\n:path: /v1?x=1\r\naccept: */*\r\n",
            ":authority:\na.test\n:method:\nPOST\n:path:\n/v1?x=1\n:scheme:\nhttps\naccept:\n*/*\n",
            ":authority\na.test\n:method\nPOST\n:path\n/v1?x=1\n:scheme\nhttps\naccept\n*/*\n",
            "  :method: POST\n  :path: /v1?x=1\n  :authority: a.test\n  accept: */*\n",
            "Request Headers\n:method: POST\n:path: /v1?x=1\n:authority: a.test\naccept: */*\n",
        ] {
            let request = only(&format!("{head}\n{body}"));
            assert_eq!(request.method.as_deref(), Some("POST"), "{head}");
            assert_eq!(request.authority.as_deref(), Some("a.test"), "{head}");
            assert_eq!(request.path.as_deref(), Some("/v1?x=1"), "{head}");
            assert_eq!(request.header("accept"), Some(&b"*/*"[..]), "{head}");
            assert_eq!(request.body.data, body.as_bytes(), "{head}");
        }
    }

    #[test]
    fn several_requests_and_answers_are_told_apart() {
        let get = |path: &str| {
            format!(":method: GET\n:authority: a.test\n:path: {path}\n:scheme: https\n")
        };
        let answer = ":status: 200\ncontent-type: text/html\ncontent-length: 3\n\nabc\n";
        for text in [
            format!("{}\n{}\n", get("/1"), get("/2")),
            format!("{}{}", get("/1"), get("/2")),
            format!("{}\n{answer}\n{}\n", get("/1"), get("/2")),
        ] {
            let requests = parse_transcript(text.as_bytes()).requests;
            let paths: Vec<_> = requests.iter().filter_map(|it| it.path.as_deref()).collect();
            assert_eq!(paths, ["/1", "/2"], "{text}");
        }
    }

    #[test]
    fn such_lines_in_other_files_are_content() {
        let request = only(
            "POST /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: 26\r\n\r\n:method: GET\n:path: /other",
        );
        assert_eq!(request.path.as_deref(), Some("/x"));
        for text in ["", ":", ":method", ":method: GET", ":path: /x\n\n", ":foo: bar\n"] {
            assert_eq!(parse_transcript(text.as_bytes()).requests, [], "{text}");
        }
    }
}
