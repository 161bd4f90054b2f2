//! Recognises text and decodes simple encodings of other bytes as text.

use std::ops::Range;

use memchr::{memchr, memchr_iter, memmem};

use super::{base64, chain::Step};

/// Reports control characters that are allowed in text.
fn is_text_control(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | b'\r')
}

/// Interprets the bytes as UTF-8. If they are `truncated`, an incomplete character at
/// the end is dropped.
pub(super) fn as_utf8(bytes: &[u8], truncated: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if truncated && error.error_len().is_none() => {
            std::str::from_utf8(bytes.get(..error.valid_up_to())?).ok()
        }
        Err(_) => None,
    }
}

/// Interprets the bytes as text: UTF-8 without control characters. If they are
/// `truncated`, an incomplete character at the end is dropped.
pub(super) fn as_text(bytes: &[u8], truncated: bool) -> Option<&str> {
    let text = as_utf8(bytes, truncated)?;
    let controls = has_controls(text.as_bytes()) || has_wide_controls(text.as_bytes());
    (!controls).then_some(text)
}

/// Reports control characters from U+0080 on. They do not occur in text, but in
/// random bytes that happen to be valid UTF-8.
fn has_wide_controls(text: &[u8]) -> bool {
    memchr_iter(0xc2, text).any(|at| text.get(at + 1).is_some_and(|&b| b < 0xa0))
}

/// Reports control characters below U+0080.
pub(super) fn has_controls(bytes: &[u8]) -> bool {
    // Without an early exit, so that the compiler vectorises the loop.
    bytes.iter().fold(false, |seen, &b| seen | ((b < 0x20) & !is_text_control(b)) | (b == 0x7f))
}

/// Reports whether bytes that are not UTF-8 are text in a legacy character set:
/// mostly ASCII, and without control characters.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    let ascii = bytes.iter().filter(|b| b.is_ascii()).count();
    ascii * 2 >= bytes.len() && !has_controls(bytes)
}

/// Minimum length of text that confirms a guess. `http://a.b` is longer, nearly
/// every word is shorter.
const MIN_TEXT: usize = 9;
/// Length from which text is accepted regardless of its characters.
const MIN_ODD_TEXT: usize = 24;

/// Reports whether bytes produced by a guess look like real text.
///
/// Nine random bytes are printable ASCII once in 7000 cases, and words and
/// digits misread as base64 yield bytes that are far from random. Short text
/// must therefore consist mostly of characters found in words, addresses and
/// JSON.
pub(super) fn looks_like_text(bytes: &[u8], truncated: bool) -> bool {
    let Some(text) = as_text(bytes, truncated) else {
        return false;
    };
    text.len() >= MIN_ODD_TEXT
        || (text.len() >= MIN_TEXT
            && text.is_ascii()
            && text.bytes().filter(|&b| is_ordinary(b)).count() * 8 >= text.len() * 7)
}

/// Reports characters found in words, addresses and JSON.
fn is_ordinary(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b" /:._-?=&{}\",".contains(&byte)
}

/// Reports whether an address is among other bytes, in units of one or two bytes. Eight bytes are
/// not there by chance.
pub(super) fn holds_address(bytes: &[u8]) -> bool {
    const MIN_HOST: usize = 4;
    let is_host = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
    memmem::find_iter(bytes, b"://").any(|at| {
        let (before, host) = (&bytes[..at], &bytes[at + 3..]);
        (before.ends_with(b"http") || before.ends_with(b"https"))
            && host.len() >= MIN_HOST
            && host[..MIN_HOST].iter().all(is_host)
    }) || memmem::find(bytes, b"t\0p\0:\0/\0/").is_some()
        || memmem::find(bytes, b"t\0p\0s\0:\0/\0/").is_some()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    Some(hex_digit(high)? << 4 | hex_digit(low)?)
}

