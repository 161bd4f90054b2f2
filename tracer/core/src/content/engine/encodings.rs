//! Text encodings: base64 and others, and the test of whether decoded bytes are intended.

use super::{Context, DOCUMENT, Engine, Role, binary, compression, in_head};
use crate::content::{
    archive, avro,
    base64::{self, Alphabet, Disguise},
    base91,
    chain::{Coding, Step},
    compress::{self, End},
    dump, escapes, groups, json,
    lists::lists,
    media, multipart,
    numbers::Numbers,
    plist, positional, radix, sqlite,
    substitution::{self, Patterns},
    text, xml,
};

/// Length of the shortest URL that can be proved in an alphabet of its own.
const MIN_SUBSTITUTED: usize = 20;

/// Minimum length of bytes in base32 that are searched for masked or compressed data.
const MIN_MASKED: usize = 24;

impl Engine<'_> {
    /// Looks for escape sequences. Returns whether the text consists of them, or whether they
    /// hide an address.
    pub(super) fn escapes(&mut self, text: &str, context: Context<'_>) -> bool {
        if let Some(plain) = escapes::marked(text).or_else(|| escapes::fanged(text))
            && self.charge_work(plain.len())
        {
            self.decoded(plain.as_bytes(), text.len(), Step::Escaped, context, Role::Field);
            return true;
        }
        let Some(unescaped) = escapes::decode(text, context.truncated) else {
            return false;
        };
        let bytes = &*unescaped.bytes;
        if !self.charge_work(bytes.len()) {
            return false;
        }
        let role = match () {
            () if unescaped.reveals_address => Role::Field,
            () if unescaped.numbers >= escapes::MIN_NUMBERS
                && self.is_plausible(bytes, context.truncated) =>
            {
                DOCUMENT
            }
            () => return false,
        };
        self.decoded(bytes, text.len(), Step::Escaped, context, role);
        true
    }

    /// Returns the known URL that is in a text in an alphabet of its own.
    pub(super) fn substituted(&mut self, text: &str) -> Option<String> {
        let patterns = self.patterns(text.len(), Patterns::cost)?;
        if text.is_ascii() {
            return patterns.find(text.as_bytes());
        }
        patterns.find(&text.chars().map(u32::from).collect::<Vec<_>>())
    }

    /// Looks for a known URL in an alphabet of its own in bytes. Returns whether there is one.
    pub(super) fn substituted_bytes(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        let found = self.patterns(bytes.len(), Patterns::cost).and_then(|it| it.find(bytes));
        self.substitute(found, bytes.len(), context)
    }

    /// Does the same for an array of numbers.
    pub(super) fn substituted_numbers(&mut self, numbers: &Numbers, context: Context<'_>) -> bool {
        let units = numbers.units();
        let found = self.patterns(units.len(), Patterns::cost).and_then(|it| it.find(&units));
        self.substitute(found, numbers.written(), context)
    }

    /// Does the same for a list of words, and for text in an encoding with another alphabet.
    pub(super) fn substituted_units(&mut self, text: &str, context: Context<'_>) -> bool {
        let found = if let Some(words) = substitution::words(text) {
            self.patterns(text.len(), Patterns::cost).and_then(|it| it.find(&words))
        } else if text.bytes().all(|byte| byte.is_ascii_graphic()) {
            let patterns = self.patterns(text.len(), Patterns::cost_encoded);
            patterns.and_then(|it| it.find_encoded(text))
        } else {
            None
        };
        self.substitute(found, text.len(), context)
    }

    /// Returns the patterns of the known URLs, if there are any and the budget covers a search.
    fn patterns(
        &mut self,
        len: usize,
        cost: impl FnOnce(&Patterns, usize) -> usize,
    ) -> Option<&mut Patterns> {
        if len < MIN_SUBSTITUTED {
            return None;
        }
        self.progress.looked_for_known = true;
        if self.known.is_empty() {
            return None;
        }
        let cost = cost(self.memo.patterns(self.known), len);
        self.charge_work(cost).then(|| self.memo.patterns(self.known))
    }

    fn substitute(&mut self, found: Option<String>, len: usize, context: Context<'_>) -> bool {
        let Some(url) = found else { return false };
        self.decoded(url.as_bytes(), len, Step::Substituted, context, Role::Field);
        true
    }

    /// Looks for bytes that are written as numbers. Returns whether the text consists of them.
    pub(super) fn lists(&mut self, text: &str, context: Context<'_>) -> bool {
        lists(text, context.truncated).any(|bytes| {
            let is_known =
                self.charge_work(bytes.len()) && self.is_plausible(&bytes, context.truncated);
            if is_known {
                self.decoded(&bytes, text.len(), Step::Bytes, context, DOCUMENT);
            }
            is_known
        })
    }

    /// Looks for bytes that are written as one large number. Returns whether the text is one.
    pub(super) fn number(&mut self, text: &str, context: Context<'_>) -> bool {
        if context.truncated
            || !positional::is_candidate(text)
            || !self.charge_work(positional::cost(text.len()))
        {
            return false;
        }
        let Some(bytes) = positional::decode(text) else {
            return false;
        };
        self.decoded(&bytes, text.len(), Step::Number, context, DOCUMENT);
        true
    }

    /// Looks for base32. Returns whether the text is in it.
    pub(super) fn base32(&mut self, text: &str, context: Context<'_>) -> bool {
        if radix::base32(text).any(|bytes| self.radix(text, &bytes, Step::Base32, context)) {
            return true;
        }
        let chain = context.chain.then(Step::Base32);
        radix::base32(text).next().is_some_and(|bytes| {
            bytes.len() >= MIN_MASKED && self.guess_field(&bytes, context.with_chain(&chain))
        })
    }

    /// Looks for base45. Returns whether the text is in it.
    pub(super) fn base45(&mut self, text: &str, context: Context<'_>) -> bool {
        radix::base45(text, context.truncated)
            .is_some_and(|bytes| self.radix(text, &bytes, Step::Base45, context))
    }

    /// Looks for basE91, whose characters also separate fields. Returns whether the text is in it.
    pub(super) fn base91(&mut self, text: &str, context: Context<'_>) -> bool {
        /// Enough to see how the content begins.
        const PROBE: usize = 64;
        let start = text.get(..PROBE).unwrap_or(text);
        let begins = base91::decode(start, true).is_some_and(|start| {
            base64::has_known_start(&start)
                && (compress::magic(&start).is_some() || text::looks_like_text(&start, true))
        });
        let bytes = begins.then(|| base91::decode(text, context.truncated)).flatten();
        bytes.is_some_and(|bytes| self.radix(text, &bytes, Step::Base91, context))
    }

    /// Looks for a dump of bytes. Returns whether the text is one.
    pub(super) fn dump(&mut self, text: &str, context: Context<'_>) -> bool {
        dump::decode(text).any(|bytes| {
            let is_known =
                self.charge_work(bytes.len()) && self.is_plausible(&bytes, context.truncated);
            if is_known {
                self.decoded(&bytes, text.len(), Step::Dump, context, DOCUMENT);
            }
            is_known
        })
    }

    /// Looks for base85. Its characters also separate fields, so this comes before
    /// other formats of text. Returns whether the text is in it.
    pub(super) fn base85(&mut self, text: &str, context: Context<'_>) -> bool {
        radix::base85(text, context.truncated)
            .any(|bytes| self.radix(text, &bytes, Step::Base85, context))
    }

    fn radix(&mut self, text: &str, bytes: &[u8], step: Step<'_>, context: Context<'_>) -> bool {
        /// Shorter values are identifiers, which can be binary documents by chance.
        const MIN_BINARY: usize = 24;
        if !self.charge_work(bytes.len()) || self.is_broken(bytes, context) {
            return false;
        }
        let is_known = text::looks_like_text(bytes, context.truncated)
            || bytes.len() >= MIN_BINARY && self.is_plausible(bytes, context.truncated);
        if is_known {
            // The others come after the text as it is.
            if matches!(step, Step::Base85 | Step::Base45 | Step::Base91) {
                self.emit(text, context);
            }
            self.decoded(bytes, text.len(), step, context, DOCUMENT);
        }
        is_known
    }

    /// Reports whether bytes begin like compressed data and do not go on like it.
    fn is_broken(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        /// Enough to notice that the text was encoded once more.
        const PROBE: usize = 4096;
        compress::magic(bytes).is_some_and(|coding| {
            coding != Coding::Zlib
                && self.decompress(coding, bytes, PROBE).is_none_or(|it| match it.end {
                    End::Malformed => true,
                    End::Truncated => !context.truncated,
                    End::Complete => it.used < bytes.len(),
                    End::Full => false,
                })
        })
    }

    /// Looks for base64 in a form that is not the usual one. Returns whether the text is in it.
    fn unusual_base64(&mut self, text: &str, context: Context<'_>) -> bool {
        base64::with_marks(text, context.truncated).any(|decoded| {
            let bytes = &*decoded.bytes;
            let is_known = self.charge_work(bytes.len())
                && !self.is_broken(bytes, context)
                && self.is_plausible(bytes, context.truncated);
            if is_known {
                self.decoded(bytes, text.len(), Step::Base64, context, DOCUMENT);
            }
            is_known
        })
    }

    /// Looks for base64, first in the text as a whole and then in its tokens.
    pub(super) fn base64(&mut self, text: &str, context: Context<'_>) {
        if let Some(decoded) = base64::whole(text, context.truncated)
            && self.base64_content(&decoded, text.len(), context)
        {
            return;
        }
        // A mark would otherwise end the first token.
        if self.unusual_base64(text, context) {
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
        if !read && let Some((disguise, decoded)) = base64::disguised(text, context.truncated) {
            let bytes = &*decoded.bytes;
            let step = match disguise {
                Disguise::Swapped => Step::Base64Swapped,
                Disguise::Shifted(places) => Step::Base64Shifted(places),
            };
            if self.charge_work(bytes.len()) && self.is_plausible(bytes, context.truncated) {
                return self.decoded(bytes, text.len(), step, context, DOCUMENT);
            }
        }
        if !read && (self.number(text, context) || self.substituted_units(text, context)) {
            return;
        }
        if !read && unread == 0 && (base64::is_random(text) || radix::is_random(text)) {
            unread = text.len();
        }
        // Tokens in the head of a request are credentials; reports are sent in
        // its content.
        if !in_head(context.chain) {
            self.count_opaque(unread);
        }
    }

    /// Looks for base64 in a run of its characters. `is_part` means that the
    /// text is longer than the token and has already been tried as a whole.
    fn base64_token(&mut self, token: &str, is_part: bool, context: Context<'_>) -> bool {
        if is_part
            && let Some(decoded) = base64::token(token, context.truncated)
            && self.base64_content(&decoded, token.len(), context)
        {
            return true;
        }
        if let Some(decoded) = base64::after_prefix(token, context.truncated)
            && self.base64_content(&decoded, token.len(), context)
        {
            return true;
        }
        // A slash belongs to the alphabet, but also separates path segments.
        let mut read = false;
        if token.contains('/') {
            for part in token.split('/') {
                if let Some(decoded) = base64::token(part, context.truncated) {
                    read |= self.base64_content(&decoded, part.len(), context);
                }
            }
        }
        read
    }

    /// Reads decoded base64 if it is plausible.
    fn base64_content(
        &mut self,
        decoded: &base64::Decoded,
        input: usize,
        context: Context<'_>,
    ) -> bool {
        let bytes = &*decoded.bytes;
        if !self.charge_work(bytes.len()) {
            return false;
        }
        let step = match decoded.alphabet {
            Alphabet::Standard => Step::Base64,
            Alphabet::Url => Step::Base64Url,
        };
        if !self.is_plausible(bytes, context.truncated) {
            return text::as_text(bytes, context.truncated).is_none()
                && self.guess_field(bytes, context.with_chain(&context.chain.then(step)));
        }
        self.decoded(bytes, input, step, context, DOCUMENT);
        true
    }

    /// Looks for hexadecimal digits that were written backwards, or whose pairs were.
    pub(super) fn disguised_hex(&mut self, text: &str, context: Context<'_>) -> bool {
        let Some((step, bytes)) = text::disguised_hex(text) else {
            return false;
        };
        self.decoded(&bytes, text.len(), step, context, DOCUMENT);
        true
    }

    /// Reports whether bytes produced by a guess look like intentional data.
    pub(super) fn is_plausible(&mut self, bytes: &[u8], truncated: bool) -> bool {
        match compress::magic(bytes) {
            Some(coding) if coding != Coding::Zlib => return true,
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
        archive::is_zip(bytes)
            || archive::is_tar(bytes)
            || media::is_png(bytes)
            || plist::starts(bytes)
            || avro::starts(bytes)
            || sqlite::starts(bytes)
            || multipart::sniff(bytes).is_some()
            || match text::as_text(bytes, truncated) {
                Some(_) => text::looks_like_text(bytes, truncated),
                None => {
                    json::is_document(bytes, truncated)
                        || xml::may_start(bytes)
                            && std::str::from_utf8(bytes).is_ok_and(xml::starts)
                        || binary::is_document(bytes, truncated)
                        || binary::header_len(bytes, truncated).is_some()
                        || text::holds_address(bytes)
                }
            }
    }

    /// Does the same for decoded hexadecimal text, which is often text by chance:
    /// `30` to `39` decode to digits again.
    pub(super) fn is_plausible_hex(&mut self, bytes: &[u8], truncated: bool) -> bool {
        /// Minimum length from which being text is sufficient evidence.
        const MIN_TEXT: usize = 16;
        let is_text = text::as_text(bytes, truncated).is_some();
        let has_known_start = [&b"http"[..], b"{\"", b"[{"].iter().any(|s| bytes.starts_with(s));
        (!is_text || bytes.len() >= MIN_TEXT || has_known_start || text::is_host(bytes))
            && self.is_plausible(bytes, truncated)
    }

    /// Looks for hexadecimal digits among other characters. Returns whether any were read.
    pub(super) fn hex_within(&mut self, text: &str, context: Context<'_>) -> bool {
        let mut any = false;
        for digits in text::hex_runs(text).filter(|digits| digits.len() < text.len()) {
            let truncated = context.truncated && text.ends_with(digits);
            let here = Context { truncated, ..context };
            if let Some(decoded) = text::hex_decode(digits, truncated)
                && self.charge_work(decoded.len())
                && self.is_plausible_hex(&decoded, truncated)
            {
                any = true;
                self.decoded(&decoded, digits.len(), Step::Hex, here, DOCUMENT);
            }
        }
        any
    }

    /// Looks for an encoding whose characters are in groups of the same length. Returns whether
    /// the text is in one.
    pub(super) fn groups(&mut self, text: &str, context: Context<'_>) -> bool {
        let Some(joined) = groups::join(text).filter(|joined| self.charge_work(joined.len()))
        else {
            return false;
        };
        if let Some(decoded) = text::hex_decode(&joined, context.truncated)
            && self.is_plausible_hex(&decoded, context.truncated)
        {
            self.decoded(&decoded, text.len(), Step::Hex, context, DOCUMENT);
            return true;
        }
        if self.base32(&joined, context) {
            return true;
        }
        base64::whole(&joined, context.truncated).is_some_and(|decoded| {
            self.is_plausible(&decoded.bytes, context.truncated)
                && self.base64_content(&decoded, text.len(), context)
        })
    }

    /// Looks for an encoding in the name of a field. Returns whether it is in one.
    pub(in crate::content) fn encoded_name(&mut self, name: &str, context: Context<'_>) {
        const MIN: usize = 20;
        let name = match name.get(..2) {
            Some(mark) if mark.eq_ignore_ascii_case("x-") => &name[2..],
            _ => name,
        };
        let is_digit = |b: u8| b.is_ascii_alphanumeric() || b"+/=_-".contains(&b);
        if name.len() < MIN || !name.bytes().all(is_digit) || !self.charge_work(name.len()) {
            return;
        }
        let context = Context { key: None, truncated: false, ..context };
        if let Some(decoded) = text::hex_decode(name, false)
            && self.is_plausible_hex(&decoded, false)
        {
            self.decoded(&decoded, name.len(), Step::Hex, context, DOCUMENT);
        } else if !self.base32(name, context)
            && let Some(decoded) = base64::whole(name, false)
            && self.is_plausible(&decoded.bytes, false)
        {
            self.base64_content(&decoded, name.len(), context);
        }
    }

    /// Reads the pieces of a text that was divided over several fields.
    pub(in crate::content) fn joined(&mut self, pieces: Option<String>, context: Context<'_>) {
        let Some(text) = pieces.filter(|text| self.charge_work(text.len())) else {
            return;
        };
        let is_known = base64::has_encoded_start(&text)
            || text::hex_decode(&text, context.truncated)
                .is_some_and(|bytes| base64::has_known_start(&bytes))
            || radix::base32(&text).any(|bytes| base64::has_known_start(&bytes))
            || self.known.iter().any(|known| text.contains(known));
        if is_known {
            let context = Context { key: None, ..context };
            self.decoded(text.as_bytes(), text.len(), Step::Joined, context, DOCUMENT);
        }
    }
}
