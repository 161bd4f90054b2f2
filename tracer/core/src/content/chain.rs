//! The steps that lead from a request to one of its values.
//!
//! A [`Chain`] is a list that lives on the stack of the recursion that builds
//! it: a step costs no allocation, and text is made only when asked for.
//! Steps read from the outside in, joined by ` > `:
//!
//! ```text
//! body > form:data_list > base64 > gzip > json[0].properties.url
//! ```

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use super::xor::Key;

/// How much of a name goes into a rendered chain. Names come from the
/// request, and a chain has to stay readable.
const MAX_NAME_CHARS: usize = 80;

/// A compression format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950. HTTP calls this `deflate` (RFC 9110 section 8.4.1.2).
    Zlib,
    /// RFC 1951, with nothing around it.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
}

impl Coding {
    /// The name of the format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib => "zlib",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// The name `Content-Encoding` has for it.
    fn content_encoding(self) -> &'static str {
        match self {
            Self::Zlib => "deflate",
            other => other.name(),
        }
    }
}

/// One part of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment<'a> {
    /// A member of an object.
    Key(Cow<'a, str>),
    /// An element of an array, counted from 0.
    Index(usize),
}

/// Where a value stands in a tree of objects and arrays: `.batch[0].url`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path<'a>(pub(super) Vec<Segment<'a>>);

/// The path of a tree's root.
pub(super) static ROOT: Path<'static> = Path(Vec::new());

