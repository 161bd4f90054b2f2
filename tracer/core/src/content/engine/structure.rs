//! Formats that are text: JSON, forms and multipart bodies.

use super::{Engine, Label, Place, Role};
use crate::content::{
    base64,
    chain::{Chain, ROOT, Step},
    form, json,
    multipart::{self, Part},
    tree::{End, Leaves as _, is_address},
};

impl Engine<'_> {
    /// Reads JSON that starts with `bytes`: one document or several. Answers
    /// whether there was any.
    pub(super) fn json(&mut self, bytes: &[u8], place: Place<'_>) -> bool {
        if json::value_len(bytes).is_some_and(|len| json::more(&bytes[len..])) {
            self.json_lines(bytes, place);
            return true;
        }
        let damaged = self.report.damaged;
        let mut reader = json::Reader::new(bytes, place.truncated, place.container);
        let values = self.tree(&mut reader, place, |path| Step::Json(path));
        if values == 0 && reader.end() == End::Malformed {
            self.report.damaged = damaged;
            return false;
        }
        self.after_json(&reader, bytes, place);
        true
    }

    /// Reads documents one after another: JSON lines, concatenated documents,
    /// RFC 7464 sequences, and envelopes, where lines of JSON announce items
    /// that need not be JSON.
    fn json_lines(&mut self, bytes: &[u8], place: Place<'_>) {
        let mut rest = bytes;
        let mut announcement: &[u8] = &[];
        for line in 0.. {
            rest = &rest[json::separator_len(rest)..];
            if rest.is_empty() || self.exhausted() {
                break;
            }
            let here = Place { container: self.container(), ..place };
            if json::start(rest) == Some(0) {
                let mut reader = json::Reader::new(rest, place.truncated, here.container);
                self.tree(&mut reader, here, |path| Step::JsonLine(line, path));
                let used = reader.position().max(1);
                announcement = &rest[..used];
                let end = match reader.end() {
                    End::Complete => used,
                    // Structure begins again with the next line.
                    _ => used + line_len(&rest[used..]),
                };
                self.after_json(&reader, &rest[..end], here);
                rest = &rest[end..];
            } else {
                let item = match json::declared_length(announcement) {
                    Some(len) => &rest[..len.min(rest.len())],
                    None => text_line(rest),
                };
                announcement = &[];
                rest = &rest[item.len()..];
                let chain = place.chain.then(Step::JsonLine(line, &ROOT));
                let truncated = place.truncated && rest.is_empty();
                let here = Place { truncated, ..here.at(&chain) };
                self.look(item.trim_ascii_end(), here, Role::Document(Label::Unknown));
            }
        }
    }

    /// Reads what is left of a document behind an error as plain text.
    fn after_json(&mut self, reader: &json::Reader<'_>, bytes: &[u8], place: Place<'_>) {
        if matches!(reader.end(), End::Malformed | End::TooDeep) && self.deeper(place.chain) {
            let rest = bytes.get(reader.position()..).unwrap_or_default();
            self.runs(rest, place, Step::Fragment);
        }
    }

    /// Reads a form that stands at `place`.
    pub(super) fn form_at(&mut self, bytes: &[u8], place: Place<'_>) {
        let container = self.container();
        let chain = Some(place.chain);
        self.form(bytes, chain, container, place.truncated, |name| Step::Form(name));
    }

    /// Reads a form or a query; `step` makes the step to a parameter.
    pub(in crate::content) fn form(
        &mut self,
        bytes: &[u8],
        outer: Option<&Chain<'_>>,
        mut container: u32,
        truncated: bool,
        step: impl for<'n> Fn(&'n str) -> Step<'n>,
    ) {
        let bytes = bytes.strip_prefix(b"?").unwrap_or(bytes);
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
            self.look(&value, Place { chain: &chain, key, container, truncated }, Role::Field);
        }
    }

    /// Hands out a name that is an address: it is data, whatever it names.
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
        self.emit(name, Place { chain: &chain, key: None, container, truncated: false });
    }

    /// Reads the parts of a multipart body.
    pub(super) fn multipart(&mut self, bytes: &[u8], boundary: &[u8], place: Place<'_>) {
        let container = self.container();
        for (i, part) in multipart::parts(bytes, boundary).enumerate() {
            if self.exhausted() {
                break;
            }
            let name = match part.name.or(part.filename) {
                Some(name) => String::from_utf8_lossy(name),
                None => i.to_string().into(),
            };
            let chain = place.chain.then(Step::Multipart(&name));
            // A cut part is cut by the end of what is known.
            let here = Place { chain: &chain, key: Some(&name), container, truncated: part.cut };
            self.part(&part, here);
        }
    }

    fn part(&mut self, part: &Part<'_>, place: Place<'_>) {
        use crate::content::request::{codings, label};
        let codings = codings(part.content_encoding);
        // A part without a type is plain text (RFC 7578 section 4.4).
        let role = match (part.content_type, part.filename) {
            (Some(kind), _) => Role::Document(label(kind)),
            (None, Some(_)) => Role::Document(Label::Unknown),
            (None, None) => Role::Field,
        };
        if part.base64
            && let Some(decoded) = base64::decode(part.content.trim_ascii(), place.truncated)
            && self.produce(decoded.bytes.len())
        {
            let chain = place.chain.then(Step::Base64);
            self.encoded(&decoded.bytes, place.at(&chain), &codings, role);
        } else {
            self.encoded(part.content, place, &codings, role);
        }
    }
}

/// The length of the line that starts `bytes`, with its end.
fn line_len(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1)
}

/// The line that starts `bytes`; all of them where they are not lines of text.
fn text_line(bytes: &[u8]) -> &[u8] {
    let line = &bytes[..line_len(bytes)];
    match std::str::from_utf8(line) {
        Ok(_) => line,
        Err(_) => bytes,
    }
}
