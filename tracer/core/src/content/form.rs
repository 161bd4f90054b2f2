//! URL-encoded forms and queries: `key=value&key=value`.
//!
//! ```text
//! crc=1&gzip=1&data_list=H4sI…%3D     a body, a query, or a string in JSON
//! en=page_view&dl=https…\r\nen=…      several, one per line
//! ```

use std::borrow::Cow;

use memchr::{memchr, memchr2_iter, memchr3};

use super::{text, tree::is_address};

/// Length from which text before padding and the end of a line is base64 and not a key.
const MIN_BASE64: usize = 16;

/// Maximum length of a key by which a form is recognised.
const MAX_KEY: usize = 128;

/// A `key=value` pair, not yet decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair<'d> {
    /// The key; `None` for a word without `=`.
    pub(super) key: Option<&'d [u8]>,
    /// The bytes after the `=`, or the word.
    pub(super) value: &'d [u8],
    /// Set for the last pair of the input.
    pub(super) last: bool,
    /// Set for the first pair of a line.
    pub(super) starts_line: bool,
}

/// Returns the pairs of a form. A line break ends a pair if another pair
/// follows.
pub(super) fn pairs(input: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    let mut rest = Some(input);
    let mut starts_line = true;
    std::iter::from_fn(move || {
        loop {
            let input = rest?;
            let separator = memchr2_iter(b'&', b'\n', input)
                .find(|&at| input[at] == b'&' || key_len(&input[at + 1..]).is_some());
            let (pair, after) = match separator {
                Some(at) => (&input[..at], Some(&input[at + 1..])),
                None => (input, None),
            };
            rest = after;
            let line = starts_line;
            let ends_line = separator.is_some_and(|at| input[at] == b'\n');
            starts_line = ends_line;
            let pair = if ends_line { pair.strip_suffix(b"\r").unwrap_or(pair) } else { pair };
            if pair.is_empty() {
                starts_line |= line;
                continue;
            }
            let (key, value) = match memchr(b'=', pair) {
                // A lone address, whose own query contains the `=`.
                Some(at) if is_address(&pair[..at]) => (None, pair),
                Some(at) => (Some(&pair[..at]), &pair[at + 1..]),
                None => (None, pair),
            };
            return Some(Pair { key, value, last: rest.is_none(), starts_line: line });
        }
    })
}

/// Returns the length of the key at the start of `input`, if `=` follows it.
fn key_len(input: &[u8]) -> Option<usize> {
    let head = &input[..input.len().min(MAX_KEY + 1)];
    let len = memchr3(b'=', b'&', b'\n', head)?;
    let key = &head[..len];
    // In source code, a name may follow the parenthesis of a call.
    let count = |mark| key.iter().filter(|b| **b == mark).count();
    let is_balanced = || count(b'(') == count(b')');
    (head[len] == b'=' && len > 0 && key.iter().copied().all(is_key) && is_balanced())
        .then_some(len)
}

/// Reports characters that occur in keys. They exclude URLs, markup and prose.
fn is_key(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'_' | b'-'
                | b'.'
                | b'$'
                | b'['
                | b']'
                | b'%'
                | b'+'
                | b':'
                | b'*'
                | b'@'
                | b'!'
                | b'~'
                | b'|'
                | b'('
                | b')'
        )
}

/// Reports whether a body is a form, judging by its first pair.
pub(super) fn is_document(input: &[u8]) -> bool {
    let input = input.strip_prefix(b"?").unwrap_or(input);
    let Some(len) = key_len(input) else {
        return false;
    };
    // Base64 padding is not a pair.
    let value = &input[len + 1..];
    let padding = 1 + value.iter().take_while(|&&b| b == b'=').count();
    let ends_line = matches!(value.get(padding - 1), Some(b'\r' | b'\n'));
    if len >= MIN_BASE64 && ends_line && (len + padding).is_multiple_of(4) {
        return false;
    }
    !value.iter().all(|&b| matches!(b, b'=' | b'\r' | b'\n'))
}

/// Reports whether a string is a query: two pairs, or one pair after `?`.
pub(super) fn is_query(input: &[u8]) -> bool {
    if let Some(query) = input.strip_prefix(b"?") {
        return key_len(query).is_some();
    }
    let Some(first) = key_len(input) else {
        return false;
    };
    let after = &input[first + 1..];
    memchr(b'&', after).is_some_and(|at| key_len(&after[at + 1..]).is_some())
}

/// Decodes a key or value: `+` to a space, and one level of percent-encoding.
pub(super) fn decode(input: &[u8], truncated: bool) -> Cow<'_, [u8]> {
    let input = if truncated { text::whole_triplets(input) } else { input };
    let plain = if memchr(b'+', input).is_some() {
        Cow::Owned(input.iter().map(|&b| if b == b'+' { b' ' } else { b }).collect())
    } else {
        Cow::Borrowed(input)
    };
    match text::percent_decode(&plain) {
        Some(decoded) => Cow::Owned(decoded),
        None => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(input: &str) -> Vec<(Option<&str>, &str)> {
        let text = |b| std::str::from_utf8(b).unwrap();
        pairs(input.as_bytes()).map(|p| (p.key.map(text), text(p.value))).collect()
    }

    #[test]
    fn splits_pairs() {
        assert_eq!(
            read("a=1&b&&c==&d="),
            [(Some("a"), "1"), (None, "b"), (Some("c"), "="), (Some("d"), "")]
        );
        assert_eq!(read(""), []);
        assert_eq!(read("https://a/?b=c&d=e"), [(None, "https://a/?b=c"), (Some("d"), "e")]);
    }

    #[test]
    fn splits_lines_only_before_a_pair() {
        let lines = "en=a&dl=x\r\nen=b\nc={\n  \"k\": 1\n}";
        assert_eq!(
            read(lines),
            [
                (Some("en"), "a"),
                (Some("dl"), "x"),
                (Some("en"), "b"),
                (Some("c"), "{\n  \"k\": 1\n}")
            ]
        );
        let starts: Vec<_> = pairs(lines.as_bytes()).map(|p| p.starts_line).collect();
        assert_eq!(starts, [true, false, true, true]);
    }

    #[test]
    fn distinguishes_forms_from_text() {
        for form in ["data=x", "dl=https%3A%2F%2Fa", "ud[em]=1&b=2", "data={\"a\": 1}", "?a=b"] {
            assert!(is_document(form.as_bytes()), "{form}");
        }
        for other in
            ["PING", "{\"a\":1}", "https://a/?b=c", "<a b=\"c\">", "eyJhIjoxfQ==", "a b=c", "(a=b)"]
        {
            assert!(!is_document(other.as_bytes()), "{other}");
        }
        for query in ["?a=b", "idsite=1&url=https%3A%2F%2Fa"] {
            assert!(is_query(query.as_bytes()), "{query}");
        }
        for other in ["crc=1", "https://a/?b=c&d=e", "a&b", "?", "x=1&amp", "a=1 & b=2"] {
            assert!(!is_query(other.as_bytes()), "{other}");
        }
    }

    #[test]
    fn decodes_once() {
        assert_eq!(&*decode(b"a+b%2Bc%252F", false), b"a b+c%2F");
        assert_eq!(&*decode(b"a%2", true), b"a");
        assert!(matches!(decode(b"plain", false), Cow::Borrowed(_)));
    }
}
