//! The end of a URL in running text.
//!
//! A value that consists of a URL is kept whole. In other text, a URL ends where the
//! quotation mark or bracket before it is closed, where the separator of fields before it
//! returns, and before the punctuation that follows it. Other characters that occur inside
//! URLs are kept.

use std::ops::Range;

use super::is_wide_delimiter;

/// Quotation marks and brackets before a URL, and what closes them. Some texts are
/// percent-encoded except for their URLs.
const QUOTES: [(&str, &str); 4] = [("'", "'"), ("%22", "%22"), ("%27", "%27"), ("%3C", "%3E")];

/// Marks that are repeated behind a text that they emphasise, as in Markdown.
const EMPHASIS: [u8; 3] = [b'*', b'_', b'~'];

/// Marks that occur in URLs, and with which senders separate fields (`4,https://…,2`) or
/// enclose URLs.
pub(in crate::detect) const SEPARATORS: [char; 6] = [',', ';', '~', '!', '*', '$'];

/// Returns the end of the URL that begins at `start`, and whether only the end of the
/// text ends it. `rest` is the run of URL characters after the authority.
pub(super) fn find(text: &str, start: usize, rest: Range<usize>, truncated: bool) -> (usize, bool) {
    if let Some(end) = counted(text, start, rest.clone()) {
        return (end, false);
    }
    let reaches_end = rest.end == text.len();
    let next = before_next_url(text, rest.clone());
    if start == 0 && reaches_end && next.is_none() && !truncated {
        return (rest.end, true);
    }
    let stop = next.unwrap_or(rest.end);
    let stop = closing(text, start, rest.start..stop).unwrap_or(stop);
    let open = stop == text.len();
    let stop = if open && truncated { without_partial_mark(text, rest.start, stop) } else { stop };
    (without_punctuation(text, start, rest.start..stop), open)
}

/// Returns the end of a URL that its length precedes (`52:https://…`), as in bencode and
/// netstrings.
fn counted(text: &str, start: usize, rest: Range<usize>) -> Option<usize> {
    let before = text[..start].strip_suffix(':')?;
    let digits = before.bytes().rev().take(4).take_while(u8::is_ascii_digit).count();
    let len: usize = before[before.len() - digits..].parse().ok()?;
    let end = start.checked_add(len)?;
    (rest.start <= end && end < rest.end && text.is_char_boundary(end)).then_some(end)
}

/// Returns the end of a URL that another one follows, separated by only a comma or
/// a semicolon.
fn before_next_url(text: &str, rest: Range<usize>) -> Option<usize> {
    let bytes = &text.as_bytes()[rest.clone()];
    memchr::memchr2_iter(b',', b';', bytes)
        .find(|at| {
            let next = &bytes[at + 1..];
            ["https://", "http://"].iter().any(|scheme| {
                next.get(..scheme.len())
                    .is_some_and(|it| it.eq_ignore_ascii_case(scheme.as_bytes()))
            })
        })
        .map(|at| rest.start + at)
}

/// Returns the position at which the text closes what it opened before the URL, or
/// separates the URL from text in another script.
fn closing(text: &str, start: usize, rest: Range<usize>) -> Option<usize> {
    let before = &text[..start];
    let ends_with = |open: &str| {
        before
            .len()
            .checked_sub(open.len())
            .and_then(|at| before.get(at..))
            .is_some_and(|it| it.eq_ignore_ascii_case(open))
    };
    let separator = separator(before);
    let quote = QUOTES.iter().find(|(open, _)| ends_with(open)).map(|(_, close)| *close);
    let (mut round, mut square) = (0_u32, 0_u32);
    let (in_round, in_square) = (before.ends_with('('), before.ends_with('['));
    let content = &text[rest.clone()];
    let found = content.char_indices().find(|&(at, c)| match c {
        _ if separator == Some(c) => true,
        '(' => {
            round += 1;
            false
        }
        '[' => {
            square += 1;
            false
        }
        ')' if round > 0 => {
            round -= 1;
            false
        }
        ']' if square > 0 => {
            square -= 1;
            false
        }
        ')' => in_round,
        // A link in Markdown: `[text](target)`.
        ']' => in_square || content[at + 1..].starts_with('('),
        '\'' | '%' => quote.is_some_and(|close| {
            content.get(at..at + close.len()).is_some_and(|it| it.eq_ignore_ascii_case(close))
        }),
        _ => !c.is_ascii() && is_wide_delimiter(c),
    });
    found.map(|(at, _)| rest.start + at)
}

