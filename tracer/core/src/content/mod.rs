//! Extracts every value from a request, through every encoding.
//!
//! [`unwrap`] walks the path, the query, the headers and the body, decodes what
//! it recognises, and reports each value with the [`Chain`] of steps that led
//! to it:
//!
//! ```text
//! POST /sa?project=web
//! data_list=H4sI…          body > form:data_list > base64 > gzip > json[0].properties.url
//! ```
//!
//! Labels (`Content-Type`, `Content-Encoding`) are hints; the bytes themselves
//! decide. A guess without a marker, such as base64, is accepted only if the
//! result is plausible, and the undecoded text is reported as well.
//!
//! Requests are truncated by design. A reader reports everything before the
//! cut, and marks only the value that the cut goes through as
//! [`Value::truncated`]. Formats are recognised by their first bytes wherever
//! possible, so that a shorter prefix of a request yields fewer values, never
//! different ones.
//!
//! All work is bounded by [`Limits`], and whatever was not read is counted in
//! the [`Report`].

mod archive;
mod armour;
mod avro;
mod base64;
mod base91;
mod byte_map;
mod cbor;
mod chain;
mod compress;
mod deobfuscate;
mod dump;
mod engine;
mod escapes;
mod form;
mod frames;
mod groups;
mod invisible;
mod json;
mod label;
mod lists;
mod lz_string;
mod media;
mod memo;
mod mime;
mod msgpack;
mod multipart;
mod numbers;
mod pairs;
mod pieces;
mod plist;
mod positional;
mod protobuf;
mod radix;
mod request;
mod shift;
mod sqlite;
mod strings;
mod substitution;
mod text;
mod tree;
mod wide;
mod work;
mod xml;
mod xor;
mod xor_key;

pub use byte_map::ByteMap;
pub use chain::{Chain, Coding, Path, Segment, Step};
pub use memo::Memo;
pub use multipart::boundary as multipart_boundary;
pub use shift::Shift;
pub use text::percent_decode;
pub use tree::{End, Leaf};
pub use work::Work;
pub use xor_key::XorKey;

use crate::proto::Request;
use tree::{Containers, Leaves as _};

/// Limits on the work that one request may cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Number of steps in a chain.
    pub depth: usize,
    /// Bytes produced by decoders.
    pub output: usize,
    /// Bytes inspected by the decoders and by the search in their values, counted
    /// once per inspection. Starting a decompressor is charged as several thousand
    /// bytes.
    pub work: u64,
    /// Number of values reported.
    pub values: usize,
}

impl Default for Limits {
    /// - `depth`: the deepest chain recorded from a real SDK has 8 steps; each
    ///   step costs a few hundred bytes of stack.
    /// - `output`: telemetry batches stay below 1 MiB, and this keeps a
    ///   decompression bomb below what a daemon can afford.
    /// - `work`: well above what `output` needs, below one second of CPU time.
    /// - `values`: the number of values in a batch of a thousand events.
    fn default() -> Self {
        Self { depth: 32, output: 8 << 20, work: 64 << 20, values: 1 << 16 }
    }
}

/// A value found in a request.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a> {
    /// The value as text. Numbers and booleans are written as in their format.
    pub text: &'a str,
    /// The innermost name on the path to the value: of a parameter, a JSON
    /// member, a header field, a cookie, a multipart part, or `pb#N`.
    pub key: Option<&'a str>,
    /// Number of the object that holds the value. All values of one object,
    /// form or message share it, as do the elements of arrays in that object.
    pub container: u32,
    /// The steps that led to the value.
    pub chain: &'a Chain<'a>,
    /// Set if more of the value may have been sent than is known.
    pub truncated: bool,
}

/// The limits that were reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reached {
    /// [`Limits::depth`].
    pub depth: bool,
    /// [`Limits::output`].
    pub output: bool,
    /// [`Limits::work`].
    pub work: bool,
    /// [`Limits::values`].
    pub values: bool,
    /// Objects or arrays in one document were nested too deeply.
    pub nesting: bool,
}

impl Reached {
    /// Reports whether any limit was reached.
    pub fn any(self) -> bool {
        self.depth || self.output || self.work || self.values || self.nesting
    }
}

/// The outcome of unwrapping a request, including what was not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Number of values reported.
    pub values: usize,
    /// Bytes produced by decoders.
    pub output: usize,
    /// Bytes inspected.
    pub work: u64,
    /// Bytes that no decoder understands: images, encrypted data, unknown
    /// formats. They are counted as they were sent, before decompression.
    pub opaque: u64,
    /// Bytes skipped because a limit was reached.
    pub skipped: u64,
    /// Streams and documents that end before their format says they do.
    pub cut: u32,
    /// Streams and documents that violate their format.
    pub damaged: u32,
    /// The limits that were reached.
    pub reached: Reached,
}

impl Report {
    /// Returns the number of bytes not read, either for lack of a decoder or
    /// because a limit was reached.
    pub fn unread(&self) -> u64 {
        self.opaque.saturating_add(self.skipped)
    }
}

