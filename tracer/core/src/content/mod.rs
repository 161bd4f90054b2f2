//! What a request says: every value in it, through every encoding.
//!
//! [`unwrap`] walks over the path, the query, the headers and the body, undoes
//! what it recognises, and hands out each value with the [`Chain`] of steps
//! that led to it:
//!
//! ```text
//! POST /sa?project=web
//! data_list=H4sI…          body > form:data_list > base64 > gzip > json[0].properties.url
//! ```
//!
//! Labels (`Content-Type`, `Content-Encoding`) are hints: what the bytes are
//! decides. A reading that nothing marks, such as base64, is believed only
//! when what it gives is convincing, and the text itself is handed out too.
//!
//! Requests are cut by design. A reader gives what stands before the cut, and
//! only the value that the cut goes through is marked [`Value::truncated`].
//! Formats are told by their first bytes as far as possible, so that knowing
//! less of a request leads to fewer values and not to other ones.
//!
//! Everything here is bounded by [`Limits`], and what was not read is counted
//! in the [`Report`].

mod base64;
mod cbor;
mod chain;
mod compress;
mod engine;
mod form;
mod json;
mod msgpack;
mod multipart;
mod protobuf;
mod request;
mod text;
mod tree;
mod xor;

pub use chain::{Chain, Coding, Path, Segment, Step};
pub use multipart::boundary as multipart_boundary;
pub use text::percent_decode;
pub use xor::Key;

use crate::proto::Request;

/// What the unwrapping of one request may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Steps of a chain.
    pub depth: usize,
    /// Bytes that decoders produce.
    pub output: usize,
    /// Bytes that are looked at, each as often as it is looked at. Starting a
    /// decompressor counts as some thousand.
    pub work: u64,
    /// Values that are handed out.
    pub values: usize,
}

impl Default for Limits {
    /// - `depth`: the deepest chain recorded from a real SDK has 8 steps; each
    ///   costs some hundred bytes of stack.
    /// - `output`: batches of telemetry stay below 1 MiB, and so a bomb stays
    ///   below what a daemon may hold.
    /// - `work`: well above what `output` needs, below a second of CPU.
    /// - `values`: as many as a batch of a thousand events has.
    fn default() -> Self {
        Self { depth: 32, output: 8 << 20, work: 64 << 20, values: 1 << 16 }
    }
}

/// One value of a request.
#[derive(Debug, Clone, Copy)]
pub struct Value<'a> {
    /// Its text. Numbers and booleans are written as their format does.
    pub text: &'a str,
    /// The innermost name on the way to it: of a parameter, a JSON member, a
    /// header field, a cookie, a part, or `pb#N`.
    pub key: Option<&'a str>,
    /// The number of the object that holds it: values of one object, form or
    /// message share it, and so do the elements of an array in it.
    pub container: u32,
    /// The steps that led to it.
    pub chain: &'a Chain<'a>,
    /// More of it may have been sent than is known.
    pub truncated: bool,
}

/// Which limits were reached.
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
    /// Objects and arrays of one document nest too deep.
    pub nesting: bool,
}

impl Reached {
    /// Whether any was.
    pub fn any(self) -> bool {
        self.depth || self.output || self.work || self.values || self.nesting
    }
}

/// What unwrapping a request came to, and what of it was not read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Values handed out.
    pub values: usize,
    /// Bytes that decoders produced.
    pub output: usize,
    /// Bytes looked at.
    pub work: u64,
    /// Bytes that no decoder reads: images, encrypted data, unknown formats.
    /// They count where they are found, which may be inside a compression.
    pub opaque: u64,
    /// Bytes left out because a limit was reached.
    pub skipped: u64,
    /// Streams and documents whose end is not known.
    pub cut: u32,
    /// Streams and documents that break their format's rules.
    pub damaged: u32,
    /// The limits that were reached.
    pub reached: Reached,
}

impl Report {
    /// Bytes that nobody has read: of no known form, or beyond a limit.
    pub fn unread(&self) -> u64 {
        self.opaque.saturating_add(self.skipped)
    }
}

/// Hands every value of a request to `visit`.
pub fn unwrap(request: &Request, limits: &Limits, mut visit: impl FnMut(&Value<'_>)) -> Report {
    let mut engine = engine::Engine::new(*limits, &mut visit);
    request::request(&mut engine, request);
    engine.finish()
}

/// Undoes one step of a chain, given by its name, where that step is an encoding
/// or a compression: at most `limit` bytes. It shows how a value was wrapped;
/// that it *is* wrapped so, [`unwrap`] has found out.
pub fn undo(step: &str, input: &[u8], limit: usize) -> Option<Vec<u8>> {
    let coding = [Coding::Gzip, Coding::Zlib, Coding::Deflate, Coding::Brotli, Coding::Zstd]
        .into_iter()
        .find(|coding| step == coding.name() || step == Step::ContentEncoding(*coding).to_string());
    if let Some(coding) = coding {
        return Some(compress::decode(coding, input, limit).bytes);
    }
    if let Some(key) = step.strip_prefix("xor:") {
        return Some(Key::parse(key)?.apply(input.get(..limit).unwrap_or(input)));
    }
    match step {
        "base64" | "base64url" => {
            let all = base64::decode(input, false).map(|decoded| decoded.bytes);
            if all.as_deref().is_some_and(base64::starts_well) {
                return all;
            }
            let text = std::str::from_utf8(input).ok()?;
            base64::behind_prefix(text, false).map(|decoded| decoded.bytes).or(all)
        }
        "hex" => data_encoding::HEXLOWER_PERMISSIVE.decode(input).ok(),
        _ => None,
    }
}

/// Hands every value of a body, or of a message that stands alone, to `visit`.
///
/// `truncated` tells that more than `bytes` was sent.
pub fn unwrap_body(
    bytes: &[u8],
    content_type: Option<&[u8]>,
    content_encoding: Option<&[u8]>,
    truncated: bool,
    limits: &Limits,
    mut visit: impl FnMut(&Value<'_>),
) -> Report {
    let mut engine = engine::Engine::new(*limits, &mut visit);
    let chain = Chain::new(Step::Body);
    request::body(&mut engine, bytes, &chain, content_type, content_encoding, truncated);
    engine.finish()
}

#[cfg(test)]
pub(crate) mod tests;
