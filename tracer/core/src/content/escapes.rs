//! Escape sequences of programming languages, outside their documents.
//!
//! ```text
//! https:\/\/news…                  JSON, of which only a fragment is known
//! \150\164\164\160\163\072…        octal: C, Java, Bash, Git
//! \x68\x74\x74\x70   \x{68}        hexadecimal: C, Python, Perl
//! \u0068\u0074   \u{68}   %u0068   UTF-16: JSON, JavaScript, and its `escape`
//! ```
//!
//! Numbers in octal and hexadecimal are bytes, the others are characters.

use super::text::percent_decode;

/// Minimum number of characters written as numbers that show the encoding. An address
/// that only decoding reveals needs none.
pub(super) const MIN_NUMBERS: usize = 12;

/// Text after its escape sequences were decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unescaped {
    pub(super) bytes: Vec<u8>,
    /// Number of characters that were written as numbers.
    pub(super) numbers: usize,
    /// Set if an address is in the text only since.
    pub(super) reveals_address: bool,
}

/// Decodes the escape sequences in a text. Returns `None` if it has none. Invalid ones are
/// left as they are, and one that the end of a truncated text may cut is dropped.
pub(super) fn decode(text: &str, truncated: bool) -> Option<Unescaped> {
    let bytes = text.as_bytes();
    let mut at = memchr::memchr2(b'\\', b'%', bytes)?;
    let mut out = Unescaped { bytes: Vec::new(), numbers: 0, reveals_address: false };
    let mut any = false;
    let mut from = 0;
    loop {
        let rest = &bytes[at..];
        match Escape::parse(rest, truncated) {
            Escape::None => at += 1,
            Escape::Cut => {
                out.bytes.extend_from_slice(&bytes[from..at]);
                from = bytes.len();
                break;
            }
            Escape::Byte(byte, len) => {
                out.bytes.extend_from_slice(&bytes[from..at]);
                out.bytes.push(byte);
                out.numbers +=
                    usize::from(rest.get(1).is_some_and(|b| *b == b'x' || b.is_ascii_digit()));
                (any, at) = (true, at + len);
                from = at;
            }
            Escape::Char(c, len) => {
                out.bytes.extend_from_slice(&bytes[from..at]);
                out.bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                out.numbers += 1;
                (any, at) = (true, at + len);
                from = at;
            }
        }
        match bytes.get(at..).and_then(|rest| memchr::memchr2(b'\\', b'%', rest)) {
            Some(next) => at += next,
            None => break,
        }
    }
    if !any {
        return None;
    }
    out.bytes.extend_from_slice(&bytes[from..]);
    out.reveals_address = addresses(&out.bytes) > addresses(bytes);
    Some(out)
}

/// Decodes percent-encoding with another mark than `%`: `https~3A~2F~2F…`. Only the scheme of an
/// address shows it.
pub(super) fn marked(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mark = memchr::memmem::find_iter(bytes, b"http").find_map(|at| {
        let after = &bytes[at + 4..];
        let after = after.strip_prefix(b"s").unwrap_or(after);
        let (mark, rest) = after.split_first()?;
        let colon = rest.get(..2)?.eq_ignore_ascii_case(b"3a");
        let slash = rest.get(3..5)?.eq_ignore_ascii_case(b"2f") && rest.get(2) == Some(mark);
        (colon && slash && mark.is_ascii_punctuation()).then_some(*mark)
    })?;
    let plain = text.replace('%', "%25").replace(char::from(mark), "%");
    String::from_utf8(percent_decode(plain.as_bytes())?).ok()
}

/// Restores an address that was made unusable, as reports on threats write it:
/// `hxxps://news[.]example[.]org`.
pub(super) fn fanged(text: &str) -> Option<String> {
    const MAX: usize = 2048;
    const DOTS: [&str; 5] = ["[.]", "(.)", "{.}", "[dot]", "(dot)"];
    let is_marked = text.contains("hxxp") || text.contains(['[', '(', '{']);
    if text.len() > MAX || !is_marked {
        return None;
    }
    let plain = DOTS.iter().fold(text.to_owned(), |text, dot| text.replace(dot, "."));
    let plain = plain.replace("[:]", ":").replace("[://]", "://").replace("hxxp", "http");
    let is_host = || {
        plain.contains('.')
            && plain.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    };
    (plain != text && (plain.contains("://") || is_host())).then_some(plain)
}

