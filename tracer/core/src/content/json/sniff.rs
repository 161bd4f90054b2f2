//! Where JSON starts, where it ends and what goes with it, told without
//! reading its values.

use memchr::memchr2;

use super::{Reader, is_scalar, is_space, scalar_len, skip_space, string_end};
use crate::content::{
    chain::Segment,
    tree::{Containers, Leaves as _},
};

/// Byte sequences that stand before JSON to stop it from running as a script.
const SCRIPT_GUARDS: [&[u8]; 3] = [b")]}'", b"while(1);", b"for(;;);"];

/// How far into a text a document is looked for behind other bytes:
/// `42["event",{…}]`, `callback({…})`.
const MAX_JUNK: usize = 64;

/// Where an object or array starts, when that is what `input` holds from its
/// beginning on: behind white space, a byte order mark or a script guard.
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

/// Where an object or array starts close behind other bytes.
pub(in crate::content) fn start_behind_junk(input: &[u8]) -> Option<usize> {
    let head = &input[..input.len().min(MAX_JUNK)];
    let mut from = 0;
    while let Some(found) = memchr2(b'{', b'[', head.get(from..)?) {
        let at = from + found;
        // A string must follow: `[1]` and `{}` are common in plain text.
        let inside = at + 1 + usize::from(input[at] == b'[' && input.get(at + 1) == Some(&b'{'));
        if input.get(inside) == Some(&b'"') && opens(input, at) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

/// An object or array opens at `at`, by the one or two tokens there.
///
/// Deciding on the first tokens alone means that a document is not taken for
/// something else when more of it is known.
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
            let behind = input.get(inside + 1);
            behind.is_none_or(|&b| is_space(b))
        }
        (b'[', _) => {
            let scalar = scalar_len(&input[inside..]);
            let behind = skip_space(input, inside + scalar);
            scalar > 0
                && is_scalar(&input[inside..inside + scalar])
                && matches!(input.get(behind), Some(b',' | b']'))
        }
        _ => false,
    }
}

/// The length of the value that starts `input`, when it ends there: brackets
/// are counted, nothing else is checked.
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

/// Whether anything of weight follows a document: not white space, and not
/// the end of a call that the document is the argument of.
pub(in crate::content) fn more(rest: &[u8]) -> bool {
    rest.iter().any(|&b| !is_space(b) && !matches!(b, b',' | b';' | b')' | 0))
}

/// Whether the bytes are one quoted string, which may hold a document again.
///
/// As the value of a field a quoted string is common, so it needs an escape.
pub(in crate::content) fn is_quoted(input: &[u8], document: bool, truncated: bool) -> bool {
    let Some(content) = input.strip_prefix(b"\"") else {
        return false;
    };
    match string_end(content) {
        Some((len, escapes)) => !more(&content[len + 1..]) && (document || escapes),
        None => truncated && (content.starts_with(b"{\\\"") || content.starts_with(b"[{\\\"")),
    }
}

/// The length an envelope's item header announces for its payload:
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

/// How many bytes stand between two documents of a sequence.
pub(in crate::content) fn separator_len(rest: &[u8]) -> usize {
    rest.iter().take_while(|&&b| is_space(b) || b == b',' || b == 0).count()
}
