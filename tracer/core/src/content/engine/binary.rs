//! Binary formats.

use std::io::Write as _;

use super::{Context, DOCUMENT, Engine, MAX_GUESSES, Role, in_head};
use crate::content::{
    base64,
    byte_map::ByteMap,
    cbor,
    chain::{Coding, Step},
    compress::{self, End},
    form,
    frames::{self, Frame},
    json,
    label::Label,
    lz_string, media, msgpack, multipart, protobuf, text,
    tree::{self, Leaves, Walker},
    wide, xor,
    xor_key::XorKey,
};

/// Minimum length of an unmarked input that is passed to decompressors.
const MIN_GUESS: usize = 24;
/// The same for a field, since shorter values are keys and digests.
const MIN_FIELD_GUESS: usize = 48;
/// Compression formats that are bare blocks, cheap to try.
const BLOCKS: [Coding; 2] = [Coding::Snappy, Coding::Lz4];
/// Minimum length of text that confirms such a guess.
const MIN_GUESSED: usize = 32;

/// Reports whether bytes are a complete document in a binary format.
pub(super) fn is_document(bytes: &[u8], truncated: bool) -> bool {
    is_msgpack(bytes, truncated)
        || is_cbor(bytes, truncated)
        || protobuf::is_plausible(bytes, truncated)
        || protobuf::is_plausible_grpc(bytes, truncated)
        || frames(bytes, truncated).is_some()
        || [wide::utf32_decode, wide::utf16_decode].into_iter().any(|decode| {
            decode(bytes).is_some_and(|text| text::as_text(text.as_bytes(), false).is_some())
        })
}

/// Returns the length of a proprietary header (a version, a length, a checksum)
/// that precedes a known format.
pub(super) fn header_len(bytes: &[u8], truncated: bool) -> Option<usize> {
    /// Enough for a length and a checksum.
    const MAX_HEADER: usize = 8;
    (1..=MAX_HEADER).find(|&at| {
        bytes.get(at..).is_some_and(|rest| {
            base64::has_known_start(rest)
                && (compress::magic(rest).is_some() || text::looks_like_text(rest, truncated))
        })
    })
}

fn is_msgpack(bytes: &[u8], truncated: bool) -> bool {
    msgpack::Reader::starts(bytes)
        && tree::is_plausible(msgpack::Reader::new(bytes), bytes.len(), truncated)
}

fn is_cbor(bytes: &[u8], truncated: bool) -> bool {
    cbor::Reader::starts(bytes)
        && (tree::is_plausible(cbor::Reader::new(bytes), bytes.len(), truncated)
            // Documents may follow each other (RFC 8742).
            || !truncated && tree::is_sequence(bytes, cbor::Reader::new))
}

/// Returns the messages that each follow their length, if one is in a known format.
fn frames(bytes: &[u8], truncated: bool) -> Option<Vec<Frame<'_>>> {
    let frames = frames::split(bytes, truncated)?;
    let is_known = |frame: &Frame<'_>| {
        let (payload, cut) = (frame.payload, frame.truncated);
        json::start(payload) == Some(0)
            || is_msgpack(payload, cut)
            || is_cbor(payload, cut)
            || protobuf::is_plausible(payload, cut)
            || matches!(compress::magic(payload), Some(Coding::Gzip | Coding::Zstd))
    };
    // At a cut, any number can seem to be the length of the last message.
    let whole = frames.iter().filter(|frame| !frame.truncated);
    let accepted = if truncated {
        whole.clone().any(is_known)
            && whole.clone().all(|it| is_known(it) || msgpack::Reader::starts(it.payload))
    } else {
        whole.clone().any(is_known)
    };
    accepted.then_some(frames)
}

