//! The role of a URL, by its place: the names of the field that holds it and of what
//! encloses the field.
//!
//! Structured content names its fields ([`Value::key`]). In text that no decoder takes
//! apart, the name stands before the URL: an attribute (`xmlns="…"`), a parameter (`u=…`),
//! a member (`"url": "…"`), an element (`<loc>…`).

use std::ops::Range;

use foldhash::{HashMap, HashSet};

use super::name::{Name, last_parts};
use crate::{
    content::{Chain, Segment, Step, Value},
    finding::UrlRole,
    rules::{Located, Roles, Text},
};

/// Maximum distance in bytes between a URL and the name before it.
const MAX_BEFORE: usize = 256;

/// The places in the rules, compiled for lookup.
#[derive(Debug, Clone, Default)]
pub(super) struct RoleTable {
    places: Vec<Place>,
    /// Indices in `places` of those that need a name, in their order.
    by_name: HashMap<Name, Vec<usize>>,
    /// The same for names in exactly this spelling.
    by_spelling: HashMap<String, Vec<usize>>,
    /// Indices in `places` of those that need none.
    by_surroundings: Vec<usize>,
    /// The role of a URL that begins so, in lower case.
    by_start: Vec<(String, UrlRole)>,
    report_paths: HashSet<Name>,
    /// Words that count in requests of programs that call themselves browsers.
    browsers_report_paths: HashSet<Name>,
    report_within: HashSet<Name>,
    /// Values in lower case.
    report_values: HashSet<String>,
    no_report_paths: HashSet<Name>,
    /// Media types in lower case.
    no_report_types: HashSet<String>,
    /// Parts of the `User-Agent` of programs that are not browsers.
    no_browsers: Vec<String>,
}

#[derive(Debug, Clone)]
struct Place {
    role: UrlRole,
    within: Vec<Name>,
    /// In lower case, with the dot.
    extensions: HashSet<String>,
    in_reports: bool,
}

/// The role of a URL as its place alone shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PlacedRole {
    pub(super) role: UrlRole,
    /// Set if the role holds only in a request that reports.
    pub(super) in_reports: bool,
    /// Set if the surroundings show that the request reports.
    pub(super) shows_report: bool,
}

impl RoleTable {
    pub(super) fn new(roles: &Roles) -> Self {
        let mut table = Self::default();
        for (at, located) in roles.places.iter().enumerate() {
            let entry = &located.entry;
            let starts = entry.starts.iter();
            table.by_start.extend(starts.map(|start| (start.as_str().to_owned(), entry.role)));
            let extensions = entry.extensions.iter();
            table.places.push(Place {
                role: entry.role,
                within: compiled(&entry.within).collect(),
                extensions: extensions.map(|text| text.as_str().to_ascii_lowercase()).collect(),
                in_reports: entry.in_reports,
            });
            if entry.names.is_empty() && entry.spelled.is_empty() && entry.starts.is_empty() {
                table.by_surroundings.push(at);
            }
            for name in &entry.spelled {
                table.by_spelling.entry(name.as_str().to_owned()).or_default().push(at);
            }
            for name in compiled(&entry.names) {
                table.by_name.entry(name).or_default().push(at);
            }
        }
        for located in &roles.no_reports {
            let types = located.entry.types.iter();
            table.no_report_types.extend(types.map(|it| it.as_str().to_ascii_lowercase()));
            table.no_report_paths.extend(compiled(&located.entry.path));
        }
        for located in &roles.no_browsers {
            let agents = located.entry.agents.iter();
            table.no_browsers.extend(agents.map(|agent| agent.as_str().to_owned()));
        }
        for Located { entry, .. } in &roles.reports {
            let paths = if entry.of_browsers {
                &mut table.browsers_report_paths
            } else {
                &mut table.report_paths
            };
            paths.extend(compiled(&entry.path));
            table.report_within.extend(compiled(&entry.within));
            let values = entry.values.iter();
            table.report_values.extend(values.map(|it| it.as_str().to_ascii_lowercase()));
        }
        table
    }

    /// Reports whether a request's path shows that it reports. `of_browser` is set if the
    /// program calls itself a browser.
    pub(super) fn is_report_path(&self, path: &str, of_browser: bool) -> bool {
        has_word_of(&self.report_paths, path)
            || of_browser && has_word_of(&self.browsers_report_paths, path)
    }

    /// Reports whether a `User-Agent` belongs to a program that is not a browser, even if it
    /// contains a browser engine.
    pub(super) fn is_no_browser(&self, agent: &[u8]) -> bool {
        self.no_browsers.iter().any(|known| memchr::memmem::find(agent, known.as_bytes()).is_some())
    }

    /// Reports whether a request's path has a word of reports that other services have as well.
    pub(super) fn may_be_report_path(&self, path: &str) -> bool {
        has_word_of(&self.browsers_report_paths, path)
    }

