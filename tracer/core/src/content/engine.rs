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
    Limits, Report, Value, Work, archive,
    chain::{Chain, Path, Step},
    compress,
    deobfuscate::{deobfuscate, is_reversed},
    form, invisible, json,
    label::Label,
    lz_string,
    memo::Memo,
    mime, multipart,
    numbers::Numbers,
    pairs,
    pieces::Pieces,
    shift, text,
    tree::{self, Containers, Leaves},
    xml,
};

mod binary;
mod compression;
mod encodings;
mod formats;
mod repetition;
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

/// The role of a decoder's output.
const DOCUMENT: Role<'static> = Role::Document(Label::Unknown);

/// Maximum number of attempts to decompress unmarked bytes. Documents and fields
/// are counted separately, since fields are numerous and mostly random.
const MAX_GUESSES: u32 = 16;

/// Minimum length of text in which an encoding is looked for.
const MIN_ENCODED: usize = 12;

/// Cost of reporting a value, in bytes inspected: the search looks up its name and its
/// place, and classifies it.
const VALUE_COST: usize = 512;

/// Cost of a byte that is looked at, in bytes inspected: many formats are tried.
const LOOK_COST: usize = 4;

/// The state of one call to [`unwrap`](super::unwrap).
pub(super) struct Engine<'e> {
    limits: Limits,
    report: Report,
    containers: Containers,
    guesses: u32,
    field_guesses: u32,
    /// URLs that may be in the request.
    known: &'e [&'e str],
    memo: &'e mut Memo,
    progress: repetition::Progress,
    visit: &'e mut dyn FnMut(&Value<'_>, &mut Work),
}

/// Minimum number of digits of a number that may be bytes. Times and identifiers have fewer.
const MIN_LARGE: usize = 24;

