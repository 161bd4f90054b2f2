//! Text disguised as other text: reversed, rotated or masked with a key.

use memchr::memchr_iter;

use super::{base64, chain::Step, xor};

/// Recovers text that was disguised as other text. Returns the step and the
/// original. The scheme of a URL gives the disguise away, or a known start of
/// base64 at the end of the text.
pub(super) fn deobfuscate(text: &str, truncated: bool) -> Option<(Step<'static>, String)> {
    let bytes = text.as_bytes();
    let (mut reversed, mut rotated) = (false, false);
    for colon in memchr_iter(b':', bytes) {
        let (before, after) = (&bytes[..colon], &bytes[colon + 1..]);
        let ends = |scheme: [&[u8]; 2]| scheme.iter().any(|it| before.ends_with(it));
        let begins = |scheme: [&[u8]; 2]| scheme.iter().any(|it| after.starts_with(it));
        reversed |= before.ends_with(b"//") && begins([b"ptth", b"sptth"]);
        rotated |= after.starts_with(b"//") && ends([b"uggc", b"uggcf"]);
    }
    if reversed || !truncated && base64::is_reversed(text) {
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
