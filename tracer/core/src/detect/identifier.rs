//! Identifiers: values that tell one installation or user from others, by the
//! name of their field or by their form.

use super::shape::{Shape, is_random};
use crate::finding::Lifetime;
use crate::{
    content::{Step, Value},
    rules::IdentifierForm,
};

/// What fields hold that have nothing to say, in lower case.
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

/// Shorter values are numbers of things, not of people.
const MIN_LEN: usize = 4;

/// An identifier's class and life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found<'l> {
    pub(super) class: &'l str,
    pub(super) lifetime: Lifetime,
}

/// Whether the value of a field that the rules know is an identifier.
pub(super) fn is_named(value: &Value<'_>, form: IdentifierForm) -> bool {
    match form {
        IdentifierForm::Any => is_value(value.text, value.truncated),
        // Of a text that goes on, nobody knows what it looks like.
        IdentifierForm::Random => {
            !value.truncated && (Shape::of_id(value.text).is_some() || is_random(value.text))
        }
    }
}

/// The identifier that a value in a field of no known name is by its form.
pub(super) fn by_form(value: &Value<'_>) -> Option<Found<'static>> {
    if value.truncated {
        return None;
    }
    let is_id = value.key.is_some_and(ends_in_id);
    let shape = if is_id { Shape::of_id(value.text) } else { Shape::of(value.text) }?;
    let is_cookie = matches!(value.chain.last(), Step::Cookie(_));
    let class = if is_cookie { "cookie" } else { shape.class() };
    Some(Found { class, lifetime: Lifetime::Unknown })
}

/// Whether a field's name says "identifier".
pub(super) fn ends_in_id(key: &str) -> bool {
    let tail = key.as_bytes();
    tail.len().checked_sub(2).is_some_and(|at| tail[at..].eq_ignore_ascii_case(b"id"))
}

/// Whether a text is a value at all and no placeholder. Said of the beginning
/// of a text, it is true of all of it.
pub(super) fn is_value(text: &str, truncated: bool) -> bool {
    let Some(first) = text.chars().next() else {
        return false;
    };
    if text.len() < MIN_LEN || !has_two_kinds(text) {
        return false;
    }
    if matches!(first, '{' | '[' | '<' | '"') {
        return !truncated && Shape::of(text).is_some();
    }
    !PLACEHOLDERS.iter().any(|placeholder| {
        let rest = placeholder.get(text.len()..);
        rest.is_some_and(|rest| {
            (truncated || rest.is_empty()) && placeholder[..text.len()].eq_ignore_ascii_case(text)
        })
    })
}

/// Whether two different letters or digits are in it: zeros and dashes are a
/// placeholder in any format.
fn has_two_kinds(text: &str) -> bool {
    let mut kinds = text.chars().filter(|c| c.is_alphanumeric());
    kinds.next().is_some_and(|first| kinds.any(|other| other != first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_no_values() {
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
    fn what_is_said_of_a_beginning_is_true_of_all() {
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
    fn names_of_identifiers_end_alike() {
        for (key, is) in
            [("fooId", true), ("FOO_ID", true), ("id", true), ("idea", false), ("i", false)]
        {
            assert_eq!(ends_in_id(key), is, "{key}");
        }
    }
}