/// Decodes percent-encoding (RFC 3986 section 2.1) once. Returns `None` if
/// there is nothing to decode. Invalid triplets are left as they are.
///
/// This searches for triplets with vector instructions, unlike the
/// `percent-encoding` crate, which takes ten times as long for long texts with
/// few of them.
pub fn percent_decode(bytes: &[u8]) -> Option<Vec<u8>> {
    memchr(b'%', bytes)?;
    let mut out = Vec::new();
    let mut found = false;
    let mut rest = bytes;
    while let Some(at) = memchr(b'%', rest) {
        let (before, triplet) = rest.split_at(at);
        out.reserve(rest.len());
        out.extend_from_slice(before);
        let byte = match triplet {
            [_, high, low, ..] => hex_pair(*high, *low),
            _ => None,
        };
        match byte {
            Some(byte) => {
                found = true;
                out.push(byte);
                rest = &triplet[3..];
            }
            None => {
                out.push(b'%');
                rest = &triplet[1..];
            }
        }
    }
    out.extend_from_slice(rest);
    found.then_some(out)
}

/// The predefined entities of XML (XML 1.0 section 4.6), and those of HTML for what occurs in
/// URLs.
const ENTITIES: [(&str, char); 27] = [
    ("amp;", '&'),
    ("lt;", '<'),
    ("gt;", '>'),
    ("quot;", '"'),
    ("apos;", '\''),
    ("colon;", ':'),
    ("sol;", '/'),
    ("quest;", '?'),
    ("equals;", '='),
    ("period;", '.'),
    ("num;", '#'),
    ("percnt;", '%'),
    ("commat;", '@'),
    ("lowbar;", '_'),
    ("plus;", '+'),
    ("ast;", '*'),
    ("excl;", '!'),
    ("dollar;", '$'),
    ("comma;", ','),
    ("semi;", ';'),
    ("lpar;", '('),
    ("rpar;", ')'),
    ("lsqb;", '['),
    ("rsqb;", ']'),
    ("lbrace;", '{'),
    ("lcub;", '{'),
    ("rcub;", '}'),
];

/// Maximum length of a character reference: `#x10ffff;`.
const MAX_REFERENCE: usize = 9;

/// Decodes XML and HTML entities and character references once. Returns `None`
/// if there are none. Invalid ones are left as they are.
pub(super) fn entities_decode(text: &str) -> Option<String> {
    // Most ampersands separate parameters.
    let mut references = memchr_iter(b'&', text.as_bytes());
    let first = references.find(|at| entity(&text[at + 1..]).is_some())?;
    let mut out = String::with_capacity(text.len());
    out.push_str(&text[..first]);
    let mut rest = &text[first..];
    while let Some(at) = memchr(b'&', rest.as_bytes()) {
        let (before, reference) = (&rest[..at], &rest[at + 1..]);
        out.push_str(before);
        let (c, len) = entity(reference).unwrap_or(('&', 0));
        out.push(c);
        rest = &reference[len..];
    }
    out.push_str(rest);
    Some(out)
}

/// Decodes `amp;`, `#38;` or `#x26;`. Returns the character and its length in
/// the input.
fn entity(reference: &str) -> Option<(char, usize)> {
    if let Some((name, c)) = ENTITIES.into_iter().find(|(name, _)| reference.starts_with(name)) {
        return Some((c, name.len()));
    }
    let number = reference.strip_prefix('#')?;
    let end = memchr(b';', number.as_bytes().get(..number.len().min(MAX_REFERENCE))?)?;
    let number = &number[..end];
    let code = match number.strip_prefix(['x', 'X']) {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => number.parse(),
    };
    let c = char::from_u32(code.ok()?).filter(|c| !c.is_control())?;
    Some((c, end + 2))
}

