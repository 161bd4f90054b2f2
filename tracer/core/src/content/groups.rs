//! Characters in groups of the same length, with the same separator after each group.
//!
//! ```text
//! 6874 7470 733a 2f2f …   68747470-733a2f2f-…   aHR0c-HM6Ly-9uZXd…   a H R 0 c H M …
//! NB2HI4DTHIXS63TF        lines of base32, which base64 has by its standard
//! ```

/// Minimum number of groups.
const MIN: usize = 4;

/// Removes the separators. Returns `None` if the text is not in groups, of which the last one may
/// be shorter.
pub(super) fn join(text: &str) -> Option<String> {
    let text = text.trim();
    let is_digit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '=');
    let len = text.find(|c| !is_digit(c)).filter(|len| *len > 0)?;
    let after = &text[len..];
    let separator = &after[..after.find(is_digit)?];
    if !matches!(separator.len(), 1 | 2) || separator.contains(|c: char| !c.is_ascii()) {
        return None;
    }
    let mut out = String::with_capacity(text.len());
    let mut count = 0;
    let mut groups = text.split(separator).peekable();
    while let Some(group) = groups.next() {
        let is_last = groups.peek().is_none();
        if group.len() != len && !(is_last && group.len() < len) {
            return None;
        }
        out.push_str(group);
        count += 1;
    }
    // Fewer lines are enough, since a line break is in no alphabet.
    let is_line = matches!(separator, "\n" | "\r\n");
    // Lines that are padded by themselves are read one by one.
    let is_whole = || is_line && !out.trim_end_matches('=').contains('=');
    (count >= MIN || count > 1 && is_whole()).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_removed_from_groups() {
        for (text, joined) in [
            ("6874 7470 733a 2f", "68747470733a2f"),
            ("aHR0c-HM6Ly-9uZXd-zLm", "aHR0cHM6Ly9uZXdzLm"),
            ("a H R 0 c", "aHR0c"),
            ("NB2H\r\nI4DT\r\nHIXS\r\n63", "NB2HI4DTHIXS63"),
        ] {
            assert_eq!(join(text).as_deref(), Some(joined));
        }
        for text in ["7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11", "a few words", "abc abc", "", "1.2.3"]
        {
            assert_eq!(join(text), None, "{text}");
        }
    }
}
