//! The recursion: looks at bytes, undoes one step, and looks again.
//!
//! ```text
//! look ─┬─ magic number ─→ decompress ──────────────→ look
//!       ├─ multipart ────→ each part ───────────────→ look
//!       ├─ JSON ─────────→ each value ──────────────→ look
//!       ├─ text ─┬─ form ──→ each pair ─────────────→ look
//!       │        └─ emit, then percent, hex, base64 → look
//!       └─ binary: MessagePack, CBOR, protobuf, … ──→ look
//! ```
//!
//! Every step takes exactly one branch, so each level of the chain looks at
//! each byte a bounded number of times.

use super::{
    Limits, Report, Value,
    base64::{self, Alphabet},
    chain::{Chain, Coding, Path, Step},
    compress, form, json, multipart, text,
    tree::{self, Containers, Leaves},
};

mod binary;
mod compression;
mod structure;

/// Where bytes stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) chain: &'a Chain<'a>,
    pub(super) key: Option<&'a str>,
    pub(super) container: u32,
    /// More was sent than is known.
    pub(super) truncated: bool,
}

impl<'a> Place<'a> {
    /// The same place one step further in.
    pub(super) fn at<'b>(self, chain: &'b Chain<'b>) -> Place<'b>
    where
        'a: 'b,
    {
        Place { chain, ..self }
    }
}

/// What bytes are said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label<'a> {
    /// Nothing, or nothing that helps: the bytes tell.
    Unknown,
    Form,
    /// With its boundary.
    Multipart(&'a [u8]),
    MessagePack,
    Cbor,
    Protobuf,
    Grpc,
}

/// What bytes are a part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role<'a> {
    /// They stand alone: a body, a part, or what a decoder gives.
    Document(Label<'a>),
    /// They are the value of a field, which is mostly plain text.
    Field,
}

/// How often bytes that nothing marks are run through decompressors: those of
/// documents, and as often those of fields, which are many and mostly random.
const MAX_GUESSES: u32 = 16;

/// Shortest text that anything can be encoded in.
const MIN_ENCODED: usize = 12;

/// The state of one unwrapping.
pub(super) struct Engine<'e> {
    limits: Limits,
    report: Report,
    containers: Containers,
    guesses: u32,
    field_guesses: u32,
    visit: &'e mut dyn FnMut(&Value<'_>),
}