fn addresses(text: &[u8]) -> usize {
    memchr::memmem::find_iter(text, b"://").count()
}

/// An escape sequence, with its length.
#[derive(Debug, PartialEq, Eq)]
enum Escape {
    None,
    /// The input ends in the sequence.
    Cut,
    Byte(u8, usize),
    Char(char, usize),
}

impl Escape {
    /// Parses the sequence that begins with the first byte, a backslash or a percent sign.
    fn parse(rest: &[u8], truncated: bool) -> Self {
        let cut = |parsed| match parsed {
            Some(parsed) => parsed,
            None if truncated => Self::Cut,
            None => Self::None,
        };
        match rest {
            [b'%', b'u', digits @ ..] => cut(Self::units(digits, 2, b"%u")),
            [b'%'] if truncated => Self::Cut,
            [b'%', ..] => Self::None,
            [_, b'u' | b'U' | b'x', b'{', inside @ ..] => {
                let Some(len) = inside.iter().take(8).position(|b| !b.is_ascii_hexdigit()) else {
                    return if truncated && inside.len() < 8 { Self::Cut } else { Self::None };
                };
                match (inside[len], number(&inside[..len], 16).and_then(char::from_u32)) {
                    (b'}', Some(c)) => Self::Char(c, len + 4),
                    _ => Self::None,
                }
            }
            [_, b'u', digits @ ..] => cut(Self::units(digits, 2, b"\\u")),
            [_, b'U', digits @ ..] => cut(digits_of(digits, 8).map(|digits| {
                let c = digits.and_then(|digits| number(digits, 16)).and_then(char::from_u32);
                c.map_or(Self::None, |c| Self::Char(c, 10))
            })),
            [_, b'x', digits @ ..] => cut(digits_of(digits, 2).map(|digits| {
                let byte = digits.and_then(|digits| number(digits, 16));
                byte.and_then(|byte| u8::try_from(byte).ok())
                    .map_or(Self::None, |byte| Self::Byte(byte, 4))
            })),
            [_, digits @ ..] if digits.first().is_some_and(|b| is_octal(*b)) => {
                let len = digits.iter().take(3).take_while(|b| is_octal(**b)).count();
                if truncated && len < 3 && len == digits.len() {
                    return Self::Cut;
                }
                match number(&digits[..len], 8).and_then(|byte| u8::try_from(byte).ok()) {
                    Some(byte) => Self::Byte(byte, len + 1),
                    None => Self::None,
                }
            }
            [_, b'n', ..] => Self::Byte(b'\n', 2),
            [_, b't', ..] => Self::Byte(b'\t', 2),
            [_, b'r', ..] => Self::Byte(b'\r', 2),
            [_, mark @ (b'/' | b'\\' | b'"' | b'\''), ..] => Self::Byte(*mark, 2),
            [_] if truncated => Self::Cut,
            _ => Self::None,
        }
    }

    /// Parses four digits behind a mark of `mark_len` bytes, or two such units that are one
    /// character. Returns `None` if the input ends within them.
    fn units(digits: &[u8], mark_len: usize, mark: &[u8]) -> Option<Self> {
        let unit = |at: usize| {
            let digits = digits.get(at..).unwrap_or_default();
            Some(digits_of(digits, 4)?.and_then(|digits| number(digits, 16)))
        };
        let Some(high) = unit(0)? else {
            return Some(Self::None);
        };
        if !(0xd800..0xdc00).contains(&high) {
            let c = char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER);
            return Some(Self::Char(c, mark_len + 4));
        }
        let after = digits.get(4..)?;
        if after.len() < mark.len() && mark.starts_with(after) {
            return None;
        }
        let low = if after.starts_with(mark) { unit(4 + mark.len())? } else { None };
        let (c, len) = match low {
            Some(low @ 0xdc00..0xe000) => (
                char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00)),
                8 + mark.len(),
            ),
            _ => (None, 4),
        };
        Some(Self::Char(c.unwrap_or(char::REPLACEMENT_CHARACTER), mark_len + len))
    }
}

