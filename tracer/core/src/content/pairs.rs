//! Names and values in text.
//!
//! ```text
//! level=info url=https://… user="a b"                logfmt
//! view,user_id=7f3c n=1i,url="https://…" 1795382061   InfluxDB's line protocol
//! page_view{url="https://…",user="7f3c"} 1            OpenMetrics
//! page.view:1|c|#url:https://…,user:7f3c              DogStatsD
//! a=b; c=d   a=b|c=d   a=b, c=d                       lists
//! ```
//!
//! A text counts as such only if it has two names, and if most of it belongs to them,
//! since `=` also occurs in prose, code and URLs.

/// Maximum length of a name.
const MAX_NAME: usize = 64;

/// Minimum share of a text that belongs to pairs, in percent.
const MIN_SHARE: usize = 50;

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part<'d> {
    /// The name; `None` for text between pairs.
    pub(super) name: Option<&'d str>,
    pub(super) value: &'d str,
    /// Length of the part in the text.
    len: usize,
    /// Set for the first part of a line.
    pub(super) starts_line: bool,
    /// Set for the last part of the text.
    pub(super) last: bool,
}

/// Splits a text into names and values, if it consists of them. The first two pairs
/// decide, so that more text never changes the decision.
pub(super) fn split(text: &str) -> Option<Vec<Part<'_>>> {
    // A name is followed by `=`, or by `:` behind a `#`.
    memchr::memchr2(b'=', b'#', text.as_bytes())?;
    let mut parts = Vec::new();
    let (mut pairs, mut covered, mut read) = (0, 0, 0);
    for line in text.lines() {
        let from = parts.len();
        read_line(line, &mut parts);
        for part in parts.iter().skip(from) {
            read += part.len;
            if part.name.is_some() && pairs < 2 {
                pairs += 1;
                covered += part.len;
                if pairs == 2 && covered * 100 < read * MIN_SHARE {
                    return None;
                }
            }
        }
        if let Some(first) = parts.get_mut(from) {
            first.starts_line = true;
        }
    }
    if let Some(last) = parts.last_mut() {
        last.last = true;
    }
    (pairs == 2).then_some(parts)
}

/// Reads a line.
fn read_line<'d>(line: &'d str, parts: &mut Vec<Part<'d>>) {
    let part = |name, value, len| Part { name, value, len, starts_line: false, last: false };
    // Start of the text that belongs to no pair.
    let mut words = 0;
    let mut at = 0;
    let mut sign = '=';
    while at < line.len() {
        let rest = &line[at..];
        let Some((name, value)) = pair(rest, sign) else {
            let next = next_start(rest);
            if rest[..next].ends_with('#') {
                sign = ':';
            }
            at += next;
            continue;
        };
        let before = line[words..at].trim_matches(is_separator);
        if !before.is_empty() {
            parts.push(part(None, before, before.len()));
        }
        let len = value_len(value, sign);
        let used = rest.len() - value.len() + len;
        let value = value[..len].trim_end_matches([',', ';', '|']);
        parts.push(part(Some(name), unquoted(value), used));
        at += used;
        words = at;
        at += line[at..].chars().next().map_or(0, char::len_utf8);
    }
    let after = line[words..].trim_matches(is_separator);
    if !after.is_empty() {
        parts.push(part(None, after, after.len()));
    }
}

/// Returns the distance to the next character that may start a name.
fn next_start(rest: &str) -> usize {
    let separator = rest.char_indices().find(|(_, c)| is_separator(*c));
    separator.map_or(rest.len(), |(at, c)| at + c.len_utf8())
}

/// Reports whether a name may follow a character.
fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ';' | '|' | '{' | '}' | '#' | '\u{1}' | '\u{1f}')
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '$' | '@' | '/')
}

/// Returns the name at the start of `rest`, and what follows its `=`.
fn pair(rest: &str, sign: char) -> Option<(&str, &str)> {
    let len = rest.find(|c: char| !is_name_char(c))?;
    let (name, value) = (&rest[..len], rest[len..].strip_prefix(sign)?);
    let is_name = (1..=MAX_NAME).contains(&len)
        && name.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '$' | '@'));
    // `==` and `=>` compare and assign in code; a `:` may belong to a URL.
    let is_pair = !value.starts_with(['=', '>']) && (sign == '=' || !value.starts_with("//"));
    (is_name && is_pair).then_some((name, value))
}

/// Returns the length of the value at the start of `text`.
fn value_len(text: &str, sign: char) -> usize {
    if let Some(quote @ ('"' | '\'')) = text.chars().next() {
        let mut escaped = false;
        for (at, c) in text.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => return at + 1,
                _ => {}
            }
        }
        return text.len();
    }
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        let ends = match c {
            _ if escaped => false,
            c if c.is_whitespace() => true,
            '}' => !text[..at].contains('{'),
            // A comma also occurs in values.
            ',' | ';' | '|' => {
                let after = text[at + 1..].trim_start();
                after.is_empty() || pair(after, sign).is_some()
            }
            _ => false,
        };
        if ends {
            return at;
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

fn unquoted(value: &str) -> &str {
    ['"', '\'']
        .into_iter()
        .find_map(|quote| {
            let inside = value.strip_prefix(quote)?;
            Some(inside.strip_suffix(quote).unwrap_or(inside))
        })
        .unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(&str, &str)>> {
        let parts = split(text)?;
        Some(parts.iter().map(|part| (part.name.unwrap_or(""), part.value)).collect())
    }

    #[test]
    fn reads_every_notation() {
        for (text, expected) in [
            (
                "level=info url=https://a.test/?b=c,d user=\"a \\\" b\" n=1",
                &[
                    ("level", "info"),
                    ("url", "https://a.test/?b=c,d"),
                    ("user", "a \\\" b"),
                    ("n", "1"),
                ][..],
            ),
            (
                "view,user_id=7f3c n=1i,url=\"https://a.test/?b=c\" 1795382061",
                &[
                    ("", "view"),
                    ("user_id", "7f3c"),
                    ("n", "1i"),
                    ("url", "https://a.test/?b=c"),
                    ("", "1795382061"),
                ],
            ),
            (
                "page_view{url=\"https://a.test/\",user=\"7f3c\"} 1",
                &[("", "page_view"), ("url", "https://a.test/"), ("user", "7f3c"), ("", "1")],
            ),
            (
                "page.view:1|c|#url:https://a.test/x,user:7f3c",
                &[("", "page.view:1|c"), ("url", "https://a.test/x"), ("user", "7f3c")],
            ),
            ("a=b; c=d;e=f", &[("a", "b"), ("c", "d"), ("e", "f")]),
            ("a=b|c=d", &[("a", "b"), ("c", "d")]),
        ] {
            assert_eq!(read(text).as_deref(), Some(expected), "{text}");
        }
        let lines = split("a=1 b=2\nc=3 d=4").unwrap();
        assert_eq!(
            lines.iter().map(|p| p.starts_line).collect::<Vec<_>>(),
            [true, false, true, false]
        );
    }

    #[test]
    fn other_text_has_no_pairs() {
        for text in [
            "https://a.test/?b=c&d=e",
            "see https://a.test/?b=c, where x=1",
            "if (a == b) { c = d; }",
            "a sentence with one=sign and many other words around y=2 that do not matter here",
            "dGVzdA==",
            "",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
