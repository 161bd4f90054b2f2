//! Text disguised as other text: reversed, with its letters replaced, or masked with a key.

use memchr::memchr_iter;

use super::{
    base64,
    chain::Step,
    shift::{self, Shift},
    xor,
};

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
/// base64 at the end of the text. [`is_reversed`] has been tried before. `known` are
/// addresses without their scheme, which show whether digits were replaced as well.
pub(super) fn deobfuscate(
    text: &str,
    known: &[&str],
    truncated: bool,
) -> Option<(Step<'static>, String)> {
    if !truncated && base64::is_reversed(text) {
        return Some((Step::Reversed, text.chars().rev().collect()));
    }
    if let Some(shift) = shift::of_letters(text) {
        let plain = shift.undo(text)?;
        let Shift::Letters(letters) = shift else {
            return Some((Step::Shifted(shift), plain));
        };
        let has_known = |text: &str| known.iter().any(|address| text.contains(address));
        let with_digits =
            (1..10).filter(|_| !known.is_empty() && !has_known(&plain)).find_map(|by| {
                let shift = Shift::LettersAndDigits(letters, by);
                let plain = shift.undo(text).filter(|plain| has_known(plain))?;
                Some((Step::Shifted(shift), plain))
            });
        return with_digits.or(Some((Step::Shifted(shift), plain)));
    }
    let key = xor::text_key_of_text(text)?;
    Some((Step::Xor(key), String::from_utf8(key.apply(text.as_bytes())).ok()?))
}
