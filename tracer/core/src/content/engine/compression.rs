//! Compressed data: declared, recognised by its magic number, or following a
//! header.

use memchr::memchr2_iter;

use super::{Context, Engine, Role};
use crate::content::{
    chain::{Coding, Step},
    compress::{self, Decoded, End},
    json,
    label::Label,
    text,
};

/// Maximum length of a proprietary header before a compressed stream.
const MAX_HEADER: usize = 256;

/// Cost of starting a decompressor, in bytes inspected. Many short streams cost
/// more than a long one.
const INFLATE_SETUP: usize = 8 << 10;
/// Cost for formats whose streams choose the window size to allocate.
const WINDOW_SETUP: usize = 64 << 10;

/// Cost of bzip2, which allocates four bytes for each of up to 900,000.
const BZIP2_SETUP: usize = 1 << 20;

/// Cost of LZMA, whose streams choose the dictionary to allocate. Most of it is never
/// touched.
const LZMA_SETUP: usize = 1 << 20;

impl Engine<'_> {
    /// Decompresses up to `limit` bytes, within the remaining budget. Returns
    /// `None` if the budget does not even cover the start.
    pub(super) fn decompress(
        &mut self,
        coding: Coding,
        bytes: &[u8],
        limit: usize,
    ) -> Option<Decoded> {
        if !self.charge_start(coding, bytes.len()) {
            return None;
        }
        let decoded = compress::decode(coding, bytes, limit.min(self.output_left()));
        // Rejected output is charged too, since it cost the same.
        self.report.output = self.report.output.saturating_add(decoded.bytes.len());
        Some(decoded)
    }

    /// Charges the start of a decompressor on `len` bytes. Returns `false` if the budget does not
    /// cover it.
    pub(super) fn charge_start(&mut self, coding: Coding, len: usize) -> bool {
        let setup = match coding {
            Coding::Lz4 | Coding::Snappy => 0,
            Coding::Gzip | Coding::Zlib | Coding::Deflate => INFLATE_SETUP,
            Coding::Brotli | Coding::Zstd => WINDOW_SETUP,
            Coding::Bzip2 => BZIP2_SETUP,
            Coding::Xz | Coding::Lzma => LZMA_SETUP,
        };
        self.charge_work(len.saturating_add(setup))
    }

    /// Reads bytes with declared content codings, applied last coding first.
    pub(in crate::content) fn encoded(
        &mut self,
        bytes: &[u8],
        context: Context<'_>,
        codings: &[Coding],
        role: Role<'_>,
    ) {
        let Some((&coding, inner)) = codings.split_last() else {
            return self.look(bytes, context, role);
        };
        if bytes.is_empty() {
            return;
        }
        let Some(decoded) = self.decompress(coding, bytes, usize::MAX) else {
            return;
        };
        let readable = || {
            compress::magic(bytes).is_some_and(|found| found != coding)
                || json::start(bytes).is_some()
                || text::as_text(bytes, context.truncated).is_some()
        };
        let mislabelled = match decoded.end {
            End::Complete | End::Full => false,
            End::Truncated => decoded.bytes.is_empty() && readable(),
            End::Malformed => decoded.bytes.is_empty() || readable(),
        };
        if mislabelled {
            return self.encoded(bytes, context, inner, role);
        }
        let chain = context.chain.then(Step::ContentEncoding(coding));
        let truncated = self.record_end(&decoded, bytes.len());
        let context = Context { truncated, ..context.with_chain(&chain) };
        self.on_wire(bytes.len(), decoded.bytes.len(), |engine| {
            engine.encoded(&decoded.bytes, context, inner, role);
        });
    }

    /// Decompresses bytes that carry a magic number. Returns whether they were
    /// in fact compressed.
    pub(super) fn compressed(
        &mut self,
        coding: Coding,
        bytes: &[u8],
        is_text: bool,
        context: Context<'_>,
        role: Role<'_>,
    ) -> bool {
        let Some(decoded) = self.decompress(coding, bytes, usize::MAX) else {
            return true;
        };
        if coding == Coding::Zlib && !is_plausible_zlib(&decoded) {
            // A truncated stream may be zlib as long as nothing contradicts it.
            let possible = decoded.end == End::Truncated && context.truncated;
            if is_text || !possible {
                return false;
            }
        }
        let chain = context.chain.then(Step::Compressed(coding));
        let truncated = self.record_end(&decoded, bytes.len());
        let context = Context { truncated, ..context.with_chain(&chain) };
        let role = match role {
            Role::Document(label) => Role::Document(label),
            Role::Field => Role::Document(Label::Unknown),
        };
        self.on_wire(bytes.len(), decoded.bytes.len(), |engine| {
            engine.look(&decoded.bytes, context, role);
        });
        true
    }

    /// Records how decompression ended. Returns whether the output is
    /// incomplete.
    pub(super) fn record_end(&mut self, decoded: &Decoded, input: usize) -> bool {
        if decoded.bytes.is_empty() && decoded.end != End::Complete {
            self.count_opaque(input);
        }
        match decoded.end {
            End::Complete => return false,
            End::Truncated => self.report.cut += 1,
            End::Malformed => self.report.damaged += 1,
            End::Full => {
                self.report.reached.output = true;
                self.count_skipped(input - decoded.used.min(input));
            }
        }
        true
    }

    /// Reads a compressed stream after a header of an unknown format. Returns
    /// whether there is one.
    pub(super) fn after_header(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        let head = &bytes[..bytes.len().min(MAX_HEADER)];
        for at in memchr2_iter(0x1f, 0x28, head) {
            let (header, stream) = bytes.split_at(at);
            // Only these two formats have reliable magic numbers.
            let Some(coding @ (Coding::Gzip | Coding::Zstd)) = compress::magic(stream) else {
                continue;
            };
            if self.compressed(coding, stream, false, context, Role::Field) {
                self.runs(header, context, Step::Text);
                return true;
            }
        }
        false
    }
}

/// Reports whether the content confirms the two-byte header of zlib.
pub(super) fn is_plausible_zlib(decoded: &Decoded) -> bool {
    /// Random bytes decode this far without an error once in a million times.
    const MIN_INPUT: usize = 64;
    let bytes = &decoded.bytes;
    match decoded.end {
        // The checksum matched.
        End::Complete => true,
        End::Malformed => text::looks_like_text(bytes, true),
        End::Truncated | End::Full => {
            decoded.used >= MIN_INPUT || text::looks_like_text(bytes, true)
        }
    }
}
