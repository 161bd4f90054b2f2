//! The steps that lead from a request to one of its values.
//!
//! A [`Chain`] is a linked list on the stack of the recursion that builds it:
//! adding a step allocates nothing, and text is rendered only on demand. Steps
//! are written outermost first, separated by ` > `:
//!
//! ```text
//! body > form:data_list > base64 > gzip > json[0].properties.url
//! ```

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use super::{byte_map::ByteMap, shift::Shift, xor_key::XorKey};

/// Maximum number of characters of a name in a rendered chain. Names come from
/// the request, and the chain has to stay readable.
const MAX_NAME_CHARS: usize = 80;

/// A compression format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// RFC 1952.
    Gzip,
    /// RFC 1950. HTTP calls this `deflate` (RFC 9110 section 8.4.1.2).
    Zlib,
    /// RFC 1951, without a container.
    Deflate,
    /// RFC 7932.
    Brotli,
    /// RFC 8878.
    Zstd,
    /// LZ4, in frames or in blocks.
    Lz4,
    /// Snappy, in frames or in blocks.
    Snappy,
    /// bzip2.
    Bzip2,
    /// XZ, a container of LZMA.
    Xz,
    /// LZMA with its own header, as in files named `.lzma`.
    Lzma,
}

impl Coding {
    /// All formats.
    pub const ALL: [Self; 10] = [
        Self::Gzip,
        Self::Zlib,
        Self::Deflate,
        Self::Brotli,
        Self::Zstd,
        Self::Lz4,
        Self::Snappy,
        Self::Bzip2,
        Self::Xz,
        Self::Lzma,
    ];

    /// Returns the name of the format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zlib => "zlib",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Snappy => "snappy",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
        }
    }

    /// Returns the token that `Content-Encoding` uses for the format.
    fn content_encoding(self) -> &'static str {
        match self {
            Self::Zlib => "deflate",
            other => other.name(),
        }
    }
}

/// A component of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment<'a> {
    /// The name of an object member.
    Key(Cow<'a, str>),
    /// The index of an array element, from 0.
    Index(usize),
}

/// The location of a value in a tree of objects and arrays: `.batch[0].url`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path<'a>(pub(super) Vec<Segment<'a>>);

/// The path of the root of a tree.
pub(super) static ROOT: Path<'static> = Path(Vec::new());

impl Path<'_> {
    /// Returns the segments from the root to the value.
    pub fn segments(&self) -> &[Segment<'_>] {
        &self.0
    }

    /// Returns the name of the member that the value itself is.
    pub(super) fn last_name(&self) -> Option<&str> {
        match self.0.last() {
            Some(Segment::Key(key)) => Some(key),
            _ => None,
        }
    }

    /// Returns the innermost member name on the path.
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