impl Path<'_> {
    /// The segments from the root to the value.
    pub fn segments(&self) -> &[Segment<'_>] {
        &self.0
    }

    /// The name of the innermost member on the way.
    pub fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|segment| match segment {
            Segment::Key(key) => Some(&**key),
            Segment::Index(_) => None,
        })
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.0 {
            match segment {
                Segment::Key(key) => {
                    f.write_char('.')?;
                    write_name(f, key)?;
                }
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One step of a [`Chain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The path of the request target.
    Path,
    /// A parameter of the query; percent-encoding and `+` are undone.
    Query(&'a str),
    /// A header field.
    Header(&'a str),
    /// A cookie.
    Cookie(&'a str),
    /// The body.
    Body,
    /// The body was sent with the chunked transfer coding.
    Chunked,
    /// Bytes whose place in the structure around them is lost: what follows a
    /// gap or an error.
    Fragment,
    /// A compression the request declares.
    ContentEncoding(Coding),
    /// A compression found by looking.
    Compressed(Coding),
    /// A parameter of an urlencoded form; percent-encoding and `+` are undone.
    Form(&'a str),
    /// A part of a multipart body: its name, its file name or its number.
    Multipart(&'a str),
    /// Percent-encoding.
    Percent,
    /// The entities of XML and HTML.
    Entities,
    /// Text that is written backwards.
    Reversed,
    /// Text whose letters are moved by thirteen places.
    Rot13,
    /// Bytes that were combined with a short key by exclusive or.
    Xor(Key),
    /// The escapes of JSON and JavaScript in text that is neither.
    Escaped,
    /// Base64 with `+` and `/`, or with neither pair (RFC 4648 section 4).
    Base64,
    /// Base64 with `-` and `_` (RFC 4648 section 5).
    Base64Url,
    /// Base16.
    Hex,
    /// UTF-16.
    Utf16,
    /// A value of a JSON document.
    Json(&'a Path<'a>),
    /// A value of one JSON document among several, counted from 0.
    JsonLine(usize, &'a Path<'a>),
    /// A value of a MessagePack document.
    MessagePack(&'a Path<'a>),
    /// A value of a CBOR document.
    Cbor(&'a Path<'a>),
    /// A length-prefixed message of gRPC.
    Grpc,
    /// A field of a protobuf message, by its number.
    Protobuf(u32),
    /// A run of text in bytes that no decoder reads.
    Text,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut named = |prefix: &str, name: &str| {
            f.write_str(prefix)?;
            write_name(f, name)
        };
        match self {
            Self::Path => f.write_str("path"),
            Self::Query(name) => named("query:", name),
            Self::Header(name) => named("header:", name),
            Self::Cookie(name) => named("cookie:", name),
            Self::Body => f.write_str("body"),
            Self::Chunked => f.write_str("chunked"),
            Self::Fragment => f.write_str("fragment"),
            Self::ContentEncoding(coding) => write!(f, "CE:{}", coding.content_encoding()),
            Self::Compressed(coding) => f.write_str(coding.name()),
            Self::Form(name) => named("form:", name),
            Self::Multipart(name) => named("multipart:", name),
            Self::Percent => f.write_str("percent"),
            Self::Entities => f.write_str("entities"),
            Self::Reversed => f.write_str("reversed"),
            Self::Rot13 => f.write_str("rot13"),
            Self::Xor(key) => write!(f, "xor:{key}"),
            Self::Escaped => f.write_str("escaped"),
            Self::Base64 => f.write_str("base64"),
            Self::Base64Url => f.write_str("base64url"),
            Self::Hex => f.write_str("hex"),
            Self::Utf16 => f.write_str("utf16"),
            Self::Json(path) => write!(f, "json{path}"),
            Self::JsonLine(line, path) => write!(f, "jsonl[{line}]{path}"),
            Self::MessagePack(path) => write!(f, "msgpack{path}"),
            Self::Cbor(path) => write!(f, "cbor{path}"),
            Self::Grpc => f.write_str("grpc"),
            Self::Protobuf(number) => write!(f, "pb#{number}"),
            Self::Text => f.write_str("text"),
        }
    }
}

/// Writes a name that the request chose: no control characters, not too long.
fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    for (i, c) in name.chars().enumerate() {
        if i == MAX_NAME_CHARS {
            return f.write_char('…');
        }
        if c.is_control() {
            write!(f, "{}", c.escape_default())?;
        } else {
            f.write_char(c)?;
        }
    }
    Ok(())
}

/// The steps from the request to a value, the last one first.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a> {
    outer: Option<&'a Chain<'a>>,
    step: Step<'a>,
    len: usize,
}

impl<'a> Chain<'a> {
    /// A chain of one step.
    pub fn new(step: Step<'a>) -> Self {
        Self { outer: None, step, len: 1 }
    }

    /// This chain with one more step.
    pub fn then(&'a self, step: Step<'a>) -> Self {
        Self { outer: Some(self), step, len: self.len + 1 }
    }

    /// The innermost step.
    pub fn last(&self) -> Step<'a> {
        self.step
    }

    /// The part of the request the value stands in.
    pub fn root(&self) -> Step<'a> {
        self.steps().last().unwrap_or(self.step)
    }

    /// The steps from the innermost to the root.
    pub fn steps(&self) -> impl Iterator<Item = Step<'a>> {
        let mut next = Some(*self);
        std::iter::from_fn(move || {
            let chain = next?;
            next = chain.outer.copied();
            Some(chain.step)
        })
    }

    /// How many steps there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "a chain is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As deep as the chain is long, which `Limits::depth` bounds.
        if let Some(outer) = self.outer {
            write!(f, "{outer} > ")?;
        }
        write!(f, "{}", self.step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_from_the_outside_in() {
        let path = Path(vec![
            Segment::Index(0),
            Segment::Key("properties".into()),
            Segment::Key("$url".into()),
        ]);
        let body = Chain::new(Step::Body);
        let coding = body.then(Step::ContentEncoding(Coding::Zlib));
        let form = coding.then(Step::Form("data_list"));
        let zlib = form.then(Step::Compressed(Coding::Zlib));
        let json = zlib.then(Step::JsonLine(2, &path));
        assert_eq!(
            json.to_string(),
            "body > CE:deflate > form:data_list > zlib > jsonl[2][0].properties.$url"
        );
        assert_eq!(json.root(), Step::Body);
        assert_eq!(json.len(), 5);
        assert_eq!(path.last_key(), Some("$url"));
    }

    #[test]
    fn names_are_harmless() {
        let name = format!("a\x1b[31m\n{}", "é".repeat(200));
        let shown = Chain::new(Step::Query(&name)).to_string();
        assert!(shown.starts_with("query:a\\u{1b}[31m\\né"));
        assert!(!shown.contains(char::is_control));
        assert!(shown.ends_with('…') && shown.chars().count() < 120);
    }
}