fn is_octal(byte: u8) -> bool {
    matches!(byte, b'0'..=b'7')
}

/// Returns the first `count` bytes if they are hexadecimal digits, `Some(None)` if they are
/// not, and `None` if the input ends within them.
fn digits_of(input: &[u8], count: usize) -> Option<Option<&[u8]>> {
    let digits = &input[..input.len().min(count)];
    match digits.iter().all(u8::is_ascii_hexdigit) {
        true if digits.len() < count => None,
        true => Some(Some(digits)),
        false => Some(None),
    }
}

fn number(digits: &[u8], radix: u32) -> Option<u32> {
    let digit =
        |n: u32, digit: &u8| n.checked_mul(radix)?.checked_add(char::from(*digit).to_digit(radix)?);
    (!digits.is_empty()).then(|| digits.iter().try_fold(0, digit)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_other_marks_are_restored() {
        let url = "https://news.example.org/politics?q=100%25";
        for mark in ["~", "$", "_", "!"] {
            let text =
                format!("https{m}3A{m}2f{m}2Fnews.example.org{m}2Fpolitics?q=100%", m = mark);
            assert_eq!(marked(&text).as_deref(), Some("https://news.example.org/politics?q=100%"));
        }
        for text in [
            "hxxps://news[.]example[.]org/politics?q=100%25",
            "https[:]//news(dot)example(dot)org/politics?q=100%25",
        ] {
            assert_eq!(fanged(text).as_deref(), Some(url));
        }
        assert_eq!(fanged("news[.]example[.]org").as_deref(), Some("news.example.org"));
        for text in [url, "a[0] (b)", "[{\"a\": 1}]", "http 3A 2F", "see [.] here"] {
            assert_eq!(marked(text).or_else(|| fanged(text)), None, "{text}");
        }
    }

    const URL: &str = "https://news.example.org/é";

    fn each(write: impl Fn(u8) -> String) -> String {
        URL.bytes().map(write).collect()
    }

    #[test]
    fn every_notation_is_decoded() {
        let units = |mark: &str| -> String {
            URL.encode_utf16().map(|unit| format!("{mark}{unit:04x}")).collect()
        };
        for text in [
            each(|b| format!("\\{b:03o}")),
            each(|b| format!("\\x{b:02x}")),
            each(|b| format!("\\x{b:02X}")),
            units("\\u"),
            units("%u"),
            URL.chars().map(|c| format!("\\u{{{:x}}}", u32::from(c))).collect(),
            URL.chars().map(|c| format!("\\x{{{:x}}}", u32::from(c))).collect(),
            URL.chars().map(|c| format!("\\U{:08x}", u32::from(c))).collect(),
        ] {
            let decoded = decode(&text, false).unwrap();
            assert_eq!(decoded.bytes, URL.as_bytes(), "{text}");
            assert!(decoded.reveals_address && decoded.numbers >= MIN_NUMBERS, "{text}");
            for len in 0..text.len() {
                let decoded = decode(&text[..len], true);
                let bytes = decoded.map(|decoded| decoded.bytes).unwrap_or_default();
                assert!(URL.as_bytes().starts_with(&bytes), "{text} to {len}");
            }
        }
        for text in
            ["https\\072\\057\\057a.test\\057b", "https:\\/\\/a.test\\/b", "https\\x3a//a.test/b"]
        {
            let decoded = decode(text, false).unwrap();
            assert_eq!(decoded.bytes, b"https://a.test/b", "{text}");
            assert!(decoded.reveals_address, "{text}");
        }
        assert_eq!(decode("\\ud83d\\ude00", false).unwrap().bytes, "😀".as_bytes());
    }

    #[test]
    fn other_text_reveals_nothing() {
        for text in [
            URL,
            "C:\\Users\\100\\nothing",
            "a \\d+ regular \\w expression",
            "100%",
            "\\u12",
            "\\x{zz}",
            "\\777 https://a.test/",
        ] {
            let decoded = decode(text, false);
            assert!(decoded.is_none_or(|it| !it.reveals_address && it.numbers < 3), "{text}");
        }
    }
}
