//! Formats that are not text.

use std::io::Write as _;

use super::{Engine, Label, MAX_GUESSES, Place, Role};
use crate::content::{
    base64, cbor,
    chain::{Coding, Step},
    compress::{self, End},
    form, msgpack, protobuf, text,
    tree::{self, Leaves, Walker},
    xor::{self, Key},
};

/// Shortest input that is run through decompressors without a sign.
const MIN_GUESS: usize = 24;
/// The same for a field's value: shorter ones are keys and digests.
const MIN_FIELD_GUESS: usize = 48;
/// Shortest text that confirms such a guess.
const MIN_GUESSED: usize = 32;

/// Whether bytes are a whole document of a binary format.
pub(super) fn is_convincing(bytes: &[u8], truncated: bool) -> bool {
    is_msgpack(bytes, truncated)
        || is_cbor(bytes, truncated)
        || protobuf::convincing(bytes, truncated)
        || protobuf::convincing_grpc(bytes, truncated)
        || text::utf16_decode(bytes).is_some_and(|t| text::printable(t.as_bytes(), false).is_some())
}

/// Where something well known begins behind a few bytes of the sender's own: a
/// version, a length, a checksum.
pub(super) fn header_len(bytes: &[u8], truncated: bool) -> Option<usize> {
    /// What a length and a checksum need.
    const MAX_HEADER: usize = 8;
    (1..=MAX_HEADER).find(|&at| {
        bytes.get(at..).is_some_and(|rest| {
            base64::starts_well(rest)
                && (compress::magic(rest).is_some() || text::is_meant(rest, truncated))
        })
    })
}

fn is_msgpack(bytes: &[u8], truncated: bool) -> bool {
    msgpack::Reader::starts(bytes)
        && tree::convincing(msgpack::Reader::new(bytes), bytes.len(), truncated)
}

fn is_cbor(bytes: &[u8], truncated: bool) -> bool {
    cbor::Reader::starts(bytes)
        && tree::convincing(cbor::Reader::new(bytes), bytes.len(), truncated)
}

