//! XML and HTML, read leniently as a tree of elements.
//!
//! ```text
//! <pv xmlns='…'><page url='https://…'/><title>…</title></pv>
//!      .pv.xmlns        .pv.page.url          .pv.title
//! <dict><key>url</key><string>https://…</string></dict>      .dict.url
//! <param name="url" value="https://…"/>                      .param.url
//! ```
//!
//! Tags need not match, and attributes need no quotes, as in HTML. Names of
//! namespaces, schemas and document types are marked, since they name a format and
//! no page.

use std::borrow::Cow;

use memchr::{memchr, memmem};

use super::{
    chain::{Path, Segment},
    text,
    tree::{Containers, MAX_NESTING},
};

/// The kind of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The value of an attribute, or text.
    Content,
    /// The name of a namespace, of a schema, or of a document type.
    Namespace,
}

/// A value in a document.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item<'d> {
    pub(super) value: Cow<'d, str>,
    pub(super) kind: Kind,
    /// Number of the element that holds the value.
    pub(super) container: u32,
    /// Set if the input ends inside the value.
    pub(super) truncated: bool,
}

/// An open element.
#[derive(Debug)]
struct Level<'d> {
    name: &'d str,
    container: u32,
    /// Number of path segments before the element.
    depth: usize,
    /// The text of a `<key>` or `<name>`, which names the next child.
    next_name: Option<Cow<'d, str>>,
}

/// Reads a document.
#[derive(Debug)]
pub(super) struct Reader<'d> {
    input: &'d str,
    at: usize,
    truncated: bool,
    levels: Vec<Level<'d>>,
    path: Path<'d>,
    /// Number of path segments that belong to open elements.
    depth: usize,
    /// Set between a tag's name and its end.
    in_tag: bool,
    outer: u32,
    too_deep: bool,
}

/// Reports whether text is XML or HTML: it starts with a tag that has attributes,
/// a declaration, or an element that is closed later.
pub(super) fn starts(text: &str) -> bool {
    let text = text.trim_start_matches('\u{feff}').trim_start();
    if ["<?xml", "<!DOCTYPE", "<!doctype", "<!--", "<![CDATA["]
        .iter()
        .any(|it| text.starts_with(it))
    {
        return true;
    }
    let Some(tag) = text.strip_prefix('<') else {
        return false;
    };
    let name = &tag[..name_len(tag)];
    let rest = &tag[name.len()..];
    let after = rest.trim_start();
    if name.is_empty() {
        return false;
    }
    if let Some(inside) = rest.strip_prefix('>') {
        return inside.trim_start().starts_with('<') || inside.contains("</");
    }
    after.starts_with("/>")
        || after.len() < rest.len() && {
            let attribute = &after[name_len(after)..];
            attribute.len() < after.len() && attribute.trim_start().starts_with('=')
        }
}

/// Returns the length of the name at the start of `text`.
fn name_len(text: &str) -> usize {
    let is_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | ':' | '-' | '.' | '@' | '$');
    if !text.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | ':' | '@' | '$')) {
        return 0;
    }
    text.find(|c| !is_name(c)).unwrap_or(text.len())
}

/// Removes the prefix of a namespace.
fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

/// Reports whether an attribute names a namespace or a schema.
fn is_namespace(name: &str) -> bool {
    name == "xmlns"
        || name.starts_with("xmlns:")
        || matches!(local(name), "schemaLocation" | "noNamespaceSchemaLocation")
}

impl<'d> Reader<'d> {
    /// Creates a reader. `outer` is the number of the container that holds the
    /// document.
    pub(super) fn new(input: &'d str, truncated: bool, outer: u32) -> Self {
        Self {
            input,
            at: 0,
            truncated,
            levels: Vec::new(),
            path: Path::default(),
            depth: 0,
            in_tag: false,
            outer,
            too_deep: false,
        }
    }

