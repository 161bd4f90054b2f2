//! Recognises where JSON starts and ends without reading its values.

use memchr::memchr2;

use super::{Reader, is_scalar, is_space, scalar_len, skip_space, string_end};
use crate::content::{
    chain::Segment,
    text,
    tree::{Containers, Leaves as _},
};

/// Prefixes that keep JSON from being executed as a script.
const SCRIPT_GUARDS: [&[u8]; 3] = [b")]}'", b"while(1);", b"for(;;);"];

/// Maximum number of bytes in front of a document: `42["event",{…}]`,
/// `callback({…})`.
const MAX_JUNK: usize = 64;

/// Returns the position of an object or array at the start of `input`, after
/// any white space, byte order mark or script guard.
pub(in crate::content) fn start(input: &[u8]) -> Option<usize> {
    let mut at = if input.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    at = skip_space(input, at);
    for guard in SCRIPT_GUARDS {
        if input.get(at..)?.starts_with(guard) {
            at += guard.len();
            at += usize::from(input.get(at) == Some(&b','));
            at = skip_space(input, at);
        }
    }
    opens(input, at).then_some(at)
}

/// Reports whether bytes are a JSON document as a whole, whatever characters its
/// strings have.
pub(in crate::content) fn is_document(input: &[u8], truncated: bool) -> bool {
    start(input) == Some(0)
        && text::as_utf8(input, truncated).is_some()
        && match value_len(input) {
            Some(len) => len > 2 && !has_trailing_data(&input[len..]),
            None => truncated,
        }
}

/// Returns the position of an object or array that follows a few other bytes.
pub(in crate::content) fn start_after_junk(input: &[u8]) -> Option<usize> {
    let head = &input[..input.len().min(MAX_JUNK)];
    let mut from = 0;
    while let Some(found) = memchr2(b'{', b'[', head.get(from..)?) {
        let at = from + found;
        // A string has to follow: `[1]` and `{}` are common in plain text.
        let inside = at + 1 + usize::from(input[at] == b'[' && input.get(at + 1) == Some(&b'{'));
        if input.get(inside) == Some(&b'"') && opens(input, at) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// Reports whether the one or two tokens at `at` open an object or array.
///
/// Deciding by the first tokens alone ensures that more input never changes the
/// decision.
fn opens(input: &[u8], at: usize) -> bool {
    let Some(&bracket) = input.get(at) else {
        return false;
    };
    let inside = skip_space(input, at + 1);
    let Some(&first) = input.get(inside) else {
        return false;
    };
    match (bracket, first) {
        (b'{', b'"') | (b'[', b'{' | b'[' | b'"') => true,
        (b'{', b'}') | (b'[', b']') => {
            let after = input.get(inside + 1);
            after.is_none_or(|&b| is_space(b))
        }
        (b'[', _) => {
            let scalar = scalar_len(&input[inside..]);
            let after = skip_space(input, inside + scalar);
            scalar > 0
                && is_scalar(&input[inside..inside + scalar])
                && matches!(input.get(after), Some(b',' | b']'))
        }
        _ => false,
    }
}

/// Returns the length of the value at the start of `input`, if it is complete.
/// Only brackets are matched; nothing else is validated.
pub(in crate::content) fn value_len(input: &[u8]) -> Option<usize> {
    let mut open = 0usize;
    let mut at = 0;
    while let Some(&byte) = input.get(at) {
        match byte {
            b'"' => {
                let (content, _) = string_end(&input[at + 1..])?;
                at += content + 1;
            }
            b'{' | b'[' => open += 1,
            b'}' | b']' => {
                open = open.checked_sub(1)?;
                if open == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    None
}

/// Reports whether anything significant follows a document, other than white
/// space or the end of a call with the document as its argument.
pub(in crate::content) fn has_trailing_data(rest: &[u8]) -> bool {
    rest.iter().any(|&b| !is_space(b) && !matches!(b, b',' | b';' | b')' | 0))
}

/// Reports whether the bytes are a single quoted string, which may contain
/// another document.
///
/// Quoted strings are common as values of fields, so there the string also
/// needs an escape.
pub(in crate::content) fn is_quoted(input: &[u8], document: bool, truncated: bool) -> bool {
    let Some(content) = input.strip_prefix(b"\"") else {
        return false;
    };
    match string_end(content) {
        Some((len, escapes)) => !has_trailing_data(&content[len + 1..]) && (document || escapes),
        None => truncated && (content.starts_with(b"{\\\"") || content.starts_with(b"[{\\\"")),
    }
}

/// Returns the payload length that the item header of an envelope declares:
/// `{"type":"attachment","length":10}`.
pub(in crate::content) fn declared_length(announcement: &[u8]) -> Option<usize> {
    let mut reader = Reader::new(announcement, false, 0);
    let mut containers = Containers::default();
    while let Some(leaf) = reader.next_leaf(&mut containers) {
        if leaf.scalar && *reader.path().segments() == [Segment::Key("length".into())] {
            return std::str::from_utf8(&leaf.value).ok()?.parse().ok().filter(|&len| len > 0);
        }
    }
    None
}

/// Returns the number of bytes between two documents in a sequence.
pub(in crate::content) fn separator_len(rest: &[u8]) -> usize {
    rest.iter().take_while(|&&b| is_space(b) || b == b',' || b == 0).count()
}