impl Engine<'_> {
    /// Reads a document by its label, where the bytes do not contradict it.
    /// Answers whether it did.
    pub(super) fn labelled(
        &mut self,
        bytes: &[u8],
        printable: bool,
        place: Place<'_>,
        label: Label<'_>,
    ) -> bool {
        match label {
            Label::Form if !printable && form::is_document(bytes) => self.form_at(bytes, place),
            Label::Multipart(boundary) if bytes.starts_with(b"--") => {
                self.multipart(bytes, boundary, place);
            }
            Label::MessagePack if msgpack::Reader::starts(bytes) => self.msgpack(bytes, place),
            Label::Cbor if cbor::Reader::starts(bytes) => self.cbor(bytes, place),
            Label::Protobuf if !printable || protobuf::convincing_text(bytes) => {
                if protobuf::is_grpc(bytes, place.truncated) {
                    self.grpc(bytes, place);
                } else if protobuf::Fields::new(bytes).next().is_some() {
                    self.protobuf(bytes, place);
                } else {
                    return false;
                }
            }
            // gRPC-Web's text, whose pieces are padded each for itself.
            Label::Grpc if printable => {
                let Some(decoded) = base64::decode(bytes.trim_ascii(), place.truncated) else {
                    return false;
                };
                if self.produce(decoded.bytes.len()) {
                    let chain = place.chain.then(Step::Base64);
                    let role = Role::Document(Label::Protobuf);
                    self.look(&decoded.bytes, place.at(&chain), role);
                }
            }
            Label::Grpc if protobuf::grpc(bytes).next().is_some() => self.grpc(bytes, place),
            _ if protobuf::convincing_text(bytes) => self.protobuf(bytes, place),
            _ => return false,
        }
        true
    }

    /// Reads bytes that are neither text nor compressed nor labelled.
    pub(super) fn binary(&mut self, bytes: &[u8], place: Place<'_>, role: Role<'_>) {
        let cut = place.truncated;
        if is_msgpack(bytes, cut) {
            self.msgpack(bytes, place);
        } else if is_cbor(bytes, cut) {
            self.cbor(bytes, place);
        } else if protobuf::convincing(bytes, cut) {
            self.protobuf(bytes, place);
        } else if protobuf::convincing_grpc(bytes, cut) {
            self.grpc(bytes, place);
        } else if let Some(decoded) = text::utf16_decode(bytes) {
            if self.produce(decoded.len()) {
                let chain = place.chain.then(Step::Utf16);
                self.look(decoded.as_bytes(), place.at(&chain), role);
            }
        } else if let Some((header, rest)) =
            header_len(bytes, cut).and_then(|len| bytes.split_at_checked(len))
        {
            self.runs(header, place, Step::Text);
            self.look(rest, place, Role::Document(Label::Unknown));
        } else if text::is_legacy(bytes) {
            self.emit(&String::from_utf8_lossy(bytes), place);
        } else if !self.behind_header(bytes, place) {
            let guessed = match role {
                Role::Field => self.guess_field(bytes, place),
                Role::Document(_) => self.guess_document(bytes, place),
            };
            if !guessed {
                self.runs(bytes, place, Step::Text);
            }
        }
    }

    fn msgpack(&mut self, bytes: &[u8], place: Place<'_>) {
        let reader = msgpack::Reader::new(bytes);
        let mut walker = Walker::new(reader, place.truncated, place.container);
        self.tree(&mut walker, place, |path| Step::MessagePack(path));
        self.after(bytes, walker.position(), place);
    }

    fn cbor(&mut self, bytes: &[u8], place: Place<'_>) {
        let reader = cbor::Reader::new(bytes);
        let mut walker = Walker::new(reader, place.truncated, place.container);
        self.tree(&mut walker, place, |path| Step::Cbor(path));
        self.after(bytes, walker.position(), place);
    }

    /// Reads what stands behind a document.
    fn after(&mut self, bytes: &[u8], position: usize, place: Place<'_>) {
        let rest = bytes.get(position..).unwrap_or_default();
        if !rest.is_empty() {
            self.runs(rest, place, Step::Text);
        }
    }

    /// Reads a protobuf message.
    fn protobuf(&mut self, bytes: &[u8], place: Place<'_>) {
        if !self.deeper(place.chain) || !self.afford(bytes.len()) {
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
            let chain = place.chain.then(Step::Protobuf(field.number));
            let here = Place { chain: &chain, key, container, truncated: field.cut };
            match protobuf::classify(payload, field.cut) {
                protobuf::Kind::Message => self.protobuf(payload, here),
                protobuf::Kind::Other => self.look(payload, here, Role::Field),
            }
        }
        match fields.end() {
            Some(protobuf::End::Cut) => self.report.cut += 1,
            Some(protobuf::End::Malformed) => {
                self.report.damaged += 1;
                self.runs(fields.rest(), place, Step::Text);
            }
            _ => {}
        }
    }

    fn grpc(&mut self, bytes: &[u8], place: Place<'_>) {
        let chain = place.chain.then(Step::Grpc);
        let mut used = 0;
        for message in protobuf::grpc(bytes) {
            if self.exhausted() {
                return;
            }
            used += 5 + message.payload.len();
            let here = Place { truncated: message.cut, ..place.at(&chain) };
            self.look(message.payload, here, Role::Document(Label::Protobuf));
        }
        self.after(bytes, used, place);
    }

    /// Tries the compressions that nothing marks on a document.
    fn guess_document(&mut self, bytes: &[u8], place: Place<'_>) -> bool {
        if bytes.len() < MIN_GUESS || self.guesses >= MAX_GUESSES {
            return false;
        }
        self.guesses += 1;
        self.guess(bytes, place)
    }

    /// Tries them on a field's value, or on what it is base64 of. What stands in
    /// the head is mostly tokens, and there are many.
    pub(super) fn guess_field(&mut self, bytes: &[u8], place: Place<'_>) -> bool {
        let in_head = matches!(place.chain.root(), Step::Header(_) | Step::Cookie(_) | Step::Path);
        if in_head {
            return false;
        }
        if bytes.len() < MIN_FIELD_GUESS {
            // A URL by itself.
            return self.unmask_text(bytes, place);
        }
        if self.field_guesses >= MAX_GUESSES {
            return false;
        }
        self.field_guesses += 1;
        self.guess(bytes, place)
    }

    /// Tries the compressions that nothing marks. Only text confirms them, and
    /// only when the stream ends with the input or the input is cut.
    fn guess(&mut self, bytes: &[u8], place: Place<'_>) -> bool {
        /// Enough text to believe it.
        const PROBE: usize = 4096;
        for coding in [Coding::Deflate, Coding::Brotli] {
            let Some(probe) = self.decompress(coding, bytes, PROBE) else {
                return false;
            };
            let ends = match probe.end {
                End::Complete => probe.used == bytes.len(),
                End::Truncated => place.truncated,
                End::Full => true,
                End::Malformed => false,
            };
            let cut = probe.end != End::Complete;
            if !ends || probe.bytes.len() < MIN_GUESSED || !text::is_meant(&probe.bytes, cut) {
                continue;
            }
            let Some(decoded) = self.decompress(coding, bytes, usize::MAX) else {
                return false;
            };
            let chain = place.chain.then(Step::Compressed(coding));
            let truncated = self.account(&decoded, bytes.len());
            let here = Place { truncated, ..place.at(&chain) };
            self.look(&decoded.bytes, here, Role::Document(Label::Unknown));
            return true;
        }
        self.unmask(bytes, place)
    }

    /// Tries the keys that bytes may have been combined with.
    fn unmask(&mut self, bytes: &[u8], place: Place<'_>) -> bool {
        /// Enough of a document to believe it.
        const PROBE: usize = 1024;
        for key in xor::compressed_keys(bytes) {
            let plain = key.apply(bytes);
            let Some(coding) = compress::magic(&plain) else {
                continue;
            };
            let Some(probe) = self.decompress(coding, &plain, PROBE) else {
                return false;
            };
            if probe.end != End::Malformed && text::is_meant(&probe.bytes, true) {
                return self.unmasked(key, &plain, place);
            }
        }
        self.unmask_text(bytes, place)
    }

    /// Tries the keys that text with a URL may have been combined with.
    fn unmask_text(&mut self, bytes: &[u8], place: Place<'_>) -> bool {
        if !self.afford(xor::cost(bytes.len())) {
            return false;
        }
        match xor::text_key(bytes, place.truncated) {
            Some(key) => self.unmasked(key, &key.apply(bytes), place),
            None => false,
        }
    }

    fn unmasked(&mut self, key: Key, plain: &[u8], place: Place<'_>) -> bool {
        if self.produce(plain.len()) {
            let chain = place.chain.then(Step::Xor(key));
            self.look(plain, place.at(&chain), Role::Document(Label::Unknown));
        }
        true
    }
}

/// Writes `pb#N`.
fn field_name(number: u32, buffer: &mut [u8; 16]) -> &str {
    let mut rest = &mut buffer[..];
    // Thirteen bytes at most, so it fits.
    let _ = write!(rest, "pb#{number}");
    let left = rest.len();
    std::str::from_utf8(&buffer[..16 - left]).unwrap_or("pb")
}