    /// Returns the path of the most recent value.
    pub(super) fn path(&self) -> &Path<'d> {
        &self.path
    }

    /// Reports whether elements were nested too deeply, so that their names are not distinguished.
    pub(super) fn is_too_deep(&self) -> bool {
        self.too_deep
    }

    fn rest(&self) -> &'d str {
        self.input.get(self.at..).unwrap_or_default()
    }

    /// Returns the next value.
    pub(super) fn next(&mut self, containers: &mut Containers) -> Option<Item<'d>> {
        loop {
            self.path.0.truncate(self.depth);
            let rest = self.rest();
            let is_cut_mark =
                self.truncated && ["<!--", "<![CDATA["].iter().any(|mark| mark.starts_with(rest));
            if rest.is_empty() || is_cut_mark {
                return None;
            }
            let item = if self.in_tag { self.attribute() } else { self.content(containers) };
            if item.as_ref().is_some_and(|item| !item.value.is_empty()) {
                return item;
            }
        }
    }

    /// Takes the text before `end`, and skips `end`. Returns whether the input ends
    /// first.
    fn take_until(&mut self, end: &str) -> (&'d str, bool) {
        let rest = self.rest();
        match memmem::find(rest.as_bytes(), end.as_bytes()) {
            Some(at) => {
                self.at += at + end.len();
                (&rest[..at], false)
            }
            None => {
                self.at = self.input.len();
                (rest, true)
            }
        }
    }

    /// Reads what follows a tag: text, another tag, a comment or a section.
    fn content(&mut self, containers: &mut Containers) -> Option<Item<'d>> {
        let rest = self.rest();
        if rest.starts_with("<!--") {
            self.at += 4;
            let (comment, cut) = self.take_until("-->");
            return Some(self.item(Cow::Borrowed(comment.trim()), Kind::Content, cut));
        }
        if rest.starts_with("<![CDATA[") {
            self.at += 9;
            let (data, cut) = self.take_until("]]>");
            return self.text(Cow::Borrowed(data.trim()), cut);
        }
        if rest.starts_with("<!") {
            let (declaration, cut) = self.take_until(">");
            return Some(self.item(Cow::Borrowed(declaration), Kind::Namespace, cut));
        }
        if rest.starts_with("<?") {
            let (instruction, cut) = self.take_until("?>");
            let is_data = !instruction.starts_with("<?xml ") && instruction.contains("://");
            let item = self.item(Cow::Borrowed(instruction), Kind::Namespace, cut);
            return is_data.then_some(item);
        }
        if let Some(end) = rest.strip_prefix("</") {
            let name = &end[..name_len(end)];
            self.take_until(">");
            self.close(name);
            return None;
        }
        if let Some(tag) = rest.strip_prefix('<') {
            let len = name_len(tag);
            if len > 0 {
                self.at += 1 + len;
                self.open(&tag[..len], containers);
                return None;
            }
        }
        self.plain()
    }

    /// Reads text up to the next tag.
    fn plain(&mut self) -> Option<Item<'d>> {
        let rest = self.rest();
        let is_raw = self.levels.last().is_some_and(|level| {
            ["script", "style"].iter().any(|name| level.name.eq_ignore_ascii_case(name))
        });
        let is_tag = |at: usize| {
            let after = rest[at + 1..].chars().next();
            match after {
                Some('/') => true,
                Some('!' | '?') => !is_raw,
                Some(c) => !is_raw && (c.is_alphabetic() || matches!(c, '_' | ':')),
                None => false,
            }
        };
        let len = memchr::memchr_iter(b'<', rest.as_bytes())
            .find(|&at| at > 0 && is_tag(at))
            .unwrap_or(rest.len());
        self.at += len;
        let cut = self.at == self.input.len();
        let raw = rest[..len].trim();
        let raw = if cut && self.truncated {
            text::whole_entities(raw).trim_end_matches('<')
        } else {
            raw
        };
        let value = text::entities_decode(raw).map_or(Cow::Borrowed(raw), Cow::Owned);
        self.text(value, cut)
    }

    /// Returns the text of an element, unless it names the next one.
    fn text(&mut self, value: Cow<'d, str>, cut: bool) -> Option<Item<'d>> {
        let name = self.levels.last().map_or("", |level| local(level.name));
        let is_name = ["key", "name"].iter().any(|it| name.eq_ignore_ascii_case(it));
        if is_name && !value.is_empty() && !cut {
            let parents = self.levels.len().checked_sub(2).and_then(|at| self.levels.get_mut(at));
            if let Some(parent) = parents {
                parent.next_name = Some(value.clone());
                if local(parent.name).eq_ignore_ascii_case("dict") && !value.contains("://") {
                    return None;
                }
            }
        }
        Some(self.item(value, Kind::Content, cut))
    }

    /// Returns an item. Text belongs to the element around the one that holds it, so
    /// that `<url>…</url><id>…</id>` are together.
    fn item(&self, value: Cow<'d, str>, kind: Kind, cut: bool) -> Item<'d> {
        let parent = self.levels.len().checked_sub(2).and_then(|at| self.levels.get(at));
        let container = parent.map_or(self.outer, |parent| parent.container);
        Item { value, kind, container, truncated: cut && self.truncated }
    }

    fn open(&mut self, name: &'d str, containers: &mut Containers) {
        self.in_tag = true;
        let depth = self.depth;
        if self.levels.len() == MAX_NESTING {
            self.too_deep = true;
            return;
        }
        let named = self.levels.last_mut().and_then(|parent| {
            let is_value = local(name).eq_ignore_ascii_case("value")
                || local(parent.name).eq_ignore_ascii_case("dict");
            if is_value && !local(name).eq_ignore_ascii_case("key") {
                parent.next_name.take()
            } else {
                None
            }
        });
        let segment = named.unwrap_or(Cow::Borrowed(local(name)));
        self.path.0.push(Segment::Key(segment));
        self.depth += 1;
        self.levels.push(Level { name, container: containers.next(), depth, next_name: None });
    }

    /// Closes the innermost element with this name and those inside it.
    fn close(&mut self, name: &str) {
        let Some(at) = self.levels.iter().rposition(|level| level.name.eq_ignore_ascii_case(name))
        else {
            return;
        };
        if let Some(level) = self.levels.drain(at..).next() {
            self.depth = level.depth;
        }
    }

    /// Reads an attribute, or the end of a tag.
    fn attribute(&mut self) -> Option<Item<'d>> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        let rest = self.rest();
        if rest.starts_with('>') {
            self.at += 1;
            self.in_tag = false;
            return None;
        }
        if rest.starts_with("/>") {
            self.at += 2;
            self.in_tag = false;
            if let Some(level) = self.levels.pop() {
                self.depth = level.depth;
            }
            return None;
        }
        if rest.starts_with('<') {
            // A tag without an end.
            self.in_tag = false;
            return None;
        }
        let len = name_len(rest);
        if len == 0 {
            self.at += rest.chars().next().map_or(1, char::len_utf8);
            return None;
        }
        let name = &rest[..len];
        self.at += len;
        let after = self.rest();
        let value = after.trim_start().strip_prefix('=')?;
        let value = value.trim_start();
        self.at = self.input.len() - value.len();
        let (raw, cut) = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => {
                self.at += 1;
                self.take_until(if quote == '"' { "\"" } else { "'" })
            }
            _ => {
                let end = value.find(|c: char| c.is_whitespace() || c == '>');
                let len = end.unwrap_or(value.len());
                // The slash that ends a tag.
                let len = if value[len..].starts_with('>') && value[..len].ends_with('/') {
                    len - 1
                } else {
                    len
                };
                self.at += len;
                (&value[..len], end.is_none())
            }
        };
        let raw = if cut && self.truncated { text::whole_entities(raw) } else { raw };
        let value = text::entities_decode(raw).map_or(Cow::Borrowed(raw), Cow::Owned);
        Some(self.attribute_item(name, value, cut))
    }

    fn attribute_item(&mut self, name: &'d str, value: Cow<'d, str>, cut: bool) -> Item<'d> {
        let is = |names: &[&str]| names.iter().any(|it| local(name).eq_ignore_ascii_case(it));
        let named = self.depth > self.levels.last().map_or(0, |level| level.depth + 1);
        let namespace = is_namespace(name);
        if !namespace
            && is(&["name", "key", "property"])
            && !named
            && !cut
            && !self.levels.is_empty()
        {
            // The attribute names the value of the element.
            self.path.0.push(Segment::Key(value.clone()));
            self.depth += 1;
        } else if !(named && is(&["value", "content"])) {
            self.path.0.push(Segment::Key(Cow::Borrowed(if namespace {
                name
            } else {
                local(name)
            })));
        }
        let kind = if namespace { Kind::Namespace } else { Kind::Content };
        let container = self.levels.last().map_or(self.outer, |level| level.container);
        Item { value, kind, container, truncated: cut && self.truncated }
    }
}

