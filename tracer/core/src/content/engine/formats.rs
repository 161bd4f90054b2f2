//! Archives, markup, lists of numbers, names with values, and strings behind their
//! length.

use std::borrow::Cow;

use super::{Context, DOCUMENT, Engine, Role};
use crate::content::{
    archive::{self, Entry, Method},
    armour, avro, base64,
    chain::{Coding, Step},
    compress::End,
    frames::Frame,
    media::{self, Piece},
    numbers::{self, Numbers},
    pairs, plist, sqlite,
    strings::{self, Prefix},
    text::{self, run_ranges},
    wide, xml,
};

impl Engine<'_> {
    /// Reads a ZIP or tar file. Returns whether the bytes are one.
    pub(super) fn archive(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        let mut any = false;
        if archive::is_zip(bytes) {
            let mut zip = archive::Zip::new(bytes);
            while !self.exhausted()
                && let Some(entry) = zip.next()
            {
                any = true;
                let used = self.entry(&entry, Step::Zip(&entry.name), context);
                zip.skip(used);
            }
        } else if archive::is_tar(bytes) {
            for entry in archive::tar(bytes) {
                if self.exhausted() {
                    break;
                }
                any = true;
                self.entry(&entry, Step::Tar(&entry.name), context);
            }
        }
        any
    }

    /// Reads an entry of an archive. Returns the number of bytes that belong to it.
    fn entry(&mut self, entry: &Entry<'_>, step: Step<'_>, context: Context<'_>) -> usize {
        let container = self.container();
        let chain = context.chain.then(step);
        let truncated = entry.truncated && context.truncated;
        let key = Some(&*entry.name);
        let here = Context { chain: &chain, key, container, truncated };
        // The name of a file can be data as well.
        self.emit(&entry.name, Context { truncated: false, ..here });
        let data = &*entry.data;
        let len = data.len() - entry.added;
        match entry.method {
            _ if data.is_empty() => {}
            Method::Stored => self.look(data, here, DOCUMENT),
            Method::Unreadable => self.count_opaque(len),
            Method::Compressed(coding) => {
                let Some(decoded) = self.decompress(coding, data, usize::MAX) else {
                    return len;
                };
                let used = decoded.used.max(1);
                let truncated = self.record_end(&decoded, used);
                self.on_wire(used, decoded.bytes.len(), |engine| {
                    engine.look(&decoded.bytes, Context { truncated, ..here }, DOCUMENT);
                });
                return match decoded.end {
                    End::Complete => used.saturating_sub(entry.added),
                    _ => len,
                };
            }
        }
        len
    }

    /// Reads a binary property list. Returns whether the bytes are a whole one.
    pub(super) fn plist(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        if !plist::starts(bytes) {
            return false;
        }
        let Some(list) = plist::read(bytes, &mut self.containers) else {
            return false;
        };
        if !self.charge(list.looked_at, bytes.len()) {
            return true;
        }
        if list.limited {
            self.count_skipped(bytes.len());
        }
        for item in list.items {
            if self.exhausted() {
                break;
            }
            let chain = context.chain.then(Step::Plist(&item.path));
            let key = item.path.last_key().or(context.key);
            let here = Context { chain: &chain, key, container: item.container, truncated: false };
            match std::str::from_utf8(&item.value) {
                Ok(text) if item.scalar => self.emit(text, here),
                _ => self.look(&item.value, here, Role::Field),
            }
        }
        true
    }

    /// Reads a database of SQLite. Returns whether the bytes are one.
    pub(super) fn sqlite(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        if !sqlite::starts(bytes) {
            return false;
        }
        for part in sqlite::parts(bytes) {
            if self.exhausted() {
                break;
            }
            let row = match part {
                sqlite::Part::Row(row) => row,
                sqlite::Part::Other(bytes) => {
                    self.runs(bytes, context, Step::Text);
                    continue;
                }
            };
            let container = self.container();
            for value in row.values.iter().filter(|value| !value.is_number) {
                let (table, column) = row.names(value.column).unwrap_or_default();
                let name = format!("{table}.{column}");
                let chain = context.chain.then(Step::Sqlite(&name));
                let key = (!column.is_empty()).then_some(column);
                let here = Context { chain: &chain, key, container, truncated: value.is_cut };
                self.look(value.bytes, here, Role::Field);
            }
        }
        true
    }

    /// Reads a container file of Avro. Returns whether the bytes are one.
    pub(super) fn avro(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        let Some(container) = avro::read(bytes) else {
            return false;
        };
        let chain = context.chain.then(Step::Avro);
        let context = context.with_chain(&chain);
        for value in container.metadata {
            self.look(value, context, Role::Field);
        }
        for avro::Block { content, truncated } in container.blocks {
            if self.exhausted() {
                break;
            }
            let here = Context { truncated, ..context };
            match container.coding {
                Some(Coding::Snappy) => {
                    let decoded = self.decompress(Coding::Snappy, content, usize::MAX);
                    let Some(decoded) = decoded else { continue };
                    let step = Step::Compressed(Coding::Snappy);
                    self.decoded(&decoded.bytes, content.len(), step, here, DOCUMENT);
                }
                Some(coding) => {
                    self.compressed(coding, content, false, here, DOCUMENT);
                }
                None => self.look(content, here, DOCUMENT),
            }
        }
        true
    }

    /// Reads XML or HTML. Returns whether it holds any value.
    pub(super) fn xml(&mut self, text: &str, context: Context<'_>) -> bool {
        let mut reader = xml::Reader::new(text, context.truncated, context.container);
        let mut any = false;
        while !self.exhausted()
            && let Some(item) = reader.next(&mut self.containers)
        {
            any = true;
            let path = reader.path();
            let chain = context.chain.then(match item.kind {
                xml::Kind::Content => Step::Xml(path),
                xml::Kind::Namespace => Step::XmlNamespace(path),
            });
            let key = path.last_key().or(context.key);
            let container = item.container;
            let here = Context { chain: &chain, key, container, truncated: item.truncated };
            self.look(item.value.as_bytes(), here, Role::Field);
        }
        self.report.reached.nesting |= reader.is_too_deep();
        any
    }

    /// Reads the bytes that an array of numbers stands for. `truncated` means that the
    /// input ends in the array.
    pub(super) fn numbers(
        &mut self,
        numbers: &Numbers,
        truncated: bool,
        context: Context<'_>,
        step: impl for<'p> Fn(&'p crate::content::Path<'p>) -> Step<'p>,
    ) {
        let path = numbers.path();
        let outer = context.chain.then(step(&path));
        let key = path.last_key().or(context.key);
        let here = Context { chain: &outer, key, container: numbers.container(), truncated };
        if let Some(texts) = numbers.texts() {
            if !self.lists(texts, here) {
                self.substituted_units(texts, here);
            }
            return;
        }
        let Some(decoded) = numbers.decode() else {
            self.substituted_numbers(numbers, here);
            return;
        };
        let bytes = &*decoded.bytes;
        if !self.charge_work(bytes.len()) {
            return;
        }
        // Units of two bytes are characters, too, so only a known start shows them.
        for bytes in numbers.alternatives() {
            if base64::has_known_start(&bytes) && self.is_plausible(&bytes, truncated) {
                return self.decoded(&bytes, numbers.written(), Step::Bytes, here, DOCUMENT);
            }
        }
        if self.is_plausible(bytes, truncated) {
            return self.decoded(bytes, numbers.written(), Step::Bytes, here, DOCUMENT);
        }
        if self.substituted_numbers(numbers, here) {
            return;
        }
        let chain = outer.then(Step::Bytes);
        let inside = here.with_chain(&chain);
        if decoded.is_bytes && numbers::is_random(bytes) {
            if !self.guess_field(bytes, inside) {
                self.count_opaque(numbers.written());
            }
        } else if decoded.is_bytes {
            self.digest(bytes, inside);
        }
    }

    /// Reads names and values in a text. Returns whether there are any.
    pub(super) fn pairs(&mut self, text: &str, context: Context<'_>) -> bool {
        let Some(parts) = pairs::split(text) else {
            return false;
        };
        let mut container = self.container();
        for part in parts {
            if self.exhausted() {
                break;
            }
            if part.starts_line {
                container = self.container();
            }
            // The format of bytes around a text is not known if they are cut.
            let is_run = matches!(context.chain.last(), Step::Text);
            let truncated = context.truncated && (part.last || is_run);
            let here = Context { container, truncated, ..context };
            match part.name {
                Some(name) => {
                    let chain = context.chain.then(Step::Pair(name));
                    let here = Context { chain: &chain, key: Some(name), ..here };
                    self.look(part.value.as_bytes(), here, Role::Field);
                }
                None => self.emit(part.value, here),
            }
        }
        true
    }

    /// Reads the armour in a text.
    pub(super) fn armour(&mut self, text: &str, context: Context<'_>) -> bool {
        let mut any = false;
        for block in armour::blocks(text) {
            any = true;
            let truncated = block.truncated && context.truncated;
            let here = Context { truncated, ..context };
            if block.bytes.is_empty() {
                self.count_opaque(block.written);
            } else {
                self.decoded(&block.bytes, block.written, Step::Armour, here, DOCUMENT);
            }
        }
        any
    }

    /// Reads an image, sound, a video or a font.
    pub(super) fn media(&mut self, bytes: &[u8], context: Context<'_>) {
        if !media::is_png(bytes) {
            if !self.after_header(bytes, context) {
                self.runs(bytes, context, Step::Metadata);
            }
            return;
        }
        let chain = context.chain.then(Step::Metadata);
        let container = self.container();
        for piece in media::png(bytes) {
            if self.exhausted() {
                return;
            }
            let (keyword, text, truncated, is_compressed) = match piece {
                Piece::Text { keyword, text, truncated } => (keyword, text, truncated, false),
                Piece::Compressed { keyword, data, truncated } => (keyword, data, truncated, true),
                Piece::Data(data) => {
                    self.runs(data, context, Step::Text);
                    continue;
                }
                Piece::Appended(rest) => {
                    self.look(rest, context, DOCUMENT);
                    continue;
                }
            };
            let keyword = String::from_utf8_lossy(keyword);
            let here = Context { chain: &chain, key: Some(&keyword), container, truncated };
            let codings: &[Coding] = if is_compressed { &[Coding::Zlib] } else { &[] };
            self.encoded(text, here, codings, Role::Field);
        }
    }

    /// Reads messages that each follow their length.
    pub(super) fn frames(&mut self, frames: &[Frame<'_>], context: Context<'_>) {
        let chain = context.chain.then(Step::Frame);
        for frame in frames {
            if self.exhausted() {
                return;
            }
            let here = Context {
                truncated: frame.truncated,
                container: self.container(),
                ..context.with_chain(&chain)
            };
            self.look(frame.payload, here, DOCUMENT);
        }
    }

    /// Reads a text that consists of strings behind their lengths, which happen to be characters.
    /// Returns whether it does.
    pub(super) fn counted_strings(&mut self, text: &str, context: Context<'_>) -> bool {
        let bytes = text.as_bytes();
        let is_candidate =
            (1..=2).any(|at| bytes.get(at..).is_some_and(|rest| rest.starts_with(b"http")));
        if !is_candidate || context.truncated || !self.charge_work(bytes.len()) {
            return false;
        }
        let mut count = 0;
        let mut end = 0;
        for piece in strings::split(bytes, 0, bytes.len(), false) {
            if piece.prefix.is_none() || piece.start - end > 2 {
                return false;
            }
            count += 1;
            end = piece.start + piece.text.len();
        }
        // A single one may be a URL behind a character.
        if count < 2 || end < bytes.len() {
            return false;
        }
        self.runs(bytes, context, Step::Text);
        true
    }

    /// Reads the runs of text in bytes of an unknown format. Where the length before
    /// a string says so, the string is exact, and named by the string before it.
    /// Elsewhere the end of a value cannot be recognised, so every other run of a
    /// truncated input counts as truncated.
    pub(in crate::content) fn runs(&mut self, bytes: &[u8], context: Context<'_>, step: Step<'_>) {
        if !self.charge_work(bytes.len()) {
            return;
        }
        for text in wide::runs(bytes) {
            let chain = context.chain.then(Step::Utf16);
            self.text(&text, context.with_chain(&chain), Role::Field);
        }
        let mut read = 0;
        let mut name: Option<(Cow<'_, str>, usize)> = None;
        for range in run_ranges(bytes) {
            for piece in strings::split(bytes, range.start, range.end, context.truncated) {
                let end = piece.start + piece.text.len();
                let Some(prefix) = piece.prefix else {
                    if piece.text.len() >= text::MIN_RUN {
                        read += piece.text.len();
                        let chain = context.chain.then(step);
                        self.text(piece.text, context.with_chain(&chain), Role::Field);
                    }
                    continue;
                };
                read += piece.text.len();
                let is_name = strings::is_name(piece.text);
                // A name is near, and no other name follows it.
                let key = name
                    .take()
                    .filter(|(_, end)| !is_name && piece.start - end <= strings::MAX_DISTANCE);
                let chain = context.chain.then(Step::String);
                let here = Context {
                    chain: &chain,
                    key: key.as_ref().map(|(name, _)| &**name).or(context.key),
                    // A short length can be chance where the format is not known because
                    // of the cut.
                    truncated: context.truncated && prefix == Prefix::Short,
                    ..context
                };
                self.look(piece.text.as_bytes(), here, Role::Field);
                if is_name {
                    name = Some((Cow::Borrowed(piece.text), end));
                }
            }
        }
        self.count_opaque(bytes.len() - read);
    }
}
