//! The recursive decoder: inspects bytes, decodes one step, and inspects the
//! result.
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
//! Each call takes exactly one branch, so every level of a chain inspects each
//! byte a bounded number of times.

use super::{
    Limits, Report, Value,
    base64::{self, Alphabet},
    chain::{Chain, Coding, Path, Step},
    compress,
    deobfuscate::deobfuscate,
    form, json,
    label::Label,
    multipart, text,
    tree::{self, Containers, Leaves},
};

mod binary;
mod compression;
mod structure;

/// The context in which bytes were found.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) chain: &'a Chain<'a>,
    pub(super) key: Option<&'a str>,
    pub(super) container: u32,
    /// Set if more was sent than is known.
    pub(super) truncated: bool,
}

impl<'a> Context<'a> {
    /// Returns the same context one step further inside.
    pub(super) fn with_chain<'b>(self, chain: &'b Chain<'b>) -> Context<'b>
    where
        'a: 'b,
    {
        Context { chain, ..self }
    }
}

/// The role that bytes have in their surroundings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role<'a> {
    /// A document of its own: a body, a part, or the output of a decoder.
    Document(Label<'a>),
    /// The value of a field, which is usually plain text.
    Field,
}

/// Maximum number of attempts to decompress unmarked bytes. Documents and fields
/// are counted separately, since fields are numerous and mostly random.
const MAX_GUESSES: u32 = 16;

/// Minimum length of text in which an encoding is looked for.
const MIN_ENCODED: usize = 12;

