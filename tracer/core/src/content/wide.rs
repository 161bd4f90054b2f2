//! Text in units of two or four bytes: UTF-16 and UTF-32, in either byte order.
//!
//! Both are recognised by their byte order mark, or by the zeros beside each character of
//! ASCII.

/// Number of units inspected, enough for an address to show.
const PROBE: usize = 16;

fn is_plain(unit: u32) -> bool {
    (0x20..0x7f).contains(&unit) || matches!(unit, 9 | 10 | 13)
}

/// Reports whether most of the first units are printable characters of ASCII.
fn is_mostly_plain(units: impl Iterator<Item = u32>) -> bool {
    let (count, plain) = units
        .take(PROBE)
        .fold((0, 0), |(count, plain), unit| (count + 1, plain + usize::from(is_plain(unit))));
    count >= PROBE / 2 && plain * 4 >= count * 3
}

/// Decodes UTF-16.
pub(super) fn utf16_decode(bytes: &[u8]) -> Option<String> {
    let (big_endian, content) = match bytes {
        [0xff, 0xfe, rest @ ..] => (false, rest),
        [0xfe, 0xff, rest @ ..] => (true, rest),
        [0, 0x20..0x7f, 0, ..] => (true, bytes),
        [0x20..0x7f, 0, _, 0, ..] => (false, bytes),
        _ => return None,
    };
    let (pairs, _) = content.as_chunks();
    let units = || {
        let unit = if big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
        pairs.iter().map(move |pair| unit(*pair))
    };
    is_mostly_plain(units().map(u32::from)).then(|| {
        char::decode_utf16(units()).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    })
}

/// Returns the addresses in UTF-16 among other bytes.
pub(super) fn runs(bytes: &[u8]) -> impl Iterator<Item = String> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let at = from + memchr::memmem::find(bytes.get(from..)?, b"h\0t\0t\0p")?;
        // With a zero before it, the text is whole in the order in which the zeros come first.
        let big_endian = at.checked_sub(1).is_some_and(|before| bytes.get(before) == Some(&0));
        let (pairs, _) = bytes.get(at - usize::from(big_endian)..)?.as_chunks();
        let unit = if big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
        let run = pairs.iter().map(|pair| unit(*pair)).take_while(|it| is_plain((*it).into()));
        let text: String = run.filter_map(|unit| char::from_u32(unit.into())).collect();
        from = at + 2 * text.len();
        Some(text)
    })
}

/// Decodes UTF-32.
pub(super) fn utf32_decode(bytes: &[u8]) -> Option<String> {
    let (big_endian, content) = match bytes {
        [0xff, 0xfe, 0, 0, rest @ ..] => (false, rest),
        [0, 0, 0xfe, 0xff, rest @ ..] => (true, rest),
        [0, 0, 0, 0x20..0x7f, ..] => (true, bytes),
        [0x20..0x7f, 0, 0, 0, ..] => (false, bytes),
        _ => return None,
    };
    let (words, _) = content.as_chunks();
    let units = || {
        let unit = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
        words.iter().map(move |word| unit(*word))
    };
    is_mostly_plain(units())
        .then(|| {
            let end = units().position(|unit| char::from_u32(unit).is_none());
            // Something else may follow the text.
            let len = end.unwrap_or(words.len());
            (len * 4 >= words.len() * 3)
                .then(|| units().take(len).filter_map(char::from_u32).collect())
        })
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://news.example.org/é";

    #[test]
    fn utf16_in_both_orders() {
        let little: Vec<u8> = URL.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = URL.encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(utf16_decode(&little).as_deref(), Some(URL));
        assert_eq!(utf16_decode(&big).as_deref(), Some(URL));
        assert_eq!(utf16_decode(URL.as_bytes()), None);
        assert_eq!(utf16_decode(&[0, 1, 2, 3]), None);
    }

    #[test]
    fn addresses_in_utf16_are_found_among_other_bytes() {
        let url = "https://news.example.org/politics";
        let little: Vec<u8> = url.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = url.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for text in [little, big] {
            let bytes = [b"\0\0\x21", &text[..], &[0, 0, 7], &text, b"\xff"].concat();
            assert_eq!(runs(&bytes).collect::<Vec<_>>(), [url, url]);
        }
        assert_eq!(runs(URL.as_bytes()).count(), 0);
    }

    #[test]
    fn utf32_in_both_orders_with_and_without_a_mark() {
        let little: Vec<u8> = URL.chars().flat_map(|c| u32::from(c).to_le_bytes()).collect();
        let big: Vec<u8> = URL.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect();
        let marked = |mark: &[u8], text: &[u8]| [mark, text].concat();
        for text in [
            marked(&[], &little),
            marked(&[], &big),
            marked(&[0xff, 0xfe, 0, 0], &little),
            marked(&[0, 0, 0xfe, 0xff], &big),
        ] {
            assert_eq!(utf32_decode(&text).as_deref(), Some(URL));
            for len in 0..text.len() {
                if let Some(decoded) = utf32_decode(&text[..len]) {
                    assert!(URL.starts_with(&decoded), "{len}: {decoded}");
                }
            }
        }
        let numbers: Vec<u8> = (1u32..40).flat_map(u32::to_le_bytes).collect();
        for other in [URL.as_bytes(), &numbers, &[0; 64]] {
            assert_eq!(utf32_decode(other), None);
        }
    }
}
