//! Text disguised as other text: reversed, rotated or masked with a key.

use memchr::memchr_iter;

use super::{base64, chain::Step, xor};

/// Reports whether a text holds a URL that was written backwards. Its query then
/// precedes it, so this has to be known before forms are looked for.
pub(super) fn is_reversed(text: &str) -> bool {
    let bytes = text.as_bytes();
    memchr_iter(b':', bytes).any(|colon| {
        let (before, after) = (&bytes[..colon], &bytes[colon + 1..]);
        before.ends_with(b"//") && (after.starts_with(b"ptth") || after.starts_with(b"sptth"))
    })
}

/// Recovers text that was disguised as other text. Returns the step and the
/// original. The scheme of a URL gives the disguise away, or a known start of
/// base64 at the end of the text. [`is_reversed`] has been tried before.
pub(super) fn deobfuscate(text: &str, truncated: bool) -> Option<(Step<'static>, String)> {
    let bytes = text.as_bytes();
    let rotated = memchr_iter(b':', bytes).any(|colon| {
        let (before, after) = (&bytes[..colon], &bytes[colon + 1..]);
        after.starts_with(b"//") && (before.ends_with(b"uggc") || before.ends_with(b"uggcf"))
    });
    if !truncated && base64::is_reversed(text) {
        return Some((Step::Reversed, text.chars().rev().collect()));
    }
    let rotate = |c: char| match c {
        'a'..='m' | 'A'..='M' => char::from(c as u8 + 13),
        'n'..='z' | 'N'..='Z' => char::from(c as u8 - 13),
        other => other,
    };
    if rotated {
        return Some((Step::Rot13, text.chars().map(rotate).collect()));
    }
    let key = xor::text_key_of_text(text)?;
    Some((Step::Xor(key), String::from_utf8(key.apply(bytes)).ok()?))
}
