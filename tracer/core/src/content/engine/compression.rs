//! Compressed bytes: declared, marked, or marked further in.

use memchr::memchr2_iter;

use super::{Engine, Label, Place, Role};
use crate::content::{
    chain::{Coding, Step},
    compress::{self, Decoded, End},
    json, text,
};

/// How far into unknown bytes a compressed stream is looked for, behind a
/// header of the sender's own making.
const MAX_HEADER: usize = 256;

/// What it costs to start a decompressor, as so many bytes looked at. Many
/// short streams cost more than a long one.
const INFLATE_SETUP: usize = 8 << 10;
/// The same where the stream chooses the window that is allocated.
const WINDOW_SETUP: usize = 64 << 10;

impl Engine<'_> {
    /// Decompresses, up to `limit` bytes and what is left of the limits. `None`
    /// when not even starting is affordable.
    pub(super) fn decompress(
        &mut self,
        coding: Coding,
        bytes: &[u8],
        limit: usize,
    ) -> Option<Decoded> {
        let setup = match coding {
            Coding::Gzip | Coding::Zlib | Coding::Deflate => INFLATE_SETUP,
            Coding::Brotli | Coding::Zstd => WINDOW_SETUP,
        };
        if !self.afford(bytes.len().saturating_add(setup)) {
            return None;
        }
        let decoded = compress::decode(coding, bytes, limit.min(self.room()));
        // Also when nobody believes in it: it has cost as much.
        self.report.output = self.report.output.saturating_add(decoded.bytes.len());
        Some(decoded)
    }

    /// Reads bytes that declare how they are compressed, the last coding first.
    pub(in crate::content) fn encoded(
        &mut self,
        bytes: &[u8],
        place: Place<'_>,
        codings: &[Coding],
        role: Role<'_>,
    ) {
        let Some((&coding, inner)) = codings.split_last() else {
            return self.look(bytes, place, role);
        };
        if bytes.is_empty() {
            return;
        }
        let Some(decoded) = self.decompress(coding, bytes, usize::MAX) else {
            return;
        };
        let readable = || {
            compress::magic(bytes).is_some_and(|told| told != coding)
                || json::start(bytes).is_some()
                || text::printable(bytes, place.truncated).is_some()
        };
        let mislabelled = match decoded.end {
            End::Complete | End::Full => false,
            End::Truncated => decoded.bytes.is_empty() && readable(),
            End::Malformed => decoded.bytes.is_empty() || readable(),
        };
        if mislabelled {
            return self.encoded(bytes, place, inner, role);
        }
        let chain = place.chain.then(Step::ContentEncoding(coding));
        let truncated = self.account(&decoded, bytes.len());
        let place = Place { truncated, ..place.at(&chain) };
        self.encoded(&decoded.bytes, place, inner, role);
    }

    /// Reads bytes whose magic number tells how they are compressed. Answers
    /// whether they are.
    pub(super) fn compressed(
        &mut self,
        coding: Coding,
        bytes: &[u8],
        printable: bool,
        place: Place<'_>,
        role: Role<'_>,
    ) -> bool {
        let Some(decoded) = self.decompress(coding, bytes, usize::MAX) else {
            return true;
        };
        if coding == Coding::Zlib && !is_zlib_believed(&decoded) {
            // As long as nothing speaks against it, a cut stream is no text.
            let possible = decoded.end == End::Truncated && place.truncated;
            if printable || !possible {
                return false;
            }
        }
        let chain = place.chain.then(Step::Compressed(coding));
        let truncated = self.account(&decoded, bytes.len());
        let place = Place { truncated, ..place.at(&chain) };
        let role = match role {
            Role::Document(label) => Role::Document(label),
            Role::Field => Role::Document(Label::Unknown),
        };
        self.look(&decoded.bytes, place, role);
        true
    }

    /// Books how a decompressor ended. Answers whether its output is cut short.
    pub(super) fn account(&mut self, decoded: &Decoded, input: usize) -> bool {
        if decoded.bytes.is_empty() && decoded.end != End::Complete {
            self.opaque(input);
        }
        match decoded.end {
            End::Complete => return false,
            End::Truncated => self.report.cut += 1,
            End::Malformed => self.report.damaged += 1,
            End::Full => {
                self.report.reached.output = true;
                self.skip(input - decoded.used.min(input));
            }
        }
        true
    }

    /// Reads a compressed stream behind a header of no known format. Answers
    /// whether there is one.
    pub(super) fn behind_header(&mut self, bytes: &[u8], place: Place<'_>) -> bool {
        let head = &bytes[..bytes.len().min(MAX_HEADER)];
        for at in memchr2_iter(0x1f, 0x28, head) {
            let (header, stream) = bytes.split_at(at);
            // The two formats whose magic numbers are no accident.
            let Some(coding @ (Coding::Gzip | Coding::Zstd)) = compress::magic(stream) else {
                continue;
            };
            if self.compressed(coding, stream, false, place, Role::Field) {
                self.runs(header, place, Step::Text);
                return true;
            }
        }
        false
    }
}

/// Zlib's header is two bytes only; its content has to confirm it.
pub(super) fn is_zlib_believed(decoded: &Decoded) -> bool {
    /// Random bytes get this far without an error once in a million times.
    const MIN_INPUT: usize = 64;
    let bytes = &decoded.bytes;
    match decoded.end {
        // The checksum was right.
        End::Complete => true,
        End::Malformed => text::is_meant(bytes, true),
        End::Truncated | End::Full => decoded.used >= MIN_INPUT || text::is_meant(bytes, true),
    }
}