    /// Reports whether the value of a field shows that a request reports.
    pub(super) fn is_report_value(&self, value: &Value<'_>) -> bool {
        /// No value in the rules is longer.
        const MAX_LENGTH: usize = 40;
        let text = value.text;
        value.key.is_some()
            && !value.truncated
            && (4..=MAX_LENGTH).contains(&text.len())
            && self.report_values.contains(&*text.to_ascii_lowercase())
    }

    /// Reports whether a request's path shows that its words are not those of a report.
    pub(super) fn is_no_report_path(&self, path: &str) -> bool {
        has_word_of(&self.no_report_paths, path)
    }

    /// Reports whether content of a media type is not that of a report.
    pub(super) fn is_no_report_type(&self, content_type: &str) -> bool {
        let name = content_type.split(';').next().unwrap_or_default().trim();
        self.no_report_types.contains(&name.to_ascii_lowercase())
    }

    /// Returns the role of the URL at `at` in a value's text. `label` is the name of the
    /// value in a list of names and values.
    pub(super) fn role(
        &self,
        value: &Value<'_>,
        at: Range<usize>,
        label: Option<Name>,
        truncated: bool,
    ) -> PlacedRole {
        if let Step::XmlNamespace(_) = value.chain.last() {
            return PlacedRole { role: UrlRole::Reference, in_reports: false, shows_report: false };
        }
        // Keys and certificates are in armour, whatever the field around it is named.
        if value.chain.steps().any(|step| step == Step::Armour) {
            return PlacedRole { role: UrlRole::Unknown, in_reports: false, shows_report: false };
        }
        let url = &value.text[at.clone()];
        if let Some((_, role)) = self.by_start.iter().find(|(start, _)| starts_with(url, start)) {
            return PlacedRole { role: *role, in_reports: false, shows_report: false };
        }
        // The name of the file is at the end.
        let extension = if truncated { None } else { extension(url) };
        let extension = extension.as_deref();
        let enclosing: Vec<Name> = enclosing_names(value.chain).collect();
        let shows_report = enclosing.iter().any(|name| self.report_within.contains(name));
        let (key, is_alone) = key(value, at.start);
        let by_name = self.by_spelling(key, extension, &enclosing).or_else(|| {
            names(key, label.filter(|_| is_alone)).find_map(|(name, before)| {
                let places = self.by_name.get(&name)?;
                self.first_match(places, extension, &enclosing, before)
            })
        });
        let found = match by_name {
            // A name in general use says less than the name of a file, which a cut takes.
            Some(place) if place.in_reports && truncated => None,
            Some(place) if !place.in_reports => Some(place),
            _ => self.first_match(&self.by_surroundings, extension, &enclosing, None).or(by_name),
        };
        let (role, in_reports) =
            found.map_or((UrlRole::Unknown, false), |place| (place.role, place.in_reports));
        PlacedRole { role, in_reports, shows_report }
    }

    /// Returns the place that has the name of a key, or of its last part, in this spelling.
    fn by_spelling(
        &self,
        key: Option<&str>,
        extension: Option<&str>,
        enclosing: &[Name],
    ) -> Option<&Place> {
        let key = key?;
        let last = key.rsplit(['.', '/', '[', ']']).find(|part| !part.is_empty());
        [Some(key), last].into_iter().flatten().find_map(|name| {
            self.first_match(self.by_spelling.get(name)?, extension, enclosing, None)
        })
    }

    fn first_match(
        &self,
        places: &[usize],
        extension: Option<&str>,
        enclosing: &[Name],
        before: Option<Name>,
    ) -> Option<&Place> {
        places.iter().map(|&at| &self.places[at]).find(|place| {
            let is_within = place.within.is_empty()
                || place
                    .within
                    .iter()
                    .any(|name| enclosing.contains(name) || before == Some(*name));
            let has_extension = place.extensions.is_empty()
                || extension.is_some_and(|extension| place.extensions.contains(extension));
            is_within && has_extension
        })
    }
}

/// Returns the key of the place of a URL, and whether the URL is the whole value.
fn key<'v>(value: &Value<'v>, start: usize) -> (Option<&'v str>, bool) {
    let before = &value.text[..start];
    let is_alone = before.trim_start_matches(is_opening).is_empty();
    // A URL inside running text is not what the field is named for.
    let key = if is_alone { value.key } else { name_before(before) };
    let key = key.map(|key| match value.chain.last() {
        Step::Header(_) if is_alone => without_x(key),
        _ => key,
    });
    (key, is_alone)
}

