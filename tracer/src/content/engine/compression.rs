//! Compressed bytes: declared, marked, or marked further in.

use memchr::memchr2_iter;

use super::{Engine, Label, Place, Role, binary};
use crate::content::{
    chain::{Coding, Step},
    compress::{self, Decoded, End},
    json, text,
};

/// How far into unknown bytes a compressed stream is looked for, behind a
/// header of the sender's own making.
const MAX_HEADER: usize = 256;

impl Engine<'_> {
    /// Reads bytes that declare how they are compressed, the last coding first.
    pub(in crate::content) fn encoded(
        &mut self,
        bytes: &[u8],
        place: Place<'_>,
        codings: &[Coding],
        label: Label<'_>,
    ) {
        let Some((&coding, inner)) = codings.split_last() else {
            return self.look(bytes, place, Role::Document(label));
        };
        if bytes.is_empty() || !self.afford(bytes.len()) {
            return;
        }
        let decoded = compress::decode(coding, bytes, self.room());
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
            return self.encoded(bytes, place, inner, label);
        }
        let chain = place.chain.then(Step::ContentEncoding(coding));
        let truncated = self.account(&decoded, bytes.len());
        let place = Place { truncated, ..place.at(&chain) };
        self.encoded(&decoded.bytes, place, inner, label);
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
        let decoded = compress::decode(coding, bytes, self.room());
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

    /// Books what a decompressor did. Answers whether its output is cut short.
    pub(super) fn account(&mut self, decoded: &Decoded, input: usize) -> bool {
        self.report.output = self.report.output.saturating_add(decoded.bytes.len());
        if decoded.bytes.is_empty() {
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
        End::Truncated | End::Full => {
            decoded.used >= MIN_INPUT
                || text::is_meant(bytes, true)
                || binary::is_convincing(bytes, true)
        }
    }
}