/// Returns the separator of the fields of which a URL is one: the mark directly before it, or
/// the one in a table's header.
fn separator(before: &str) -> Option<char> {
    before.chars().next_back().filter(|c| SEPARATORS.contains(c)).or_else(|| header(before))
}

/// Returns the separator in the first line of a text if the line consists of names, as in CSV.
fn header(before: &str) -> Option<char> {
    /// Maximum length of a header.
    const MAX: usize = 512;
    let window = &before.as_bytes()[..before.len().min(MAX)];
    let line = before.get(..memchr::memchr(b'\n', window)?)?;
    let separator = line.chars().find(|c| matches!(c, ',' | ';'))?;
    let mut names = line.trim_end().split(separator).map(|name| name.trim_matches('"'));
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '/'))
    };
    names.all(is_name).then_some(separator)
}

/// Removes punctuation that belongs to the text rather than to the URL.
fn without_punctuation(text: &str, start: usize, rest: Range<usize>) -> usize {
    let bytes = text.as_bytes();
    let content = &bytes[rest.clone()];
    let count = |wanted: u8| content.iter().filter(|&&b| b == wanted).count();
    // Closing brackets that the URL did not open.
    let mut round = count(b')').saturating_sub(count(b'('));
    let mut square = count(b']').saturating_sub(count(b'['));
    let emphasis = bytes[..start].last().copied().filter(|mark| EMPHASIS.contains(mark));
    let mut end = rest.end;
    loop {
        let Some(&last) = bytes[rest.start..end].last() else {
            return end;
        };
        let is_text = match last {
            b'.' | b',' | b';' | b':' | b'!' | b'?' | b'\'' => true,
            b')' if round > 0 => {
                round -= 1;
                true
            }
            b']' if square > 0 => {
                square -= 1;
                true
            }
            _ => emphasis == Some(last),
        };
        if is_text {
            end -= 1;
        } else if let Some(len) = line_and_column(&bytes[rest.start..end]) {
            end -= len;
        } else {
            return end;
        }
    }
}

/// Returns the length of `:line:column`, which stack traces append to the name of a
/// file. After a digit, it may be a time.
fn line_and_column(url: &[u8]) -> Option<usize> {
    let number = |from: &[u8]| {
        let digits = from.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        let colon = from.len().checked_sub(digits + 1)?;
        (digits > 0 && from[colon] == b':').then_some(digits + 1)
    };
    let column = number(url)?;
    let line = number(&url[..url.len() - column])?;
    let file = &url[..url.len() - column - line];
    file.last().is_some_and(u8::is_ascii_alphabetic).then_some(column + line)
}

/// Removes from a truncated URL what may be the beginning of a mark that ends it: of
/// the next URL in a list, of a line and a column, of a percent-encoded quotation mark.
fn without_partial_mark(text: &str, from: usize, to: usize) -> usize {
    let mut end = to;
    if let Some(at) = text[from..end].rfind([',', ';']) {
        let next = &text[from + at + 1..end];
        let may_be_next = ["https://", "http://"]
            .iter()
            .any(|scheme| scheme.get(..next.len()).is_some_and(|it| it.eq_ignore_ascii_case(next)));
        if may_be_next {
            end = from + at;
        }
    }
    let kept = text[from..end].trim_end_matches(|c: char| c.is_ascii_digit() || c == ':');
    if text[from + kept.len()..end].starts_with(':') {
        end = from + kept.len();
    }
    let tail = text[from..end].rfind('%').filter(|at| end - from - at < 3);
    tail.map_or(end, |at| from + at)
}