/// A step of a [`Chain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step<'a> {
    /// The host that the request is sent to.
    Host,
    /// The path of the request target.
    Path,
    /// A query parameter, with percent-encoding and `+` decoded.
    Query(&'a str),
    /// A header field.
    Header(&'a str),
    /// A cookie.
    Cookie(&'a str),
    /// The body.
    Body,
    /// The chunked transfer coding of the body.
    Chunked,
    /// Bytes whose position in the enclosing structure is unknown, because they
    /// follow a gap or an error.
    Fragment,
    /// A compression declared by the request.
    ContentEncoding(Coding),
    /// A compression recognised from the bytes.
    Compressed(Coding),
    /// A parameter of a URL-encoded form, with percent-encoding and `+`
    /// decoded.
    Form(&'a str),
    /// A part of a multipart body, by its name, file name or index.
    Multipart(&'a str),
    /// Percent-encoding.
    Percent,
    /// XML and HTML entities.
    Entities,
    /// Text written backwards.
    Reversed,
    /// Text whose characters were replaced by others in a fixed order.
    Shifted(Shift),
    /// basE91.
    Base91,
    /// Records of a container file of Avro.
    Avro,
    /// A dump of bytes as text.
    Dump,
    /// A visited URL in an alphabet of its own.
    Substituted,
    /// Bytes masked with a short key by exclusive or.
    Xor(XorKey),
    /// Bytes that were all changed in the same way.
    Mapped(ByteMap),
    /// Bytes as long as a hash, in hexadecimal.
    Digest,
    /// Text that was divided over several fields.
    Joined,
    /// Escape sequences in text of another format.
    Escaped,
    /// Base64 with `+` and `/`, or with neither of the two pairs (RFC 4648
    /// section 4).
    Base64,
    /// Base64 with `-` and `_` (RFC 4648 section 5).
    Base64Url,
    /// Base64 with the letters' cases exchanged.
    Base64Swapped,
    /// Base64 whose characters were moved by this number of places in its alphabet.
    Base64Shifted(u8),
    /// Base32, in any alphabet.
    Base32,
    /// Base45 (RFC 9285).
    Base45,
    /// Base85, in any alphabet.
    Base85,
    /// One large number, in any alphabet.
    Number,
    /// Quoted-printable (RFC 2045 section 6.7).
    QuotedPrintable,
    /// UTF-7 (RFC 2152).
    Utf7,
    /// Base16.
    Hex,
    /// Base16 with the digits of each pair exchanged.
    HexSwapped,
    /// Text between characters that are not shown, or bits written as such characters.
    Invisible,
    /// UTF-16.
    Utf16,
    /// UTF-32.
    Utf32,
    /// Bytes as the characters U+0000 to U+00FF.
    BinaryString,
    /// Bytes, characters or words as numbers.
    Bytes,
    /// LZ-String, in any of its forms.
    LzString,
    /// Lines of base64 between markers (RFC 7468).
    Armour,
    /// An entry of a ZIP file, by its name.
    Zip(&'a str),
    /// An entry of a tar file, by its name.
    Tar(&'a str),
    /// A value in a database of SQLite, by the names of its table and column.
    Sqlite(&'a str),
    /// A file in the encoding of mail that precedes base64 (POSIX `uuencode`).
    Uuencode,
    /// A value of an XML or HTML document.
    Xml(&'a Path<'a>),
    /// The name of a namespace, schema or document type in such a document.
    XmlNamespace(&'a Path<'a>),
    /// A value behind its name and `=` in a text.
    Pair(&'a str),
    /// A message behind its length.
    Frame,
    /// A string behind its length.
    String,
    /// A value of a JSON document.
    Json(&'a Path<'a>),
    /// A value in one of several JSON documents, with the index of the
    /// document.
    JsonLine(usize, &'a Path<'a>),
    /// A value of a MessagePack document.
    MessagePack(&'a Path<'a>),
    /// A value of a binary property list.
    Plist(&'a Path<'a>),
    /// A value of a CBOR document.
    Cbor(&'a Path<'a>),
    /// A length-prefixed gRPC message.
    Grpc,
    /// A protobuf field, by its number.
    Protobuf(u32),
    /// A text in an image, sound, a video or a font.
    Metadata,
    /// A run of text within bytes that no decoder understands.
    Text,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut named = |prefix: &str, name: &str| {
            f.write_str(prefix)?;
            write_name(f, name)
        };
        match self {
            Self::Host => f.write_str("host"),
            Self::Path => f.write_str("path"),
            Self::Query(name) => named("query:", name),
            Self::Header(name) => named("header:", name),
            Self::Cookie(name) => named("cookie:", name),
            Self::Body => f.write_str("body"),
            Self::Chunked => f.write_str("chunked"),
            Self::Metadata => f.write_str("metadata"),
            Self::Fragment => f.write_str("fragment"),
            Self::ContentEncoding(coding) => write!(f, "CE:{}", coding.content_encoding()),
            Self::Compressed(coding) => f.write_str(coding.name()),
            Self::Form(name) => named("form:", name),
            Self::Multipart(name) => named("multipart:", name),
            Self::Percent => f.write_str("percent"),
            Self::Entities => f.write_str("entities"),
            Self::Reversed => f.write_str("reversed"),
            Self::Base91 => f.write_str("base91"),
            Self::Avro => f.write_str("avro"),
            Self::Dump => f.write_str("dump"),
            Self::Substituted => f.write_str("substitution"),
            Self::Shifted(shift) => write!(f, "{shift}"),
            Self::Xor(key) => write!(f, "xor:{key}"),
            Self::Mapped(map) => write!(f, "{map}"),
            Self::Digest => f.write_str("digest"),
            Self::Joined => f.write_str("joined"),
            Self::Escaped => f.write_str("escaped"),
            Self::Base64 => f.write_str("base64"),
            Self::Base64Url => f.write_str("base64url"),
            Self::Base64Swapped => f.write_str("base64-swapped"),
            Self::Base64Shifted(places) => write!(f, "base64+{places}"),
            Self::Base32 => f.write_str("base32"),
            Self::Base45 => f.write_str("base45"),
            Self::Base85 => f.write_str("base85"),
            Self::Number => f.write_str("number"),
            Self::QuotedPrintable => f.write_str("quoted-printable"),
            Self::Utf7 => f.write_str("utf7"),
            Self::Hex => f.write_str("hex"),
            Self::HexSwapped => f.write_str("hex-swapped"),
            Self::Invisible => f.write_str("invisible"),
            Self::Utf16 => f.write_str("utf16"),
            Self::Utf32 => f.write_str("utf32"),
            Self::BinaryString => f.write_str("latin1"),
            Self::Bytes => f.write_str("bytes"),
            Self::LzString => f.write_str("lz-string"),
            Self::Armour => f.write_str("armour"),
            Self::Zip(name) => named("zip:", name),
            Self::Tar(name) => named("tar:", name),
            Self::Sqlite(name) => named("sqlite:", name),
            Self::Uuencode => f.write_str("uuencode"),
            Self::Xml(path) => write!(f, "xml{path}"),
            Self::XmlNamespace(path) => write!(f, "xmlns{path}"),
            Self::Pair(name) => named("pair:", name),
            Self::Frame => f.write_str("frame"),
            Self::String => f.write_str("string"),
            Self::Json(path) => write!(f, "json{path}"),
            Self::JsonLine(line, path) => write!(f, "jsonl[{line}]{path}"),
            Self::MessagePack(path) => write!(f, "msgpack{path}"),
            Self::Plist(path) => write!(f, "plist{path}"),
            Self::Cbor(path) => write!(f, "cbor{path}"),
            Self::Grpc => f.write_str("grpc"),
            Self::Protobuf(number) => write!(f, "pb#{number}"),
            Self::Text => f.write_str("text"),
        }
    }
}

/// Writes a name taken from the request, without control characters and at most
/// [`MAX_NAME_CHARS`] long.
fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let is_plain = |byte: u8| (0x20..0x7f).contains(&byte);
    if name.len() <= MAX_NAME_CHARS && name.bytes().all(is_plain) {
        return f.write_str(name);
    }
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

/// The steps from the request to a value, innermost first.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a> {
    outer: Option<&'a Chain<'a>>,
    step: Step<'a>,
    root: Step<'a>,
    len: usize,
}

impl<'a> Chain<'a> {
    /// Creates a chain with a single step.
    pub fn new(step: Step<'a>) -> Self {
        Self { outer: None, step, root: step, len: 1 }
    }

    /// Returns this chain extended by one step.
    pub fn then(&'a self, step: Step<'a>) -> Self {
        Self { outer: Some(self), step, root: self.root, len: self.len + 1 }
    }

    /// Returns the innermost step.
    pub fn last(&self) -> Step<'a> {
        self.step
    }

    /// Returns the outermost step: the part of the request that holds the
    /// value.
    pub fn root(&self) -> Step<'a> {
        self.root
    }

    /// Returns the steps from the innermost to the outermost.
    pub fn steps(&self) -> impl Iterator<Item = Step<'a>> {
        let mut outer = self.outer;
        std::iter::once(self.step).chain(std::iter::from_fn(move || {
            let chain = outer?;
            outer = chain.outer;
            Some(chain.step)
        }))
    }

    /// Returns the number of steps, at least 1.
    #[expect(clippy::len_without_is_empty, reason = "a chain is never empty")]
    pub fn len(&self) -> usize {
        self.len
    }
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The recursion is bounded by `Limits::depth`.
        if let Some(outer) = self.outer {
            outer.fmt(f)?;
            f.write_str(" > ")?;
        }
        self.step.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_the_outermost_step_first() {
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
    fn rendered_names_are_escaped_and_bounded() {
        let name = format!("a\x1b[31m\n{}", "é".repeat(200));
        let shown = Chain::new(Step::Query(&name)).to_string();
        assert!(shown.starts_with("query:a\\u{1b}[31m\\né"));
        assert!(!shown.contains(char::is_control));
        assert!(shown.ends_with('…') && shown.chars().count() < 120);
    }
}
