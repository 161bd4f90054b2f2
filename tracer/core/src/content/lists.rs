//! Bytes that are written as numbers in a text.
//!
//! ```text
//! 31,139,8,0,…   1f 8b 08 00 …   \x1f\x8b…   0x1f, 0x8b, …     decimal, hexadecimal
//! 150 164 164 160 …   01101000 01110100 …   1101000 1110100    octal, binary
//! 104116116112…   150164164160…   0110100001110100…            without separators
//! h t t p s : / / …                                            characters
//! ```
//!
//! Digits alone do not show their base, so this module only offers candidates, and the
//! engine decides by whether they are plausible.

use super::{
    base64::has_known_start,
    numbers::{MIN_COUNT, decode},
};

/// A way to read a text.
type Notation = fn(&str, bool) -> Option<Vec<u8>>;

/// All ways to read numbers, from the most to the least specific.
const NOTATIONS: [Notation; 5] = [bits, hexadecimal, decimal, octal, triplets];

/// Returns what a text stands for if it consists of numbers in one notation.
pub(super) fn lists(text: &str, truncated: bool) -> impl Iterator<Item = Vec<u8>> {
    let numbers = inside(inside(text));
    let of_numbers = NOTATIONS.into_iter().filter_map(move |read| read(numbers, truncated));
    of_numbers.chain(std::iter::once_with(move || characters(text.trim(), truncated)).flatten())
}

/// Returns what is between the brackets of an array, or of a call such as `fromCharCode(…)`.
fn inside(text: &str) -> &str {
    let text = text.trim().trim_end_matches(';');
    let open = |text: &str| text.find(['[', '(', '{']).map(|at| at + 1);
    match text.strip_suffix([']', ')', '}']) {
        Some(before) => open(before).map_or(before, |at| before[at..].trim()),
        // The end may be cut.
        None => text.strip_prefix('[').unwrap_or(text),
    }
}

fn is_separator(c: char) -> bool {
    matches!(c, ' ' | ',' | ';' | '|' | '.' | ':' | '/' | '_' | '-' | '\n' | '\r' | '\t')
}

/// Splits a text at the separator that follows its first digits. Returns `None` if there is
/// none. The last part of a truncated text is dropped.
fn parts(text: &str, is_digit: fn(char) -> bool, truncated: bool) -> Option<Vec<&str>> {
    let len = text.find(|c| !is_digit(c)).filter(|len| *len > 0)?;
    let rest = &text[len..];
    let separator = &rest[..rest.find(|c| !is_separator(c))?];
    if separator.is_empty() {
        return None;
    }
    let mut parts: Vec<&str> = text.trim_end_matches(separator).split(separator).collect();
    if truncated {
        parts.pop();
    }
    (parts.len() >= MIN_COUNT).then_some(parts)
}

fn decimal(text: &str, truncated: bool) -> Option<Vec<u8>> {
    // References of HTML without the semicolons.
    let numbers;
    let text = match text.strip_prefix("&#") {
        Some(rest) => {
            numbers = rest.replace("&#", " ");
            &*numbers
        }
        None => text,
    };
    let is_number = |c: char| c.is_ascii_digit() || c == '-';
    let numbers = parts(text, is_number, truncated)?.into_iter().map(|part| {
        let is_number = (1..=6).contains(&part.len());
        is_number.then(|| part.parse().ok()).flatten()
    });
    decode(&numbers.collect::<Option<Vec<i64>>>()?).map(|decoded| decoded.bytes)
}

fn octal(text: &str, truncated: bool) -> Option<Vec<u8>> {
    let bytes = parts(text, |c| matches!(c, '0'..='7'), truncated)?.into_iter().map(|part| {
        let is_number = (2..=4).contains(&part.len());
        is_number.then(|| u8::from_str_radix(part, 8).ok()).flatten()
    });
    bytes.collect()
}

