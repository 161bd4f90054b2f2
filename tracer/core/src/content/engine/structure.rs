//! Textual formats with structure: JSON, forms and multipart bodies.

use super::{Context, Engine, Role};
use crate::content::{
    base64,
    chain::{Chain, ROOT, Step},
    form, json,
    label::{Label, codings},
    multipart::{self, Part},
    pieces::Pieces,
    request::is_data,
    tree::{End, Leaves as _, is_address},
};

impl Engine<'_> {
    /// Reads JSON at the start of `bytes`: one document or several. Returns
    /// whether there was any.
    pub(super) fn json(&mut self, bytes: &[u8], context: Context<'_>) -> bool {
        if json::value_len(bytes).is_some_and(|len| json::has_trailing_data(&bytes[len..])) {
            self.json_lines(bytes, context);
            return true;
        }
        let damaged = self.report.damaged;
        let mut reader = json::Reader::new(bytes, context.truncated, context.container);
        let values = self.tree(&mut reader, context, |path| Step::Json(path));
        if values == 0 && reader.end() == End::Malformed {
            self.report.damaged = damaged;
            return false;
        }
        self.json_remainder(&reader, bytes, context);
        true
    }

    /// Reads consecutive documents: JSON lines, concatenated documents, RFC
    /// 7464 sequences, and envelopes, in which lines of JSON announce items of
    /// any format.
    fn json_lines(&mut self, bytes: &[u8], context: Context<'_>) {
        let mut rest = bytes;
        let mut announcement: &[u8] = &[];
        for line in 0.. {
            rest = &rest[json::separator_len(rest)..];
            if rest.is_empty() || self.exhausted() {
                break;
            }
            let here = Context { container: self.container(), ..context };
            if json::start(rest) == Some(0) {
                let mut reader = json::Reader::new(rest, context.truncated, here.container);
                self.tree(&mut reader, here, |path| Step::JsonLine(line, path));
                let used = reader.position().max(1);
                announcement = &rest[..used];
                let end = match reader.end() {
                    End::Complete => used,
                    // The next line starts a new document.
                    _ => used + line_len(&rest[used..]),
                };
                self.json_remainder(&reader, &rest[..end], here);
                rest = &rest[end..];
            } else {
                let item = match json::declared_length(announcement) {
                    Some(len) => &rest[..len.min(rest.len())],
                    None => text_line(rest),
                };
                announcement = &[];
                rest = &rest[item.len()..];
                let chain = context.chain.then(Step::JsonLine(line, &ROOT));
                let truncated = context.truncated && rest.is_empty();
                let here = Context { truncated, ..here.with_chain(&chain) };
                self.look(item.trim_ascii_end(), here, Role::Document(Label::Unknown));
            }
        }
    }

    /// Reads the remainder of a document after an error as plain text.
    fn json_remainder(&mut self, reader: &json::Reader<'_>, bytes: &[u8], context: Context<'_>) {
        if matches!(reader.end(), End::Malformed | End::TooDeep) && self.may_descend(context.chain)
        {
            let rest = bytes.get(reader.position()..).unwrap_or_default();
            self.runs(rest, context, Step::Fragment);
        }
    }

    /// Reads a form found in `context`.
    pub(super) fn form_at(&mut self, bytes: &[u8], context: Context<'_>) {
        let container = self.container();
        let chain = Some(context.chain);
        self.form(bytes, chain, container, context.truncated, |name| Step::Form(name));
    }

    /// Reads a form or a query; `step` creates the step for a parameter name.
    pub(in crate::content) fn form(
        &mut self,
        bytes: &[u8],
        outer: Option<&Chain<'_>>,
        mut container: u32,
        truncated: bool,
        step: impl for<'n> Fn(&'n str) -> Step<'n>,
    ) {
        let bytes = bytes.strip_prefix(b"?").unwrap_or(bytes);
        let mut pieces = Pieces::default();
        for pair in form::pairs(bytes) {
            if self.exhausted() {
                break;
            }
            if pair.starts_line {
                container = self.container();
            }
            let name = form::decode(pair.key.unwrap_or_default(), false);
            let name = String::from_utf8_lossy(&name);
            if is_address(name.as_bytes()) {
                self.address(&name, outer, container, &step);
            }
            let truncated = truncated && pair.last;
            let value = form::decode(pair.value, truncated);
            let key = (!name.is_empty()).then_some(&*name);
            let chain = match outer {
                Some(outer) => outer.then(step(&name)),
                None => Chain::new(step(&name)),
            };
            let here = Context { chain: &chain, key, container, truncated };
            self.encoded_name(&name, here);
            let joined = pieces.add(&name, &value);
            self.joined(joined, here);
            self.look(&value, here, Role::Field);
        }
        if let Some(joined) = pieces.take() {
            let chain = outer.map_or_else(|| Chain::new(step("")), |outer| outer.then(step("")));
            let here = Context { chain: &chain, key: None, container, truncated };
            self.joined(Some(joined), here);
        }
    }

    /// Reports a parameter name that is an address, and therefore data.
    fn address(
        &mut self,
        name: &str,
        outer: Option<&Chain<'_>>,
        container: u32,
        step: impl for<'n> Fn(&'n str) -> Step<'n>,
    ) {
        let chain = match outer {
            Some(outer) => outer.then(step(name)),
            None => Chain::new(step(name)),
        };
        self.emit(name, Context { chain: &chain, key: None, container, truncated: false });
    }

    /// Reads the parts of a multipart body.
    pub(super) fn multipart(&mut self, bytes: &[u8], boundary: &[u8], context: Context<'_>) {
        let container = self.container();
        let mut pieces = Pieces::default();
        let chain = context.chain.then(Step::Multipart(""));
        for ignored in multipart::around(bytes, boundary) {
            let truncated = context.truncated && bytes.ends_with(ignored);
            let here = Context { chain: &chain, key: None, container, truncated };
            self.look(ignored, here, Role::Document(Label::Unknown));
        }
        for (i, part) in multipart::parts(bytes, boundary).enumerate() {
            if self.exhausted() {
                break;
            }
            let name = match part.name.or(part.filename) {
                Some(name) => String::from_utf8_lossy(name),
                None => i.to_string().into(),
            };
            let chain = context.chain.then(Step::Multipart(&name));
            // The names of a part and of its file can be data as well, and so can its
            // fields.
            let own_name = part.name.filter(|name| is_address(name) || is_data(name));
            for text in [part.filename, part.encoded_filename, own_name] {
                let text = text.unwrap_or_default();
                let key = Some("filename");
                let here = Context { chain: &chain, key, container, truncated: false };
                self.look(text, here, Role::Field);
            }
            let own = part.fields().chain(part.parameters()).chain([(&b""[..], part.padding)]);
            for (field, value) in own {
                let field = String::from_utf8_lossy(field);
                let chain = chain.then(Step::Header(&field));
                let here =
                    Context { chain: &chain, key: Some(&field), container, truncated: false };
                self.look(value, here, Role::Field);
            }
            // Only the end of the known bytes can truncate a part.
            let here =
                Context { chain: &chain, key: Some(&name), container, truncated: part.truncated };
            let joined = pieces.add(&name, part.content);
            self.joined(joined, here);
            self.part(&part, here);
        }
        self.joined(pieces.take(), context);
    }

    fn part(&mut self, part: &Part<'_>, context: Context<'_>) {
        let codings = codings(part.content_encoding);
        // A part without a type is plain text (RFC 7578 section 4.4).
        let role = match (part.content_type, part.filename) {
            (Some(kind), _) => Role::Document(Label::from_content_type(kind)),
            (None, Some(_)) => Role::Document(Label::Unknown),
            (None, None) => Role::Field,
        };
        if part.base64
            && let Some(decoded) = base64::decode(part.content.trim_ascii(), context.truncated)
            && self.charge_output(decoded.bytes.len())
        {
            let chain = context.chain.then(Step::Base64);
            self.on_wire(part.content.len(), decoded.bytes.len(), |engine| {
                engine.encoded(&decoded.bytes, context.with_chain(&chain), &codings, role);
            });
        } else {
            self.encoded(part.content, context, &codings, role);
        }
    }
}

/// Returns the length of the first line, including its terminator.
fn line_len(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
}

/// Returns the first line of `bytes`, or all of them if the line is not text.
fn text_line(bytes: &[u8]) -> &[u8] {
    let line = &bytes[..line_len(bytes)];
    match std::str::from_utf8(line) {
        Ok(_) => line,
        Err(_) => bytes,
    }
}
