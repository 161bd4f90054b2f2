//! Characters that are not shown: between those of an address, or as the digits of bits.

use super::numbers::MIN_COUNT;

/// Reports characters that have no width.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// Removes the characters that are not shown, if an address is in the text only then.
pub(super) fn remove(text: &str) -> Option<Vec<u8>> {
    if text.is_ascii() || !text.contains(is_invisible) {
        return None;
    }
    let plain = text.replace(is_invisible, "");
    let addresses = |text: &str| text.matches("://").count();
    (addresses(&plain) > addresses(text)).then(|| plain.into_bytes())
}

/// Reads two different characters that are not shown as bits, the smaller one as 0.
pub(super) fn bits(text: &str) -> Option<Vec<u8>> {
    if text.is_ascii() {
        return None;
    }
    let hidden: Vec<char> = text.chars().filter(|c| is_invisible(*c)).collect();
    let (zero, one) = (hidden.iter().min()?, hidden.iter().max()?);
    if hidden.iter().any(|c| c != zero && c != one) {
        return None;
    }
    let (bytes, _) = hidden.as_chunks::<8>();
    let byte = |bits: &[char; 8]| bits.iter().fold(0, |byte, c| byte << 1 | u8::from(c == one));
    (bytes.len() >= MIN_COUNT && zero != one).then(|| bytes.iter().map(byte).collect())
}

/// Reads characters that stand for a byte each: tags (U+E0020 to U+E007E) for those of ASCII, and
/// selectors of variants (U+FE00 to U+FE0F, U+E0100 to U+E01EF) for all.
pub(super) fn characters(text: &str) -> Option<Vec<u8>> {
    if text.is_ascii() {
        return None;
    }
    let byte = |c: char| {
        let code = u32::from(c);
        u8::try_from(match code {
            0xe_0020..=0xe_007e => code - 0xe_0000,
            0xfe00..=0xfe0f => code - 0xfe00,
            0xe_0100..=0xe_01ef => code - 0xe_0100 + 16,
            _ => return None,
        })
        .ok()
    };
    let bytes: Vec<u8> = text.chars().filter_map(byte).collect();
    (bytes.len() >= MIN_COUNT).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://news.example.org/politics/story-42?q=private";

    #[test]
    fn hidden_characters_are_removed_from_addresses() {
        for mark in ["\u{200b}", "\u{2060}", "\u{feff}", "\u{ad}"] {
            let text = URL.chars().map(String::from).collect::<Vec<_>>().join(mark);
            assert_eq!(remove(&text).as_deref(), Some(URL.as_bytes()));
        }
        for other in [URL, "a\u{200b}b", &format!("{URL}\u{200b}")] {
            assert_eq!(remove(other), None, "{other}");
        }
    }

    #[test]
    fn hidden_characters_are_bytes() {
        let of = |map: fn(u32) -> u32| -> String {
            let hidden = URL.bytes().map(|b| char::from_u32(map(b.into())).unwrap());
            format!("nothing{} here", hidden.collect::<String>())
        };
        for text in [of(|b| 0xe_0000 + b), of(|b| 0xe_0100 + b - 16)] {
            assert_eq!(characters(&text).as_deref(), Some(URL.as_bytes()));
        }
        for other in [URL, "\u{2764}\u{fe0f} and \u{2764}\u{fe0f}", "é"] {
            assert_eq!(characters(other), None);
        }
    }

    #[test]
    fn hidden_characters_are_bits() {
        let bit = |byte: u8, at: u8| if byte >> at & 1 == 1 { '\u{200c}' } else { '\u{200b}' };
        let hidden: String =
            URL.bytes().flat_map(|byte| (0..8).rev().map(move |at| bit(byte, at))).collect();
        assert_eq!(bits(&format!("nothing{hidden} here")).as_deref(), Some(URL.as_bytes()));
        for other in [URL, "a\u{200b}b", &"\u{200b}".repeat(200), "\u{200b}\u{200c}\u{200d}"] {
            assert_eq!(bits(other), None);
        }
    }
}
