//! Identifiers: values that distinguish one installation or user from others.
//! They are recognised by the name of their field or by their form.

use super::shape::{Shape, is_random};
use crate::finding::Lifetime;
use crate::{
    content::{Step, Value},
    rules::IdentifierForm,
};

/// Placeholders for a missing value, in lower case.
const PLACEHOLDERS: [&str; 20] = [
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
];

/// Minimum length of an identifier. Shorter values are counters and indexes.
const MIN_LEN: usize = 4;

/// Class and lifetime of an identifier that was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct IdentifierMatch<'l> {
    pub(super) class: &'l str,
    pub(super) lifetime: Lifetime,
}

/// Reports whether the value of a field that the rules list is an identifier.
pub(super) fn matches_form(value: &Value<'_>, form: IdentifierForm) -> bool {
    match form {
        IdentifierForm::Any => is_value(value.text, value.truncated),
        // The form of a truncated text is unknown.
        IdentifierForm::Random => {
            !value.truncated
                && (Shape::detect_in_id_field(value.text).is_some() || is_random(value.text))
        }
    }
}

/// Recognises an identifier in an unlisted field by its form.
pub(super) fn by_form(value: &Value<'_>) -> Option<IdentifierMatch<'static>> {
    if value.truncated {
        return None;
    }
    let is_id = value.key.is_some_and(ends_in_id);
    let shape =
        if is_id { Shape::detect_in_id_field(value.text) } else { Shape::detect(value.text) }?;
    let is_cookie = matches!(value.chain.last(), Step::Cookie(_));
    let class = if is_cookie { "cookie" } else { shape.class() };
    Some(IdentifierMatch { class, lifetime: Lifetime::Unknown })
}

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