/// Strips an incomplete entity from the end of truncated text.
pub(super) fn whole_entities(text: &str) -> &str {
    let tail = text.len() - text.len().min(MAX_REFERENCE);
    let Some(at) = text.as_bytes()[tail..].iter().rposition(|&b| b == b'&') else {
        return text;
    };
    let partial = &text[tail + at + 1..];
    let is_number = || {
        let digits = partial.strip_prefix('#').map(|d| d.strip_prefix(['x', 'X']).unwrap_or(d));
        digits.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    let begins =
        ENTITIES.iter().any(|(name, _)| name.len() > partial.len() && name.starts_with(partial));
    if begins || is_number() { &text[..tail + at] } else { text }
}

/// Returns what is between quotation marks if nothing else is in a text, as in `W/"…"`.
pub(super) fn unquoted(text: &str) -> Option<&str> {
    let text = text.strip_prefix("W/").unwrap_or(text);
    let inside = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'))?;
    (!inside.is_empty() && !inside.contains('"')).then_some(inside)
}

/// Strips an incomplete triplet from the end of truncated bytes.
pub(super) fn whole_triplets(bytes: &[u8]) -> &[u8] {
    match bytes {
        [rest @ .., b'%'] => rest,
        [rest @ .., b'%', digit] if digit.is_ascii_hexdigit() => rest,
        _ => bytes,
    }
}

/// Minimum length of hexadecimal text: `http://a.b/`.
const MIN_HEX: usize = 22;

/// Decodes text that consists only of hexadecimal digits.
pub(super) fn hex_decode(text: &str, truncated: bool) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("0x").unwrap_or(text).as_bytes();
    if digits.len() < MIN_HEX || (digits.len() % 2 == 1 && !truncated) {
        return None;
    }
    let whole_pairs = digits.get(..digits.len() & !1)?;
    if !whole_pairs.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    data_encoding::HEXLOWER_PERMISSIVE.decode(whole_pairs).ok()
}

/// Returns the runs of hexadecimal digits in a text that may be an encoding.
pub(super) fn hex_runs(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_hexdigit()).filter(|run| run.len() >= MIN_HEX)
}

/// Reports whether bytes are the name of a host, and not a number.
pub(super) fn is_host(bytes: &[u8]) -> bool {
    let is_label = |label: &[u8]| {
        !label.is_empty() && label.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
    };
    let mut labels = bytes.split(|b| *b == b'.');
    let top = labels.next_back().unwrap_or_default();
    top.len() >= 2
        && top.iter().all(u8::is_ascii_lowercase)
        && bytes.contains(&b'.')
        && labels.all(is_label)
}

/// Decodes text of hexadecimal digits in another order: the digits of each pair exchanged, or
/// all digits backwards. Only a known start shows it.
pub(super) fn disguised_hex(text: &str) -> Option<(Step<'static>, Vec<u8>)> {
    let digits = text.as_bytes();
    let (pairs, rest) = digits.as_chunks::<2>();
    // The digits of `h` and `{` in the other order.
    let is_start = |pair: &[u8; 2]| matches!(pair, b"86" | b"b7" | b"B7");
    if digits.len() < MIN_HEX
        || !rest.is_empty()
        || !(pairs.first().is_some_and(is_start) || pairs.last().is_some_and(is_start))
    {
        return None;
    }
    let decode = |digits: &[u8]| data_encoding::HEXLOWER_PERMISSIVE.decode(digits).ok();
    let known = |bytes: &Vec<u8>| base64::has_known_start(bytes) && as_text(bytes, false).is_some();
    let swapped: Vec<u8> = pairs.iter().flat_map(|[high, low]| [*low, *high]).collect();
    let reversed: Vec<u8> = digits.iter().rev().copied().collect();
    let swapped = || decode(&swapped).filter(known).map(|bytes| (Step::HexSwapped, bytes));
    // The digits are read in the next step.
    swapped().or_else(|| decode(&reversed).filter(known).map(|_| (Step::Reversed, reversed)))
}

/// Reads text whose characters are bytes, U+0000 to U+00FF, as `atob` in JavaScript
/// returns them.
pub(super) fn binary_string(bytes: &[u8], truncated: bool) -> Option<Vec<u8>> {
    let text = as_utf8(bytes, truncated)?;
    (!text.is_ascii()).then(|| text.chars().map(|c| u8::try_from(c).ok()).collect()).flatten()
}

/// Minimum length of text found among other bytes. Shorter runs are mostly
/// coincidence, and the shortest address is `http://a.b`.
pub(super) const MIN_RUN: usize = 10;

/// Returns the runs of text in arbitrary bytes, also short ones.
pub(super) fn run_ranges(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let start = at;
            let len = run_len(rest);
            at += len.max(1);
            if len > 0 {
                return Some(start..start + len);
            }
        }
        None
    })
}