/// The state of one call to [`unwrap`](super::unwrap).
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

    /// Allocates a container number.
    pub(super) fn container(&mut self) -> u32 {
        self.containers.next()
    }

    /// Reports a value.
    pub(super) fn emit(&mut self, text: &str, context: Context<'_>) {
        if text.is_empty() {
            return;
        }
        if self.report.values >= self.limits.values {
            self.report.reached.values = true;
            self.count_skipped(text.len());
            return;
        }
        self.report.values += 1;
        let Context { chain, key, container, truncated } = context;
        (self.visit)(&Value { text, key, container, chain, truncated });
    }

    /// Counts bytes that no decoder understands.
    pub(super) fn count_opaque(&mut self, len: usize) {
        self.report.opaque = self.report.opaque.saturating_add(len as u64);
    }

    fn count_skipped(&mut self, len: usize) {
        self.report.skipped = self.report.skipped.saturating_add(len as u64);
    }

    /// Charges the inspection of `len` bytes; returns `false`, and counts them
    /// as skipped, if the budget does not cover it.
    fn charge_work(&mut self, len: usize) -> bool {
        let work = self.report.work.saturating_add(len as u64);
        if work > self.limits.work || self.report.reached.values {
            self.report.reached.work |= work > self.limits.work;
            self.count_skipped(len);
            return false;
        }
        self.report.work = work;
        true
    }

    /// Charges `len` bytes of decoder output; returns `false`, and counts them
    /// as skipped, if the budget does not cover it.
    fn charge_output(&mut self, len: usize) -> bool {
        if len > self.output_left() {
            self.report.reached.output = true;
            self.count_skipped(len);
            return false;
        }
        self.report.output += len;
        true
    }

    /// Returns the number of bytes that decoders may still produce.
    fn output_left(&self) -> usize {
        self.limits.output.saturating_sub(self.report.output)
    }

    /// Reports whether no further value can be reported.
    fn exhausted(&self) -> bool {
        self.report.reached.values || self.report.reached.work
    }

    /// Reports whether a step may be added to `chain`, and records if not.
    fn may_descend(&mut self, chain: &Chain<'_>) -> bool {
        let allowed = chain.len() < self.limits.depth;
        self.report.reached.depth |= !allowed;
        allowed
    }

    /// Reads bytes of any kind.
    pub(super) fn look(&mut self, bytes: &[u8], context: Context<'_>, role: Role<'_>) {
        if bytes.is_empty() || !self.charge_work(bytes.len()) {
            return;
        }
        let text = text::as_text(bytes, context.truncated);
        if !self.may_descend(context.chain) {
            match text {
                Some(text) => self.emit(text, context),
                None => self.count_skipped(bytes.len()),
            }
            return;
        }
        if let Some(coding) = compress::magic(bytes)
            && self.compressed(coding, bytes, text.is_some(), context, role)
        {
            return;
        }
        if let Role::Document(label) = role
            && self.labelled(bytes, text.is_some(), context, label)
        {
            return;
        }
        if let Some(boundary) = multipart::sniff(bytes) {
            return self.multipart(bytes, boundary, context);
        }
        if let Some(start) = json::start(bytes).or_else(|| {
            json::is_quoted(bytes, matches!(role, Role::Document(_)), context.truncated)
                .then_some(0)
        }) && self.json(&bytes[start..], context)
        {
            return;
        }
        match text {
            Some(text) => self.text(text, context, role),
            None => self.binary(bytes, context, role),
        }
    }

    /// Reads text: a form, or a value that may contain another encoding.
    fn text(&mut self, text: &str, context: Context<'_>, role: Role<'_>) {
        let bytes = text.as_bytes();
        if matches!(role, Role::Document(_)) && form::is_document(bytes) {
            return self.form_at(bytes, context);
        }
        let text = if context.truncated { text::whole_entities(text) } else { text };
        if let Some(decoded) = text::entities_decode(text)
            && self.may_descend(context.chain)
        {
            if self.charge_output(decoded.len()) {
                let chain = context.chain.then(Step::Entities);
                self.look(decoded.as_bytes(), context.with_chain(&chain), role);
            }
            return;
        }
        let bytes = text.as_bytes();
        self.emit(text, context);
        if !self.may_descend(context.chain) {
            return;
        }
        if form::is_query(bytes) {
            return self.form_at(bytes, context);
        }
        let triplets = if context.truncated { text::whole_triplets(bytes) } else { bytes };
        if let Some(decoded) = text::percent_decode(triplets) {
            if self.charge_output(decoded.len()) {
                let chain = context.chain.then(Step::Percent);
                self.look(&decoded, context.with_chain(&chain), role);
            }
            return;
        }
        if text.len() < MIN_ENCODED {
            return;
        }
        if let Some((step, plain)) = deobfuscate(text, context.truncated) {
            if self.charge_output(plain.len()) {
                let chain = context.chain.then(step);
                self.look(plain.as_bytes(), context.with_chain(&chain), Role::Field);
            }
            return;
        }
        if let Some(start) = json::start_after_junk(bytes)
            && self.json(&bytes[start..], context)
        {
            return;
        }
        if let Some(unescaped) = json::unescape_address(bytes) {
            if self.charge_output(unescaped.len()) {
                let chain = context.chain.then(Step::Escaped);
                self.look(&unescaped, context.with_chain(&chain), Role::Field);
            }
            return;
        }
        if let Some(decoded) = text::hex_decode(text, context.truncated)
            && self.charge_work(decoded.len())
            && self.is_plausible_hex(&decoded, context.truncated)
        {
            if self.charge_output(decoded.len()) {
                let chain = context.chain.then(Step::Hex);
                self.look(&decoded, context.with_chain(&chain), Role::Document(Label::Unknown));
            }
            return;
        }
        self.base64(text, context);
    }

    /// Looks for base64, first in the text as a whole and then in its tokens.
    fn base64(&mut self, text: &str, context: Context<'_>) {
        if let Some(decoded) = base64::whole(text, context.truncated)
            && self.base64_content(&decoded, context)
        {
            return;
        }
        let mut read = false;
        let mut unread = 0;
        for token in base64::tokens(text) {
            let last = text.ends_with(token);
            let truncated = context.truncated && last;
            let here = Context { truncated, ..context };
            if self.base64_token(token, token.len() < text.len(), here) {
                read = true;
            } else if base64::is_random(token) {
                unread += token.len();
            }
        }
        if !read && unread == 0 && base64::is_random(text) {
            unread = text.len();
        }
        // Tokens in the head of a request are credentials; reports are sent in
        // its content.
        if !matches!(context.chain.root(), Step::Header(_) | Step::Cookie(_) | Step::Path) {
            self.count_opaque(unread);
        }
    }

    /// Looks for base64 in a run of its characters. `is_part` means that the
    /// text is longer than the token and has already been tried as a whole.
    fn base64_token(&mut self, token: &str, is_part: bool, context: Context<'_>) -> bool {
        if is_part
            && let Some(decoded) = base64::token(token, context.truncated)
            && self.base64_content(&decoded, context)
        {
            return true;
        }
        if let Some(decoded) = base64::after_prefix(token, context.truncated)
            && self.base64_content(&decoded, context)
        {
            return true;
        }
        // A slash belongs to the alphabet, but also separates path segments.
        let mut read = false;
        if token.contains('/') {
            for part in token.split('/') {
                if let Some(decoded) = base64::token(part, context.truncated) {
                    read |= self.base64_content(&decoded, context);
                }
            }
        }
        read
    }

    /// Reads decoded base64 if it is plausible.
    fn base64_content(&mut self, decoded: &base64::Decoded, context: Context<'_>) -> bool {
        let bytes = &*decoded.bytes;
        if !self.charge_work(bytes.len()) {
            return false;
        }
        let chain = context.chain.then(match decoded.alphabet {
            Alphabet::Standard => Step::Base64,
            Alphabet::Url => Step::Base64Url,
        });
        let here = context.with_chain(&chain);
        if !self.is_plausible(bytes, context.truncated) {
            return text::as_text(bytes, context.truncated).is_none()
                && self.guess_field(bytes, here);
        }
        if !self.charge_output(bytes.len()) {
            return false;
        }
        self.look(bytes, here, Role::Document(Label::Unknown));
        true
    }

    /// Reads the runs of text in bytes of an unknown format. The end of a value
    /// cannot be recognised there, so every run of a truncated input counts as
    /// truncated.
    pub(super) fn runs(&mut self, bytes: &[u8], context: Context<'_>, step: Step<'_>) {
        if !self.charge_work(bytes.len()) {
            return;
        }
        let chain = context.chain.then(step);
        let mut text = 0;
        for run in text::runs(bytes) {
            text += run.len();
            self.text(run, context.with_chain(&chain), Role::Field);
        }
        self.count_opaque(bytes.len() - text);
    }

    /// Reports whether bytes produced by a guess look like intentional data.
    fn is_plausible(&mut self, bytes: &[u8], truncated: bool) -> bool {
        match compress::magic(bytes) {
            Some(Coding::Gzip | Coding::Zstd) => return true,
            Some(_) => {
                /// Enough output to recognise a zlib stream.
                const PROBE: usize = 1024;
                let probe = self.decompress(Coding::Zlib, bytes, PROBE);
                if probe.is_some_and(|probe| compression::is_plausible_zlib(&probe)) {
                    return true;
                }
            }
            None => {}
        }
        multipart::sniff(bytes).is_some()
            || match text::as_text(bytes, truncated) {
                Some(_) => text::looks_like_text(bytes, truncated),
                None => {
                    binary::is_document(bytes, truncated)
                        || binary::header_len(bytes, truncated).is_some()
                }
            }
    }

    /// Does the same for decoded hexadecimal text, which is often text by chance:
    /// `30` to `39` decode to digits again.
    fn is_plausible_hex(&mut self, bytes: &[u8], truncated: bool) -> bool {
        /// Minimum length from which being text is sufficient evidence.
        const MIN_TEXT: usize = 16;
        let is_text = text::as_text(bytes, truncated).is_some();
        let has_known_start = [&b"http"[..], b"{\"", b"[{"].iter().any(|s| bytes.starts_with(s));
        (!is_text || bytes.len() >= MIN_TEXT || has_known_start)
            && self.is_plausible(bytes, truncated)
    }

    /// Reads every value of a tree and returns their number.
    fn tree<'d, R: Leaves<'d>>(
        &mut self,
        reader: &mut R,
        context: Context<'_>,
        step: impl for<'p> Fn(&'p Path<'p>) -> Step<'p>,
    ) -> usize {
        let mut count = 0;
        while !self.exhausted()
            && let Some(leaf) = reader.next_leaf(&mut self.containers)
        {
            count += 1;
            let path = reader.path();
            let chain = context.chain.then(step(path));
            let here = Context {
                chain: &chain,
                key: path.last_key().or(context.key),
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