impl<'e> Engine<'e> {
    pub(super) fn new(
        limits: Limits,
        memo: &'e mut Memo,
        visit: &'e mut dyn FnMut(&Value<'_>, &mut Work),
    ) -> Self {
        Self {
            limits,
            report: Report::default(),
            containers: Containers::default(),
            guesses: 0,
            field_guesses: 0,
            known: &[],
            memo,
            progress: repetition::Progress::default(),
            visit,
        }
    }

    /// Returns the same engine, which also looks for these URLs under a mask.
    pub(super) fn with_known(self, known: &'e [&'e str]) -> Self {
        Self { known, ..self }
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
        if !self.charge(VALUE_COST.saturating_add(text.len()), text.len()) {
            return;
        }
        self.report.values += 1;
        let Context { chain, key, container, truncated } = context;
        let mut work = Work::new(self.report.work, self.limits.work);
        (self.visit)(&Value { text, key, container, chain, truncated }, &mut work);
        self.report.work = work.spent();
        if work.skipped() > 0 {
            self.report.reached.work = true;
            self.count_skipped(work.skipped());
        }
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
        self.charge(len, len)
    }

    /// Does the same for `cost` bytes inspected, of which `len` would be skipped.
    fn charge(&mut self, cost: usize, len: usize) -> bool {
        let work = self.report.work.saturating_add(cost as u64);
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

    /// Reads the output of a decoder as `step`, and counts what stays unread of it
    /// by the `input` bytes that it was decoded from.
    fn decoded(
        &mut self,
        bytes: &[u8],
        input: usize,
        step: Step<'_>,
        context: Context<'_>,
        role: Role<'_>,
    ) {
        self.on_wire(input, bytes.len(), |engine| {
            if engine.charge_output(bytes.len()) {
                let chain = context.chain.then(step);
                engine.look(bytes, context.with_chain(&chain), role);
            }
        });
    }

    /// Calls `read` on `output` decoded bytes, and scales what it counts as unread to
    /// the `input` bytes that they were decoded from. The unread part of a body can
    /// therefore never exceed the body.
    fn on_wire(&mut self, input: usize, output: usize, read: impl FnOnce(&mut Self)) {
        let Report { opaque, skipped, .. } = self.report;
        read(self);
        let wire = |count: u64| {
            let scaled = (u128::from(count) * input as u128).div_ceil(output.max(1) as u128);
            u64::try_from(scaled).unwrap_or(u64::MAX).min(input as u64)
        };
        let new_opaque = wire(self.report.opaque - opaque);
        let new_skipped = wire(self.report.skipped - skipped).min(input as u64 - new_opaque);
        self.report.opaque = opaque + new_opaque;
        self.report.skipped = skipped + new_skipped;
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
        match role {
            Role::Field => self.look_once(bytes, context),
            Role::Document(_) => self.inspect(bytes, context, role),
        }
    }

    /// Does the same, without regard to what was read before.
    fn inspect(&mut self, bytes: &[u8], context: Context<'_>, role: Role<'_>) {
        self.progress.looks += 1;
        let cost = bytes.len().saturating_mul(LOOK_COST);
        if bytes.is_empty() || !self.charge(cost, bytes.len()) {
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
        // Some magic numbers are the same as bytes and as characters.
        if (compress::is_ascii_magic(bytes) || archive::is_zip(bytes))
            && let Some(decoded) = text::binary_string(bytes, context.truncated)
        {
            return self.decoded(&decoded, bytes.len(), Step::BinaryString, context, role);
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
        if self.archive(bytes, context)
            || self.plist(bytes, context)
            || self.sqlite(bytes, context)
            || self.avro(bytes, context)
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
        // Markup may hold control characters that other text does not have.
        if xml::may_start(bytes)
            && let Some(text) = text::as_utf8(bytes, context.truncated)
            && xml::starts(text)
            && self.xml(text, context)
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
        if is_reversed(text) {
            self.emit(text, context);
            let plain: String = text.chars().rev().collect();
            return self.decoded(plain.as_bytes(), text.len(), Step::Reversed, context, DOCUMENT);
        }
        // Their separators were replaced as well.
        if let Some(shift) = shift::of_characters(text)
            && let Some(plain) = shift.undo(text)
        {
            self.emit(text, context);
            let step = Step::Shifted(shift);
            return self.decoded(plain.as_bytes(), text.len(), step, context, DOCUMENT);
        }
        if let Some(url) = self.substituted(text) {
            self.emit(text, context);
            // A known way to replace the characters yields all of the text.
            let whole = deobfuscate(text, self.known, context.truncated);
            let (step, plain) = whole.unwrap_or((Step::Substituted, url));
            return self.decoded(plain.as_bytes(), text.len(), step, context, Role::Field);
        }
        if matches!(role, Role::Document(_)) && self.counted_strings(text, context) {
            return;
        }
        if self.dump(text, context) {
            return self.emit(text, context);
        }
        if self.base85(text, context) || self.base45(text, context) || self.base91(text, context) {
            return;
        }
        if matches!(role, Role::Document(_)) && form::is_document(bytes) && !is_list(text) {
            return self.form_at(bytes, context);
        }
        let text = if context.truncated { text::whole_entities(text) } else { text };
        if let Some(decoded) = text::entities_decode(text)
            && self.may_descend(context.chain)
        {
            return self.decoded(decoded.as_bytes(), text.len(), Step::Entities, context, role);
        }
        let bytes = text.as_bytes();
        if self.may_descend(context.chain)
            && may_hold_pairs(context.chain)
            && self.pairs(text, context)
        {
            return;
        }
        self.progress.begin_plain(&self.report);
        self.emit(text, context);
        self.progress.end_plain(&self.report);
        if !self.may_descend(context.chain) {
            return;
        }
        if form::is_query(bytes) {
            return self.form_at(bytes, context);
        }
        let triplets = if context.truncated { text::whole_triplets(bytes) } else { bytes };
        if let Some(decoded) = text::percent_decode(triplets) {
            return self.decoded(&decoded, text.len(), Step::Percent, context, role);
        }
        if text.len() < MIN_ENCODED {
            return;
        }
        if self.armour(text, context) {
            return;
        }
        if let Some(decoded) = mime::uuencoded(text) {
            return self.decoded(&decoded, text.len(), Step::Uuencode, context, DOCUMENT);
        }
        if let Some(inside) = text::unquoted(text) {
            return self.text(inside, context, Role::Field);
        }
        if let Some(plain) = invisible::remove(text) {
            return self.decoded(&plain, text.len(), Step::Invisible, context, DOCUMENT);
        }
        if let Some(bytes) = invisible::characters(text).or_else(|| invisible::bits(text))
            && self.charge_work(bytes.len())
            && self.is_plausible(&bytes, context.truncated)
        {
            return self.decoded(&bytes, text.len(), Step::Invisible, context, DOCUMENT);
        }
        if let Some((step, plain)) = deobfuscate(text, self.known, context.truncated) {
            return self.decoded(plain.as_bytes(), text.len(), step, context, Role::Field);
        }
        if let Some(start) = json::start_after_junk(bytes)
            && self.json(&bytes[start..], context)
        {
            return;
        }
        if self.escapes(text, context) {
            return;
        }
        if let Some(plain) = mime::encoded_word(text).or_else(|| mime::quoted_printable(text)) {
            return self.decoded(&plain, text.len(), Step::QuotedPrintable, context, Role::Field);
        }
        if let Some(plain) = mime::utf7(text) {
            return self.decoded(plain.as_bytes(), text.len(), Step::Utf7, context, Role::Field);
        }
        if self.lists(text, context) {
            return;
        }
        if let Some(decoded) = text::hex_decode(text, context.truncated)
            && self.charge_work(decoded.len())
        {
            if self.is_plausible_hex(&decoded, context.truncated) {
                return self.decoded(&decoded, text.len(), Step::Hex, context, DOCUMENT);
            }
            if self.disguised_hex(text, context) {
                return;
            }
            let chain = context.chain.then(Step::Hex);
            if self.guess_field(&decoded, context.with_chain(&chain)) {
                return;
            }
        }
        if self.groups(text, context) || self.hex_within(text, context) {
            return;
        }
        if self.base32(text, context) {
            return;
        }
        if let Some(plain) = lz_string::decode_text(text, context.truncated, self.output_left()) {
            let plain = plain.as_bytes();
            return self.decoded(plain, text.len(), Step::LzString, context, DOCUMENT);
        }
        self.base64(text, context);
    }

    /// Reads every value of a tree and returns their number.
    fn tree<'d, R: Leaves<'d>>(
        &mut self,
        reader: &mut R,
        context: Context<'_>,
        step: impl for<'p> Fn(&'p Path<'p>) -> Step<'p>,
    ) -> usize {
        let mut count = 0;
        let (mut numbers, mut pieces) = (Numbers::default(), Pieces::default());
        while !self.exhausted()
            && let Some(leaf) = reader.next_leaf(&mut self.containers)
        {
            count += 1;
            let path = reader.path();
            if let Some(array) = numbers.add(path, &leaf) {
                self.numbers(&array, false, context, &step);
            }
            let chain = context.chain.then(step(path));
            let here = Context {
                chain: &chain,
                key: path.last_key().or(context.key),
                container: leaf.container,
                truncated: leaf.truncated,
            };
            if let Some(name) = path.last_name() {
                self.encoded_name(name, here);
            }
            if leaf.scalar {
                if let Ok(text) = std::str::from_utf8(&leaf.value) {
                    self.emit(text, here);
                    if text.len() >= MIN_LARGE {
                        self.number(text, here);
                    }
                }
                continue;
            }
            let joined = pieces.add(here.key.unwrap_or_default(), &leaf.value);
            self.joined(joined, context);
            self.look(&leaf.value, here, Role::Field);
        }
        self.joined(pieces.take(), context);
        if let Some(array) = numbers.take() {
            self.numbers(&array, reader.end() == tree::End::Truncated, context, &step);
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

/// Reports whether a chain ends in the head of a request, whose values are mostly tokens, and
/// numerous.
pub(super) fn in_head(chain: &Chain<'_>) -> bool {
    matches!(chain.root(), Step::Header(_) | Step::Cookie(_) | Step::Path | Step::Host)
}

/// Reports whether values at the end of a chain may be lists of names and values.
/// Most header fields have parameters of their own.
pub(super) fn may_hold_pairs(chain: &Chain<'_>) -> bool {
    match chain.root() {
        Step::Header(name) => {
            chain.len() > 1
                || name.eq_ignore_ascii_case("baggage")
                || name.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("x-"))
        }
        Step::Path | Step::Host => chain.len() > 1,
        _ => true,
    }
}

/// Reports whether a text that starts like a form separates its pairs otherwise.
fn is_list(text: &str) -> bool {
    (!text.contains('&') || text.contains("=\""))
        && text.contains([' ', ',', ';', '|'])
        && pairs::split(text).is_some()
}