/// Calls `visit` with every value of a request.
pub fn unwrap(request: &Request, limits: &Limits, mut visit: impl FnMut(&Value<'_>)) -> Report {
    unwrap_with(request, limits, &[], &mut Memo::default(), |value, _| visit(value))
}

/// Does the same, and also finds URLs of `known` under a mask of up to 32 bytes.
/// `visit` charges what it inspects of a value again. The result does not depend on what `memo`
/// remembers of other requests.
pub fn unwrap_with(
    request: &Request,
    limits: &Limits,
    known: &[&str],
    memo: &mut Memo,
    mut visit: impl FnMut(&Value<'_>, &mut Work),
) -> Report {
    let mut engine = engine::Engine::new(*limits, memo, &mut visit).with_known(known);
    request::request(&mut engine, request);
    engine.finish()
}

/// Reverts one step of a chain, given by its name, if that step is an encoding
/// or a compression. Returns at most `limit` bytes.
///
/// This is for showing how a value was wrapped; [`unwrap`] has already
/// established that it was.
pub fn decode_step(step: &str, input: &[u8], limit: usize) -> Option<Vec<u8>> {
    let coding = Coding::ALL
        .into_iter()
        .find(|coding| step == coding.name() || step == Step::ContentEncoding(*coding).to_string());
    if let Some(coding) = coding {
        return Some(compress::decode(coding, input, limit).bytes);
    }
    if let Some(shift) = Shift::parse(step) {
        return shift.undo(std::str::from_utf8(input).ok()?).map(String::into_bytes);
    }
    if let Some(key) = step.strip_prefix("xor:") {
        return Some(XorKey::parse(key)?.apply(input.get(..limit).unwrap_or(input)));
    }
    match step {
        "base64" | "base64url" => {
            let all = base64::decode(input, false).map(|decoded| decoded.bytes);
            if all.as_deref().is_some_and(base64::has_known_start) {
                return all;
            }
            let text = std::str::from_utf8(input).ok()?;
            base64::after_prefix(text, false).map(|decoded| decoded.bytes).or(all)
        }
        "base32" => {
            radix::base32(std::str::from_utf8(input).ok()?).find(|it| base64::has_known_start(it))
        }
        "base85" => radix::base85(std::str::from_utf8(input).ok()?, false)
            .find(|it| base64::has_known_start(it)),
        "base91" => base91::decode(std::str::from_utf8(input).ok()?, false),
        "uuencode" => mime::uuencoded(std::str::from_utf8(input).ok()?),
        "quoted-printable" => mime::quoted_printable(std::str::from_utf8(input).ok()?),
        "latin1" => text::binary_string(input, true),
        "bytes" => {
            let mut lists: Vec<_> = lists::lists(std::str::from_utf8(input).ok()?, true).collect();
            let known = lists.iter().position(|it| base64::has_known_start(it));
            (!lists.is_empty()).then(|| lists.swap_remove(known.unwrap_or(0)))
        }
        "utf32" => wide::utf32_decode(input).map(String::into_bytes),
        "utf16" => wide::utf16_decode(input).map(String::into_bytes),
        "base45" => radix::base45(std::str::from_utf8(input).ok()?, true),
        "number" => positional::decode(std::str::from_utf8(input).ok()?),
        "lz-string" => std::str::from_utf8(input)
            .ok()
            .and_then(|text| lz_string::decode_text(text, true, limit))
            .or_else(|| lz_string::decode_bytes(input, true, limit))
            .map(String::into_bytes),
        "invisible" => {
            let text = std::str::from_utf8(input).ok()?;
            invisible::remove(text).or_else(|| invisible::bits(text))
        }
        "hex" => data_encoding::HEXLOWER_PERMISSIVE.decode(input).ok(),
        _ => None,
    }
}

/// Calls `visit` with every value of a body or of a stand-alone message.
///
/// `truncated` means that more than `bytes` was sent.
pub fn unwrap_body(
    bytes: &[u8],
    content_type: Option<&[u8]>,
    content_encoding: Option<&[u8]>,
    truncated: bool,
    limits: &Limits,
    mut visit: impl FnMut(&Value<'_>),
) -> Report {
    let mut visit = |value: &Value<'_>, _: &mut Work| visit(value);
    let mut memo = Memo::default();
    let mut engine = engine::Engine::new(*limits, &mut memo, &mut visit);
    let chain = Chain::new(Step::Body);
    request::body(&mut engine, bytes, &chain, content_type, content_encoding, truncated);
    engine.finish()
}

/// Calls `visit` with the path and the content of every value of the JSON
/// document at the start of `input`, without decoding them further.
///
/// `truncated` means that the document may continue after `input`.
pub fn read_json<'d>(
    input: &'d [u8],
    truncated: bool,
    mut visit: impl FnMut(&Path<'d>, Leaf<'d>),
) -> End {
    let mut containers = Containers::default();
    let mut reader = json::Reader::new(input, truncated, containers.next());
    while let Some(leaf) = reader.next_leaf(&mut containers) {
        visit(reader.path(), leaf);
    }
    reader.end()
}

#[cfg(test)]
pub(crate) mod tests;