impl Engine<'_> {
    /// Returns the bytes of a text whose characters are bytes, and whether they start
    /// like compressed data.
    fn binary_string(&mut self, bytes: &[u8], truncated: bool) -> Option<(Vec<u8>, bool)> {
        let decoded = text::binary_string(bytes, truncated)?;
        if !self.charge_work(bytes.len()) {
            return None;
        }
        let is_plausible = self.is_plausible(&decoded, truncated);
        let is_compressed = is_plausible && compress::magic(&decoded).is_some();
        let high = decoded.iter().filter(|byte| !byte.is_ascii()).count();
        // Bytes without control characters may be text.
        let is_binary = decoded.len() >= MIN_GUESS
            && (high * 4 >= decoded.len() || high > 0 && text::has_controls(&decoded));
        (is_binary || is_plausible).then_some((decoded, is_compressed))
    }

    /// Reads a document by its declared type, unless the bytes contradict it.
    /// Returns whether the document was read.
    pub(super) fn labelled(
        &mut self,
        bytes: &[u8],
        is_text: bool,
        context: Context<'_>,
        label: Label<'_>,
    ) -> bool {
        match label {
            Label::Form if !is_text && form::is_document(bytes) => self.form_at(bytes, context),
            Label::Multipart(boundary) if multipart::has(bytes, boundary) => {
                self.multipart(bytes, boundary, context);
            }
            Label::MessagePack if msgpack::Reader::starts(bytes) => self.msgpack(bytes, context),
            Label::Cbor if cbor::Reader::starts(bytes) => self.cbor(bytes, context),
            Label::Protobuf if !is_text || protobuf::is_plausible_text_field(bytes) => {
                if protobuf::is_grpc(bytes, context.truncated) {
                    self.grpc(bytes, context);
                } else if protobuf::Fields::new(bytes).next().is_some() {
                    self.protobuf(bytes, context);
                } else {
                    return false;
                }
            }
            // gRPC-Web text, whose pieces are padded individually.
            Label::Grpc if is_text => {
                let Some(decoded) = base64::decode(bytes.trim_ascii(), context.truncated) else {
                    return false;
                };
                let role = Role::Document(Label::Protobuf);
                self.decoded(&decoded.bytes, bytes.len(), Step::Base64, context, role);
            }
            Label::Grpc if protobuf::grpc(bytes).next().is_some() => self.grpc(bytes, context),
            _ if protobuf::is_plausible_text_field(bytes) => self.protobuf(bytes, context),
            _ => return false,
        }
        true
    }

    /// Reads bytes that are neither text, nor compressed, nor of a declared
    /// type.
    pub(super) fn binary(&mut self, bytes: &[u8], context: Context<'_>, role: Role<'_>) {
        let cut = context.truncated;
        if media::starts(bytes) {
            return self.media(bytes, context);
        }
        if let Some(reversed) = compress::reversed(bytes) {
            return self.decoded(&reversed, bytes.len(), Step::Reversed, context, role);
        }
        // Formats with lengths of four bytes have as many zeros.
        if let Some(decoded) = wide::utf32_decode(bytes) {
            return self.decoded(decoded.as_bytes(), bytes.len(), Step::Utf32, context, role);
        }
        let characters = self.binary_string(bytes, cut);
        if let Some((decoded, true)) = &characters {
            self.decoded(decoded, bytes.len(), Step::BinaryString, context, role);
        } else if is_msgpack(bytes, cut) {
            self.msgpack(bytes, context);
        } else if is_cbor(bytes, cut) {
            self.cbor(bytes, context);
        } else if protobuf::is_plausible(bytes, cut) {
            self.protobuf(bytes, context);
        } else if protobuf::is_plausible_grpc(bytes, cut) {
            self.grpc(bytes, context);
        } else if let Some((decoded, _)) = characters {
            self.decoded(&decoded, bytes.len(), Step::BinaryString, context, role);
        } else if let Some(plain) = std::str::from_utf8(bytes)
            .ok()
            .and_then(|text| lz_string::decode_text(text, cut, self.output_left()))
        {
            self.decoded(plain.as_bytes(), bytes.len(), Step::LzString, context, DOCUMENT);
        } else if let Some(decoded) = wide::utf16_decode(bytes) {
            self.decoded(decoded.as_bytes(), bytes.len(), Step::Utf16, context, role);
        } else if self.guess_compression(&BLOCKS, bytes, context) == Some(true) {
            // Their literals would look like text behind a header.
        } else if let Some(frames) = frames(bytes, cut) {
            self.frames(&frames, context);
        } else if let Some((header, rest)) =
            header_len(bytes, cut).and_then(|len| bytes.split_at_checked(len))
        {
            self.runs(header, context, Step::Text);
            self.look(rest, context, DOCUMENT);
        } else if text::is_legacy(bytes) {
            self.emit(&String::from_utf8_lossy(bytes), context);
        } else if !self.after_header(bytes, context) {
            let guessed = match role {
                Role::Field => self.guess_field(bytes, context),
                Role::Document(_) => self.guess_document(bytes, context),
            };
            if !guessed {
                self.digest(bytes, context);
                self.runs(bytes, context, Step::Text);
            }
        }
    }

    fn msgpack(&mut self, bytes: &[u8], context: Context<'_>) {
        let reader = msgpack::Reader::new(bytes);
        let mut walker = Walker::new(reader, context.truncated, context.container);
        self.tree(&mut walker, context, |path| Step::MessagePack(path));
        self.trailing(bytes, walker.position(), context);
    }

    fn cbor(&mut self, bytes: &[u8], context: Context<'_>) {
        let (mut position, mut container) = (0, context.container);
        while let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty())
            && (position == 0 || cbor::Reader::starts(rest))
            && !self.exhausted()
        {
            let mut walker = Walker::new(cbor::Reader::new(rest), context.truncated, container);
            self.tree(&mut walker, context, |path| Step::Cbor(path));
            position += walker.position().max(1);
            container = self.container();
            if walker.end() != tree::End::Complete {
                break;
            }
        }
        self.trailing(bytes, position, context);
    }

    /// Reports bytes among which a hash may be, in hexadecimal.
    pub(super) fn digest(&mut self, bytes: &[u8], context: Context<'_>) {
        const LENGTHS: [usize; 6] = [16, 20, 28, 32, 48, 64];
        /// From the shortest hash to a record with several.
        const RECORDS: std::ops::RangeInclusive<usize> = 16..=512;
        let is_hash = LENGTHS.contains(&bytes.len()) && !context.truncated;
        if is_hash || RECORDS.contains(&bytes.len()) && !self.known.is_empty() {
            let chain = context.chain.then(Step::Digest);
            self.emit(&data_encoding::HEXLOWER.encode(bytes), context.with_chain(&chain));
        }
    }

    /// Reads the bytes that follow a document.
    fn trailing(&mut self, bytes: &[u8], position: usize, context: Context<'_>) {
        let rest = bytes.get(position..).unwrap_or_default();
        if !rest.is_empty() {
            self.runs(rest, context, Step::Text);
        }
    }

    /// Reads a protobuf message.
    fn protobuf(&mut self, bytes: &[u8], context: Context<'_>) {
        if !self.may_descend(context.chain) || !self.charge_work(bytes.len()) {
            return;
        }
        let container = self.container();
        let mut fields = protobuf::Fields::new(bytes);
        while !self.exhausted()
            && let Some(field) = fields.next()
        {
            let Some(payload) = field.payload else {
                continue;
            };
            let mut name = [0; 16];
            let key = Some(field_name(field.number, &mut name));
            let chain = context.chain.then(Step::Protobuf(field.number));
            let here = Context { chain: &chain, key, container, truncated: field.truncated };
            match protobuf::classify(payload, field.truncated) {
                protobuf::PayloadKind::Message => self.embedded(payload, here),
                protobuf::PayloadKind::Other => self.look(payload, here, Role::Field),
            }
        }
        match fields.end() {
            Some(protobuf::End::Truncated) => self.report.cut += 1,
            Some(protobuf::End::Malformed) => {
                self.report.damaged += 1;
                self.runs(fields.rest(), context, Step::Text);
            }
            _ => {}
        }
    }

    /// Reads an embedded message, or the compressed data that only parses like one.
    fn embedded(&mut self, bytes: &[u8], context: Context<'_>) {
        let is_compressed = compress::magic(bytes)
            .is_some_and(|coding| self.compressed(coding, bytes, false, context, Role::Field));
        if !is_compressed {
            self.protobuf(bytes, context);
        }
    }

    fn grpc(&mut self, bytes: &[u8], context: Context<'_>) {
        let chain = context.chain.then(Step::Grpc);
        let mut used = 0;
        for message in protobuf::grpc(bytes) {
            if self.exhausted() {
                return;
            }
            used += 5 + message.payload.len();
            let here = Context { truncated: message.truncated, ..context.with_chain(&chain) };
            self.look(message.payload, here, Role::Document(Label::Protobuf));
        }
        self.trailing(bytes, used, context);
    }

    /// Tries unmarked compression formats on a document.
    fn guess_document(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        if bytes.len() < MIN_GUESS || self.guesses >= MAX_GUESSES {
            return false;
        }
        self.guesses += 1;
        self.guess(bytes, context)
    }

    /// Tries them on the value of a field, or on its decoded text. Values in the head are
    /// mostly tokens, and numerous: they are searched for a known URL alone.
    pub(super) fn guess_field(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        if in_head(context.chain) {
            return self.unmask_known(bytes, context);
        }
        if bytes.len() < MIN_FIELD_GUESS {
            // Long enough for a URL by itself.
            return self.unmask_text(bytes, context);
        }
        if self.field_guesses >= MAX_GUESSES {
            return false;
        }
        self.field_guesses += 1;
        match self.guess_compression(&BLOCKS, bytes, context) {
            Some(false) => self.guess(bytes, context),
            other => other == Some(true),
        }
    }

    /// Tries unmarked compression formats. A guess is accepted only if it
    /// yields text, and only if the stream ends with the input or the input is
    /// truncated.
    fn guess(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        match self.guess_compression(&[Coding::Deflate, Coding::Brotli], bytes, context) {
            Some(false) => {}
            Some(true) => return true,
            None => return false,
        }
        if let Some(text) = lz_string::decode_bytes(bytes, context.truncated, self.output_left()) {
            self.decoded(text.as_bytes(), bytes.len(), Step::LzString, context, DOCUMENT);
            return true;
        }
        self.unmask(bytes, context)
    }

    /// Tries compression formats without a mark. Returns `None` if the budget is used up.
    fn guess_compression(
        &mut self,
        codings: &[Coding],
        bytes: &[u8],
        context: Context<'_>,
    ) -> Option<bool> {
        /// Enough text to accept a guess.
        const PROBE: usize = 4096;
        if bytes.len() < MIN_GUESS {
            return Some(false);
        }
        for &coding in codings {
            if coding == Coding::Deflate && !compress::may_be_deflate(bytes) {
                // It costs the same, so that what is tried next does not depend on chance.
                if !self.charge_start(coding, bytes.len()) {
                    return None;
                }
                continue;
            }
            let probe = self.decompress(coding, bytes, PROBE)?;
            let ends = match probe.end {
                // Of a stream without its header, the checksum may remain.
                End::Complete => {
                    probe.used == bytes.len()
                        || coding == Coding::Deflate
                            && compress::is_checksum(&bytes[probe.used..], &probe.bytes)
                }
                End::Truncated => context.truncated,
                End::Full => true,
                End::Malformed => false,
            };
            let cut = probe.end != End::Complete;
            if !ends || probe.bytes.len() < MIN_GUESSED || !text::looks_like_text(&probe.bytes, cut)
            {
                continue;
            }
            let decoded = self.decompress(coding, bytes, usize::MAX)?;
            let chain = context.chain.then(Step::Compressed(coding));
            let truncated = self.record_end(&decoded, bytes.len());
            let here = Context { truncated, ..context.with_chain(&chain) };
            self.on_wire(bytes.len(), decoded.bytes.len(), |engine| {
                engine.look(&decoded.bytes, here, DOCUMENT);
            });
            return Some(true);
        }
        Some(false)
    }

    /// Tries keys that may have masked the bytes.
    fn unmask(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        /// Enough of a document to accept a key.
        const PROBE: usize = 1024;
        for key in xor::compressed_keys(bytes) {
            let plain = key.apply(bytes);
            let Some(coding) = compress::magic(&plain) else {
                continue;
            };
            let Some(probe) = self.decompress(coding, &plain, PROBE) else {
                return false;
            };
            if probe.end != End::Malformed && text::looks_like_text(&probe.bytes, true) {
                return self.unmasked(key, &plain, context);
            }
        }
        self.unmask_text(bytes, context)
    }

    /// Tries keys that may have masked text containing a URL.
    fn unmask_text(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        if !self.charge_work(xor::cost(bytes.len())) {
            return false;
        }
        match xor::text_key(bytes, context.truncated) {
            Some(key) => self.unmasked(key, &key.apply(bytes), context),
            None => self.unmap(bytes, context) || self.unmask_known(bytes, context),
        }
    }

    /// Looks for text whose bytes were all changed in the same way.
    fn unmap(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        let Some(map) = ByteMap::find(bytes, context.truncated) else {
            return false;
        };
        let plain = map.undo(bytes);
        self.decoded(&plain, bytes.len(), Step::Mapped(map), context, DOCUMENT);
        true
    }

    /// Tries keys that may have masked a known URL.
    fn unmask_known(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        let known = self.known;
        self.progress.looked_for_known = true;
        if known.is_empty() || !self.charge_work(xor::known_cost(bytes.len(), known.len())) {
            return false;
        }
        match xor::known_key(bytes, known) {
            Some(key) => self.unmasked(key, &key.apply(bytes), context),
            None => self.substituted_bytes(bytes, context),
        }
    }

    fn unmasked(&mut self, key: XorKey, plain: &[u8], context: Context<'_>) -> bool {
        self.decoded(plain, plain.len(), Step::Xor(key), context, DOCUMENT);
        true
    }
}

/// Writes `pb#N`.
fn field_name(number: u32, buffer: &mut [u8; 16]) -> &str {
    let mut rest = &mut buffer[..];
    // At most thirteen bytes, so the write cannot fail.
    let _ = write!(rest, "pb#{number}");
    let left = rest.len();
    std::str::from_utf8(&buffer[..16 - left]).unwrap_or("pb")
}