/// Reports whether the input has a `<` at all, which is faster than [`starts`].
pub(super) fn may_start(bytes: &[u8]) -> bool {
    memchr(b'<', &bytes[..bytes.len().min(64)]).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str, truncated: bool) -> Vec<String> {
        let mut containers = Containers::default();
        let mut reader = Reader::new(input, truncated, 0);
        let mut items = Vec::new();
        while let Some(item) = reader.next(&mut containers) {
            let mark = if item.kind == Kind::Namespace { "ns" } else { "" };
            let cut = if item.truncated { "…" } else { "" };
            items.push(format!("{mark}{} = {}{cut}", reader.path(), item.value));
        }
        items
    }

    #[test]
    fn reads_attributes_text_and_sections() {
        let input = "<?xml version='1.0'?><!DOCTYPE pv SYSTEM \"http://a.test/pv.dtd\">\
            <p:pv xmlns:p='http://s.test/1'><page url='https://a.test/?a=1&amp;b=2' n=1 />\
            <title>a &lt; b</title><raw><![CDATA[<x>&amp;]]></raw><!-- note --></p:pv>";
        assert_eq!(
            read(input, false),
            [
                "ns = <!DOCTYPE pv SYSTEM \"http://a.test/pv.dtd\"",
                "ns.pv.xmlns:p = http://s.test/1",
                ".pv.page.url = https://a.test/?a=1&b=2",
                ".pv.page.n = 1",
                ".pv.title = a < b",
                ".pv.raw = <x>&amp;",
                ".pv = note",
            ]
        );
    }

    #[test]
    fn elements_and_attributes_can_name_values() {
        for (input, expected) in [
            (
                "<plist><dict><key>url</key><string>u</string><key>n</key><integer>1</integer></dict></plist>",
                &[".plist.dict.url = u", ".plist.dict.n = 1"][..],
            ),
            (
                "<member><name>url</name><value><string>u</string></value></member>",
                &[".member.name = url", ".member.url.string = u"],
            ),
            (
                "<map><string name=\"url\">u</string></map>",
                &[".map.string.url = url", ".map.string.url = u"],
            ),
            ("<param name=\"url\" value=\"u\"/>", &[".param.url = url", ".param.url = u"]),
        ] {
            assert_eq!(read(input, false), expected);
        }
    }

    #[test]
    fn markup_without_rules_is_read() {
        let input = "<p class=x>one<br>two <a href=https://a.test/x>b</a> 1 < 2</p>\
            <script>if (a<b) u = '<i>';</script></nothing><img src='s'";
        assert_eq!(
            read(input, false),
            [
                ".p.class = x",
                ".p = one",
                ".p.br = two",
                ".p.br.a.href = https://a.test/x",
                ".p.br.a = b",
                ".p.br = 1 < 2",
                ".script = if (a<b) u = '<i>';",
                ".img.src = s",
            ]
        );
    }

    #[test]
    fn a_prefix_yields_a_prefix() {
        let input = "<a b='https://a.test/&amp;x'><c>text &#x41;</c><d e=\"f\"/>more</a>";
        let whole = read(input, false);
        for len in 0..input.len() {
            for (at, line) in read(&input[..len], true).iter().enumerate() {
                match line.strip_suffix('…') {
                    Some(cut) => assert!(whole[at].starts_with(cut), "{len}: {cut}"),
                    None => assert_eq!(*line, whole[at], "{len}"),
                }
            }
        }
    }

    #[test]
    fn distinguishes_markup_from_text() {
        for markup in
            ["<a b=c", "<a b = 'c'>", "<a><b>", "<a>x</a>", "<a/>", "<?xml", "\u{feff} <!-- "]
        {
            assert!(starts(markup), "{markup}");
        }
        for other in ["<unknown>", "<not set>", "< b", "a <b>", "<3", "<<>>", "<a", "<a b"] {
            assert!(!starts(other), "{other}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let input = "<a>".repeat(1000) + "x";
        let mut reader = Reader::new(&input, false, 0);
        assert!(reader.next(&mut Containers::default()).is_some());
        assert!(reader.is_too_deep());
        assert_eq!(reader.path().segments().len(), MAX_NESTING);
    }
}