/// Reads binary digits, eight or seven for each byte.
fn bits(text: &str, truncated: bool) -> Option<Vec<u8>> {
    let is_bit = |c: char| matches!(c, '0' | '1');
    let text = text.strip_prefix("0b").unwrap_or(text);
    let first = text.find(|c| !is_bit(c)).unwrap_or(text.len());
    if first == text.len() {
        let (whole, rest) = text.as_bytes().as_chunks::<8>();
        let fits = whole.len() >= MIN_COUNT && (rest.is_empty() || truncated);
        return fits.then(|| whole.iter().map(|byte| packed(byte)).collect());
    }
    if !matches!(first, 7 | 8) {
        return None;
    }
    let bytes = parts(text, is_bit, truncated)?.into_iter().map(|part| {
        let part = part.strip_prefix("0b").unwrap_or(part);
        (part.len() == first && part.chars().all(is_bit)).then(|| packed(part.as_bytes()))
    });
    bytes.collect()
}

/// Returns the byte that consists of these binary digits.
fn packed(digits: &[u8]) -> u8 {
    digits.iter().fold(0, |byte, digit| byte << 1 | (digit & 1))
}

/// Reads numbers of three digits without separators, or numbers of as many digits as the
/// characters of ASCII have.
fn triplets(text: &str, truncated: bool) -> Option<Vec<u8>> {
    const MIN: usize = 3 * MIN_COUNT;
    let is_number = text.len() >= MIN && text.bytes().all(|b| b.is_ascii_digit());
    if !is_number || !text.len().is_multiple_of(3) && !truncated && !text.starts_with('1') {
        return None;
    }
    let (triplets, _) = text.as_bytes().as_chunks::<3>();
    let fixed = |radix| -> Option<Vec<u8>> {
        let byte = |digits: &[u8; 3]| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, radix).ok()
        };
        triplets.iter().map(byte).collect()
    };
    let variable = || {
        let mut out = Vec::with_capacity(text.len() / 2);
        let mut rest = text;
        while !rest.is_empty() {
            let len = if rest.starts_with('1') { 3 } else { 2 };
            match rest.split_at_checked(len) {
                Some((number, after)) => {
                    out.push(number.parse().ok().filter(|byte| (32..127).contains(byte))?);
                    rest = after;
                }
                None if truncated => break,
                None => return None,
            }
        }
        Some(out)
    };
    let is_whole = text.len().is_multiple_of(3) || truncated;
    let known = |bytes: &Vec<u8>| has_known_start(bytes);
    // Many numbers are text by chance, so the text has to begin like a document.
    let fixed_in = |radix| is_whole.then(|| fixed(radix)).flatten().filter(known);
    fixed_in(10).or_else(|| fixed_in(8)).or_else(|| variable().filter(known))
}

/// Reads characters with the same separator after each.
fn characters(text: &str, truncated: bool) -> Option<Vec<u8>> {
    let first = text.chars().next()?;
    let rest = &text[first.len_utf8()..];
    let separator = match rest.find(|c| !is_separator(c))? {
        // Any other character that stands after each.
        0 => &rest[..rest.chars().next()?.len_utf8()],
        len => &rest[..len],
    };
    if text.len() < MIN_COUNT * (1 + separator.len()) {
        return None;
    }
    let mut out = String::with_capacity(text.len() / 2);
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        out.push(c);
        rest = &rest[c.len_utf8()..];
        match rest.strip_prefix(separator) {
            Some(after) => rest = after,
            None if rest.is_empty() || truncated && separator.starts_with(rest) => break,
            None => return None,
        }
    }
    Some(out.into_bytes()).filter(|bytes| has_known_start(bytes))
}

