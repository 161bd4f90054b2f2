//! The headers that declare how a body or a part is encoded.

use memchr::memmem;

use super::{chain::Coding, multipart};

/// Maximum number of content codings to decode. More than two have never been
/// observed.
const MAX_CODINGS: usize = 4;

/// The declared type of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label<'a> {
    /// No useful declaration; the bytes decide.
    Unknown,
    Form,
    /// Multipart, with its boundary.
    Multipart(&'a [u8]),
    MessagePack,
    Cbor,
    Protobuf,
    Grpc,
}

impl<'a> Label<'a> {
    /// Interprets a `Content-Type`, as far as it changes how a body is read.
    pub(super) fn from_content_type(content_type: &'a [u8]) -> Self {
        if let Some(boundary) = multipart::boundary(content_type) {
            return Self::Multipart(boundary);
        }
        let kind = content_type.split(|&b| b == b';').next().unwrap_or_default();
        let kind = kind.trim_ascii().to_ascii_lowercase();
        match &*kind {
            b"application/x-www-form-urlencoded" => Self::Form,
            b"application/msgpack" | b"application/x-msgpack" | b"application/vnd.msgpack" => {
                Self::MessagePack
            }
            b"application/cbor" | b"application/cbor-seq" => Self::Cbor,
            kind if kind.starts_with(b"application/grpc") => Self::Grpc,
            // x-protobuf, protobuf, vnd.google.protobuf, x-google-protobuf, proto, …
            kind if memmem::find(kind, b"proto").is_some() => Self::Protobuf,
            _ => Self::Unknown,
        }
    }
}

/// Returns the supported content codings in the order in which they were
/// applied.
pub(super) fn codings(content_encoding: Option<&[u8]>) -> Vec<Coding> {
    let names = content_encoding.unwrap_or_default().split(|&b| b == b',');
    let coding = |name: &[u8]| match &*name.trim_ascii().to_ascii_lowercase() {
        b"gzip" | b"x-gzip" => Some(Coding::Gzip),
        b"deflate" => Some(Coding::Zlib),
        b"br" => Some(Coding::Brotli),
        b"zstd" => Some(Coding::Zstd),
        b"lz4" => Some(Coding::Lz4),
        b"snappy" | b"x-snappy-framed" => Some(Coding::Snappy),
        b"bzip2" | b"x-bzip2" => Some(Coding::Bzip2),
        b"xz" | b"x-xz" => Some(Coding::Xz),
        b"lzma" | b"x-lzma" => Some(Coding::Lzma),
        _ => None,
    };
    names.take(MAX_CODINGS).filter_map(coding).collect()
}
