//! Search terms, content and actions of the user, recognised by field names.

use super::lexicon::Lexicon;
use crate::{content::Value, rules::FieldText};

/// Maximum length of a short text, and of the name of an event or item, in bytes.
const MAX_SHORT_LEN: usize = 256;

/// Reports whether a value is plausible for the name of its field. What holds
/// for a truncated text also holds for the whole text.
pub(super) fn matches_form(value: &Value<'_>, expected: FieldText, lexicon: &Lexicon) -> bool {
    let text = value.text;
    match expected {
        _ if is_nothing(text) => false,
        FieldText::Any => text.chars().any(char::is_alphanumeric),
        FieldText::Words => text.chars().any(char::is_alphabetic),
        // The remaining forms can only be checked on a complete text.
        _ if value.truncated || text.len() > MAX_SHORT_LEN => false,
        FieldText::Plain => {
            text.chars().any(char::is_alphanumeric)
                && !text.contains(['{', '}', '<', '>'])
                && !text.contains("://")
                && !is_query_string(text)
                && !is_code(text)
        }
        FieldText::Interface => lexicon.is_interface(text),
        FieldText::Item => {
            text.chars().any(char::is_alphanumeric)
                && !text.contains(char::is_whitespace)
                && !matches!(text, "0" | "true" | "false")
        }
    }
}

/// Reports whether a text is how a programming language writes that there is no value.
fn is_nothing(text: &str) -> bool {
    matches!(text, "null" | "NULL" | "None" | "nil" | "undefined" | "NaN" | "(null)" | "<null>")
}

/// Reports whether a text is a whole query string: `a=1&b=2`.
fn is_query_string(text: &str) -> bool {
    let mut pairs = text.trim_start_matches('?').split('&');
    text.contains('&')
        && pairs.all(|pair| {
            pair.split_once('=').is_some_and(|(name, _)| !name.is_empty() && !name.contains(' '))
        })
}

/// Reports whether a text is written for a machine: a statement of SQL, a comparison, a call.
fn is_code(text: &str) -> bool {
    /// Words with which a statement begins, and one that it has later.
    const STATEMENTS: [(&str, &str); 5] = [
        ("select ", " from "),
        ("insert ", " into "),
        ("update ", " set "),
        ("delete ", " from "),
        ("with ", " select "),
    ];
    const MARKS: [&str; 8] = ["==", "!=", "=~", "::", "->", "&&", "||", "()"];
    let lower = text.to_ascii_lowercase();
    // `insert into` shares its space.
    let is_statement = |(first, later): &(&str, &str)| {
        lower.starts_with(first) && lower[first.len() - 1..].contains(later)
    };
    MARKS.iter().any(|mark| text.contains(mark)) || STATEMENTS.iter().any(is_statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_is_no_search() {
        for text in [
            "SELECT * FROM t WHERE a=1",
            "insert into t values (1)",
            "UPDATE t SET a = 1",
            "a == 1",
            "up() > 0",
            "job=~web",
        ] {
            assert!(is_code(text), "{text}");
        }
        for text in ["update from germany", "select committee", "c++", "e=mc2", "with love"] {
            assert!(!is_code(text), "{text}");
        }
    }
}