impl<'e> Engine<'e> {
    pub(super) fn new(limits: Limits, visit: &'e mut dyn FnMut(&Value<'_>)) -> Self {
        Self {
            limits,
            report: Report::default(),
            containers: Containers::default(),
            guesses: 0,
            field_guesses: 0,
            visit,
        }
    }

    pub(super) fn finish(self) -> Report {
        self.report
    }

    /// A number for a new object.
    pub(super) fn container(&mut self) -> u32 {
        self.containers.next()
    }

    /// Hands a value out.
    pub(super) fn emit(&mut self, text: &str, place: Place<'_>) {
        if text.is_empty() {
            return;
        }
        if self.report.values >= self.limits.values {
            self.report.reached.values = true;
            self.skip(text.len());
            return;
        }
        self.report.values += 1;
        let Place { chain, key, container, truncated } = place;
        (self.visit)(&Value { text, key, container, chain, truncated });
    }

    /// Counts bytes that no decoder reads.
    pub(super) fn opaque(&mut self, len: usize) {
        self.report.opaque = self.report.opaque.saturating_add(len as u64);
    }

    fn skip(&mut self, len: usize) {
        self.report.skipped = self.report.skipped.saturating_add(len as u64);
    }

    /// Whether `len` bytes may still be looked at.
    fn afford(&mut self, len: usize) -> bool {
        let work = self.report.work.saturating_add(len as u64);
        if work > self.limits.work || self.report.reached.values {
            self.report.reached.work |= work > self.limits.work;
            self.skip(len);
            return false;
        }
        self.report.work = work;
        true
    }

    /// Whether a decoder may produce `len` bytes.
    fn produce(&mut self, len: usize) -> bool {
        if len > self.room() {
            self.report.reached.output = true;
            self.skip(len);
            return false;
        }
        self.report.output += len;
        true
    }

    /// How many bytes decoders may still produce.
    fn room(&self) -> usize {
        self.limits.output.saturating_sub(self.report.output)
    }

    /// Nothing more would be handed out.
    fn exhausted(&self) -> bool {
        self.report.reached.values || self.report.reached.work
    }

    /// Whether a step may follow `chain`.
    fn deeper(&mut self, chain: &Chain<'_>) -> bool {
        let deeper = chain.len() < self.limits.depth;
        self.report.reached.depth |= !deeper;
        deeper
    }

    /// Reads bytes of any kind.
    pub(super) fn look(&mut self, bytes: &[u8], place: Place<'_>, role: Role<'_>) {
        if bytes.is_empty() || !self.afford(bytes.len()) {
            return;
        }
        let text = text::printable(bytes, place.truncated);
        if !self.deeper(place.chain) {
            match text {
                Some(text) => self.emit(text, place),
                None => self.skip(bytes.len()),
            }
            return;
        }
        if let Some(coding) = compress::magic(bytes)
            && self.compressed(coding, bytes, text.is_some(), place, role)
        {
            return;
        }
        if let Role::Document(label) = role
            && self.labelled(bytes, text.is_some(), place, label)
        {
            return;
        }
        if let Some(boundary) = multipart::sniff(bytes) {
            return self.multipart(bytes, boundary, place);
        }
        if let Some(start) = json::start(bytes).or_else(|| {
            json::is_quoted(bytes, matches!(role, Role::Document(_)), place.truncated).then_some(0)
        }) && self.json(&bytes[start..], place)
        {
            return;
        }
        match text {
            Some(text) => self.text(text, place, role),
            None => self.binary(bytes, place, role),
        }
    }

    /// Reads printable text: a form, or a value that may hide another.
    fn text(&mut self, text: &str, place: Place<'_>, role: Role<'_>) {
        let bytes = text.as_bytes();
        if matches!(role, Role::Document(_)) && form::is_document(bytes) {
            return self.form_at(bytes, place);
        }
        let text = if place.truncated { text::whole_entities(text) } else { text };
        if let Some(decoded) = text::entities_decode(text)
            && self.deeper(place.chain)
        {
            if self.produce(decoded.len()) {
                let chain = place.chain.then(Step::Entities);
                self.look(decoded.as_bytes(), place.at(&chain), role);
            }
            return;
        }
        let bytes = text.as_bytes();
        self.emit(text, place);
        if !self.deeper(place.chain) {
            return;
        }
        if form::is_query(bytes) {
            return self.form_at(bytes, place);
        }
        let triplets = if place.truncated { text::whole_triplets(bytes) } else { bytes };
        if let Some(decoded) = text::percent_decode(triplets) {
            if self.produce(decoded.len()) {
                let chain = place.chain.then(Step::Percent);
                self.look(&decoded, place.at(&chain), role);
            }
            return;
        }
        if text.len() < MIN_ENCODED {
            return;
        }
        if let Some((step, plain)) = text::undisguised(text, place.truncated) {
            if self.produce(plain.len()) {
                let chain = place.chain.then(step);
                self.look(plain.as_bytes(), place.at(&chain), Role::Field);
            }
            return;
        }
        if let Some(start) = json::start_behind_junk(bytes)
            && self.json(&bytes[start..], place)
        {
            return;
        }
        if let Some(unescaped) = json::unescape_address(bytes) {
            if self.produce(unescaped.len()) {
                let chain = place.chain.then(Step::Escaped);
                self.look(&unescaped, place.at(&chain), Role::Field);
            }
            return;
        }
        if let Some(decoded) = text::hex_decode(text, place.truncated)
            && self.afford(decoded.len())
            && self.is_convincing_hex(&decoded, place.truncated)
        {
            if self.produce(decoded.len()) {
                let chain = place.chain.then(Step::Hex);
                self.look(&decoded, place.at(&chain), Role::Document(Label::Unknown));
            }
            return;
        }
        self.base64(text, place);
    }

    /// Looks for base64: the whole text, or what stands in it.
    fn base64(&mut self, text: &str, place: Place<'_>) {
        if let Some(decoded) = base64::whole(text, place.truncated)
            && self.base64_content(&decoded, place)
        {
            return;
        }
        let mut read = false;
        let mut unread = 0;
        for token in base64::tokens(text) {
            let last = text.ends_with(token);
            let truncated = place.truncated && last;
            let here = Place { truncated, ..place };
            if self.base64_token(token, token.len() < text.len(), here) {
                read = true;
            } else if base64::is_random(token) {
                unread += token.len();
            }
        }
        if !read && unread == 0 && base64::is_random(text) {
            unread = text.len();
        }
        // Tokens in a request's head open doors; what is reported stands in its
        // content.
        if !matches!(place.chain.root(), Step::Header(_) | Step::Cookie(_) | Step::Path) {
            self.opaque(unread);
        }
    }

    /// Looks for base64 in a run of its characters. `apart`: it is not all of
    /// the text, which has been tried.
    fn base64_token(&mut self, token: &str, apart: bool, place: Place<'_>) -> bool {
        if apart
            && let Some(decoded) = base64::token(token, place.truncated)
            && self.base64_content(&decoded, place)
        {
            return true;
        }
        if let Some(decoded) = base64::behind_prefix(token, place.truncated)
            && self.base64_content(&decoded, place)
        {
            return true;
        }
        // A slash is of the alphabet, but it also separates segments.
        let mut read = false;
        if token.contains('/') {
            for part in token.split('/') {
                if let Some(decoded) = base64::token(part, place.truncated) {
                    read |= self.base64_content(&decoded, place);
                }
            }
        }
        read
    }

    /// Reads what base64 stands for, when that is convincing.
    fn base64_content(&mut self, decoded: &base64::Decoded, place: Place<'_>) -> bool {
        let bytes = &*decoded.bytes;
        if !self.afford(bytes.len()) {
            return false;
        }
        let chain = place.chain.then(match decoded.alphabet {
            Alphabet::Standard => Step::Base64,
            Alphabet::Url => Step::Base64Url,
        });
        let here = place.at(&chain);
        if !self.is_convincing(bytes, place.truncated) {
            return text::printable(bytes, place.truncated).is_none()
                && self.guess_field(bytes, here);
        }
        if !self.produce(bytes.len()) {
            return false;
        }
        self.look(bytes, here, Role::Document(Label::Unknown));
        true
    }

    /// Reads the runs of text in bytes of no known format. Where one of its
    /// values ends cannot be told, so those of a cut input all count as cut.
    pub(super) fn runs(&mut self, bytes: &[u8], place: Place<'_>, step: Step<'_>) {
        if !self.afford(bytes.len()) {
            return;
        }
        let chain = place.chain.then(step);
        let mut text = 0;
        for run in text::runs(bytes) {
            text += run.len();
            self.text(run, place.at(&chain), Role::Field);
        }
        self.opaque(bytes.len() - text);
    }

    /// Whether bytes that a guess produced are something that somebody sent.
    fn is_convincing(&mut self, bytes: &[u8], truncated: bool) -> bool {
        match compress::magic(bytes) {
            Some(Coding::Gzip | Coding::Zstd) => return true,
            Some(_) => {
                /// Enough to tell that a stream is one.
                const PROBE: usize = 1024;
                let probe = self.decompress(Coding::Zlib, bytes, PROBE);
                if probe.is_some_and(|probe| compression::is_zlib_believed(&probe)) {
                    return true;
                }
            }
            None => {}
        }
        multipart::sniff(bytes).is_some()
            || match text::printable(bytes, truncated) {
                Some(_) => text::is_meant(bytes, truncated),
                None => {
                    binary::is_convincing(bytes, truncated)
                        || binary::header_len(bytes, truncated).is_some()
                }
            }
    }

    /// The same for hexadecimal digits, half of which decode to text by
    /// themselves: `30` to `39` are digits again.
    fn is_convincing_hex(&mut self, bytes: &[u8], truncated: bool) -> bool {
        /// From here on, that the bytes are text is enough.
        const MIN_TEXT: usize = 16;
        let is_text = text::printable(bytes, truncated).is_some();
        let starts_well = [&b"http"[..], b"{\"", b"[{"].iter().any(|s| bytes.starts_with(s));
        (!is_text || bytes.len() >= MIN_TEXT || starts_well) && self.is_convincing(bytes, truncated)
    }

    /// Reads every value of a tree. Answers how many there were.
    fn tree<'d, R: Leaves<'d>>(
        &mut self,
        reader: &mut R,
        place: Place<'_>,
        step: impl for<'p> Fn(&'p Path<'p>) -> Step<'p>,
    ) -> usize {
        let mut count = 0;
        while !self.exhausted()
            && let Some(leaf) = reader.next_leaf(&mut self.containers)
        {
            count += 1;
            let path = reader.path();
            let chain = place.chain.then(step(path));
            let here = Place {
                chain: &chain,
                key: path.last_key().or(place.key),
                container: leaf.container,
                truncated: leaf.truncated,
            };
            if leaf.scalar {
                if let Ok(text) = std::str::from_utf8(&leaf.value) {
                    self.emit(text, here);
                }
            } else {
                self.look(&leaf.value, here, Role::Field);
            }
        }
        match reader.end() {
            tree::End::Complete => {}
            tree::End::Truncated => self.report.cut += 1,
            tree::End::Malformed => self.report.damaged += 1,
            tree::End::TooDeep => self.report.reached.nesting = true,
        }
        count
    }
}