/// Returns the possible names of a place with this key, the most specific first, each with
/// the part of the key before it.
fn names(key: Option<&str>, label: Option<Name>) -> impl Iterator<Item = (Name, Option<Name>)> {
    let whole = key.and_then(Name::new);
    let parts = key.and_then(last_parts);
    let last = parts.and_then(|(last, _)| Name::new(last));
    let outer = parts.and_then(|(_, before)| before).and_then(Name::new);
    // `xmlns:dav`: the prefix is the sender's, the first part is the name.
    let first = key.and_then(|key| key.split(':').next()).and_then(Name::new);
    label.map(|label| (label, None)).into_iter().chain(
        [(whole, None), (last, outer), (first, None)]
            .into_iter()
            .filter_map(|(name, before)| name.map(|name| (name, before))),
    )
}

/// Removes the `X-` of a header field's name.
fn without_x(field: &str) -> &str {
    match field.get(..2) {
        Some(start) if start.eq_ignore_ascii_case("x-") => &field[2..],
        _ => field,
    }
}

/// Reports whether a character may stand between the start of a value and its URL.
fn is_opening(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '(' | '[')
}

/// Returns the name that stands before a URL in text: `name=`, `"name": "`, `<name>`.
fn name_before(before: &str) -> Option<&str> {
    let from = before.floor_char_boundary(before.len().saturating_sub(MAX_BEFORE));
    let text = before[from..].trim_end_matches(is_opening);
    if let Some(element) = text.strip_suffix('>') {
        let tag = &element[element.rfind('<')? + 1..];
        return first_name(tag);
    }
    let text = text.strip_suffix(['=', ':'])?;
    let text = text.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
    let name = text.rsplit(|c: char| !is_name(c)).next()?;
    (!name.is_empty()).then_some(name)
}

fn first_name(tag: &str) -> Option<&str> {
    let name = tag.split(|c: char| !is_name(c)).next()?;
    (!name.is_empty()).then_some(name)
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '$' | '@')
}

/// Returns the names of everything that encloses a value, except its own name.
fn enclosing_names(chain: &Chain<'_>) -> impl Iterator<Item = Name> {
    let mut names = Vec::new();
    for (at, step) in chain.steps().enumerate() {
        let is_own = at == 0;
        match step {
            Step::Json(path)
            | Step::JsonLine(_, path)
            | Step::MessagePack(path)
            | Step::Cbor(path)
            | Step::Plist(path)
            | Step::Xml(path) => {
                let keys = path.segments().iter().filter_map(|segment| match segment {
                    // Keywords of JSON-LD.
                    Segment::Key(key) if key.starts_with('@') => None,
                    Segment::Key(key) => Name::new(key),
                    Segment::Index(_) => None,
                });
                let skipped = usize::from(is_own);
                names.extend(keys.rev().skip(skipped));
            }
            Step::Query(name)
            | Step::Form(name)
            | Step::Multipart(name)
            | Step::Pair(name)
            | Step::Header(name)
            | Step::Cookie(name)
                if !is_own =>
            {
                names.extend(Name::new(name));
            }
            _ => {}
        }
    }
    names.into_iter()
}

/// Reports whether a path has one of these words.
fn has_word_of(known: &HashSet<Name>, path: &str) -> bool {
    let words = path.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter_map(Name::new).any(|word| known.contains(&word))
}

/// Compiles the names in a rule.
fn compiled(texts: &[Text]) -> impl Iterator<Item = Name> {
    texts.iter().filter_map(|text| Name::new(text.as_str()))
}

/// Reports whether a URL begins with `start` behind its scheme. After a full stop, the host has
/// two more labels.
fn starts_with(url: &str, start: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let after = rest.get(..start.len()).filter(|it| it.eq_ignore_ascii_case(start));
    after.is_some_and(|_| {
        let host = rest[start.len()..].split(['/', '?', '#', ':']).next();
        !start.ends_with('.') || host.is_some_and(|host| host.contains('.'))
    })
}

/// Returns the extension of the file that a URL names, with the dot and in lower case.
fn extension(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.split(['?', '#']).next()?;
    // A host has dots as well.
    let (_, path) = path.split_once('/')?;
    let file = path.rsplit('/').next()?;
    file.rfind('.').map(|dot| file[dot..].to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_name_before_a_url() {
        for (before, name) in [
            ("<d:propfind xmlns:d=\"", Some("xmlns:d")),
            ("<urlset><url><loc>", Some("loc")),
            ("<page id='3'>", Some("page")),
            ("{\"page_url\": \"", Some("page_url")),
            ("https://r.example/?u=", Some("u")),
            ("url = '", Some("url")),
            ("see ", None),
            ("", None),
            (">", None),
        ] {
            assert_eq!(name_before(before), name, "{before}");
        }
    }

    #[test]
    fn a_host_has_no_extension() {
        for (url, known) in [
            ("https://a.test/x/photo.JPG?w=3", Some(".jpg")),
            ("a.test/lib/a.min.js", Some(".js")),
            ("https://cdn.js", None),
            ("https://cdn.js/", None),
            ("https://a.test/x?y.jpg", None),
            ("https://a.test/v1.2/x", None),
        ] {
            assert_eq!(extension(url).as_deref(), known, "{url}");
        }
    }
}
