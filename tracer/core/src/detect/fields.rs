//! What the user searched for, read or did, by the names of the fields that
//! hold it.

use super::lexicon::Lexicon;
use crate::{content::Value, rules::FieldText};

/// The longest text that is words of a person, or the name of an event or item.
const MAX_SHORT: usize = 256;

/// Whether a value says what the name of its field says. Said of the beginning
/// of a text, it is true of all of it.
pub(super) fn is_named(value: &Value<'_>, text: FieldText, lexicon: &Lexicon) -> bool {
    let said = value.text;
    match text {
        FieldText::Any => said.chars().any(char::is_alphanumeric),
        FieldText::Words => said.chars().any(char::is_alphabetic),
        // What these are takes all of the text.
        _ if value.truncated || said.len() > MAX_SHORT => false,
        FieldText::Plain => {
            said.chars().any(char::is_alphanumeric)
                && !said.contains(['{', '}', '<', '>'])
                && !said.contains("://")
        }
        FieldText::Interface => lexicon.is_interface(said),
        FieldText::Item => {
            said.chars().any(char::is_alphanumeric)
                && !said.contains(char::is_whitespace)
                && !matches!(said, "0" | "null" | "true" | "false" | "undefined")
        }
    }
}