/// Returns the length of the text at the start of `bytes`.
fn run_len(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let len = match byte {
            0x20..0x7f | b'\t' | b'\n' | b'\r' => 1,
            0xc2..0xe0 => 2,
            0xe0..0xf0 => 3,
            0xf0..0xf5 => 4,
            _ => break,
        };
        // A multi-byte character has to be complete.
        if len > 1 && bytes.get(at..at + len).is_none_or(|c| as_text(c, false).is_none()) {
            break;
        }
        at += len;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_no_control_characters() {
        assert_eq!(as_text("né\r\n\t".as_bytes(), false), Some("né\r\n\t"));
        assert_eq!(as_text(b"a\0b", false), None);
        assert_eq!(as_text(b"a\x7fb", false), None);
        assert_eq!(as_text(b"\xff", false), None);
        assert_eq!(as_text("a\u{80}".as_bytes(), false), None);
        assert_eq!(as_text("né".as_bytes().split_last().unwrap().1, true), Some("n"));
        assert_eq!(as_text("né".as_bytes().split_last().unwrap().1, false), None);
    }

    #[test]
    fn legacy_character_sets_are_text() {
        assert!(is_legacy(b"https://search.example/?q=\xc4\xe3\xba\xc3"));
        assert!(!is_legacy(b"\xc4\xe3\xba\xc3"));
        assert!(!is_legacy(b"https://a\xff\x00"));
    }

    #[test]
    fn percent_leaves_invalid_triplets() {
        let decode =
            |text: &str| percent_decode(text.as_bytes()).map(|b| String::from_utf8(b).unwrap());
        assert_eq!(decode("plain"), None);
        assert_eq!(decode("100% of 5%zz"), None);
        assert_eq!(decode("a%2Fb%zz%").as_deref(), Some("a/b%zz%"));
        assert_eq!(decode("%25%32%46").as_deref(), Some("%2F"));
        assert_eq!(whole_triplets(b"a%2Fb%2"), b"a%2Fb");
        assert_eq!(whole_triplets(b"a%2Fb%"), b"a%2Fb");
        assert_eq!(whole_triplets(b"a%2F"), b"a%2F");
    }

    #[test]
    fn entities_are_decoded_once() {
        for (text, plain) in [
            ("a?b=1&amp;c=2", "a?b=1&c=2"),
            ("https&#58;&#x2F;&#X2f;a", "https://a"),
            ("&amp;amp; &lt;b&gt; é&quot;", "&amp; <b> é\""),
        ] {
            assert_eq!(entities_decode(text).as_deref(), Some(plain));
            for (at, _) in text.char_indices() {
                let cut = whole_entities(&text[..at]);
                let cut = entities_decode(cut).unwrap_or_else(|| cut.to_owned());
                assert!(plain.starts_with(&cut), "{cut}");
            }
        }
        for text in ["a=1&b=2", "&amp", "&#;", "&#x110000;", "&#1;", "&copy;", "R&D &#12345678901;"]
        {
            assert_eq!(entities_decode(text), None, "{text}");
        }
    }

    #[test]
    fn hex_is_digits_only() {
        let url = "https://news.example.org/";
        let hex: String = url.bytes().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex_decode(&hex, false).as_deref(), Some(url.as_bytes()));
        assert_eq!(hex_decode(&format!("0x{hex}"), false).as_deref(), Some(url.as_bytes()));
        let cut = &hex[..hex.len() - 1];
        assert_eq!(hex_decode(cut, false), None);
        assert_eq!(hex_decode(cut, true).as_deref(), url.as_bytes().split_last().map(|s| s.1));
        assert_eq!(hex_decode(&hex[..20], false), None);
        assert_eq!(hex_decode(&hex.replace('7', "g"), false), None);
    }

    #[test]
    fn runs_are_whole_characters() {
        let bytes = b"\x00\x34https://a.example/\xc3\xa9\xc3\x01short\xffanother run!";
        let text = |run: Range<usize>| std::str::from_utf8(&bytes[run]).unwrap();
        let runs: Vec<_> = run_ranges(bytes).map(text).collect();
        assert_eq!(runs, ["4https://a.example/é", "short", "another run!"]);
    }
}
