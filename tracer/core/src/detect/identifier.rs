//! Identifiers: values that distinguish one installation or user from others.
//! They are recognised by the name of their field or by their form.

use super::shape::{self, Shape, is_random};
use crate::{
    content::{Step, Value},
    rules::IdentifierForm,
};

/// Placeholders for a missing value, in lower case.
const PLACEHOLDERS: [&str; 23] = [
    "null",
    "undefined",
    "none",
    "unknown",
    "anonymous",
    "guest",
    "true",
    "false",
    "default",
    "notset",
    "not_set",
    "not set",
    "(not set)",
    "(none)",
    "empty",
    "unset",
    "n/a",
    "optout",
    "opt-out",
    "unavailable",
    // Application Insights gives these to every device of a kind.
    "browser",
    "desktop",
    "mobile",
];

/// Maximum number of UUIDs in one run of text in binary data.
const MAX_IN_RUN: usize = 16;

/// Maximum length of a list of identifiers in an unlisted field. Longer texts are
/// content.
const MAX_LIST_LEN: usize = 256;

/// Maximum length of a scope before an identifier, as in `c:7f3c2a10-…`. It is below
/// [`MIN_LEN`], so that a truncated scope is never a finding.
const MAX_SCOPE: usize = 3;

/// Minimum length of an identifier. Shorter values are counters and indexes.
const MIN_LEN: usize = 4;

/// Returns the identifiers in the value of a field that the rules list: the value, or
/// the parts of it that have the form of one.
pub(super) fn in_listed_field<'v>(value: &Value<'v>, form: IdentifierForm) -> Vec<&'v str> {
    let Value { text, truncated, .. } = *value;
    if let Some((scope, rest)) = text.split_once(':')
        && scope.len() <= MAX_SCOPE
    {
        if truncated {
            return Vec::new();
        }
        if Shape::detect(rest).is_some() {
            return vec![rest];
        }
    }
    // The version and the depth of the domain precede the number: `GA1.2.1234567890.1699999999`.
    if text.starts_with("GA1.") {
        return shape::parts(text, truncated).into_iter().map(|(part, _)| part).collect();
    }
    let listed = shape::listed(text, truncated);
    let parts = match form {
        _ if !listed.is_empty() => listed,
        IdentifierForm::Any => {
            return is_value(text, truncated).then_some(text).into_iter().collect();
        }
        // The form of a truncated text is unknown.
        IdentifierForm::Random if truncated => return Vec::new(),
        IdentifierForm::Random if Shape::detect_in_id_field(text).is_some() || is_random(text) => {
            return vec![text];
        }
        IdentifierForm::Random => shape::parts(text, truncated),
    };
    parts.into_iter().map(|(part, _)| part).collect()
}

/// Reports whether a text has the form of an analytics cookie's value.
pub(super) fn may_be_cookie(text: &str) -> bool {
    const MIN: usize = 8;
    let is_usual = |b: u8| b.is_ascii_alphanumeric() || b".-_=:|%+/,*!~&".contains(&b);
    text.len() >= MIN && text.bytes().all(is_usual)
}

/// Returns the identifiers in the value of an unlisted field, with their classes, if
/// it has the form of one, or is a list of them.
pub(super) fn by_form<'v>(value: &Value<'v>) -> Vec<(&'v str, &'static str)> {
    let Value { text, truncated, .. } = *value;
    // The form of a truncated text is unknown, and so is that of a document around it.
    if truncated {
        return Vec::new();
    }
    if matches!(value.chain.last(), Step::Text | Step::Fragment) {
        let uuids = shape::uuids(text).take(MAX_IN_RUN);
        return uuids.map(|uuid| (uuid, Shape::Uuid.class())).collect();
    }
    let is_id = value.key.is_some_and(ends_in_id);
    let shape = if is_id { Shape::detect_in_id_field(text) } else { Shape::detect(text) };
    let found = match shape {
        Some(shape) => vec![(text, shape)],
        None if text.len() <= MAX_LIST_LEN && !text.contains(char::is_whitespace) => {
            // Names of files begin with hexadecimal digits, too.
            let listed = shape::listed(text, false).into_iter();
            let listed: Vec<_> =
                listed.filter(|(_, shape)| is_id || *shape == Shape::Uuid).collect();
            // In a path, a UUID names what is at it.
            if listed.is_empty() && !text.contains('/') {
                shape::uuids(text).take(MAX_IN_RUN).map(|uuid| (uuid, Shape::Uuid)).collect()
            } else {
                listed
            }
        }
        None => Vec::new(),
    };
    let is_cookie = matches!(value.chain.last(), Step::Cookie(_));
    let class = |shape: Shape| if is_cookie { "cookie" } else { shape.class() };
    found.into_iter().map(|(part, shape)| (part, class(shape))).collect()
}

/// Reason for [`Lifetime::Unknown`](crate::finding::Lifetime::Unknown).
pub(super) const UNKNOWN_LIFETIME: &str =
    "only its form shows that it is an identifier; no name says how long it lasts";

/// Reports whether a field's name ends in "id".
pub(super) fn ends_in_id(key: &str) -> bool {
    let tail = key.as_bytes();
    tail.len().checked_sub(2).is_some_and(|at| tail[at..].eq_ignore_ascii_case(b"id"))
}

/// Reports whether a text is a value rather than a placeholder. What holds for
/// a truncated text also holds for the whole text.
pub(super) fn is_value(text: &str, truncated: bool) -> bool {
    let Some(first) = text.chars().next() else {
        return false;
    };
    if text.len() < MIN_LEN || !has_two_distinct_chars(text) {
        return false;
    }
    if matches!(first, '{' | '[' | '<' | '"') {
        return !truncated && Shape::detect(text).is_some();
    }
    !PLACEHOLDERS.iter().any(|placeholder| {
        let rest = placeholder.get(text.len()..);
        rest.is_some_and(|rest| {
            (truncated || rest.is_empty()) && placeholder[..text.len()].eq_ignore_ascii_case(text)
        })
    })
}

/// Reports whether a text contains two different letters or digits. Repetitions
/// of one character, such as zeros and dashes, are a placeholder in any format.
fn has_two_distinct_chars(text: &str) -> bool {
    let mut chars = text.chars().filter(|c| c.is_alphanumeric());
    chars.next().is_some_and(|first| chars.any(|other| other != first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_placeholders() {
        for text in
            ["7f3c", "user-42", "1000", "{7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11}", "nullable"]
        {
            assert!(is_value(text, false), "{text}");
        }
        for text in [
            "",
            "1",
            "null",
            "NULL",
            "Undefined",
            "00000000-0000-0000-0000-000000000000",
            "{\"a\":1}",
        ] {
            assert!(!is_value(text, false), "{text}");
        }
    }

    #[test]
    fn a_value_that_is_accepted_truncated_is_accepted_whole() {
        let texts = PLACEHOLDERS.iter().copied().chain([
            "nullable",
            "anonymous-7",
            "00000000-0000-0000-0000-000000000001",
            "7f3c2a10-9b1e",
            "{7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11}",
        ]);
        for text in texts {
            for end in 0..text.len() {
                assert!(!is_value(&text[..end], true) || is_value(text, false), "{text} to {end}");
            }
        }
        assert!(is_value("anonymous-", true));
    }

    #[test]
    fn recognises_names_that_end_in_id() {
        for (key, expected) in
            [("fooId", true), ("FOO_ID", true), ("id", true), ("idea", false), ("i", false)]
        {
            assert_eq!(ends_in_id(key), expected, "{key}");
        }
    }
}