/// Reads pairs of hexadecimal digits with a mark before each or a separator between.
fn hexadecimal(text: &str, truncated: bool) -> Option<Vec<u8>> {
    const MARKS: [&str; 10] = ["\\x", "0x", "\\u00", "%u00", "U+00", "u+00", "&#x", "x", "$", "\\"];
    let bytes = text.as_bytes();
    let mark = MARKS.into_iter().find(|mark| text.starts_with(mark)).unwrap_or_default();
    let digits = mark.len();
    let after = text.get(digits + 2..)?;
    let next = match mark {
        "" => after.find(|c: char| c.is_ascii_hexdigit())?,
        _ => after.find(mark)?,
    };
    let separator = after.get(..next)?;
    if !separator.chars().all(is_separator) || mark.is_empty() && separator.is_empty() {
        return None;
    }
    let step = digits + 2 + separator.len();
    let mut out = Vec::with_capacity(bytes.len() / step + 1);
    let mut rest = text;
    while !rest.is_empty() {
        let Some((pair, after)) = rest.strip_prefix(mark).and_then(|it| it.split_at_checked(2))
        else {
            // The last pair may be cut.
            if truncated && rest.len() < step {
                break;
            }
            return None;
        };
        out.push(u8::from_str_radix(pair, 16).ok().filter(|_| !pair.starts_with('+'))?);
        if after.is_empty() {
            break;
        }
        rest = match after.strip_prefix(separator) {
            Some(rest) => rest,
            None if truncated && separator.starts_with(after) => break,
            None => return None,
        };
    }
    (out.len() >= MIN_COUNT).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://news.example.org/é";

    /// Reports whether a text is read as these bytes.
    fn is_read_as(text: &str, bytes: &[u8], truncated: bool) -> bool {
        lists(text, truncated).any(|list| list == bytes)
    }

    fn each(write: impl Fn(u8) -> String) -> Vec<String> {
        URL.bytes().map(write).collect()
    }

    #[test]
    fn lists_are_read_in_every_notation() {
        let decimal = each(|b| b.to_string());
        let hex = each(|b| format!("{b:02x}"));
        let octal = each(|b| format!("{b:03o}"));
        let bits = each(|b| format!("{b:08b}"));
        let characters: Vec<String> = URL.chars().map(String::from).collect();
        for text in [
            decimal.join(","),
            format!("[{}]", decimal.join(", ")),
            decimal.join(" "),
            hex.join(" "),
            hex.join(":"),
            hex.join("-"),
            format!("\\x{}", hex.join("\\x")),
            format!("0x{}", hex.join(", 0x")),
            format!("U+00{}", hex.join(" U+00")),
            format!("\\{}", hex.join("\\")),
            octal.join(" "),
            octal.concat(),
            each(|b| format!("0{b:o}")).join(","),
            bits.join(" "),
            bits.join(","),
            bits.concat(),
            format!("0b{}", bits.join(" 0b")),
            each(|b| format!("{b:03}")).concat(),
            format!("&#{}", decimal.join("&#")),
            characters.join(" "),
            characters.join(", "),
        ] {
            assert!(is_read_as(&text, URL.as_bytes(), false), "{text}");
            for len in (0..text.len()).filter(|&len| text.is_char_boundary(len)) {
                for bytes in lists(&text[..len], true).filter(|bytes| has_known_start(bytes)) {
                    assert!(URL.as_bytes().starts_with(&bytes), "{text} to {len}");
                }
            }
        }
        let ascii = &URL[..URL.len() - 2];
        let numbers: String = ascii.bytes().map(|b| b.to_string()).collect();
        assert!(is_read_as(&numbers, ascii.as_bytes(), false), "{numbers}");
        let seven: Vec<String> = ascii.bytes().map(|b| format!("{b:07b}")).collect();
        assert!(is_read_as(&seven.join(" "), ascii.as_bytes(), false));
    }

    #[test]
    fn other_text_is_no_list() {
        for text in [
            "1.2.3.4",
            "2026-11-30 05:00:00",
            "7f3c2a10-9b1e-4c57-8f7e-5d0a2b6c9e11",
            "1,2,3",
            "00:1a:2b:3c:4d:5e",
            "abc, def, ghi, jkl, mno, pqr, stu, vwx, yza, bcd, efg, hij",
            "a b c d e f g h i j k l m n o p q r s t u v",
            "104116116112",
            "179538206117953820611795382061179538206117953820611",
        ] {
            assert_eq!(lists(text, false).next(), None, "{text}");
        }
    }
}
